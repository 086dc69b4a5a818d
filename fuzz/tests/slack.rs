//! Slack's verifier: of requests that were signed and then spoiled, re-timed or sent again, none gives an order whose signed bytes were altered or
//! are older or newer than five minutes, and none gives its order twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use fuzz::{Dice, again, corpus, rounds, spoiled};
use ring::hmac;
use sources::webhook::slack::{Answers, Click, Command, SlackRole, SlackSettings, SlackUser, routes};
use stream::Instant;
use stream::time::ManualClock;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;

const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
const OLD: &str = "the one before";
const NOW_S: i64 = 1_795_423_800;
const WINDOW_S: i64 = 300;

const PATHS: &[&str] = &["/slack/commands", "/slack/interactivity"];

/// Bodies that give an order, each to its path.
const ORDERS: &[(&str, &str)] = &[
    (
        "/slack/commands",
        "command=%2Faegis&user_id=U1&text=status&trigger_id=1",
    ),
    (
        "/slack/commands",
        "command=%2Faegis&user_id=U1&text=ack+ab12&trigger_id=2",
    ),
    (
        "/slack/commands",
        "command=%2Faegis&user_id=U1&text=approve+ab12+ffee&trigger_id=3",
    ),
    (
        "/slack/interactivity",
        "payload=%7B%22type%22%3A%22block_actions%22%2C%22user%22%3A%7B%22id%22%3A%22U1%22%7D%2C%22actions%22%3A%5B%7B%22action_id%22%3A%22aegis_approve%22%2C%22value%22%3A%2267e55044-10b1-426f-9247-bb680e5fe0c8%7Cffee%7C67e55044-10b1-426f-9247-bb680e5fe0c9%22%7D%5D%7D",
    ),
];

/// Orders that were given.
#[derive(Default)]
struct Given(AtomicUsize);

#[async_trait]
impl Answers for Given {
    async fn answer(&self, _click: Click) -> String {
        self.0.fetch_add(1, Ordering::Relaxed);
        String::new()
    }

    async fn command(&self, _command: Command) -> String {
        self.0.fetch_add(1, Ordering::Relaxed);
        String::new()
    }

    async fn tell(&self, _response_url: String, _text: String) {}
}

struct Door {
    runtime: Runtime,
    app: Router,
    clock: Arc<ManualClock>,
    given: Arc<Given>,
}

