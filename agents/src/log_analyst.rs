//! Log analyst: what the service's log lines say, from some time before the incident until now.
//!
//! Error lines are grouped by template. Lines that speak of exhausted memory are a finding of their own; if the error lines hold
//! none, or there were more than could be read, they are searched for by word, whatever their level.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use model::evidence::{Citation, Finding, FindingKind};
use model::investigation::{Evidence, StepOutput};
use serde_json::json;
use tools::observe::{LogAnswer, LogLine, LogQuery};

use crate::expression::usable;
use crate::gather::{Asked, Gather, Miss};
use crate::lines::{self, Group};
use crate::measure::span;
use crate::settings::AgentSettings;
use crate::subject::Subject;
use crate::text::{self, map};

/// Templates that are told. The rest is counted in the last word of the summary.
const TOLD: usize = 5;

/// What was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub service: Option<String>,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Lines at level error and above.
    pub errors: Asked<LogAnswer>,
    /// Lines of any level that hold `OutOfMemory`, where they were asked for.
    pub memory: Option<Asked<LogAnswer>>,
}

pub async fn gather(
    evidence: &Evidence,
    tools: &mut Gather<'_>,
    settings: &AgentSettings,
    now: DateTime<Utc>,
) -> Facts {
    let subject = Subject::of(evidence);
    let from = subject.began_at - span(settings.log_lookback.get());
    let mut facts = Facts {
        service: subject.service.map(str::to_owned),
        from,
        to: now.max(subject.began_at),
        errors: Err(Miss::Absent("the incident names no service".to_owned())),
        memory: None,
    };
    let Some(service) = subject.service else { return facts };
    if !usable(service) {
        facts.errors = Err(Miss::Absent("the incident's service has no usable name".to_owned()));
        return facts;
    }
    let query = LogQuery {
        service: service.to_owned(),
        from,
        to: facts.to,
        min_level: Some("error".to_owned()),
        contains: None,
        limit: settings.log_lines,
    };
    facts.errors = tools.logs(&query).await;
    let complete =
        |answer: &LogAnswer| !answer.cut && answer.lines.iter().any(|line| lines::says_out_of_memory(&line.text));
    if facts.errors.as_ref().is_ok_and(|answer| !complete(answer)) {
        let query = LogQuery {
            min_level: None,
            contains: Some("OutOfMemory".to_owned()),
            ..query
        };
        facts.memory = Some(tools.logs(&query).await);
    }
    facts
}

pub fn decide(facts: &Facts) -> StepOutput {
    let mut output = StepOutput::default();
    let answer = match &facts.errors {
        Ok(answer) => answer,
        Err(miss) => {
            output.unknown.push(format!("what the service logged: {miss}"));
            return output;
        }
    };
    let (usable, outside) = within(answer, facts);
    if outside > 0 {
        output.unknown.push(format!(
            "what {outside} log lines mean: they are no answer to the question and were left out"
        ));
    }
    if answer.cut {
        output.unknown.push(format!(
            "how many error lines there are: more than the {} newest could not be read",
            answer.lines.len()
        ));
    }
    let groups = lines::group(&usable);
    let (memory, errors): (Vec<&Group>, Vec<&Group>) = groups.iter().partition(|group| group.out_of_memory);
    let searched = match &facts.memory {
        Some(Ok(answer)) => Some((answer, lines::group(&within(answer, facts).0))),
        Some(Err(miss)) => {
            output
                .unknown
                .push(format!("whether lines below error speak of memory: {miss}"));
            None
        }
        None => None,
    };
    let by_word: Vec<&Group> = searched
        .iter()
        .flat_map(|(_, groups)| groups)
        .filter(|group| group.out_of_memory)
        .collect();
    // Two questions may have counted the same lines: the one that saw more counts.
    if let Some((answer, _)) = searched.as_ref().filter(|_| count(&by_word) > count(&memory)) {
        output.findings.extend(out_of_memory(&by_word, answer, facts));
    } else {
        output.findings.extend(out_of_memory(&memory, answer, facts));
    }
    output.findings.extend(error_lines(&errors, answer, facts));
    if usable.is_empty() && output.findings.is_empty() {
        output
            .unknown
            .push("why it happens, from the log: it holds no error lines of the service".to_owned());
    }
    output
}

