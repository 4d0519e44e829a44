//! Kills the real binary, at every named crash point and at random, while tests flip and providers misbehave; after
//! each kill the database is opened and must make sense, and in the end everything must be as if nothing happened.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allclear_base::{OsRng, Rng, SeededRng, SystemClock, crash};
use allclear_domain::catalog::Kind;
use allclear_stage::live::Switch;
use allclear_stage::wire::Request;
use allclear_stage::{Answer, Player};
use allclear_store::{Backend, Options, Store};
use anyhow::bail;

use crate::binary::{Process, Start, World, free_addr, get, pause, wait};
use crate::invariants;
use crate::tool::{Report, Tool};

/// How long and from which seed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Random kills, besides one at every named point.
    #[arg(long, default_value_t = 30)]
    pub kills: usize,
    /// The seed of the random ones; drawn and printed when absent.
    #[arg(long)]
    pub seed: Option<u64>,
    /// One named point only.
    #[arg(long)]
    pub point: Option<String>,
}

/// Points that only the start passes; they end a start.
const OF_START: &[&str] = &["start.after_migrate", "start.after_catalog", "apply.after_commit"];

/// Runs the harness.
///
/// # Errors
/// The first violation, with the seed.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let seed = args.seed.unwrap_or_else(|| OsRng.next_u64() % 1_000_000);
    println!("crash run with seed {seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let world = runtime.block_on(World::on_sockets())?;
    let folder = tempfile::tempdir()?;
    let harness = Harness::new(folder.path(), world, seed)?;
    let outcome = harness.play(args, &runtime);
    if outcome.is_err() {
        let kept = folder.keep();
        eprintln!("seed {seed}; the data and the log are kept in {}", kept.display());
    }
    outcome
}

struct Harness {
    config: std::path::PathBuf,
    data: std::path::PathBuf,
    addr: std::net::SocketAddr,
    world: World,
    rng: SeededRng,
    tool: Mutex<Tool>,
}

/// What an answer's head says that its body is.
fn content_type(head: &str) -> &str {
    let of = |line: &&str| line.to_ascii_lowercase().starts_with("content-type:");
    head.lines().find(of).and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
}

/// The path of the link in a mail.
pub fn link_in(text: &str) -> Option<String> {
    let at = text.find("/answer/")?;
    text[at..].split_whitespace().next().map(str::to_owned)
}

impl Harness {
    fn new(folder: &Path, world: World, seed: u64) -> anyhow::Result<Self> {
        let (config, data) = (folder.join("config"), folder.join("data"));
        std::fs::create_dir_all(&config)?;
        std::fs::write(config.join("world.yaml"), world.files(include_str!("world.yaml")))?;
        Ok(Self { config, data, addr: free_addr()?, world, rng: SeededRng::new(seed), tool: Mutex::default() })
    }

    fn play(&self, args: &Args, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
        let points: Vec<&str> = match &args.point {
            Some(point) => vec![point],
            None => crash::POINTS.iter().copied().filter(|point| *point != "migrate.statement").collect(),
        };
        let mut reached = 0;
        for (n, point) in points.iter().enumerate() {
            reached += usize::from(self.at_point(point)?);
            self.check_between(runtime, &format!("the point {point}"))?;
            if n == 0 {
                self.learn_channels()?;
            }
        }
        println!("{reached} of {} named points ended the process", points.len());
        if reached < points.len() {
            bail!("a named point was not reached");
        }
        let kills = if args.point.is_some() { 0 } else { args.kills };
        for n in 0..kills {
            self.at_random()?;
            self.check_between(runtime, &format!("random kill {n}"))?;
        }
        println!("{kills} random kills");
        self.calm_down(runtime)
    }

    fn start(&self, crash_at: Option<String>) -> anyhow::Result<Process> {
        Process::spawn(&Start {
            config: &self.config,
            data: &self.data,
            listen: self.addr,
            crash_at,
            database: None,
            secrets: self.world.secrets(),
        })
    }

    /// Ends the process at a named point; whether it was reached.
    fn at_point(&self, point: &str) -> anyhow::Result<bool> {
        const PATIENCE: Duration = Duration::from_secs(25);
        self.upset();
        if point == "apply.after_commit" {
            let mark = self.rng.next_u64();
            std::fs::write(self.config.join("extra.yaml"), format!("kind: location\nname: extra-{mark}\n"))?;
        }
        let passage = if OF_START.contains(&point) { 1 } else { 1 + self.rng.below(3) };
        let mut process = self.start(Some(format!("{point}:{passage}")))?;
        let ended = wait(PATIENCE, || {
            self.drive_towards(point);
            process.has_ended()
        });
        if !ended {
            eprintln!("the point {point} was not reached");
            process.kill();
        }
        Ok(ended)
    }

    fn at_random(&self) -> anyhow::Result<()> {
        self.upset();
        let mut process = self.start(None)?;
        let life = Duration::from_millis(50 + self.rng.below(2_500));
        let _ended = wait(life, || {
            self.stir();
            process.has_ended()
        });
        if process.has_ended() {
            bail!("the process ended by itself");
        }
        process.kill();
        Ok(())
    }

