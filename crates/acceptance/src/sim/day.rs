//! One seeded day and a little more.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allclear_api::{App, AppParts, PublicPages, Ready};
use allclear_base::clock::VirtualClock;
use allclear_base::runtime::Health;
use allclear_base::{Clock, Rng, Runtime, Secret, Secrets, SeededRng, Vault};
use allclear_channels::{Channels, Site};
use allclear_domain::catalog::Kind;
use allclear_domain::incident::Urgency;
use allclear_egress::Client;
use allclear_engine::{Engine, Parts, Published};
use allclear_ops::Actor;
use allclear_ops::wish::Wish;
use allclear_probe::{DebtJournal, Runner};
use allclear_stage::live::{LiveStreaming, Switch};
use allclear_stage::mailbox::Mailbox;
use allclear_stage::pagerduty::{Kept, PagerDuty};
use allclear_stage::phone::Telephone;
use allclear_stage::slack::Workspace;
use allclear_stage::statuspage::StatusPage;
use allclear_stage::{Answer, Callback, Request, Stage};
use allclear_store::evidence::Evidence;
use allclear_store::record::{incident, run};
use allclear_store::{Backend, Options, Store, StoreError};
use anyhow::Context;
use tower::ServiceExt;

use super::executor::Executor;
use super::far;
use super::pipe::{PipeConnect, Players, Underway, Waiting};
use crate::binary::{SECOND_TWILIO_ACCOUNT, SECRETS, TWILIO_ACCOUNT, program, secret};
use crate::crash::link_in;
use crate::idle::NoRuns;
use crate::invariants;
use crate::tool::{Report, Tool};

/// 2026-03-28T12:00:00Z: the clocks change during the day that follows.
const START_US: i64 = 1_774_699_200_000_000;

const MINUTE_US: i64 = 60_000_000;

/// The wild part of a day.
const WILD_MINUTES: i64 = 24 * 60;

/// The calm part: the longest interval, thresholds of two, and back-off.
const CALM_MINUTES: i64 = 4 * 60;

/// Tests in a day.
const TESTS: u64 = 20;

/// Kills in a day, at least.
const KILLS: usize = 12;

/// What a day was made of.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Totals {
    runs: i64,
    incidents: i64,
    texts: usize,
    kills: usize,
    faults: usize,
}

impl Totals {
    pub(super) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.incidents += other.incidents;
        self.texts += other.texts;
        self.kills += other.kills;
        self.faults += other.faults;
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, incidents, texts, kills, faults } = self;
        write!(f, "{runs} runs, {incidents} incidents, {texts} texts, {kills} kills, {faults} faults; no violation")
    }
}

/// What came of a day.
pub(super) struct Played {
    pub(super) violation: Option<String>,
    pub(super) totals: Totals,
}

/// Plays the day of a seed.
///
/// # Errors
/// A day that cannot be set up.
pub(super) fn play(seed: u64, database: Option<&str>, planted: Option<&str>) -> anyhow::Result<Played> {
    let mut day = Day::new(seed, database, planted)?;
    let violation = day.run()?;
    let totals = day.totals()?;
    Ok(Played { violation, totals })
}

struct Day {
    rng: SeededRng,
    clock: VirtualClock,
    executor: Executor,
    store: Store,
    evidence: Evidence,
    players: Players,
    tool: Arc<Mutex<Tool>>,
    /// Whether the second location is cut off from its target.
    cut: Arc<AtomicBool>,
    life: Option<Life>,
    folder: tempfile::TempDir,
    config: String,
    kills: usize,
    faults: usize,
}

/// One life of the process.
struct Life {
    engine: Arc<Engine>,
    router: allclear_api::Front,
}

