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
