//! Partitions that somebody adds to topics of a broker while `aegis` runs: those of `events.raw` are read within seconds, those
//! of a keyed topic stop it, and `aegis repartition` gets it right again.

mod support;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use sources::kafka::{KafkaLog, KafkaSettings};
use stream::log::{Log, NewRecord, TopicPartition};
use support::alerts::{Promised, alert, send, titles_of};
use support::{Aegis, Program, required, wait_for};

const PATIENCE: Duration = Duration::from_secs(90);

struct Broker {
    servers: String,
    prefix: String,
}

impl Broker {
    fn of_tests() -> Option<Self> {
        Some(Broker {
            servers: required("AEGIS_TEST_KAFKA")?,
            prefix: format!("{}.", uuid::Uuid::new_v4().simple()),
        })
    }

    fn aegis(&self, folder: &Path) -> Aegis {
        let config = format!(
            "[log]\nkind = \"kafka\"\n[log.kafka]\nbootstrap_servers = [\"{}\"]\ntopic_prefix = \"{}\"\nsession_timeout_ms = 6000\n",
            self.servers, self.prefix
        );
        Aegis::new(folder, &config).env("AEGIS_TOPICS__PARTITIONS", "2")
    }

    /// As an administrator does it.
    async fn set_partitions(&self, topic: &str, count: usize) {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", &self.servers)
            .create()
            .unwrap();
        let topic = format!("{}{topic}", self.prefix);
        let change = NewPartitions::new(&topic, count);
        let done = admin.create_partitions([&change], &AdminOptions::new()).await.unwrap();
        assert!(done[0].is_ok(), "{done:?}");
    }

    async fn log(&self) -> Arc<dyn Log> {
        let settings = KafkaSettings {
            bootstrap_servers: vec![self.servers.clone()],
            topic_prefix: self.prefix.clone(),
            ..KafkaSettings::default()
        };
        KafkaLog::open_prefixed(settings).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_of_the_raw_topic_are_read_and_written_without_a_restart() {
    let Some(broker) = Broker::of_tests() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = broker.aegis(folder.path());
    aegis.start();
    let promised = Arc::new(Promised::default());
    let sender = {
        let (promised, port) = (promised.clone(), aegis.dispatcher);
        std::thread::spawn(move || send(&promised, &[port]))
    };
    let answered = |more: usize| {
        let wanted = promised.count() + more;
        wait_for("answers", PATIENCE, || (promised.count() >= wanted).then_some(()));
    };
    answered(50);
    broker.set_partitions("events.raw", 4).await;
    let log = broker.log().await;
    // A producer of somebody else writes there at once.
    let mut wanted = BTreeSet::new();
    for n in 0..40 {
        let n = 1_000_000 + n;
        let to = TopicPartition::new("events.raw", 2 + n as u32 % 2);
        let record = NewRecord {
            value: alert(n).into(),
            timestamp: stream::Instant(1_793_000_000_000_000),
            ..NewRecord::default()
        };
        loop {
            match log.append(&to, vec![record.clone()]).await {
                Ok(_) => break,
                // The leaders of the new partitions are being chosen.
                Err(error) => tracing::debug!(%error, "again"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        wanted.insert(format!("A{n} on s{n}"));
    }
    let asked = || {
        let found: BTreeSet<String> = titles_of(&aegis).into_iter().collect();
        wanted.is_subset(&found).then_some(())
    };
    tokio::task::block_in_place(|| wait_for("what others wrote to the new partitions", PATIENCE, asked));
    // Our own doors use them as well, once later stages wait for them.
    for number in [2, 3] {
        let partition = TopicPartition::new("events.raw", number);
        let until = tokio::time::Instant::now() + PATIENCE;
        while log.bounds(&partition).await.unwrap().end.0 <= 20 {
            assert!(
                tokio::time::Instant::now() < until,
                "our doors do not write to {partition}"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
    tokio::task::block_in_place(|| {
        answered(50);
        promised.stop();
        sender.join().unwrap();
        assert_eq!(promised.refusals(), 0, "no request was refused on account of it");
        wanted.extend(promised.titles());
        wait_for("every alert", PATIENCE, || {
            let found: BTreeSet<String> = titles_of(&aegis).into_iter().collect();
            wanted.is_subset(&found).then_some(())
        });
    });
    let all = titles_of(&aegis);
    assert_eq!(all.len(), wanted.len(), "every alert once");
    assert_eq!(aegis.program.as_mut().map(Program::terminate), Some(Some(0)));
    let (code, out, err) = aegis.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "the books balance:\n{out}\n{err}");
    // The configured number is that of the keyed topics.
    aegis.start();
    assert_eq!(aegis.program.as_mut().map(Program::terminate), Some(Some(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_partitions_of_a_keyed_topic_stop_it_until_it_is_repartitioned() {
    let Some(broker) = Broker::of_tests() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut aegis = broker.aegis(folder.path());
    aegis.start();
    let promised = Arc::new(Promised::default());
    let sender = {
        let (promised, port) = (promised.clone(), aegis.dispatcher);
        std::thread::spawn(move || send(&promised, &[port]))
    };
    wait_for("answers", PATIENCE, || (promised.count() >= 50).then_some(()));
    broker.set_partitions("signals", 3).await;
    let program = aegis.program.as_mut().unwrap();
    tokio::task::block_in_place(|| {
        wait_for("it to stop", PATIENCE, || (!program.running()).then_some(()));
        promised.stop();
        sender.join().unwrap();
    });
    let named = |text: &str| {
        assert!(
            text.contains("topic signals has 3 partitions, the topology says 2") && text.contains("aegis repartition"),
            "{text}"
        );
    };
    named(&program.log());
    let log = broker.log().await;
    let wrong = TopicPartition::new("signals", 2);
    assert_eq!(log.bounds(&wrong).await.unwrap().end.0, 0, "nobody wrote there");

    // It does not start either, and writes nothing.
    let before = log.bounds(&TopicPartition::new("topology", 0)).await.unwrap();
    let (code, _, err) = aegis.run(&["ingest", "/dev/null"]);
    assert_eq!(code, 1, "{err}");
    named(&err);
    assert!(err.contains("nothing was written"), "{err}");
    assert_eq!(log.bounds(&TopicPartition::new("topology", 0)).await.unwrap(), before);

    // The dead member's session has to end first.
    tokio::task::block_in_place(|| {
        wait_for("the group to be empty", PATIENCE, || {
            let (code, out, err) = aegis.run(&["repartition", "--partitions", "3"]);
            assert!(code == 0 || code == 5, "{out}{err}");
            (code == 0).then_some(())
        });
    });
    aegis.set_env("AEGIS_TOPICS__PARTITIONS", Some("3"));
    aegis.start();
    wait_for("every answered alert", PATIENCE, || {
        let found: BTreeSet<String> = titles_of(&aegis).into_iter().collect();
        promised.titles().is_subset(&found).then_some(())
    });
    let all = titles_of(&aegis);
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "an alert stands twice");
    assert_eq!(aegis.program.as_mut().map(Program::terminate), Some(Some(0)));
    let (code, out, err) = aegis.run(&["audit", "conservation"]);
    assert_eq!(code, 0, "the books balance:\n{out}\n{err}");
}
