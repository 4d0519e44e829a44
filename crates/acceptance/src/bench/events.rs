//! Events a second over the Events API, each answered after its commit, against Alertmanager, which keeps alerts in memory.

use std::fmt::Write as _;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::{ms, quantile};
use crate::binary::{Process, Start, fixed_secrets, free_addr, get, read_answer, wait};

/// Clients, each with one connection and one event at a time.
const CLIENTS: usize = 64;

/// Services, and integrations of each.
const SERVICES: usize = 100;
const INTEGRATIONS: usize = 10;

/// Targets: Alertmanager's rate on the same cores, times this; on PostgreSQL events a second.
const WANTED_RATIO: f64 = 3.0;
const WANTED_ON_POSTGRES: f64 = 1_000.0;

/// Both sides take turns, so that neither has the machine's better minute; the middle one of each is compared.
const TURNS: u32 = 3;

pub(super) fn measure(span: Duration) -> anyhow::Result<()> {
    let part = span / (2 * TURNS + 2);
    let idle = alertmanager(part, false)?;
    println!("Alertmanager, nobody to tell:   {}", idle.words());
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let one = alertmanager(part, true)?;
        println!("Alertmanager, each alert pages: {}", one.words());
        theirs.push(one.rate);
        let one = on(None, part)?;
        println!("AllClear on SQLite, each pages: {}", one.words());
        ours.push(one.rate);
    }
    let (theirs, ours) = (middle(theirs), middle(ours));
    let ratio = ours / theirs;
    println!(
        "ratio of the middle ones: {ours:.0} / {theirs:.0} = {ratio:.2} (each answer of AllClear after its commit; Alertmanager keeps nothing)"
    );
    let mut missed = Vec::new();
    if ratio < WANTED_RATIO {
        missed.push(format!("a ratio of {ratio:.2}, wanted {WANTED_RATIO}"));
    }
    match crate::postgres::server() {
        Ok(server) => {
            let there = on(Some(crate::postgres::fresh_database(&server)?), part)?;
            println!("AllClear on PostgreSQL:         {}", there.words());
            if there.rate < WANTED_ON_POSTGRES {
                missed.push(format!("{:.0}/s on PostgreSQL, wanted {WANTED_ON_POSTGRES}", there.rate));
            }
        }
        Err(why) => missed.push(format!("not measured on PostgreSQL: {why}")),
    }
    if missed.is_empty() { Ok(()) } else { bail!("{}", missed.join("; ")) }
}

fn middle(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}

/// What a run of the clients gave.
struct Intake {
    rate: f64,
    times: Vec<Duration>,
}

impl Intake {
    fn words(&self) -> String {
        let (p50, p99) = (ms(quantile(&self.times, 0.5)), ms(quantile(&self.times, 0.99)));
        format!("{:>6.0} events/s, p50 {p50:.2} ms, p99 {p99:.2} ms ({} events)", self.rate, self.times.len())
    }
}

fn on(database: Option<String>, span: Duration) -> anyhow::Result<Intake> {
    let folder = super::folder()?;
    let (config, data) = (folder.path().join("config"), folder.path().join("data"));
    std::fs::create_dir(&config)?;
    std::fs::write(config.join("world.yaml"), world())?;
    let listen = free_addr()?;
    let start = Start { config: &config, data: &data, listen, crash_at: None, database: database.clone(), secrets: fixed_secrets() };
    let mut process = Process::spawn(&start)?;
    if !process.wait_until_ready(Duration::from_secs(60)) {
        bail!("AllClear does not start");
    }
    let keys = keys(&data, database.as_deref())?;
    let event = move |n: u64| {
        // Every second one repeats an alert that the same client opened lately.
        let (key, dedup) = (&keys[usize::try_from(n / 2).unwrap_or(0) % keys.len()], n / 2);
        let payload =
            format!(r#"{{"summary":"CPU is high","source":"host-{dedup}","severity":"critical","custom_details":{{"load":0.93}}}}"#);
        let body = format!(r#"{{"routing_key":"{key}","event_action":"trigger","dedup_key":"host-{dedup}/cpu","payload":{payload}}}"#);
        ("/v2/enqueue", body)
    };
    let intake = drive(process.addr, span, 202, event);
    process.terminate()?;
    intake
}

/// A policy that pages: its channel leads to an address where nobody answers, as on the night when everything fails.
fn world() -> String {
    let mut text = "kind: channel\nname: Twilio\ntwilio: { account_sid: AC00000000000000000000000000000001, auth_token: \"{{secret.TWILIO_TOKEN}}\", from: \"+4570000000\", api: \"http://127.0.0.1:9\" }\nallow: [\"127.0.0.1\"]\n".to_owned();
    for n in 0..50 {
        // Writing to a String cannot fail.
        let _written = write!(
            text,
            "---\nkind: person\nname: Person {n}\ncontact_methods: [{{ channel: Twilio, address: \"+452000{n:04}\" }}]\n---\n{{ kind: escalation_policy, name: Policy {n}, levels: [{{ targets: [Person {n}] }}] }}\n"
        );
    }
    for n in 0..SERVICES {
        let names: Vec<String> = (0..INTEGRATIONS).map(|m| format!("Tool {m}")).collect();
        let _written = write!(
            text,
            "---\n{{ kind: service, name: Service {n}, escalation_policy: Policy {}, integrations: [{}] }}\n",
            n % 50,
            names.join(", ")
        );
    }
    text
}

fn keys(data: &std::path::Path, database: Option<&str>) -> anyhow::Result<Vec<String>> {
    const QUERY: &str = "SELECT key FROM integration";
    let keys: Vec<String> = match database {
        Some(url) => postgres::Client::connect(url, postgres::NoTls)?.query(QUERY, &[])?.iter().map(|row| row.get(0)).collect(),
        None => {
            let file = rusqlite::Connection::open(data.join("allclear.db"))?;
            let mut statement = file.prepare(QUERY)?;
            statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
        }
    };
    if keys.len() < SERVICES * INTEGRATIONS {
        bail!("{} keys", keys.len())
    }
    Ok(keys)
}

struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        if let Err(error) = self.0.kill() {
            eprintln!("Alertmanager was gone already: {error}");
        }
        let _status = self.0.wait();
    }
}

