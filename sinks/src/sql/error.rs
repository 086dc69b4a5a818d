//! What went wrong in a store, sorted by what has to happen next. Sorted by code, never by message text.

use sqlx::migrate::MigrateError;

/// Why a store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Away, slow, busy, or two transactions in each other's way: the same again later may work.
    #[error("store unavailable while {doing}: {cause}")]
    Unavailable { doing: String, cause: String },
    /// It will not work again without a person: wrong address or password, missing table, no permission, broken file.
    #[error("store failed while {doing}: {cause}")]
    Fatal { doing: String, cause: String },
    /// The store refuses these values. Others may work.
    #[error("store refused the data while {doing}: {cause}")]
    Refused { doing: String, cause: String },
    /// Another instance does this job by now. Nothing was written.
    #[error("another instance does {job} by now")]
    Overtaken { job: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Unavailable,
    Fatal,
    Refused,
}

impl StoreError {
    pub fn fatal(doing: &str, cause: impl ToString) -> Self {
        StoreError::Fatal {
            doing: doing.to_owned(),
            cause: cause.to_string(),
        }
    }

    /// For `map_err`: sorts what sqlx reports.
    pub(crate) fn while_doing(doing: &str) -> impl FnOnce(sqlx::Error) -> StoreError {
        let doing = doing.to_owned();
        move |error| {
            let cause = error.to_string();
            match class(&error) {
                Class::Unavailable => StoreError::Unavailable { doing, cause },
                Class::Fatal => StoreError::Fatal { doing, cause },
                Class::Refused => StoreError::Refused { doing, cause },
            }
        }
    }

    pub(crate) fn migrating(error: MigrateError) -> StoreError {
        let doing = "migrating the tables";
        match error {
            // A statement of ours that fails is a schema that is not as we left it, unless the store is away.
            MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => {
                match StoreError::while_doing(doing)(e) {
                    StoreError::Refused { doing, cause } => StoreError::Fatal { doing, cause },
                    other => other,
                }
            }
            other => StoreError::fatal(doing, other),
        }
    }
}

fn class(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Database(e) => {
            let code = e.code().unwrap_or_default();
            if e.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
                postgres(&code)
            } else {
                sqlite(code.parse().unwrap_or_default())
            }
        }
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Class::Unavailable,
        sqlx::Error::Encode(_) | sqlx::Error::InvalidArgument(_) => Class::Refused,
        _ => Class::Fatal,
    }
}

/// SQLSTATE, appendix A of the PostgreSQL manual.
fn postgres(code: &str) -> Class {
    match code {
        // Read-only transaction: a standby that is about to be promoted, or a client sent to the wrong server.
        "25006" => Class::Fatal,
        // Lock not available.
        "55P03" => Class::Unavailable,
        // A table became a view under us: rollups that another process has just made continuous aggregates. The next attempt looks.
        "42809" | "55000" => Class::Unavailable,
        _ => match code.get(..2).unwrap_or_default() {
            // Data, constraints, limits (a row too big for an index).
            "22" | "23" | "54" => Class::Refused,
            // Connection, transaction rollback (serialization, deadlock), resources, operator intervention, system.
            "08" | "25" | "40" | "53" | "57" | "58" => Class::Unavailable,
            _ => Class::Fatal,
        },
    }
}

/// <https://www.sqlite.org/rescode.html>; the low byte of an extended code is the primary one.
fn sqlite(code: i32) -> Class {
    match code & 0xff {
        // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, FULL, PROTOCOL
        5 | 6 | 7 | 9 | 10 | 13 | 15 => Class::Unavailable,
        // TOOBIG, CONSTRAINT, MISMATCH, RANGE
        18 | 19 | 20 | 25 => Class::Refused,
        _ => Class::Fatal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        assert_eq!(postgres("57P01"), Class::Unavailable, "server shut down");
        assert_eq!(postgres("40001"), Class::Unavailable, "serialization");
        assert_eq!(postgres("42P01"), Class::Fatal, "no such table");
        assert_eq!(postgres("42501"), Class::Fatal, "no permission");
        assert_eq!(postgres("28P01"), Class::Fatal, "wrong password");
        assert_eq!(postgres("22P05"), Class::Refused, "untranslatable character");
        assert_eq!(sqlite(5), Class::Unavailable, "busy");
        assert_eq!(sqlite(517), Class::Unavailable, "busy snapshot");
        assert_eq!(sqlite(1), Class::Fatal, "no such table");
        assert_eq!(sqlite(275), Class::Refused, "check constraint");
    }
}
