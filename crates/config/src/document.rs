//! Documents in files, one function per kind.

use std::collections::BTreeSet;
use std::str::FromStr;

use allclear_domain::catalog::{
    Account, Channel, Document, Heartbeat, Integration, Kind, Location, MOST_INTEGRATIONS, MaintenanceWindow, PagerdutyAccount, Room,
    Service, Settings, SlackAccount, SlackWebhookAccount, SmtpAccount, SmtpTls, StatuspageAccount, TwilioAccount, WebhookAccount,
};
use allclear_domain::delivery::{ContactMethod, Means, NotificationRule, Person, Role};
use allclear_domain::escalation::{Level, MOST_REPEATS, Policy, Target};
use allclear_domain::event::UrgencyRule;
use allclear_domain::incident::Urgency;
use allclear_domain::oncall::{self, Override, Schedule};
use allclear_domain::status::{Branding, Component, ComponentStatus, IncidentTemplate, Link, Mirror, Page, Rule};
use allclear_domain::{ChannelId, ServiceId, Span, forms};
use serde_json::Map;

use crate::decode::{self, Fields};
use crate::diagnostic::Sink;
use crate::tree::{Node, Pos, Value};

/// A document as read, with where its references stand.
pub(crate) struct Read {
    pub(crate) document: Document,
    pub(crate) name_pos: Pos,
    pub(crate) references: Vec<(Kind, String, Pos)>,
    pub(crate) addresses: Vec<AddressSite>,
}

/// An address on a channel: whether it has the channel's form is known once all documents are read.
#[derive(Debug, Clone)]
pub(crate) struct AddressSite {
    pub(crate) channel: String,
    pub(crate) address: String,
    pub(crate) pos: Pos,
    /// Whether it is a room that many read, and not a person.
    pub(crate) is_room: bool,
}

/// Where names of other documents stand, and addresses on them.
#[derive(Default)]
pub(crate) struct Sites {
    references: Vec<(Kind, String, Pos)>,
    addresses: Vec<AddressSite>,
}

impl Sites {
    fn name<T: From<String>>(&mut self, sink: &Sink, kind: Kind, node: &Node) -> Option<T> {
        let name = decode::name(sink, node)?;
        self.references.push((kind, name.clone(), node.pos));
        Some(T::from(name))
    }

    pub(crate) fn service(&mut self, sink: &Sink, node: &Node) -> Option<ServiceId> {
        self.name(sink, Kind::Service, node)
    }

    fn field<T: From<String>>(&mut self, fields: &Fields<'_>, kind: Kind, field: &'static str) -> Option<T> {
        match fields.node(field) {
            Some(node) => self.name(fields.sink, kind, node),
            None => fields.required(field, decode::name).map(T::from),
        }
    }
}

const KINDS: &[(&str, Kind)] = &[
    ("channel", Kind::Channel),
    ("person", Kind::Person),
    ("schedule", Kind::Schedule),
    ("escalation_policy", Kind::EscalationPolicy),
    ("service", Kind::Service),
    ("test", Kind::Test),
    ("page", Kind::Page),
    ("component", Kind::Component),
    ("rule", Kind::Rule),
    ("maintenance_window", Kind::MaintenanceWindow),
    ("heartbeat", Kind::Heartbeat),
    ("location", Kind::Location),
    ("settings", Kind::Settings),
];

