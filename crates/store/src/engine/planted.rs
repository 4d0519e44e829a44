//! Bugs planted for the simulation: each makes the database behave as if a piece of our code were wrong. They exist
//! in the in-memory engine of the simulation only.

use crate::StoreError;

/// A bug that can be planted.
#[derive(Debug, Clone, Copy)]
pub enum Planted {
    /// A trigger that undoes a part of a statement's work.
    Trigger(&'static str),
    /// A condition that our statements forget: the condition, and what they have instead.
    Forgotten(&'static str, &'static str),
}

/// The planted bugs by name.
pub const PLANTED: &[(&str, Planted)] = &[
    (
        "lost timer",
        Planted::Trigger(
            "CREATE TRIGGER bug AFTER INSERT ON timer WHEN NEW.kind = 'escalate' AND NEW.due_at % 3 = 0 BEGIN DELETE FROM timer WHERE subject = NEW.subject AND kind = NEW.kind; END",
        ),
    ),
    ("missing fence", Planted::Forgotten("AND fence = $2 AND status = 'claimed'", "AND $2 >= 0 AND status = 'claimed'")),
    (
        "send before intent",
        Planted::Trigger("CREATE TRIGGER bug BEFORE INSERT ON attempt WHEN NEW.intent_at % 5 = 0 BEGIN SELECT RAISE(IGNORE); END"),
    ),
    (
        "page after acknowledgement",
        Planted::Trigger(
            "CREATE TRIGGER bug AFTER UPDATE OF state ON incident WHEN NEW.status = 'acknowledged' BEGIN UPDATE incident SET state = OLD.state, version = NEW.version WHERE id = NEW.id; END",
        ),
    ),
    (
        "lost page",
        Planted::Trigger(
            "CREATE TRIGGER bug BEFORE INSERT ON delivery WHEN NEW.purpose = 'page' AND NEW.created_at % 4 = 0 BEGIN SELECT RAISE(IGNORE); END",
        ),
    ),
    (
        "lost all-clear",
        Planted::Trigger(
            "CREATE TRIGGER bug BEFORE INSERT ON delivery WHEN NEW.purpose = 'all_clear' AND NEW.created_at % 3 = 0 BEGIN SELECT RAISE(IGNORE); END",
        ),
    ),
    ("pressure never released", Planted::Trigger("CREATE TRIGGER bug BEFORE DELETE ON component_pressure BEGIN SELECT RAISE(IGNORE); END")),
    (
        "component left behind",
        Planted::Trigger(
            "CREATE TRIGGER bug BEFORE UPDATE ON component_state WHEN NEW.status = 'operational' BEGIN SELECT RAISE(IGNORE); END",
        ),
    ),
    ("alert left open", Planted::Trigger("CREATE TRIGGER bug BEFORE UPDATE OF resolved_at ON alert BEGIN SELECT RAISE(IGNORE); END")),
    (
        "resolve by another location's pass",
        Planted::Trigger(
            "CREATE TRIGGER bug AFTER UPDATE ON standing WHEN json_extract(NEW.state, '$.passes') > 0 BEGIN DELETE FROM standing WHERE test_id = NEW.test_id AND environment = NEW.environment AND location <> NEW.location; END",
        ),
    ),
    ("lost run", Planted::Trigger("CREATE TRIGGER bug BEFORE INSERT ON run WHEN NEW.started_at % 7 = 0 BEGIN SELECT RAISE(IGNORE); END")),
    (
        "watermark too early",
        Planted::Trigger(
            "CREATE TRIGGER bug AFTER UPDATE ON watermark WHEN NEW.through = OLD.through BEGIN UPDATE watermark SET through = NEW.through + 7200000000 WHERE probe = NEW.probe; END",
        ),
    ),
    (
        "lost timeline entry",
        Planted::Trigger("CREATE TRIGGER bug BEFORE INSERT ON log_entry WHEN NEW.seq = 4 BEGIN SELECT RAISE(IGNORE); END"),
    ),
];

/// The named bug; nothing without a name.
pub(super) fn named(name: Option<&str>) -> Result<Option<Planted>, StoreError> {
    let Some(name) = name else { return Ok(None) };
    let found = PLANTED.iter().find(|(known, _)| *known == name);
    found.map(|(_, bug)| Some(*bug)).ok_or_else(|| StoreError::NotFound { what: "planted bug", id: name.to_owned() })
}
