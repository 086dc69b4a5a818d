//! Members: assignment, fetching, atomic commits, hand-over.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::sync::oneshot;

use super::super::CommitError;
use super::*;

pub async fn a_member_reads_everything_then_drains(world: World) {
    let topic = world.topic("t", 3).await;
    for partition in 0..3 {
        let name = partition.to_string();
        world
            .append(&TopicPartition::new(topic.clone(), partition), &[name.as_str(), "x"])
            .await;
    }
    let mut member = world.join("g", &[&topic]).await;
    let mut seen = Seen::default();
    seen.until(member.as_mut(), "the end of all partitions", |seen| {
        seen.drained > 0 && seen.assigned.len() == 3
    })
    .await;
    assert!(
        seen.assigned.values().all(Option::is_none),
        "a new group has no positions"
    );
    let mut values = seen.values();
    values.sort();
    assert_eq!(values, ["0", "1", "2", "x", "x", "x"]);

    // After the end, something new is fetched and drained again.
    seen.drained = 0;
    world.append(&TopicPartition::new(topic, 1), &["new"]).await;
    seen.until(member.as_mut(), "the new record and the end after it", |seen| {
        seen.records.len() == 7 && seen.drained > 0
    })
    .await;
    member.leave().await.expect("leave");
}

pub async fn drained_comes_only_at_the_end(world: World) {
    let topic = world.topic("t", 2).await;
    let big = "y".repeat(100_000);
    for partition in 0..2 {
        let partition = TopicPartition::new(topic.clone(), partition);
        for _ in 0..5 {
            world.append(&partition, &vec![big.as_str(); 20]).await;
        }
    }
    let mut member = world.join("g", &[&topic]).await;
    let mut seen = Seen::default();
    seen.until(member.as_mut(), "Drained with both partitions assigned", |seen| {
        seen.drained > 0 && seen.assigned.len() == 2
    })
    .await;
    assert_eq!(seen.records.len(), 200, "Drained came before the end");
}

pub async fn positions_resume(world: World) {
    let topic = world.topic("t", 1).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    world.append(&partition, &["a", "b"]).await;
    assert_eq!(world.committed("g", &partition).await, None);

    let mut member = world.join("g", &[&topic]).await;
    let mut seen = Seen::default();
    seen.until(member.as_mut(), "two records", |seen| seen.records.len() == 2)
        .await;
    let position = seen.positions();
    member.commit(commit(vec![], position.clone())).await.expect("commit");
    assert_eq!(world.committed("g", &partition).await, Some(position[0].1));
    world.append(&partition, &["c"]).await;
    member.leave().await.expect("leave");
    drop(member);

    let mut member = world.join("g", &[&topic]).await;
    let mut seen = Seen::default();
    seen.until(member.as_mut(), "what was not committed", |seen| seen.drained > 0)
        .await;
    assert_eq!(seen.assigned.get(&partition), Some(&Some(position[0].1)));
    assert_eq!(seen.values(), ["c"]);
}

pub async fn a_commit_of_positions_only(world: World) {
    let topic = world.topic("t", 2).await;
    let (first, second) = (
        TopicPartition::new(topic.clone(), 0),
        TopicPartition::new(topic.clone(), 1),
    );
    world.append(&first, &["a"]).await;
    world.append(&second, &["b"]).await;
    let mut member = world.join("g", &[&topic]).await;
    let mut seen = Seen::default();
    seen.until(member.as_mut(), "both records", |seen| seen.records.len() == 2)
        .await;
    let positions = seen.positions();
    member
        .commit(commit(vec![], vec![positions[0].clone()]))
        .await
        .expect("commit");
    assert_eq!(world.committed("g", &first).await, Some(positions[0].1));
    assert_eq!(
        world.committed("g", &second).await,
        None,
        "only what was committed moves"
    );
    member.commit(commit(vec![], positions.clone())).await.expect("commit");
    assert_eq!(world.committed("g", &second).await, Some(positions[1].1));
}

