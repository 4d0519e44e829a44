//! The providers' facts in one form, and the test that compares them with the extract of the vendors'
//! documents under `facts/`. The stage reads that extract and nothing of this crate, so that both
//! cannot share a mistake.

use http::Method;

/// One operation of a provider's API, as far as we use it.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// Its name in the extract.
    #[cfg_attr(not(test), expect(dead_code, reason = "it is what the test finds it by in the extract"))]
    pub(crate) name: &'static str,
    /// The method.
    pub(crate) method: Method,
    /// The path, with names in braces.
    pub(crate) path: &'static str,
    /// The parameters that we may send.
    pub(crate) sends: &'static [&'static str],
}

impl Operation {
    /// The operation's address on `api`, with `values` in place of the names in braces.
    pub(crate) fn url(&self, api: &str, values: &[(&str, &str)]) -> String {
        let path = values.iter().fold(self.path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value));
        format!("{}{path}", api.trim_end_matches('/'))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::Operation;

    /// The extract for a provider.
    pub(crate) fn extract(name: &str) -> Value {
        let path = format!("{}/facts/{name}.json", env!("CARGO_MANIFEST_DIR"));
        serde_json::from_str(&std::fs::read_to_string(path).expect("the extract")).expect("JSON")
    }

    /// The texts of a list.
    pub(crate) fn words(list: &Value) -> Vec<&str> {
        list.as_array().expect("a list").iter().map(|word| word.as_str().expect("a text")).collect()
    }

    /// Compares an operation with the extract: the same method and path; everything that must be
    /// sent is sent, and nothing that the provider does not know.
    pub(crate) fn agrees(provider: &Value, ours: &Operation) {
        let theirs = &provider["operations"][ours.name];
        assert_eq!(theirs["method"], ours.method.as_str(), "{}", ours.name);
        assert_eq!(theirs["path"], ours.path, "{}", ours.name);
        let known = words(&theirs["known"]);
        for sent in ours.sends {
            assert!(known.contains(sent), "{} does not know {sent}", ours.name);
        }
        for required in words(&theirs["required"]) {
            assert!(ours.sends.contains(&required), "{} needs {required}", ours.name);
        }
    }
}
