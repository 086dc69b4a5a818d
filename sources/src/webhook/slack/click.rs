//! The form field `payload` of an interaction (<https://docs.slack.dev/reference/interaction-payloads/block_actions-payload>).

use serde::Deserialize;
use uuid::Uuid;

use crate::webhook::form;

use super::Verb;

/// As much of it as counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub user: String,
    pub response_url: Option<String>,
    /// `None`: some other interaction, which is not ours.
    pub answer: Option<Answer>,
}

/// What a button of ours says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub verb: Verb,
    pub remediation: Uuid,
    pub plan_hash: String,
    pub nonce: Uuid,
}

#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "type")]
    kind: String,
    user: User,
    #[serde(default)]
    response_url: Option<String>,
    #[serde(default)]
    actions: Vec<Action>,
}

#[derive(Deserialize)]
struct User {
    id: String,
}

#[derive(Deserialize)]
struct Action {
    action_id: String,
    #[serde(default)]
    value: Option<String>,
}

impl Payload {
    /// Reads a signed body. The error says what is wrong with it.
    pub fn read(body: &[u8]) -> Result<Payload, String> {
        let json =
            form::payload(body).ok_or("the form has no field `payload`, or several, or it is not well encoded")?;
        let shape: Shape = serde_json::from_slice(&json).map_err(|e| format!("payload: {e}"))?;
        let ours = |action: &Action| {
            let verb = match action.action_id.as_str() {
                "aegis_approve" => Verb::Approve,
                "aegis_deny" => Verb::Deny,
                _ => return None,
            };
            let mut parts = action.value.as_deref()?.split('|');
            let answer = Answer {
                verb,
                remediation: parts.next()?.parse().ok()?,
                plan_hash: parts.next()?.to_owned(),
                nonce: parts.next()?.parse().ok()?,
            };
            parts.next().is_none().then_some(answer)
        };
        let answer = shape
            .actions
            .iter()
            .find_map(ours)
            .filter(|_| shape.kind == "block_actions");
        Ok(Payload {
            user: shape.user.id,
            response_url: shape.response_url,
            answer,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads() {
        let id = Uuid::from_u128(7);
        let value = format!("{id}|abc|{id}");
        let json = format!(
            r#"{{"type":"block_actions","user":{{"id":"U1"}},"response_url":"https://hooks.slack.com/x","actions":[{{"action_id":"aegis_deny","value":"{value}"}}]}}"#
        );
        let body: String = json.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let payload = Payload::read(format!("payload={body}").as_bytes()).unwrap();
        let answer = Answer {
            verb: Verb::Deny,
            remediation: id,
            plan_hash: "abc".into(),
            nonce: id,
        };
        assert_eq!((payload.user.as_str(), payload.answer), ("U1", Some(answer)));
        for bad in ["", "payload", "payload=%7", "payload=%zz", "payload=%7B%7D", "x=1"] {
            assert!(Payload::read(bad.as_bytes()).is_err(), "{bad}");
        }
        let other = "payload=%7B%22type%22%3A%22shortcut%22%2C%22user%22%3A%7B%22id%22%3A%22U1%22%7D%7D";
        assert_eq!(Payload::read(other.as_bytes()).unwrap().answer, None);
    }
}
