//! Webhooks v3: verified on the raw bytes, then read.

use allclear_domain::{IncidentId, Timestamp};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::{BY_INCIDENT, facts};

/// What happened there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// Somebody took it.
    Acknowledged,
    /// An acknowledgement was taken back, or timed out there.
    Unacknowledged,
    /// It ended.
    Resolved,
}

/// A change of an incident there that is of interest here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What happened.
    pub what: Happened,
    /// The key by which both sides know the incident.
    pub key: String,
    /// Our incident, where the key names it.
    pub incident: Option<IncidentId>,
    /// Who did it.
    pub by: String,
    /// Whether that was a person: what was not may be the echo of what we sent.
    pub by_person: bool,
    /// When it happened there.
    pub at: Timestamp,
}

/// Whether a request is PagerDuty's: one of the signatures in the header fits the raw body, in constant time.
#[must_use]
pub fn verify(secret: &str, signatures: &str, body: &[u8]) -> bool {
    let Ok(mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else { return false };
    let mac = mac.chain_update(body);
    let given = signatures.split(',').filter_map(|one| one.trim().strip_prefix("v1=")).filter_map(unhex);
    given.fold(false, |found, signature| found | mac.clone().verify_slice(&signature).is_ok())
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

/// Reads a webhook; nothing for what is of no interest, which is answered and ignored: other events, incidents that have no
/// key, and acknowledgements that no user made, because those are what we sent ourselves.
#[must_use]
pub fn parse(body: &[u8]) -> Option<Told> {
    let payload: Value = serde_json::from_slice(body).ok()?;
    let event = payload.get("event")?;
    let by_user = event["agent"]["type"].as_str().is_some_and(|kind| kind.starts_with("user"));
    let what = match event.get("event_type")?.as_str()? {
        facts::ACKNOWLEDGED if by_user => Happened::Acknowledged,
        facts::UNACKNOWLEDGED => Happened::Unacknowledged,
        facts::RESOLVED => Happened::Resolved,
        _ => return None,
    };
    let key = event["data"]["incident_key"].as_str().filter(|key| !key.is_empty())?.to_owned();
    let name: String = event["agent"]["summary"].as_str().filter(|_| by_user).unwrap_or_default().chars().take(100).collect();
    let by = if name.is_empty() { "PagerDuty".to_owned() } else { format!("{name} in PagerDuty") };
    let at = event.get("occurred_at")?.as_str()?.parse::<Timestamp>().ok()?;
    let incident = key.strip_prefix(BY_INCIDENT).map(IncidentId::from);
    Some(Told { what, key, incident, by, by_person: by_user, at })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn webhook(kind: &str, agent: &str) -> String {
        format!(
            "{{\"event\":{{\"id\":\"01\",\"event_type\":\"{kind}\",\"resource_type\":\"incident\",\"occurred_at\":\"2026-03-28T12:00:00.5Z\",\
             \"agent\":{agent},\"data\":{{\"id\":\"Q1\",\"type\":\"incident\",\"incident_key\":\"test:t:production\",\"status\":\"x\"}}}}}}"
        )
    }

    const ADA: &str = "{\"id\":\"PADA\",\"type\":\"user_reference\",\"summary\":\"Ada\"}";

    #[test]
    fn what_a_user_does_there_is_told_and_our_own_echo_is_not() {
        let told = parse(webhook("incident.acknowledged", ADA).as_bytes()).expect("told");
        assert_eq!((told.what, told.by.as_str(), told.key.as_str()), (Happened::Acknowledged, "Ada in PagerDuty", "test:t:production"));
        assert_eq!(told.at, Timestamp(1_774_699_200_500_000));
        for agent in ["null", "{\"id\":\"PSVC\",\"type\":\"service_reference\",\"summary\":\"Streams\"}"] {
            assert_eq!(parse(webhook("incident.acknowledged", agent).as_bytes()), None, "{agent}");
            assert!(parse(webhook("incident.resolved", agent).as_bytes()).is_some_and(|told| told.by == "PagerDuty"), "{agent}");
        }
        assert_eq!(parse(webhook("incident.escalated", ADA).as_bytes()), None);
        assert_eq!(parse(webhook("pagey.ping", "null").as_bytes()), None);
    }

    #[test]
    fn an_acknowledgement_that_timed_out_there_is_followed() {
        let told = parse(webhook("incident.unacknowledged", "null").as_bytes()).expect("told");
        assert_eq!((told.what, told.by_person), (Happened::Unacknowledged, false));
    }

    fn sign(secret: &str, body: &[u8]) -> String {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key").chain_update(body);
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn any_of_several_signatures_will_do_and_no_other() {
        let good = sign("s", b"{}");
        assert!(verify("s", &format!("v1={good}"), b"{}"));
        assert!(verify("s", &format!("v1={},v1={good}", sign("old", b"{}")), b"{}"));
        for wrong in [format!("v1={good}0"), format!("v0={good}"), good.clone(), String::new(), "v1=".into()] {
            assert!(!verify("s", &wrong, b"{}"), "{wrong}");
        }
        assert!(!verify("s", &format!("v1={good}"), b"{} "));
    }

    proptest! {
        #[test]
        fn no_change_of_a_signed_webhook_is_taken(
            body in prop::collection::vec(any::<u8>(), 1..100),
            at in 0..100_usize,
            flip in 1..=255_u8,
            cut in 1..100_usize,
        ) {
            let signature = format!("v1={}", sign("s", &body));
            prop_assert!(verify("s", &signature, &body));
            let mut changed = body.clone();
            changed[at % body.len()] ^= flip;
            prop_assert!(!verify("s", &signature, &changed), "forged");
            prop_assert!(!verify("s", &signature, &body[..body.len().saturating_sub(cut)]), "truncated");
            prop_assert!(!verify("s", &format!("v1={}", sign("another", &body)), &body), "another secret");
        }

        #[test]
        fn no_bytes_make_the_reader_panic(body in prop::collection::vec(any::<u8>(), 0..200), signatures in "\\PC{0,80}") {
            let _told = parse(&body);
            let _known = verify("k", &signatures, &body);
        }

        #[test]
        fn no_webhook_with_odd_values_makes_the_reader_panic(kind in "incident\\.[a-z]{0,12}", agent in "null|\\{\\}|\\[1\\]|\"x\"|\\{\"type\":[0-9]\\}") {
            let _told = parse(webhook(&kind, &agent).as_bytes());
        }
    }
}
