//! How the use of a tool fails.

/// An error that nobody recognised is [`ToolError::MayHaveHappened`]: it is settled by looking, never by repeating.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ToolError {
    /// The tool is not configured here.
    #[error("{tool} is not configured: set {setting}")]
    Absent { tool: &'static str, setting: &'static str },
    /// The question itself is wrong; asking again does not help.
    #[error("{tool} refused it: {cause}")]
    Refused { tool: &'static str, cause: String },
    /// Nothing happened. `retry`: trying again later may help.
    #[error("{tool}: it did not happen: {cause}")]
    DidNotHappen {
        tool: &'static str,
        cause: String,
        retry: bool,
    },
    #[error("{tool}: it may have happened: {cause}")]
    MayHaveHappened { tool: &'static str, cause: String },
}

impl ToolError {
    pub(crate) fn refused(tool: &'static str, cause: impl Into<String>) -> Self {
        let cause = cause.into();
        ToolError::Refused { tool, cause }
    }
}