/// The same events as alerts: half of them new, half repeats.
fn alertmanager(span: Duration, pages: bool) -> anyhow::Result<Intake> {
    let folder = super::folder()?;
    let file = folder.path().join("alertmanager.yml");
    // Whoever is told is where nobody answers, as for AllClear; each alert is a group of its own, as each is an incident.
    let route = match pages {
        true => {
            "route: { receiver: pager, group_by: ['...'], group_wait: 0s }\nreceivers: [{ name: pager, webhook_configs: [{ url: 'http://127.0.0.1:9/' }] }]\n"
        }
        false => "route: { receiver: nobody }\nreceivers: [{ name: nobody }]\n",
    };
    std::fs::write(&file, route)?;
    let addr = free_addr()?;
    let mut command = Command::new("prometheus-alertmanager");
    command.arg(format!("--config.file={}", file.display())).arg(format!("--web.listen-address={addr}"));
    command.arg(format!("--storage.path={}", folder.path().display())).arg("--cluster.listen-address=");
    let _peer = Peer(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().context("prometheus-alertmanager cannot be started")?);
    if !wait(Duration::from_secs(20), || get(addr, "/-/ready").is_some_and(|(status, _)| status == 200)) {
        bail!("Alertmanager does not answer");
    }
    let alert = |n: u64| {
        let labels = format!(r#"{{"alertname":"cpu","host":"host-{}","severity":"critical"}}"#, n / 2);
        ("/api/v2/alerts", format!(r#"[{{"labels":{labels},"annotations":{{"summary":"CPU is high","load":"0.93"}}}}]"#))
    };
    drive(addr, span, 200, alert)
}

/// Lets every client send one event after the other; each must be answered with `expected`.
#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn drive(
    addr: SocketAddr,
    span: Duration,
    expected: u16,
    event: impl Fn(u64) -> (&'static str, String) + Send + Sync + 'static,
) -> anyhow::Result<Intake> {
    let (event, next, begun) = (Arc::new(event), Arc::new(AtomicU64::new(0)), Instant::now());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (event, next) = (Arc::clone(&event), Arc::clone(&next));
            std::thread::spawn(move || {
                let mut stream = BufReader::new(TcpStream::connect(addr)?);
                stream.get_ref().set_nodelay(true)?;
                let mut times = Vec::new();
                while begun.elapsed() < span {
                    let (path, body) = event(next.fetch_add(1, Ordering::Relaxed));
                    let sent = Instant::now();
                    let head = format!(
                        "POST {path} HTTP/1.1\r\nhost: {addr}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    stream.get_mut().write_all(format!("{head}{body}").as_bytes())?;
                    let status = read_answer(&mut stream)?;
                    if status != expected {
                        bail!("answered {status}");
                    }
                    times.push(sent.elapsed());
                }
                Ok(times)
            })
        })
        .collect();
    let mut times = Vec::new();
    for client in clients {
        times.extend(client.join().map_err(|_| anyhow::anyhow!("a client panicked"))??);
    }
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    times.sort_unstable();
    Ok(Intake { rate, times })
}
