//! What people ask for as it arrives, with names in place of ids: read, bounded, and turned into what is to be done.

use allclear_base::Rng;
use allclear_domain::catalog::{Catalog, Kind, Resource};
use allclear_domain::incident::{self, ByHand, Context, Incident, Priority, Urgency};
use allclear_domain::{PersonId, PolicyId, ServiceId, Span};
use allclear_store::record::alert;
use allclear_store::{Lane, Lock, Store, Tx, Write};
use serde::{Deserialize, Serialize};

use crate::apply::apply;
use crate::incident::{Act, Opening, context, opening_as};
use crate::{Actor, Draw, OpsError, Permission};

/// The longest note.
pub const LONGEST_NOTE: usize = 25_000;

/// The longest time that an incident can be put off: a week, as in `PagerDuty`.
pub const LONGEST_SNOOZE: Span = Span::from_secs(604_800);

/// The most people that an incident can be given to at once.
pub const MOST_ASSIGNED: usize = 50;

/// A wish of a person as it arrives, with names in place of ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "snake_case")]
pub enum Wish {
    /// Take it.
    Ack,
    /// End it.
    Resolve,
    /// Write something into the timeline.
    Note {
        /// What.
        text: String,
    },
    /// Give it to these people, by name, e-mail address or id.
    Reassign {
        /// To whom.
        people: Vec<String>,
    },
    /// Page the next level now, or this one, counted from 1.
    Escalate {
        /// Which.
        level: Option<usize>,
    },
    /// Keep quiet for so long.
    Snooze {
        /// How long.
        span: Span,
    },
    /// Say how much it matters; nothing takes it back.
    Priority {
        /// How much.
        priority: Option<Priority>,
    },
    /// Give it another title.
    Retitle {
        /// The title.
        title: String,
    },
    /// Make it louder or quieter.
    Urgency {
        /// How loud.
        urgency: Urgency,
    },
}

impl Wish {
    /// What is to be done.
    ///
    /// # Errors
    /// [`OpsError::Invalid`] where it is out of bounds; [`OpsError::NotFound`] for a person that nobody knows.
    pub fn act(self, store: &Store) -> Result<Act, OpsError> {
        let invalid = |why: &str| Err(OpsError::Invalid(why.to_owned()));
        Ok(Act::ByHand(match self {
            Self::Ack => return Ok(Act::Acknowledge),
            Self::Resolve => return Ok(Act::Resolve),
            Self::Note { text } if text.trim().is_empty() => return invalid("a note needs a text"),
            Self::Note { text } if text.chars().count() > LONGEST_NOTE => return invalid("the note is longer than 25000 characters"),
            Self::Note { text } => ByHand::Note { text: text.replace('\0', "\u{fffd}") },
            Self::Reassign { people } if people.is_empty() => return invalid("an incident is given to somebody"),
            Self::Reassign { people } => ByHand::Reassign { people: people_named(store, &people)? },
            Self::Escalate { level: Some(0) } => return invalid("levels are counted from 1"),
            Self::Escalate { level } => ByHand::Escalate { level: level.map(|level| level - 1) },
            Self::Snooze { span } if span.as_secs() < 1 || span > LONGEST_SNOOZE => {
                return invalid("an incident is put off for 1 second to 7 days");
            }
            Self::Snooze { span } => ByHand::Snooze { until: store.now().plus(span) },
            Self::Urgency { urgency } => ByHand::SetUrgency { urgency },
            Self::Priority { priority } => ByHand::SetPriority { priority },
            Self::Retitle { title } => ByHand::Retitle { title: title_of(&title)? },
        }))
    }
}

/// A person by name, e-mail address or id.
///
/// # Errors
/// [`OpsError::NotFound`].
pub fn person_named(store: &Store, name: &str) -> Result<PersonId, OpsError> {
    let catalog = store.catalog();
    let by_name = catalog.id_of(Kind::Person, name).map(PersonId::from);
    let by_id = || catalog.person(&name.into()).map(|_| PersonId::from(name));
    let by_email = || crate::token::person_with_email(&catalog, name);
    // Somebody types in a hurry: case does not matter where only one is meant.
    let in_any_case = || {
        let lower = name.to_lowercase();
        let is_meant = |one: &&std::sync::Arc<Resource>| one.document.name().to_lowercase() == lower;
        let mut meant = catalog.of_kind(Kind::Person).filter(is_meant);
        meant.next().filter(|_| meant.next().is_none()).map(|one| PersonId::from(one.id.as_str()))
    };
    by_name.or_else(by_id).or_else(by_email).or_else(in_any_case).ok_or_else(|| OpsError::NotFound { what: "person", id: name.to_owned() })
}

/// The same for several, each once.
fn people_named(store: &Store, names: &[String]) -> Result<Vec<PersonId>, OpsError> {
    if names.len() > MOST_ASSIGNED {
        return Err(OpsError::Invalid(format!("an incident is given to at most {MOST_ASSIGNED} people")));
    }
    let mut people = Vec::with_capacity(names.len());
    for name in names {
        let person = person_named(store, name)?;
        if !people.contains(&person) {
            people.push(person);
        }
    }
    Ok(people)
}

/// The longest key of a declared incident; `PagerDuty`'s bound.
const LONGEST_KEY: usize = 255;

