//! One suite for every vector store: Qdrant's engine in this process, Qdrant's client before a small server of ours over that engine, and a
//! real server where `QDRANT_URL` names one. And what each of the two makes of a store that is gone, hangs, is late or answers rubbish.

mod support;

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use support::server::{Mood, Server};
use support::{LONG, Store, id, payload, point};
use vectors::{EdgeStore, Filter, Point, QdrantStore, StoreError, VectorStore};

/// Short enough to wait for, longer than an answer takes.
const SHORT: Duration = Duration::from_millis(300);

fn ids(hits: &[vectors::Hit]) -> Vec<u128> {
    hits.iter().map(|hit| hit.id.as_u128()).collect()
}

/// What every store does. `name`: a collection that is not there.
async fn suite(store: &Store, name: &str) {
    let all = Filter::default();
    let missing = Err(StoreError::NoCollection(name.to_owned()));
    assert_eq!(store.count(name, &all).await, missing);
    assert!(matches!(
        store.upsert(name, vec![point(1, "a", 1)]).await,
        Err(StoreError::NoCollection(_))
    ));
    assert!(matches!(
        store.get(name, &[id(1)]).await,
        Err(StoreError::NoCollection(_))
    ));
    assert!(matches!(
        store.query(name, &[1.0; 4], &all, 1).await,
        Err(StoreError::NoCollection(_))
    ));

    // Made once; another size is refused and harms nothing.
    store.ensure(name, 4).await.unwrap();
    store.ensure(name, 4).await.unwrap();
    let refused = store.ensure(name, 3).await;
    assert!(
        matches!(&refused, Err(StoreError::Refused(why)) if why.contains("4 numbers")),
        "{refused:?}"
    );
    assert_eq!(store.count(name, &all).await, Ok(0));
    assert_eq!(store.query(name, &[1.0, 0.0, 0.0, 0.0], &all, 5).await, Ok(Vec::new()));
    store.upsert(name, Vec::new()).await.unwrap();

    // Written, replaced, found.
    let points: Vec<Point> = (0..8)
        .map(|n| point(n, if n < 4 { "a" } else { "b" }, n as i64 * 10))
        .collect();
    store.upsert(name, points.clone()).await.unwrap();
    store.upsert(name, points).await.unwrap();
    assert_eq!(store.count(name, &all).await, Ok(8), "a point has one id");
    let found = store.get(name, &[id(3), id(77)]).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].id, &found[0].payload),
        (id(3), &point(3, "a", 30).payload),
        "payloads come back as they were"
    );

    let question = [0.0, 1.0, 0.0, 0.0];
    let near = store.query(name, &question, &all, 3).await.unwrap();
    assert_eq!(near.len(), 3);
    let mut first = ids(&near[..2]);
    first.sort_unstable();
    assert_eq!(first, [1, 5], "nearest first");
    assert!(
        (near[0].score - 0.9853).abs() < 1e-3,
        "scores are cosines: {}",
        near[0].score
    );
    assert!(near[1].score >= near[2].score);
    let of_b = all.clone().equal("kind", "b");
    assert_eq!(ids(&store.query(name, &question, &of_b, 1).await.unwrap()), [5]);
    assert_eq!(store.count(name, &of_b).await, Ok(4));
    let earlier = all.clone().equal("kind", "b").below("created_at", 50.0);
    assert_eq!(
        ids(&store.query(name, &question, &earlier, 9).await.unwrap()),
        [4],
        "below is strictly below"
    );
    let nobody = all.clone().equal("kind", "c");
    assert_eq!(store.query(name, &question, &nobody, 9).await, Ok(Vec::new()));
    assert_eq!(store.count(name, &nobody).await, Ok(0));

    // A replaced point has the new vector and the new payload, and nothing of the old one.
    let moved = Point {
        id: id(5),
        vector: vec![-1.0, 0.0, 0.0, 0.0],
        payload: payload(json!({"kind": "c"})),
    };
    store.upsert(name, vec![moved]).await.unwrap();
    assert_eq!(ids(&store.query(name, &question, &all, 1).await.unwrap()), [1]);
    let found = store.get(name, &[id(5)]).await.unwrap();
    assert_eq!(found[0].payload, payload(json!({"kind": "c"})));
    assert_eq!(store.count(name, &of_b).await, Ok(3));

    // Of the wrong length.
    let short = Point {
        vector: vec![1.0],
        ..point(9, "a", 1)
    };
    assert!(matches!(
        store.upsert(name, vec![short]).await,
        Err(StoreError::Refused(_))
    ));
    assert!(matches!(
        store.query(name, &[1.0], &all, 1).await,
        Err(StoreError::Refused(_))
    ));

    // Deleted, also twice.
    store.delete(name, &[id(1), id(99)]).await.unwrap();
    store.delete(name, &[id(1)]).await.unwrap();
    assert_eq!(store.count(name, &all).await, Ok(7));

    // More than one request holds.
    let many: Vec<Point> = (100..800).map(|n| point(n, "many", 1)).collect();
    store.upsert(name, many).await.unwrap();
    assert_eq!(store.count(name, &all.clone().equal("kind", "many")).await, Ok(700));

    // Collections know nothing of each other.
    let other = format!("{name}-other");
    store.ensure(&other, 4).await.unwrap();
    assert_eq!(store.count(&other, &all).await, Ok(0));
}

