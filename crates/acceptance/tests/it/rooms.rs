//! The rooms of the app beyond incidents: status pages by hand, writing tests, one's account, pages that stay as things are.

use std::io::{Read, Write};
use std::net::TcpStream;

use allclear_acceptance::binary::{get, request, wait};
use allclear_stage::live::Switch;

use super::app::{PASSWORD, link_to, nobody, owner, up};
use super::binary::{Ground, PATIENCE};

fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text: &str| {
        let byte = |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        text.bytes().map(byte).collect::<String>()
    };
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    pairs.join("&")
}

#[test]
fn a_component_set_by_hand_stays_until_it_is_given_back() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let path = link_to("/pages/", &ada.get("/pages").body);
    let component = link_to("/components/", &ada.get(&path).body);
    let id = component.trim_start_matches("/components/").to_owned();
    let public = |word: &str| get(ground.addr, "/status/synq/api/v2/components.json").is_some_and(|(_, body)| body.contains(word));
    assert_eq!(ada.post(&path, &form(&[("act", "set"), ("component", &id), ("status", "partial_outage")])).status, 303);
    assert!(wait(PATIENCE, || public("\"partial_outage\"")), "customers see what was set");
    ground.world.live.player().turn(Switch::WrongJson);
    assert!(wait(PATIENCE, || ada.get(&path).body.contains("the rules propose Degraded performance")), "{}", ada.get(&path).body);
    assert!(public("\"partial_outage\""), "an incident does not take it over");
    let history = ada.get(&component).body;
    assert!(history.contains("set by hand: Ada in the app") && history.contains("Partial outage"), "{history}");
    assert_eq!(ada.post(&path, &form(&[("act", "automatic"), ("component", &id)])).status, 303);
    assert!(wait(PATIENCE, || public("\"degraded_performance\"")), "the open incident decides again");
    ground.world.live.player().turn(Switch::Healthy);
    assert!(wait(PATIENCE, || public("\"operational\"") && !public("\"degraded_performance\"")));
    let nonsense = ada.post(&path, &form(&[("act", "set"), ("component", "nothing"), ("status", "operational")]));
    assert_eq!(nonsense.status, 404);
}

#[test]
fn a_component_that_no_incident_ever_moved_shows_by_hand_on_the_real_statuspage_too() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let path = link_to("/pages/", &ada.get("/pages").body);
    let id = link_to("/components/", &ada.get(&path).body).trim_start_matches("/components/").to_owned();
    let shows = |status: &str| ground.world.statuspage.player().shows("live1") == Some(status);
    ground.world.statuspage.player().faults().limit = 1;
    assert_eq!(ada.post(&path, &form(&[("act", "set"), ("component", &id), ("status", "partial_outage")])).status, 303);
    assert!(wait(PATIENCE, || shows("partial_outage")), "{:?}", ground.world.statuspage.player().showed("live1"));
    assert_eq!(ada.post(&path, &form(&[("act", "automatic"), ("component", &id)])).status, 303);
    assert!(wait(PATIENCE, || shows("operational")), "{:?}", ground.world.statuspage.player().showed("live1"));
}

#[test]
fn a_form_that_cannot_be_read_says_that_nothing_was_kept() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let path = link_to("/pages/", &ada.get("/pages").body);
    let far_too_long = form(&[("act", "open"), ("name", "Streams stutter"), ("body", &"x".repeat(1 << 20))]);
    for (path, body, status) in [("/incidents", "service=Streams", 422), (path.as_str(), far_too_long.as_str(), 413)] {
        let answer = ada.post(path, body);
        assert!(answer.status == status && answer.body.contains("Nothing was changed"), "{path}: {} {}", answer.status, answer.body);
    }
}