impl Day {
    fn new(seed: u64, database: Option<&str>, planted: Option<&str>) -> anyhow::Result<Self> {
        let rng = SeededRng::new(seed);
        let clock = VirtualClock::at(START_US);
        // A folder in memory where there is one: the simulation syncs thousands of times a day.
        let memory = std::path::Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir()? };
        let backend = match database {
            Some(server) => Backend::Postgres { url: crate::postgres::fresh_database(server)?, folder: folder.path().to_owned() },
            None => Backend::sqlite(folder.path()),
        };
        let options = Options { backend, clock: Arc::new(clock.clone()), rng: Arc::new(rng.clone()) };
        let store = Store::inline(&options, planted)?;
        let players = Players {
            live: Arc::new(Mutex::new(LiveStreaming::new(secret("SYNQ_KEY"), 10_000))),
            phone: Arc::new(Mutex::new(Telephone::new(TWILIO_ACCOUNT, secret("TWILIO_TOKEN")))),
            second_phone: Arc::new(Mutex::new(Telephone::new(SECOND_TWILIO_ACCOUNT, secret("SECOND_TWILIO_TOKEN")))),
            slack: Arc::new(Mutex::new(Workspace::new(secret("SLACK_TOKEN"), secret("SLACK_SIGNING_SECRET")))),
            mail: Stage::new(Mailbox::new("allclear", secret("MAIL_PASSWORD"))),
            hook: Arc::new(Mutex::new(program())),
            pagerduty: Arc::new(Mutex::new(PagerDuty::new(secret("PAGERDUTY_KEY"), secret("PAGERDUTY_WEBHOOK")))),
            statuspage: Arc::new(Mutex::new(StatusPage::new(secret("STATUSPAGE_KEY"), "page1", &["live1"]))),
            callbacks: Arc::default(),
        };
        let evidence = Evidence::open(folder.path())?;
        let config = configuration(&rng);
        let executor = Executor::new(rng.clone());
        Ok(Self {
            rng,
            clock,
            executor,
            store,
            evidence,
            players,
            tool: Arc::default(),
            cut: Arc::default(),
            life: None,
            folder,
            config,
            kills: 0,
            faults: 0,
        })
    }

    fn runtime(&self) -> Runtime {
        Runtime { clock: Arc::new(self.clock.clone()), rng: Arc::new(self.rng.clone()), spawner: Arc::new(self.executor.clone()) }
    }

    /// Starts the process anew on what is on disk.
    fn start(&mut self) -> anyhow::Result<()> {
        let runtime = self.runtime();
        let secrets = Arc::new(Secrets::new(SECRETS.iter().map(|(name, value)| ((*name).to_owned(), Secret::new(*value)))));
        let vault = Vault::new(&[7; 32], Arc::clone(&secrets)).context("no vault")?;
        let vault = Arc::new(vault);
        let client = |cut: Arc<AtomicBool>| {
            let connect = PipeConnect { players: self.players.clone(), runtime: runtime.clone(), cut };
            Client::new(Arc::new(connect), Arc::clone(&runtime.clock))
        };
        let far_journal = DebtJournal::open(&self.folder.path().join("far"))?;
        let far = Runner::new(client(Arc::clone(&self.cut)), runtime.clone(), Arc::clone(&secrets), Some(Arc::new(far_journal)));
        let client = client(Arc::default());
        let channels = Channels::new(client.clone(), Arc::clone(&secrets), Site::new("http://allclear.sim", Some("http://allclear.sim")));
        let journal = DebtJournal::open(&self.folder.path().join("probe"))?;
        let runner = Runner::new(client, runtime.clone(), secrets, Some(Arc::new(journal)));
        let pages = PublicPages::without_html("http://allclear.sim");
        let (shown, health, clock) = (pages.clone(), Arc::new(Health::default()), self.clock.clone());
        let parts = Parts {
            pager: runtime.clone(),
            rest: runtime.clone(),
            store: self.store.clone(),
            evidence: self.evidence.clone(),
            channels: channels.clone(),
            runner,
            health: Arc::clone(&health),
            on_publish: Arc::new(move |published| {
                if let Published::Pages(pages) = published {
                    shown.replace(pages, allclear_domain::Timestamp(clock.now_us()));
                }
            }),
            look_anyway: Duration::from_secs(300),
            audit_every: Duration::from_secs(600),
        };
        let app = App::new(AppParts {
            store: self.store.clone(),
            evidence: self.evidence.clone(),
            rng: Arc::new(self.rng.clone()),
            pager: runtime.clone(),
            channels,
            vault,
            pages,
            health,
            ready: Ready::default(),
            local: false,
        });
        let (store, rng, config) = (self.store.clone(), self.rng.clone(), self.config.clone());
        let started = self.executor.finish(async move {
            let loaded = allclear_config::load_str("sim.yaml", &config, &|_, _| false);
            let documents = loaded.into_documents();
            allclear_ops::config::apply(&store, &rng, &Actor::files(), "sim", documents).await?;
            let engine = Engine::start(parts.clone()).await?;
            engine.start_probe().await?;
            far::start(&parts, far);
            Ok::<_, allclear_ops::OpsError>(engine)
        });
        let engine = Arc::new(started.context("the start waits for something")??);
        let pages = allclear_web::router(allclear_web::Web::new(
            self.store.clone(),
            self.evidence.clone(),
            self.runtime(),
            Arc::default(),
            Arc::new(NoRuns),
            "http://allclear.sim",
        ));
        self.life = Some(Life { engine, router: allclear_api::router(app, pages) });
        self.connect_callbacks();
        self.tool().connect(&self.store)
    }

    fn connect_callbacks(&self) {
        let catalog = self.store.catalog();
        let id = |name: &str| catalog.id_of(Kind::Channel, name).unwrap_or_default().to_owned();
        let base = "http://allclear.sim/hooks";
        self.players.slack.lock().unwrap_or_else(PoisonError::into_inner).set_webhook(&format!("{base}/slack/{}", id("Slack")));
        let twilio = |name: &str| format!("{base}/twilio/{}/sms", id(name));
        let pagerduty = format!("{base}/pagerduty/{}", id("PagerDuty"));
        self.players.pagerduty.lock().unwrap_or_else(PoisonError::into_inner).set_webhook(&pagerduty);
        self.players.phone.lock().unwrap_or_else(PoisonError::into_inner).set_webhook(&twilio("Twilio"));
        self.players.second_phone.lock().unwrap_or_else(PoisonError::into_inner).set_webhook(&twilio("Second Twilio"));
    }

    fn tool(&self) -> MutexGuard<'_, Tool> {
        self.tool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands a report of the monitoring tool to the API; whether it was taken is known once it answers.
    fn send(&self, report: &Report) {
        let note = serde_json::json!([report.action, report.dedup_key]).to_string();
        let url = "http://allclear.sim/v2/enqueue".into();
        self.ask("tool", Callback { url, body: report.body.clone(), note, ..Callback::default() });
    }

    /// The tool says that it lives, or that it failed.
    fn beat(&self, well: bool) {
        let url = format!("http://allclear.sim{}", self.tool().heartbeat(well));
        self.ask("heartbeat", Callback { url, ..Callback::default() });
    }

    /// Somebody presses a button behind a mail's link.
    fn press_in_mail(&self) {
        let link = self.players.mail.player().arrived().iter().rev().find_map(|mail| link_in(&mail.text));
        let Some(path) = link else { return };
        let body = if self.rng.below(3) == 0 { "act=resolve" } else { "act=acknowledge" };
        let headers = vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
        let url = format!("http://allclear.sim{path}");
        self.ask("mail", Callback { url, headers, body: body.into(), ..Callback::default() });
    }

    /// Somebody asks AllClear at once.
    fn ask(&self, who: &'static str, callback: Callback) {
        self.players.send_out(who, vec![callback], self.now_ms());
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.clock.now_us() / 1_000).unwrap_or(0)
    }

    fn kill(&mut self) {
        self.store.fail_until(allclear_domain::Timestamp(0));
        self.executor.kill();
        self.life = None;
        self.kills += 1;
    }

    /// Plays the day; the first violation, if there is one.
    fn run(&mut self) -> anyhow::Result<Option<String>> {
        self.start()?;
        let end = START_US + WILD_MINUTES * MINUTE_US;
        let mut next_event = START_US;
        while self.clock.now_us() < end {
            self.advance(next_event.min(end));
            if self.clock.now_us() >= next_event {
                self.event()?;
                next_event = self.clock.now_us() + i64::try_from(1 + self.rng.below(25 * 60)).unwrap_or(60) * 1_000_000;
                if let Some(violation) = self.violation("during the day", false)? {
                    return Ok(Some(violation));
                }
            }
        }
        while self.kills < KILLS {
            self.kill();
            self.start()?;
        }
        self.calm();
        self.advance(end + CALM_MINUTES * MINUTE_US);
        let left = self.players.live.lock().unwrap_or_else(PoisonError::into_inner).stream_count();
        if left > 0 {
            return Ok(Some(format!("in the end:\n  {left} streams were left behind")));
        }
        let shown = self.players.statuspage.lock().unwrap_or_else(PoisonError::into_inner).showed("live1");
        if shown.last().map(String::as_str) != Some("operational") {
            return Ok(Some(format!("in the end:\n  the real StatusPage shows {shown:?}")));
        }
        let beats = self.players.hook.lock().unwrap_or_else(PoisonError::into_inner);
        let last_ms = beats.received().iter().rev().find(|one| one.path == "/heartbeat").map_or(0, |one| one.at_ms);
        drop(beats);
        if i64::try_from(last_ms).unwrap_or(0) * 1_000 < self.clock.now_us() - 30 * MINUTE_US {
            return Ok(Some("in the end:\n  the heartbeat stopped".to_owned()));
        }
        if let Some(echoed) = self.echo() {
            return Ok(Some(format!("in the end:\n  {echoed}")));
        }
        if let Some(violation) = self.violation("in the end", true)? {
            return Ok(Some(violation));
        }
        // A process that was killed does not know how fast it was: that alone is forgiven.
        let broken: Vec<String> = self.players.violations().into_iter().filter(|one| !one.contains("too fast")).collect();
        if !broken.is_empty() {
            return Ok(Some(format!("in the end:\n  rules of providers were broken:\n  {}", kinds_of(&broken).join("\n  "))));
        }
        Ok(None)
    }

    /// What the real PagerDuty still has open, or was told more often than anything happened: an echo that did not end.
    fn echo(&self) -> Option<String> {
        const MOST_EVENTS: usize = 2_000;
        let pagerduty = self.players.pagerduty.lock().unwrap_or_else(PoisonError::into_inner);
        let odd = |kept: &Kept| kept.status != "resolved" || kept.events.len() > MOST_EVENTS;
        let (key, kept) = pagerduty.incidents().iter().find(|(_, kept)| odd(kept))?;
        Some(format!("in the real PagerDuty {key} is {} after {} events", kept.status, kept.events.len()))
    }

    /// Lets time pass until `to`, one wake-up after the other.
    fn advance(&self, to: i64) {
        loop {
            self.executor.run_until_stalled();
            if self.deliver_callbacks() {
                continue;
            }
            let next = [self.clock.next_wake_us(), self.players.next_due_us()].into_iter().flatten().min();
            match next.filter(|at| *at <= to) {
                Some(at) => self.clock.advance_to(at),
                None => break,
            }
        }
        self.clock.advance_to(to);
        self.executor.run_until_stalled();
    }

    /// Hands the players' callbacks, as they fall due, to the API's handlers; whether there were any.
    fn deliver_callbacks(&self) -> bool {
        let Some(life) = &self.life else { return self.pass_unheard() };
        let due = self.players.due(self.clock.now_us());
        let any = !due.is_empty();
        for Waiting { player, callback, .. } in due {
            if callback.is_wake() {
                self.players.answered(player, &callback, &Answer::Due, self.now_ms());
                continue;
            }
            let path = callback.url.trim_start_matches("http://allclear.sim").to_owned();
            let mut request = hyper::Request::post(path).header("host", "allclear.sim");
            for (name, value) in &callback.headers {
                request = request.header(name, value);
            }
            let Ok(request) = request.body(axum::body::Body::from(callback.body.clone())) else { continue };
            let work = deliver(
                self.players.clone(),
                self.clock.clone(),
                Arc::clone(&self.tool),
                player,
                callback,
                life.router.clone().oneshot(request),
            );
            allclear_base::Spawn::spawn(&self.executor, Box::pin(work));
        }
        any
    }

    /// What falls due while nobody answers: the players hear nothing, and go on; whether there was anything.
    fn pass_unheard(&self) -> bool {
        let mut any = false;
        loop {
            let due = self.players.due(self.clock.now_us());
            if due.is_empty() {
                return any;
            }
            any = true;
            for Waiting { player, callback, due_us } in due {
                let answer = if callback.is_wake() { Answer::Due } else { Answer::None };
                let at_ms = u64::try_from(due_us / 1_000).unwrap_or(0);
                self.players.answered(player, &callback, &answer, at_ms);
            }
        }
    }

    /// Something happens.
    fn event(&mut self) -> anyhow::Result<()> {
        let now_ms = u64::try_from(self.clock.now_us() / 1_000).unwrap_or(0);
        let live = |to: Switch| self.players.live.lock().unwrap_or_else(PoisonError::into_inner).turn(to);
        match self.rng.below(36) {
            0 => live(Switch::OutOfCapacity),
            1 => live(Switch::WrongJson),
            2 => live(Switch::Slow),
            3 => live(Switch::Down),
            4..=6 => live(Switch::Healthy),
            7 | 8 => self.control("phone.sim", "/_stage/faults", &self.some_faults(), now_ms),
            9 => self.control("slack.sim", "/_stage/faults", &self.some_faults(), now_ms),
            20 => self.control("second.sim", "/_stage/faults", &self.some_faults(), now_ms),
            21 => self.control("mail.sim", "/_stage/faults", &self.some_faults(), now_ms),
            22 => self.control("hook.sim", "/_stage/faults", &self.some_faults(), now_ms),
            23 => self.press_in_mail(),
            28 => self.control("pagerduty.sim", "/_stage/faults", &self.some_faults(), now_ms),
            29 => self.control("statuspage.sim", "/_stage/faults", &self.some_faults(), now_ms),
            32 | 33 => self.by_hand()?,
            30 => {
                let kind = ["acknowledged", "acknowledged", "resolved", "unacknowledged", "annotated"];
                let kind = kind[usize::try_from(self.rng.below(5)).unwrap_or(0)];
                self.control("pagerduty.sim", "/_stage/act", &serde_json::json!({ "kind": kind, "user": "Ada" }), now_ms);
            }
            24 | 25 => {
                let report = self.tool().next(self.rng.below(2) == 0);
                self.send(&report);
            }
            10 | 11 => {
                let number = format!("+452000000{}", 1 + self.rng.below(3));
                let digits = if self.rng.below(4) == 0 { "6" } else { "4" };
                let company = if self.rng.below(4) == 0 { "second.sim" } else { "phone.sim" };
                self.control(company, "/_stage/reply", &serde_json::json!({ "from": number, "body": digits }), now_ms);
            }
            12 => {
                let action = if self.rng.below(3) == 0 { "resolve" } else { "acknowledge" };
                self.control("slack.sim", "/_stage/press", &serde_json::json!({ "user": "U0ADA", "action": action }), now_ms);
            }
            13 => {
                let body = serde_json::json!({ "number": "+4520000001", "unreachable": self.rng.below(2) == 0 });
                self.control("phone.sim", "/_stage/reach", &body, now_ms);
            }
            14 => self.sleep(now_ms),
            15 => self.fail_for_a_while(self.clock.now_us()),
            18 | 19 => {
                let digits = ["4", "4", "6", "9", ""][usize::try_from(self.rng.below(5)).unwrap_or(0)];
                let (ignore, after_ms) = (self.rng.below(4) == 0, self.rng.below(50_000));
                let habit = serde_json::json!({ "number": "+4520000002", "digits": digits, "ignore": ignore, "after_ms": after_ms });
                self.control("phone.sim", "/_stage/habit", &habit, now_ms);
            }
            34 => self.beat(self.rng.below(4) > 0),
            16 | 17 => drop(self.cut.fetch_xor(true, Ordering::SeqCst)),
            _ => {
                self.kill();
                let pause = i64::try_from(self.rng.below(20 * 60)).unwrap_or(0) * 1_000_000;
                self.clock.advance_to(self.clock.now_us() + pause);
                self.pass_unheard();
                self.start()?;
            }
        }
        self.faults += 1;
        Ok(())
    }

    /// Somebody does something to an open incident, or declares one.
    fn by_hand(&self) -> anyhow::Result<()> {
        let store = self.store.clone();
        let open = futures::executor::block_on(store.read("open", |tx| {
            let mut open = incident::list_incidents(tx, Some("triggered"), i64::MAX, 20)?;
            open.extend(incident::list_incidents(tx, Some("acknowledged"), i64::MAX, 20)?);
            Ok::<_, StoreError>(open)
        }))?;
        let actor = Actor::local();
        let Some(found) = open.get(usize::try_from(self.rng.below(20)).unwrap_or(0)) else { return Ok(()) };
        let wish = match self.rng.below(6) {
            0 => Wish::Note { text: "looking".into() },
            1 => Wish::Reassign { people: vec!["Cleo".into()] },
            2 => Wish::Escalate { level: None },
            3 => Wish::Snooze { span: allclear_domain::Span::from_mins(1 + i64::try_from(self.rng.below(60))?) },
            _ => Wish::Urgency { urgency: if self.rng.below(2) == 0 { Urgency::High } else { Urgency::Low } },
        };
        let act = wish.act(&store)?;
        // The database may be failing on purpose, or the incident refuse; nothing must follow from that.
        let _done = futures::executor::block_on(allclear_ops::incident::act(&store, &self.rng, &actor, &found.id, act));
        Ok(())
    }

    /// The machine sleeps, at best during a call: everything that fell due meanwhile falls due at once.
    fn sleep(&self, now_ms: u64) {
        const PATIENCE_US: i64 = 10 * MINUTE_US;
        self.control("phone.sim", "/_stage/faults", &serde_json::json!({ "delay_ms": 12_000 }), now_ms);
        let texts = || self.players.phone.lock().unwrap_or_else(PoisonError::into_inner).texts().len();
        let (before, latest) = (texts(), self.clock.now_us() + PATIENCE_US);
        while texts() == before
            && let Some(at) = self.clock.next_wake_us().filter(|at| *at <= latest)
        {
            self.advance(at);
        }
        let pause = i64::try_from(1 + self.rng.below(10 * 60)).unwrap_or(1) * 1_000_000;
        let until = self.clock.now_us() + pause;
        self.fail_for_a_while(until);
        self.clock.advance_to(until);
        self.pass_unheard();
        self.executor.run_until_stalled();
    }

    /// The database fails half of all changes for up to two minutes.
    fn fail_for_a_while(&self, from_us: i64) {
        let span = i64::try_from(self.rng.below(120)).unwrap_or(0) * 1_000_000;
        self.store.fail_until(allclear_domain::Timestamp(from_us + span));
    }

    fn some_faults(&self) -> serde_json::Value {
        serde_json::json!({
            "drop_answers": self.rng.below(3), "refuse": self.rng.below(4), "limit": self.rng.below(3),
            "delay_ms": self.rng.below(20_000), "duplicate": self.rng.below(2) == 0,
            "reorder": self.rng.below(4) == 0, "lose_callbacks": self.rng.below(2), "lose_answers": self.rng.below(2),
        })
    }

    fn control(&self, host: &str, path: &str, body: &serde_json::Value, now_ms: u64) {
        self.players.handle(host, &Request::new("POST", path, vec![], body.to_string().into_bytes()), now_ms);
    }

    fn calm(&self) {
        self.store.fail_until(allclear_domain::Timestamp(0));
        self.cut.store(false, Ordering::SeqCst);
        let now_ms = u64::try_from(self.clock.now_us() / 1_000).unwrap_or(0);
        self.players.live.lock().unwrap_or_else(PoisonError::into_inner).turn(Switch::Healthy);
        for host in ["phone.sim", "second.sim", "slack.sim", "mail.sim", "hook.sim", "pagerduty.sim", "statuspage.sim"] {
            self.control(host, "/_stage/faults", &serde_json::json!({}), now_ms);
        }
        let ends = self.tool().ends();
        ends.iter().for_each(|report| self.send(report));
        self.beat(true);
        let body = serde_json::json!({ "number": "+4520000001", "unreachable": false });
        self.control("phone.sim", "/_stage/reach", &body, now_ms);
    }

    fn violation(&self, when: &str, calm: bool) -> anyhow::Result<Option<String>> {
        let store = self.store.clone();
        let tool = self.tool().clone();
        let work = async move {
            let mut wrong = if calm { invariants::check_calm(&store).await? } else { invariants::check_lately(&store).await? };
            wrong.extend(tool.lost(&store).await?);
            if calm {
                let findings = allclear_ops::audit::look(&store, store.now()).await?;
                wrong.extend(findings.into_iter().filter(|finding| finding.is_ours).map(|finding| finding.text));
            }
            Ok::<_, anyhow::Error>(wrong)
        };
        let wrong = futures::executor::block_on(work)?;
        let at = allclear_domain::Timestamp(self.clock.now_us());
        Ok((!wrong.is_empty()).then(|| format!("{when}, at {at}:\n  {}", wrong.join("\n  "))))
    }

    fn totals(&self) -> anyhow::Result<Totals> {
        let count = |tx: &mut allclear_store::Tx<'_>| {
            let newest = incident::list_incidents(tx, None, i64::MAX, 1)?;
            Ok::<_, StoreError>((run::count_runs(tx)?, newest.first().map_or(0, |i| i.number)))
        };
        let (runs, incidents) = futures::executor::block_on(self.store.read("count", count))?;
        let texts = self.players.phone.lock().unwrap_or_else(PoisonError::into_inner).texts().len();
        Ok(Totals { runs, incidents, texts, kills: self.kills, faults: self.faults })
    }
}

