//! A real cluster as the world sees it: the world's own stands still, and holds what the real one holds. So the exporter tells of real
//! pods, and memory falls only where the API server says that a pod was replaced.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;
use tokio::task::JoinHandle;

use super::{ACTS, AEGIS, RealCluster};
use crate::kubernetes::Key;
use crate::{Seen, System, World};

/// Between two looks. Prometheus looks once a second.
const EVERY: Duration = Duration::from_millis(300);

/// What is looked at.
const PLURALS: [(&str, &str); 5] = [
    ("/api/v1", "pods"),
    ("/apis/apps/v1", "deployments"),
    ("/apis/apps/v1", "replicasets"),
    ("/apis/apps/v1", "statefulsets"),
    ("/apis/apps/v1", "daemonsets"),
];

/// Goes on until it is dropped.
pub struct Mirror(JoinHandle<()>);

impl Mirror {
    /// Returns when the world holds what the cluster holds.
    ///
    /// # Errors
    /// The API server does not answer.
    pub async fn start(cluster: &RealCluster, world: &World) -> anyhow::Result<Self> {
        let heard = cluster.asked()?.len();
        look(cluster.proxy, world).await?;
        let (cluster, world) = (cluster.clone(), world.clone());
        Ok(Mirror(tokio::spawn(async move {
            let mut heard = heard;
            loop {
                tokio::time::sleep(EVERY).await;
                // What could not be seen now is seen next time.
                let _ = look(cluster.proxy, &world).await;
                if let Ok(asked) = cluster.asked() {
                    let mut state = world.state();
                    for one in asked
                        .iter()
                        .skip(heard)
                        .filter(|one| one.account == format!("{AEGIS}:{ACTS}"))
                    {
                        state.requests.push(Seen {
                            system: System::Kubernetes,
                            at: one.at,
                            method: one.verb.to_uppercase(),
                            uri: one.uri.clone(),
                            headers: Vec::new(),
                        });
                    }
                    heard = heard.max(asked.len());
                }
            }
        })))
    }
}

impl Drop for Mirror {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn look(proxy: SocketAddr, world: &World) -> anyhow::Result<()> {
    let mut objects: BTreeMap<Key, Value> = BTreeMap::new();
    for (base, plural) in PLURALS {
        let mut list = crate::client::get(proxy, &format!("{base}/{plural}")).await?;
        let items = list["items"].as_array_mut().context("a list without items")?;
        for object in items.drain(..) {
            let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
            objects.insert((plural.to_owned(), text("namespace"), text("name")), object);
        }
    }
    world.state().kubernetes.mirror(objects);
    Ok(())
}
