//! What people do in Slack: they press buttons; and what the app says to them alone, by the address
//! that a press brings.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};

use super::{Ephemeral, Posted, Workspace, hex_hmac};
use crate::facts::{self, SLACK};
use crate::house::not_now;
use crate::wire::{Answer, Callback, Reply, Request, Response};

/// An address at which the app may say something about a press.
#[derive(Debug, Clone)]
pub(super) struct ResponseUrl {
    path: String,
    channel: String,
    ts: String,
    user: String,
    uses: u64,
    since_ms: u64,
}

/// A button as it stands in a message.
struct Button {
    block_id: Value,
    element: Value,
}

impl Workspace {
    /// Somebody presses a button: the newest message's that has it, or the one's that is named,
    /// though it may show it no more.
    pub(super) fn press(&mut self, body: &Value, now_ms: u64) -> Reply {
        let Some(url) = self.webhook.clone() else { return not_now("no webhook is set") };
        let action = body["action"].as_str().unwrap_or("acknowledge");
        let user = body["user"].as_str().unwrap_or("U0NOBODY");
        let found = match body["ts"].as_str() {
            Some(ts) => self.messages.iter().find(|m| m.ts == ts).and_then(|m| {
                let shown = std::iter::once(&m.blocks).chain(m.earlier.iter().rev());
                shown.into_iter().find_map(|blocks| button(blocks, action)).map(|found| (m, found))
            }),
            None => self.messages.iter().rev().find_map(|m| Some((m, button(&m.blocks, action)?))),
        };
        let Some((message, button)) = found.map(|(message, found)| (message.clone(), found)) else {
            return Response::json(404, &json!({ "error": "no message has this button" })).into();
        };
        let address = self.open_response_url(&message, user, now_ms);
        let payload = self.block_actions(&message, &button, user, &address, now_ms);
        let callback = self.form(&url, &payload, "press", now_ms);
        let reply = Reply { callbacks: vec![callback], ..Response::empty(202).into() };
        self.house.send_out(reply)
    }

    fn open_response_url(&mut self, message: &Posted, user: &str, now_ms: u64) -> String {
        self.made += 1;
        let path = format!("/actions/T0STAGE/{}/{:024x}", self.made, self.made);
        let address = format!("{}{path}", self.base);
        self.response_urls.push(ResponseUrl {
            path,
            channel: message.channel.clone(),
            ts: message.ts.clone(),
            user: user.to_owned(),
            uses: 0,
            since_ms: now_ms,
        });
        address
    }

    fn block_actions(
        &self,
        message: &Posted,
        button: &Button,
        user: &str,
        address: &str,
        now_ms: u64,
    ) -> Value {
        let name = self.name_of(&message.channel);
        let said = self.shown(message);
        let value = |field: &str| match field {
            "type" => json!("block_actions"),
            "user" => {
                json!({ "id": user, "username": user.to_lowercase(), "name": user.to_lowercase(), "team_id": "T0STAGE" })
            }
            "api_app_id" => json!("A0STAGE"),
            "token" => json!("deprecated-verification-token"),
            "container" => {
                json!({ "type": "message", "message_ts": message.ts, "channel_id": message.channel, "is_ephemeral": false })
            }
            "trigger_id" => json!(format!("{}.{}.{:032x}", now_ms, 1, self.made)),
            "team" => json!({ "id": "T0STAGE", "domain": "stage" }),
            "is_enterprise_install" => json!(false),
            "channel" => json!({ "id": message.channel, "name": name }),
            "message" => said.clone(),
            "state" => json!({ "values": {} }),
            "response_url" => json!(address),
            "actions" => {
                let mut action = button.element.clone();
                action["block_id"] = button.block_id.clone();
                action["action_ts"] = json!(super::ts_of(now_ms, self.made));
                json!([action])
            }
            _ => Value::Null,
        };
        let fields = facts::words(&SLACK["interactivity"]["fields"]);
        Value::Object(fields.map(|field| (field.to_owned(), value(field))).collect::<Map<_, _>>())
    }

    /// A payload as Slack posts it.
    fn form(&self, url: &str, payload: &Value, note: &str, now_ms: u64) -> Callback {
        let encoded = utf8_percent_encode(&payload.to_string(), NON_ALPHANUMERIC).to_string();
        self.signed(
            url,
            "application/x-www-form-urlencoded",
            format!("payload={encoded}"),
            note,
            now_ms,
        )
    }

    fn signed(&self, url: &str, kind: &str, body: String, note: &str, now_ms: u64) -> Callback {
        let timestamp = (now_ms / 1_000).to_string();
        let version = SLACK["signature"]["version"].as_str().unwrap_or_default();
        let signature = hex_hmac(&self.signing_secret, &format!("{version}:{timestamp}:{body}"));
        let mut names = facts::words(&SLACK["signature"]["headers"]).map(str::to_ascii_lowercase);
        let (when, by) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
        let headers = vec![
            ("content-type".to_owned(), kind.to_owned()),
            ("user-agent".to_owned(), "Slackbot 1.0 (+https://api.slack.com/robots)".to_owned()),
            (when, timestamp),
            (by, format!("{version}={signature}")),
        ];
        let deadline_ms = facts::number(&SLACK["interactivity"]["deadline_s"]) * 1_000;
        Callback {
            url: url.to_owned(),
            headers,
            body,
            note: note.to_owned(),
            deadline_ms,
            ..Callback::default()
        }
    }

