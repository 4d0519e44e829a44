//! What can only be seen over all documents: names that nothing has, documents written twice, and what looks like
//! harm to come.

use std::collections::{BTreeMap, BTreeSet};

use allclear_domain::apitest::document::{Body, RequestStep, Step, Test};
use allclear_domain::apitest::template::{self, Piece};
use allclear_domain::catalog::{Account, Channel, Document, Kind, Settings};
use allclear_domain::delivery::{ContactMethod, Means};
use allclear_domain::escalation::{Policy, Target};
use allclear_domain::forms;
use allclear_domain::status::{Component, MOST_COMPONENTS};

use crate::diagnostic::nearest;
use crate::{Loaded, Site};

pub(crate) fn check(loaded: &mut Loaded, sites: &[Site], known: &dyn Fn(Kind, &str) -> bool) {
    let mut names: BTreeMap<Kind, BTreeSet<String>> = BTreeMap::new();
    for (site, located) in sites.iter().map(|site| (site, &loaded.documents[site.at])) {
        let (kind, identity) = (located.document.kind(), located.document.identity());
        if !names.entry(kind).or_default().insert(identity) {
            let message = format!("the {} {:?} is written twice", kind.word(), located.document.name());
            site.sink.error(site.name_pos, message, None);
        }
    }
    for site in sites {
        check_references(site, &names, known);
        check_addresses(site, loaded);
        check_old_name(site, &loaded.documents[site.at].document, &names);
        match &loaded.documents[site.at].document {
            Document::Test(test) => check_test(site, test),
            Document::Person(person) if person.contact_methods.iter().any(|method| cannot_call(loaded, method)) => {
                let help = Some("calls go through a channel of kind twilio".to_owned());
                site.sink.error(
                    site.name_pos,
                    format!("{} has a contact method that calls through a channel that cannot", person.name),
                    help,
                );
            }
            Document::Channel(channel) => check_second(site, loaded, channel),
            Document::Component(component) => check_mirror(site, loaded, component),
            Document::Person(person) if person.contact_methods.iter().any(|method| reaches_nobody(loaded, method)) => {
                let message = format!("{} has a contact method on a channel that reaches no person", person.name);
                site.sink.error(site.name_pos, message, None);
            }
            Document::Person(person) if person.notification_rules.is_empty() && person.contact_methods.len() > 1 => {
                let message = format!("{} has no notification rules: every contact method is used at once", person.name);
                site.sink.warning(site.name_pos, message, Some("write notification_rules, or leave it so".to_owned()));
            }
            Document::Person(person) if person.contact_methods.is_empty() => {
                site.sink.warning(site.name_pos, format!("{} cannot be reached: there is no contact method", person.name), None);
            }
            _ => {}
        }
    }
    check_pages(loaded, sites);
    check_operators(loaded, sites, &names, known);
    check_end_of_operators(loaded, sites);
    let found: Vec<_> = sites.iter().flat_map(|site| site.sink.take()).collect();
    loaded.diagnostics.extend(found);
}

/// A document cannot have the identity of one that is still there.
fn check_old_name(site: &Site, document: &Document, names: &BTreeMap<Kind, BTreeSet<String>>) {
    let kind = document.kind();
    if let Some(old) = document.renamed_from().filter(|old| names.get(&kind).is_some_and(|known| known.contains(old))) {
        let message = format!("the {} {:?} cannot be renamed from {old:?}: that one stands here as well", kind.word(), document.name());
        site.sink.error(site.name_pos, message, Some("leave out renamed_from, or the old one".to_owned()));
    }
}

/// The channel of this name among what was loaded.
fn channel_named<'a>(loaded: &'a Loaded, name: &str) -> Option<&'a Channel> {
    loaded.documents.iter().filter_map(|located| located.document.as_channel()).find(|channel| channel.name == name)
}

fn cannot_call(loaded: &Loaded, method: &ContactMethod) -> bool {
    method.by == Means::Call && channel_named(loaded, &method.channel.0).is_some_and(|channel| !channel.account.can_call())
}

