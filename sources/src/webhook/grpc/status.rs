//! A refusal as a status of gRPC. Which codes are sent again, and that `RetryInfo` says when:
//! <https://opentelemetry.io/docs/specs/otlp/#failures>.

use std::time::Duration;

use axum::http::StatusCode;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::webhook::problem::Refusal;

/// Longest message, in characters: it travels in a header.
const MESSAGE_CHARS: usize = 1_000;

pub fn of(refusal: &Refusal) -> Status {
    let code = match refusal.status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::NOT_FOUND | StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::Unimplemented,
        _ => Code::InvalidArgument,
    };
    let message: String = refusal.sentence().chars().take(MESSAGE_CHARS).collect();
    match refusal.retry_after_s {
        Some(seconds) => {
            let wait = Duration::from_secs(seconds.into());
            Status::with_error_details(code, message, ErrorDetails::with_retry_info(Some(wait)))
        }
        None => Status::new(code, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::auth::Stranger;
    use crate::webhook::body;

    #[track_caller]
    fn check(refusal: &Refusal, code: Code, message: &str, wait: Option<u64>) {
        let status = of(refusal);
        assert_eq!((status.code(), status.message()), (code, message));
        let told = status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(told, wait.map(Duration::from_secs));
    }

    #[test]
    fn what_may_be_sent_again_says_when() {
        check(&Refusal::later("log", "no", 5), Code::Unavailable, "no", Some(5));
        let fast = Refusal::too_fast(StatusCode::TOO_MANY_REQUESTS, 3);
        let said = "requests come faster than `rate_per_s` allows";
        check(&fast, Code::ResourceExhausted, said, Some(3));
    }

    #[test]
    fn what_may_not_does_not() {
        check(&Stranger::Unknown.refusal(), Code::Unauthenticated, "", None);
        assert_eq!(of(&body::too_large(5)).code(), Code::InvalidArgument);
        let bad = Refusal::bad("r", "is wrong").place("there").remedy("mend it");
        check(&bad, Code::InvalidArgument, "is wrong; there; mend it", None);
        let long = Refusal::bad("r", "é".repeat(5_000));
        assert_eq!(of(&long).message().chars().count(), MESSAGE_CHARS);
    }
}
