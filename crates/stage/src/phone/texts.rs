//! Texts: to people, with what becomes of them; and from people, with what they are answered.

use std::cmp::Ordering;

use serde::Serialize;
use serde_json::{Value, json};

use super::account::{self, Parameters, Refused};
use super::callback::About;
use super::{Line, Telephone, segments, twiml};
use crate::facts::{self, TWILIO};
use crate::house::{again, not_now};
use crate::wire::{Answer, Callback, Reply, Request, Response};

/// A text message.
#[derive(Debug, Clone, Serialize)]
pub struct Text {
    /// Twilio's id of it.
    pub sid: String,
    /// From which number.
    pub from: String,
    /// To which number.
    pub to: String,
    /// What it says.
    pub body: String,
    /// When it came, in milliseconds since 1970.
    pub at_ms: u64,
    /// Where its fate is reported.
    #[serde(skip)]
    pub callback: Option<String>,
}

/// A text as Twilio keeps it, whether it arrived or not.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) text: Text,
    is_inbound: bool,
    made_ms: u64,
    /// When the carrier takes it.
    sent_ms: u64,
    /// When its fate is known.
    done_ms: u64,
    /// What becomes of it in the end.
    fate: Fate,
}

/// What becomes of a text in the end.
#[derive(Debug, Clone, Copy)]
struct Fate {
    status: &'static str,
    code: Option<u32>,
}

/// How long a text is with the carrier, and how long until its receipt, in milliseconds.
const CARRIED_MS: u64 = 100;
const RECEIPT_MS: u64 = 200;

/// Twilio's code for a text that its queue held for too long.
const QUEUED_TOO_LONG: u32 = 30_001;

/// The number of ours that a person writes to who was never written to.
const SOME_NUMBER: &str = "+4570000000";

/// The day of an instant, as lists are asked for it.
fn day_of(at_ms: u64) -> String {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(0));
    at.unwrap_or_default().strftime("%Y-%m-%d").to_string()
}

impl Kept {
    fn status(&self, now_ms: u64) -> &'static str {
        match self.fate.status {
            "failed" if self.done_ms == self.made_ms => "failed",
            "received" => "received",
            fate if now_ms >= self.done_ms => fate,
            _ if now_ms >= self.sent_ms => "sent",
            _ => "queued",
        }
    }

    /// As the API shows it.
    fn shown(&self, account: &str, now_ms: u64) -> Value {
        let (text, status) = (&self.text, self.status(now_ms));
        let uri = format!("/2010-04-01/Accounts/{account}/Messages/{}", text.sid);
        account::object(&TWILIO["answers"]["message"]["fields"], |field| {
            Some(match field {
                "account_sid" => json!(account),
                "api_version" => json!("2010-04-01"),
                "body" => json!(text.body),
                "date_created" => account::date(self.made_ms),
                "date_sent" if now_ms >= self.sent_ms => account::date(self.sent_ms),
                "date_updated" => account::date(now_ms.min(self.done_ms)),
                "direction" => json!(if self.is_inbound { "inbound" } else { "outbound-api" }),
                "error_code" if status == self.fate.status => json!(self.fate.code),
                "from" => json!(text.from),
                "num_media" => json!("0"),
                "num_segments" => json!(segments::count(&text.body).to_string()),
                "price_unit" => json!("USD"),
                "sid" => json!(text.sid),
                "status" => json!(status),
                "subresource_uris" => json!({ "media": format!("{uri}/Media.json") }),
                "to" => json!(text.to),
                "uri" => json!(format!("{uri}.json")),
                _ => return None,
            })
        })
    }
}