#[test]
fn a_public_incident_is_previewed_published_updated_and_resolved_by_hand() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let path = link_to("/pages/", &ada.get("/pages").body);
    let id = link_to("/components/", &ada.get(&path).body).trim_start_matches("/components/").to_owned();
    let chosen = format!("component-{id}");
    let words = |act: &str, stage: &str, body: &str, status: &str| {
        form(&[("act", act), ("name", "Streams stutter"), ("stage", stage), ("body", body), (chosen.as_str(), status)])
    };
    let unresolved = || get(ground.addr, "/status/synq/api/v2/incidents/unresolved.json").map_or_else(String::new, |(_, body)| body);
    let preview = ada.post(&path, &words("preview", "investigating", "We *look* into <b>it</b>.", "degraded_performance"));
    assert!(preview.body.contains("We <em>look</em> into &lt;b&gt;it&lt;/b&gt;."), "{}", preview.body);
    assert!(!unresolved().contains("Streams stutter"), "a preview publishes nothing");
    let empty = ada.post(&path, &words("open", "investigating", "  ", "keep"));
    assert!(empty.status == 422 && empty.body.contains("Say something to your customers"), "{}", empty.body);
    let opened = ada.post(&path, &words("open", "investigating", "We *look* into it.", "degraded_performance"));
    assert_eq!(opened.status, 303, "{}", opened.body);
    assert!(wait(PATIENCE, || unresolved().contains("Streams stutter")));
    assert!(unresolved().contains("\"impact\":\"minor\"") && unresolved().contains("\"degraded_performance\""), "{}", unresolved());
    let page = get(ground.addr, "/status/synq").map_or_else(String::new, |(_, body)| body);
    assert!(page.contains("<em>look</em>"), "{page}");
    let one = opened.location().to_owned();
    assert_eq!(ada.post(&one, &form(&[("act", "update"), ("stage", "identified"), ("body", "Found it.")])).status, 303);
    assert!(wait(PATIENCE, || unresolved().contains("Found it.")));
    assert_eq!(ada.post(&one, &form(&[("act", "automatic")])).status, 422, "no rule opened it");
    let over = form(&[("act", "update"), ("stage", "resolved"), ("body", "Over."), (chosen.as_str(), "automatic")]);
    assert_eq!(ada.post(&one, &over).status, 303);
    assert!(wait(PATIENCE, || !unresolved().contains("Streams stutter")));
    let summary = get(ground.addr, "/status/synq/api/v2/summary.json").map_or_else(String::new, |(_, body)| body);
    assert!(summary.contains("All Systems Operational"), "{summary}");
    let late = ada.post(&one, &form(&[("act", "update"), ("stage", "monitoring"), ("body", "Again.")]));
    assert!(late.status == 422 || late.status == 303 && !unresolved().contains("Again."), "what is over stays over");
}

