//! The forms that stored documents had over time. What was written by an older program is brought up to date on reading,
//! step by step; nothing is rewritten in the database.

use serde_json::Value;

use super::{Document, Kind, NotADocument};

/// The form that this program writes.
pub const SHAPE: i64 = 1;

/// A step from one form to the next. The first turns form 1 into form 2; there is no other form yet.
type Upcaster = fn(Kind, Value) -> Value;

const UPCASTERS: &[Upcaster] = &[];

const _: () = assert!(UPCASTERS.len() as i64 + 1 == SHAPE, "each form but the last has its step");

/// A stored document that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// A newer program wrote it.
    #[error("the document has the form {found}, this program knows {SHAPE}; use the newer program")]
    Newer {
        /// The form found.
        found: i64,
    },
    /// It does not fit its kind.
    #[error(transparent)]
    Document(#[from] NotADocument),
}

impl Document {
    /// Reads a document that was stored in the form `shape`.
    ///
    /// # Errors
    /// [`Unreadable`] where a newer program wrote it, or the body does not fit its kind.
    pub fn from_stored(kind: Kind, shape: i64, body: Value) -> Result<Self, Unreadable> {
        if shape > SHAPE {
            return Err(Unreadable::Newer { found: shape });
        }
        let steps = usize::try_from(shape.max(1) - 1).unwrap_or(0);
        let body = UPCASTERS.iter().skip(steps).fold(body, |body, step| step(kind, body));
        Ok(Self::from_json(kind, body)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Documents of every kind as each form had them. Append only: what was once stored must be readable for ever.
    const CORPUS: &[(i64, &str)] = &[(1, include_str!("shapes/1.json"))];

    fn corpus() -> Vec<(i64, Kind, Value)> {
        let read = |(shape, text): &(i64, &str)| {
            let documents: Vec<(Kind, Value)> = serde_json::from_str(text).expect("a list of kinds and bodies");
            documents.into_iter().map(|(kind, body)| (*shape, kind, body)).collect::<Vec<_>>()
        };
        CORPUS.iter().flat_map(read).collect()
    }

    #[test]
    fn documents_of_every_form_are_read_and_those_of_this_one_are_written_as_they_were() {
        for (shape, kind, body) in corpus() {
            let read = Document::from_stored(kind, shape, body.clone()).unwrap_or_else(|e| panic!("{shape} {}: {e}", kind.word()));
            if shape == SHAPE {
                assert_eq!(read.to_json().expect("JSON"), body, "{}", kind.word());
            }
        }
    }

    #[test]
    fn the_corpus_has_every_form_and_every_kind() {
        assert_eq!(CORPUS.iter().map(|(shape, _)| *shape).collect::<Vec<_>>(), (1..=SHAPE).collect::<Vec<_>>());
        for kind in Kind::ALL {
            assert!(corpus().iter().any(|(shape, k, _)| *shape == SHAPE && *k == kind), "{}", kind.word());
        }
    }

    #[test]
    fn fields_that_this_program_does_not_know_stay_as_they_came() {
        for (shape, kind, mut body) in corpus() {
            body["of_a_later_program"] = serde_json::json!({ "a": [1, null] });
            let read = Document::from_stored(kind, shape, body.clone()).expect("readable");
            assert_eq!(read.to_json().expect("JSON")["of_a_later_program"], body["of_a_later_program"], "{}", kind.word());
        }
    }

    #[test]
    fn a_form_of_a_newer_program_is_refused() {
        let refused = Document::from_stored(Kind::Location, SHAPE + 1, serde_json::json!({ "name": "x" }));
        assert!(matches!(refused, Err(Unreadable::Newer { .. })), "{refused:?}");
    }
}
