//! Why a call did not work.

/// No variant holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SharedError {
    /// The server is away, too slow, or answers nonsense. What was to be changed may be changed all the same.
    #[error("{doing}: Redis is unavailable: {cause}")]
    Unavailable { doing: &'static str, cause: String },
    /// Beyond the limits of the port. Nothing happened.
    #[error("{doing}: {problem}")]
    Refused { doing: &'static str, problem: String },
}

impl SharedError {
    pub(crate) fn refused(doing: &'static str, problem: impl Into<String>) -> Self {
        SharedError::Refused {
            doing,
            problem: problem.into(),
        }
    }
}
