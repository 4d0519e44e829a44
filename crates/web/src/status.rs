//! The public status page: what customers read. It is rendered once per change from what is published and knows nothing else.

mod contrast;
mod feed;

use allclear_domain::Timestamp;
use allclear_domain::oncall;
use allclear_domain::status::published::{NOTHING, PublishedComponent, PublishedIncident, PublishedPage, PublishedUpdate, Stage};
use allclear_domain::status::uptime::{self, DAYS, Day};
use allclear_domain::status::{ComponentStatus, Indicator, Link, rollup};
use askama::Template;
use jiff::tz::TimeZone;

use crate::assets;
use crate::prose::prose;

/// How many days of incidents the page itself lists; the history lists the rest.
const RECENT_DAYS: usize = 14;

/// A part of a page.
pub struct Part {
    /// Its address below the page's own.
    pub path: String,
    /// What it is.
    pub content_type: &'static str,
    /// The bytes.
    pub body: Vec<u8>,
}

const HTML: &str = "text/html; charset=utf-8";

/// Everything that people and feed readers ask for, as of `now`; `base` is the address that the page stands at. Where it can no
/// longer be read anew, it says of when it is.
#[must_use]
pub fn render(page: &PublishedPage, now: Timestamp, base: &str, away_since: Option<Timestamp>) -> Vec<Part> {
    let zone = oncall::zone(&page.time_zone).unwrap_or(TimeZone::UTC);
    let look = Look { data_as_of: away_since.map(|since| at(since, &zone)), ..Look::new(page, base) };
    let mut parts = Vec::with_capacity(page.incidents.len() + 8);
    let mut add = |path: &str, content_type: &'static str, body: Result<String, askama::Error>| match body {
        Ok(text) => parts.push(Part { path: path.to_owned(), content_type, body: text.into_bytes() }),
        Err(error) => tracing::error!(%error, path, "a part of a public page cannot be rendered"),
    };
    add("", HTML, Overview::new(page, &look, &zone, now).render());
    add("history", HTML, History::new(page, &look, &zone).render());
    let nothing = Nothing { look: look.clone(), title: format!("{} status: not found", page.name) };
    add(NOTHING, HTML, nothing.render());
    for incident in &page.incidents {
        add(&format!("incidents/{}", incident.id), HTML, Permalink::new(page, &look, &zone, incident).render());
    }
    add("history.atom", "application/atom+xml; charset=utf-8", feed::atom(page, base, &zone));
    add("history.rss", "application/rss+xml; charset=utf-8", feed::rss(page, base, &zone, now));
    add("badge.svg", "image/svg+xml", feed::badge(page));
    if let Some(colour) = &page.branding.colour {
        add("page.css", "text/css; charset=utf-8", Ok(contrast::stylesheet(colour)));
    }
    parts
}

/// What the pages of a status page have in common.
#[derive(Debug, Clone)]
struct Look {
    name: String,
    about: Option<String>,
    logo: Option<String>,
    links: Vec<Link>,
    base: String,
    style: &'static str,
    brand_style: Option<String>,
    /// Of when the page is, where it cannot be read anew.
    data_as_of: Option<String>,
}

impl Look {
    fn new(page: &PublishedPage, base: &str) -> Self {
        let branding = &page.branding;
        Self {
            name: page.name.clone(),
            about: branding.about.clone(),
            logo: branding.logo.clone(),
            links: branding.links.clone(),
            base: base.to_owned(),
            style: assets::style_path(),
            brand_style: branding.colour.as_ref().map(|_| format!("{base}/page.css")),
            data_as_of: None,
        }
    }
}

/// The page itself.
#[derive(Debug, Template)]
#[template(path = "status.html")]
struct Overview {
    look: Look,
    title: String,
    indicator: &'static str,
    phrase: &'static str,
    open: Vec<Incident>,
    groups: Vec<Group>,
    days: Vec<RecentDay>,
    as_of: String,
}

/// Components that stand together; those without a group stand in one without a name.
#[derive(Debug)]
struct Group {
    name: Option<String>,
    status: &'static str,
    label: &'static str,
    components: Vec<Component>,
}

#[derive(Debug)]
struct Component {
    name: String,
    description: Option<String>,
    status: &'static str,
    label: &'static str,
    bars: Vec<Bar>,
    uptime: Option<String>,
}

/// One day of a component's ninety.
#[derive(Debug)]
struct Bar {
    x: usize,
    /// Its colour; nothing for a day on which the component was not there.
    fill: Option<String>,
    text: String,
}

#[derive(Debug)]
struct Incident {
    id: String,
    name: String,
    impact: &'static str,
    is_open: bool,
    /// `Nov 26, 14:03 - 15:10 UTC`
    when: String,
    components: Vec<String>,
    updates: Vec<Update>,
}

