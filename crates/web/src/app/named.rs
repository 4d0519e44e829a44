//! Something that is chosen by its name: from a list, or, where that would be too long to be of use, by writing it.

use allclear_domain::catalog::{Catalog, Document, Kind};

/// Names in a list at most.
const MOST: usize = 500;

/// The names of what can be chosen, in their order.
#[derive(Debug)]
pub(crate) struct Named {
    names: Vec<String>,
    chosen: String,
    /// How many there are, where they are too many for a list.
    too_many: Option<usize>,
}

impl Named {
    /// All of a kind for which `which` holds; `chosen` is what was sent before.
    pub(crate) fn of(catalog: &Catalog, kind: Kind, chosen: &str, which: impl Fn(&Document) -> bool) -> Self {
        let found = catalog.of_kind(kind).map(|resource| &resource.document).filter(|document| which(document));
        let mut names: Vec<String> = found.map(Document::name).collect();
        names.sort();
        let too_many = Some(names.len()).filter(|count| *count > MOST);
        if too_many.is_some() {
            names.clear();
        }
        Self { names, chosen: chosen.to_owned(), too_many }
    }

    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    pub(crate) fn chosen(&self) -> &str {
        &self.chosen
    }

    pub(crate) const fn too_many(&self) -> Option<usize> {
        self.too_many
    }

    /// Whether there is nothing to choose.
    pub(crate) const fn is_empty(&self) -> bool {
        self.names.is_empty() && self.too_many.is_none()
    }
}