fn out_of_memory(groups: &[&Group], answer: &LogAnswer, facts: &Facts) -> Option<Finding> {
    let first = groups.first()?;
    let paths = groups.iter().filter_map(|group| group.path.clone()).fold(
        BTreeMap::<String, u64>::new(),
        |mut all, (path, count)| {
            *all.entry(path).or_default() += count;
            all
        },
    );
    let path = lines::most(paths);
    let most = path
        .as_ref()
        .map(|(path, count)| format!(", {count} of them about {path}"))
        .unwrap_or_default();
    let (count, first_at, last_at) = (count(groups), first_at(groups)?, last_at(groups)?);
    let shown = format!("{count} lines; for example: {}", first.example);
    Some(Finding {
        kind: FindingKind::OutOfMemory,
        summary: format!("Memory ran out: {count} log lines say so{most}"),
        facts: map(json!({
            "count": count, "first_at": first_at, "last_at": last_at, "template": first.template, "templates": told(groups),
            "since": facts.from, "example": first.example, "path": path.map(|(path, _)| path), "cut": answer.cut,
        })),
        citations: vec![cite(answer, facts, &shown)],
    })
}

fn error_lines(groups: &[&Group], answer: &LogAnswer, facts: &Facts) -> Option<Finding> {
    let first = groups.first()?;
    let (all, first_at, last_at) = (count(groups), first_at(groups)?, last_at(groups)?);
    let excerpt: Vec<String> = groups
        .iter()
        .take(TOLD)
        .map(|group| format!("{}× {}", group.count, group.example))
        .collect();
    Some(Finding {
        kind: FindingKind::ErrorLines,
        summary: format!(
            "{all} error lines of {} kinds; {} of them: {}",
            groups.len(),
            first.count,
            first.template
        ),
        facts: map(json!({
            "count": all, "kinds": groups.len(), "since": facts.from, "first_at": first_at, "last_at": last_at,
            "templates": told(groups), "cut": answer.cut,
        })),
        citations: vec![cite(answer, facts, &excerpt.join(" | "))],
    })
}

/// The most frequent templates, counted.
fn told(groups: &[&Group]) -> Vec<serde_json::Value> {
    let one = |group: &&Group| {
        json!({
            "template": group.template, "count": group.count, "first_at": group.first_at,
            "last_at": group.last_at, "example": group.example,
        })
    };
    groups.iter().take(TOLD).map(one).collect()
}

/// Lines of the span that was asked about and not of a level below error where the level was asked for; and how many others.
fn within(answer: &LogAnswer, facts: &Facts) -> (Vec<LogLine>, usize) {
    let usable: Vec<LogLine> = answer
        .lines
        .iter()
        .filter(|line| facts.from <= line.at && line.at <= facts.to && !line.text.trim().is_empty())
        .cloned()
        .collect();
    let outside = answer.lines.len() - usable.len();
    (usable, outside)
}

fn cite(answer: &LogAnswer, facts: &Facts, excerpt: &str) -> Citation {
    let query = text::line(&answer.query, 1_000);
    Citation::new("logs", query, (facts.from, facts.to), &text::line(excerpt, 600))
}

fn count(groups: &[&Group]) -> u64 {
    groups.iter().map(|group| group.count).sum()
}

fn first_at(groups: &[&Group]) -> Option<DateTime<Utc>> {
    groups.iter().map(|group| group.first_at).min()
}

fn last_at(groups: &[&Group]) -> Option<DateTime<Utc>> {
    groups.iter().map(|group| group.last_at).max()
}
