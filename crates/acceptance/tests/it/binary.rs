//! The real binary on real sockets: start, stop, the command line, hostile clients.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use allclear_acceptance::binary::{Process, Start, World, free_addr, get, path, request, wait};
use allclear_stage::live::Switch;

/// A world, a configuration and a place for data.
pub(super) struct Ground {
    pub(super) world: World,
    pub(super) folder: tempfile::TempDir,
    pub(super) addr: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Ground {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let world = runtime.block_on(World::on_sockets()).expect("a world");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("config")).expect("a folder");
        let files = world.files(include_str!("../../src/world.yaml"));
        std::fs::write(folder.path().join("config/world.yaml"), files).expect("a file");
        Self { world, folder, addr: free_addr().expect("a port"), _runtime: runtime }
    }

    /// A world with one test, so that there is one incident to hear of.
    pub(super) fn with_one_test() -> Self {
        let ground = Self::new();
        let file = ground.folder.path().join("config/world.yaml");
        let world = std::fs::read_to_string(&file).expect("the world");
        let one: Vec<&str> = world.split("\n---\n").filter(|document| !document.contains("name: Second opinion")).collect();
        std::fs::write(file, one.join("\n---\n")).expect("written");
        ground
    }

    pub(super) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn start(&self) -> Process {
        self.start_on(None)
    }

    pub(super) fn start_on(&self, database: Option<String>) -> Process {
        let (config, data) = (self.folder.path().join("config"), self.data());
        let mut process = Process::spawn(&Start {
            config: &config,
            data: &data,
            listen: self.addr,
            crash_at: None,
            database,
            secrets: self.world.secrets(),
        })
        .expect("started");
        assert!(process.wait_until_ready(Duration::from_secs(20)), "not ready:\n{}", log_of(&process));
        process
    }

    pub(super) fn command(&self, words: &[&str]) -> Output {
        let mut command = Command::new(path().expect("the binary"));
        command.args(words).current_dir(self.folder.path());
        command.envs(self.world.secrets());
        command.output().expect("the binary runs")
    }

    /// The id of a channel, as it stands in the addresses that `up` prints.
    pub(super) fn channel_id(&self, name: &str) -> String {
        self.id_of("channel", name)
    }

    /// The id of the first document of a kind whose identity begins like this.
    pub(super) fn id_of(&self, kind: &str, identity: &str) -> String {
        let file = rusqlite::Connection::open(self.data().join("allclear.db")).expect("a database");
        let query = "SELECT id FROM resource WHERE kind = ?1 AND identity LIKE ?2 || '%' ORDER BY identity";
        file.query_row(query, [kind, identity], |row| row.get(0)).expect("a document")
    }

    /// Posts JSON; the status.
    pub(super) fn post(&self, path: &str, body: &serde_json::Value) -> u16 {
        let body = body.to_string();
        let head = format!("POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.addr);
        request(self.addr, &format!("{head}content-length: {}\r\n\r\n{body}", body.len())).map_or(0, |(status, _)| status)
    }

    pub(super) fn say(&self, words: &[&str]) -> String {
        let output = self.command(&[words, &["--data", "data"]].concat());
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}

pub(super) fn log_of(process: &Process) -> String {
    std::fs::read_to_string(&process.log).unwrap_or_default()
}

pub(super) const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn the_loop_closes_and_every_word_of_it_can_be_read_back() {
    let ground = Ground::new();
    let mut process = ground.start();
    let addr = ground.addr;
    let status = |word: &str| get(addr, "/status/synq/api/v2/components.json").is_some_and(|(_, body)| body.contains(word));
    assert!(wait(PATIENCE, || status("\"operational\"")));
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || status("\"degraded_performance\"")), "{}", log_of(&process));
    let (_, summary) = get(addr, "/status/synq/api/v2/summary.json").expect("an answer");
    assert!(summary.contains("Partially Degraded Service") && summary.contains("Live streams cannot be created"), "{summary}");
    assert!(wait(PATIENCE, || !ground.world.phone.player().texts().is_empty()));

    let open = ground.say(&["incidents"]);
    assert!(open.contains("#1") && open.contains("Live Streaming API fails in production"), "{open}");
    let shown = ground.say(&["show", "Live Stream"]);
    for part in [
        "Degraded performance, set by rules",
        "Operational → Degraded performance",
        "playback_url is empty, expected not empty",
        "Ada",
        "level 1 is paged",
        "FAIL  Create a live stream",
    ] {
        assert!(shown.contains(part), "{part:?} is missing in:\n{shown}");
    }
    assert!(ground.say(&["ack", "1"]).contains("acknowledged"));
    assert!(ground.say(&["ack", "1"]).contains("already acknowledged"));
    assert!(ground.say(&["show", "99"]).contains("there is no incident"));
    let token = ground.say(&["token", "create", "reader", "--scope", "incidents:read"]);
    let raw = format!(
        "GET /pagerduty/incidents?statuses%5B%5D=acknowledged HTTP/1.1\r\nhost: {addr}\r\nauthorization: Token token={}\r\nconnection: close\r\n\r\n",
        token.trim()
    );
    let (code, body) = request(addr, &raw).expect("an answer");
    assert_eq!(code, 200);
    assert!(body.contains("\"status\":\"acknowledged\"") && body.contains("\"incident_number\":1"), "{body}");

    ground.world.live.player().turn(Switch::Healthy);
    assert!(wait(PATIENCE, || status("\"operational\"") && !status("\"degraded_performance\"")));
    assert!(wait(PATIENCE, || ground.world.phone.player().texts().iter().any(|text| text.body.contains("All clear"))));
    assert!(wait(PATIENCE, || ground.say(&["incidents"]).contains("All clear")));
    process.terminate().expect("a clean stop");
    // Without a server the same command reads the database itself.
    assert!(ground.say(&["incidents", "--all"]).contains("resolved"));
}

