//! A sender that keeps count of what it was promised.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::{Aegis, http};

/// An Alertmanager notification of one firing alert, the `n`th.
pub fn alert(n: usize) -> String {
    format!(
        r#"{{"version":"4","groupKey":"k","status":"firing","receiver":"r","truncatedAlerts":0,"groupLabels":{{}},"commonLabels":{{}},"commonAnnotations":{{}},"externalURL":"http://a","alerts":[{{"status":"firing","labels":{{"alertname":"A{n}","service":"s{n}","severity":"critical"}},"annotations":{{}},"startsAt":"2026-11-01T00:00:00Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"","fingerprint":"{n:016x}"}}]}}"#
    )
}

/// What the senders have been promised.
#[derive(Default)]
pub struct Promised {
    next: AtomicUsize,
    refusals: AtomicUsize,
    answered: Mutex<BTreeSet<usize>>,
    stop: AtomicBool,
}

impl Promised {
    /// Alerts answered with 2xx.
    pub fn count(&self) -> usize {
        self.answered.lock().unwrap().len()
    }

    /// Requests answered otherwise, or not at all.
    pub fn refusals(&self) -> usize {
        self.refusals.load(Ordering::SeqCst)
    }

    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// What the tables must show for every answered alert.
    pub fn titles(&self) -> BTreeSet<String> {
        let answered = self.answered.lock().unwrap();
        answered.iter().map(|n| format!("A{n} on s{n}")).collect()
    }
}

/// Sends alert after alert to one of `ports` until stopped; one that is not answered goes to the next, as Alertmanager
/// would do.
pub fn send(promised: &Promised, ports: &[u16]) {
    while !promised.stop.load(Ordering::SeqCst) {
        let n = promised.next.fetch_add(1, Ordering::SeqCst);
        for port in ports.iter().cycle().skip(n % ports.len()) {
            let json = "Content-Type: application/json\r\n";
            let sent = http(*port, "POST", "/webhooks/alertmanager", json, &alert(n));
            if sent.is_some_and(|(status, _)| (200..300).contains(&status)) {
                promised.answered.lock().unwrap().insert(n);
                break;
            }
            promised.refusals.fetch_add(1, Ordering::SeqCst);
            if promised.stop.load(Ordering::SeqCst) {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // A storm, but one that the machine the tests run on can follow.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Titles of all members of all incidents.
pub fn titles_of(aegis: &Aegis) -> Vec<String> {
    let rows = aegis.sql("select title from incident_members");
    let title = |row: &serde_json::Value| row["title"].as_str().unwrap_or_default().to_owned();
    rows.iter().map(title).collect()
}
