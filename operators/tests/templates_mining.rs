//! Templates: what is mined from log lines, what is told, and what a restart leaves as it was.

#[path = "support/rig.rs"]
mod rig;

use std::path::Path;

use bytes::Bytes;
use model::{Level, LogBatch, LogLine, Severity, Signal, SignalKind, logs, topics};
use operators::signals_out::SignalsOut;
use operators::templates::{Templates, TemplatesSettings};
use rig::{Dice, signals};
use stream::log::{NewRecord, Offset, Record};
use stream::operator::Harness;
use stream::{Accounting, Instant, Operator as _};

const SECOND: i64 = 1_000_000;
/// The minute in which the tests' lines begin.
const START: i64 = 1_760_000_040 * SECOND;

fn line(at: i64, text: &str) -> LogLine {
    LogLine {
        at: Some(START + at * SECOND),
        text: text.to_owned(),
        ..LogLine::default()
    }
}

fn batch(service: &str, lines: Vec<LogLine>) -> LogBatch {
    LogBatch {
        schema: LogBatch::SCHEMA,
        tenant: "default".into(),
        service: service.into(),
        namespace: Some("shop".into()),
        lines,
        ..LogBatch::default()
    }
}

/// The stage on one partition; with `mortal`, killed and restored after every record.
struct Bench {
    settings: TemplatesSettings,
    stage: Templates,
    harness: Harness<SignalsOut>,
    mortal: bool,
    offset: u64,
    told: Vec<Signal>,
    lines: Vec<LogBatch>,
    counts: Vec<Accounting>,
    rejects: Vec<stream::Reject>,
}

impl Bench {
    fn new(settings: &TemplatesSettings) -> Self {
        Bench {
            settings: settings.clone(),
            stage: Templates::new(settings, "prod"),
            harness: Harness::new(2),
            mortal: false,
            offset: 0,
            told: Vec::new(),
            lines: Vec::new(),
            counts: Vec::new(),
            rejects: Vec::new(),
        }
    }

    fn mortal(mut self) -> Self {
        self.mortal = true;
        self
    }

    fn feed(&mut self, batch: &LogBatch) {
        self.feed_as(serde_json::to_vec(batch).unwrap(), &[]);
    }

    fn feed_as(&mut self, value: Vec<u8>, headers: &[(&str, &str)]) {
        let newest = START + 86_400 * SECOND;
        let record = Record {
            offset: Offset(self.offset),
            key: None,
            value: value.into(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Bytes::copy_from_slice(value.as_bytes())))
                .collect(),
            timestamp: Instant(newest),
        };
        self.offset += 1;
        self.harness.feed(&mut self.stage, &record);
        let counts = self.harness.take_accounting();
        assert!(counts.balanced(), "{counts:?}");
        self.counts.push(counts);
        self.rejects.extend(self.harness.take_rejects());
        for (topic, key, record) in self.harness.take_side() {
            assert_eq!(&*topic, topics::LINES);
            let batch: LogBatch = serde_json::from_slice(&record.value).unwrap();
            assert_eq!(key, batch.key());
            self.lines.push(batch);
        }
        let out: Vec<NewRecord> = self.harness.drain().unwrap().into_iter().flatten().collect();
        self.told.extend(signals(&out));
        if self.mortal {
            self.restart();
        }
    }

    fn restart(&mut self) {
        let saved: Vec<Vec<u8>> = self
            .stage
            .cells()
            .into_iter()
            .map(|(_, cell)| cell.save().unwrap())
            .collect();
        self.stage = Templates::new(&self.settings, "prod");
        for ((_, cell), bytes) in self.stage.cells().into_iter().zip(saved) {
            cell.load(&bytes).unwrap();
        }
    }

    /// What was told, as `severity reason count title`.
    fn shown(&self) -> Vec<String> {
        let show = |signal: &Signal| {
            let extra: serde_json::Value = serde_json::from_str(signal.extra.as_deref().unwrap()).unwrap();
            format!("{} x{} {}", signal.severity, extra["count"], signal.title)
        };
        self.told.iter().map(show).collect()
    }

    /// Template and text of every line that went on.
    fn mined(&self) -> Vec<(String, String)> {
        let of = |batch: &LogBatch| -> Vec<(String, String)> {
            let text = |line: &LogLine| batch.templates[line.template.unwrap() as usize].text.clone();
            batch.lines.iter().map(|line| (text(line), line.text.clone())).collect()
        };
        self.lines.iter().flat_map(of).collect()
    }

    fn total(&self, count: impl Fn(&Accounting) -> u64) -> u64 {
        self.counts.iter().map(count).sum()
    }
}

