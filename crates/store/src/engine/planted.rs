//! Bugs planted for the simulation: each makes the database behave as if a piece of our code were wrong. They exist
//! in the in-memory engine of the simulation only.

use crate::StoreError;

/// The planted bugs: a name, and the trigger that plants it.
pub const PLANTED: &[(&str, &str)] = &[
    (
        "lost timer",
        "CREATE TRIGGER bug AFTER INSERT ON timer WHEN NEW.kind = 'escalate' AND NEW.due_at % 3 = 0 BEGIN DELETE FROM timer WHERE subject = NEW.subject AND kind = NEW.kind; END",
    ),
    (
        "missing fence",
        "CREATE TRIGGER bug AFTER UPDATE OF status ON delivery WHEN NEW.status = 'claimed' BEGIN UPDATE delivery SET fence = OLD.fence WHERE id = NEW.id; END",
    ),
    ("send before intent", "CREATE TRIGGER bug BEFORE INSERT ON attempt WHEN NEW.intent_at % 5 = 0 BEGIN SELECT RAISE(IGNORE); END"),
    (
        "page after acknowledgement",
        "CREATE TRIGGER bug AFTER UPDATE OF state ON incident WHEN NEW.status = 'acknowledged' BEGIN UPDATE incident SET state = OLD.state, version = NEW.version WHERE id = NEW.id; END",
    ),
    (
        "lost page",
        "CREATE TRIGGER bug BEFORE INSERT ON delivery WHEN NEW.purpose = 'page' AND NEW.created_at % 4 = 0 BEGIN SELECT RAISE(IGNORE); END",
    ),
    (
        "lost all-clear",
        "CREATE TRIGGER bug BEFORE INSERT ON delivery WHEN NEW.purpose = 'all_clear' AND NEW.created_at % 3 = 0 BEGIN SELECT RAISE(IGNORE); END",
    ),
    ("pressure never released", "CREATE TRIGGER bug BEFORE DELETE ON component_pressure BEGIN SELECT RAISE(IGNORE); END"),
    (
        "component left behind",
        "CREATE TRIGGER bug BEFORE UPDATE ON component_state WHEN NEW.status = 'operational' BEGIN SELECT RAISE(IGNORE); END",
    ),
    ("alert left open", "CREATE TRIGGER bug BEFORE UPDATE OF resolved_at ON alert BEGIN SELECT RAISE(IGNORE); END"),
    ("lost run", "CREATE TRIGGER bug BEFORE INSERT ON run WHEN NEW.started_at % 7 = 0 BEGIN SELECT RAISE(IGNORE); END"),
    (
        "watermark too early",
        "CREATE TRIGGER bug AFTER UPDATE ON watermark WHEN NEW.through = OLD.through BEGIN UPDATE watermark SET through = NEW.through + 7200000000 WHERE probe = NEW.probe; END",
    ),
    ("lost timeline entry", "CREATE TRIGGER bug BEFORE INSERT ON log_entry WHEN NEW.seq = 4 BEGIN SELECT RAISE(IGNORE); END"),
];

/// The statement that plants the named bug; nothing without a name.
pub(super) fn sql_of(name: Option<&str>) -> Result<&'static str, StoreError> {
    let Some(name) = name else { return Ok("") };
    let found = PLANTED.iter().find(|(known, _)| *known == name);
    found.map(|(_, sql)| *sql).ok_or_else(|| StoreError::NotFound { what: "planted bug", id: name.to_owned() })
}