#[derive(Debug)]
struct Update {
    label: &'static str,
    /// Safe HTML.
    html: String,
    at: String,
    machine_at: String,
}

#[derive(Debug)]
struct RecentDay {
    date: String,
    incidents: Vec<Incident>,
}

/// What answers where a page has nothing.
#[derive(Debug, Template)]
#[template(path = "status_nothing.html")]
struct Nothing {
    look: Look,
    title: String,
}

/// All incidents that are published, by month.
#[derive(Debug, Template)]
#[template(path = "status_history.html")]
struct History {
    look: Look,
    title: String,
    months: Vec<Month>,
}

#[derive(Debug)]
struct Month {
    name: String,
    incidents: Vec<Incident>,
}

/// One incident.
#[derive(Debug, Template)]
#[template(path = "status_incident.html")]
struct Permalink {
    look: Look,
    title: String,
    incident: Incident,
}

impl Overview {
    fn new(page: &PublishedPage, look: &Look, zone: &TimeZone, now: Timestamp) -> Self {
        let (indicator, phrase) = page.overall();
        let incident = |incident: &PublishedIncident| Incident::new(page, zone, incident);
        let is_open = |incident: &&PublishedIncident| incident.stage != Stage::Resolved;
        Self {
            look: look.clone(),
            title: format!("{} status", page.name),
            indicator: indicator.word(),
            phrase,
            open: page.incidents.iter().filter(is_open).map(incident).collect(),
            groups: groups(page, zone, now),
            days: recent(page, zone, now),
            as_of: at(page.updated_at, zone),
        }
    }
}

/// The components in the order in which they stand; a group stands where its first component does.
fn groups(page: &PublishedPage, zone: &TimeZone, now: Timestamp) -> Vec<Group> {
    let mut groups: Vec<(Option<&str>, Vec<&PublishedComponent>)> = Vec::new();
    for component in &page.components {
        let name = component.group.as_deref();
        let last = groups.last().map(|(name, _)| *name);
        match groups.iter_mut().find(|(known, _)| *known == name && (name.is_some() || last == Some(None))) {
            Some((_, members)) => members.push(component),
            None => groups.push((name, vec![component])),
        }
    }
    let group = |(name, members): (Option<&str>, Vec<&PublishedComponent>)| {
        let worst = members.iter().map(|component| component.status).max().unwrap_or_default();
        Group {
            name: name.map(str::to_owned),
            status: worst.word(),
            label: worst.label(),
            components: members.into_iter().map(|component| Component::new(component, zone, now)).collect(),
        }
    };
    groups.into_iter().map(group).collect()
}

impl Component {
    fn new(component: &PublishedComponent, zone: &TimeZone, now: Timestamp) -> Self {
        let days = uptime::days(&component.outages, component.created_at, zone, now, DAYS);
        let share = uptime::uptime(&component.outages, component.created_at, zone, now, DAYS);
        Self {
            name: component.name.clone(),
            description: component.description.clone(),
            status: component.status.word(),
            label: component.status.label(),
            bars: days.iter().enumerate().map(|(n, day)| Bar::new(n, day)).collect(),
            uptime: share.map(|share| format!("{}.{:02} %", share / 100, share % 100)),
        }
    }
}

impl Bar {
    fn new(n: usize, day: &Day) -> Self {
        /// A bar is 3 wide, 2 apart.
        const STEP: usize = 5;
        let date = pretty_date(&day.date);
        let text = match (day.is_known, day.major_s, day.partial_s) {
            (false, ..) => format!("{date}: no data"),
            (true, 0, 0) => format!("{date}: no downtime recorded on this day"),
            (true, major, partial) => {
                let of = |what: &str, seconds: i64| (seconds > 0).then(|| format!("{what} {}", hours(seconds)));
                let told: Vec<String> = [of("major outage", major), of("partial outage", partial)].into_iter().flatten().collect();
                format!("{date}: {}", told.join(", "))
            }
        };
        let fill = day.is_known.then(|| {
            let (red, green, blue) = uptime::colour(day.weighted_s());
            format!("#{red:02x}{green:02x}{blue:02x}")
        });
        Self { x: n * STEP, fill, text }
    }
}

/// Less than a minute counts as one.
fn hours(seconds: i64) -> String {
    let minutes = (seconds / 60).max(1);
    format!("{} h {} min", minutes / 60, minutes % 60)
}

/// `2026-11-26` as `26 Nov 2026`.
fn pretty_date(date: &str) -> String {
    date.parse::<jiff::civil::Date>().map_or_else(|_| date.to_owned(), |date| date.strftime("%-d %b %Y").to_string())
}

/// `26 Nov 2026, 14:03 UTC`
fn at(at: Timestamp, zone: &TimeZone) -> String {
    at.to_jiff().to_zoned(zone.clone()).strftime("%-d %b %Y, %H:%M %Z").to_string()
}

