//! The pages of the app with ten thousand tests and five hundred open incidents: the first view of each, with its style and
//! script, while the tests run.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::crowd::{Ground, LOCAL, Target, now, serve, test};
use super::{ms, quantile};
use crate::binary::{exchange, path, request, wait};

const TESTS: usize = 10_000;
const SERVICES: usize = 100;
const INCIDENTS: usize = 500;

/// Targets of a first view: bytes with style and script, and time.
const MOST_BYTES: usize = 200_000;
const MOST_TIME: Duration = Duration::from_millis(300);

/// The target of how long customers see what is no longer so.
const MOST_UNSEEN: Duration = Duration::from_millis(100);

pub(super) fn measure(_: Duration) -> anyhow::Result<()> {
    const VIEWS: usize = 10;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let target = runtime.block_on(serve(Target::default()))?;
    let ground = Ground::new(&world(target))?;
    let (mut process, _) = ground.start()?;
    open_incidents(&ground)?;
    let ran = || ground.count("SELECT count(DISTINCT test_id) FROM run").is_ok_and(|n| usize::try_from(n).is_ok_and(|n| n >= TESTS));
    if !wait(Duration::from_secs(90), ran) {
        bail!("not every test ran");
    }
    let reader = Reader::enter(&ground)?;
    let overview = reader.text("/")?;
    let mut assets = 0;
    for path in links(&overview, "/assets/") {
        assets += reader.view(&path)?.0;
    }
    let mut missed = Vec::new();
    for page in reader.pages()? {
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..VIEWS {
            let (size, took) = reader.view(&page)?;
            bytes = bytes.max(size);
            times.push(took);
        }
        times.sort_unstable();
        let most = times.last().copied().unwrap_or_default();
        let shown: String = page.chars().take(30).collect();
        println!(
            "{shown:30} {:>7} bytes with style and script, p50 {:>6.1} ms, at most {:>6.1} ms",
            bytes + assets,
            ms(quantile(&times, 0.5)),
            ms(most)
        );
        if bytes + assets > MOST_BYTES || most > MOST_TIME {
            missed.push(format!("{page}: {} bytes, {:.0} ms", bytes + assets, ms(most)));
        }
    }
    missed.extend(visible(&reader)?);
    process.terminate()?;
    if missed.is_empty() { Ok(()) } else { bail!("wanted {MOST_BYTES} bytes and {:.0} ms; {}", ms(MOST_TIME), missed.join("; ")) }
}

/// How long after the answer to a change customers see it, on a page of a hundred components; what was missed.
fn visible(reader: &Reader) -> anyhow::Result<Option<String>> {
    const CHANGES: usize = 60;
    let page = reader.first("/pages", "/pages/")?;
    let component = reader.first(&page, "/components/")?;
    let component = component.trim_start_matches("/components/");
    let badge = || reader.text("/status/synq/badge.svg");
    let mut times = Vec::with_capacity(CHANGES);
    for n in 0..CHANGES {
        let (before, status) = (badge()?, if n % 2 == 0 { "major_outage" } else { "operational" });
        reader.post(&page, &format!("act=set&component={component}&status={status}"))?;
        let changed: Instant = now();
        while badge()? == before {
            if changed.elapsed() > Duration::from_secs(5) {
                bail!("a change is not seen");
            }
        }
        times.push(changed.elapsed());
    }
    times.sort_unstable();
    let most = times.last().copied().unwrap_or_default();
    println!(
        "a change is visible after p50 {:.1} ms, p99 {:.1} ms, at most {:.1} ms",
        ms(quantile(&times, 0.5)),
        ms(quantile(&times, 0.99)),
        ms(most)
    );
    Ok((most > MOST_UNSEEN).then(|| format!("a change was seen after {:.0} ms", ms(most))))
}

/// Tests that tell services which tie to the components of a page; one person is paged for all.
fn world(target: SocketAddr) -> String {
    let mut text = format!(
        "{LOCAL}---\nkind: channel\nname: Twilio\ntwilio: {{ account_sid: AC00000000000000000000000000000001, auth_token: \"{{{{secret.TWILIO_TOKEN}}}}\", from: \"+4570000000\", api: \"http://127.0.0.1:9\" }}\nallow: [\"127.0.0.1\"]\n\
         ---\nkind: person\nname: Ada\nemail: ada@synq.example\nrole: owner\ncontact_methods: [{{ channel: Twilio, address: \"+4520000001\" }}]\n\
         ---\n{{ kind: escalation_policy, name: On call, levels: [{{ targets: [Ada] }}] }}\n---\n{{ kind: page, name: SYNQ }}\n"
    );
    for n in 0..SERVICES {
        // Writing to a String cannot fail.
        let _written = write!(
            text,
            "---\n{{ kind: service, name: Service {n}, escalation_policy: On call, integrations: [Tool] }}\n---\n{{ kind: component, name: Part {n}, page: SYNQ }}\n---\n{{ kind: rule, service: Service {n}, component: Part {n} }}\n"
        );
    }
    for n in 0..TESTS {
        text.push_str(&test(n, target, &format!("environments: {{ production: {{ notify: Service {} }} }}\n", n % SERVICES)));
    }
    text
}

