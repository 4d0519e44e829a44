//! Slack's facts. Sources: slackapi/slack-api-specs, `slack_web_openapi_v2` (paths, parameters); Slack's
//! reference of Block Kit (lengths), of `chat.postMessage` (words), of interactivity and of signing.

use http::Method;

use crate::facts::Operation;

/// Posts a message.
pub(super) const POST_MESSAGE: Operation = Operation {
    name: "post_message",
    method: Method::POST,
    path: "/api/chat.postMessage",
    sends: &["token", "channel", "text", "blocks", "thread_ts", "reply_broadcast"],
};

/// Changes a message.
pub(super) const UPDATE_MESSAGE: Operation = Operation {
    name: "update_message",
    method: Method::POST,
    path: "/api/chat.update",
    sends: &["token", "channel", "ts", "text", "blocks"],
};

/// A section's text, counted after escaping.
pub(super) const LONGEST_SECTION: usize = 3_000;

/// The text beside the blocks: longer ones are cut by Slack at 40,000.
pub(super) const LONGEST_TEXT: usize = 4_000;

/// Blocks of a message.
pub(super) const MOST_BLOCKS: usize = 50;

/// The text of a button.
#[cfg(test)]
pub(super) const LONGEST_BUTTON: usize = 75;

/// The longest address in a message.
pub(super) const LONGEST_URL: usize = 3_000;

/// Words that say that it may work later. The first two ask this destination to wait.
pub(super) const PASSING: &[&str] =
    &["ratelimited", "rate_limited", "internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"];

/// Those of the passing words that ask for a pause.
pub(super) const RATE_LIMITED: &[&str] = &["ratelimited", "rate_limited"];

/// Words that say that the app can send nothing at all.
pub(super) const CHANNEL_BROKEN: &[&str] = &[
    "token_revoked",
    "invalid_auth",
    "account_inactive",
    "not_authed",
    "token_expired",
    "missing_scope",
    "org_login_required",
    "ekm_access_denied",
    "team_access_not_granted",
    "no_permission",
];

/// Words that say that a room takes nothing from the app; a star stands for any ending.
pub(super) const ROOM_REFUSED: &[&str] =
    &["channel_not_found", "not_in_channel", "is_archived", "restricted_action*", "channel_is_limited_access", "messages_tab_disabled"];

/// Words that say that the message to change is not there, or cannot be changed.
pub(super) const MESSAGE_REFUSED: &[&str] = &["message_not_found", "cant_update_message", "edit_window_closed"];

/// Words that say that the form is refused.
#[cfg(test)]
pub(super) const FORM_REFUSED: &[&str] = &["invalid_blocks", "msg_too_long", "msg_blocks_too_long", "no_text"];

/// A callback older than this may be a replay.
pub(super) const OLDEST_CALLBACK_S: i64 = 300;

#[cfg(test)]
mod tests {
    use allclear_domain::forms;

    use super::*;
    use crate::facts::tests::{agrees, extract, words};

    #[test]
    fn slacks_facts_are_those_of_its_documents() {
        let slack = extract("slack");
        // The token goes in a header, as the document allows.
        let in_body =
            |operation: &Operation| Operation { sends: operation.sends.split_first().map_or(&[], |(_, rest)| rest), ..operation.clone() };
        agrees(&slack, &in_body(&POST_MESSAGE));
        agrees(&slack, &in_body(&UPDATE_MESSAGE));
        let length = |name: &str| slack["lengths"][name]["most"].as_u64();
        assert_eq!(length("section_text"), Some(LONGEST_SECTION as u64));
        assert_eq!(length("blocks"), Some(MOST_BLOCKS as u64));
        assert_eq!(length("button_text"), Some(LONGEST_BUTTON as u64));
        assert_eq!(length("url"), Some(LONGEST_URL as u64));
        assert_eq!(slack["lengths"]["text"]["recommended"], LONGEST_TEXT as u64);
        assert_eq!(words(&slack["errors"]["passing"]), PASSING);
        assert_eq!(words(&slack["errors"]["channel"]), CHANNEL_BROKEN);
        assert_eq!(words(&slack["errors"]["form"]), FORM_REFUSED);
        assert_eq!(words(&slack["errors"]["room"]), ROOM_REFUSED);
        assert_eq!(words(&slack["errors"]["message"]), MESSAGE_REFUSED);
        assert_eq!(slack["rates"]["error"], RATE_LIMITED[0]);
        assert_eq!(slack["signature"]["oldest_s"], OLDEST_CALLBACK_S);
        assert_eq!(slack["formats"]["user"], forms::SLACK_USER);
        assert_eq!(slack["formats"]["channel"], forms::SLACK_CHANNEL);
        assert_eq!(slack["formats"]["channel_name"], forms::SLACK_CHANNEL_NAME);
    }
}
