//! Templates: `logs` → `lines`, and what stands out among them → `signals`.
//!
//! Each line gets its template, mined by Drain (module `drain`) per service from the masked line (`mask`), and goes on to
//! topic `lines` for the archive. A template at error level that was never seen before, and one that is seen far more often
//! than usual (`counts`), makes a signal of kind `log_pattern` (`pattern`), at once. Lines never enter `signals`.
//!
//! It guarantees:
//!
//! * every line is forwarded, merged (its delivery was taken already) or dead-lettered;
//! * what is mined and told depends on the records of the partition, in their order, and on nothing else: not on how they were
//!   fetched, nor on the wall clock. This is an ingress stage, whose watermark is told from the clock; so state never moves with
//!   the watermark, and replay from a snapshot meets the same state (ADR 21);
//! * memory is bounded: templates per service, services, and remembered deliveries.
//!
//! It does not hold lines back to sort them: of lines that come in another order, the log's order decides. A window's count,
//! the identity of its signal (template and window) and its severity do not depend on the order within the window.

mod counts;
mod drain;
mod intake;
mod lines;
mod mask;
mod pattern;
mod settings;

use std::collections::BTreeMap;

use model::{LogBatch, LogLine, Origin, SignalId, logs};
use serde::{Deserialize, Serialize};
use stream::log::{Record, TopicPartition};
use stream::operator::MigrateError;
use stream::state::{SavedCells, StateCell};
use stream::time::{Instant, micros};
use stream::{Context, Disposition, Operator, Reject, Table, Timers};

use crate::settings_text::settings_text;
use crate::signals_out::SignalsOut;
use counts::{Counted, Counts};
use drain::{Found, Rules, Tree};
use intake::Intake;
use lines::Out;
use mask::Masked;
use pattern::Pattern;
pub use pattern::SOURCE;
pub use settings::TemplatesSettings;

/// Bytes of the first line of a template that are kept as an example.
const MAX_EXAMPLE_BYTES: usize = 300;
/// Deliveries remembered, whatever their age.
const MAX_DELIVERIES: usize = 100_000;
/// Of what is full, this part is forgotten at once, so that room is not made for each newcomer.
const ROOM: usize = 16;

/// The operator.
#[derive(Debug)]
pub struct Templates {
    settings: TemplatesSettings,
    rules: Rules,
    /// Width of a window, microseconds.
    width: i64,
    /// Of lines whose sender names no environment.
    environment: String,
    services: Table<String, Service>,
    templates: Table<(u32, u64), Template>,
    /// Under 0: the number of the next service.
    numbers: Table<u8, u32>,
    deliveries: Table<u128, ()>,
    forget: Timers<u128>,
    /// The trees of the services, made from `templates`. Not state: `None` until the first record, when a snapshot is loaded.
    trees: Option<BTreeMap<u32, Tree>>,
    masked: Masked,
}

/// A service: what shares templates.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Service {
    number: u32,
    templates: u32,
    /// Window of its first line.
    since: i64,
    /// Its newest line.
    last_at: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Template {
    tokens: Vec<String>,
    /// By which branches of the tree it is reached.
    path: Vec<String>,
    /// Window of its first line.
    since: i64,
    last_at: i64,
    example: String,
    counts: Counts,
}

type Cx<'a> = Context<'a, SignalsOut>;

impl Templates {
    /// `environment`: of lines whose sender names none, as `[normalize] environment`.
    pub fn new(settings: &TemplatesSettings, environment: &str) -> Self {
        Templates {
            rules: settings.rules(),
            width: micros(settings.window.get()).max(1),
            settings: settings.clone(),
            environment: environment.to_owned(),
            services: Table::default(),
            templates: Table::default(),
            numbers: Table::default(),
            deliveries: Table::default(),
            forget: Timers::default(),
            trees: None,
            masked: Masked::default(),
        }
    }

