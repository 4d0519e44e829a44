//! Messages on their way: who is told by which method and when, whether a message is still wanted when its turn
//! comes, and what follows from a provider's answer.
//!
//! A delivery is written in the commit of the change that it tells of. Its lane is (incident, recipient, method):
//! only the oldest unfinished delivery of a lane may be sent.

mod breaker;
mod carrier;
mod message;
mod outcome;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use breaker::{Breaker, FAILURES_UNTIL_OPEN};
pub use carrier::{EXERCISED_EVERY, carrier_of, receipts_stopped};
pub use message::{Brief, EventLink, Message, News};
pub use outcome::{MOST_ATTEMPTS, Outcome, Settled, Way, backoff, settle};

use crate::incident::{Incident, LogKind, NotifyReason, State, Urgency};
use crate::{ChannelId, ComponentId, DeliveryId, IncidentId, PersonId, ServiceId, Span, Timestamp};

/// Somebody who can be told something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Person {
    /// Their name.
    pub name: String,
    /// Their e-mail address, by which the API knows them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// Their IANA time zone; the server's when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// What they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_title: Option<String>,
    /// What they may do in the app.
    #[serde(default, skip_serializing_if = "Role::is_responder")]
    pub role: Role,
    /// How they can be reached.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contact_methods: Vec<ContactMethod>,
    /// When to use which method; without any, every method at once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notification_rules: Vec<NotificationRule>,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// What somebody may do in the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Observer,
    /// Look, and work on incidents.
    #[default]
    Responder,
    /// That, and change the configuration.
    Admin,
    /// Everything.
    Owner,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 4] = [Self::Observer, Self::Responder, Self::Admin, Self::Owner];

    const fn is_responder(&self) -> bool {
        matches!(self, Self::Responder)
    }

    /// The word used in files.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Observer => "observer",
            Self::Responder => "responder",
            Self::Admin => "admin",
            Self::Owner => "owner",
        }
    }
}

/// By what means a channel reaches somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Means {
    /// Something to read.
    #[default]
    Text,
    /// A phone call.
    Call,
}

impl Means {
    const fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }
}

/// One way to reach a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactMethod {
    /// What rules call it: `mobile`.
    pub name: String,
    /// The channel that carries the message.
    pub channel: ChannelId,
    /// The address on that channel: a number in E.164 form, a Slack user id.
    pub address: String,
    /// By what means.
    #[serde(default, skip_serializing_if = "Means::is_text")]
    pub by: Means,
    /// Its id in the API, where it was made or changed there; otherwise it follows from its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// When a contact method is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotificationRule {
    /// For incidents of this urgency.
    pub urgency: Urgency,
    /// The contact method's name.
    pub method: String,
    /// How long after being assigned.
    #[serde(default)]
    pub after: Span,
    /// Its id in the API, where it was made or changed there; otherwise it follows from what it says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A message that a person's rules ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned<'a> {
    /// By what.
    pub method: &'a ContactMethod,
    /// When.
    pub at: Timestamp,
}

/// What a person's rules ask for when they are paged at `at`. Never empty where there is a contact method: with
/// no rule for the urgency, every method is used at once.
#[must_use]
pub fn plan_pages(person: &Person, urgency: Urgency, at: Timestamp) -> Vec<Planned<'_>> {
    let by_rule = |rule: &NotificationRule| {
        let method = person.contact_methods.iter().find(|method| method.name == rule.method)?;
        (rule.urgency == urgency).then(|| Planned { method, at: at.plus(rule.after) })
    };
    let planned: Vec<Planned<'_>> = person.notification_rules.iter().filter_map(by_rule).collect();
    if planned.is_empty() { person.contact_methods.iter().map(|method| Planned { method, at }).collect() } else { planned }
}

/// Whom a message is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "to", rename_all = "snake_case")]
pub enum Recipient {
    /// A person.
    Person {
        /// Who.
        person: PersonId,
    },
    /// A service's channel: a room that many read.
    Room {
        /// The service whose room it is.
        service: ServiceId,
    },
    /// Another page that shows one of our components.
    Mirror {
        /// The component.
        component: ComponentId,
    },
    /// Whoever pressed a button; AllClear may not know them.
    Presser {
        /// Their id at the provider.
        user: String,
    },
}

