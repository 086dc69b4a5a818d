//! Normalize, fed with what senders send.

#[path = "normalize_suite/support.rs"]
mod support;

#[path = "normalize_suite/captured.rs"]
mod captured;
#[path = "normalize_suite/faults.rs"]
mod faults;
#[path = "normalize_suite/frozen.rs"]
mod frozen;
#[path = "normalize_suite/github.rs"]
mod github;
#[path = "normalize_suite/kubernetes.rs"]
mod kubernetes;
#[path = "normalize_suite/mapper.rs"]
mod mapper;
#[path = "normalize_suite/pagerduty.rs"]
mod pagerduty;
#[path = "normalize_suite/properties.rs"]
mod properties;
#[path = "normalize_suite/rules.rs"]
mod rules;
#[path = "normalize_suite/senders.rs"]
mod senders;
