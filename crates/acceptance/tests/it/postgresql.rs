//! The real binary on PostgreSQL: the loop, broken connections, a kill, a second process.

use std::time::Duration;

use allclear_acceptance::binary::{get, wait};
use allclear_acceptance::postgres::{break_connections, fresh_database, server};
use allclear_stage::live::Switch;

use crate::binary::{Ground, log_of};

const PATIENCE: Duration = Duration::from_secs(30);

fn database() -> String {
    fresh_database(&server().expect("an address")).expect("a database")
}

fn shows(ground: &Ground, status: &str) -> bool {
    let part = format!("\"status\":\"{status}\"");
    wait(PATIENCE, || get(ground.addr, "/status/synq/api/v2/components.json").is_some_and(|(_, body)| body.contains(&part)))
}

#[test]
fn the_loop_closes_on_postgresql_though_its_connections_break() {
    let (ground, url) = (Ground::new(), database());
    let mut process = ground.start_on(Some(url.clone()));
    assert!(shows(&ground, "operational"));
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(shows(&ground, "degraded_performance"), "{}", log_of(&process));
    assert!(break_connections(&url).expect("broken") > 0);
    ground.world.live.player().turn(Switch::Healthy);
    assert!(shows(&ground, "operational"), "{}", log_of(&process));
    assert!(wait(PATIENCE, || ground.world.phone.player().texts().iter().any(|text| text.body.contains("All clear"))));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_second_process_is_refused_on_postgresql_and_a_killed_one_starts_again_at_once() {
    let (ground, url) = (Ground::new(), database());
    let mut process = ground.start_on(Some(url.clone()));
    let second = ground.command(&["up", "--data", "other", "--listen", "127.0.0.1:0", "--database", &url]);
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.contains("another AllClear is running on"), "{said}");
    assert!(!said.contains(&url), "an address with a password must not be shown: {said}");
    process.kill();
    let mut again = ground.start_on(Some(url));
    again.terminate().expect("a clean stop");
}
