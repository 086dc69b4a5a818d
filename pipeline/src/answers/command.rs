//! The command `/aegis` on Slack: looks into the tables, and the orders that the API gives, each request good for one.
//!
//! `similar` compares by meaning, names what both incidents have, and what fixed the other. While the vectors cannot be asked it compares by
//! service and title, and says so.

use gateway::{OrderError, Orders as _, SimilarAnswer};
use model::{Fact, IncidentId, Status};
use sinks::notify::escaped;
use sinks::sql::{IncidentDetail, IncidentFilter, IncidentRow, RemediationRow, ResponseFilter, StoreError};
use sources::webhook::slack::{Command, Wish};
use uuid::Uuid;

use super::SlackAnswers;
use crate::cli::similar::fixed_by;

/// What the table of used buttons calls a command.
const RECEIVER: &str = "slack-command";

/// Incidents and remediations that the beginning of an id is looked up among, newest first.
const LOOKED_THROUGH: u32 = 1_000;

/// Characters of an id that must be typed.
const SHORTEST: usize = 4;

/// Characters of a plan's hash that must be typed: enough that nobody hits another plan by chance.
const SHORTEST_PLAN: usize = 8;

/// Lines of a list.
const LINES: usize = 10;

const HELP: &str = "\
*What Aegis can do here* (only you see the answers)
`/aegis status` – how many incidents are open, and what waits for an answer
`/aegis incidents [open | all]` – the newest ones
`/aegis why INCIDENT` – its alerts and why they belong together, suspects, and what was proposed
`/aegis similar INCIDENT` – earlier incidents like it, and what fixed them
`/aegis ack INCIDENT` – you are on it
`/aegis resolve INCIDENT what ended it`
`/aegis approve REMEDIATION PLAN` – PLAN is the beginning of the plan's hash
`/aegis deny REMEDIATION why not`
Of an id its beginning is enough.";

fn away(error: StoreError) -> OrderError {
    OrderError::Unavailable(error.to_string())
}

impl SlackAnswers {
    /// What there is to say, or what became of the order.
    pub(super) async fn obey(&self, command: &Command) -> Result<String, OrderError> {
        if command.wish.changes() {
            return self.change(command).await;
        }
        match &command.wish {
            Wish::Status => self.status().await,
            Wish::Incidents { all } => self.incidents(*all).await,
            Wish::Why { incident } => self.why(incident).await,
            Wish::Similar { incident } => self.similar(incident).await,
            _ => Ok(HELP.to_owned()),
        }
    }

    /// The request is used before the order is given, so that of two copies one gives it; it is given back if the order cannot have been
    /// given.
    async fn change(&self, command: &Command) -> Result<String, OrderError> {
        let store = &self.orders.store;
        let now = self.orders.clock.now().to_datetime();
        let (nonce, verb) = (command.nonce, verb(&command.wish));
        store
            .button_for(RECEIVER, nonce, verb, nonce, now)
            .await
            .map_err(away)?;
        if !store.use_button(nonce, &command.by, now).await.map_err(away)? {
            return Err(OrderError::Conflict("this command was given already".to_owned()));
        }
        let given = self.give(command).await;
        if given.is_err() {
            // Who reads the orders takes each once, so a use given back after a lost answer harms nobody.
            store.free_button(nonce).await.map_err(away)?;
        }
        given
    }

