//! CPU of one scheduled run (fresh connection, three assertions, judged and stored), against the exporter's probe.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use allclear_stage::wire::{Reply, Request, Response};
use allclear_stage::{Player, Stage};
use anyhow::bail;
use tokio::net::TcpListener;

use super::peer::Exporter;
use super::process;
use crate::binary::{Process, Start, fixed_secrets, free_addr, pause};

/// Tests, each run once a second.
const TESTS: u32 = 200;

/// Targets of DESIGN: milliseconds, and the share of the exporter's.
const MOST_MS: f64 = 0.2;
const MOST_SHARE: f64 = 0.25;

/// An API that is always well, and counts.
struct Target {
    asked: Arc<AtomicU32>,
}

impl Player for Target {
    fn handle(&mut self, _: &Request, _: u64) -> Reply {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Response::json(
            200,
            &serde_json::json!({ "id": "1", "playback_url": "https://play.example/1", "stream_url": "rtmp://in.example/1" }),
        )
        .into()
    }
}

#[expect(clippy::disallowed_methods, reason = "the measured thing's outside world")]
async fn serve(target: Target) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(Stage::new(target).serve(listener));
    Ok(addr)
}

pub(super) fn measure(span: Duration) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let asked = Arc::new(AtomicU32::new(0));
    let target = runtime.block_on(serve(Target { asked: Arc::clone(&asked) }))?;
    let exporter = Exporter::start()?;
    let folder = super::folder()?;
    let (config, data) = (folder.path().join("config"), folder.path().join("data"));
    std::fs::create_dir(&config)?;
    std::fs::write(config.join("world.yaml"), world(target))?;
    let mut process = Process::spawn(&Start {
        config: &config,
        data: &data,
        listen: free_addr()?,
        crash_at: None,
        database: None,
        secrets: fixed_secrets(),
    })?;
    if !process.wait_until_ready(Duration::from_secs(20)) {
        bail!("AllClear does not start");
    }
    // The first runs warm both up.
    pause(Duration::from_secs(3));
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    let bare = super::bare::cpu_per_exchange(target, TESTS, span / 6)?;
    for _ in 0..3 {
        let (cpu, runs) = (process::cpu(process.id())?, asked.load(Ordering::Relaxed));
        let (peer, probes) = exporter.cpu_per_probe(target, TESTS, span / 6)?;
        let (spent, ran) = (process::cpu(process.id())? - cpu, asked.load(Ordering::Relaxed) - runs - probes);
        ours.push((spent / ran.max(1), ran));
        theirs.push((peer, probes));
    }
    process.terminate()?;
    report(&ours, &theirs, bare)
}

fn report(ours: &[(Duration, u32)], theirs: &[(Duration, u32)], bare: Duration) -> anyhow::Result<()> {
    let middle = |list: &[(Duration, u32)]| {
        let mut times: Vec<Duration> = list.iter().map(|(time, _)| *time).collect();
        times.sort_unstable();
        super::ms(times[times.len() / 2])
    };
    let (us, them) = (middle(ours), middle(theirs));
    let n = |list: &[(Duration, u32)]| list.iter().map(|(_, n)| n).sum::<u32>();
    println!("AllClear:          {us:.3} ms CPU per scheduled run, judged and stored ({} runs)", n(ours));
    println!("blackbox_exporter: {them:.3} ms CPU per probe, nothing stored ({} probes)", n(theirs));
    println!("ratio: {:.2}", us / them);
    println!("a bare GET by the same client at the same rate, nothing judged or stored: {:.3} ms CPU", super::ms(bare));
    if us > MOST_MS || us / them > MOST_SHARE {
        bail!("{us:.3} ms and a ratio of {:.2}, wanted at most {MOST_MS} ms and {MOST_SHARE}", us / them);
    }
    Ok(())
}

fn world(target: SocketAddr) -> String {
    let mut text = "kind: location\nname: local\nallow: [\"127.0.0.1\"]\n".to_owned();
    for n in 0..TESTS {
        // Writing to a String cannot fail.
        let _written = write!(
            text,
            "---\nkind: test\nname: T{n}\nenvironments: {{ default: {{ variables: {{ base: \"http://{target}\" }} }} }}\nschedules: [{{ every: 1s }}]\nsteps:\n  - request: \"GET {{{{base}}}}/probe\"\n    assert:\n      - {{ source: status, comparison: equal_number, value: 200 }}\n      - {{ source: header, property: content-type, comparison: contains, value: json }}\n      - {{ source: json, property: playback_url, comparison: not_empty }}\n"
        );
    }
    text
}
