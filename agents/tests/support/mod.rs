//! A world in memory: a service, its metrics, its log, its cluster, and an incident about it.

pub mod crew;
pub mod hostile_texts;
pub mod stub_model;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use model::action::{Action, Workload, WorkloadKind};
use model::approval::pods_touched;
use model::investigation::Evidence;
use model::proposal::{BlastRadius, TargetState};
use model::{CanonicalKey, EpisodeId, Incident, IncidentId, Member, Severity, SignalId, Status, Suspect};
use tools::ToolError;
use tools::observe::{
    ActiveAlert, Cluster, ClusterEvent, Code, Commit, CommitQuery, Comparison, Deployment, Deployments, Diff, DryRun,
    FollowUps, LabelAnswer, LabelQuery, LogAnswer, LogLine, LogQuery, Logs, MetricRule, Metrics, Observe, Outcome,
    Plans, Pod, Point, PullQuery, PullRequest, Revision, RuleAnswer, RuleQuery, RunQuery, Series, Target, TargetAnswer,
    TargetQuery, Ticket, TicketAnswer, TicketQuery, Tickets, WorkflowRun,
};

/// How a tool behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    #[default]
    Works,
    Absent,
    Fails,
    Refuses,
    Hangs,
    /// Answers, but not what was asked.
    Rubbish,
}

/// Value of a metric by minute.
pub type ByMinute = fn(i64) -> f64;

/// What is so in the world. `minute` 0 is when the alert began; the metrics' symptom began at -5, the traffic at -15.
#[derive(Clone, Debug)]
pub struct World {
    pub service: String,
    pub namespace: Option<String>,
    pub title: String,
    pub incident_severity: Severity,
    /// Metric name → values by minute.
    pub curves: BTreeMap<&'static str, ByMinute>,
    pub lines: Vec<LogLine>,
    pub suspects: Vec<Suspect>,
    pub workloads: Vec<Workload>,
    pub pods: Vec<Pod>,
    pub revisions: Vec<Revision>,
    pub replicas: u32,
    pub metrics: Mood,
    pub logs: Mood,
    pub cluster: Mood,
    /// Titles of the commits that the suspect deployment brought, and of the open tickets about the service.
    pub commits: Vec<String>,
    pub open_tickets: Vec<String>,
    /// Absent unless a test says otherwise, as the next.
    pub code: Mood,
    pub tickets: Mood,
    /// Labels of the open tickets, beside the service.
    pub ticket_labels: Vec<String>,
    /// Runs of workflows that failed, newest first.
    pub failed_runs: Vec<WorkflowRun>,
    /// What is scraped and does not answer, and rules that cannot be evaluated.
    pub broken_targets: Vec<Target>,
    pub broken_rules: Vec<MetricRule>,
    /// Something may be proposed outside the cluster; otherwise it is only looked at.
    pub writable: bool,
}

/// The commit that is deployed at minute -26.
pub const COMMIT: &str = "beefbeefbeefbeefbeefbeefbeefbeefbeefbeef";

pub fn at(minute: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::minutes(minute)
}

/// When the agents look.
pub fn now() -> DateTime<Utc> {
    at(5)
}

pub fn workload(name: &str) -> Workload {
    Workload {
        cluster: "default".into(),
        namespace: "production".into(),
        kind: WorkloadKind::Deployment,
        name: name.into(),
    }
}

pub fn line(minute: i64, text: &str) -> LogLine {
    LogLine {
        at: at(minute),
        level: Some("error".into()),
        text: text.into(),
        secrets: Vec::new(),
    }
}

pub fn suspect(minute: i64, title: &str) -> Suspect {
    Suspect {
        signal: SignalId::of(&[title.as_bytes(), &minute.to_le_bytes()]),
        source: "github".into(),
        title: title.into(),
        service: "api-server".into(),
        at: at(minute),
        before_ms: -minute * 60_000,
    }
}

pub fn pod(name: &str, restarts: u32, last: Option<&str>) -> Pod {
    Pod {
        name: name.into(),
        uid: format!("uid-{name}"),
        phase: "Running".into(),
        ready: restarts == 0,
        restarts,
        last_terminated: last.map(Into::into),
        started_at: Some(if restarts > 0 { at(1) } else { at(-6_000) }),
    }
}

