//! The models, and what the program makes of one that is gone, hangs, is late or answers rubbish.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use embedding::{
    BUILTIN, Builtin, EmbedError, Embedder, FILES, FilesError, MOST_WAIT, Model, ModelInfo, ModelsSettings, hash_of,
    installed, read, take,
};

const LONG: Duration = Duration::from_secs(120);

/// Pairs that say the same in other words.
const PAIRS: [(&str, &str); 6] = [
    (
        "High memory usage on api-server (95%)",
        "api-server is running out of memory",
    ),
    ("Disk is almost full on db-1", "No space left on the database host"),
    (
        "TLS certificate expires in 3 days",
        "The HTTPS cert of the site is about to expire",
    ),
    ("Connection to database refused", "Cannot connect to postgres"),
    ("Pod restarts in a loop", "CrashLoopBackOff of a container"),
    ("Latency of checkout is above 2 s", "Requests of the checkout are slow"),
];

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap_or_default();
    let kb: f64 = line
        .split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse().ok())
        .unwrap_or(0.0);
    kb / 1024.0
}

/// How many of the pairs find each other among all; prints the cosines.
async fn quality(model: &Model) -> usize {
    let texts = |first: bool| -> Vec<String> {
        let pick = |pair: &(&str, &str)| if first { pair.0 } else { pair.1 }.to_owned();
        PAIRS.iter().map(pick).collect()
    };
    let (left, right) = (
        model.embed(&texts(true)).await.unwrap(),
        model.embed(&texts(false)).await.unwrap(),
    );
    let mut found = 0;
    for (n, one) in left.iter().enumerate() {
        let one = one.as_ref().unwrap();
        assert_eq!(one.len(), model.info().dimensions);
        assert!((cosine(one, one) - 1.0).abs() < 1e-3, "of unit length");
        let scores: Vec<f32> = right.iter().map(|two| cosine(one, two.as_ref().unwrap())).collect();
        println!("{} | {scores:.2?}", PAIRS[n].0);
        let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
        found += usize::from(best == n);
    }
    found
}

#[tokio::test]
async fn the_model_inside_the_binary() {
    let before = rss_mb();
    let model = ModelsSettings::default().open(Path::new("/nowhere"), BUILTIN).unwrap();
    assert_eq!((model.info().id.as_str(), model.info().dimensions), (BUILTIN, 384));
    assert_eq!(model.info().hash.len(), 64);
    assert!(!model.loaded(), "nothing is loaded before the first text");
    let began = Instant::now();
    model.embed_one("disk is full").await.unwrap().unwrap();
    let loading = began.elapsed();
    assert!(model.loaded());
    let after = rss_mb();
    let texts: Vec<String> = (0..64)
        .map(|n| format!("High memory usage on service-{n} in production, {n} percent of the limit, see the runbook"))
        .collect();
    let began = Instant::now();
    let vectors = model.embed(&texts).await.unwrap();
    let spent = began.elapsed();
    println!(
        "builtin: first text {loading:?}, VmRSS {before:.0} -> {after:.0} MB, {:.0} texts/s, VmRSS {:.0} MB",
        texts.len() as f64 / spent.as_secs_f64(),
        rss_mb()
    );
    assert!(vectors.iter().all(Option::is_some));
    // The same text has the same vector, whoever shared its batch, and whether it was remembered.
    let alone = ModelsSettings::default().open(Path::new("/nowhere"), BUILTIN).unwrap();
    let one = alone.embed_one(&texts[7]).await.unwrap().unwrap();
    assert_eq!(Some(one), vectors[7]);
    let found = quality(&model).await;
    println!("builtin: {found} of {} paraphrases found", PAIRS.len());
    assert!(found >= 3, "{found}");
    // What is no text has no vector, and harms no other.
    let mixed = [
        "".to_owned(),
        "  ".to_owned(),
        "x".repeat(100_000),
        "ü".repeat(5_000),
        "disk is full".to_owned(),
    ];
    let vectors = model.embed(&mixed).await.unwrap();
    assert_eq!(
        vectors.iter().map(Option::is_some).collect::<Vec<_>>(),
        [false, false, true, true, true]
    );
}

