//! The first look at every statement: what is not known to read is refused, in the simple protocol as in the extended one.

use async_trait::async_trait;
use datafusion::common::ParamValues;
use datafusion::execution::context::SQLOptions;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement as Planned;
use datafusion::sql::sqlparser::ast::{Set, Statement};
use datafusion_postgres::QueryHook;
use datafusion_postgres::arrow_pg::datatypes::df;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::portal::Format;
use datafusion_postgres::pgwire::api::results::{QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::error::PgWireResult;
use std::sync::Arc;

use crate::errors::{broken, user};

const READ_ONLY: &str = "25006";

/// Refuses, or leaves the statement to those behind it.
#[derive(Debug)]
pub(crate) struct Guard;

/// Runs queries, once their plan has been found to read only as well. Behind all others.
#[derive(Debug)]
pub(crate) struct Runner;

fn check(statement: &Statement) -> PgWireResult<()> {
    let fine = match statement {
        Statement::Set(set) => return check_set(set),
        // Cursors are read by `crate::cursors`, and their query is checked there too.
        Statement::Declare { stmts } => stmts
            .iter()
            .filter_map(|declared| declared.for_query.as_ref())
            .all(|query| sql::is_read(&Statement::Query(query.clone()))),
        Statement::Fetch { into: None, .. }
        | Statement::Close { .. }
        | Statement::StartTransaction { .. }
        | Statement::Commit { .. }
        | Statement::Rollback { .. }
        | Statement::ShowVariable { .. }
        | Statement::ShowStatus { .. }
        | Statement::ShowCatalogs { .. } => true,
        other => emptied(other).is_some() || sql::is_read(other),
    };
    if fine {
        return Ok(());
    }
    let text = statement.to_string();
    let what = text.split([' ', '(', '\n']).next().unwrap_or_default().to_uppercase();
    Err(user(
        READ_ONLY,
        format!("cannot execute {what}: these tables are read-only"),
    ))
}

/// Settings of PostgreSQL's are taken or passed over; the engine's own are not a client's to change.
fn check_set(set: &Set) -> PgWireResult<()> {
    let own = match set {
        Set::SingleAssignment { variable, .. } => variable.to_string().contains('.'),
        Set::SetTimeZone { .. } | Set::SetNames { .. } | Set::SetNamesDefault {} | Set::SetTransaction { .. } => false,
        _ => true,
    };
    if own {
        return Err(user("42501", format!("permission denied: {set}")));
    }
    Ok(())
}

/// What connection pools send between two users of a connection: there is nothing to put back.
fn emptied(statement: &Statement) -> Option<&'static str> {
    match statement {
        Statement::Discard { .. } => Some("DISCARD ALL"),
        Statement::Deallocate { .. } => Some("DEALLOCATE"),
        Statement::Reset(_) => Some("RESET"),
        _ => None,
    }
}

fn nothing() -> LogicalPlan {
    LogicalPlan::EmptyRelation(datafusion::logical_expr::EmptyRelation {
        produce_one_row: false,
        schema: Arc::new(datafusion::common::DFSchema::empty()),
    })
}

fn check_plan(plan: &LogicalPlan) -> PgWireResult<()> {
    let reads = SQLOptions::new()
        .with_allow_ddl(false)
        .with_allow_dml(false)
        .with_allow_statements(false);
    reads
        .verify_plan(plan)
        .map_err(|error| user(READ_ONLY, error.strip_backtrace()))
}

#[async_trait]
impl QueryHook for Guard {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        if let Err(refused) = check(statement) {
            return Some(Err(refused));
        }
        emptied(statement).map(|tag| Ok(Response::Execution(Tag::new(tag))))
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        if let Err(refused) = check(statement) {
            return Some(Err(refused));
        }
        emptied(statement).map(|_| Ok(nothing()))
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        plan: &LogicalPlan,
        _: &ParamValues,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        if let Err(refused) = check(statement).and_then(|()| check_plan(plan)) {
            return Some(Err(refused));
        }
        emptied(statement).map(|tag| Ok(Response::Execution(Tag::new(tag))))
    }
}

#[async_trait]
impl QueryHook for Runner {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        context: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        Some(run(statement, context).await.map(Response::Query))
    }

    /// The library plans it; [`Guard`] sees the plan before it is run.
    async fn handle_extended_parse_query(
        &self,
        _: &Statement,
        _: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        None
    }

    async fn handle_extended_query(
        &self,
        _: &Statement,
        _: &LogicalPlan,
        _: &ParamValues,
        _: &SessionContext,
        _: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        None
    }
}

/// Plans a query, checks the plan and starts it. Rows come as they are asked for.
pub(crate) async fn run(statement: &Statement, context: &SessionContext) -> PgWireResult<QueryResponse> {
    let planned = Planned::Statement(Box::new(statement.clone()));
    let plan = context.state().statement_to_plan(planned).await.map_err(broken)?;
    check_plan(&plan)?;
    let rows = context.execute_logical_plan(plan).await.map_err(broken)?;
    df::encode_dataframe(rows, &Format::UnifiedText, None).await
}
