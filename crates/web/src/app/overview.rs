//! The loop at a glance: what is open and who has it, what runs, who is on call, what customers see, and whether AllClear
//! itself is well.

use allclear_domain::catalog::{Catalog, Kind};
use allclear_domain::escalation::Target;
use allclear_domain::oncall::Schedule;
use allclear_domain::{PersonId, Span, Timestamp};
use allclear_ops::OpsError;
use allclear_ops::view::{self, Names};
use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::guard::{Viewer, failed};
use super::incidents::Row;
use super::{Clock, Moment, Shell, in_words, open_incidents};
use crate::{Web, page};

/// Open incidents that are shown; the list has all.
const MOST_SHOWN: usize = 8;
const MOST_READ: u32 = 8;

/// Escalation policies and status pages that are listed.
const MOST_LISTED: usize = 12;

#[derive(Debug, Template)]
#[template(path = "app/overview.html")]
struct Overview {
    shell: Shell,
    heading: String,
    open: Vec<Row>,
    more: usize,
    tests: usize,
    failing: i64,
    /// Those whose last run did not pass and nobody is told.
    quiet_failures: usize,
    on_call: Vec<OnCall>,
    /// How many escalation policies are not shown.
    more_policies: usize,
    pages: Vec<PublicPage>,
    /// How many status pages are not shown.
    more_pages: usize,
    findings: Vec<String>,
    /// Channels whose provider keeps failing.
    failing_channels: Vec<String>,
    waiting: i64,
    oldest: Option<String>,
    steps: Vec<Step>,
}

/// The first level of an escalation policy, as it is now.
#[derive(Debug)]
struct OnCall {
    policy: String,
    /// One for each of its targets.
    turns: Vec<OnTurn>,
}

/// Who is on call, and who takes over when.
#[derive(Debug)]
struct OnTurn {
    who: String,
    hands_over: Option<(String, Moment)>,
}

#[derive(Debug)]
struct PublicPage {
    name: String,
    slug: String,
    indicator: &'static str,
    phrase: &'static str,
}

/// One of the six steps from nothing to a loop that closes, and the proof.
#[derive(Debug)]
struct Step {
    done: bool,
    text: &'static str,
    hint: &'static str,
}

/// `GET /`
pub(crate) async fn show(State(web): State<Web>, Viewer(who): Viewer) -> Response {
    match look(&web, &who).await {
        Ok(view) => page::app(StatusCode::OK, &view),
        Err(error) => failed(&error),
    }
}

async fn look(web: &Web, who: &allclear_ops::session::SignedIn) -> Result<Overview, OpsError> {
    let (actor, names, clock) = (who.actor(), Names::of(&web.store), Clock::of(&web.store, who));
    let mut open = view::list_incidents(&web.store, &actor, Some("triggered".into()), i64::MAX, MOST_READ).await?;
    open.extend(view::list_incidents(&web.store, &actor, Some("acknowledged".into()), i64::MAX, MOST_READ).await?);
    let in_all = open_incidents(web, who).await?;
    let failing = view::failing_tests(&web.store, &actor).await?;
    let standing = view::standing(&web.store, &actor).await?;
    let ever = !open.is_empty() || !view::list_incidents(&web.store, &actor, None, i64::MAX, 1).await?.is_empty();
    let mut pages = view::published_pages(&web.store).await?;
    // Trouble comes first.
    pages.sort_by_cached_key(|(_, page)| (std::cmp::Reverse(page.overall().0), page.name.to_lowercase()));
    let catalog = web.store.catalog();
    let quiet_failures = web.runs.not_passing().difference(&failing).count();
    let heading = match in_all {
        0 if quiet_failures > 0 => "Nobody is paged, but not every test passes".to_owned(),
        0 => "All clear".to_owned(),
        1 => "One open incident".to_owned(),
        n => format!("{n} open incidents"),
    };
    let mut findings = web.health.findings();
    findings.extend(allclear_ops::delivery::findings(&web.store).await?);
    let public = |(_, shown): &(i64, allclear_domain::status::published::PublishedPage)| {
        let (indicator, phrase) = shown.overall();
        PublicPage { name: shown.name.clone(), slug: shown.slug.clone(), indicator: indicator.word(), phrase }
    };
    Ok(Overview {
        shell: Shell::new("Overview", "overview", who, in_all),
        heading,
        open: open.iter().take(MOST_SHOWN).map(|incident| Row::new(incident, &names, &clock)).collect(),
        more: usize::try_from(in_all).unwrap_or(0).saturating_sub(MOST_SHOWN),
        tests: catalog.of_kind(Kind::Test).count(),
        failing: standing.failing_tests,
        quiet_failures,
        on_call: on_call(&catalog, web.store.now(), &clock),
        more_policies: catalog.of_kind(Kind::EscalationPolicy).count().saturating_sub(MOST_LISTED),
        pages: pages.iter().take(MOST_LISTED).map(public).collect(),
        more_pages: pages.len().saturating_sub(MOST_LISTED),
        findings,
        failing_channels: web.health.failing(),
        waiting: standing.waiting,
        oldest: (standing.oldest_due_s >= 60).then(|| in_words(standing.oldest_due_s)),
        steps: steps(&catalog, ever),
    })
}

