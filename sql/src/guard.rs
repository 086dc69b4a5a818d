//! Lets only a single query through, and names what is wrong before DataFusion does.

use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::Statement as Sql;

use crate::error::SqlError;
use crate::tables::table_names;

/// Schemas whose tables DataFusion itself answers for.
const BUILT_IN: &str = "information_schema";

/// Checks `sql` without running it.
pub(crate) fn check(context: &SessionContext, sql: &str) -> Result<(), SqlError> {
    let mut statements = DFParser::parse_sql(sql).map_err(|e| SqlError::Invalid(e.strip_backtrace()))?;
    let (Some(statement), None) = (statements.pop_front(), statements.front()) else {
        return Err(SqlError::NotAQuery { what: "anything but one statement".into() });
    };
    if !only_reads(&statement) {
        let text = statement.to_string();
        let what = text.split([' ', '(', '\n']).next().unwrap_or_default().to_uppercase();
        return Err(SqlError::NotAQuery { what });
    }
    let used = context.state().resolve_table_references(&statement).map_err(|e| SqlError::Invalid(e.strip_backtrace()))?;
    let known = table_names();
    for table in used {
        let name = table.table();
        if table.schema() == Some(BUILT_IN) || name.starts_with(BUILT_IN) || known.contains(&name) {
            continue;
        }
        return Err(SqlError::UnknownTable { table: name.to_owned(), suggestion: nearest(name, &known), tables: known });
    }
    Ok(())
}

fn only_reads(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(sql) => match &**sql {
            Sql::Query(_) | Sql::ExplainTable { .. } | Sql::ShowTables { .. } | Sql::ShowColumns { .. } => true,
            Sql::Explain { statement, .. } => matches!(**statement, Sql::Query(_)),
            _ => false,
        },
        Statement::Explain(explain) => only_reads(&explain.statement),
        _ => false,
    }
}

/// A known name that differs by a slip or two.
fn nearest(name: &str, known: &[&'static str]) -> Option<String> {
    let (distance, best) = known.iter().map(|candidate| (levenshtein(name, candidate), *candidate)).min()?;
    (distance <= name.len() / 2).then(|| best.to_owned())
}
