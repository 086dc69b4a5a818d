//! What the watch of a cluster says beside an object that it saw: the record header [`HEADER`] on `events.raw`.
//!
//! An object tells how things stand, not how they stood before. Who watches has seen both, so the watch says in the record what is
//! new about the object; a replay then says the same without a memory. One record says one thing and becomes one signal.

pub mod rollout;

use serde::{Deserialize, Serialize};

use crate::Severity;

/// Header of a record: a [`Sighting`] as JSON.
pub const HEADER: &str = "kubernetes-sighting";

/// First part of the dedup keys of this sender.
pub const KEY_PREFIX: &str = "kube";

/// Why an object was written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// Name of the cluster, as configured.
    pub cluster: String,
    /// Environment of everything in the cluster; without it labels decide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    pub says: Says,
}

/// What is new.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Says {
    /// An Event, or more occurrences of one.
    Event {
        /// Occurrences that were told before; `None`: unknown.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u64>,
    },
    /// Something is wrong with the object.
    Began { trouble: Trouble },
    /// It is not any more, or the object is gone.
    Ended { trouble: Trouble, ends_at: i64 },
    /// The template of a Deployment, a StatefulSet or a DaemonSet changed.
    RolloutBegan,
    /// All pods are of the new template.
    RolloutCompleted,
    /// The progress deadline has passed, which Deployments alone have.
    RolloutFailed,
    /// A Deployment or a StatefulSet wants another number of pods.
    Scaled { from: i64 },
}

/// Something that is wrong with an object, since when. Times are microseconds since the epoch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Trouble {
    pub kind: TroubleKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    pub since: i64,
}

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TroubleKind {
    CrashLoopBackOff,
    #[serde(rename = "OOMKilled")]
    OomKilled,
    ImagePullBackOff,
    CreateContainerError,
    NotReady,
    Unschedulable,
    ProgressDeadlineExceeded,
    ReplicaFailure,
}

impl TroubleKind {
    const ALL: [TroubleKind; 8] = [
        TroubleKind::CrashLoopBackOff,
        TroubleKind::OomKilled,
        TroubleKind::ImagePullBackOff,
        TroubleKind::CreateContainerError,
        TroubleKind::NotReady,
        TroubleKind::Unschedulable,
        TroubleKind::ProgressDeadlineExceeded,
        TroubleKind::ReplicaFailure,
    ];

    /// As Kubernetes calls it, where it has a word.
    pub fn as_str(self) -> &'static str {
        match self {
            TroubleKind::CrashLoopBackOff => "CrashLoopBackOff",
            TroubleKind::OomKilled => "OOMKilled",
            TroubleKind::ImagePullBackOff => "ImagePullBackOff",
            TroubleKind::CreateContainerError => "CreateContainerError",
            TroubleKind::NotReady => "NotReady",
            TroubleKind::Unschedulable => "Unschedulable",
            TroubleKind::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
            TroubleKind::ReplicaFailure => "ReplicaFailure",
        }
    }

    pub fn parse(word: &str) -> Option<Self> {
        TroubleKind::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// Critical where containers die or a release does not come up.
    pub fn severity(self) -> Severity {
        match self {
            TroubleKind::CrashLoopBackOff | TroubleKind::OomKilled | TroubleKind::ProgressDeadlineExceeded => {
                Severity::Critical
            }
            _ => Severity::Warning,
        }
    }
}

/// What the dedup key of a trouble names: `kube:CLUSTER:KIND:UID:TROUBLE[:CONTAINER]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TroubleKey<'a> {
    pub cluster: &'a str,
    /// `pod`, `deployment`, `replicaset`.
    pub kind: &'a str,
    pub uid: &'a str,
    pub trouble: &'a str,
    pub container: Option<&'a str>,
}

impl<'a> TroubleKey<'a> {
    /// `None` for a key that names no trouble. None of its parts can hold a colon: clusters are configured without, the others are
    /// names of Kubernetes.
    pub fn read(key: &'a str) -> Option<Self> {
        let mut parts = key.split(':');
        let mut next = || parts.next().filter(|part| !part.is_empty());
        if next()? != KEY_PREFIX {
            return None;
        }
        let (cluster, kind, uid, trouble) = (next()?, next()?, next()?, next()?);
        TroubleKind::parse(trouble)?;
        let key = TroubleKey {
            cluster,
            kind,
            uid,
            trouble,
            container: next(),
        };
        parts.next().is_none().then_some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let read = |key| TroubleKey::read(key).map(|key| (key.kind, key.trouble, key.container));
        let pod = Some(("pod", "OOMKilled", Some("app")));
        assert_eq!(read("kube:default:pod:u-1:OOMKilled:app"), pod);
        assert_eq!(
            read("kube:c:deployment:u:ReplicaFailure"),
            Some(("deployment", "ReplicaFailure", None))
        );
        for other in [
            "",
            "kube:c:event:u",
            "kube:c:deployment:u:rollout:3",
            "kube:c:pod:u:OOMKilled:a:b",
            "ce:c:pod:u:OOMKilled",
        ] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    /// What stands on the log is read for ever.
    #[test]
    fn as_written() {
        let sighting = Sighting {
            cluster: "eu".into(),
            environment: None,
            says: Says::Ended {
                trouble: Trouble {
                    kind: TroubleKind::OomKilled,
                    container: Some("app".into()),
                    since: 5,
                },
                ends_at: 9,
            },
        };
        let json = r#"{"cluster":"eu","says":{"type":"ended","trouble":{"kind":"OOMKilled","container":"app","since":5},"ends_at":9}}"#;
        assert_eq!(serde_json::to_string(&sighting).unwrap(), json);
        assert_eq!(serde_json::from_str::<Sighting>(json).unwrap(), sighting);
        for kind in TroubleKind::ALL {
            let word = serde_json::to_string(&kind).unwrap();
            assert_eq!(word, format!("\"{}\"", kind.as_str()));
            assert_eq!(TroubleKind::parse(kind.as_str()), Some(kind));
        }
    }
}
