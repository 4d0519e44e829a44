//! Users with their contact methods and notification rules.

use allclear_domain::catalog::{Account, Catalog, Document, Kind, Resource};
use allclear_domain::delivery::{ContactMethod, Means, NotificationRule, Person, Role};
use allclear_domain::incident::{Agent, Urgency};
use allclear_domain::{ChannelId, Span};
use allclear_ops::{Actor, OpsError, resource};
use axum::Json;
use axum::extract::{Path, RawQuery, State};
use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::{Query, address, derived_id, id_in, invalid, listed, matches, name_in, not_found, parse, wrapped};
use crate::App;
use crate::access::{Caller, Problem};

/// The most contact methods of a person, and the most rules; PagerDuty's bound for methods.
const MOST_METHODS: usize = 10;

/// The most notification rules.
const MOST_RULES: usize = 50;

/// `GET /users`
pub(crate) async fn list(State(app): State<App>, Caller(_): Caller, RawQuery(raw): RawQuery) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let catalog = app.store.catalog();
    let mut found: Vec<_> = catalog.of_kind(Kind::Person).filter_map(|r| r.document.as_person().map(|person| (r, person))).collect();
    found.retain(|(_, person)| matches(&query, &person.name) || person.email.as_deref().is_some_and(|email| matches(&query, email)));
    found.sort_by_key(|(_, person)| person.name.to_lowercase());
    listed(&query, "users", found.into_iter().map(|(resource, person)| body(&app, &catalog, resource, person, &query)).collect())
}

/// `GET /users/me`: whom the token acts for.
pub(crate) async fn me(State(app): State<App>, Caller(actor): Caller, RawQuery(raw): RawQuery) -> Result<Json<Value>, Problem> {
    let Agent::Person { person, .. } = actor.agent() else {
        return Err(invalid("this token acts for nobody: make one with --person").into());
    };
    shown(&app, &*find(&app, person.as_str())?, raw.as_deref())
}

fn find(app: &App, id: &str) -> Result<std::sync::Arc<Resource>, OpsError> {
    app.store.catalog().get(Kind::Person, id).cloned().ok_or_else(|| not_found("user", id))
}

fn person_of(found: &Resource) -> Result<&Person, OpsError> {
    found.document.as_person().ok_or_else(|| not_found("user", &found.id))
}

fn shown(app: &App, found: &Resource, raw: Option<&str>) -> Result<Json<Value>, Problem> {
    Ok(Json(json!({ "user": body(app, &app.store.catalog(), found, person_of(found)?, &Query::parse(raw)) })))
}

/// `GET /users/{id}`
pub(crate) async fn show(
    State(app): State<App>,
    Caller(_): Caller,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, Problem> {
    shown(&app, &*find(&app, &id)?, raw.as_deref())
}

/// `POST /users`: 201. Where this server sends mail, the new user gets their address as the first contact method, as with
/// PagerDuty.
pub(crate) async fn create(State(app): State<App>, Caller(actor): Caller, bytes: Bytes) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = wrapped(&parse(&bytes)?, "user")?.clone();
    let blank = Person {
        name: name_in(&asked, "name", "Name")?.ok_or_else(|| invalid("Name cannot be empty."))?,
        email: None,
        time_zone: None,
        job_title: None,
        role: Role::default(),
        contact_methods: vec![],
        notification_rules: vec![],
        extra: Map::new(),
    };
    if !asked["email"].is_string() {
        return Err(invalid("Email cannot be empty.").into());
    }
    let make = move |_: Option<&Document>, catalog: &Catalog| {
        let mut person = changed(blank.clone(), &asked, catalog, None)?;
        if let (Some(channel), Some(email)) = (channel_for(catalog, Kinds::Email), person.email.clone()) {
            person.contact_methods.push(ContactMethod { name: "Default".into(), channel, address: email, by: Means::Text, id: None });
        }
        Ok(Document::Person(person))
    };
    let made = resource::put(&app.store, &*app.rng, &actor, Kind::Person, None, make).await?;
    Ok((StatusCode::CREATED, shown(&app, &made, None)?))
}

/// `PUT /users/{id}`
pub(crate) async fn update(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let asked = wrapped(&parse(&bytes)?, "user")?.clone();
    let of = id.clone();
    let made = edit(&app, &actor, &id, move |person, catalog| changed(person, &asked, catalog, Some(&of))).await?;
    shown(&app, &made, None)
}