#[test]
fn rules_are_added_changed_and_removed_but_not_those_that_files_own() {
    let ground = Ground::with_one_test();
    let file = ground.folder.path().join("config/world.yaml");
    let world = std::fs::read_to_string(&file).expect("the world");
    let policy = world.split("kind: escalation_policy\nname: ").nth(1).and_then(|rest| rest.lines().next()).expect("a policy");
    std::fs::write(&file, format!("{world}\n---\nkind: service\nname: Billing\nescalation_policy: {policy}\n")).expect("written");
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let path = link_to("/pages/", &ada.get("/pages").body);
    let room = ada.get(&path).body;
    assert!(room.contains("owned by the files"), "{room}");
    let add = format!("{path}/new-rule");
    let options = |page: &str, select: &str| -> Vec<String> {
        let options =
            page.split(&format!("<select name=\"{select}\">")).nth(1).and_then(|rest| rest.split("</select>").next()).expect("a select");
        options.split("<option value=\"").skip(1).map(|option| option.split('"').next().unwrap_or_default().to_owned()).collect()
    };
    let (services, components) = (options(&ada.get(&add).body, "service"), options(&ada.get(&add).body, "component"));
    let rule = |service: &str, more: &[(&str, &str)]| {
        form(&[&[("act", "keep"), ("service", service), ("component", components[0].as_str())], more].concat())
    };
    let nothing = ada.post(&add, &rule("Nothing", &[]));
    assert!(nothing.status == 422 && nothing.body.contains("no service is called"), "{}", nothing.body);
    let slow = ada.post(&add, &rule(&services[0], &[("delay", "soon"), ("incident", "Streams stutter")]));
    assert!(slow.status == 422 && slow.body.contains("is no time") && slow.body.contains("value=\"Streams stutter\""), "{}", slow.body);
    let odd = ada.post(&add, &rule(&services[0], &[("high", "on_fire")]));
    assert!(odd.status == 422 && odd.body.contains("is no status"), "{}", odd.body);
    let taken = services.iter().map(|service| ada.post(&add, &rule(service, &[("delay", "5m"), ("incident", "Streams stutter")])));
    let taken: Vec<u16> = taken.map(|answer| answer.status).collect();
    assert!(taken.contains(&422) && taken.contains(&303), "the files' own service has a rule already, the other gets one: {taken:?}");
    let mine = link_to("/rules/", &ada.get(&path).body);
    let shown = ada.get(&mine).body;
    assert!(shown.contains("value=\"5m\"") && shown.contains("value=\"Streams stutter\""), "the form shows what stands: {shown}");
    let changed =
        ada.post(&mine, &form(&[("act", "keep"), ("high", "major_outage"), ("low", "major_outage"), ("incident", ""), ("delay", "")]));
    assert_eq!(changed.status, 303, "{}", changed.body);
    let shown = ada.get(&mine).body;
    assert!(!shown.contains("value=\"5m\"") && !shown.contains("value=\"Streams stutter\""), "what was emptied is empty: {shown}");
    assert_eq!(ada.post(&mine, &form(&[("act", "remove")])).status, 303);
    assert_eq!(ada.get(&mine).status, 404);
    let of_files = ground.id_of("rule", "");
    let refused = ada.post(&format!("/rules/{of_files}"), &form(&[("act", "remove")]));
    assert!(refused.status == 422 && refused.body.contains("own this rule"), "{}", refused.body);
}

const WRITTEN: &str = "kind: test\nname: Written here\nenvironments: { default: { variables: { base: \"BASE\" } } }\nschedules: [{ every: 1h }]\nsteps:\n  - request: \"GET {{base}}/streams\"\n    assert: [{ source: status, comparison: equal_number, value: 200 }]\n";

#[test]
fn a_test_is_written_checked_tried_kept_run_and_paused() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    assert!(ada.get("/new-test").body.contains("kind: test"));
    let wrong = WRITTEN.replace("comparison: equal_number", "comparison: equal_numbr");
    let checked = ada.post("/new-test", &form(&[("act", "keep"), ("text", &wrong)]));
    assert!(checked.status == 422 && checked.body.contains("^^^^") && checked.body.contains("equal_number"), "{}", checked.body);
    let text = WRITTEN.replace("BASE", "http://127.0.0.1:9");
    let tried = ada.post("/new-test", &form(&[("act", "try"), ("text", &text)]));
    assert!(tried.status == 200 && tried.body.contains("How it went in default") && tried.body.contains("fail"), "{}", tried.body);
    assert!(!ada.get("/tests").body.contains("Written here"), "a try keeps nothing");
    let kept = ada.post("/new-test", &form(&[("act", "keep"), ("text", &text)]));
    assert_eq!(kept.status, 303, "{}", kept.body);
    let path = kept.location().to_owned();
    assert!(wait(PATIENCE, || ada.get(&path).body.contains("state fail")), "it runs at once: {}", ada.get(&path).body);
    let before = ada.get(&path).body.matches("state fail").count();
    assert!(wait(PATIENCE, || ada.post(&path, &form(&[("act", "run"), ("environment", "default")])).status == 303));
    assert!(wait(PATIENCE, || ada.get(&path).body.matches("state fail").count() > before), "one more run is there");
    assert_eq!(ada.post(&path, &form(&[("act", "run"), ("environment", "nowhere")])).status, 422);
    let edited = text.replace("Written here", "Written anew");
    assert_eq!(ada.post(&format!("{path}/edit"), &form(&[("act", "keep"), ("text", &edited)])).status, 303);
    assert!(ada.get(&path).body.contains("<h1>Written anew</h1>"));
    assert_eq!(ada.post(&format!("{path}/pause"), &form(&[("act", "pause"), ("span", "1h")])).status, 303);
    assert!(ada.get(&path).body.contains("paused") && ada.get("/tests?q=anew").body.contains("paused"));
    assert_eq!(ada.post(&format!("{path}/pause"), &form(&[("act", "go-on")])).status, 303);
    assert!(!ada.get(&path).body.contains("it goes on"));
    let of_files = link_to("/tests/", &ada.get("/tests?q=Live+Streaming").body);
    let refused = ada.post(&format!("{of_files}/pause"), &form(&[("act", "pause"), ("span", "1h")]));
    assert!(refused.status == 422 && refused.body.contains("owned by the files"), "{}", refused.body);
}

