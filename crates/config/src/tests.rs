//! What `check` says, as people read it.

use super::*;

fn nothing_known(_: Kind, _: &str) -> bool {
    false
}

fn rendered(text: &str) -> String {
    load_str("x.yaml", text, &nothing_known).diagnostics.iter().map(ToString::to_string).collect()
}

#[test]
fn every_error_is_reported_at_once_with_its_line_a_caret_and_a_suggestion() {
    let text = "kind: test\nname: Live\nenviroments: {}\nschedules:\n  - { every: 5x, environment: default }\nsteps:\n  - request: { method: GET, url: \"example.com\" }\n    assert:\n      - { source: status, comparison: equal_numbr, value: 200 }\n---\nkind: service\nname: Streams\nescalation_policy: Nights\n";
    insta_like(
        &rendered(text),
        &[
            "x.yaml:3:1: error: a test has no field \"enviroments\"",
            " 3 | enviroments: {}",
            "   | ^^^^^^^^^^^",
            "   = did you mean \"environments\"?",
            "x.yaml:5:14: error: \"5x\" is not a length of time",
            "x.yaml:7:34: error: \"example.com\" is not an address",
            "x.yaml:9:39: error: \"equal_numbr\" is not known here",
            "   = did you mean \"equal_number\"?",
            "x.yaml:13:20: error: there is no escalation policy \"Nights\"",
        ],
    );
}

fn insta_like(text: &str, expected: &[&str]) {
    for line in expected {
        assert!(text.contains(line), "missing {line:?} in:\n{text}");
    }
}

#[test]
fn a_schedule_that_creates_and_never_deletes_is_warned_about() {
    let text = "kind: test\nname: Live\nschedules: [{ every: 5m }]\nsteps:\n  - request: POST https://api.example.com/streams\n";
    assert!(rendered(text).contains("warning: this schedule sends up to 288 creating requests a day and deletes nothing"));
    let cleans = format!("{text}teardown:\n  - request: DELETE https://api.example.com/streams/1\n");
    assert_eq!(rendered(&cleans), "");
}

#[test]
fn a_secret_in_a_file_is_refused() {
    let text = "kind: channel\nname: S\nslack: { token: xoxb-1, signing_secret: \"{{secret.S}}\" }\n";
    let shown = rendered(text);
    assert!(shown.contains("a secret must not stand in a file"), "{shown}");
}

#[test]
fn a_document_written_twice_is_refused() {
    let shown = rendered("kind: person\nname: Ada\n---\nkind: person\nname: Ada\n");
    assert!(shown.contains("x.yaml:5:7: error: the person \"Ada\" is written twice"), "{shown}");
}

#[test]
fn values_keep_their_types() {
    let text = "kind: test\nname: T\nenvironments:\n  e: { variables: { n: 5, s: \"5\", phone: +4512345678, code: 007, b: true, f: 1.5 } }\nsteps: [{ request: GET https://a.example }]\n";
    let loaded = load_str("x.yaml", text, &nothing_known);
    let Document::Test(test) = &loaded.documents[0].document else { panic!("a test") };
    let json = serde_json::to_value(&test.environments["e"].variables).expect("JSON");
    assert_eq!(json, serde_json::json!({"n": 5, "s": "5", "phone": "+4512345678", "code": "007", "b": true, "f": 1.5}));
}

#[test]
fn aliases_cannot_grow_without_a_bound() {
    let mut text = "a: &a [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 0..9_u8 {
        let (from, to) = (char::from(b'a' + n), char::from(b'b' + n));
        let list = format!("*{from}, ").repeat(10);
        text.push_str(&format!("{to}: &{to} [{}]\n", list.trim_end_matches(", ")));
    }
    assert!(rendered(&text).contains("too large once its aliases are replaced"));
}

#[test]
fn a_syntax_error_has_its_place() {
    let shown = rendered("kind: test\nname: [a\n");
    assert!(shown.contains("this is not YAML"), "{shown}");
}