impl Telephone {
    pub(super) fn send(&mut self, given: &Parameters) -> Result<Reply, Refused> {
        let to = self.recipient(given.get("To"), "no_recipient")?;
        let from = self.sender(given)?;
        let body = self.body(given)?;
        let callback = self.callback_address(given.get("StatusCallback"))?;
        self.reaches(&to)?;
        let sid = self.next_sid("SM");
        let wait_ms = self.wait(&from);
        let valid_s = given.get("ValidityPeriod").and_then(|text| text.parse::<u64>().ok());
        let is_stale = valid_s.is_some_and(|valid_s| wait_ms > valid_s * 1_000);
        let at_once = self.house.faults.fail_at_once;
        let fate = match self.lines.get(&to) {
            _ if at_once.is_some() => Fate { status: "failed", code: at_once },
            _ if is_stale => Fate { status: "failed", code: Some(QUEUED_TOO_LONG) },
            Some(Line::Unreachable) => Fate { status: "undelivered", code: Some(30_003) },
            Some(Line::Undelivered(code)) => Fate { status: "undelivered", code: Some(*code) },
            Some(Line::Failed(code)) => Fate { status: "failed", code: Some(*code) },
            _ => Fate { status: "delivered", code: None },
        };
        let (sent, done) = if at_once.is_some() {
            (0, 0)
        } else {
            (wait_ms + CARRIED_MS, wait_ms + CARRIED_MS + RECEIPT_MS)
        };
        let text = Text { sid: sid.clone(), from, to, body, at_ms: self.now_ms, callback };
        let kept = Kept {
            text: text.clone(),
            is_inbound: false,
            made_ms: self.now_ms,
            sent_ms: self.now_ms + sent,
            done_ms: self.now_ms + done,
            fate,
        };
        let mut callbacks = self.receipts(&kept);
        if fate.status == "delivered" {
            match wait_ms {
                0 => self.texts.push(text),
                _ => callbacks.push(Callback::wake(About::Turn(sid).note(), wait_ms)),
            }
        }
        let shown = kept.shown(&self.account, self.now_ms);
        self.kept.push(kept);
        Ok(Reply { callbacks, ..Response::json(201, &shown).into() })
    }

    fn sender(&self, given: &Parameters) -> Result<String, Refused> {
        let service = given.get("MessagingServiceSid");
        let from = given.get("From").or(service);
        let Some(from) = from else {
            return Err(Refused::named("no_sender", "A 'From' phone number is required."));
        };
        if service.is_some() || self.owns(from) {
            return Ok(from.to_owned());
        }
        let code = facts::number(&TWILIO["errors"]["sender"][0]);
        let said =
            format!("The 'From' phone number {from} is not a valid, message-capable number.");
        Err(Refused::wrong(400, code, said))
    }

    fn body(&self, given: &Parameters) -> Result<String, Refused> {
        let Some(body) = given.get("Body") else {
            return Err(Refused::named("no_body", "Message body is required."));
        };
        if body.chars().count() > facts::most(&TWILIO, "message_characters") {
            let code = facts::number(&TWILIO["lengths"]["message_characters"]["error"]);
            let said = "The concatenated message body exceeds the 1600 character limit.";
            return Err(Refused::wrong(400, code, said));
        }
        Ok(body.to_owned())
    }

    /// Whether Twilio would try to reach a number by text at all.
    fn reaches(&self, to: &str) -> Result<(), Refused> {
        let (code, said) = match self.lines.get(to) {
            _ if self.opted_out.contains(to) => (
                facts::number(&TWILIO["reserved_words"]["answer_error"]),
                "Attempt to send to unsubscribed recipient",
            ),
            Some(Line::Landline) => (21_614, "'To' number is not a valid mobile number"),
            Some(Line::Forbidden) => {
                (21_408, "Permission to send an SMS has not been enabled for the region")
            }
            _ => return Ok(()),
        };
        Err(Refused::unlucky(400, code, said))
    }

    /// How long until a sender's turn.
    fn wait(&mut self, from: &str) -> u64 {
        if !self.house.is_paced() {
            return 0;
        }
        let most = facts::number(&TWILIO["rates"]["messages_per_second_and_sender"]).max(1);
        self.paces.entry(from.to_owned()).or_default().queue(self.now_ms, 1_000 / most)
    }

