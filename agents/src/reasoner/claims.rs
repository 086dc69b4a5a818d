//! What the model says, held against what is known.

use model::evidence::{Citation, Statement};
use model::investigation::StepOutput;
use serde::Deserialize;

use super::NoWords;
use crate::text;

/// More is not read by anybody.
const CLAIMS: usize = 20;
/// Longest sentence of a claim, in characters.
const SENTENCE: usize = 300;

/// One sentence. Whatever else the model writes beside these fields is not read.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claim {
    pub about: String,
    pub text: String,
    #[serde(default)]
    pub citations: Vec<String>,
}

#[derive(Deserialize)]
struct Claims {
    claims: Vec<Claim>,
}

/// The claims of an answer: a JSON object, alone or in one code block.
pub fn read(content: &str) -> Result<Vec<Claim>, NoWords> {
    let inner = content.trim();
    let inner = inner
        .strip_prefix("```json")
        .or_else(|| inner.strip_prefix("```"))
        .and_then(|rest| rest.strip_suffix("```"))
        .unwrap_or(inner);
    let read: Claims = serde_json::from_str(inner)
        .map_err(|problem| NoWords::Malformed(format!("no JSON object with claims ({problem})")))?;
    Ok(read.claims)
}

/// Appends what holds: at most one sentence to each place, the first that cites something that the place itself cites.
pub fn apply(claims: &[Claim], output: &mut StepOutput) {
    for (at, finding) in output.findings.iter_mut().enumerate() {
        let known: Vec<&str> = finding.citations.iter().map(|citation| citation.id.as_str()).collect();
        if let Some((sentence, _)) = first(claims, &format!("finding:{at}"), &known) {
            finding.summary.push_str(&sentence);
        }
    }
    if let Some(report) = &mut output.postmortem {
        let known: Vec<Citation> = report.citations.clone();
        let known: Vec<&str> = known.iter().map(|citation| citation.id.as_str()).collect();
        add(claims, "root_cause", &known, &mut report.root_cause);
        add(claims, "impact", &known, &mut report.impact);
        add(claims, "resolution", &known, &mut report.resolution);
    }
}

fn add(claims: &[Claim], about: &str, known: &[&str], statement: &mut Statement) {
    if let Some((sentence, cited)) = first(claims, about, known) {
        statement.text.push_str(&sentence);
        for id in cited {
            if !statement.citations.contains(&id) {
                statement.citations.push(id);
            }
        }
    }
}

fn first(claims: &[Claim], about: &str, known: &[&str]) -> Option<(String, Vec<String>)> {
    claims
        .iter()
        .take(CLAIMS)
        .filter(|claim| claim.about == about)
        .find_map(|claim| {
            let cited: Vec<String> = claim
                .citations
                .iter()
                .filter(|id| known.contains(&id.as_str()))
                .cloned()
                .collect();
            // Brackets are ours: a reader must see where the model's words end.
            let sentence = text::line(&claim.text, SENTENCE).replace(['[', ']'], "");
            (!cited.is_empty() && !sentence.is_empty()).then(|| (format!(" [model: {sentence}]"), cited))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let check = |content: &str, expected: Option<usize>| {
            assert_eq!(read(content).ok().map(|claims| claims.len()), expected, "{content}");
        };
        check(r#"{"claims":[]}"#, Some(0));
        check("```json\n{\"claims\":[{\"about\":\"a\",\"text\":\"b\"}]}\n```", Some(1));
        check(
            r#"{"claims":[{"about":"a","text":"b","citations":[],"action":"delete"}],"tool_calls":[1]}"#,
            Some(1),
        );
        check("I think that", None);
        check("", None);
        check(r#"{"claims":"all"}"#, None);
        check(r#"[{"about":"a"}]"#, None);
    }
}
