//! The protocol's side of the server: who asks, how long it may take, what is written down, and how failures are told.
//!
//! A failure of the request itself (a tool that does not exist, a cursor that nobody gave out) is an error of the protocol. A failure of
//! what was asked for (an incident that does not exist, a neighbour that is away) is an answer of the tool with `isError`, which a model
//! can read and mend. Resources and prompts have the first kind alone.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use gateway::{Caller, Role};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult, ContentBlock,
    ErrorData, GetPromptRequestParams, GetPromptResponse, Implementation, ListPromptsResult,
    ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use crate::answer::{self, UNTRUSTED};
use crate::audit::{self, Call};
use crate::desk::Desk;
use crate::registry::{self, Listed};
use crate::{page, prompts, resources};

/// Items of a page of tools, prompts and templates.
const PAGE: usize = 50;
/// Longest name of a client, tool or URI that is written down, in characters.
const NAME: usize = 200;

const INSTRUCTIONS: &str = "Aegis turns alerts, deployments and logs into incidents. Start with list_incidents, get_incident, explain_incident and \
    get_findings; query_sql answers what they do not. Nothing here changes anything: propose_action puts a plan before a person.";

/// The server, for one client or for many: it holds no state of a session.
#[derive(Clone)]
pub struct Aegis {
    desk: Arc<Desk>,
    tools: Arc<[Listed]>,
    /// Who asks over stdio. Over HTTP each request says it.
    fixed: Option<Caller>,
}

/// How a call ended: its answer, and what is written down of it.
struct Ended<T> {
    answer: Result<T, ErrorData>,
    outcome: &'static str,
    detail: Option<String>,
}

impl<T> Ended<T> {
    fn ok(answer: T) -> Self {
        Ended {
            answer: Ok(answer),
            outcome: "ok",
            detail: None,
        }
    }

    fn error(outcome: &'static str, error: ErrorData) -> Self {
        Ended {
            outcome,
            detail: Some(error.message.to_string()),
            answer: Err(error),
        }
    }
}

impl Aegis {
    /// For HTTP: every request carries its [`Caller`] among the extensions of its parts.
    pub fn new(desk: Arc<Desk>) -> Self {
        Aegis {
            tools: registry::listed(&desk).into(),
            desk,
            fixed: None,
        }
    }

    /// For a pipe, at whose other end `caller` sits.
    pub fn for_caller(&self, caller: Caller) -> Self {
        Aegis {
            fixed: Some(caller),
            ..self.clone()
        }
    }

    /// What it stands on.
    pub fn desk(&self) -> &Arc<Desk> {
        &self.desk
    }

    /// Who asks. Nobody who was not let in comes here; should it happen, they may nothing.
    fn caller(&self, context: &RequestContext<RoleServer>) -> Result<Caller, ErrorData> {
        if let Some(caller) = &self.fixed {
            return Ok(caller.clone());
        }
        let parts = context.extensions.get::<axum::http::request::Parts>();
        let caller = parts.and_then(|parts| parts.extensions.get::<Caller>());
        caller
            .cloned()
            .ok_or_else(|| ErrorData::invalid_request("nobody knows who asks", None))
    }

    fn tools_for(&self, caller: &Caller) -> Vec<Tool> {
        let shown = self.tools.iter().filter(|one| registry::shown_to(caller, one));
        shown.map(|one| one.tool.clone()).collect()
    }

