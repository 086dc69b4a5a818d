//! From logic version 1, which knew neither commands nor suspects: its cells are read as they are, and each incident gets the entry
//! by which commands find it. Changes that it had seen were not kept, so suspects are named from here on.

use model::IncidentId;
use stream::operator::MigrateError;
use stream::state::SavedCells;

use super::spoken::Spoken;
use super::{Correlate, suspects};

pub(super) fn take_over(correlate: &mut Correlate, from: u32, cells: &SavedCells) -> Result<(), MigrateError> {
    if from != 1 {
        return Err(MigrateError::NoWay { from });
    }
    let graph = &mut correlate.graph;
    cells.read("episodes", &mut graph.episodes)?;
    cells.read("components", &mut graph.components)?;
    cells.read("index", &mut graph.index.0)?;
    cells.read("due", &mut correlate.due)?;
    let mut openers = Vec::new();
    let mut alerts = Vec::new();
    for (id, episode) in graph.episodes.sorted() {
        let Some(component) = graph.components.get(&episode.component) else {
            continue;
        };
        let domain = component.domain();
        if episode.opened {
            openers.push((IncidentId::opened_by(&domain, *id, 0), *id));
        }
        if let Some(service) = &episode.service {
            alerts.push((suspects::slot(&domain, service), episode.starts_at, *id));
        }
    }
    for (incident, opener) in openers {
        graph.spoken.insert(incident, Spoken::of(opener));
    }
    for (slot, at, id) in alerts {
        correlate.suspects.alert(slot, at, id);
    }
    Ok(())
}
