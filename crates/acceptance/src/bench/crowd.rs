//! Many at once: ten thousand tests in one process, a start among a million runs, and the night when two thousand tests fail
//! together.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use allclear_stage::wire::{Reply, Request, Response};
use allclear_stage::{Player, Stage};
use anyhow::{Context, bail};
use rusqlite::Connection;
use tokio::net::TcpListener;

use super::pages::{noting, people};
use super::{ms, process, quantile};
use crate::binary::{Process, Start, fixed_secrets, free_addr, get, pause, wait};

/// Tests in one process, each once a minute.
pub(super) const TESTS: usize = 10_000;

/// Runs that are kept from before.
pub(super) const RUNS: i64 = 1_000_000;

/// Targets.
const MOST_RSS_MB: f64 = 150.0;
const MOST_LATE: Duration = Duration::from_millis(50);
const MOST_START: Duration = Duration::from_secs(1);
const MOST_TO_A_PAGE: Duration = Duration::from_secs(1);
const MOST_MESSAGES: usize = 3;

#[expect(clippy::disallowed_methods, reason = "a measurement")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// An API that answers well, until it is told to fail.
#[derive(Default)]
pub(super) struct Target {
    fails: Arc<AtomicBool>,
}

impl Player for Target {
    fn handle(&mut self, _: &Request, _: u64) -> Reply {
        let status = if self.fails.load(Ordering::Relaxed) { 500 } else { 200 };
        Response::json(status, &serde_json::json!({ "playback_url": "https://play.example/1" })).into()
    }
}

#[expect(clippy::disallowed_methods, reason = "the measured thing's outside world")]
pub(super) async fn serve(player: impl Player) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(Stage::new(player).serve(listener));
    Ok(addr)
}

/// A folder with a configuration, and the processes that are started on it.
pub(super) struct Ground {
    folder: tempfile::TempDir,
    pub(super) listen: SocketAddr,
}

impl Ground {
    pub(super) fn new(world: &str) -> anyhow::Result<Self> {
        let folder = super::folder()?;
        std::fs::create_dir(folder.path().join("config"))?;
        // A file has a bound on what it may hold.
        const DOCUMENTS: usize = 2_000;
        let documents: Vec<&str> = world.split("---\n").collect();
        for (n, part) in documents.chunks(DOCUMENTS).enumerate() {
            std::fs::write(folder.path().join(format!("config/{n}.yaml")), part.join("---\n"))?;
        }
        Ok(Self { folder, listen: free_addr()? })
    }

    pub(super) fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn start(&self) -> anyhow::Result<(Process, Duration)> {
        let (config, data) = (self.folder.path().join("config"), self.data());
        let begun = now();
        let start = Start { config: &config, data: &data, listen: self.listen, crash_at: None, database: None, secrets: fixed_secrets() };
        let mut process = Process::spawn(&start)?;
        while get(self.listen, "/readyz").is_none_or(|(status, _)| status != 200) {
            if begun.elapsed() > Duration::from_secs(120) || process.has_ended() {
                bail!("AllClear does not start: {}", std::fs::read_to_string(&process.log).unwrap_or_default());
            }
            pause(Duration::from_millis(2));
        }
        Ok((process, begun.elapsed()))
    }

    fn database(&self) -> anyhow::Result<Connection> {
        Ok(Connection::open(self.data().join("allclear.db"))?)
    }

    /// A number from the database.
    pub(super) fn count(&self, query: &str) -> anyhow::Result<i64> {
        Ok(self.database()?.query_row(query, [], |row| row.get(0))?)
    }

    /// The keys of all integrations, by service.
    pub(super) fn integration_keys(&self) -> anyhow::Result<Vec<String>> {
        let file = self.database()?;
        let mut statement = file.prepare("SELECT key FROM integration ORDER BY service_id")?;
        Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }
}

pub(super) const LOCAL: &str = "{ kind: location, name: local, allow: [\"127.0.0.1\"] }\n";

