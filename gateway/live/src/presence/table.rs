//! Who looks at what, as far as one instance knows: its own clients, and what other instances said of theirs not long ago.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use model::IncidentId;
use socketioxide::socket::Sid;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a word of another instance holds. Each is said again every [`REPEAT`](super::REPEAT): so one of them may be lost. Longer: the people
/// of an instance that died are shown for longer.
pub const KEPT: Duration = Duration::from_secs(35);
/// Names of one incident. More people look as well, unnamed: nobody reads so many, and a message has its limit.
const NAMED: usize = 100;
/// Words of others that are kept, each about one incident. Others' people beyond that are not shown.
const MOST: usize = 10_000;

/// See the module's header. Clients are as many as the server lets in, each at one incident.
#[derive(Default)]
pub struct Table {
    here: BTreeMap<IncidentId, HashMap<Sid, Option<String>>>,
    there: BTreeMap<(IncidentId, Uuid), Heard>,
}

/// What one instance said of one incident.
struct Heard {
    names: Vec<String>,
    until: Instant,
}

impl Table {
    /// A client of this instance looks; without a name it is told, and not named.
    pub fn look(&mut self, client: Sid, incident: IncidentId, name: Option<&str>) {
        let clients = self.here.entry(incident).or_default();
        clients.insert(client, name.map(str::to_owned));
    }

    pub fn leave(&mut self, client: Sid, incident: IncidentId) {
        if let Some(clients) = self.here.get_mut(&incident) {
            clients.remove(&client);
            if clients.is_empty() {
                self.here.remove(&incident);
            }
        }
    }

    /// What clients of this instance look at.
    pub fn looked_at(&self) -> Vec<IncidentId> {
        self.here.keys().copied().collect()
    }

    /// Somebody must be told of it.
    pub fn somebody_here(&self, incident: IncidentId) -> bool {
        self.here.contains_key(&incident)
    }

    /// Those of this instance's clients, sorted.
    pub fn own(&self, incident: IncidentId) -> Vec<String> {
        let clients = self.here.get(&incident).into_iter().flat_map(HashMap::values);
        let names: BTreeSet<&String> = clients.flatten().collect();
        names.into_iter().take(NAMED).cloned().collect()
    }

    /// Those of all instances, sorted.
    pub fn names(&self, incident: IncidentId) -> Vec<String> {
        let own = self.own(incident);
        let others = self.there.range((incident, Uuid::nil())..=(incident, Uuid::max()));
        let others = others.flat_map(|(_, heard)| &heard.names);
        let names: BTreeSet<&String> = own.iter().chain(others).collect();
        names.into_iter().take(NAMED).cloned().collect()
    }

    /// Another instance said who of its own looks, in place of what it said before.
    pub fn heard(&mut self, from: Uuid, incident: IncidentId, mut names: Vec<String>, now: Instant) {
        let place = (incident, from);
        names.truncate(NAMED);
        if names.is_empty() {
            self.there.remove(&place);
        } else if self.there.len() < MOST || self.there.contains_key(&place) {
            let until = now + KEPT;
            self.there.insert(place, Heard { names, until });
        }
    }

    /// Forgets an instance; what its people looked at.
    pub fn gone(&mut self, from: Uuid) -> Vec<IncidentId> {
        self.forget(|(_, instance), _| *instance == from)
    }

    /// Forgets what was not said again; what it was about.
    pub fn expire(&mut self, now: Instant) -> Vec<IncidentId> {
        self.forget(|_, heard| heard.until <= now)
    }

    fn forget(&mut self, which: impl Fn(&(IncidentId, Uuid), &Heard) -> bool) -> Vec<IncidentId> {
        let forgotten = self.there.extract_if(.., |place, heard| which(place, heard));
        forgotten.map(|((incident, _), _)| incident).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IncidentId = IncidentId(Uuid::from_u128(1));
    const B: IncidentId = IncidentId(Uuid::from_u128(2));
    const TWO: Uuid = Uuid::from_u128(22);
    const THREE: Uuid = Uuid::from_u128(33);

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn sorted_each_once_and_who_has_no_name_is_not_named() {
        let mut table = Table::default();
        let [tab, other_tab, bob, nobody] = std::array::from_fn(|_| Sid::new());
        for (client, name) in [
            (bob, Some("bob")),
            (tab, Some("ann")),
            (other_tab, Some("ann")),
            (nobody, None),
        ] {
            table.look(client, A, name);
        }
        table.heard(TWO, A, names(&["cleo", "ann"]), Instant::now());
        table.heard(TWO, B, names(&["dora"]), Instant::now());
        assert_eq!(table.own(A), names(&["ann", "bob"]));
        assert_eq!(table.names(A), names(&["ann", "bob", "cleo"]));
        assert_eq!(table.names(B), names(&["dora"]));
        table.leave(tab, A);
        assert_eq!(table.own(A), names(&["ann", "bob"]));
        table.leave(other_tab, A);
        assert_eq!(table.own(A), names(&["bob"]));
        table.leave(bob, A);
        assert!(table.somebody_here(A));
        table.leave(nobody, A);
        assert!(!table.somebody_here(A) && table.looked_at().is_empty());
        // Twice is as once.
        table.leave(nobody, A);
    }

    #[test]
    fn what_another_said_last_holds_until_it_is_too_old() {
        let mut table = Table::default();
        let now = Instant::now();
        table.heard(TWO, A, names(&["bob"]), now);
        table.heard(THREE, A, names(&["cleo"]), now + KEPT / 2);
        table.heard(TWO, A, names(&["dora"]), now);
        assert_eq!(table.names(A), names(&["cleo", "dora"]));
        assert_eq!(table.expire(now + KEPT - Duration::from_millis(1)), []);
        assert_eq!(table.expire(now + KEPT), [A]);
        assert_eq!(table.names(A), names(&["cleo"]));
        table.heard(THREE, B, names(&["cleo"]), now);
        table.heard(THREE, A, Vec::new(), now);
        assert!(table.names(A).is_empty());
        assert_eq!(table.gone(TWO), []);
        assert_eq!(table.gone(THREE), [B]);
        assert!(table.there.is_empty());
    }

    #[test]
    fn it_does_not_grow_without_an_end() {
        let mut table = Table::default();
        let now = Instant::now();
        for number in 0..MOST as u128 + 5 {
            let incident = IncidentId(Uuid::from_u128(number));
            table.heard(TWO, incident, names(&["bob"]), now);
        }
        assert_eq!(table.there.len(), MOST);
        let many: Vec<String> = (0..NAMED + 5).map(|number| format!("{number:03}")).collect();
        table.heard(TWO, A, many.clone(), now);
        assert_eq!(table.names(A), many[..NAMED]);
        many.iter().for_each(|name| table.look(Sid::new(), B, Some(name)));
        assert_eq!(table.own(B), many[..NAMED]);
    }
}