    /// What is reported of a text, in its order.
    fn receipts(&self, kept: &Kept) -> Vec<Callback> {
        let Some(url) = kept.text.callback.as_deref() else { return vec![] };
        let (sent, done) = (kept.sent_ms - kept.made_ms, kept.done_ms - kept.made_ms);
        let mut steps = vec![("queued", 0, None)];
        if kept.fate.status != "failed" {
            steps.push(("sent", sent, None));
        }
        steps.push((kept.fate.status, done, kept.fate.code));
        if done == 0 {
            steps.remove(0);
        }
        let shape = &TWILIO["receipts"]["message"];
        let step = |(status, after_ms, code): (&str, u64, Option<u32>)| {
            let value = |name: &str| match name {
                "MessageStatus" | "SmsStatus" => Some(status.to_owned()),
                "ErrorCode" => code.map(|code| code.to_string()),
                name => self.of_text(&kept.text, name),
            };
            let mut parameters = account::form(&shape["parameters"], value);
            parameters.extend(account::form(&shape["on_failure"], value));
            self.callback(url, &parameters, &About::Receipt, after_ms)
        };
        steps.into_iter().map(step).collect()
    }

    /// What every callback about a text says.
    fn of_text(&self, text: &Text, name: &str) -> Option<String> {
        Some(match name {
            "AccountSid" => self.account.clone(),
            "ApiVersion" => "2010-04-01".to_owned(),
            "From" => text.from.clone(),
            "To" => text.to.clone(),
            "MessageSid" | "SmsSid" | "SmsMessageSid" => text.sid.clone(),
            _ => return None,
        })
    }

    pub(super) fn list_messages(&self, request: &Request) -> Reply {
        let wanted =
            |name: &str, value: &str| request.param(name).is_none_or(|wanted| wanted == value);
        let is_of_day = |kept: &Kept| {
            let day = day_of(kept.sent_ms);
            let bounds = |name: &str| request.param(name).map(|bound| day.as_str().cmp(bound));
            bounds("DateSent").is_none_or(Ordering::is_eq)
                && bounds("DateSent>").is_none_or(Ordering::is_ge)
                && bounds("DateSent<").is_none_or(Ordering::is_le)
        };
        let fits = |kept: &&Kept| {
            wanted("To", &kept.text.to) && wanted("From", &kept.text.from) && is_of_day(kept)
        };
        let found = self.kept.iter().rev().filter(fits);
        let found: Vec<Value> = found.map(|kept| kept.shown(&self.account, self.now_ms)).collect();
        Response::json(200, &account::page(request, "messages", &found)).into()
    }

    pub(super) fn fetch_message(&self, sid: &str) -> Result<Reply, Refused> {
        let found = self.kept.iter().find(|kept| kept.text.sid == sid);
        let found = found.ok_or_else(Refused::not_found)?;
        Ok(Response::json(200, &found.shown(&self.account, self.now_ms)).into())
    }

    /// A text whose turn has come arrives.
    pub(super) fn arrive(&mut self, sid: &str) {
        let found = self.kept.iter().find(|kept| kept.text.sid == sid);
        let arrived = found.map(|kept| Text { at_ms: self.now_ms, ..kept.text.clone() });
        self.texts.extend(arrived);
    }

    /// Somebody writes. Words that are Twilio's own it answers itself; the text is told all the
    /// same.
    pub(super) fn reply(&mut self, body: &Value) -> Reply {
        let field = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let Some(url) = self.webhook.clone() else { return not_now("no webhook is set") };
        let from = field("from");
        let last =
            self.kept.iter().rev().find(|kept| kept.text.to == from).map(|kept| &kept.text.from);
        let to = match body["to"].as_str() {
            Some(to) => to.to_owned(),
            None => last.cloned().unwrap_or_else(|| SOME_NUMBER.to_owned()),
        };
        let sid = self.next_sid("SM");
        let text = Text {
            sid: sid.clone(),
            from,
            to,
            body: field("body"),
            at_ms: self.now_ms,
            callback: None,
        };
        self.replies.push(text.clone());
        let now_ms = self.now_ms;
        let fate = Fate { status: "received", code: None };
        self.kept.push(Kept {
            text: text.clone(),
            is_inbound: true,
            made_ms: now_ms,
            sent_ms: now_ms,
            done_ms: now_ms,
            fate,
        });
        let opting = self.opt(&text);
        let value = |name: &str| match name {
            "Body" => Some(text.body.clone()),
            "NumMedia" => Some("0".to_owned()),
            "NumSegments" => Some(segments::count(&text.body).to_string()),
            "SmsStatus" => Some("received".to_owned()),
            "FromCountry" | "ToCountry" => Some("DK".to_owned()),
            name if name.starts_with("From") && name != "From" => Some(String::new()),
            name if name.starts_with("To") && name != "To" => Some(String::new()),
            name => self.of_text(&text, name),
        };
        let mut parameters = account::form(&TWILIO["inbound"]["message"], value);
        parameters.extend(opting.map(|kind| ("OptOutType".to_owned(), kind.to_owned())));
        let callback = self.callback(&url, &parameters, &About::Inbound(sid), 0);
        Reply { callbacks: vec![callback], ..Response::empty(202).into() }
    }

