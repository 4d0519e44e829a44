//! Runscope's comparisons: what is read from a response against what is expected of it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::template::text_of;

/// How a value is compared with its target. Names are Runscope's; the words of its result bodies are accepted too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Comparison {
    /// Present, and `""` or null.
    #[serde(alias = "is_empty")]
    Empty,
    /// Present, and neither `""` nor null.
    #[serde(alias = "is_not_empty")]
    NotEmpty,
    /// The same text; other types are cast to text.
    #[serde(alias = "equals", alias = "is_equal")]
    Equal,
    /// Present, and another text.
    #[serde(alias = "does_not_equal")]
    NotEqual,
    /// The text contains the target.
    Contains,
    /// Present, and the text does not contain the target.
    DoesNotContain,
    /// An object that has the key.
    HasKey,
    /// A list or object that has the value.
    HasValue,
    /// Present and null.
    IsNull,
    /// A number, or a text that reads as one.
    IsANumber,
    /// Smaller, as numbers.
    #[serde(alias = "less_than")]
    IsLessThan,
    /// Smaller or the same, as numbers.
    #[serde(alias = "less_than_or_equal")]
    IsLessThanOrEqual,
    /// Greater, as numbers.
    #[serde(alias = "greater_than")]
    IsGreaterThan,
    /// Greater or the same, as numbers.
    #[serde(alias = "greater_than_or_equal")]
    IsGreaterThanOrEqual,
    /// The same number: `1.000` is `1`.
    #[serde(alias = "equals_number")]
    EqualNumber,
}

/// Every comparison with its word, in the order of Runscope's documentation.
pub const COMPARISONS: &[(&str, Comparison)] = &[
    ("empty", Comparison::Empty),
    ("not_empty", Comparison::NotEmpty),
    ("equal", Comparison::Equal),
    ("not_equal", Comparison::NotEqual),
    ("contains", Comparison::Contains),
    ("does_not_contain", Comparison::DoesNotContain),
    ("has_key", Comparison::HasKey),
    ("has_value", Comparison::HasValue),
    ("is_null", Comparison::IsNull),
    ("is_a_number", Comparison::IsANumber),
    ("is_less_than", Comparison::IsLessThan),
    ("is_less_than_or_equal", Comparison::IsLessThanOrEqual),
    ("is_greater_than", Comparison::IsGreaterThan),
    ("is_greater_than_or_equal", Comparison::IsGreaterThanOrEqual),
    ("equal_number", Comparison::EqualNumber),
];

