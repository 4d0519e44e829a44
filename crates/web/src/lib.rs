//! What people see in a browser: server-rendered pages, one view struct each, which work without a script: the app, the page
//! behind a mail's link, and the public status pages.

mod answer;
mod app;
mod assets;
mod page;
mod prose;
#[cfg(test)]
mod snapshots;
pub mod status;

use std::collections::BTreeSet;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;

use allclear_base::runtime::Health;
use allclear_base::{Rng, Runtime};
use allclear_domain::apitest::document::Test;
use allclear_domain::apitest::report::RunReport;
use allclear_domain::{TestId, Timestamp};
use allclear_ops::Permission::{ConfigRead, ConfigWrite, IncidentsRead, IncidentsWrite};
use allclear_ops::route::{Access, Route};
use allclear_store::Store;
use allclear_store::evidence::Evidence;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use tokio::sync::Semaphore;

pub use assets::PUT_IN_PLACE;

use app::attempts::Attempts;
use app::{account, editor, entry, guard, incidents, live, overview, pages, rules, tests};

/// A future that runs a test.
pub type Trial = Pin<Box<dyn Future<Output = Option<RunReport>> + Send>>;

/// What runs tests, as pages see it.
pub trait Runs: Send + Sync {
    /// Runs a test that is being written; nothing is kept. Nothing where too many are tried out already.
    fn try_out(&self, test: Test, environment: String) -> Trial;

    /// The tests whose last run did not pass, somewhere where they are scheduled.
    fn not_passing(&self) -> BTreeSet<TestId>;

    /// The latest runs of a test, oldest first: whether each passed, and how many milliseconds it took.
    fn recent(&self, test: &TestId) -> Vec<(bool, u32, Timestamp)>;
}

/// What the pages share: one thing to clone, for every request does so several times.
#[derive(Clone)]
pub struct Web(Arc<Shared>);

impl Deref for Web {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What there is to share.
pub struct Shared {
    store: Store,
    evidence: Evidence,
    rng: Arc<dyn Rng>,
    runtime: Runtime,
    health: Arc<Health>,
    runs: Arc<dyn Runs>,
    /// Whether cookies go over TLS alone.
    secure: bool,
    attempts: Attempts,
    /// Passwords are hashed one after the other: it takes memory and time on purpose.
    hashing: Arc<Semaphore>,
    /// Places for pages that listen for changes.
    streams: Arc<Semaphore>,
}

impl Web {
    /// With the database, the evidence of runs, chance and tasks, how the loops fare, what runs tests, and the address that
    /// others use.
    #[must_use]
    pub fn new(store: Store, evidence: Evidence, runtime: Runtime, health: Arc<Health>, runs: Arc<dyn Runs>, public_url: &str) -> Self {
        Self(Arc::new(Shared {
            store,
            evidence,
            rng: Arc::clone(&runtime.rng),
            runtime,
            health,
            runs,
            secure: public_url.starts_with("https://"),
            attempts: Attempts::default(),
            hashing: Arc::new(Semaphore::new(1)),
            streams: Arc::new(Semaphore::new(live::MOST_STREAMS)),
        }))
    }
}

/// Every route of the pages, for the router and for the test that walks them all.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/", access: Access::Needs(IncidentsRead) },
    Route { method: "GET", path: "/live", access: Access::Needs(IncidentsRead) },
    Route { method: "GET", path: "/incidents", access: Access::Needs(IncidentsRead) },
    Route { method: "POST", path: "/incidents", access: Access::Needs(IncidentsWrite) },
    Route { method: "GET", path: "/incidents/{id}", access: Access::Needs(IncidentsRead) },
    Route { method: "POST", path: "/incidents/{id}", access: Access::Needs(IncidentsWrite) },
    Route { method: "GET", path: "/tests", access: Access::Needs(ConfigRead) },
    Route { method: "GET", path: "/tests/{id}", access: Access::Needs(ConfigRead) },
    Route { method: "POST", path: "/tests/{id}", access: Access::Needs(IncidentsWrite) },
    Route { method: "POST", path: "/tests/{id}/pause", access: Access::Needs(ConfigWrite) },
    Route { method: "GET", path: "/tests/{id}/edit", access: Access::Needs(ConfigWrite) },
    Route { method: "POST", path: "/tests/{id}/edit", access: Access::Needs(ConfigWrite) },
    Route { method: "GET", path: "/new-test", access: Access::Needs(ConfigWrite) },
    Route { method: "POST", path: "/new-test", access: Access::Needs(ConfigWrite) },
    Route { method: "GET", path: "/account", access: Access::Needs(IncidentsRead) },
    Route { method: "POST", path: "/account", access: Access::Needs(IncidentsRead) },
    Route { method: "GET", path: "/runs/{id}", access: Access::Needs(IncidentsRead) },
    Route { method: "GET", path: "/pages", access: Access::Needs(IncidentsRead) },
    Route { method: "GET", path: "/pages/{id}", access: Access::Needs(IncidentsRead) },
    Route { method: "POST", path: "/pages/{id}", access: Access::Needs(IncidentsWrite) },
    Route { method: "GET", path: "/pages/{id}/new-rule", access: Access::Needs(ConfigWrite) },
    Route { method: "POST", path: "/pages/{id}/new-rule", access: Access::Needs(ConfigWrite) },
    Route { method: "GET", path: "/rules/{id}", access: Access::Needs(ConfigWrite) },
    Route { method: "POST", path: "/rules/{id}", access: Access::Needs(ConfigWrite) },
    Route { method: "GET", path: "/public-incidents/{id}", access: Access::Needs(IncidentsRead) },
    Route { method: "POST", path: "/public-incidents/{id}", access: Access::Needs(IncidentsWrite) },
    Route { method: "GET", path: "/components/{id}", access: Access::Needs(IncidentsRead) },
    Route { method: "GET", path: "/sign-in", access: Access::Public },
    Route { method: "POST", path: "/sign-in", access: Access::Public },
    Route { method: "POST", path: "/sign-out", access: Access::Public },
    Route { method: "GET", path: "/enter/{link}", access: Access::Link },
    Route { method: "POST", path: "/enter/{link}", access: Access::Link },
    Route { method: "GET", path: "/answer/{link}", access: Access::Link },
    Route { method: "POST", path: "/answer/{link}", access: Access::Link },
    Route { method: "GET", path: "/assets/{name}", access: Access::Public },
];