pub async fn an_empty_commit_is_harmless(world: World) {
    let topic = world.topic("t", 1).await;
    let mut member = world.join("g", &[&topic]).await;
    let mut seen = Seen::default();
    seen.until(member.as_mut(), "an assignment", |seen| seen.assigned.len() == 1)
        .await;
    member.commit(Commit::default()).await.expect("an empty commit");
    assert_eq!(world.committed("g", &TopicPartition::new(topic, 0)).await, None);
}

pub async fn outputs_over_several_topics_appear_with_their_position(world: World) {
    let input = world.topic("in", 1).await;
    let partition = TopicPartition::new(input.clone(), 0);
    let (left, right) = (world.topic("left", 2).await, world.topic("right", 1).await);
    let targets = [
        TopicPartition::new(left.clone(), 0),
        TopicPartition::new(left, 1),
        TopicPartition::new(right, 0),
    ];
    world.append(&partition, &["a", "b"]).await;
    let mut member = world.join("g", &[&input]).await;
    let mut seen = Seen::default();
    seen.until(member.as_mut(), "the input", |seen| seen.records.len() == 2)
        .await;

    for target in &targets {
        world.read(target, Offset(0), 0).await;
    }
    let written = targets.iter().map(|target| outputs(target, &["1", "2"])).collect();
    member.commit(commit(written, seen.positions())).await.expect("commit");
    assert_eq!(world.committed("g", &partition).await, Some(seen.positions()[0].1));
    for target in &targets {
        assert_eq!(texts(&world.read(target, Offset(0), 2).await), ["1", "2"]);
    }
}

pub async fn outputs_without_positions(world: World) {
    let (input, output) = (world.topic("in", 1).await, world.topic("out", 1).await);
    let target = TopicPartition::new(output, 0);
    let mut member = world.join("g", &[&input]).await;
    let mut seen = Seen::default();
    seen.until(member.as_mut(), "an assignment", |seen| seen.assigned.len() == 1)
        .await;
    member
        .commit(commit(vec![outputs(&target, &["timer"])], vec![]))
        .await
        .expect("commit");
    member
        .commit(commit(
            vec![outputs(&target, &["again"]), outputs(&target, &["and more"])],
            vec![],
        ))
        .await
        .expect("commit");
    assert_eq!(
        texts(&world.read(&target, Offset(0), 3).await),
        ["timer", "again", "and more"]
    );
}

pub async fn a_refused_commit_leaves_nothing(world: World) {
    let (input, output) = (world.topic("in", 1).await, world.topic("out", 1).await);
    let (partition, target) = (
        TopicPartition::new(input.clone(), 0),
        TopicPartition::new(output.clone(), 0),
    );
    world.append(&partition, &["a"]).await;
    let mut member = world.join("g", &[&input]).await;
    let mut seen = Seen::default();
    seen.until(member.as_mut(), "the input", |seen| seen.records.len() == 1)
        .await;

    let nowhere = TopicPartition::new(output, 7);
    let refused = commit(
        vec![outputs(&target, &["lost"]), outputs(&nowhere, &["lost"])],
        seen.positions(),
    );
    match member.commit(refused).await {
        Err(CommitError::Aborted(_)) => {}
        other => panic!("a commit to an unknown partition must be aborted, got {other:?}"),
    }
    assert_eq!(world.committed("g", &partition).await, None);
    world.read(&target, Offset(0), 0).await;

    member
        .commit(commit(vec![outputs(&target, &["kept"])], seen.positions()))
        .await
        .expect("the same, mended");
    assert_eq!(texts(&world.read(&target, Offset(0), 1).await), ["kept"]);
    assert_eq!(world.committed("g", &partition).await, Some(seen.positions()[0].1));
}

