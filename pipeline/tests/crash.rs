//! kill -9 of the whole process: what was answered with 2xx is in the tables afterwards, once.

mod support;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::alerts::{alert, titles_of};
use support::{Aegis, http, wait_for};

#[test]
fn every_acknowledged_alert_survives_kill_9_and_stands_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = Aegis::new(folder.path(), "");
    let acknowledged: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
    let mut next = 0;
    for round in 0..3 {
        aegis.start();
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..4)
            .map(|lane| {
                let (acknowledged, stop, port, from) = (acknowledged.clone(), stop.clone(), aegis.dispatcher, next);
                std::thread::spawn(move || {
                    let mut n = from + lane;
                    while !stop.load(Ordering::SeqCst) {
                        if http(
                            port,
                            "POST",
                            "/webhooks/alertmanager",
                            "Content-Type: application/json\r\n",
                            &alert(n),
                        )
                        .is_some_and(|(status, _)| (200..300).contains(&status))
                        {
                            acknowledged.lock().unwrap().insert(n);
                        }
                        n += 4;
                    }
                    n
                })
            })
            .collect();
        let wanted = 150 * (round + 1);
        wait_for("acknowledgements", Duration::from_secs(60), || {
            (acknowledged.lock().unwrap().len() >= wanted).then_some(())
        });
        // In the middle of it.
        aegis.kill();
        stop.store(true, Ordering::SeqCst);
        next = senders.into_iter().map(|sender| sender.join().unwrap()).max().unwrap() + 4;
        next -= next % 4;
    }
    aegis.start();
    let acknowledged = acknowledged.lock().unwrap().clone();
    wait_for("every acknowledged alert", Duration::from_secs(60), || {
        let found: BTreeSet<String> = titles_of(&aegis).into_iter().collect();
        acknowledged
            .iter()
            .all(|n| found.contains(&format!("A{n} on s{n}")))
            .then_some(())
    });
    let all = titles_of(&aegis);
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "an alert stands twice");
    assert_eq!(aegis.program.as_mut().map(support::Program::terminate), Some(Some(0)));
}
