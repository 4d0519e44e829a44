//! The real binary as a process, and the stage around it in this one.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use allclear_stage::endpoint::{Door, Endpoint};
use allclear_stage::live::LiveStreaming;
use allclear_stage::mailbox::{Certificate, Mailbox};
use allclear_stage::pagerduty::PagerDuty;
use allclear_stage::phone::Telephone;
use allclear_stage::slack::Workspace;
use allclear_stage::statuspage::StatusPage;
use allclear_stage::{Player, Stage, Violation};
use anyhow::{Context, bail};
use tokio::net::TcpListener;

/// The secrets that the world's files name.
pub const SECRETS: &[(&str, &str)] = &[
    ("SYNQ_KEY", "canary-api-key-81723"),
    ("SLACK_TOKEN", "xoxb-canary-81723"),
    ("SLACK_SIGNING_SECRET", "canary-signing-81723"),
    ("TWILIO_TOKEN", "canary-auth-81723"),
    ("SECOND_TWILIO_TOKEN", "canary-second-auth-81723"),
    ("MAIL_PASSWORD", "canary-mail-81723"),
    ("HOOK_SECRET", "whsec_Y2FuYXJ5LWhvb2stODE3MjMtb2YtMzItYnl0ZXMtaW4="),
    ("SLACK_HOOK", "canary-slack-hook-81723"),
    ("PAGERDUTY_KEY", "c0a5e1d4b7f84c2e9d3a61f0b8e7c281"),
    ("PAGERDUTY_WEBHOOK", "canary-pagerduty-webhook-81723"),
    ("STATUSPAGE_KEY", "canary-statuspage-81723"),
];

/// The Twilio accounts that the world's files name.
pub const TWILIO_ACCOUNT: &str = "ACde300000000000000000000000000000";
pub const SECOND_TWILIO_ACCOUNT: &str = "AC5ec00000000000000000000000000000";

/// Where an incoming webhook of Slack's stands, before its secret part.
pub const SLACK_SERVICE: &str = "/services/T0STAGE/B0STAGE/";

/// The secret of this name.
///
/// # Panics
/// A name that the table does not have.
#[must_use]
pub fn secret(name: &str) -> &'static str {
    SECRETS.iter().find(|(known, _)| *known == name).map_or_else(|| panic!("no secret {name}"), |(_, value)| value)
}

/// The world outside, with its players at hand.
pub struct World {
    /// The API under test.
    pub live: Stage<LiveStreaming>,
    /// The telephones, reached through one company.
    pub phone: Stage<Telephone>,
    /// The same, reached through another.
    pub second_phone: Stage<Telephone>,
    /// Slack.
    pub slack: Stage<Workspace>,
    /// The mail server.
    pub mail: Stage<Mailbox>,
    /// A program that takes webhooks.
    pub hook: Stage<Endpoint>,
    /// The real PagerDuty.
    pub pagerduty: Stage<PagerDuty>,
    /// The real StatusPage.
    pub statuspage: Stage<StatusPage>,
    /// What the files say in place of names.
    names: Vec<(&'static str, String)>,
}

impl World {
    /// Puts the players on real sockets of the current runtime.
    ///
    /// # Errors
    /// A socket that cannot be opened.
    pub async fn on_sockets() -> anyhow::Result<Self> {
        let live = Stage::new(LiveStreaming::new(secret("SYNQ_KEY"), 10_000));
        let slack = Stage::new(Workspace::new(secret("SLACK_TOKEN"), secret("SLACK_SIGNING_SECRET")));
        let phone = Stage::new(Telephone::new(TWILIO_ACCOUNT, secret("TWILIO_TOKEN")));
        let second_phone = Stage::new(Telephone::new(SECOND_TWILIO_ACCOUNT, secret("SECOND_TWILIO_TOKEN")));
        let mail = Stage::new(Mailbox::new("allclear", secret("MAIL_PASSWORD")));
        let hook = Stage::new(program());
        let pagerduty = Stage::new(PagerDuty::new(secret("PAGERDUTY_KEY"), secret("PAGERDUTY_WEBHOOK")));
        let statuspage = Stage::new(StatusPage::new(secret("STATUSPAGE_KEY"), "page1", &["live1"]));
        let certificate = Certificate::new()?;
        let authority = certificate.pem.replace('\n', "\\n");
        let (mail_addr, hook_addr) = (serve_mail(&mail, certificate).await?, serve(&hook).await?);
        let http = |addr: SocketAddr| format!("http://{addr}");
        let names = vec![
            ("$LIVE_API", http(serve(&live).await?)),
            ("$PHONE_API", http(serve(&phone).await?)),
            ("$SECOND_PHONE_API", http(serve(&second_phone).await?)),
            ("$SLACK_API", http(serve(&slack).await?)),
            ("$PAGERDUTY_API", http(serve(&pagerduty).await?)),
            ("$STATUSPAGE_API", http(serve(&statuspage).await?)),
            ("$MAIL_PORT", mail_addr.port().to_string()),
            ("$MAIL_AUTHORITY", authority),
            ("$HOOK", http(hook_addr)),
        ];
        Ok(Self { live, phone, second_phone, slack, mail, hook, pagerduty, statuspage, names })
    }

