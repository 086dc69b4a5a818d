//! The root cause, as far as the findings carry it: what is shown comes first, what came before it is told as coming before it.

use model::evidence::{Citation, Finding, FindingKind};
use model::investigation::Evidence;

use super::NOT_KNOWN;
use crate::findings::{about, bad_level, began_after, collect, number, of_kind, time, word};
use crate::symptom::Symptom;
use crate::text;

/// The sentence, its evidence, and what should be done about it.
pub struct Cause {
    pub text: String,
    pub citations: Vec<Citation>,
    pub follow_ups: Vec<String>,
}

pub fn of(evidence: &Evidence) -> Cause {
    let findings = evidence.findings.as_slice();
    let first = |kind| of_kind(findings, kind).next();
    let service = text::line(evidence.incident.service.as_deref().unwrap_or("the service"), 80);
    let ran_out = first(FindingKind::OutOfMemory);
    let killed = of_kind(findings, FindingKind::UnhealthyPods).find(|finding| number(finding, "oom_killed") > 0.0);
    let measured = findings.iter().find(|finding| {
        about(finding, Symptom::Memory) && (bad_level(finding) || finding.kind == FindingKind::MetricChange)
    });
    let traffic = first(FindingKind::TrafficBeforeSymptom);
    let change = first(FindingKind::RecentChange);
    let trouble = first(FindingKind::ErrorLines)
        .or(first(FindingKind::MetricChange))
        .or(findings.iter().find(|finding| bad_level(finding)));

    if ran_out.or(killed).or(measured).is_some() {
        let shown: Vec<&Finding> = [ran_out, killed, measured].into_iter().flatten().collect();
        return memory(&service, ran_out, ran_out.or(killed).is_some(), &shown, traffic, change);
    }
    let changed_at = change.and_then(|change| time(change, "at"));
    let after = changed_at.and_then(|at| findings.iter().find(|finding| began_after(finding, at)));
    match (change.zip(after), traffic, trouble) {
        (Some((change, trouble)), _, _) => Cause {
            text: format!(
                "Probably a change of {service}{}: the trouble began {} after it{}",
                brought(change),
                minutes(change, "before_s"),
                traffic
                    .map(|traffic| format!(", and {}", rose(traffic)))
                    .unwrap_or_default()
            ),
            citations: cited([Some(change), traffic, Some(trouble)]),
            follow_ups: vec![format!("Review the change before it is rolled out to {service} again")],
        },
        (None, Some(traffic), trouble) => Cause {
            text: format!("Probably load: {} in {service}", rose(traffic)),
            citations: cited([Some(traffic), trouble]),
            follow_ups: vec![format!(
                "Find out where the traffic came from, and set limits or scaling of {service} by it"
            )],
        },
        (_, _, Some(trouble)) => Cause {
            text: format!("{NOT_KNOWN}. What was seen: {}", trouble.summary),
            citations: cited([Some(trouble)]),
            follow_ups: vec![format!("Find out what caused it: {}", trouble.summary)],
        },
        _ => Cause {
            text: format!("{NOT_KNOWN}: nothing that was looked at explains it."),
            citations: Vec::new(),
            follow_ups: Vec::new(),
        },
    }
}

fn memory(
    service: &str,
    lines: Option<&Finding>,
    ran_out: bool,
    shown: &[&Finding],
    traffic: Option<&Finding>,
    change: Option<&Finding>,
) -> Cause {
    let place = lines
        .and_then(|lines| word(lines, "path"))
        .map(|path| format!(", most often about {}", text::line(path, 80)))
        .unwrap_or_default();
    let counted = lines
        .map(|lines| format!(" ({} log lines)", number(lines, "count")))
        .unwrap_or_default();
    let what = if ran_out {
        format!("Memory ran out in {service}{counted}{place}")
    } else {
        format!("Memory of {service} was short")
    };
    let before: Vec<String> = [
        traffic.map(rose),
        change.map(|change| {
            let before = minutes(change, "before_s");
            format!("a change of the service came {before} before{}", brought(change))
        }),
    ]
    .into_iter()
    .flatten()
    .collect();
    let before = match before.as_slice() {
        [] => "what used it up is not known".to_owned(),
        before => before.join("; "),
    };
    let mut follow_ups = vec![format!("Review how {service} uses memory{place}, and its memory limit")];
    follow_ups.extend(traffic.map(|_| format!("Check whether {service} is sized for the traffic that it got")));
    follow_ups.extend(change.map(|_| format!("Check whether the change of {service} made it use more memory")));
    let all = shown.iter().copied().map(Some).chain([traffic, change]);
    Cause {
        text: format!("{what}; {before}."),
        citations: cited(all),
        follow_ups,
    }
}

/// ` (2 commits: 1a2b3c4 Keep reports in memory (kim); …)`, where it is known.
fn brought(change: &Finding) -> String {
    word(change, "brought")
        .map(|brought| format!(" ({})", text::line(brought, 400)))
        .unwrap_or_default()
}

/// `traffic had risen to 3.0 times the usual 10 min before`.
fn rose(traffic: &Finding) -> String {
    let factor = match number(traffic, "factor") {
        factor if factor > 0.0 => format!(" to {factor:.1} times the usual"),
        _ => String::new(),
    };
    format!("traffic had risen{factor} {} before", minutes(traffic, "lag_s"))
}

fn minutes(finding: &Finding, seconds: &str) -> String {
    format!("{:.0} min", number(finding, seconds) / 60.0)
}

fn cited<'a>(findings: impl IntoIterator<Item = Option<&'a Finding>>) -> Vec<Citation> {
    let mut citations = Vec::new();
    collect(
        &mut citations,
        findings.into_iter().flatten().flat_map(|finding| &finding.citations),
    );
    citations
}