impl Recipient {
    /// A short text that names the recipient within a lane.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Person { person } => format!("person:{person}"),
            Self::Room { service } => format!("room:{service}"),
            Self::Mirror { component } => format!("mirror:{component}"),
            Self::Presser { user } => format!("presser:{user}"),
        }
    }
}

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Get somebody to act.
    Page,
    /// A room's view of how the incident stands; a later one supersedes an earlier one not yet sent.
    State,
    /// A line under a room's message: what changed.
    Note,
    /// It is over.
    AllClear,
    /// A component's status as it is; a later one supersedes an earlier one not yet sent.
    Mirror,
    /// A call need not ring any more.
    HangUp,
    /// A message about how a person is reached: a test, or a warning that a number takes no texts any
    /// more.
    Notice,
    /// The answer to a button that somebody pressed, for their eyes only.
    Reply,
}

impl Purpose {
    /// The word for it, as stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Page => "page",
            Self::State => "state",
            Self::Note => "note",
            Self::AllClear => "all_clear",
            Self::Mirror => "mirror",
            Self::HangUp => "hang_up",
            Self::Notice => "notice",
            Self::Reply => "reply",
        }
    }
}

/// What a message tells of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// An incident.
    Incident(IncidentId),
    /// A component that somebody set by hand.
    Component(ComponentId),
    /// How a person is reached.
    Person(PersonId),
}

impl About {
    /// The incident, if it is about one.
    #[must_use]
    pub const fn incident(&self) -> Option<&IncidentId> {
        match self {
            Self::Incident(id) => Some(id),
            Self::Component(_) | Self::Person(_) => None,
        }
    }

    /// A short text that tells it from everything else that a message can be about.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Incident(id) => id.0.clone(),
            Self::Component(id) => format!("component:{id}"),
            Self::Person(id) => format!("person:{id}"),
        }
    }
}

/// One message for one recipient by one method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Its id; providers see it as the idempotency key and in callbacks.
    pub id: DeliveryId,
    /// What it tells of.
    #[serde(flatten)]
    pub about: About,
    /// Whom it is for.
    pub recipient: Recipient,
    /// The channel that carries it.
    pub channel: ChannelId,
    /// The address on that channel.
    pub address: String,
    /// By what means.
    #[serde(default, skip_serializing_if = "Means::is_text")]
    pub by: Means,
    /// What it is for.
    pub purpose: Purpose,
    /// Why this recipient is told, for a page.
    pub why: Option<NotifyReason>,
    /// The level and pass whose page it is, for a page.
    pub position: Option<(usize, u32)>,
    /// What tells the incident from others where it is linked to: messages about it keep their order over several incidents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thread: Option<String>,
    /// The incident's status when this was written, in a message for a program that an earlier version
    /// wrote; now `told` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stood: Option<String>,
    /// What a program is told, as it was when this was written: a repeat under the same id says the
    /// same. People are told how things stand when the message goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Box<Brief>>,
    /// The provider's reference of what this ends or changes: a call, or a message to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
    /// What changed, for a message that tells of a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub news: Option<LogKind>,
    /// What it says, where it is not about an incident.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// Not before.
    pub due_at: Timestamp,
    /// Attempts begun.
    pub attempts: u32,
}

impl Delivery {
    /// The lane in which it waits its turn.
    #[must_use]
    pub fn lane(&self) -> String {
        if let Some(thread) = &self.thread {
            return format!("{}|{}|{thread}", self.channel, self.address);
        }
        if self.purpose == Purpose::Reply {
            // Each press is answered for itself.
            return format!("{}|{}", self.channel, self.id);
        }
        if let Some(sent) = &self.ends {
            return format!("{}|{sent}", self.channel);
        }
        match (&self.recipient, self.by) {
            // What a component shows is one thing, whatever incident changed it.
            (Recipient::Mirror { .. }, _) => format!("{}|{}", self.recipient.key(), self.channel),
            (_, Means::Text) => self.destination(),
            (_, Means::Call) => format!("{}|call", self.destination()),
        }
    }

    /// Whom it reaches where, by whatever means.
    #[must_use]
    pub fn destination(&self) -> String {
        format!("{}|{}|{}|{}", self.about.key(), self.recipient.key(), self.channel, self.address)
    }
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waits for its turn or its time.
    Pending,
    /// An attempt is under way.
    Claimed,
    /// The provider took it; whether it arrived is not known.
    Accepted,
    /// It arrived.
    Delivered,
    /// The provider could not deliver it.
    Undelivered,
    /// It never will be sent.
    Failed,
    /// It was no longer wanted before it was sent.
    Cancelled,
    /// Nobody knows whether the provider took it.
    Unknown,
    /// Tried as often as allowed; the operators are told.
    Parked,
}