#[test]
fn it_starts_and_stops_in_its_order_and_a_second_one_is_refused() {
    let ground = Ground::new();
    let mut process = ground.start();
    let second = ground.command(&["up", "--data", "data", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&second.stderr).contains("another AllClear is running on"), "{second:?}");
    process.terminate().expect("a clean stop");
    let log = log_of(&process);
    let phases: Vec<&str> = log.lines().filter_map(|line| line.split("phase=\"").nth(1)?.split('"').next()).collect();
    assert_eq!(
        phases,
        [
            "start: open",
            "start: catalog",
            "start: pages, timers, outbox",
            "start: listeners",
            "start: probe",
            "start: ready",
            "stop: not ready",
            "stop: no new runs",
            "stop: finish HTTP",
            "stop: no new claims",
            "stop: drain and unlock",
            "stop: done"
        ],
        "{log}"
    );
    assert!(!ground.data().join("allclear.sock").exists());
}

#[test]
fn told_twice_to_end_it_waits_for_nothing_and_the_next_start_goes_on() {
    let ground = Ground::new();
    let mut process = ground.start();
    ground.world.live.player().turn(Switch::Slow);
    assert!(wait(PATIENCE, || ground.world.live.player().stream_count() > 0), "no run is under way");
    process.tell_to_end().expect("told");
    assert!(wait(PATIENCE, || log_of(&process).contains("stop: no new runs")));
    process.tell_to_end().expect("told again");
    assert!(process.wait_for_end(PATIENCE));
    let log = log_of(&process);
    assert!(log.contains("stop: told again") && !log.contains("stop: no new claims"), "{log}");
    ground.world.live.player().turn(Switch::Healthy);
    let mut process = ground.start();
    assert!(wait(PATIENCE, || ground.world.live.player().stream_count() == 0), "{}", log_of(&process));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_clock_that_was_set_back_an_hour_is_said_and_the_loop_still_closes() {
    let ground = Ground::new();
    ground.start().terminate().expect("a clean stop");
    let hour_us = 3_600_000_000_i64;
    let moved = allclear_acceptance::binary::move_last_commit(&ground.data(), hour_us);
    moved.expect("the mark of the last commit");
    let mut process = ground.start();
    assert!(log_of(&process).contains("the clock of this machine was set back"), "{}", log_of(&process));
    ground.world.live.player().turn(Switch::WrongJson);
    // Nobody answers Ada's page: Ben's proves that what is due in seconds is not due in an hour.
    let paged = |number: &str| ground.world.phone.player().texts().iter().any(|text| text.to == number);
    assert!(wait(PATIENCE, || paged("+4520000001")) && wait(PATIENCE, || paged("+4520000002")), "{}", log_of(&process));
    ground.world.live.player().turn(Switch::Healthy);
    assert!(wait(PATIENCE, || ground.world.phone.player().texts().iter().any(|text| text.body.contains("All clear"))));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_reader_who_goes_early_is_no_error() {
    let mut child = Command::new(path().expect("the binary"))
        .arg("schema")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("started");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("it ends");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn a_test_of_an_internal_address_that_nobody_allowed_says_in_the_log_what_to_add() {
    let ground = Ground::with_one_test();
    let file = ground.folder.path().join("config/world.yaml");
    let world = std::fs::read_to_string(&file).expect("the world");
    let others: Vec<&str> = world.split("\n---\n").filter(|document| !document.starts_with("kind: location")).collect();
    std::fs::write(file, others.join("\n---\n")).expect("written");
    let process = ground.start();
    assert!(wait(PATIENCE, || log_of(&process).contains("cannot run as it is configured")), "{}", log_of(&process));
    let log = log_of(&process);
    assert!(log.contains("kind: location") && log.contains("allow: [\"127.0.0.1\"]"), "{log}");
}

#[test]
fn it_is_ready_within_a_second_also_after_a_kill() {
    let ground = Ground::new();
    let mut process = ground.start();
    for _ in 0..3 {
        process.kill();
        process = ground.start();
        let log = log_of(&process);
        let times: Vec<_> =
            log.lines().filter_map(|line| Some((line.split_once(' ')?.0, line.split("phase=\"").nth(1)?.split('"').next()?))).collect();
        let last = |phase: &str| {
            times.iter().rfind(|(_, p)| *p == phase).map(|(at, _)| at.parse::<allclear_domain::Timestamp>().expect("an instant"))
        };
        let (open, ready) = (last("start: open").expect("an open"), last("start: ready").expect("a start"));
        assert!(ready.since(open) < allclear_domain::Span::from_secs(1), "{log}");
    }
    process.terminate().expect("a clean stop");
}

#[test]
fn a_port_in_use_is_said_and_nothing_is_started() {
    let ground = Ground::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let addr = taken.local_addr().expect("an address").to_string();
    let output = ground.command(&["up", "--data", "data", "--listen", &addr]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("cannot listen on {addr}")), "{output:?}");
}

#[test]
fn hostile_requests_get_an_answer_or_an_end_and_the_next_one_is_served() {
    let ground = Ground::new();
    let _process = ground.start();
    let addr = ground.addr;
    let long = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "a".repeat(100_000));
    let many: String = (0..2_000).map(|n| format!("x-{n}: y\r\n")).collect();
    let many = format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    for raw in ["\0\0\0\0", "GET / HTTP/9.9\r\n\r\n", "GET /%ff%fe HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", &long, &many] {
        let _answer = request(addr, raw);
        assert_eq!(get(addr, "/healthz").map(|(code, _)| code), Some(200), "after {:?}", &raw[..raw.len().min(40)]);
    }
    let (code, _) = request(addr, &format!("HEAD /status/synq/api/v2/status.json HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n"))
        .expect("an answer");
    assert_eq!(code, 200);
    assert_eq!(get(addr, "/status/nobody/api/v2/status.json").map(|(code, _)| code), Some(404));
}

#[test]
fn run_says_what_failed_writes_its_reports_and_answers_by_its_exit_code() {
    let ground = Ground::new();
    let config = ground.folder.path().join("config/world.yaml");
    let file = config.to_str().expect("a path");
    let passed = ground.command(&["run", file, "--report", "junit=r.xml", "--report", "json=r.json"]);
    assert_eq!(passed.status.code(), Some(0), "{passed:?}");
    assert!(
        std::fs::read_to_string(ground.folder.path().join("r.xml")).expect("a report").contains("<testsuites tests=\"2\" failures=\"0\">")
    );
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(ground.folder.path().join("r.json")).expect("a report")).expect("JSON");
    assert_eq!(json[0]["verdict"]["result"], "passed");
    ground.world.live.player().turn(Switch::WrongJson);
    let failed = ground.command(&["run", file]);
    assert_eq!(failed.status.code(), Some(1));
    let shown = String::from_utf8_lossy(&failed.stdout).into_owned();
    assert!(shown.contains("FAIL playback_url is empty, expected not empty") && shown.contains("0 passed, 2 failed"), "{shown}");
    assert_eq!(ground.world.live.player().stream_count(), 0, "a failed run cleans up too");
    for (words, part) in [
        (vec!["run", file, "--env", "staging"], "has no environment \"staging\""),
        (vec!["run", "nowhere.yaml"], "No such file"),
        (vec!["run", file, "--report", "xml=x"], "write junit=FILE or json=FILE"),
    ] {
        let output = ground.command(&words);
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(part), "{words:?}: {output:?}");
    }
}

#[test]
fn the_example_of_the_story_is_valid_and_short() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/live-streaming");
    let output = Command::new(path().expect("the binary")).arg("check").arg(&folder).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: usize = std::fs::read_dir(&folder)
        .expect("the example")
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok())
        .map(|text| text.lines().count())
        .sum();
    assert!(lines <= 80, "{lines} lines");
}
