//! The documents: one type per kind, and what all kinds have in common.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Kind;
use crate::apitest::document::Test;
use crate::delivery::{Means, Person};
use crate::escalation::{Policy, Target};
use crate::event::UrgencyRule;
use crate::oncall::Schedule;
use crate::status::{Component, Page, Rule};
use crate::{ChannelId, PolicyId, ServiceId, Span, Timestamp};

/// What incidents belong to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// A sentence about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whom to page.
    pub escalation_policy: PolicyId,
    /// How loud its incidents are.
    #[serde(default)]
    pub urgency: UrgencyRule,
    /// How long an acknowledgement lasts; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledgement_timeout: Option<Span>,
    /// How long an incident may stay open; zero for ever, absent [`Service::auto_resolve_after`] decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_resolve: Option<Span>,
    /// By what monitoring tools send events to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub integrations: Vec<Integration>,
    /// The rooms that are told how its incidents stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rooms: Vec<Room>,
    /// Until when nothing opens on it; nothing for a service that is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Service {
    /// Whether its own pause lasts at `at`. Whether it rests, [`super::Catalog::rests`] knows.
    #[must_use]
    pub fn is_paused(&self, at: Timestamp) -> bool {
        self.paused_until.is_some_and(|until| at < until)
    }

    /// How long an incident may stay open: where the service does not say, four hours if a monitoring tool opened it
    /// (it may never tell that it is over; `PagerDuty`'s default) and for ever if a test did.
    #[must_use]
    pub fn auto_resolve_after(&self, opened_by_event: bool) -> Option<Span> {
        const EVENTS: Span = Span::from_mins(4 * 60);
        self.auto_resolve.or(opened_by_event.then_some(EVENTS)).filter(|after| after.as_micros() > 0)
    }
}

/// The most integrations of a service: a tool needs one.
pub const MOST_INTEGRATIONS: usize = 500;

/// A way in for the events of a monitoring tool. Its key is a credential and stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Integration {
    /// Its name in the service.
    pub name: String,
    /// The environments whose results count, for results of Runscope; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<String>,
    /// The most events that it takes a minute; no bound when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub most_per_minute: Option<u32>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A time in which services rest: no incident opens on them, those that are open go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceWindow {
    /// Its name.
    pub name: String,
    /// The services that rest; at least one.
    pub services: Vec<ServiceId>,
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// Something outside that calls an address of ours regularly. Where it stops, an incident opens. Its key is a credential and
/// stands elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Its name.
    pub name: String,
    /// The service that its incidents open on.
    pub service: ServiceId,
    /// How often it calls.
    pub every: Span,
    /// How much later than that it may call.
    pub grace: Span,
    /// Until when nobody waits for it; nothing for one that is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Heartbeat {
    /// Until when the next call must come, if the last came at `at`.
    #[must_use]
    pub fn due_after(&self, at: Timestamp) -> Timestamp {
        let expected = at.plus(self.every).plus(self.grace);
        self.paused_until.map_or(expected, |until| expected.max(until.plus(self.every).plus(self.grace)))
    }
}

/// A room on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// The account.
    pub channel: ChannelId,
    /// The room: a Slack channel's name or id.
    pub room: String,
}

/// An account at a provider, through which messages leave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// The provider and its settings.
    #[serde(flatten)]
    pub account: Account,
    /// Internal addresses that it may call, in CIDR form; none by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// The channel that takes over when this one fails, and that carries every fourth incident so that it is known to work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub second: Option<ChannelId>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A provider with its settings. Secrets are named, never inlined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// Slack, by a bot token.
    Slack(SlackAccount),
    /// Twilio, for text messages and phone calls.
    Twilio(TwilioAccount),
    /// A mail server.
    Smtp(SmtpAccount),
    /// Anybody's HTTP endpoint, signed as Standard Webhooks has it.
    Webhook(WebhookAccount),
    /// Slack, by an incoming webhook: one room, no buttons.
    SlackWebhook(SlackWebhookAccount),
    /// The real PagerDuty: incidents go there as events, and answers come from there.
    Pagerduty(PagerdutyAccount),
    /// The real StatusPage: components show there as they show here.
    Statuspage(StatuspageAccount),
}