pub(crate) fn decode(node: &Node, sink: &Sink) -> Option<Read> {
    let what = match &node.value {
        Value::Map(pairs) => {
            pairs.iter().find(|(key, _)| key.text() == "kind").map_or("a document".to_owned(), |(_, kind)| format!("a {}", kind.text()))
        }
        Value::Scalar { .. } | Value::List(_) => "a document".to_owned(),
    };
    let fields = Fields::of(sink, node, &what)?;
    let kind = fields.required("kind", |sink, node| decode::word(sink, node, KINDS))?;
    let name_pos = fields.node("name").map_or(node.pos, |name| name.pos);
    let mut sites = Sites::default();
    let document = match kind {
        Kind::Channel => channel(&fields, &mut sites).map(Document::Channel),
        Kind::Person => person(&fields, &mut sites).map(Document::Person),
        Kind::Schedule => schedule(&fields, &mut sites).map(Document::Schedule),
        Kind::EscalationPolicy => policy(&fields, &mut sites).map(Document::EscalationPolicy),
        Kind::Service => service(&fields, &mut sites).map(Document::Service),
        Kind::Test => crate::test::decode(&fields, &mut sites).map(|test| Document::Test(Box::new(test))),
        Kind::Page => page(&fields).map(Document::Page),
        Kind::Component => component(&fields, &mut sites).map(Document::Component),
        Kind::Rule => rule(&fields, &mut sites).map(Document::Rule),
        Kind::MaintenanceWindow => maintenance_window(&fields, &mut sites).map(Document::MaintenanceWindow),
        Kind::Heartbeat => heartbeat(&fields, &mut sites).map(Document::Heartbeat),
        Kind::Location => location(&fields).map(Document::Location),
        Kind::Settings => settings(&fields, &mut sites).map(Document::Settings),
    };
    // What has no name of its own cannot be renamed.
    let renamed_from = match kind {
        Kind::Rule | Kind::Settings => None,
        _ => fields.optional("renamed_from", decode::name)?,
    };
    fields.finish();
    let document = match renamed_from {
        Some(name) => document?.once_named(name),
        None => document?,
    };
    Some(Read { document, name_pos, references: sites.references, addresses: sites.addresses })
}

fn channel(fields: &Fields<'_>, sites: &mut Sites) -> Option<Channel> {
    let name = fields.required("name", decode::name);
    let allow = fields.list("allow", cidr);
    let second = fields.node("second").and_then(|node| sites.name(fields.sink, Kind::Channel, node));
    let accounts = [
        fields.optional("slack", slack)?.map(Account::Slack),
        fields.optional("twilio", twilio)?.map(Account::Twilio),
        fields.optional("smtp", smtp)?.map(Account::Smtp),
        fields.optional("webhook", webhook)?.map(Account::Webhook),
        fields.optional("slack_webhook", slack_webhook)?.map(Account::SlackWebhook),
        fields.optional("pagerduty", pagerduty)?.map(Account::Pagerduty),
        fields.optional("statuspage", statuspage)?.map(Account::Statuspage),
    ];
    let mut named = accounts.into_iter().flatten();
    let (Some(account), None) = (named.next(), named.next()) else {
        let pos = fields.node("name").map_or(Pos { line: 1, column: 1, width: 1 }, |node| node.pos);
        let help = "slack, twilio, smtp, webhook, slack_webhook, pagerduty or statuspage".to_owned();
        fields.sink.error(pos, "a channel needs one account, and no more", Some(help));
        return None;
    };
    Some(Channel { name: name?, account, allow, second, extra: Map::new() })
}

const TLS: &[(&str, SmtpTls)] = &[("starttls", SmtpTls::Starttls), ("implicit", SmtpTls::Implicit), ("none", SmtpTls::None)];

fn smtp(sink: &Sink, node: &Node) -> Option<SmtpAccount> {
    let fields = Fields::of(sink, node, "smtp")?;
    let host = fields.required("host", decode::name);
    let port = fields.optional("port", decode::number::<1, 65_535>)?;
    let tls = fields.or("tls", |sink, node| decode::word(sink, node, TLS), SmtpTls::Starttls);
    let from = fields.required("from", sender);
    let user = fields.optional("user", decode::name)?;
    let password = fields.optional("password", secret)?;
    let authority = fields.optional("authority", certificates)?;
    fields.finish();
    if user.is_some() != password.is_some() {
        sink.error(node.pos, "\"user\" and \"password\" belong together", None);
        return None;
    }
    let port = port.map(|port| u16::try_from(port).unwrap_or(u16::MAX));
    Some(SmtpAccount { host: host?, port, tls: tls?, from: from?, user, password, authority })
}

/// `AllClear <allclear@example.com>` or the bare address.
fn sender(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::name(sink, node)?;
    let (name, address) = text.split_once('<').map_or(("", Some(text.as_str())), |(name, rest)| (name, rest.strip_suffix('>')));
    let is_plain = name.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '\''));
    if !is_plain || !address.is_some_and(is_mail_address) {
        let help = "write allclear@example.com or \"AllClear <allclear@example.com>\"".to_owned();
        sink.error(node.pos, format!("{text:?} is not a sender"), Some(help));
        return None;
    }
    Some(text)
}