impl Comparison {
    /// The word used in files.
    #[must_use]
    pub fn word(self) -> &'static str {
        COMPARISONS.iter().find(|(_, comparison)| *comparison == self).map_or("", |(word, _)| word)
    }

    /// Whether it needs a target.
    #[must_use]
    pub const fn needs_value(self) -> bool {
        !matches!(self, Self::Empty | Self::NotEmpty | Self::IsNull | Self::IsANumber)
    }

    /// What is expected, in words; `target` is the value that it is compared with.
    #[must_use]
    pub fn expects(self, target: &str) -> String {
        match self {
            Self::Empty => "empty".to_owned(),
            Self::NotEmpty => "not empty".to_owned(),
            Self::Equal | Self::EqualNumber => target.to_owned(),
            Self::NotEqual => format!("anything but {target}"),
            Self::Contains => format!("something that contains {target}"),
            Self::DoesNotContain => format!("something that does not contain {target}"),
            Self::HasKey => format!("something with the key {target}"),
            Self::HasValue => format!("something with the value {target}"),
            Self::IsNull => "null".to_owned(),
            Self::IsANumber => "a number".to_owned(),
            Self::IsLessThan => format!("less than {target}"),
            Self::IsLessThanOrEqual => format!("at most {target}"),
            Self::IsGreaterThan => format!("more than {target}"),
            Self::IsGreaterThanOrEqual => format!("at least {target}"),
        }
    }

    /// A target as it is told: a number without quotes, also where a file has some.
    #[must_use]
    pub fn target(self, value: &Value) -> String {
        let as_number = matches!(
            self,
            Self::EqualNumber | Self::IsLessThan | Self::IsLessThanOrEqual | Self::IsGreaterThan | Self::IsGreaterThanOrEqual
        );
        value.as_str().filter(|_| as_number).map_or_else(|| value.to_string(), str::to_owned)
    }

    /// Whether `actual` stands in this relation to `target`. A missing value satisfies nothing: every comparison
    /// asks first that the value is there.
    #[must_use]
    pub fn holds(self, actual: Option<&Value>, target: &Value) -> bool {
        let Some(actual) = actual else { return false };
        match self {
            Self::Empty => is_empty(actual),
            Self::NotEmpty => !is_empty(actual),
            Self::Equal => text_of(actual) == text_of(target),
            Self::NotEqual => text_of(actual) != text_of(target),
            Self::Contains => text_of(actual).contains(&text_of(target)),
            Self::DoesNotContain => !text_of(actual).contains(&text_of(target)),
            Self::HasKey => actual.get(text_of(target)).is_some(),
            Self::HasValue => has_value(actual, target),
            Self::IsNull => actual.is_null(),
            Self::IsANumber => number_of(actual).is_some(),
            Self::IsLessThan => numbers(actual, target).is_some_and(|(a, b)| a < b),
            Self::IsLessThanOrEqual => numbers(actual, target).is_some_and(|(a, b)| a <= b),
            Self::IsGreaterThan => numbers(actual, target).is_some_and(|(a, b)| a > b),
            Self::IsGreaterThanOrEqual => numbers(actual, target).is_some_and(|(a, b)| a >= b),
            Self::EqualNumber => equal_numbers(actual, target),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

fn has_value(actual: &Value, target: &Value) -> bool {
    let same = |item: &Value| item == target || text_of(item) == text_of(target);
    match actual {
        Value::Array(items) => items.iter().any(same),
        Value::Object(fields) => fields.values().any(same),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn number_of(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn numbers(a: &Value, b: &Value) -> Option<(f64, f64)> {
    Some((number_of(a)?, number_of(b)?))
}

/// Whole numbers are compared exactly: two large ids that differ by one are the same as `f64`.
#[expect(clippy::float_cmp, reason = "the comparison asks for equality")]
fn equal_numbers(a: &Value, b: &Value) -> bool {
    match (whole_number_of(a), whole_number_of(b)) {
        (Some(a), Some(b)) => a == b,
        _ => numbers(a, b).is_some_and(|(a, b)| a == b),
    }
}

fn whole_number_of(value: &Value) -> Option<i128> {
    match value {
        Value::Number(number) => number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from)),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Comparison as C;
    use proptest::prelude::*;
    use serde_json::json;

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "\\PC{0,12}|[0-9.eE+-]{0,12}|inf|NaN".prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::vec(("[a-c]", inner), 0..3).prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_comparison_and_its_opposite_never_agree(a in values(), b in values()) {
            let holds = |comparison: Comparison| comparison.holds(Some(&a), &b);
            prop_assert_ne!(holds(C::Equal), holds(C::NotEqual));
            prop_assert_ne!(holds(C::Empty), holds(C::NotEmpty));
            prop_assert_ne!(holds(C::Contains), holds(C::DoesNotContain));
            prop_assert!(!(holds(C::IsLessThan) && holds(C::IsGreaterThanOrEqual)));
            prop_assert!(!(holds(C::IsGreaterThan) && holds(C::IsLessThanOrEqual)));
        }

        #[test]
        fn nothing_that_is_not_there_satisfies_a_comparison(target in values()) {
            prop_assert!(COMPARISONS.iter().all(|(_, comparison)| !comparison.holds(None, &target)));
        }
    }

    #[test]
    fn each_comparison_holds_and_fails_as_runscope_defines_it() {
        let none = Value::Null;
        let table: &[(Comparison, Value, Value, bool)] = &[
            (C::Empty, json!(""), none.clone(), true),
            (C::Empty, json!(null), none.clone(), true),
            (C::Empty, json!([]), none.clone(), false),
            (C::NotEmpty, json!("x"), none.clone(), true),
            (C::NotEmpty, json!(0), none.clone(), true),
            (C::NotEmpty, json!(""), none.clone(), false),
            (C::Equal, json!(200), json!("200"), true),
            (C::Equal, json!("a"), json!("b"), false),
            (C::NotEqual, json!("a"), json!("b"), true),
            (C::Contains, json!("hello"), json!("ell"), true),
            (C::DoesNotContain, json!("hello"), json!("xyz"), true),
            (C::HasKey, json!({"a": 1}), json!("a"), true),
            (C::HasKey, json!(["a"]), json!("a"), false),
            (C::HasValue, json!(["a", 2]), json!("2"), true),
            (C::HasValue, json!({"k": "v"}), json!("v"), true),
            (C::HasValue, json!("v"), json!("v"), false),
            (C::IsNull, json!(null), none.clone(), true),
            (C::IsNull, json!(""), none.clone(), false),
            (C::IsANumber, json!("12.5"), none.clone(), true),
            (C::IsANumber, json!("twelve"), none.clone(), false),
            (C::IsANumber, json!("inf"), none, false),
            (C::IsLessThan, json!("9"), json!(10), true),
            (C::IsLessThanOrEqual, json!(10), json!("10"), true),
            (C::IsGreaterThan, json!(10), json!(10), false),
            (C::IsGreaterThanOrEqual, json!(10), json!(10), true),
            (C::IsGreaterThan, json!("x"), json!(1), false),
            (C::EqualNumber, json!("1.000"), json!(1), true),
            (C::EqualNumber, json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992_i64), false),
        ];
        for (comparison, actual, target, expected) in table {
            assert_eq!(comparison.holds(Some(actual), target), *expected, "{actual} {} {target}", comparison.word());
        }
    }

    #[test]
    fn a_missing_value_satisfies_no_comparison() {
        for (word, comparison) in COMPARISONS {
            assert!(!comparison.holds(None, &json!("x")), "{word}");
        }
    }

    #[test]
    fn every_comparison_is_read_by_the_word_it_is_written_with() {
        for (word, comparison) in COMPARISONS {
            assert_eq!(serde_json::from_value::<Comparison>(json!(word)).ok(), Some(*comparison));
            assert_eq!(comparison.word(), *word);
        }
    }
}
