//! Every tool of the server on one screen: name, words, schemas, who may. What is not here, and no [`Observing`] lists, cannot be called.

use std::sync::Arc;

use gateway::{Caller, SimilarAnswer};
use rmcp::model::{Tool, ToolAnnotations};
use schemars::JsonSchema;
use serde_json::{Map, Value};

use crate::answer::{self, Failure};
use crate::desk::{Desk, Observing, ObservingTool, PipelineStatus};
use crate::tools::{arguments, evidence, incidents, operations, propose, query, similar};

/// What a tool does to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Reads what Aegis has.
    Observe,
    /// Asks a system beside Aegis; changes nothing there.
    ObserveBeside,
    /// Asks a person.
    Propose,
}

/// A tool of the server itself.
struct Own {
    name: &'static str,
    title: &'static str,
    effect: Effect,
    description: &'static str,
    input: Map<String, Value>,
    output: Map<String, Value>,
}

fn own() -> Vec<Own> {
    fn tool<A: JsonSchema, R: JsonSchema>(
        name: &'static str,
        title: &'static str,
        effect: Effect,
        description: &'static str,
    ) -> Own {
        Own {
            name,
            title,
            effect,
            description,
            input: answer::schema_of::<A>(),
            output: answer::schema_of_answer::<R>(),
        }
    }
    use Effect::{Observe, Propose};
    vec![
        tool::<incidents::ListArguments, incidents::ListAnswer>(
            "list_incidents",
            "List or search incidents",
            Observe,
            "Incidents by status, severity, service, words and time, newest first.",
        ),
        tool::<incidents::OneArguments, incidents::OneAnswer>(
            "get_incident",
            "An incident and its timeline",
            Observe,
            "One incident with its alerts and what happened to it, in order.",
        ),
        tool::<incidents::OneArguments, incidents::WhyAnswer>(
            "explain_incident",
            "Why these alerts are one incident",
            Observe,
            "Which rule linked each alert to which other and by what they share, and which changes are suspected.",
        ),
        tool::<similar::SimilarArguments, SimilarAnswer>(
            "find_similar",
            "Past incidents like this",
            Observe,
            "Past incidents that read like one, or like some words, best first: what they share, and what fixed them. A hint, no proof of one cause.",
        ),
        tool::<evidence::FindingsArguments, evidence::FindingsAnswer>(
            "get_findings",
            "What was found out",
            Observe,
            "The findings of the agents about an incident, each with the observations that it rests on, and what they could not learn.",
        ),
        tool::<evidence::StepArguments, evidence::StepAnswer>(
            "get_step",
            "One step of an investigation",
            Observe,
            "What an agent was given, asked, and answered, in full.",
        ),
        tool::<operations::RemediationsArguments, operations::RemediationsAnswer>(
            "list_remediations",
            "List remediations",
            Observe,
            "Proposals and what became of them, newest first.",
        ),
        tool::<operations::RemediationArguments, operations::RemediationAnswer>(
            "get_remediation",
            "One remediation",
            Observe,
            "A proposal with its dry run, and how it stands: whether a person approved it, and whether it helped.",
        ),
        tool::<query::QueryArguments, query::QueryAnswer>(
            "query_sql",
            "Ask the tables in SQL",
            Observe,
            "One read-only query over incidents, incident_members, incident_events, signals (alerts, changes), executions, remediations, \
             dead_letters, notifications, pipeline_metrics and counts by minute, hour and day (signals_by_hour). SHOW TABLES lists all, \
             DESCRIBE one.",
        ),
        tool::<operations::LettersArguments, operations::LettersAnswer>(
            "list_dead_letters",
            "List dead letters",
            Observe,
            "What the pipeline could not take, where it came from and why, newest first. Their bytes are not shown.",
        ),
        tool::<operations::NoArguments, PipelineStatus>(
            "pipeline_status",
            "How the pipeline is",
            Observe,
            "Whether Aegis keeps up: what fails, what works less well, how far each sink is behind.",
        ),
        tool::<propose::ProposeArguments, propose::ProposeAnswer>(
            "propose_action",
            "Propose a remediation",
            Propose,
            "Puts a plan before a person. It is tried dry, goes through the policy, and is carried out only after somebody else has approved it.",
        ),
    ]
}

