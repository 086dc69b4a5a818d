use proptest::prelude::*;
use serde_json::json;

use super::*;

/// `secret` goes and `rest` stays.
fn check(text: &str, secret: &str, rest: &[&str]) {
    let shown = redact(text);
    assert!(!shown.contains(secret), "{text} → {shown}");
    assert!(shown.contains(REDACTED), "{text} → {shown}");
    for part in rest {
        assert!(shown.contains(part), "{text} → {shown}");
    }
}

#[test]
fn credentials_go_and_the_words_around_them_stay() {
    let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    check(&format!("GET /x token {jwt} took 3 ms"), jwt, &["GET /x", "took 3 ms"]);
    check(
        "Authorization: Bearer abcdef0123456789 failed",
        "abcdef0123456789",
        &["Authorization: Bearer", "failed"],
    );
    check(
        "authorization: basic dXNlcjpwYXNzd29yZA==",
        "dXNlcjpwYXNzd29yZA",
        &["basic"],
    );
    check(
        "key AKIAIOSFODNN7EXAMPLE used",
        "AKIAIOSFODNN7EXAMPLE",
        &["key", "used"],
    );
    check(
        "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY region=eu",
        "wJalrXUtnFEMI",
        &["aws_secret_access_key", "region=eu"],
    );
    check(
        "login user=bob password=hunter2, retry",
        "hunter2",
        &["user=bob", "retry"],
    );
    check(
        r#"{"user":"bob","password":"hun\"ter2","n":1}"#,
        "ter2",
        &[r#""n":1"#, "bob"],
    );
    check(
        r#"body: {\"api_key\": \"s3cr3t value\", \"n\": 1}"#,
        "s3cr3t",
        &["n", "1"],
    );
    check(
        "psql postgres://app:hunter2@db:5432/x",
        "hunter2",
        &["postgres://app:", "@db:5432/x"],
    );
    check(
        "curl --token abc123def https://x",
        "abc123def",
        &["curl --token", "https://x"],
    );
    check(
        "ghp_0123456789abcdefghijABCDEFGHIJ456789 leaked",
        "ghp_0123",
        &["leaked"],
    );
    check("slack xoxb-1234567890-abcdef", "xoxb-1234", &["slack"]);
    check(
        "post https://hooks.slack.com/services/T000/B000/XXXXXXXX failed",
        "XXXXXXXX",
        &["https://hooks.slack.com/services/", "failed"],
    );
    check(
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nIBAAK\n-----END RSA PRIVATE KEY-----\nnext",
        "MIIEow",
        &["next"],
    );
    check("-----BEGIN PRIVATE KEY-----\nMIIEow\nIBAAK", "IBAAK", &[]);
    check("CLIENT_SECRET: 'a b c' done", "a b c", &["CLIENT_SECRET", "done"]);
}

#[test]
fn ordinary_lines_stay_as_they_are() {
    for line in [
        "java.lang.OutOfMemoryError: Java heap space",
        "max_tokens: 100 token_count=5",
        "GET https://shop.example/cart?id=7 200 in 12 ms",
        "basic health check passed",
        "bearer of bad news",
        "connecting to postgres://db:5432/app",
        "commit 3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
        "",
    ] {
        assert_eq!(redact(line), line);
    }
}

#[test]
fn named_values_go_whole() {
    assert_eq!(redact_named("DB_PASSWORD", "plain word"), REDACTED);
    assert_eq!(redact_named("region", "eu-west-1"), "eu-west-1");
    let mut value = json!({"env": {"API_TOKEN": "x y", "region": "eu", "n": 3}, "list": ["password=abc"]});
    redact_json(&mut value);
    assert_eq!(
        value,
        json!({"env": {"API_TOKEN": REDACTED, "region": "eu", "n": 3}, "list": ["password=[redacted]"]})
    );
}

#[test]
fn what_was_cut_is_said() {
    assert_eq!(shorten("äöü", 3), "äöü");
    assert_eq!(shorten("äöüß", 3), "äöü… (1 more characters)");
}

proptest! {
    #[test]
    fn redacting_twice_changes_nothing_more(text in any::<String>()) {
        let once = redact(&text);
        prop_assert_eq!(redact(&once), once);
    }

    #[test]
    fn no_password_survives(before in "[a-z ]{0,20}", secret in "[A-Za-z0-9!#%*+/^~]{6,30}", after in "[a-z ]{0,20}") {
        let secret = format!("S{secret}");
        let shown = redact(&format!("{before} password={secret} {after}"));
        prop_assert!(!shown.contains(&secret), "{}", shown);
    }
}
