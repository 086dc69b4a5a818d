//! The watch of Kubernetes: whatever the bytes and however the connection cuts them, nothing panics, the same words are read, and a word is no longer
//! than its limit.

use fuzz::{Dice, again, corpus, rounds, spoiled};
use sources::kubernetes::WatchReader;

/// Lines of a watch, of each type.
const LINES: &[&str] = &[
    r#"{"type":"ADDED","object":{"kind":"Pod","metadata":{"uid":"u","name":"p","resourceVersion":"7"},"status":{"phase":"Running"}}}"#,
    r#"{"type":"MODIFIED","object":{"kind":"DaemonSet","metadata":{"uid":"d","resourceVersion":"8"},"status":{"desiredNumberScheduled":3}}}"#,
    r#"{"type":"DELETED","object":{"kind":"StatefulSet","metadata":{"uid":"s","resourceVersion":"9","labels":{"a":"\u00e9"}}}}"#,
    r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"10","annotations":{"k8s.io/initial-events-end":"true"}}}}"#,
    r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","message":"too old resource version","reason":"Expired","code":410}}"#,
    r#"{"type":"ERROR","object":{"kind":"Status","message":"etcd is away","code":500}}"#,
    "",
    " \r",
];

/// Every word and the failure that ends them, as text.
fn read(pieces: &[&[u8]], limit: usize) -> Vec<String> {
    let mut reader = WatchReader::new(limit);
    let mut told = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next_word() {
                Ok(Some(word)) => told.push(format!("{word:?}")),
                Ok(None) => break,
                Err(failure) => {
                    told.push(format!("{failure:?}"));
                    return told;
                }
            }
        }
    }
    match reader.last_word() {
        Ok(Some(word)) => told.push(format!("{word:?}")),
        Ok(None) => {}
        Err(failure) => told.push(format!("{failure:?}")),
    }
    told
}

fn pieces<'a>(dice: &mut Dice, mut bytes: &'a [u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        let longest = *dice.one_of(&[1, 7, 100, 10_000]);
        let (piece, rest) = bytes.split_at((1 + dice.below(longest)).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

#[test]
fn watches() {
    let mut bodies = corpus();
    let recorded = bodies
        .iter()
        .filter(|body| body.starts_with(b"{\"type\":\"ADDED\""))
        .count();
    assert!(recorded > 0, "a recorded watch is in the corpus");
    bodies.extend(LINES.iter().map(|line| line.as_bytes().to_vec()));
    for body in &bodies {
        read(&[body], 1 << 20);
    }
    let mut words = 0;
    rounds("watches", 100_000, |dice| {
        let mut bytes = Vec::new();
        for _ in 0..1 + dice.below(6) {
            match dice.once_in(8) {
                true => bytes.extend(dice.one_of::<Vec<u8>>(&bodies)),
                false => bytes.extend_from_slice(dice.one_of(LINES).as_bytes()),
            }
            bytes.push(b'\n');
        }
        if !dice.once_in(4) {
            bytes = spoiled(dice, &bytes, &bodies);
        }
        let limit = *dice.one_of(&[0, 20, 200, 1 << 20]);
        let whole = read(&[&bytes], limit);
        assert_eq!(
            read(&pieces(dice, &bytes), limit),
            whole,
            "cut otherwise, it says something else"
        );
        let fitting = bytes
            .split(|byte| *byte == b'\n')
            .filter(|line| line.len() <= limit)
            .count();
        let good = whole
            .iter()
            .filter(|one| one.starts_with("Present") || one.starts_with("Deleted"))
            .count();
        assert!(good <= fitting);
        words += good;
    });
    assert!(words > 0 || again(), "whole words are read");
}
