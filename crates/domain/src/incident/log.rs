//! What an incident's timeline says: what happened, who did it and why.

use serde::{Deserialize, Serialize};

use crate::{ChannelId, HeartbeatId, PersonId, RunId, ServiceId, TestId, Timestamp};

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "agent", rename_all = "snake_case")]
pub enum Agent {
    /// A person.
    Person {
        /// Who.
        person: PersonId,
        /// How they told us.
        via: Via,
    },
    /// A token that acts for no person.
    Token {
        /// Its name.
        name: String,
    },
    /// A test's results.
    Test {
        /// The test.
        test: TestId,
        /// The run that decided.
        run: Option<RunId>,
    },
    /// A heartbeat that did not come, or came again.
    Heartbeat {
        /// Which.
        heartbeat: HeartbeatId,
    },
    /// A monitoring tool, by an event.
    Integration {
        /// The service that it reports on.
        service: ServiceId,
        /// The integration's name in the service.
        name: String,
    },
    /// A timer.
    Timer,
    /// AllClear itself.
    System,
    /// Somebody in a service that this one is linked with.
    Linked {
        /// The channel.
        channel: ChannelId,
        /// Who, as that service calls them.
        name: String,
    },
    /// A change of the configuration.
    Configuration,
}

/// How a person acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A button in Slack.
    Slack,
    /// A reply to a text message.
    Sms,
    /// A key pressed in a call.
    Call,
    /// The link in a mail.
    Mail,
    /// The PagerDuty-shaped API.
    Api,
    /// The command line.
    Cli,
    /// The web app.
    App,
}

impl Via {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Slack => "in Slack",
            Self::Sms => "by text message",
            Self::Call => "by telephone",
            Self::Mail => "by mail",
            Self::Api => "over the API",
            Self::Cli => "on the command line",
            Self::App => "in the app",
        }
    }
}

/// Why somebody is notified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NotifyReason {
    /// The incident opened and they are on its first level.
    FirstPage,
    /// Nobody of the level before acknowledged in time.
    Escalated,
    /// Nobody of the level before could be reached.
    LevelBeforeUnreachable,
    /// The policy starts again.
    Repeated,
    /// An acknowledgement timed out.
    AcknowledgementTimedOut,
    /// Nobody was on call before, and now they are.
    NowOnCall,
    /// Somebody gave it to them.
    Reassigned,
    /// Somebody escalated it.
    EscalatedByHand,
    /// Somebody made it louder.
    Louder,
}

impl NotifyReason {
    /// In words.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::FirstPage => "first level of the escalation policy",
            Self::Escalated => "nobody acknowledged in time",
            Self::LevelBeforeUnreachable => "nobody of the level before could be reached",
            Self::Repeated => "the escalation policy starts again",
            Self::AcknowledgementTimedOut => "the acknowledgement timed out",
            Self::NowOnCall => "nobody was on call before",
            Self::Reassigned => "it was given to them",
            Self::EscalatedByHand => "somebody escalated it",
            Self::Louder => "its urgency was raised",
        }
    }
}

/// A kind of change of an incident, by the name that programs are told. Where PagerDuty's webhooks
/// have an event for it, the name is theirs (`incident.acknowledged`).
///
/// The order is what a change is named for when it is several at once: the last one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IncidentEvent {
    /// It has another title.
    TitleUpdated,
    /// It matters more or less than before.
    PriorityUpdated,
    /// It is louder or quieter than before.
    UrgencyUpdated,
    /// Other incidents go on as this one.
    Merged,
    /// Its next level is paged.
    Escalated,
    /// It was given to other people.
    Reassigned,
    /// It is put off.
    Snoozed,
    /// Somebody took it.
    Acknowledged,
    /// An acknowledgement no longer holds.
    Unacknowledged,
    /// It opened.
    Triggered,
    /// It is over.
    Resolved,
}

