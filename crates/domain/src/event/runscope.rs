//! Runscope's result webhook, one for each run of a test. Facts: <https://www.runscope.com/docs/api-testing/notifications>.

use serde_json::{Map, Value, json};

use super::{Action, Content, Event, LONGEST_DEDUP_KEY, Refused, one_line};

/// Reads a result that came with an integration's key: a failure triggers, a pass resolves. Results from several regions are
/// alerts of their own, so that a pass in one place never clears another's failure.
///
/// # Errors
/// [`Refused`], with every mistake at once.
pub fn parse_runscope(key: &str, body: &[u8]) -> Result<Event, Refused> {
    let Ok(Value::Object(result)) = serde_json::from_slice::<Value>(body) else { return Err(Refused::Unreadable) };
    let text = |name: &str| result.get(name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let mut errors: Vec<String> = ["test_id", "environment_uuid", "result"]
        .into_iter()
        .filter(|name| text(name).is_none())
        .map(|name| format!("{name} is missing"))
        .collect();
    let action = match text("result") {
        Some("fail") => Some(Action::Trigger(content(&result))),
        Some("pass") => Some(Action::Resolve),
        Some(other) => {
            errors.push(format!("result is {:?}; it must be pass or fail", other.chars().take(40).collect::<String>()));
            None
        }
        None => None,
    };
    let place = text("region").or_else(|| text("agent")).unwrap_or_default();
    let key_of = |test: &str, environment: &str| format!("runscope:{test}:{environment}:{place}");
    let dedup_key = text("test_id").zip(text("environment_uuid")).map(|(test, environment)| key_of(test, environment));
    if dedup_key.as_ref().is_some_and(|key| key.chars().count() > LONGEST_DEDUP_KEY) {
        errors.push("test_id, environment_uuid and region are too long".to_owned());
    }
    match (action, dedup_key) {
        (Some(action), Some(dedup_key)) if errors.is_empty() => Ok(Event {
            routing_key: key.to_owned(),
            dedup_key: Some(dedup_key),
            environment: Some(text("environment_name").unwrap_or_default().to_owned()),
            action,
        }),
        _ => Err(Refused::Invalid(errors)),
    }
}

fn content(result: &Map<String, Value>) -> Content {
    let text = |name: &str| result.get(name).and_then(Value::as_str).unwrap_or_default();
    let place = [text("region_name"), text("region"), text("agent")].into_iter().find(|place| !place.is_empty());
    let place = place.map_or(String::new(), |place| format!(" from {place}"));
    let summary = format!("{} fails in {}{place}", text("test_name"), text("environment_name"));
    let mut details = Map::new();
    for name in ["test_name", "environment_name", "bucket_name", "region_name", "test_url", "test_run_url", "test_run_id"] {
        if !text(name).is_empty() {
            details.insert(name.to_owned(), json!(text(name)));
        }
    }
    let failed = result.get("requests").and_then(Value::as_array).into_iter().flatten().find(|request| request["result"] == "fail");
    if let Some(request) = failed {
        let shown = ["method", "url", "response_status_code", "response_time_ms", "assertions"];
        details.insert("failed_request".into(), shown.into_iter().map(|name| (name.to_owned(), request[name].clone())).collect());
    }
    Content { summary: one_line(&summary), severity: None, details }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: &str = "0123456789abcdef0123456789ABCDEF";

    fn webhook(result: &str, region: &Value) -> String {
        json!({ "test_id": "t1", "test_name": "Live Stream", "environment_uuid": "e1", "environment_name": "Production", "result": result,
            "region": region, "region_name": "US Virginia", "test_run_url": "https://www.runscope.com/radar/b/t1/results/r1",
            "requests": [{ "method": "POST", "url": "https://x/streams", "result": "fail", "response_status_code": "503" }] })
        .to_string()
    }

    #[test]
    fn a_failure_triggers_and_a_pass_resolves_under_one_key_for_test_environment_and_region() {
        let fail = parse_runscope(KEY, webhook("fail", &json!("us1")).as_bytes()).expect("an event");
        let pass = parse_runscope(KEY, webhook("pass", &json!("us1")).as_bytes()).expect("an event");
        let elsewhere = parse_runscope(KEY, webhook("pass", &json!("eu1")).as_bytes()).expect("an event");
        assert_eq!(fail.dedup_key.as_deref(), Some("runscope:t1:e1:us1"));
        assert!(pass.dedup_key == fail.dedup_key && elsewhere.dedup_key != fail.dedup_key && pass.action == Action::Resolve);
        let Action::Trigger(content) = fail.action else { panic!("a failure triggers") };
        assert_eq!(content.summary, "Live Stream fails in Production from US Virginia");
        assert_eq!(content.details["failed_request"]["response_status_code"], "503");
        assert_eq!(fail.environment.as_deref(), Some("Production"));
    }

    #[test]
    fn every_mistake_is_named() {
        let refused = parse_runscope(KEY, b"{\"result\":\"maybe\"}").expect_err("refused").to_string();
        assert_eq!(refused, "test_id is missing; environment_uuid is missing; result is \"maybe\"; it must be pass or fail");
        assert_eq!(parse_runscope(KEY, b"[]"), Err(Refused::Unreadable));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200), result in "\\PC{0,8}", region in "null|1|\\[\\]|\"x\"") {
            let _event = parse_runscope(KEY, &body);
            let region = serde_json::from_str(&region).unwrap_or(Value::Null);
            let _event = parse_runscope(KEY, webhook(&result, &region).as_bytes());
        }
    }
}