pub async fn groups_are_independent(world: World) {
    let topic = world.topic("t", 1).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    world.append(&partition, &["a", "b"]).await;
    for group in ["g1", "g2"] {
        assert_eq!(world.committed(group, &partition).await, None);
        let mut member = world.join(group, &[&topic]).await;
        let mut seen = Seen::default();
        seen.until(member.as_mut(), "both records", |seen| seen.records.len() == 2)
            .await;
        assert_eq!(seen.values(), ["a", "b"], "{group}");
        member.commit(commit(vec![], seen.positions())).await.expect("commit");
    }
}

pub async fn seek_moves_the_fetch_position(world: World) {
    let topic = world.topic("t", 1).await;
    let partition = TopicPartition::new(topic.clone(), 0);
    world.append(&partition, &["a"]).await;
    let second = world.append(&partition, &["b", "c"]).await;
    let mut member = world.join("g", &[&topic]).await;
    let mut seen = Seen::default();
    // Before the first fetch, as a sink does on assignment.
    seen.until(member.as_mut(), "an assignment", |seen| seen.assigned.len() == 1)
        .await;
    member.seek(&partition, second).await.expect("seek");
    seen.until(member.as_mut(), "the end", |seen| seen.drained > 0).await;
    assert_eq!(seen.values(), ["b", "c"]);

    // Back to the start after the end.
    member.seek(&partition, Offset(0)).await.expect("seek back");
    let mut again = Seen {
        assigned: seen.assigned,
        ..Seen::default()
    };
    again
        .until(member.as_mut(), "all records again", |seen| seen.records.len() == 3)
        .await;
    assert_eq!(again.values(), ["a", "b", "c"]);
    assert!(
        member
            .seek(&TopicPartition::new("elsewhere", 0), Offset(0))
            .await
            .is_err(),
        "not assigned"
    );
}

pub async fn two_members_share_and_leaving_hands_over(world: World) {
    let topic = world.topic("t", 4).await;
    let mut first = world.join("g", &[&topic]).await;
    let mut seen = Seen::default();
    seen.until(first.as_mut(), "all four partitions", |seen| seen.assigned.len() == 4)
        .await;

    let mut second = world.join("g", &[&topic]).await;
    let mut other = Seen::default();
    within("two partitions each", async {
        while (seen.assigned.len(), other.assigned.len()) != (2, 2) {
            seen.once(first.as_mut()).await;
            other.once(second.as_mut()).await;
        }
    })
    .await;
    let held: BTreeSet<_> = seen.assigned.keys().chain(other.assigned.keys()).collect();
    assert_eq!(held.len(), 4, "no partition has two holders");
    assert_eq!(seen.revoked.len(), 2, "only what moves is taken away");

    first.leave().await.expect("leave");
    other
        .until(second.as_mut(), "what the first one left", |other| {
            other.assigned.len() == 4
        })
        .await;
    assert!(other.revoked.is_empty(), "the one who stays loses nothing");
}

pub async fn a_commit_after_the_partition_moved_is_fenced(world: World) {
    let (input, output) = (world.topic("in", 2).await, world.topic("out", 1).await);
    let target = TopicPartition::new(output, 0);
    for partition in 0..2 {
        world
            .append(&TopicPartition::new(input.clone(), partition), &["a"])
            .await;
    }
    let mut first = world.join("g", &[&input]).await;
    let mut seen = Seen::default();
    seen.until(first.as_mut(), "both records", |seen| seen.records.len() == 2)
        .await;
    let positions = seen.positions();

    let mut second = world.join("g", &[&input]).await;
    let mut other = Seen::default();
    within("a hand-over", async {
        while other.assigned.is_empty() || seen.revoked.is_empty() {
            seen.once(first.as_mut()).await;
            other.once(second.as_mut()).await;
        }
    })
    .await;
    let moved = seen.revoked[0].clone();
    assert!(other.assigned.contains_key(&moved), "{moved} went to the other member");
    let stale = positions
        .into_iter()
        .filter(|(partition, _)| *partition == moved)
        .collect();
    match first.commit(commit(vec![outputs(&target, &["stale"])], stale)).await {
        Err(CommitError::Fenced(_)) => {}
        other => panic!("a commit for a moved partition must be fenced, got {other:?}"),
    }
    world.read(&target, Offset(0), 0).await;
    assert_eq!(world.committed("g", &moved).await, None);
}

