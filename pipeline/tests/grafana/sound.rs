//! What must hold of the dashboards without a server.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::board::{Board, list, text, yaml};

/// Width of Grafana's grid.
const COLUMNS: u64 = 24;
/// Where a unit says what a number means. A table's is for the columns that have none of their own.
const NUMERIC: [&str; 6] = ["stat", "timeseries", "barchart", "heatmap", "status-history", "table"];

/// The uids of `provisioning/datasources/`, with their types and names.
pub fn provisioned() -> BTreeMap<String, (String, String)> {
    let file = yaml("grafana/provisioning/datasources/aegis.yaml");
    let sources = list(&file["datasources"]).iter();
    sources
        .map(|one| {
            (
                text(one, "uid").to_owned(),
                (text(one, "type").to_owned(), text(one, "name").to_owned()),
            )
        })
        .collect()
}

/// All faults of all dashboards.
pub fn faults(boards: &[Board]) -> Vec<String> {
    let mut faults = Vec::new();
    let uids: BTreeSet<&str> = boards.iter().map(Board::uid).collect();
    if uids.len() != boards.len() || uids.contains("") {
        faults.push(format!("uids are not unique: {uids:?}"));
    }
    let titles: BTreeSet<&str> = boards.iter().map(|board| text(&board.json, "title")).collect();
    let wanted = [
        "Incidents overview",
        "Noise reduction",
        "Service health",
        "Deploys vs incidents",
        "Agents and cost",
        "Remediations and audit",
        "Pipeline",
    ];
    if titles != BTreeSet::from(wanted) {
        faults.push(format!("the dashboards are {titles:?}"));
    }
    let sources = provisioned();
    for board in boards {
        let mut say = |what: String| faults.push(format!("{}: {what}", board.uid()));
        whole(board, &mut say);
        data_sources(board, &sources, &mut say);
        links(board, &uids, &mut say);
        panels(board, &mut say);
        grid(board, &mut say);
    }
    faults
}

fn whole(board: &Board, say: &mut impl FnMut(String)) {
    let stem = board.path.file_stem().unwrap_or_default().to_string_lossy();
    if board.uid() != format!("aegis-{stem}") {
        say(format!("lies in {}", board.path.display()));
    }
    if text(&board.json, "description").is_empty() {
        say("has no description".to_owned());
    }
    if board.json["time"] != serde_json::json!({"from": "now-24h", "to": "now"}) {
        say("does not begin with the last day".to_owned());
    }
    // Grafana 12 migrates older ones at every load, and says so.
    if board.json["schemaVersion"].as_u64() < Some(41) {
        say("is of an older schema".to_owned());
    }
    if !list(&board.json["tags"]).contains(&"aegis".into()) {
        say("is not tagged, so the others do not link to it".to_owned());
    }
}

fn data_sources(board: &Board, sources: &BTreeMap<String, (String, String)>, say: &mut impl FnMut(String)) {
    for (uid, kind) in board.data_sources() {
        let known = match uid.as_str() {
            "-- Grafana --" => kind == "grafana",
            "${store}" => kind == "grafana-postgresql-datasource" && choice(board, sources, say),
            _ => sources.get(&uid).is_some_and(|(known, _)| *known == kind),
        };
        if !known {
            say(format!("reads from {uid} of type {kind}, which is not provisioned"));
        }
    }
}

/// The variable that chooses where SQL panels read: it begins at a provisioned source, and offers both by their names.
fn choice(board: &Board, sources: &BTreeMap<String, (String, String)>, say: &mut impl FnMut(String)) -> bool {
    let Some(variable) = board.variables().iter().find(|one| one["name"] == "store") else {
        return false;
    };
    let offered = text(variable, "regex");
    for uid in ["incidents", "aegis-sql"] {
        match sources.get(uid) {
            Some((kind, name)) if kind == text(variable, "query") && offered.contains(name.as_str()) => {}
            _ => say(format!("does not offer {uid}")),
        }
    }
    variable["type"] == "datasource" && sources.contains_key(text(&variable["current"], "value"))
}