    /// The configuration of the tests, with this world's addresses.
    #[must_use]
    pub fn files(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    /// Tells a player on its own socket what to do, so that what follows really travels: `at` is the name
    /// that the files have for it, such as `$PHONE_API`. The status of the answer.
    #[must_use]
    pub fn control(&self, at: &str, path: &str, body: &serde_json::Value) -> u16 {
        let url = self.names.iter().find(|(name, _)| *name == at).map_or("", |(_, url)| url.as_str());
        let Some(addr) = url.strip_prefix("http://").and_then(|addr| addr.parse().ok()) else { return 0 };
        let body = body.to_string();
        let raw = format!("POST {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        request(addr, &raw).map_or(0, |(status, _)| status)
    }

    /// What AllClear finds in its environment.
    #[must_use]
    pub fn secrets(&self) -> Vec<(String, String)> {
        let hook = self.names.iter().find(|(name, _)| *name == "$HOOK").map_or("", |(_, value)| value).to_owned();
        let value = |name: &str, value: &str| if name == "SLACK_HOOK" { format!("{hook}{SLACK_SERVICE}{value}") } else { value.to_owned() };
        SECRETS.iter().map(|(name, secret)| (format!("ALLCLEAR_SECRET_{name}"), value(name, secret))).collect()
    }

    /// Everything that broke a rule of one of the providers, each with whose.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let all = [
            ("live", self.live.player().violations().to_vec()),
            ("Twilio", self.phone.player().violations().to_vec()),
            ("the second Twilio", self.second_phone.player().violations().to_vec()),
            ("Slack", self.slack.player().violations().to_vec()),
            ("mail", self.mail.player().violations().to_vec()),
            ("the program", self.hook.player().violations().to_vec()),
            ("PagerDuty", self.pagerduty.player().violations().to_vec()),
            ("StatusPage", self.statuspage.player().violations().to_vec()),
        ];
        let shown = |(whose, list): (&str, Vec<Violation>)| {
            list.into_iter().map(|one| format!("{whose}: {} ({})", one.what, one.request)).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(shown).collect()
    }

    /// Tells Slack and the telephone companies where AllClear is. `channel` gives a channel's id by its name.
    pub fn call_back_to(&self, addr: SocketAddr, channel: impl Fn(&str) -> String) {
        let twilio = |name: &str| format!("http://{addr}/hooks/twilio/{}/sms", channel(name));
        self.slack.player().set_webhook(&format!("http://{addr}/hooks/slack/{}", channel("Slack")));
        self.pagerduty.player().set_webhook(&format!("http://{addr}/hooks/pagerduty/{}", channel("PagerDuty")));
        self.phone.player().set_webhook(&twilio("Twilio"));
        self.second_phone.player().set_webhook(&twilio("Second Twilio"));
    }
}

/// A program that takes AllClear's webhooks, verified, and its heartbeat.
#[must_use]
pub fn program() -> Endpoint {
    let mut program = Endpoint::default();
    program.set_door("/allclear", Door::Program { secret: secret("HOOK_SECRET").to_owned() });
    program.set_door("/heartbeat", Door::Plain);
    program
}

#[expect(clippy::disallowed_methods, reason = "the stage is the outside world: it has tasks of its own")]
async fn serve<P: Player>(stage: &Stage<P>) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(stage.clone().serve(listener));
    Ok(addr)
}

#[expect(clippy::disallowed_methods, reason = "the stage is the outside world: it has tasks of its own")]
async fn serve_mail(stage: &Stage<Mailbox>, certificate: Certificate) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let addr = listener.local_addr()?;
    tokio::spawn(stage.clone().serve_mail(listener, Some(certificate)));
    Ok(addr)
}