fn revision(number: i64, minute: i64) -> Revision {
    Revision {
        number,
        images: vec![format!("registry/api-server:v{number}")],
        created_at: Some(at(minute)),
        change_cause: None,
    }
}

impl Default for World {
    /// The whole story: a deployment, traffic, memory, processes that run out of it, pods that are killed.
    fn default() -> Self {
        let lines = (0..47)
            .map(|i| {
                let path = if i < 40 { "/api/reports" } else { "/api/users" };
                line(
                    -3 + i % 6,
                    &format!("java.lang.OutOfMemoryError: Java heap space in {path} after {i} ms"),
                )
            })
            .collect();
        let curves: [(&'static str, ByMinute); 2] = [
            (
                "container_memory_working_set_bytes",
                |m| if m < -5 { 0.5 } else { 0.95 },
            ),
            ("http_requests_total", |m| if m < -15 { 100.0 } else { 300.0 }),
        ];
        World {
            service: "api-server".into(),
            namespace: Some("production".into()),
            title: "High Memory Usage on api-server (95%)".into(),
            incident_severity: Severity::Warning,
            curves: curves.into(),
            lines,
            suspects: vec![suspect(-25, "api-server v2 rolled out")],
            workloads: vec![workload("api-server")],
            pods: vec![pod("api-server-1", 2, Some("OOMKilled")), pod("api-server-2", 0, None)],
            revisions: vec![revision(7, -25), revision(6, -9_000)],
            replicas: 2,
            metrics: Mood::Works,
            logs: Mood::Works,
            cluster: Mood::Works,
            commits: vec!["Keep reports in memory".into(), "Cache users".into()],
            open_tickets: vec!["Raise the memory limit".into()],
            code: Mood::Absent,
            tickets: Mood::Absent,
            ticket_labels: Vec::new(),
            failed_runs: Vec::new(),
            broken_targets: Vec::new(),
            broken_rules: Vec::new(),
            writable: false,
        }
    }
}

impl World {
    /// Nothing is wrong that anybody can see.
    pub fn quiet() -> Self {
        World {
            curves: BTreeMap::new(),
            lines: Vec::new(),
            suspects: Vec::new(),
            pods: vec![pod("api-server-1", 0, None), pod("api-server-2", 0, None)],
            revisions: vec![revision(7, -9_000)],
            ..World::default()
        }
    }

    pub fn all(mut self, mood: Mood) -> Self {
        (self.metrics, self.logs, self.cluster) = (mood, mood, mood);
        self
    }

    pub fn evidence(&self) -> Evidence {
        let episode = EpisodeId::of("am:1", 7);
        let incident = Incident {
            id: IncidentId::opened_by("default/prod", episode, 0),
            canonical_key: CanonicalKey::of("default/prod", episode),
            revision: 1,
            tenant: "default".into(),
            environment: "prod".into(),
            alert_id: "am:1".into(),
            source: "grafana".into(),
            severity: self.incident_severity,
            status: Status::Open,
            title: self.title.clone(),
            service: Some(self.service.clone()).filter(|service| !service.is_empty()),
            created_at: at(0),
            resolved_at: None,
            resolved_by: None,
            merged_into: None,
            members: 1,
            firing: 1,
            root_cause: None,
            resolution: None,
        };
        let member = Member {
            episode,
            signal: SignalId::of(&[b"1"]),
            dedup_key: "am:1".into(),
            source: "grafana".into(),
            title: self.title.clone(),
            severity: self.incident_severity,
            service: incident.service.clone(),
            namespace: self.namespace.clone(),
            starts_at: at(0),
            ends_at: None,
            rule: "opened@1".into(),
            key: None,
            linked_to: None,
            apart_ms: None,
        };
        Evidence {
            incident,
            members: vec![member],
            suspects: self.suspects.clone(),
            triage: None,
            findings: Vec::new(),
            unknown: Vec::new(),
            remediation: None,
        }
    }