fn links(board: &Board, uids: &BTreeSet<&str>, say: &mut impl FnMut(String)) {
    for url in board.links() {
        let path = url.split(['?', '#']).next().unwrap_or_default();
        match path.strip_prefix("/d/") {
            Some(uid) if uids.contains(uid) => {}
            _ => say(format!("links to {url}, which is no dashboard of ours")),
        }
        // What is handed over must be a variable there.
        let target = Board::all()
            .into_iter()
            .find(|other| path == format!("/d/{}", other.uid()));
        let handed = url
            .split(['?', '&'])
            .filter_map(|part| part.strip_prefix("var-")?.split('=').next());
        for name in handed {
            let takes = |other: &Board| other.variables().iter().any(|one| one["name"] == name);
            if !target.as_ref().is_some_and(takes) {
                say(format!("hands {name} over to {path}, which has no such variable"));
            }
        }
    }
    let menu = list(&board.json["links"]).iter();
    if !menu
        .clone()
        .any(|link| link["type"] == "dashboards" && link["includeVars"] == true && link["keepTime"] == true)
    {
        say("has no menu of the others".to_owned());
    }
}

fn panels(board: &Board, say: &mut impl FnMut(String)) {
    let mut ids = BTreeSet::new();
    for panel in list(&board.json["panels"])
        .iter()
        .flat_map(|one| std::iter::once(one).chain(list(&one["panels"])))
    {
        if !panel["id"].as_u64().is_some_and(|id| ids.insert(id)) {
            say(format!("two panels have the id {}", panel["id"]));
        }
    }
    for panel in board.panels() {
        let title = text(panel, "title");
        if title.is_empty() || text(panel, "description").is_empty() {
            say(format!("panel {} has no title or no description", panel["id"]));
        }
        let defaults = &panel["fieldConfig"]["defaults"];
        if !NUMERIC.contains(&text(panel, "type")) {
            say(format!("{title}: nobody has said how a {} is checked", panel["type"]));
        } else if text(defaults, "unit").is_empty() {
            say(format!("{title} has no unit"));
        }
        if list(&defaults["thresholds"]["steps"])
            .first()
            .is_none_or(|step| !step["value"].is_null())
        {
            say(format!("{title}: its thresholds have no beginning"));
        }
        targets(panel, title, say);
    }
}

fn targets(panel: &Value, title: &str, say: &mut impl FnMut(String)) {
    let targets = list(&panel["targets"]);
    let refs: BTreeSet<&str> = targets.iter().map(|target| text(target, "refId")).collect();
    if targets.is_empty() || refs.len() != targets.len() {
        say(format!("{title}: its queries have no names of their own"));
    }
    for target in targets {
        let sql = target["rawSql"].is_string();
        let raw = target["rawQuery"] == true && ["table", "time_series"].contains(&text(target, "format"));
        if sql && !raw {
            say(format!("{title}: not marked as raw SQL of a known format"));
        }
        if !sql && !target["expr"].is_string() {
            say(format!("{title}: neither SQL nor PromQL"));
        }
        if target["datasource"] != panel["datasource"] {
            say(format!("{title}: panel and query read from different places"));
        }
    }
}

/// Panels of one dashboard do not lie upon each other.
fn grid(board: &Board, say: &mut impl FnMut(String)) {
    let mut taken: BTreeMap<(u64, u64), &str> = BTreeMap::new();
    for panel in list(&board.json["panels"]) {
        let at = |side: &str| panel["gridPos"][side].as_u64().unwrap_or(u64::MAX);
        let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
        let title = text(panel, "title");
        if [x, y, w, h].contains(&u64::MAX) || w == 0 || h == 0 || x + w > COLUMNS {
            say(format!("{title} has no place"));
            continue;
        }
        for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |line| (column, line))) {
            if let Some(other) = taken.insert(cell, title) {
                say(format!("{title} lies upon {other}"));
                break;
            }
        }
    }
}
