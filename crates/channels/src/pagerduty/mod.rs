//! The real PagerDuty: incidents go there by its Events API v2, and what its users do there comes back by its webhooks v3.
//! Facts: `facts`; <https://developer.pagerduty.com/docs/verifying-webhook-signatures>.

mod facts;
mod inbound;

use allclear_base::Secrets;
use allclear_domain::Timestamp;
use allclear_domain::catalog::PagerdutyAccount;
use allclear_domain::delivery::{Brief, Outcome};
use allclear_domain::incident::Urgency;
use allclear_egress::{Request, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

pub use inbound::{Happened, Told, parse, verify};

use crate::text::cut;
use crate::{Envelope, Site, answer, missing_secret};

/// What stands before an incident's id where its own key is too long.
const BY_INCIDENT: &str = "allclear:incident:";

/// The request that tells of an incident's change.
///
/// # Errors
/// The secret that is not set.
pub(crate) fn request(account: &PagerdutyAccount, envelope: &Envelope<'_>, secrets: &Secrets, site: &Site) -> Result<Request, String> {
    let routing_key = secrets.resolve(&account.routing_key).map_err(|name| missing_secret(&name))?;
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let incident = envelope.message.incidents.first();
    let body = incident.map_or(Value::Null, |incident| event(incident, routing_key.expose(), site));
    Ok(crate::post(facts::ENQUEUE.url(&account.api, &[]), headers, Bytes::from(body.to_string())))
}

/// The same key for every failure of a test in an environment.
fn dedup_key(incident: &Brief) -> String {
    if incident.key.chars().count() <= facts::LONGEST_KEY { incident.key.clone() } else { format!("{BY_INCIDENT}{}", incident.incident) }
}

fn event(incident: &Brief, routing_key: &str, site: &Site) -> Value {
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
        let mut details = json!({ "incident": incident.number });
        for (name, value) in &incident.fields {
            details[name] = value.as_str().into();
        }
        if !incident.detail.is_empty() {
            details["why"] = incident.detail.as_str().into();
        }
        event["payload"] = json!({
            "summary": cut(&incident.title, facts::LONGEST_SUMMARY),
            "source": incident.source.as_ref().unwrap_or(&incident.service),
            "severity": severity,
            "custom_details": details,
        });
        event["client"] = "AllClear".into();
        if let Some(url) = site.incident(incident.incident.as_str()) {
            event["client_url"] = url.into();
        }
        if !incident.links.is_empty() {
            let link = |link: &allclear_domain::delivery::EventLink| json!({ "href": link.href, "text": link.text });
            event["links"] = incident.links.iter().map(link).collect();
        }
    }
    event
}

/// What an answer means: 202 is taken; 400 says that the event or its key is wrong.
pub(crate) fn outcome(response: &Response, now: Timestamp) -> Outcome {
    if let Some(outcome) = answer::of_status(response, now) {
        return outcome;
    }
    match response.status.as_u16() {
        200..=299 => Outcome::Accepted { provider_id: String::new() },
        status => {
            let why = format!("PagerDuty answered {status}: {}", answer::excerpt(response));
            match status {
                401 | 403 | 404 => Outcome::ChannelBroken { why },
                _ => Outcome::Permanent { why },
            }
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
            news: None,
            source: None,
            links: vec![],
            fields: vec![],
        }
    }

    #[test]
    fn one_key_stands_for_a_test_in_an_environment_whatever_happens_to_it() {
        let actions =
            ["triggered", "acknowledged", "resolved"].map(|status| event(&brief("test:t:production", status), "R", &Site::default()));
        assert_eq!(actions.each_ref().map(|e| e["event_action"].as_str()), [Some("trigger"), Some("acknowledge"), Some("resolve")]);
        assert!(actions.iter().all(|event| event["dedup_key"] == "test:t:production" && event["routing_key"] == "R"));
        assert_eq!(actions[0]["payload"]["severity"], "critical");
    }

    #[test]
    fn a_key_that_pagerduty_would_refuse_is_replaced_by_the_incidents() {
        let event = event(&brief(&"k".repeat(300), "triggered"), "R", &Site::default());
        assert_eq!(event["dedup_key"], "allclear:incident:Q1");
    }
}
