//! Fires timers, and settles attempts whose process stopped.

use std::sync::Arc;

use allclear_base::runtime::Switch;
use allclear_domain::Timestamp;
use allclear_ops::{delivery, timer};

use crate::Parts;

/// How often to look for attempts whose lease is over.
const ORPHANS_EVERY_US: i64 = 5_000_000;

pub(crate) fn start(parts: &Parts, stop: &Switch) {
    let (parts, stop) = (parts.clone(), stop.clone());
    parts.pager.clone().supervise("timers", Arc::clone(&parts.health), move || run(parts.clone(), stop.clone()));
}

async fn run(parts: Parts, stop: Switch) {
    let clock = Arc::clone(&parts.pager.clock);
    let mut orphans_at = 0;
    // Nobody was heard before the start.
    parts.health.was_deaf(parts.store.now().0);
    while !stop.is_turned() {
        let now = clock.now_us();
        if now >= orphans_at {
            orphans_at = now + ORPHANS_EVERY_US;
            if let Err(error) = delivery::settle_orphans(&parts.store, &*parts.pager.rng, false).await {
                tracing::warn!(%error, "attempts without an owner could not be settled");
            }
        }
        match timer::fire_due(&parts.store, &*parts.pager.rng, Timestamp(parts.health.deaf_until_us())).await {
            Ok(timer::Fired { count: 0, next }) => {
                let next = next.map_or(i64::MAX, |due| due.0);
                parts.store.wakes().timers.wait_until(&*clock, next.min(parts.look_anyway_at(now))).await;
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(%error, "timers could not be fired yet");
                parts.pager.sleep(std::time::Duration::from_millis(200)).await;
            }
        }
    }
}
