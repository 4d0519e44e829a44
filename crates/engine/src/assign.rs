//! Keeps the in-process probe's assignment up to date with the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allclear_domain::catalog::{Catalog, Kind};
use allclear_domain::{LocationName, TestId, Timestamp};
use allclear_egress::Guard;
use allclear_ops::OpsError;
use allclear_probe::{Assignment, From, Item, Mark, REMEMBERED, Scheduler};
use allclear_store::record::run;
use allclear_store::record::slot::{self, SlotException, Watermark};
use allclear_store::{Lane, StoreError, Write};

use crate::Parts;

/// The name of this server as a probe, and of its location.
pub(crate) const LOCAL: &str = allclear_ops::by_hand::HERE;

/// What may be called from a location.
pub(crate) fn guard_of(catalog: &Catalog, location: &LocationName) -> Guard {
    Guard::allowing(catalog.location(location).allow.iter().filter_map(|range| range.parse().ok()).collect())
}

/// Everything that the location runs.
#[must_use]
pub fn assignment(catalog: &Catalog, location: &LocationName) -> Assignment {
    let (place, guard) = (catalog.location(location), guard_of(catalog, location));
    let mut items = Vec::new();
    for resource in catalog.of_kind(Kind::Test) {
        let Some(test) = resource.document.as_test() else { continue };
        let shared = Arc::new(test.clone());
        for schedule in test.schedules.iter().filter(|schedule| schedule.locations.contains(location)) {
            items.push(Item {
                test_id: TestId(resource.id.clone()),
                test: Arc::clone(&shared),
                rev: resource.rev,
                environment: schedule.environment.clone(),
                location: location.clone(),
                every: schedule.every,
                guard: guard.clone(),
                canaries: place.canaries.clone(),
            });
        }
    }
    Assignment { rev: catalog.rev(), items }
}

/// Hands the first assignment over, accounts for the time in which AllClear did not run, pays what tests owe, and
/// follows the configuration from then on.
pub(crate) async fn start(parts: &Parts, scheduler: &Scheduler) -> Result<(), OpsError> {
    let location = LocationName::from(LOCAL);
    let first = assignment(&parts.store.catalog(), &location);
    let accounted = account_for_absence(parts, &first).await?;
    // The schedule goes on exactly where the account of the absence ends; a new server runs everything at once.
    scheduler.assign(first, accounted.map_or(From::AtOnce, From::SlotsSince));
    pay_debts(parts);
    look_at_canaries(parts);
    remember(parts, scheduler);
    let (parts, scheduler) = (parts.clone(), scheduler.clone());
    parts.rest.clone().supervise("assign", Arc::clone(&parts.health), move || follow(parts.clone(), scheduler.clone()));
    Ok(())
}

/// Lets the scheduler know how the latest runs went before the start. In pieces, and behind the start: nothing waits for it.
fn remember(parts: &Parts, scheduler: &Scheduler) {
    const AT_ONCE: usize = 100;
    const RETRY: std::time::Duration = std::time::Duration::from_secs(1);
    let (parts, scheduler) = (parts.clone(), scheduler.clone());
    parts.rest.clone().spawn(async move {
        let here = LocationName::from(LOCAL);
        let planned = assignment(&parts.store.catalog(), &here).items;
        let tests: Vec<(TestId, String)> = planned.into_iter().map(|item| (item.test_id, item.environment)).collect();
        for part in tests.chunks(AT_ONCE) {
            let (asked, place) = (part.to_vec(), here.clone());
            let look = move |tx: &mut allclear_store::Tx<'_>| {
                let most = u32::try_from(REMEMBERED).unwrap_or(u32::MAX);
                let of_one = |(test, environment): &(TestId, String)| run::latest_marks(tx, test, environment, &place, most);
                asked.iter().map(of_one).collect::<Result<Vec<_>, StoreError>>()
            };
            let found = loop {
                match parts.store.read("how runs went", look.clone()).await {
                    Ok(found) => break found,
                    Err(error) => tracing::warn!(%error, "how earlier runs went cannot be read yet"),
                }
                parts.rest.sleep(RETRY).await;
            };
            for ((test, environment), marks) in part.iter().zip(found) {
                let mark = |(passed, began, ended): (bool, Timestamp, Timestamp)| Mark {
                    passed,
                    took_ms: u32::try_from(ended.since(began).as_millis()).unwrap_or(u32::MAX),
                    at: ended,
                };
                scheduler.remember(test, environment, &here, &marks.into_iter().rev().map(mark).collect::<Vec<_>>());
            }
        }
    });
}