#[test]
fn the_list_of_tests_knows_after_a_restart_how_they_fared() {
    let ground = Ground::with_one_test();
    let text = WRITTEN.replace("BASE", "http://127.0.0.1:9");
    let first = up(&ground);
    let mut ada = owner(&ground, &first);
    let path = ada.post("/new-test", &form(&[("act", "keep"), ("text", &text)])).location().to_owned();
    assert!(wait(PATIENCE, || ada.get(&path).body.contains("state fail")), "it runs at once: {}", ada.get(&path).body);
    drop(first);
    let mut process = ground.start();
    assert!(process.wait_until_ready(PATIENCE));
    let knows = || ada.get("/tests?q=Written").body.contains("the last run did not pass");
    assert!(wait(PATIENCE, knows), "an hourly test is known to have failed");
}

#[test]
fn a_new_password_ends_every_other_session() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let mut elsewhere = nobody(&ground);
    assert_eq!(elsewhere.post("/sign-in", &format!("email=ada%40synq.example&password={PASSWORD}")).status, 303);
    let wrong = ada.post("/account", &form(&[("act", "password"), ("old", "not it at all"), ("new", "another battery")]));
    assert!(wrong.status == 422 && wrong.body.contains("The present password is not right."), "{}", wrong.body);
    assert_eq!(elsewhere.get("/account").status, 200);
    let before = ada.cookie.clone();
    let right = PASSWORD.replace('+', " ");
    assert_eq!(ada.post("/account", &form(&[("act", "password"), ("old", &right), ("new", "another battery")])).status, 303);
    assert_ne!(ada.cookie, before, "the session's value is another one");
    assert_eq!((ada.get("/account").status, elsewhere.get("/account").status), (200, 401));
    assert_eq!(elsewhere.post("/sign-in", "email=ada%40synq.example&password=another+battery").status, 303);
    assert_eq!(ada.post("/account", &form(&[("act", "end")])).status, 303);
    assert_eq!((ada.get("/account").status, elsewhere.get("/account").status), (200, 401));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a browser's own socket, which is read while it is open")]
fn an_open_page_hears_of_a_change_and_no_longer_than_its_session_or_its_role_lasts() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let ben = ground.say(&["user", "reset", "ben@synq.example"]);
    let ben = ben.split("/enter/").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("a link").to_owned();
    let mut other = nobody(&ground);
    assert_eq!(other.post(&format!("/enter/{ben}"), &format!("password={PASSWORD}")).status, 303);
    let listen = |cookie: &Option<String>| {
        let mut stream = TcpStream::connect(ground.addr).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a patience");
        let cookie = cookie.as_deref().unwrap_or_default();
        write!(stream, "GET /live HTTP/1.1\r\nhost: {}\r\ncookie: {cookie}\r\n\r\n", ground.addr).expect("sent");
        let (mut heard, mut some) = (String::new(), [0; 1024]);
        while !heard.contains("event: changed") {
            let count = stream.read(&mut some).expect("something comes");
            assert!(count > 0, "it ended: {heard}");
            heard.push_str(&String::from_utf8_lossy(&some[..count]));
        }
        assert!(heard.contains("text/event-stream"), "{heard}");
        stream
    };
    let has_ended = |mut stream: TcpStream, what: &str| {
        let mut rest = Vec::new();
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_ok() && String::from_utf8_lossy(&rest).ends_with("0\r\n\r\n"), "{what}: {ended:?}");
    };
    let stream = listen(&ada.cookie);
    let new = [("act", "password"), ("old", &PASSWORD.replace('+', " ")), ("new", "another battery")];
    assert_eq!(ada.post("/account", &form(&new)).status, 303);
    has_ended(stream, "a new password");
    let stream = listen(&ada.cookie);
    assert_eq!(ada.post("/sign-out", "").status, 303);
    has_ended(stream, "signed out");
    let stream = listen(&other.cookie);
    let file = ground.folder.path().join("config/world.yaml");
    let world = std::fs::read_to_string(&file).expect("the world");
    std::fs::write(&file, world.replace("email: ben@synq.example\n", "email: ben@synq.example\nrole: observer\n")).expect("written");
    assert!(ground.say(&["apply", "config"]).contains("1 change"), "a role changes");
    has_ended(stream, "another role");
}