    /// Whether this delivery was taken before.
    fn repeated(&mut self, input: &Intake) -> bool {
        let memory = self.settings.delivery_memory.get();
        let mut next = self.forget.earliest();
        while next.is_some_and(|at| at <= input.received_at) || self.forget.len() > MAX_DELIVERIES {
            if let Some((_, delivery)) = self.forget.pop_due(Instant::MAX) {
                self.deliveries.remove(&delivery);
            }
            next = self.forget.earliest();
        }
        let Some(delivery) = input.delivery else { return false };
        if self.deliveries.contains(&delivery) {
            return true;
        }
        self.deliveries.insert(delivery, ());
        self.forget.set(delivery, input.received_at.saturating_add(memory));
        false
    }

    /// The service of a batch, with room made for it.
    fn service(&mut self, key: &str, at: i64, trees: &mut BTreeMap<u32, Tree>) -> Service {
        if let Some(service) = self.services.get(key) {
            return service.clone();
        }
        if self.services.len() >= self.settings.max_services as usize {
            let most = self.settings.max_services as usize / ROOM + 1;
            let mut oldest: Vec<(i64, String)> = self
                .services
                .sorted()
                .into_iter()
                .map(|(key, service)| (service.last_at, key.clone()))
                .collect();
            oldest.sort();
            for (_, key) in oldest.into_iter().take(most) {
                let Some(gone) = self.services.remove(&key) else {
                    continue;
                };
                let tree = trees.remove(&gone.number).unwrap_or_default();
                for id in tree.ids() {
                    self.templates.remove(&(gone.number, id));
                }
            }
        }
        let number = self.numbers.get(&0).copied().unwrap_or(0);
        self.numbers.insert(0, number.wrapping_add(1));
        Service {
            number,
            templates: 0,
            since: at.div_euclid(self.width),
            last_at: at,
        }
    }

    /// Forgets the templates of `service` seen longest ago.
    fn make_room(&mut self, service: &mut Service, tree: &mut Tree) {
        let mut oldest: Vec<(i64, u64)> = tree
            .ids()
            .into_iter()
            .filter_map(|id| Some((self.templates.get(&(service.number, id))?.last_at, id)))
            .collect();
        oldest.sort_unstable();
        for (_, id) in oldest.into_iter().take(self.settings.max_templates as usize / ROOM + 1) {
            if let Some(gone) = self.templates.remove(&(service.number, id)) {
                tree.uproot(id, &gone.path, gone.tokens.len());
                service.templates -= 1;
            }
        }
    }

    /// Mines one line; returns its template's id, and tells what is worth it.
    fn mine(&mut self, line: &Line<'_>, service: &mut Service, tree: &mut Tree, cx: &mut Cx<'_>) -> u64 {
        self.masked.read(line.line.message());
        let window = line.at.div_euclid(self.width);
        let mut fresh = false;
        let id = match tree.find(&self.masked, &self.rules) {
            Some(Found::Same(id)) => id,
            Some(Found::Wider(id, tokens)) => {
                if let Some(template) = self.templates.get_mut(&(service.number, id)) {
                    tokens.clone_into(&mut template.tokens);
                }
                id
            }
            None => {
                let tokens: Vec<String> = self.masked.tokens().map(str::to_owned).collect();
                let id = template_id(line.service_key, &tokens);
                fresh = !self.templates.contains(&(service.number, id));
                if fresh {
                    if service.templates >= self.settings.max_templates {
                        self.make_room(service, tree);
                    }
                    let path = tree.path_for(&self.masked, &self.rules);
                    tree.plant(id, &path, tokens.clone());
                    service.templates += 1;
                    let template = Template {
                        tokens,
                        path,
                        since: window,
                        last_at: line.at,
                        example: logs::cut(&line.line.text, MAX_EXAMPLE_BYTES).into_owned(),
                        counts: Counts::default(),
                    };
                    self.templates.insert((service.number, id), template);
                }
                id
            }
        };
        let Some(template) = self.templates.get_mut(&(service.number, id)) else {
            return id;
        };
        template.last_at = template.last_at.max(line.at);
        let level = line.line.level();
        let judge = window.saturating_sub(service.since) >= i64::from(self.settings.spike_history);
        let tell = fresh && level >= self.settings.new_level;
        match template.counts.add(window, judge, tell, &self.settings.spike()) {
            Counted::Quiet => {}
            Counted::Late => cx.accounting().amended += 1,
            Counted::News(news) => Pattern {
                batch: line.batch,
                environment: line.environment,
                service_key: line.service_key,
                id: &hex(id),
                text: &template.tokens.join(" "),
                level,
                examples: [&template.example, &line.line.text],
                fresh: template.since == news.window,
                news,
                width: self.width,
                received_at: line.received_at,
                origin: line.origin,
            }
            .tell(cx),
        }
        id
    }

