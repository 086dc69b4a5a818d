//! The limits of the ports, checked before either implementation is asked: what one takes, the other takes.

use std::time::Duration;

use crate::SharedError;

pub fn size(doing: &'static str, what: &str, found: usize, most: usize) -> Result<(), SharedError> {
    if found > most {
        let problem = format!("{what} has {found} bytes, at most {most} are taken");
        return Err(SharedError::refused(doing, problem));
    }
    Ok(())
}

/// A name: something, and not too much of it.
pub fn name(doing: &'static str, what: &str, found: &str, most: usize) -> Result<(), SharedError> {
    if found.is_empty() {
        return Err(SharedError::refused(doing, format!("{what} is empty")));
    }
    size(doing, what, found.len(), most)
}

pub fn span(
    doing: &'static str,
    what: &str,
    found: Duration,
    (least, most): (Duration, Duration),
) -> Result<(), SharedError> {
    if found < least || found > most {
        let problem = format!("{what} is {found:?}, and may be from {least:?} to {most:?}");
        return Err(SharedError::refused(doing, problem));
    }
    Ok(())
}

/// Milliseconds, which is what Redis counts in.
pub fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