fn certificates(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::text(sink, node)?;
    if !text.contains("-----BEGIN CERTIFICATE-----") {
        sink.error(
            node.pos,
            "this is not a certificate in PEM form",
            Some("paste the text that begins with -----BEGIN CERTIFICATE-----".into()),
        );
        return None;
    }
    Some(text)
}

fn webhook(sink: &Sink, node: &Node) -> Option<WebhookAccount> {
    let fields = Fields::of(sink, node, "webhook")?;
    let url = fields.required("url", web_address);
    let signing = fields.required("secret", secret);
    fields.finish();
    Some(WebhookAccount { url: url?, secret: signing? })
}

/// An address on the web, or a secret that holds one.
fn web_address(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::text(sink, node)?;
    if !(text.starts_with("https://") || text.starts_with("http://") || text.starts_with("{{")) {
        let help = "write https://example.com/path, or \"{{secret.NAME}}\"".to_owned();
        sink.error(node.pos, format!("{text:?} is not an address on the web"), Some(help));
        return None;
    }
    Some(text)
}

fn pagerduty(sink: &Sink, node: &Node) -> Option<PagerdutyAccount> {
    let fields = Fields::of(sink, node, "pagerduty")?;
    let routing_key = fields.required("routing_key", secret);
    let webhook_secret = fields.optional("webhook_secret", secret)?;
    let api = fields.or("api", decode::text, "https://events.pagerduty.com".to_owned());
    fields.finish();
    Some(PagerdutyAccount { routing_key: routing_key?, webhook_secret, api: api? })
}

fn statuspage(sink: &Sink, node: &Node) -> Option<StatuspageAccount> {
    let fields = Fields::of(sink, node, "statuspage")?;
    let api_key = fields.required("api_key", secret);
    let page = fields.required("page", path_part);
    let api = fields.or("api", decode::text, "https://api.statuspage.io".to_owned());
    fields.finish();
    Some(StatuspageAccount { api_key: api_key?, page: page?, api: api? })
}

/// An id of the real StatusPage, as it stands in its addresses.
fn path_part(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::name(sink, node)?;
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        sink.error(node.pos, format!("{text:?} is not an id of StatusPage"), Some("letters and digits, as in its addresses".into()));
        return None;
    }
    Some(text)
}

fn slack_webhook(sink: &Sink, node: &Node) -> Option<SlackWebhookAccount> {
    let fields = Fields::of(sink, node, "slack_webhook")?;
    let url = fields.required("url", secret);
    fields.finish();
    Some(SlackWebhookAccount { url: url? })
}

fn slack(sink: &Sink, node: &Node) -> Option<SlackAccount> {
    let fields = Fields::of(sink, node, "slack")?;
    let token = fields.required("token", secret);
    let signing_secret = fields.required("signing_secret", secret);
    let api = fields.or("api", decode::text, "https://slack.com/api".to_owned());
    fields.finish();
    Some(SlackAccount { token: token?, signing_secret: signing_secret?, api: api? })
}

fn twilio(sink: &Sink, node: &Node) -> Option<TwilioAccount> {
    let fields = Fields::of(sink, node, "twilio")?;
    let account_sid = fields.required("account_sid", account_sid);
    let auth_token = fields.required("auth_token", secret);
    let from = fields.required("from", phone);
    let api = fields.or("api", decode::text, "https://api.twilio.com".to_owned());
    fields.finish();
    Some(TwilioAccount { account_sid: account_sid?, auth_token: auth_token?, from: from?, api: api? })
}

/// The id of a Twilio account.
fn account_sid(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::name(sink, node)?;
    if !forms::is_twilio_account_sid(&text) {
        let help = "AC and 32 hexadecimal digits, as Twilio's console shows it".to_owned();
        sink.error(node.pos, format!("{text:?} is not the id of a Twilio account"), Some(help));
        return None;
    }
    Some(text)
}

/// A secret is named, never inlined. What stands before or behind the name would be part of the value,
/// for everybody to read.
fn secret(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::text(sink, node)?;
    let inner = text.trim().strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}"));
    let name = inner.and_then(|inner| inner.trim().strip_prefix("secret."));
    if name.is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')) {
        return Some(text);
    }
    let help = "write \"{{secret.NAME}}\" and set ALLCLEAR_SECRET_NAME".to_owned();
    sink.error(node.pos, "a secret must not stand in a file", Some(help));
    None
}

