//! From a failing response's last byte to the requests at Slack and Twilio, against the time of a commit on the same
//! disk in the same seconds.

use std::fmt::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use allclear_stage::phone::Telephone;
use allclear_stage::slack::Workspace;
use allclear_stage::wire::{Reply, Request, Response};
use allclear_stage::{Answer, Callback, Player, Rates, Stage};
use anyhow::bail;
use tokio::net::TcpListener;

use super::{ms, quantile};
use crate::binary::{Process, Start, TWILIO_ACCOUNT, fixed_secrets, free_addr, pause, secret};

/// Tests that fail in turn, each with its own service, person and room.
const VICTIMS: usize = 20;

/// Runs a second besides.
const BACKGROUND: usize = 50;

/// One cycle: fail, be told, pass, be told twice. Long enough that no message waits for its room's pace of one a second:
/// a line under an all-clear leaves a second after it.
const CYCLE: Duration = Duration::from_secs(8);

/// What is known of one failing test.
#[derive(Clone, Copy, Default)]
struct Victim {
    failing: bool,
    failed_at: Option<Instant>,
    slack_at: Option<Instant>,
    text_at: Option<Instant>,
}

type Victims = Arc<Mutex<Vec<Victim>>>;

fn lock(victims: &Victims) -> std::sync::MutexGuard<'_, Vec<Victim>> {
    victims.lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn now() -> Instant {
    Instant::now()
}

/// The API under test: `/N` fails while its victim does.
struct Target(Victims);

impl Player for Target {
    fn handle(&mut self, request: &Request, _: u64) -> Reply {
        let number = request.path.trim_start_matches('/').parse::<usize>();
        let mut victims = lock(&self.0);
        let failing = number.ok().and_then(|n| victims.get_mut(n)).filter(|victim| victim.failing);
        match failing {
            Some(victim) => {
                victim.failed_at.get_or_insert_with(now);
                Response::json(500, &serde_json::json!({ "error": "out of capacity" })).into()
            }
            None => Response::json(200, &serde_json::json!({ "playback_url": "https://play.example/1" })).into(),
        }
    }
}

/// A provider that notes when the first request for a failing victim comes.
struct Noting<P> {
    player: P,
    victims: Victims,
    note: fn(&mut Victim),
}

impl<P: Player> Player for Noting<P> {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        let body = String::from_utf8_lossy(&request.body).into_owned();
        // The title of the incident says which victim is meant.
        let marked = body.split("victim").nth(1).map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>());
        if let Some(n) = marked.and_then(|n| n.parse::<usize>().ok())
            && let Some(victim) = lock(&self.victims).get_mut(n).filter(|victim| victim.failed_at.is_some())
        {
            (self.note)(victim);
        }
        self.player.handle(request, now_ms)
    }

    fn answered(&mut self, callback: &Callback, answer: &Answer, now_ms: u64) -> Vec<Callback> {
        self.player.answered(callback, answer, now_ms)
    }
}

#[expect(clippy::disallowed_methods, reason = "the measured thing's outside world")]
async fn serve(player: impl Player) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(Stage::new(player).serve(listener));
    Ok(addr)
}

pub(super) fn measure(span: Duration) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let victims: Victims = Arc::new(Mutex::new(vec![Victim::default(); VICTIMS]));
    let mut slack = Workspace::new(secret("SLACK_TOKEN"), secret("SLACK_SIGNING_SECRET"));
    slack.set_rates(Rates::Lifted);
    let mut phone = Telephone::new(TWILIO_ACCOUNT, secret("TWILIO_TOKEN"));
    phone.set_rates(Rates::Lifted);
    let slack = Noting { player: slack, victims: Arc::clone(&victims), note: |victim| _ = victim.slack_at.get_or_insert_with(now) };
    let phone = Noting { player: phone, victims: Arc::clone(&victims), note: |victim| _ = victim.text_at.get_or_insert_with(now) };
    let (target, slack, phone) =
        runtime.block_on(async { anyhow::Ok((serve(Target(Arc::clone(&victims))).await?, serve(slack).await?, serve(phone).await?)) })?;
    let folder = super::folder()?;
    let (config, data) = (folder.path().join("config"), folder.path().join("data"));
    std::fs::create_dir(&config)?;
    std::fs::write(config.join("world.yaml"), world(target, slack, phone))?;
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
    let beside = folder.path().join("beside");
    let commits = std::thread::spawn(move || commits(&beside, span));
    let (to_slack, to_phone) = play(&victims, span);
    let commits = commits.join().map_err(|_| anyhow::anyhow!("the measurement of commits panicked"))??;
    process.terminate()?;
    report(&commits, &to_slack, &to_phone)
}