    /// Providers misbehave in ways of their own.
    fn upset(&self) {
        let faults = |rng: &SeededRng| {
            serde_json::json!({
                "drop_answers": rng.below(2), "refuse": rng.below(2), "limit": rng.below(2), "delay_ms": rng.below(40),
                "duplicate": rng.below(2) == 1,
            })
        };
        let set = |faults: serde_json::Value| Request::new("POST", "/_stage/faults", vec![], faults.to_string().into_bytes());
        self.world.phone.player().handle(&set(faults(&self.rng)), 0);
        self.world.second_phone.player().handle(&set(faults(&self.rng)), 0);
        self.world.slack.player().handle(&set(faults(&self.rng)), 0);
        self.world.mail.player().handle(&set(faults(&self.rng)), 0);
        self.world.hook.player().handle(&set(faults(&self.rng)), 0);
        self.world.pagerduty.player().handle(&set(faults(&self.rng)), 0);
        self.world.statuspage.player().handle(&set(faults(&self.rng)), 0);
    }

    /// What leads to a point for certain: timers fire while nobody answers, events and heartbeats come from outside.
    fn drive_towards(&self, point: &str) {
        let often = self.rng.below(20) == 0;
        match point.split_once('.').map_or(point, |(of, _)| of) {
            "timer" => {
                self.world.live.player().turn(Switch::OutOfCapacity);
                if often {
                    self.report();
                }
            }
            "event" if often => self.report(),
            "heartbeat" if often => drop(self.beat(self.rng.below(3) > 0)),
            _ => self.stir(),
        }
    }

    /// The API flips, people answer.
    fn stir(&self) {
        match self.rng.below(60) {
            0 => self.world.live.player().turn(Switch::OutOfCapacity),
            1 => self.world.live.player().turn(Switch::WrongJson),
            2 | 3 => self.world.live.player().turn(Switch::Healthy),
            4 => self.answer("4"),
            5 if self.rng.below(4) == 0 => self.answer("6"),
            6 if self.rng.below(2) == 0 => self.report(),
            7 => self.phone(
                "/_stage/pick_up",
                &serde_json::json!({ "to": "+4520000002", "digits": if self.rng.below(2) == 0 { "4" } else { "" } }),
            ),
            8 => self.press_in_mail(),
            9 => drop(self.beat(self.rng.below(3) > 0)),
            _ => {}
        }
    }

    /// The monitoring tool reports something new, or the end of something.
    fn report(&self) {
        let report = self.tool().next(self.rng.below(2) == 0);
        if self.send(&report) {
            self.tool().taken(&report);
        }
    }

    fn tool(&self) -> MutexGuard<'_, Tool> {
        self.tool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The tool says that it lives, or that it failed; whether it was heard.
    fn beat(&self, well: bool) -> bool {
        let path = self.tool().heartbeat(well);
        crate::binary::get(self.addr, &path).is_some_and(|(status, _)| status == 200)
    }

