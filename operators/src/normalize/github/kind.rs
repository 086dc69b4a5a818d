//! Which event a body is of, by the members that only this event has.

use super::body::Body;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Push,
    Deployment,
    DeploymentStatus,
    WorkflowRun,
    WorkflowJob,
    CheckRun,
    CheckSuite,
    PullRequest,
    Release,
    CodeScanning,
    SecretScanning,
    Dependabot,
    RepositoryVulnerability,
    Advisory,
    /// An event that we know nothing of.
    Other,
}

/// Members that belong to events about a deployment, a pull request or a run which are none of those events.
const ABOUT: &[&str] = &[
    "/review",
    "/comment",
    "/thread",
    "/deployment_callback_url",
    "/approver",
    "/reviewers",
    "/requestor",
    "/merge_group",
    "/workflow_job_runs",
    "/assets",
    "/location",
];

impl Kind {
    pub fn of(body: &Body<'_>) -> Kind {
        if body.has("/zen") && body.has("/hook_id") {
            return Kind::Ping;
        }
        if body.has("/security_advisory") && !body.has("/alert") {
            return Kind::Advisory;
        }
        if body.has("/alert") && !body.has("/location") {
            if body.has("/alert/secret_type") {
                return Kind::SecretScanning;
            }
            if body.has("/alert/security_advisory") || body.has("/alert/security_vulnerability") {
                return Kind::Dependabot;
            }
            if body.has("/alert/affected_package_name") {
                return Kind::RepositoryVulnerability;
            }
            if body.has("/alert/rule") && body.has("/alert/tool") {
                return Kind::CodeScanning;
            }
        }
        if ABOUT.iter().any(|member| body.has(member)) {
            return Kind::Other;
        }
        let subjects = [
            ("/workflow_job", Kind::WorkflowJob),
            ("/deployment_status", Kind::DeploymentStatus),
            ("/deployment", Kind::Deployment),
            ("/workflow_run", Kind::WorkflowRun),
            ("/check_run", Kind::CheckRun),
            ("/check_suite", Kind::CheckSuite),
            ("/pull_request", Kind::PullRequest),
            ("/release", Kind::Release),
        ];
        let found = subjects.iter().find(|(member, _)| body.has(&format!("{member}/id")));
        match found {
            Some((_, kind)) => *kind,
            None if body.has("/ref") && body.has("/before") && body.has("/after") && body.has("/pusher") => Kind::Push,
            None => Kind::Other,
        }
    }

    /// As GitHub calls it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ping => "ping",
            Kind::Push => "push",
            Kind::Deployment => "deployment",
            Kind::DeploymentStatus => "deployment_status",
            Kind::WorkflowRun => "workflow_run",
            Kind::WorkflowJob => "workflow_job",
            Kind::CheckRun => "check_run",
            Kind::CheckSuite => "check_suite",
            Kind::PullRequest => "pull_request",
            Kind::Release => "release",
            Kind::CodeScanning => "code_scanning_alert",
            Kind::SecretScanning => "secret_scanning_alert",
            Kind::Dependabot => "dependabot_alert",
            Kind::RepositoryVulnerability => "repository_vulnerability_alert",
            Kind::Advisory => "security_advisory",
            Kind::Other => "other",
        }
    }

    const KNOWN: [Kind; 15] = [
        Kind::Ping,
        Kind::Push,
        Kind::Deployment,
        Kind::DeploymentStatus,
        Kind::WorkflowRun,
        Kind::WorkflowJob,
        Kind::CheckRun,
        Kind::CheckSuite,
        Kind::PullRequest,
        Kind::Release,
        Kind::CodeScanning,
        Kind::SecretScanning,
        Kind::Dependabot,
        Kind::RepositoryVulnerability,
        Kind::Advisory,
    ];

    /// Whether a header with this name may stand beside a body of this kind. A name that we do not know says nothing: new events come
    /// every year, and of the body it is for its shape to speak.
    pub fn goes_with(self, named: Option<&str>) -> bool {
        let known = named.and_then(|name| Kind::KNOWN.into_iter().find(|kind| kind.name() == name));
        known.is_none_or(|known| known == self)
    }
}