fn open_incidents(ground: &Ground) -> anyhow::Result<()> {
    let keys = ground.integration_keys()?;
    for n in 0..INCIDENTS {
        let body = serde_json::json!({ "routing_key": keys[n % keys.len()], "event_action": "trigger",
            "payload": { "summary": format!("Machine {n} does not answer"), "source": "bench", "severity": "critical" } })
        .to_string();
        let host = ground.listen;
        let raw = format!("POST /v2/enqueue HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if request(host, &raw).is_none_or(|(status, _)| status != 202) {
            bail!("an event was not taken");
        }
    }
    Ok(())
}

/// Addresses on a page that begin like this.
fn links(page: &str, start: &str) -> Vec<String> {
    let attributes = page.split(['"', '\'']).filter(|value| value.starts_with(start));
    let mut found: Vec<String> = attributes.map(str::to_owned).collect();
    found.sort();
    found.dedup();
    found
}

/// Somebody who is signed in.
struct Reader {
    addr: SocketAddr,
    cookie: String,
}

impl Reader {
    fn enter(ground: &Ground) -> anyhow::Result<Self> {
        let output = Command::new(path()?).args(["user", "reset", "ada@synq.example", "--data"]).arg(ground.data()).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let link =
            said.split("/enter/").nth(1).and_then(|rest| rest.split_whitespace().next()).with_context(|| format!("no link: {said}"))?;
        let (addr, form) = (ground.listen, "password=correct+horse+battery");
        let raw = format!(
            "POST /enter/{link} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            form.len()
        );
        let (_, head, body) = exchange(addr, &raw).context("no answer")?;
        let set = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).with_context(|| format!("not let in: {body}"))?;
        Ok(Self { addr, cookie: set.split(';').next().unwrap_or_default().to_owned() })
    }

    /// The bytes of a page as browsers get it, packed, and how long it took over a connection of its own.
    fn view(&self, path: &str) -> anyhow::Result<(usize, Duration)> {
        let begun: Instant = now();
        let (head, body) = self.get(path, "accept-encoding: gzip\r\n")?;
        let took = begun.elapsed();
        let said = head.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|size| size.trim().parse().ok());
        Ok((said.unwrap_or(body.len()), took))
    }

    fn text(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.get(path, "")?.1)
    }

    fn get(&self, path: &str, more: &str) -> anyhow::Result<(String, String)> {
        let raw = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{more}cookie: {}\r\n\r\n", self.addr, self.cookie);
        let (status, head, body) = exchange(self.addr, &raw).with_context(|| format!("{path} does not answer"))?;
        if status == 200 { Ok((head, body)) } else { bail!("{path} answers {status}") }
    }

    /// Every kind of page, the lists and the first that stands on each.
    fn pages(&self) -> anyhow::Result<Vec<String>> {
        let (incident, test) = (self.first("/incidents", "/incidents/Q")?, self.first("/tests", "/tests/")?);
        let page = self.first("/pages", "/pages/")?;
        let (run, component, rule) = (self.first(&test, "/runs/")?, self.first(&page, "/components/")?, self.first(&page, "/rules/")?);
        let below = [format!("{test}/edit"), format!("{page}/new-rule")];
        let lists = ["/", "/incidents", "/tests", "/tests?q=victim99", "/pages", "/account", "/new-test", "/sign-in"];
        let public = ["/status/synq", "/status/synq/history"];
        let lists = lists.into_iter().chain(public).map(str::to_owned);
        Ok(lists.chain([incident, test, run, page, component, rule]).chain(below).collect())
    }

    /// The first address on a page that begins like this.
    fn first(&self, on: &str, start: &str) -> anyhow::Result<String> {
        links(&self.text(on)?, start).into_iter().find(|path| path.len() > start.len()).with_context(|| format!("no {start} on {on}"))
    }

    /// Sends a form of ours.
    fn post(&self, path: &str, form: &str) -> anyhow::Result<()> {
        let addr = self.addr;
        let raw = format!(
            "POST {path} HTTP/1.1\r\nhost: {addr}\r\norigin: http://{addr}\r\nconnection: close\r\ncookie: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{form}",
            self.cookie,
            form.len()
        );
        let (status, _, body) = exchange(addr, &raw).with_context(|| format!("{path} does not answer"))?;
        if status == 303 { Ok(()) } else { bail!("{path} answers {status}: {body}") }
    }
}