async fn follow(parts: Parts, scheduler: Scheduler) {
    let location = LocationName::from(LOCAL);
    let mut known = parts.store.catalog().rev();
    loop {
        let clock = &*parts.rest.clock;
        parts.store.wakes().catalog.wait_until(clock, parts.look_anyway_at(clock.now_us())).await;
        let catalog = parts.store.catalog();
        if catalog.rev() != known {
            known = catalog.rev();
            scheduler.assign(assignment(&catalog, &location), From::AtOnce);
        }
    }
}

/// Slots since the last watermark did not run: that is written down, with the reason, and the watermark moves up
/// to the present, which is returned. Nothing for a server that never ran.
async fn account_for_absence(parts: &Parts, assignment: &Assignment) -> Result<Option<Timestamp>, OpsError> {
    let items = assignment.items.clone();
    let write = Write::new("account for absence", Lane::Results);
    let work = move |tx: &mut allclear_store::Tx<'_>| {
        let location = LocationName::from(LOCAL);
        let Some(mark) = slot::watermark(tx, &location, LOCAL)? else { return Ok::<_, StoreError>(None) };
        let now = tx.now();
        let since = Timestamp(mark.through.0 + 1);
        // A run that was under way held the watermark back; others that started after it may be on record.
        let mut known: BTreeMap<(TestId, String), BTreeSet<(Timestamp, Timestamp)>> = BTreeMap::new();
        for (test, environment, first, last) in slot::accounted_since(tx, &location, since)? {
            known.entry((test, environment)).or_default().insert((first, last));
        }
        let mut missed = Vec::new();
        for item in &items {
            let known = known.remove(&(item.test_id.clone(), item.environment.clone())).unwrap_or_default();
            let resumed = item.test.paused_until.unwrap_or(since).max(since).min(now);
            for (from, to, reason) in [(since, resumed, "paused"), (resumed, now, "AllClear was not running")] {
                missed.extend(item.slots().missing(from, to, &known).into_iter().map(|stretch| SlotException {
                    test: item.test_id.clone(),
                    environment: item.environment.clone(),
                    location: location.clone(),
                    first: stretch.first,
                    last: stretch.last,
                    slots: stretch.slots,
                    reason: reason.into(),
                }));
            }
        }
        slot::insert_exceptions(tx, &missed)?;
        slot::put_watermark(tx, &Watermark { through: Timestamp(now.0 - 1), ..mark })?;
        Ok(Some(now))
    };
    Ok(parts.store.write(write, work).await?)
}

fn look_at_canaries(parts: &Parts) {
    const PACE: std::time::Duration = std::time::Duration::from_secs(60);
    let parts = parts.clone();
    parts.rest.clone().supervise("canaries", Arc::clone(&parts.health), move || {
        let parts = parts.clone();
        async move {
            loop {
                let canaries = parts.store.catalog().location(&LocationName::from(LOCAL)).canaries;
                parts.runner.look_at_canaries(&canaries).await;
                parts.rest.sleep(PACE).await;
            }
        }
    });
}

fn pay_debts(parts: &Parts) {
    const PACE: std::time::Duration = std::time::Duration::from_secs(15);
    let parts = parts.clone();
    parts.rest.clone().supervise("debts", Arc::clone(&parts.health), move || {
        let parts = parts.clone();
        async move {
            loop {
                let catalog = parts.store.catalog();
                let guard = |location: &LocationName| {
                    Guard::allowing(catalog.location(location).allow.iter().filter_map(|range| range.parse().ok()).collect())
                };
                let paid = parts.runner.pay_debts(guard).await;
                if paid > 0 {
                    tracing::info!(debts = paid, "teardowns that were owed have been run");
                }
                parts.rest.sleep(PACE).await;
            }
        }
    });
}
