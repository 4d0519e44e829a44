//! Files as the truth: plan, apply, export, and a SIGHUP that reads them anew.

use std::process::Command;
use std::time::Duration;

use allclear_acceptance::binary::{Process, wait};

use super::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(20);

const EXTRA: &str = "kind: person\nname: Cleo\ncontact_methods: [{ channel: Twilio, address: \"+4520000003\" }]\n---\nkind: person\nname: Dora\ncontact_methods: [{ channel: Twilio, address: \"+4520000005\" }]\n";

fn write(ground: &Ground, file: &str, text: &str) {
    let path = ground.folder.path().join(file);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(path, text).expect("a file");
}

fn hang_up(process: &Process) {
    let sent = Command::new("kill").args(["-HUP", &process.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

#[test]
fn a_plan_says_what_apply_does_and_a_source_owns_only_its_own() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    assert_eq!(ground.say(&["plan", "config"]), "Nothing changes.\n");
    write(&ground, "extra/people.yaml", EXTRA);
    assert_eq!(ground.say(&["plan", "extra"]), "+ person Cleo\n+ person Dora\n2 changes to be applied.\n");
    assert_eq!(ground.say(&["apply", "extra"]), "+ person Cleo\n+ person Dora\n2 changes applied.\n");
    assert_eq!(ground.say(&["apply", "extra"]), "Nothing changes.\n");
    assert_eq!(ground.say(&["plan", "config"]), "Nothing changes.\n", "another source is not touched");
    write(
        &ground,
        "extra/people.yaml",
        &EXTRA
            .replace("+4520000003", "+4520000004")
            .replace("---\nkind: person\nname: Dora\ncontact_methods: [{ channel: Twilio, address: \"+4520000005\" }]\n", ""),
    );
    assert_eq!(ground.say(&["apply", "extra"]), "~ person Cleo\n- person Dora\n2 changes applied.\n");
    assert!(ground.say(&["export", "--source", "extra"]).contains("+4520000004"));

    write(&ground, "extra/people.yaml", "kind: person\nname: Cleo\nemial: cleo@synq.example\n");
    let refused = ground.command(&["apply", "extra", "--data", "data"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("people.yaml:3:1"), "{refused:?}");
    write(&ground, "extra/people.yaml", "{ kind: service, name: X, escalation_policy: Nothing }\n");
    assert!(ground.say(&["apply", "extra"]).contains("\"Nothing\", which does not exist"));
    assert!(ground.say(&["export", "--source", "extra"]).contains("+4520000004"), "nothing was half applied");
    process.terminate().expect("a clean stop");
}

#[test]
fn what_is_exported_makes_the_same_configuration_elsewhere_and_holds_no_secret() {
    let ground = Ground::new();
    let mut process = ground.start();
    let exported = ground.say(&["export"]);
    process.terminate().expect("a clean stop");
    assert!(exported.contains("kind: test") && exported.contains("{{secret.TWILIO_TOKEN}}") && !exported.contains("canary"), "{exported}");
    assert_eq!(ground.say(&["export"]), exported, "without a server the same is read from the database");
    write(&ground, "copy/all.yaml", &exported);
    std::fs::create_dir(ground.folder.path().join("elsewhere")).expect("a folder");
    let there = |words: &[&str]| {
        let output = ground.command(&[words, &["--data", "elsewhere"]].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(there(&["apply", "copy"]).ends_with("changes applied.\n"));
    assert_eq!(there(&["plan", "copy"]), "Nothing changes.\n");
    assert_eq!(there(&["export"]), exported);
}

#[test]
fn a_sighup_reads_the_files_anew_and_files_with_a_mistake_change_nothing() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    write(&ground, "config/people.yaml", EXTRA);
    hang_up(&process);
    assert!(wait(PATIENCE, || ground.say(&["export"]).contains("name: Dora")), "{}", log_of(&process));
    write(&ground, "config/people.yaml", "kind: person\nname: Cleo\nemial: x\n");
    hang_up(&process);
    assert!(wait(PATIENCE, || log_of(&process).contains("the configuration stays as it is")), "{}", log_of(&process));
    assert!(ground.say(&["export"]).contains("name: Dora"));
    process.terminate().expect("a clean stop");
}
