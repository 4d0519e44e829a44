//! Documents as a file: what is written here reads as the same documents.

use allclear_domain::catalog::Document;
use allclear_domain::{Span, Timestamp};
use serde_json::{Map, Value};

/// A line up to this length holds a small mapping or list whole.
const LONGEST_LINE: usize = 100;

/// The documents as YAML; their references are names. No secret and no key stands in it, because none stands in a document.
///
/// # Errors
/// A document with a value that JSON cannot hold.
pub fn export<'a>(documents: impl IntoIterator<Item = &'a Document>) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for document in documents {
        if !text.is_empty() {
            text.push_str("---\n");
        }
        map(&mut text, &whole(document)?, 0);
    }
    Ok(text)
}

/// Everything that a file says of a document.
fn whole(document: &Document) -> Result<Map<String, Value>, serde_json::Error> {
    let mut whole = Map::new();
    whole.insert("kind".to_owned(), document.kind().word().into());
    if let Value::Object(body) = document.to_json()? {
        whole.extend(body.into_iter().filter(|(_, value)| !is_nothing(value)));
    }
    // Stored as a number, written as people write it.
    for field in ["paused_until", "from", "until"] {
        if let Some(instant) = whole.get_mut(field)
            && let Some(at) = instant.as_i64()
        {
            *instant = Timestamp(at).to_string().into();
        }
    }
    Ok(whole)
}

/// What a file leaves out: it means the same as if it stood there.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn map(text: &mut String, map: &Map<String, Value>, depth: usize) {
    for (n, (key, value)) in map.iter().enumerate() {
        // The first key stands behind the hyphen of its item.
        if n > 0 || !text.ends_with("- ") {
            indent(text, depth);
        }
        text.push_str(&scalar(key));
        text.push(':');
        entry(text, value, depth);
    }
}

/// What stands behind a key.
fn entry(text: &mut String, value: &Value, depth: usize) {
    let line = flow(value);
    let used = text.len() - text.rfind('\n').map_or(0, |at| at + 1);
    match value {
        Value::Object(inner) if !inner.is_empty() && (used + line.len() > LONGEST_LINE || is_deep(value)) => {
            text.push('\n');
            map(text, inner, depth + 1);
        }
        Value::Array(items) if !items.is_empty() && (used + line.len() > LONGEST_LINE || is_deep(value)) => {
            text.push('\n');
            list(text, items, depth + 1);
        }
        _ => {
            text.push(' ');
            text.push_str(&line);
            text.push('\n');
        }
    }
}

