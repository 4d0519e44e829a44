//! The real StatusPage in miniature: components that its manage API changes. Of that API it has the
//! one operation that the extract names.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::facts::{self, STATUSPAGE};
use crate::faults::{Faults, Refusal};
use crate::house::{House, Violation, no_such_control};
use crate::rates::{Pace, Rates};
use crate::wire::{Player, Reply, Request, Response};

/// The service, with one page.
#[derive(Debug)]
pub struct StatusPage {
    house: House,
    api_key: String,
    /// A key of another organisation.
    foreign_key: Option<String>,
    page: String,
    /// Every status that each component had, the last one last.
    components: BTreeMap<String, Vec<String>>,
    /// What else was set on a component.
    set: BTreeMap<String, Map<String, Value>>,
    /// The pace of each key.
    paces: BTreeMap<String, Pace>,
}

/// A request that is refused.
struct Refused {
    status: u16,
    error: Value,
}

fn refused(status: u16, error: impl Into<Value>) -> Refused {
    Refused { status, error: error.into() }
}

impl StatusPage {
    /// A page with these components, all operational.
    #[must_use]
    pub fn new(api_key: &str, page: &str, components: &[&str]) -> Self {
        let operational = |id: &&str| ((*id).to_owned(), vec!["operational".to_owned()]);
        Self {
            house: House::default(),
            api_key: api_key.to_owned(),
            foreign_key: None,
            page: page.to_owned(),
            components: components.iter().map(operational).collect(),
            set: BTreeMap::new(),
            paces: BTreeMap::new(),
        }
    }

    /// A key that is good for the pages of another organisation.
    pub fn set_foreign_key(&mut self, key: &str) {
        self.foreign_key = Some(key.to_owned());
    }

    /// Somebody deletes a component.
    pub fn delete(&mut self, component: &str) {
        self.components.remove(component);
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
        &mut self.house.faults
    }

    /// Puts rates in force or lifts them.
    pub const fn set_rates(&mut self, rates: Rates) {
        self.house.rates = rates;
    }

    /// Everything that broke one of StatusPage's rules.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        self.house.violations()
    }

    fn serve(&mut self, request: &Request, now_ms: u64) -> Result<Response, Refused> {
        let start = STATUSPAGE["authorization"].as_str().unwrap_or_default();
        let given = request.header("authorization").unwrap_or_default();
        let key = given.strip_prefix(start).unwrap_or_default().to_owned();
        let is_foreign = self.foreign_key.as_deref() == Some(&key);
        if key != self.api_key && !is_foreign {
            return Err(refused(401, "Could not authenticate"));
        }
        self.pace(key, now_ms)?;
        let facts: &'static Value = &STATUSPAGE;
        let asked = facts::asked(facts, Some(&request.method), &request.path);
        let asked = asked.ok_or_else(|| refused(404, "not found"))?;
        let (page, component) = match asked.named.as_slice() {
            [page, component] => (page, component),
            _ => return Err(refused(404, "not found")),
        };
        if is_foreign {
            return Err(refused(403, "Forbidden: this API key has no access to the page"));
        }
        if *page != self.page || !self.components.contains_key(component) {
            return Err(refused(404, "not found"));
        }
        if !request.is_of_type(STATUSPAGE["content_type"].as_str().unwrap_or_default()) {
            return Err(refused(422, "the body is no JSON"));
        }
        self.change(component, &request.json(), asked.facts, now_ms)
    }

    fn pace(&mut self, key: String, now_ms: u64) -> Result<(), Refused> {
        if !self.house.is_paced() {
            return Ok(());
        }
        let rates = &STATUSPAGE["rates"];
        let every_ms = 1_000 / facts::number(&rates["requests_per_second_and_key"]).max(1);
        let taken = self.paces.entry(key).or_default().take(now_ms, every_ms, 1);
        taken.map_err(too_many)
    }

    fn change(
        &mut self,
        component: &str,
        body: &Value,
        facts: &Value,
        now_ms: u64,
    ) -> Result<Response, Refused> {
        let wrapper = facts["wrapped_in"].as_str().unwrap_or_default();
        let Some(wanted) = body[wrapper].as_object() else {
            return Err(refused(422, json!([format!("{wrapper} is missing")])));
        };
        let around = body.as_object().into_iter().flat_map(Map::keys).find(|name| *name != wrapper);
        let odd = wanted.keys().find(|name| !facts::has(&facts["known"], name));
        if let Some(odd) = around.or(odd) {
            return Err(refused(422, json!([format!("{odd} is unknown")])));
        }
        if let Some(status) = wanted.get("status") {
            let status = status.as_str().unwrap_or_default();
            if !facts::has(&STATUSPAGE["statuses"], status) {
                return Err(refused(422, json!(["Status is not included in the list"])));
            }
            self.components.entry(component.to_owned()).or_default().push(status.to_owned());
        }
        self.set.entry(component.to_owned()).or_default().extend(wanted.clone());
        Ok(Response::json(200, &self.shown(component, now_ms)))
    }

    /// A component as the API shows it.
    fn shown(&self, component: &str, now_ms: u64) -> Value {
        let set = self.set.get(component);
        let at = jiff::Timestamp::from_millisecond(i64::try_from(now_ms).unwrap_or(0))
            .unwrap_or_default();
        let value = |field: &str| match field {
            "id" => json!(component),
            "page_id" => json!(self.page),
            "status" => json!(self.shows(component)),
            "name" => json!(set.and_then(|set| set.get("name")).unwrap_or(&json!(component))),
            "created_at" | "updated_at" => json!(at.to_string()),
            "position" => json!(1),
            "group" | "only_show_if_degraded" => json!(false),
            "showcase" => json!(true),
            "automation_email" => {
                json!(format!("component+{component}@notifications.statuspage.io"))
            }
            field => set.and_then(|set| set.get(field)).cloned().unwrap_or_default(),
        };
        let fields = facts::words(&STATUSPAGE["answers"]["component"]["fields"]);
        Value::Object(fields.map(|field| (field.to_owned(), value(field))).collect())
    }

    fn control(&mut self, request: &Request) -> Reply {
        let body = request.json();
        let word = |name: &str| body[name].as_str().unwrap_or_default();
        match (request.method.as_str(), request.path.as_str()) {
            ("GET", "/_stage/components") => {
                return Response::json(200, &json!({ "components": self.components })).into();
            }
            ("POST", "/_stage/foreign_key") => self.set_foreign_key(word("key")),
            ("POST", "/_stage/delete") => self.delete(word("component")),
            _ => return no_such_control(),
        }
        Response::empty(204).into()
    }
}