#[test]
fn a_session_ends_where_another_begins_in_the_same_browser() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let mut old = nobody(&ground);
    old.cookie.clone_from(&ada.cookie);
    assert_eq!(old.get("/account").status, 200);
    assert_eq!(ada.post("/sign-in", &format!("email=ada%40synq.example&password={PASSWORD}")).status, 303);
    assert_eq!((ada.get("/account").status, old.get("/account").status), (200, 401));
}

#[test]
fn an_incident_that_customers_were_told_of_keeps_its_address_however_many_come_after_it() {
    let ground = Ground::with_one_test();
    let file = ground.folder.path().join("config/world.yaml");
    let world = std::fs::read_to_string(&file).expect("the world");
    std::fs::write(&file, world.replace("kind: page\nname: SYNQ\n", "kind: page\nname: SYNQ\nhost: status.synq.example\n"))
        .expect("written");
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let room = link_to("/pages/", &ada.get("/pages").body);
    let mut tell = |name: &str, stage: &str| {
        let said = [("act", "open"), ("name", name), ("stage", stage), ("body", "We look into it.")];
        ada.post(&room, &form(&said)).location().trim_start_matches("/public-incidents/").to_owned()
    };
    let (ended, open) = (tell("The first", "resolved"), tell("Still open", "investigating"));
    let all: Vec<String> = (0..60).map(|n| tell(&format!("Later {n}"), "resolved")).collect();
    let on = |host: &str, path: &str| {
        let raw = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        request(ground.addr, &raw).expect("an answer")
    };
    let own = ground.addr.to_string();
    assert!(wait(PATIENCE, || on(&own, "/status/synq").1.contains("Later 59")), "the page shows what was said last");
    for (id, name) in [(&ended, "The first"), (&open, "Still open"), (&all[59], "Later 59")] {
        for (host, path) in [(own.as_str(), format!("/status/synq/incidents/{id}")), ("status.synq.example", format!("/incidents/{id}"))] {
            let (status, page) = on(host, &path);
            assert!(status == 200 && page.contains(name), "{host}{path}: {status} {page}");
        }
    }
    let (_, page) = on(&own, "/status/synq");
    assert!(page.contains("Still open"), "what is open is shown however old it is");
    let (_, unresolved) = on(&own, "/status/synq/api/v2/incidents/unresolved.json");
    let (_, listed) = on(&own, "/status/synq/api/v2/incidents.json");
    assert_eq!((unresolved.matches("\"shortlink\"").count(), listed.matches("\"shortlink\"").count()), (1, 50));
    let (_, newest) = on(&own, "/status/synq/history");
    let oldest_shown = link_to("https://status.synq.example/history/before/", &newest);
    let path = oldest_shown.trim_start_matches("https://status.synq.example").to_owned();
    for (host, path) in [(own.as_str(), format!("/status/synq{path}")), ("status.synq.example", path)] {
        let (status, older) = on(host, &path);
        let listed = |name: &str| older.contains(&format!(">{name}<"));
        assert!(status == 200 && listed("The first") && listed("Still open") && listed("Later 9"), "{host}{path}: {status} {older}");
        assert!(!listed("Later 10") && newest.contains(">Later 10<") && !older.contains("history/before"), "{older}");
    }
    for path in ["/incidents/nothing", "/incidents/Q123", "/incidents/", "/incidents", "/history/before/", "/history/before/a-b"] {
        assert_eq!(on("status.synq.example", path).0, 404, "{path}");
    }
}