impl Status {
    /// The word for it, as stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::Parked => "parked",
        }
    }

    /// The status with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        const ALL: [Status; 9] = [
            Status::Pending,
            Status::Claimed,
            Status::Accepted,
            Status::Delivered,
            Status::Undelivered,
            Status::Failed,
            Status::Cancelled,
            Status::Unknown,
            Status::Parked,
        ];
        ALL.into_iter().find(|status| status.word() == word)
    }

    /// Whether it holds its lane.
    #[must_use]
    pub const fn is_unfinished(self) -> bool {
        matches!(self, Self::Pending | Self::Claimed)
    }

    /// Whether the recipient may have seen it.
    #[must_use]
    pub const fn may_have_been_seen(self) -> bool {
        matches!(self, Self::Claimed | Self::Accepted | Self::Delivered | Self::Unknown)
    }

    /// Whether it is certain that it did not arrive and will not.
    #[must_use]
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::Undelivered | Self::Failed | Self::Parked)
    }
}

/// What can be wrong with a channel, or with one address on it, as its provider said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelFinding {
    /// The endpoint is gone for good; nothing more is sent to it.
    Gone,
    /// Its credential, account or permission is refused.
    Broken,
    /// The receiver answers and does not take what it is sent.
    Refusing,
    /// The number answered STOP: its carrier lets no text through. Calls still ring.
    OptedOut,
}

impl ChannelFinding {
    const ALL: [Self; 4] = [Self::Gone, Self::Broken, Self::Refusing, Self::OptedOut];

    /// The word for it, as stored.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Broken => "broken",
            Self::Refusing => "refusing",
            Self::OptedOut => "opted_out",
        }
    }

    /// The finding with this word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|finding| finding.word() == word)
    }

    /// What an outcome finds of its channel; nothing where it finds nothing wrong with it.
    #[must_use]
    pub const fn of(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Gone { .. } => Some(Self::Gone),
            Outcome::ChannelBroken { .. } => Some(Self::Broken),
            Outcome::Deferred { .. } => Some(Self::Refusing),
            Outcome::Accepted { .. }
            | Outcome::Retry { .. }
            | Outcome::RateLimited { .. }
            | Outcome::Permanent { .. }
            | Outcome::LocalFault { .. }
            | Outcome::Unknown { .. } => None,
        }
    }
}

/// What a provider reports later of a message that it took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Receipt {
    /// It arrived.
    Arrived,
    /// It did not.
    Lost {
        /// Why, if the provider said so.
        why: Option<String>,
    },
    /// A call was picked up and ended, and no key was pressed: it may have been a mailbox.
    EndedWithoutKey,
}

impl Receipt {
    /// Whether a message of this purpose counts as arrived, and why it does not. A page needs a key; what
    /// was only to be said was said.
    #[must_use]
    pub fn arrived(&self, purpose: Purpose) -> (bool, Option<String>) {
        match self {
            Self::Arrived => (true, None),
            Self::Lost { why } => (false, why.clone()),
            Self::EndedWithoutKey if purpose == Purpose::Notice => (true, None),
            Self::EndedWithoutKey => (false, Some("the call ended and no key was pressed".to_owned())),
        }
    }
}

/// Why a call did not arrive that somebody else's answer ended.
pub const STOPPED_RINGING: &str = "it was not needed any more and stopped ringing";

/// Whether a delivery whose turn has come is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Send it.
    Yes,
    /// Do not.
    No(Unwanted),
}

/// Why a delivery is no longer wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unwanted {
    /// Somebody acknowledged.
    Acknowledged,
    /// The incident is over.
    Resolved,
    /// A newer message says more.
    Superseded,
    /// The incident moved on to other people.
    AnotherLevel,
}

impl Unwanted {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Acknowledged => "somebody acknowledged",
            Self::Resolved => "the incident was over",
            Self::Superseded => "a newer message says more",
            Self::AnotherLevel => "the incident moved on to other people",
        }
    }
}

/// Looks at a delivery against the incident as it is now. The answer and the attempt's intent are one commit.
#[must_use]
pub fn wanted(delivery: &Delivery, incident: &Incident) -> Wanted {
    match (delivery.purpose, &incident.state) {
        (Purpose::Page, State::Acknowledged(_)) => Wanted::No(Unwanted::Acknowledged),
        (Purpose::Page, State::Resolved(_)) => Wanted::No(Unwanted::Resolved),
        (Purpose::Page, State::Triggered(_))
        | (Purpose::State | Purpose::Note | Purpose::AllClear | Purpose::Mirror | Purpose::HangUp | Purpose::Notice | Purpose::Reply, _) => {
            Wanted::Yes
        }
    }
}

#[cfg(test)]
mod tests;
