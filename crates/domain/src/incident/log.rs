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
