//! The stage on pipes in memory: egress's one seam.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use allclear_base::clock::VirtualClock;
use allclear_base::{Clock, Runtime};
use allclear_egress::{Connect, Connected, Error, Guard, Target};
use allclear_stage::endpoint::Endpoint;
use allclear_stage::live::LiveStreaming;
use allclear_stage::mailbox::{self, Mailbox};
use allclear_stage::pagerduty::PagerDuty;
use allclear_stage::phone::Telephone;
use allclear_stage::server::to_hyper;
use allclear_stage::slack::Workspace;
use allclear_stage::statuspage::StatusPage;
use allclear_stage::{Answer, Callback, Player, Request, Stage, Violation};
use http_body_util::BodyExt;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// The players, shared with whoever stirs them.
#[derive(Clone)]
pub(super) struct Players {
    pub(super) live: Arc<Mutex<LiveStreaming>>,
    pub(super) phone: Arc<Mutex<Telephone>>,
    pub(super) second_phone: Arc<Mutex<Telephone>>,
    pub(super) slack: Arc<Mutex<Workspace>>,
    pub(super) mail: Stage<Mailbox>,
    pub(super) hook: Arc<Mutex<Endpoint>>,
    pub(super) pagerduty: Arc<Mutex<PagerDuty>>,
    pub(super) statuspage: Arc<Mutex<StatusPage>>,
    /// What the players send out; the day delivers it.
    pub(super) callbacks: Arc<Mutex<Vec<Waiting>>>,
}

/// A callback whose time will come.
pub(super) struct Waiting {
    /// Whose it is.
    pub(super) player: &'static str,
    pub(super) callback: Callback,
    /// When it leaves, in microseconds since 1970.
    pub(super) due_us: i64,
}

impl Players {
    pub(super) fn handle(&self, host: &str, request: &Request, now_ms: u64) -> allclear_stage::Reply {
        let unpoisoned = PoisonError::into_inner;
        let (name, reply) = match host {
            "live.sim" => ("live", self.live.lock().unwrap_or_else(unpoisoned).handle(request, now_ms)),
            "phone.sim" => ("phone", self.phone.lock().unwrap_or_else(PoisonError::into_inner).handle(request, now_ms)),
            "second.sim" => ("second", self.second_phone.lock().unwrap_or_else(PoisonError::into_inner).handle(request, now_ms)),
            "hook.sim" => ("hook", self.hook.lock().unwrap_or_else(PoisonError::into_inner).handle(request, now_ms)),
            "pagerduty.sim" => ("pagerduty", self.pagerduty.lock().unwrap_or_else(PoisonError::into_inner).handle(request, now_ms)),
            "statuspage.sim" => ("statuspage", self.statuspage.lock().unwrap_or_else(PoisonError::into_inner).handle(request, now_ms)),
            "mail.sim" => ("mail", self.mail.player().handle(request, now_ms)),
            _ => ("slack", self.slack.lock().unwrap_or_else(PoisonError::into_inner).handle(request, now_ms)),
        };
        self.send_out(name, reply.callbacks.clone(), now_ms);
        reply
    }

    /// Keeps callbacks until their time comes.
    pub(super) fn send_out(&self, player: &'static str, callbacks: Vec<Callback>, now_ms: u64) {
        let waiting = callbacks.into_iter().map(|callback| {
            let due_us = i64::try_from((now_ms + callback.after_ms) * 1_000).unwrap_or(i64::MAX);
            Waiting { player, callback, due_us }
        });
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).extend(waiting);
    }

    /// When the next callback leaves.
    pub(super) fn next_due_us(&self) -> Option<i64> {
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|one| one.due_us).min()
    }

    /// The callbacks whose time has come, earliest first.
    pub(super) fn due(&self, now_us: i64) -> Vec<Waiting> {
        let mut waiting = self.callbacks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due: Vec<Waiting> = waiting.extract_if(.., |one| one.due_us <= now_us).collect();
        due.sort_by_key(|one| one.due_us);
        due
    }

    /// A player hears what became of a callback.
    pub(super) fn answered(&self, player: &'static str, callback: &Callback, answer: &Answer, now_ms: u64) {
        let unpoisoned = PoisonError::into_inner;
        let next = match player {
            "phone" => self.phone.lock().unwrap_or_else(PoisonError::into_inner).answered(callback, answer, now_ms),
            "second" => self.second_phone.lock().unwrap_or_else(PoisonError::into_inner).answered(callback, answer, now_ms),
            "slack" => self.slack.lock().unwrap_or_else(PoisonError::into_inner).answered(callback, answer, now_ms),
            "pagerduty" => self.pagerduty.lock().unwrap_or_else(unpoisoned).answered(callback, answer, now_ms),
            _ => vec![],
        };
        self.send_out(player, next, now_ms);
    }

    /// Everything that broke a rule of one of the providers, each with whose.
    pub(super) fn violations(&self) -> Vec<String> {
        let of = PoisonError::into_inner;
        let all = [
            ("Twilio", self.phone.lock().unwrap_or_else(PoisonError::into_inner).violations().to_vec()),
            ("the second Twilio", self.second_phone.lock().unwrap_or_else(PoisonError::into_inner).violations().to_vec()),
            ("Slack", self.slack.lock().unwrap_or_else(PoisonError::into_inner).violations().to_vec()),
            ("the program", self.hook.lock().unwrap_or_else(PoisonError::into_inner).violations().to_vec()),
            ("PagerDuty", self.pagerduty.lock().unwrap_or_else(PoisonError::into_inner).violations().to_vec()),
            ("StatusPage", self.statuspage.lock().unwrap_or_else(of).violations().to_vec()),
            ("mail", self.mail.player().violations().to_vec()),
        ];
        let shown = |(whose, list): (&str, Vec<Violation>)| {
            list.into_iter().map(|one| format!("{whose}: {} ({})", one.what, one.request)).collect::<Vec<_>>()
        };
        all.into_iter().flat_map(shown).collect()
    }
}

