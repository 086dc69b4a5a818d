//! Alerts about weaknesses: they fire until they are fixed, dismissed or resolved.

use model::{SignalKind, SignalState};

use super::Story;
use super::body::Body;
use super::kind::Kind;
use crate::normalize::fault::Fault;

pub fn story(kind: Kind, body: &Body<'_>) -> Result<Story, Fault> {
    if kind == Kind::Advisory {
        return advisory(body);
    }
    let key = vec![
        kind.name().to_owned(),
        body.id("/alert/number").or_else(|_| body.id("/alert/id"))?,
    ];
    let (state, ends_at) = state(body)?;
    let (what, severity) = match kind {
        Kind::CodeScanning => (
            body.first_text(&["/alert/rule/description", "/alert/rule/name", "/alert/rule/id"])
                .unwrap_or("code scanning alert"),
            body.first_text(&["/alert/rule/security_severity_level", "/alert/rule/severity"])
                .unwrap_or("warning"),
        ),
        // Whoever has the secret can use it now.
        Kind::SecretScanning => (
            body.first_text(&["/alert/secret_type_display_name", "/alert/secret_type"])
                .unwrap_or("secret"),
            "critical",
        ),
        Kind::Dependabot => (
            body.text("/alert/security_advisory/summary")
                .unwrap_or("vulnerable dependency"),
            body.first_text(&[
                "/alert/security_vulnerability/severity",
                "/alert/security_advisory/severity",
            ])
            .unwrap_or("warning"),
        ),
        _ => (
            body.first_text(&["/alert/external_identifier", "/alert/ghsa_id"])
                .unwrap_or("vulnerable dependency"),
            body.text("/alert/severity").unwrap_or("warning"),
        ),
    };
    let package = body.first_text(&["/alert/dependency/package/name", "/alert/affected_package_name"]);
    let title = match (kind, package) {
        (Kind::SecretScanning, _) => format!("Secret in the repository: {what}"),
        (_, Some(package)) => format!("{package}: {what}"),
        (_, None) => what.to_owned(),
    };
    let told: [(&'static str, &[&str]); 6] = [
        ("cve", &["/alert/security_advisory/cve_id"]),
        ("ghsa", &["/alert/security_advisory/ghsa_id", "/alert/ghsa_id"]),
        (
            "package",
            &["/alert/dependency/package/name", "/alert/affected_package_name"],
        ),
        ("rule", &["/alert/rule/id"]),
        ("tool", &["/alert/tool/name"]),
        ("commit", &["/commit_oid", "/alert/most_recent_instance/commit_sha"]),
    ];
    let labels = told
        .iter()
        .filter_map(|(name, places)| Some((*name, body.first_text(places)?.to_owned())))
        .collect();
    Ok(Story {
        kind: SignalKind::Security,
        state,
        key,
        rule: "github/alert@1",
        at: body.time("/alert/created_at")?,
        ends_at,
        severity: Some(severity.to_owned()),
        title,
        description: body
            .first_text(&["/alert/security_advisory/description", "/alert/rule/full_description"])
            .map(str::to_owned),
        environment: None,
        labels,
    })
}

/// Whether it fires. The alert's own state counts, not the action: events come in any order, and one of several ways to be fixed
/// may be new to us.
fn state(body: &Body<'_>) -> Result<(SignalState, Option<i64>), Fault> {
    let ended = match (body.text("/alert/state"), body.action()) {
        (Some(state), _) => state != "open",
        // Secret scanning leaves the state out of older events, vulnerability alerts have none.
        (None, action) => matches!(
            action,
            "resolve" | "resolved" | "dismiss" | "dismissed" | "fixed" | "closed_by_user"
        ),
    };
    // An end without a start has nothing to end.
    if !ended || body.time("/alert/created_at")?.is_none() {
        let state = if body.has("/alert/created_at") && !ended {
            SignalState::Firing
        } else {
            SignalState::Event
        };
        return Ok((state, None));
    }
    let ends_at = body.first_time(&[
        "/alert/fixed_at",
        "/alert/dismissed_at",
        "/alert/resolved_at",
        "/alert/auto_dismissed_at",
        "/alert/updated_at",
    ])?;
    Ok((SignalState::Resolved, ends_at))
}

fn advisory(body: &Body<'_>) -> Result<Story, Fault> {
    let ghsa = body.id("/security_advisory/ghsa_id")?;
    let summary = body.text("/security_advisory/summary").unwrap_or(&ghsa).to_owned();
    let cve = body
        .text("/security_advisory/cve_id")
        .map(|cve| ("cve", cve.to_owned()));
    Ok(Story {
        kind: SignalKind::Security,
        state: SignalState::Event,
        key: vec!["security_advisory".into(), ghsa.clone()],
        rule: "github/advisory@1",
        at: body.time("/security_advisory/published_at")?,
        ends_at: None,
        severity: body.text("/security_advisory/severity").map(str::to_owned),
        title: summary,
        description: body.text("/security_advisory/description").map(str::to_owned),
        environment: None,
        labels: [("ghsa", ghsa)].into_iter().chain(cve).collect(),
    })
}