/// Two hundred texts that would be markup, script or a way out of an attribute, if somebody forgot that they are text. Each
/// carries its number.
fn payloads() -> Vec<String> {
    const CORES: &[&str] = &[
        "<script>zq(N)</script>",
        "<img src=x onerror=zq(N)>",
        "\"><svg onload=zq(N)>",
        "'><b id=zqN>",
        "\" autofocus onfocus=zq(N) x=\"",
        "</title><script>zq(N)</script>",
        "</textarea><script>zq(N)</script>",
        "<iframe srcdoc='<script>zq(N)</script>'>",
        "<a href=\"javascript:zq(N)\">zqN</a>",
        "<!--zqN--><p>",
        "<style>*{x:zqN}</style>",
        "<form action=//zqN.example><input name=a>",
        "<base href=//zqN.example>",
        "<meta http-equiv=refresh content='0;url=//zqN.example'>",
        "{{zqN}}<u>",
        "[zqN](javascript:zq(N))<i>",
        "![zqN](x\" onerror=\"zq(N))<i>",
        "<scr<script>ipt>zq(N)</scr</script>ipt>",
        "<math><mtext></p><img src=x onerror=zq(N)>",
        "<details open ontoggle=zq(N)>",
    ];
    let around = ["X", " X", "X ", "a X b", "&lt;X", "&X;", "*X*", "`X`", "\u{202e}X", "X\u{0}X"];
    let all = around.iter().flat_map(|around| CORES.iter().map(move |core| around.replace('X', core)));
    all.enumerate().map(|(n, text)| text.replace('N', &n.to_string())).collect()
}

/// Each tag of a page: what stands in it outside of quotes, and within.
fn tags(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = page.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '<' || !rest.peek().is_some_and(|next| next.is_ascii_alphabetic() || "/!?".contains(*next)) {
            continue;
        }
        let (mut outside, mut within, mut quote) = (String::new(), String::new(), None);
        for c in rest.by_ref() {
            match (quote, c) {
                (None, '>') => break,
                (None, '"' | '\'') => quote = Some(c),
                (Some(open), c) if c == open => quote = None,
                (None, c) => outside.push(c),
                (Some(_), c) => within.push(c),
            }
        }
        found.push((outside, within));
    }
    found
}

/// The first tag of a page that one of the payloads made.
fn markup_in(page: &str) -> Option<(String, String)> {
    const NEVER: &[&str] = &["b", "u", "i", "img", "iframe", "math", "mtext", "style", "base"];
    tags(page).into_iter().find(|(outside, within)| {
        let name = outside.split(char::is_whitespace).next().unwrap_or_default().trim_start_matches('/');
        let leads_away = match name {
            "a" => within.contains("script:zq"),
            "meta" | "form" => within.contains("//zq"),
            "script" => outside != "/script" && !outside.contains("src="),
            _ => NEVER.contains(&name),
        };
        leads_away || outside.contains("zq") || outside.contains('<')
    })
}

#[test]
fn every_payload_would_be_found_if_it_were_markup() {
    let harmless: Vec<String> =
        payloads().into_iter().filter(|payload| markup_in(&format!("<p>{payload}</p><input value=\"{payload}\">")).is_none()).collect();
    assert!(harmless.is_empty(), "{harmless:?}");
}