fn edge(folder: &std::path::Path) -> Store {
    Arc::new(EdgeStore::new(folder, LONG))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engine_in_this_process() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("vectors");
    let store = edge(&place);
    suite(&store, "points").await;
    let count = store.count("points", &Filter::default()).await.unwrap();
    // Two do not share it.
    let second = edge(&place).count("points", &Filter::default()).await;
    assert!(
        matches!(&second, Err(StoreError::Unavailable(why)) if why.contains("another process")),
        "{second:?}"
    );
    // What was answered is there after the process ends without a word: nothing of it is closed here.
    let copied = folder.path().join("copied");
    copy(&place, &copied);
    let again = edge(&copied);
    assert_eq!(again.count("points", &Filter::default()).await, Ok(count));
    assert_eq!(
        ids(&again
            .query(
                "points",
                &[0.0, 0.0, 1.0, 0.0],
                &Filter::default().equal("kind", "a"),
                1
            )
            .await
            .unwrap()),
        [2]
    );
    again.upsert("points", vec![point(2, "x", 1)]).await.unwrap();
    assert_eq!(
        again.count("points", &Filter::default().equal("kind", "x")).await,
        Ok(1)
    );
    // Deleted under way: as one that never was, and made anew.
    std::fs::remove_dir_all(&copied).unwrap();
    let gone = again.count("points", &Filter::default()).await;
    assert!(matches!(gone, Err(StoreError::NoCollection(_))), "{gone:?}");
    again.ensure("points", 4).await.unwrap();
    assert_eq!(again.count("points", &Filter::default()).await, Ok(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_engines_log_stays_short() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = edge(folder.path());
        store.ensure("points", 384).await.unwrap();
        let wide = |n: u128, round: u32| Point {
            id: id(n),
            vector: (0..384)
                .map(|i| ((n as usize + i + round as usize) % 17) as f32 + 0.5)
                .collect(),
            payload: payload(json!({"kind": "a", "round": round})),
        };
        let mut round = 0;
        while wal_bytes(folder.path()) <= 65 << 20 {
            round += 1;
            assert!(round < 2_000, "the log grows with what is written");
            store
                .upsert("points", (0..200).map(|n| wide(n, round)).collect())
                .await
                .unwrap();
        }
        println!(
            "{round} rounds of 200 points, log {} MB",
            wal_bytes(folder.path()) >> 20
        );
    }
    let store = edge(folder.path());
    assert_eq!(store.count("points", &Filter::default()).await, Ok(200));
    assert!(wal_bytes(folder.path()) < 32 << 20, "{}", wal_bytes(folder.path()));
    let mut again = point(7, "b", 1);
    again.vector = vec![1.0; 384];
    store.upsert("points", vec![again]).await.unwrap();
    assert_eq!(
        store.count("points", &Filter::default().equal("kind", "b")).await,
        Ok(1)
    );
    assert_eq!(
        store.count("points", &Filter::default().equal("kind", "a")).await,
        Ok(199)
    );
}

fn wal_bytes(folder: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(folder.join("points/wal")).unwrap();
    files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_cannot_be_opened_is_opened_later() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("vectors");
    std::fs::write(&place, "in the way").unwrap();
    let store = edge(&place);
    for _ in 0..2 {
        let refused = store.ensure("points", 4).await;
        assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
    }
    std::fs::remove_file(&place).unwrap();
    store.ensure("points", 4).await.unwrap();
    store.upsert("points", vec![point(1, "a", 1)]).await.unwrap();
    drop(store);
    // Rubbish where the segments are.
    for entry in std::fs::read_dir(place.join("points/segments")).unwrap() {
        let segment = entry.unwrap().path();
        std::fs::write(segment.join("segment.json"), "rubbish").unwrap();
    }
    let store = edge(&place);
    let spoilt = store.count("points", &Filter::default()).await;
    assert!(matches!(spoilt, Err(StoreError::Unavailable(_))), "{spoilt:?}");
    std::fs::remove_dir_all(place.join("points")).unwrap();
    store.ensure("points", 4).await.unwrap();
    assert_eq!(store.count("points", &Filter::default()).await, Ok(0));
}

async fn served(timeout: Duration) -> (Server, QdrantStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(edge(folder.path()), None).await;
    let store = QdrantStore::new(&server.url, Some("s3cret"), timeout).unwrap();
    (server, store, folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_of_a_server() {
    let (server, store, _folder) = served(LONG).await;
    let store: Store = Arc::new(store);
    suite(&store, "points").await;
    let keys = server.twin.keys.lock().unwrap().clone();
    assert!(!keys.is_empty() && keys.iter().all(|key| key == "s3cret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_server() {
    let Some(url) = std::env::var("QDRANT_URL").ok().filter(|url| !url.is_empty()) else {
        eprintln!(
            "not run: QDRANT_URL is not set (no package of a Qdrant server is to be had; docker-compose.yml has one)"
        );
        return;
    };
    let store: Store = Arc::new(QdrantStore::new(&url, None, LONG).unwrap());
    let name = format!(
        "aegis-test-{}",
        vectors::derived("test", &format!("{:?}", std::time::SystemTime::now()))
    );
    suite(&store, &name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_late_or_answers_rubbish() {
    let (server, store, _folder) = served(SHORT).await;
    let all = Filter::default();
    // Opening the first connection may take longer than an answer.
    while store.ensure("points", 4).await.is_err() {}
    store.upsert("points", vec![point(1, "a", 1)]).await.unwrap();

    server.set(Mood::Hangs);
    for _ in 0..2 {
        let late = store.upsert("points", vec![point(2, "a", 1)]).await;
        assert!(matches!(&late, Err(StoreError::Unavailable(_))), "{late:?}");
    }
    assert!(matches!(
        store.query("points", &[1.0; 4], &all, 1).await,
        Err(StoreError::Unavailable(_))
    ));

    // It was done, and the answer came too late: written again, it is there once.
    server.set(Mood::Late);
    let late = store.upsert("points", vec![point(3, "a", 1)]).await;
    assert!(matches!(&late, Err(StoreError::Unavailable(_))), "{late:?}");
    server.set(Mood::Well);
    while store.upsert("points", vec![point(3, "a", 1)]).await.is_err() {}
    let found = store.get("points", &[id(3)]).await.unwrap();
    assert_eq!(found.len(), 1);

    server.set(Mood::Rubbish);
    let makes_no_sense = |error: &StoreError| matches!(error, StoreError::Unavailable(why) if why.contains("no sense"));
    assert!(makes_no_sense(
        &store.query("points", &[1.0; 4], &all, 1).await.unwrap_err()
    ));
    assert!(makes_no_sense(&store.get("points", &[id(1)]).await.unwrap_err()));
    assert!(makes_no_sense(&store.count("points", &all).await.unwrap_err()));
    assert!(store.ensure("points", 4).await.is_err());

    server.set(Mood::Forbids);
    let forbidden = store.count("points", &all).await.unwrap_err();
    assert!(
        matches!(&forbidden, StoreError::Unavailable(why) if why.contains("let us in")),
        "{forbidden:?}"
    );
    assert!(!forbidden.to_string().contains("s3cret"));
    server.set(Mood::Well);
    store.ensure("points", 4).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_and_comes_back() {
    let (server, store, folder) = served(Duration::from_secs(5)).await;
    let all = Filter::default();
    store.ensure("points", 4).await.unwrap();
    store.upsert("points", vec![point(1, "a", 1)]).await.unwrap();
    let address = server.url.trim_start_matches("http://").to_owned();
    drop(server);
    // Its engine is let go of by the last call.
    let until = std::time::Instant::now() + Duration::from_secs(60);
    loop {
        let said = store.count("points", &all).await;
        if matches!(said, Err(StoreError::Unavailable(_))) {
            break;
        }
        assert!(std::time::Instant::now() < until, "{said:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Something else answers there: no gRPC at all.
    let stranger = loop {
        // The port is free as soon as the server's last connection ends.
        match std::net::TcpListener::bind(&address) {
            Ok(listener) => break listener,
            Err(error) => {
                assert!(std::time::Instant::now() < until, "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    };
    stranger.set_nonblocking(true).unwrap();
    let stranger = tokio::net::TcpListener::from_std(stranger).unwrap();
    let answering = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        while let Ok((mut stream, _)) = stranger.accept().await {
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.2\r\n").await;
        }
    });
    let strange = store.count("points", &all).await;
    assert!(matches!(&strange, Err(StoreError::Unavailable(_))), "{strange:?}");
    answering.abort();
    let _ = answering.await;
    let again = loop {
        let inner = edge(folder.path());
        match inner.count("points", &all).await {
            Ok(_) => break inner,
            Err(error) => assert!(std::time::Instant::now() < until, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let _server = Server::start(again, Some(&address)).await;
    while let Err(error) = store.count("points", &all).await {
        assert!(std::time::Instant::now() < until, "{error}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(store.count("points", &all).await, Ok(1));
}

#[tokio::test]
async fn addresses_that_are_none() {
    for url in ["", "not an address", "http://"] {
        let store = QdrantStore::new(url, None, SHORT);
        let refused = match store {
            Err(StoreError::Refused(_)) => true,
            Err(_) => false,
            Ok(store) => store.count("points", &Filter::default()).await.is_err(),
        };
        assert!(refused, "{url:?}");
    }
}