fn too_many(wait_ms: u64) -> Refused {
    let status = facts::code(&STATUSPAGE["rates"]["status"]);
    refused(status, format!("You have exceeded your rate limit: too fast by {wait_ms} ms"))
}

impl Player for StatusPage {
    fn handle(&mut self, request: &Request, now_ms: u64) -> Reply {
        if let Some(reply) = self.house.control(request) {
            return reply;
        }
        if request.path.starts_with("/_stage/") {
            return self.control(request);
        }
        self.house.greet(request);
        let answer =
            |refused: Refused| Response::json(refused.status, &json!({ "error": refused.error }));
        match self.house.faults.refusal() {
            Some(Refusal::Unavailable) => return answer(refused(503, "unavailable")).into(),
            Some(Refusal::TooMany) => return answer(too_many(1_000)).into(),
            None => {}
        }
        let response = self.serve(request, now_ms).unwrap_or_else(|refused| {
            self.house.note(request, format!("{}: {}", refused.status, refused.error));
            answer(refused)
        });
        self.house.spoil(response.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patch(
        page: &mut StatusPage,
        path: &str,
        key: &str,
        body: &Value,
        now_ms: u64,
    ) -> (u16, Value) {
        let headers = [
            ("user-agent", "AllClear/0.1"),
            ("content-type", "application/json"),
            ("authorization", key),
        ];
        let headers = headers.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        let request = Request::new("PATCH", path, headers, body.to_string().into_bytes());
        let response = page.handle(&request, now_ms).response;
        (response.status, serde_json::from_slice(&response.body).expect("JSON"))
    }

    const LIVE: &str = "/v1/pages/p1/components/live1";

    fn outage() -> Value {
        json!({ "component": { "status": "major_outage" } })
    }

    #[test]
    fn a_component_changes_and_is_shown_whole() {
        let mut page = StatusPage::new("k", "p1", &["live1"]);
        let (status, shown) = patch(&mut page, LIVE, "OAuth k", &outage(), 0);
        assert_eq!((status, page.shows("live1")), (200, Some("major_outage")));
        for field in facts::words(&STATUSPAGE["answers"]["component"]["fields"]) {
            assert!(shown.get(field).is_some(), "{field}");
        }
        assert!(page.violations().is_empty());
    }

    #[test]
    fn what_statuspage_refuses_is_refused_with_its_status_and_an_error() {
        let odd = json!({ "component": { "status": "major_outage", "colour": "red" } });
        let unknown = json!({ "component": { "status": "broken" } });
        for (path, key, body, status) in [
            (LIVE, "OAuth other", outage(), 401),
            (LIVE, "Bearer k", outage(), 401),
            (LIVE, "OAuth foreign", outage(), 403),
            ("/v1/pages/p2/components/live1", "OAuth k", outage(), 404),
            ("/v1/pages/p1/components/live2", "OAuth k", outage(), 404),
            ("/v1/pages/p1/incidents", "OAuth k", outage(), 404),
            (LIVE, "OAuth k", unknown, 422),
            (LIVE, "OAuth k", odd, 422),
            (LIVE, "OAuth k", json!({ "status": "major_outage" }), 422),
        ] {
            let mut page = StatusPage::new("k", "p1", &["live1"]);
            page.set_foreign_key("foreign");
            let (given, shown) = patch(&mut page, path, key, &body, 0);
            assert_eq!(given, status, "{path} {key} {body}");
            assert!(!shown["error"].is_null());
            assert_eq!((page.violations().len(), page.shows("live1")), (1, Some("operational")));
        }
    }

    #[test]
    fn a_key_has_one_request_a_second() {
        let mut page = StatusPage::new("k", "p1", &["live1"]);
        let mut at = |ms| patch(&mut page, LIVE, "OAuth k", &outage(), ms).0;
        assert_eq!([at(0), at(10), at(999), at(1_000), at(5_000)], [200, 420, 420, 200, 200]);
        page.set_rates(Rates::Lifted);
        let mut at = |ms| patch(&mut page, LIVE, "OAuth k", &outage(), ms).0;
        assert_eq!([at(5_001), at(5_002)], [200, 200]);
    }
}
