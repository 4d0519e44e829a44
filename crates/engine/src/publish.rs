//! Hands published pages over whenever one changed, and keeps a copy in the data folder, so that pages answer
//! while the database is away.

use std::path::PathBuf;
use std::sync::Arc;

use allclear_base::crash;
use allclear_ops::{OpsError, view};

use crate::Parts;

pub(crate) fn start(parts: &Parts) {
    let parts = parts.clone();
    parts.rest.clone().supervise("publish", Arc::clone(&parts.health), move || run(parts.clone()));
}

async fn run(parts: Parts) {
    loop {
        let clock = &*parts.rest.clock;
        parts.store.wakes().pages.wait_until(clock, parts.look_anyway_at(clock.now_us())).await;
        if let Err(error) = hand_over(&parts).await {
            tracing::warn!(%error, "published pages cannot be read; the last known stay");
        }
    }
}

pub(crate) async fn hand_over(parts: &Parts) -> Result<(), OpsError> {
    let pages = view::published_pages(&parts.store).await?;
    (parts.on_publish)(&pages);
    if let Err(error) = keep_copy(parts, &pages) {
        tracing::warn!(%error, "the copy of the published pages cannot be written");
    }
    crash::point("publish.after_write");
    Ok(())
}

/// The file from which pages are served when the database cannot be opened.
fn copy_path(parts: &Parts) -> PathBuf {
    parts.store.folder().join("pages.json")
}

fn keep_copy(parts: &Parts, pages: &[(i64, allclear_domain::status::published::PublishedPage)]) -> std::io::Result<()> {
    let path = copy_path(parts);
    let fresh = serde_json::to_vec(pages)?;
    if std::fs::read(&path).is_ok_and(|old| old == fresh) {
        return Ok(());
    }
    let beside = path.with_extension("new");
    std::fs::write(&beside, fresh)?;
    std::fs::rename(beside, path)
}
