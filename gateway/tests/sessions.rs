//! Sign-in over REST: two instances that share sessions and signals, as a browser and another site meet them.

#[path = "support/acts.rs"]
mod acts;

use std::sync::Arc;
use std::time::Duration;

use acts::{Notebook, Nothing};
use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request};
use gateway::{ApiToken, Changes, GatewaySettings, Readiness, ReadinessBounds, Role, SessionSettings, Shown, router};
use http_body_util::BodyExt as _;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use shared::{Session, SessionId, SessionSecret, Sessions, Shared, SharedError, Terms};
use stream::human::HumanDuration;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

const PATIENCE: Duration = Duration::from_secs(60);

/// One instance of several.
struct Instance {
    app: Router,
    orders: Arc<Notebook>,
    changes: Arc<Changes>,
    _stop: tokio_util::sync::DropGuard,
}

impl Instance {
    fn start(settings: &GatewaySettings, sessions: Arc<dyn Sessions>, shared: &Shared) -> Self {
        let orders = Arc::new(Notebook::default());
        let changes = Changes::new(shared.pubsub.clone());
        let shown = Shown {
            metrics: PrometheusBuilder::new().build_recorder().handle(),
            readiness: Readiness::new(ReadinessBounds::default()),
            incidents: Arc::new(Nothing),
            responses: Arc::new(Nothing),
            orders: orders.clone(),
            letters: orders.clone(),
            silences: Arc::new(Nothing),
            sessions,
            changes: changes.clone(),
            compliance: Arc::new(Nothing),
            pipeline: Arc::new(Nothing),
            queries: Arc::new(Nothing),
        };
        let stop = CancellationToken::new();
        let (running, closing) = (changes.clone(), stop.clone());
        tokio::spawn(async move { running.run(closing).await });
        Instance {
            app: router(settings, shown).unwrap(),
            orders,
            changes,
            _stop: stop.drop_guard(),
        }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().method(method).uri(format!("/api/v1{path}"));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self
            .app
            .clone()
            .oneshot(request.body(Body::empty()).unwrap())
            .await
            .unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        let body = match bytes.is_empty() {
            true => Value::Null,
            false => serde_json::from_slice(&bytes).unwrap(),
        };
        Answer { status, headers, body }
    }

    /// Cookie and CSRF value of a new session.
    async fn sign_in(&self, name: &str) -> (String, String) {
        let answer = self.ask("POST", "/sessions", &[("authorization", &bearer(name))]).await;
        assert_eq!(answer.status, 201, "{:?}", answer.body);
        assert_eq!(answer.headers["cache-control"], "no-store");
        (answer.cookie(), answer.body["csrf"].as_str().unwrap().to_owned())
    }
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    /// As a browser sends it back.
    fn cookie(&self) -> String {
        let set = self.headers["set-cookie"].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    }
}

fn bearer(name: &str) -> String {
    format!("Bearer token-of-{name}")
}

fn settings() -> GatewaySettings {
    let people = [
        ("vera", Role::Viewer),
        ("rosa", Role::Responder),
        ("rita", Role::Responder),
        ("adam", Role::Admin),
    ];
    let token = |(name, role): (&str, Role)| {
        let token = ApiToken {
            token: format!("token-of-{name}").into(),
            role,
        };
        (name.to_owned(), token)
    };
    GatewaySettings {
        read_tokens: vec!["token-of-readers".into()],
        tokens: people.map(token).into_iter().collect(),
        ..GatewaySettings::default()
    }
}

fn two() -> (Instance, Instance) {
    let shared = Shared::in_process();
    let start = || Instance::start(&settings(), shared.sessions.clone(), &shared);
    (start(), start())
}

const ACKNOWLEDGE: &str = "/incidents/00000000-0000-0000-0000-000000000001/acknowledge";

