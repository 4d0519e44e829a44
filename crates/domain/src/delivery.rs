//! Messages on their way: who is told by which method and when, whether a message is still wanted when its turn
//! comes, and what follows from a provider's answer.
//!
//! A delivery is written in the commit of the change that it tells of. Its lane is (incident, recipient, method):
//! only the oldest unfinished delivery of a lane may be sent.

mod breaker;
mod carrier;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use breaker::{Breaker, FAILURES_UNTIL_OPEN};
pub use carrier::{EXERCISED_EVERY, carrier_of, receipts_stopped};

use crate::incident::{Incident, NotifyReason, State, Urgency};
use crate::status::ComponentStatus;
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
}

impl Recipient {
    /// A short text that names the recipient within a lane.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Person { person } => format!("person:{person}"),
            Self::Room { service } => format!("room:{service}"),
            Self::Mirror { component } => format!("mirror:{component}"),
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
}

impl About {
    /// The incident, if it is about one.
    #[must_use]
    pub const fn incident(&self) -> Option<&IncidentId> {
        match self {
            Self::Incident(id) => Some(id),
            Self::Component(_) => None,
        }
    }

    /// A short text that tells it from everything else that a message can be about.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Incident(id) => id.0.clone(),
            Self::Component(id) => format!("component:{id}"),
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
    /// The incident's status when this was written, where a program reads it; people are told how it stands now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stood: Option<String>,
    /// The provider's reference of what this ends or changes: a call, or a message to a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
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
        | (Purpose::State | Purpose::Note | Purpose::AllClear | Purpose::Mirror | Purpose::HangUp, _) => Wanted::Yes,
    }
}

/// A provider's answer, as far as it decides what follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it.
    Accepted {
        /// Its reference.
        provider_id: String,
    },
    /// Try again.
    Retry {
        /// Why.
        why: String,
        /// Not before this long, if the provider said so.
        after: Option<Span>,
        /// Whether this attempt may have had its effect all the same; then the next may be a repeat.
        may_have_worked: bool,
    },
    /// It can never succeed.
    Permanent {
        /// Why.
        why: String,
    },
    /// The request may have been taken; no answer came.
    Unknown {
        /// What happened instead.
        why: String,
    },
}

/// What follows from an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// Finished, as this status.
    Finished {
        /// The status.
        status: Status,
        /// Why, if it did not arrive.
        why: Option<String>,
    },
    /// Again at this time.
    Again {
        /// When.
        at: Timestamp,
        /// Why.
        why: String,
        /// Whether the message must say that it may be a repeat.
        possible_repeat: bool,
    },
}

/// The most attempts per delivery: with the back-off below, about 40 minutes of a provider's outage. Escalation
/// goes on meanwhile, so more would only page about what is long known.
pub const MOST_ATTEMPTS: u32 = 12;

/// The most times that a page of unknown fate is sent again: at most one extra page per lost answer.
const MOST_REPEATS_OF_UNKNOWN: u32 = 3;

/// How often two channels are asked for a message that they refuse, together.
const MOST_REFUSALS_BY_TWO: u32 = 4;

/// How often a call is told to stop ringing: it stops by itself before a third time.
const MOST_HANG_UPS: u32 = 2;

/// The longest pause between two attempts.
const LONGEST_BACKOFF: Span = Span::from_mins(5);

/// The longest pause that a provider may ask for; beyond it another method is quicker.
const LONGEST_ASKED_PAUSE: Span = Span::from_mins(10);

/// How long to wait before attempt `attempts + 1`: 1 s, 2 s, 4 s … at most 5 minutes.
#[must_use]
pub fn backoff(attempts: u32) -> Span {
    Span::from_secs(1_i64 << attempts.saturating_sub(1).min(20)).min(LONGEST_BACKOFF)
}

/// What a decision about an answer depends on besides the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// Whether the provider drops a repeated request by itself: an unknown outcome is then settled by asking again.
    pub idempotent: bool,
    /// Whether another channel can carry the message: what the first one refused goes there at once.
    pub has_second: bool,
}

