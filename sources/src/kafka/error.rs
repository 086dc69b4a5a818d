//! What a librdkafka error means for the log: gone for now, or until a person acts.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use stream::log::LogError;

/// The log's error for `error`, met while `doing`.
pub(super) fn log_error(doing: impl Into<String>, error: &KafkaError) -> LogError {
    let (doing, cause) = (doing.into(), error.to_string());
    match error {
        KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::MessageConsumptionFatal(_) => {
            LogError::Fatal { doing, cause }
        }
        KafkaError::Transaction(native) if native.is_fatal() => LogError::Fatal { doing, cause },
        _ if error.rdkafka_error_code().is_some_and(needs_a_person) => LogError::Fatal { doing, cause },
        _ => LogError::Unavailable { doing, cause },
    }
}

/// As [`log_error`], from a code alone.
pub(super) fn code_error(doing: impl Into<String>, code: Code) -> LogError {
    let (doing, cause) = (doing.into(), code.to_string());
    if needs_a_person(code) {
        LogError::Fatal { doing, cause }
    } else {
        LogError::Unavailable { doing, cause }
    }
}

/// Refused credentials, rights or certificates, and requests that the cluster will refuse each time.
pub(super) fn needs_a_person(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::SSL
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::InvalidSessionTimeout
            | Code::InvalidTransactionTimeout
            | Code::InconsistentGroupProtocol
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
    )
}

/// The member that sent this no longer is what it was: its state must be discarded.
pub(super) fn fences(code: Code) -> bool {
    matches!(
        code,
        Code::Fenced
            | Code::ProducerFenced
            | Code::InvalidProducerEpoch
            | Code::UnknownMemberId
            | Code::FencedInstanceId
            | Code::TransactionCoordinatorFenced
    )
}

/// A partition or topic that the cluster does not know.
pub(super) fn unknown_partition(code: Code) -> bool {
    matches!(
        code,
        Code::UnknownPartition | Code::UnknownTopic | Code::UnknownTopicOrPartition
    )
}