    /// Sends what comes to an interactivity address besides presses.
    pub(super) fn send(&mut self, body: &Value, now_ms: u64) -> Reply {
        let Some(url) = self.webhook.clone() else { return not_now("no webhook is set") };
        let form = "application/x-www-form-urlencoded";
        let kind = body["kind"].as_str().unwrap_or_default();
        let user = body["user"].as_str().unwrap_or("U0NOBODY");
        let callback = match kind {
            "ssl_check" => {
                let body = "ssl_check=1&token=deprecated-verification-token".to_owned();
                self.signed(&url, form, body, kind, now_ms)
            }
            "url_verification" => {
                let body = json!({ "type": kind, "token": "deprecated-verification-token", "challenge": CHALLENGE });
                self.signed(&url, "application/json", body.to_string(), kind, now_ms)
            }
            "view_submission" | "view_closed" | "shortcut" | "message_action" => {
                let payload = json!({
                    "type": kind, "team": { "id": "T0STAGE", "domain": "stage" }, "api_app_id": "A0STAGE",
                    "user": { "id": user, "username": user.to_lowercase(), "team_id": "T0STAGE" },
                    "token": "deprecated-verification-token", "trigger_id": format!("{now_ms}.1.0"),
                    "callback_id": "of_another_app",
                    "view": { "id": "V0STAGE", "type": "modal", "callback_id": "of_another_app", "state": { "values": {} }, "private_metadata": "" },
                    "response_urls": [], "is_enterprise_install": false, "enterprise": null,
                });
                self.form(&url, &payload, kind, now_ms)
            }
            _ => {
                return Response::json(400, &json!({ "error": "Slack sends no such thing" }))
                    .into();
            }
        };
        let reply = Reply { callbacks: vec![callback], ..Response::empty(202).into() };
        self.house.send_out(reply)
    }

    /// What the app answered. Slack looks at the status alone, but for an address that it verifies
    /// and for a form.
    pub(super) fn hear(&mut self, callback: &Callback, answer: &Answer) {
        let line = format!("POST {}", callback.url);
        match answer {
            Answer::Due => {}
            Answer::None => self.failed_presses.push("no answer in time".to_owned()),
            Answer::Given { status, .. } if *status != 200 => {
                self.failed_presses.push(format!("answered with {status}"))
            }
            Answer::Given { body, .. } if callback.note == "url_verification" => {
                if !body.contains(CHALLENGE) {
                    self.house.note_of(&line, "the challenge is not in the answer");
                }
            }
            Answer::Given { body, .. } if callback.note == "view_submission" => {
                if !body.is_empty() && serde_json::from_str::<Value>(body).is_err() {
                    self.house.note_of(&line, "the answer to a form is no JSON");
                }
            }
            Answer::Given { body, .. } if !body.is_empty() => {
                self.house.note_of(&line, "the answer has a body, which Slack ignores");
            }
            Answer::Given { .. } => {}
        }
    }

    /// Something is said at the address that a press brought.
    pub(super) fn respond(&mut self, request: &Request, now_ms: u64) -> Response {
        let shape = &SLACK["response_url"];
        let gone = facts::code(&shape["refused_status"]);
        let limits = &SLACK["interactivity"];
        let (most, minutes) = (
            facts::number(&limits["response_url_uses"]),
            facts::number(&limits["response_url_minutes"]),
        );
        let Some(at) = self.response_urls.iter().position(|known| known.path == request.path)
        else {
            self.house.note(request, "this address was never given");
            return Response::text(gone, "no_such_url");
        };
        let known = &mut self.response_urls[at];
        if known.uses >= most || now_ms.saturating_sub(known.since_ms) > minutes * 60_000 {
            self.house.note(
                request,
                format!("the address is good for {most} uses and {minutes} minutes"),
            );
            return Response::text(
                gone,
                if self.response_urls[at].uses >= most { "used_url" } else { "expired_url" },
            );
        }
        if request.method != "POST"
            || !request.is_of_type(shape["content_type"].as_str().unwrap_or_default())
        {
            self.house.note(request, "what is said here is posted as JSON");
            return Response::text(400, "invalid_payload");
        }
        let body = request.json();
        if let Err((word, why)) =
            super::form::check(&body, &shape["known"], body["delete_original"] == true)
        {
            self.house.note(request, format!("{word}: {why}"));
            return Response::text(400, &word);
        }
        let known = &mut self.response_urls[at];
        known.uses += 1;
        let known = known.clone();
        self.say(&known, &body, now_ms);
        Response::text(200, shape["success_body"].as_str().unwrap_or_default())
    }

    fn say(&mut self, to: &ResponseUrl, body: &Value, now_ms: u64) {
        let original = self.messages.iter_mut().find(|m| m.ts == to.ts && m.channel == to.channel);
        if body["delete_original"] == true {
            self.messages.retain(|m| m.ts != to.ts || m.channel != to.channel);
        } else if body["replace_original"] == true
            && let Some(original) = original
        {
            original.change(body);
        } else if body["response_type"] == "in_channel" {
            let mut body = body.clone();
            body["channel"] = json!(to.channel);
            self.keep(&body, &to.channel, now_ms);
        } else {
            self.ephemeral.push(Ephemeral {
                channel: to.channel.clone(),
                user: to.user.clone(),
                text: body["text"].as_str().unwrap_or_default().to_owned(),
                blocks: body["blocks"].clone(),
                thread_ts: body["thread_ts"].as_str().map(str::to_owned),
                at_ms: now_ms,
            });
        }
    }
}

/// What an address is verified with.
const CHALLENGE: &str = "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P";

/// The button with this `action_id`, or this text, in blocks.
fn button(blocks: &Value, action: &str) -> Option<Button> {
    blocks.as_array()?.iter().find_map(|block| {
        let listed = block["elements"].as_array().into_iter().flatten();
        let mut all = listed.chain(block.get("accessory"));
        let is_it =
            |element: &&Value| element["action_id"] == action || element["text"]["text"] == action;
        let element = all.find(is_it)?.clone();
        Some(Button { block_id: block["block_id"].clone(), element })
    })
}
