//! Every route with every identity: what a caller may not do is refused, and nothing else is.

use std::sync::Arc;

use allclear_acceptance::idle::NoRuns;
use allclear_api::{App, AppParts, Front, PublicPages, Ready};
use allclear_base::runtime::{Health, TokioSpawn};
use allclear_base::{OsRng, Runtime, Secrets, SystemClock, Vault};
use allclear_channels::{Channels, Site};
use allclear_domain::delivery::Role;
use allclear_egress::{Client, TcpConnect};
use allclear_ops::route::{Access, Route};
use allclear_ops::{Actor, Permission, token};
use allclear_store::evidence::Evidence;
use allclear_store::{Backend, Options, Store};
use allclear_web::Web;
use axum::body::Body;
use http::{Request, Response, StatusCode};
use tower::ServiceExt;

pub(crate) struct Api {
    pub(crate) router: Front,
    local: Front,
    pub(crate) store: Store,
    folder: tempfile::TempDir,
}

impl Api {
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.store.close();
    }
}

pub(crate) fn api() -> Api {
    let folder = tempfile::tempdir().expect("a folder");
    let clock = Arc::new(SystemClock::start());
    let options = Options { backend: Backend::sqlite(folder.path()), clock: Arc::clone(&clock) as _, rng: Arc::new(OsRng) };
    let store = Store::open(&options).expect("a database");
    let runtime = Runtime { clock: Arc::clone(&clock) as _, rng: Arc::new(OsRng), spawner: Arc::new(TokioSpawn) };
    let client = Client::new(Arc::new(TcpConnect::new(clock as _)), Arc::clone(&runtime.clock));
    let app = App::new(AppParts {
        store: store.clone(),
        evidence: Evidence::open(folder.path()).expect("a folder"),
        rng: Arc::new(OsRng),
        pager: runtime.clone(),
        channels: Channels::new(client, Arc::new(Secrets::default()), Site::new("http://allclear.test", Some("http://allclear.test"))),
        vault: Arc::new(Vault::new(&[7; 32], Arc::default()).expect("a key")),
        pages: PublicPages::without_html("http://allclear.test"),
        health: Arc::new(Health::default()),
        ready: Ready::default(),
        local: false,
    });
    let pages = allclear_web::router(Web::new(
        store.clone(),
        app.evidence.clone(),
        app.pager.clone(),
        Arc::clone(&app.health),
        Arc::new(NoRuns),
        "http://allclear.test",
    ));
    Api { router: allclear_api::router(app.clone(), pages), local: allclear_api::local_router(&app), store, folder }
}

/// Every route, whichever room answers it.
fn routes() -> Vec<Route> {
    [allclear_api::ROUTES, allclear_web::ROUTES].concat()
}

fn path_of(template: &str) -> String {
    let filled = template.replace("{slug}", "synq").replace("{*part}", "api/v2/summary.json").replace("{channel}", "PXXXXXX");
    filled
        .replace("{id}", "Q0")
        .replace("{key}", "Q0")
        .replace("{act}", "ack")
        .replace("{attempt}", "a")
        .replace("{link}", "a")
        .replace("{name}", "a")
        .replace("{integration}", "a")
        .replace("{override}", "a")
        .replace("{method}", "a")
        .replace("{rule}", "a")
        .replace("{signal}", "fail")
}

async fn call(router: &Front, method: &str, path: &str, authorization: Option<&str>) -> StatusCode {
    let mut request = Request::builder().method(method).uri(path).header("host", "allclear.test");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    let request = request.body(Body::from("{}")).expect("a request");
    router.clone().oneshot(request).await.expect("infallible").status()
}

fn is_page(route: &Route) -> bool {
    allclear_web::ROUTES.iter().any(|page| (page.method, page.path) == (route.method, route.path))
}

/// A person with a role, signed in.
async fn call_as(api: &Api, method: &str, path: &str, role: Role) -> StatusCode {
    call_from(api, method, path, role, "http://allclear.test").await.status()
}

