//! Prompts: how to investigate an incident, write its postmortem, and hand a shift over. What they embed is data, as resources.

use chrono::{DateTime, Utc};
use gateway::{IncidentFilter, Page};
use rmcp::model::{
    CompleteResult, CompletionInfo, ErrorData, GetPromptResult, Prompt, PromptArgument, PromptMessage, Role as Speaker,
};
use serde_json::{Map, Value};

use crate::answer::{self, Failure, UNTRUSTED};
use crate::desk::Desk;
use crate::tools::incidents::{self, ListArguments, OneArguments};

const INVESTIGATE: &str = "Investigate this incident of Aegis, and say what most likely caused it.\n\
    1. Read the incident below, then explain_incident (why its alerts are one incident, which changes are suspected) and get_findings (what the \
    agents found, and what they could not learn). find_similar shows what ended past incidents like it: a hint, no proof.\n\
    2. Check the likeliest cause with the observing tools that are there (metrics, logs, cluster, changes) and query_sql. Look for what would prove it wrong.\n\
    3. Answer with: what happened, the cause with the observations that carry it (cite ids of citations, or the query and its time), what is not known, \
    and what to do. Say how sure you are.\n\
    4. If a restart, a rollback or another number of replicas would help, and propose_action is there, propose it with your reason. A person decides.";

const POSTMORTEM: &str = "Write the postmortem of this incident of Aegis, without blame.\n\
    Sections: summary, impact, root cause, timeline (UTC), what ended it, what went well, what did not, follow-ups with an owner to be named. \
    Read get_incident, explain_incident, get_findings and list_remediations first; where Aegis has written a postmortem (resource \
    aegis://incidents/ID/postmortem), start from it. Every statement about the past names the observation that it rests on; what nobody observed is \
    called unknown.";

const HAND_OVER: &str = "Write the hand-over for whoever takes the next shift.\n\
    From the incidents below: what is open and how bad it is, what was resolved and how, what waits for a person (list_remediations with status \
    waiting), whether Aegis itself keeps up (pipeline_status, list_dead_letters). Begin with what needs somebody now. One screen.";

/// All of them.
pub fn listed() -> Vec<Prompt> {
    let argument = |name: &str, words: &str, required: bool| {
        PromptArgument::new(name)
            .with_description(words)
            .with_required(required)
    };
    let incident = || argument("incident_id", "The incident's id, a UUID.", true);
    vec![
        Prompt::new(
            "investigate_incident",
            Some("Find out what caused an incident, and what to do."),
            Some(vec![incident()]),
        )
        .with_title("Investigate an incident"),
        Prompt::new(
            "write_postmortem",
            Some("Write the report about an incident, every sentence with its evidence."),
            Some(vec![incident()]),
        )
        .with_title("Write a postmortem"),
        Prompt::new(
            "hand_over",
            Some("Tell the next shift what is open, what happened, and what waits."),
            Some(vec![
                argument(
                    "since",
                    "Begin of the shift (RFC 3339); 12 hours ago where it is absent.",
                    false,
                ),
                argument("service", "Only incidents of this service.", false),
            ]),
        )
        .with_title("Hand a shift over"),
    ]
}

/// The messages of a prompt.
pub async fn get(desk: &Desk, name: &str, mut arguments: Map<String, Value>) -> Result<GetPromptResult, ErrorData> {
    let known = listed();
    let Some(prompt) = known.iter().find(|prompt| prompt.name == name) else {
        return Err(ErrorData::invalid_params(
            format!("there is no prompt {name:?}: prompts/list shows which there are"),
            None,
        ));
    };
    let takes: Vec<&str> = prompt
        .arguments
        .iter()
        .flatten()
        .map(|argument| argument.name.as_str())
        .collect();
    if let Some(unknown) = arguments.keys().find(|given| !takes.contains(&given.as_str())) {
        return Err(ErrorData::invalid_params(
            format!("{unknown}: {name} takes no such argument, only {}", takes.join(", ")),
            None,
        ));
    }
    let mut take = |field: &str| match arguments.remove(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ErrorData::invalid_params(
            format!("{field}: arguments of prompts are texts"),
            None,
        )),
    };
    let (words, uri, data) = match name {
        "hand_over" => {
            let (since, service) = (take("since")?, take("service")?);
            let shift = ListArguments {
                since: Some(since_of(since.as_deref())?),
                service,
                limit: Some(100),
                ..ListArguments::default()
            };
            let answer = incidents::list(desk, shift).await.map_err(Failure::protocol)?;
            (HAND_OVER, "aegis://incidents".to_owned(), answer::json(answer))
        }
        _ => {
            let id = take("incident_id")?;
            let id = id.ok_or_else(|| ErrorData::invalid_params("incident_id: it is missing", None))?;
            let arguments = OneArguments {
                incident_id: id.clone(),
                limit: None,
            };
            let answer = incidents::one(desk, &arguments).await.map_err(Failure::protocol)?;
            let words = if name == "write_postmortem" {
                POSTMORTEM
            } else {
                INVESTIGATE
            };
            (words, format!("aegis://incidents/{}", id.trim()), answer::json(answer))
        }
    };
    let data = answer::json_text(desk, data).map_err(Failure::protocol)?;
    let embedded = PromptMessage::new_resource(
        Speaker::User,
        uri,
        Some("application/json".to_owned()),
        Some(data),
        None,
        None,
        None,
    );
    let messages = vec![
        PromptMessage::new_text(Speaker::User, format!("{words}\n\n{UNTRUSTED}")),
        embedded,
    ];
    let mut result = GetPromptResult::new(messages);
    result.description.clone_from(&prompt.description);
    Ok(result)
}

/// What the argument `name` may go on to be: ids of the newest incidents.
pub async fn complete(desk: &Desk, name: &str, begun: &str) -> Result<CompleteResult, ErrorData> {
    if name != "incident_id" {
        return Ok(CompleteResult::default());
    }
    let newest = Page {
        limit: CompletionInfo::MAX_VALUES as u32,
        offset: 0,
    };
    let found = desk.incidents.incidents(&IncidentFilter::default(), newest).await;
    let found = found.map_err(|error| Failure::from(error).protocol())?;
    let ids = found
        .iter()
        .map(|incident| incident.id.to_string())
        .filter(|id| id.starts_with(begun))
        .collect();
    let values = CompletionInfo::new(ids).map_err(|why| ErrorData::internal_error(why, None))?;
    Ok(CompleteResult::new(values))
}

fn since_of(given: Option<&str>) -> Result<DateTime<Utc>, ErrorData> {
    match given {
        None => Ok(Utc::now() - chrono::TimeDelta::hours(12)),
        Some(text) => text.trim().parse().map_err(|_| {
            ErrorData::invalid_params(format!("since: {text:?} is not a time as 2026-11-30T08:00:00Z"), None)
        }),
    }
}