    /// The tools of this world, and every argument that was handed to them.
    pub fn tools(&self) -> (Observe, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let tool = |mood: Mood| {
            (mood != Mood::Absent).then(|| {
                Arc::new(Tool {
                    world: self.clone(),
                    mood,
                    asked: asked.clone(),
                })
            })
        };
        let observe = Observe {
            metrics: tool(self.metrics).map(|tool| tool as Arc<dyn Metrics>),
            logs: tool(self.logs).map(|tool| tool as Arc<dyn Logs>),
            cluster: tool(self.cluster).map(|tool| tool as Arc<dyn Cluster>),
            code: tool(self.code).map(|tool| tool as Arc<dyn Code>),
            tickets: tool(self.tickets).map(|tool| tool as Arc<dyn Tickets>),
            plans: [("github", tool(self.code)), ("jira", tool(self.tickets))]
                .into_iter()
                .filter_map(|(system, tool)| {
                    let planner = Planner(system, tool.filter(|_| self.writable)?);
                    Some(Arc::new(planner) as Arc<dyn Plans>)
                })
                .collect(),
            ..Observe::default()
        };
        (observe, asked)
    }

    /// The curve that an expression is about, if this service is asked for.
    fn curve(&self, expression: &str) -> Option<ByMinute> {
        let own = expression.contains(&format!("service=\"{}\"", self.service));
        let metric = |name: &&&str| expression.contains(&format!("{name}{{"));
        // A share of failed requests is not the requests.
        let share = expression.contains("5..");
        let name = self.curves.keys().find(metric)?;
        (own && !(share && *name == "http_requests_total"))
            .then(|| self.curves.get(name).copied())
            .flatten()
    }
}

struct Tool {
    world: World,
    mood: Mood,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Tool {
    /// What the mood has to say before an answer.
    async fn mood(&self, asked: String) -> Result<(), ToolError> {
        self.asked.lock().unwrap().push(asked);
        match self.mood {
            Mood::Works | Mood::Rubbish | Mood::Absent => Ok(()),
            Mood::Fails => Err(ToolError::DidNotHappen {
                tool: "tool",
                cause: "connection refused".into(),
                retry: true,
            }),
            Mood::Refuses => Err(ToolError::Refused {
                tool: "tool",
                cause: "parse error".into(),
            }),
            Mood::Hangs => std::future::pending().await,
        }
    }
}

#[async_trait]
impl Code for Tool {
    fn repository_of(&self, service: &str) -> Option<&str> {
        (service == "api-server").then_some("shop/api-server")
    }

    async fn deployments(&self, query: &Deployments) -> Result<Vec<Deployment>, ToolError> {
        self.mood(format!("deployments of {}", query.repository)).await?;
        if self.mood == Mood::Rubbish {
            return Ok(Vec::new());
        }
        let deployment = |commit: &str, minute: i64, state: &str| Deployment {
            id: 1,
            commit: commit.to_owned(),
            reference: "main".into(),
            environment: query.environment.clone().unwrap_or_default(),
            created_at: at(minute),
            state: Some(state.to_owned()),
        };
        let before = "0123456789".repeat(4);
        Ok(vec![
            deployment(COMMIT, -26, "success"),
            deployment(&before, -9_000, "inactive"),
        ])
    }

    async fn compare(&self, repository: &str, base: &str, head: &str) -> Result<Comparison, ToolError> {
        self.mood(format!("compare {base} {head}")).await?;
        let commit = |(index, title): (usize, &String)| Commit {
            sha: format!("{index}").repeat(40),
            title: title.clone(),
            author: Some("kim".into()),
            at: Some(at(-100)),
        };
        Ok(Comparison {
            repository: repository.to_owned(),
            base: base.to_owned(),
            head: head.to_owned(),
            total: self.world.commits.len() as u64,
            commits: self.world.commits.iter().enumerate().map(commit).collect(),
            files: self
                .world
                .commits
                .iter()
                .map(|title| format!("src/{title}.rs"))
                .collect(),
            cut: false,
        })
    }

    fn writable(&self, _: &str) -> bool {
        self.world.writable
    }

    async fn commits(&self, query: &CommitQuery) -> Result<Vec<Commit>, ToolError> {
        panic!("no agent asks for commits of {}", query.repository)
    }

    async fn diff(&self, repository: &str, _: &str, _: &str) -> Result<Diff, ToolError> {
        panic!("no agent asks for a diff of {repository}")
    }

    async fn pull_requests(&self, query: &PullQuery) -> Result<Vec<PullRequest>, ToolError> {
        panic!("no agent asks for pull requests of {}", query.repository)
    }

    async fn runs(&self, query: &RunQuery) -> Result<Vec<WorkflowRun>, ToolError> {
        self.mood(format!("runs of {}", query.repository)).await?;
        Ok(self.world.failed_runs.clone())
    }

