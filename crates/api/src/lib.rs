//! The JSON surfaces: the public status API, PagerDuty's REST shapes, providers' callbacks, health, and what our
//! own command line speaks. Every route names what it needs; nothing here sends or runs tests.

mod access;
pub mod console;
mod events;
mod health;
mod hooks;
mod metrics;
mod pagerduty;
mod public;
mod render;
mod state;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use allclear_ops::Permission;
use allclear_ops::route::{Access, Route};
pub use public::PublicPages;
pub use state::{App, Ready};

/// The largest body that a route reads: a callback or a bulk change is far smaller.
const LARGEST_BODY: usize = 1 << 20;

/// The largest configuration: more than 10,000 tests with their steps.
const LARGEST_CONFIGURATION: usize = 128 << 20;

/// Every route of the HTTP listener, for the router and for the test that walks them all.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/healthz", access: Access::Public },
    Route { method: "GET", path: "/readyz", access: Access::Public },
    Route { method: "GET", path: "/metrics", access: Access::Needs(Permission::MetricsRead) },
    Route { method: "GET", path: "/status/{slug}/api/v2/{*endpoint}", access: Access::Public },
    Route { method: "GET", path: "/api/v2/{*endpoint}", access: Access::Public },
    Route { method: "POST", path: "/hooks/slack/{channel}", access: Access::Signed },
    Route { method: "POST", path: "/hooks/twilio/{channel}/sms", access: Access::Signed },
    Route { method: "POST", path: "/hooks/twilio/{channel}/status/{attempt}", access: Access::Signed },
    Route { method: "POST", path: "/hooks/twilio/{channel}/voice/{attempt}", access: Access::Signed },
    Route { method: "POST", path: "/hooks/pagerduty/{channel}", access: Access::Signed },
    Route { method: "POST", path: "/hooks/runscope/{key}", access: Access::Key },
    Route { method: "POST", path: "/v2/enqueue", access: Access::Key },
    Route { method: "POST", path: "/v2/change/enqueue", access: Access::Key },
    Route { method: "POST", path: "/generic/2010-04-15/create_event.json", access: Access::Key },
    Route { method: "GET", path: "/pagerduty/incidents", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "PUT", path: "/pagerduty/incidents", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "GET", path: "/pagerduty/incidents/{id}", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "PUT", path: "/pagerduty/incidents/{id}", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "POST", path: "/pagerduty/incidents", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "GET", path: "/pagerduty/incidents/{id}/notes", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "POST", path: "/pagerduty/incidents/{id}/notes", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "POST", path: "/pagerduty/incidents/{id}/snooze", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "GET", path: "/pagerduty/incidents/{id}/log_entries", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "POST", path: "/config/v1/incidents", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "GET", path: "/config/v1/incidents", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "GET", path: "/config/v1/show/{key}", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "POST", path: "/config/v1/incidents/{id}", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "GET", path: "/config/v1/integrations", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "POST", path: "/config/v1/plan", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/config/v1/apply", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/config/v1/export", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/config/v1/tokens", access: Access::Needs(Permission::TokensWrite) },
];

