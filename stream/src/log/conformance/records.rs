//! Topics, appends and readers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;

use super::*;

pub async fn ensure_topics_is_idempotent_and_refuses_another_count(world: World) {
    let topic = world.topic("t", 3).await;
    assert_eq!(world.topic("t", 3).await, topic);
    assert_eq!(world.log.partitions(&topic).await.expect("partitions"), 3);

    let retention = Retention {
        time: Some(Duration::from_secs(3_600)),
        bytes: Some(1 << 30),
    };
    world.topic_with("t", 3, retention).await;

    let other = TopicSpec {
        name: topic.clone(),
        partitions: 4,
        retention: Retention::default(),
    };
    match world.log.ensure_topics(&[other]).await {
        Err(LogError::PartitionCount {
            topic: named,
            found: 3,
            wanted: 4,
        }) => assert_eq!(named, topic),
        other => panic!("another partition count must be refused, got {other:?}"),
    }
}

pub async fn unknown_topics_and_partitions_are_named(world: World) {
    let topic = world.topic("t", 1).await;
    let nowhere = world.name("nowhere");
    match world.log.partitions(&nowhere).await {
        Err(LogError::UnknownTopic(named)) => assert_eq!(*named, *nowhere),
        other => panic!("an unknown topic must be named, got {other:?}"),
    }
    let beyond = TopicPartition::new(topic, 1);
    match world.log.append(&beyond, vec![record("a")]).await {
        Err(LogError::UnknownPartition(named)) => assert_eq!(named, beyond),
        other => panic!("an unknown partition must be named, got {other:?}"),
    }
}

pub async fn appended_records_come_back_in_order(world: World) {
    let partition = TopicPartition::new(world.topic("t", 2).await, 1);
    let first = world.append(&partition, &["a", "b", "c"]).await;
    let fourth = world.append(&partition, &["d"]).await;
    let records = world.read(&partition, Offset(0), 4).await;
    assert_eq!(texts(&records), ["a", "b", "c", "d"]);
    assert_eq!((records[0].offset, records[3].offset), (first, fourth));
    assert!(records.is_sorted_by(|a, b| a.offset < b.offset), "offsets rise");
    world.read(&TopicPartition::new(partition.topic, 0), Offset(0), 0).await;
}

pub async fn keys_headers_times_and_empty_values_are_kept(world: World) {
    let partition = TopicPartition::new(world.topic("t", 1).await, 0);
    let header = |name: &str, value: &'static [u8]| (name.to_owned(), Bytes::from_static(value));
    let at = Instant::from_millis;
    let full = NewRecord {
        key: Some(Bytes::from_static(b"key\0\xff")),
        value: Bytes::from_static(b"\x00\xfe value"),
        headers: vec![header("trace", b"1"), header("trace", b"2"), header("empty", b"")],
        timestamp: at(1_700_000_000_123),
    };
    let no_key = NewRecord {
        value: Bytes::from_static(b"v"),
        timestamp: at(1),
        ..NewRecord::default()
    };
    let empty = NewRecord {
        key: Some(Bytes::from_static(b"k")),
        timestamp: at(253_402_300_799_999),
        ..NewRecord::default()
    };
    let sent = vec![full, no_key, empty];
    world.log.append(&partition, sent.clone()).await.expect("append");
    let records = world.read(&partition, Offset(0), 3).await;
    for (sent, got) in sent.iter().zip(&records) {
        assert_eq!(
            (&sent.key, &sent.value, &sent.headers),
            (&got.key, &got.value, &got.headers)
        );
        assert_eq!(sent.timestamp, got.timestamp);
        assert_eq!(sent.size(), got.size());
    }
    assert_eq!(records[0].header("trace"), Some(&Bytes::from_static(b"2")));
    assert_eq!(records[0].header("none"), None);
}

pub async fn many_small_appends_stand_where_they_were_told(world: World) {
    let partition = TopicPartition::new(world.topic("t", 1).await, 0);
    let values: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
    // All at the same time: which comes first is open, but each knows its place.
    let appends = values
        .iter()
        .map(|value| world.log.append(&partition, vec![record(value)]));
    let offsets = join_all(appends)
        .await
        .into_iter()
        .map(|offset| offset.expect("append"));
    let told: BTreeMap<Offset, String> = offsets.zip(values).collect();
    let records = world.read(&partition, Offset(0), 1_000).await;
    let read: BTreeMap<Offset, String> = records.iter().map(|record| (record.offset, text(record))).collect();
    assert_eq!(read, told);
}