fn phone(sink: &Sink, node: &Node) -> Option<String> {
    let text: String = decode::text(sink, node)?.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')')).collect();
    if !forms::is_phone_number(&text) {
        sink.error(node.pos, "this is not a telephone number", Some("write it with its country code: \"+4512345678\"".into()));
        return None;
    }
    Some(text)
}

fn cidr(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::text(sink, node)?;
    let (addr, bits) = text.split_once('/').map_or((text.as_str(), None), |(addr, bits)| (addr, Some(bits)));
    let known = std::net::IpAddr::from_str(addr).is_ok() && bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|b| b <= 128));
    if !known {
        sink.error(node.pos, format!("{text:?} is not a range of addresses"), Some("write 127.0.0.1 or 10.0.0.0/8".into()));
        return None;
    }
    Some(text)
}

fn person(fields: &Fields<'_>, sites: &mut Sites) -> Option<Person> {
    let name = fields.required("name", decode::name);
    let email = fields.optional("email", email);
    let zone = fields.optional("time_zone", time_zone);
    let job_title = fields.optional("job_title", decode::name);
    let role = fields.or("role", |sink, node| decode::word(sink, node, &Role::ALL.map(|role| (role.word(), role))), Role::default());
    let mut contact_methods = Vec::new();
    for node in items(fields.node("contact_methods")) {
        contact_methods.extend(contact_method(fields.sink, node, sites));
    }
    let notification_rules = fields.list("notification_rules", notification_rule);
    if let Some(node) = fields.node("notification_rules") {
        for rule in &notification_rules {
            if !contact_methods.iter().any(|method| method.name == rule.method) {
                let known: Vec<&str> = contact_methods.iter().map(|method| method.name.as_str()).collect();
                let help =
                    if known.is_empty() { "add it to contact_methods".to_owned() } else { format!("this person has {}", known.join(", ")) };
                fields.sink.error(node.pos, format!("there is no contact method {:?}", rule.method), Some(help));
            }
        }
    }
    let ids = contact_methods
        .iter()
        .filter_map(|method| method.id.as_deref())
        .chain(notification_rules.iter().filter_map(|rule| rule.id.as_deref()));
    let mut seen = BTreeSet::new();
    if let Some(id) = ids.into_iter().find(|id| !seen.insert(*id)) {
        let help = "leave one out: the other keeps it".to_owned();
        fields.sink.error(fields.pos, format!("the id {id:?} is written twice"), Some(help));
    }
    Some(Person {
        name: name?,
        email: email?,
        time_zone: zone?,
        job_title: job_title?,
        role: role?,
        contact_methods,
        notification_rules,
        extra: Map::new(),
    })
}

fn items(node: Option<&Node>) -> Vec<&Node> {
    match node.map(|node| (&node.value, node)) {
        Some((Value::List(items), _)) => items.iter().collect(),
        Some((Value::Map(_) | Value::Scalar { .. }, node)) if node.what() != "nothing" => vec![node],
        Some(_) | None => vec![],
    }
}

fn email(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::name(sink, node)?;
    if !is_mail_address(&text) {
        sink.error(node.pos, format!("{text:?} is not an e-mail address"), None);
        return None;
    }
    Some(text)
}

/// Whether a text can be the address of a mailbox.
#[must_use]
pub fn is_mail_address(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b',' | b'"'));
    let has_dots_apart = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.contains("..");
    plain
        && text
            .split_once('@')
            .is_some_and(|(user, host)| has_dots_apart(user) && has_dots_apart(host) && host.contains('.') && !host.contains('@'))
}

fn contact_method(sink: &Sink, node: &Node, sites: &mut Sites) -> Option<ContactMethod> {
    let fields = Fields::of(sink, node, "a contact method")?;
    let channel = sites.field(&fields, Kind::Channel, "channel");
    let address = fields.required("address", address);
    let name = fields.optional("name", decode::name)?;
    let by = fields.or("by", |sink, node| decode::word(sink, node, MEANS), Means::Text);
    let id = fields.optional("id", record_id)?;
    fields.finish();
    let channel: ChannelId = channel?;
    if let (Some(address), Some(node)) = (&address, fields.node("address")) {
        let site = AddressSite { channel: channel.0.clone(), address: address.clone(), pos: node.pos, is_room: false };
        sites.addresses.push(site);
    }
    Some(ContactMethod { name: name.unwrap_or_else(|| channel.0.clone()), channel, address: address?, by: by?, id })
}