/// A model that does as it is told.
#[derive(Default)]
struct Moody {
    calls: AtomicUsize,
    mood: Mutex<Mood>,
    woken: Condvar,
    hanging: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Mood {
    #[default]
    Well,
    Hangs,
    Fails,
    TooFew,
    TooShort,
    NotANumber,
    Nothing,
    Panics,
}

struct MoodyEmbedder(Arc<Moody>, ModelInfo);

impl Embedder for MoodyEmbedder {
    fn info(&self) -> &ModelInfo {
        &self.1
    }

    fn embed(&self, texts: &[String]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let moody = &self.0;
        moody.calls.fetch_add(1, Ordering::SeqCst);
        let mut mood = moody.mood.lock().unwrap();
        moody.hanging.store(*mood == Mood::Hangs, Ordering::SeqCst);
        while *mood == Mood::Hangs {
            mood = moody.woken.wait(mood).unwrap();
        }
        let failed = |cause: &str| EmbedError::Failed {
            model: "moody".into(),
            cause: cause.into(),
        };
        if texts.iter().any(|text| text.contains("poison")) {
            return Err(failed("poison"));
        }
        let vector = |text: &String| vec![text.len() as f32, 1.0, 0.5];
        Ok(match *mood {
            Mood::Well | Mood::Hangs => texts.iter().map(vector).collect(),
            Mood::Fails => return Err(failed("it does not want to")),
            Mood::TooFew => Vec::new(),
            Mood::TooShort => texts.iter().map(|_| vec![1.0]).collect(),
            Mood::NotANumber => texts.iter().map(|_| vec![f32::NAN, 1.0, 1.0]).collect(),
            Mood::Nothing => texts.iter().map(|_| vec![0.0; 3]).collect(),
            Mood::Panics => panic!("on purpose"),
        })
    }
}

impl Moody {
    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = mood;
        self.woken.notify_all();
    }
}

fn moody(timeout: Duration) -> (Arc<Moody>, Arc<Model>) {
    let moody = Arc::new(Moody::default());
    let info = ModelInfo {
        id: "moody".into(),
        hash: "0".repeat(64),
        dimensions: 3,
    };
    let (inner, about) = (moody.clone(), info.clone());
    let load = move || Ok(Box::new(MoodyEmbedder(inner.clone(), about.clone())) as Box<dyn Embedder>);
    (moody, Arc::new(Model::new(info, load, 100, timeout)))
}

#[tokio::test]
async fn rubbish_is_not_believed() {
    let (moody, model) = moody(LONG);
    for mood in [
        Mood::Fails,
        Mood::TooFew,
        Mood::TooShort,
        Mood::NotANumber,
        Mood::Nothing,
    ] {
        moody.set(mood);
        let answer = model.embed_one(&format!("{mood:?}")).await;
        assert!(matches!(answer, Err(EmbedError::Failed { .. })), "{mood:?}: {answer:?}");
    }
    moody.set(Mood::Well);
    assert!(
        model.embed_one("TooFew").await.unwrap().is_some(),
        "nothing of it was remembered"
    );
}

#[tokio::test]
async fn one_text_that_has_no_vector_harms_no_other() {
    let (_, model) = moody(LONG);
    let texts = ["a", "poison", "bb"].map(str::to_owned);
    let vectors = model.embed(&texts).await.unwrap();
    assert_eq!(
        vectors.iter().map(Option::is_some).collect::<Vec<_>>(),
        [true, false, true]
    );
    assert_eq!(vectors[2].as_deref(), Some(&[2.0, 1.0, 0.5][..]));
}

#[tokio::test]
async fn remembered_texts_are_not_asked_again() {
    let (moody, model) = moody(LONG);
    let texts = ["a", "a", "b"].map(str::to_owned);
    assert_eq!(model.embed(&texts).await.unwrap().len(), 3);
    let calls = moody.calls.load(Ordering::SeqCst);
    moody.set(Mood::Fails);
    assert!(model.embed(&texts).await.unwrap().iter().all(Option::is_some));
    assert_eq!(moody.calls.load(Ordering::SeqCst), calls);
}

#[tokio::test]
async fn what_hangs_is_given_up_on_and_comes_back() {
    let (moody, model) = moody(Duration::from_millis(50));
    moody.set(Mood::Hangs);
    let late = model.embed_one("a").await;
    assert!(matches!(late, Err(EmbedError::Late { .. })), "{late:?}");
    // While it hangs nothing else begins beside it.
    let calls = moody.calls.load(Ordering::SeqCst);
    let second = model.embed_one("b").await;
    assert!(matches!(second, Err(EmbedError::Late { .. })), "{second:?}");
    assert_eq!(moody.calls.load(Ordering::SeqCst), calls);
    moody.set(Mood::Well);
    // The answer that came late is nobody's; the next one is there as soon as the turn is free.
    let mut answer = model.embed_one("b").await;
    while answer.is_err() {
        tokio::task::yield_now().await;
        answer = model.embed_one("b").await;
    }
    assert!(answer.unwrap().is_some());
}