    /// What one of Twilio's own words does.
    fn opt(&mut self, text: &Text) -> Option<&'static str> {
        let (reserved, word) = (&TWILIO["reserved_words"], text.body.trim().to_ascii_uppercase());
        let (kind, says) = match word.as_str() {
            word if facts::has(&reserved["stop"], word) => {
                self.opted_out.insert(text.from.clone());
                ("STOP", "You have been unsubscribed. Reply START to hear from this number again.")
            }
            word if facts::has(&reserved["start"], word) => {
                self.opted_out.remove(&text.from);
                (
                    "START",
                    "You hear from this number again. Reply HELP for help, STOP to unsubscribe.",
                )
            }
            word if facts::has(&reserved["help"], word) => {
                ("HELP", "Reply STOP to unsubscribe. Msg&Data Rates May Apply.")
            }
            _ => return None,
        };
        let answer = self.text_back(text, says.to_owned());
        self.own_words.push(answer);
        Some(kind)
    }

    fn text_back(&mut self, to: &Text, body: String) -> Text {
        let sid = self.next_sid("SM");
        Text {
            sid,
            from: to.to.clone(),
            to: to.from.clone(),
            body,
            at_ms: self.now_ms,
            callback: None,
        }
    }

    /// A text from a person was answered, or not.
    pub(super) fn written_back(
        &mut self,
        sid: &str,
        callback: &Callback,
        answer: &Answer,
    ) -> Vec<Callback> {
        let Some(text) = self.replies.iter().find(|text| text.sid == sid).cloned() else {
            return vec![];
        };
        let line = format!("POST {}", callback.url);
        let messages = match answer {
            Answer::None => {
                if callback.repeats_after_ms.is_empty() {
                    self.alert(11_205, &format!("{line}: no answer"));
                }
                return again(callback);
            }
            Answer::Due => return vec![],
            Answer::Given { status, .. } if !(200..300).contains(status) => {
                self.alert(11_200, &format!("{line}: {status}"));
                return vec![];
            }
            Answer::Given { body, .. } if body.is_empty() => vec![],
            Answer::Given { content_type, body, .. } if content_type.starts_with("text/plain") => {
                vec![body.clone()]
            }
            Answer::Given { content_type, body, .. } => {
                match self.document(&line, content_type, body) {
                    Some(verbs) => verbs
                        .into_iter()
                        .filter_map(|verb| match verb {
                            twiml::Verb::Message(words) => Some(words),
                            _ => None,
                        })
                        .collect(),
                    None => vec![],
                }
            }
        };
        for words in messages {
            if self.opted_out.contains(&text.from) {
                let code = facts::number(&TWILIO["reserved_words"]["answer_error"]);
                self.alert(code, &format!("{line}: an answer to {}", text.from));
                self.house
                    .note_of(&line, format!("{code}: an answer to somebody who has unsubscribed"));
                continue;
            }
            if words.is_empty()
                || words.chars().count() > facts::most(&TWILIO, "message_characters")
            {
                self.house.note_of(&line, "an answer that is empty or too long for a text");
                continue;
            }
            let answer = self.text_back(&text, words);
            self.answers.push(answer);
        }
        vec![]
    }
}