fn settings() -> TemplatesSettings {
    TemplatesSettings::default()
}

#[test]
fn a_new_error_is_told_at_once_and_again_when_it_has_grown_tenfold() {
    let mut bench = Bench::new(&settings()).mortal();
    let text = |n: i64| format!("ERROR order {n} failed: java.lang.OutOfMemoryError");
    for n in 0..12 {
        bench.feed(&batch("checkout", vec![line(n, &text(n)), line(n, "INFO order taken")]));
    }
    let title = "New error in the logs of checkout: ERROR order <num> failed: java.lang.OutOfMemoryError";
    assert_eq!(bench.shown(), [format!("info x1 {title}"), format!("info x10 {title}")]);
    let told = &bench.told[0];
    assert_eq!(
        (
            told.kind,
            told.source.as_str(),
            told.service.as_deref(),
            told.namespace.as_deref()
        ),
        (SignalKind::LogPattern, "logs", Some("checkout"), Some("shop"))
    );
    assert_eq!(
        (told.environment.as_str(), told.event_at),
        ("prod", START),
        "start of the window"
    );
    assert_eq!(told.dedup_key, bench.told[1].dedup_key);
    assert_ne!(told.digest, bench.told[1].digest);
    assert!(told.annotations.contains("order 0 failed"), "{}", told.annotations);
    assert_eq!(bench.total(|counts| counts.forwarded), 24);
    assert_eq!(bench.total(|counts| counts.produced.values().sum()), 2);
    assert_eq!(bench.lines.len(), 12);
    assert_eq!(bench.lines[3].environment, "prod");
    assert_eq!(bench.lines[3].lines[0].level, Some(Level::Error));
}

#[test]
fn many_more_lines_than_usual_are_a_spike() {
    let mut bench = Bench::new(&settings()).mortal();
    for minute in 0..6 {
        let lines = (0..4)
            .map(|n| line(minute * 60 + n, "WARN queue is 91% full"))
            .collect();
        bench.feed(&batch("checkout", lines));
    }
    assert_eq!(bench.shown(), [""; 0]);
    let burst = (0..50).map(|n| line(6 * 60 + n, "WARN queue is 99% full")).collect();
    bench.feed(&batch("checkout", burst));
    assert_eq!(
        bench.shown(),
        ["info x20 Log spike in checkout: WARN queue is <num>% full"]
    );
    // Errors that spike are worth a page.
    let burst = (0..30)
        .map(|n| line(6 * 60 + n, "ERROR cannot reach payments"))
        .collect();
    bench.feed(&batch("checkout", burst));
    let severities: Vec<Severity> = bench.told.iter().map(|signal| signal.severity).collect();
    assert_eq!(
        severities,
        [Severity::Info, Severity::Info, Severity::Info, Severity::Warning]
    );
}

#[test]
fn a_service_nobody_knows_yet_has_no_spikes() {
    let mut bench = Bench::new(&settings());
    bench.feed(&batch("new", (0..500).map(|_| line(0, "INFO hello")).collect()));
    assert_eq!(bench.shown(), [""; 0]);
}