/// Decides what follows from a provider's answer to attempt number `attempts`.
///
#[must_use]
pub fn settle(delivery: &Delivery, urgency: Urgency, outcome: Outcome, way: Way, at: Timestamp) -> Settled {
    let Way { idempotent, has_second } = way;
    let attempts = delivery.attempts;
    let other_untried = has_second && attempts <= 1;
    // Who drops repeats may be asked as often as who refused.
    let outcome = match outcome {
        Outcome::Unknown { why } if idempotent => Outcome::Retry { why, after: None, may_have_worked: false },
        Outcome::Accepted { .. } | Outcome::Retry { .. } | Outcome::Permanent { .. } | Outcome::Unknown { .. } => outcome,
    };
    match outcome {
        // No receipt follows, and it is no message: it says nothing about how the provider carries those.
        Outcome::Accepted { .. } if delivery.purpose == Purpose::HangUp => Settled::Finished { status: Status::Delivered, why: None },
        Outcome::Retry { why, .. } | Outcome::Permanent { why } | Outcome::Unknown { why }
            if delivery.purpose == Purpose::HangUp && attempts >= MOST_HANG_UPS =>
        {
            Settled::Finished { status: Status::Failed, why: Some(why) }
        }
        Outcome::Accepted { .. } => Settled::Finished { status: Status::Accepted, why: None },
        Outcome::Permanent { why } if other_untried => Settled::Again { at, why, possible_repeat: false },
        Outcome::Retry { why, may_have_worked, .. } if other_untried => Settled::Again { at, why, possible_repeat: may_have_worked },
        // The one that refused may be the one that is broken: each way gets a second try.
        Outcome::Permanent { why } if has_second && attempts < MOST_REFUSALS_BY_TWO => {
            Settled::Again { at: at.plus(backoff(attempts)), why, possible_repeat: false }
        }
        Outcome::Permanent { why } => Settled::Finished { status: Status::Failed, why: Some(why) },
        Outcome::Retry { why, .. } if attempts >= MOST_ATTEMPTS => Settled::Finished { status: Status::Parked, why: Some(why) },
        Outcome::Retry { why, after, may_have_worked } => {
            let pause = after.unwrap_or(Span::ZERO).min(LONGEST_ASKED_PAUSE).max(backoff(attempts));
            Settled::Again { at: at.plus(pause), why, possible_repeat: may_have_worked && !idempotent }
        }
        Outcome::Unknown { why } => {
            let pages = delivery.purpose == Purpose::Page && urgency == Urgency::High;
            let may_repeat = delivery.purpose == Purpose::State || pages;
            if may_repeat && attempts < MOST_REPEATS_OF_UNKNOWN {
                Settled::Again { at: at.plus(backoff(attempts)), why, possible_repeat: true }
            } else {
                Settled::Finished { status: Status::Unknown, why: Some(why) }
            }
        }
    }
}

/// What an incident looks like in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brief {
    /// The incident.
    pub incident: IncidentId,
    /// Its number.
    pub number: i64,
    /// What tells its alert from others: the same for all failures of a test in an environment.
    pub key: String,
    /// What is wrong, in one line.
    pub title: String,
    /// The failing assertion, or what else opened it.
    pub detail: String,
    /// The service's name.
    pub service: String,
    /// How loud it is.
    pub urgency: Urgency,
    /// How it stands: `triggered`, `acknowledged`, `resolved`.
    pub status: String,
    /// Who has it, or why it ended, in words.
    pub remark: String,
    /// Where to read more.
    pub url: Option<String>,
}

