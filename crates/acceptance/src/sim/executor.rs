//! Runs tasks one after the other, in an order that the seed draws, until none can go on. Killing it drops them where they stand.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use allclear_base::runtime::Task;
use allclear_base::{Rng, SeededRng, Spawn};

type Ready = Arc<Mutex<VecDeque<Arc<Running>>>>;

struct Running {
    future: Mutex<Option<Task>>,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for Running {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            let ready = Arc::clone(&self.ready);
            lock(&ready).push_back(self);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The executor. Cheap to clone.
#[derive(Clone)]
pub(super) struct Executor {
    rng: SeededRng,
    ready: Ready,
    all: Arc<Mutex<Vec<std::sync::Weak<Running>>>>,
}

impl Executor {
    /// An executor without tasks.
    pub(super) fn new(rng: SeededRng) -> Self {
        Self { rng, ready: Ready::default(), all: Arc::default() }
    }

    /// Any of the tasks that can go on.
    fn next(&self) -> Option<Arc<Running>> {
        let mut ready = lock(&self.ready);
        let choices = ready.len() as u64;
        let chosen = if choices > 1 { self.rng.below(choices) } else { 0 };
        ready.swap_remove_back(usize::try_from(chosen).ok()?)
    }

    /// Polls until nothing can go on.
    pub(super) fn run_until_stalled(&self) {
        while let Some(task) = self.next() {
            task.queued.store(false, Ordering::SeqCst);
            let Some(mut future) = lock(&task.future).take() else { continue };
            let waker = Waker::from(Arc::clone(&task));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                *lock(&task.future) = Some(future);
            }
        }
    }

    /// Drops every task where it stands.
    pub(super) fn kill(&self) {
        let tasks: Vec<_> = lock(&self.all).drain(..).collect();
        for task in tasks.iter().filter_map(std::sync::Weak::upgrade) {
            let future = lock(&task.future).take();
            drop(future);
        }
        lock(&self.ready).clear();
    }

    /// Polls a future to its end; it must not wait for time.
    pub(super) fn finish<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let place = Arc::new(Mutex::new(None));
        let result = Arc::clone(&place);
        self.spawn(Box::pin(async move {
            let done = work.await;
            *lock(&result) = Some(done);
        }));
        self.run_until_stalled();
        lock(&place).take()
    }
}

impl Spawn for Executor {
    fn spawn(&self, task: Task) {
        let running = Arc::new(Running { future: Mutex::new(Some(task)), queued: AtomicBool::new(false), ready: Arc::clone(&self.ready) });
        let mut all = lock(&self.all);
        all.retain(|task| task.strong_count() > 0);
        all.push(Arc::downgrade(&running));
        drop(all);
        running.wake();
    }
}
