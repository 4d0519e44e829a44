//! The loops: schedule and ingest, timers, dispatch, publish, housekeeping. Each is supervised, and each finds its
//! work in the database: losing a wake-up costs latency, never work.

mod assign;
mod audit;
mod by_hand;
mod dispatch;
mod ingest;
mod janitor;
mod publish;
mod timers;
mod wall;

use std::sync::Arc;
use std::time::Duration;

use allclear_base::runtime::{Health, Switch};
use allclear_base::{Runtime, SystemClock};
use allclear_channels::Channels;
use allclear_domain::Timestamp;
use allclear_domain::status::published::PublishedPage;
use allclear_ops::OpsError;
use allclear_probe::{Runner, Scheduler};
use allclear_store::Store;
use allclear_store::evidence::Evidence;
use tokio::sync::mpsc;

pub use assign::assignment;
pub use by_hand::ByHand;
pub use publish::kept_pages;

/// What becomes of published pages.
pub type OnPublish = Arc<dyn Fn(Published<'_>) + Send + Sync>;

/// What is known of published pages.
#[derive(Debug, Clone, Copy)]
pub enum Published<'a> {
    /// All of them, each with its number.
    Pages(&'a [(i64, PublishedPage)]),
    /// They cannot be read; what was read last is of this instant.
    AwaySince(Timestamp),
}

/// What the loops are made of.
#[derive(Clone)]
pub struct Parts {
    /// For what must not wait: timers, dispatch.
    pub pager: Runtime,
    /// For everything else.
    pub rest: Runtime,
    /// The database.
    pub store: Store,
    /// The evidence.
    pub evidence: Evidence,
    /// The providers.
    pub channels: Channels,
    /// The runner of tests.
    pub runner: Runner,
    /// How the loops fare.
    pub health: Arc<Health>,
    /// What becomes of published pages.
    pub on_publish: OnPublish,
    /// How long a lost wake-up may cost; [`LOOK_ANYWAY`] in the product.
    pub look_anyway: Duration,
    /// How often the auditor looks; [`AUDIT_EVERY`] in the product.
    pub audit_every: Duration,
}

/// How often every loop looks for work that no wake-up told it of.
pub const LOOK_ANYWAY: Duration = Duration::from_secs(1);

/// How often the auditor looks, and the heartbeat goes out.
pub const AUDIT_EVERY: Duration = Duration::from_secs(30);

impl Parts {
    /// When to look for work at the latest.
    fn look_anyway_at(&self, now_us: i64) -> i64 {
        now_us.saturating_add(i64::try_from(self.look_anyway.as_micros()).unwrap_or(i64::MAX))
    }
}

/// The running loops.
pub struct Engine {
    parts: Parts,
    scheduler: Scheduler,
    dispatch: dispatch::Dispatch,
    no_new_runs: Switch,
    no_new_claims: Switch,
}

/// Results that wait to be judged: a burst of a second at full load.
const RESULTS_BOUND: usize = 4_096;

/// How long a stop waits for what is under way: less than what service managers grant.
const STOP_PATIENCE: Duration = Duration::from_secs(12);

impl Engine {
    /// Does what cannot wait (timers and deliveries that are overdue, what was under way when AllClear stopped),
    /// then starts the loops. Published pages are handed over first.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn start(parts: Parts) -> Result<Self, OpsError> {
        publish::hand_over(&parts).await?;
        allclear_ops::delivery::settle_orphans(&parts.store, &*parts.pager.rng, true).await?;
        let (no_new_runs, no_new_claims) = (Switch::default(), Switch::default());
        timers::start(&parts, &no_new_claims);
        let dispatch = dispatch::Dispatch::start(&parts, &no_new_claims);
        let (sender, receiver) = mpsc::channel(RESULTS_BOUND);
        let scheduler = Scheduler::new(parts.rest.clone(), parts.runner.clone(), sender);
        ingest::start(&parts, &scheduler, receiver);
        publish::start(&parts);
        janitor::start(&parts);
        audit::start(&parts, &scheduler);
        Ok(Self { parts, scheduler, dispatch, no_new_runs, no_new_claims })
    }

    /// Starts running tests; after everything that pages is up.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn start_probe(&self) -> Result<(), OpsError> {
        assign::start(&self.parts, &self.scheduler).await?;
        let (scheduler, stop) = (self.scheduler.clone(), self.no_new_runs.clone());
        self.parts.rest.supervise("scheduler", Arc::clone(&self.parts.health), move || {
            let (scheduler, stop) = (scheduler.clone(), stop.clone());
            async move { scheduler.run(&stop).await }
        });
        by_hand::start(&self.parts, &self.scheduler, &self.no_new_runs);
        Ok(())
    }

    /// What runs tests at somebody's wish.
    #[must_use]
    pub fn by_hand(&self) -> ByHand {
        ByHand::new(&self.parts, &self.scheduler)
    }

    /// Keeps AllClear's clock beside the machine's.
    pub fn follow_wall(&self, clock: &Arc<SystemClock>) {
        wall::start(&self.parts, clock);
    }

    /// No new runs; waits for those under way, and until their results are judged.
    pub async fn stop_probe(&self) {
        self.no_new_runs.turn();
        let scheduler = self.scheduler.clone();
        self.wait_until(move || scheduler.is_idle()).await;
    }

    /// No new claims; waits for the calls under way.
    pub async fn stop_dispatch(&self) {
        self.no_new_claims.turn();
        let dispatch = self.dispatch.clone();
        self.wait_until(move || dispatch.is_idle()).await;
    }

    async fn wait_until(&self, done: impl Fn() -> bool) {
        const LOOK: Duration = Duration::from_millis(20);
        let clock = &self.parts.rest.clock;
        let deadline = clock.now_us().saturating_add(i64::try_from(STOP_PATIENCE.as_micros()).unwrap_or(i64::MAX));
        while !done() && clock.now_us() < deadline {
            self.parts.rest.sleep(LOOK).await;
        }
    }
}
