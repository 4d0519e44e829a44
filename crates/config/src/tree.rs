//! YAML as a tree that knows where everything stands. Bounded: depth, and what aliases may grow to.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use crate::diagnostic::Sink;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Pos {
    /// From 1.
    pub(crate) line: usize,
    /// From 1, in characters.
    pub(crate) column: usize,
    /// In characters.
    pub(crate) width: usize,
}

/// A value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) pos: Pos,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// A scalar; plain ones may be numbers, booleans or null.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// Deeper than this is no configuration.
const DEEPEST: usize = 64;

/// Nodes of one file, those that aliases repeat included: a bound on what a small file can grow to.
const MOST_NODES: usize = 500_000;

/// The documents of a text. What is wrong goes to `sink`; reading stops at the first syntax error, because YAML
/// gives no way to know where the next document begins then.
pub(crate) fn parse(text: &str, sink: &Sink) -> Vec<Node> {
    let mut builder = Builder { sink, stack: vec![], documents: vec![], anchors: HashMap::new(), nodes: 0, stopped: false };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.take(event, &span),
            Err(error) => {
                let marker = error.marker();
                let pos = Pos { line: marker.line().max(1), column: marker.col() + 1, width: 1 };
                sink.error(pos, format!("this is not YAML: {}", error.info()), None);
                break;
            }
        }
        if builder.stopped {
            break;
        }
    }
    builder.documents
}

struct Frame {
    pos: Pos,
    anchor: usize,
    items: Vec<Node>,
    map: bool,
}

struct Builder<'a> {
    sink: &'a Sink,
    stack: Vec<Frame>,
    documents: Vec<Node>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    stopped: bool,
}

fn pos_of(span: &Span) -> Pos {
    let width = if span.end.line() == span.start.line() { span.end.col().saturating_sub(span.start.col()) } else { 1 };
    Pos { line: span.start.line().max(1), column: span.start.col() + 1, width: width.max(1) }
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: &Span) {
        let pos = pos_of(span);
        match event {
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                self.add(Node { pos, value: Value::Scalar { text: text.into_owned(), plain } }, anchor, pos);
            }
            Event::SequenceStart(anchor, _) => self.open(pos, anchor, false),
            Event::MappingStart(anchor, _) => self.open(pos, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.add(node, 0, pos),
                None => self.stop(pos, "this alias names nothing"),
            },
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
    }

    fn stop(&mut self, pos: Pos, why: &str) {
        self.sink.error(pos, why, None);
        self.stopped = true;
    }

    fn open(&mut self, pos: Pos, anchor: usize, map: bool) {
        if self.stack.len() >= DEEPEST {
            return self.stop(pos, "this is nested too deeply");
        }
        self.stack.push(Frame { pos, anchor, items: vec![], map });
    }

    fn close(&mut self) {
        let Some(frame) = self.stack.pop() else { return };
        let value = if frame.map {
            let mut items = frame.items.into_iter();
            let mut pairs = Vec::new();
            while let (Some(key), Some(value)) = (items.next(), items.next()) {
                pairs.push((key, value));
            }
            Value::Map(pairs)
        } else {
            Value::List(frame.items)
        };
        self.add(Node { pos: frame.pos, value }, frame.anchor, frame.pos);
    }

    fn add(&mut self, node: Node, anchor: usize, pos: Pos) {
        self.nodes += size(&node, MOST_NODES);
        if self.nodes > MOST_NODES {
            return self.stop(pos, "this file is too large once its aliases are replaced");
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.stack.last_mut() {
            Some(frame) => frame.items.push(node),
            // A document of nothing (a `---` at the end) is no document.
            None if matches!(&node.value, Value::Scalar { text, plain: true } if text.is_empty() || text == "~") => {}
            None => self.documents.push(node),
        }
    }
}

/// Counts an alias's copy; a node that was just read counts as one, its children were counted before.
fn size(node: &Node, most: usize) -> usize {
    match &node.value {
        Value::Scalar { .. } => 1,
        Value::List(items) => items.iter().map(|item| size(item, most)).sum::<usize>().min(most) + 1,
        Value::Map(pairs) => pairs.iter().map(|(_, value)| size(value, most)).sum::<usize>().min(most) + 1,
    }
}

impl Node {
    /// What it is, for an error.
    pub(crate) fn what(&self) -> &'static str {
        match &self.value {
            Value::Scalar { text, plain: true } if text.is_empty() => "nothing",
            Value::Scalar { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// The value as JSON; plain scalars by YAML's core schema.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Scalar { text, plain: true } => plain_value(text),
            Value::Scalar { text, plain: false } => text.clone().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(pairs) => pairs.iter().map(|(key, value)| (key.text(), value.to_json())).collect(),
        }
    }

    /// The scalar's text; for other nodes what they are.
    pub(crate) fn text(&self) -> String {
        match &self.value {
            Value::Scalar { text, .. } => text.clone(),
            Value::List(_) | Value::Map(_) => self.what().to_owned(),
        }
    }
}

fn plain_value(text: &str) -> serde_json::Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => serde_json::Value::Null,
        "true" | "True" | "TRUE" => true.into(),
        "false" | "False" | "FALSE" => false.into(),
        _ => {
            let numeric = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
            // A number with a leading zero or plus is a code or a telephone number, not a quantity.
            let code = text.len() > 1 && (text.starts_with('+') || (text.starts_with('0') && !text.starts_with("0.")));
            if numeric && !code {
                if let Ok(whole) = text.parse::<i64>() {
                    return whole.into();
                }
                if let Some(number) = text.parse::<f64>().ok().filter(|n| n.is_finite()).and_then(serde_json::Number::from_f64) {
                    return number.into();
                }
            }
            text.into()
        }
    }
}