/// `DELETE /users/{id}`: 204.
pub(crate) async fn remove(State(app): State<App>, Caller(actor): Caller, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    resource::remove(&app.store, &*app.rng, &actor, Kind::Person, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn edit<F>(app: &App, actor: &Actor, id: &str, change: F) -> Result<std::sync::Arc<Resource>, OpsError>
where
    F: Fn(Person, &Catalog) -> Result<Person, OpsError> + Send + 'static,
{
    let of = id.to_owned();
    let make = move |old: Option<&Document>, catalog: &Catalog| {
        let person = old.and_then(Document::as_person).cloned().ok_or_else(|| not_found("user", &of))?;
        change(person, catalog).map(Document::Person)
    };
    resource::put(&app.store, &*app.rng, actor, Kind::Person, Some(id), make).await
}

fn changed(mut person: Person, asked: &Value, catalog: &Catalog, id: Option<&str>) -> Result<Person, OpsError> {
    if let Some(name) = name_in(asked, "name", "Name")? {
        person.name = name;
    }
    if let Some(email) = asked["email"].as_str() {
        let email = email.trim();
        if !allclear_config::is_mail_address(email) || email.len() > 100 {
            return Err(invalid("Email is invalid"));
        }
        let taken = allclear_ops::token::person_with_email(catalog, email);
        if taken.is_some_and(|taken| id != Some(taken.as_str())) {
            return Err(invalid("Email has already been taken"));
        }
        person.email = Some(email.to_owned());
    }
    if let Some(zone) = asked["time_zone"].as_str() {
        allclear_domain::oncall::zone(zone).map_err(|e| invalid(e.to_string()))?;
        person.time_zone = Some(zone.to_owned());
    }
    if asked.get("job_title").is_some() {
        person.job_title = name_in(asked, "job_title", "Job title")?;
    }
    Ok(person)
}

fn body(app: &App, catalog: &Catalog, resource: &Resource, person: &Person, query: &Query) -> Value {
    let includes = query.all("include[]");
    let methods = person.contact_methods.iter().map(|method| match includes.contains(&"contact_methods") {
        true => method_body(app, catalog, &resource.id, method),
        false => method_reference(app, catalog, &resource.id, method),
    });
    let rules = person.notification_rules.iter().map(|rule| match includes.contains(&"notification_rules") {
        true => rule_body(app, catalog, &resource.id, person, rule),
        false => rule_reference(app, &resource.id, rule),
    });
    json!({
        "id": resource.id, "type": "user", "summary": person.name, "name": person.name, "email": person.email,
        "self": address(app, "user", &resource.id), "html_url": null,
        "time_zone": person.time_zone.as_deref().unwrap_or("Etc/UTC"), "color": "purple", "role": "user", "avatar_url": null,
        "description": null, "invitation_sent": false, "job_title": person.job_title, "created_via_sso": false, "teams": [],
        "contact_methods": methods.collect::<Vec<_>>(), "notification_rules": rules.collect::<Vec<_>>(),
    })
}

/// The kinds of contact methods that PagerDuty knows and we can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kinds {
    Email,
    Phone,
    Sms,
}

impl Kinds {
    fn from_type(text: &str) -> Option<Self> {
        match text.trim_end_matches("_reference") {
            "email_contact_method" => Some(Self::Email),
            "phone_contact_method" => Some(Self::Phone),
            "sms_contact_method" => Some(Self::Sms),
            _ => None,
        }
    }
}

/// The channel that carries a kind of contact method: the first by name that stands in for no other.
fn channel_for(catalog: &Catalog, kind: Kinds) -> Option<ChannelId> {
    let carries = |account: &Account| match kind {
        Kinds::Email => matches!(account, Account::Smtp(_)),
        Kinds::Phone | Kinds::Sms => account.can_call(),
    };
    let stands_in = |id: &str| {
        let mut channels = catalog.of_kind(Kind::Channel).filter_map(|r| r.document.as_channel());
        channels.any(|channel| channel.second.as_ref().is_some_and(|second| second.as_str() == id))
    };
    let fitting = catalog.of_kind(Kind::Channel).filter_map(|r| r.document.as_channel().map(|channel| (r, channel)));
    let first = fitting
        .filter(|(_, channel)| carries(&channel.account))
        .min_by_key(|(resource, channel)| (stands_in(&resource.id), channel.name.clone()));
    first.map(|(resource, _)| ChannelId(resource.id.clone()))
}

/// PagerDuty's word for a method; our own where it has none.
fn type_of(catalog: &Catalog, method: &ContactMethod) -> &'static str {
    match (catalog.channel(&method.channel).map(|channel| &channel.account), method.by) {
        (Some(Account::Smtp(_)), _) => "email_contact_method",
        (Some(Account::Twilio(_)), Means::Call) => "phone_contact_method",
        (Some(Account::Twilio(_)), Means::Text) => "sms_contact_method",
        (Some(Account::Slack(_) | Account::SlackWebhook(_)), _) => "slack_contact_method",
        (Some(Account::Webhook(_) | Account::Pagerduty(_) | Account::Statuspage(_)) | None, _) => "webhook_contact_method",
    }
}