fn handler(route: &Route) -> MethodRouter<Web> {
    match (route.method, route.path) {
        ("GET", "/") => get(overview::show),
        ("GET", "/live") => get(live::stream),
        ("GET", "/incidents") => get(incidents::list),
        ("POST", "/incidents") => post(incidents::declare),
        ("GET", "/incidents/{id}") => get(incidents::show),
        ("POST", "/incidents/{id}") => post(incidents::act),
        ("GET", "/tests") => get(tests::list),
        ("GET", "/tests/{id}") => get(tests::show),
        ("POST", "/tests/{id}") => post(editor::run_now),
        ("POST", "/tests/{id}/pause") => post(editor::pause),
        ("GET", "/tests/{id}/edit") => get(editor::show_known),
        ("POST", "/tests/{id}/edit") => post(editor::act_known),
        ("GET", "/new-test") => get(editor::show_new),
        ("POST", "/new-test") => post(editor::act_new),
        ("GET", "/account") => get(account::show),
        ("POST", "/account") => post(account::act),
        ("GET", "/runs/{id}") => get(tests::run),
        ("GET", "/pages") => get(pages::list),
        ("GET", "/pages/{id}") => get(pages::show),
        ("POST", "/pages/{id}") => post(pages::act),
        ("GET", "/pages/{id}/new-rule") => get(rules::show_new),
        ("POST", "/pages/{id}/new-rule") => post(rules::add),
        ("GET", "/rules/{id}") => get(rules::show),
        ("POST", "/rules/{id}") => post(rules::act),
        ("GET", "/public-incidents/{id}") => get(pages::show_public),
        ("POST", "/public-incidents/{id}") => post(pages::act_public),
        ("GET", "/components/{id}") => get(pages::show_component),
        ("GET", "/sign-in") => get(entry::sign_in_page),
        ("POST", "/sign-in") => post(entry::sign_in),
        ("POST", "/sign-out") => post(entry::sign_out),
        ("GET", "/enter/{link}") => get(entry::enter_page),
        ("POST", "/enter/{link}") => post(entry::enter),
        ("GET", "/answer/{link}") => get(answer::show),
        ("POST", "/answer/{link}") => post(answer::act),
        ("GET", "/assets/{name}") => get(assets::asset),
        _ => MethodRouter::new(),
    }
}

/// What a public page needs besides itself, where nothing else of the app answers.
pub fn assets_router() -> Router {
    Router::new().route("/assets/{name}", get(assets::asset))
}

/// The pages.
pub fn router(web: Web) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let answers = match route.access {
            Access::Public | Access::Signed | Access::Key | Access::Link => handler(route),
            Access::Needs(needed) => handler(route).layer(from_fn_with_state((web.clone(), needed), guard::guard)),
        };
        router = router.route(route.path, answers);
    }
    let router = router.layer(from_fn(guard::from_here)).fallback(page::nothing_there);
    router.layer(from_fn_with_state(web.clone(), page::pack)).with_state(web)
}
