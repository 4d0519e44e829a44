//! What people see in a browser: server-rendered pages, one view struct each, which work without a script. The rooms of
//! the app follow; the first page is the one behind a mail's link.

mod answer;
mod assets;
mod page;
pub mod status;

use std::sync::Arc;

use allclear_base::Rng;
use allclear_ops::route::{Access, Route};
use allclear_store::Store;
use axum::Router;
use axum::routing::{MethodRouter, get, post};

/// What the pages share. Cheap to clone.
#[derive(Clone)]
pub struct Web {
    /// The database.
    pub store: Store,
    /// Chance.
    pub rng: Arc<dyn Rng>,
}

/// Every route of the pages, for the router and for the test that walks them all.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/answer/{link}", access: Access::Link },
    Route { method: "POST", path: "/answer/{link}", access: Access::Link },
    Route { method: "GET", path: "/assets/{name}", access: Access::Public },
];

fn handler(route: &Route) -> MethodRouter<Web> {
    match (route.method, route.path) {
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
    ROUTES.iter().fold(Router::new(), |router, route| router.route(route.path, handler(route))).with_state(web)
}
