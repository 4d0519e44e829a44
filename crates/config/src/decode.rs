//! Reading a mapping field by field, so that every error is found and none hides another.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::str::FromStr;

use allclear_domain::{Span, Timestamp};

use crate::diagnostic::{Sink, nearest};
use crate::tree::{Node, Pos, Value};

/// A field's reader: what it makes of a node, or nothing after an error.
pub(crate) type Read<T> = fn(&Sink, &Node) -> Option<T>;

/// The fields of a mapping.
pub(crate) struct Fields<'a> {
    pub(crate) sink: &'a Sink,
    what: &'a str,
    pub(crate) pos: Pos,
    entries: Vec<(&'a Node, &'a Node, Cell<bool>)>,
    known: std::cell::RefCell<Vec<&'static str>>,
}

impl<'a> Fields<'a> {
    /// The fields of `node`, which must be a mapping; `what` names it in errors: "a person".
    pub(crate) fn of(sink: &'a Sink, node: &'a Node, what: &'a str) -> Option<Self> {
        let Value::Map(pairs) = &node.value else {
            sink.error(node.pos, format!("{what} must be a mapping, this is {}", node.what()), None);
            return None;
        };
        let mut entries: Vec<(&Node, &Node, Cell<bool>)> = Vec::with_capacity(pairs.len());
        let mut seen = std::collections::HashSet::with_capacity(pairs.len());
        for (key, value) in pairs {
            if !seen.insert(key.text()) {
                sink.error(key.pos, format!("{:?} is written twice", key.text()), None);
            } else {
                entries.push((key, value, Cell::new(false)));
            }
        }
        Some(Self { sink, what, pos: node.pos, entries, known: std::cell::RefCell::default() })
    }

    /// The node of a field.
    pub(crate) fn node(&self, name: &'static str) -> Option<&'a Node> {
        let mut known = self.known.borrow_mut();
        if !known.contains(&name) {
            known.push(name);
        }
        let (_, value, used) = self.entries.iter().find(|(key, _, _)| key.text() == name)?;
        used.set(true);
        Some(value)
    }

    /// A field that must be there.
    pub(crate) fn required<T>(&self, name: &'static str, read: Read<T>) -> Option<T> {
        match self.node(name) {
            Some(node) => read(self.sink, node),
            None => {
                self.sink.error(self.pos, format!("{} needs {name:?}", self.what), None);
                None
            }
        }
    }

    /// A field that may be absent: `Some(None)` then, `None` after an error.
    pub(crate) fn optional<T>(&self, name: &'static str, read: Read<T>) -> Option<Option<T>> {
        match self.node(name) {
            Some(node) if node.what() == "nothing" => Some(None),
            Some(node) => read(self.sink, node).map(Some),
            None => Some(None),
        }
    }

    /// A field with a default.
    pub(crate) fn or<T>(&self, name: &'static str, read: Read<T>, default: T) -> Option<T> {
        self.optional(name, read).map(|value| value.unwrap_or(default))
    }

    /// A list field; empty when absent. A bad item is reported and left out.
    pub(crate) fn list<T>(&self, name: &'static str, read: Read<T>) -> Vec<T> {
        self.node(name).map_or(vec![], |node| list(self.sink, node, read))
    }

    /// Reports every field that nobody asked for.
    pub(crate) fn finish(&self) {
        let known = self.known.borrow();
        for (key, _, _) in self.entries.iter().filter(|(_, _, used)| !used.get()) {
            let name = key.text();
            let help = match nearest(&name, known.iter().copied()) {
                Some(meant) => format!("did you mean {meant:?}?"),
                None => format!("{} has {}", self.what, known.join(", ")),
            };
            self.sink.error(key.pos, format!("{} has no field {name:?}", self.what), Some(help));
        }
    }
}

/// The items of a list. One item that is no list counts as a list of one.
pub(crate) fn list<T>(sink: &Sink, node: &Node, read: Read<T>) -> Vec<T> {
    match &node.value {
        Value::List(items) => items.iter().filter_map(|item| read(sink, item)).collect(),
        Value::Scalar { text, plain: true } if text.is_empty() => vec![],
        Value::Map(_) | Value::Scalar { .. } => read(sink, node).into_iter().collect(),
    }
}

/// A text; a plain number or boolean counts as the text it is written as.
pub(crate) fn text(sink: &Sink, node: &Node) -> Option<String> {
    match &node.value {
        Value::Scalar { text, .. } => Some(text.clone()),
        Value::List(_) | Value::Map(_) => {
            sink.error(node.pos, format!("this must be a text, it is {}", node.what()), None);
            None
        }
    }
}

/// A name: a text of one line that is not empty.
pub(crate) fn name(sink: &Sink, node: &Node) -> Option<String> {
    const LONGEST: usize = 200;
    let text = text(sink, node)?;
    let problem = if text.trim().is_empty() {
        "a name must not be empty"
    } else if text.chars().count() > LONGEST {
        "a name must have at most 200 characters"
    } else if text.chars().any(char::is_control) {
        "a name must stand on one line"
    } else {
        return Some(text.trim().to_owned());
    };
    sink.error(node.pos, problem, None);
    None
}

/// A value of a type that reads itself, with its own words for what is wrong.
pub(crate) fn parsed<T>(sink: &Sink, node: &Node) -> Option<T>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    match text(sink, node)?.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            sink.error(node.pos, error.to_string(), None);
            None
        }
    }
}

