//! Who looks at an incident right now, on whichever instance.
//!
//! ```text
//!   look, leave, end of a client ─► table ─► own clients, at once
//!                                     │ ▲
//!                                     │ └── words of other instances, each kept for a while
//!                                     ├───► the others' clients, by Socket.IO's adapter
//!                                     └───► the others' tables, by a word: who of mine looks at this incident
//! ```
//!
//! - What goes between instances may be lost. So each says again what it said every [`REPEAT`], and tells its own clients as often.
//! - An instance that dies says nothing more: its people are gone once its last words are too old ([`table::KEPT`]). One that stops says so.
//! - Own clients wait for no other instance, and for no Redis.
//! - Two that change at the same time may tell of each other's past. So whoever hears a word tells its own clients again, if it learned from it,
//!   or if they were told something else: the last that they hear is what their own instance knows.
//! - Names are those of the callers that were let in; a client says only what it looks at. Whether there is such an incident is not asked.

mod table;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use model::IncidentId;
use serde::{Deserialize, Serialize};
use shared::{Event, PubSub};
use socketioxide::SocketIo;
use socketioxide::extract::{SocketRef, TryData};
use socketioxide::operators::BroadcastOperators;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{Adapter, Namespace};
use table::Table;

/// How often everybody is told again. Longer: what was lost is missed for longer; shorter: more messages that say nothing new.
pub const REPEAT: Duration = Duration::from_secs(15);
/// How often the table is looked through for words that are too old.
const CHECK: Duration = Duration::from_secs(5);
/// Between two changes of one client: of those in between, the last counts.
const PACE: Duration = Duration::from_millis(300);
/// Where the words go.
const CHANNEL: &str = "presence";

/// What a client says.
#[derive(Deserialize)]
struct Look {
    incident: Option<IncidentId>,
}

/// What clients are told.
#[derive(Serialize)]
struct Looking {
    incident: IncidentId,
    names: Vec<String>,
}

/// What instances tell each other.
#[derive(Deserialize, Serialize)]
#[serde(tag = "word", rename_all = "snake_case")]
enum Word {
    /// All of mine that look at this incident; and, where your clients were told, what.
    Look {
        from: Uuid,
        incident: IncidentId,
        names: Vec<String>,
        told: Option<Vec<String>>,
    },
    /// I stop.
    Gone { from: Uuid },
}

/// Why an incident's people are told of, from the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Occasion {
    /// The others changed: own clients are told.
    Others,
    /// It is time: own clients, and the others' tables.
    Again,
    /// Own clients changed: everybody.
    Own,
}

/// Incidents that wait for their turn, each once.
#[derive(Default)]
struct Turns {
    waiting: Mutex<BTreeMap<IncidentId, Occasion>>,
    more: Notify,
}

impl Turns {
    fn add(&self, incident: IncidentId, occasion: Occasion) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let known = waiting.entry(incident).or_insert(occasion);
        *known = occasion.max(*known);
        drop(waiting);
        self.more.notify_one();
    }

    async fn next(&self) -> (IncidentId, Occasion) {
        loop {
            let first = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_first();
            match first {
                Some(turn) => return turn,
                None => self.more.notified().await,
            }
        }
    }
}

/// See the module's header.
pub struct Presence {
    /// This instance.
    id: Uuid,
    pubsub: Arc<dyn PubSub>,
    table: Mutex<Table>,
    /// What own clients are not told yet.
    untold: Turns,
    /// What the others are not told yet: by itself, since it waits for Redis.
    unsaid: Turns,
}

/// What a client last said that it looks at.
pub type Looks = watch::Receiver<Option<IncidentId>>;

/// Listens to a client, from before it hears that it is connected.
pub fn listen(socket: &SocketRef<Adapter>) -> Looks {
    let (said, looks) = watch::channel(None);
    let hear = move |TryData(look): TryData<Look>| {
        // What cannot be read changes nothing. Done before the future is there: those are not run in order.
        if let Ok(look) = look {
            said.send_replace(look.incident);
        }
        ready(())
    };
    socket.on("look", hear);
    looks
}

impl Presence {
    pub fn new(pubsub: Arc<dyn PubSub>) -> Self {
        Presence {
            id: Uuid::new_v4(),
            pubsub,
            table: Mutex::default(),
            untold: Turns::default(),
            unsaid: Turns::default(),
        }
    }

    /// Follows what a client looks at. Dropped, the client looks at nothing.
    pub async fn follow(&self, socket: &SocketRef<Adapter>, name: Option<&str>, mut looks: Looks) -> Infallible {
        let mut place = Place {
            presence: self,
            socket,
            name,
            at: None,
        };
        while looks.changed().await.is_ok() {
            let wanted = *looks.borrow_and_update();
            place.turn_to(wanted);
            tokio::time::sleep(PACE).await;
        }
        pending().await
    }

    /// Tells and listens for as long as it is polled.
    pub async fn run(&self, io: &SocketIo<Adapter>) {
        tokio::join!(self.hear(), self.tell(io), self.say(io));
    }

    /// The others need not wait for its words to be too old.
    pub async fn stop(&self) {
        self.publish(&Word::Gone { from: self.id }).await;
    }