    /// Sends an event; whether it was taken.
    fn send(&self, report: &Report) -> bool {
        let head = format!("POST /v2/enqueue HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.addr);
        let answer = crate::binary::request(self.addr, &format!("{head}content-length: {}\r\n\r\n{}", report.body.len(), report.body));
        answer.is_some_and(|(status, _)| status == 202)
    }

    /// The monitoring tool reports the end of everything.
    fn end_all_trouble(&self) -> anyhow::Result<()> {
        let ends = self.tool().ends();
        for report in ends {
            if !self.send(&report) {
                bail!("the end of {:?} was not taken", report.dedup_key);
            }
            self.tool().taken(&report);
        }
        if !self.beat(true) {
            bail!("the heartbeat was not heard");
        }
        let (sent, answered) = self.tool().counts();
        println!("{answered} of {sent} triggers were answered");
        Ok(())
    }

    /// Somebody answers the last text, over the telephone's own way out.
    fn answer(&self, digits: &str) {
        let number = format!("+452000000{}", 1 + self.rng.below(2));
        self.phone("/_stage/reply", &serde_json::json!({ "from": number, "body": digits }));
    }

    /// Somebody presses a button behind the last mail's link.
    fn press_in_mail(&self) {
        let link = self.world.mail.player().arrived().iter().rev().find_map(|mail| link_in(&mail.text));
        let Some(path) = link else { return };
        let body = if self.rng.below(3) == 0 { "act=resolve" } else { "act=acknowledge" };
        let head = format!("POST {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", self.addr);
        let form = "content-type: application/x-www-form-urlencoded\r\n";
        let _answered = crate::binary::request(self.addr, &format!("{head}{form}content-length: {}\r\n\r\n{body}", body.len()));
    }

    /// Does something with a telephone, and sends what its company calls back.
    fn phone(&self, path: &str, body: &serde_json::Value) {
        let company = if self.rng.below(4) == 0 { &self.world.second_phone } else { &self.world.phone };
        let reply = company.player().handle(&Request::new("POST", path, vec![], body.to_string().into_bytes()), 0);
        for callback in reply.callbacks {
            let headers: String = callback.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            let path = callback.url.split_once("//").and_then(|(_, rest)| rest.split_once('/')).map_or("", |(_, path)| path);
            let raw = format!(
                "POST /{path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{}",
                self.addr,
                callback.body.len(),
                callback.body
            );
            let answer = match crate::binary::exchange(self.addr, &raw) {
                Some((status, head, body)) => Answer::given(status, content_type(&head), &body),
                None => Answer::None,
            };
            // Nobody sends again here what was not answered: a kill is soon followed by the next answer of somebody.
            let _next = company.player().answered(&callback, &answer, 0);
        }
    }

    fn open(&self) -> anyhow::Result<Store> {
        let options = Options { backend: Backend::sqlite(&self.data), clock: Arc::new(SystemClock::start()), rng: Arc::new(OsRng) };
        Ok(Store::open(&options)?)
    }

    /// The ids that one copies into Slack's and Twilio's consoles.
    fn learn_channels(&self) -> anyhow::Result<()> {
        let mut process = self.start(None)?;
        if !process.wait_until_ready(Duration::from_secs(10)) {
            bail!("it did not become ready");
        }
        process.terminate()?;
        let store = self.open()?;
        let catalog = store.catalog();
        let id = |name: &str| catalog.id_of(Kind::Channel, name).unwrap_or_default().to_owned();
        self.world.call_back_to(self.addr, id);
        self.tool().connect(&store)?;
        store.close();
        Ok(())
    }

    fn check_between(&self, runtime: &tokio::runtime::Runtime, after: &str) -> anyhow::Result<()> {
        if !self.data.join("allclear.db").exists() {
            return Ok(());
        }
        let store = self.open()?;
        let mut wrong = runtime.block_on(invariants::check(&store))?;
        wrong.extend(runtime.block_on(self.tool().clone().lost(&store))?);
        store.close();
        if wrong.is_empty() { Ok(()) } else { bail!("after {after}:\n  {}", wrong.join("\n  ")) }
    }

    /// The world behaves; AllClear must come to rest with nothing lost.
    fn calm_down(&self, runtime: &tokio::runtime::Runtime) -> anyhow::Result<()> {
        let calm = Request::new("POST", "/_stage/faults", vec![], b"{}".to_vec());
        self.world.phone.player().handle(&calm, 0);
        self.world.second_phone.player().handle(&calm, 0);
        self.world.slack.player().handle(&calm, 0);
        self.world.mail.player().handle(&calm, 0);
        self.world.hook.player().handle(&calm, 0);
        self.world.pagerduty.player().handle(&calm, 0);
        self.world.statuspage.player().handle(&calm, 0);
        self.world.live.player().turn(Switch::Healthy);
        let mut process = self.start(None)?;
        if !process.wait_until_ready(Duration::from_secs(10)) {
            bail!("it did not become ready after the last kill");
        }
        self.end_all_trouble()?;
        // Long enough for the threshold of passes, every lane at its pace, the longest back-off and an owed teardown.
        pause(Duration::from_secs(45));
        // What waits for one room goes at that room's pace, which is Slack's: about one a second.
        let is_drained = || get(self.addr, "/readyz").is_some_and(|(_, body)| body.contains("\"waiting\":0"));
        if !wait(Duration::from_secs(240), is_drained) {
            eprintln!("messages still wait four minutes after everything was well");
        }
        process.terminate()?;
        let store = self.open()?;
        let mut wrong = runtime.block_on(invariants::check_calm(&store))?;
        wrong.extend(runtime.block_on(self.tool().clone().lost(&store))?);
        store.close();
        let left = self.world.live.player().stream_count();
        if left > 0 {
            wrong.push(format!("{left} streams were left behind"));
        }
        let mut per_attempt: BTreeMap<String, usize> = BTreeMap::new();
        if self.world.statuspage.player().shows("live1") != Some("operational") {
            wrong.push(format!("the real StatusPage still shows {:?}", self.world.statuspage.player().showed("live1")));
        }
        for (key, kept) in self.world.pagerduty.player().incidents().iter().filter(|(_, kept)| kept.status != "resolved") {
            wrong.push(format!("in the real PagerDuty {key} is still {}", kept.status));
        }
        let texts = [self.world.phone.player().texts(), self.world.second_phone.player().texts()].concat();
        for text in &texts {
            *per_attempt.entry(text.callback.clone().unwrap_or_default()).or_default() += 1;
        }
        wrong.extend(per_attempt.into_iter().filter(|(_, n)| *n > 1).map(|(url, n)| format!("{n} texts for one attempt: {url}")));
        if !wrong.is_empty() {
            bail!("after the last kill:\n  {}", wrong.join("\n  "));
        }
        println!(
            "nothing lost, nothing left behind: {} texts and {} mails were sent",
            texts.len(),
            self.world.mail.player().arrived().len()
        );
        Ok(())
    }
}
