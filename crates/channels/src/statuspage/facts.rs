//! StatusPage's facts. Sources: the `OpenAPI` document of its manage API (path, parameters, statuses);
//! its page on rate limits.

use http::Method;

use crate::facts::Operation;

/// Changes a component.
pub(super) const UPDATE_COMPONENT: Operation = Operation {
    name: "update_component",
    method: Method::PATCH,
    path: "/v1/pages/{page_id}/components/{component_id}",
    sends: &["status"],
};

/// The status by which it asks a key to wait; elsewhere that is 429.
pub(super) const RATE_LIMITED: u16 = 420;

/// What stands before the key.
pub(super) const AUTHORIZATION: &str = "OAuth ";

#[cfg(test)]
mod tests {
    use allclear_domain::status::ComponentStatus;

    use super::*;
    use crate::facts::tests::{agrees, extract, words};

    #[test]
    fn statuspages_facts_are_those_of_its_documents() {
        let statuspage = extract("statuspage");
        agrees(&statuspage, &UPDATE_COMPONENT);
        assert_eq!(statuspage["rates"]["status"], RATE_LIMITED);
        assert_eq!(statuspage["authorization"], AUTHORIZATION);
        let known = words(&statuspage["statuses"]);
        for status in ComponentStatus::ALL {
            assert!(known.contains(&status.word()), "{}", status.word());
        }
    }
}