/// Every address has the form that its channel's provider takes.
fn check_addresses(site: &Site, loaded: &Loaded) {
    for one in &site.addresses {
        let Some(channel) = channel_named(loaded, &one.channel) else { continue };
        let (is_right, what, help) = match &channel.account {
            Account::Twilio(_) => {
                (forms::is_phone_number(&one.address), "a telephone number", "write it with its country code: \"+4512345678\"")
            }
            Account::Slack(_) if one.is_room => {
                (forms::is_slack_room(&one.address), "a Slack channel", "write \"#its-name\", or its id, which begins with C")
            }
            Account::Slack(_) => (
                forms::is_slack_person(&one.address) && !one.address.starts_with(['C', 'G']),
                "a Slack member's id",
                "copy the member id from their profile in Slack: it begins with U or W",
            ),
            Account::Smtp(_) => (crate::document::is_mail_address(&one.address), "an e-mail address", "write ada@example.com"),
            Account::Webhook(_) | Account::SlackWebhook(_) | Account::Pagerduty(_) | Account::Statuspage(_) => continue,
        };
        if !is_right {
            let message = format!("{:?} is not {what}, which {:?} needs", one.address, channel.name);
            site.sink.error(one.pos, message, Some(help.to_owned()));
        }
    }
}

fn reaches_nobody(loaded: &Loaded, method: &ContactMethod) -> bool {
    channel_named(loaded, &method.channel.0).is_some_and(|channel| !channel.account.reaches_people())
}

fn check_mirror(site: &Site, loaded: &Loaded, component: &Component) {
    let Some(mirror) = &component.mirror else { return };
    if channel_named(loaded, &mirror.channel.0).is_some_and(|channel| !matches!(channel.account, Account::Statuspage(_))) {
        let message = format!("{:?} is mirrored by a channel that is no StatusPage", component.name);
        site.sink.error(site.name_pos, message, None);
    }
}

/// What stands in must be able to carry the same messages.
fn check_second(site: &Site, loaded: &Loaded, channel: &Channel) {
    let Some(second) = &channel.second else { return };
    let class = |channel: &Channel| channel.account.class(Means::Text);
    let message = match channel_named(loaded, &second.0) {
        Some(other) if other.name == channel.name => "a channel cannot stand in for itself".to_owned(),
        Some(other) if class(other) != class(channel) => {
            format!("{:?} cannot stand in for {:?}: the one is {}, the other {}", other.name, channel.name, class(other), class(channel))
        }
        Some(_) | None => return,
    };
    site.sink.error(site.name_pos, message, None);
}

fn check_references(site: &Site, names: &BTreeMap<Kind, BTreeSet<String>>, known: &dyn Fn(Kind, &str) -> bool) {
    for (kind, name, pos) in &site.references {
        let of_kind = names.get(kind);
        if of_kind.is_some_and(|names| names.contains(name)) || known(*kind, name) {
            continue;
        }
        let candidates = of_kind.into_iter().flatten().map(String::as_str);
        let help = nearest(name, candidates).map(|meant| format!("did you mean {meant:?}?"));
        site.sink.error(*pos, format!("there is no {} {name:?}", kind.word().replace('_', " ")), help);
    }
}

/// The trouble of AllClear itself should reach somebody. Settings that stand elsewhere are for whoever has them to look at.
fn check_operators(loaded: &Loaded, sites: &[Site], names: &BTreeMap<Kind, BTreeSet<String>>, known: &dyn Fn(Kind, &str) -> bool) {
    let here = loaded.documents.iter().any(|l| matches!(&l.document, Document::Settings(settings) if settings.operators.is_some()));
    let set = here || known(Kind::Settings, &Document::Settings(Settings::default()).identity());
    let first = sites.iter().find(|site| loaded.documents[site.at].document.kind() == Kind::Service);
    if let Some(site) = first.filter(|_| !set && names.contains_key(&Kind::Service)) {
        let help = "add a document: kind: settings, operators: NAME OF A SERVICE".to_owned();
        site.sink.warning(site.name_pos, "nobody is told of AllClear's own trouble: the setting \"operators\" is missing", Some(help));
    }
}

/// A page with more components than anybody reads is a mistake, and a burden to whoever opens it.
fn check_pages(loaded: &Loaded, sites: &[Site]) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for site in sites {
        let Document::Component(component) = &loaded.documents[site.at].document else { continue };
        let count = counts.entry(component.page.as_str()).or_insert(0);
        *count += 1;
        if *count == MOST_COMPONENTS + 1 {
            let message = format!("the page {:?} has more than {MOST_COMPONENTS} components", component.page.as_str());
            site.sink.error(site.name_pos, message, Some("show the others on a page of their own".to_owned()));
        }
    }
}