fn list(text: &mut String, items: &[Value], depth: usize) {
    for item in items {
        indent(text, depth);
        text.push_str("- ");
        let line = flow(item);
        match item {
            Value::Object(inner) if !inner.is_empty() && (2 * depth + line.len() > LONGEST_LINE || is_deep(item)) => {
                map(text, inner, depth + 1)
            }
            _ => {
                text.push_str(&line);
                text.push('\n');
            }
        }
    }
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

/// Whether it holds mappings within mappings: easier to read over several lines.
fn is_deep(value: &Value) -> bool {
    let holds_any = |value: &Value| matches!(value, Value::Object(inner) if !inner.is_empty());
    match value {
        Value::Object(inner) => {
            inner.values().any(|value| holds_any(value) || matches!(value, Value::Array(items) if items.iter().any(holds_any)))
        }
        Value::Array(items) => items.iter().any(holds_any),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A value in one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) if items.is_empty() => "[]".to_owned(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(inner) if inner.is_empty() => "{}".to_owned(),
        Value::Object(inner) => {
            let pairs: Vec<String> = inner.iter().map(|(key, value)| format!("{}: {}", scalar(key), flow(value))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

/// A text, bare where it cannot be taken for anything else.
fn scalar(text: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '_' | '-' | '/' | '.' | '+' | '@');
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/')
        && !text.ends_with(' ')
        && text.chars().all(is_bare)
        && !is_a_word_of_yaml(text);
    let is_span = || text.ends_with(|c: char| c.is_ascii_alphabetic()) && text.parse::<Span>().is_ok();
    if bare || is_span() { text.to_owned() } else { quoted(text) }
}

/// Words that YAML, of this or an older version, takes for something else.
fn is_a_word_of_yaml(text: &str) -> bool {
    const WORDS: &[&str] = &["true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan"];
    WORDS.iter().any(|word| text.eq_ignore_ascii_case(word))
}

/// A text between double quotes, with everything escaped that could not be seen.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load_str;

    const EVERYTHING: &str = include_str!("everything.yaml");

    fn read(text: &str) -> Vec<Document> {
        let loaded = load_str("x.yaml", text, &|_, _| false);
        let errors: Vec<String> =
            loaded.diagnostics.iter().filter(|d| d.severity == crate::Severity::Error).map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{}\n{text}", errors.join("\n"));
        loaded.into_documents()
    }

    #[test]
    fn what_is_exported_reads_as_the_same_documents_of_every_kind() {
        let documents = read(EVERYTHING);
        let kinds: std::collections::BTreeSet<_> = documents.iter().map(Document::kind).collect();
        assert_eq!(kinds.len(), allclear_domain::catalog::Kind::ALL.len(), "every kind stands in the file");
        let text = export(&documents).expect("a file");
        assert_eq!(read(&text), documents, "{text}");
        assert_eq!(export(&read(&text)).expect("a file"), text, "the second time nothing changes");
    }

    /// What a file of `documents` says, as trees; each is a mapping.
    fn trees(documents: &[Document]) -> Vec<Value> {
        documents.iter().map(whole).collect::<Result<Vec<_>, _>>().expect("trees").into_iter().map(Value::Object).collect()
    }

    /// Every place in a tree.
    fn places(value: &Value, here: &str, found: &mut Vec<String>) {
        let below: Vec<(String, &Value)> = match value {
            Value::Object(fields) => fields.iter().map(|(key, value)| (key.replace('~', "~0").replace('/', "~1"), value)).collect(),
            Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => vec![],
        };
        for (key, value) in below {
            let place = format!("{here}/{key}");
            places(value, &place, found);
            found.push(place);
        }
    }

    /// Changes a place: what stands there goes, stands twice, or says something else.
    fn change(tree: &mut Value, place: &str, how: u8, text: &str, number: i64) {
        let (above, key) = place.rsplit_once('/').expect("a place has one above it");
        let key = key.replace("~1", "/").replace("~0", "~");
        match (how, tree.pointer_mut(above)) {
            (0, Some(Value::Object(fields))) => drop(fields.remove(&key)),
            (1, Some(Value::Array(items))) => {
                if let Some(item) = key.parse::<usize>().ok().and_then(|n| items.get(n)).cloned() {
                    items.push(item);
                }
            }
            _ => {
                let said = match tree.pointer(place) {
                    Some(Value::Number(_)) => number.into(),
                    Some(Value::Bool(is_so)) => Value::Bool(!is_so),
                    Some(Value::String(_)) => text.into(),
                    _ => return,
                };
                *tree.pointer_mut(place).expect("it stands there") = said;
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { max_global_rejects: 65_536, cases: 512, ..ProptestConfig::default() })]

        #[test]
        fn whatever_a_file_says_and_is_taken_comes_back(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..6, "\\PC{0,12}|[a-z0-9.:/-]{1,12}|on|off|~|1e3|0x1F|2026-01-05|'.*'", -3_i64..400), 1..4)
        ) {
            let mut all = trees(&read(EVERYTHING));
            for (at, how, text, number) in &changes {
                let found: Vec<(usize, String)> = all.iter().enumerate().flat_map(|(n, tree)| {
                    let mut found = vec![];
                    places(tree, "", &mut found);
                    found.into_iter().map(move |place| (n, place))
                }).collect();
                let (n, place) = at.get(&found);
                change(&mut all[*n], place, *how, text, *number);
            }
            let mut text = String::new();
            for tree in &all {
                text.push_str("---\n");
                map(&mut text, tree.as_object().expect("a mapping"), 0);
            }
            let loaded = load_str("x.yaml", &text, &|_, _| true);
            prop_assume!(loaded.is_usable());
            let documents = loaded.into_documents();
            let exported = export(&documents).expect("a file");
            let again = load_str("x.yaml", &exported, &|_, _| true);
            prop_assert!(again.is_usable(), "{}\n{exported}", again.diagnostics.iter().map(ToString::to_string).collect::<String>());
            prop_assert_eq!(&again.into_documents(), &documents, "{}", exported);
        }

        #[test]
        fn any_names_texts_and_variables_come_back(
            name in "[\\PC&&[^ ]]\\PC{0,30}[\\PC&&[^ ]]", text in "(\\PC|[\\n\\t\\r\u{85}\u{2028}\u{feff}]){0,40}", number in any::<i64>(), key in "[a-z ,:\\[\\]{}#&*!|>'\"%@`-]{1,10}"
        ) {
            let mut documents = read(EVERYTHING);
            let Some(Document::Test(test)) = documents.iter_mut().find(|document| document.as_test().is_some()) else { return Ok(()) };
            prop_assume!(!name.trim().is_empty() && name.trim() == name && !name.contains("{{"));
            test.name = name;
            let environment = test.environments.values_mut().next().expect("an environment");
            environment.variables.insert("text".into(), text.into());
            environment.variables.insert("nested".into(), serde_json::json!({ key.trim(): [number, { "a": null, "b": [] }, true, "on"] }));
            let exported = export(&documents).expect("a file");
            prop_assert_eq!(&read(&exported), &documents, "{}", exported);
        }
    }
}