#[tokio::test]
async fn a_session_is_good_at_every_instance_and_keeps_the_role() {
    let (one, two) = two();
    let (rosa, csrf) = one.sign_in("rosa").await;
    let seen = two.ask("GET", "/incidents", &[("cookie", &rosa)]).await;
    assert_eq!(seen.status, 200);
    let own = two.ask("GET", "/sessions/current", &[("cookie", &rosa)]).await;
    assert_eq!(
        (own.status, &own.body["role"], &own.body["csrf"]),
        (200, &json!("responder"), &json!(csrf))
    );
    assert_eq!(own.body["session"]["user"], "rosa");
    let ordered = two
        .ask("POST", ACKNOWLEDGE, &[("cookie", &rosa), ("x-aegis-csrf", &csrf)])
        .await;
    assert_eq!(ordered.status, 202);
    assert_eq!(*two.orders.0.lock().unwrap(), ["human:rosa acknowledges"]);

    let (vera, csrf) = two.sign_in("vera").await;
    let order = [("cookie", vera.as_str()), ("x-aegis-csrf", csrf.as_str())];
    assert_eq!(
        one.ask("POST", ACKNOWLEDGE, &order).await.status,
        403,
        "a viewer stays one"
    );
    assert!(one.orders.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_the_cookie_says() {
    let (one, _) = two();
    let answer = one
        .ask("POST", "/sessions", &[("authorization", &bearer("rosa"))])
        .await;
    let set = answer.headers["set-cookie"].to_str().unwrap();
    let (pair, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age=604800");
    let secret = pair.strip_prefix("aegis_session=").unwrap();
    assert_eq!(secret.len(), 43);
    assert!(
        !answer.body.to_string().contains(secret),
        "scripts cannot read it: {}",
        answer.body
    );

    let beyond = GatewaySettings {
        listen: ([0, 0, 0, 0], 8000).into(),
        ..settings()
    };
    let shared = Shared::in_process();
    let beyond = Instance::start(&beyond, shared.sessions.clone(), &shared);
    let answer = beyond
        .ask("POST", "/sessions", &[("authorization", &bearer("rosa"))])
        .await;
    let set = answer.headers["set-cookie"].to_str().unwrap();
    assert!(
        set.starts_with("__Host-aegis_session=") && set.ends_with("; Secure"),
        "{set}"
    );
    let seen = beyond.ask("GET", "/incidents", &[("cookie", &answer.cookie())]).await;
    assert_eq!(seen.status, 200);
}

#[tokio::test]
async fn who_may_sign_in() {
    let (one, _) = two();
    let check = async |headers: &[(&str, &str)], expected: u16| {
        let answer = one.ask("POST", "/sessions", headers).await;
        assert_eq!(answer.status, expected, "{headers:?}: {}", answer.body);
        assert!(!answer.headers.contains_key("set-cookie"));
    };
    check(&[], 401).await;
    check(&[("authorization", "Bearer nobody")], 401).await;
    // A read token has no name, so nobody could say whose session it is.
    check(&[("authorization", "Bearer token-of-readers")], 401).await;
    let (cookie, csrf) = one.sign_in("rosa").await;
    check(&[("cookie", &cookie), ("x-aegis-csrf", &csrf)], 403).await;
}

/// Another site can make a browser send the cookie at most, and an old browser even that with a form.
#[tokio::test]
async fn another_site_orders_nothing() {
    let (one, two) = two();
    let (cookie, csrf) = one.sign_in("rosa").await;
    let (_, foreign) = one.sign_in("rita").await;
    let longer = format!("{csrf}0");
    for headers in [
        vec![("cookie", cookie.as_str())],
        vec![("cookie", &cookie), ("x-aegis-csrf", "")],
        vec![("cookie", &cookie), ("x-aegis-csrf", "1")],
        vec![("cookie", &cookie), ("x-aegis-csrf", &foreign)],
        vec![("cookie", &cookie), ("x-aegis-csrf", &csrf[1..])],
        vec![("cookie", &cookie), ("x-aegis-csrf", &longer)],
        vec![
            ("cookie", &cookie),
            ("content-type", "application/x-www-form-urlencoded"),
        ],
    ] {
        for (method, path) in [
            ("POST", ACKNOWLEDGE),
            ("DELETE", "/sessions"),
            ("DELETE", "/sessions/current"),
        ] {
            let answer = two.ask(method, path, &headers).await;
            assert_eq!(answer.status, 403, "{method} {path} {headers:?}");
            assert!(answer.body["detail"].as_str().unwrap().contains("X-Aegis-Csrf"));
        }
    }
    assert!(two.orders.0.lock().unwrap().is_empty());
    assert_eq!(
        one.ask("GET", "/sessions/current", &[("cookie", &cookie)]).await.status,
        200,
        "nothing ended"
    );
}

#[tokio::test]
async fn what_is_no_session_lets_nobody_in() {
    let (one, two) = two();
    let (cookie, _) = one.sign_in("rosa").await;
    let secret = cookie.strip_prefix("aegis_session=").unwrap();
    let hash = SessionSecret::parse(secret).unwrap().id();
    let twice = format!("{cookie}; {cookie}");
    for carried in [
        "",
        "aegis_session=",
        "aegis_session=nonsense",
        &format!("aegis_session={}", SessionSecret::new().unwrap().text()),
        // What is kept of it opens nothing.
        &format!("aegis_session={}", hash.as_str()),
        &format!("__Host-aegis_session={secret}"),
        &format!("other={secret}"),
        &twice,
    ] {
        let answer = two.ask("GET", "/incidents", &[("cookie", carried)]).await;
        assert_eq!(
            (answer.status, &answer.body["detail"]),
            (401, &Value::Null),
            "{carried}"
        );
    }
    let among = format!("a=b; {cookie}; c");
    assert_eq!(two.ask("GET", "/incidents", &[("cookie", &among)]).await.status, 200);
    // Whoever comes with a token is who the token says.
    let both = [("cookie", cookie.as_str()), ("authorization", "Bearer nobody")];
    assert_eq!(two.ask("GET", "/incidents", &both).await.status, 401);
}

#[tokio::test]
async fn signed_out_is_signed_out_everywhere() {
    let (one, two) = two();
    let (first, csrf) = one.sign_in("rosa").await;
    let (second, _) = two.sign_in("rosa").await;
    let (other, _) = two.sign_in("rita").await;
    let listed = two.ask("GET", "/sessions", &[("cookie", &first)]).await;
    let rows = listed.body["sessions"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "her own: {rows:?}");
    assert_eq!(
        (&rows[0]["current"], &rows[1]["current"]),
        (&json!(true), &json!(false))
    );
    for secret in [&first, &second] {
        let secret = secret.strip_prefix("aegis_session=").unwrap();
        assert!(!listed.body.to_string().contains(secret));
    }
    let out = one
        .ask(
            "DELETE",
            "/sessions/current",
            &[("cookie", &first), ("x-aegis-csrf", &csrf)],
        )
        .await;
    assert_eq!(out.status, 204);
    let set = out.headers["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("aegis_session=;") && set.contains("Max-Age=0"), "{set}");
    let see = async |cookie: &str| two.ask("GET", "/incidents", &[("cookie", cookie)]).await.status;
    assert_eq!(
        [see(&first).await, see(&second).await, see(&other).await],
        [401, 200, 200]
    );

    // With the token, when no browser is at hand.
    let all = one
        .ask("DELETE", "/sessions", &[("authorization", &bearer("rosa"))])
        .await;
    assert_eq!((all.status, &all.body["ended"]), (200, &json!(1)));
    assert_eq!([see(&second).await, see(&other).await], [401, 200]);
}

#[tokio::test]
async fn other_peoples_sessions_are_an_admins_business() {
    let (one, two) = two();
    let (cookie, _) = one.sign_in("rosa").await;
    let listed = one.ask("GET", "/sessions", &[("cookie", &cookie)]).await;
    let id = listed.body["sessions"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/sessions/{id}");
    let (rita, adam) = (bearer("rita"), bearer("adam"));
    let as_rita = [("authorization", rita.as_str())];
    assert_eq!(two.ask("DELETE", &path, &as_rita).await.status, 404);
    assert_eq!(two.ask("GET", "/sessions?user=rosa", &as_rita).await.status, 403);
    assert_eq!(two.ask("DELETE", "/sessions?user=rosa", &as_rita).await.status, 403);
    assert_eq!(two.ask("DELETE", "/sessions/nonsense", &as_rita).await.status, 400);
    assert_eq!(
        two.ask("GET", "/sessions?usr=rosa", &as_rita).await.body["field"],
        "usr"
    );
    let as_adam = [("authorization", adam.as_str())];
    let listed = two.ask("GET", "/sessions?user=rosa", &as_adam).await;
    assert_eq!(listed.body["sessions"][0]["id"], id.as_str());
    assert_eq!(two.ask("DELETE", &path, &as_adam).await.status, 204);
    assert_eq!(one.ask("GET", "/incidents", &[("cookie", &cookie)]).await.status, 401);
    assert_eq!(two.ask("DELETE", &path, &as_adam).await.status, 404, "once");
}

/// The same sessions, other settings: as after a restart.
#[tokio::test]
async fn a_session_ends_with_its_token_and_follows_its_role() {
    let shared = Shared::in_process();
    let one = Instance::start(&settings(), shared.sessions.clone(), &shared);
    let (cookie, csrf) = one.sign_in("rosa").await;
    let check = async |change: &dyn Fn(&mut GatewaySettings), seen: u16, ordered: u16| {
        let mut settings = settings();
        change(&mut settings);
        let other = Instance::start(&settings, shared.sessions.clone(), &shared);
        let status = other.ask("GET", "/incidents", &[("cookie", &cookie)]).await.status;
        let order = [("cookie", cookie.as_str()), ("x-aegis-csrf", csrf.as_str())];
        let order = other.ask("POST", ACKNOWLEDGE, &order).await.status;
        assert_eq!([status, order], [seen, ordered]);
    };
    check(&|_| (), 200, 202).await;
    check(&|settings| drop(settings.tokens.remove("rosa")), 401, 401).await;
    let another =
        |settings: &mut GatewaySettings| settings.tokens.get_mut("rosa").unwrap().token = "leaked-no-more".into();
    check(&another, 401, 401).await;
    check(
        &|settings| settings.tokens.get_mut("rosa").unwrap().role = Role::Viewer,
        200,
        403,
    )
    .await;
}

/// Whoever can write into the memory of sessions, and knows no token, makes none that lets anybody in.
#[tokio::test]
async fn a_forged_session_opens_nothing() {
    let shared = Shared::in_process();
    let one = Instance::start(&settings(), shared.sessions.clone(), &shared);
    let secret = SessionSecret::new().unwrap();
    let terms = Terms {
        idle: PATIENCE,
        absolute: PATIENCE,
    };
    for facts in ["", "admin", &secret.derive("token", &[0; 32])] {
        shared
            .sessions
            .create(&secret.id(), "adam", facts, terms)
            .await
            .unwrap();
        let cookie = format!("aegis_session={}", secret.text());
        assert_eq!(
            one.ask("GET", "/incidents", &[("cookie", &cookie)]).await.status,
            401,
            "{facts}"
        );
        shared.sessions.revoke(&secret.id()).await.unwrap();
    }
}

#[tokio::test]
async fn sessions_end_by_themselves() {
    let shared = Shared::in_process();
    let settings = GatewaySettings {
        sessions: SessionSettings {
            idle: HumanDuration::from_secs(1),
            absolute: HumanDuration::from_secs(86_400),
        },
        ..settings()
    };
    let one = Instance::start(&settings, shared.sessions.clone(), &shared);
    let (cookie, _) = one.sign_in("rosa").await;
    assert_eq!(one.ask("GET", "/incidents", &[("cookie", &cookie)]).await.status, 200);
    tokio::time::timeout(PATIENCE, async {
        while !shared.sessions.list("rosa").await.unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("it ends");
    assert_eq!(one.ask("GET", "/incidents", &[("cookie", &cookie)]).await.status, 401);
}

/// Sessions whose server is away.
struct Away;

fn away<T>() -> Result<T, SharedError> {
    Err(SharedError::Unavailable {
        doing: "testing",
        cause: "s3cret address".into(),
    })
}

#[async_trait]
impl Sessions for Away {
    async fn create(&self, _: &SessionId, _: &str, _: &str, _: Terms) -> Result<Session, SharedError> {
        away()
    }
    async fn look_up(&self, _: &SessionId) -> Result<Option<Session>, SharedError> {
        away()
    }
    async fn extend(&self, _: &SessionId) -> Result<Option<Session>, SharedError> {
        away()
    }
    async fn revoke(&self, _: &SessionId) -> Result<bool, SharedError> {
        away()
    }
    async fn revoke_user(&self, _: &str) -> Result<u64, SharedError> {
        away()
    }
    async fn list(&self, _: &str) -> Result<Vec<Session>, SharedError> {
        away()
    }
}

#[tokio::test]
async fn without_sessions_tokens_work_on() {
    let one = Instance::start(&settings(), Arc::new(Away), &Shared::in_process());
    let rosa = bearer("rosa");
    let as_rosa = [("authorization", rosa.as_str())];
    assert_eq!(one.ask("GET", "/incidents", &as_rosa).await.status, 200);
    assert_eq!(one.ask("POST", ACKNOWLEDGE, &as_rosa).await.status, 202);
    let cookie = format!("aegis_session={}", SessionSecret::new().unwrap().text());
    for answer in [
        one.ask("POST", "/sessions", &as_rosa).await,
        one.ask("GET", "/sessions", &as_rosa).await,
        one.ask("DELETE", "/sessions", &as_rosa).await,
        // Not 401: nobody must sign in again because a server is away.
        one.ask("GET", "/incidents", &[("cookie", &cookie)]).await,
    ] {
        assert_eq!(answer.status, 503);
        assert!(answer.headers.contains_key("retry-after") && !answer.headers.contains_key("set-cookie"));
        assert!(!answer.body.to_string().contains("s3cret"), "{}", answer.body);
    }
}

#[tokio::test]
async fn who_waits_is_told_of_changes_and_of_his_own_end() {
    let (one, two) = two();
    let two = Arc::new(two);
    let (cookie, csrf) = one.sign_in("rosa").await;
    let (other, _) = one.sign_in("rita").await;
    // Both instances listen from the same state on.
    let mark = tokio::time::timeout(PATIENCE, async {
        loop {
            one.changes.note();
            tokio::time::sleep(Duration::from_millis(300)).await;
            let marks = [one.changes.mark(), two.changes.mark()];
            if marks[0] == marks[1] {
                return marks[0].clone();
            }
        }
    })
    .await
    .expect("the instances hear each other");
    let now = two.ask("GET", "/changes", &[("cookie", &cookie)]).await;
    assert_eq!(now.body, json!({ "mark": mark, "changed": false }));
    let nothing = two
        .ask("GET", &format!("/changes?after={mark}&wait=0"), &[("cookie", &cookie)])
        .await;
    assert_eq!(nothing.body, json!({ "mark": mark, "changed": false }));

    let wait = |cookie: &str, after: &str| {
        let (two, cookie, path) = (
            two.clone(),
            cookie.to_owned(),
            format!("/changes?after={after}&wait=60"),
        );
        tokio::spawn(async move { two.ask("GET", &path, &[("cookie", &cookie)]).await })
    };
    let waiting = wait(&cookie, &mark);
    one.changes.note();
    let woken = tokio::time::timeout(PATIENCE / 2, waiting)
        .await
        .expect("woken by the other instance")
        .unwrap();
    assert_eq!((woken.status, &woken.body["changed"]), (200, &json!(true)));
    let mark = woken.body["mark"].as_str().unwrap().to_owned();
    // A mark of the past is answered at once.
    assert_eq!(wait(&cookie, "another").await.unwrap().body["changed"], true);

    let (mine, theirs) = (wait(&cookie, &mark), wait(&other, &mark));
    // Until both wait for sure, the end could come before them.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let out = one
        .ask(
            "DELETE",
            "/sessions/current",
            &[("cookie", &cookie), ("x-aegis-csrf", &csrf)],
        )
        .await;
    assert_eq!(out.status, 204);
    let mine = tokio::time::timeout(PATIENCE / 2, mine)
        .await
        .expect("told at once")
        .unwrap();
    assert_eq!(mine.status, 401);
    assert!(!theirs.is_finished(), "somebody else's wait goes on");
    one.changes.note();
    assert_eq!(theirs.await.unwrap().body["changed"], true);

    for (query, field) in [
        ("?wait=61", "wait"),
        ("?wait=x", "wait"),
        ("?after=a&after=b", "after"),
        ("?since=a", "since"),
    ] {
        let bad = two.ask("GET", &format!("/changes{query}"), &[("cookie", &other)]).await;
        assert_eq!((bad.status, &bad.body["field"]), (400, &json!(field)), "{query}");
    }
    assert_eq!(two.ask("GET", "/changes", &[]).await.status, 401);
}