    /// Makes a call: within its time, unless it is cancelled, written down before it is answered.
    async fn written_down<T, F>(
        &self,
        context: &RequestContext<RoleServer>,
        (kind, name): (&'static str, &str),
        arguments: Value,
        late: fn(String) -> Result<T, ErrorData>,
        work: impl FnOnce(Arc<Desk>, Caller) -> F,
    ) -> Result<T, ErrorData>
    where
        T: Send + 'static,
        F: Future<Output = Ended<T>> + Send + 'static,
    {
        let caller = self.caller(context)?;
        let began = Instant::now();
        let client = context
            .client_info()
            .map(|client| shortened(&format!("{} {}", client.name, client.version)));
        let mut call = Call {
            at: Utc::now(),
            by: named(&caller),
            role: caller.role.as_str().to_owned(),
            over: if self.fixed.is_some() { "stdio" } else { "http" }.to_owned(),
            client,
            kind: kind.to_owned(),
            name: shortened(name),
            arguments: audit::kept(arguments, self.desk.redact),
            outcome: "begun".to_owned(),
            detail: None,
            duration_ms: 0,
        };
        let durable = kind == "tool" && registry::durable(name);
        if durable {
            self.note(&call, true).await?;
        }
        let ended = self.in_time(context, late, work(self.desk.clone(), caller)).await;
        call.outcome = ended.outcome.to_owned();
        call.detail = ended.detail.map(|detail| {
            let mut detail = Value::String(detail);
            (self.desk.redact)(&mut detail);
            shortened(detail.as_str().unwrap_or_default())
        });
        call.duration_ms = began.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        metrics::counter!("aegis_mcp_calls_total", "kind" => kind, "outcome" => ended.outcome).increment(1);
        metrics::histogram!("aegis_mcp_call_seconds", "kind" => kind).record(began.elapsed().as_secs_f64());
        self.note(&call, durable).await?;
        ended.answer
    }

    async fn note(&self, call: &Call, durable: bool) -> Result<(), ErrorData> {
        let noted = self.desk.audit.note(call.clone(), durable).await;
        noted.map_err(|error| {
            tracing::error!(%error, "a call could not be written down, so it is not answered");
            ErrorData::internal_error("the call could not be written down, so it is not answered", None)
        })
    }

    /// The work in a task of its own, so that a panic in it is an answer and giving it up ends it.
    async fn in_time<T: Send + 'static>(
        &self,
        context: &RequestContext<RoleServer>,
        late: fn(String) -> Result<T, ErrorData>,
        work: impl Future<Output = Ended<T>> + Send + 'static,
    ) -> Ended<T> {
        let calls = self.desk.limits.calls.clone();
        let work = async move {
            // Nobody closes the semaphore.
            let _running = calls.acquire_owned().await;
            work.await
        };
        let task = tokio::spawn(work);
        let abort = Aborted(task.abort_handle());
        let timeout = self.desk.call_timeout;
        let ended = tokio::select! {
            done = task => done.unwrap_or_else(|error| {
                tracing::error!(%error, "a call panicked");
                Ended::error("error", ErrorData::internal_error("the call failed: whoever runs Aegis finds the cause in its log", None))
            }),
            () = context.ct.cancelled() => Ended::error("cancelled", ErrorData::internal_error("cancelled", None)),
            () = tokio::time::sleep(timeout) => {
                let words = too_slow(timeout);
                Ended { detail: Some(words.clone()), answer: late(words), outcome: "timeout" }
            }
        };
        drop(abort);
        ended
    }
}

/// Ends a task when dropped.
struct Aborted(tokio::task::AbortHandle);