/// Lets the victims fail and pass in turn; the times that it took to tell.
fn play(victims: &Victims, span: Duration) -> (Vec<Duration>, Vec<Duration>) {
    let (mut to_slack, mut to_phone) = (Vec::new(), Vec::new());
    let step = CYCLE / u32::try_from(2 * VICTIMS).unwrap_or(1);
    let until = now() + span;
    let mut turn = 0;
    while now() < until {
        let mut all = lock(victims);
        let failing = &mut all[turn % VICTIMS];
        *failing = Victim { failing: true, ..Victim::default() };
        let passing = &mut all[(turn + VICTIMS / 2) % VICTIMS];
        if let Some(failed) = passing.failed_at.filter(|_| passing.failing) {
            to_slack.push(passing.slack_at.map_or(CYCLE, |at| at.saturating_duration_since(failed)));
            to_phone.push(passing.text_at.map_or(CYCLE, |at| at.saturating_duration_since(failed)));
        }
        passing.failing = false;
        drop(all);
        pause(step * 2);
        turn += 1;
    }
    to_slack.sort_unstable();
    to_phone.sort_unstable();
    (to_slack, to_phone)
}

/// Commits of a database of its own on the same disk: fifty a second.
fn commits(folder: &std::path::Path, span: Duration) -> anyhow::Result<Vec<Duration>> {
    const EVERY: Duration = Duration::from_millis(20);
    let store = super::store::open(folder)?;
    let mut times = Vec::new();
    let until = now() + span;
    while now() < until {
        times.push(super::store::one(&store, times.len() as u64)?);
        pause(EVERY);
    }
    store.close();
    times.sort_unstable();
    Ok(times)
}

fn report(commits: &[Duration], to_slack: &[Duration], to_phone: &[Duration]) -> anyhow::Result<()> {
    let (p50, p99) = (quantile(commits, 0.5), quantile(commits, 0.99));
    println!("commit on this disk:  p50 {:>6.2} ms, p99 {:>6.2} ms ({} commits)", ms(p50), ms(p99), commits.len());
    let (most_p50, most_p99) = (p50 * 2 + Duration::from_millis(5), p99 * 2 + Duration::from_millis(20));
    let mut missed = Vec::new();
    for (name, times) in [("Slack", to_slack), ("text", to_phone)] {
        let (t50, t99) = (quantile(times, 0.5), quantile(times, 0.99));
        println!("failure → {name:<11} p50 {:>6.2} ms, p99 {:>6.2} ms ({} pages)", ms(t50), ms(t99), times.len());
        if t50 > most_p50 || t99 > most_p99 {
            missed.push(name);
        }
    }
    println!("wanted at most:       p50 {:>6.2} ms, p99 {:>6.2} ms (2 × commit + 5 ms, 2 × commit + 20 ms)", ms(most_p50), ms(most_p99));
    if missed.is_empty() { Ok(()) } else { bail!("too slow: {}", missed.join(", ")) }
}

fn world(target: SocketAddr, slack: SocketAddr, phone: SocketAddr) -> String {
    let mut text = format!(
        "kind: location\nname: local\nallow: [\"127.0.0.1\"]\n---\nkind: channel\nname: Slack\nslack: {{ token: \"{{{{secret.SLACK_TOKEN}}}}\", signing_secret: \"{{{{secret.SLACK_SIGNING_SECRET}}}}\", api: \"http://{slack}/api\" }}\nallow: [\"127.0.0.1\"]\n---\nkind: channel\nname: Twilio\ntwilio: {{ account_sid: ACde300000000000000000000000000000, auth_token: \"{{{{secret.TWILIO_TOKEN}}}}\", from: \"+4570000000\", api: \"http://{phone}\" }}\nallow: [\"127.0.0.1\"]\n---\nkind: page\nname: SYNQ\n"
    );
    let test = |n: usize, name: &str, notify: &str| {
        format!(
            "---\nkind: test\nname: {name}{n}\nenvironments: {{ default: {{ variables: {{ base: \"http://{target}\" }}{notify} }} }}\nschedules: [{{ every: 1s }}]\nsteps:\n  - request: \"GET {{{{base}}}}/{n}\"\n    assert: [{{ source: json, property: playback_url, comparison: not_empty }}]\n"
        )
    };
    for n in 0..BACKGROUND {
        text.push_str(&test(VICTIMS + n, "background", ""));
    }
    for n in 0..VICTIMS {
        text.push_str(&test(n, "victim", &format!(", notify: S{n}")));
        // Writing to a String cannot fail.
        let _written = write!(
            text,
            "---\nkind: person\nname: P{n}\ncontact_methods: [{{ name: mobile, channel: Twilio, address: \"+45300000{n:02}\" }}]\n---\nkind: escalation_policy\nname: E{n}\nlevels: [{{ targets: [P{n}], escalate_after: 5m }}]\n---\nkind: service\nname: S{n}\nescalation_policy: E{n}\nrooms: [{{ channel: Slack, room: \"#v{n}\" }}]\n---\nkind: component\nname: C{n}\npage: SYNQ\n---\nkind: rule\nservice: S{n}\ncomponent: C{n}\n"
        );
    }
    text
}