#[tokio::test]
async fn the_line_is_bounded() {
    let (moody, model) = moody(LONG);
    moody.set(Mood::Hangs);
    let mut waiting = tokio::task::JoinSet::new();
    for n in 0..MOST_WAIT {
        let model = model.clone();
        waiting.spawn(async move { model.embed_one(&n.to_string()).await });
    }
    // Each has a place once it ran for the first time, and these tests have one thread.
    for _ in 0..MOST_WAIT {
        tokio::task::yield_now().await;
    }
    let refused = model.embed_one("one more").await;
    assert!(matches!(refused, Err(EmbedError::Busy { .. })), "{refused:?}");
    moody.set(Mood::Well);
    while let Some(answer) = waiting.join_next().await {
        assert!(answer.unwrap().unwrap().is_some());
    }
}

#[tokio::test]
async fn a_panic_is_an_error() {
    let (moody, model) = moody(LONG);
    moody.set(Mood::Panics);
    let answer = model.embed_one("a").await;
    assert!(matches!(answer, Err(EmbedError::Failed { .. })), "{answer:?}");
    assert!(matches!(model.embed_one("a").await, Err(EmbedError::Failed { .. })));
}

#[tokio::test]
async fn what_could_not_be_loaded_is_loaded_later() {
    let there = Arc::new(AtomicBool::new(false));
    let flag = there.clone();
    let load = move || match flag.load(Ordering::SeqCst) {
        true => Builtin::load().map(|model| Box::new(model) as Box<dyn Embedder>),
        false => Err(EmbedError::Load {
            model: BUILTIN.into(),
            cause: "no weights".into(),
        }),
    };
    let model = Model::new(Builtin::describe(), load, 10, LONG);
    assert!(matches!(model.embed_one("a").await, Err(EmbedError::Load { .. })));
    there.store(true, Ordering::SeqCst);
    assert!(model.embed_one("a").await.unwrap().is_some());
}

/// A folder with the five files; the model itself is rubbish.
fn sample(folder: &Path) {
    std::fs::create_dir_all(folder).unwrap();
    for file in FILES {
        std::fs::write(
            folder.join(file),
            format!("{{\"hidden_size\": 384, \"file\": \"{file}\"}}"),
        )
        .unwrap();
    }
}

#[test]
fn models_are_taken_by_their_hash() {
    let folder = tempfile::tempdir().unwrap();
    let (from, into) = (folder.path().join("from"), folder.path().join("models"));
    sample(&from);
    let taken = take(&from, &into, "mini", None).unwrap();
    assert_eq!(taken.dimensions, 384);
    assert_eq!(taken.hash, hash_of(&taken.files));
    assert_eq!(read(&into, "mini").unwrap(), taken);
    take(&from, &into, "mini", Some(&taken.hash.to_uppercase())).unwrap();
    // Another file, another model: not taken under the old hash, and the old one stays.
    std::fs::write(from.join("tokenizer.json"), "{}").unwrap();
    let refused = take(&from, &into, "mini", Some(&taken.hash));
    assert!(matches!(refused, Err(FilesError::Hash { .. })), "{refused:?}");
    assert_eq!(read(&into, "mini").unwrap(), taken);
    let other = take(&from, &into, "other", None).unwrap();
    assert_ne!(other.hash, taken.hash);
    let names: Vec<String> = installed(&into).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["mini", "other"]);
    for name in ["", "builtin", "..", "a/b", "A", &"x".repeat(41)] {
        assert!(
            matches!(take(&from, &into, name, None), Err(FilesError::Name(..))),
            "{name}"
        );
    }
    std::fs::write(from.join("config.json"), "{\"hidden_size\": 0}").unwrap();
    let refused = take(&from, &into, "third", None);
    assert!(matches!(refused, Err(FilesError::Content { .. })), "{refused:?}");
    std::fs::remove_file(from.join("model.onnx")).unwrap();
    let refused = take(&from, &into, "third", None);
    assert!(matches!(refused, Err(FilesError::File { .. })), "{refused:?}");
    assert!(matches!(read(&into, "third"), Err(FilesError::Missing(..))));
}