fn handler(route: &Route) -> MethodRouter<App> {
    match (route.method, route.path) {
        ("GET", "/healthz") => get(health::healthz),
        ("GET", "/readyz") => get(health::readyz),
        ("GET", "/metrics") => get(metrics::get_metrics),
        ("GET", "/status/{slug}/api/v2/{*endpoint}") => get(public::by_slug).options(public::preflight),
        ("GET", "/api/v2/{*endpoint}") => get(public::by_host).options(public::preflight),
        ("POST", "/hooks/slack/{channel}") => post(hooks::slack),
        ("POST", "/hooks/twilio/{channel}/sms") => post(hooks::twilio_sms),
        ("POST", "/hooks/twilio/{channel}/status/{attempt}") => post(hooks::twilio_status),
        ("POST", "/hooks/twilio/{channel}/voice/{attempt}") => post(hooks::twilio_voice),
        ("POST", "/hooks/pagerduty/{channel}") => post(hooks::pagerduty),
        ("POST", "/hooks/runscope/{key}") => post(events::runscope),
        ("POST", "/v2/enqueue") => post(events::v2),
        ("POST", "/v2/change/enqueue") => post(events::change),
        ("POST", "/generic/2010-04-15/create_event.json") => post(events::v1),
        ("GET", "/pagerduty/incidents") => get(pagerduty::list),
        ("POST", "/pagerduty/incidents") => post(pagerduty::create),
        ("GET", "/pagerduty/incidents/{id}/notes") => get(pagerduty::notes),
        ("POST", "/pagerduty/incidents/{id}/notes") => post(pagerduty::add_note),
        ("POST", "/pagerduty/incidents/{id}/snooze") => post(pagerduty::snooze),
        ("PUT", "/pagerduty/incidents") => axum::routing::put(pagerduty::update_many),
        ("GET", "/pagerduty/incidents/{id}") => get(pagerduty::show),
        ("PUT", "/pagerduty/incidents/{id}") => axum::routing::put(pagerduty::update),
        ("GET", "/pagerduty/incidents/{id}/log_entries") => get(pagerduty::log_entries),
        ("GET", "/config/v1/incidents") => get(console::get_incidents),
        ("GET", "/config/v1/show/{key}") => get(console::get_show),
        ("POST", "/config/v1/incidents/{id}") => post(console::post_act),
        ("POST", "/config/v1/incidents") => post(console::post_declare),
        ("GET", "/config/v1/integrations") => get(console::get_integrations),
        ("POST", "/config/v1/plan") => post(console::post_plan).layer(DefaultBodyLimit::max(LARGEST_CONFIGURATION)),
        ("POST", "/config/v1/apply") => post(console::post_apply).layer(DefaultBodyLimit::max(LARGEST_CONFIGURATION)),
        ("GET", "/config/v1/export") => get(console::get_export),
        ("POST", "/config/v1/tokens") => post(console::post_token),
        _ => MethodRouter::new(),
    }
}

/// The router for the HTTP listener, with the `pages` that people read. A page's own host name answers public paths only.
pub fn router(app: App, pages: Router) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let answers = match route.access {
            Access::Public | Access::Signed | Access::Link => handler(route),
            Access::Key => handler(route).layer(map_response(events::counted)),
            Access::Needs(needed) => handler(route).layer(from_fn_with_state((app.clone(), needed), access::guard)),
        };
        router = router.route(route.path, answers);
    }
    let router = router.with_state(app.clone()).merge(pages).fallback(not_found);
    let on_the_pager = from_fn_with_state(app.clone(), on_the_pager);
    router.layer(on_the_pager).layer(from_fn_with_state(app, public::keep_hosts_apart)).layer(DefaultBodyLimit::max(LARGEST_BODY))
}

/// The same for the socket in the data folder, where everybody is the owner of the machine.
pub fn local_router(app: App) -> Router {
    router(App { local: true, ..app }, Router::new())
}

/// Carries a change out on the pager's thread: what readers ask for does not hold it up, and it runs to its end though
/// the caller goes away.
async fn on_the_pager(State(app): State<App>, request: Request, next: Next) -> Response {
    // A configuration may be large, and reading it must hold nobody's acknowledgement up.
    let is_configuration = ["/config/v1/plan", "/config/v1/apply"].contains(&request.uri().path());
    if request.method().is_safe() || is_configuration {
        return next.run(request).await;
    }
    let (reply, answer) = tokio::sync::oneshot::channel();
    app.pager.spawn(async move {
        // The caller may be gone.
        let _gone = reply.send(next.run(request).await);
    });
    answer.await.unwrap_or_else(|_| http::StatusCode::SERVICE_UNAVAILABLE.into_response())
}

/// What answers while the database cannot be reached: the public pages as they were last known; everything else says so.
pub fn waiting_router(pages: PublicPages) -> Router {
    let later = || async {
        let body = axum::Json(serde_json::json!({ "ready": false, "problems": ["the database cannot be reached"] }));
        (http::StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "5")], body)
    };
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/status/{slug}/api/v2/{*endpoint}", get(public::by_slug).options(public::preflight))
        .route("/api/v2/{*endpoint}", get(public::by_host).options(public::preflight))
        .fallback(later)
        .with_state(pages)
}

async fn not_found() -> (http::StatusCode, axum::Json<serde_json::Value>) {
    (http::StatusCode::NOT_FOUND, axum::Json(serde_json::json!({ "error": { "message": "Not Found", "code": 2100 } })))
}
