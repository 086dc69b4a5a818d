//! Records and topics: what other clients write is read, what is written survives, topics are kept as configured.

use std::time::Duration;

use bytes::Bytes;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sources::kafka::{KafkaLog, KafkaSettings};
use stream::Instant;
use stream::log::{Log, LogError, MemberEvent, NewRecord, Offset, Retention, TopicPartition, TopicSpec};

use super::support::{PATIENCE, assigned, commit, group, open, plain, read_all, record, topic, until, values};

#[tokio::test(flavor = "multi_thread")]
async fn records_of_any_producer_are_read() {
    let Some(settings) = plain() else { return };
    let log = open(settings.clone()).await;
    let name = topic(&log, 1).await;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap_servers[0])
        .create()
        .unwrap();
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "ce-type",
            value: Some("alert"),
        })
        .insert(Header::<&str> {
            key: "empty",
            value: None,
        })
        .insert(Header {
            key: "ce-type",
            value: Some("again"),
        });
    let keyed = BaseRecord::to(&name)
        .partition(0)
        .key("k")
        .payload("v")
        .headers(headers)
        .timestamp(1_600_000_000_001);
    producer.send(keyed).map_err(|(error, _)| error).unwrap();
    let tombstone = BaseRecord::<str, str>::to(&name).partition(0).key("k");
    producer.send(tombstone).map_err(|(error, _)| error).unwrap();
    let keyless = BaseRecord::<str, str>::to(&name).partition(0).payload("w");
    producer.send(keyless).map_err(|(error, _)| error).unwrap();
    // What only ends a transaction says nothing, and is never handed out.
    let seal = OwnedHeaders::new().insert(Header {
        key: "aegis.seal",
        value: Some(""),
    });
    let seal = BaseRecord::<str, str>::to(&name).partition(0).payload("").headers(seal);
    producer.send(seal).map_err(|(error, _)| error).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();

    let records = read_all(&log, &TopicPartition::new(name.clone(), 0)).await;
    assert_eq!(records.len(), 3);
    assert_eq!(records[0].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(records[0].timestamp, Instant::from_millis(1_600_000_000_001));
    let names: Vec<&str> = records[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["ce-type", "empty", "ce-type"]);
    assert_eq!(records[0].header("ce-type"), Some(&Bytes::from_static(b"again")));
    assert_eq!(records[0].header("empty"), Some(&Bytes::new()));
    assert_eq!(
        (records[1].key.as_deref(), &records[1].value[..]),
        (Some(&b"k"[..]), &b""[..])
    );
    assert_eq!((records[2].key.as_deref(), &records[2].value[..]), (None, &b"w"[..]));

    let mut member = log.join(&group(), std::slice::from_ref(&name)).await.unwrap();
    let mut handed_out = 0;
    let events = until(&mut member, |event| *event == MemberEvent::Drained).await;
    for event in events {
        if let MemberEvent::Fetched { records, .. } = event {
            handed_out += records.len();
        }
    }
    assert_eq!(handed_out, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_comes_back_as_it_was() {
    let Some(settings) = plain() else { return };
    let log = open(settings).await;
    let partition = TopicPartition::new(topic(&log, 1).await, 0);
    let year_3000 = Instant::from_millis(32_503_680_000_000);
    let times = [
        Instant(0),
        Instant(1_700_000_000_123_456),
        Instant(-1),
        Instant(i64::MIN),
        year_3000,
    ];
    for timestamp in times {
        let sent = NewRecord {
            key: Some(Bytes::new()),
            value: Bytes::new(),
            headers: vec![
                ("h".to_owned(), Bytes::from_static(b"\0\xff")),
                ("h".to_owned(), Bytes::new()),
            ],
            timestamp,
        };
        log.append(&partition, vec![sent.clone()]).await.unwrap();
        let found = read_all(&log, &partition).await.pop().unwrap();
        let back = NewRecord {
            key: found.key,
            value: found.value,
            headers: found.headers,
            timestamp: found.timestamp,
        };
        assert_eq!(back, sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_or_fit_is_refused() {
    let Some(settings) = plain() else { return };
    let log = open(settings.clone()).await;
    let name = topic(&log, 2).await;
    let at = |partition| TopicPartition::new(name.clone(), partition);
    let limit = settings.max_record_bytes;

    let nowhere = TopicPartition::new("test-nowhere", 0);
    let outcome = log.append(&nowhere, vec![record("a")]).await;
    assert!(matches!(outcome, Err(LogError::UnknownTopic(_))), "{outcome:?}");
    let outcome = log.append(&at(2), vec![record("a")]).await;
    assert!(matches!(outcome, Err(LogError::UnknownPartition(_))), "{outcome:?}");
    let outcome = log
        .append(&at(0), vec![record("a"), record("x".repeat(limit + 1))])
        .await;
    assert!(
        matches!(outcome, Err(LogError::TooLarge { limit: told, .. }) if told == limit),
        "{outcome:?}"
    );
    assert!(matches!(
        log.reader(&at(7), Offset(0)).await.err(),
        Some(LogError::UnknownPartition(_))
    ));
    assert!(matches!(
        log.join(&group(), &["test-nowhere".into()]).await.err(),
        Some(LogError::UnknownTopic(_))
    ));

    // The largest record that is allowed goes through.
    log.append(&at(0), vec![record("x".repeat(limit))]).await.unwrap();
    assert_eq!(read_all(&log, &at(0)).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_retention_is_applied_and_nothing_else() {
    let Some(settings) = plain() else { return };
    let log = open(settings.clone()).await;
    let name = topic(&log, 1).await;
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap_servers[0])
        .create()
        .unwrap();
    let configs = async || {
        let found = admin
            .describe_configs([&ResourceSpecifier::Topic(&name)], &AdminOptions::new())
            .await
            .unwrap();
        let found = found.into_iter().next().unwrap().unwrap();
        ["retention.ms", "retention.bytes", "segment.bytes", "max.message.bytes"]
            .map(|name| found.get(name).and_then(|entry| entry.value.clone()).unwrap())
    };
    let before = configs().await;
    assert_eq!(before[..2], ["-1", "-1"]);
    let by_hand = AlterConfig::new(ResourceSpecifier::Topic(&name)).set("segment.bytes", "2097152");
    let by_hand = by_hand.set("max.message.bytes", &before[3]);
    admin.alter_configs([&by_hand], &AdminOptions::new()).await.unwrap()[0]
        .as_ref()
        .unwrap();

    let retention = Retention {
        time: Some(Duration::from_secs(3_600)),
        bytes: Some(1 << 30),
    };
    let spec = TopicSpec {
        name: name.clone(),
        partitions: 1,
        retention,
    };
    log.ensure_topics(std::slice::from_ref(&spec)).await.unwrap();
    assert_eq!(configs().await, ["3600000", "1073741824", "2097152", &before[3]]);

    let other = TopicSpec { partitions: 3, ..spec };
    let outcome = log.ensure_topics(&[other]).await;
    assert!(
        matches!(
            outcome,
            Err(LogError::PartitionCount {
                found: 1,
                wanted: 3,
                ..
            })
        ),
        "{outcome:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_reaches_the_end_behind_transaction_markers() {
    let Some(settings) = plain() else { return };
    let log = open(settings).await;
    let (input, output) = (topic(&log, 1).await, TopicPartition::new(topic(&log, 1).await, 0));
    let mut member = log.join(&group(), &[input]).await.unwrap();
    assigned(&mut member).await;
    for round in 0..3 {
        member.commit(commit(&[(&output, &["a", "b"])], &[])).await.unwrap();
        // Returns only when the reader's position is the end.
        assert_eq!(values(&log, &output, 2 * (round + 1)).await.len(), 2 * (round + 1));
        let bounds = log.bounds(&output).await.unwrap();
        assert_eq!((bounds.start, bounds.end), (Offset(0), Offset(3 * (round as u64 + 1))));
    }
    let mut reader = log.reader(&output, Offset(0)).await.unwrap();
    let (records, next) = reader.read(1, Duration::from_secs(10)).await.unwrap();
    assert_eq!((records.len(), next), (1, Offset(1)));
    // The marker behind the second record takes an offset that nobody sees.
    let (mut found, mut next) = (Vec::new(), next);
    while found.len() < 2 {
        let (records, after) = reader.read(2 - found.len(), Duration::from_secs(10)).await.unwrap();
        found.extend(records.iter().map(|record| record.offset));
        next = after;
    }
    assert_eq!((found, next), (vec![Offset(1), Offset(3)], Offset(4)));

    // Only the last marker is left: the reader does not wait for more before it tells the end.
    let mut reader = log.reader(&output, Offset(8)).await.unwrap();
    let an_hour = Duration::from_secs(3600);
    let told = tokio::time::timeout(PATIENCE, reader.read(1, an_hour)).await;
    let (records, next) = told.expect("the end is told at once").unwrap();
    assert_eq!((records.len(), next), (0, Offset(9)));
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_appends_all_arrive_in_their_order() {
    let Some(settings) = plain() else { return };
    let log: KafkaLog = open(KafkaSettings {
        client_id: "aegis-test".to_owned(),
        ..settings
    })
    .await;
    let partition = TopicPartition::new(topic(&log, 1).await, 0);
    let append = |writer: u32| {
        let (log, partition) = (log.clone(), partition.clone());
        async move {
            for call in 0..50 {
                let records = (0..4).map(|part| record(format!("{writer}/{call}/{part}"))).collect();
                let first = log.append(&partition, records).await.unwrap();
                assert!(first.0 < 2_000, "{first:?}");
            }
        }
    };
    futures::future::join_all((0..10).map(append)).await;
    let records = read_all(&log, &partition).await;
    assert_eq!(records.len(), 2_000);
    let mut next_call = [0; 10];
    for together in records.chunks(4) {
        let parts: Vec<Vec<usize>> = together
            .iter()
            .map(|record| {
                super::support::value(record)
                    .split('/')
                    .map(|part| part.parse().unwrap())
                    .collect()
            })
            .collect();
        let (writer, call) = (parts[0][0], parts[0][1]);
        assert_eq!(parts, (0..4).map(|part| vec![writer, call, part]).collect::<Vec<_>>());
        assert_eq!(call, next_call[writer]);
        next_call[writer] += 1;
    }
}
