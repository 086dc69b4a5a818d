//! The suite that every log passes.

use std::sync::Arc;

use super::support::{open, plain};

#[tokio::test(flavor = "multi_thread")]
async fn the_kafka_log_conforms() {
    let Some(settings) = plain() else { return };
    let cases = stream::log::conformance::run_all(Arc::new(open(settings).await)).await;
    assert!(cases > 0);
}
