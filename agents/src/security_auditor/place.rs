//! Where code runs: the workload of a service, its images, and whether one of them is made of a commit.

use chrono::{DateTime, Utc};
use model::Workload;
use model::evidence::Citation;
use serde_json::Value;
use tools::observe::Revision;

use crate::gather::{Asked, Gather, Miss};
use crate::subject::kubernetes_name;
use crate::text;

/// Digits of a commit that tell it from another; fewer are read as a number.
const SHORT: usize = 7;

/// A workload and its newest revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    pub workload: Workload,
    pub revision: i64,
    pub images: Vec<String>,
    pub since: Option<DateTime<Utc>>,
}

/// Whether a workload runs a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runs {
    /// An image's tag names it.
    Yes,
    /// Every image that names a commit names another.
    Another,
    /// No image names a commit.
    Unknown,
}

/// The one workload that is called like the service.
pub async fn running(service: &str, namespace: Option<&str>, tools: &mut Gather<'_>) -> Asked<Running> {
    // A label is anybody's text: what is no name is not asked with.
    if !kubernetes_name(service) || !namespace.is_none_or(kubernetes_name) {
        return Err(Miss::Absent(
            "service or namespace of the incident is no name that Kubernetes knows".to_owned(),
        ));
    }
    let mut found = tools.find(namespace, service).await?;
    found.retain(|workload| kubernetes_name(&workload.name) && kubernetes_name(&workload.namespace));
    let [workload] = found.as_slice() else {
        let told = match found.len() {
            0 => format!("no workload is called {}", text::line(service, 80)),
            n => format!("{n} workloads are called {}", text::line(service, 80)),
        };
        return Err(Miss::Refused(told));
    };
    let revisions = tools.revisions(workload).await?;
    let newest: &Revision = revisions
        .iter()
        .max_by_key(|revision| revision.number)
        .ok_or_else(|| Miss::Refused(format!("{workload} has no revision")))?;
    Ok(Running {
        workload: workload.clone(),
        revision: newest.number,
        images: newest.images.clone(),
        since: newest.created_at,
    })
}

impl Running {
    /// `commit`: the whole hash.
    pub fn runs(&self, commit: &str) -> Runs {
        let named: Vec<&str> = self.images.iter().filter_map(|image| commit_of(image)).collect();
        let same = |named: &&str| commit.to_ascii_lowercase().starts_with(&named.to_ascii_lowercase());
        match named.as_slice() {
            [] => Runs::Unknown,
            named if named.iter().any(same) => Runs::Yes,
            _ => Runs::Another,
        }
    }

    /// Says in words where it runs and whether it is `commit`, and in `facts` the same.
    pub fn tie(&self, commit: Option<&str>, facts: &mut Value) -> String {
        let Workload { cluster, namespace, .. } = &self.workload;
        facts["workload"] = self.workload.to_string().into();
        facts["cluster"] = cluster.as_str().into();
        facts["namespace"] = namespace.as_str().into();
        facts["images"] = self
            .images
            .iter()
            .map(|image| text::line(image, 200))
            .collect::<Vec<String>>()
            .into();
        let place = format!("{} in {namespace} runs {}", self.workload, self.shown());
        let Some(commit) = commit else {
            return place;
        };
        let (word, told) = match self.runs(commit) {
            Runs::Yes => ("yes", "which is this commit"),
            Runs::Another => ("no", "which is another commit"),
            Runs::Unknown => ("unknown", "whose tag names no commit"),
        };
        facts["runs"] = word.into();
        format!("{place}, {told}")
    }

    pub fn shown(&self) -> String {
        let images: Vec<String> = self.images.iter().map(|image| text::line(image, 120)).collect();
        images.join(", ")
    }

    pub fn cite(&self, at: DateTime<Utc>) -> Option<Citation> {
        let since = self.since.unwrap_or(at);
        let Workload { cluster, namespace, .. } = &self.workload;
        let query = format!("{cluster}/{namespace}/{}, revision {}", self.workload, self.revision);
        let span = (since.min(at), at);
        Some(Citation::new("kubernetes", query, span, &self.shown()))
    }
}

/// The commit that an image's tag is made of: the tag itself, or what stands behind its last `-`, `.` or `_`, such as `v3-0123456`,
/// `main.0123456`, `sha-0123456`. Digits alone are a number, and a digest is no commit.
pub fn commit_of(image: &str) -> Option<&str> {
    let name = image.split('@').next()?;
    let (_, tag) = name.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'))?;
    let last = tag.rsplit(['-', '.', '_']).next()?;
    let hash = (SHORT..=40).contains(&last.len()) && last.bytes().all(|byte| byte.is_ascii_hexdigit());
    (hash && last.bytes().any(|byte| byte.is_ascii_alphabetic())).then_some(last)
}

pub fn short(sha: &str) -> String {
    text::line(sha.get(..SHORT).unwrap_or(sha), SHORT)
}

#[cfg(test)]
mod tests {
    use model::WorkloadKind;

    use super::*;

    #[test]
    fn images() {
        let check = |image: &str, expected: Option<&str>| assert_eq!(commit_of(image), expected, "{image}");
        check("registry.example:5000/shop/api:beefbee", Some("beefbee"));
        check("shop/api:v3-beefbeefbeef", Some("beefbeefbeef"));
        check("shop/api:sha-0a1b2c3d4e", Some("0a1b2c3d4e"));
        check("shop/api:beefbee@sha256:0123456789abcdef", Some("beefbee"));
        for none in [
            "shop/api",
            "shop/api:v7",
            "shop/api:20261130",
            "registry:5000/api",
            "shop/api@sha256:beefbeef",
            "api:feature-face",
        ] {
            check(none, None);
        }
    }

    #[test]
    fn runs() {
        let commit = "beefbeefbeefbeefbeefbeefbeefbeefbeefbeef";
        let check = |images: &[&str], expected: Runs| {
            let running = Running {
                workload: Workload {
                    cluster: "default".into(),
                    namespace: "prod".into(),
                    kind: WorkloadKind::Deployment,
                    name: "api".into(),
                },
                revision: 1,
                images: images.iter().map(|image| (*image).to_owned()).collect(),
                since: None,
            };
            assert_eq!(running.runs(commit), expected, "{images:?}");
        };
        check(&["a/sidecar:v1", "a/api:BEEFBEE"], Runs::Yes);
        check(&["a/api:0a1b2c3"], Runs::Another);
        check(&["a/api:v1"], Runs::Unknown);
    }
}