/// An id that nothing of this person had or has: the bits are drawn.
fn fresh_id(app: &App, person: &str) -> String {
    derived_id(&[person, "drawn", &app.rng.next_u64().to_string()])
}

fn method_id(person: &str, method: &ContactMethod) -> String {
    method.id.clone().unwrap_or_else(|| derived_id(&[person, "method", &method.name]))
}

fn method_address(app: &App, person: &str, method: &ContactMethod) -> String {
    format!("{}/contact_methods/{}", address(app, "user", person), method_id(person, method))
}

fn method_reference(app: &App, catalog: &Catalog, person: &str, method: &ContactMethod) -> Value {
    json!({
        "id": method_id(person, method), "type": format!("{}_reference", type_of(catalog, method)), "summary": method.name,
        "self": method_address(app, person, method), "html_url": null,
    })
}

fn method_body(app: &App, catalog: &Catalog, person: &str, method: &ContactMethod) -> Value {
    let kind = type_of(catalog, method);
    let mut body = json!({
        "id": method_id(person, method), "type": kind, "summary": method.name, "label": method.name,
        "self": method_address(app, person, method), "html_url": null, "address": method.address,
    });
    match (kind, method.address.strip_prefix('+')) {
        ("phone_contact_method" | "sms_contact_method", Some(digits)) => {
            let (country, rest) = digits.split_at(country_len(digits));
            body["country_code"] = json!(country.parse::<u32>().unwrap_or(1));
            body["address"] = rest.into();
            body["enabled"] = true.into();
            body["blacklisted"] = false.into();
        }
        ("email_contact_method", _) => body["send_short_email"] = false.into(),
        _ => {}
    }
    body
}

/// How many digits of a number in E.164 form are its country code: ITU-T E.164's list of assigned codes.
fn country_len(digits: &str) -> usize {
    const OF_TWO: &[&str] = &[
        "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48", "49", "51", "52", "53", "54",
        "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81", "82", "84", "86", "90", "91", "92", "93", "94", "95", "98",
    ];
    let wanted = match digits.as_bytes().first() {
        Some(b'1' | b'7') => 1,
        _ if digits.get(..2).is_some_and(|two| OF_TWO.contains(&two)) => 2,
        _ => 3,
    };
    wanted.min(digits.len())
}

/// `GET /users/{id}/contact_methods`
pub(crate) async fn methods(State(app): State<App>, Caller(_): Caller, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let (found, catalog) = (find(&app, &id)?, app.store.catalog());
    let bodies: Vec<Value> = person_of(&found)?.contact_methods.iter().map(|method| method_body(&app, &catalog, &id, method)).collect();
    Ok(Json(json!({ "contact_methods": bodies })))
}

