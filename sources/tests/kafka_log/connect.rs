//! Connecting: each way to authenticate works, and each way to get it wrong ends soon and says so.

use std::time::Duration;

use sources::kafka::{KafkaLog, KafkaSettings, SaslMechanism, SecurityProtocol};
use stream::log::{Log, LogError, TopicPartition};
use tokio::time::Instant;

use super::support::{open, plain, record, topic, values, variable, within};

/// Settings of a listener that authenticates.
fn sasl(protocol: SecurityProtocol, mechanism: SaslMechanism) -> Option<KafkaSettings> {
    let user = if mechanism == SaslMechanism::Plain {
        "PLAIN"
    } else {
        "SCRAM"
    };
    let tls = protocol == SecurityProtocol::SaslSsl;
    let server = variable(if tls {
        "AEGIS_TEST_KAFKA_SASL_SSL"
    } else {
        "AEGIS_TEST_KAFKA_SASL"
    })?;
    Some(KafkaSettings {
        bootstrap_servers: vec![server],
        security_protocol: protocol,
        sasl_mechanism: Some(mechanism),
        username: Some(variable(&format!("AEGIS_TEST_KAFKA_{user}_USER"))?),
        password: Some(variable(&format!("AEGIS_TEST_KAFKA_{user}_PASSWORD"))?.into()),
        ssl_ca: if tls {
            Some(variable("AEGIS_TEST_KAFKA_CA")?.into())
        } else {
            None
        },
        ..KafkaSettings::default()
    })
}

async fn check_works(settings: Option<KafkaSettings>) {
    let Some(settings) = settings else { return };
    let log = open(settings).await;
    let partition = TopicPartition::new(topic(&log, 1).await, 0);
    log.append(&partition, vec![record("a"), record("b")]).await.unwrap();
    assert_eq!(values(&log, &partition, 2).await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sasl_plain() {
    check_works(sasl(SecurityProtocol::SaslPlaintext, SaslMechanism::Plain)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sasl_scram() {
    check_works(sasl(SecurityProtocol::SaslPlaintext, SaslMechanism::ScramSha256)).await;
    check_works(sasl(SecurityProtocol::SaslPlaintext, SaslMechanism::ScramSha512)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sasl_over_tls_with_an_authority_of_its_own() {
    check_works(sasl(SecurityProtocol::SaslSsl, SaslMechanism::Plain)).await;
    check_works(sasl(SecurityProtocol::SaslSsl, SaslMechanism::ScramSha512)).await;
}

/// Opening fails within `limit`; the error names the server and contains `words`.
async fn check_refused(settings: Option<KafkaSettings>, limit: Duration, fatal: bool, words: &[&str]) {
    let Some(settings) = settings else { return };
    let server = settings.bootstrap_servers[0].clone();
    let started = Instant::now();
    let error = within("a refusal", KafkaLog::open(settings))
        .await
        .err()
        .expect("it opened");
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    assert_eq!(matches!(error, LogError::Fatal { .. }), fatal, "{error}");
    let message = error.to_string();
    assert!(message.contains(&server), "{message}");
    for word in words {
        assert!(message.contains(word), "no {word} in: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused() {
    for mechanism in [SaslMechanism::Plain, SaslMechanism::ScramSha256] {
        let mut settings = sasl(SecurityProtocol::SaslPlaintext, mechanism);
        if let Some(settings) = &mut settings {
            settings.password = Some("wrong".into());
        }
        check_refused(
            settings,
            Duration::from_secs(10),
            true,
            &["uthentication", "kafka.password"],
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let mut settings = sasl(SecurityProtocol::SaslSsl, SaslMechanism::Plain);
    if let Some(settings) = &mut settings {
        settings.ssl_ca = None;
    }
    check_refused(
        settings,
        Duration::from_secs(10),
        true,
        &["certificate", "kafka.ssl_ca"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_broker_is_unavailable_in_bounded_time() {
    let port = world::free_port().unwrap();
    let settings = KafkaSettings {
        bootstrap_servers: vec![format!("127.0.0.1:{port}")],
        connect_timeout_ms: 2_000,
        ..KafkaSettings::default()
    };
    check_refused(
        Some(settings),
        Duration::from_secs(10),
        false,
        &["kafka.bootstrap_servers"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_checked_before_anything_is_connected() {
    let settings = KafkaSettings {
        replication_factor: 0,
        ..KafkaSettings::default()
    };
    let error = KafkaLog::open(settings).await.err().expect("it opened");
    assert!(error.to_string().contains("kafka.replication_factor"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_logs_of_a_cluster_have_one_identity() {
    let Some(settings) = plain() else { return };
    let (one, other) = (open(settings.clone()).await, open(settings).await);
    assert_eq!(one.id(), other.id());
    assert!(one.id().0.starts_with("kafka:"), "{:?}", one.id());
}
