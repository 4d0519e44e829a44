//! The JSON surfaces: the public status API, PagerDuty's REST shapes, providers' callbacks, health, and what our
//! own command line speaks. Every route names what it needs; nothing here sends or runs tests.

mod access;
pub mod console;
mod events;
mod front;
mod health;
mod hooks;
mod metrics;
mod pagerduty;
mod ping;
mod public;
mod render;
mod state;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post, put};

use allclear_ops::Permission;
use allclear_ops::route::{Access, Route};
pub use front::Front;
pub use public::{Asked, Older, PublicPages, Rendered, Renderer};
pub use state::{App, AppParts, Ready};

/// The largest body that a route reads: a callback or a bulk change is far smaller.
const LARGEST_BODY: usize = 1 << 20;

/// The largest configuration: more than 10,000 tests with their steps.
const LARGEST_CONFIGURATION: usize = 128 << 20;

/// Every route of the HTTP listener, for the router and for the test that walks them all.
pub const ROUTES: &[Route] = &[
    Route { method: "GET", path: "/healthz", access: Access::Public },
    Route { method: "GET", path: "/readyz", access: Access::Public },
    Route { method: "GET", path: "/metrics", access: Access::Needs(Permission::MetricsRead) },
    Route { method: "GET", path: "/status/{slug}", access: Access::Public },
    Route { method: "GET", path: "/status/{slug}/{*part}", access: Access::Public },
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
    Route { method: "GET", path: "/pagerduty/services", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/pagerduty/services", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/services/{id}", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "PUT", path: "/pagerduty/services/{id}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "DELETE", path: "/pagerduty/services/{id}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "POST", path: "/pagerduty/services/{id}/integrations", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/services/{id}/integrations/{integration}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "PUT", path: "/pagerduty/services/{id}/integrations/{integration}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "DELETE", path: "/pagerduty/services/{id}/integrations/{integration}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/escalation_policies", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/pagerduty/escalation_policies", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/escalation_policies/{id}", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "PUT", path: "/pagerduty/escalation_policies/{id}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "DELETE", path: "/pagerduty/escalation_policies/{id}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/schedules", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/pagerduty/schedules", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/schedules/{id}", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "PUT", path: "/pagerduty/schedules/{id}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "DELETE", path: "/pagerduty/schedules/{id}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/schedules/{id}/users", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "GET", path: "/pagerduty/schedules/{id}/overrides", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/pagerduty/schedules/{id}/overrides", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "DELETE", path: "/pagerduty/schedules/{id}/overrides/{override}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/oncalls", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "GET", path: "/pagerduty/users", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/pagerduty/users", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/users/me", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "GET", path: "/pagerduty/users/{id}", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "PUT", path: "/pagerduty/users/{id}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "DELETE", path: "/pagerduty/users/{id}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/users/{id}/contact_methods", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/pagerduty/users/{id}/contact_methods", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/users/{id}/contact_methods/{method}", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "PUT", path: "/pagerduty/users/{id}/contact_methods/{method}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "DELETE", path: "/pagerduty/users/{id}/contact_methods/{method}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/users/{id}/notification_rules", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/pagerduty/users/{id}/notification_rules", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/users/{id}/notification_rules/{rule}", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "PUT", path: "/pagerduty/users/{id}/notification_rules/{rule}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "DELETE", path: "/pagerduty/users/{id}/notification_rules/{rule}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/maintenance_windows", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/pagerduty/maintenance_windows", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/maintenance_windows/{id}", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "PUT", path: "/pagerduty/maintenance_windows/{id}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "DELETE", path: "/pagerduty/maintenance_windows/{id}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/pagerduty/priorities", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "GET", path: "/pagerduty/teams", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "GET", path: "/pagerduty/vendors", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "GET", path: "/pagerduty/abilities", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "GET", path: "/pagerduty/abilities/{id}", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "PUT", path: "/pagerduty/incidents/{id}/merge", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "GET", path: "/pagerduty/incidents/{id}/alerts", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "GET", path: "/pagerduty/incidents/{id}/alerts/{alert}", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "GET", path: "/pagerduty/log_entries/{id}", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "GET", path: "/ping/{key}", access: Access::Key },
    Route { method: "POST", path: "/ping/{key}", access: Access::Key },
    Route { method: "GET", path: "/ping/{key}/{signal}", access: Access::Key },
    Route { method: "POST", path: "/ping/{key}/{signal}", access: Access::Key },
    Route { method: "POST", path: "/config/v1/merge/{id}", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "GET", path: "/config/v1/heartbeats", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "POST", path: "/config/v1/users/{name}/reset", access: Access::Needs(Permission::TokensWrite) },
    Route { method: "GET", path: "/config/v1/secrets", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "PUT", path: "/config/v1/secrets/{name}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "DELETE", path: "/config/v1/secrets/{name}", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "POST", path: "/config/v1/incidents", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "GET", path: "/config/v1/incidents", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "GET", path: "/config/v1/show/{key}", access: Access::Needs(Permission::IncidentsRead) },
    Route { method: "POST", path: "/config/v1/incidents/{id}", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "GET", path: "/config/v1/integrations", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "POST", path: "/config/v1/plan", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/config/v1/apply", access: Access::Needs(Permission::ConfigWrite) },
    Route { method: "GET", path: "/config/v1/export", access: Access::Needs(Permission::ConfigRead) },
    Route { method: "POST", path: "/config/v1/tokens", access: Access::Needs(Permission::TokensWrite) },
    Route { method: "GET", path: "/config/v1/tokens", access: Access::Needs(Permission::TokensWrite) },
    Route { method: "DELETE", path: "/config/v1/tokens/{key}", access: Access::Needs(Permission::TokensWrite) },
    Route { method: "POST", path: "/config/v1/test-messages", access: Access::Needs(Permission::IncidentsWrite) },
    Route { method: "GET", path: "/config/v1/test-messages/{ids}", access: Access::Needs(Permission::IncidentsRead) },
];

fn handler(route: &Route) -> MethodRouter<App> {
    match (route.method, route.path) {
        ("GET", "/healthz") => get(health::healthz),
        ("GET", "/readyz") => get(health::readyz),
        ("GET", "/metrics") => get(metrics::get_metrics),
        ("GET", "/status/{slug}") => get(public::by_slug).options(preflight),
        ("GET", "/status/{slug}/{*part}") => get(public::part_by_slug).options(preflight),
        ("POST", "/hooks/slack/{channel}") => post(hooks::slack),
        ("POST", "/hooks/twilio/{channel}/sms") => post(hooks::twilio_sms),
        ("POST", "/hooks/twilio/{channel}/status/{attempt}") => post(hooks::twilio_status),
        ("POST", "/hooks/twilio/{channel}/voice/{attempt}") => post(hooks::twilio_voice),
        ("POST", "/hooks/pagerduty/{channel}") => post(hooks::pagerduty),
        ("POST", "/hooks/runscope/{key}") => post(events::runscope),
        ("POST", "/v2/enqueue") => post(events::v2),
        ("POST", "/v2/change/enqueue") => post(events::change),
        ("POST", "/generic/2010-04-15/create_event.json") => post(events::v1),
        ("GET", "/pagerduty/incidents") => get(pagerduty::incidents::list),
        ("POST", "/pagerduty/incidents") => post(pagerduty::incidents::create),
        ("GET", "/pagerduty/incidents/{id}/notes") => get(pagerduty::incidents::notes),
        ("POST", "/pagerduty/incidents/{id}/notes") => post(pagerduty::incidents::add_note),
        ("POST", "/pagerduty/incidents/{id}/snooze") => post(pagerduty::incidents::snooze),
        ("PUT", "/pagerduty/incidents") => put(pagerduty::incidents::update_many),
        ("GET", "/pagerduty/incidents/{id}") => get(pagerduty::incidents::show),
        ("PUT", "/pagerduty/incidents/{id}") => put(pagerduty::incidents::update),
        ("GET", "/pagerduty/incidents/{id}/log_entries") => get(pagerduty::incidents::log_entries),
        ("GET", "/pagerduty/services") => get(pagerduty::services::list),
        ("POST", "/pagerduty/services") => post(pagerduty::services::create),
        ("GET", "/pagerduty/services/{id}") => get(pagerduty::services::show),
        ("PUT", "/pagerduty/services/{id}") => put(pagerduty::services::update),
        ("DELETE", "/pagerduty/services/{id}") => delete(pagerduty::services::remove),
        ("POST", "/pagerduty/services/{id}/integrations") => post(pagerduty::services::add_integration),
        ("GET", "/pagerduty/services/{id}/integrations/{integration}") => get(pagerduty::services::show_integration),
        ("PUT", "/pagerduty/services/{id}/integrations/{integration}") => put(pagerduty::services::update_integration),
        ("DELETE", "/pagerduty/services/{id}/integrations/{integration}") => delete(pagerduty::services::remove_integration),
        ("GET", "/pagerduty/escalation_policies") => get(pagerduty::policies::list),
        ("POST", "/pagerduty/escalation_policies") => post(pagerduty::policies::create),
        ("GET", "/pagerduty/escalation_policies/{id}") => get(pagerduty::policies::show),
        ("PUT", "/pagerduty/escalation_policies/{id}") => put(pagerduty::policies::update),
        ("DELETE", "/pagerduty/escalation_policies/{id}") => delete(pagerduty::policies::remove),
        ("GET", "/pagerduty/schedules") => get(pagerduty::schedules::list),
        ("POST", "/pagerduty/schedules") => post(pagerduty::schedules::create),
        ("GET", "/pagerduty/schedules/{id}") => get(pagerduty::schedules::show),
        ("PUT", "/pagerduty/schedules/{id}") => put(pagerduty::schedules::update),
        ("DELETE", "/pagerduty/schedules/{id}") => delete(pagerduty::schedules::remove),
        ("GET", "/pagerduty/schedules/{id}/users") => get(pagerduty::schedules::users),
        ("GET", "/pagerduty/schedules/{id}/overrides") => get(pagerduty::schedules::overrides),
        ("POST", "/pagerduty/schedules/{id}/overrides") => post(pagerduty::schedules::add_overrides),
        ("DELETE", "/pagerduty/schedules/{id}/overrides/{override}") => delete(pagerduty::schedules::remove_override),
        ("GET", "/pagerduty/oncalls") => get(pagerduty::oncalls::list),
        ("GET", "/pagerduty/users") => get(pagerduty::people::list),
        ("POST", "/pagerduty/users") => post(pagerduty::people::create),
        ("GET", "/pagerduty/users/me") => get(pagerduty::people::me),
        ("GET", "/pagerduty/users/{id}") => get(pagerduty::people::show),
        ("PUT", "/pagerduty/users/{id}") => put(pagerduty::people::update),
        ("DELETE", "/pagerduty/users/{id}") => delete(pagerduty::people::remove),
        ("GET", "/pagerduty/users/{id}/contact_methods") => get(pagerduty::people::methods),
        ("POST", "/pagerduty/users/{id}/contact_methods") => post(pagerduty::people::create_method),
        ("GET", "/pagerduty/users/{id}/contact_methods/{method}") => get(pagerduty::people::method),
        ("PUT", "/pagerduty/users/{id}/contact_methods/{method}") => put(pagerduty::people::update_method),
        ("DELETE", "/pagerduty/users/{id}/contact_methods/{method}") => delete(pagerduty::people::remove_method),
        ("GET", "/pagerduty/users/{id}/notification_rules") => get(pagerduty::people::rules),
        ("POST", "/pagerduty/users/{id}/notification_rules") => post(pagerduty::people::create_rule),
        ("GET", "/pagerduty/users/{id}/notification_rules/{rule}") => get(pagerduty::people::rule),
        ("PUT", "/pagerduty/users/{id}/notification_rules/{rule}") => put(pagerduty::people::update_rule),
        ("DELETE", "/pagerduty/users/{id}/notification_rules/{rule}") => delete(pagerduty::people::remove_rule),
        ("GET", "/pagerduty/maintenance_windows") => get(pagerduty::windows::list),
        ("POST", "/pagerduty/maintenance_windows") => post(pagerduty::windows::create),
        ("GET", "/pagerduty/maintenance_windows/{id}") => get(pagerduty::windows::show),
        ("PUT", "/pagerduty/maintenance_windows/{id}") => put(pagerduty::windows::update),
        ("DELETE", "/pagerduty/maintenance_windows/{id}") => delete(pagerduty::windows::remove),
        ("GET", "/pagerduty/priorities") => get(pagerduty::windows::priorities),
        ("GET", "/pagerduty/teams") => get(pagerduty::windows::none),
        ("GET", "/pagerduty/vendors") => get(pagerduty::windows::none),
        ("GET", "/pagerduty/abilities") => get(pagerduty::windows::abilities),
        ("GET", "/pagerduty/abilities/{id}") => get(pagerduty::windows::ability),
        ("PUT", "/pagerduty/incidents/{id}/merge") => put(pagerduty::incidents::merge),
        ("GET", "/pagerduty/incidents/{id}/alerts") => get(pagerduty::incidents::alerts),
        ("GET", "/pagerduty/incidents/{id}/alerts/{alert}") => get(pagerduty::incidents::alert),
        ("GET", "/pagerduty/log_entries/{id}") => get(pagerduty::incidents::log_entry),
        ("GET", "/ping/{key}") => get(ping::success),
        ("POST", "/ping/{key}") => post(ping::success),
        ("GET", "/ping/{key}/{signal}") => get(ping::signal),
        ("POST", "/ping/{key}/{signal}") => post(ping::signal),
        ("POST", "/config/v1/merge/{id}") => post(console::post_merge),
        ("GET", "/config/v1/heartbeats") => get(console::get_heartbeats),
        ("POST", "/config/v1/users/{name}/reset") => post(console::post_reset),
        ("GET", "/config/v1/secrets") => get(console::get_secrets),
        ("PUT", "/config/v1/secrets/{name}") => put(console::put_secret),
        ("DELETE", "/config/v1/secrets/{name}") => delete(console::delete_secret),
        ("GET", "/config/v1/incidents") => get(console::get_incidents),
        ("GET", "/config/v1/show/{key}") => get(console::get_show),
        ("POST", "/config/v1/incidents/{id}") => post(console::post_act),
        ("POST", "/config/v1/incidents") => post(console::post_declare),
        ("GET", "/config/v1/integrations") => get(console::get_integrations),
        ("POST", "/config/v1/plan") => post(console::post_plan).layer(DefaultBodyLimit::max(LARGEST_CONFIGURATION)),
        ("POST", "/config/v1/apply") => post(console::post_apply).layer(DefaultBodyLimit::max(LARGEST_CONFIGURATION)),
        ("GET", "/config/v1/export") => get(console::get_export),
        ("POST", "/config/v1/tokens") => post(console::post_token),
        ("GET", "/config/v1/tokens") => get(console::get_tokens),
        ("DELETE", "/config/v1/tokens/{key}") => delete(console::delete_token),
        ("POST", "/config/v1/test-messages") => post(console::post_test_message),
        ("GET", "/config/v1/test-messages/{ids}") => get(console::get_test_messages),
        _ => MethodRouter::new(),
    }
}

/// The router for the HTTP listener, with the `pages` that people read, which also answer where nothing is. A page's own host name
/// answers public paths only.
pub fn router(app: App, pages: Router) -> Front {
    let mut router = Router::new();
    for route in ROUTES {
        let answers = match route.access {
            Access::Public | Access::Signed | Access::Link => handler(route),
            Access::Key => handler(route).layer(map_response(events::counted)),
            Access::Needs(needed) => handler(route).layer(from_fn_with_state((app.clone(), needed), access::guard)),
        };
        router = router.route(route.path, answers);
    }
    let router = router.with_state(app.clone()).merge(pages);
    let on_the_pager = from_fn_with_state(app.clone(), on_the_pager);
    Front::new(app.pages.clone(), router.layer(on_the_pager).layer(DefaultBodyLimit::max(LARGEST_BODY)))
}

/// The same for the socket in the data folder, where everybody is the owner of the machine.
pub fn local_router(app: &App) -> Front {
    router(App::new(AppParts { local: true, ..AppParts::clone(app) }), Router::new().fallback(not_found))
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

/// What answers while the database cannot be reached: the public pages as they were last known, with the `assets` that
/// they need; everything else says so.
pub fn waiting_router(pages: PublicPages, assets: Router) -> Front {
    let later = || async {
        let body = axum::Json(serde_json::json!({ "ready": false, "problems": ["the database cannot be reached"] }));
        (http::StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "5")], body)
    };
    let routes = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/status/{slug}", get(public::by_slug).options(preflight))
        .route("/status/{slug}/{*part}", get(public::part_by_slug).options(preflight))
        .fallback(later)
        .with_state(pages.clone())
        .merge(assets);
    Front::new(pages, routes)
}

async fn preflight() -> Response {
    public::preflight()
}

async fn not_found() -> (http::StatusCode, axum::Json<serde_json::Value>) {
    (http::StatusCode::NOT_FOUND, axum::Json(serde_json::json!({ "error": { "message": "Not Found", "code": 2100 } })))
}
