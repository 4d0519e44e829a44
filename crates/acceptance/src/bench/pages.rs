//! How long a page takes while something else stands still: ten thousand runs, or the provider of another channel.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use allclear_stage::phone::Telephone;
use allclear_stage::slack::Workspace;
use allclear_stage::wire::{Reply, Request};
use allclear_stage::{Answer, Callback, Player, Rates};
use anyhow::bail;
use tokio::net::TcpListener;

use super::crowd::{Ground, LOCAL, QUIET, TESTS, now, serve, test};
use super::{ms, quantile};
use crate::binary::{Process, TWILIO_ACCOUNT, pause, request, secret, wait};

/// How much longer the slowest page of a hundred may take while runs hang.
const MOST_BESIDE_RUNS: f64 = 1.2;

/// How much longer a page may take while a provider hangs or is gone: half of them, and the slowest of twenty. (The slowest of a
/// hundred are a handful that waited for the disk.)
const MOST_BESIDE_A_PROVIDER: f64 = 1.1;

/// People, each with a service; no one of them is written to more often than the providers' pace allows.
const PEOPLE: usize = 100;

/// From an event to the next, for each AllClear that is measured.
const EVERY: Duration = Duration::from_millis(40);

/// A telephone company that notes when the first message about each thing came, and how many each number got.
pub(super) struct Noting {
    phone: Telephone,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub(super) struct Seen {
    first: BTreeMap<u64, Instant>,
    pub(super) per_number: BTreeMap<String, Vec<Instant>>,
}

impl Player for Noting {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        let form: BTreeMap<String, String> = request.form().into_iter().collect();
        if let (Some(to), Some(body)) = (form.get("To"), form.get("Body")) {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.per_number.entry(to.clone()).or_default().push(now());
            for marked in body.split("victim").skip(1) {
                let digits: String = marked.chars().take_while(char::is_ascii_digit).collect();
                if let Ok(n) = digits.parse() {
                    seen.first.entry(n).or_insert_with(now);
                }
            }
        }
        self.phone.handle(request, now_ms)
    }

    fn answered(&mut self, callback: &Callback, answer: &Answer, now_ms: u64) -> Vec<Callback> {
        self.phone.answered(callback, answer, now_ms)
    }
}

pub(super) fn noting() -> (Noting, Arc<Mutex<Seen>>) {
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let mut phone = Telephone::new(TWILIO_ACCOUNT, secret("TWILIO_TOKEN"));
    phone.set_rates(Rates::Lifted);
    (Noting { phone, seen: Arc::clone(&seen) }, seen)
}

/// Takes every connection and never answers.
#[expect(clippy::disallowed_methods, reason = "the measured thing's outside world")]
async fn hang() -> anyhow::Result<SocketAddr> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    let listener = socket.listen(4_096)?;
    let addr = listener.local_addr()?;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    Ok(addr)
}

/// Where nobody listens: a port that was free a moment ago.
async fn nobody() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?)
}

/// People, policies and services; their telephones ring at `phone`, and where there is a `slack`, they are written to there too.
pub(super) fn people(phone: SocketAddr, slack: Option<SocketAddr>, people: usize, services: usize) -> String {
    let mut text = format!(
        "{LOCAL}---\nkind: channel\nname: Twilio\ntwilio: {{ account_sid: ACde300000000000000000000000000000, auth_token: \"{{{{secret.TWILIO_TOKEN}}}}\", from: \"+4570000000\", api: \"http://{phone}\" }}\nallow: [\"127.0.0.1\"]\n"
    );
    if let Some(slack) = slack {
        // Writing to a String cannot fail.
        let _written = write!(
            text,
            "---\nkind: channel\nname: Slack\nslack: {{ token: \"{{{{secret.SLACK_TOKEN}}}}\", signing_secret: \"{{{{secret.SLACK_SIGNING_SECRET}}}}\", api: \"http://{slack}/api\" }}\nallow: [\"127.0.0.1\"]\n"
        );
    }
    for n in 0..people {
        let by_slack = if slack.is_some() { format!(", {{ name: slack, channel: Slack, address: U{n:04} }}") } else { String::new() };
        let _written = write!(
            text,
            "---\nkind: person\nname: Person {n}\ncontact_methods: [{{ name: mobile, channel: Twilio, address: \"+452000{n:04}\" }}{by_slack}]\n---\n{{ kind: escalation_policy, name: Policy {n}, levels: [{{ targets: [Person {n}], escalate_after: 30m }}] }}\n"
        );
    }
    for n in 0..services {
        let _written =
            write!(text, "---\n{{ kind: service, name: Service {n}, escalation_policy: Policy {}, integrations: [Tool] }}\n", n % people);
    }
    text
}

/// Pages for events, first by themselves, then while ten thousand runs hang.
pub(super) fn beside_runs(span: Duration) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let target = runtime.block_on(hang())?;
    let mut measured = Vec::new();
    for hanging in [0, TESTS] {
        let (player, seen) = noting();
        let phone = runtime.block_on(serve(player))?;
        let tests: String = (0..hanging).map(|n| test(n, target, QUIET)).collect();
        let mut side = Side::start(&format!("{}{tests}", people(phone, None, PEOPLE, PEOPLE)), seen)?;
        let hang_now = || std::fs::read_dir(format!("/proc/{}/fd", side.process.id())).map_or(0, Iterator::count);
        if hanging > 0 && !wait(Duration::from_secs(90), || hang_now() > hanging) {
            bail!("{} of {hanging} runs hang", hang_now());
        }
        send_to(std::slice::from_mut(&mut side), span)?;
        measured.push(side.end()?);
    }
    let [alone, beside] = measured.as_slice() else { bail!("one side was not measured") };
    println!("by themselves:           {}", words(alone));
    println!("while {TESTS} runs hang: {}", words(beside));
    let ratio = ms(quantile(beside, 0.99)) / ms(quantile(alone, 0.99)).max(0.001);
    println!("ratio of the p99: {ratio:.2}");
    if ratio > MOST_BESIDE_RUNS { bail!("a ratio of {ratio:.2}, wanted {MOST_BESIDE_RUNS}") } else { Ok(()) }
}

