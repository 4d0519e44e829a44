//! What the handlers share.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use allclear_base::runtime::Health;
use allclear_base::{Rng, Runtime, Vault};
use allclear_channels::Channels;
use allclear_store::Store;
use allclear_store::evidence::Evidence;
use axum::extract::FromRef;

use crate::PublicPages;

/// What the handlers share: one thing to clone, for every request does so several times.
#[derive(Clone)]
pub struct App(Arc<AppParts>);

impl App {
    /// Puts it together.
    #[must_use]
    pub fn new(parts: AppParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = AppParts;

    fn deref(&self) -> &AppParts {
        &self.0
    }
}

/// What there is to share.
#[derive(Clone)]
pub struct AppParts {
    /// The database.
    pub store: Store,
    /// The evidence.
    pub evidence: Evidence,
    /// Chance.
    pub rng: Arc<dyn Rng>,
    /// Where changes are carried out: nothing that readers ask for holds an acknowledgement up.
    pub pager: Runtime,
    /// For verifying callbacks.
    pub channels: Channels,
    /// What opens the stored secrets.
    pub vault: Arc<Vault>,
    /// The public pages.
    pub pages: PublicPages,
    /// How the loops fare.
    pub health: Arc<Health>,
    /// Whether requests should come.
    pub ready: Ready,
    /// Whether this is the socket in the data folder.
    pub local: bool,
}

impl FromRef<App> for PublicPages {
    fn from_ref(app: &App) -> Self {
        app.pages.clone()
    }
}

/// Whether AllClear is up and not on its way down. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// Sets it.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::SeqCst);
    }

    /// Asks for it.
    #[must_use]
    pub fn get(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
