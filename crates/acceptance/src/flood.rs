//! A flood of events while the process is killed again and again: whatever was answered with 202 is there in the end.

use std::collections::BTreeSet;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use allclear_base::{OsRng, Rng, SeededRng};
use anyhow::bail;

use crate::binary::{Process, Start, fixed_secrets, free_addr, pause, read_answer};

/// How many, and from which seed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events that must be accepted.
    #[arg(long, default_value_t = 100_000)]
    pub events: u64,
    /// The seed of the kills; drawn and printed when absent.
    #[arg(long)]
    pub seed: Option<u64>,
}

const CLIENTS: usize = 32;

const WORLD: &str = "kind: person\nname: Ada\n---\n{ kind: escalation_policy, name: On call, levels: [{ targets: [Ada] }] }\n---\n\
    { kind: service, name: Flood, escalation_policy: On call, integrations: [Tool] }\n";

/// Sends until so many were accepted, killing all the while.
///
/// # Errors
/// An accepted event that is not there, with the seed.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let seed = args.seed.unwrap_or_else(|| OsRng.next_u64() % 1_000_000);
    println!("flood with seed {seed}");
    let rng = SeededRng::new(seed);
    let folder = tempfile::tempdir()?;
    let (config, data, listen) = (folder.path().join("config"), folder.path().join("data"), free_addr()?);
    std::fs::create_dir(&config)?;
    std::fs::write(config.join("world.yaml"), WORLD)?;
    let start = || {
        let start = Start { config: &config, data: &data, listen, crash_at: None, database: None, secrets: fixed_secrets() };
        let mut process = Process::spawn(&start)?;
        if !process.wait_until_ready(Duration::from_secs(30)) {
            bail!("it does not become ready");
        }
        anyhow::Ok(process)
    };
    let mut process = start()?;
    let key: String = {
        let file = rusqlite::Connection::open(data.join("allclear.db"))?;
        file.query_row("SELECT key FROM integration", [], |row| row.get(0))?
    };
    let flood = Arc::new(Flood { listen, key, next: AtomicU64::new(0), over: AtomicBool::new(false), accepted: Mutex::default() });
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let flood = Arc::clone(&flood);
            std::thread::spawn(move || flood.send_for_long())
        })
        .collect();
    let mut kills = 0;
    while flood.count() < args.events {
        pause(Duration::from_millis(500 + rng.below(3_500)));
        process.kill();
        kills += 1;
        process = start()?;
    }
    flood.over.store(true, Ordering::SeqCst);
    for client in clients {
        client.join().map_err(|_| anyhow::anyhow!("a client panicked"))?;
    }
    process.kill();
    // The next start must find everything on disk.
    start()?.terminate()?;
    let file = rusqlite::Connection::open(data.join("allclear.db"))?;
    let mut statement = file.prepare("SELECT dedup_key FROM alert")?;
    let kept = statement.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<BTreeSet<_>, _>>()?;
    let kept: BTreeSet<u64> = kept.iter().filter_map(|key| key.rsplit_once("flood-")?.1.parse().ok()).collect();
    let accepted = flood.accepted.lock().unwrap_or_else(PoisonError::into_inner);
    let lost: Vec<_> = accepted.difference(&kept).take(5).collect();
    println!("{} events were accepted over {kills} kills, {} are there", accepted.len(), kept.len());
    if lost.is_empty() { Ok(()) } else { bail!("seed {seed}: accepted and lost, among others: {lost:?}") }
}

struct Flood {
    listen: SocketAddr,
    key: String,
    next: AtomicU64,
    over: AtomicBool,
    accepted: Mutex<BTreeSet<u64>>,
}

impl Flood {
    fn count(&self) -> u64 {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).len() as u64
    }

    /// One event after the other; a connection that breaks is made anew.
    fn send_for_long(&self) {
        while !self.over.load(Ordering::SeqCst) {
            if self.send_on_a_connection().is_err() {
                pause(Duration::from_millis(20));
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a sender stands outside of the product")]
    fn send_on_a_connection(&self) -> anyhow::Result<()> {
        let mut stream = BufReader::new(TcpStream::connect(self.listen)?);
        stream.get_ref().set_nodelay(true)?;
        stream.get_ref().set_read_timeout(Some(Duration::from_secs(10)))?;
        while !self.over.load(Ordering::SeqCst) {
            let n = self.next.fetch_add(1, Ordering::SeqCst);
            let body = serde_json::json!({ "routing_key": self.key, "event_action": "trigger", "dedup_key": format!("flood-{n}"),
                "payload": { "summary": "CPU is high", "source": "host", "severity": "critical" } });
            let body = body.to_string();
            let head = format!("POST /v2/enqueue HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\n\r\n", self.listen, body.len());
            stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
            if read_answer(&mut stream)? == 202 {
                self.accepted.lock().unwrap_or_else(PoisonError::into_inner).insert(n);
            }
        }
        Ok(())
    }
}