fn address(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::name(sink, node)?;
    if text.starts_with('+') { phone(sink, node) } else { Some(text) }
}

/// An id that the API gave: files only hand it on.
fn record_id(sink: &Sink, node: &Node) -> Option<String> {
    let id = decode::name(sink, node)?;
    let is_one = id.len() == 7 && id.starts_with('P') && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if !is_one {
        let help = "leave it out: an id is P and six capital letters or digits, and only the API makes one";
        sink.error(node.pos, format!("{id:?} is not an id"), Some(help.to_owned()));
    }
    is_one.then_some(id)
}

const MEANS: &[(&str, Means)] = &[("text", Means::Text), ("call", Means::Call)];

const URGENCIES: &[(&str, Urgency)] = &[("high", Urgency::High), ("low", Urgency::Low)];

fn urgency(sink: &Sink, node: &Node) -> Option<Urgency> {
    decode::word(sink, node, URGENCIES)
}

fn notification_rule(sink: &Sink, node: &Node) -> Option<NotificationRule> {
    let fields = Fields::of(sink, node, "a notification rule")?;
    let urgency = fields.or("urgency", urgency, Urgency::High);
    let method = fields.required("method", decode::name);
    let after = fields.or("after", decode::span, Span::ZERO);
    let id = fields.optional("id", record_id)?;
    fields.finish();
    Some(NotificationRule { urgency: urgency?, method: method?, after: after?, id })
}

fn schedule(fields: &Fields<'_>, sites: &mut Sites) -> Option<Schedule> {
    let name = fields.required("name", decode::name);
    let description = fields.optional("description", decode::text);
    let time_zone = fields.or("time_zone", time_zone, "Etc/UTC".to_owned());
    let people =
        items(fields.node("people")).into_iter().filter_map(|node| sites.name(fields.sink, Kind::Person, node)).collect::<Vec<_>>();
    let start = fields.required("start", civil);
    let turn = fields.required("turn", turn);
    let mut overrides = Vec::new();
    for node in items(fields.node("overrides")) {
        overrides.extend(schedule_override(fields.sink, node, sites));
    }
    if people.is_empty() {
        fields.required("people", decode::name)?;
    }
    let (name, description) = (name?, description?);
    Some(Schedule { name, description, time_zone: time_zone?, people, start: start?, turn: turn?, overrides, extra: Map::new() })
}

fn schedule_override(sink: &Sink, node: &Node, sites: &mut Sites) -> Option<Override> {
    let fields = Fields::of(sink, node, "an override")?;
    let person = sites.field(&fields, Kind::Person, "person");
    let from = fields.required("from", civil);
    let to = fields.required("to", civil);
    fields.finish();
    let (from, to) = (from?, to?);
    if oncall::civil(&to).ok()? <= oncall::civil(&from).ok()? {
        sink.error(node.pos, "an override must end after its start", None);
        return None;
    }
    Some(Override { person: person?, from, to })
}

fn time_zone(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::name(sink, node)?;
    if let Err(error) = oncall::zone(&text) {
        sink.error(node.pos, error.to_string(), None);
        return None;
    }
    Some(text)
}

fn civil(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::text(sink, node)?;
    if let Err(error) = oncall::civil(&text) {
        sink.error(node.pos, error.to_string(), None);
        return None;
    }
    Some(text)
}

fn turn(sink: &Sink, node: &Node) -> Option<Span> {
    let turn = decode::span(sink, node)?;
    if turn < Span::from_mins(1) {
        sink.error(node.pos, oncall::BadSchedule::Turn.to_string(), None);
        return None;
    }
    Some(turn)
}

fn policy(fields: &Fields<'_>, sites: &mut Sites) -> Option<Policy> {
    let name = fields.required("name", decode::name);
    let description = fields.optional("description", decode::text);
    let mut levels = Vec::new();
    for node in items(fields.node("levels")) {
        levels.extend(level(fields.sink, node, sites));
    }
    let repeat = fields.or("repeat", decode::number::<0, { MOST_REPEATS as i64 }>, 0);
    if fields.node("levels").is_none() {
        fields.required("levels", decode::text);
    }
    let (name, description) = (name?, description?);
    Some(Policy { name, description, levels, repeat: u32::try_from(repeat?).unwrap_or(0), extra: Map::new() })
}

