//! A timeline leaves out nothing that happened, and a call that nobody needs any more ends once.

use allclear_base::OsRng;
use allclear_domain::catalog::Kind;
use allclear_domain::delivery::{Outcome, Purpose, Receipt};
use allclear_domain::incident::{LogKind, Via};
use allclear_ops::delivery::{self, Capacity};
use allclear_ops::incident::{self, Act};
use allclear_ops::{Actor, config};
use allclear_store::record::incident as incidents;

use super::audit::{server, too_hot};

#[tokio::test]
async fn a_receipt_that_overtakes_its_outcome_leaves_its_line_in_the_timeline() {
    let api = server().await;
    let opened = too_hot(&api, "AllClear itself").await;
    let capacity = Capacity { idle: 1, ..Capacity::default() };
    let sent = delivery::claim(&api.store, &OsRng, capacity).await.expect("claimed").outgoing.remove(0);
    assert!(delivery::receipt(&api.store, &OsRng, &sent.attempt, Receipt::Arrived).await.expect("taken"));
    let accepted = Outcome::Accepted { provider_id: "SM1".into() };
    delivery::settle(&api.store, &OsRng, &sent, accepted).await.expect("settled");
    let log = api.store.read("log", move |tx| incidents::log_of(tx, &opened.id, 0, 100)).await.expect("a timeline");
    let told: Vec<_> = log
        .into_iter()
        .filter_map(|entry| match entry.draft.kind {
            LogKind::Notified { outcome, .. } => Some(outcome),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["delivered"]);
}

const CALLED: &str = r#"
{ kind: channel, name: Twilio, twilio: { account_sid: AC00000000000000000000000000000001, auth_token: "{{secret.T}}", from: "+4570000000" } }
---
{ kind: person, name: Bo, contact_methods: [{ channel: Twilio, address: "+4520000001", by: call }] }
---
{ kind: escalation_policy, name: Bo alone, levels: [{ targets: [Bo] }] }
---
{ kind: service, name: Called, escalation_policy: Bo alone }
"#;

#[tokio::test]
async fn a_call_about_several_incidents_ends_once_and_only_when_all_of_them_are_taken() {
    let api = server().await;
    let documents = allclear_config::load_str("y.yaml", CALLED, &|_, _| false).into_documents();
    config::apply(&api.store, &OsRng, &Actor::files(), "y", documents).await.expect("applied");
    let opened = [too_hot(&api, "Called").await, too_hot(&api, "Called").await, too_hot(&api, "Called").await];
    let claim = async || {
        let capacity = Capacity { idle: 8, ..Capacity::default() };
        delivery::claim(&api.store, &OsRng, capacity).await.expect("claimed").outgoing
    };
    let rings = claim().await;
    let [call] = rings.as_slice() else { panic!("{rings:?}") };
    assert_eq!(call.deliveries.len(), 3);
    delivery::settle(&api.store, &OsRng, call, Outcome::Accepted { provider_id: "CA1".into() }).await.expect("settled");
    let bo = Actor::responder(api.store.catalog().id_of(Kind::Person, "Bo").expect("Bo").into(), Via::Sms);
    let take = async |about: Vec<_>| {
        incident::answer(&api.store, &OsRng, &bo, about, Act::Acknowledge, None).await.expect("answered");
        claim().await
    };
    assert_eq!(take(vec![opened[0].id.clone()]).await, [], "two still want an answer");
    let ends = take(vec![opened[1].id.clone(), opened[2].id.clone()]).await;
    let [end] = ends.as_slice() else { panic!("{ends:?}") };
    assert_eq!((end.message.purpose, end.root.as_deref()), (Purpose::HangUp, Some("CA1")));
    delivery::settle(&api.store, &OsRng, end, Outcome::Accepted { provider_id: "CA1".into() }).await.expect("settled");
    assert_eq!(claim().await, [], "once");
}
