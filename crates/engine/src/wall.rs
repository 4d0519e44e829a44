//! Follows the wall clock. AllClear's time is its own: where the wall clock is set, waits keep their length.

use std::sync::Arc;
use std::time::Duration;

use allclear_base::SystemClock;
use allclear_ops::due;

use crate::Parts;

/// Beyond this the wall clock was set; below, it is being disciplined or the machine was busy.
const STEP_US: i64 = 2_000_000;

const LOOK: Duration = Duration::from_secs(1);

/// Follows for as long as the process lives.
pub(crate) fn start(parts: &Parts, clock: &Arc<SystemClock>) {
    let (parts, clock) = (parts.clone(), Arc::clone(clock));
    parts.rest.clone().supervise("wall clock", Arc::clone(&parts.health), move || follow(parts.clone(), Arc::clone(&clock)));
}

async fn follow(parts: Parts, clock: Arc<SystemClock>) {
    let mut behind = false;
    loop {
        parts.rest.sleep(LOOK).await;
        let ahead_us = clock.wall_ahead_us();
        if ahead_us >= STEP_US {
            leap(&parts, &clock, ahead_us).await;
        } else if ahead_us > 0 {
            clock.advance(ahead_us);
        } else {
            clock.hold_back(-ahead_us, LOOK);
        }
        if ahead_us <= -STEP_US && !behind {
            tracing::error!(
                seconds = -ahead_us / 1_000_000,
                "the clock of this machine was set back; AllClear's own is held back until it is caught up with"
            );
        }
        behind = ahead_us <= -STEP_US;
    }
}

/// What was due in five minutes is due in five minutes still: due times move with the clock, and before it.
async fn leap(parts: &Parts, clock: &SystemClock, by_us: i64) {
    tracing::error!(
        seconds = by_us / 1_000_000,
        "the clock of this machine was set forward, or the machine was asleep; due times move along"
    );
    match due::shift(&parts.store, by_us).await {
        Ok(()) => clock.advance(by_us),
        Err(error) => tracing::warn!(%error, "due times cannot be moved yet"),
    }
}