impl Drop for Aborted {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn too_slow(timeout: Duration) -> String {
    let seconds = timeout.as_secs_f64();
    format!(
        "there was no answer within {seconds} s, so it was given up: ask for less, or try later. A proposal may have been taken all the same: \
         list_remediations tells"
    )
}

/// How a resource or a prompt that is given up is told.
fn late<T>(words: String) -> Result<T, ErrorData> {
    Err(ErrorData::internal_error(words, None))
}

/// As facts name people.
pub fn named(caller: &Caller) -> String {
    match (&caller.name, caller.role) {
        (Some(_), _) => caller.by(),
        (None, Role::Viewer) => "reader".to_owned(),
        (None, role) => role.as_str().to_owned(),
    }
}

fn shortened(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .take(NAME)
        .collect()
}

fn cursor(request: &Option<PaginatedRequestParams>) -> Option<&str> {
    request.as_ref().and_then(|request| request.cursor.as_deref())
}

impl ServerHandler for Aegis {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_prompts()
            .enable_completions()
            .build();
        let name = Implementation::new("aegis", env!("CARGO_PKG_VERSION")).with_title("Aegis");
        ServerConfig::new(capabilities)
            .with_server_info(name)
            .with_instructions(format!("{INSTRUCTIONS}\n\n{UNTRUSTED}"))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        let found = self.tools.iter().find(|one| one.tool.name == name);
        found.map(|one| one.tool.clone())
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tools = self.tools_for(&self.caller(&context)?);
        let (tools, next_cursor) = page::slice("tools", &tools, cursor(&request), PAGE)?;
        Ok(ListToolsResult {
            tools,
            next_cursor,
            ..ListToolsResult::default()
        })
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.to_string();
        let given: Map<String, Value> = request.arguments.unwrap_or_default();
        let written = Value::Object(given.clone());
        let called = name.clone();
        let work = move |desk: Arc<Desk>, caller: Caller| async move {
            let Some(answered) = registry::call(&desk, &caller, &called, given).await else {
                let why = format!(
                    "there is no tool {:?}: tools/list shows which there are",
                    shortened(&called)
                );
                return Ended::error("error", ErrorData::invalid_params(why, None));
            };
            match answered.and_then(|answer| answer::complete(&desk, answer)) {
                Ok(result) => Ended::ok(CallToolResponse::Complete(result)),
                Err(failure) => Ended {
                    answer: Ok(CallToolResponse::Complete(answer::failed(&desk, &failure))),
                    outcome: failure.outcome(),
                    detail: Some(failure.words().to_owned()),
                },
            }
        };
        // What was given up is an answer of the tool: its client learns what to do about it.
        let late = |words| {
            Ok(CallToolResponse::Complete(CallToolResult::error(vec![
                ContentBlock::text(words),
            ])))
        };
        self.written_down(&context, ("tool", &name), written, late, work).await
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        self.caller(&context)?;
        let (resources, next_cursor) = resources::list(&self.desk, cursor(&request)).await?;
        Ok(ListResourcesResult {
            resources,
            next_cursor,
            ..ListResourcesResult::default()
        })
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        self.caller(&context)?;
        let (resource_templates, next_cursor) =
            page::slice("templates", &resources::templates(), cursor(&request), PAGE)?;
        Ok(ListResourceTemplatesResult {
            resource_templates,
            next_cursor,
            ..ListResourceTemplatesResult::default()
        })
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = request.uri.clone();
        let work = move |desk: Arc<Desk>, _: Caller| async move {
            match resources::read(&desk, &request.uri).await {
                Ok(result) => Ended::ok(ReadResourceResponse::Complete(result)),
                Err(error) => Ended::error("error", error),
            }
        };
        self.written_down(&context, ("resource", &uri), json!({}), late, work)
            .await
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        self.caller(&context)?;
        let (prompts, next_cursor) = page::slice("prompts", &prompts::listed(), cursor(&request), PAGE)?;
        Ok(ListPromptsResult {
            prompts,
            next_cursor,
            ..ListPromptsResult::default()
        })
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let name = request.name.clone();
        let arguments = Value::Object(request.arguments.clone().unwrap_or_default());
        let work = move |desk: Arc<Desk>, _: Caller| async move {
            match prompts::get(&desk, &request.name, request.arguments.unwrap_or_default()).await {
                Ok(result) => Ended::ok(GetPromptResponse::Complete(result)),
                Err(error) => Ended::error("error", error),
            }
        };
        self.written_down(&context, ("prompt", &name), arguments, late, work)
            .await
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        self.caller(&context)?;
        prompts::complete(&self.desk, &request.argument.name, &request.argument.value).await
    }
}