    async fn deliveries(&self, _: &str, _: u64) -> Result<Vec<tools::github::hooks::Delivery>, ToolError> {
        panic!("no agent asks for deliveries")
    }
}

#[async_trait]
impl Tickets for Tool {
    async fn search(&self, query: &TicketQuery) -> Result<TicketAnswer, ToolError> {
        self.mood(format!("tickets about {}", query.about)).await?;
        let ticket = |(index, title): (usize, &String)| Ticket {
            key: format!("OPS-{index}"),
            title: title.clone(),
            status: "To Do".into(),
            done: false,
            labels: [vec![query.about.clone()], self.world.ticket_labels.clone()].concat(),
            updated_at: None,
            text: None,
            next: Vec::new(),
        };
        let found = match self.mood {
            Mood::Rubbish => Vec::new(),
            _ => self.world.open_tickets.iter().enumerate().map(ticket).collect(),
        };
        Ok(TicketAnswer {
            query: format!("text ~ {:?}", query.about),
            tickets: found,
            cut: false,
        })
    }

    async fn ticket(&self, key: &str) -> Result<Ticket, ToolError> {
        panic!("no agent asks for {key}")
    }

    fn follow_ups(&self) -> Option<FollowUps> {
        self.world.writable.then(|| FollowUps {
            project: "OPS".into(),
            kind: "Task".into(),
        })
    }
}

/// What an action outside the cluster would do.
struct Planner(&'static str, Arc<Tool>);

#[async_trait]
impl Plans for Planner {
    fn system(&self) -> &'static str {
        self.0
    }

    async fn state(&self, action: &Action) -> Result<TargetState, ToolError> {
        self.1.mood(format!("state {action}")).await?;
        Ok(TargetState {
            uid: "7".into(),
            generation: 1,
            spec_hash: "hash".into(),
            resource_version: String::new(),
            replicas: 0,
            ready: 0,
            detail: serde_json::Value::Null,
        })
    }

    async fn dry_run(&self, action: &Action) -> Result<DryRun, ToolError> {
        Ok(DryRun {
            diff: format!("+ {action}\n"),
            inverse: None,
            blast_radius: BlastRadius::default(),
            target: self.state(action).await?,
        })
    }

    async fn outcome(&self, action: &Action, _: uuid::Uuid, _: DateTime<Utc>) -> Result<Outcome, ToolError> {
        panic!("no agent asks what became of {action}")
    }
}

#[async_trait]
impl Metrics for Tool {
    async fn instant(&self, expression: &str, at: DateTime<Utc>) -> Result<Vec<Series>, ToolError> {
        self.mood(expression.to_owned()).await?;
        if self.mood == Mood::Rubbish {
            return Ok(vec![series(vec![Point { at, value: f64::NAN }])]);
        }
        let minute = (at - self::at(0)).num_minutes();
        let point = |curve: ByMinute| Point {
            at,
            value: curve(minute),
        };
        Ok(self
            .world
            .curve(expression)
            .map(point)
            .map(|point| series(vec![point]))
            .into_iter()
            .collect())
    }

    async fn range(
        &self,
        expression: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        step: TimeDelta,
    ) -> Result<Vec<Series>, ToolError> {
        self.mood(expression.to_owned()).await?;
        if self.mood == Mood::Rubbish {
            let point = |at, value| Point { at, value };
            return Ok(vec![
                series(vec![]),
                series(vec![
                    point(from - step, 1.0),
                    point(to, f64::NAN),
                    point(to + step, 9e9),
                ]),
            ]);
        }
        let Some(curve) = self.world.curve(expression) else {
            return Ok(Vec::new());
        };
        let mut points = Vec::new();
        let mut time = from;
        while time <= to {
            points.push(Point {
                at: time,
                value: curve((time - self::at(0)).num_minutes()),
            });
            time += step;
        }
        Ok(vec![series(points)])
    }

    async fn alerts(&self) -> Result<Vec<ActiveAlert>, ToolError> {
        self.mood("alerts".to_owned()).await?;
        Ok(Vec::new())
    }

    async fn rules(&self, query: &RuleQuery) -> Result<RuleAnswer, ToolError> {
        self.mood(format!("rules {:?}", query.name)).await?;
        Ok(RuleAnswer {
            rules: self.world.broken_rules.clone(),
        })
    }