    /// The trees as the templates say.
    fn plant(&mut self) -> BTreeMap<u32, Tree> {
        let mut trees: BTreeMap<u32, Tree> = BTreeMap::new();
        for ((service, id), template) in self.templates.sorted() {
            let tree = trees.entry(*service).or_default();
            tree.plant(*id, &template.path, template.tokens.clone());
        }
        trees
    }

    fn take(&mut self, input: &Intake, cx: &mut Cx<'_>) {
        let batch = &input.batch;
        let environment = match batch.environment.as_str() {
            "" => self.environment.clone(),
            named => named.to_owned(),
        };
        let (cluster, namespace) = (batch.cluster.as_deref(), batch.namespace.as_deref());
        let service_key = [
            &batch.tenant,
            &environment,
            cluster.unwrap_or_default(),
            namespace.unwrap_or_default(),
            &batch.service,
        ]
        .join("/");
        let mut trees = match self.trees.take() {
            Some(trees) => trees,
            None => self.plant(),
        };
        let mut out = Out::new(batch, &environment, input.received_at);
        // Known since its first line, wherever its record ends.
        let first = input.lines.first().map(|(_, line)| time_of(line, input));
        let mut service = first.map(|first| self.service(&service_key, first, &mut trees));
        for (index, line) in &input.lines {
            let Some(service) = &mut service else { break };
            let at = time_of(line, input);
            service.last_at = service.last_at.max(at);
            let line = Line {
                line,
                at,
                batch,
                environment: &environment,
                service_key: &service_key,
                received_at: input.received_at,
                origin: Origin {
                    partition: input.partition,
                    offset: input.offset,
                    index: *index,
                },
            };
            let tree = trees.entry(service.number).or_default();
            let id = self.mine(&line, service, tree, cx);
            let text = || {
                self.templates
                    .get(&(service.number, id))
                    .map(|template| template.tokens.join(" "))
            };
            out.push(line.line, at, id, text, cx);
            cx.item(Disposition::Forwarded);
        }
        out.finish(cx);
        if let Some(service) = service {
            let newest = input.lines.iter().map(|(_, line)| time_of(line, input)).max();
            cx.observe_sender(&service_key, Instant(newest.unwrap_or(service.last_at)));
            self.services.insert(service_key, service);
        }
        self.trees = Some(trees);
    }
}

/// A line with what is known around it.
struct Line<'a> {
    line: &'a LogLine,
    at: i64,
    batch: &'a LogBatch,
    environment: &'a str,
    service_key: &'a str,
    received_at: Instant,
    origin: Origin,
}

/// When a line was written: never later than it was received.
fn time_of(line: &LogLine, input: &Intake) -> i64 {
    line.at.unwrap_or(i64::MAX).min(input.received_at.0)
}

