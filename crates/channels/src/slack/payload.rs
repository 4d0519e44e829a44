//! A message in Slack's form.

use allclear_domain::delivery::{Brief, Message, Purpose};
use serde_json::{Value, json};

use super::facts;
use crate::facts::Operation;
use crate::text::cut_escaped;
use crate::{Form, Site};

/// The parts of a section, in characters after escaping; together they stay below what Slack takes.
const LONGEST_TITLE: usize = 600;
const LONGEST_SERVICE: usize = 150;
const LONGEST_REMARK: usize = 300;
const LONGEST_DETAIL: usize = 800;
const LONGEST_FIELDS: usize = 300;
const LONGEST_LINKS: usize = 450;

/// Incidents that one message shows; each is two blocks.
const MOST_SHOWN: usize = 10;

/// How a message is composed: where it leads, whether buttons can be answered, and how plain it is.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) site: &'a Site,
    pub(super) form: Form,
    pub(super) buttons: bool,
}

/// The API method and its body. `root` is `channel:ts` of the message to change or answer.
pub(crate) fn payload(message: &Message, address: &str, root: Option<&str>, site: &Site, form: Form) -> (Operation, Value) {
    // A button that is pressed comes back to our public address.
    let look = Look { site, form, buttons: site.public().is_some() };
    let root = root.and_then(|root| root.split_once(':'));
    match (message.purpose, root) {
        (Purpose::State, Some((channel, ts))) => {
            let mut body = json!({ "channel": channel, "ts": ts, "text": headline(message) });
            // A message that loses its blocks must be told so, or Slack keeps the old ones.
            body["blocks"] = blocks(message, look).unwrap_or_else(|| json!([]));
            (facts::UPDATE_MESSAGE, body)
        }
        (Purpose::Note | Purpose::AllClear, Some((channel, ts))) => {
            // The end of an incident is for the whole room, not only for those who follow the thread.
            let broadcast = message.incidents.iter().all(|incident| incident.status == "resolved");
            let text = notes(message);
            let body = json!({ "channel": channel, "thread_ts": ts, "reply_broadcast": broadcast, "text": text });
            (facts::POST_MESSAGE, body)
        }
        (Purpose::Note | Purpose::AllClear, None) => (facts::POST_MESSAGE, json!({ "channel": address, "text": notes(message) })),
        (Purpose::Notice | Purpose::Reply, _) => (facts::POST_MESSAGE, json!({ "channel": address, "text": words(message) })),
        (Purpose::State | Purpose::Page | Purpose::Mirror | Purpose::HangUp, _) => {
            let mut body = json!({ "channel": address, "text": headline(message) });
            if let Some(blocks) = blocks(message, look) {
                body["blocks"] = blocks;
            }
            (facts::POST_MESSAGE, body)
        }
    }
}

/// The same without anything that needs an answer: what an incoming webhook can show.
pub(crate) fn without_buttons(message: &Message, site: &Site, form: Form) -> Value {
    match message.purpose {
        Purpose::Note | Purpose::AllClear => json!({ "text": notes(message) }),
        Purpose::Notice | Purpose::Reply => json!({ "text": words(message) }),
        Purpose::State | Purpose::Page | Purpose::Mirror | Purpose::HangUp => {
            let mut body = json!({ "text": headline(message) });
            if let Some(blocks) = blocks(message, Look { site, form, buttons: false }) {
                body["blocks"] = blocks;
            }
            body
        }
    }
}

/// What only the person sees who pressed a button: what is posted to their `response_url`.
pub(crate) fn reply(message: &Message) -> Value {
    json!({ "response_type": "ephemeral", "replace_original": false, "text": words(message) })
}

fn words(message: &Message) -> String {
    escape(message.words.as_deref().unwrap_or_default(), facts::LONGEST_TEXT)
}

fn headline(message: &Message) -> String {
    let repeat = if message.possible_repeat { " (possible repeat)" } else { "" };
    match message.incidents.as_slice() {
        [incident] => {
            let title = escape(&incident.title, LONGEST_TITLE);
            format!("{} [#{}] {title}{repeat}", sign(incident), incident.number)
        }
        incidents => format!("{} incidents{repeat}", incidents.len() + message.more),
    }
}

/// A state is never told by colour alone.
fn sign(incident: &Brief) -> &'static str {
    match incident.status.as_str() {
        "resolved" => "✅ Resolved",
        "acknowledged" => "👀 Acknowledged",
        _ => "🔴 Triggered",
    }
}

/// A line for each incident: what changed, and who has it or why it ended.
fn notes(message: &Message) -> String {
    let mut text = String::new();
    for (at, incident) in message.incidents.iter().enumerate() {
        let line = note(incident);
        if text.len() + line.len() > facts::LONGEST_TEXT {
            text.push_str(&format!("\nand {} more", message.incidents.len() - at));
            break;
        }
        if at > 0 {
            text.push('\n');
        }
        text.push_str(&line);
    }
    text
}