#[test]
fn a_delivery_that_is_sent_again_is_taken_once() {
    let mut bench = Bench::new(&settings()).mortal();
    let value = serde_json::to_vec(&batch("checkout", vec![line(0, "ERROR a"), line(1, "ERROR b")])).unwrap();
    let headers = [(logs::header::DELIVERY, "d1/0")];
    bench.feed_as(value.clone(), &headers);
    bench.feed_as(value.clone(), &headers);
    assert_eq!((bench.total(|c| c.forwarded), bench.total(|c| c.merged)), (2, 2));
    assert_eq!((bench.mined().len(), bench.told.len()), (2, 2));
    // Without a delivery every record is a batch of its own.
    bench.feed_as(value, &[]);
    assert_eq!(bench.total(|c| c.forwarded), 4);
}

#[test]
fn bad_lines_are_refused_alone_and_bad_batches_whole() {
    let mut bench = Bench::new(&settings());
    let body = r#"{"schema":1,"tenant":"t","service":"s","lines":[{"text":"a"},{"text":7},{"text":"c","level":"loud"},{"text":"d"}]}"#;
    bench.feed_as(body.into(), &[]);
    let refused: Vec<_> = bench
        .rejects
        .iter()
        .map(|r| (r.reason, r.field.as_deref(), r.index))
        .collect();
    assert_eq!(
        refused,
        [
            ("bad_line", Some("/lines/1"), Some(1)),
            ("bad_line", Some("/lines/2"), Some(2))
        ]
    );
    assert_eq!(bench.mined().len(), 2);
    // Sent once more for the two alone, mended or not, the others are not taken twice.
    bench.feed_as(body.into(), &[("aegis-items", "1,2"), ("aegis-attempt", "2")]);
    assert_eq!((bench.mined().len(), bench.rejects.len()), (2, 4));
    for (body, reason) in [
        ("rubbish", "malformed_json"),
        ("[]", "wrong_type"),
        (
            r#"{"schema":2,"tenant":"t","service":"s","lines":[]}"#,
            "unsupported_version",
        ),
        (r#"{"schema":1,"tenant":"t","service":"","lines":[]}"#, "missing_field"),
    ] {
        bench.rejects.clear();
        bench.feed_as(body.into(), &[]);
        assert_eq!(bench.rejects.first().map(|r| r.reason), Some(reason), "{body}");
    }
}

#[test]
fn records_stay_below_what_a_broker_takes() {
    let mut bench = Bench::new(&settings());
    let junk = "\u{1}".repeat(150_000);
    let mut lines: Vec<LogLine> = (0..3).map(|n| line(n, &junk)).collect();
    lines.extend((0..200).map(|n| line(n, &format!("{n} {}", "\\".repeat(5_000)))));
    lines[2].attributes.insert("a".into(), junk.clone());
    let mut huge = batch("s", lines);
    huge.labels.insert("l".into(), junk);
    bench.feed(&huge);
    assert_eq!(bench.total(|counts| counts.forwarded), 203);
    let lines: usize = bench.lines.iter().map(|batch| batch.lines.len()).sum();
    assert_eq!(lines, 203);
    for batch in &bench.lines {
        let bytes = serde_json::to_vec(batch).unwrap().len();
        assert!(bytes < 1_000_000, "{bytes}");
    }
    assert!(bench.lines[0].lines[0].text.contains("[cut: "));
    assert_eq!(bench.lines[0].labels["aegis.cut"], "labels left out: too large");
    for (field, value) in [("service", "s".repeat(600)), ("tenant", String::new())] {
        let mut body = serde_json::to_value(batch("s", Vec::new())).unwrap();
        body[field] = value.into();
        bench.rejects.clear();
        bench.feed_as(body.to_string().into_bytes(), &[]);
        assert_eq!(bench.rejects[0].field, Some(format!("/{field}")));
    }
}

#[test]
fn memory_is_bounded_and_what_was_seen_longest_ago_goes_first() {
    let settings = TemplatesSettings {
        max_templates: 20,
        max_services: 3,
        ..settings()
    };
    let mut bench = Bench::new(&settings).mortal();
    for n in 0..200 {
        let word: String = (0..12).map(|bit| if n >> bit & 1 == 1 { 'x' } else { 'y' }).collect();
        bench.feed(&batch(
            "a",
            vec![line(n, &format!("{word} {word} {word}")), line(n, "often seen again")],
        ));
        assert!(bench.stage.cells()[1].1.entries() <= 20);
    }
    let ids = |bench: &Bench| -> Vec<String> {
        let all = bench.lines.iter().filter(|batch| batch.service == "a");
        all.map(|batch| batch.templates.last().unwrap().id.clone()).collect()
    };
    let first = ids(&bench)[0].clone();
    assert!(ids(&bench).iter().all(|id| *id == first), "what is seen often stays");
    for n in 0..9 {
        bench.feed(&batch(&format!("s{n}"), vec![line(300 + n, "x")]));
        assert!(bench.stage.cells()[0].1.entries() <= 3);
    }
    // Forgotten, and the same when it comes again.
    bench.feed(&batch("a", vec![line(400, "often seen again")]));
    assert_eq!(*ids(&bench).last().unwrap(), first);
}

/// A day's sample of lines: a few templates with numbers, a burst of one, new errors, two services.
fn sample() -> Vec<(String, LogLine)> {
    let mut dice = Dice(7);
    let mut lines = Vec::new();
    for minute in 0..12 {
        for n in 0..30 {
            let service = ["checkout", "payments"][dice.below(2)];
            let text = match dice.below(4) {
                0 => format!("INFO order {} taken from 10.0.0.{}", dice.below(9_999), dice.below(255)),
                1 => format!("WARN retry {} of /v1/pay/{}", dice.below(5), dice.below(99)),
                2 if minute == 8 => format!("ERROR heap exhausted after {} bytes", dice.below(1 << 20)),
                _ => format!("DEBUG tick {n}"),
            };
            lines.push((service.to_owned(), line(minute * 60 + n % 60, &text)));
        }
        if minute == 10 {
            lines.extend((0..80).map(|n| {
                (
                    "payments".to_owned(),
                    line(minute * 60 + n / 2, "WARN retry 5 of /v1/pay/1"),
                )
            }));
        }
    }
    lines
}

/// The sample in records of any size, killed and restored or not.
fn run(lines: &[(String, LogLine)], seed: u64, mortal: bool) -> Bench {
    let mut bench = Bench::new(&settings());
    bench.mortal = mortal;
    let mut dice = Dice(seed);
    let mut rest = lines;
    while !rest.is_empty() {
        let most = if seed == 0 { 1 } else { 1 + dice.below(40) };
        let same = rest
            .iter()
            .take_while(|(service, _)| *service == rest[0].0)
            .count()
            .min(most);
        let (now, later) = rest.split_at(same);
        bench.feed(&batch(&now[0].0, now.iter().map(|(_, line)| line.clone()).collect()));
        rest = later;
    }
    bench
}

#[test]
fn however_the_lines_are_cut_into_records_and_wherever_it_dies_the_same_is_mined_and_told() {
    let lines = sample();
    let straight = run(&lines, 0, false);
    assert!(straight.told.len() >= 3, "{:?}", straight.shown());
    // Where a record ends is in no signal but for its place.
    let told = |bench: &Bench| -> Vec<Signal> {
        let unplaced = |signal: &Signal| Signal {
            origin: model::Origin::default(),
            ..signal.clone()
        };
        bench.told.iter().map(unplaced).collect()
    };
    for seed in 0..20 {
        let other = run(&lines, seed, seed % 2 == 0);
        assert_eq!(told(&other), told(&straight), "seed {seed}");
        let templates = |bench: &Bench| -> Vec<String> { bench.mined().into_iter().map(|(_, text)| text).collect() };
        assert_eq!(templates(&other).len(), templates(&straight).len());
    }
}

#[test]
fn within_a_window_order_does_not_decide_what_is_told() {
    let lines = sample();
    let ends = |bench: &Bench| -> Vec<(model::SignalId, String, i64, Severity)> {
        let told = |signal: &Signal| (signal.id, signal.dedup_key.clone(), signal.event_at, signal.severity);
        let mut all: Vec<_> = bench.told.iter().map(told).collect();
        all.sort();
        all
    };
    let straight = ends(&run(&lines, 0, false));
    for seed in 1..20 {
        let mut dice = Dice(seed);
        let mut shuffled = lines.clone();
        let minute = |line: &LogLine| line.at.unwrap_or_default() / (60 * SECOND);
        let mut from = 0;
        while from < shuffled.len() {
            let of = minute(&shuffled[from].1);
            let to = from
                + shuffled[from..]
                    .iter()
                    .take_while(|(_, line)| minute(line) == of)
                    .count();
            dice.shuffle(&mut shuffled[from..to]);
            from = to;
        }
        assert_eq!(ends(&run(&shuffled, seed, false)), straight, "seed {seed}");
    }
}

/// Grouping accuracy of one set: the share of lines whose template holds exactly the lines that belong together.
fn accuracy(folder: &Path, name: &str) -> Option<(f64, usize)> {
    let text = std::fs::read_to_string(folder.join(format!("{name}/{name}_2k.log_structured.csv"))).ok()?;
    let mut rows = text.lines().map(fields);
    let head = rows.next()?;
    let column = |wanted: &str| head.iter().position(|name| name == wanted);
    let (content, event) = (column("Content")?, column("EventId")?);
    let rows: Vec<Vec<String>> = rows.collect();
    let mut bench = Bench::new(&settings());
    for chunk in rows.chunks(500) {
        let lines = chunk.iter().map(|row| line(0, &row[content])).collect();
        bench.feed(&batch(name, lines));
    }
    let ids = |batch: &LogBatch| -> Vec<String> {
        let id = |line: &LogLine| batch.templates[line.template.unwrap() as usize].id.clone();
        batch.lines.iter().map(id).collect()
    };
    let found: Vec<String> = bench.lines.iter().flat_map(ids).collect();
    let groups = |names: Vec<&String>| {
        let mut groups: std::collections::BTreeMap<String, Vec<usize>> = std::collections::BTreeMap::new();
        for (at, name) in names.into_iter().enumerate() {
            groups.entry(name.clone()).or_default().push(at);
        }
        groups
    };
    let truth = groups(rows.iter().map(|row| &row[event]).collect());
    let mined = groups(found.iter().collect());
    let right: usize = mined
        .values()
        .filter(|lines| truth.get(&rows[lines[0]][event]) == Some(lines))
        .map(Vec::len)
        .sum();
    Some((right as f64 / rows.len() as f64, rows.len()))
}

/// Fields of a line of CSV.
fn fields(line: &str) -> Vec<String> {
    let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(std::mem::take(&mut field)),
            other => field.push(other),
        }
    }
    fields.push(field);
    fields
}

/// The floor lies below what was seen (0.93 on eight sets, default settings for all), above what the paper's own settings
/// reach with one setting for all (0.77) and with one for each (0.865).
const FLOOR: f64 = 0.90;

#[test]
fn accuracy_on_loghub() {
    let folder = std::env::var_os("AEGIS_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        Into::into,
    );
    let folder = folder.join("loghub");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("not run: there is no loghub at {}", folder.display());
        return;
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    let mut all = Vec::new();
    for name in &names {
        if let Some((accuracy, lines)) = accuracy(&folder, name) {
            println!("{name:12} {accuracy:.3} of {lines} lines");
            all.push(accuracy);
        }
    }
    assert!(!all.is_empty(), "no set below {}", folder.display());
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    println!("mean         {mean:.3} of {} sets (floor {FLOOR})", all.len());
    assert!(mean >= FLOOR, "grouping accuracy fell to {mean:.3}, below {FLOOR}");
}