impl Drop for Day {
    fn drop(&mut self) {
        self.executor.kill();
        self.store.close();
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        debug_assert!(Arc::strong_count(&self.engine) == 1, "somebody else holds the engine");
    }
}

/// Carries a callback to the API and its answer back. A request whose answer is too late runs on all the same.
async fn deliver(
    players: Players,
    clock: VirtualClock,
    tool: Arc<Mutex<Tool>>,
    player: &'static str,
    callback: Callback,
    request: impl Future<Output = Result<axum::response::Response, std::convert::Infallible>>,
) {
    let mut underway = Underway::new(players, clock.clone(), player, callback.clone());
    let patience_us = i64::try_from(callback.patience_ms()).unwrap_or(0) * 1_000;
    let deadline = std::pin::pin!(clock.sleep_until(clock.now_us() + patience_us));
    let answer = std::pin::pin!(async move {
        let Ok(response) = request.await;
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap_or_default();
        (status, kind, String::from_utf8_lossy(&body).into_owned())
    });
    let (status, kind, body) = match futures::future::select(answer, deadline).await {
        futures::future::Either::Left((given, _)) => given,
        futures::future::Either::Right(((), late)) => {
            underway.ends(&Answer::None);
            late.await
        }
    };
    underway.ends(&Answer::given(status, &kind, &body));
    if player == "tool" && status == 202 {
        tool.lock().unwrap_or_else(PoisonError::into_inner).taken(&report_of(&callback));
    }
}