/// The same, from a page of another origin.
async fn call_from(api: &Api, method: &str, path: &str, role: Role, origin: &str) -> Response<Body> {
    let text = format!("kind: person\nname: Some {}\nrole: {}\n", role.word(), role.word());
    let documents = allclear_config::load_str("people.yaml", &text, &|_, _| false).into_documents();
    allclear_ops::config::apply(&api.store, &OsRng, &Actor::local(), role.word(), documents).await.expect("applied");
    let name = format!("Some {}", role.word());
    let person = api.store.catalog().id_of(allclear_domain::catalog::Kind::Person, &name).map(Into::into).expect("the person");
    let value = allclear_ops::session::sign_in(&api.store, &OsRng, person, None).await.expect("signed in");
    let request = Request::builder().method(method).uri(path).header("host", "allclear.test").header("origin", origin);
    let request = request.header("cookie", format!("allclear={value}")).header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(Body::from("act=x&password=long-enough-by-far&email=a")).expect("a request");
    api.router.clone().oneshot(request).await.expect("infallible")
}

async fn token_with(api: &Api, scopes: &[Permission]) -> String {
    let scopes: Vec<String> = scopes.iter().map(|permission| permission.scope().to_owned()).collect();
    token::create(&api.store, &OsRng, &Actor::local(), "t", &scopes, None).await.expect("a token").value
}

#[tokio::test]
async fn every_route_refuses_whoever_lacks_its_permission_and_nobody_else() {
    let api = api();
    let refusals = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN];
    for route in routes() {
        let path = path_of(route.path);
        let nobody = call(&api.router, route.method, &path, None).await;
        let forged = call(&api.router, route.method, &path, Some("Token token=y_NbAkKc66ryYTWUXYEu")).await;
        let Access::Needs(needed) = route.access else {
            assert!(!refusals.contains(&nobody) && nobody == forged, "{} {path} is open but answered {nobody}", route.method);
            continue;
        };
        assert_eq!((nobody, forged), (StatusCode::UNAUTHORIZED, StatusCode::UNAUTHORIZED), "{} {path}", route.method);
        // A page of the app knows sessions, not tokens.
        if is_page(&route) {
            for role in Role::ALL {
                let answer = call_as(&api, route.method, &path, role).await;
                let may = Actor::signed_in("PADA".into(), role).may(needed);
                assert_eq!(
                    answer != StatusCode::FORBIDDEN && answer != StatusCode::UNAUTHORIZED,
                    may,
                    "{} {path} as {}: {answer}",
                    route.method,
                    role.word()
                );
            }
            continue;
        }
        for permission in Permission::ALL {
            let value = token_with(&api, &[permission]).await;
            for form in [format!("Token token={value}"), format!("Bearer {value}")] {
                let answer = call(&api.router, route.method, &path, Some(&form)).await;
                let refused = refusals.contains(&answer);
                assert_eq!(refused, permission != needed, "{} {path} with {}: {answer}", route.method, permission.scope());
            }
        }
        let local = call(&api.local, route.method, &path, None).await;
        assert!(!refusals.contains(&local), "{} {path} on the local socket: {local}", route.method);
    }
}

#[tokio::test]
async fn no_page_takes_a_change_from_another_origin_or_from_a_token_and_no_door_for_programs_takes_a_session() {
    let api = api();
    let token = format!("Bearer {}", token_with(&api, &Permission::ALL).await);
    for route in routes() {
        let path = path_of(route.path);
        let Access::Needs(_) = route.access else { continue };
        if is_page(&route) {
            let by_token = call(&api.router, route.method, &path, Some(&token)).await;
            assert_eq!(by_token, StatusCode::UNAUTHORIZED, "{} {path} by a token", route.method);
        } else {
            let by_session = call_as(&api, route.method, &path, Role::Owner).await;
            assert_eq!(by_session, StatusCode::UNAUTHORIZED, "{} {path} by a session", route.method);
        }
    }
    for route in allclear_web::ROUTES.iter().filter(|route| route.method != "GET") {
        for origin in ["http://evil.test", "null", "http://allclear.test.evil.test"] {
            let answer = call_from(&api, route.method, &path_of(route.path), Role::Owner, origin).await.status();
            assert_eq!(answer, StatusCode::FORBIDDEN, "{} {} from {origin}", route.method, route.path);
        }
    }
}

