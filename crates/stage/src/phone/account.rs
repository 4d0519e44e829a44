//! Whom Twilio lets in, what it takes, and how it says no.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Telephone;
use crate::facts::{self, Asked, TWILIO};
use crate::wire::{Reply, Request, Response};

/// The parameters of a request, without those that are empty.
pub(super) struct Parameters(pub(super) Vec<(String, String)>);

impl Parameters {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// A refusal: its status, its code and what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: u16,
    pub(super) code: u64,
    pub(super) message: String,
    /// Whether the request broke a rule that its sender could know.
    pub(super) is_violation: bool,
}

impl Refused {
    /// A request that its sender could have known to be wrong.
    pub(super) fn wrong(status: u16, code: u64, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), is_violation: true }
    }

    /// One that only Twilio could know of.
    pub(super) fn unlucky(status: u16, code: u64, message: impl Into<String>) -> Self {
        Self { is_violation: false, ..Self::wrong(status, code, message) }
    }

    /// A refusal by its name in the extract.
    pub(super) fn named(name: &str, message: impl Into<String>) -> Self {
        Self::wrong(400, facts::number(&TWILIO["refusals"][name]), message)
    }

    pub(super) fn not_found() -> Self {
        let code = facts::number(&TWILIO["errors"]["not_found"]);
        Self::wrong(404, code, "The requested resource was not found")
    }

    pub(super) fn too_many(wait_ms: u64) -> Self {
        let said = format!("Too Many Requests: too fast by {wait_ms} ms");
        let rates = &TWILIO["rates"];
        Self::wrong(facts::code(&rates["status"]), facts::number(&rates["error"]), said)
    }

    pub(super) fn response(&self) -> Response {
        let (code, message, status) = (self.code, &self.message, self.status);
        let more = format!("https://www.twilio.com/docs/errors/{code}");
        let body = json!({ "code": code, "message": message, "more_info": more, "status": status });
        let response = Response::json(status, &body);
        if status == 429 { response.with("retry-after", "1") } else { response }
    }
}

/// An object with every field that the extract names; what `value` does not know is null.
pub(super) fn object(fields: &Value, value: impl Fn(&str) -> Option<Value>) -> Value {
    let named = facts::words(fields);
    let filled = named.map(|name| (name.to_owned(), value(name).unwrap_or(Value::Null)));
    Value::Object(filled.collect::<Map<_, _>>())
}

/// A form with every parameter that the extract names and `value` knows.
pub(super) fn form(names: &Value, value: impl Fn(&str) -> Option<String>) -> Vec<(String, String)> {
    facts::words(names).filter_map(|name| Some((name.to_owned(), value(name)?))).collect()
}

/// An instant as Twilio writes it.
pub(super) fn date(at_ms: u64) -> Value {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at_ms).unwrap_or(0));
    json!(at.unwrap_or_default().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string())
}

/// A page of a list that Twilio answers with: newest first.
pub(super) fn page(request: &Request, name: &str, found: &[Value]) -> Value {
    let shape = &TWILIO["answers"]["list"];
    let number = |name: &str| request.param(name).and_then(|text| text.parse::<usize>().ok());
    let largest = facts::count(&shape["largest_page_size"]);
    let usual = facts::count(&shape["page_size"]);
    let size = number("PageSize").unwrap_or(usual).clamp(1, largest);
    let at = number("Page").unwrap_or(0);
    let shown: Vec<&Value> = found.iter().skip(at.saturating_mul(size)).take(size).collect();
    let uri = |at: usize| {
        let kept =
            request.query.iter().filter(|(n, _)| !["Page", "PageSize"].contains(&n.as_str()));
        let rest: String = kept.map(|(n, value)| format!("&{n}={}", encoded(value))).collect();
        json!(format!("{}?PageSize={size}&Page={at}{rest}", request.path))
    };
    let has_next = (at + 1).saturating_mul(size) < found.len();
    let start = at.saturating_mul(size);
    let mut page = object(&shape["fields"], |field| {
        Some(match field {
            "page" => json!(at),
            "page_size" => json!(size),
            "start" => json!(start),
            "end" => json!(start + shown.len().saturating_sub(1)),
            "first_page_uri" => uri(0),
            "next_page_uri" => return has_next.then(|| uri(at + 1)),
            "previous_page_uri" => return (at > 0).then(|| uri(at - 1)),
            "uri" => uri(at),
            _ => return None,
        })
    });
    page[name] = json!(shown);
    page
}

