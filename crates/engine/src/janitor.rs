//! Removes what is older than its bound, a little at a time.

use std::sync::Arc;
use std::time::Duration;

use allclear_domain::{Span, Timestamp};
use allclear_store::record::{callback, change, incident, run, slot};
use allclear_store::{Lane, Write};

use crate::Parts;

/// Runs, their evidence and change events are kept this long; Runscope's bound, and `PagerDuty`'s.
const RUNS_KEPT: Span = Span::from_mins(90 * 24 * 60);

/// Incidents are kept this long after their end, with their timelines and messages.
const INCIDENTS_KEPT: Span = Span::from_mins(2 * 365 * 24 * 60);

/// Incidents per transaction: each has dozens of rows.
const INCIDENTS_AT_ONCE: u32 = 20;

/// Callbacks are known this long: `PagerDuty` sends one again for two days.
const CALLBACKS_KEPT: Span = Span::from_mins(7 * 24 * 60);

/// Rows per transaction: few milliseconds, so that nobody waits.
const ROWS_AT_ONCE: u32 = 500;

const PACE: Duration = Duration::from_secs(60);

pub(crate) fn start(parts: &Parts) {
    let parts = parts.clone();
    parts.rest.clone().supervise("janitor", Arc::clone(&parts.health), move || run_for_ever(parts.clone()));
}

async fn run_for_ever(parts: Parts) {
    loop {
        parts.rest.sleep(PACE).await;
        let before = parts.store.now().minus(RUNS_KEPT);
        loop {
            let write = Write::new("prune runs", Lane::Housekeeping);
            match parts.store.write(write, move |tx| run::prune_runs(tx, before, ROWS_AT_ONCE)).await {
                Ok(removed) if removed >= u64::from(ROWS_AT_ONCE) => parts.rest.sleep(Duration::from_millis(50)).await,
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(error = error.chain(), "old runs could not be removed");
                    break;
                }
            }
        }
        prune_exceptions(&parts, before).await;
        prune_changes(&parts, before).await;
        prune_callbacks(&parts).await;
        prune_incidents(&parts).await;
        if let Err(error) = parts.evidence.drop_days_before(before) {
            tracing::warn!(error = error.chain(), "old evidence could not be removed");
        }
    }
}

async fn prune_changes(parts: &Parts, before: Timestamp) {
    let write = Write::new("prune change events", Lane::Housekeeping);
    if let Err(error) = parts.store.write(write, move |tx| change::prune_change_events(tx, before, ROWS_AT_ONCE)).await {
        tracing::warn!(error = error.chain(), "old change events could not be removed");
    }
}

async fn prune_incidents(parts: &Parts) {
    let before = parts.store.now().minus(INCIDENTS_KEPT);
    let write = Write::new("prune incidents", Lane::Housekeeping);
    if let Err(error) = parts.store.write(write, move |tx| incident::prune_incidents(tx, before, INCIDENTS_AT_ONCE)).await {
        tracing::warn!(error = error.chain(), "old incidents could not be removed");
    }
}

async fn prune_callbacks(parts: &Parts) {
    let (before, write) = (parts.store.now().minus(CALLBACKS_KEPT), Write::new("prune callbacks", Lane::Housekeeping));
    if let Err(error) = parts.store.write(write, move |tx| callback::prune_callbacks(tx, before, ROWS_AT_ONCE)).await {
        tracing::warn!(error = error.chain(), "old callbacks could not be forgotten");
    }
}

async fn prune_exceptions(parts: &Parts, before: Timestamp) {
    let write = Write::new("prune exceptions", Lane::Housekeeping);
    // Far fewer than runs: what is left goes with the next round.
    if let Err(error) = parts.store.write(write, move |tx| slot::prune_exceptions(tx, before, ROWS_AT_ONCE)).await {
        tracing::warn!(error = error.chain(), "old exceptions of the slot ledger could not be removed");
    }
}
