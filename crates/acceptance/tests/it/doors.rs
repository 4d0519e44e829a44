//! The doors between the rooms: a new one fails here, and is a decision to be made on purpose.

use std::collections::{BTreeMap, BTreeSet};

/// Every door, as ARCHITECTURE.md has it. Any room but `domain` may use `base`.
const DOORS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("domain", &[]),
    ("config", &["domain"]),
    ("egress", &[]),
    ("probe", &["domain", "egress"]),
    ("store", &["domain"]),
    ("ops", &["domain", "store"]),
    ("channels", &["domain", "egress"]),
    ("engine", &["domain", "store", "ops", "probe", "egress", "channels"]),
    ("api", &["domain", "store", "ops", "config", "channels"]),
    ("web", &["domain", "store", "ops", "config"]),
    ("stage", &[]),
];

/// What the pure room may use of others' work: nothing that does I/O, reads a clock or draws a number.
const PURE: &[&str] = &["imbl", "jiff", "regex", "serde", "serde_json", "thiserror"];

fn manifest(room: &str) -> BTreeSet<String> {
    let path = format!("{}/../{room}/Cargo.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let dependencies = text.split("\n[dependencies]\n").nth(1).unwrap_or("").split("\n[").next().unwrap_or("");
    let name = |line: &str| line.split(['.', ' ', '=']).next().map(str::to_owned).filter(|name| !name.is_empty());
    dependencies.lines().filter_map(name).collect()
}

#[test]
fn no_room_has_a_door_that_the_plan_does_not_know() {
    let known: BTreeMap<&str, BTreeSet<&str>> = DOORS.iter().map(|(room, doors)| (*room, doors.iter().copied().collect())).collect();
    for (room, doors) in &known {
        for dependency in manifest(room) {
            let Some(other) = dependency.strip_prefix("allclear-") else { continue };
            let allowed = doors.contains(other) || (other == "base" && *room != "domain" && *room != "stage");
            assert!(allowed, "{room} has a door to {other}");
        }
    }
}

#[test]
fn every_room_is_in_the_plan() {
    let crates = format!("{}/..", env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(crates).expect("the crates") {
        let room = entry.expect("a folder").file_name().to_string_lossy().into_owned();
        let known = DOORS.iter().any(|(name, _)| *name == room) || ["allclear", "acceptance"].contains(&room.as_str());
        assert!(known, "the room {room} is not in the plan");
    }
}

#[test]
fn the_pure_room_uses_only_pure_crates() {
    for dependency in manifest("domain") {
        assert!(PURE.contains(&dependency.as_str()), "domain uses {dependency}");
    }
}

#[test]
fn only_the_store_speaks_to_databases_and_only_egress_opens_sockets() {
    for (room, _) in DOORS {
        let uses = manifest(room);
        // The store speaks TLS to its own server, and to nobody else; the stage is the other side.
        let owned: [(&str, &[&str]); 4] = [
            ("rusqlite", &["store"]),
            ("postgres", &["store"]),
            ("tokio-rustls", &["egress", "stage"]),
            ("rustls", &["egress", "store", "stage"]),
        ];
        for (crate_name, owners) in owned {
            assert!(owners.contains(room) || !uses.contains(crate_name), "{room} uses {crate_name}, which is for {owners:?}");
        }
    }
}
