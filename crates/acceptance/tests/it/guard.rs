//! Files that would remove everything their source owns, or a page, change nothing unless somebody
//! means it.

use std::process::Command;
use std::time::Duration;

use allclear_acceptance::binary::{Process, Start, wait};
use allclear_base::OsRng;
use allclear_domain::catalog::Kind;
use allclear_ops::guard::Why;
use allclear_ops::{Actor, OpsError, config};

use super::binary::{Ground, PATIENCE, log_of};
use super::routes::{Api, api};

const TWO_PAGES: &str = "{ kind: page, name: One }\n---\n{ kind: page, name: Two }\n---\n{ kind: person, name: Ada }\n";

const ONE_PAGE: &str = "{ kind: page, name: One }\n---\n{ kind: person, name: Ada }\n";

const NOBODY: &str = "{ kind: page, name: One }\n---\n{ kind: page, name: Two }\n";

fn documents(text: &str) -> Vec<allclear_domain::catalog::Document> {
    allclear_config::load_str("world.yaml", text, &|_, _| false).into_documents()
}

/// Applies documents as files are; why that is refused.
async fn load(api: &Api, source: &str, text: &str) -> Option<Why> {
    match config::apply(&api.store, &OsRng, &Actor::files(), source, documents(text)).await {
        Ok(_) => None,
        Err(OpsError::WouldRemove(refusal)) => Some(refusal.why),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_load_without_everything_or_without_a_page_changes_nothing_unless_it_is_meant() {
    let api = api();
    assert_eq!(load(&api, "a", "").await, None, "a source that owns nothing loses nothing");
    assert_eq!(load(&api, "a", TWO_PAGES).await, None, "a first load");
    assert_eq!(load(&api, "b", "{ kind: person, name: Ben }").await, None, "the first load of another source");
    let (rev, two) = (api.store.catalog().rev(), api.store.catalog().id_of(Kind::Page, "Two").map(str::to_owned));
    assert_eq!(load(&api, "a", "").await, Some(Why::Everything));
    assert_eq!(load(&api, "a", "{ kind: person, name: Cleo }").await, Some(Why::Everything), "nothing of it would be left");
    assert_eq!(load(&api, "a", ONE_PAGE).await, Some(Why::Page));
    assert_eq!(api.store.catalog().rev(), rev, "nothing was changed");

    let plan = config::plan(&api.store, &OsRng, &Actor::files(), "a", documents(ONE_PAGE)).await.expect("a plan");
    assert_eq!((plan.steps.len(), plan.refused.map(|refusal| refusal.removed)), (1, Some(vec![(Kind::Page, "Two".to_owned())])));
    let renamed = TWO_PAGES.replace("name: Two", "name: Second, renamed_from: Two");
    assert_eq!(load(&api, "a", &renamed).await, None, "a page with another name is the same page");
    assert_eq!(api.store.catalog().id_of(Kind::Page, "Second"), two.as_deref());

    let meant = config::apply_removing(&api.store, &OsRng, &Actor::files(), "a", documents(ONE_PAGE)).await.expect("applied");
    assert_eq!((meant.steps.len(), meant.refused), (1, None));
    assert_eq!(load(&api, "a", NOBODY).await, None, "a person goes, and a page comes");
    assert_eq!(load(&api, "a", "").await, Some(Why::Everything), "it was meant once, not for ever");
    config::apply_removing(&api.store, &OsRng, &Actor::files(), "a", vec![]).await.expect("applied");
    assert_eq!(api.store.catalog().len(), 1, "what the other source owns stays");
}

/// What is expected of an AllClear that is started with these files: whether it becomes ready.
fn start(ground: &Ground) -> (Process, bool) {
    let (config, data, secrets) = (ground.folder.path().join("config"), ground.data(), ground.world.secrets());
    let start = Start { config: &config, data: &data, listen: ground.addr, crash_at: None, database: None, secrets };
    let mut process = Process::spawn(&start).expect("started");
    let ready = process.wait_until_ready(PATIENCE);
    (process, ready)
}

fn hang_up(process: &Process) {
    let sent = Command::new("kill").args(["-HUP", &process.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

#[test]
fn an_emptied_file_deletes_nothing() {
    let ground = Ground::with_one_test();
    let file = ground.folder.path().join("config/world.yaml");
    let world = std::fs::read_to_string(&file).expect("the world");
    std::fs::write(&file, "").expect("emptied");
    let refused = ground.command(&["up", "--config", "config", "--data", "data", "--listen", "127.0.0.1:0"]);
    assert_eq!(refused.status.code(), Some(2), "nothing is on record: {refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("world.yaml:1:1: error: there is no document"), "{refused:?}");
    assert!(!ground.data().exists());

    std::fs::write(&file, &world).expect("written");
    let (mut process, _) = start(&ground);
    let kept = [ground.say(&["export"]), ground.say(&["integrations"])];
    let is_kept = || [ground.say(&["export"]), ground.say(&["integrations"])] == kept;
    std::fs::write(&file, "").expect("emptied");
    let refused = ground.command(&["apply", "config", "--data", "data"]);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    hang_up(&process);
    assert!(wait(PATIENCE, || log_of(&process).contains("the configuration stays as it is")), "{}", log_of(&process));
    assert!(is_kept(), "{}", ground.say(&["export"]));

    // With a comment in it the file is none that was cut off; what it would remove is refused all
    // the same.
    std::fs::write(&file, "# nothing yet\n").expect("written");
    let refused = ground.say(&["apply", "config"]);
    for part in ["everything that the source \"config\" owns: page SYNQ, ", "person Ada", "--source \"config\" --remove"] {
        assert!(refused.contains(part), "{refused}");
    }
    let plan = ground.say(&["plan", "config"]);
    assert!(plan.contains("- page SYNQ\n") && plan.contains("`allclear apply` refuses this: the files would remove"), "{plan}");
    hang_up(&process);
    assert!(wait(PATIENCE, || log_of(&process).contains("would remove everything")), "{}", log_of(&process));
    process.terminate().expect("a clean stop");

    for text in ["# nothing yet\n", "", "kind: person\nnmae: Ada\n"] {
        std::fs::write(&file, text).expect("written");
        let (mut process, ready) = start(&ground);
        assert!(ready, "{text:?}: {}", log_of(&process));
        assert!(log_of(&process).contains("AllClear runs with the configuration on record"), "{}", log_of(&process));
        assert!(is_kept(), "after a start with {text:?}");
        process.terminate().expect("a clean stop");
    }
    std::fs::remove_file(&file).expect("removed");
    let (mut process, ready) = start(&ground);
    assert!(ready && is_kept(), "after a start with an empty folder: {}", log_of(&process));
    process.terminate().expect("a clean stop");

    std::fs::write(&file, "# nothing yet\n").expect("written");
    let removed = ground.say(&["apply", "config", "--remove"]);
    assert!(removed.contains("- page SYNQ\n") && removed.ends_with("changes applied.\n"), "{removed}");
    assert_eq!(ground.say(&["export"]), "");
    assert_eq!(ground.say(&["plan", "config"]), "Nothing changes.\n");
}

#[test]
fn what_was_not_applied_at_a_start_is_said_where_it_is_started() {
    let ground = Ground::with_one_test();
    start(&ground).0.terminate().expect("a clean stop");
    let file = ground.folder.path().join("config/world.yaml");
    let world = std::fs::read_to_string(&file).expect("the world");
    let others = |document: &&str| !["kind: page", "kind: component", "kind: rule"].iter().any(|kind| document.starts_with(kind));
    let others: Vec<&str> = world.split("\n---\n").filter(others).collect();
    std::fs::write(&file, others.join("\n---\n")).expect("written");
    drop(super::app::up(&ground));
    let said = std::fs::read_to_string(ground.folder.path().join("said.txt")).expect("what it said");
    for part in ["NOT APPLIED: the files would remove a status page of the source \"config\": page SYNQ", "on record"] {
        assert!(said.contains(part), "{said}");
    }
    let (mut process, ready) = start(&ground);
    assert!(ready);
    let removed = ground.say(&["apply", "config", "--remove"]);
    assert!(removed.ends_with("- page SYNQ\n- component Live Stream\n- rule Streams -> Live Stream\n3 changes applied.\n"), "{removed}");
    hang_up(&process);
    assert!(wait(Duration::from_secs(20), || log_of(&process).contains("the configuration is applied")), "{}", log_of(&process));
    process.terminate().expect("a clean stop");
}
