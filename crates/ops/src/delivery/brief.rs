//! What a message says of an incident.

use allclear_domain::PersonId;
use allclear_domain::delivery::{Brief, EventLink};
use allclear_domain::incident::{Incident, Paging, State};
use allclear_store::record::alert::{self, Reported};
use allclear_store::{StoreError, Tx};
use serde_json::Value;

use super::agent_name;

/// Reads what a message says of an incident, as it stands now.
pub(crate) fn brief(tx: &mut Tx<'_>, incident: &Incident) -> Result<Brief, StoreError> {
    let catalog = tx.catalog();
    let key = crate::apply::key_of(tx, incident)?.unwrap_or_default();
    let alerts = alert::alerts_of(tx, &incident.id)?;
    let alert = alerts.iter().find(|alert| alert.dedup_key == key).or(alerts.first());
    // A monitoring tool says one thing only: once is enough.
    let detail = alert.map(|alert| alert.why.clone()).filter(|why| *why != incident.title).unwrap_or_default();
    let told = alert.and_then(|alert| alert.event.as_ref());
    let person = |id: &PersonId| catalog.person(id).map_or_else(|| id.0.clone(), |person| person.name.clone());
    let remark = match &incident.state {
        State::Triggered(Paging::Level(here)) => {
            format!("assigned to {}", here.assigned.iter().map(&person).collect::<Vec<_>>().join(", "))
        }
        State::Triggered(Paging::Nobody { .. }) => "nobody is on call".to_owned(),
        State::Acknowledged(held) => format!("acknowledged by {}", held.by.last().map_or(String::new(), |a| agent_name(&a.by, &person))),
        State::Resolved(end) => format!("resolved by {}: {}", agent_name(&end.by, &person), end.why.words()),
    };
    Ok(Brief {
        incident: incident.id.clone(),
        number: incident.number,
        key,
        title: incident.title.clone(),
        detail,
        service: catalog.service(&incident.service).map_or(String::new(), |service| service.name.clone()),
        urgency: incident.urgency,
        status: incident.state.word().to_owned(),
        remark,
        news: None,
        source: told.and_then(|event| text_of(event.details.get("source")?)),
        links: told.map_or_else(Vec::new, links_of),
        fields: told.map_or_else(Vec::new, fields_of),
    })
}

/// The longest value that a message shows; the incident's page has all of it.
const LONGEST_VALUE: usize = 300;

/// The longest name of a value.
const LONGEST_NAME: usize = 60;

/// The longest address that a message passes on.
const LONGEST_LINK: usize = 2_000;

/// A value in one line, cut at its bound; nothing where it is empty.
fn text_of(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_VALUE).collect();
    Some(line.trim().to_owned()).filter(|line| !line.is_empty())
}

/// The names and values that came with an event besides its links.
fn fields_of(event: &Reported) -> Vec<(String, String)> {
    let mut fields = Vec::new();
    let mut push = |name: &str, value: &Value| {
        if let Some(text) = text_of(value)
            && fields.len() < Brief::MOST_FIELDS
        {
            fields.push((name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect::<String>(), text));
        }
    };
    match event.details.get("custom_details") {
        Some(Value::Object(details)) => details.iter().for_each(|(name, value)| push(name, value)),
        Some(other) => push("details", other),
        None => {}
    }
    for name in ["component", "group", "class"] {
        if let Some(value) = event.details.get(name) {
            push(name, value);
        }
    }
    fields
}

/// The addresses that came with an event: the sender's own page first.
fn links_of(event: &Reported) -> Vec<EventLink> {
    let is_address = |text: &&str| {
        (text.starts_with("https://") || text.starts_with("http://"))
            && text.len() <= LONGEST_LINK
            && !text.chars().any(|c| c.is_control() || c.is_whitespace())
    };
    let address = |value: &Value| value.as_str().filter(is_address).map(str::to_owned);
    let own = event.details.get("client_url").and_then(address).map(|href| {
        let text = event.details.get("client").and_then(text_of).unwrap_or_else(|| "Where it was seen".to_owned());
        EventLink { href, text }
    });
    let links = event.details.get("links").and_then(Value::as_array).into_iter().flatten();
    let theirs = links.filter_map(|link| {
        let href = address(link.get("href")?)?;
        let text = link.get("text").and_then(text_of).unwrap_or_else(|| href.clone());
        Some(EventLink { href, text })
    });
    own.into_iter().chain(theirs).take(Brief::MOST_LINKS).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn reported(details: &Value) -> Reported {
        let details = details.as_object().expect("an object").clone();
        Reported { integration: "I1".into(), severity: None, details }
    }

    #[test]
    fn links_and_details_of_an_event_are_passed_on_and_no_other_address_is() {
        let event = reported(&json!({
            "source": "web-1", "client": "Grafana", "client_url": "https://g.example/alert",
            "links": [{ "href": "https://g.example/d?a=1", "text": "Board" }, { "href": "javascript:alert(1)", "text": "x" },
                { "href": "https://a b.example" }, { "text": "no address" }, "https://g.example", { "href": "http://r.example" }],
            "custom_details": { "region": "eu", "load": 7.5, "none": null, "tags": ["a", "b"] }, "class": "disk",
        }));
        let links: Vec<_> = links_of(&event).into_iter().map(|link| (link.text, link.href)).collect();
        let expected =
            [("Grafana", "https://g.example/alert"), ("Board", "https://g.example/d?a=1"), ("http://r.example", "http://r.example")];
        assert_eq!(links, expected.map(|(text, href)| (text.to_owned(), href.to_owned())));
        let fields = fields_of(&event);
        let expected = [("region", "eu"), ("load", "7.5"), ("tags", "[\"a\",\"b\"]"), ("class", "disk")];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn what_an_event_brings_is_bounded() {
        let many: serde_json::Map<String, Value> =
            (0..500).map(|n| (format!("{n}{}", "k".repeat(200)), json!("v".repeat(5_000)))).collect();
        let links: Vec<Value> = (0..50).map(|n| json!({ "href": format!("https://x.example/{n}") })).collect();
        let event = reported(&json!({ "custom_details": many, "links": links }));
        let fields = fields_of(&event);
        assert_eq!((fields.len(), links_of(&event).len()), (Brief::MOST_FIELDS, Brief::MOST_LINKS));
        assert!(fields.iter().all(|(name, value)| name.len() <= LONGEST_NAME && value.len() <= LONGEST_VALUE));
    }
}
