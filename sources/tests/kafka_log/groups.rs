//! Groups: atomic commits, hand-over without loss or duplicates, aborts, and members that are too late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, Producer as _};
use sources::kafka::{KafkaLog, KafkaSettings};
use stream::log::{Commit, CommitError, Log, LogError, MemberEvent, NewRecord, Offset, Topic, TopicPartition};
use tokio::sync::watch;
use tokio::time::Instant;

use super::support::{
    PATIENCE, assert_fenced, assigned, commit, group, open, plain, record, topic, until, values, within,
};

const RECORDS: usize = 10_000;
const PARTITIONS: u32 = 4;

/// Copies `from` to the same partitions of `to` until told to stop: what a stage does, in short. Counts what it
/// committed into `copied`.
async fn copy(
    log: KafkaLog,
    group: String,
    from: Topic,
    to: Topic,
    copied: Arc<AtomicUsize>,
    mut stop: watch::Receiver<bool>,
) {
    let mut member = log.join(&group, &[from]).await.unwrap();
    // Per input partition: outputs not committed yet, and the position after them.
    let mut open: BTreeMap<TopicPartition, (Vec<NewRecord>, Offset)> = BTreeMap::new();
    while !*stop.borrow_and_update() {
        let (flush, gone) = match member.next(Duration::from_millis(100)).await.unwrap() {
            Some(MemberEvent::Fetched { partition, records }) => {
                let entry = open.entry(partition).or_default();
                for record in records {
                    entry.1 = Offset(record.offset.0 + 1);
                    let (key, value, headers) = (record.key, record.value, record.headers);
                    entry.0.push(NewRecord {
                        key,
                        value,
                        headers,
                        timestamp: record.timestamp,
                    });
                }
                (
                    open.values().map(|(records, _)| records.len()).sum::<usize>() >= 100,
                    Vec::new(),
                )
            }
            Some(MemberEvent::Revoked(partitions)) => (true, partitions),
            Some(MemberEvent::Lost(partitions)) => {
                open.retain(|partition, _| !partitions.contains(partition));
                (false, Vec::new())
            }
            Some(MemberEvent::Assigned(_)) => (false, Vec::new()),
            Some(MemberEvent::Drained) | None => (true, Vec::new()),
        };
        while flush && !open.is_empty() {
            let outputs = open.iter().map(|(partition, (records, _))| {
                (TopicPartition::new(to.clone(), partition.partition), records.clone())
            });
            let positions = open
                .iter()
                .map(|(partition, (_, position))| (partition.clone(), *position));
            let whole = Commit {
                outputs: outputs.collect(),
                positions: positions.collect(),
            };
            match member.commit(whole).await {
                Ok(()) => {
                    copied.fetch_add(open.values().map(|(records, _)| records.len()).sum(), Ordering::SeqCst);
                    open.clear();
                }
                // Its generation passed; the same again with the new one.
                Err(CommitError::Aborted(_)) => {}
                Err(CommitError::Fenced(_)) => open.clear(),
                Err(error) => panic!("{error}"),
            }
        }
        open.retain(|partition, _| !gone.contains(partition));
    }
    member.leave().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_is_exact_while_a_member_joins_and_leaves() {
    let Some(settings) = plain() else { return };
    let log = open(settings).await;
    let (from, to) = (topic(&log, PARTITIONS).await, topic(&log, PARTITIONS).await);
    let group = group();
    let feed = |range: std::ops::Range<usize>| {
        let (log, from) = (log.clone(), from.clone());
        async move {
            for number in range.step_by(10) {
                let partition = TopicPartition::new(from.clone(), (number / 10) as u32 % PARTITIONS);
                let records = (number..number + 10).map(|number| record(number.to_string())).collect();
                log.append(&partition, records).await.unwrap();
            }
        }
    };
    let start = |copied: &Arc<AtomicUsize>| {
        let (stop, stopped) = watch::channel(false);
        let task = copy(
            log.clone(),
            group.clone(),
            from.clone(),
            to.clone(),
            copied.clone(),
            stopped,
        );
        (stop, tokio::spawn(task))
    };
    let copied_by = [Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0))];
    let reached = async |what: &str, done: &dyn Fn() -> bool| {
        let deadline = Instant::now() + PATIENCE;
        while !done() {
            assert!(Instant::now() < deadline, "{what}: copied {copied_by:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let total = || {
        copied_by
            .iter()
            .map(|copied| copied.load(Ordering::SeqCst))
            .sum::<usize>()
    };

    // One member, then two, then one again; records come in all the while.
    let (stop_first, first) = start(&copied_by[0]);
    let feeding = tokio::spawn(feed(0..RECORDS / 2));
    reached("the first copies", &|| total() > 0).await;
    let (stop_second, second) = start(&copied_by[1]);
    feeding.await.unwrap();
    let feeding = tokio::spawn(feed(RECORDS / 2..RECORDS));
    reached("the second copies", &|| copied_by[1].load(Ordering::SeqCst) > 0).await;
    stop_second.send(true).unwrap();
    within("leaving", second).await.unwrap();
    feeding.await.unwrap();
    reached("all is copied", &|| total() >= RECORDS).await;
    stop_first.send(true).unwrap();
    within("leaving", first).await.unwrap();

    let mut all = Vec::new();
    for partition in 0..PARTITIONS {
        let count = RECORDS / PARTITIONS as usize;
        let input = values(&log, &TopicPartition::new(from.clone(), partition), count).await;
        let output = values(&log, &TopicPartition::new(to.clone(), partition), count).await;
        assert_eq!(output, input, "partition {partition}");
        all.extend(output);
    }
    assert_eq!(all.len(), RECORDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_commit_leaves_nothing_visible() {
    let Some(settings) = plain() else { return };
    let log = open(settings.clone()).await;
    let (input, good, narrow) = (topic(&log, 1).await, topic(&log, 1).await, topic(&log, 1).await);
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap_servers[0])
        .create()
        .unwrap();
    let change = AlterConfig::new(ResourceSpecifier::Topic(&narrow)).set("max.message.bytes", "1000");
    admin.alter_configs([&change], &AdminOptions::new()).await.unwrap()[0]
        .as_ref()
        .unwrap();
    let [input, good, narrow] = [input, good, narrow].map(|name| TopicPartition::new(name, 0));
    let group = group();
    let mut member = log.join(&group, std::slice::from_ref(&input.topic)).await.unwrap();
    assigned(&mut member).await;
    log.append(&input, vec![record("i")]).await.unwrap();

    // The broker refuses the second output after it took the first.
    let large = "x".repeat(100_000);
    let outcome = member
        .commit(commit(&[(&good, &["a"]), (&narrow, &[&large])], &[(&input, 1)]))
        .await;
    assert!(matches!(outcome, Err(CommitError::Aborted(_))), "{outcome:?}");
    assert_eq!(log.committed(&group, &input).await.unwrap(), None);

    // The member goes on.
    member
        .commit(commit(&[(&good, &["b"]), (&narrow, &["b"])], &[(&input, 1)]))
        .await
        .unwrap();
    assert_eq!(log.committed(&group, &input).await.unwrap(), Some(Offset(1)));
    assert_eq!(values(&log, &good, 1).await, ["b"]);
    assert_eq!(values(&log, &narrow, 1).await, ["b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_nothing_or_of_positions_only() {
    let Some(settings) = plain() else { return };
    let log = open(settings).await;
    let input = TopicPartition::new(topic(&log, 1).await, 0);
    let group = group();
    log.append(&input, vec![record("a"), record("b")]).await.unwrap();
    let mut member = log.join(&group, std::slice::from_ref(&input.topic)).await.unwrap();
    assert_eq!(assigned(&mut member).await, [(input.clone(), None)]);
    member.commit(Commit::default()).await.unwrap();
    assert_eq!(log.committed(&group, &input).await.unwrap(), None);
    member.commit(commit(&[], &[(&input, 1)])).await.unwrap();
    assert_eq!(log.committed(&group, &input).await.unwrap(), Some(Offset(1)));
    member.leave().await.unwrap();
    assert_fenced(member.commit(commit(&[], &[(&input, 2)])).await);

    let mut next = log.join(&group, std::slice::from_ref(&input.topic)).await.unwrap();
    assert_eq!(assigned(&mut next).await, [(input.clone(), Some(Offset(1)))]);
    let events = until(&mut next, |event| *event == MemberEvent::Drained).await;
    let mut fetched = Vec::new();
    for event in events {
        if let MemberEvent::Fetched { records, .. } = event {
            fetched.extend(records.iter().map(|record| record.offset.0));
        }
    }
    assert_eq!(fetched, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_does_not_answer_a_revocation_is_fenced() {
    let Some(settings) = plain() else { return };
    // Half of it is what the silent member has.
    let log = open(KafkaSettings {
        session_timeout_ms: 6_000,
        ..settings
    })
    .await;
    let input = topic(&log, 2).await;
    let output = TopicPartition::new(topic(&log, 1).await, 0);
    let group = group();
    let mut silent = log.join(&group, std::slice::from_ref(&input)).await.unwrap();
    assert_eq!(assigned(&mut silent).await.len(), 2);
    let mut other = log.join(&group, std::slice::from_ref(&input)).await.unwrap();
    let moved = assigned(&mut other).await;
    assert_eq!(moved.len(), 1);
    let moved = moved[0].0.clone();
    let kept = TopicPartition::new(input, 1 - moved.partition);
    assert_fenced(silent.commit(commit(&[(&output, &["zombie"])], &[(&moved, 1)])).await);
    // Not told yet: what it would commit may build on what is lost.
    assert_fenced(silent.commit(commit(&[(&output, &["zombie"])], &[(&kept, 1)])).await);
    other
        .commit(commit(&[(&output, &["owner"])], &[(&moved, 1)]))
        .await
        .unwrap();
    until(&mut silent, |event| *event == MemberEvent::Lost(vec![moved.clone()])).await;
    silent
        .commit(commit(&[(&output, &["told"])], &[(&kept, 1)]))
        .await
        .unwrap();
    assert_eq!(values(&log, &output, 2).await, ["owner", "told"]);
}

/// A transaction that moves a group's position and has no end keeps who needs that position from its work, and says so; who
/// keeps its positions elsewhere goes on.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_holds_up_those_who_need_the_position() {
    let Some(settings) = plain() else { return };
    let log = open(settings.clone()).await;
    let input = TopicPartition::new(topic(&log, 1).await, 0);
    let group = group();
    let client = |name: &str, value: &str| {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &settings.bootstrap_servers[0])
            .set(name, value);
        config
    };
    let producer: Arc<BaseProducer> = Arc::new(client("transactional.id", &group).create().unwrap());
    let nobody: BaseConsumer = client("group.id", &group).create().unwrap();
    let (moved, open) = (input.clone(), producer.clone());
    within(
        "opening a transaction",
        tokio::task::spawn_blocking(move || {
            open.init_transactions(PATIENCE).unwrap();
            open.begin_transaction().unwrap();
            let mut positions = rdkafka::TopicPartitionList::new();
            positions
                .add_partition_offset(&moved.topic, 0, rdkafka::Offset::Offset(1))
                .unwrap();
            let metadata = nobody.group_metadata().unwrap();
            open.send_offsets_to_transaction(&positions, &metadata, PATIENCE)
                .unwrap();
        }),
    )
    .await
    .unwrap();

    let mut follower = log.follow(&group, std::slice::from_ref(&input.topic)).await.unwrap();
    assert_eq!(assigned(&mut follower).await, [(input.clone(), None)]);
    until(&mut follower, |event| *event == MemberEvent::Drained).await;
    assert_eq!(follower.waits().now(), None);
    follower.leave().await.unwrap();

    let mut member = log.join(&group, std::slice::from_ref(&input.topic)).await.unwrap();
    let waits = member.waits();
    let deadline = Instant::now() + PATIENCE;
    while !waits.now().is_some_and(|what| what.contains("committed positions")) {
        assert!(Instant::now() < deadline, "{waits:?}");
        assert_eq!(member.next(Duration::from_millis(200)).await.unwrap(), None);
    }
    within(
        "ending the transaction",
        tokio::task::spawn_blocking(move || producer.abort_transaction(PATIENCE).unwrap()),
    )
    .await
    .unwrap();
    assert_eq!(assigned(&mut member).await, [(input.clone(), None)]);
    until(&mut member, |event| *event == MemberEvent::Drained).await;
    assert_eq!(waits.now(), None);
    assert!(member.at_end(&input));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_is_gone_is_reported_and_left_by_a_seek() {
    let Some(settings) = plain() else { return };
    let log = open(settings.clone()).await;
    let input = TopicPartition::new(topic(&log, 1).await, 0);
    let group = group();
    log.append(&input, ["a", "b", "c"].map(record).to_vec()).await.unwrap();
    let mut member = log.join(&group, std::slice::from_ref(&input.topic)).await.unwrap();
    assigned(&mut member).await;
    member.commit(commit(&[], &[(&input, 1)])).await.unwrap();
    member.leave().await.unwrap();
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &settings.bootstrap_servers[0])
        .create()
        .unwrap();
    let mut below = rdkafka::TopicPartitionList::new();
    below
        .add_partition_offset(&input.topic, 0, rdkafka::Offset::Offset(2))
        .unwrap();
    admin.delete_records(&below, &AdminOptions::new()).await.unwrap();
    assert_eq!(log.bounds(&input).await.unwrap().start, Offset(2));
    assert!(matches!(
        log.reader(&input, Offset(1)).await.err(),
        Some(LogError::OutOfRange { start: Offset(2), .. })
    ));

    let mut member = log.join(&group, std::slice::from_ref(&input.topic)).await.unwrap();
    assert_eq!(assigned(&mut member).await, [(input.clone(), Some(Offset(1)))]);
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        assert!(Instant::now() < deadline);
        match member.next(Duration::from_millis(200)).await {
            Ok(None) => {}
            Ok(Some(event)) => panic!("{event:?}"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            error,
            LogError::OutOfRange {
                offset: Offset(1),
                start: Offset(2),
                ..
            }
        ),
        "{error:?}"
    );
    member.seek(&input, Offset(2)).await.unwrap();
    let events = until(&mut member, |event| matches!(event, MemberEvent::Fetched { .. })).await;
    let Some(MemberEvent::Fetched { records, .. }) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(records[0].offset, Offset(2));
    member.seek(&input, Offset(3)).await.unwrap();
    until(&mut member, |event| *event == MemberEvent::Drained).await;
}
