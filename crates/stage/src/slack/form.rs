//! Whether what is to be said has a form that Slack takes.

use serde_json::Value;

use super::blocks;
use crate::facts::{self, SLACK};

/// Checks a message's fields.
///
/// # Errors
/// Slack's word for what is wrong, and why.
pub(crate) fn check(
    body: &Value,
    known: &Value,
    may_be_empty: bool,
) -> Result<(), (String, String)> {
    let refused = |word: &str, why: String| Err((word.to_owned(), why));
    let Some(fields) = body.as_object() else {
        return refused("json_not_object", "the body is no object".into());
    };
    if let Some(odd) = fields.keys().find(|name| !facts::has(known, name)) {
        return refused("invalid_arguments", format!("unknown field {odd:?}"));
    }
    for (name, value) in fields {
        let is_of_type = match name.as_str() {
            _ if value.is_null() => true,
            "blocks" | "attachments" => value.is_array(),
            "reply_broadcast" | "mrkdwn" | "unfurl_links" | "unfurl_media" | "link_names"
            | "as_user" | "replace_original" | "delete_original" => value.is_boolean(),
            _ => value.is_string(),
        };
        if !is_of_type {
            return refused("invalid_arguments", format!("{name} has the wrong type"));
        }
    }
    let text = body["text"].as_str().unwrap_or_default();
    let (blocks, attachments) = (&body["blocks"], &body["attachments"]);
    let is_empty = |list: &Value| list.as_array().is_none_or(Vec::is_empty);
    if text.is_empty() && is_empty(blocks) && is_empty(attachments) && !may_be_empty {
        return refused("no_text", "there is nothing to say".into());
    }
    if blocks::escaped_length(text) > facts::most(&SLACK, "text") {
        return refused("msg_too_long", "the text is too long".into());
    }
    if !blocks.is_null() {
        blocks::check(blocks).or_else(|why| refused("invalid_blocks", why))?;
    }
    match body["thread_ts"].as_str() {
        Some(ts) if !facts::matches(&SLACK, "ts", ts) => {
            refused("invalid_arguments", format!("{ts:?} is no thread_ts"))
        }
        _ => Ok(()),
    }
}
