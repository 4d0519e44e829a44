//! Hands published pages over whenever one changed, and keeps a copy in the data folder, so that pages answer
//! while the database is away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use allclear_base::crash;
use allclear_domain::Timestamp;
use allclear_domain::status::published::PublishedPage;
use allclear_ops::{OpsError, view};

use crate::{Parts, Published};

/// The commit that changes a page also pages people. They come first: rendering takes a processor for some milliseconds, and
/// customers see a change within a tenth of a second all the same. Several changes are rendered once.
const AFTER_PAGERS: Duration = Duration::from_millis(20);

/// Looks in a row that fail before pages say that they may be old.
const FAILURES_UNTIL_SAID: u32 = 3;

pub(crate) fn start(parts: &Parts) {
    let parts = parts.clone();
    parts.rest.clone().supervise("publish", Arc::clone(&parts.health), move || run(parts.clone()));
}

async fn run(parts: Parts) {
    let (mut failures, mut read_at) = (0_u32, Timestamp(parts.rest.clock.now_us()));
    loop {
        let clock = &*parts.rest.clock;
        parts.store.wakes().pages.wait_until(clock, parts.look_anyway_at(clock.now_us())).await;
        parts.rest.sleep(AFTER_PAGERS).await;
        match hand_over(&parts).await {
            Ok(()) => (failures, read_at) = (0, Timestamp(parts.rest.clock.now_us())),
            Err(error) => {
                tracing::warn!(%error, "published pages cannot be read; the last known stay");
                failures = failures.saturating_add(1);
                // Once may be a moment.
                if failures >= FAILURES_UNTIL_SAID {
                    (parts.on_publish)(Published::AwaySince(read_at));
                }
            }
        }
    }
}

pub(crate) async fn hand_over(parts: &Parts) -> Result<(), OpsError> {
    let pages = view::published_pages(&parts.store).await?;
    (parts.on_publish)(Published::Pages(&pages));
    if let Err(error) = keep_copy(parts, &pages) {
        tracing::warn!(%error, "the copy of the published pages cannot be written");
    }
    crash::point("publish.after_write");
    Ok(())
}

/// The file from which pages are served when the database cannot be opened.
fn copy_path(folder: &Path) -> PathBuf {
    folder.join("pages.json")
}

/// The pages as they were last known to whoever ran on this data folder; nothing where nobody did, or the file is damaged.
#[must_use]
pub fn kept_pages(folder: &Path) -> Option<Vec<(i64, PublishedPage)>> {
    let bytes = std::fs::read(copy_path(folder)).ok()?;
    serde_json::from_slice(&bytes).inspect_err(|error| tracing::warn!(%error, "the copy of the published pages cannot be read")).ok()
}

fn keep_copy(parts: &Parts, pages: &[(i64, PublishedPage)]) -> std::io::Result<()> {
    let path = copy_path(parts.store.folder());
    let fresh = serde_json::to_vec(pages)?;
    if std::fs::read(&path).is_ok_and(|old| old == fresh) {
        return Ok(());
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, fresh)?;
    std::fs::rename(beside, path)
}