    async fn give(&self, command: &Command) -> Result<String, OrderError> {
        let (orders, by) = (&self.orders, command.by.as_str());
        Ok(match &command.wish {
            Wish::Acknowledge { incident } => {
                let row = self.find_incident(incident).await?;
                orders.acknowledge(IncidentId(row.id), by).await?;
                format!("Acknowledged: {}", named(&row))
            }
            Wish::Resolve { incident, resolution } => {
                let row = self.find_incident(incident).await?;
                orders.resolve(IncidentId(row.id), by, resolution).await?;
                format!("Resolved: {}", named(&row))
            }
            Wish::Approve { remediation, plan } => {
                let row = self.find_remediation(remediation).await?;
                if plan.len() < SHORTEST_PLAN || !row.plan_hash.starts_with(plan.as_str()) {
                    return Err(OrderError::Conflict(format!(
                        "the plan that waits is `{}`, and at least {SHORTEST_PLAN} characters of it must be written",
                        short(&row.plan_hash)
                    )));
                }
                orders.approve(row.id, &row.plan_hash, by).await?;
                format!("Approved: {}", proposed(&row))
            }
            Wish::Deny { remediation, reason } => {
                let row = self.find_remediation(remediation).await?;
                orders.deny(row.id, reason, by).await?;
                format!("Denied: {}", proposed(&row))
            }
            _ => HELP.to_owned(),
        })
    }

    async fn status(&self) -> Result<String, OrderError> {
        let open = self.open().await?;
        let count = |severity: &str| open.iter().filter(|row| row.severity == severity).count();
        let waiting = self.waiting(None).await?;
        let mut text = match open.len() {
            0 => "No incident is open.".to_owned(),
            all => format!(
                "*{all} open*: {} critical, {} warning.",
                count("critical"),
                count("warning")
            ),
        };
        for row in waiting.iter().take(LINES) {
            text.push_str(&format!("\nWaits for an answer: {}", proposed(row)));
        }
        Ok(text)
    }

    async fn incidents(&self, all: bool) -> Result<String, OrderError> {
        let rows = match all {
            true => {
                let filter = IncidentFilter::default();
                self.orders
                    .store
                    .incidents(&filter, LINES as u32 + 1, 0)
                    .await
                    .map_err(away)?
            }
            false => self.open().await?,
        };
        if rows.is_empty() {
            return Ok("There is none.".to_owned());
        }
        let mut lines: Vec<String> = rows.iter().take(LINES).map(named).collect();
        if rows.len() > LINES {
            lines.push("… and older ones.".to_owned());
        }
        Ok(lines.join("\n"))
    }

    async fn why(&self, typed: &str) -> Result<String, OrderError> {
        let row = self.find_incident(typed).await?;
        let detail = self.orders.store.incident(row.id).await.map_err(away)?;
        let Some(detail) = detail else {
            return Err(OrderError::NotFound(format!("incident {typed}")));
        };
        let remediations = self.waiting(Some(row.id)).await?;
        Ok(explained(&detail, &remediations))
    }

    async fn similar(&self, typed: &str) -> Result<String, OrderError> {
        let row = self.find_incident(typed).await?;
        let Some(similar) = &self.similar else {
            return self.by_service(&row).await;
        };
        match similar.of_incident(row.id, LINES as u32 / 2).await {
            Ok(Some(answer)) => Ok(alike(&row, &answer)),
            Ok(None) => Err(OrderError::NotFound(format!("incident {typed}"))),
            Err(error) => {
                tracing::warn!(%error, "similar incidents were looked for by service and title alone");
                self.by_service(&row).await
            }
        }
    }

