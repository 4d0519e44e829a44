//! The auditor finds what stands still, tells the operators and takes it back.

use allclear_base::OsRng;
use allclear_domain::Span;
use allclear_domain::incident::{Incident, State};
use allclear_ops::wish::Declared;
use allclear_ops::{Actor, audit, config, incident, wish};
use allclear_store::record::timer::{self, Timer};
use allclear_store::record::{alert, incident as incidents};
use allclear_store::{Lane, StoreError, Write};

use super::routes::{Api, api};

const FILES: &str = r#"
{ kind: channel, name: Hook, webhook: { url: "https://hook.example/", secret: "{{secret.HOOK}}" } }
---
{ kind: person, name: Ada, contact_methods: [{ channel: Hook, address: ada }] }
---
{ kind: escalation_policy, name: On call, levels: [{ targets: [Ada] }] }
---
{ kind: service, name: Streams, escalation_policy: On call, urgency: low }
---
{ kind: service, name: AllClear itself, escalation_policy: On call }
---
{ kind: settings, operators: AllClear itself }
"#;

pub(super) async fn server() -> Api {
    let api = api();
    let documents = allclear_config::load_str("x.yaml", FILES, &|_, _| false).into_documents();
    config::apply(&api.store, &OsRng, &Actor::files(), "x", documents).await.expect("applied");
    api
}

/// An incident that somebody declares.
pub(super) async fn too_hot(api: &Api, service: &str) -> Incident {
    let wish = Declared {
        title: "Too hot".into(),
        service: service.into(),
        details: None,
        urgency: None,
        people: vec![],
        policy: None,
        priority: None,
        taken: false,
        key: None,
    };
    wish::declare(&api.store, &OsRng, &Actor::local(), wish).await.expect("declared")
}

async fn look(api: &Api) -> Vec<String> {
    audit::look(&api.store, api.store.now()).await.expect("a look").into_iter().map(|one| one.text).collect()
}

async fn open_titles(api: &Api) -> Vec<String> {
    let read = api.store.read("open", |tx| incidents::list_incidents(tx, None, i64::MAX, 10)).await.expect("a list");
    read.into_iter().filter(|one| !matches!(one.state, State::Resolved(_))).map(|one| one.title).collect()
}

#[tokio::test]
async fn a_timer_that_does_not_fire_is_found_and_the_operators_hear_of_it_until_it_is_gone() {
    let api = server().await;
    assert!(look(&api).await.is_empty());
    let due_at = api.store.now().minus(Span::from_mins(5));
    let late = Timer { subject: "incident:Q1".into(), kind: "escalate".into(), due_at, body: "null".into() };
    let set = move |tx: &mut allclear_store::Tx<'_>| timer::set_timer(tx, &late);
    api.store.write(Write::new("late", Lane::Act), set).await.expect("set");
    let findings = look(&api).await;
    assert!(findings.len() == 1 && findings[0].starts_with("a timer has been due for 5m"), "{findings:?}");
    for _ in 0..2 {
        audit::report(&api.store, &OsRng, &findings).await.expect("reported");
        let open = open_titles(&api).await;
        assert!(open.len() == 1 && open[0].starts_with("AllClear's auditor: a timer has been due"), "{open:?}");
    }
    audit::report(&api.store, &OsRng, &[]).await.expect("reported");
    assert!(open_titles(&api).await.is_empty());
}

#[tokio::test]
async fn an_open_incident_to_which_nothing_will_happen_is_found() {
    let api = server().await;
    let opened = too_hot(&api, "Streams").await;
    let act = incident::act(&api.store, &OsRng, &Actor::local(), &opened.id, incident::Act::Acknowledge).await;
    act.expect("acknowledged");
    assert_eq!(look(&api).await, Vec::<String>::new(), "a person can still end it");
    let id = opened.id.clone();
    let forget = move |tx: &mut allclear_store::Tx<'_>| {
        for one in alert::alerts_of(tx, &id)? {
            alert::resolve_alert(tx, &one.id)?;
        }
        Ok::<_, StoreError>(())
    };
    api.store.write(Write::new("forget", Lane::Act), forget).await.expect("forgotten");
    assert_eq!(look(&api).await, ["incident #1 is open and nothing will ever happen to it"]);
}

#[tokio::test]
async fn an_incident_that_lost_the_timer_of_its_state_is_found_though_its_alert_is_open() {
    let api = server().await;
    let opened = too_hot(&api, "AllClear itself").await;
    assert_eq!(look(&api).await, Vec::<String>::new());
    let subject = format!("incident:{}", opened.id);
    let forget = move |tx: &mut allclear_store::Tx<'_>| {
        for one in timer::timers_of(tx, &subject)? {
            timer::clear_timer(tx, &subject, &one.kind)?;
        }
        Ok::<_, StoreError>(())
    };
    api.store.write(Write::new("forget", Lane::Act), forget).await.expect("forgotten");
    assert_eq!(look(&api).await, ["incident #1 is open and nothing will ever happen to it"]);
}

#[tokio::test]
async fn a_clock_that_is_behind_is_found() {
    let api = server().await;
    let findings = audit::look(&api.store, api.store.now().minus(Span::from_mins(10))).await.expect("a look");
    assert!(findings.len() == 1 && findings[0].text.starts_with("the machine's clock is "), "{findings:?}");
}
