//! Whether Slack would take these blocks.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::facts::{self, SLACK};

/// Checks the blocks of a message.
///
/// # Errors
/// What is wrong with the first one that is, and where.
pub(crate) fn check(blocks: &Value) -> Result<(), String> {
    let Some(list) = blocks.as_array() else { return Err("blocks are no list".into()) };
    let most = facts::most(&SLACK, "blocks");
    if list.len() > most {
        return Err(format!("{} blocks are more than {most}", list.len()));
    }
    let mut ids = BTreeSet::new();
    for (at, block) in list.iter().enumerate() {
        check_block(block).map_err(|why| format!("blocks/{at}: {why}"))?;
        let id = block["block_id"].as_str().unwrap_or_default();
        if !id.is_empty() && !ids.insert(id) {
            return Err(format!("blocks/{at}: the block_id {id:?} comes twice"));
        }
    }
    Ok(())
}

fn check_block(block: &Value) -> Result<(), String> {
    let Some(fields) = block.as_object() else { return Err("no object".into()) };
    let kind = block["type"].as_str().unwrap_or_default();
    if !facts::has(&SLACK["blocks"]["types"], kind) {
        return Err(format!("unknown type {kind:?}"));
    }
    known_fields(fields, &SLACK["blocks"]["fields"][kind])?;
    shorter(&block["block_id"], "block_id", "block_id")?;
    match kind {
        "section" => section(block),
        "header" => text(&block["text"], Some("plain_text"), facts::most(&SLACK, "header_text")),
        "actions" => actions(block),
        "context" => context(block),
        _ => Ok(()),
    }
}

fn section(block: &Value) -> Result<(), String> {
    let limits = &SLACK["blocks"];
    let fields = block["fields"].as_array().map(Vec::as_slice).unwrap_or_default();
    if block["text"].is_null() && fields.is_empty() {
        return Err("a section has neither text nor fields".into());
    }
    if !block["text"].is_null() {
        text(&block["text"], None, facts::most(&SLACK, "section_text"))?;
    }
    if fields.len() > facts::count(&limits["section_fields"]) {
        return Err(format!("{} fields are too many", fields.len()));
    }
    for field in fields {
        text(field, None, facts::count(&limits["section_field_text"]))?;
    }
    match &block["accessory"] {
        Value::Null => Ok(()),
        accessory => element(accessory),
    }
}