impl Account {
    /// The word for what carries a message. With the channel it names a carrier, which has its own send slots and breaker.
    #[must_use]
    pub const fn class(&self, by: Means) -> &'static str {
        match (self, by) {
            (Self::Slack(_) | Self::SlackWebhook(_), _) => "slack",
            (Self::Twilio(_), Means::Text) => "sms",
            (Self::Twilio(_), Means::Call) => "voice",
            (Self::Smtp(_), _) => "email",
            (Self::Webhook(_), _) => "webhook",
            (Self::Pagerduty(_), _) => "pagerduty",
            (Self::Statuspage(_), _) => "statuspage",
        }
    }

    /// Whether it can ring somebody.
    #[must_use]
    pub const fn can_call(&self) -> bool {
        matches!(self, Self::Twilio(_))
    }

    /// Whether a message can be changed after it was sent. Elsewhere a change is a message of its own.
    #[must_use]
    pub const fn can_update(&self) -> bool {
        matches!(self, Self::Slack(_))
    }

    /// Whether the provider tells later that a message arrived.
    #[must_use]
    pub const fn sends_receipts(&self) -> bool {
        matches!(self, Self::Twilio(_))
    }

    /// Whether a program reads its messages: then each goes by itself, says how things stood when it was written, and none is
    /// left out because a newer one says more.
    #[must_use]
    pub const fn is_for_programs(&self) -> bool {
        matches!(self, Self::Webhook(_) | Self::Pagerduty(_) | Self::Statuspage(_))
    }

    /// Whether it can be told of incidents at all; the others show components.
    #[must_use]
    pub const fn takes_incidents(&self) -> bool {
        !matches!(self, Self::Statuspage(_))
    }

    /// Whether somebody can be reached through it.
    #[must_use]
    pub const fn reaches_people(&self) -> bool {
        !matches!(self, Self::Pagerduty(_) | Self::Statuspage(_))
    }

    /// What the provider counts messages by, and how many it takes at once before they must keep to
    /// about one a second.
    #[must_use]
    pub fn pace<'a>(&self, address: &'a str) -> Pace<'a> {
        let burst = match self {
            // Slack lets short bursts into a channel pass; what waits for a person goes as one.
            Self::Slack(_) if crate::forms::is_slack_person(address) && !address.starts_with('C') => Some(1),
            Self::Slack(_) | Self::SlackWebhook(_) => Some(4),
            Self::Twilio(_) | Self::Smtp(_) | Self::Statuspage(_) => Some(1),
            Self::Webhook(_) | Self::Pagerduty(_) => None,
        };
        // These count by the key of the account, whatever the message is about.
        let by_key = matches!(self, Self::Statuspage(_) | Self::Pagerduty(_) | Self::Webhook(_));
        Pace { key: if by_key { "" } else { address }, burst }
    }

    /// Whether a message that is not taken is tried again over days: a program cannot know what it
    /// missed.
    #[must_use]
    pub const fn is_tried_over_days(&self) -> bool {
        matches!(self, Self::Webhook(_))
    }

    /// Whether the receiver drops a repeated message by itself. Neither Slack's `chat.postMessage` nor Twilio's resources
    /// take an idempotency key, and a mail server does not look at the message's id; Standard Webhooks asks receivers to,
    /// `PagerDuty` knows an alert by its dedup key, and a component's status may be set twice.
    #[must_use]
    pub const fn is_idempotent(&self) -> bool {
        matches!(self, Self::Webhook(_) | Self::Pagerduty(_) | Self::Statuspage(_))
    }
}

/// How fast a provider takes messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace<'a> {
    /// What they are counted by: an address, or nothing for the whole account.
    pub key: &'a str,
    /// How many it takes at once before they must keep to one a second; no bound where there is none.
    pub burst: Option<usize>,
}

/// Slack's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlackAccount {
    /// The bot token: `{{secret.NAME}}`.
    pub token: String,
    /// The signing secret of the app: `{{secret.NAME}}`.
    pub signing_secret: String,
    /// Where its API is; Slack's own by default.
    #[serde(default = "slack_api")]
    pub api: String,
}

fn slack_api() -> String {
    "https://slack.com/api".to_owned()
}

/// Twilio's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TwilioAccount {
    /// The account's id.
    pub account_sid: String,
    /// The account's token: `{{secret.NAME}}`.
    pub auth_token: String,
    /// The number that messages come from.
    pub from: String,
    /// Where its API is; Twilio's own by default.
    #[serde(default = "twilio_api")]
    pub api: String,
}

fn twilio_api() -> String {
    "https://api.twilio.com".to_owned()
}

