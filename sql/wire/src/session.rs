//! Statements of clients, in both protocols: the library plans and encodes them, the bounds are ours.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use datafusion::prelude::SessionContext;
use datafusion_postgres::hooks::set_show::SetShowHook;
use datafusion_postgres::hooks::transactions::TransactionStatementHook;
use datafusion_postgres::pgwire::api::portal::{Portal, PortalExecutionState};
use datafusion_postgres::pgwire::api::query::{ExtendedQueryHandler, SimpleQueryHandler, send_execution_response};
use datafusion_postgres::pgwire::api::results::{QueryResponse, Response, Tag};
use datafusion_postgres::pgwire::api::store::{Entry, PortalStore};
use datafusion_postgres::pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::PgWireBackendMessage;
use datafusion_postgres::pgwire::messages::extendedquery::{Execute, PortalSuspended};
use datafusion_postgres::pgwire::messages::response::EmptyQueryResponse;
use datafusion_postgres::{DfSessionService, Parser, QueryHook};
use futures::{Sink, SinkExt as _, StreamExt as _};

use crate::cursors::{Cursors, taken};
use crate::errors::user;
use crate::guard::{Guard, Runner};
use crate::limits::{Doings, Statement};

/// Where the library keeps what a client said with `SET statement_timeout`.
const OWN_TIMEOUT: &str = "statement_timeout_ms";

/// What all connections share.
pub(crate) struct Session {
    inner: DfSessionService,
    pub doings: Doings,
    pub time: Duration,
    max_rows: u64,
}

/// Of a prepared statement: its text and its plan.
pub(crate) type Prepared = <DfSessionService as ExtendedQueryHandler>::Statement;

impl Session {
    pub fn new(context: SessionContext, time: Duration, max_rows: u64) -> Self {
        let hooks: Vec<Arc<dyn QueryHook>> = vec![
            Arc::new(Guard),
            Arc::new(Cursors),
            Arc::new(SetShowHook),
            Arc::new(TransactionStatementHook),
            Arc::new(Runner),
        ];
        Session {
            inner: DfSessionService::new_with_hooks(Arc::new(context), hooks),
            doings: Doings::default(),
            time,
            max_rows,
        }
    }

    fn begin<C: ClientInfo + ?Sized>(&self, client: &C) -> Statement {
        metrics::counter!("aegis_sql_statements_total").increment(1);
        let own = client
            .metadata()
            .get(OWN_TIMEOUT)
            .and_then(|millis| millis.parse().ok());
        let time = own.map_or(self.time, |millis| Duration::from_millis(millis).min(self.time));
        self.doings.begin(client, time, self.max_rows)
    }
}

#[async_trait]
impl SimpleQueryHandler for Session {
    async fn do_query<C>(&self, client: &mut C, query: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statement = self.begin(client);
        let answers = statement
            .bound(SimpleQueryHandler::do_query(&self.inner, client, query))
            .await?;
        let bounded = answers.into_iter().map(|answer| match answer {
            Response::Query(rows) => Response::Query(statement.rows(rows)),
            other => other,
        });
        Ok(bounded.collect())
    }
}

#[async_trait]
impl ExtendedQueryHandler for Session {
    type Statement = Prepared;
    type QueryParser = Parser;

    fn query_parser(&self) -> Arc<Parser> {
        self.inner.query_parser()
    }

    /// The library's own gathers an answer before it sends it, and makes room for as many rows as the client names.
    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if !matches!(client.state(), PgWireConnectionState::ReadyForQuery) {
            return Err(PgWireError::NotReadyForQuery);
        }
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                client
                    .feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
                    .await?;
                return Ok(());
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        client.set_state(PgWireConnectionState::QueryInProgress);
        let statement = self.begin(client);
        let mut status = client.transaction_status();
        let state = portal.state();
        let fresh = matches!(*state.lock().await, PortalExecutionState::Initial);
        let rows = match fresh {
            false => true,
            true => match statement
                .bound(ExtendedQueryHandler::do_query(self, client, &portal, 0))
                .await?
            {
                Response::Query(rows) => {
                    portal.start(rows).await;
                    true
                }
                Response::EmptyQuery => {
                    client
                        .feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()))
                        .await?;
                    false
                }
                Response::Execution(tag) => {
                    send_execution_response(client, tag).await?;
                    false
                }
                Response::TransactionStart(tag) => {
                    send_execution_response(client, tag).await?;
                    status = status.to_in_transaction_state();
                    false
                }
                Response::TransactionEnd(tag) => {
                    send_execution_response(client, tag).await?;
                    status = status.to_idle_state();
                    client.portal_store().rm_portal(DEFAULT_NAME);
                    false
                }
                Response::Error(error) => return Err(PgWireError::UserError(error)),
                _ => return Err(user("0A000", "COPY is not known here")),
            },
        };
        if rows {
            // Zero: all of them.
            let most = u64::try_from(message.max_rows).ok().filter(|most| *most > 0);
            let command = match &*state.lock().await {
                PortalExecutionState::Suspended(rows) => rows.command_tag().to_owned(),
                _ => "SELECT".to_owned(),
            };
            let mut answer = statement.rows(QueryResponse::new(Arc::default(), taken(state, most)));
            let mut sent = 0;
            while let Some(row) = answer.data_rows().next().await {
                client.feed(PgWireBackendMessage::DataRow(row?)).await?;
                sent += 1;
            }
            if most == Some(sent) {
                client
                    .send(PgWireBackendMessage::PortalSuspended(PortalSuspended::new()))
                    .await?;
            } else {
                let rows = usize::try_from(sent).unwrap_or(usize::MAX);
                let tag = Tag::new(&command).with_rows(rows);
                client.send(PgWireBackendMessage::CommandComplete(tag.into())).await?;
            }
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        client.set_transaction_status(status);
        Ok(())
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Self::Statement>, most: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Self::Statement>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        ExtendedQueryHandler::do_query(&self.inner, client, portal, most).await
    }
}