/// A span; `off` is not one.
pub(crate) fn span(sink: &Sink, node: &Node) -> Option<Span> {
    parsed(sink, node)
}

/// A span or `off`.
pub(crate) fn span_or_off(sink: &Sink, node: &Node) -> Option<Option<Span>> {
    if text(sink, node)? == "off" { Some(None) } else { span(sink, node).map(Some) }
}

/// An instant, with its offset from UTC.
pub(crate) fn instant(sink: &Sink, node: &Node) -> Option<Timestamp> {
    parsed(sink, node)
}

/// A boolean; YAML 1.1's `on`, `off`, `yes`, `no` as well.
pub(crate) fn boolean(sink: &Sink, node: &Node) -> Option<bool> {
    match text(sink, node)?.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" => Some(true),
        "false" | "off" | "no" => Some(false),
        other => {
            sink.error(node.pos, format!("{other:?} is neither true nor false"), None);
            None
        }
    }
}

/// A whole number within bounds.
pub(crate) fn number<const LEAST: i64, const MOST: i64>(sink: &Sink, node: &Node) -> Option<i64> {
    let value = text(sink, node)?.parse::<i64>().ok().filter(|n| (LEAST..=MOST).contains(n));
    if value.is_none() {
        sink.error(node.pos, format!("this must be a whole number from {LEAST} to {MOST}"), None);
    }
    value
}

/// A mapping from texts to texts.
pub(crate) fn texts(sink: &Sink, node: &Node) -> Option<BTreeMap<String, String>> {
    mapping(sink, node, text)
}

/// A mapping from texts to JSON values.
pub(crate) fn values(sink: &Sink, node: &Node) -> Option<BTreeMap<String, serde_json::Value>> {
    mapping(sink, node, |_, node| Some(node.to_json()))
}

/// A mapping with values of one type.
pub(crate) fn mapping<T>(sink: &Sink, node: &Node, read: Read<T>) -> Option<BTreeMap<String, T>> {
    let Value::Map(pairs) = &node.value else {
        if node.what() == "nothing" {
            return Some(BTreeMap::new());
        }
        sink.error(node.pos, format!("this must be a mapping, it is {}", node.what()), None);
        return None;
    };
    let mut found = BTreeMap::new();
    for (key, value) in pairs {
        let value = read(sink, value);
        match (found.entry(key.text()), value) {
            (Entry::Occupied(_), _) => sink.error(key.pos, format!("{:?} is written twice", key.text()), None),
            (Entry::Vacant(place), Some(value)) => {
                place.insert(value);
            }
            (Entry::Vacant(_), None) => {}
        }
    }
    Some(found)
}

/// One of several words.
pub(crate) fn word<T: Copy>(sink: &Sink, node: &Node, known: &[(&'static str, T)]) -> Option<T> {
    let text = text(sink, node)?;
    if let Some((_, value)) = known.iter().find(|(word, _)| *word == text) {
        return Some(*value);
    }
    let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
    let help = match nearest(&text, words.iter().copied()) {
        Some(meant) => format!("did you mean {meant:?}?"),
        None => format!("it can be {}", words.join(", ")),
    };
    sink.error(node.pos, format!("{text:?} is not known here"), Some(help));
    None
}