/// A mail server's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmtpAccount {
    /// Its name or address.
    pub host: String,
    /// Its port; the usual one for `tls` when absent: 587, 465 or 25.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How the way to it is encrypted.
    #[serde(default)]
    pub tls: SmtpTls,
    /// Who sends: `AllClear <allclear@example.com>` or the bare address.
    pub from: String,
    /// The user's name; without one nobody signs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password: `{{secret.NAME}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// Certificates in PEM form that are trusted besides the system's, for a server of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

impl SmtpAccount {
    /// The port that is called.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(match self.tls {
            SmtpTls::Starttls => 587,
            SmtpTls::Implicit => 465,
            SmtpTls::None => 25,
        })
    }
}

/// How the way to a mail server is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SmtpTls {
    /// By STARTTLS, without which nothing is sent.
    #[default]
    Starttls,
    /// From the first byte.
    Implicit,
    /// Not at all.
    None,
}

/// An HTTP endpoint's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookAccount {
    /// Where to post; may be a secret.
    pub url: String,
    /// What messages are signed with: `{{secret.NAME}}`, whose value may be in the form `whsec_…`.
    pub secret: String,
}

/// An incoming webhook's settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlackWebhookAccount {
    /// Where to post: `{{secret.NAME}}`, because whoever knows it can post.
    pub url: String,
}

/// The real `PagerDuty`'s settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagerdutyAccount {
    /// The integration key of the service that incidents go to: `{{secret.NAME}}`.
    pub routing_key: String,
    /// The secret of the webhook subscription by which answers come back: `{{secret.NAME}}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_secret: Option<String>,
    /// Where its Events API is; its own by default.
    #[serde(default = "pagerduty_api")]
    pub api: String,
}

fn pagerduty_api() -> String {
    "https://events.pagerduty.com".to_owned()
}

/// The real `StatusPage`'s settings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatuspageAccount {
    /// The API key: `{{secret.NAME}}`.
    pub api_key: String,
    /// The page's id there.
    pub page: String,
    /// Where its API is; its own by default.
    #[serde(default = "statuspage_api")]
    pub api: String,
}

fn statuspage_api() -> String {
    "https://api.statuspage.io".to_owned()
}

/// Where tests run from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Its name; `local` is this server.
    pub name: String,
    /// Internal addresses that its tests may call, in CIDR form; none by default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// Two addresses whose failing shows that the fault is ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub canaries: Vec<String>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Location {
    /// A location without any settings.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), allow: vec![], canaries: vec![], extra: Map::new() }
    }
}

/// What concerns the whole server. There is one such document, named `server`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Settings {
    /// The service that is told of AllClear's own trouble.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operators: Option<ServiceId>,
    /// An address outside that hears every half minute that all is well here, and alarms when it does not; may be a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<String>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A document of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Document {
    /// An account at a provider.
    Channel(Channel),
    /// Somebody.
    Person(Person),
    /// People taking turns.
    Schedule(Schedule),
    /// Whom to page, and then whom.
    EscalationPolicy(Policy),
    /// What incidents belong to.
    Service(Service),
    /// An API test.
    Test(Box<Test>),
    /// A status page.
    Page(Page),
    /// A part of a status page.
    Component(Component),
    /// Service to component.
    Rule(Rule),
    /// When services rest.
    MaintenanceWindow(MaintenanceWindow),
    /// What calls us regularly.
    Heartbeat(Heartbeat),
    /// Where tests run from.
    Location(Location),
    /// What concerns the whole server.
    Settings(Settings),
}

/// A stored body that this version cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the {kind} document cannot be read")]
pub struct NotADocument {
    /// The kind that it was stored as.
    pub kind: &'static str,
    /// What is wrong with it.
    #[source]
    pub source: serde_json::Error,
}

/// The field that names what a document was called before.
const RENAMED_FROM: &str = "renamed_from";

macro_rules! accessors {
    ($($name:ident: $variant:ident => $type:ty),* $(,)?) => {$(
        /// The document, if it is of this kind.
        #[must_use]
        pub fn $name(&self) -> Option<&$type> {
            if let Self::$variant(document) = self { Some(document) } else { None }
        }
    )*};
}

