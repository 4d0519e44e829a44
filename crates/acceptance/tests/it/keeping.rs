//! What is kept: stored secrets, copies of the database, and what becomes of messages when one is put back.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use allclear_acceptance::binary::{Process, Start, path, request, wait};
use allclear_stage::live::Switch;
use allclear_stage::pagerduty::sign;

use super::binary::{Ground, PATIENCE, log_of};

/// Runs a command with something on its standard input.
fn say_with(ground: &Ground, words: &[&str], input: &str) -> String {
    let mut command = Command::new(path().expect("the binary"));
    command.args(words).args(["--data", "data"]).current_dir(ground.folder.path());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    child.stdin.take().expect("an input").write_all(input.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn a_stored_secret_serves_tests_at_once_and_after_a_restart_and_never_shows() {
    const VALUE: &str = "correct-horse-battery";
    let ground = Ground::with_one_test();
    let file = ground.folder.path().join("config/world.yaml");
    let world = std::fs::read_to_string(&file).expect("the world").replace("Bearer {{secret.SYNQ_KEY}}", "Bearer {{secret.STORED_KEY}}");
    std::fs::write(&file, world).expect("written");
    let key = allclear_acceptance::binary::secret("SYNQ_KEY");
    let mut process = ground.start();
    let failing = || ground.say(&["incidents"]).contains("fails in production");
    assert!(wait(PATIENCE, failing), "a test without its key fails: {}", log_of(&process));
    assert!(say_with(&ground, &["secret", "set", "STORED_KEY"], &format!("{key}\n")).contains("is kept"));
    assert!(wait(PATIENCE, || !failing()), "the key is in use at once: {}", log_of(&process));
    say_with(&ground, &["secret", "set", "OTHER"], VALUE);
    let listed = ground.say(&["secret", "list"]);
    assert!(listed.contains("STORED_KEY") && listed.contains("OTHER") && !listed.contains(VALUE), "{listed}");
    assert!(say_with(&ground, &["secret", "set", "no good"], "x").contains("letters, digits and underscores"));
    process.terminate().expect("a clean stop");
    let mut process = ground.start();
    assert!(!wait(std::time::Duration::from_secs(2), failing), "it is there after a restart");
    for file in ["allclear.db", "allclear.db-wal"] {
        let bytes = std::fs::read(ground.data().join(file)).unwrap_or_default();
        assert!(!bytes.windows(VALUE.len()).any(|part| part == VALUE.as_bytes()), "{file}");
    }
    assert!(ground.say(&["secret", "remove", "OTHER"]).contains("forgotten"));
    assert!(ground.say(&["secret", "remove", "OTHER"]).contains("there is no secret"));
    process.terminate().expect("a clean stop");
    std::fs::remove_file(ground.data().join("secret.key")).expect("removed");
    let listed = ground.say(&["secret", "list"]);
    assert!(listed.contains("STORED_KEY") && listed.contains("cannot be opened"), "{listed}");
}

#[test]
fn a_secret_of_blanks_is_missing() {
    let ground = Ground::with_one_test();
    let blank = |names: &[&str]| {
        let of = |(name, value): (String, String)| {
            let value = if names.iter().any(|blank| name == format!("ALLCLEAR_SECRET_{blank}")) { " ".to_owned() } else { value };
            (name, value)
        };
        ground.world.secrets().into_iter().map(of).collect::<Vec<_>>()
    };
    let (config, data) = (ground.folder.path().join("config"), ground.data());
    let secrets = blank(&["SYNQ_KEY", "PAGERDUTY_WEBHOOK"]);
    let start = Start { config: &config, data: &data, listen: ground.addr, crash_at: None, database: None, secrets: secrets.clone() };
    let mut process = Process::spawn(&start).expect("started");
    assert!(process.wait_until_ready(PATIENCE), "{}", log_of(&process));

    // Whoever signs with the empty key, or with a blank, says nothing.
    let hook = format!("/hooks/pagerduty/{}", ground.channel_id("PagerDuty"));
    for key in ["", " "] {
        let signature = format!("x-pagerduty-signature: v1={}", sign(key, "{}"));
        let raw =
            format!("POST {hook} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{signature}\r\ncontent-length: 2\r\n\r\n{{}}", ground.addr);
        let (status, body) = request(ground.addr, &raw).expect("an answer");
        assert_eq!(
            (status, body.as_str()),
            (503, "callbacks cannot be verified: the secret PAGERDUTY_WEBHOOK is not set or is empty\n"),
            "signed with {key:?}"
        );
    }

    // A test does not send it; a value that is stored counts in its place.
    let run = |secrets: Vec<(String, String)>| {
        let mut command = Command::new(path().expect("the binary"));
        command.args(["run", "config/world.yaml"]).current_dir(ground.folder.path()).env_clear().envs(secrets);
        let output = command.output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let without = ground.world.secrets().into_iter().filter(|(name, _)| !name.ends_with("SYNQ_KEY")).collect();
    let same_for_both =
        |(code, text): (Option<i32>, String)| (code, text.lines().find(|line| line.contains("secret.SYNQ_KEY")).map(str::to_owned));
    let missing = same_for_both(run(without));
    assert!(missing.1.is_some(), "{missing:?}");
    assert_eq!(same_for_both(run(secrets)), missing);
    for value in ["", "\n", "  \n"] {
        let said = say_with(&ground, &["secret", "set", "SYNQ_KEY"], value);
        assert!(said.contains("the value of the secret SYNQ_KEY is empty or has only blanks"), "{said}");
    }
    let failing = || ground.say(&["incidents"]).contains("fails in production");
    assert!(wait(PATIENCE, failing), "{}", log_of(&process));
    let key = allclear_acceptance::binary::secret("SYNQ_KEY");
    assert!(say_with(&ground, &["secret", "set", "SYNQ_KEY"], key).contains("is kept"));
    assert!(wait(PATIENCE, || !failing()), "{}", log_of(&process));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_copy_made_while_the_server_runs_is_put_back_and_old_pages_are_listed_not_sent() {
    let ground = Ground::with_one_test();
    let mut process = ground.start();
    // The telephone company takes nothing: pages wait.
    ground.world.phone.player().faults().refuse = 1_000;
    ground.world.second_phone.player().faults().refuse = 1_000;
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || ground.say(&["incidents"]).contains("#1")), "{}", log_of(&process));
    let made = ground.say(&["backup", "copy.db"]);
    assert!(made.contains("copy.db is written and checked") && made.contains("1 incidents"), "{made}");
    assert!(ground.say(&["backup", "copy.db"]).contains("is there already"));
    let mode = |path: &str| std::fs::metadata(ground.folder.path().join(path)).expect("a file").permissions().mode() & 0o077;
    assert_eq!((mode("copy.db"), mode("data")), (0, 0), "keys are for their owner alone");
    let refused = ground.say(&["restore", "copy.db"]);
    assert!(refused.contains("another AllClear is running"), "{refused}");
    process.kill();

    // An hour later, as far as the copy knows.
    let file = rusqlite::Connection::open(ground.folder.path().join("copy.db")).expect("a database");
    let waiting = "UPDATE delivery SET status = 'pending', due_at = due_at - 3600000000 WHERE purpose = 'page'";
    assert!(file.execute(waiting, []).expect("changed") > 0);
    drop(file);
    let restored = ground.say(&["restore", "copy.db"]);
    for part in
        ["copy.db is restored", "is kept as", "Too old to be sent, and not sent:", "page by sms to +…0001", "#1 Live Streaming API fails"]
    {
        assert!(restored.contains(part), "{part:?} is missing in:\n{restored}");
    }
    assert!(ground.say(&["show", "1"]).contains("too old when the database was put back"), "{}", ground.say(&["show", "1"]));
    std::fs::write(ground.folder.path().join("no.db"), b"SQLite format 3\0 and nothing").expect("written");
    let bad = ground.say(&["restore", "no.db"]);
    assert!(bad.contains("no.db"), "{bad}");
    assert!(ground.say(&["incidents"]).contains("#1"), "what was there stays");
    let missing = ground.say(&["restore", "nothing.db"]);
    assert!(missing.contains("nothing.db"), "{missing}");
}