pub async fn concurrent_appends_keep_each_call_together(world: World) {
    let partition = TopicPartition::new(world.topic("t", 1).await, 0);
    let mut tasks = Vec::new();
    for writer in 0..8 {
        let (log, partition) = (world.log.clone(), partition.clone());
        tasks.push(tokio::spawn(async move {
            for round in 0..10 {
                let records = (0..5).map(|n| record(&format!("{writer}/{round}/{n}"))).collect();
                log.append(&partition, records).await.expect("append");
            }
        }));
    }
    for task in tasks {
        task.await.expect("writer");
    }
    let values = texts(&world.read(&partition, Offset(0), 400).await);
    for call in values.chunks(5) {
        let (prefix, _) = call[0].rsplit_once('/').expect("writer/round/n");
        let expected: Vec<String> = (0..5).map(|n| format!("{prefix}/{n}")).collect();
        assert_eq!(call, expected, "one call's records stay together");
    }
    let mut rounds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for call in values.chunks(5) {
        let mut parts = call[0].split('/');
        rounds
            .entry(parts.next().unwrap_or_default())
            .or_default()
            .push(parts.next().unwrap_or_default());
    }
    for (writer, rounds) in rounds {
        assert_eq!(
            rounds,
            ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            "writer {writer}'s calls stay in order"
        );
    }
}

pub async fn a_large_batch_arrives_whole(world: World) {
    let partition = TopicPartition::new(world.topic("t", 1).await, 0);
    let sent: Vec<NewRecord> = (0..12_000).map(|n| record(&format!("{n:0700}"))).collect();
    let sizes: usize = sent.iter().map(NewRecord::size).sum();
    assert!(sizes > 8_000_000, "more than one fetch");
    world.log.append(&partition, sent.clone()).await.expect("append");
    let records = world.read(&partition, Offset(0), sent.len()).await;
    assert!(
        sent.iter().zip(&records).all(|(sent, got)| sent.value == got.value),
        "values in order"
    );
}

pub async fn a_record_over_the_limit_is_refused(world: World) {
    let partition = TopicPartition::new(world.topic("t", 1).await, 0);
    let huge = NewRecord {
        value: Bytes::from(vec![b'x'; 17 << 20]),
        ..record("")
    };
    match world.log.append(&partition, vec![record("small"), huge]).await {
        Err(LogError::TooLarge { size, limit }) => assert!(size > limit, "{size} is over {limit}"),
        other => panic!("17 MiB must be refused, got {other:?}"),
    }
    world.append(&partition, &["after"]).await;
    let last = read_to_end(&world.log, &partition).await.pop();
    assert_eq!(last.as_ref().map(text).as_deref(), Some("after"), "the log goes on");
}

pub async fn a_reader_starts_where_it_is_told_and_follows(world: World) {
    let partition = TopicPartition::new(world.topic("t", 1).await, 0);
    world.append(&partition, &["a", "b"]).await;
    let third = world.append(&partition, &["c"]).await;
    let mut reader = world.log.reader(&partition, third).await.expect("reader");
    assert_eq!(texts(&read_from(reader.as_mut(), 1).await), ["c"]);
    assert_eq!(
        reader
            .read(10, Duration::from_millis(1))
            .await
            .expect("read at the end")
            .0,
        []
    );

    // Waiting readers are woken by an append.
    let follow = tokio::spawn(async move { texts(&read_from(reader.as_mut(), 2).await) });
    world.append(&partition, &["d", "e"]).await;
    assert_eq!(
        within("the waiting reader", follow).await.expect("reader task"),
        ["d", "e"]
    );

    let mut limited = world.log.reader(&partition, Offset(0)).await.expect("reader");
    let (records, position) = limited.read(2, PATIENCE).await.expect("read");
    assert!(!records.is_empty() && records.len() <= 2, "at most what was asked for");
    let mut next = world
        .log
        .reader(&partition, position)
        .await
        .expect("reader at the returned position");
    let all = [
        texts(&records),
        texts(&read_from(next.as_mut(), 5 - records.len()).await),
    ]
    .concat();
    assert_eq!(all, ["a", "b", "c", "d", "e"]);
}

pub async fn bounds_of_an_empty_and_a_filled_partition(world: World) {
    let partition = TopicPartition::new(world.topic("t", 1).await, 0);
    let empty = world.log.bounds(&partition).await.expect("bounds");
    assert_eq!(empty.start, empty.end);
    let first = world.append(&partition, &["a", "b"]).await;
    let filled = world.log.bounds(&partition).await.expect("bounds");
    assert_eq!((filled.start, first), (empty.start, empty.end));
    assert!(filled.end.0 >= first.0 + 2, "the end is the next offset to be written");
}

async fn read_to_end(log: &Arc<dyn Log>, partition: &TopicPartition) -> Vec<Record> {
    let end = log.bounds(partition).await.expect("bounds").end;
    let mut reader = log.reader(partition, Offset(0)).await.expect("reader");
    let mut all = Vec::new();
    within("the reader to reach the end", async {
        loop {
            let (records, position) = reader.read(100, PULSE).await.expect("read");
            all.extend(records);
            if position >= end {
                break;
            }
        }
    })
    .await;
    all
}