fn level(sink: &Sink, node: &Node, sites: &mut Sites) -> Option<Level> {
    let fields = Fields::of(sink, node, "a level")?;
    let targets: Vec<Target> = items(fields.node("targets")).into_iter().filter_map(|node| target(sink, node, sites)).collect();
    let escalate_after = fields.or("escalate_after", decode::span, Span::from_mins(30));
    if fields.node("targets").is_none() {
        fields.required("targets", decode::text)?;
    }
    fields.finish();
    Some(Level { targets, escalate_after: escalate_after? })
}

fn target(sink: &Sink, node: &Node, sites: &mut Sites) -> Option<Target> {
    if matches!(node.value, Value::Scalar { .. }) {
        return sites.name(sink, Kind::Person, node).map(Target::Person);
    }
    let fields = Fields::of(sink, node, "a target")?;
    let person = fields.node("person");
    let schedule = fields.node("schedule");
    fields.finish();
    match (person, schedule) {
        (Some(node), None) => sites.name(sink, Kind::Person, node).map(Target::Person),
        (None, Some(node)) => sites.name(sink, Kind::Schedule, node).map(Target::Schedule),
        (Some(_), Some(_)) | (None, None) => {
            sink.error(node.pos, "a target is either a \"person\" or a \"schedule\"", None);
            None
        }
    }
}

fn service(fields: &Fields<'_>, sites: &mut Sites) -> Option<Service> {
    let name = fields.required("name", decode::name);
    let description = fields.optional("description", decode::text);
    let escalation_policy = sites.field(fields, Kind::EscalationPolicy, "escalation_policy");
    let urgency = fields.or("urgency", urgency_rule, UrgencyRule::High);
    let acknowledgement_timeout = fields.or("acknowledgement_timeout", decode::span_or_off, None);
    let auto_resolve = fields.optional("auto_resolve", |sink, node| Some(decode::span_or_off(sink, node)?.unwrap_or(Span::ZERO)));
    let integrations = fields.list("integrations", integration);
    if let Some(node) = fields.node("integrations") {
        let mut names: Vec<&str> = integrations.iter().map(|integration| integration.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            fields.sink.error(node.pos, format!("two integrations are named {:?}", twice[0]), None);
        }
        if names.len() > MOST_INTEGRATIONS {
            let help = Some("one key serves all instances of a tool".to_owned());
            fields.sink.error(node.pos, format!("a service has at most {MOST_INTEGRATIONS} integrations, not {}", names.len()), help);
        }
    }
    let mut rooms = Vec::new();
    for node in items(fields.node("rooms")) {
        rooms.extend(room(fields.sink, node, sites));
    }
    let paused_until = fields.optional("paused_until", decode::instant);
    Some(Service {
        name: name?,
        description: description?,
        escalation_policy: escalation_policy?,
        urgency: urgency?,
        acknowledgement_timeout: acknowledgement_timeout?,
        auto_resolve: auto_resolve?,
        integrations,
        rooms,
        paused_until: paused_until?,
        extra: Map::new(),
    })
}

/// A name, or a map with one.
fn integration(sink: &Sink, node: &Node) -> Option<Integration> {
    if matches!(node.value, Value::Scalar { .. }) {
        return decode::name(sink, node).map(|name| Integration { name, environments: vec![], most_per_minute: None, extra: Map::new() });
    }
    let fields = Fields::of(sink, node, "an integration")?;
    let name = fields.required("name", decode::name);
    let environments = fields.list("environments", decode::name);
    let most = fields.optional("most_per_minute", decode::number::<1, 1_000_000>);
    fields.finish();
    let most_per_minute = most?.map(|most| u32::try_from(most).unwrap_or(u32::MAX));
    Some(Integration { name: name?, environments, most_per_minute, extra: Map::new() })
}

fn urgency_rule(sink: &Sink, node: &Node) -> Option<UrgencyRule> {
    const RULES: &[(&str, UrgencyRule)] =
        &[("high", UrgencyRule::High), ("low", UrgencyRule::Low), ("severity_based", UrgencyRule::SeverityBased)];
    decode::word(sink, node, RULES)
}