    async fn hear(&self) {
        let Ok(mut words) = self.pubsub.subscribe(CHANNEL) else {
            // The name is within the limits.
            return pending().await;
        };
        let mut repeat = tokio::time::interval(REPEAT);
        let mut check = tokio::time::interval(CHECK);
        loop {
            tokio::select! {
                event = words.next() => match event {
                    Some(Event::Message(word)) => self.heard(&word),
                    // What was missed is said again.
                    Some(Event::Gap) => {}
                    None => return pending().await,
                },
                _ = repeat.tick() => self.again(),
                _ = check.tick() => {
                    let changed = self.table().expire(Instant::now());
                    self.others_changed(changed);
                }
            }
        }
    }

    fn heard(&self, word: &[u8]) {
        match serde_json::from_slice(word) {
            Ok(Word::Look {
                from,
                incident,
                names,
                told,
            }) if from != self.id => {
                let mut table = self.table();
                let before = table.names(incident);
                table.heard(from, incident, names, Instant::now());
                let now = table.names(incident);
                drop(table);
                // What the other told may have been overtaken by what this one told before.
                let news = now != before || told.is_some_and(|told| told != now);
                self.others_changed(news.then_some(incident));
            }
            Ok(Word::Gone { from }) if from != self.id => {
                let changed = self.table().gone(from);
                self.others_changed(changed);
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "another instance says of its clients what this one does not know"),
        }
    }

    fn others_changed(&self, incidents: impl IntoIterator<Item = IncidentId>) {
        for incident in incidents {
            self.untold.add(incident, Occasion::Others);
        }
    }

    fn again(&self) {
        let incidents = self.table().looked_at();
        for incident in incidents {
            self.untold.add(incident, Occasion::Again);
        }
    }

    /// Tells own clients.
    async fn tell(&self, io: &SocketIo<Adapter>) {
        loop {
            let (incident, occasion) = self.untold.next().await;
            if occasion > Occasion::Others {
                self.unsaid.add(incident, occasion);
            }
            let (names, somebody) = {
                let table = self.table();
                (table.names(incident), table.somebody_here(incident))
            };
            if somebody && let Some(clients) = clients(io, incident) {
                // Who has no room for it is told again, or dropped.
                let _ = clients.local().emit("looking", &Looking { incident, names }).await;
            }
        }
    }

    /// Tells the others and their clients.
    async fn say(&self, io: &SocketIo<Adapter>) {
        loop {
            let (incident, occasion) = self.unsaid.next().await;
            let (own, all) = {
                let table = self.table();
                (table.own(incident), table.names(incident))
            };
            let mut told = None;
            if occasion == Occasion::Own
                && let Some(clients) = clients(io, incident)
            {
                // Own clients know: what cannot be sent to the others would not reach them either.
                let theirs = clients.except(self.here());
                let looking = Looking { incident, names: all };
                match theirs.emit("looking", &looking).await {
                    Ok(()) => told = Some(looking.names),
                    Err(error) => tracing::debug!(%error, "clients of other instances are told later who looks"),
                }
            } else if own.is_empty() {
                // Nobody of this instance was named, and nobody is.
                continue;
            }
            let (from, names) = (self.id, own);
            self.publish(&Word::Look {
                from,
                incident,
                names,
                told,
            })
            .await;
        }
    }

    async fn publish(&self, word: &Word) {
        let Ok(word) = serde_json::to_vec(word) else { return };
        if let Err(error) = self.pubsub.publish(CHANNEL, word.into()).await {
            tracing::debug!(%error, "other instances are told later who looks");
        }
    }

    /// The room of this instance's clients that look at something.
    fn here(&self) -> String {
        format!("at:{}", self.id)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn room(incident: IncidentId) -> String {
    format!("look:{incident}")
}

/// Whoever looks at it, on every instance.
fn clients(io: &SocketIo<Adapter>, incident: IncidentId) -> Option<BroadcastOperators<Adapter>> {
    let all = io.of(Namespace::Incidents.path())?;
    Some(all.within(room(incident)))
}

/// Where a client looks; nowhere once this is dropped.
struct Place<'a> {
    presence: &'a Presence,
    socket: &'a SocketRef<Adapter>,
    name: Option<&'a str>,
    at: Option<IncidentId>,
}

impl Place<'_> {
    fn turn_to(&mut self, incident: Option<IncidentId>) {
        if self.at == incident {
            return;
        }
        self.leave();
        // One that went meanwhile would stay in the room.
        let Some(incident) = incident.filter(|_| self.socket.connected()) else {
            return;
        };
        self.at = Some(incident);
        self.socket.join(vec![room(incident), self.presence.here()]);
        self.presence.table().look(self.socket.id, incident, self.name);
        metrics::gauge!("aegis_live_looking").increment(1.0);
        self.presence.untold.add(incident, Occasion::Own);
    }

    fn leave(&mut self) {
        let Some(incident) = self.at.take() else { return };
        self.socket.leave(vec![room(incident), self.presence.here()]);
        self.presence.table().leave(self.socket.id, incident);
        metrics::gauge!("aegis_live_looking").decrement(1.0);
        self.presence.untold.add(incident, Occasion::Own);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
