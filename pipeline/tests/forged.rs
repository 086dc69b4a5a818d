//! Somebody who may write to the topic `remediations`, and has no key: what he writes there changes nothing in the cluster, and shows.

mod support;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use model::approval::{Approver, Grant};
use model::proposal::Proposal;
use model::remediation::{RemediationEvent, RemediationFact};
use model::signing::{HEADER, Message, Signer, Verdict};
use model::topics;
use pipeline::config::{Config, load};
use pipeline::scan::scan;
use pipeline::world::open_log;
use serde_json::Value;
use stream::log::{Log, NewRecord};
use stream::time::WallClock;
use stream::{Clock as _, Record, TopicPartition, partition_for};
use support::site::{PATIENCE, Site};
use support::{required, wait_for};
use tokio::runtime::Runtime;

const KEY: &str = "the key that gate and executor have in common";

/// The topic as everybody who may write to the broker sees it.
struct Topic {
    log: Arc<dyn Log>,
    runtime: Runtime,
}

impl Topic {
    fn of(config: &Config) -> Self {
        let runtime = Runtime::new().unwrap();
        let log = runtime.block_on(open_log(config)).unwrap().raw;
        Topic { log, runtime }
    }

    fn home(&self, key: &str) -> TopicPartition {
        let partitions = self
            .runtime
            .block_on(self.log.partitions(topics::REMEDIATIONS))
            .unwrap();
        TopicPartition::new(topics::REMEDIATIONS, partition_for(key.as_bytes(), partitions))
    }

    fn append(&self, key: &str, value: Vec<u8>, headers: Vec<(String, bytes::Bytes)>) {
        let record = NewRecord {
            key: Some(key.to_owned().into()),
            value: value.into(),
            headers,
            timestamp: WallClock.now(),
        };
        let home = self.home(key);
        self.runtime.block_on(self.log.append(&home, vec![record])).unwrap();
    }

    /// Signed with `key_of_mine`, if there is one.
    fn forge(&self, proposal: &Proposal, fact: RemediationFact, key_of_mine: Option<&str>) {
        let now = WallClock.now().to_datetime();
        let event = RemediationEvent::new(proposal.id, proposal.incident_id, now, fact);
        let (key, value) = (proposal.key(), serde_json::to_vec(&event).unwrap());
        let message = Message {
            topic: topics::REMEDIATIONS,
            key: key.as_bytes(),
            value: &value,
        };
        let signer = key_of_mine.map(|key| Signer::new([key.as_bytes()]).unwrap());
        let signature = signer.and_then(|signer| signer.sign(message, "remediations-0/1"));
        self.append(&key, value, signature.into_iter().collect());
    }

    fn records(&self, key: &str) -> Vec<Record> {
        let home = self.home(key);
        let mut all = Vec::new();
        self.runtime.block_on(async {
            let bounds = self.log.bounds(&home).await.unwrap();
            scan(&self.log, &home, bounds.start, bounds.end, |record| {
                all.push(record.clone());
                ControlFlow::Continue(())
            })
            .await
            .unwrap();
        });
        all
    }
}

fn refused(site: &Site) -> BTreeMap<(String, String), i64> {
    let rows = site
        .aegis
        .sql("select stage, reason, count(*) as n from dead_letters group by stage, reason");
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    rows.iter()
        .map(|row| ((text(row, "stage"), text(row, "reason")), row["n"].as_i64().unwrap()))
        .collect()
}

fn shown(site: &Site, id: &str) -> String {
    let (code, out, err) = site.aegis.run(&["remediation", "show", id]);
    assert_eq!(code, 0, "{err}");
    out
}

