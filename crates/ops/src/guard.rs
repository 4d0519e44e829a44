//! Whether a load of files may remove what it would remove. An emptied file, a folder that was not
//! mounted or half a checkout look like a wish to remove everything; keys and history would go with
//! it.
//!
//! Pure: it is told what a source owns and what would be removed, and answers with its reason. Who
//! removes by hand, in the app or over REST, names one thing at a time and is not asked.

use std::fmt;

use allclear_domain::catalog::Kind;
use serde::{Deserialize, Serialize};

/// Documents that a refusal names; the others are counted.
const MOST_NAMED: usize = 20;

/// Why a load is refused, with what it would remove.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Whose files they are.
    pub source: String,
    /// Why.
    pub why: Why,
    /// Each document that would be removed: its kind and its name.
    pub removed: Vec<(Kind, String)>,
}

/// Why a load is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It would remove everything that its source owns.
    Everything,
    /// It would remove a status page: customers would find nothing at its address.
    Page,
}

/// Refuses a load that would remove everything its source owns (`owned` documents), or a page.
#[must_use]
pub fn refuse(source: &str, owned: usize, removed: &[(Kind, String)]) -> Option<Refusal> {
    let why = if removed.is_empty() {
        return None;
    } else if removed.len() >= owned {
        Why::Everything
    } else if removed.iter().any(|(kind, _)| *kind == Kind::Page) {
        Why::Page
    } else {
        return None;
    };
    Some(Refusal { source: source.to_owned(), why, removed: removed.to_vec() })
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, why, removed } = self;
        match why {
            Why::Everything => write!(f, "the files would remove everything that the source {source:?} owns: ")?,
            Why::Page => write!(f, "the files would remove a status page of the source {source:?}: ")?,
        }
        // Pages first: they are what nobody may overlook.
        let (pages, others): (Vec<_>, Vec<_>) = removed.iter().partition(|(kind, _)| *kind == Kind::Page);
        for (n, (kind, name)) in pages.iter().chain(&others).take(MOST_NAMED).enumerate() {
            write!(f, "{}{} {name}", if n == 0 { "" } else { ", " }, kind.word())?;
        }
        if removed.len() > MOST_NAMED {
            write!(f, " and {} more", removed.len() - MOST_NAMED)?;
        }
        write!(f, ". Nothing was changed. If they are to be removed, run `allclear apply PATH --source {source:?} --remove` once")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_load_that_removes_everything_or_a_page_is_refused() {
        let (person, page) = (Kind::Person, Kind::Page);
        let table: &[(&str, usize, &[Kind], Option<Why>)] = &[
            ("a first load", 0, &[], None),
            ("nothing goes", 3, &[], None),
            ("one of several", 3, &[person], None),
            ("all but one", 3, &[person, person], None),
            ("all", 3, &[person, person, person], Some(Why::Everything)),
            ("the only one", 1, &[person], Some(Why::Everything)),
            ("the only one, a page", 1, &[page], Some(Why::Everything)),
            ("a page of several documents", 3, &[page], Some(Why::Page)),
            ("a page among others", 9, &[person, page, person], Some(Why::Page)),
        ];
        for (case, owned, kinds, expected) in table {
            let removed: Vec<_> = kinds.iter().map(|kind| (*kind, "x".to_owned())).collect();
            let refusal = refuse("config", *owned, &removed);
            assert_eq!(refusal.as_ref().map(|refusal| refusal.why), *expected, "{case}");
            assert_eq!(refusal.map(|refusal| refusal.removed), expected.map(|_| removed), "{case}");
        }
    }

    #[test]
    fn a_refusal_names_pages_first_counts_the_rest_and_says_what_to_do() {
        let mut removed: Vec<_> = (1..=25).map(|n| (Kind::Person, format!("p{n}"))).collect();
        removed.push((Kind::Page, "SYNQ".to_owned()));
        let text = refuse("config", 26, &removed).expect("refused").to_string();
        assert!(text.contains("owns: page SYNQ, person p1, person p2,"), "{text}");
        assert!(text.contains("person p19 and 6 more. Nothing was changed."), "{text}");
        assert!(text.ends_with("run `allclear apply PATH --source \"config\" --remove` once"), "{text}");
    }
}
