//! The files' form for editors. What it accepts, `check` may still refuse: a schema knows one document at a time.

/// A JSON Schema (draft 2020-12) of a document.
pub const SCHEMA: &str = include_str!("schema.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use allclear_domain::catalog::Kind;
    use serde_json::Value;

    use super::SCHEMA;
    use crate::diagnostic::Sink;
    use crate::tree;

    fn schema() -> Value {
        serde_json::from_str(SCHEMA).expect("JSON")
    }

    /// The words of the draft that the schema uses, and no others.
    struct Reader {
        whole: Value,
        seen: BTreeSet<String>,
    }

    impl Reader {
        fn accepts(&mut self, schema: &Value, value: &Value) -> Result<(), String> {
            let fail = |why: &str| Err(format!("{value}: {why}: {schema}"));
            if let Some(reference) = schema["$ref"].as_str() {
                let target = self.whole.pointer(reference.trim_start_matches('#')).expect("a definition").clone();
                return self.accepts(&target, value);
            }
            for part in schema["allOf"].as_array().into_iter().flatten() {
                let kind = &part["if"]["properties"]["kind"]["const"];
                if value["kind"] == *kind {
                    self.accepts(&part["then"].clone(), value)?;
                }
            }
            if let Some(choices) = schema["oneOf"].as_array() {
                let fits = choices.clone().iter().filter(|choice| self.accepts(choice, value).is_ok()).count();
                return if fits == 1 { Ok(()) } else { fail(&format!("fits {fits} of the choices")) };
            }
            if schema["const"].is_string() && schema["const"] != *value {
                return fail("is another value");
            }
            if schema["enum"].as_array().is_some_and(|known| !known.contains(value)) {
                return fail("is none of these");
            }
            let is = |name: &str| match name {
                "string" => value.is_string(),
                "integer" => value.is_i64(),
                "number" => value.is_number(),
                "boolean" => value.is_boolean(),
                "object" => value.is_object(),
                "array" => value.is_array(),
                _ => value.is_null(),
            };
            let fits_type = match &schema["type"] {
                Value::String(name) => is(name),
                Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
                _ => true,
            };
            if !fits_type {
                return fail("has another type");
            }
            if let (Some(pattern), Some(text)) = (schema["pattern"].as_str(), value.as_str())
                && !regex::Regex::new(pattern).expect("a pattern").is_match(text)
            {
                return fail("does not match");
            }
            if value.as_i64().is_some_and(|n| {
                schema["minimum"].as_i64().is_some_and(|least| n < least) || schema["maximum"].as_i64().is_some_and(|most| n > most)
            }) {
                return fail("is out of bounds");
            }
            for item in value.as_array().into_iter().flatten() {
                self.accepts(&schema["items"].clone(), item)?;
            }
            let Some(fields) = value.as_object() else { return Ok(()) };
            for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                if !fields.contains_key(name) {
                    return fail(&format!("has no {name}"));
                }
            }
            for (name, value) in fields {
                match (&schema["properties"][name], &schema["additionalProperties"]) {
                    (Value::Null, Value::Bool(false)) => return fail(&format!("has no field {name}")),
                    (Value::Null, more @ Value::Object(_)) => self.accepts(&more.clone(), value)?,
                    (Value::Null, _) => {}
                    (known, _) => {
                        self.seen.insert(known["description"].as_str().unwrap_or(name).to_owned());
                        self.accepts(&known.clone(), value)?;
                    }
                }
            }
            Ok(())
        }
    }

    fn documents(text: &str) -> Vec<Value> {
        let sink = Sink::new(std::path::Path::new("file.yaml"), text);
        tree::parse(text, &sink).iter().map(tree::Node::to_json).collect()
    }

    /// Every description of a property.
    fn described(schema: &Value, into: &mut BTreeSet<String>) {
        match schema {
            Value::Object(inner) => {
                for property in inner.get("properties").and_then(Value::as_object).into_iter().flat_map(|p| p.values()) {
                    into.extend(property["description"].as_str().map(str::to_owned));
                }
                inner.values().for_each(|value| described(value, into));
            }
            Value::Array(items) => items.iter().for_each(|item| described(item, into)),
            _ => {}
        }
    }

    #[test]
    fn a_file_with_everything_fits_and_uses_every_field_of_it() {
        let whole = schema();
        let mut reader = Reader { whole: whole.clone(), seen: BTreeSet::new() };
        for document in documents(include_str!("everything.yaml")) {
            reader.accepts(&whole, &document).unwrap_or_else(|why| panic!("{why}"));
        }
        let mut all = BTreeSet::new();
        described(&whole["$defs"], &mut all);
        let unused: Vec<_> = all.difference(&reader.seen).collect();
        assert!(unused.is_empty(), "no document of the file shows: {unused:?}");
    }

    #[test]
    fn it_knows_every_kind() {
        let kinds: BTreeSet<String> = Kind::ALL.iter().map(|kind| kind.word().to_owned()).collect();
        let known = schema()["properties"]["kind"]["enum"]
            .as_array()
            .expect("kinds")
            .iter()
            .filter_map(|k| k.as_str().map(str::to_owned))
            .collect();
        assert_eq!(kinds, known);
    }

    #[test]
    fn a_misspelt_field_does_not_fit() {
        let whole = schema();
        let mut reader = Reader { whole: whole.clone(), seen: BTreeSet::new() };
        let wrong = documents("kind: person\nname: Ada\nemial: a@b.example\n");
        assert!(reader.accepts(&whole, &wrong[0]).is_err_and(|why| why.contains("emial")));
    }
}