pub async fn nothing_is_lost_or_doubled_while_members_come_and_go(world: World) {
    const PARTITIONS: u32 = 4;
    const EACH: usize = 250;
    let (input, output) = (world.topic("in", PARTITIONS).await, world.topic("out", 1).await);
    let target = TopicPartition::new(output, 0);
    for partition in 0..PARTITIONS {
        for chunk in 0..EACH / 50 {
            let records = (0..50)
                .map(|n| record(&format!("{partition}/{}", chunk * 50 + n)))
                .collect();
            world
                .log
                .append(&TopicPartition::new(input.clone(), partition), records)
                .await
                .expect("append");
        }
    }
    let (stop, stopped) = oneshot::channel::<()>();
    let first = tokio::spawn(copy(world.join("g", &[&input]).await, target.clone(), Some(stopped)));
    let second = tokio::spawn(copy(world.join("g", &[&input]).await, target.clone(), None));
    // The first leaves in the midst of it; the second finishes.
    wait_for_outputs(&world, &target, 1).await;
    stop.send(()).ok();
    within("the first member to leave", first).await.expect("first copier");
    wait_for_outputs(&world, &target, PARTITIONS as usize * EACH).await;
    second.abort();

    let copied = texts(&world.read(&target, Offset(0), PARTITIONS as usize * EACH).await);
    for partition in 0..PARTITIONS {
        let prefix = format!("{partition}/");
        let got: Vec<&str> = copied.iter().filter_map(|value| value.strip_prefix(&prefix)).collect();
        let expected: Vec<String> = (0..EACH).map(|n| n.to_string()).collect();
        assert_eq!(got, expected, "partition {partition}");
    }
}

/// Copies what it is given, one small commit at a time, until told to leave.
async fn copy(mut member: Box<dyn Member>, target: TopicPartition, mut stop: Option<oneshot::Receiver<()>>) {
    loop {
        if stop.as_mut().is_some_and(|stop| stop.try_recv().is_ok()) {
            member.leave().await.expect("leave");
            return;
        }
        let Some(MemberEvent::Fetched { partition, records }) = member.next(PULSE).await.expect("next") else {
            continue;
        };
        for chunk in records.chunks(20) {
            let values: Vec<String> = texts(chunk);
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let next = Offset(chunk[chunk.len() - 1].offset.0 + 1);
            member
                .commit(commit(vec![outputs(&target, &values)], vec![(partition.clone(), next)]))
                .await
                .expect("commit of a held partition");
        }
    }
}

async fn wait_for_outputs(world: &World, target: &TopicPartition, count: usize) {
    let mut reader = world.log.reader(target, Offset(0)).await.expect("reader");
    read_from(reader.as_mut(), count).await;
}

pub async fn a_dropped_next_loses_nothing(world: World) {
    let topic = world.topic("t", 2).await;
    for n in 0..20 {
        let value = format!("{n:02}");
        world
            .append(&TopicPartition::new(topic.clone(), n % 2), &[value.as_str()])
            .await;
    }
    let mut member = world.join("g", &[&topic]).await;
    let mut seen = Seen::default();
    within("all records in spite of dropped calls", async {
        while seen.records.len() < 20 {
            // Polled once and dropped, which must neither swallow an event nor a record.
            let dropped = tokio::time::timeout(Duration::ZERO, member.next(PULSE)).await;
            match dropped {
                Ok(event) => seen.take(event.expect("next")),
                Err(_) => seen.once(member.as_mut()).await,
            }
        }
    })
    .await;
    let mut values = seen.values();
    values.sort();
    assert_eq!(values, (0..20).map(|n| format!("{n:02}")).collect::<Vec<_>>());
}