/// A message, ready to be put into a provider's form.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// What it is for.
    pub purpose: Purpose,
    /// What it tells of; none where a component was set by hand.
    pub incidents: Vec<Brief>,
    /// How many more it tells of than stand in `incidents`.
    pub more: usize,
    /// The component's id on the other page and its status here, for a mirror.
    pub mirror: Option<(String, ComponentStatus)>,
    /// Whether an earlier attempt may have arrived.
    pub possible_repeat: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delivery(purpose: Purpose, attempts: u32) -> Delivery {
        Delivery {
            id: "d".into(),
            about: About::Incident("Q1".into()),
            recipient: Recipient::Person { person: "Ada".into() },
            channel: "C".into(),
            address: "+4512345678".into(),
            by: Means::Text,
            purpose,
            why: None,
            position: None,
            thread: None,
            stood: None,
            ends: None,
            due_at: Timestamp(0),
            attempts,
        }
    }

    fn person(rules: &[(Urgency, &str, &str)]) -> Person {
        let method =
            |name: &str| ContactMethod { name: name.into(), channel: name.into(), address: name.into(), by: Means::Text, id: None };
        let rule = |(urgency, method, after): &(Urgency, &str, &str)| NotificationRule {
            urgency: *urgency,
            method: (*method).into(),
            after: after.parse().expect("a span"),
            id: None,
        };
        Person {
            time_zone: None,
            job_title: None,
            role: Role::default(),
            name: "Ada".into(),
            email: None,
            contact_methods: vec![method("sms"), method("slack")],
            notification_rules: rules.iter().map(rule).collect(),
            extra: Map::new(),
        }
    }

    #[test]
    fn a_person_is_told_by_the_rules_of_the_urgency() {
        let person = person(&[(Urgency::High, "sms", "0"), (Urgency::High, "slack", "2m"), (Urgency::Low, "slack", "0")]);
        let planned: Vec<_> = plan_pages(&person, Urgency::High, Timestamp(0)).iter().map(|p| (p.method.name.clone(), p.at.0)).collect();
        assert_eq!(planned, [("sms".to_owned(), 0), ("slack".to_owned(), 120_000_000)]);
    }

    #[test]
    fn a_person_without_a_rule_for_the_urgency_is_told_at_once_by_every_method() {
        for person in [person(&[]), person(&[(Urgency::Low, "slack", "0")]), person(&[(Urgency::High, "pager", "0")])] {
            let planned = plan_pages(&person, Urgency::High, Timestamp(7));
            assert_eq!(planned.len(), 2);
            assert!(planned.iter().all(|p| p.at == Timestamp(7)));
        }
    }

    #[test]
    fn an_unknown_outcome_repeats_a_high_page_marked_as_such_and_never_an_all_clear() {
        let unknown = || Outcome::Unknown { why: "time-out".into() };
        let page = settle(&delivery(Purpose::Page, 1), Urgency::High, unknown(), Way::default(), Timestamp(0));
        assert_eq!(page, Settled::Again { at: Timestamp(1_000_000), why: "time-out".into(), possible_repeat: true });
        let low = settle(&delivery(Purpose::Page, 1), Urgency::Low, unknown(), Way::default(), Timestamp(0));
        assert!(matches!(low, Settled::Finished { status: Status::Unknown, .. }));
        let clear = settle(&delivery(Purpose::AllClear, 1), Urgency::High, unknown(), Way::default(), Timestamp(0));
        assert!(matches!(clear, Settled::Finished { status: Status::Unknown, .. }));
    }

    #[test]
    fn after_a_500_that_may_have_worked_the_next_message_says_that_it_may_be_a_repeat() {
        let failed = |may_have_worked| Outcome::Retry { why: "answered 500".into(), after: None, may_have_worked };
        for (worked, has_second, idempotent, repeat) in [
            (true, false, false, true),
            (true, true, false, true),
            (true, false, true, false),
            (false, false, false, false),
            (false, true, false, false),
        ] {
            let way = Way { idempotent, has_second };
            let next = settle(&delivery(Purpose::Page, 1), Urgency::High, failed(worked), way, Timestamp(0));
            assert!(matches!(&next, Settled::Again { possible_repeat, .. } if *possible_repeat == repeat), "{next:?}");
        }
    }

    #[test]
    fn what_the_first_channel_refuses_goes_to_the_second_at_once_and_each_is_asked_twice() {
        let refused = || Outcome::Permanent { why: "account suspended".into() };
        let way = Way { idempotent: false, has_second: true };
        let first = settle(&delivery(Purpose::Page, 1), Urgency::High, refused(), way, Timestamp(7));
        assert!(matches!(first, Settled::Again { at: Timestamp(7), possible_repeat: false, .. }), "{first:?}");
        let second = settle(&delivery(Purpose::Page, 2), Urgency::High, refused(), way, Timestamp(7));
        assert!(matches!(second, Settled::Again { at: Timestamp(2_000_007), .. }), "the second may be the broken one: {second:?}");
        let fourth = settle(&delivery(Purpose::Page, 4), Urgency::High, refused(), way, Timestamp(7));
        assert!(matches!(fourth, Settled::Finished { status: Status::Failed, .. }), "{fourth:?}");
    }

    #[test]
    fn a_call_is_told_to_stop_ringing_at_most_twice_and_that_is_no_message() {
        let outcomes = [
            Outcome::Retry { why: "answered 500".into(), after: None, may_have_worked: true },
            Outcome::Unknown { why: "time-out".into() },
            Outcome::Permanent { why: "it is over".into() },
        ];
        for outcome in outcomes {
            let last = settle(&delivery(Purpose::HangUp, 2), Urgency::High, outcome, Way::default(), Timestamp(0));
            assert!(matches!(last, Settled::Finished { status: Status::Failed, .. }), "{last:?}");
        }
        let done = Outcome::Accepted { provider_id: "CA1".into() };
        let done = settle(&delivery(Purpose::HangUp, 1), Urgency::High, done, Way::default(), Timestamp(0));
        assert!(matches!(done, Settled::Finished { status: Status::Delivered, .. }), "{done:?}");
    }

    #[test]
    fn who_drops_repeats_is_asked_again_as_long_as_who_refuses() {
        let way = Way { idempotent: true, has_second: false };
        let lost = || Outcome::Unknown { why: "time-out".into() };
        let fifth = settle(&delivery(Purpose::Mirror, 5), Urgency::Low, lost(), way, Timestamp(0));
        assert!(matches!(fifth, Settled::Again { possible_repeat: false, .. }), "{fifth:?}");
        let last = settle(&delivery(Purpose::Mirror, MOST_ATTEMPTS), Urgency::Low, lost(), way, Timestamp(0));
        assert!(matches!(last, Settled::Finished { status: Status::Parked, .. }), "{last:?}");
    }

    #[test]
    fn a_provider_that_asks_for_a_pause_gets_it() {
        let retry = Outcome::Retry { why: "429".into(), after: Some(Span::from_secs(30)), may_have_worked: false };
        let settled = settle(&delivery(Purpose::Page, 1), Urgency::High, retry, Way { idempotent: true, has_second: false }, Timestamp(0));
        assert!(matches!(settled, Settled::Again { at: Timestamp(30_000_000), .. }), "{settled:?}");
    }

    proptest! {
        #[test]
        fn every_delivery_finishes_within_its_bound(kinds in proptest::collection::vec(0_u8..3, 64), idempotent: bool, has_second: bool) {
            let way = Way { idempotent, has_second };
            let mut attempts = 0;
            let mut now = Timestamp(0);
            for kind in kinds {
                attempts += 1;
                let outcome = match kind {
                    0 => Outcome::Retry { why: "5xx".into(), after: None, may_have_worked: true },
                    1 => Outcome::Permanent { why: "no such number".into() },
                    _ => Outcome::Unknown { why: "time-out".into() },
                };
                match settle(&delivery(Purpose::Page, attempts), Urgency::High, outcome, way, now) {
                    Settled::Finished { .. } => return Ok(()),
                    Settled::Again { at, .. } => {
                        prop_assert!(at > now || (has_second && attempts == 1), "only the other channel is tried at once");
                        now = at;
                    }
                }
            }
            prop_assert!(false, "64 attempts and no end");
        }
    }
}
