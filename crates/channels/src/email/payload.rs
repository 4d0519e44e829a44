//! A message as a mail: in plain text, and the same with a button.

use std::time::{Duration, UNIX_EPOCH};

use allclear_domain::catalog::SmtpAccount;
use allclear_domain::delivery::{Brief, Message, Purpose};
use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart};

use crate::text::xml as escaped;
use crate::{Envelope, Site};

/// A mail, ready to be handed over.
pub(super) struct Mail {
    pub(super) from: Address,
    pub(super) to: Address,
    /// The sender's domain, by which we greet.
    pub(super) domain: String,
    /// Its `Message-ID`.
    pub(super) id: String,
    pub(super) bytes: Vec<u8>,
}

/// The longest subject: mail programs show less.
const LONGEST_SUBJECT: usize = 150;

/// The longest detail of one incident.
const LONGEST_DETAIL: usize = 1_000;

/// The mail of a message.
///
/// # Errors
/// Why no mail can be made of it, in words.
pub(super) fn message(account: &SmtpAccount, envelope: &Envelope<'_>, site: &Site) -> Result<Mail, String> {
    let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|_| format!("{text:?} is not an e-mail address"));
    let (from, to) = (mailbox(&account.from)?, mailbox(envelope.address)?);
    let domain = from.email.domain().to_owned();
    let id = format!("<{}@{domain}>", envelope.attempt);
    let sent_at = UNIX_EPOCH + Duration::from_micros(u64::try_from(envelope.now.0).unwrap_or(0));
    let mut builder = lettre::Message::builder()
        .from(from.clone())
        .to(to.clone())
        .date(sent_at)
        .message_id(Some(id.clone()))
        .subject(subject(envelope.message))
        .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()));
    if let Some(root) = envelope.root {
        builder = builder.in_reply_to(root.to_owned()).references(root.to_owned());
    }
    // The link is good for its reader alone; without a public address nobody could open it.
    let link = envelope.link.and_then(|link| Some(format!("{}/answer/{link}", site.public()?)));
    let body = Body { message: envelope.message, link: link.as_deref(), site };
    let built = builder
        .multipart(MultiPart::alternative_plain_html(body.plain(), body.html()))
        .map_err(|error| format!("no mail can be made of it: {error}"))?;
    Ok(Mail { from: from.email, to: to.email, domain, id, bytes: built.formatted() })
}

fn subject(message: &Message) -> String {
    let repeat = if message.possible_repeat { " (possible repeat)" } else { "" };
    let text = match (message.purpose, message.incidents.as_slice()) {
        (Purpose::Notice | Purpose::Reply, _) => "AllClear: a message about how you are reached".to_owned(),
        (Purpose::AllClear, [one]) => format!("All clear: [#{}] {}", one.number, one.title),
        (Purpose::AllClear, many) => format!("All clear: {} incidents are over", many.len()),
        (Purpose::Note, [one]) => format!("[#{}] {}: {}", one.number, one.status, one.title),
        (_, [one]) => format!("ALERT [#{}] {}", one.number, one.title),
        (_, many) => format!("ALERT {} incidents", many.len()),
    };
    // A line break in a title must not begin a header of its own.
    format!("{text}{repeat}").chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_SUBJECT).collect()
}

fn detail(incident: &Brief) -> String {
    incident.detail.chars().take(LONGEST_DETAIL).collect()
}

const INVITATION: &str = "Acknowledge or resolve";

/// How an incident stands; what was done to it says so already.
fn stands(incident: &Brief) -> String {
    if incident.remark.starts_with(&incident.status) {
        incident.remark.clone()
    } else {
        format!("{}, {}", incident.status, incident.remark)
    }
}

/// What a mail says, in both of its forms.
struct Body<'a> {
    message: &'a Message,
    link: Option<&'a str>,
    site: &'a Site,
}

impl Body<'_> {
    fn plain(&self) -> String {
        let mut text = String::new();
        if let Some(words) = &self.message.words {
            text.push_str(&format!("{words}\n\n"));
        }
        for incident in &self.message.incidents {
            text.push_str(&format!("[#{}] {}\n", incident.number, incident.title));
            for (name, value) in rows(incident) {
                text.push_str(&format!("{name}: {value}\n"));
            }
            for (name, url) in self.links_of(incident) {
                text.push_str(&format!("{name}: {url}\n"));
            }
            text.push('\n');
        }
        if let Some(link) = self.link {
            text.push_str(&format!("{INVITATION}: {link}\n"));
        }
        text
    }

    /// A table for each incident: mail programs know little else. Its colours stand in it, because
    /// styles are stripped.
    fn html(&self) -> String {
        let style = "font-family:sans-serif;font-size:15px;color:#1a1a1a;max-width:600px";
        let mut text = format!("<div style=\"{style}\">");
        if let Some(words) = &self.message.words {
            text.push_str(&format!("<p>{}</p>", escaped(words)));
        }
        for incident in &self.message.incidents {
            let title = escaped(&incident.title);
            text.push_str(&format!("<h2 style=\"font-size:18px\">[#{}] {title}</h2><table>", incident.number));
            let row = |name: &str, value: &str| {
                let style = "padding:2px 16px 2px 0;color:#5f6368;vertical-align:top";
                format!("<tr><td style=\"{style}\">{}</td><td>{value}</td></tr>", escaped(name))
            };
            for (name, value) in rows(incident) {
                text.push_str(&row(&name, &escaped(&value)));
            }
            for (name, url) in self.links_of(incident) {
                let url = escaped(&url);
                text.push_str(&row(&name, &format!("<a href=\"{url}\">{url}</a>")));
            }
            text.push_str("</table>");
        }
        if let Some(link) = self.link {
            let style = "display:inline-block;padding:10px 16px;background:#1f5fbf;color:#ffffff;\
                         text-decoration:none;border-radius:6px";
            text.push_str(&format!("<p><a href=\"{}\" style=\"{style}\">{INVITATION}</a></p>", escaped(link)));
        }
        text.push_str("</div>");
        text
    }

    /// Where to read more: the incident's own page, and what the monitoring tool pointed to.
    fn links_of(&self, incident: &Brief) -> Vec<(String, String)> {
        let own = self.site.incident(incident.incident.as_str()).map(|url| ("In AllClear".to_owned(), url));
        let theirs = incident.links.iter().map(|link| (link.text.clone(), link.href.clone()));
        own.into_iter().chain(theirs).collect()
    }
}