/// An incident that a person declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declared {
    /// What is wrong, in one line.
    pub title: String,
    /// The service, by name or id.
    pub service: String,
    /// More about it.
    #[serde(default)]
    pub details: Option<String>,
    /// How loud; the service's own urgency when absent.
    #[serde(default)]
    pub urgency: Option<Urgency>,
    /// To whom it is given in place of the escalation policy; by name, e-mail address or id.
    #[serde(default)]
    pub people: Vec<String>,
    /// The escalation policy in place of the service's own; by name or id.
    #[serde(default)]
    pub policy: Option<String>,
    /// How much it matters.
    #[serde(default)]
    pub priority: Option<Priority>,
    /// Whether whoever declares it takes it at once: then nobody is paged.
    #[serde(default)]
    pub taken: bool,
    /// What tells it from others: while one with this key is open there is no second. Drawn when absent.
    #[serde(default)]
    pub key: Option<String>,
}

/// The longest title that somebody can give.
pub const LONGEST_TITLE: usize = 1_024;

/// A title in one line, within its bounds.
fn title_of(text: &str) -> Result<String, OpsError> {
    let title = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    if title.is_empty() || title.chars().count() > LONGEST_TITLE {
        return Err(OpsError::Invalid(format!("an incident needs a title of at most {LONGEST_TITLE} characters")));
    }
    Ok(title)
}

fn policy_named(catalog: &Catalog, name: &str) -> Result<PolicyId, OpsError> {
    let by_id = || catalog.policy(&name.into()).map(|_| name);
    let found = catalog.id_of(Kind::EscalationPolicy, name).or_else(by_id).map(PolicyId::from);
    found.ok_or_else(|| OpsError::NotFound { what: "escalation policy", id: name.to_owned() })
}

/// Opens an incident because a person says so. No test and no event ends it: that is theirs.
///
/// # Errors
/// [`OpsError::Invalid`] for a title that is empty or too long, a service that rests, or a key that is open;
/// [`OpsError::NotFound`] for a service or person that nobody knows.
pub async fn declare(store: &Store, rng: &dyn Rng, actor: &Actor, wish: Declared) -> Result<Incident, OpsError> {
    actor.require(Permission::IncidentsWrite)?;
    let title = title_of(&wish.title)?;
    let catalog = store.catalog();
    let by_id = || catalog.service(&wish.service.as_str().into()).map(|_| ServiceId::from(wish.service.as_str()));
    let service = catalog.id_of(Kind::Service, &wish.service).map(ServiceId::from).or_else(by_id);
    let service = service.ok_or_else(|| OpsError::NotFound { what: "service", id: wish.service.clone() })?;
    if wish.details.as_ref().is_some_and(|details| details.chars().count() > LONGEST_NOTE) {
        return Err(OpsError::Invalid(format!("the details are longer than {LONGEST_NOTE} characters")));
    }
    if wish.key.as_ref().is_some_and(|key| key.chars().count() > LONGEST_KEY || key.contains('\0')) {
        return Err(OpsError::Invalid(format!("a key has at most {LONGEST_KEY} characters, and no NUL")));
    }
    let people = people_named(store, &wish.people)?;
    let policy = match &wish.policy {
        Some(name) => Some(policy_named(&catalog, name)?),
        None => None,
    };
    if policy.is_some() && !people.is_empty() {
        return Err(OpsError::Invalid("an incident is given to people or to an escalation policy, not to both".into()));
    }
    let (agent, draw) = (actor.agent().clone(), Draw::new(rng));
    let write = Write::new("declare incident", Lane::Act).lock(Lock::Service(service.clone()));
    let work = move |tx: &mut Tx<'_>| {
        let ids = draw.ids();
        let key = format!("declared:{service}:{}", wish.key.clone().unwrap_or_else(|| ids.uuid4()));
        if alert::open_alert(tx, &key)?.is_some() {
            return Err(OpsError::Invalid("an incident with this key is open already on this service".into()));
        }
        let about = Opening {
            service: service.clone(),
            dedup_key: key,
            test: None,
            title: title.clone(),
            why: wish.details.clone().unwrap_or_else(|| title.clone()).replace('\0', "\u{fffd}"),
            agent: agent.clone(),
            run: None,
            event: None,
        };
        let Some(mut pending) = opening_as(tx, &ids, about, wish.urgency, policy.as_ref()) else {
            return Err(OpsError::Invalid("the service rests: nothing opens on it until its pause is over".into()));
        };
        pending.change.next.priority = wish.priority;
        if wish.taken {
            pending.change = incident::take_at_once(pending.change, &agent, tx.now());
        } else if !people.is_empty() {
            let context = context_of_new(tx, &pending.change.next);
            pending.change = incident::give_to(pending.change, &agent, &people, &context, tx.now());
        }
        let opened = apply(tx, &ids, vec![pending])?;
        opened.into_iter().next().ok_or_else(|| OpsError::NotFound { what: "incident", id: String::new() })
    };
    store.write(write, work).await
}

/// What a decision depends on for an incident that is not written yet.
fn context_of_new(tx: &Tx<'_>, incident: &Incident) -> Context {
    let catalog = tx.catalog();
    context(&catalog, catalog.service(&incident.service), &incident.levels, true, tx.now())
}