#[test]
fn every_document_is_read_back_from_its_stored_form() {
    let text = r##"
kind: test
name: All of it
environments: { e: { variables: { a: 1 }, headers: { X: y }, notify: { service: S, on: false, after_failures: 2, after_passes: 3 } } }
schedules: [{ every: 5m, environment: e, locations: [local, eu] }]
retry: true
quorum: 2
steps:
  - request: GET https://a.example
  - { pause: 2s }
  - name: b
    request: { method: post, url: "https://a.example", json: { a: "{{a}}" }, auth: { basic: { username: u, password: "{{secret.P}}" } }, query: { q: "1" } }
    assert: [{ source: header, property: X, comparison: contains, value: y }]
    save: [{ source: json, property: a, name: b }]
  - { request: { url: "https://a.example", form: { f: "1" }, auth: { bearer: "{{secret.T}}" }, follow_redirects: true, timeout: 1s } }
teardown: [{ request: { method: PUT, url: "https://a.example", text: hello } }]
---
{ kind: service, name: S, escalation_policy: E, urgency: low, acknowledgement_timeout: 30m, auto_resolve: 4h, rooms: [{ channel: C, room: "#r" }] }
---
{ kind: escalation_policy, name: E, levels: [{ targets: [Ada, { schedule: N }], escalate_after: 5m }], repeat: 2 }
---
{ kind: schedule, name: N, people: [Ada], start: "2026-01-05T09:00", turn: 1w, time_zone: Europe/Copenhagen, overrides: [{ person: Ada, from: "2026-01-06T09:00", to: "2026-01-07T09:00" }] }
---
{ kind: person, name: Ada, email: a@b.example, contact_methods: [{ name: m, channel: T, address: "+45 20 00 00 01" }], notification_rules: [{ method: m, after: 1m }] }
---
{ kind: channel, name: C, slack: { token: "{{secret.A}}", signing_secret: "{{secret.B}}" }, allow: [10.0.0.0/8] }
---
{ kind: channel, name: T, twilio: { account_sid: AC00000000000000000000000000000001, auth_token: "{{secret.A}}", from: "+4570000000" } }
---
{ kind: page, name: P, host: status.example.com, time_zone: Europe/Copenhagen }
---
{ kind: component, name: K, page: P, group: G, description: d, position: 3 }
---
{ kind: rule, service: S, component: K, high: major_outage, delay: 1m, incident: { name: n } }
---
{ kind: location, name: eu, allow: ["127.0.0.1"], canaries: ["example.com:443"] }
---
{ kind: settings, operators: S }
"##;
    let loaded = load_str("x.yaml", text, &nothing_known);
    assert!(loaded.is_usable(), "{}", loaded.diagnostics.iter().map(ToString::to_string).collect::<String>());
    assert_eq!(loaded.documents.len(), 12);
    for Located { document, .. } in loaded.documents {
        let stored = document.to_json().expect("JSON").to_string();
        let back = Document::from_json(document.kind(), serde_json::from_str(&stored).expect("JSON"));
        assert_eq!(back.map_err(|e| format!("{e:?}")), Ok(document));
    }
}

#[test]
fn settings_that_stand_elsewhere_are_not_called_missing() {
    let text = "{ kind: service, name: Machines, escalation_policy: On call }";
    let warned = |known: &dyn Fn(Kind, &str) -> bool| {
        load_str("tools.yaml", text, known).diagnostics.iter().any(|one| one.to_string().contains("\"operators\" is missing"))
    };
    assert!(warned(&|kind, _| kind == Kind::EscalationPolicy), "a folder by itself");
    assert!(!warned(&|kind, name| kind == Kind::EscalationPolicy || (kind, name) == (Kind::Settings, "server")), "beside others");
}

