//! Bounded lanes for closures that wait: strict order with a floor for each lane.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Job;

/// Closures that may wait in one lane; more are told to come back. At 20,000 a second it is a quarter of a second.
const LANE_BOUND: usize = 5_000;

/// Closures in one commit: more would make the first wait for the last.
pub(super) const GROUP: usize = 64;

/// In each group every lane that waits gets at least this many places.
const FLOOR: usize = 4;

const LANES: usize = 4;

/// The lanes of one writer.
pub(super) struct Queue {
    state: Mutex<State>,
    waiting: Condvar,
}

struct State {
    lanes: [VecDeque<Box<dyn Job>>; LANES],
    closed: bool,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { lanes: Default::default(), closed: false }), waiting: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a closure, or gives it back when its lane is full or the queue is closed.
    pub(super) fn push(&self, job: Box<dyn Job>) -> Result<(), Box<dyn Job>> {
        let mut state = self.lock();
        let lane = job.write().lane as usize;
        if state.closed || state.lanes[lane].len() >= LANE_BOUND {
            return Err(job);
        }
        state.lanes[lane].push_back(job);
        drop(state);
        self.waiting.notify_one();
        Ok(())
    }

    /// Waits for closures and takes at most `most` of them; nothing once the queue is closed and empty.
    pub(super) fn take(&self, most: usize) -> Option<Vec<Box<dyn Job>>> {
        let mut state = self.lock();
        while state.lanes.iter().all(VecDeque::is_empty) {
            if state.closed {
                return None;
            }
            state = self.waiting.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Some(state.pick(most))
    }

    /// No more closures are taken; those that wait are still run.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.waiting.notify_all();
    }
}

impl State {
    fn pick(&mut self, most: usize) -> Vec<Box<dyn Job>> {
        let mut picked = Vec::new();
        for at in 0..LANES {
            let reserved: usize = self.lanes[at + 1..].iter().map(|lane| lane.len().min(FLOOR)).sum();
            let room = most.saturating_sub(picked.len());
            // A single place goes strictly by order; a larger group leaves the floors of the lanes below.
            let share = if most == 1 { room } else { room.saturating_sub(reserved).max(FLOOR).min(room) };
            let count = share.min(self.lanes[at].len());
            picked.extend(self.lanes[at].drain(..count));
        }
        picked
    }
}
