//! Tells open pages that something may have changed; each then fetches itself again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use allclear_ops::session::{self, SignedIn};
use axum::extract::State;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use http::header::{CACHE_CONTROL, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use super::guard::{Viewer, session_in};
use crate::Web;

/// Streams at the same time; a page without one is as good after a reload.
pub(crate) const MOST_STREAMS: usize = 200;

/// How often a stream looks for a change: nobody reads faster, and a flood of changes costs a page no more.
const PACE: Duration = Duration::from_secs(1);

/// Paces between two signs of life, and between two looks at a session of which nothing changed: it may have grown too old.
const SIGN_OF_LIFE: u32 = 15;

/// A stream ends after so many paces, and the browser opens the next.
const LONGEST: u32 = 3_600;

struct Listening {
    web: Web,
    who: SignedIn,
    session: String,
    commits: u64,
    paces: u32,
    _permit: OwnedSemaphorePermit,
}

/// `GET /live`
pub(crate) async fn stream(State(web): State<Web>, Viewer(who): Viewer, headers: HeaderMap) -> Response {
    let (Ok(permit), Some(session)) = (Arc::clone(&web.streams).try_acquire_owned(), session_in(&headers)) else {
        return (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "30")]).into_response();
    };
    let commits = web.store.commits();
    let listening = Listening { web, who, session, commits, paces: 0, _permit: permit };
    let mut response = Sse::new(stream::unfold(listening, next)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The next event; nothing once the stream is over.
async fn next(mut listening: Listening) -> Option<(Result<Event, Infallible>, Listening)> {
    while listening.paces < LONGEST {
        listening.web.runtime.sleep(PACE).await;
        listening.paces += 1;
        let commits = listening.web.store.commits();
        let has_changed = commits != listening.commits;
        let is_time = listening.paces.is_multiple_of(SIGN_OF_LIFE);
        // A session ends by a commit: nobody hears of anything after it.
        if (has_changed || is_time) && !listening.is_still_good().await {
            return None;
        }
        if has_changed {
            listening.commits = commits;
            // A browser drops an event that carries nothing.
            return Some((Ok(Event::default().event("changed").data(commits.to_string())), listening));
        }
        if is_time {
            return Some((Ok(Event::default().comment("")), listening));
        }
    }
    None
}

impl Listening {
    /// Whether the session is there and its role is the same. A database that is away ends nobody's session.
    async fn is_still_good(&self) -> bool {
        match session::who(&self.web.store, &self.session).await {
            Ok(Some(now)) => now.role == self.who.role,
            Ok(None) => false,
            Err(_) => true,
        }
    }
}