fn actions(block: &Value) -> Result<(), String> {
    let elements = block["elements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let most = facts::most(&SLACK, "actions_elements");
    if elements.is_empty() || elements.len() > most {
        return Err(format!("{} elements are not 1 to {most}", elements.len()));
    }
    let mut ids = BTreeSet::new();
    for one in elements {
        let kind = one["type"].as_str().unwrap_or_default();
        if !facts::has(&SLACK["blocks"]["elements"]["actions"], kind) {
            return Err(format!("unknown element {kind:?}"));
        }
        element(one)?;
        let id = one["action_id"].as_str().unwrap_or_default();
        if !id.is_empty() && !ids.insert(id) {
            return Err(format!("the action_id {id:?} comes twice"));
        }
    }
    Ok(())
}

fn context(block: &Value) -> Result<(), String> {
    let elements = block["elements"].as_array().map(Vec::as_slice).unwrap_or_default();
    let most = facts::count(&SLACK["blocks"]["context_elements"]);
    if elements.is_empty() || elements.len() > most {
        return Err(format!("{} elements are not 1 to {most}", elements.len()));
    }
    for one in elements {
        let kind = one["type"].as_str().unwrap_or_default();
        if !facts::has(&SLACK["blocks"]["elements"]["context"], kind) {
            return Err(format!("unknown element {kind:?}"));
        }
        if kind != "image" {
            text(one, None, facts::most(&SLACK, "section_text"))?;
        }
    }
    Ok(())
}

fn element(element: &Value) -> Result<(), String> {
    let Some(fields) = element.as_object() else { return Err("an element is no object".into()) };
    shorter(&element["action_id"], "action_id", "action_id")?;
    if element["type"] != "button" {
        return Ok(());
    }
    known_fields(fields, &SLACK["blocks"]["button"])?;
    text(&element["text"], Some("plain_text"), facts::most(&SLACK, "button_text"))?;
    shorter(&element["value"], "value", "button_value")?;
    shorter(&element["url"], "url", "url")?;
    if let Some(url) = element["url"].as_str().filter(|url| !facts::is_address(url)) {
        return Err(format!("{url:?} is no absolute address"));
    }
    match element["style"].as_str() {
        Some(style) if !facts::has(&SLACK["blocks"]["button_styles"], style) => {
            Err(format!("unknown style {style:?}"))
        }
        _ => Ok(()),
    }
}

/// A text object of at most so many characters, of one kind where only one goes.
fn text(text: &Value, only: Option<&str>, most: usize) -> Result<(), String> {
    let Some(fields) = text.as_object() else { return Err("a text is no object".into()) };
    let kind = text["type"].as_str().unwrap_or_default();
    let known = &SLACK["blocks"]["text_fields"][kind];
    if known.is_null() || only.is_some_and(|only| only != kind) {
        return Err(format!("a text of the type {kind:?}"));
    }
    known_fields(fields, known)?;
    let length = escaped_length(text["text"].as_str().unwrap_or_default());
    if length == 0 || length > most {
        return Err(format!("a text of {length} characters, not 1 to {most}"));
    }
    Ok(())
}

/// How long a text is once Slack has escaped what its sender did not.
pub(crate) fn escaped_length(text: &str) -> usize {
    const AMPERSAND: usize = "&amp;".len();
    let is_escaped =
        |rest: &str| ["&amp;", "&lt;", "&gt;"].iter().any(|sign| rest.starts_with(sign));
    let unescaped = text.match_indices('&').filter(|(at, _)| !is_escaped(&text[*at..])).count();
    text.chars().count() + unescaped * (AMPERSAND - 1)
}

fn known_fields(fields: &Map<String, Value>, known: &Value) -> Result<(), String> {
    let odd = fields.keys().find(|name| known.is_array() && !facts::has(known, name));
    odd.map_or(Ok(()), |name| Err(format!("unknown field {name:?}")))
}

fn shorter(value: &Value, name: &str, limit: &str) -> Result<(), String> {
    let most = facts::most(&SLACK, limit);
    match value.as_str() {
        Some(text) if text.chars().count() > most => Err(format!("{name} is longer than {most}")),
        None if !value.is_null() => Err(format!("{name} is no text")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn button(id: &str) -> Value {
        json!({ "type": "button", "action_id": id, "text": { "type": "plain_text", "text": "Go" } })
    }

    fn section(text: &str) -> Value {
        json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
    }

    #[test]
    fn what_slack_shows_is_taken() {
        let long = "a".repeat(3_000);
        let blocks = json!([
            { "type": "header", "text": { "type": "plain_text", "text": "a".repeat(150) } },
            section(&long),
            { "type": "actions", "elements": [button("a"), button("b")] },
            { "type": "actions", "elements": [button("a")] },
            { "type": "context", "elements": [{ "type": "mrkdwn", "text": "x" }] },
            { "type": "divider" },
        ]);
        assert_eq!(check(&blocks), Ok(()));
    }

    #[test]
    fn what_slack_does_not_show_is_named() {
        let mut odd = button("a");
        odd["colour"] = "red".into();
        let mut long = button("a");
        long["value"] = "v".repeat(2_001).into();
        let mut loud = button("a");
        loud["text"]["text"] = "t".repeat(76).into();
        let mut marked = button("a");
        marked["text"]["type"] = "mrkdwn".into();
        let mut local = button("a");
        local["url"] = "/incidents/1".into();
        let of = |elements: Vec<Value>| json!([{ "type": "actions", "elements": elements }]);
        let many = Value::Array((0..51).map(|_| json!({ "type": "divider" })).collect());
        for (blocks, why) in [
            (json!({}), "no list"),
            (many, "more than 50"),
            (json!([section(&"a".repeat(3_001))]), "3001 characters"),
            (json!([section(&format!("{}&", "a".repeat(2_996)))]), "3001 characters"),
            (json!([section("")]), "0 characters"),
            (json!([{ "type": "section" }]), "neither text nor fields"),
            (json!([{ "type": "banner" }]), "unknown type"),
            (
                json!([{ "type": "header", "text": { "type": "mrkdwn", "text": "a" } }]),
                "of the type",
            ),
            (
                json!([{ "type": "header", "text": { "type": "plain_text", "text": "a".repeat(151) } }]),
                "151",
            ),
            (
                json!([{ "type": "divider", "block_id": "x" }, { "type": "divider", "block_id": "x" }]),
                "twice",
            ),
            (of(vec![button("a"), button("a")]), "comes twice"),
            (of(vec![]), "not 1 to 25"),
            (of((0..26).map(|n| button(&n.to_string())).collect()), "not 1 to 25"),
            (of(vec![button(&"a".repeat(256))]), "longer than 255"),
            (of(vec![odd]), "unknown field"),
            (of(vec![long]), "longer than 2000"),
            (of(vec![loud]), "76 characters"),
            (of(vec![marked]), "of the type"),
            (of(vec![local]), "no absolute address"),
        ] {
            let refused = check(&blocks).expect_err(why);
            assert!(refused.contains(why), "{refused} has no {why}");
        }
    }

    #[test]
    fn what_is_escaped_already_is_not_counted_twice() {
        assert_eq!(escaped_length("&amp;&lt;x&gt;"), 14);
        assert_eq!(escaped_length("a & b"), 9);
    }
}