/// Documents that carry a payload in each of their names and texts.
fn named(n: usize, payload: &str) -> String {
    let text = |what: &str| serde_json::Value::String(format!("{what}{n} {}", payload.replace('\u{0}', ""))).to_string();
    let (service, policy, component) = (text("service"), text("policy"), text("component"));
    format!(
        "{{ kind: person, name: {} }}\n---\n{{ kind: escalation_policy, name: {policy}, levels: [{{ targets: [Ada] }}] }}\n---\n\
         {{ kind: service, name: {service}, escalation_policy: {policy} }}\n---\n\
         {{ kind: component, name: {component}, page: SYNQ, group: {}, description: {} }}\n---\n\
         {{ kind: rule, service: {service}, component: {component}, incident: {{ name: {}, investigating: {}, identified: {}, resolved: {} }} }}\n---\n\
         {{ kind: page, name: {}, slug: hostile{n}, branding: {{ about: {}, links: [{{ text: {}, url: \"https://example.com/\" }}] }} }}\n---\n\
         {{ kind: channel, name: {}, webhook: {{ url: \"https://example.com/\", secret: \"{{{{secret.HOOK_SECRET}}}}\" }} }}\n---\n\
         {{ kind: test, name: {}, bucket: {}, environments: {{ {}: {{ headers: {{ X-Said: {} }} }} }}, steps: [{{ name: {}, request: \"GET https://api.example.com/\", \
         assert: [{{ source: status, comparison: equal, value: {} }}] }}] }}\n",
        text("person"),
        text("group"),
        text("about"),
        text("incident"),
        text("investigating"),
        text("identified"),
        text("resolved"),
        text("page"),
        text("about"),
        text("link"),
        text("channel"),
        text("test"),
        text("bucket"),
        text("environment"),
        text("header"),
        text("step"),
        text("value")
    )
}

/// A test whose API gives back what it is sent, with a payload in what it is sent and in what it expects.
fn echoing(api: &str, payload: &str) -> String {
    let text = serde_json::Value::String(payload.replace('\u{0}', "")).to_string();
    format!(
        "kind: test\nname: {text}\nenvironments: {{ production: {{ variables: {{ said: {text} }}, headers: {{ Authorization: \"Bearer {{{{secret.SYNQ_KEY}}}}\" }} }} }}\n\
         steps:\n  - name: {text}\n    request: {{ method: POST, url: \"{api}/v1/streams\", json: {{ name: \"{{{{said}}}}\" }} }}\n    \
         assert: [{{ source: json, property: name, comparison: equal, value: {text} }}, {{ source: text, comparison: contains, value: {text} }}]\n    \
         save: [{{ source: json, property: name, name: back }}]\n"
    )
}

