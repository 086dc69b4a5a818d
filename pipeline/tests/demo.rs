//! `aegis demo`: the recorded storm through the real webhook, and the commands that README names afterwards.

mod support;

use serde_json::Value;
use support::Aegis;

#[test]
fn the_storm_becomes_its_incidents() {
    let folder = tempfile::tempdir().unwrap();
    let aegis = Aegis::new(folder.path(), "");
    let (code, out, err) = aegis.run(&["demo", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let summary: Value = serde_json::from_str(&out).expect("one JSON object");
    let incidents = summary["incidents"].as_array().unwrap();
    let mut found: Vec<(String, String, i64)> = incidents
        .iter()
        .map(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            (
                text("title"),
                text("status"),
                row["members"].as_i64().unwrap_or_default(),
            )
        })
        .collect();
    found.sort();
    let wanted = [
        ("HighErrorRate on checkout", "resolved", 9),
        ("InstanceDown on 10.0.7.10:9100", "resolved", 16),
        ("PaymentProviderErrors on payments", "investigating", 3),
        ("ReplicationLag on orders-db", "resolved", 4),
    ];
    let wanted: Vec<_> = wanted
        .iter()
        .map(|(title, status, n)| (title.to_string(), status.to_string(), *n))
        .collect();
    assert_eq!(found, wanted);
    assert!(summary["alerts"].as_i64() > summary["repeats"].as_i64());

    let rows = aegis.sql("select severity, count(*) as n from incidents group by 1");
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (&rows[0]["severity"], &rows[0]["n"]),
        (&Value::from("critical"), &Value::from(4))
    );
    let (code, list, _) = aegis.run(&["incidents"]);
    assert_eq!(code, 0);
    assert!(list.contains("HighErrorRate on checkout"), "{list}");
    let id = incidents[0]["id"].as_str().unwrap();
    let (code, detail, _) = aegis.run(&["incidents", id]);
    assert_eq!(code, 0);
    assert!(
        detail.contains("same-service") || detail.contains("same-group"),
        "{detail}"
    );
    let (code, _, _) = aegis.run(&["incidents", "00000000-0000-0000-0000-000000000000"]);
    assert_eq!(code, 4);
}