#[tokio::test]
async fn whatever_is_html_runs_nothing_foreign_and_is_framed_by_nobody() {
    let api = api();
    let mut paths: Vec<String> = routes().iter().filter(|route| route.method == "GET").map(|route| path_of(route.path)).collect();
    paths.extend(["/status/nothing", "/status/nothing/history", "/nothing", "/incidents/Q0/nothing"].map(str::to_owned));
    let mut pages = 0;
    for path in paths {
        for role in [None, Some(Role::Owner)] {
            let answer = match role {
                Some(role) => call_from(&api, "GET", &path, role, "http://allclear.test").await,
                None => {
                    let request = Request::get(&path).header("accept", "text/html").header("host", "allclear.test");
                    api.router.clone().oneshot(request.body(Body::empty()).expect("a request")).await.expect("infallible")
                }
            };
            let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
            if !header("content-type").starts_with("text/html") {
                continue;
            }
            pages += 1;
            let policy = header("content-security-policy");
            let is_strict =
                policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'") && policy.contains("base-uri 'none'");
            assert!(is_strict && !policy.contains("unsafe") && header("x-content-type-options") == "nosniff", "{path}: {policy}");
        }
    }
    assert!(pages >= 30, "{pages}");
}

#[tokio::test]
async fn unsigned_callbacks_change_nothing_and_unknown_paths_are_not_found() {
    let api = api();
    for path in ["/hooks/slack/PXXXXXX", "/hooks/twilio/PXXXXXX/sms", "/nothing", "/config/v1/nothing", "/pagerduty/../config/v1/tokens"] {
        assert_eq!(call(&api.router, "POST", path, None).await, StatusCode::NOT_FOUND, "{path}");
    }
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_refused() {
    let api = api();
    let value = token_with(&api, &[Permission::IncidentsWrite]).await;
    let request = Request::builder()
        .method("PUT")
        .uri("/pagerduty/incidents")
        .header("authorization", format!("Bearer {value}"))
        .body(Body::from(vec![b'x'; 2 << 20]))
        .expect("a request");
    let answer = api.router.clone().oneshot(request).await.expect("infallible").status();
    assert_eq!(answer, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn an_offset_beyond_all_numbers_is_refused_and_not_an_overflow() {
    let api = api();
    let form = format!("Bearer {}", token_with(&api, &[Permission::IncidentsRead]).await);
    let path = format!("/pagerduty/incidents?offset={}", usize::MAX);
    assert_eq!(call(&api.router, "GET", &path, Some(&form)).await, StatusCode::BAD_REQUEST);
}

#[test]
fn whatever_is_asked_of_any_route_no_answer_is_a_fault_of_ours() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let api = runtime.block_on(async { api() });
    let word = "[a-zA-Z0-9%_.~-]{0,12}";
    let query = proptest::collection::vec(
        ("(limit|offset|statuses%5B%5D|all|[a-z]{1,5})", "(|-1|25|18446744073709551615|triggered|%ff%00|[!-~&&[^#]]{0,10})"),
        0..4,
    );
    let bodies = "|\\PC{0,60}|\\{\"incidents?\":[\\[{]\\{?\"(id|status)\":(\"\\PC{0,8}\"|[0-9]{1,25}|null)\\}?[\\]}]\\}|\\[{0,40}";
    let strategy = (0..routes().len(), word, query, bodies);
    let mut runner = proptest::test_runner::TestRunner::new(proptest::test_runner::Config::with_cases(400));
    let outcome = runner.run(&strategy, |(route, word, query, body)| {
        let route = routes()[route];
        let path = route.path.replace("{slug}", "x").replace(['{', '}', '*'], "").replace("id", &word).replace("key", &word);
        let query: Vec<String> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let Ok(request) = Request::builder().method(route.method).uri(format!("{path}?{}", query.join("&"))).body(Body::from(body)) else {
            return Ok(());
        };
        let status = runtime.block_on(api.local.clone().oneshot(request)).expect("infallible").status();
        let starting = status == StatusCode::SERVICE_UNAVAILABLE && route.path == "/readyz";
        proptest::prop_assert!(!status.is_server_error() || starting, "{} {path}: {status}", route.method);
        Ok(())
    });
    outcome.expect("no route fails");
}

#[tokio::test]
async fn a_revoked_token_is_worth_nothing() {
    let api = api();
    let made = token::create(&api.store, &OsRng, &Actor::local(), "t", &["incidents:read".into()], None).await.expect("a token");
    let form = format!("Bearer {}", made.value);
    assert_eq!(call(&api.router, "GET", "/pagerduty/incidents", Some(&form)).await, StatusCode::OK);
    let id = made.id.clone();
    let write = allclear_store::Write::new("revoke", allclear_store::Lane::Act);
    let revoked = api.store.write(write, move |tx| allclear_store::record::token::revoke_token(tx, &id)).await;
    assert_eq!(revoked.ok(), Some(true));
    assert_eq!(call(&api.router, "GET", "/pagerduty/incidents", Some(&form)).await, StatusCode::UNAUTHORIZED);
}
