//! The variables of one run: built-ins, secrets, initial values, what steps saved.

use std::collections::BTreeMap;
use std::sync::Arc;

use allclear_base::{Clock, Rng, Secrets, id};
use allclear_domain::RunId;
use allclear_domain::apitest::template::{self, Lookup, TemplateError};
use serde_json::Value;

/// The variables of one run.
pub(crate) struct Variables {
    values: BTreeMap<String, Value>,
    run: RunId,
    secrets: Arc<Secrets>,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Variables {
    pub(crate) fn new(run: RunId, secrets: Arc<Secrets>, clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self { values: BTreeMap::new(), run, secrets, clock, rng }
    }

    /// Renders initial values once. They may use built-ins, secrets and values that were set before.
    pub(crate) fn initialise(&mut self, initial: &BTreeMap<String, Value>) -> Result<(), TemplateError> {
        // A value may refer to another that comes later in the alphabet: go on until a round brings nothing new.
        let mut left: Vec<(&String, &Value)> = initial.iter().collect();
        while !left.is_empty() {
            let before = left.len();
            let mut problem = None;
            let mut waiting = Vec::new();
            for (name, value) in left {
                match template::render_json(value, self) {
                    Ok(rendered) => {
                        self.values.insert(name.clone(), rendered);
                    }
                    Err(error) => {
                        problem = Some(error);
                        waiting.push((name, value));
                    }
                }
            }
            match problem {
                Some(error) if waiting.len() == before => return Err(error),
                _ => left = waiting,
            }
        }
        Ok(())
    }

    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    pub(crate) const fn values(&self) -> &BTreeMap<String, Value> {
        &self.values
    }
}

impl Lookup for Variables {
    /// The user's own value of a built-in's name wins, as in Runscope.
    fn lookup(&mut self, name: &str) -> Option<Value> {
        if let Some(value) = self.values.get(name) {
            return Some(value.clone());
        }
        if let Some(secret) = name.strip_prefix("secret.") {
            return self.secrets.get(secret).map(|secret| Value::String(secret.expose().to_owned()));
        }
        match name {
            "uuid" => Some(id::uuid4(&*self.rng).into()),
            "timestamp" => Some((self.clock.now_us() / 1_000_000).into()),
            "random_int" => Some(self.rng.next_u64().into()),
            "run_id" => Some(self.run.0.clone().into()),
            _ => None,
        }
    }
}

/// Whether a value's definition names a secret, so that its rendered form must not be written down.
pub(crate) fn names_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("{{") && text.contains("secret."),
        Value::Array(items) => items.iter().any(names_secret),
        Value::Object(fields) => fields.values().any(names_secret),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
