//! A member whose process stood still for longer than its session: the others went on, and when it wakes up its
//! commit must not count.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sources::kafka::KafkaSettings;
use stream::log::{CommitError, Log, MemberEvent, TopicPartition};

use super::support::{assigned, commit, group, open, plain, topic, until, values, within};

/// What the stopped process is told: group, input and output topic. Set only by the test that starts it.
const ROLE: &str = "AEGIS_TEST_ZOMBIE";

fn settings() -> Option<KafkaSettings> {
    Some(KafkaSettings {
        session_timeout_ms: 6_000,
        ..plain()?
    })
}

/// The process that will be stopped. As a test of its own it does nothing.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_stands_still() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let [group, input, output] = role.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{role}")
    };
    let log = open(settings().unwrap()).await;
    let mut member = log.join(group, &[input.into()]).await.unwrap();
    assigned(&mut member).await;
    println!("\nzombie: assigned");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let (input, output) = (TopicPartition::new(input, 0), TopicPartition::new(output, 0));
    let outcome = match member.commit(commit(&[(&output, &["zombie"])], &[(&input, 7)])).await {
        Ok(()) => "committed".to_owned(),
        Err(CommitError::Fenced(_)) => "fenced".to_owned(),
        Err(error) => error.to_string(),
    };
    println!("\nzombie: {outcome}");
    let told = until(&mut member, |event| matches!(event, MemberEvent::Lost(_))).await;
    println!("\nzombie: told {}", told.len());
}

struct Zombie {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Zombie {
    fn start(role: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "zombie::the_process_that_stands_still",
                "--nocapture",
                "--test-threads=1",
            ])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        Zombie { child, said }
    }

    /// The next thing it says after "zombie: ".
    fn hear(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.said.read_line(&mut line).unwrap(), 0, "the zombie ended early");
            if let Some(said) = line.trim().strip_prefix("zombie: ") {
                return said.to_owned();
            }
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }
}

impl Drop for Zombie {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_is_fenced() {
    let Some(settings) = settings() else { return };
    let log = open(settings).await;
    let (input, output) = (topic(&log, 1).await, topic(&log, 1).await);
    let group = group();
    let mut zombie = Zombie::start(&format!("{group} {input} {output}"));
    let hear = |mut zombie: Zombie| tokio::task::spawn_blocking(move || (zombie.hear(), zombie));
    let (said, stopped) = within("joining", hear(zombie)).await.unwrap();
    zombie = stopped;
    assert_eq!(said, "assigned");
    zombie.signal("STOP");

    let mut heir = log.join(&group, std::slice::from_ref(&input)).await.unwrap();
    let (input, output) = (TopicPartition::new(input, 0), TopicPartition::new(output, 0));
    assert_eq!(assigned(&mut heir).await, [(input.clone(), None)]);
    heir.commit(commit(&[(&output, &["heir"])], &[(&input, 1)]))
        .await
        .unwrap();

    zombie.signal("CONT");
    zombie.child.stdin.as_mut().unwrap().write_all(b"commit\n").unwrap();
    let (said, awake) = within("waking", hear(zombie)).await.unwrap();
    assert_eq!(said, "fenced");
    let heard = hear(awake);
    // The heir must keep answering, or nobody is told anything.
    let keep_up = async {
        loop {
            heir.next(Duration::from_millis(100)).await.unwrap();
        }
    };
    let (said, _zombie) = tokio::select! {
        heard = within("being told", heard) => heard.unwrap(),
        () = keep_up => unreachable!("it has no end"),
    };
    assert!(said.starts_with("told"), "{said}");
    assert_eq!(
        log.committed(&group, &input).await.unwrap(),
        Some(stream::log::Offset(1))
    );
    assert_eq!(values(&log, &output, 1).await, ["heir"]);
}
