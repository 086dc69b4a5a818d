//! The security auditor: what it finds, what it ties it to, where it abstains; and nothing of a secret in anything it says.

use std::sync::Arc;

use agents::AgentSettings;
use async_trait::async_trait;
use model::evidence::{Finding, FindingKind};
use model::investigation::{Agent, Evidence, StepResult, StepStatus};
use serde_json::json;
use tools::ToolError;
use tools::github::security::{
    AlertAnswer, AlertKind, AlertQuery, Change, ChangeSecrets, OneAlert, Security, SecurityAlert,
};
use tools::redact::in_text;

use crate::support::crew::request;
use crate::support::{COMMIT, Mood, World, at, line, now};

/// In two parts, so that it stands nowhere whole.
const LEAKED: (&str, &str) = ("ghp_0a1B2c3D4e5F6g7H8", "i9J0k1L2m3N4o5P6q7R");

fn leaked() -> String {
    format!("{}{}", LEAKED.0, LEAKED.1)
}

/// Scanners that know one dependency, and a change that adds what it is told.
#[derive(Clone)]
struct Scanners {
    added: String,
    mood: Mood,
}

impl Scanners {
    async fn mood(&self) -> Result<(), ToolError> {
        match self.mood {
            Mood::Hangs => std::future::pending().await,
            Mood::Fails => Err(ToolError::DidNotHappen {
                tool: "github",
                cause: format!("connection refused, token {}", leaked()),
                retry: true,
            }),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Security for Scanners {
    fn knows(&self, repository: &str) -> bool {
        repository == "shop/api-server"
    }

    async fn alerts(&self, _: &AlertQuery) -> Result<AlertAnswer, ToolError> {
        unreachable!("the auditor asks for the alerts that signals name")
    }

    async fn alert(&self, one: &OneAlert) -> Result<SecurityAlert, ToolError> {
        self.mood().await?;
        let secret = one.kind == AlertKind::SecretScanning;
        let of = |text: &str| (!secret).then(|| text.to_owned());
        Ok(SecurityAlert {
            number: one.number,
            kind: one.kind,
            state: "open".into(),
            severity: of("high"),
            title: format!("Command injection {}", leaked()),
            rule: None,
            package: of("lodash"),
            affected: of("< 4.17.21"),
            fixed_in: of("4.17.21"),
            cve: of("CVE-2021-23337"),
            ghsa: None,
            path: Some(if secret { "src/a.rs" } else { "package-lock.json" }.into()),
            line: secret.then_some(12),
            commit: secret.then(|| COMMIT.to_owned()),
            created_at: Some(at(-60)),
        })
    }

    async fn secrets_in_change(&self, change: &Change) -> Result<ChangeSecrets, ToolError> {
        self.mood().await?;
        assert_eq!(change.head, COMMIT, "the suspected deployment, and the one before it");
        Ok(ChangeSecrets {
            repository: change.repository.clone(),
            base: change.base.clone(),
            head: change.head.clone(),
            sightings: in_text(&self.added, "src/a.rs:12"),
            files: 1,
            unseen: 0,
            cut: false,
        })
    }
}

/// A quiet world: nothing to find unless a test puts it there.
fn quiet() -> World {
    let mut world = World::quiet();
    world.code = Mood::Works;
    world.revisions[0].images = vec![format!("registry/api-server:v2-{}", &COMMIT[..12])];
    world
}

async fn audit(world: &World, added: &str, mood: Mood, evidence: Evidence) -> StepResult {
    let (mut tools, _) = world.tools();
    tools.security = Some(Arc::new(Scanners {
        added: added.to_owned(),
        mood,
    }));
    let step = agents::run(
        &request(Agent::SecurityAuditor, &evidence),
        &tools,
        &AgentSettings::default(),
        now(),
    )
    .await;
    let told = serde_json::to_string(&step).unwrap();
    for part in [LEAKED.0, LEAKED.1, &LEAKED.1[LEAKED.1.len() - 4..]] {
        assert!(!told.contains(part), "a part of a secret: {told}");
    }
    for finding in &step.output.findings {
        assert!(!finding.citations.is_empty(), "{finding:?}");
    }
    step
}

fn suspected(world: &World) -> Evidence {
    let mut evidence = world.evidence();
    evidence.suspects = vec![crate::support::suspect(
        -25,
        &format!("Deployment of main ({}) to prod: success", &COMMIT[..7]),
    )];
    evidence
}

fn weakness(world: &World, key: &str) -> Evidence {
    let mut evidence = world.evidence();
    let member = &mut evidence.members[0];
    (member.dedup_key, member.source) = (key.to_owned(), "github".to_owned());
    member.title = format!("lodash: Command injection {}", leaked());
    evidence
}

fn only(step: &StepResult, kind: FindingKind) -> &Finding {
    assert_eq!(step.status, StepStatus::Success, "{}", step.error);
    let [finding] = step.output.findings.as_slice() else {
        panic!("{:?}", step.output);
    };
    assert_eq!(finding.kind, kind);
    finding
}

#[tokio::test]
async fn a_secret_in_the_change_is_tied_to_its_commit_and_to_what_runs() {
    let world = quiet();
    let step = audit(
        &world,
        &format!("token = \"{}\"", leaked()),
        Mood::Works,
        suspected(&world),
    )
    .await;
    let finding = only(&step, FindingKind::SecretExposed);
    let facts = &finding.facts;
    assert_eq!(
        (&facts["where"], &facts["commit"], &facts["detectors"]),
        (&json!("change"), &json!(COMMIT), &json!(["github-token"]))
    );
    assert_eq!(
        (&facts["workload"], &facts["namespace"], &facts["runs"]),
        (&json!("deployment/api-server"), &json!("production"), &json!("yes"))
    );
    assert!(
        finding.summary.contains("src/a.rs:12") && finding.summary.contains("which is this commit"),
        "{}",
        finding.summary
    );
    let sources: Vec<&str> = finding.citations.iter().map(|one| one.source.as_str()).collect();
    assert_eq!(sources, ["github", "kubernetes"]);
    // Another commit runs, or none is named: it says so, and does not guess.
    let mut other = quiet();
    for (image, runs) in [
        ("registry/api-server:0a1b2c3", "no"),
        ("registry/api-server:v2", "unknown"),
    ] {
        other.revisions[0].images = vec![image.to_owned()];
        let step = audit(&other, &leaked(), Mood::Works, suspected(&other)).await;
        assert_eq!(only(&step, FindingKind::SecretExposed).facts["runs"], runs);
    }
}

#[tokio::test]
async fn what_a_scanner_told_is_looked_up_by_its_structured_name() {
    let world = quiet();
    let step = audit(
        &world,
        "",
        Mood::Works,
        weakness(&world, "gh:shop/api-server:dependabot_alert:4"),
    )
    .await;
    // Its title holds a token, which is a second finding.
    let kinds: Vec<FindingKind> = step.output.findings.iter().map(|finding| finding.kind).collect();
    assert_eq!(kinds, [FindingKind::SecurityAlert, FindingKind::SecretExposed]);
    let facts = &step.output.findings[0].facts;
    for (name, value) in [
        ("cve", "CVE-2021-23337"),
        ("package", "lodash"),
        ("fixed_in", "4.17.21"),
        ("path", "package-lock.json"),
        ("namespace", "production"),
    ] {
        assert_eq!(facts[name], value, "{facts:?}");
    }
    assert!(!facts.contains_key("runs"), "a dependency names no commit");
    assert_eq!(step.output.findings[1].facts["where"], "event");

    let step = audit(
        &world,
        "",
        Mood::Works,
        weakness(&world, "gh:shop/api-server:secret_scanning_alert:2"),
    )
    .await;
    let facts = &step.output.findings[0].facts;
    assert_eq!(
        (&facts["secret"], &facts["path"], &facts["runs"]),
        (&json!(true), &json!("src/a.rs:12"), &json!("yes"))
    );

    // Of a repository that may not be read there is what the signal says, and no more.
    let step = audit(
        &world,
        "",
        Mood::Works,
        weakness(&world, "gh:other/repo:code_scanning_alert:1"),
    )
    .await;
    assert_eq!(step.output.findings[0].kind, FindingKind::SecurityAlert);
    assert!(
        step.output.unknown[0].contains("may not be asked about other/repo"),
        "{:?}",
        step.output.unknown
    );
}

#[tokio::test]
async fn a_secret_in_the_log_is_told_by_its_detector_and_its_time() {
    let mut world = quiet();
    let text = format!("connecting with {}", leaked());
    let mut leaky = line(-2, "connecting with [redacted]");
    leaky.secrets = in_text(&text, "the line");
    world.lines = vec![line(-3, "started"), leaky];
    let step = audit(&world, "", Mood::Works, world.evidence()).await;
    let finding = only(&step, FindingKind::SecretExposed);
    assert_eq!(
        (&finding.facts["where"], &finding.facts["count"]),
        (&json!("log"), &json!(1))
    );
    assert_eq!(finding.citations[0].source, "logs");
}

#[tokio::test]
async fn where_there_is_nothing_it_says_nothing() {
    let world = quiet();
    let step = audit(&world, "let x = 1;", Mood::Works, suspected(&world)).await;
    assert_eq!((step.status, step.output.findings.len()), (StepStatus::Success, 0));
    assert_eq!(step.output.unknown, [""; 0]);
}

#[tokio::test]
async fn scanners_that_fail_are_named_and_the_rest_is_told() {
    let mut world = quiet();
    let mut leaky = line(-2, "x");
    leaky.secrets = in_text(&leaked(), "the line");
    world.lines = vec![leaky];
    let step = audit(&world, "", Mood::Fails, suspected(&world)).await;
    only(&step, FindingKind::SecretExposed);
    assert!(
        step.output.unknown[0].contains("secrets in the suspected change"),
        "{:?}",
        step.output.unknown
    );
}
