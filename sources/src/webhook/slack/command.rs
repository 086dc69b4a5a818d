//! The slash command `/aegis` (<https://docs.slack.dev/interactivity/implementing-slash-commands>): a form, and in its field `text` what
//! is wanted.

use crate::webhook::form;

use super::SlackRole;

/// Longest text taken, in bytes. Slack's own limit on a message is 4,000 characters.
const LONGEST: usize = 8_000;

/// As much of the form as counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    pub user: String,
    pub text: String,
    pub response_url: Option<String>,
}

/// What somebody wants. Ids are as they were typed: whole, or their beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    Help,
    Status,
    Incidents { all: bool },
    Why { incident: String },
    Similar { incident: String },
    Acknowledge { incident: String },
    Resolve { incident: String, resolution: String },
    Approve { remediation: String, plan: String },
    Deny { remediation: String, reason: String },
}

impl Wish {
    /// Reads the text behind the command; what is wrong with it, for the person.
    pub fn read(text: &str) -> Result<Wish, String> {
        let (verb, rest) = next_word(text);
        let (id, words) = next_word(rest);
        let (id, words) = (id.to_ascii_lowercase(), words.to_owned());
        let wants = |what: &str| Err(format!("Write `/aegis {verb} {what}`."));
        let known = |text: &str| !text.is_empty();
        match verb.to_ascii_lowercase().as_str() {
            "" | "help" => Ok(Wish::Help),
            "status" => Ok(Wish::Status),
            "incidents" => match id.as_str() {
                "" | "open" => Ok(Wish::Incidents { all: false }),
                "all" => Ok(Wish::Incidents { all: true }),
                _ => wants("[open | all]"),
            },
            "why" if known(&id) => Ok(Wish::Why { incident: id }),
            "similar" if known(&id) => Ok(Wish::Similar { incident: id }),
            "ack" | "acknowledge" if known(&id) => Ok(Wish::Acknowledge { incident: id }),
            "resolve" if known(&id) && known(&words) => Ok(Wish::Resolve {
                incident: id,
                resolution: words,
            }),
            "approve" if known(&id) && known(&words) => Ok(Wish::Approve {
                remediation: id,
                plan: words.to_ascii_lowercase(),
            }),
            "deny" if known(&id) && known(&words) => Ok(Wish::Deny {
                remediation: id,
                reason: words,
            }),
            "why" | "similar" | "ack" | "acknowledge" => wants("INCIDENT"),
            "resolve" => wants("INCIDENT what ended it"),
            "approve" => wants("REMEDIATION PLAN: the beginning of the plan's hash, as `/aegis why INCIDENT` shows it"),
            "deny" => wants("REMEDIATION why not"),
            _ => Err("I do not know this word. `/aegis help` tells what there is.".to_owned()),
        }
    }

    /// Who may wish it, at least.
    pub fn needs(&self) -> SlackRole {
        match self {
            Wish::Help | Wish::Status | Wish::Incidents { .. } | Wish::Why { .. } | Wish::Similar { .. } => {
                SlackRole::Viewer
            }
            Wish::Acknowledge { .. } | Wish::Resolve { .. } => SlackRole::Responder,
            Wish::Approve { .. } | Wish::Deny { .. } => SlackRole::Approver,
        }
    }

    /// Whether it changes anything.
    pub fn changes(&self) -> bool {
        self.needs() > SlackRole::Viewer
    }
}

impl Form {
    /// Reads a signed body. The error says what is wrong with it.
    pub fn read(body: &[u8]) -> Result<Form, String> {
        let fields = form::fields(body).ok_or("the body is no form, or one of its fields stands there twice")?;
        let take = |name: &str| {
            let found = fields.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone())
        };
        let user = take("user_id").filter(|id| !id.is_empty());
        let text = take("text").unwrap_or_default();
        if text.len() > LONGEST {
            return Err(format!("text takes {} bytes, at most {LONGEST} are taken", text.len()));
        }
        Ok(Form {
            user: user.ok_or("user_id is missing")?,
            text: text.trim().to_owned(),
            response_url: take("response_url"),
        })
    }
}

/// The first word, and what is behind it.
fn next_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes() {
        let id = || "ab12".to_owned();
        for (text, wish, role) in [
            ("", Wish::Help, SlackRole::Viewer),
            (" help me", Wish::Help, SlackRole::Viewer),
            ("STATUS", Wish::Status, SlackRole::Viewer),
            ("incidents", Wish::Incidents { all: false }, SlackRole::Viewer),
            ("incidents all", Wish::Incidents { all: true }, SlackRole::Viewer),
            ("why AB12", Wish::Why { incident: id() }, SlackRole::Viewer),
            ("similar ab12", Wish::Similar { incident: id() }, SlackRole::Viewer),
            ("ack  ab12", Wish::Acknowledge { incident: id() }, SlackRole::Responder),
            (
                "resolve ab12 was  a bad disk",
                Wish::Resolve {
                    incident: id(),
                    resolution: "was  a bad disk".into(),
                },
                SlackRole::Responder,
            ),
            (
                "approve ab12 FFEE",
                Wish::Approve {
                    remediation: id(),
                    plan: "ffee".into(),
                },
                SlackRole::Approver,
            ),
            (
                "deny ab12 not today",
                Wish::Deny {
                    remediation: id(),
                    reason: "not today".into(),
                },
                SlackRole::Approver,
            ),
        ] {
            assert_eq!(Wish::read(text).as_ref(), Ok(&wish), "{text}");
            assert_eq!(
                (wish.needs(), wish.changes()),
                (role, role > SlackRole::Viewer),
                "{text}"
            );
        }
        for wrong in [
            "dance",
            "ack",
            "why",
            "resolve ab12",
            "approve ab12",
            "deny",
            "incidents some",
        ] {
            let told = Wish::read(wrong).unwrap_err();
            assert!(told.contains("/aegis"), "{wrong}: {told}");
        }
    }

    #[test]
    fn forms() {
        let body = "command=%2Faegis&user_id=U1&text=ack+ab12%20&response_url=https%3A%2F%2Fhooks.slack.com%2Fx";
        let form = Form::read(body.as_bytes()).unwrap();
        assert_eq!((&*form.user, &*form.text), ("U1", "ack ab12"));
        assert_eq!(form.response_url.as_deref(), Some("https://hooks.slack.com/x"));
        let long = format!("user_id=U1&text={}", "x".repeat(LONGEST + 1));
        for bad in [
            "",
            "text=help",
            "user_id=",
            "user_id=U1&user_id=U2",
            "user_id=%zz",
            "user_id=%ff",
            &long,
        ] {
            assert!(Form::read(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