pub(super) fn test(n: usize, target: SocketAddr, more: &str) -> String {
    format!(
        "---\nkind: test\nname: victim{n}\n{more}schedules: [{{ every: 1m, environment: production }}]\nsteps:\n  - request: {{ url: \"http://{target}/{n}\", timeout: 60s }}\n    assert: [{{ source: status, comparison: equal_number, value: 200 }}]\n"
    )
}

pub(super) const QUIET: &str = "environments: { production: {} }\n";

/// Ten thousand tests: memory, lateness, start among a million runs, coverage after it.
pub(super) fn many(span: Duration) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let target = runtime.block_on(serve(Target { fails: Arc::default() }))?;
    let tests: String = (0..TESTS).map(|n| test(n, target, QUIET)).collect();
    let ground = Ground::new(&format!("{LOCAL}{tests}"))?;
    let (mut first, took) = ground.start()?;
    println!("first start, {TESTS} new tests: {took:.1?}");
    first.terminate()?;
    remember_runs(&ground, 30)?;
    let (mut process, ordered) = ground.start()?;
    process.kill();
    let (mut process, killed) = ground.start()?;
    println!("start with {TESTS} tests and {RUNS} runs: {:.0} ms; after kill -9: {:.0} ms", ms(ordered), ms(killed));
    let ready_us = wall_us();
    // The runs that a start makes up for are over after one interval; the steady state is measured after that.
    pause(Duration::from_secs(61));
    let covered: i64 =
        ground
            .database()?
            .query_row("SELECT count(DISTINCT test_id) FROM run WHERE started_at > ?1", [ready_us - 2_000_000], |row| row.get(0))?;
    println!("run within an interval of the start: {covered} of {TESTS}");
    let (from_us, used) = (wall_us(), process::cpu(process.id())?);
    pause(span);
    let cpu = process::cpu(process.id())?.saturating_sub(used);
    let rss = rss_mb(process.id())?;
    let file = ground.database()?;
    let mut statement = file.prepare("SELECT started_at - slot FROM run WHERE slot IS NOT NULL AND slot > ?1")?;
    let late = statement.query_map([from_us], |row| row.get::<_, i64>(0))?.collect::<Result<Vec<_>, _>>()?;
    let mut late: Vec<Duration> = late.into_iter().map(|us| Duration::from_micros(us.unsigned_abs())).collect();
    late.sort_unstable();
    let (p50, p99) = (quantile(&late, 0.5), quantile(&late, 0.99));
    println!(
        "{} runs in {span:.0?}: late p50 {:.1} ms, p99 {:.1} ms; CPU {:.0} %",
        late.len(),
        ms(p50),
        ms(p99),
        100.0 * cpu.as_secs_f64() / span.as_secs_f64()
    );
    println!("resident memory: {rss:.0} MB");
    process.terminate()?;
    let mut missed = Vec::new();
    let mut want = |holds: bool, what: String| {
        if !holds {
            missed.push(what)
        }
    };
    want(rss <= MOST_RSS_MB, format!("{rss:.0} MB, wanted {MOST_RSS_MB}"));
    want(p99 <= MOST_LATE, format!("late by {:.0} ms at p99, wanted {:.0}", ms(p99), ms(MOST_LATE)));
    want(ordered.max(killed) <= MOST_START, format!("a start took {:.0} ms", ms(ordered.max(killed))));
    want(covered == i64::try_from(TESTS)?, format!("{covered} tests ran within an interval"));
    if missed.is_empty() { Ok(()) } else { bail!("{}", missed.join("; ")) }
}

