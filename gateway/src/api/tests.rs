use model::{Severity, Status};

use super::query::{parse, similar, similar_to};
use crate::reads::{IncidentFilter, Page};

#[test]
fn understood() {
    let check = |query: &str, status, severity, service: Option<&str>, limit, offset| {
        let filter = IncidentFilter {
            status,
            severity,
            service: service.map(str::to_owned),
            ..IncidentFilter::default()
        };
        assert_eq!(parse(query), Ok((filter, Page { limit, offset })), "{query}");
    };
    check("", None, None, None, 50, 0);
    check("status=open", Some(Status::Open), None, None, 50, 0);
    check(
        "severity=critical&limit=500&offset=100000",
        None,
        Some(Severity::Critical),
        None,
        500,
        100_000,
    );
    check(
        "service=check%20out%26+x&limit=1",
        None,
        None,
        Some("check out& x"),
        1,
        0,
    );
}

#[test]
fn words_and_times() {
    let (filter, _) = parse("text=disk%20full&since=2026-05-01T08:00:00Z&until=2026-05-01T10:00:00%2B01:00").unwrap();
    assert_eq!(filter.text.as_deref(), Some("disk full"));
    let (since, until) = (filter.since.unwrap(), filter.until.unwrap());
    assert_eq!((until - since).num_hours(), 1);
}

#[test]
fn texts_that_are_looked_for() {
    assert_eq!(similar_to("text=disk%20full"), Ok(("disk full".to_owned(), 5)));
    assert_eq!(similar_to("limit=50&text=x"), Ok(("x".to_owned(), 50)));
    assert_eq!(similar(""), Ok(5));
    assert_eq!(similar("limit=1"), Ok(1));
    let long = format!("text={}", "x".repeat(4_001));
    for (query, field) in [
        ("", "text"),
        ("text=%20", "text"),
        ("text=a&text=b", "text"),
        (long.as_str(), "text"),
        ("text=a&limit=51", "limit"),
        ("text=a&limit=0", "limit"),
        ("words=a", "words"),
    ] {
        let problem = similar_to(query).unwrap_err();
        assert_eq!(
            (problem.field.as_deref(), problem.status.as_u16()),
            (Some(field), 400),
            "{problem:?}"
        );
    }
    assert_eq!(similar("text=a").unwrap_err().field.as_deref(), Some("text"));
}

#[test]
fn refused() {
    let check = |query: &str, field: &str| {
        let problem = parse(query).unwrap_err();
        assert_eq!(
            (problem.field.as_deref(), problem.status.as_u16()),
            (Some(field), 400),
            "{query}: {problem:?}"
        );
    };
    check("status=closed", "status");
    check("severity=page", "severity");
    check("limit=0", "limit");
    check("limit=501", "limit");
    check("limit=-1", "limit");
    check("offset=100001", "offset");
    check("limit=99999999999999999999", "limit");
    check("state=open", "state");
    check("since=yesterday", "since");
    check("until=1", "until");
    check(&format!("text={}", "x".repeat(4_001)), "text");
    check("status=open&status=open", "status");
}