fn room(sink: &Sink, node: &Node, sites: &mut Sites) -> Option<Room> {
    let fields = Fields::of(sink, node, "a room")?;
    let channel = sites.field(&fields, Kind::Channel, "channel");
    let room = fields.optional("room", decode::name)?;
    fields.finish();
    let channel: ChannelId = channel?;
    // Where none is written it is the channel's own name, which must have the channel's form as well.
    let room = room.unwrap_or_else(|| channel.0.clone());
    if let Some(node) = fields.node("room").or_else(|| fields.node("channel")) {
        let site = AddressSite { channel: channel.0.clone(), address: room.clone(), pos: node.pos, is_room: true };
        sites.addresses.push(site);
    }
    Some(Room { room, channel })
}

fn page(fields: &Fields<'_>) -> Option<Page> {
    let name = fields.required("name", decode::name);
    let slug = fields.optional("slug", slug);
    let host = fields.optional("host", host);
    let time_zone = fields.or("time_zone", time_zone, "Etc/UTC".to_owned());
    let branding = fields.or("branding", branding, Branding::default());
    let name = name?;
    let slug = slug?.unwrap_or_else(|| slug_of(&name));
    Some(Page { name, slug, host: host?, time_zone: time_zone?, branding: branding?, extra: Map::new() })
}

fn branding(sink: &Sink, node: &Node) -> Option<Branding> {
    let fields = Fields::of(sink, node, "branding")?;
    let logo = fields.optional("logo", outside);
    let colour = fields.optional("colour", colour);
    let about = fields.optional("about", decode::text);
    let links = fields.list("links", link);
    let frame_ancestors = fields.list("frame_ancestors", site);
    fields.finish();
    Some(Branding { logo: logo?, colour: colour?, about: about?, links, frame_ancestors })
}

/// A site, as browsers name it: scheme and host, with a port where it is another than usual.
fn site(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::text(sink, node)?;
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_site = host.is_some_and(|host| {
        !host.is_empty() && host.len() <= 260 && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'*'))
    });
    if !is_site {
        sink.error(node.pos, format!("{text:?} is not a site"), Some("write https://example.com, without a path".into()));
        return None;
    }
    Some(text)
}

fn link(sink: &Sink, node: &Node) -> Option<Link> {
    let fields = Fields::of(sink, node, "a link")?;
    let text = fields.required("text", decode::name);
    let url = fields.required("url", outside);
    fields.finish();
    Some(Link { text: text?, url: url? })
}

/// An address that customers' browsers are sent to.
fn outside(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::text(sink, node)?;
    let is_plain = text.starts_with("https://")
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'' | b'<' | b'>' | b';' | b','));
    if !is_plain {
        sink.error(node.pos, format!("{text:?} is not an address on the web"), Some("write https://example.com/path".into()));
        return None;
    }
    Some(text)
}

fn colour(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::text(sink, node)?.to_lowercase();
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|b| b.is_ascii_hexdigit()));
    if digits.is_none() {
        sink.error(node.pos, format!("{text:?} is not a colour"), Some("write \"#1f5fbf\"".into()));
        return None;
    }
    Some(text)
}

