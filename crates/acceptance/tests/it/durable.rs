//! Every answer to a write follows the sync of its commit: seen in the order of the process's system calls.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use allclear_acceptance::binary::{Process, get, request, wait};
use allclear_stage::live::Switch;

use crate::binary::Ground;

/// A process that ends with the test.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// `strace` on a running process; its notes are complete once it has ended.
struct Notes {
    child: Guest,
    file: std::path::PathBuf,
}

impl Notes {
    fn of(process: u32, folder: &Path) -> Self {
        let file = folder.join("calls");
        let mut command = Command::new("strace");
        command.args([
            "-f",
            "-y",
            "-s",
            "40",
            "-e",
            "trace=fsync,fdatasync,pwrite64,read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg",
            "-o",
        ]);
        command.arg(&file).args(["-p", &process.to_string()]).stderr(Stdio::null());
        let child = Guest(command.spawn().expect("strace is needed: run these tests with `cargo xtask test`"));
        let traced = || {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            status.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
        };
        assert!(wait(Duration::from_secs(10), traced), "strace does not attach");
        Self { child, file }
    }

    fn end(mut self) -> String {
        let ended = wait(Duration::from_secs(10), || matches!(self.child.0.try_wait(), Ok(Some(_))));
        assert!(ended, "strace did not end with its process");
        std::fs::read_to_string(&self.file).expect("the notes")
    }
}

/// Answers to changes with a success status, and how many of them came before what they tell was synced.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    answers: usize,
    too_early: usize,
}

/// Reads the calls in their order: between a request and its answer the log must have been written, and then synced.
/// A call that another thread's interrupts is noted in two halves: a write counts from its begin, a sync from its end.
/// What a provider answers is read, and its callbacks get a 204: neither is an answer to the request.
fn read(notes: &str) -> Seen {
    let (mut seen, mut syncing) = (Seen::default(), BTreeMap::new());
    let (mut asked, mut written, mut synced) = (false, false, false);
    for line in notes.lines() {
        let (thread, call) = line.split_once(' ').unwrap_or(("", line));
        let call = call.trim_start();
        let is_log = call.contains("allclear.db-wal");
        if call.contains("PUT /pagerduty") {
            (asked, written, synced) = (true, false, false);
        } else if call.starts_with("pwrite64") && is_log {
            written = true;
        } else if call.starts_with("fdatasync") || call.starts_with("fsync") {
            if call.contains("unfinished") {
                syncing.insert(thread, is_log && written);
            } else {
                synced |= is_log && written;
            }
        } else if call.contains("sync resumed") {
            synced |= syncing.remove(thread).unwrap_or(false);
        } else if asked && is_sent(call) && call.contains("HTTP/1.1 200") {
            seen.answers += 1;
            seen.too_early += usize::from(!synced);
            asked = false;
        }
    }
    seen
}

fn is_sent(call: &str) -> bool {
    ["write", "writev", "sendto", "sendmsg"].iter().any(|name| call.strip_prefix(name).is_some_and(|rest| rest.starts_with('(')))
}

/// An open incident in a running AllClear, and a token that may change it.
fn trouble() -> (Ground, Process, String) {
    let ground = Ground::new();
    let process = ground.start();
    ground.world.live.player().turn(Switch::WrongJson);
    let open =
        || get(ground.addr, "/status/synq/api/v2/components.json").is_some_and(|(_, body)| body.contains("\"degraded_performance\""));
    assert!(wait(Duration::from_secs(20), open), "no incident opened");
    let token = ground.say(&["token", "create", "t", "--scope", "incidents:write"]).trim().to_owned();
    (ground, process, token)
}

/// Acknowledges and resolves the incident.
fn answer(addr: SocketAddr, token: &str) {
    for status in ["acknowledged", "resolved"] {
        let body = format!("{{\"incident\":{{\"type\":\"incident_reference\",\"status\":\"{status}\"}}}}");
        let raw = format!(
            "PUT /pagerduty/incidents/1 HTTP/1.1\r\nhost: {addr}\r\nauthorization: Token token={token}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let (code, answer) = request(addr, &raw).expect("an answer");
        assert_eq!(code, 200, "{answer}");
    }
}

#[test]
fn every_answer_to_a_write_follows_the_sync_of_its_commit() {
    let (ground, mut process, token) = trouble();
    let notes = Notes::of(process.id(), ground.folder.path());
    answer(ground.addr, &token);
    process.kill();
    assert_eq!(read(&notes.end()), Seen { answers: 2, too_early: 0 });
}

#[test]
fn the_same_look_finds_answers_before_the_sync_where_commits_are_not_synced() {
    let (ground, mut process, token) = trouble();
    process.kill();
    let mut command = Command::new(env!("CARGO_BIN_EXE_allclear-acceptance"));
    command.arg("unsynced").arg("--data").arg(ground.data()).args(["--listen", &ground.addr.to_string()]);
    let mut unsynced = Guest(command.spawn().expect("started"));
    assert!(wait(Duration::from_secs(10), || get(ground.addr, "/healthz").is_some()), "it does not answer");
    let notes = Notes::of(unsynced.0.id(), ground.folder.path());
    answer(ground.addr, &token);
    unsynced.0.kill().expect("killed");
    assert_eq!(read(&notes.end()), Seen { answers: 2, too_early: 2 });
}
