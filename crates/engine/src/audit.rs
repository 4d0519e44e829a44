//! Has the auditor look, tells of what stays, and lets the outside know for as long as all is well: a heartbeat that stops is
//! the alarm that still works when AllClear does not.

use std::sync::Arc;

use allclear_domain::Timestamp;
use allclear_ops::audit::{self, Finding};

use allclear_probe::Scheduler;

use crate::Parts;

pub(crate) fn start(parts: &Parts, scheduler: &Scheduler) {
    let (parts, scheduler) = (parts.clone(), scheduler.clone());
    parts.rest.clone().supervise("auditor", Arc::clone(&parts.health), move || run_for_ever(parts.clone(), scheduler.clone()));
}

async fn run_for_ever(parts: Parts, scheduler: Scheduler) {
    let mut before = false;
    loop {
        parts.rest.sleep(parts.audit_every).await;
        let findings = look(&parts, &scheduler).await;
        for finding in &findings {
            tracing::error!(finding = finding.text, "the auditor found something");
        }
        // Once may be a moment; twice is a state.
        let stays = before && !findings.is_empty();
        let texts: Vec<String> = findings.iter().map(|one| one.text.clone()).collect();
        if (stays || findings.is_empty())
            && let Err(error) = audit::report(&parts.store, &*parts.rest.rng, &texts).await
        {
            tracing::warn!(%error, "the operators could not be told yet");
        }
        before = !findings.is_empty();
        let heartbeat = parts.store.catalog().settings().heartbeat.filter(|_| findings.is_empty());
        parts.health.found(texts);
        if let Some(url) = heartbeat
            && let Err(why) = parts.channels.ping(&url).await
        {
            tracing::warn!(why, "the heartbeat did not arrive");
        }
    }
}

async fn look(parts: &Parts, scheduler: &Scheduler) -> Vec<Finding> {
    let wall = Timestamp(parts.rest.clock.now_us());
    let mut findings = match audit::look(&parts.store, wall).await {
        Ok(findings) => findings,
        Err(error) => vec![Finding::ours(format!("the database does not answer: {error}"))],
    };
    if !parts.health.is_well() {
        findings.push(Finding::ours(format!("{} panics of loops since the start", parts.health.panics())));
    }
    if let Some((test, tests)) = scheduler.stopped() {
        let catalog = parts.store.catalog();
        let name = catalog.test(&test).map_or_else(|| test.0.clone(), |test| test.name.clone());
        let others = match tests {
            0 | 1 => " has".to_owned(),
            2 => " and another have".to_owned(),
            tests => format!(" and {} others have", tests - 1),
        };
        findings.push(Finding::ours(format!("the test {name}{others} stopped: no run began for three slots")));
    }
    findings
}