/// A tool as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    pub tool: Tool,
    pub effect: Effect,
}

/// Every tool that the desk has, the server's own first. Makes every schema anew: keep the list.
pub fn listed(desk: &Desk) -> Vec<Listed> {
    let own = own().into_iter().map(|own| Listed {
        tool: described(
            own.name,
            own.title,
            own.description.to_owned(),
            own.effect,
            own.input,
            own.output,
        ),
        effect: own.effect,
    });
    let beside = desk.observing.iter().flat_map(|family| family.tools()).map(|tool| {
        let ObservingTool { name, description, .. } = tool;
        let (input, output) = (
            answer::tidied(tool.arguments.clone()),
            answer::wrapped(tool.reply.clone()),
        );
        let title = name.replace('_', " ");
        Listed {
            tool: described(name, &title, description.clone(), Effect::ObserveBeside, input, output),
            effect: Effect::ObserveBeside,
        }
    });
    own.chain(beside).collect()
}

/// Whether `caller` is shown a tool: who may not propose need not be told how.
pub fn shown_to(caller: &Caller, listed: &Listed) -> bool {
    listed.effect != Effect::Propose || propose::may(caller)
}

/// Whether a call must be on disk before it is made.
pub fn durable(name: &str) -> bool {
    name == "propose_action"
}

fn described(
    name: &str,
    title: &str,
    description: String,
    effect: Effect,
    input: Map<String, Value>,
    output: Map<String, Value>,
) -> Tool {
    let annotations = ToolAnnotations::with_title(title.to_owned())
        .read_only(effect != Effect::Propose)
        .destructive(false)
        .idempotent(true)
        .open_world(effect == Effect::ObserveBeside);
    Tool::new_with_raw(name.to_owned(), Some(description.into()), Arc::new(input))
        .with_title(title)
        .with_raw_output_schema(Arc::new(output))
        .with_annotations(annotations)
}

/// Calls the tool `name`; `None` if there is none.
pub async fn call(
    desk: &Desk,
    caller: &Caller,
    name: &str,
    given: Map<String, Value>,
) -> Option<Result<Value, Failure>> {
    macro_rules! answered {
        ($call:expr) => {{
            let call = $call;
            match arguments(given) {
                Ok(read) => call(read).await.map(answer::json),
                Err(failure) => Err(failure),
            }
        }};
    }
    let answer = match name {
        "list_incidents" => answered!(async |read| incidents::list(desk, read).await),
        "get_incident" => answered!(async |read| incidents::one(desk, &read).await),
        "explain_incident" => answered!(async |read| incidents::why(desk, &read).await),
        "find_similar" => answered!(async |read| similar::similar(desk, &read).await),
        "get_findings" => answered!(async |read| evidence::findings(desk, &read).await),
        "get_step" => answered!(async |read| evidence::step(desk, &read).await),
        "list_remediations" => answered!(async |read| operations::remediations(desk, read).await),
        "get_remediation" => answered!(async |read| operations::remediation(desk, &read).await),
        "query_sql" => answered!(async |read| query::query(desk, &read).await),
        "list_dead_letters" => answered!(async |read| operations::letters(desk, read).await),
        "pipeline_status" => answered!(async |read| operations::status(desk, read).await),
        "propose_action" => answered!(async |read| propose::propose(desk, caller, read).await),
        other => return beside(desk, other, given).await,
    };
    Some(answer)
}

async fn beside(desk: &Desk, name: &str, given: Map<String, Value>) -> Option<Result<Value, Failure>> {
    let family: &Arc<dyn Observing> = desk
        .observing
        .iter()
        .find(|family| family.tools().iter().any(|tool| tool.name == name))?;
    let answered = family.call(name, Value::Object(given)).await;
    Some(match answered {
        Ok(found) => Ok(answer::json(Map::from_iter([("answer".to_owned(), found)]))),
        Err(error) => Err(Failure::Unavailable(error.to_string())),
    })
}