fn slug_of(name: &str) -> String {
    let dashed: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    dashed.split('-').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

fn slug(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::name(sink, node)?;
    if text.len() > 60 || slug_of(&text) != text {
        sink.error(node.pos, format!("{text:?} cannot stand in an address"), Some(format!("write {:?}", slug_of(&text))));
        return None;
    }
    Some(text)
}

fn host(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::name(sink, node)?.to_lowercase();
    if text.contains('/') || text.contains(':') || text.contains(' ') {
        sink.error(node.pos, format!("{text:?} is not a host name"), Some("write status.example.com".into()));
        return None;
    }
    Some(text)
}

fn component(fields: &Fields<'_>, sites: &mut Sites) -> Option<Component> {
    let name = fields.required("name", decode::name);
    let page = sites.field(fields, Kind::Page, "page");
    let group = fields.optional("group", decode::name);
    let description = fields.optional("description", decode::text);
    let position = fields.or("position", decode::number::<0, 100_000>, 0);
    let mirror = fields.node("mirror").map(|node| mirror(fields.sink, node, sites));
    let (group, description) = (group?, description?);
    Some(Component { name: name?, page: page?, group, description, position: position?, mirror: mirror.flatten(), extra: Map::new() })
}

fn mirror(sink: &Sink, node: &Node, sites: &mut Sites) -> Option<Mirror> {
    let fields = Fields::of(sink, node, "a mirror")?;
    let channel = sites.field(&fields, Kind::Channel, "channel");
    let component = fields.required("component", path_part);
    fields.finish();
    Some(Mirror { channel: channel?, component: component? })
}

fn status(sink: &Sink, node: &Node) -> Option<ComponentStatus> {
    let known = ComponentStatus::ALL.map(|status| (status.word(), status));
    decode::word(sink, node, &known)
}

fn rule(fields: &Fields<'_>, sites: &mut Sites) -> Option<Rule> {
    let service = sites.field(fields, Kind::Service, "service");
    let component = sites.field(fields, Kind::Component, "component");
    let both = fields.or("status", status, ComponentStatus::DegradedPerformance)?;
    let high = fields.or("high", status, both);
    let low = fields.or("low", status, both);
    let delay = fields.or("delay", decode::span, Span::ZERO);
    let incident = fields.optional("incident", incident_template);
    Some(Rule { service: service?, component: component?, high: high?, low: low?, delay: delay?, incident: incident?, extra: Map::new() })
}

fn incident_template(sink: &Sink, node: &Node) -> Option<IncidentTemplate> {
    let fields = Fields::of(sink, node, "incident")?;
    let name = fields.required("name", decode::name);
    let investigating = fields.or("investigating", decode::text, IncidentTemplate::INVESTIGATING.to_owned());
    let identified = fields.or("identified", decode::text, IncidentTemplate::IDENTIFIED.to_owned());
    let resolved = fields.or("resolved", decode::text, IncidentTemplate::RESOLVED.to_owned());
    fields.finish();
    Some(IncidentTemplate { name: name?, investigating: investigating?, identified: identified?, resolved: resolved? })
}

fn maintenance_window(fields: &Fields<'_>, sites: &mut Sites) -> Option<MaintenanceWindow> {
    let name = fields.required("name", decode::name);
    let services: Vec<ServiceId> = items(fields.node("services")).into_iter().filter_map(|node| sites.service(fields.sink, node)).collect();
    let from = fields.required("from", decode::instant);
    let until = fields.required("until", decode::instant);
    if services.is_empty() {
        fields.required("services", decode::name)?;
    }
    let (from, until) = (from?, until?);
    if let Some(node) = fields.node("until").filter(|_| until <= from) {
        fields.sink.error(node.pos, "a maintenance window must end after its start", None);
        return None;
    }
    Some(MaintenanceWindow { name: name?, services, from, until, extra: Map::new() })
}

fn heartbeat(fields: &Fields<'_>, sites: &mut Sites) -> Option<Heartbeat> {
    let name = fields.required("name", decode::name);
    let service = sites.field(fields, Kind::Service, "service");
    let every = fields.required("every", period);
    let grace = fields.or("grace", decode::span, Span::from_mins(1));
    let paused_until = fields.optional("paused_until", decode::instant);
    Some(Heartbeat { name: name?, service: service?, every: every?, grace: grace?, paused_until: paused_until?, extra: Map::new() })
}

/// How often something calls: a minute to a year, as Healthchecks bounds it.
fn period(sink: &Sink, node: &Node) -> Option<Span> {
    let span = decode::span(sink, node)?;
    if span < Span::from_mins(1) || span > Span::from_mins(365 * 24 * 60) {
        sink.error(node.pos, "a heartbeat comes at least once a year and at most once a minute", Some("write 5m, 1h or 1d".into()));
        return None;
    }
    Some(span)
}

fn location(fields: &Fields<'_>) -> Option<Location> {
    let name = fields.required("name", decode::name);
    let allow = fields.list("allow", cidr);
    let canaries = fields.list("canaries", canary);
    Some(Location { name: name?, allow, canaries, extra: Map::new() })
}

fn canary(sink: &Sink, node: &Node) -> Option<String> {
    let text = decode::name(sink, node)?;
    if text.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
        sink.error(node.pos, format!("{text:?} is not a host and port"), Some("write example.com:443".into()));
        return None;
    }
    Some(text)
}

fn settings(fields: &Fields<'_>, sites: &mut Sites) -> Option<Settings> {
    let operators = match fields.node("operators") {
        Some(node) => Some(sites.service(fields.sink, node)?),
        None => None,
    };
    let heartbeat = fields.optional("heartbeat", web_address)?;
    Some(Settings { operators, heartbeat, extra: Map::new() })
}