/// A template's id comes from its service and the masked line that made it: the same after it was forgotten.
/// The key of the records of a service: see [`LogBatch::key`].
fn record_key(service_key: &str) -> String {
    let parts: Vec<&str> = service_key.splitn(5, '/').collect();
    let part = |at: usize| parts.get(at).copied().unwrap_or_default();
    format!("{}/{}", part(0), part(4))
}

fn template_id(service_key: &str, tokens: &[String]) -> u64 {
    let mut parts: Vec<&[u8]> = vec![b"template", service_key.as_bytes()];
    parts.extend(tokens.iter().map(|token| token.as_bytes()));
    SignalId::of(&parts).0.as_u64_pair().1
}

fn hex(id: u64) -> String {
    format!("{id:016x}")
}

impl Operator for Templates {
    type In = Intake;
    type Out = SignalsOut;

    fn name(&self) -> &'static str {
        "templates"
    }

    fn logic_version(&self) -> u32 {
        1
    }

    fn settings(&self) -> String {
        // A struct of durations and numbers always encodes.
        let settings = serde_json::to_value(&self.settings).unwrap_or_default();
        settings_text(serde_json::json!({"templates": settings, "environment": self.environment}))
    }

    fn decode(&self, record: &Record, from: &TopicPartition) -> Result<Intake, Reject> {
        intake::read(record, from)
    }

    fn cells(&mut self) -> Vec<(&'static str, &mut dyn StateCell)> {
        vec![
            ("services", &mut self.services),
            ("templates", &mut self.templates),
            ("numbers", &mut self.numbers),
            ("deliveries", &mut self.deliveries),
            ("forget", &mut self.forget),
        ]
    }

    /// A service goes with the key of its lines, and gets a number of its own here. A delivery may have gone to any partition.
    fn carry(&mut self, cells: &SavedCells, mine: &dyn Fn(&[u8]) -> bool) -> Result<(), MigrateError> {
        let mut from = Templates::new(&self.settings, &self.environment);
        for (name, cell) in from.cells() {
            cells.read(name, cell)?;
        }
        let mut next = self.numbers.get(&0).copied().unwrap_or(0);
        let mut moved: BTreeMap<u32, u32> = BTreeMap::new();
        for (key, service) in from.services.sorted() {
            if !mine(record_key(key).as_bytes()) {
                continue;
            }
            moved.insert(service.number, next);
            let service = Service {
                number: next,
                ..service.clone()
            };
            self.services.insert(key.clone(), service);
            next = next.wrapping_add(1);
        }
        self.numbers.insert(0, next);
        for ((number, id), template) in from.templates.sorted() {
            if let Some(number) = moved.get(number) {
                self.templates.insert((*number, *id), template.clone());
            }
        }
        while let Some((at, delivery)) = from.forget.pop_due(Instant::MAX) {
            self.deliveries.insert(delivery, ());
            self.forget.set(delivery, at);
        }
        Ok(())
    }

    fn on_batch(&mut self, input: &Intake, cx: &mut Cx<'_>) {
        cx.accounting().bodies += 1;
        if self.repeated(input) {
            for (index, _) in &input.lines {
                let id = line_id(input, *index);
                cx.item(Disposition::Merged { id });
            }
            for reject in &input.refused {
                let id = line_id(input, reject.index.unwrap_or_default());
                cx.item(Disposition::Merged { id });
            }
            return;
        }
        input.refused.iter().for_each(|reject| cx.reject(reject.clone()));
        self.take(input, cx);
    }
}

/// What stands for a line in the digest of merged items: where it lies.
fn line_id(input: &Intake, index: u32) -> u128 {
    (u128::from(input.partition) << 96) | (u128::from(input.offset) << 32) | u128::from(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_frozen() {
        // Stored signals and archived lines carry them.
        let tokens = ["order".to_owned(), "<num>".to_owned(), "failed".to_owned()];
        assert_eq!(
            hex(template_id("default/prod//shop/checkout", &tokens)),
            "b8d5f904b8748d08"
        );
    }
}
