//! PagerDuty's facts. Sources: PagerDuty/api-schema, Events API v2 (path, fields, actions, severities);
//! its overview of that API (lengths); its pages on webhooks v3 (events, signatures).

use http::Method;

use crate::facts::Operation;

/// Sends an event.
pub(super) const ENQUEUE: Operation = Operation {
    name: "enqueue",
    method: Method::POST,
    path: "/v2/enqueue",
    sends: &["routing_key", "event_action", "dedup_key", "payload", "client", "client_url", "links"],
};

/// The fields of a payload that we send.
#[cfg(test)]
pub(super) const PAYLOAD: &[&str] = &["summary", "source", "severity", "custom_details"];

/// The longest dedup key.
pub(super) const LONGEST_KEY: usize = 255;

/// The longest summary.
pub(super) const LONGEST_SUMMARY: usize = 1_024;

/// The events of its webhooks that we follow, and its test message.
pub(super) const ACKNOWLEDGED: &str = "incident.acknowledged";
pub(super) const UNACKNOWLEDGED: &str = "incident.unacknowledged";
pub(super) const RESOLVED: &str = "incident.resolved";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::tests::{agrees, extract, words};

    #[test]
    fn pagerdutys_facts_are_those_of_its_documents() {
        let pagerduty = extract("pagerduty");
        agrees(&pagerduty, &ENQUEUE);
        assert_eq!(pagerduty["lengths"]["dedup_key"]["most"], LONGEST_KEY as u64);
        assert_eq!(pagerduty["lengths"]["summary"]["most"], LONGEST_SUMMARY as u64);
        let known = words(&pagerduty["payload"]["known"]);
        assert!(PAYLOAD.iter().all(|field| known.contains(field)));
        let required = words(&pagerduty["payload"]["required"]);
        assert!(required.iter().all(|field| PAYLOAD.contains(field)));
        let events = words(&pagerduty["webhooks"]["events"]);
        for followed in [ACKNOWLEDGED, UNACKNOWLEDGED, RESOLVED] {
            assert!(events.contains(&followed), "{followed}");
        }
    }
}
