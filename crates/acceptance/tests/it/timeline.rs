//! A timeline leaves out nothing that happened.

use allclear_base::OsRng;
use allclear_domain::delivery::Outcome;
use allclear_domain::incident::LogKind;
use allclear_ops::delivery;
use allclear_ops::delivery::Capacity;
use allclear_store::record::incident as incidents;

use super::audit::{server, too_hot};

#[tokio::test]
async fn a_receipt_that_overtakes_its_outcome_leaves_its_line_in_the_timeline() {
    let api = server().await;
    let opened = too_hot(&api, "AllClear itself").await;
    let capacity = Capacity { idle: 1, ..Capacity::default() };
    let sent = delivery::claim(&api.store, &OsRng, capacity).await.expect("claimed").outgoing.remove(0);
    assert!(delivery::receipt(&api.store, &OsRng, &sent.attempt, true, None).await.expect("taken"));
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
