//! The real StatusPage in miniature: components that its manage API changes.

use std::collections::BTreeMap;

use serde_json::json;

use crate::faults::Faults;
use crate::wire::{Player, Reply, Request, Response};

const STATUSES: &[&str] = &["operational", "degraded_performance", "partial_outage", "major_outage", "under_maintenance"];

/// The service, with one page.
#[derive(Debug)]
pub struct StatusPage {
    api_key: String,
    page: String,
    /// Every status that each component had, the last one last.
    components: BTreeMap<String, Vec<String>>,
    faults: Faults,
}

impl StatusPage {
    /// A page with these components, all operational.
    #[must_use]
    pub fn new(api_key: &str, page: &str, components: &[&str]) -> Self {
        let components = components.iter().map(|id| ((*id).to_owned(), vec!["operational".to_owned()])).collect();
        Self { api_key: api_key.to_owned(), page: page.to_owned(), components, faults: Faults::default() }
    }

    /// What a component shows.
    #[must_use]
    pub fn shows(&self, component: &str) -> Option<&str> {
        self.components.get(component)?.last().map(String::as_str)
    }

    /// Everything that a component showed.
    #[must_use]
    pub fn showed(&self, component: &str) -> Vec<String> {
        self.components.get(component).cloned().unwrap_or_default()
    }

    /// The faults in force.
    pub const fn faults(&mut self) -> &mut Faults {
        &mut self.faults
    }

    fn patch(&mut self, request: &Request) -> Response {
        let prefix = format!("/v1/pages/{}/components/", self.page);
        let status = request.json()["component"]["status"].as_str().unwrap_or_default().to_owned();
        let known = request.path.strip_prefix(&prefix).and_then(|id| self.components.get_mut(id));
        match known {
            None => Response::json(404, &json!({ "error": "not found" })),
            Some(_) if !STATUSES.contains(&status.as_str()) => {
                Response::json(422, &json!({ "error": ["Status is not included in the list"] }))
            }
            Some(showed) => {
                showed.push(status.clone());
                Response::json(200, &json!({ "status": status }))
            }
        }
    }
}

impl Player for StatusPage {
    fn handle(&mut self, request: &Request, _now_ms: u64) -> Reply {
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/components") => return Response::json(200, &json!({ "components": self.components })).into(),
            ("POST", "/_stage/faults") => return self.faults.set(request),
            _ => {}
        }
        if let Some(refusal) = self.faults.refusal() {
            return refusal;
        }
        let known = request.header("authorization") == Some(&format!("OAuth {}", self.api_key));
        let response = match request.method.as_str() {
            _ if !known => Response::json(401, &json!({ "error": "Could not authenticate" })),
            "PATCH" => self.patch(request),
            _ => Response::json(404, &json!({ "error": "not found" })),
        };
        self.faults.spoil(response.into())
    }
}
