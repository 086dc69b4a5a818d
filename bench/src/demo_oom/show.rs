//! What the demo prints: plain where it is piped, coloured on a terminal.

use std::io::{IsTerminal as _, Write as _};

use anstream::{print, println};
use anstyle::{AnsiColor, Style};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use world::demo::{Check, Look, Site, Stage};

const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GREEN: Style = AnsiColor::Green.on_default();
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

pub fn heading(text: &str) {
    println!("\n{BOLD}{text}{BOLD:#}\n");
}

/// A step of the preparations.
pub fn prepared(text: &str) {
    println!("  {GREEN}✓{GREEN:#} {text}");
}

/// The stages so far, each shown once.
#[derive(Default)]
pub struct Stages {
    shown: Vec<&'static str>,
    began_at: Option<DateTime<Utc>>,
    last_at: Option<DateTime<Utc>>,
    asked: bool,
}

impl Stages {
    /// Shows what is new in `reached`. Rows of one moment come one after another, so the newest stage waits for the next look
    /// unless it is the last.
    pub fn show(&mut self, reached: &[Stage], over: bool) {
        let settled = |stage: &Stage| over || Utc::now() - stage.at > TimeDelta::seconds(2);
        for stage in reached.iter().take_while(|stage| settled(stage)) {
            if self.shown.contains(&stage.name) {
                continue;
            }
            self.clear();
            self.shown.push(stage.name);
            let began = *self.began_at.get_or_insert(stage.at);
            let took = stage.at - self.last_at.unwrap_or(stage.at);
            self.last_at = Some(stage.at);
            let (at, took) = (length(stage.at - began), length(took));
            let mut lines = stage.told.iter();
            let first = lines.next().map(String::as_str).unwrap_or_default();
            println!(
                "  {GREEN}✓{GREEN:#} {BOLD}{:<18}{BOLD:#}{at:>9}  {DIM}+{took:<8}{DIM:#} {first}",
                stage.name
            );
            for line in lines {
                println!("{:43}{line}", "");
            }
        }
        if !over && std::io::stdout().is_terminal() {
            let waiting = match (self.shown.last(), self.last_at) {
                (Some(last), Some(at)) => format!("{} since {last:?}", length(Utc::now() - at)),
                _ => "the rule has to hold for some seconds".to_owned(),
            };
            print!("\r\x1b[K  {DIM}… {waiting}{DIM:#}");
            let _ = std::io::stdout().flush();
        }
    }

    /// Says, once, how to grant what waits.
    pub fn ask(&mut self, remediation: &Value, site: &Site) {
        if self.asked || !self.shown.contains(&"fixer") {
            return;
        }
        self.asked = true;
        self.clear();
        let (id, aegis) = (text(&remediation["id"]), site.typed());
        println!("  {YELLOW}?{YELLOW:#} it waits for a human; in another terminal:");
        println!("      {aegis} remediation show {id}");
        println!("      {aegis} approve {id}");
    }

    pub fn end(&self) {
        self.clear();
    }

    fn clear(&self) {
        if std::io::stdout().is_terminal() {
            print!("\r\x1b[K");
        }
    }
}

/// What was found, proposed and written.
pub fn report(look: &Look) {
    if let Some(row) = look.remediation() {
        let proposal = &row["proposal"];
        heading("The remediation");
        println!(
            "  {} {} in {}: {}",
            text(&row["action"]),
            text(&row["target"]),
            text(&row["namespace"]),
            text(&row["status"])
        );
        println!("  granted by {}", text(&row["decided_by"]));
        println!("  dry run:");
        for line in text(&proposal["dry_run"]).lines() {
            println!("    {line}");
        }
        println!("  evidence:");
        citations(&proposal["citations"]);
    }
    if let Some(postmortem) = look.postmortem() {
        heading("The postmortem");
        for (name, title) in [
            ("root_cause", "Root cause"),
            ("impact", "Impact"),
            ("resolution", "Resolution"),
        ] {
            statement(title, &postmortem[name]);
        }
        println!("  {BOLD}Timeline{BOLD:#}");
        for moment in items(&postmortem["timeline"]) {
            let at: Option<DateTime<Utc>> = text(&moment["at"]).parse().ok();
            let at = at.map(|at| at.format("%H:%M:%S").to_string()).unwrap_or_default();
            println!("    {at}  {} {DIM}{}{DIM:#}", text(&moment["text"]), cited(moment));
        }
        println!("  {BOLD}Follow-ups{BOLD:#}");
        for follow_up in items(&postmortem["follow_ups"]) {
            println!("    - {} {DIM}{}{DIM:#}", text(&follow_up["text"]), cited(follow_up));
        }
        println!("  {BOLD}Evidence{BOLD:#}");
        citations(&postmortem["citations"]);
    }
}

/// Each point, and whether it holds.
pub fn checks(checks: &[Check]) {
    heading("What had to happen");
    for check in checks {
        match check.holds {
            true => println!("  {GREEN}✓{GREEN:#} {}", check.what),
            false => println!("  {RED}✗ {}{RED:#}", check.what),
        }
    }
    println!();
}

/// Commands for a site that stays up.
pub fn where_to_look(site: &Site, look: &Look) {
    let aegis = site.typed();
    println!("Where to look:");
    println!("  {aegis} incidents {}", look.id());
    println!("  {aegis} runs --incident {}", look.id());
    println!("  {aegis} remediation list");
    println!("  {aegis} ledger verify");
    println!("  {aegis} audit conservation");
    println!("  http://{}/incidents/{}", site.dashboard, look.id());
    println!("  http://{}/api/v1/incidents/{}", site.gateway, look.id());
    println!("  http://{}/graph", site.prometheus);
    println!("\nRunning until Ctrl-C.");
}

/// Queries are as long as the selectors that they try.
fn cut(text: &str) -> String {
    const LONGEST: usize = 120;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn statement(title: &str, statement: &Value) {
    println!(
        "  {BOLD}{title}{BOLD:#}\n    {} {DIM}{}{DIM:#}",
        text(&statement["text"]),
        cited(statement)
    );
}

fn citations(list: &Value) {
    for citation in items(list) {
        let query = cut(text(&citation["query"]));
        println!("    [{}] {}", text(&citation["id"]), cut(text(&citation["excerpt"])));
        println!("      {DIM}{query}{DIM:#}");
    }
}

fn cited(statement: &Value) -> String {
    let ids = items(&statement["citations"])
        .iter()
        .map(|id| format!("[{}]", text(id)));
    ids.collect::<Vec<_>>().join(" ")
}

fn items(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `12 ms`, `3.4 s`.
fn length(span: TimeDelta) -> String {
    match span.num_milliseconds() {
        short @ ..1_000 => format!("{} ms", short.max(0)),
        long => format!("{:.1} s", long as f64 / 1_000.0),
    }
}
