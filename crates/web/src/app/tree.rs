//! A JSON value as a tree that opens and closes without a script.

use askama::Template;
use serde_json::Value;

/// Values in a tree that somebody looks through; a larger one is shown as text.
const MOST_VALUES: usize = 500;

/// A tree with no more values than this is open as a whole; of others the first two levels are.
const FEW_VALUES: usize = 40;

const OPEN_LEVELS: usize = 2;

/// Deeper ones are shown as text.
const MOST_LEVELS: usize = 20;

/// A value with those within it.
#[derive(Debug, Template)]
#[template(path = "app/node.html")]
pub(crate) struct Node {
    /// Its name in an object; nothing in a list and at the top.
    name: Option<String>,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    /// As JSON writes it.
    Leaf(String),
    Branch {
        kind: &'static str,
        open: bool,
        children: Vec<Node>,
    },
}

impl Node {
    /// An object or a list as a tree; nothing for other values and for those that are too large.
    pub(crate) fn of(value: &Value) -> Option<Self> {
        let is_branch = value.is_object() || value.is_array();
        let values = count(value, 0).filter(|values| is_branch && *values <= MOST_VALUES)?;
        Some(Self::new(None, value, 0, values <= FEW_VALUES))
    }

    fn new(name: Option<String>, value: &Value, level: usize, all_open: bool) -> Self {
        let open = all_open || level < OPEN_LEVELS;
        let shape = match value {
            Value::Object(fields) => {
                let child = |(name, value): (&String, &Value)| Self::new(Some(name.clone()), value, level + 1, all_open);
                Shape::Branch { kind: "object", open, children: fields.iter().map(child).collect() }
            }
            Value::Array(items) => {
                let child = |value: &Value| Self::new(None, value, level + 1, all_open);
                Shape::Branch { kind: "list", open, children: items.iter().map(child).collect() }
            }
            leaf => Shape::Leaf(leaf.to_string()),
        };
        Self { name, shape }
    }
}

/// How many values there are in one, itself included; nothing where it is too deep.
fn count(value: &Value, level: usize) -> Option<usize> {
    let within = |mut values: Box<dyn Iterator<Item = &Value> + '_>| values.try_fold(1, |sum, value| Some(sum + count(value, level + 1)?));
    match value {
        _ if level > MOST_LEVELS => None,
        Value::Object(fields) => within(Box::new(fields.values())),
        Value::Array(items) => within(Box::new(items.iter())),
        _ => Some(1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn html(value: &Value) -> Option<String> {
        Node::of(value).map(|node| node.render().expect("a tree"))
    }

    #[test]
    fn an_object_is_a_tree_in_the_order_in_which_it_came_and_no_text_becomes_markup() {
        let tree = html(&json!({ "id": 7, "<b>": "<script>", "urls": ["a", null] })).expect("a tree");
        let at = |part: &str| tree.find(part).unwrap_or_else(|| panic!("{part} is not in {tree}"));
        assert!(at("id") < at("7") && at("7") < at("&#60;b&#62;") && at("urls") < at("null"), "{tree}");
        assert!(!tree.contains("<script>") && !tree.contains("<b>"), "{tree}");
    }

    #[test]
    fn what_nobody_looks_through_is_no_tree() {
        let deep = (0..=MOST_LEVELS).fold(json!(1), |value, _| json!([value]));
        for value in [json!("text"), json!(null), json!(vec![0; MOST_VALUES]), deep] {
            assert!(Node::of(&value).is_none());
        }
    }

    #[test]
    fn of_a_large_tree_the_first_levels_are_open() {
        let tree = html(&json!({ "rows": [{ "cells": vec![1; FEW_VALUES] }] })).expect("a tree");
        assert_eq!(tree.matches("<details open>").count(), 2, "{tree}");
        assert_eq!(tree.matches("<details>").count(), 2, "{tree}");
    }
}