impl Document {
    accessors! {
        as_channel: Channel => Channel, as_person: Person => Person, as_schedule: Schedule => Schedule,
        as_policy: EscalationPolicy => Policy, as_service: Service => Service, as_test: Test => Test,
        as_page: Page => Page, as_component: Component => Component, as_rule: Rule => Rule,
        as_window: MaintenanceWindow => MaintenanceWindow, as_heartbeat: Heartbeat => Heartbeat,
        as_location: Location => Location, as_settings: Settings => Settings,
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Channel(_) => Kind::Channel,
            Self::Person(_) => Kind::Person,
            Self::Schedule(_) => Kind::Schedule,
            Self::EscalationPolicy(_) => Kind::EscalationPolicy,
            Self::Service(_) => Kind::Service,
            Self::Test(_) => Kind::Test,
            Self::Page(_) => Kind::Page,
            Self::Component(_) => Kind::Component,
            Self::Rule(_) => Kind::Rule,
            Self::MaintenanceWindow(_) => Kind::MaintenanceWindow,
            Self::Heartbeat(_) => Kind::Heartbeat,
            Self::Location(_) => Kind::Location,
            Self::Settings(_) => Kind::Settings,
        }
    }

    /// What tells it from others of its kind: its name; a test's with its bucket, a component's with its page, a
    /// rule's service and component.
    #[must_use]
    pub fn identity(&self) -> String {
        match self {
            Self::Channel(d) => d.name.clone(),
            Self::Person(d) => d.name.clone(),
            Self::Schedule(d) => d.name.clone(),
            Self::EscalationPolicy(d) => d.name.clone(),
            Self::Service(d) => d.name.clone(),
            Self::Test(d) => format!("{}/{}", d.bucket, d.name),
            Self::Page(d) => d.name.clone(),
            Self::Component(d) => d.name.clone(),
            Self::Rule(d) => format!("{} -> {}", d.service, d.component),
            Self::MaintenanceWindow(d) => d.name.clone(),
            Self::Heartbeat(d) => d.name.clone(),
            Self::Location(d) => d.name.clone(),
            Self::Settings(_) => "server".to_owned(),
        }
    }

    /// The name that people use.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Test(test) => test.name.clone(),
            Self::Channel(_)
            | Self::Person(_)
            | Self::Schedule(_)
            | Self::EscalationPolicy(_)
            | Self::Service(_)
            | Self::Page(_)
            | Self::Component(_)
            | Self::Rule(_)
            | Self::MaintenanceWindow(_)
            | Self::Heartbeat(_)
            | Self::Location(_)
            | Self::Settings(_) => self.identity(),
        }
    }

    /// The identity that this had under the name before, where a file says that it was renamed.
    #[must_use]
    pub fn renamed_from(&self) -> Option<String> {
        let name = self.extra().get(RENAMED_FROM)?.as_str()?;
        let bucket = self.as_test().map(|test| format!("{}/", test.bucket));
        Some(format!("{}{name}", bucket.unwrap_or_default()))
    }

    /// Says that this had another name before.
    #[must_use]
    pub fn once_named(mut self, name: String) -> Self {
        self.extra_mut().insert(RENAMED_FROM.to_owned(), name.into());
        self
    }

    const fn extra(&self) -> &Map<String, Value> {
        match self {
            Self::Channel(d) => &d.extra,
            Self::Person(d) => &d.extra,
            Self::Schedule(d) => &d.extra,
            Self::EscalationPolicy(d) => &d.extra,
            Self::Service(d) => &d.extra,
            Self::Test(d) => &d.extra,
            Self::Page(d) => &d.extra,
            Self::Component(d) => &d.extra,
            Self::Rule(d) => &d.extra,
            Self::MaintenanceWindow(d) => &d.extra,
            Self::Heartbeat(d) => &d.extra,
            Self::Location(d) => &d.extra,
            Self::Settings(d) => &d.extra,
        }
    }

    const fn extra_mut(&mut self) -> &mut Map<String, Value> {
        match self {
            Self::Channel(d) => &mut d.extra,
            Self::Person(d) => &mut d.extra,
            Self::Schedule(d) => &mut d.extra,
            Self::EscalationPolicy(d) => &mut d.extra,
            Self::Service(d) => &mut d.extra,
            Self::Test(d) => &mut d.extra,
            Self::Page(d) => &mut d.extra,
            Self::Component(d) => &mut d.extra,
            Self::Rule(d) => &mut d.extra,
            Self::MaintenanceWindow(d) => &mut d.extra,
            Self::Heartbeat(d) => &mut d.extra,
            Self::Location(d) => &mut d.extra,
            Self::Settings(d) => &mut d.extra,
        }
    }

    /// The stored form.
    ///
    /// # Errors
    /// A document with a value that JSON cannot hold.
    pub fn to_json(&self) -> Result<Value, serde_json::Error> {
        match self {
            Self::Channel(d) => serde_json::to_value(d),
            Self::Person(d) => serde_json::to_value(d),
            Self::Schedule(d) => serde_json::to_value(d),
            Self::EscalationPolicy(d) => serde_json::to_value(d),
            Self::Service(d) => serde_json::to_value(d),
            Self::Test(d) => serde_json::to_value(d),
            Self::Page(d) => serde_json::to_value(d),
            Self::Component(d) => serde_json::to_value(d),
            Self::Rule(d) => serde_json::to_value(d),
            Self::MaintenanceWindow(d) => serde_json::to_value(d),
            Self::Heartbeat(d) => serde_json::to_value(d),
            Self::Location(d) => serde_json::to_value(d),
            Self::Settings(d) => serde_json::to_value(d),
        }
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// [`NotADocument`] where the body does not fit its kind.
    pub fn from_json(kind: Kind, body: Value) -> Result<Self, NotADocument> {
        let read = match kind {
            Kind::Channel => serde_json::from_value(body).map(Self::Channel),
            Kind::Person => serde_json::from_value(body).map(Self::Person),
            Kind::Schedule => serde_json::from_value(body).map(Self::Schedule),
            Kind::EscalationPolicy => serde_json::from_value(body).map(Self::EscalationPolicy),
            Kind::Service => serde_json::from_value(body).map(Self::Service),
            Kind::Test => serde_json::from_value(body).map(|test| Self::Test(Box::new(test))),
            Kind::Page => serde_json::from_value(body).map(Self::Page),
            Kind::Component => serde_json::from_value(body).map(Self::Component),
            Kind::Rule => serde_json::from_value(body).map(Self::Rule),
            Kind::MaintenanceWindow => serde_json::from_value(body).map(Self::MaintenanceWindow),
            Kind::Heartbeat => serde_json::from_value(body).map(Self::Heartbeat),
            Kind::Location => serde_json::from_value(body).map(Self::Location),
            Kind::Settings => serde_json::from_value(body).map(Self::Settings),
        };
        read.map_err(|source| NotADocument { kind: kind.word(), source })
    }

    /// Every reference to another document, for turning names into ids and back.
    pub fn references(&mut self) -> Vec<(Kind, &mut String)> {
        match self {
            Self::Page(_) | Self::Location(_) => vec![],
            Self::Channel(d) => d.second.iter_mut().map(|second| (Kind::Channel, &mut second.0)).collect(),
            Self::Person(d) => d.contact_methods.iter_mut().map(|m| (Kind::Channel, &mut m.channel.0)).collect(),
            Self::Schedule(d) => {
                let overrides = d.overrides.iter_mut().map(|o| (Kind::Person, &mut o.person.0));
                d.people.iter_mut().map(|p| (Kind::Person, &mut p.0)).chain(overrides).collect()
            }
            Self::EscalationPolicy(d) => d.levels.iter_mut().flat_map(|l| &mut l.targets).map(target).collect(),
            Self::Service(d) => {
                let rooms = d.rooms.iter_mut().map(|room| (Kind::Channel, &mut room.channel.0));
                std::iter::once((Kind::EscalationPolicy, &mut d.escalation_policy.0)).chain(rooms).collect()
            }
            Self::Test(d) => {
                let notify = d.environments.values_mut().filter_map(|e| e.notify.as_mut());
                notify.map(|notify| (Kind::Service, &mut notify.service.0)).collect()
            }
            Self::Component(d) => {
                let mirror = d.mirror.iter_mut().map(|mirror| (Kind::Channel, &mut mirror.channel.0));
                std::iter::once((Kind::Page, &mut d.page.0)).chain(mirror).collect()
            }
            Self::MaintenanceWindow(d) => d.services.iter_mut().map(|service| (Kind::Service, &mut service.0)).collect(),
            Self::Heartbeat(d) => vec![(Kind::Service, &mut d.service.0)],
            Self::Rule(d) => vec![(Kind::Service, &mut d.service.0), (Kind::Component, &mut d.component.0)],
            Self::Settings(d) => d.operators.iter_mut().map(|service| (Kind::Service, &mut service.0)).collect(),
        }
    }
}

fn target(target: &mut Target) -> (Kind, &mut String) {
    match target {
        Target::Person(person) => (Kind::Person, &mut person.0),
        Target::Schedule(schedule) => (Kind::Schedule, &mut schedule.0),
    }
}
