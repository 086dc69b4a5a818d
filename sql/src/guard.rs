//! Lets only a single query through, and names a misspelt table.

use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use datafusion::sql::sqlparser::ast::{Query, SetExpr, Statement as Sql};

use crate::error::SqlError;
use crate::tables::table_names;

/// Refuses anything but one query, without running it.
pub(crate) fn check(sql: &str) -> Result<Statement, SqlError> {
    let mut statements = DFParser::parse_sql(sql).map_err(|e| SqlError::Invalid(e.strip_backtrace()))?;
    let (Some(statement), None) = (statements.pop_front(), statements.front()) else {
        return Err(SqlError::NotAQuery {
            what: "anything but one statement".into(),
        });
    };
    if !only_reads(&statement) {
        let text = statement.to_string();
        let what = text.split([' ', '(', '\n']).next().unwrap_or_default().to_uppercase();
        return Err(SqlError::NotAQuery { what });
    }
    Ok(statement)
}

/// The table that a query without a plan named wrongly, if that was it.
pub(crate) fn unknown_table(context: &SessionContext, statement: &Statement) -> Option<SqlError> {
    let state = context.state();
    let named = state.resolve_table_references(statement).ok()?;
    let missing = named.into_iter().find(|table| {
        let function = state.table_functions().contains_key(table.table());
        !function && !context.table_exist(table.clone()).unwrap_or(true)
    })?;
    let (table, tables) = (missing.table().to_owned(), table_names());
    Some(SqlError::UnknownTable {
        suggestion: nearest(&table, &tables),
        table,
        tables,
    })
}

fn only_reads(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(sql) => is_read(sql),
        Statement::Explain(explain) => only_reads(&explain.statement),
        _ => false,
    }
}

/// Whether a statement can do nothing but read.
pub fn is_read(statement: &Sql) -> bool {
    match statement {
        Sql::Query(query) => query_reads(query),
        Sql::Explain { statement, .. } => matches!(&**statement, Sql::Query(query) if query_reads(query)),
        Sql::ExplainTable { .. } | Sql::ShowTables { .. } | Sql::ShowColumns { .. } => true,
        _ => false,
    }
}

/// Whether no part of it, wherever it stands, inserts, updates, deletes or makes a table.
fn query_reads(query: &Query) -> bool {
    let with = query.with.as_ref();
    with.is_none_or(|with| with.cte_tables.iter().all(|cte| query_reads(&cte.query))) && body_reads(&query.body)
}

fn body_reads(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => query_reads(query),
        SetExpr::SetOperation { left, right, .. } => body_reads(left) && body_reads(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => false,
    }
}

/// The table whose name differs from `name` by a slip or two.
pub fn nearest_table(name: &str) -> Option<String> {
    nearest(name, &table_names())
}

/// A known name that differs by a slip or two.
fn nearest(name: &str, known: &[&'static str]) -> Option<String> {
    let (distance, best) = known
        .iter()
        .map(|candidate| (levenshtein(name, candidate), *candidate))
        .min()?;
    (distance <= name.len() / 2).then(|| best.to_owned())
}
