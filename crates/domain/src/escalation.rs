//! Escalation policies: whom to page first, and whom after that.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{PersonId, ScheduleId, Span};

/// An escalation policy. Low urgency never escalates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// A sentence about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The levels, first to last; at least one.
    pub levels: Vec<Level>,
    /// How many more times to go through all levels when nobody acknowledged.
    #[serde(default)]
    pub repeat: u32,
    /// Fields that this version does not know; kept as they came.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The most passes through a policy; `PagerDuty`'s bound is 9.
pub const MOST_REPEATS: u32 = 9;

/// One level of a policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// All of them are paged at once.
    pub targets: Vec<Target>,
    /// How long to wait for an acknowledgement before the next level.
    pub escalate_after: Span,
}

/// Somebody to page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// This person.
    Person(PersonId),
    /// Whoever is on call in this schedule.
    Schedule(ScheduleId),
}

/// A level with its targets turned into people, as of one instant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// Who would be paged; each person once, in the order of the targets.
    pub people: Vec<PersonId>,
    /// How long to wait for them.
    pub escalate_after: Span,
}

/// Turns levels into people. `on_call` answers for a schedule.
pub fn resolve(levels: &[Level], mut on_call: impl FnMut(&ScheduleId) -> Option<PersonId>) -> Vec<Resolved> {
    let resolve_level = |level: &Level| {
        let mut people: Vec<PersonId> = Vec::new();
        for target in &level.targets {
            let person = match target {
                Target::Person(person) => Some(person.clone()),
                Target::Schedule(schedule) => on_call(schedule),
            };
            people.extend(person.filter(|p| !people.contains(p)));
        }
        Resolved { people, escalate_after: level.escalate_after }
    };
    levels.iter().map(resolve_level).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_named_twice_on_a_level_is_paged_once() {
        let level = Level {
            targets: vec![Target::Person("Ada".into()), Target::Schedule("S".into()), Target::Schedule("EMPTY".into())],
            escalate_after: Span::from_mins(5),
        };
        let resolved = resolve(&[level], |schedule| (schedule.as_str() == "S").then(|| "Ada".into()));
        assert_eq!(resolved[0].people, [PersonId::from("Ada")]);
    }
}
