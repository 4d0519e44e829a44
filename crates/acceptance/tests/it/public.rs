//! The public status page in HTML: what customers read, from memory, with its feeds and its badge.

use allclear_acceptance::binary::{exchange, request, wait};
use allclear_stage::live::Switch;

use super::binary::{Ground, PATIENCE, log_of};

/// An answer's status, head and body.
fn fetch(ground: &Ground, host: &str, path: &str, more: &str) -> (u16, String, String) {
    let raw = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n{more}\r\n");
    exchange(ground.addr, &raw).expect("an answer")
}

fn ground() -> Ground {
    let ground = Ground::with_one_test();
    let file = ground.folder.path().join("config/world.yaml");
    let page = "kind: page\nname: SYNQ\n";
    let branded = "kind: page\nname: SYNQ\nhost: status.synq.example\nbranding:\n  colour: \"#7a1fa2\"\n  about: \"<b>Streams</b> & more\"\n  links: [{ text: Support, url: \"https://synq.example/support\" }]\n  frame_ancestors: [\"https://synq.example\"]\n";
    let world = std::fs::read_to_string(&file).expect("the world");
    assert!(world.contains(page), "the world has its page");
    std::fs::write(file, world.replace(page, branded)).expect("written");
    ground
}

#[test]
fn customers_read_an_outage_from_its_beginning_to_its_end() {
    let ground = ground();
    let mut process = ground.start();
    let addr = ground.addr.to_string();
    let page = || fetch(&ground, &addr, "/status/synq", "").2;
    assert!(wait(PATIENCE, || page().contains("All Systems Operational")), "{}", log_of(&process));
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || page().contains("Live streams cannot be created")), "{}", log_of(&process));
    let shown = page();
    for part in ["class=\"banner minor\"", "Degraded performance", "Investigating", "&lt;b&gt;Streams&lt;/b&gt;", "90 days ago"] {
        assert!(
            shown.contains(part) || shown.contains(&part.replace("&lt;", "&#60;").replace("&gt;", "&#62;")),
            "{part:?} is missing in:\n{shown}"
        );
    }
    assert!(!shown.contains("<script"), "it needs no script");
    let id = shown.split("/incidents/").nth(1).and_then(|rest| rest.split('"').next()).expect("a permalink").to_owned();
    ground.world.live.player().turn(Switch::Healthy);
    assert!(wait(PATIENCE, || page().contains("All Systems Operational")), "{}", log_of(&process));
    let (status, _, incident) = fetch(&ground, &addr, &format!("/status/synq/incidents/{id}"), "");
    assert!(status == 200 && incident.contains("Resolved") && incident.contains("affected Live Stream"), "{incident}");
    assert!(fetch(&ground, &addr, "/status/synq/history", "").2.contains("Live streams cannot be created"));
    for (path, kind, part) in [
        ("history.atom", "application/atom+xml", "SYNQ Status - Incident History"),
        ("history.rss", "application/rss+xml", "<description>Statuspage</description>"),
        ("badge.svg", "image/svg+xml", "operational"),
        ("page.css", "text/css", "--brand: #7a1fa2"),
        ("api/v2/summary.json", "application/json", "\"indicator\":\"none\""),
    ] {
        let (status, head, body) = fetch(&ground, &addr, &format!("/status/synq/{path}"), "");
        assert!(status == 200 && head.contains(kind) && body.contains(part), "{path}: {status}\n{head}\n{body}");
    }
    let (_, head, _) = fetch(&ground, &addr, "/status/synq", "");
    assert!(head.contains("frame-ancestors https://synq.example\r\n") || head.contains("frame-ancestors https://synq.example\n"), "{head}");
    let etag = head.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an ETag").to_owned();
    assert_eq!(fetch(&ground, &addr, "/status/synq", &format!("if-none-match: {etag}\r\n")).0, 304);
    let (_, packed, _) = fetch(&ground, &addr, "/status/synq", "accept-encoding: gzip\r\n");
    assert!(packed.contains("content-encoding: gzip"), "{packed}");
    process.terminate().expect("a clean stop");
}