#[test]
fn nothing_that_people_or_programs_write_becomes_markup() {
    let ground = Ground::with_one_test();
    let up = up(&ground);
    let mut ada = owner(&ground, &up);
    let keys = ground.say(&["integrations"]);
    let key = keys.split_whitespace().find(|word| word.len() == 32).unwrap_or_else(|| panic!("no key in {keys}")).to_owned();
    let room = link_to("/pages/", &ada.get("/pages").body);
    let payloads = payloads();
    assert_eq!(payloads.len(), 200);
    let mut pages = vec![];
    for (n, payload) in payloads.iter().enumerate() {
        let details = serde_json::json!({ payload.as_str(): payload, "list": [payload] });
        let event = serde_json::json!({ "routing_key": key, "event_action": "trigger", "dedup_key": format!("{n}"),
            "payload": { "summary": payload, "source": payload, "severity": "critical", "custom_details": details } });
        assert_eq!(ground.post("/v2/enqueue", &event), 202);
        let declared = ada.post("/incidents", &form(&[("title", payload), ("service", "Streams"), ("details", payload)]));
        let one = declared.location().to_owned();
        assert!(one.starts_with("/incidents/Q"), "{}", declared.body);
        assert_eq!(ada.post(&one, &form(&[("act", "note"), ("text", payload)])).status, 303);
        pages.push((one.clone(), ada.get(&one).body));
        pages.push(("search".to_owned(), ada.get(&format!("/tests?{}", form(&[("q", payload)]))).body));
        pages.push(("sign-in".to_owned(), ada.post("/sign-in", &form(&[("email", payload), ("password", "x"), ("to", payload)])).body));
        let yaml = format!("kind: test\nname: {}\n", serde_json::Value::String(payload.replace('\u{0}', "")));
        pages.push(("editor".to_owned(), ada.post("/new-test", &form(&[("act", "check"), ("text", &yaml)])).body));
        let said = [("act", "open"), ("name", payload.as_str()), ("stage", "investigating"), ("body", payload)];
        if n % 2 == 0 {
            let public = ada.post(&room, &form(&said)).location().to_owned();
            pages.push((public.clone(), ada.get(&public).body));
        } else {
            let preview = ada.post(&room, &form(&[&[("act", "preview")], &said[1..]].concat())).body;
            pages.push(("preview".to_owned(), preview));
        }
    }
    let files: Vec<String> = payloads.iter().enumerate().map(|(n, payload)| named(n, payload)).collect();
    std::fs::create_dir(ground.folder.path().join("hostile")).expect("a folder");
    std::fs::write(ground.folder.path().join("hostile/all.yaml"), files.join("---\n")).expect("written");
    let applied = ground.say(&["apply", "hostile"]);
    assert!(applied.contains("1600 changes applied"), "{}", applied.lines().rev().take(5).collect::<String>());
    let change = |payload: &str| {
        let body = serde_json::json!({ "routing_key": key, "payload": { "summary": payload, "source": payload, "custom_details": { "x": payload } } });
        ground.post("/v2/change/enqueue", &body)
    };
    assert!(payloads.iter().all(|payload| change(payload) == 202));
    let world = std::fs::read_to_string(ground.folder.path().join("config/world.yaml")).expect("the world");
    let api = world.split("base: \"").nth(1).and_then(|rest| rest.split('"').next()).expect("the API's address");
    for payload in &payloads {
        let answer = ada.post("/new-test", &form(&[("act", "try"), ("text", &echoing(api, payload)), ("environment", "production")]));
        // One of them is a variable that there is not.
        assert!(answer.body.contains("Saved for later steps") || payload.contains("{{"), "{}", answer.body);
        pages.push(("a run".to_owned(), answer.body));
    }
    for n in 0..payloads.len() {
        let path = format!("/status/hostile{n}");
        pages.push((path.clone(), get(ground.addr, &path).map_or_else(String::new, |(_, body)| body)));
    }
    let lists = ["/tests", "/tests?from=100", "/pages"].map(|list| (list, if list == "/pages" { "/pages/" } else { "/tests/" }));
    for (list, start) in lists.into_iter().chain([(room.as_str(), "/components/"), (room.as_str(), "/rules/")]) {
        let body = ada.get(list).body;
        let links: Vec<String> =
            body.split(&format!("href=\"{start}")).skip(1).filter_map(|rest| Some(format!("{start}{}", rest.split('"').next()?))).collect();
        assert!(links.len() > 20, "{list} leads to {links:?}");
        for link in &links {
            pages.push((link.clone(), ada.get(link).body));
        }
    }
    let mails: Vec<String> =
        ground.world.mail.player().arrived().iter().filter_map(|mail| allclear_acceptance::crash::link_in(&mail.text)).collect();
    for link in &mails {
        pages.push((link.clone(), get(ground.addr, link).map_or_else(String::new, |(_, body)| body)));
    }
    pages.push(("a new rule".to_owned(), ada.get(&format!("{room}/new-rule")).body));
    for path in ["/", "/incidents", "/incidents?before=150", "/incidents?before=100", "/tests", &room] {
        pages.push((path.to_owned(), ada.get(path).body));
    }
    let first = link_to("/incidents/Q", &ada.get("/incidents").body);
    pages.push((first.clone(), ada.get(&first).body));
    for path in ["/status/synq", "/status/synq/history", "/status/synq/history.atom", "/status/synq/history.rss"] {
        pages.push((path.to_owned(), get(ground.addr, path).map_or_else(String::new, |(_, body)| body)));
    }
    for (path, page) in &pages {
        let markup = markup_in(page);
        assert!(markup.is_none(), "{markup:?} is markup on {path}:\n{page}");
    }
    assert!(pages.iter().any(|(_, page)| page.contains("&lt;script&gt;") || page.contains("&#60;script&#62;")), "they are shown at all");
}