/// Of a schedule nobody may be on call just then: who hears of AllClear's own trouble is a person in the end.
fn check_end_of_operators(loaded: &Loaded, sites: &[Site]) {
    let documents = || loaded.documents.iter().map(|located| &located.document);
    let named = documents().filter_map(Document::as_settings).find_map(|settings| settings.operators.as_ref());
    let Some(service) = named.and_then(|name| documents().filter_map(Document::as_service).find(|one| one.name == name.0)) else { return };
    let ends_in_nobody = |policy: &Policy| {
        let last = policy.levels.last().map(|level| level.targets.as_slice()).unwrap_or_default();
        policy.name == service.escalation_policy.0 && !last.iter().any(|target| matches!(target, Target::Person(_)))
    };
    let at = sites.iter().find(|site| loaded.documents[site.at].document.as_policy().is_some_and(ends_in_nobody));
    if let Some(site) = at {
        let message = format!("the escalation policy {:?} of the operators must end in a person", service.escalation_policy.0);
        site.sink.error(site.name_pos, message, Some("add a person to the targets of its last level".to_owned()));
    }
}

fn check_test(site: &Site, test: &Test) {
    leaks(site, test);
    for name in undefined(test) {
        let message = format!("the variable {{{{{name}}}}} is defined in no environment and saved by no step");
        site.sink.warning(site.name_pos, message, None);
    }
}

/// A schedule that creates and never deletes fills the service that it tests.
fn leaks(site: &Site, test: &Test) {
    let creates = test.steps.iter().filter(|step| matches!(step, Step::Request(step) if step.request.method == "POST")).count();
    let deletes = |step: &Step| matches!(step, Step::Request(step) if step.request.method == "DELETE");
    if creates == 0 || !test.teardown.is_empty() || test.steps.iter().any(deletes) {
        return;
    }
    let runs = |s: &allclear_domain::apitest::document::Schedule| {
        86_400_000_000 / s.every.as_micros().max(1) * i64::try_from(s.locations.len()).unwrap_or(1)
    };
    let per_day: i64 = test.schedules.iter().map(runs).sum::<i64>() * i64::try_from(creates).unwrap_or(1);
    if per_day > 0 {
        let message = format!("this schedule sends up to {per_day} creating requests a day and deletes nothing");
        site.sink.warning(site.name_pos, message, Some("add a teardown that deletes what the test makes".into()));
    }
}

const BUILT_IN: &[&str] = &["uuid", "timestamp", "random_int", "run_id"];

fn undefined(test: &Test) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    let mut defined: BTreeSet<&str> = BUILT_IN.iter().copied().collect();
    for environment in test.environments.values() {
        defined.extend(environment.variables.keys().map(String::as_str));
        environment.headers.values().for_each(|value| names_in(value, &mut used));
        environment.variables.values().for_each(|value| names_in(&value.to_string(), &mut used));
    }
    for step in test.steps.iter().chain(&test.teardown) {
        if let Step::Request(step) = step {
            defined.extend(step.save.iter().map(|save| save.name.as_str()));
            names_of_step(step, &mut used);
        }
    }
    used.into_iter().filter(|name| !defined.contains(name.as_str()) && !name.starts_with("secret.")).collect()
}

fn names_of_step(step: &RequestStep, used: &mut BTreeSet<String>) {
    let request = &step.request;
    names_in(&request.url, used);
    request.query.values().chain(request.headers.values()).for_each(|value| names_in(value, used));
    match &request.body {
        None => {}
        Some(Body::Json(value)) => names_in(&value.to_string(), used),
        Some(Body::Form(fields)) => fields.values().for_each(|value| names_in(value, used)),
        Some(Body::Text(text)) => names_in(text, used),
    }
    step.assertions.iter().filter_map(|a| a.value.as_ref()).for_each(|value| names_in(&value.to_string(), used));
}

fn names_in(text: &str, used: &mut BTreeSet<String>) {
    for piece in template::pieces(text).unwrap_or_default() {
        if let Piece::Variable(name) = piece {
            used.insert(name.to_owned());
        }
    }
}
