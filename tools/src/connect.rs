//! From settings to tools. Two functions, so that who builds the one does not hold the other.

use std::sync::Arc;

use crate::act::Act;
use crate::kubernetes::{Actor, Api, Observer};
use crate::loki::Loki;
use crate::observe::Observe;
use crate::prometheus::Prometheus;
use crate::{ToolError, ToolsSettings};

/// What can be looked at. Reads credentials; asks no server anything yet.
pub async fn observe(settings: &ToolsSettings) -> Result<Observe, ToolError> {
    let mut observe = Observe::default();
    if let Some(prometheus) = &settings.prometheus {
        observe.metrics = Some(Arc::new(Prometheus::new(prometheus)?));
    }
    if let Some(loki) = &settings.loki {
        observe.logs = Some(Arc::new(Loki::new(loki)?));
    }
    if let Some(kubernetes) = &settings.kubernetes {
        observe.cluster = Some(Arc::new(Observer::new(Api::connect(kubernetes).await?)));
    }
    Ok(observe)
}

/// What can be changed, for the executor.
pub async fn act(settings: &ToolsSettings) -> Result<Act, ToolError> {
    let mut act = Act::default();
    if let Some(kubernetes) = &settings.kubernetes {
        act = act.with_cluster(Box::new(Actor::new(Api::connect(kubernetes).await?)));
    }
    Ok(act)
}
