//! The real binary on PostgreSQL: the loop, broken connections, a kill, a second process.

use std::time::Duration;

use allclear_acceptance::binary::{Process, Start, forward, free_addr, get, request, wait};
use allclear_acceptance::postgres::{authority, break_connections, encrypted_connections, fresh_database, open_or_shut, server};
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
fn pages_are_served_while_the_database_is_away_and_everything_else_once_it_is_back() {
    let (ground, url) = (Ground::new(), database());
    ground.start_on(Some(url.clone())).terminate().expect("a clean stop");
    // The same database by a way that is shut at first.
    let server = url.rsplit_once('@').and_then(|(_, host)| host.split_once('/')).map(|(host, _)| host.to_owned()).expect("a host");
    let way = free_addr().expect("a port");
    let shut = url.replace(&server, &way.to_string());
    let (config, data) = (ground.folder.path().join("config"), ground.data());
    let start =
        Start { config: &config, data: &data, listen: ground.addr, crash_at: None, database: Some(shut), secrets: ground.world.secrets() };
    let mut process = Process::spawn(&start).expect("started");
    assert!(shows(&ground, "operational"), "{}", log_of(&process));
    let (_, page) = get(ground.addr, "/status/synq").expect("an answer");
    assert!(page.contains("This page cannot be updated just now: data as of "), "{page}");
    let (ready, said) = get(ground.addr, "/readyz").expect("an answer");
    assert!(ready == 503 && said.contains("the database cannot be reached"), "{ready} {said}");
    assert_eq!(get(ground.addr, "/pagerduty/incidents").map(|(status, _)| status), Some(503));
    forward(way, server.parse().expect("an address")).expect("a way");
    assert!(process.wait_until_ready(PATIENCE), "{}", log_of(&process));
    assert_eq!(get(ground.addr, "/pagerduty/incidents").map(|(status, _)| status), Some(401));
    process.terminate().expect("a clean stop");
}

#[test]
fn while_the_database_is_away_a_page_says_of_when_it_is_and_no_longer_once_it_is_back() {
    let (ground, url) = (Ground::new(), database());
    let mut process = ground.start_on(Some(url.clone()));
    let says_so = || get(ground.addr, "/status/synq").is_some_and(|(status, page)| status == 200 && page.contains("data as of"));
    assert!(shows(&ground, "operational") && !says_so(), "{}", log_of(&process));
    open_or_shut(&url, false).expect("shut");
    assert!(wait(PATIENCE, says_so), "{}", log_of(&process));
    assert!(shows(&ground, "operational"));
    let (status, page) = get(ground.addr, "/sign-in?to=%2Fincidents").expect("an answer");
    assert!(status == 200, "{status} {page}");
    let raw = format!("GET /incidents HTTP/1.1\r\nhost: {}\r\nconnection: close\r\ncookie: allclear=whoever\r\n\r\n", ground.addr);
    let (status, page) = request(ground.addr, &raw).expect("an answer");
    assert!(status == 503 && page.contains("<h1>Not now</h1>"), "{status} {page}");
    open_or_shut(&url, true).expect("open");
    assert!(wait(PATIENCE, || !says_so()), "{}", log_of(&process));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_database_that_was_never_reached_stops_the_start_with_a_reason() {
    let (ground, way) = (Ground::new(), free_addr().expect("a port"));
    let url = format!("postgres://allclear:hunter22@{way}/x");
    let output = ground.command(&["up", "--data", "data", "--listen", "127.0.0.1:0", "--database", &url]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("PostgreSQL does not answer") && !said.contains("hunter22"), "{said}");
}

#[test]
fn tls_to_the_database_is_spoken_where_asked_for_and_the_certificate_is_verified() {
    let (ground, url) = (Ground::new(), database());
    let authority = authority().expect("the authority of the test command's cluster");
    let url = url.replace("127.0.0.1", "localhost");
    let mut process = ground.start_on(Some(format!("{url}?sslmode=require&sslrootcert={authority}")));
    assert!(encrypted_connections(&url).expect("an answer") > 0);
    process.terminate().expect("a clean stop");
    // Without the file the authority is a stranger.
    let output = ground.command(&["up", "--data", "other", "--listen", "127.0.0.1:0", "--database", &format!("{url}?sslmode=require")]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.to_lowercase().contains("certificate"), "{said}");
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