impl Door {
    fn new() -> Self {
        let mut settings = SlackSettings {
            signing_secrets: vec![OLD.into(), SECRET.into()],
            ..SlackSettings::default()
        };
        let user = SlackUser {
            name: "ada".to_owned(),
            role: SlackRole::Approver,
        };
        settings.users.insert("U1".to_owned(), user);
        let (clock, given) = (
            Arc::new(ManualClock::at(Instant(NOW_S * 1_000_000))),
            Arc::new(Given::default()),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Door {
            runtime: runtime.unwrap(),
            app: routes(&settings, Some(given.clone()), clock.clone()),
            clock,
            given,
        }
    }

    /// The answer, and how many orders it gave.
    fn send(&self, sent: &Sent) -> (StatusCode, usize) {
        let mut request = Request::post(sent.path);
        for (name, value) in &sent.headers {
            request = request.header(name, value);
        }
        let request = request.body(Body::from(sent.body.clone())).unwrap();
        let before = self.given.0.load(Ordering::Relaxed);
        let app = self.app.clone();
        let status = self
            .runtime
            .block_on(async { app.oneshot(request).await.unwrap().status() });
        (status, self.given.0.load(Ordering::Relaxed) - before)
    }
}

#[derive(Clone, Debug)]
struct Sent {
    path: &'static str,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// As Slack documents it.
fn genuine(path: &'static str, secret: &str, body: &[u8], time: i64) -> Sent {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, &[format!("v0:{time}:").as_bytes(), body].concat());
    let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let header = |name: &str, value: String| (name.to_owned(), value);
    Sent {
        path,
        headers: vec![
            header("x-slack-request-timestamp", time.to_string()),
            header("x-slack-signature", format!("v0={hex}")),
        ],
        body: body.to_vec(),
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Done {
    /// Nobody signed it.
    Forged,
    /// It is the same as far as it is signed.
    Repeated,
    /// Signed well, for this second.
    Signed(i64),
}

fn tampered(dice: &mut Dice, genuine: &Sent, bodies: &[Vec<u8>]) -> (Sent, Done) {
    let mut sent = genuine.clone();
    let repeated = |same: bool| if same { Done::Repeated } else { Done::Forged };
    match dice.below(8) {
        0 => {
            sent.body = spoiled(dice, &genuine.body, bodies);
            let same = sent.body == genuine.body;
            (sent, repeated(same))
        }
        1 => {
            // A digit, a letter's case, the version, or the length.
            let mut value = sent.headers[1].1.clone().into_bytes();
            let at = dice.below(value.len());
            match dice.below(3) {
                0 => value[at] = *dice.one_of(b"0123456789abcdefABCDEFXYZ=-v"),
                1 => value.truncate(at),
                _ => value.push(*dice.one_of(b"0a,;")),
            }
            sent.headers[1].1 = String::from_utf8(value).unwrap();
            // Digits are hexadecimal in either case.
            let (mine, theirs) = (&sent.headers[1].1, &genuine.headers[1].1);
            let same = mine.starts_with("v0=") && mine.eq_ignore_ascii_case(theirs);
            (sent, repeated(same))
        }
        2 => {
            sent.headers.remove(dice.below(2));
            (sent, Done::Forged)
        }
        3 => {
            // Another time beside the same signature, or the same time in other words.
            let time: i64 = genuine.headers[0].1.parse().unwrap();
            let other = time + dice.below(2_000) as i64 - 1_000;
            sent.headers[0].1 = match dice.below(3) {
                0 => format!("+{time}"),
                1 => format!("0{time}"),
                _ => other.to_string(),
            };
            let same = sent.headers[0].1 == genuine.headers[0].1;
            (sent, repeated(same))
        }
        4 => {
            let late = WINDOW_S + 1 + dice.below(2_000) as i64;
            let time = if dice.once_in(2) { NOW_S - late } else { NOW_S + late };
            (
                self::genuine(genuine.path, SECRET, &genuine.body, time),
                Done::Signed(time),
            )
        }
        5 => {
            let sent = self::genuine(genuine.path, "nobody's", &genuine.body, NOW_S);
            (sent, Done::Forged)
        }
        6 => {
            // Signed well, for something else.
            let (path, body) = *dice.one_of(ORDERS);
            let other = self::genuine(path, SECRET, &[body.as_bytes(), b"&x=1"].concat(), NOW_S);
            sent.headers = other.headers;
            (sent, Done::Forged)
        }
        _ => {
            // What nobody signed: the path, and other headers.
            sent.path = *dice.one_of(PATHS);
            sent.headers
                .push(("x-slack-retry-num".to_owned(), dice.draw().to_string()));
            (sent, Done::Repeated)
        }
    }
}

#[test]
fn no_order_is_given_that_slack_did_not_sign_now_or_that_was_given() {
    let bodies = corpus();
    let mut given = 0;
    rounds("slack", 20_000, |dice| {
        let door = Door::new();
        let order = dice.one_of(ORDERS);
        let body = match dice.once_in(4) {
            true => dice.one_of(&bodies).clone(),
            false => order.1.as_bytes().to_vec(),
        };
        let secret = if dice.once_in(3) { OLD } else { SECRET };
        let time = NOW_S + dice.below(2 * WINDOW_S as usize + 1) as i64 - WINDOW_S;
        let genuine = genuine(order.0, secret, &body, time);
        let (first, orders) = door.send(&genuine);
        assert_ne!(first, StatusCode::UNAUTHORIZED);
        assert_eq!(orders, usize::from(body == order.1.as_bytes()), "{first} {genuine:?}");
        given += orders;
        let mut now = NOW_S;
        for _ in 0..4 {
            let (sent, done) = tampered(dice, &genuine, &bodies);
            if dice.once_in(2) {
                now += dice.below(400) as i64;
            }
            door.clock.set(Instant(now * 1_000_000));
            let (status, orders) = door.send(&sent);
            let in_time = |signed_for: i64| now.abs_diff(signed_for) <= WINDOW_S.unsigned_abs();
            match done {
                Done::Repeated if in_time(time) => {
                    assert_eq!((status, orders), (StatusCode::OK, 0), "seen before: {sent:?}");
                }
                Done::Signed(at) if in_time(at) => assert_ne!(status, StatusCode::UNAUTHORIZED, "{sent:?}"),
                _ => assert_eq!(
                    (status, orders),
                    (StatusCode::UNAUTHORIZED, 0),
                    "{done:?} {now} {sent:?}"
                ),
            }
        }
    });
    assert!(given > 0 || again(), "genuine orders are given");
}