#[test]
fn operators_whose_policy_ends_in_a_schedule_are_refused_and_a_person_without_rules_is_told_what_that_means() {
    let text = |last: &str| {
        format!(
            "{{ kind: person, name: Ada, contact_methods: [{{ channel: T, address: \"+4520000001\" }}, {{ name: call, channel: T, address: \"+4520000001\", by: call }}] }}\n---\n\
             {{ kind: channel, name: T, twilio: {{ account_sid: AC00000000000000000000000000000001, auth_token: \"{{{{secret.A}}}}\", from: \"+4570000000\" }} }}\n---\n\
             {{ kind: schedule, name: N, people: [Ada], start: \"2026-01-05T09:00\", turn: 1w, time_zone: Etc/UTC }}\n---\n\
             {{ kind: escalation_policy, name: E, levels: [{{ targets: [Ada] }}, {{ targets: [{last}] }}] }}\n---\n\
             {{ kind: service, name: S, escalation_policy: E }}\n---\n{{ kind: settings, operators: S }}\n"
        )
    };
    let shown = |last: &str| {
        let loaded = load_str("x.yaml", &text(last), &nothing_known);
        (loaded.is_usable(), loaded.diagnostics.iter().map(ToString::to_string).collect::<String>())
    };
    let (usable, said) = shown("Ada");
    assert!(usable && said.contains("Ada has no notification rules: every contact method is used at once"), "{said}");
    let (usable, said) = shown("{ schedule: N }");
    assert!(!usable && said.contains("the escalation policy \"E\" of the operators must end in a person"), "{said}");
    assert!(shown("{ schedule: N }, Ada").0);
}

mod properties {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_makes_the_loader_panic(text in "(\\PC|\n){0,200}") {
            for diagnostic in super::load_str("x", &text, &super::nothing_known).diagnostics {
                let _shown = diagnostic.to_string();
            }
        }

        #[test]
        fn no_arrangement_of_known_words_makes_the_loader_panic(
            lines in proptest::collection::vec(
                ("[ ]{0,6}", prop::sample::select(vec!["kind: test", "name: x", "- request:", "steps:", "- {", "}", "url: http://a", "[", "teardown: [",
                    "environments:", "a: &a", "*a", "---", "save: {}", "assert: - source: json", "kind: rule", "levels: [{targets: 5}]"])), 0..25)
        ) {
            let text: String = lines.iter().map(|(indent, line)| format!("{indent}{line}\n")).collect();
            for diagnostic in super::load_str("x", &text, &super::nothing_known).diagnostics {
                let _shown = diagnostic.to_string();
            }
        }
    }
}

#[test]
fn integrations_have_a_name_each_and_a_bound() {
    let with = |integrations: &str| {
        rendered(&format!("kind: service\nname: S\nescalation_policy: P\nurgency: severity_based\nintegrations: {integrations}\n"))
    };
    assert!(with("[A, { name: B }, A]").contains("x.yaml:5:15: error: two integrations are named \"A\""));
    let many: Vec<String> = (0..501).map(|n| format!("t{n}")).collect();
    assert!(with(&format!("[{}]", many.join(", "))).contains("a service has at most 500 integrations, not 501"));
    assert!(!with("[A, { name: B }]").contains("integration"), "{}", with("[A, { name: B }]"));
}

#[test]
fn a_call_through_slack_is_refused() {
    let slack = "kind: channel\nname: Slack\nslack: { token: \"{{secret.T}}\", signing_secret: \"{{secret.S}}\" }\n---\n";
    let shown = rendered(&format!("{slack}kind: person\nname: Ada\ncontact_methods: [{{ channel: Slack, address: U0ADA, by: call }}]\n"));
    assert!(shown.contains("x.yaml:6:7: error: Ada has a contact method that calls through a channel that cannot"), "{shown}");
    assert!(shown.contains("calls go through a channel of kind twilio"), "{shown}");
}