    /// Without vectors.
    async fn by_service(&self, row: &IncidentRow) -> Result<String, OrderError> {
        let Some(service) = row.service.clone() else {
            return Ok("It names no service, so there is nothing to compare it by.".to_owned());
        };
        let filter = IncidentFilter {
            service: Some(service.clone()),
            ..IncidentFilter::default()
        };
        let found = self
            .orders
            .store
            .incidents(&filter, LOOKED_THROUGH, 0)
            .await
            .map_err(away)?;
        let mut earlier: Vec<IncidentRow> = found
            .into_iter()
            .filter(|other| {
                other.id != row.id && other.created_at <= row.created_at && other.environment == row.environment
            })
            .collect();
        // Stable: of equal likeness the newest comes first, as they were read.
        earlier.sort_by_key(|other| other.title != row.title);
        let service = escaped(&service, 80);
        if earlier.is_empty() {
            return Ok(format!("No earlier incident of `{service}` is in the tables."));
        }
        let mut lines = vec![format!(
            "Earlier incidents of `{service}`, those of the same title first (compared by service and title, not by cause):"
        )];
        for other in earlier.iter().take(LINES / 2) {
            let mut line = named(other);
            for (name, text) in [("cause", &other.root_cause), ("ended by", &other.resolution)] {
                if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
                    line.push_str(&format!("\n    {name}: {}", escaped(text, 200)));
                }
            }
            lines.push(line);
        }
        Ok(lines.join("\n"))
    }

    /// Newest first.
    async fn open(&self) -> Result<Vec<IncidentRow>, OrderError> {
        let mut rows = Vec::new();
        for status in [Status::Open, Status::Investigating] {
            let filter = IncidentFilter {
                status: Some(status),
                ..IncidentFilter::default()
            };
            rows.extend(
                self.orders
                    .store
                    .incidents(&filter, LOOKED_THROUGH, 0)
                    .await
                    .map_err(away)?,
            );
        }
        rows.sort_by_key(|row| std::cmp::Reverse((row.created_at, row.id)));
        Ok(rows)
    }

    /// Remediations: of an incident all, else those that wait.
    async fn waiting(&self, incident: Option<Uuid>) -> Result<Vec<RemediationRow>, OrderError> {
        let filter = ResponseFilter {
            status: incident.is_none().then(|| "waiting".to_owned()),
            incident,
        };
        let found = self.orders.store.remediations(&filter, LOOKED_THROUGH, 0).await;
        found.map_err(away)
    }

    async fn find_incident(&self, typed: &str) -> Result<IncidentRow, OrderError> {
        if let Ok(id) = Uuid::parse_str(typed) {
            let found = self.orders.store.incident(id).await.map_err(away)?;
            let found = found.map(|detail| detail.incident);
            return found.ok_or_else(|| OrderError::NotFound(format!("incident {id}")));
        }
        let filter = IncidentFilter::default();
        let rows = self
            .orders
            .store
            .incidents(&filter, LOOKED_THROUGH, 0)
            .await
            .map_err(away)?;
        only(rows, typed, "incident", |row| row.id)
    }

    async fn find_remediation(&self, typed: &str) -> Result<RemediationRow, OrderError> {
        if let Ok(id) = Uuid::parse_str(typed) {
            let found = self.orders.store.remediation(id).await.map_err(away)?;
            return found.ok_or_else(|| OrderError::NotFound(format!("remediation {id}")));
        }
        let rows = self
            .orders
            .store
            .remediations(&ResponseFilter::default(), LOOKED_THROUGH, 0)
            .await;
        only(rows.map_err(away)?, typed, "remediation", |row| row.id)
    }
}

/// The only one whose id begins as typed.
fn only<T>(rows: Vec<T>, typed: &str, what: &str, id: impl Fn(&T) -> Uuid) -> Result<T, OrderError> {
    let shown = escaped(typed, 40);
    if typed.len() < SHORTEST {
        return Err(OrderError::Conflict(format!(
            "write at least {SHORTEST} characters of the id, `{shown}` is too short"
        )));
    }
    let mut matching = rows.into_iter().filter(|row| id(row).to_string().starts_with(typed));
    let found = matching.next();
    let found = found.ok_or_else(|| OrderError::NotFound(format!("{what} whose id begins with `{shown}`")))?;
    match matching.next() {
        None => Ok(found),
        Some(_) => Err(OrderError::Conflict(format!(
            "several begin with `{shown}`: write more of the id"
        ))),
    }
}

fn verb(wish: &Wish) -> &'static str {
    match wish {
        Wish::Acknowledge { .. } => "ack",
        Wish::Resolve { .. } => "resolve",
        Wish::Approve { .. } => "approve",
        Wish::Deny { .. } => "deny",
        _ => "look",
    }
}

/// The first eight characters: of an id, or of a hash.
fn short(id: &str) -> &str {
    id.get(..8).unwrap_or(id)
}

