//! DECLARE, FETCH, MOVE and CLOSE. Rows of a cursor stay in its plan until they are fetched, and a FETCH sends them as they come:
//! the library's own gathers all of one FETCH first, and `FETCH ALL` of an endless query with it.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::common::{DFSchema, ParamValues};
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use datafusion::prelude::SessionContext;
use datafusion::sql::sqlparser::ast::{CloseCursor, Declare, DeclareType, FetchDirection, Statement, Value};
use datafusion_postgres::QueryHook;
use datafusion_postgres::hooks::HookClient;
use datafusion_postgres::pgwire::api::ClientInfo;
use datafusion_postgres::pgwire::api::portal::{Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::results::{QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::api::stmt::StoredStatement;
use datafusion_postgres::pgwire::api::store::PortalStore as _;
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::data::DataRow;
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::Mutex;

use crate::errors::user;
use crate::guard;

#[derive(Debug)]
pub(crate) struct Cursors;

#[async_trait]
impl QueryHook for Cursors {
    async fn handle_simple_query(
        &self,
        statement: &Statement,
        context: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        match statement {
            Statement::Declare { stmts } => Some(declare(stmts, context, client).await),
            Statement::Fetch { name, direction, .. } => Some(fetch(&name.value, direction, client).await),
            Statement::Close { cursor } => {
                match cursor {
                    CloseCursor::All => client.portal_store().clear_portals(),
                    CloseCursor::Specific { name } => client.portal_store().rm_portal(&name.value),
                }
                Some(Ok(Response::Execution(Tag::new("CLOSE CURSOR"))))
            }
            _ => None,
        }
    }

    async fn handle_extended_parse_query(
        &self,
        statement: &Statement,
        _: &SessionContext,
        _: &(dyn ClientInfo + Send + Sync),
    ) -> Option<PgWireResult<LogicalPlan>> {
        let ours = matches!(
            statement,
            Statement::Declare { .. } | Statement::Fetch { .. } | Statement::Close { .. }
        );
        ours.then(|| {
            Ok(LogicalPlan::EmptyRelation(EmptyRelation {
                produce_one_row: false,
                schema: Arc::new(DFSchema::empty()),
            }))
        })
    }

    async fn handle_extended_query(
        &self,
        statement: &Statement,
        _: &LogicalPlan,
        _: &ParamValues,
        context: &SessionContext,
        client: &mut dyn HookClient,
    ) -> Option<PgWireResult<Response>> {
        self.handle_simple_query(statement, context, client).await
    }
}

async fn declare(
    declared: &[Declare],
    context: &SessionContext,
    client: &mut dyn HookClient,
) -> PgWireResult<Response> {
    for one in declared {
        let (Some(DeclareType::Cursor), [name], Some(query)) = (&one.declare_type, &one.names[..], &one.for_query)
        else {
            return Err(user("42601", "only DECLARE name CURSOR FOR query is known"));
        };
        let query = Statement::Query(query.clone());
        let rows = guard::run(&query, context).await?;
        let stored = StoredStatement::new(name.value.clone(), (query.to_string(), None), vec![]);
        let portal = Portal::new_cursor(name.value.clone(), Arc::new(stored));
        portal.start(rows).await;
        client.portal_store().put_portal(Arc::new(portal));
    }
    Ok(Response::Execution(Tag::new("DECLARE CURSOR")))
}

async fn fetch(name: &str, direction: &FetchDirection, client: &mut dyn HookClient) -> PgWireResult<Response> {
    let count = |value: &Value| match value {
        Value::Number(digits, _) => digits.parse().ok(),
        _ => None,
    };
    let most = match direction {
        FetchDirection::Next | FetchDirection::Forward { limit: None } => Some(1),
        FetchDirection::Forward { limit: Some(limit) } | FetchDirection::Count { limit } => match count(limit) {
            Some(rows) => Some(rows),
            None => return Err(user("42601", format!("FETCH {limit}: that is no number of rows"))),
        },
        FetchDirection::ForwardAll | FetchDirection::All => None,
        _ => return Err(user("55000", "cursor can only scan forward")),
    };
    let found = client.portal_store().get_portal(name);
    let Some(portal) = found.as_ref().and_then(|entry| entry.value()) else {
        return Err(user("34000", format!("cursor \"{name}\" does not exist")));
    };
    let state = portal.state();
    let schema = match &*state.lock().await {
        PortalExecutionState::Suspended(rows) => rows.row_schema(),
        _ => Arc::default(),
    };
    let mut answer = QueryResponse::new(schema, taken(state, most));
    answer.set_command_tag("FETCH");
    Ok(Response::Query(answer))
}

/// The next rows of a portal, `most` of them where that is given.
pub(crate) fn taken(
    portal: Arc<Mutex<PortalExecutionState>>,
    most: Option<u64>,
) -> impl Stream<Item = PgWireResult<DataRow>> + Send {
    let next = move |taken: u64| {
        let portal = portal.clone();
        async move {
            if most == Some(taken) {
                return None;
            }
            let mut state = portal.lock().await;
            let row = match &mut *state {
                PortalExecutionState::Suspended(rows) => rows.data_rows().next().await,
                PortalExecutionState::Initial => Some(Err(PgWireError::PortalNotStarted)),
                PortalExecutionState::Finished => None,
            };
            if !matches!(row, Some(Ok(_))) {
                *state = PortalExecutionState::Finished;
            }
            row.map(|row| (row, taken + 1))
        }
    };
    stream::unfold(0, next)
}