/// `GET /users/{id}/contact_methods/{method}`
pub(crate) async fn method(
    State(app): State<App>,
    Caller(_): Caller,
    Path((id, which)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (found, catalog) = (find(&app, &id)?, app.store.catalog());
    let method = person_of(&found)?.contact_methods.iter().find(|method| method_id(&id, method) == which);
    let method = method.ok_or_else(|| not_found("contact method", &which))?;
    Ok(Json(json!({ "contact_method": method_body(&app, &catalog, &id, method) })))
}

/// A method as a body has it, with its label where that is named.
fn read_method(catalog: &Catalog, asked: &Value) -> Result<(ContactMethod, bool), OpsError> {
    let kind = asked["type"].as_str().and_then(Kinds::from_type);
    let kind = kind.ok_or_else(|| invalid("type is email_contact_method, phone_contact_method or sms_contact_method"))?;
    let text =
        asked["address"].as_str().map(str::trim).filter(|text| !text.is_empty()).ok_or_else(|| invalid("Address cannot be empty."))?;
    let (address, by, word) = match kind {
        Kinds::Email if allclear_config::is_mail_address(text) => (text.to_owned(), Means::Text, "Email"),
        Kinds::Email => return Err(invalid("Address is not an e-mail address")),
        Kinds::Phone => (number(asked, text)?, Means::Call, "Phone"),
        Kinds::Sms => (number(asked, text)?, Means::Text, "SMS"),
    };
    let missing = match kind {
        Kinds::Email => "no channel of this server sends mail: add one with smtp",
        Kinds::Phone | Kinds::Sms => "no channel of this server reaches telephones: add one with twilio",
    };
    let channel = channel_for(catalog, kind).ok_or_else(|| invalid(missing))?;
    let label = name_in(asked, "label", "Label")?;
    let is_named = label.is_some();
    Ok((ContactMethod { name: label.unwrap_or_else(|| word.to_owned()), channel, address, by, id: None }, is_named))
}

/// A number in E.164 form.
fn number(asked: &Value, text: &str) -> Result<String, OpsError> {
    let country = match &asked["country_code"] {
        Value::Null => Some(1),
        Value::String(text) => text.parse().ok(),
        other => other.as_u64(),
    };
    let country = country.filter(|code| (1..=1_999).contains(code)).ok_or_else(|| invalid("country_code is a number from 1 to 1999"))?;
    let digits: String = text.chars().filter(|c| !matches!(c, ' ' | '-' | '(' | ')' | '.')).collect();
    let whole = if digits.starts_with('+') { digits } else { format!("+{country}{digits}") };
    if allclear_domain::forms::is_phone_number(&whole) { Ok(whole) } else { Err(invalid("Address is not a telephone number")) }
}

/// Adds `method` to a person, under a name that none of their others has.
fn add_method(mut person: Person, mut method: ContactMethod, is_named: bool) -> Result<Person, OpsError> {
    let same = |known: &ContactMethod| (&known.channel, &known.address, known.by) == (&method.channel, &method.address, method.by);
    if person.contact_methods.iter().any(same) {
        return Err(invalid("User Contact method must be unique"));
    }
    if person.contact_methods.len() >= MOST_METHODS {
        return Err(invalid(format!("a user has at most {MOST_METHODS} contact methods")));
    }
    let taken = |name: &str| person.contact_methods.iter().any(|known| known.name == name);
    if taken(&method.name) {
        if is_named {
            return Err(invalid("Label has already been taken"));
        }
        let free = (2..).map(|n| format!("{} {n}", method.name)).find(|name| !taken(name));
        method.name = free.unwrap_or_default();
    }
    person.contact_methods.push(method);
    Ok(person)
}

/// `POST /users/{id}/contact_methods`: 201.
pub(crate) async fn create_method(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = wrapped(&parse(&bytes)?, "contact_method")?.clone();
    let new_id = fresh_id(&app, &id);
    let make = move |person: Person, catalog: &Catalog| {
        let (method, is_named) = read_method(catalog, &asked)?;
        add_method(person, ContactMethod { id: Some(new_id.clone()), ..method }, is_named)
    };
    let made = edit(&app, &actor, &id, make).await?;
    let method = person_of(&made)?.contact_methods.last().ok_or_else(|| not_found("contact method", &id))?;
    Ok((StatusCode::CREATED, Json(json!({ "contact_method": method_body(&app, &app.store.catalog(), &id, method) }))))
}

/// `PUT /users/{id}/contact_methods/{method}`: a new label or address; rules that use it go on using it.
pub(crate) async fn update_method(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((id, which)): Path<(String, String)>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let asked = wrapped(&parse(&bytes)?, "contact_method")?.clone();
    let (of, old_id) = (id.clone(), which.clone());
    let make = move |mut person: Person, catalog: &Catalog| {
        let at = person.contact_methods.iter().position(|method| method_id(&of, method) == old_id);
        let at = at.ok_or_else(|| not_found("contact method", &old_id))?;
        let (mut next, is_named) = read_method(catalog, &asked)?;
        let old = person.contact_methods.remove(at);
        // Their ids come from what they say, which changes with the name.
        for rule in person.notification_rules.iter_mut().filter(|rule| rule.method == old.name) {
            rule.id = Some(rule_id(&of, rule));
        }
        if !is_named {
            next.name.clone_from(&old.name);
        }
        next.id = Some(old_id.clone());
        let mut person = add_method(person, next, true)?;
        let Some(next) = person.contact_methods.pop() else { return Ok(person) };
        person.notification_rules.iter_mut().filter(|rule| rule.method == old.name).for_each(|rule| rule.method.clone_from(&next.name));
        person.contact_methods.insert(at, next);
        Ok(person)
    };
    let made = edit(&app, &actor, &id, make).await?;
    let method = person_of(&made)?.contact_methods.iter().find(|method| method_id(&id, method) == which);
    let method = method.ok_or_else(|| not_found("contact method", &which))?;
    Ok(Json(json!({ "contact_method": method_body(&app, &app.store.catalog(), &id, method) })))
}

/// `DELETE /users/{id}/contact_methods/{method}`: 204. Rules that use it go with it.
pub(crate) async fn remove_method(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((id, which)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let of = id.clone();
    let make = move |mut person: Person, _: &Catalog| {
        let at = person.contact_methods.iter().position(|method| method_id(&of, method) == which);
        let gone = person.contact_methods.remove(at.ok_or_else(|| not_found("contact method", &which))?);
        person.notification_rules.retain(|rule| rule.method != gone.name);
        Ok(person)
    };
    edit(&app, &actor, &id, make).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn rule_id(person: &str, rule: &NotificationRule) -> String {
    let from_words = || derived_id(&[person, "rule", rule.urgency.word(), &rule.method, &rule.after.as_secs().to_string()]);
    rule.id.clone().unwrap_or_else(from_words)
}

fn rule_reference(app: &App, person: &str, rule: &NotificationRule) -> Value {
    let id = rule_id(person, rule);
    let here = format!("{}/notification_rules/{id}", address(app, "user", person));
    let summary = format!("{} minutes: {}", rule.after.as_secs() / 60, rule.method);
    json!({ "id": id, "type": "assignment_notification_rule_reference", "summary": summary, "self": here, "html_url": null })
}

fn rule_body(app: &App, catalog: &Catalog, person_id: &str, person: &Person, rule: &NotificationRule) -> Value {
    let mut body = rule_reference(app, person_id, rule);
    let method = person.contact_methods.iter().find(|method| method.name == rule.method);
    body["type"] = "assignment_notification_rule".into();
    body["start_delay_in_minutes"] = json!(rule.after.as_secs() / 60);
    body["urgency"] = rule.urgency.word().into();
    body["contact_method"] = method.map_or(Value::Null, |method| method_reference(app, catalog, person_id, method));
    body
}

/// `GET /users/{id}/notification_rules`: those for high urgency, unless `urgency` says otherwise.
pub(crate) async fn rules(
    State(app): State<App>,
    Caller(_): Caller,
    Path(id): Path<String>,
    RawQuery(raw): RawQuery,
) -> Result<Json<Value>, Problem> {
    let query = Query::parse(raw.as_deref());
    let wanted = query.one("urgency").unwrap_or("high");
    let (found, catalog) = (find(&app, &id)?, app.store.catalog());
    let person = person_of(&found)?;
    let rules = person.notification_rules.iter().filter(|rule| wanted == "all" || rule.urgency.word() == wanted);
    let bodies: Vec<Value> = rules.map(|rule| rule_body(&app, &catalog, &id, person, rule)).collect();
    Ok(Json(json!({ "notification_rules": bodies })))
}

/// `GET /users/{id}/notification_rules/{rule}`
pub(crate) async fn rule(
    State(app): State<App>,
    Caller(_): Caller,
    Path((id, which)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let (found, catalog) = (find(&app, &id)?, app.store.catalog());
    let person = person_of(&found)?;
    let rule = person.notification_rules.iter().find(|rule| rule_id(&id, rule) == which);
    let rule = rule.ok_or_else(|| not_found("notification rule", &which))?;
    Ok(Json(json!({ "notification_rule": rule_body(&app, &catalog, &id, person, rule) })))
}

fn read_rule(id: &str, person: &Person, asked: &Value) -> Result<NotificationRule, OpsError> {
    const LONGEST_MINUTES: i64 = 7 * 24 * 60;
    let method = id_in(asked, "contact_method");
    let method = person.contact_methods.iter().find(|one| method == Some(method_id(id, one).as_str()));
    let method = method.ok_or_else(|| invalid("contact_method names no contact method of this user"))?;
    let minutes = asked["start_delay_in_minutes"].as_i64().filter(|minutes| (0..=LONGEST_MINUTES).contains(minutes));
    let minutes = minutes.ok_or_else(|| invalid(format!("start_delay_in_minutes is a number from 0 to {LONGEST_MINUTES}")))?;
    let urgency = match asked["urgency"].as_str() {
        Some("high") | None => Urgency::High,
        Some("low") => Urgency::Low,
        Some(_) => return Err(invalid("urgency is high or low")),
    };
    Ok(NotificationRule { urgency, method: method.name.clone(), after: Span::from_mins(minutes), id: None })
}

fn check_rule(person: &Person, rule: &NotificationRule) -> Result<(), OpsError> {
    let same = |known: &NotificationRule| (known.urgency, &known.method, known.after) == (rule.urgency, &rule.method, rule.after);
    if person.notification_rules.iter().any(same) {
        return Err(invalid("Channel Start delay must be unique for a given contact method"));
    }
    if person.notification_rules.len() >= MOST_RULES {
        return Err(invalid(format!("a user has at most {MOST_RULES} notification rules")));
    }
    Ok(())
}

/// `POST /users/{id}/notification_rules`: 201.
pub(crate) async fn create_rule(
    State(app): State<App>,
    Caller(actor): Caller,
    Path(id): Path<String>,
    bytes: Bytes,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = wrapped(&parse(&bytes)?, "notification_rule")?.clone();
    let (of, new_id) = (id.clone(), fresh_id(&app, &id));
    let make = move |mut person: Person, _: &Catalog| {
        let rule = read_rule(&of, &person, &asked)?;
        check_rule(&person, &rule)?;
        person.notification_rules.push(NotificationRule { id: Some(new_id.clone()), ..rule });
        Ok(person)
    };
    let made = edit(&app, &actor, &id, make).await?;
    let person = person_of(&made)?;
    let rule = person.notification_rules.last().ok_or_else(|| not_found("notification rule", &id))?;
    Ok((StatusCode::CREATED, Json(json!({ "notification_rule": rule_body(&app, &app.store.catalog(), &id, person, rule) }))))
}

/// `PUT /users/{id}/notification_rules/{rule}`
pub(crate) async fn update_rule(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((id, which)): Path<(String, String)>,
    bytes: Bytes,
) -> Result<Json<Value>, Problem> {
    let asked = wrapped(&parse(&bytes)?, "notification_rule")?.clone();
    let (of, old_id) = (id.clone(), which.clone());
    let make = move |mut person: Person, _: &Catalog| {
        let at = person.notification_rules.iter().position(|rule| rule_id(&of, rule) == old_id);
        let at = at.ok_or_else(|| not_found("notification rule", &old_id))?;
        let rule = read_rule(&of, &person, &asked)?;
        person.notification_rules.remove(at);
        check_rule(&person, &rule)?;
        person.notification_rules.insert(at, NotificationRule { id: Some(old_id.clone()), ..rule });
        Ok(person)
    };
    let made = edit(&app, &actor, &id, make).await?;
    let person = person_of(&made)?;
    let rule = person.notification_rules.iter().find(|rule| rule_id(&id, rule) == which);
    let rule = rule.ok_or_else(|| not_found("notification rule", &which))?;
    Ok(Json(json!({ "notification_rule": rule_body(&app, &app.store.catalog(), &id, person, rule) })))
}

/// `DELETE /users/{id}/notification_rules/{rule}`: 204.
pub(crate) async fn remove_rule(
    State(app): State<App>,
    Caller(actor): Caller,
    Path((id, which)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let of = id.clone();
    let make = move |mut person: Person, _: &Catalog| {
        let at = person.notification_rules.iter().position(|rule| rule_id(&of, rule) == which);
        person.notification_rules.remove(at.ok_or_else(|| not_found("notification rule", &which))?);
        Ok(person)
    };
    edit(&app, &actor, &id, make).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_split_behind_its_country_code() {
        for (digits, country) in [("15105550102", "1"), ("4520000001", "45"), ("35312345678", "353"), ("79161234567", "7"), ("2", "2")] {
            assert_eq!(digits.split_at(country_len(digits)).0, country);
        }
    }

    #[test]
    fn numbers_are_read_with_their_country_code_apart_or_at_the_front() {
        let read = |country: Value, text: &str| number(&json!({ "country_code": country }), text).ok();
        assert_eq!(read(json!(45), "20 00 00-01").as_deref(), Some("+4520000001"));
        assert_eq!(read(Value::Null, "(510) 555-0102").as_deref(), Some("+15105550102"));
        assert_eq!(read(json!("45"), "+4520000001").as_deref(), Some("+4520000001"));
        assert_eq!(read(json!(45), "call me"), None);
        assert_eq!(read(json!(0), "20000001"), None);
    }
}
