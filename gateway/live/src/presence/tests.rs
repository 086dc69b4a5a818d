//! Two servers on one publish and subscribe, and clients that poll.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use serde_json::{Value, json};
use shared::{SharedError, Subscription};
use socketioxide_redis::{RedisAdapterConfig, RedisAdapterCtr};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::driver::SharedDriver;

const PATIENCE: Duration = Duration::from_secs(30);
const INCIDENT: &str = "0198f0c2-7a55-5b5e-9a55-3f1d5a0a6e11";

/// Publish and subscribe that may be away, or lose what instances say of their clients.
struct Unreliable {
    inner: Arc<dyn PubSub>,
    away: AtomicBool,
    wordless: AtomicBool,
}

#[async_trait]
impl PubSub for Unreliable {
    async fn publish(&self, channel: &str, message: Bytes) -> Result<(), SharedError> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(SharedError::Unavailable {
                doing: "publishing",
                cause: "it is away".to_owned(),
            }),
            false if channel == CHANNEL && self.wordless.load(Ordering::SeqCst) => Ok(()),
            false => self.inner.publish(channel, message).await,
        }
    }

    fn subscribe(&self, channel: &str) -> Result<Subscription, SharedError> {
        self.inner.subscribe(channel)
    }
}

struct Server {
    port: u16,
    presence: Arc<Presence>,
    running: JoinHandle<()>,
}

impl Server {
    async fn start(pubsub: Arc<dyn PubSub>) -> Server {
        let presence = Arc::new(Presence::new(pubsub.clone()));
        let adapter = RedisAdapterCtr::new_with_driver(SharedDriver::new(pubsub), RedisAdapterConfig::new());
        let (service, io) = SocketIo::builder()
            .with_adapter::<Adapter>(adapter)
            .build_with_inner_svc(Router::new());
        let following = presence.clone();
        // Without a door: a client's token is its name.
        let serve = move |socket: SocketRef<Adapter>, TryData(hello): TryData<Value>| {
            let (presence, looks) = (following.clone(), listen(&socket));
            async move {
                let gone = CancellationToken::new();
                let told = gone.clone();
                socket.on_disconnect(async move |_: SocketRef<Adapter>| told.cancel());
                let name = hello.unwrap()["token"].as_str().map(str::to_owned);
                tokio::select! {
                    _ = presence.follow(&socket, name.as_deref(), looks) => {}
                    () = gone.cancelled() => {}
                }
            }
        };
        io.ns("/incidents", serve).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new().route_service("/socket.io/", service);
        let run = presence.clone();
        let running = tokio::spawn(async move {
            tokio::select! {
                () = run.run(&io) => {}
                _ = std::future::IntoFuture::into_future(axum::serve(listener, routes)) => {}
            }
        });
        Server {
            port,
            presence,
            running,
        }
    }

