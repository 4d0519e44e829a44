//! `{{variables}}` in texts and in JSON.
//!
//! A name is looked up in the caller's [`Lookup`], which also knows the built-ins; an unknown name is an error
//! that carries it. A value of JSON keeps its type where a string is exactly one variable.

use serde_json::Value;

/// Where variables come from. `&mut`, because some built-ins give a new value each time.
pub trait Lookup {
    /// The value of `name`, or nothing if there is none.
    fn lookup(&mut self, name: &str) -> Option<Value>;
}

/// A template that cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A variable that nothing defines.
    #[error("the variable \"{0}\" is not defined")]
    Undefined(String),
    /// `{{` without `}}`, or nothing between them.
    #[error("\"{0}\" is not a variable; write {{{{name}}}}")]
    Malformed(String),
}

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text as it stands.
    Text(&'a str),
    /// A variable's name.
    Variable(&'a str),
}

/// Cuts a text into its pieces.
///
/// # Errors
/// [`TemplateError::Malformed`] for `{{` without a name or without `}}`.
pub fn pieces(text: &str) -> Result<Vec<Piece<'_>>, TemplateError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find("{{") {
        if open > 0 {
            found.push(Piece::Text(&rest[..open]));
        }
        let inner = &rest[open + 2..];
        let malformed = || TemplateError::Malformed(rest[open..].chars().take(30).collect());
        let close = inner.find("}}").ok_or_else(malformed)?;
        let name = inner[..close].trim();
        if name.is_empty() || !name.chars().all(is_name_char) {
            return Err(malformed());
        }
        found.push(Piece::Variable(name));
        rest = &inner[close + 2..];
    }
    if !rest.is_empty() {
        found.push(Piece::Text(rest));
    }
    Ok(found)
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

/// The text form of a value: strings as they are, everything else as JSON.
#[must_use]
pub fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// Renders a text; each variable's text form passes through `encode`.
///
/// # Errors
/// [`TemplateError`] for the first variable that is not defined or not well formed.
pub fn render_with(text: &str, from: &mut dyn Lookup, encode: &dyn Fn(&str) -> String) -> Result<String, TemplateError> {
    if !text.contains("{{") {
        return Ok(text.to_owned());
    }
    let mut out = String::with_capacity(text.len() + 32);
    for piece in pieces(text)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Variable(name) => out.push_str(&encode(&text_of(&resolve(name, from)?))),
        }
    }
    Ok(out)
}

/// Renders a text without any encoding.
///
/// # Errors
/// As [`render_with`].
pub fn render(text: &str, from: &mut dyn Lookup) -> Result<String, TemplateError> {
    render_with(text, from, &str::to_owned)
}

/// Renders every string of a JSON value, keys included. A string that is exactly one variable becomes that
/// variable's value with its type.
///
/// # Errors
/// As [`render_with`].
pub fn render_json(value: &Value, from: &mut dyn Lookup) -> Result<Value, TemplateError> {
    match value {
        Value::String(text) => match pieces(text)?.as_slice() {
            [Piece::Variable(name)] => resolve(name, from),
            _ => Ok(Value::String(render(text, from)?)),
        },
        Value::Array(items) => items.iter().map(|item| render_json(item, from)).collect::<Result<Vec<_>, _>>().map(Value::Array),
        Value::Object(fields) => {
            let mut rendered = serde_json::Map::with_capacity(fields.len());
            for (key, field) in fields {
                rendered.insert(render(key, from)?, render_json(field, from)?);
            }
            Ok(Value::Object(rendered))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(value.clone()),
    }
}

fn resolve(name: &str, from: &mut dyn Lookup) -> Result<Value, TemplateError> {
    from.lookup(name).ok_or_else(|| TemplateError::Undefined(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    struct Fixed(Value);

    impl Lookup for Fixed {
        fn lookup(&mut self, name: &str) -> Option<Value> {
            self.0.get(name).cloned()
        }
    }

    fn variables() -> Fixed {
        Fixed(json!({"base": "https://x", "n": 7, "list": [1, "a"], "secret.KEY": "k\"y"}))
    }

    #[test]
    fn a_text_takes_the_text_form_of_each_variable() {
        assert_eq!(render("{{base}}/v1/{{ n }}?{{secret.KEY}}", &mut variables()), Ok("https://x/v1/7?k\"y".to_owned()));
    }

    #[test]
    fn a_string_of_json_that_is_one_variable_keeps_its_type() {
        let rendered = render_json(&json!({"n": "{{n}}", "s": "no {{n}}", "{{n}}": ["{{list}}"]}), &mut variables());
        assert_eq!(rendered, Ok(json!({"n": 7, "s": "no 7", "7": [[1, "a"]]})));
    }

    #[test]
    fn an_undefined_variable_is_named() {
        assert_eq!(render("{{nope}}", &mut variables()), Err(TemplateError::Undefined("nope".to_owned())));
    }

    #[test]
    fn an_unclosed_variable_is_malformed() {
        assert_eq!(render("a {{base", &mut variables()), Err(TemplateError::Malformed("{{base".to_owned())));
        assert!(render("{{}}", &mut variables()).is_err());
    }

    proptest! {
        #[test]
        fn a_text_without_double_braces_is_rendered_as_it_stands(text in "[^{]{0,80}") {
            prop_assert_eq!(render(&text, &mut variables()), Ok(text));
        }

        #[test]
        fn no_text_makes_the_renderer_panic(text in "\\PC{0,80}") {
            let _rendered = render(&text, &mut variables());
        }
    }
}