/// One line for an incident.
fn named(row: &IncidentRow) -> String {
    format!(
        "`{}` *{}* {} – {}, {}, since {}",
        short(&row.id.to_string()),
        row.severity,
        escaped(&row.title, 150),
        escaped(row.service.as_deref().unwrap_or("no service"), 60),
        row.status,
        row.created_at.format("%Y-%m-%d %H:%M UTC")
    )
}

/// One line for a remediation.
fn proposed(row: &RemediationRow) -> String {
    format!(
        "`{}` {} {} in {} – {}, plan `{}`: {}",
        short(&row.id.to_string()),
        escaped(&row.action_type, 40),
        escaped(&row.target, 80),
        escaped(row.namespace.as_deref().unwrap_or("no namespace"), 60),
        row.status,
        short(&row.plan_hash),
        escaped(&row.reason, 150)
    )
}

/// Past incidents like `row`, each with what both have and what fixed it.
fn alike(row: &IncidentRow, answer: &SimilarAnswer) -> String {
    let service = escaped(row.service.as_deref().unwrap_or("no service"), 80);
    let mut lines = vec![match answer.similar.is_empty() {
        true => format!("No earlier incident of `{service}`, or of another service, is like it."),
        false => "Earlier incidents like it:".to_owned(),
    }];
    for other in &answer.similar {
        let shared = other
            .matched
            .iter()
            .map(|m| format!("{} {}", m.feature, escaped(&m.value, 80)));
        lines.push(format!(
            "`{}` *{:.2}* {} – {}\n    fixed by: {}\n    both have: {}",
            short(&other.id.to_string()),
            other.score,
            escaped(&other.title, 150),
            other.created_at.format("%Y-%m-%d %H:%M UTC"),
            escaped(&fixed_by(other), 200),
            shared.collect::<Vec<_>>().join(", ")
        ));
    }
    if answer.behind > 0 || answer.degraded.is_some() {
        lines.push(format!("{} records are not compared yet.", answer.behind));
    }
    lines.join("\n")
}

/// Why an incident is one, and what became of it.
fn explained(detail: &IncidentDetail, remediations: &[RemediationRow]) -> String {
    let row = &detail.incident;
    let mut lines = vec![named(row), format!("{} of {} alerts fire.", row.firing, row.members)];
    let more = |lines: &mut Vec<String>, all: usize| {
        if all > LINES {
            lines.push(format!("… and {} more.", all - LINES));
        }
    };
    for member in detail.members.iter().take(LINES) {
        let because = match &member.link_key {
            Some(key) => format!("{}, {key}", member.rule),
            None => member.rule.clone(),
        };
        lines.push(format!(
            "• {} – because of {}",
            escaped(&member.title, 120),
            escaped(&because, 120)
        ));
    }
    more(&mut lines, detail.members.len());
    let suspects: Vec<String> = detail
        .events
        .iter()
        .filter_map(|event| suspect(&event.payload))
        .collect();
    lines.extend(suspects.iter().take(LINES).cloned());
    more(&mut lines, suspects.len());
    for (name, text) in [
        ("Root cause", &row.root_cause),
        ("Ended by", &row.resolution),
        ("Resolved by", &row.resolved_by),
    ] {
        if let Some(text) = text.as_deref().filter(|text| !text.is_empty()) {
            lines.push(format!("{name}: {}", escaped(text, 300)));
        }
    }
    lines.extend(
        remediations
            .iter()
            .take(LINES)
            .map(|row| format!("Proposed: {}", proposed(row))),
    );
    lines.join("\n")
}

fn suspect(payload: &serde_json::Value) -> Option<String> {
    let fact = serde_json::from_value(payload.get("fact")?.clone()).ok()?;
    let Fact::SuspectFound { suspect } = fact else {
        return None;
    };
    let minutes = suspect.before_ms.max(0) / 60_000;
    Some(format!(
        "Suspect: {} – {minutes} min before, {}",
        escaped(&suspect.title, 150),
        escaped(&suspect.source, 40)
    ))
}