impl Incident {
    fn new(page: &PublishedPage, zone: &TimeZone, incident: &PublishedIncident) -> Self {
        let name = |id: &allclear_domain::ComponentId| page.components.iter().find(|component| component.id == *id).map(|c| c.name.clone());
        let begun = incident.created_at.to_jiff().to_zoned(zone.clone());
        let when = match incident.resolved_at.map(|at| at.to_jiff().to_zoned(zone.clone())) {
            None => format!("since {}", begun.strftime("%-d %b, %H:%M %Z")),
            Some(ended) if ended.date() == begun.date() => {
                format!("{} – {}", begun.strftime("%-d %b, %H:%M"), ended.strftime("%H:%M %Z"))
            }
            Some(ended) => format!("{} – {}", begun.strftime("%-d %b, %H:%M"), ended.strftime("%-d %b, %H:%M %Z")),
        };
        Self {
            id: incident.id.clone(),
            name: incident.name.clone(),
            impact: incident.impact.word(),
            is_open: incident.stage != Stage::Resolved,
            when,
            components: incident.components.iter().filter_map(name).collect(),
            updates: incident.updates.iter().map(|update| Update::new(update, zone)).collect(),
        }
    }
}

impl Update {
    fn new(update: &PublishedUpdate, zone: &TimeZone) -> Self {
        Self {
            label: stage_label(update.stage),
            html: prose(&update.body),
            at: at(update.at, zone),
            machine_at: update.at.to_rfc3339_millis(),
        }
    }
}

const fn stage_label(stage: Stage) -> &'static str {
    match stage {
        Stage::Investigating => "Investigating",
        Stage::Identified => "Identified",
        Stage::Monitoring => "Monitoring",
        Stage::Resolved => "Resolved",
    }
}

/// The last days, newest first, each with what began on it and is over.
fn recent(page: &PublishedPage, zone: &TimeZone, now: Timestamp) -> Vec<RecentDay> {
    let today = now.to_jiff().to_zoned(zone.clone()).date();
    let day = |back: usize| {
        let date = today.saturating_sub(jiff::Span::new().days(i64::try_from(back).unwrap_or(0)));
        let of_day = |incident: &&PublishedIncident| {
            incident.stage == Stage::Resolved && incident.created_at.to_jiff().to_zoned(zone.clone()).date() == date
        };
        let incidents = page.incidents.iter().filter(of_day).map(|incident| Incident::new(page, zone, incident)).collect();
        RecentDay { date: date.strftime("%-d %b %Y").to_string(), incidents }
    };
    (0..RECENT_DAYS).map(day).collect()
}

impl History {
    fn new(page: &PublishedPage, look: &Look, zone: &TimeZone) -> Self {
        let mut months: Vec<Month> = Vec::new();
        for incident in &page.incidents {
            let name = incident.created_at.to_jiff().to_zoned(zone.clone()).strftime("%B %Y").to_string();
            let shown = Incident::new(page, zone, incident);
            match months.last_mut().filter(|month| month.name == name) {
                Some(month) => month.incidents.push(shown),
                None => months.push(Month { name, incidents: vec![shown] }),
            }
        }
        Self { look: look.clone(), title: format!("{} status: history", page.name), months }
    }
}

impl Permalink {
    fn new(page: &PublishedPage, look: &Look, zone: &TimeZone, incident: &PublishedIncident) -> Self {
        Self {
            look: look.clone(),
            title: format!("{} · {} status", incident.name, page.name),
            incident: Incident::new(page, zone, incident),
        }
    }
}

/// What the worst of these statuses means for a whole page, in a word for a badge.
fn in_a_word(page: &PublishedPage) -> (&'static str, &'static str) {
    let leaves: Vec<ComponentStatus> = page.components.iter().map(|component| component.status).collect();
    match rollup(&leaves).0 {
        Indicator::None => ("operational", "#1a7f4b"),
        Indicator::Maintenance => ("maintenance", "#2f6fb3"),
        Indicator::Minor => ("degraded", "#9a6700"),
        Indicator::Major => ("partial outage", "#bc4c00"),
        Indicator::Critical => ("major outage", "#b3261e"),
    }
}

/// What the page shows, with one day of each component's ninety.
#[cfg(test)]
pub(crate) fn shown(page: &PublishedPage, now: Timestamp) -> impl std::fmt::Debug {
    let zone = oncall::zone(&page.time_zone).unwrap_or(TimeZone::UTC);
    let mut view = Overview::new(page, &Look::new(page, ""), &zone, now);
    for component in view.groups.iter_mut().flat_map(|group| &mut group.components) {
        component.bars.drain(..DAYS - 1);
    }
    view.days.truncate(2);
    view
}