#[test]
fn a_forged_grant_changes_nothing_and_a_real_one_works() {
    let Some(kafka) = required("AEGIS_TEST_KAFKA") else {
        return;
    };
    let prefix = format!("{}.", uuid::Uuid::new_v4().simple());
    let kafka = |_: &str| {
        format!(
            "[signing]\nkeys = [{{ env = \"AEGIS_SIGNING\" }}]\n[log]\nkind = \"kafka\"\n[log.kafka]\n\
             bootstrap_servers = [\"{kafka}\"]\ntopic_prefix = \"{prefix}\"\n[topics]\npartitions = 4\n"
        )
    };
    let mut site = Site::prepared("", kafka, |_| {});
    site.aegis.set_env("AEGIS_SIGNING", Some(KEY));
    site.aegis.start();
    site.log_oom();
    site.alert();
    let waiting = site.remediation("waiting");
    let id = waiting["id"].as_str().unwrap();
    let before = site.patches();
    let environment = [("AEGIS_SIGNING".to_owned(), KEY.to_owned())].into();
    let (config, _) = load(Some(&site.aegis.folder.join("aegis.toml")), &environment).unwrap();
    let topic = Topic::of(&config);
    let row = &site.aegis.sql("select proposal from remediations")[0];
    let proposal: Proposal = serde_json::from_str(row["proposal"].as_str().unwrap()).unwrap();
    let forger = Approver::Human { name: "ada".into() };
    let now = WallClock.now().to_datetime();
    let granted = RemediationFact::Granted {
        grant: Grant::of(&proposal, forger, now, proposal.expires_at),
        proposal: Box::new(proposal.clone()),
    };
    let approve = RemediationFact::Approve {
        by: "human:ada".into(),
        plan_hash: proposal.plan_hash.clone(),
    };
    let executed = RemediationFact::Executed {
        before: proposal.target.clone(),
        note: "done".into(),
    };

    // Without a key, with another key, and what would lead the gate to a grant of its own.
    topic.forge(&proposal, granted.clone(), None);
    topic.forge(&proposal, granted, Some("a key of somebody else, long enough"));
    topic.forge(&proposal, approve, None);
    topic.forge(&proposal, executed, None);
    let count = |stage: &str| {
        let key = (stage.to_owned(), "forged".to_owned());
        refused(&site).get(&key).copied().unwrap_or(0)
    };
    wait_for("the forged facts among the dead letters", PATIENCE, || {
        (count("gate") == 4 && count("sink.remediate") == 2).then_some(())
    });
    assert_eq!(site.aegis.metric("aegis_forged_facts_total"), 2.0, "two grants");
    assert_eq!(site.patches(), before, "nothing was done");
    assert_eq!(site.remediation("waiting")["decided_by"], Value::Null);
    wait_for("the forgery to be shown", PATIENCE, || {
        shown(&site, id).contains("refused: a forged executed").then_some(())
    });

    // The real yes.
    let (code, _, err) = site.aegis.run(&["approve", id, "--yes"]);
    assert_eq!(code, 0, "{err}");
    site.remediation("verified");
    assert_eq!(site.patches(), before + 1, "carried out once");

    let (code, out, _) = site.aegis.run(&["ledger", "verify"]);
    assert!(code != 0 && out.contains("nobody entered this record"), "{code} {out}");

    // Its grant once more, byte for byte: signed by the gate, and a copy all the same.
    let key = proposal.key();
    let signer = Signer::new([KEY.as_bytes()]).unwrap();
    let genuine = topic.records(&key).into_iter().find(|record| {
        let message = Message {
            topic: topics::REMEDIATIONS,
            key: key.as_bytes(),
            value: &record.value,
        };
        let verdict = signer.check(message, record.header(HEADER).map(|header| &**header));
        let event: Option<RemediationEvent> = serde_json::from_slice(&record.value).ok();
        event.is_some_and(|event| event.fact.name() == "granted") && matches!(verdict, Verdict::Authentic { .. })
    });
    let genuine = genuine.expect("the gate's grant");
    topic.append(&key, genuine.value.to_vec(), genuine.headers.clone());
    wait_for("the copy among the dead letters", PATIENCE, || {
        (count("sink.remediate") == 3).then_some(())
    });
    assert_eq!(site.patches(), before + 1);
}
