//! Functions beside DataFusion's own: those that PostgreSQL's clients call, and a bound on those that make much out of little.

mod bounded;
mod concat;
mod postgres;

use datafusion::prelude::SessionContext;

pub use postgres::POSTGRES_VERSION;

/// Makes them known to `context`.
pub(crate) fn register(context: &SessionContext) {
    bounded::register(context);
    concat::register(context);
    postgres::register(context);
}
