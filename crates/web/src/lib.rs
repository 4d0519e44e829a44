//! What people see in a browser: server-rendered pages, one view struct each, which work without a script: the app, the page
//! behind a mail's link, and the public status pages.

mod answer;
mod app;
mod assets;
mod page;
pub mod status;

use std::sync::Arc;

use allclear_base::runtime::Health;
use allclear_base::{Rng, Runtime};
use allclear_ops::Permission::{ConfigRead, IncidentsRead, IncidentsWrite};
use allclear_ops::route::{Access, Route};
use allclear_store::Store;
use allclear_store::evidence::Evidence;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post};
use tokio::sync::Semaphore;

use app::entry::{self, Attempts};
use app::{guard, incidents, overview, tests};

/// What the pages share. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    store: Store,
    evidence: Evidence,
    rng: Arc<dyn Rng>,
    runtime: Runtime,
    health: Arc<Health>,
    /// Whether cookies go over TLS alone.
    secure: bool,
    attempts: Attempts,
    /// Passwords are hashed one after the other: it takes memory and time on purpose.
    hashing: Arc<Semaphore>,
}

impl Web {
    /// With the database, the evidence of runs, chance and tasks, how the loops fare, and the address that others use.
    #[must_use]
    pub fn new(store: Store, evidence: Evidence, runtime: Runtime, health: Arc<Health>, public_url: &str) -> Self {
        Self {
            store,
            evidence,
            rng: Arc::clone(&runtime.rng),
            runtime,
            health,
            secure: public_url.starts_with("https://"),
            attempts: Attempts::default(),
            hashing: Arc::new(Semaphore::new(1)),
        }
    }
}

/// Every route of the pages, for the router and for the test that walks them all.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/", access: Access::Needs(IncidentsRead) },
    Route { method: "GET", path: "/incidents", access: Access::Needs(IncidentsRead) },
    Route { method: "POST", path: "/incidents", access: Access::Needs(IncidentsWrite) },
    Route { method: "GET", path: "/incidents/{id}", access: Access::Needs(IncidentsRead) },
    Route { method: "POST", path: "/incidents/{id}", access: Access::Needs(IncidentsWrite) },
    Route { method: "GET", path: "/tests", access: Access::Needs(ConfigRead) },
    Route { method: "GET", path: "/tests/{id}", access: Access::Needs(ConfigRead) },
    Route { method: "GET", path: "/runs/{id}", access: Access::Needs(IncidentsRead) },
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
        ("GET", "/incidents") => get(incidents::list),
        ("POST", "/incidents") => post(incidents::declare),
        ("GET", "/incidents/{id}") => get(incidents::show),
        ("POST", "/incidents/{id}") => post(incidents::act),
        ("GET", "/tests") => get(tests::list),
        ("GET", "/tests/{id}") => get(tests::show),
        ("GET", "/runs/{id}") => get(tests::run),
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
    router.with_state(web)
}