/// What is known of an incident, a line each.
fn rows(incident: &Brief) -> Vec<(String, String)> {
    let mut rows = vec![
        ("Service".to_owned(), format!("{} ({} urgency)", incident.service, incident.urgency.word())),
        ("Now".to_owned(), stands(incident)),
    ];
    if let Some(news) = incident.news.as_ref().filter(|news| news.event.word() != incident.status) {
        rows.push(("Changed".to_owned(), news.words.clone()));
    }
    if let Some(source) = &incident.source {
        rows.push(("Source".to_owned(), source.clone()));
    }
    let detail = detail(incident);
    if !detail.is_empty() {
        rows.push(("Why".to_owned(), detail));
    }
    rows.extend(incident.fields.iter().cloned());
    rows
}

#[cfg(test)]
mod tests {
    use allclear_domain::Timestamp;
    use allclear_domain::catalog::{Account, Channel, SmtpTls};
    use allclear_domain::delivery::Means;
    use allclear_domain::incident::Urgency;
    use proptest::prelude::*;

    use super::*;

    fn account() -> SmtpAccount {
        SmtpAccount {
            host: "mail.example".into(),
            port: None,
            tls: SmtpTls::Starttls,
            from: "AllClear <allclear@synq.example>".into(),
            user: None,
            password: None,
            authority: None,
        }
    }

    fn mail(title: &str, root: Option<&str>, link: Option<&str>) -> Result<String, String> {
        let brief = Brief {
            incident: "Q1".into(),
            number: 7,
            key: "test:t:production".into(),
            title: title.into(),
            detail: "playback_url is empty, expected not empty".into(),
            service: "SYNQ Live Stream Check".into(),
            urgency: Urgency::High,
            status: "triggered".into(),
            remark: "assigned to Ada".into(),
            news: None,
            source: None,
            links: vec![],
            fields: vec![],
        };
        let message =
            Message { purpose: Purpose::Page, incidents: vec![brief], mirror: None, more: 0, words: None, possible_repeat: false };
        let channel =
            Channel { name: "Mail".into(), account: Account::Smtp(account()), allow: vec![], second: None, extra: serde_json::Map::new() };
        let envelope = Envelope {
            channel_id: &"PM".into(),
            channel: &channel,
            address: "ada@synq.example",
            by: Means::Text,
            attempt: "a1",
            key: "d1",
            now: Timestamp(1_774_699_200_000_000),
            written_at: Timestamp(1_774_699_200_000_000),
            message: &message,
            root,
            link,
        };
        super::message(&account(), &envelope, &Site::new("http://127.0.0.1", Some("https://x.example")))
            .map(|mail| String::from_utf8_lossy(&mail.bytes).into_owned())
    }

    #[test]
    fn a_page_says_what_is_wrong_and_carries_its_link_in_both_forms() {
        let text = mail("Live Streaming API fails", None, Some("abc")).expect("a mail");
        for part in [
            "From: AllClear <allclear@synq.example>",
            "To: ada@synq.example",
            "Subject: ALERT [#7] Live Streaming API fails",
            "Message-ID: <a1@synq.example>",
            "Auto-Submitted: auto-generated",
            "Date: Sat, 28 Mar 2026 12:00:00 +0000",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
        let unfolded = text.replace("=\r\n", "");
        assert_eq!(unfolded.matches("https://x.example/answer/abc").count(), 2, "{unfolded}");
    }

    #[test]
    fn what_follows_stands_in_the_thread_of_the_page() {
        let text = mail("t", Some("<a0@synq.example>"), None).expect("a mail");
        assert!(text.contains("In-Reply-To: <a0@synq.example>") && text.contains("References: <a0@synq.example>"), "{text}");
    }

    proptest! {
        #[test]
        fn no_title_writes_a_header_of_its_own(title in "\\PC{0,20}[\r\n]{0,3}Bcc: eve@example.com\\PC{0,20}") {
            let text = mail(&title, None, None).expect("a mail");
            let head = text.split("\r\n\r\n").next().unwrap_or_default();
            prop_assert!(!head.lines().any(|line| line.starts_with("Bcc:")), "{head}");
        }
    }
}