/// The table as AllClear finds it in its environment, for a world that takes no webhooks.
#[must_use]
pub fn fixed_secrets() -> Vec<(String, String)> {
    SECRETS.iter().map(|(name, secret)| (format!("ALLCLEAR_SECRET_{name}"), (*secret).to_owned())).collect()
}

/// The built binary, beside this program.
///
/// # Errors
/// A binary that was not built.
pub fn path() -> anyhow::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folders = own.ancestors().skip(1).take(2);
    let found = folders.map(|folder| folder.join("allclear")).find(|file| file.is_file());
    found.context("the binary is not built: cargo build -p allclear")
}

/// A running AllClear.
pub struct Process {
    child: Child,
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its log.
    pub log: PathBuf,
}

/// How it is started.
pub struct Start<'a> {
    /// The configuration folder.
    pub config: &'a Path,
    /// The data folder.
    pub data: &'a Path,
    /// The address to listen on.
    pub listen: SocketAddr,
    /// `point:passage` at which it ends by itself.
    pub crash_at: Option<String>,
    /// A PostgreSQL database in place of the embedded one.
    pub database: Option<String>,
    /// What it finds in its environment, as [`World::secrets`] has it.
    pub secrets: Vec<(String, String)>,
}

impl Process {
    /// Starts it, without waiting.
    ///
    /// # Errors
    /// A program that cannot be started.
    pub fn spawn(start: &Start<'_>) -> anyhow::Result<Self> {
        Self::spawn_by(Command::new(path()?), start)
    }

    /// The same with one processor: it finds no other.
    ///
    /// # Errors
    /// A program that cannot be started.
    pub fn spawn_on(processor: &str, start: &Start<'_>) -> anyhow::Result<Self> {
        let mut command = Command::new("taskset");
        command.args(["-c", processor]).arg(path()?);
        Self::spawn_by(command, start)
    }

