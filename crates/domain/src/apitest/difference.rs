//! What is different between a run and the last good one: where somebody looks first.

use serde_json::Value;

use super::report::{Exchange, RunReport};

/// Differences that are told; a body that is another one altogether says nothing by its thousandth.
pub const MOST: usize = 40;

/// The longest value that is told, in characters.
const LONGEST_VALUE: usize = 200;

/// Something that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The step.
    pub step: String,
    /// What: `status`, `body`, or a place in the JSON (`data.items[2].url`).
    pub place: String,
    /// As it was; nothing where it is new.
    pub before: Option<String>,
    /// As it is; nothing where it is gone.
    pub after: Option<String>,
}

/// How the exchanges of `after` differ from those of `before`, step by step, at most [`MOST`]. What differs between any two
/// runs (times, dates) is told as well: nobody but the reader can tell.
#[must_use]
pub fn differences(before: &RunReport, after: &RunReport) -> Vec<Difference> {
    let mut found = Vec::new();
    for (n, step) in after.steps.iter().enumerate() {
        let then = before.steps.get(n).filter(|then| then.name == step.name).and_then(|then| then.exchange.as_ref());
        if let (Some(then), Some(now)) = (then, step.exchange.as_ref()) {
            of_exchanges(&step.name, then, now, &mut found);
        }
    }
    let failing: Vec<(&str, String)> = after
        .steps
        .iter()
        .flat_map(|step| step.assertions.iter().filter(|one| !one.passed).map(|one| (step.name.as_str(), one.sentence())))
        .collect();
    let is_meant = |one: &Difference| failing.iter().any(|(step, sentence)| *step == one.step && sentence.contains(&one.place));
    // What a failing assertion speaks of comes first; ids and times change with every run.
    found.sort_by_key(|one| !is_meant(one));
    found.truncate(MOST);
    found
}

fn of_exchanges(step: &str, before: &Exchange, after: &Exchange, found: &mut Vec<Difference>) {
    let mut add = |place: &str, before: Option<String>, after: Option<String>| {
        if before != after && found.len() <= MOST {
            found.push(Difference { step: step.to_owned(), place: place.to_owned(), before, after });
        }
    };
    add("status", before.status.map(|status| status.to_string()), after.status.map(|status| status.to_string()));
    let kind = |exchange: &Exchange| {
        let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("content-type");
        exchange.response_headers.iter().find(named).map(|(_, value)| value.clone())
    };
    add("content-type", kind(before), kind(after));
    match (serde_json::from_str(&before.response_body), serde_json::from_str(&after.response_body)) {
        (Ok(then), Ok(now)) => of_values("", &then, &now, &mut add),
        _ => add("body", first_lines(&before.response_body), first_lines(&after.response_body)),
    }
}

fn first_lines(body: &str) -> Option<String> {
    (!body.is_empty()).then(|| short(body))
}

fn short(text: &str) -> String {
    let cut: String = text.chars().take(LONGEST_VALUE).collect();
    if cut.len() < text.len() { format!("{cut}…") } else { cut }
}

type Add<'a> = dyn FnMut(&str, Option<String>, Option<String>) + 'a;

fn of_values(place: &str, before: &Value, after: &Value, add: &mut Add<'_>) {
    let told = |value: Option<&Value>| value.map(|value| short(&value.to_string()));
    match (before, after) {
        (Value::Object(then), Value::Object(now)) => {
            let inner = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
            for (name, value) in then {
                match now.get(name) {
                    Some(next) => of_values(&inner(name), value, next, add),
                    None => add(&inner(name), told(Some(value)), None),
                }
            }
            for (name, value) in now.iter().filter(|(name, _)| !then.contains_key(*name)) {
                add(&inner(name), None, told(Some(value)));
            }
        }
        (Value::Array(then), Value::Array(now)) => {
            for n in 0..then.len().max(now.len()) {
                let inner = format!("{place}[{n}]");
                match (then.get(n), now.get(n)) {
                    (Some(value), Some(next)) => of_values(&inner, value, next, add),
                    (value, next) => add(&inner, told(value), told(next)),
                }
            }
        }
        _ if before == after => {}
        _ => add(if place.is_empty() { "body" } else { place }, told(Some(before)), told(Some(after))),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn exchange(status: u16, body: &str) -> Exchange {
        Exchange { status: Some(status), response_body: body.to_owned(), ..Exchange::default() }
    }

    fn told(before: &Exchange, after: &Exchange) -> Vec<(String, Option<String>, Option<String>)> {
        let mut found = Vec::new();
        of_exchanges("create", before, after, &mut found);
        found.into_iter().map(|one| (one.place, one.before, one.after)).collect()
    }

    #[test]
    fn what_changed_is_named_by_its_place() {
        let good = exchange(200, &json!({ "id": 1, "urls": ["a", "b"], "playback": { "url": "x" } }).to_string());
        let bad = exchange(503, &json!({ "urls": ["a"], "playback": { "url": null }, "error": "no capacity" }).to_string());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            told(&good, &bad),
            [
                ("status".to_owned(), some("200"), some("503")),
                ("id".to_owned(), some("1"), None),
                ("urls[1]".to_owned(), some("\"b\""), None),
                ("playback.url".to_owned(), some("\"x\""), some("null")),
                ("error".to_owned(), None, some("\"no capacity\"")),
            ]
        );
        assert_eq!(told(&good, &exchange(200, "gone")).last().map(|one| one.0.as_str()), Some("body"));
    }

    proptest! {
        #[test]
        fn the_same_differs_in_nothing_and_no_body_makes_too_many(text in ".{0,200}", n in 0_usize..200) {
            let one = exchange(200, &text);
            prop_assert_eq!(told(&one, &one), []);
            let (long, none) = (exchange(200, &json!(vec![1; n]).to_string()), exchange(200, "[]"));
            prop_assert!(told(&none, &long).len() <= MOST + 1);
        }
    }
}