#[expect(clippy::disallowed_methods, reason = "a measurement, beside instants of the database")]
pub(super) fn wall_us() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// A million runs, as rows: the oldest so many days ago, the youngest a month later.
pub(super) fn remember_runs(ground: &Ground, oldest_days_ago: i64) -> anyhow::Result<()> {
    let file = ground.database()?;
    let day_us: i64 = 86_400_000_000;
    file.execute(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1), \
         t(id, place) AS (SELECT id, row_number() OVER (ORDER BY id) - 1 FROM resource WHERE kind = 'test'), \
         c(tests) AS (SELECT count(*) FROM t) \
         INSERT INTO run (id, test_id, environment, location, slot, attempt, started_at, finished_at, verdict, judged, teardown, catalog_rev) \
         SELECT 'old-' || n.i, t.id, 'production', 'local', NULL, 1, ?2 + n.i * ?3, ?2 + n.i * ?3 + 20000, 'pass', 'counted', \
         '{\"state\":\"none\"}', 1 FROM n, c JOIN t ON t.place = n.i % c.tests",
        (RUNS, wall_us() - oldest_days_ago * day_us, 29 * day_us / RUNS),
    )?;
    Ok(())
}

/// Resident memory of a process.
fn rss_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kb: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kb / 1_024.0)
}

/// Two thousand tests of two hundred services fail together, for fifty people.
pub(super) fn storm(_: Duration) -> anyhow::Result<()> {
    const FAILING: usize = 2_000;
    const SERVICES: usize = 200;
    const PEOPLE: usize = 50;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let fails = Arc::new(AtomicBool::new(true));
    let (player, seen) = noting();
    let (target, phone) = runtime.block_on(async { anyhow::Ok((serve(Target { fails }).await?, serve(player).await?)) })?;
    let mut world = people(phone, None, PEOPLE, SERVICES);
    for n in 0..FAILING {
        world.push_str(&test(n, target, &format!("environments: {{ production: {{ notify: Service {} }} }}\n", n % SERVICES)));
    }
    // A new test runs at once: all of them fail together.
    let ground = Ground::new(&world)?;
    let (mut process, _) = ground.start()?;
    let open = |file: &Connection| file.query_row("SELECT count(*) FROM incident", [], |row| row.get::<_, i64>(0));
    let file = ground.database()?;
    if !wait(Duration::from_secs(60), || open(&file).is_ok_and(|n| n == FAILING as i64)) {
        bail!("{} incidents opened", open(&file)?);
    }
    pause(Duration::from_secs(65));
    process.terminate()?;
    let spread: i64 = file.query_row("SELECT max(opened_at) - min(opened_at) FROM incident", [], |row| row.get(0))?;
    let mut statement = file.prepare(
        "SELECT min(a.intent_at) - i.opened_at FROM incident i LEFT JOIN delivery d ON d.incident_id = i.id AND d.purpose = 'page' \
         LEFT JOIN attempt a ON a.bundle_id = d.bundle_id GROUP BY i.id, i.opened_at",
    )?;
    let waits = statement.query_map([], |row| row.get::<_, Option<i64>>(0))?.collect::<Result<Vec<_>, _>>()?;
    let untold = waits.iter().filter(|wait| wait.is_none()).count();
    let mut waits: Vec<Duration> = waits.into_iter().flatten().map(|us| Duration::from_micros(us.unsigned_abs())).collect();
    waits.sort_unstable();
    let (p50, p99, most) = (quantile(&waits, 0.5), quantile(&waits, 0.99), waits.last().copied().unwrap_or_default());
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let in_a_minute = |times: &Vec<Instant>| {
        times.first().map_or(0, |first| times.iter().filter(|at| at.duration_since(*first) < Duration::from_secs(60)).count())
    };
    let messages = seen.per_number.values().map(in_a_minute).max().unwrap_or(0);
    println!("{FAILING} incidents on {SERVICES} services opened within {} ms, for {PEOPLE} people", spread / 1_000);
    println!("an attempt that covers the incident began after p50 {:.0} ms, p99 {:.0} ms, at most {:.0} ms", ms(p50), ms(p99), ms(most));
    println!("messages to one person in the first minute: at most {messages} ({} people were told)", seen.per_number.len());
    if untold > 0 || most > MOST_TO_A_PAGE || messages > MOST_MESSAGES || seen.per_number.len() < PEOPLE {
        bail!("{untold} incidents without an attempt, the last attempt after {:.0} ms, {messages} messages", ms(most));
    }
    Ok(())
}
