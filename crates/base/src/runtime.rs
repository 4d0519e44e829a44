//! Time, chance and tasks in one handle, and the supervision of loops.

use std::collections::BTreeSet;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{oneshot, watch};

use crate::clock::{self, Clock};
use crate::rng::Rng;

/// A future that a [`Spawn`] runs.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts tasks. Tokio in the product; a simulation steps its own.
pub trait Spawn: Send + Sync + 'static {
    /// Starts `task`; it runs to its end or until the process stops.
    fn spawn(&self, task: Task);

    /// Runs `work`, which may block, where that holds no task up. A simulation, which has no threads, runs it at once.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        work();
    }
}

/// Spawns on the Tokio runtime that is current at the call.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioSpawn;

impl Spawn for TokioSpawn {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that hands tasks to Tokio")]
    fn spawn(&self, task: Task) {
        tokio::spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        tokio::task::spawn_blocking(work);
    }
}

/// Spawns on one Tokio runtime, whichever is current.
#[derive(Debug, Clone)]
pub struct HandleSpawn(pub tokio::runtime::Handle);

impl Spawn for HandleSpawn {
    fn spawn(&self, task: Task) {
        self.0.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.0.spawn_blocking(work);
    }
}

/// Work that blocks did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work was interrupted")]
pub struct Interrupted;

/// What a loop needs of the world besides its subject.
#[derive(Clone)]
pub struct Runtime {
    /// Time and timers.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// Tasks.
    pub spawner: Arc<dyn Spawn>,
}

impl Runtime {
    /// Waits for `span`.
    pub async fn sleep(&self, span: Duration) {
        clock::sleep(&*self.clock, span).await;
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.spawner.spawn(Box::pin(task));
    }

    /// Runs `work`, which may block, on a thread for such work.
    ///
    /// # Errors
    /// [`Interrupted`] when `work` panicked, or the process is stopping.
    pub async fn unblock<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Interrupted> {
        let (reply, answer) = oneshot::channel();
        self.spawner.spawn_blocking(Box::new(move || {
            // Whoever asked may be gone; the work is done all the same.
            let _gone = reply.send(work());
        }));
        answer.await.map_err(|_| Interrupted)
    }

    /// Runs a loop for as long as the process does: a panic is logged and counted, and the loop starts again
    /// after a pause that grows from 100 ms to 5 s. It ends when `make`'s future ends by itself.
    pub fn supervise<F>(&self, name: &'static str, health: Arc<Health>, make: impl Fn() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = self.clone();
        self.spawn(async move {
            let mut pause = Duration::from_millis(100);
            while AssertUnwindSafe(make()).catch_unwind().await.is_err() {
                let panics = health.panicked();
                tracing::error!(loop.name = name, panics, "a loop panicked and is started again");
                runtime.sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(5));
            }
        });
    }
}

/// How the supervised loops fare.
#[derive(Debug, Default)]
pub struct Health {
    panics: AtomicU64,
    findings: Mutex<Vec<String>>,
    failing: Mutex<BTreeSet<String>>,
    deaf_until_us: AtomicI64,
}

/// After this many panics AllClear no longer calls itself well: one may be bad luck, three are a fault.
pub const PANICS_UNTIL_UNWELL: u64 = 3;

impl Health {
    fn panicked(&self) -> u64 {
        self.panics.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// Panics of supervised loops since the start.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Ordering::SeqCst)
    }

    /// What called at `at_us` could not be heard: before the start, or because the database did not answer.
    pub fn was_deaf(&self, at_us: i64) {
        self.deaf_until_us.fetch_max(at_us, Ordering::SeqCst);
    }

    /// When something that called could last not be heard.
    #[must_use]
    pub fn deaf_until_us(&self) -> i64 {
        self.deaf_until_us.load(Ordering::SeqCst)
    }

    /// Keeps what the auditor found, in place of what it found before.
    pub fn found(&self, findings: Vec<String>) {
        *self.findings.lock().unwrap_or_else(PoisonError::into_inner) = findings;
    }

    /// What the auditor found when it looked last.
    #[must_use]
    pub fn findings(&self) -> Vec<String> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something outside keeps failing, or no longer does; it is known by this name.
    pub fn keeps_failing(&self, name: &str, fails: bool) {
        let mut failing = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        if fails {
            failing.insert(name.to_owned());
        } else {
            failing.remove(name);
        }
    }

    /// What keeps failing outside, by name.
    #[must_use]
    pub fn failing(&self) -> Vec<String> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Whether the loops are to be trusted.
    #[must_use]
    pub fn is_well(&self) -> bool {
        self.panics() < PANICS_UNTIL_UNWELL
    }
}

/// A switch that is turned once: the listening side waits for it or asks whether it was turned.
#[derive(Debug, Clone)]
pub struct Switch {
    sender: Arc<watch::Sender<bool>>,
}

impl Default for Switch {
    fn default() -> Self {
        Self { sender: Arc::new(watch::Sender::new(false)) }
    }
}

impl Switch {
    /// Turns the switch; turning it again changes nothing.
    pub fn turn(&self) {
        self.sender.send_replace(true);
    }

    /// Whether it was turned.
    #[must_use]
    pub fn is_turned(&self) -> bool {
        *self.sender.borrow()
    }

    /// Waits until it is turned.
    pub async fn turned(&self) {
        let mut receiver = self.sender.subscribe();
        // The sender lives in `self`, so the channel cannot close while this waits.
        if receiver.wait_for(|turned| *turned).await.is_err() {
            tracing::debug!("a switch was dropped while somebody waited for it");
        }
    }
}

/// A wake-up that carries no data: losing one may cost latency, never work.
#[derive(Debug, Clone, Default)]
pub struct Wake {
    notify: Arc<tokio::sync::Notify>,
}

impl Wake {
    /// Wakes the waiting loop, or the next that waits.
    pub fn wake(&self) {
        self.notify.notify_one();
    }

    /// Waits for a wake-up or until `at_us`, whichever is first.
    pub async fn wait_until(&self, clock: &dyn Clock, at_us: i64) {
        let notified = std::pin::pin!(self.notify.notified());
        futures::future::select(notified, clock.sleep_until(at_us)).await;
    }
}
