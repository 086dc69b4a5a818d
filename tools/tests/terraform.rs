//! Terraform: every fault of a child process to every question, with programs that misbehave; and the whole way from a plan to its apply with
//! the real library (`AEGIS_TEST_TERRAFORM`).

mod support;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::Utc;
use model::Action;
use model::remediation::Health;
use serde_json::{Value, json};
use support::{approved, required};
use tempfile::TempDir;
use tools::act::Act;
use tools::catalog::{action, call};
use tools::observe::Observe;
use tools::terraform::OfPlan;
use tools::terraform::apply::action_of;
use tools::{ToolError, ToolsSettings, connect};
use uuid::Uuid;

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/terraform/plan_show.json");

/// A folder with code, a saved plan `p1`, and tools that use `executable` on it.
struct Site {
    folder: TempDir,
    executable: PathBuf,
}

impl Site {
    /// The program is a script.
    fn of_script(script: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let executable = folder.path().join("terraform");
        std::fs::write(&executable, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(folder.path().join("p1"), "a saved plan").unwrap();
        Site { folder, executable }
    }

    fn settings(&self, more: Value) -> ToolsSettings {
        let mut terraform = json!({
            "executable": self.executable,
            "folders": [{"name": "shop", "path": self.folder.path(), "environment": "production", "apply": true}],
            "timeout_s": 60, "apply_timeout_s": 60,
        });
        terraform
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        let settings: ToolsSettings = serde_json::from_value(json!({"terraform": terraform})).unwrap();
        assert_eq!(settings.faults(), [""; 0]);
        settings
    }

    async fn tools(&self, more: Value) -> (Observe, Act) {
        let settings = self.settings(more);
        (
            connect::observe(&settings).await.unwrap(),
            connect::act(&settings).await.unwrap(),
        )
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }
}

/// Answers as Terraform does: a plan of one update, and a state at serial 7.
fn good() -> String {
    format!(
        r#"case "$1 $2" in
"show -json") cat {RECORDED} ;;
"state pull") echo '{{"version":4,"serial":7,"lineage":"l-1"}}' ;;
plan*) exit 2 ;;
apply*) echo applied >> applied ;;
esac"#
    )
}