    fn spawn_by(mut command: Command, start: &Start<'_>) -> anyhow::Result<Self> {
        let log = start.data.with_extension("log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        command.arg("up").arg("--config").arg(start.config).arg("--data").arg(start.data).args(["--listen", &start.listen.to_string()]);
        // The providers on the stage stand on this machine.
        command.args(["--public-url", &format!("http://{}", start.listen)]);
        command.envs(start.secrets.iter().cloned());
        command.env("RUST_BACKTRACE", "0").stdout(Stdio::null()).stderr(file);
        if let Some(url) = &start.database {
            command.args(["--database", url]);
        }
        if let Some(point) = &start.crash_at {
            command.env("ALLCLEAR_CRASH", point);
        }
        Ok(Self { child: command.spawn()?, addr: start.listen, log })
    }

    /// Its number in the system.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it: no destructor runs, nothing is flushed.
    pub fn kill(&mut self) {
        if let Err(error) = self.child.kill() {
            eprintln!("the process was gone already: {error}");
        }
        let _status = self.child.wait();
    }

    /// Asks it to stop, as a service manager does.
    ///
    /// # Errors
    /// A process that does not stop within its time.
    pub fn terminate(&mut self) -> anyhow::Result<()> {
        self.tell_to_end()?;
        match self.wait_for_end(Duration::from_secs(25)) {
            true => Ok(()),
            false => bail!("it did not stop within 25 s of SIGTERM"),
        }
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// A process that is gone.
    pub fn tell_to_end(&self) -> anyhow::Result<()> {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        if sent.success() { Ok(()) } else { bail!("the process was gone") }
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Waits for its end; whether it came.
    pub fn wait_for_end(&mut self, patience: Duration) -> bool {
        wait(patience, || self.has_ended())
    }

    /// Waits until it says that it is ready; whether it does.
    pub fn wait_until_ready(&mut self, patience: Duration) -> bool {
        let addr = self.addr;
        wait(patience, || self.has_ended() || get(addr, "/readyz").is_some_and(|(status, _)| status == 200)) && !self.has_ended()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.has_ended() {
            self.kill();
        }
    }
}

/// Looks until `done`, or the patience is over; the only waits here are on other processes.
#[expect(clippy::disallowed_methods, reason = "another process is waited for; no clock of ours can stand in for it")]
pub fn wait(patience: Duration, mut done: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + patience;
    while !done() {
        if Instant::now() >= until {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Lets another process go on for a while.
#[expect(clippy::disallowed_methods, reason = "another process is waited for; no clock of ours can stand in for it")]
pub fn pause(span: Duration) {
    std::thread::sleep(span);
}

/// A plain GET; the status and body, if something answers.
pub fn get(addr: SocketAddr, path: &str) -> Option<(u16, String)> {
    request(addr, &format!("GET {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n"))
}

/// A raw request; the status and body, if something answers.
pub fn request(addr: SocketAddr, raw: &str) -> Option<(u16, String)> {
    exchange(addr, raw).map(|(status, _, body)| (status, body))
}

/// The same with the head between them.
#[expect(clippy::disallowed_methods, reason = "a test looks at the product from outside")]
pub fn exchange(addr: SocketAddr, raw: &str) -> Option<(u16, String, String)> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(addr).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(raw.as_bytes()).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    Some((status, head.to_owned(), body.to_owned()))
}

/// The status of the next answer on a connection, which must come whole.
///
/// # Errors
/// A connection that ends before.
pub fn read_answer(stream: &mut impl std::io::BufRead) -> anyhow::Result<u16> {
    const LENGTH: &str = "content-length:";
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).context("no answer")?;
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            bail!("the answer was cut off");
        }
        if line.trim_end().is_empty() {
            break;
        }
        if line.get(..LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH)) {
            length = line[LENGTH.len()..].trim().parse()?;
        }
    }
    if std::io::copy(&mut std::io::Read::take(&mut *stream, length), &mut std::io::sink())? < length {
        bail!("the answer was cut off");
    }
    Ok(status)
}

/// A port that was free a moment ago.
///
/// # Errors
/// No free port.
pub fn free_addr() -> anyhow::Result<SocketAddr> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// Opens a way: what connects to `from` is connected to `to`, for as long as this process lives.
///
/// # Errors
/// A port that is taken.
#[expect(clippy::disallowed_methods, reason = "a test stands between the product and its database")]
pub fn forward(from: SocketAddr, to: SocketAddr) -> anyhow::Result<()> {
    let listener = std::net::TcpListener::bind(from)?;
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Ok(server) = std::net::TcpStream::connect(to) else { continue };
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else { continue };
                std::thread::spawn(move || {
                    // When one side is gone, so is the other.
                    let _ended = std::io::copy(&mut from, &mut to);
                    let _gone = to.shutdown(std::net::Shutdown::Both);
                });
            }
        }
    });
    Ok(())
}

/// Makes the embedded database of a stopped AllClear believe that its last commit was later by so many microseconds.
///
/// # Errors
/// A file that is not the database.
pub fn move_last_commit(data: &Path, by_us: i64) -> anyhow::Result<()> {
    let file = rusqlite::Connection::open(data.join("allclear.db"))?;
    file.execute("UPDATE commit_mark SET at = at + ?1", [by_us])?;
    Ok(())
}