    async fn knows(&self, names: &[&str]) {
        let incident = IncidentId(INCIDENT.parse().unwrap());
        let known = async {
            while self.presence.table().names(incident) != names {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let known = tokio::time::timeout(PATIENCE, known).await;
        known.unwrap_or_else(|_| panic!("{names:?} are not known"));
    }
}

struct Client {
    port: u16,
    session: String,
    heard: Mutex<String>,
}

impl Client {
    async fn connect(server: &Server, name: &str) -> Client {
        let mut client = Client {
            port: server.port,
            session: String::new(),
            heard: Mutex::default(),
        };
        let opened = client.ask("GET", "").await;
        let opened: Value = serde_json::from_str(&opened[1..]).unwrap();
        client.session = format!("&sid={}", opened["sid"].as_str().unwrap());
        client.post(&format!("40/incidents,{}", json!({ "token": name }))).await;
        client.until(|heard| heard.starts_with("40/incidents,")).await;
        client
    }

    async fn ask(&self, method: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        let request = format!(
            "{method} /socket.io/?EIO=4&transport=polling{} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            self.session,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    async fn post(&self, packet: &str) {
        assert_eq!(self.ask("POST", packet).await, "ok");
    }

    /// Polls until the last that it heard is this.
    async fn until(&self, wanted: impl Fn(&str) -> bool) {
        while !wanted(&self.heard.lock().unwrap()) {
            self.poll().await;
        }
    }

    /// What came, in order.
    async fn poll(&self) -> Vec<String> {
        let mut came = Vec::new();
        for packet in self.ask("GET", "").await.split('\x1e') {
            match packet {
                "2" => self.post("3").await,
                _ => {
                    packet.clone_into(&mut self.heard.lock().unwrap());
                    came.push(packet.to_owned());
                }
            }
        }
        came
    }

    async fn look(&self, incident: impl Serialize) {
        let event = json!(["look", { "incident": incident }]);
        self.post(&format!("42/incidents,{event}")).await;
    }

    /// Among what comes now, whatever comes behind it.
    async fn hears_of(&self, names: &[&str]) {
        let wanted = said(names);
        let hearing = async { while !self.poll().await.contains(&wanted) {} };
        let heard = tokio::time::timeout(PATIENCE, hearing).await;
        heard.unwrap_or_else(|_| panic!("{wanted} is not heard, but {:?}", self.heard));
    }

    async fn hears(&self, names: &[&str]) {
        let wanted = said(names);
        let heard = tokio::time::timeout(PATIENCE, self.until(|heard| heard == wanted)).await;
        heard.unwrap_or_else(|_| panic!("{wanted} is not heard, but {:?}", self.heard));
    }
}

fn said(names: &[&str]) -> String {
    let looking = json!(["looking", { "incident": INCIDENT, "names": names }]);
    format!("42/incidents,{looking}")
}

#[tokio::test]
async fn who_looks_is_known_on_both_and_without_the_other() {
    let pubsub = Arc::new(Unreliable {
        inner: Arc::new(shared::process::ProcessPubSub::default()),
        away: AtomicBool::new(false),
        wordless: AtomicBool::new(true),
    });
    let (one, two) = (Server::start(pubsub.clone()).await, Server::start(pubsub.clone()).await);
    let (ann, bob) = (Client::connect(&one, "ann").await, Client::connect(&two, "bob").await);
    // The adapter alone brings it to the other's clients.
    bob.look(INCIDENT).await;
    bob.hears(&["bob"]).await;
    ann.look(INCIDENT).await;
    bob.hears_of(&["ann"]).await;
    two.knows(&["bob"]).await;
    pubsub.wordless.store(false, Ordering::SeqCst);
    for server in [&one, &two] {
        server.presence.again();
    }
    for client in [&ann, &bob] {
        client.hears(&["ann", "bob"]).await;
    }

    // What is no incident changes nothing.
    ann.look("everything").await;
    bob.look(Value::Null).await;
    ann.hears(&["ann"]).await;
    one.knows(&["ann"]).await;

    pubsub.away.store(true, Ordering::SeqCst);
    bob.look(INCIDENT).await;
    two.knows(&["ann", "bob"]).await;
    let cleo = Client::connect(&one, "cleo").await;
    cleo.look(INCIDENT).await;
    for client in [&ann, &cleo] {
        client.hears(&["ann", "cleo"]).await;
    }
    bob.hears(&["ann", "bob"]).await;
    pubsub.away.store(false, Ordering::SeqCst);
    for server in [&one, &two] {
        server.presence.again();
    }
    for client in [&ann, &bob, &cleo] {
        client.hears(&["ann", "bob", "cleo"]).await;
    }

    // Whoever goes is gone; so is who was with an instance that stops.
    cleo.post("41/incidents,").await;
    for client in [&ann, &bob] {
        client.hears(&["ann", "bob"]).await;
    }
    two.running.abort();
    two.presence.stop().await;
    ann.hears(&["ann"]).await;
}

#[test]
fn who_says_nothing_more_is_gone_within_forty_seconds() {
    assert!(table::KEPT + CHECK <= Duration::from_secs(40));
    // And one word may be lost.
    assert!(table::KEPT > REPEAT * 2);
}

#[test]
fn own_clients_are_told_again_of_what_is_new_or_was_told_otherwise() {
    let presence = Presence::new(Arc::new(shared::process::ProcessPubSub::default()));
    let incident = IncidentId(Uuid::from_u128(7));
    let client = socketioxide::socket::Sid::new();
    presence.table().look(client, incident, Some("ann"));
    let check = |from: u128, names: &[&str], told: Option<&[&str]>, again: bool| {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let word = Word::Look {
            from: Uuid::from_u128(from),
            incident,
            names: list(names),
            told: told.map(list),
        };
        presence.heard(&serde_json::to_vec(&word).unwrap());
        let waiting = std::mem::take(&mut *presence.untold.waiting.lock().unwrap());
        assert_eq!(!waiting.is_empty(), again, "{names:?} {told:?}");
    };
    check(2, &["bob"], Some(&["ann", "bob"]), true);
    check(2, &["bob"], Some(&["ann", "bob"]), false);
    check(2, &["bob"], Some(&["bob"]), true);
    check(3, &["cleo"], None, true);
    check(3, &["cleo"], None, false);
    check(3, &["dora"], None, true);
    check(2, &[], Some(&["ann", "dora"]), true);
    // Its own words come back to it.
    let own = Word::Gone { from: presence.id };
    presence.heard(&serde_json::to_vec(&own).unwrap());
    presence.heard(b"what comes later");
    assert_eq!(presence.table().names(incident), ["ann", "dora"]);
}