const QUESTIONS: [(&str, &str); 4] = [
    ("terraform_plan", r#"{"folder":"shop","plan":"p1"}"#),
    ("terraform_state", r#"{"folder":"shop"}"#),
    ("terraform_drift", r#"{"folder":"shop"}"#),
    ("terraform_dry_run", ""),
];

fn question(name: &str, arguments: &str) -> Value {
    match name {
        "terraform_dry_run" => json!({"action": apply(7)}),
        _ => serde_json::from_str(arguments).unwrap(),
    }
}

/// Of the file `a saved plan`.
fn apply(serial: u64) -> Action {
    Action::TerraformApply {
        folder: "shop".into(),
        plan: "p1".into(),
        sha256: "c3d0b1e0".into(),
        lineage: "l-1".into(),
        serial,
    }
}

fn later(failure: &ToolError) -> bool {
    matches!(failure, ToolError::DidNotHappen { retry: true, .. })
}

fn refused(failure: &ToolError) -> bool {
    matches!(failure, ToolError::Refused { .. })
}

/// Every question to a program that is `script`.
async fn check(script: &str, more: Value, expected: fn(&ToolError) -> bool) {
    let site = Site::of_script(script);
    let (observe, _) = site.tools(more).await;
    for (name, arguments) in QUESTIONS {
        let failure = call(&observe, name, question(name, arguments)).await.expect_err(name);
        assert!(expected(&failure), "{name}: {failure:?}");
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
    }
}

#[tokio::test]
async fn success_without_values() {
    let site = Site::of_script(&good());
    let (observe, _) = site.tools(json!({})).await;
    for (name, arguments) in &QUESTIONS[..3] {
        for _ in 0..2 {
            let answer = call(&observe, name, question(name, arguments)).await.unwrap();
            assert!(
                !answer.to_string().contains("checkout"),
                "values stay where they are: {answer}"
            );
        }
    }
    let plan = call(&observe, "terraform_plan", question("", QUESTIONS[0].1))
        .await
        .unwrap();
    assert_eq!((&plan["serial"], &plan["plan"]["change"]), (&json!(7), &json!(1)));
    assert_eq!(plan["plan"]["changes"][0]["attributes"], json!(["input", "output"]));
    let drift = call(&observe, "terraform_drift", question("", QUESTIONS[2].1))
        .await
        .unwrap();
    assert_eq!(drift["clean"], false);
    // What it says of the plan makes the action that applies it.
    let arguments = json!({"folder": "shop", "plan": "p1", "sha256": plan["sha256"], "lineage": plan["lineage"], "serial": plan["serial"]});
    let asked = action("terraform_apply", arguments).unwrap();
    let dry = call(&observe, "terraform_dry_run", json!({"action": asked}))
        .await
        .unwrap();
    assert_eq!(
        dry["diff"],
        "0 to add, 1 to change, 0 to destroy\nupdate terraform_data.deploy: input, output"
    );
    assert_eq!(dry["target"]["generation"], 7);
}

#[tokio::test]
async fn refusals_show_no_secrets() {
    check("echo 'Error: password=hunter2' >&2; exit 1", json!({}), refused).await;
    check("exit 3", json!({}), refused).await;
}

#[tokio::test]
async fn hanging_and_nobody_there() {
    check("exec sleep 600", json!({"timeout_s": 1}), later).await;
    // A child of the child that keeps the pipes open.
    check("sleep 5 & exit 0", json!({"timeout_s": 1}), later).await;
    let mut site = Site::of_script("");
    site.executable = site.folder.path().join("nothing");
    let (observe, _) = site.tools(json!({})).await;
    for (name, arguments) in QUESTIONS {
        let failure = call(&observe, name, question(name, arguments)).await.expect_err(name);
        assert!(later(&failure), "{name}: {failure:?}");
    }
}

#[tokio::test]
async fn rubbish_and_too_much() {
    check("echo '<html>'", json!({}), later).await;
    check("echo '{}'", json!({}), later).await;
    check("echo '[]'; exit 0", json!({}), later).await;
    check(
        "head -c 2000000 /dev/zero",
        json!({"max_answer_bytes": 1 << 20}),
        refused,
    )
    .await;
}

#[tokio::test]
async fn only_what_is_configured_is_looked_at() {
    let site = Site::of_script(&good());
    let (observe, _) = site.tools(json!({})).await;
    let check = async |name: &str, arguments: Value, expected: &str| {
        let failure = call(&observe, name, arguments).await.unwrap_err();
        assert!(refused(&failure) && failure.to_string().contains(expected), "{failure}");
    };
    check("terraform_state", json!({"folder": "other"}), "only these folders").await;
    for plan in ["../p1", "/etc/passwd", "-p1", ".p1", "", "p 1", "p1;id"] {
        check(
            "terraform_plan",
            json!({"folder": "shop", "plan": plan}),
            "no name of a saved plan",
        )
        .await;
    }
    check(
        "terraform_plan",
        json!({"folder": "shop", "plan": "p2"}),
        "cannot be read",
    )
    .await;
    check("terraform_dry_run", json!({"action": apply(7)}), "another file by now").await;
    check(
        "terraform_dry_run",
        json!({"action": support::restart()}),
        "kubernetes_dry_run",
    )
    .await;
}

#[tokio::test]
async fn a_small_environment_is_handed_on() {
    let site = Site::of_script("env > seen; exit 1");
    let (observe, _) = site.tools(json!({"environment": ["LANG", "NOT_SET_ANYWHERE"]})).await;
    call(&observe, "terraform_state", json!({"folder": "shop"}))
        .await
        .unwrap_err();
    let seen = site.read("seen");
    let mut names: Vec<&str> = seen.lines().filter_map(|line| line.split('=').next()).collect();
    names.sort_unstable();
    names.retain(|name| !["PATH", "HOME", "LANG", "PWD", "OLDPWD", "SHLVL", "_"].contains(name));
    assert_eq!(names, ["CHECKPOINT_DISABLE", "TF_INPUT", "TF_IN_AUTOMATION"], "{seen}");
}

#[tokio::test]
async fn a_folder_that_is_only_looked_at_is_not_written() {
    let site = Site::of_script(&good());
    let shop = json!([{"name": "shop", "path": site.folder.path()}]);
    let (observe, act) = site.tools(json!({"folders": shop})).await;
    let failure = observe.state(&apply(7)).await.unwrap_err();
    assert!(failure.to_string().contains("apply = true"), "{failure}");
    let failure = act.happened(&apply(7), Uuid::nil(), Utc::now()).await.unwrap_err();
    assert!(matches!(failure, ToolError::Absent { .. }), "{failure}");
}

async fn action_now(observe: &Observe, plan: &str) -> Action {
    let of = OfPlan {
        folder: "shop".into(),
        plan: plan.into(),
    };
    action_of(&observe.infrastructure.as_ref().unwrap().plan(&of).await.unwrap())
}

#[tokio::test]
async fn another_file_or_another_state_than_was_approved_is_not_applied() {
    let site = Site::of_script(&good());
    let (observe, act) = site.tools(json!({})).await;
    let action = action_now(&observe, "p1").await;
    let state = observe.state(&action).await.unwrap();
    let granted = approved(&action, &state);
    site.write("p1", "another plan");
    let failure = act.execute(granted).await.unwrap_err();
    assert!(
        refused(&failure) && failure.to_string().contains("not the file that was approved"),
        "{failure}"
    );

    site.write("p1", "a saved plan");
    let granted = approved(&action, &state);
    let script = std::fs::read_to_string(&site.executable)
        .unwrap()
        .replace("\"serial\":7", "\"serial\":8");
    std::fs::write(&site.executable, script).unwrap();
    let failure = act.execute(granted).await.unwrap_err();
    assert!(
        matches!(failure, ToolError::DidNotHappen { retry: false, .. }),
        "{failure:?}"
    );
    assert!(!site.folder.path().join("applied").exists());
    // The state moved, and not to what the plan says: somebody else did that.
    assert!(!act.happened(&action, Uuid::nil(), Utc::now()).await.unwrap());
}

#[tokio::test]
async fn an_apply_that_breaks_off_may_have_happened() {
    for script in [
        "apply*) echo 'Error: password=hunter2' >&2; exit 1 ;;",
        "apply*) exec sleep 600 ;;",
    ] {
        let site = Site::of_script(&good().replace("apply*) echo applied >> applied ;;", script));
        let (observe, act) = site.tools(json!({"apply_timeout_s": 1})).await;
        let action = action_now(&observe, "p1").await;
        let state = observe.state(&action).await.unwrap();
        let failure = act.execute(approved(&action, &state)).await.unwrap_err();
        assert!(matches!(failure, ToolError::MayHaveHappened { .. }), "{failure:?}");
        assert!(!failure.to_string().contains("hunter2"), "{failure}");
    }
}

fn terraform(executable: &Path, folder: &Path, arguments: &[&str]) {
    let ended = Command::new(executable)
        .args(arguments)
        .current_dir(folder)
        .env("CHECKPOINT_DISABLE", "1")
        .output()
        .unwrap();
    assert!(
        ended.status.success(),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&ended.stderr)
    );
}

const CODE: &str = r#"
variable "replicas" { default = 3 }
resource "terraform_data" "deploy" { input = { name = "checkout", replicas = var.replicas } }
"#;

#[tokio::test]
async fn from_a_saved_plan_to_its_apply_with_the_real_library() {
    let Some(executable) = required("AEGIS_TEST_TERRAFORM").map(PathBuf::from) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let site = Site { folder, executable };
    site.write("main.tf", CODE);
    let run = |arguments: &[&str]| terraform(&site.executable, site.folder.path(), arguments);
    run(&["init", "-input=false", "-no-color"]);
    run(&["plan", "-input=false", "-no-color", "-out=p1"]);
    let (observe, act) = site.tools(json!({})).await;

    // There is no state yet.
    let first = action_now(&observe, "p1").await;
    assert_eq!(first.to_string().split(" (").next().unwrap(), "apply the saved plan p1");
    assert!(!act.happened(&first, Uuid::nil(), Utc::now()).await.unwrap());
    let dry = observe.dry_run(&first).await.unwrap();
    assert_eq!(
        dry.diff,
        "1 to add, 0 to change, 0 to destroy\ncreate terraform_data.deploy"
    );
    let granted = approved(&first, &dry.target);
    let done = act.execute(granted).await.unwrap();
    assert!(done.note.ends_with("the state is at serial 1"), "{}", done.note);
    assert!(act.happened(&first, Uuid::nil(), Utc::now()).await.unwrap());
    let plans = observe.plans_of(&first).unwrap();
    assert_eq!(
        plans.outcome(&first, Uuid::nil(), Utc::now()).await.unwrap().health,
        Health::Recovered
    );
    let clean = call(&observe, "terraform_drift", json!({"folder": "shop"}))
        .await
        .unwrap();
    assert_eq!(clean["clean"], true, "{clean}");
    let state = call(&observe, "terraform_state", json!({"folder": "shop"}))
        .await
        .unwrap();
    assert_eq!(
        (&state["serial"], &state["resources"]),
        (&json!(1), &json!(["terraform_data.deploy"]))
    );

    // Once more: the state is another by now, and so is what an approval of that plan would stand on.
    let stale = observe.dry_run(&first).await.unwrap_err();
    assert!(
        refused(&stale) && stale.to_string().contains("at serial 1, not at 0"),
        "{stale}"
    );
    let again = approved(&first, &observe.state(&first).await.unwrap());
    let failure = act.execute(again).await.unwrap_err();
    assert!(
        failure.to_string().contains("apply of shop ended with 1"),
        "Terraform itself refuses a stale plan: {failure}"
    );

    // Somebody edits the state: that is drift, and Terraform's plan brings it back.
    let edited = site
        .read("terraform.tfstate")
        .replace("\"replicas\": 3", "\"replicas\": 9");
    site.write("terraform.tfstate", &edited.replace("\"serial\": 1", "\"serial\": 2"));
    let drift = call(&observe, "terraform_drift", json!({"folder": "shop"}))
        .await
        .unwrap();
    assert_eq!(
        (&drift["clean"], &drift["plan"]["change"]),
        (&json!(false), &json!(1)),
        "{drift}"
    );
    assert_eq!(
        site.read("terraform.tfstate").matches("\"serial\": 2").count(),
        1,
        "looking writes nothing"
    );
    run(&["plan", "-input=false", "-no-color", "-out=p2"]);
    let second = action_now(&observe, "p2").await;
    let target = observe.state(&second).await.unwrap();

    // The answer is lost after the deed: whoever looks sees that it happened, and does not do it again.
    let real = site.executable.display();
    let lossy = Site::of_script(&format!(
        "case \"$1\" in apply) {real} \"$@\"; exit 9 ;; *) exec {real} \"$@\" ;; esac"
    ));
    let lost = Site {
        executable: lossy.executable.clone(),
        ..site
    };
    let (_, cut_off) = lost.tools(json!({})).await;
    let failure = cut_off.execute(approved(&second, &target)).await.unwrap_err();
    assert!(matches!(failure, ToolError::MayHaveHappened { .. }), "{failure:?}");
    assert!(cut_off.happened(&second, Uuid::nil(), Utc::now()).await.unwrap());
    let clean = call(&observe, "terraform_drift", json!({"folder": "shop"}))
        .await
        .unwrap();
    assert_eq!(clean["clean"], true, "{clean}");
}