/// A callback on its way. Whoever kills the process under it leaves it without an answer.
pub(super) struct Underway {
    pub(super) players: Players,
    pub(super) clock: VirtualClock,
    pub(super) player: &'static str,
    callback: Option<Callback>,
}

impl Underway {
    pub(super) const fn new(players: Players, clock: VirtualClock, player: &'static str, callback: Callback) -> Self {
        Self { players, clock, player, callback: Some(callback) }
    }

    /// The player hears what became of it; what comes later it does not hear.
    pub(super) fn ends(&mut self, answer: &Answer) {
        if let Some(callback) = self.callback.take() {
            let now_ms = u64::try_from(self.clock.now_us() / 1_000).unwrap_or(0);
            self.players.answered(self.player, &callback, answer, now_ms);
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.ends(&Answer::None);
    }
}

/// Connects to a player by its host name.
pub(super) struct PipeConnect {
    pub(super) players: Players,
    pub(super) runtime: Runtime,
    /// Whether every way is cut.
    pub(super) cut: Arc<AtomicBool>,
}

/// A connection that breaks on purpose.
#[derive(Debug)]
struct Dropped;

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the player drops the connection")
    }
}

impl std::error::Error for Dropped {}

impl Connect for PipeConnect {
    fn connect<'a>(&'a self, target: &'a Target, _guard: &'a Guard) -> Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send + 'a>> {
        const PIPE: usize = 64 * 1024;
        if self.cut.load(Ordering::SeqCst) {
            return Box::pin(std::future::ready(Err(Error::Connect {
                to: target.host.clone(),
                why: "the way is cut".into(),
                refused: false,
            })));
        }
        let (ours, theirs) = tokio::io::duplex(PIPE);
        let (players, clock, host) = (self.players.clone(), Arc::clone(&self.runtime.clock), target.host.clone());
        self.runtime.spawn(async move {
            if host == "mail.sim" {
                // A client that goes away is no error of the stage.
                let _ended = mailbox::talk(&players.mail, theirs, None, &SimTime(clock)).await;
                return;
            }
            let service = service_fn(move |request| answer(players.clone(), Arc::clone(&clock), host.clone(), request));
            let _ended = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(theirs), service).await;
        });
        let connected = Connected { io: Box::new(ours), remote: None, dns_us: 0, connect_us: 0, tls_us: 0 };
        Box::pin(std::future::ready(Ok(connected)))
    }
}

/// The day's time.
struct SimTime(Arc<dyn Clock>);

impl mailbox::Time for SimTime {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.0.now_us() / 1_000).unwrap_or(0)
    }

    async fn pause(&self, ms: u64) {
        if ms > 0 {
            self.0.sleep_until(self.0.now_us() + i64::try_from(ms).unwrap_or(0) * 1_000).await;
        }
    }
}

async fn answer(
    players: Players,
    clock: Arc<dyn Clock>,
    host: String,
    request: hyper::Request<hyper::body::Incoming>,
) -> Result<hyper::Response<http_body_util::Full<bytes::Bytes>>, Dropped> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Dropped)?.to_bytes();
    let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let request = Request::new(parts.method.as_str(), target, parts.headers.iter().map(header).collect(), body.to_vec());
    let now_ms = u64::try_from(clock.now_us() / 1_000).unwrap_or(0);
    let reply = players.handle(&host, &request, now_ms);
    if reply.delay_ms > 0 {
        clock.sleep_until(clock.now_us() + i64::try_from(reply.delay_ms).unwrap_or(0) * 1_000).await;
    }
    if reply.dropped { Err(Dropped) } else { Ok(to_hyper(&reply.response)) }
}
