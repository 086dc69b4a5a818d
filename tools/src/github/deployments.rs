//! What was deployed: <https://docs.github.com/en/rest/deployments/deployments>.

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{Api, shown, within_a_page};
use crate::ToolError;
use crate::observe::{Deployment, Deployments};

pub(super) async fn list(api: &Api, query: &Deployments) -> Result<Vec<Deployment>, ToolError> {
    let count = within_a_page("deployments", query.limit)?;
    let mut parameters = vec![("per_page", count.as_str())];
    parameters.extend(query.environment.as_deref().map(|name| ("environment", name)));
    let path = format!("/repos/{}/deployments", query.repository);
    let found: Vec<Deployed> = api.ask(&path, &parameters).await?;
    let mut deployments = Vec::new();
    for one in found.into_iter().take(query.limit as usize) {
        let state = match query.states {
            true => state(api, &query.repository, one.id).await?,
            false => None,
        };
        deployments.push(Deployment {
            id: one.id,
            commit: one.sha,
            reference: shown(&one.reference, 200),
            environment: shown(&one.environment, 200),
            created_at: one.created_at,
            state,
        });
    }
    Ok(deployments)
}

/// How a deployment ended last; `None` where nobody said.
async fn state(api: &Api, repository: &str, id: u64) -> Result<Option<String>, ToolError> {
    let path = format!("/repos/{repository}/deployments/{id}/statuses");
    let statuses: Vec<Status> = api.ask(&path, &[("per_page", "1")]).await?;
    Ok(statuses.into_iter().next().map(|status| shown(&status.state, 40)))
}

#[derive(Deserialize)]
struct Deployed {
    id: u64,
    sha: String,
    #[serde(rename = "ref", default)]
    reference: String,
    #[serde(default)]
    environment: String,
    created_at: DateTime<Utc>,
}

#[derive(Deserialize)]
struct Status {
    state: String,
}