fn note(incident: &Brief) -> String {
    let title = escape(&incident.title, LONGEST_TITLE);
    let remark = escape(&incident.remark, LONGEST_REMARK);
    match &incident.news {
        Some(news) if !is_said_by_status(incident) => {
            let words = escape(&news.words, LONGEST_REMARK);
            format!("[#{}] {title}: {words} ({}, {remark})", incident.number, incident.status)
        }
        Some(_) | None => format!("{} [#{}] {title} ({remark})", sign(incident), incident.number),
    }
}

/// Whether the change is the one that the incident's status tells of by itself.
fn is_said_by_status(incident: &Brief) -> bool {
    incident.news.as_ref().is_some_and(|news| news.event.word() == incident.status)
}

fn blocks(message: &Message, look: Look<'_>) -> Option<Value> {
    if look.form == Form::Plainest {
        return None;
    }
    let mut blocks = Vec::new();
    for incident in message.incidents.iter().take(MOST_SHOWN) {
        blocks.push(section(incident, look.site));
        blocks.extend(actions(incident).filter(|_| look.buttons));
    }
    blocks.extend(and_more(message));
    debug_assert!(blocks.len() <= facts::MOST_BLOCKS);
    Some(blocks.into())
}

fn and_more(message: &Message) -> Option<Value> {
    let more = message.incidents.len().saturating_sub(MOST_SHOWN) + message.more;
    let text = json!({ "type": "mrkdwn", "text": format!("and {more} more") });
    (more > 0).then(|| json!({ "type": "section", "text": text }))
}

fn section(incident: &Brief, site: &Site) -> Value {
    let about = [
        Some(escape(&incident.service, LONGEST_SERVICE)),
        Some(format!("{} urgency", incident.urgency.word())),
        incident.source.as_ref().map(|source| escape(source, LONGEST_SERVICE)),
        Some(escape(&incident.remark, LONGEST_REMARK)),
    ];
    let about: Vec<String> = about.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let title = escape(&incident.title, LONGEST_TITLE);
    let mut text = format!("*{} [#{}] {title}*\n{}", sign(incident), incident.number, about.join(" · "));
    let code = details(incident);
    if !code.is_empty() {
        text.push_str(&format!("\n```{code}```"));
    }
    let links = links(incident, site);
    if !links.is_empty() {
        text.push_str(&format!("\n{links}"));
    }
    debug_assert!(text.chars().count() <= facts::LONGEST_SECTION);
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

/// The detail and the fields that came with an event, as they stand in a block of code.
fn details(incident: &Brief) -> String {
    let in_code = |text: &str, longest| escape(&text.replace("```", "'''"), longest);
    let mut lines = vec![in_code(&incident.detail, LONGEST_DETAIL)];
    let mut left = LONGEST_FIELDS;
    for (name, value) in &incident.fields {
        let line = in_code(&format!("{name}: {value}"), left.min(LONGEST_FIELDS));
        left = left.saturating_sub(line.chars().count() + 1);
        if left == 0 {
            break;
        }
        lines.push(line);
    }
    lines.retain(|line| !line.trim().is_empty());
    lines.join("\n")
}

/// Where to read more: the incident's own page, and what the monitoring tool pointed to.
fn links(incident: &Brief, site: &Site) -> String {
    let own = site.incident(incident.incident.as_str()).map(|url| ("Open in AllClear".to_owned(), url));
    let theirs = incident.links.iter().map(|link| (link.text.clone(), link.href.clone()));
    let mut text = String::new();
    for (name, url) in own.into_iter().chain(theirs) {
        let link = format!("<{}|{}>", in_link(&url), escape(&name, 80).replace('|', "/"));
        if text.chars().count() + link.chars().count() + 3 > LONGEST_LINKS || url.len() > facts::LONGEST_URL {
            continue;
        }
        if !text.is_empty() {
            text.push_str(" · ");
        }
        text.push_str(&link);
    }
    text
}

/// An address between `<` and `|`.
fn in_link(url: &str) -> String {
    url.replace('&', "&amp;").replace('<', "%3C").replace('>', "%3E").replace('|', "%7C")
}

fn actions(incident: &Brief) -> impl Iterator<Item = Value> {
    let button = |act: &str, label: &str, style: &str| {
        json!({
            "type": "button", "action_id": act, "value": incident.incident, "style": style,
            "text": { "type": "plain_text", "text": label },
        })
    };
    let elements = match incident.status.as_str() {
        "resolved" => None,
        "acknowledged" => Some(json!([button("resolve", "Resolve", "primary")])),
        _ => Some(json!([button("acknowledge", "Acknowledge", "primary"), button("resolve", "Resolve", "danger")])),
    };
    let block = |elements| json!({ "type": "actions", "block_id": format!("incident-{}", incident.incident), "elements": elements });
    elements.map(block).into_iter()
}

/// A text that is at most so long once the three characters are escaped that mean something to Slack.
fn escape(text: &str, longest: usize) -> String {
    cut_escaped(text, longest, |c| match c {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        _ => None,
    })
}