impl IncidentEvent {
    /// The word for it, as programs are told.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::TitleUpdated => "title_updated",
            Self::PriorityUpdated => "priority_updated",
            Self::UrgencyUpdated => "urgency_updated",
            Self::Merged => "merged",
            Self::Escalated => "escalated",
            Self::Reassigned => "reassigned",
            Self::Snoozed => "snoozed",
            Self::Acknowledged => "acknowledged",
            Self::Unacknowledged => "unacknowledged",
            Self::Triggered => "triggered",
            Self::Resolved => "resolved",
        }
    }

    /// The change that a line of the timeline tells of; nothing where it tells of none.
    #[must_use]
    pub const fn of(kind: &LogKind) -> Option<Self> {
        match kind {
            LogKind::Triggered { .. } => Some(Self::Triggered),
            LogKind::Acknowledged => Some(Self::Acknowledged),
            LogKind::Unacknowledged => Some(Self::Unacknowledged),
            LogKind::Reassigned { .. } => Some(Self::Reassigned),
            LogKind::Snoozed { .. } => Some(Self::Snoozed),
            LogKind::UrgencyChanged { .. } => Some(Self::UrgencyUpdated),
            LogKind::PriorityChanged { .. } => Some(Self::PriorityUpdated),
            LogKind::Retitled { .. } => Some(Self::TitleUpdated),
            LogKind::Absorbed { .. } => Some(Self::Merged),
            LogKind::Resolved { .. } => Some(Self::Resolved),
            LogKind::Escalated => Some(Self::Escalated),
            LogKind::Assigned { why, .. } => match why {
                NotifyReason::Escalated
                | NotifyReason::LevelBeforeUnreachable
                | NotifyReason::Repeated
                | NotifyReason::NowOnCall
                | NotifyReason::EscalatedByHand => Some(Self::Escalated),
                NotifyReason::FirstPage | NotifyReason::AcknowledgementTimedOut | NotifyReason::Reassigned | NotifyReason::Louder => None,
            },
            LogKind::NobodyToNotify
            | LogKind::Exhausted
            | LogKind::Noted { .. }
            | LogKind::Notified { .. }
            | LogKind::ComponentChanged { .. }
            | LogKind::ComponentProposed { .. } => None,
        }
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LogKind {
    /// It opened.
    Triggered {
        /// What went wrong.
        why: String,
    },
    /// People were assigned.
    Assigned {
        /// Who.
        people: Vec<PersonId>,
        /// The level, counted from 1 for people.
        level: usize,
        /// Why.
        why: NotifyReason,
    },
    /// Nobody could be assigned.
    NobodyToNotify,
    /// Every level was paged as often as the policy says.
    Exhausted,
    /// Somebody took it.
    Acknowledged,
    /// An acknowledgement timed out.
    Unacknowledged,
    /// Somebody wrote something down.
    Noted {
        /// What.
        text: String,
    },
    /// Somebody gave it to other people.
    Reassigned {
        /// To whom.
        people: Vec<PersonId>,
    },
    /// Somebody escalated it.
    Escalated,
    /// Somebody put it off.
    Snoozed {
        /// Until when.
        until: Timestamp,
    },
    /// Somebody made it louder or quieter.
    UrgencyChanged {
        /// How loud it is now.
        to: super::Urgency,
    },
    /// Somebody said how much it matters.
    PriorityChanged {
        /// How much, or nothing any more.
        to: Option<super::Priority>,
    },
    /// Somebody gave it another title.
    Retitled {
        /// The title.
        to: String,
    },
    /// Other incidents go on as this one.
    Absorbed {
        /// Their numbers.
        numbers: Vec<i64>,
    },
    /// It is over.
    Resolved {
        /// Why.
        why: super::ResolveReason,
    },
    /// A person was notified, or it was tried.
    Notified {
        /// Who; nothing for a channel.
        person: Option<PersonId>,
        /// By what: `sms`, `slack`.
        method: String,
        /// Masked address.
        address: String,
        /// What came of it.
        outcome: String,
    },
    /// A component's public status followed.
    ComponentChanged {
        /// The component's name.
        component: String,
        /// Before.
        from: String,
        /// After.
        to: String,
    },
    /// A component would have followed, but a person owns it.
    ComponentProposed {
        /// The component's name.
        component: String,
        /// What automation would have set.
        to: String,
    },
}

/// An entry of the timeline before it has an id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDraft {
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub agent: Agent,
    /// What happened.
    pub kind: LogKind,
}