/// Every kind of broken rule once, with how often; numbers in them do not make a kind.
fn kinds_of(broken: &[String]) -> Vec<String> {
    let mut kinds: BTreeMap<String, (usize, &String)> = BTreeMap::new();
    for one in broken {
        let kind: String = one.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
        kinds.entry(kind).or_insert((0, one)).0 += 1;
    }
    kinds.into_values().map(|(times, one)| format!("{times} × {one}")).collect()
}

/// The report that a request of the tool carried.
fn report_of(callback: &Callback) -> Report {
    let (action, dedup_key): (String, String) = serde_json::from_str(&callback.note).unwrap_or_default();
    let action = if action == "resolve" { "resolve" } else { "trigger" };
    Report { action, dedup_key, body: String::new() }
}

/// Twenty tests with intervals from ten minutes to an hour, a few of them from two locations; two services, three
/// people, a schedule.
fn configuration(rng: &SeededRng) -> String {
    let mut text = include_str!("world.yaml").to_owned();
    for n in 0..TESTS {
        let every = 10 + rng.below(50);
        let (failures, passes) = (1 + rng.below(2), 1 + rng.below(2));
        let service = if rng.below(3) == 0 { "Quiet" } else { "Streams" };
        let retry = rng.below(4) == 0;
        let locations = if n % 8 == 0 { "local, far" } else { "local" };
        text.push_str(&format!(
            "---\nkind: test\nname: Test {n}\nretry: {retry}\nenvironments:\n  production:\n    variables: {{ base: \"http://live.sim\", name: \"probe {{{{run_id}}}}\" }}\n    headers: {{ Authorization: \"Bearer {{{{secret.SYNQ_KEY}}}}\" }}\n    notify: {{ service: {service}, after_failures: {failures}, after_passes: {passes} }}\nschedules: [{{ every: {every}m, environment: production, locations: [{locations}] }}]\nsteps:\n  - request: {{ method: POST, url: \"{{{{base}}}}/v1/streams\", json: {{ name: \"{{{{name}}}}\" }}, timeout: 20s }}\n    assert: [{{ source: json, property: playback_url, comparison: not_empty }}]\nteardown:\n  - request: {{ method: DELETE, url: \"{{{{base}}}}/v1/streams\", query: {{ name: \"{{{{name}}}}\" }}, timeout: 20s }}\n    assert: [{{ source: status, comparison: equal_number, value: 204 }}]\n"
        ));
    }
    text
}
