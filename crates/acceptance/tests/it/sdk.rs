//! The listener behind TLS, and PagerDuty's own client, which speaks nothing else.

use std::process::{Child, Command, Stdio};

use allclear_acceptance::binary::{path, wait};

use super::binary::{Ground, PATIENCE};

struct Up(Child);

impl Drop for Up {
    fn drop(&mut self) {
        let _killed = self.0.kill();
        let _status = self.0.wait();
    }
}

fn up(ground: &Ground, tls: &str) -> Up {
    let mut command = Command::new(path().expect("the binary"));
    command.args(["up", "--config", "config", "--data", "data", "--tls", tls, "--listen", &ground.addr.to_string()]);
    // What AllClear says of itself must begin as the client was told.
    command.args(["--public-url", &format!("https://localhost:{}", ground.addr.port())]);
    command.envs(ground.world.secrets()).current_dir(ground.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
    Up(command.spawn().expect("it runs"))
}

fn elsewhere(ground: &Ground, token: &str, words: &[&str]) -> String {
    let mut command = Command::new(path().expect("the binary"));
    command.args(words).args(["--server", &format!("https://localhost:{}", ground.addr.port())]);
    command.env("ALLCLEAR_TOKEN", token).current_dir(ground.folder.path());
    let output = command.output().expect("it runs");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn pagerdutys_own_client_does_its_everyday_work_over_tls() {
    #[expect(clippy::disallowed_methods, reason = "the test command says where it put the client")]
    let python =
        std::env::var("ALLCLEAR_TEST_PYTHON").expect("ALLCLEAR_TEST_PYTHON names a Python with PagerDuty's client: cargo xtask test");
    let ground = Ground::with_one_test();
    let _up = up(&ground, "local");
    let mut token = String::new();
    let has_token = || {
        // Before that the command would open the database itself, and the server would find it in use.
        if !ground.data().join("allclear.sock").exists() {
            return false;
        }
        let scopes = ["incidents:read", "incidents:write", "config:read", "config:write"].map(|scope| ["--scope", scope]).concat();
        token = ground.say(&[&["token", "create", "sdk"], &scopes[..]].concat()).trim().to_owned();
        !token.contains(' ')
    };
    assert!(wait(PATIENCE, has_token), "it does not start");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/sdk.py");
    let base = format!("https://localhost:{}", ground.addr.port());
    let authority = ground.data().join("tls/ca.pem");
    let done = || {
        let mut command = Command::new(&python);
        command.args([script, &base]).arg(&authority).arg(&token).output().expect("Python runs")
    };
    let output = done();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("everything was done"), "{said}");

    // Our own command line, from elsewhere.
    let refused = elsewhere(&ground, &token, &["incidents"]);
    assert!(refused.contains("--authority"), "an authority that nobody trusts: {refused}");
    let trusting = |token: &str, words: &[&str]| elsewhere(&ground, token, &[words, &["--authority", "data/tls/ca.pem"]].concat());
    assert!(trusting(&token, &["incidents", "--all"]).contains("The disk is full"));
    assert!(trusting("wrong", &["incidents"]).contains("Authentication failed"));
    assert!(trusting(&token, &["token", "create", "more"]).contains("tokens:write"), "a scope that it does not have");
    let plain = allclear_acceptance::binary::get(ground.addr, "/healthz");
    assert_eq!(plain, None, "plain HTTP is not spoken there");
}