fn on_call(catalog: &Catalog, now: Timestamp, clock: &Clock) -> Vec<OnCall> {
    let name = |person: &PersonId| catalog.person(person).map_or_else(|| person.0.clone(), |found| found.name.clone());
    let mut found = Vec::new();
    let mut policies: Vec<_> = catalog.of_kind(Kind::EscalationPolicy).filter_map(|resource| resource.document.as_policy()).collect();
    policies.sort_by(|a, b| a.name.cmp(&b.name));
    for policy in policies.into_iter().take(MOST_LISTED) {
        let Some(first) = policy.levels.first() else { continue };
        let turn = |target: &Target| match target {
            Target::Person(person) => Some(OnTurn { who: name(person), hands_over: None }),
            Target::Schedule(id) => catalog.schedule(id).map(|schedule| OnTurn::of(schedule, now, &name, clock)),
        };
        found.push(OnCall { policy: policy.name.clone(), turns: first.targets.iter().filter_map(turn).collect() });
    }
    found
}

impl OnTurn {
    fn of(schedule: &Schedule, now: Timestamp, name: &dyn Fn(&PersonId) -> String, clock: &Clock) -> Self {
        /// How far a schedule is looked into for whoever is the first.
        const AHEAD: Span = Span::from_mins(100 * 24 * 60);
        let here = schedule.on_call(now).ok().flatten();
        let until = here.as_ref().map_or(now.plus(AHEAD), |turn| turn.to.plus(Span::from_secs(1)));
        // With the overrides that begin before the turn ends.
        let turns = schedule.turns(now, until).unwrap_or_default();
        let next = turns.iter().find(|turn| turn.from > now).map(|turn| (name(&turn.person), clock.moment(turn.from)));
        let who = here.map_or_else(|| format!("nobody on {}", schedule.name), |turn| name(&turn.person));
        Self { who, hands_over: next }
    }
}

/// What is still missing until the loop closes; nothing once it does.
fn steps(catalog: &Catalog, had_incident: bool) -> Vec<Step> {
    let any = |kind: Kind| catalog.of_kind(kind).next().is_some();
    let reachable = catalog.of_kind(Kind::Person).filter_map(|r| r.document.as_person()).any(|person| !person.contact_methods.is_empty());
    let steps = vec![
        Step { done: any(Kind::Test), text: "Write a test", hint: "kind: test, with a schedule and an environment" },
        Step {
            done: any(Kind::Service),
            text: "Make a service",
            hint: "kind: service, with an escalation policy; the test's environment names it",
        },
        Step { done: reachable, text: "Say how people are reached", hint: "kind: person, with contact methods" },
        Step { done: any(Kind::Channel), text: "Connect Slack, Twilio or a mail server", hint: "kind: channel" },
        Step { done: any(Kind::Component), text: "Make a page with a component", hint: "kind: page, kind: component" },
        Step { done: any(Kind::Rule), text: "Tie the service to the component", hint: "kind: rule, or on the status page's own page here" },
        Step {
            done: had_incident,
            text: "Fail it once",
            hint: "let an assertion expect what is not so, press “Run it now”, and watch the loop; then put it right",
        },
    ];
    if steps.iter().all(|step| step.done) { vec![] } else { steps }
}