#[test]
fn a_page_has_no_more_components_than_anybody_reads() {
    let text = |count: usize| {
        let components = (0..count).map(|n| format!("---\n{{ kind: component, name: Part {n}, page: SYNQ }}\n"));
        format!("{{ kind: page, name: SYNQ }}\n{}", components.collect::<String>())
    };
    let errors = |count: usize| {
        let loaded = load_str("a.yaml", &text(count), &|_, _| false);
        loaded.diagnostics.iter().filter(|one| one.severity == Severity::Error).map(|one| one.message.clone()).collect::<Vec<_>>()
    };
    assert_eq!(errors(500), Vec::<String>::new());
    assert_eq!(errors(502), ["the page \"SYNQ\" has more than 500 components"]);
}

#[test]
fn a_file_without_a_document_is_a_mistake_unless_it_says_by_a_comment_that_it_is_meant() {
    let place = |text: &str| load_str("x.yaml", text, &|_, _| false).diagnostics.first().map(|one| (one.line, one.message.clone()));
    let refused = |line| Some((line, "there is no document in this file".to_owned()));
    for (text, line) in [("", 1), ("\n \n", 1), ("---\n", 1), ("# people\n---\n", 2), ("~\n", 1), ("\u{feff}", 1), ("---\n...\n", 1)] {
        assert_eq!(place(text), refused(line), "{text:?}");
    }
    for text in ["# moved to people.yaml", "\n  # one\n\n# two\n", "\u{feff}# one\n"] {
        assert_eq!(place(text), None, "{text:?}");
    }
    let of_syntax = place("{").expect("refused");
    assert!(of_syntax.1.starts_with("this is not YAML"), "one mistake is told once: {of_syntax:?}");
}

#[test]
fn what_a_provider_would_refuse_is_an_error_at_its_place() {
    let text = "\
kind: channel
name: Twilio
twilio: { account_sid: hello, auth_token: \"{{secret.T}}\", from: \"+4570000000\" }
---
kind: channel
name: Texts
twilio: { account_sid: AC0123456789abcdef0123456789abcdef, auth_token: \"{{secret.T}}abc\", from: \"+0570000000\" }
---
kind: channel
name: SMS
twilio: { account_sid: AC0123456789abcdef0123456789abcdef, auth_token: \"{{secret.T}}\", from: \"+4570000000\" }
---
kind: channel
name: Slack
slack: { token: \"{{secret.S}}\", signing_secret: \"{{secret.G}}\" }
---
kind: channel
name: Mail
smtp: { host: mail.example.com, from: allclear@example.com }
---
kind: person
name: Ada
contact_methods:
  - { channel: SMS, address: \"015550100001\" }
  - { channel: Slack, address: \"@ada\" }
  - { channel: Mail, address: ada }
  - { channel: SMS, name: other, address: \"+4520000001\" }
notification_rules:
  - { urgency: high, method: SMS }
---
kind: escalation_policy
name: Call
levels: [{ targets: [{ person: Ada }] }]
---
kind: service
name: Streams
escalation_policy: Call
rooms: [{ channel: Slack, room: \"@ada\" }, { channel: Slack, room: \"#incidents\" }, { channel: Slack }]
";
    let loaded = crate::load_str("a.yaml", text, &|_, _| false);
    let errors: Vec<_> = loaded
        .diagnostics
        .iter()
        .filter(|one| one.severity == crate::Severity::Error)
        .map(|one| (one.line, one.message.as_str()))
        .collect();
    let wanted = [
        (3, "\"hello\" is not the id of a Twilio account"),
        (7, "a secret must not stand in a file"),
        (7, "this is not a telephone number"),
        (24, "\"015550100001\" is not a telephone number, which \"SMS\" needs"),
        (25, "\"@ada\" is not a Slack member's id, which \"Slack\" needs"),
        (26, "\"ada\" is not an e-mail address, which \"Mail\" needs"),
        (38, "\"@ada\" is not a Slack channel, which \"Slack\" needs"),
        (38, "\"Slack\" is not a Slack channel, which \"Slack\" needs"),
    ];
    for error in wanted {
        assert!(errors.contains(&error), "{error:?} is missing in {errors:#?}");
    }
    assert_eq!(errors.len(), wanted.len(), "{errors:#?}");
}