/// Texts for events that go to Slack as well: where Slack is well, where it takes every request and never answers, and where
/// nobody listens; in the same seconds.
pub(super) fn beside_a_provider(span: Duration) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut workspace = Workspace::new(secret("SLACK_TOKEN"), secret("SLACK_SIGNING_SECRET"));
    workspace.set_rates(Rates::Lifted);
    let (well, slow, dead) = runtime.block_on(async { anyhow::Ok((serve(workspace).await?, hang().await?, nobody().await?)) })?;
    let mut sides = Vec::new();
    for slack in [well, slow, dead] {
        let (player, seen) = noting();
        let phone = runtime.block_on(serve(player))?;
        sides.push(Side::start(&people(phone, Some(slack), PEOPLE, PEOPLE), seen)?);
    }
    // What is done once (a first connection, a breaker that opens) is over by then, as in the night that is asked about.
    send_to(&mut sides, span / 4)?;
    sides.iter_mut().for_each(Side::forget);
    send_to(&mut sides, span)?;
    let taken = sides.iter().map(Side::taken_by_slack).collect::<anyhow::Result<Vec<_>>>()?;
    if taken[0] == 0 || taken[1..].iter().any(|taken| *taken > 0) {
        bail!("Slack took {taken:?} messages: one side is not as it is meant to be");
    }
    let times = sides.into_iter().map(Side::end).collect::<anyhow::Result<Vec<_>>>()?;
    let [well, slow, dead] = times.as_slice() else { bail!("one side was not measured") };
    println!("texts, Slack is well:       {}", words(well));
    let mut missed = Vec::new();
    for (name, times) in [("never answers:", slow), ("is not there: ", dead)] {
        let of = |share| ms(quantile(times, share)) / ms(quantile(well, share)).max(0.001);
        let (half, most) = (of(0.5), of(0.95));
        println!("texts, Slack {name} {}", words(times));
        println!("  ratio of the p50 {half:.2}, of the p95 {most:.2}, of the p99 {:.2}", of(0.99));
        if half.max(most) > MOST_BESIDE_A_PROVIDER {
            missed.push(format!("a ratio of {:.2}, wanted {MOST_BESIDE_A_PROVIDER}", half.max(most)));
        }
    }
    if missed.is_empty() { Ok(()) } else { bail!("{}", missed.join("; ")) }
}

fn words(times: &[Duration]) -> String {
    let at = |share| ms(quantile(times, share));
    format!("{} pages, p50 {:.2} ms, p95 {:.2} ms, p99 {:.2} ms", times.len(), at(0.5), at(0.95), at(0.99))
}

/// An AllClear that pages people for events.
struct Side {
    ground: Ground,
    process: Process,
    keys: Vec<String>,
    seen: Arc<Mutex<Seen>>,
    /// When each event was sent.
    sent: Vec<Instant>,
    /// How many of them do not count.
    forgotten: usize,
}

impl Side {
    fn start(world: &str, seen: Arc<Mutex<Seen>>) -> anyhow::Result<Self> {
        let ground = Ground::new(world)?;
        let (process, _) = ground.start()?;
        let keys = ground.integration_keys()?;
        Ok(Self { ground, process, keys, seen, sent: vec![], forgotten: 0 })
    }

    /// Sends an event, for the next person.
    fn send(&mut self) -> anyhow::Result<()> {
        let n = self.sent.len();
        let body = serde_json::json!({ "routing_key": self.keys[n % self.keys.len()], "event_action": "trigger",
            "payload": { "summary": format!("victim{n} is down"), "source": "bench", "severity": "critical" } });
        let (host, body) = (self.ground.listen, body.to_string());
        self.sent.push(now());
        let raw = format!("POST /v2/enqueue HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if request(host, &raw).is_none_or(|(status, _)| status != 202) {
            bail!("an event was not taken");
        }
        Ok(())
    }

    /// Messages that Slack has accepted.
    fn taken_by_slack(&self) -> anyhow::Result<i64> {
        self.ground.count("SELECT count(*) FROM delivery WHERE address LIKE 'U%' AND status IN ('accepted', 'delivered')")
    }

    const fn forget(&mut self) {
        self.forgotten = self.sent.len();
    }

    /// How long it took from each event until the telephone company was asked, in order.
    fn end(mut self) -> anyhow::Result<Vec<Duration>> {
        self.process.kill();
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = self.sent.iter().enumerate().skip(self.forgotten);
        let took = |(n, at): (usize, &Instant)| seen.first.get(&(n as u64)).map(|seen| seen.duration_since(*at));
        let mut times: Vec<Duration> = counted.filter_map(took).collect();
        if times.len() < self.sent.len() - self.forgotten {
            bail!("{} of {} pages came", times.len(), self.sent.len() - self.forgotten);
        }
        times.sort_unstable();
        Ok(times)
    }
}

/// Sends events to all of them in turn, and waits for the last pages.
fn send_to(sides: &mut [Side], span: Duration) -> anyhow::Result<()> {
    let (begun, apart) = (now(), EVERY / u32::try_from(sides.len()).unwrap_or(1));
    while begun.elapsed() < span {
        for side in &mut *sides {
            side.send()?;
            pause(apart);
        }
    }
    pause(Duration::from_secs(3));
    Ok(())
}
