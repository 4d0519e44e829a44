//! Paths into JSON in Runscope's notation: `a.b[0].c`, `[-1].id`, `["odd key"]`, `list.length`.

use serde_json::Value;

/// A text that is not a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is not a path: {problem}")]
pub struct NotAPath {
    path: String,
    problem: &'static str,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(i64),
}

/// A parsed path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path(Vec<Segment>);

impl Path {
    /// Parses a path; the empty text names the whole document. A leading `$` is taken as the root.
    ///
    /// # Errors
    /// [`NotAPath`] with what is wrong.
    pub fn parse(text: &str) -> Result<Self, NotAPath> {
        let fail = |problem| NotAPath { path: text.chars().take(80).collect(), problem };
        let mut segments = Vec::new();
        let mut rest = text.trim();
        rest = rest.strip_prefix('$').filter(|r| r.is_empty() || r.starts_with(['.', '['])).unwrap_or(rest);
        let mut first = true;
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('[') {
                let (segment, after) = bracketed(inner).map_err(fail)?;
                segments.push(segment);
                rest = after;
            } else {
                let name = match rest.strip_prefix('.') {
                    Some(name) => name,
                    None if first => rest,
                    None => return Err(fail("a \".\" or \"[\" is missing")),
                };
                let end = name.find(['.', '[']).unwrap_or(name.len());
                if end == 0 {
                    return Err(fail("a name is missing after \".\""));
                }
                segments.push(Segment::Key(name[..end].to_owned()));
                rest = &name[end..];
            }
            first = false;
        }
        Ok(Self(segments))
    }

    /// The value at this path, or nothing. `.length` of a list, an object or a text is its length, unless an
    /// object has a key of that name.
    #[must_use]
    pub fn find(&self, root: &Value) -> Option<Value> {
        let mut here = root;
        for (at, segment) in self.0.iter().enumerate() {
            let next = match segment {
                Segment::Key(key) => here.get(key.as_str()),
                Segment::Index(index) => element(here, *index),
            };
            match next {
                Some(value) => here = value,
                None if at + 1 == self.0.len() && *segment == Segment::Key("length".to_owned()) => return length(here),
                None => return None,
            }
        }
        Some(here.clone())
    }
}

fn element(value: &Value, index: i64) -> Option<&Value> {
    let list = value.as_array()?;
    let at = if index < 0 { i64::try_from(list.len()).ok()?.checked_add(index)? } else { index };
    list.get(usize::try_from(at).ok()?)
}

fn length(value: &Value) -> Option<Value> {
    match value {
        Value::Array(list) => Some(list.len().into()),
        Value::Object(fields) => Some(fields.len().into()),
        Value::String(text) => Some(text.chars().count().into()),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn bracketed(inner: &str) -> Result<(Segment, &str), &'static str> {
    if let Some(quote) = inner.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let mut key = String::new();
        let mut chars = inner[1..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' => key.push(chars.next().ok_or("a quote is not closed")?.1),
                c if c == quote => {
                    let rest = inner[1 + at + 1..].strip_prefix(']').ok_or("a \"]\" is missing")?;
                    return Ok((Segment::Key(key), rest));
                }
                c => key.push(c),
            }
        }
        return Err("a quote is not closed");
    }
    let close = inner.find(']').ok_or("a \"]\" is missing")?;
    let index = inner[..close].trim().parse().map_err(|_| "an index must be a whole number, a key must be quoted")?;
    Ok((Segment::Index(index), &inner[close + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn find(path: &str) -> Option<Value> {
        let document = json!({"a": {"b": [1, {"c": null}, 3]}, "odd key": "x", "s": "héé", "o": {"length": 9}});
        Path::parse(path).expect("a path").find(&document)
    }

    #[test]
    fn every_notation_finds_its_value() {
        assert_eq!(find("a.b[0]"), Some(json!(1)));
        assert_eq!(find("a.b[-1]"), Some(json!(3)));
        assert_eq!(find("a.b[1].c"), Some(Value::Null));
        assert_eq!(find("[\"odd key\"]"), Some(json!("x")));
        assert_eq!(find("$.a['b'][2]"), Some(json!(3)));
        assert_eq!(find("a.b.length"), Some(json!(3)));
        assert_eq!(find("s.length"), Some(json!(3)));
        assert_eq!(find("o.length"), Some(json!(9)));
    }

    #[test]
    fn what_is_not_there_is_nothing() {
        for path in ["a.x", "a.b[3]", "a.b[-4]", "s.x", "a.b.c"] {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn a_root_list_can_be_indexed() {
        let document = json!([{"id": 1}, {"id": 2}]);
        assert_eq!(Path::parse("[-2].id").expect("a path").find(&document), Some(json!(1)));
        assert_eq!(Path::parse("").expect("a path").find(&document), Some(document));
    }

    #[test]
    fn a_malformed_path_says_what_is_wrong() {
        for path in ["a..b", "a[", "a[x]", "a[\"x]", "[0]b", "a."] {
            assert!(Path::parse(path).is_err(), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            if let Ok(path) = Path::parse(&text) {
                let _found = path.find(&json!({"a": [1]}));
            }
        }

        #[test]
        fn a_quoted_key_finds_any_key(key in "[^\\\\\"]{1,20}") {
            let mut fields = serde_json::Map::new();
            fields.insert(key.clone(), json!(1));
            let path = Path::parse(&format!("[\"{key}\"]")).expect("a path");
            prop_assert_eq!(path.find(&Value::Object(fields)), Some(json!(1)));
        }
    }
}
