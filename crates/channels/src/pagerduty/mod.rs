//! The real PagerDuty: incidents go there by its Events API v2, and what its users do there comes back by its webhooks v3.
//! Facts: <https://developer.pagerduty.com/docs/events-api-v2-overview>,
//! <https://developer.pagerduty.com/docs/verifying-webhook-signatures>.

mod inbound;

use allclear_base::Secrets;
use allclear_domain::catalog::PagerdutyAccount;
use allclear_domain::delivery::{Brief, Outcome};
use allclear_domain::incident::Urgency;
use allclear_egress::{Request, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

pub use inbound::{Happened, Told, parse, verify};

use crate::{Envelope, answer};

/// The longest dedup key that PagerDuty takes.
const LONGEST_KEY: usize = 255;

/// The longest summary that PagerDuty takes.
const LONGEST_SUMMARY: usize = 1_024;

/// What stands before an incident's id where its own key is too long.
const BY_INCIDENT: &str = "allclear:incident:";

/// The request that tells of an incident's change.
///
/// # Errors
/// The name of a secret that is not set.
pub(crate) fn request(account: &PagerdutyAccount, envelope: &Envelope<'_>, secrets: &Secrets) -> Result<Request, String> {
    let routing_key = secrets.resolve(&account.routing_key)?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let body = envelope.message.incidents.first().map_or(Value::Null, |incident| event(incident, routing_key.expose()));
    Ok(crate::post(format!("{}/v2/enqueue", account.api.trim_end_matches('/')), headers, Bytes::from(body.to_string())))
}

/// The same key for every failure of a test in an environment.
fn dedup_key(incident: &Brief) -> String {
    if incident.key.chars().count() <= LONGEST_KEY { incident.key.clone() } else { format!("{BY_INCIDENT}{}", incident.incident) }
}

fn event(incident: &Brief, routing_key: &str) -> Value {
    let action = match incident.status.as_str() {
        "resolved" => "resolve",
        "acknowledged" => "acknowledge",
        _ => "trigger",
    };
    let mut event = json!({ "routing_key": routing_key, "event_action": action, "dedup_key": dedup_key(incident) });
    if action == "trigger" {
        let severity = match incident.urgency {
            Urgency::High => "critical",
            Urgency::Low => "warning",
        };
        let summary: String = incident.title.chars().take(LONGEST_SUMMARY).collect();
        let details = json!({ "incident": incident.number, "why": incident.detail });
        event["payload"] = json!({ "summary": summary, "source": incident.service, "severity": severity, "custom_details": details });
        event["client"] = "AllClear".into();
    }
    event
}

/// What an answer means: 202 is taken; 400 says that the event or its key is wrong.
pub(crate) fn outcome(response: &Response) -> Outcome {
    if let Some(outcome) = answer::of_status(response) {
        return outcome;
    }
    match response.status.as_u16() {
        200..=299 => Outcome::Accepted { provider_id: String::new() },
        status => {
            let text: String = String::from_utf8_lossy(&response.body).chars().take(200).collect();
            Outcome::Permanent { why: format!("PagerDuty answered {status}: {text}") }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brief(key: &str, status: &str) -> Brief {
        Brief {
            incident: "Q1".into(),
            number: 7,
            key: key.into(),
            title: "Live Streaming API fails in production".into(),
            detail: "playback_url is empty, expected not empty".into(),
            service: "Streams".into(),
            urgency: Urgency::High,
            status: status.into(),
            remark: String::new(),
            url: None,
        }
    }

    #[test]
    fn one_key_stands_for_a_test_in_an_environment_whatever_happens_to_it() {
        let actions = ["triggered", "acknowledged", "resolved"].map(|status| event(&brief("test:t:production", status), "R"));
        assert_eq!(actions.each_ref().map(|e| e["event_action"].as_str()), [Some("trigger"), Some("acknowledge"), Some("resolve")]);
        assert!(actions.iter().all(|event| event["dedup_key"] == "test:t:production" && event["routing_key"] == "R"));
        assert_eq!(actions[0]["payload"]["severity"], "critical");
    }

    #[test]
    fn a_key_that_pagerduty_would_refuse_is_replaced_by_the_incidents() {
        let event = event(&brief(&"k".repeat(300), "triggered"), "R");
        assert_eq!(event["dedup_key"], "allclear:incident:Q1");
    }
}