pub(super) fn encoded(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC).to_string()
}

impl Telephone {
    /// What a request asks for, once it is known to be the account's and in form.
    pub(super) fn admit(
        &mut self,
        request: &Request,
    ) -> Result<(Asked<'static>, Parameters), Refused> {
        let facts: &'static Value = &TWILIO;
        let asked = facts::asked(facts, Some(&request.method), &request.path);
        let asked = asked.ok_or_else(Refused::not_found)?;
        let account = asked.named.first().map_or("", String::as_str);
        if !facts::matches(&TWILIO, "account_sid", account) {
            return Err(Refused {
                message: format!("{account:?} is no AccountSid"),
                ..Refused::not_found()
            });
        }
        self.know(request)?;
        if account != self.account {
            return Err(Refused::not_found());
        }
        if self.house.is_paced() {
            let most = facts::number(&TWILIO["rates"]["requests_per_second_and_account"]).max(1);
            let taken = self.requests.take(self.now_ms, 1_000 / most, most);
            taken.map_err(Refused::too_many)?;
        }
        let parameters = parameters(request, asked.facts)?;
        Ok((asked, parameters))
    }

    /// Whether a request carries the account's token.
    fn know(&self, request: &Request) -> Result<(), Refused> {
        let pair = STANDARD.encode(format!("{}:{}", self.account, self.token));
        if request.header("authorization") == Some(&format!("Basic {pair}")) {
            return Ok(());
        }
        let code = facts::number(&TWILIO["errors"]["credentials"][0]);
        Err(Refused::wrong(401, code, "Authenticate"))
    }

    /// A number that somebody is to be reached at.
    pub(super) fn recipient(&self, to: Option<&str>, missing: &str) -> Result<String, Refused> {
        let to = to.ok_or_else(|| Refused::named(missing, "A 'To' phone number is required."))?;
        if facts::matches(&TWILIO, "address", to) {
            return Ok(to.to_owned());
        }
        let said = format!("The 'To' number {to} is not a valid phone number.");
        Err(Refused::wrong(400, 21_211, said))
    }

    /// Whether a number is one of the account's.
    pub(super) fn owns(&self, from: &str) -> bool {
        let is_own = self.own_numbers.is_empty() || self.own_numbers.iter().any(|own| own == from);
        is_own && facts::matches(&TWILIO, "address", from)
    }

    /// Whether Twilio could report at an address.
    pub(super) fn callback_address(&self, url: Option<&str>) -> Result<Option<String>, Refused> {
        let Some(url) = url else { return Ok(None) };
        if facts::is_address(url) && (!self.only_public || facts::is_public(url)) {
            return Ok(Some(url.to_owned()));
        }
        let code = facts::number(&TWILIO["errors"]["callback_address"][0]);
        let said = format!("The 'StatusCallback' URL {url} is not a valid URL.");
        Err(Refused::wrong(400, code, said))
    }

    /// The answer to a request that is refused.
    pub(super) fn refuse(&mut self, request: &Request, refused: &Refused) -> Reply {
        if refused.is_violation {
            self.house.note(request, format!("{}: {}", refused.code, refused.message));
        }
        refused.response().into()
    }
}

/// The parameters of a request, when an operation knows them all and none is missing.
fn parameters(request: &Request, operation: &Value) -> Result<Parameters, Refused> {
    let given = match request.method.as_str() {
        "GET" => request.query.clone(),
        _ if request.is_of_type(TWILIO["content_type"].as_str().unwrap_or_default()) => {
            request.form()
        }
        _ if request.body.is_empty() => vec![],
        _ => return Err(Refused::named("unknown_parameter", "The body is no form")),
    };
    if let Some((name, _)) = given.iter().find(|(name, _)| !facts::has(&operation["known"], name)) {
        return Err(Refused::named("unknown_parameter", format!("Unknown parameter {name}")));
    }
    Ok(Parameters(given.into_iter().filter(|(_, value)| !value.is_empty()).collect()))
}