#[test]
fn a_pages_own_host_shows_what_is_public_and_not_one_byte_more() {
    let ground = ground();
    let mut process = ground.start();
    let host = "status.synq.example";
    let page = || fetch(&ground, host, "/", "").2;
    assert!(wait(PATIENCE, || page().contains("All Systems Operational")), "{}", log_of(&process));
    assert!(page().contains("https://status.synq.example/history"), "links stay on the host");
    let style =
        page().split("href=\"").find_map(|rest| rest.split('"').next().filter(|path| path.starts_with("/assets/")).map(str::to_owned));
    assert_eq!(fetch(&ground, host, &style.expect("a stylesheet"), "").0, 200);
    assert_eq!(fetch(&ground, host, "/api/v2/status.json", "").0, 200);
    for path in [
        "/readyz",
        "/metrics",
        "/pagerduty/incidents",
        "/config/v1/incidents",
        "/answer/x",
        "/status/synq",
        "/v2/enqueue",
        "/hooks/slack/x",
    ] {
        assert_eq!(fetch(&ground, host, path, "").0, 404, "{path}");
    }
    // However its name is spelt, and whoever the header says is meant.
    let routes = [allclear_api::ROUTES, allclear_web::ROUTES].concat();
    for route in routes.iter().filter(|route| route.method == "GET" && !route.path.starts_with("/assets/") && route.path != "/history") {
        let path = route.path.replace(['{', '}', '*'], "");
        for (target, header) in [
            (path.clone(), format!("{host}.")),
            (path.clone(), "STATUS.synq.example:8080".to_owned()),
            (format!("http://{host}{path}"), ground.addr.to_string()),
        ] {
            let raw = format!("GET {target} HTTP/1.1\r\nhost: {header}\r\nconnection: close\r\n\r\n");
            let status = request(ground.addr, &raw).map(|(status, _)| status);
            assert_eq!(status, Some(if path == "/" { 200 } else { 404 }), "{target} {header}");
        }
    }
    let posted =
        request(ground.addr, &format!("POST /v2/enqueue HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"));
    assert_eq!(posted.map(|(status, _)| status), Some(404));
    process.terminate().expect("a clean stop");
}

#[test]
fn a_head_says_how_long_the_page_is_and_an_address_may_be_spelt_with_escapes() {
    let ground = Ground::with_one_test();
    let _process = ground.start();
    let addr = ground.addr;
    let asked = |method: &str, path: &str| {
        exchange(addr, &format!("{method} {path} HTTP/1.1\r\nhost: {addr}\r\nconnection: close\r\n\r\n")).expect("an answer")
    };
    assert!(wait(PATIENCE, || asked("GET", "/status/synq").0 == 200));
    let length = |head: &str| head.lines().find_map(|line| line.strip_prefix("content-length: ")).map(str::to_owned);
    let ((_, of_get, body), (code, of_head, nothing)) = (asked("GET", "/status/synq"), asked("HEAD", "/status/synq"));
    assert_eq!((code, nothing.as_str(), length(&of_head)), (200, "", Some(body.len().to_string())));
    assert_eq!(length(&of_get), length(&of_head));
    let (plain, escaped) = (asked("GET", "/status/synq/api/v2/status.json"), asked("GET", "/status/synq/api%2Fv2%2Fstatus%2Ejson"));
    assert_eq!((plain.0, escaped.0), (200, 200));
    assert_eq!(plain.2, escaped.2);
    assert_eq!(asked("GET", "/status/synq/nothing").0, 404);
}

#[test]
fn a_mistyped_address_says_so_to_people_and_leads_back() {
    let ground = Ground::with_one_test();
    let _process = ground.start();
    let own = ground.addr.to_string();
    assert!(wait(PATIENCE, || fetch(&ground, &own, "/status/synq", "").0 == 200));
    let people = "accept: text/html,application/xhtml+xml\r\n";
    for path in ["/status/synq/nonsense", "/status/synq/incidents/nonsense", "/status/synq/not-found"] {
        let (code, _, body) = fetch(&ground, &own, path, people);
        assert_eq!(code, 404, "{path}");
        assert!(body.contains("There is no such page here") && body.contains("Current status of SYNQ"), "{path}: {body}");
    }
    let (code, _, body) = fetch(&ground, &own, "/status/synq/api/v2/nonsense.json", people);
    assert_eq!((code, body.as_str()), (404, "{\"error\":\"not found\"}"));
    for path in ["/nonsense", "/incidents/", "/status"] {
        let (code, _, body) = fetch(&ground, &own, path, people);
        assert!(code == 404 && body.contains("There is no such page here") && body.contains("href=\"/\""), "{path}: {code} {body}");
        let (code, _, body) = fetch(&ground, &own, path, "accept: */*\r\n");
        assert!(code == 404 && body.contains("\"code\":2100"), "{path}: {code} {body}");
    }
}
