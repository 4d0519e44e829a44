//! A message in Slack's form.

use allclear_domain::delivery::{Brief, Message, Purpose};
use serde_json::{Value, json};

/// Slack cuts a section at 3,000 characters; ours stay well below, so that a message is read at a glance.
const LONGEST_DETAIL: usize = 600;

/// The API method and its body. `root` is `channel:ts` of the message to change or answer.
pub(crate) fn payload(message: &Message, address: &str, root: Option<&str>) -> (&'static str, Value) {
    let root = root.and_then(|root| root.split_once(':'));
    let text = headline(message);
    match (message.purpose, root) {
        (Purpose::State, Some((channel, ts))) => {
            ("chat.update", json!({ "channel": channel, "ts": ts, "text": text, "blocks": blocks(message) }))
        }
        (Purpose::Note | Purpose::AllClear, Some((channel, ts))) => {
            // The end of an incident is for the whole room, not only for those who follow the thread.
            let broadcast = message.incidents.iter().all(|incident| incident.status == "resolved");
            let text = notes(message);
            ("chat.postMessage", json!({ "channel": channel, "thread_ts": ts, "reply_broadcast": broadcast, "text": text }))
        }
        (Purpose::Note | Purpose::AllClear, None) => ("chat.postMessage", json!({ "channel": address, "text": notes(message) })),
        (Purpose::State | Purpose::Page | Purpose::Mirror | Purpose::HangUp, _) => {
            ("chat.postMessage", json!({ "channel": address, "text": text, "blocks": blocks(message) }))
        }
    }
}

/// The same without anything that needs an answer: what an incoming webhook can show.
pub(crate) fn plain(message: &Message) -> Value {
    match message.purpose {
        Purpose::Note | Purpose::AllClear => json!({ "text": notes(message) }),
        Purpose::State | Purpose::Page | Purpose::Mirror | Purpose::HangUp => {
            let mut blocks: Vec<Value> = message.incidents.iter().take(MOST_SHOWN).map(section).collect();
            blocks.extend(and_more(message));
            json!({ "text": headline(message), "blocks": blocks })
        }
    }
}

fn headline(message: &Message) -> String {
    let repeat = if message.possible_repeat { " (possible repeat)" } else { "" };
    match message.incidents.as_slice() {
        [incident] => format!("{} [#{}] {}{repeat}", sign(incident), incident.number, escape(&incident.title)),
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

fn notes(message: &Message) -> String {
    let line =
        |incident: &Brief| format!("{} [#{}] {} ({})", sign(incident), incident.number, escape(&incident.title), escape(&incident.remark));
    message.incidents.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn blocks(message: &Message) -> Value {
    let mut blocks = Vec::new();
    for incident in message.incidents.iter().take(MOST_SHOWN) {
        blocks.push(section(incident));
        blocks.extend(actions(incident));
    }
    blocks.extend(and_more(message));
    blocks.into()
}

fn and_more(message: &Message) -> Option<Value> {
    let more = message.incidents.len().saturating_sub(MOST_SHOWN) + message.more;
    (more > 0).then(|| json!({ "type": "section", "text": { "type": "mrkdwn", "text": format!("and {more} more") } }))
}

/// Slack takes 50 blocks; each incident is two.
const MOST_SHOWN: usize = 10;

fn section(incident: &Brief) -> Value {
    let detail: String = incident.detail.chars().take(LONGEST_DETAIL).collect();
    let lines = [
        format!("*{} [#{}] {}*", sign(incident), incident.number, escape(&incident.title)),
        format!("{} · {} urgency · {}", escape(&incident.service), incident.urgency.word(), escape(&incident.remark)),
        format!("```{}```", escape(&detail).replace("```", "'''")),
    ];
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": lines.join("\n") } })
}

fn actions(incident: &Brief) -> Option<Value> {
    let button = |act: &str, label: &str, style: &str| json!({ "type": "button", "action_id": act, "value": incident.incident, "style": style, "text": { "type": "plain_text", "text": label } });
    let elements = match incident.status.as_str() {
        "resolved" => return None,
        "acknowledged" => json!([button("resolve", "Resolve", "primary")]),
        _ => json!([button("acknowledge", "Acknowledge", "primary"), button("resolve", "Resolve", "danger")]),
    };
    Some(json!({ "type": "actions", "block_id": format!("incident-{}", incident.incident), "elements": elements }))
}

/// The three characters that mean something in Slack's text.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