#[test]
fn the_choice_is_remembered_and_the_settings_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = ModelsSettings::default();
    assert_eq!(settings.chosen(folder.path()), BUILTIN);
    settings.choose(folder.path(), "mini").unwrap();
    assert_eq!(settings.chosen(folder.path()), "mini");
    assert_eq!(settings.warnings(folder.path()).len(), 2, "neither files nor library");
    settings.model = BUILTIN.into();
    assert_eq!(settings.chosen(folder.path()), BUILTIN);
    assert!(settings.warnings(folder.path()).is_empty() && settings.faults().is_empty());
    let known = |from: &str, sha256: &str| embedding::KnownModel {
        from: from.into(),
        sha256: sha256.into(),
    };
    settings.known = BTreeMap::from([
        ("a".to_owned(), known("https://models.example/a", "")),
        ("b".to_owned(), known("/srv/b", "abc")),
        ("c".to_owned(), known("ftp://models.example/c", &"0".repeat(64))),
        ("d".to_owned(), known("/srv/d", "")),
    ]);
    let keys: Vec<String> = settings.faults().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["known.a.sha256", "known.b.sha256", "known.c.from"]);
}

#[tokio::test]
async fn a_missing_library_is_an_error_and_no_end() {
    let folder = tempfile::tempdir().unwrap();
    let from = folder.path().join("from");
    sample(&from);
    take(&from, &folder.path().join("models"), "mini", None).unwrap();
    let settings = ModelsSettings {
        onnxruntime: "/nowhere/libonnxruntime.so".into(),
        ..ModelsSettings::default()
    };
    let model = settings.open(folder.path(), "mini").unwrap();
    for _ in 0..2 {
        let answer = model.embed_one("a").await;
        assert!(
            matches!(&answer, Err(EmbedError::Load { cause, .. }) if cause.contains("ONNX Runtime")),
            "{answer:?}"
        );
    }
}

/// The value of `name`, or `None` where tests may do without.
fn required(name: &str) -> Option<PathBuf> {
    match std::env::var_os(name) {
        Some(value) if !value.is_empty() => Some(value.into()),
        _ if std::env::var("AEGIS_TEST_REQUIRE").is_ok_and(|v| v == "1") => {
            panic!("{name} is not set: run the tests through `make test`")
        }
        _ => {
            eprintln!("not run: {name} is not set (see scripts/services/models.sh)");
            None
        }
    }
}

#[tokio::test]
async fn a_model_that_onnx_runtime_runs() {
    let (Some(library), Some(files)) = (required("AEGIS_TEST_ONNXRUNTIME"), required("AEGIS_TEST_MINILM")) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let taken = take(&files, &folder.path().join("models"), "minilm-l6", None).unwrap();
    let settings = ModelsSettings {
        model: "minilm-l6".into(),
        onnxruntime: library.display().to_string(),
        ..ModelsSettings::default()
    };
    assert!(settings.warnings(folder.path()).is_empty());
    let before = rss_mb();
    let model = settings.open(folder.path(), "minilm-l6").unwrap();
    assert_eq!(
        (model.info().hash.as_str(), model.info().dimensions),
        (taken.hash.as_str(), 384)
    );
    let began = Instant::now();
    let found = quality(&model).await;
    println!(
        "onnx: {found} of {} paraphrases found, {:?} with loading, VmRSS {before:.0} -> {:.0} MB",
        PAIRS.len(),
        began.elapsed(),
        rss_mb()
    );
    assert!(found >= 5, "{found}");
    // The vector of a text does not depend on who shared the batch.
    let alone = settings.open(folder.path(), "minilm-l6").unwrap();
    let (one, two) = (
        alone.embed_one(PAIRS[0].0).await.unwrap().unwrap(),
        model.embed_one(PAIRS[0].0).await.unwrap().unwrap(),
    );
    assert!(cosine(&one, &two) > 0.999, "{}", cosine(&one, &two));
    // Files that were changed since are not run.
    std::fs::write(folder.path().join("models/minilm-l6/tokenizer.json"), "{}").unwrap();
    let changed = settings.open(folder.path(), "minilm-l6").unwrap().embed_one("a").await;
    assert!(
        matches!(&changed, Err(EmbedError::Load { cause, .. }) if cause.contains("not what was taken")),
        "{changed:?}"
    );
}