    async fn targets(&self, query: &TargetQuery) -> Result<TargetAnswer, ToolError> {
        self.mood(format!("targets {:?}", query.job)).await?;
        Ok(TargetAnswer {
            up: 1,
            down: u32::try_from(self.world.broken_targets.len()).unwrap(),
            targets: self.world.broken_targets.clone(),
        })
    }
}

fn series(points: Vec<Point>) -> Series {
    Series {
        labels: BTreeMap::new(),
        points,
    }
}

#[async_trait]
impl Logs for Tool {
    fn name(&self) -> &'static str {
        "loki"
    }

    async fn search(&self, query: &LogQuery) -> Result<LogAnswer, ToolError> {
        self.mood(serde_json::to_string(query).unwrap()).await?;
        let rubbish = self.mood == Mood::Rubbish;
        let holds = |line: &LogLine| {
            let level = query.min_level.is_none() || line.level.as_deref().is_none_or(|level| level == "error");
            let text = query.contains.as_ref().is_none_or(|text| line.text.contains(text));
            query.from <= line.at && line.at < query.to && level && text
        };
        let lines: Vec<LogLine> = match rubbish {
            true => vec![line(-9_000, "OutOfMemoryError"), line(9_000, "x"), line(0, "  ")],
            false if query.service == self.world.service => self
                .world
                .lines
                .iter()
                .rev()
                .filter(|line| holds(line))
                .cloned()
                .collect(),
            false => Vec::new(),
        };
        let limit = query.limit as usize;
        Ok(LogAnswer {
            query: format!("{{app={:?}}} |= {:?}", query.service, query.contains),
            cut: lines.len() > limit,
            lines: lines.into_iter().take(limit).collect(),
        })
    }

    async fn labels(&self, query: &LabelQuery) -> Result<LabelAnswer, ToolError> {
        panic!("no agent asks for the label {:?}", query.name)
    }
}

#[async_trait]
impl Cluster for Tool {
    async fn find(&self, namespace: Option<&str>, name: &str) -> Result<Vec<Workload>, ToolError> {
        self.mood(format!("find {namespace:?} {name}")).await?;
        if self.mood == Mood::Rubbish {
            let mut other = workload("api-server");
            other.namespace = "kube-system".into();
            let mut odd = workload("--all; rm -rf /");
            odd.namespace = "production".into();
            return Ok(vec![other, odd]);
        }
        let fits = |workload: &&Workload| {
            namespace.is_none_or(|name| workload.namespace == name) && name == self.world.service
        };
        Ok(self.world.workloads.iter().filter(fits).cloned().collect())
    }

    async fn state(&self, action: &Action) -> Result<TargetState, ToolError> {
        self.mood(format!("state {action}")).await?;
        Ok(TargetState {
            uid: "uid".into(),
            generation: 3,
            spec_hash: "hash".into(),
            resource_version: "100".into(),
            replicas: self.world.replicas,
            ready: self.world.replicas,
            detail: serde_json::Value::Null,
        })
    }

    async fn pods(&self, workload: &Workload) -> Result<Vec<Pod>, ToolError> {
        self.mood(format!("pods {workload}")).await?;
        Ok(self.world.pods.clone())
    }

    async fn events(&self, workload: &Workload) -> Result<Vec<ClusterEvent>, ToolError> {
        self.mood(format!("events {workload}")).await?;
        Ok(Vec::new())
    }

    async fn revisions(&self, workload: &Workload) -> Result<Vec<Revision>, ToolError> {
        self.mood(format!("revisions {workload}")).await?;
        Ok(self.world.revisions.clone())
    }

    async fn dry_run(&self, action: &Action) -> Result<DryRun, ToolError> {
        let target = self.state(action).await?;
        let inverse = match action {
            Action::Restart { .. } => None,
            Action::Rollback { target, .. } => Some(Action::Rollback {
                target: target.clone(),
                to_revision: Some(7),
            }),
            Action::Scale { target, .. } => Some(Action::Scale {
                target: target.clone(),
                replicas: self.world.replicas,
            }),
            other => panic!("{other} is nothing that a cluster does"),
        };
        Ok(DryRun {
            diff: "-a\n+b\n".into(),
            inverse,
            blast_radius: BlastRadius {
                workloads: 1,
                pods: pods_touched(action, &target),
            },
            target,
        })
    }
}
