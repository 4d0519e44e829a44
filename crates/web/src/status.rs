//! The public status page: what customers read. It is rendered once per change from what is published and knows nothing else.

mod contrast;
mod feed;

use allclear_domain::Timestamp;
use allclear_domain::oncall;
use allclear_domain::status::published::{
    MOST_INCIDENTS, NOTHING, PublishedComponent, PublishedIncident, PublishedPage, PublishedUpdate, Stage,
};
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
    let whole = Whole::new(page, now, base, away_since);
    let mut paths = ["", HISTORY, NOTHING, "history.atom", "history.rss", "badge.svg", "page.css"].map(str::to_owned).to_vec();
    paths.extend(page.incidents.iter().map(|incident| format!("{INCIDENTS}{}", incident.id)));
    paths.iter().filter_map(|path| whole.part(path)).collect()
}

/// One part alone, by its path below the page's own address: of a page whose incidents are older than those kept in memory.
#[must_use]
pub fn render_one(page: &PublishedPage, now: Timestamp, base: &str, away_since: Option<Timestamp>, path: &str) -> Option<Part> {
    Whole::new(page, now, base, away_since).part(path)
}

const HISTORY: &str = "history";
const INCIDENTS: &str = "incidents/";

/// A page with what its parts have in common.
struct Whole<'a> {
    page: &'a PublishedPage,
    look: Look,
    zone: TimeZone,
    now: Timestamp,
    base: &'a str,
}

impl<'a> Whole<'a> {
    fn new(page: &'a PublishedPage, now: Timestamp, base: &'a str, away_since: Option<Timestamp>) -> Self {
        let zone = oncall::zone_or_utc(&page.time_zone);
        let look = Look { data_as_of: away_since.map(|since| at(since, &zone)), ..Look::new(page, base) };
        Self { page, look, zone, now, base }
    }

    fn part(&self, path: &str) -> Option<Part> {
        let Self { page, look, zone, now, base } = self;
        let (content_type, body) = match path {
            "" => (HTML, Overview::new(page, look, zone, *now).render()),
            HISTORY => (HTML, History::new(page, look, zone).render()),
            NOTHING => (HTML, Nothing { look: look.clone(), title: format!("{} status: not found", page.name) }.render()),
            "history.atom" => ("application/atom+xml; charset=utf-8", feed::atom(page, base, zone)),
            "history.rss" => ("application/rss+xml; charset=utf-8", feed::rss(page, base, zone, *now)),
            "badge.svg" => ("image/svg+xml", feed::badge(page)),
            "page.css" => ("text/css; charset=utf-8", Ok(contrast::stylesheet(page.branding.colour.as_ref()?))),
            _ => {
                let id = path.strip_prefix(INCIDENTS)?;
                let incident = page.incidents.iter().find(|incident| incident.id == id)?;
                (HTML, Permalink::new(page, look, zone, incident).render())
            }
        };
        match body {
            Ok(text) => Some(Part { path: path.to_owned(), content_type, body: text.into_bytes() }),
            Err(error) => {
                tracing::error!(%error, path, "a part of a public page cannot be rendered");
                None
            }
        }
    }
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
    /// How its components fared together; nothing for those without a name, and for one component alone.
    together: Option<Together>,
    components: Vec<Component>,
}

/// The share of the time in which something was up; nothing where it was not there. How many days are shown depends on the width
/// of the page.
#[derive(Debug)]
struct Uptime {
    ninety: Option<String>,
    sixty: Option<String>,
    thirty: Option<String>,
}

impl Uptime {
    /// `of` is the share of so many days, in hundredths of a percent.
    fn new(of: impl Fn(usize) -> Option<i64>) -> Self {
        let told = |days| of(days).map(|share| format!("{}.{:02} %", share / 100, share % 100));
        Self { ninety: told(DAYS), sixty: told(60), thirty: told(30) }
    }
}

/// The mean over a group's components.
#[derive(Debug)]
struct Together {
    bars: Vec<Bar>,
    uptime: Uptime,
}

#[derive(Debug)]
struct Component {
    name: String,
    description: Option<String>,
    status: &'static str,
    label: &'static str,
    bars: Vec<Bar>,
    uptime: Uptime,
    /// The days with an outage in words, newest first.
    out: Vec<Out>,
}

/// A day with an outage.
#[derive(Debug)]
struct Out {
    text: String,
    /// What was said about the component on that day: ids and names.
    incidents: Vec<(String, String)>,
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
    /// Whether one that began on this day is open, and stands above.
    has_open: bool,
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
    /// The incident before which there are more.
    goes_on_before: Option<String>,
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
            together: (name.is_some() && members.len() > 1).then(|| Together::new(&members, zone, now)),
            components: members.into_iter().map(|component| Component::new(page, component, zone, now)).collect(),
        }
    };
    groups.into_iter().map(group).collect()
}

impl Together {
    fn new(members: &[&PublishedComponent], zone: &TimeZone, now: Timestamp) -> Self {
        let days: Vec<Vec<Day>> = members.iter().map(|one| uptime::days(&one.outages, one.known_since(), zone, now, DAYS)).collect();
        let bar = |n: usize| {
            let of_day: Vec<&Day> = days.iter().filter_map(|of_one| of_one.get(n)).filter(|day| day.is_known).collect();
            let date = days.first().and_then(|of_one| of_one.get(n)).map_or_else(String::new, |day| pretty_date(&day.date));
            let (there, out) = (of_day.len(), of_day.iter().filter(|day| day.weighted_s() > 0).count());
            let mean = of_day.iter().map(|day| day.weighted_s()).sum::<i64>() / i64::try_from(there.max(1)).unwrap_or(1);
            let text = match (there, out) {
                (0, _) => format!("{date}: no data"),
                (_, 0) => format!("{date}: no downtime recorded on this day"),
                (there, out) => format!("{date}: downtime of {out} of {there} components"),
            };
            // The shortest outage of one of many is seen.
            Bar::coloured(n, (there > 0).then(|| mean.max(i64::from(out > 0))), text)
        };
        let mean = |days: usize| {
            let shares: Vec<i64> =
                members.iter().filter_map(|one| uptime::uptime(&one.outages, one.known_since(), zone, now, days)).collect();
            shares.iter().sum::<i64>().checked_div(i64::try_from(shares.len()).unwrap_or(0))
        };
        Self { bars: (0..DAYS).map(bar).collect(), uptime: Uptime::new(mean) }
    }
}

impl Component {
    fn new(page: &PublishedPage, component: &PublishedComponent, zone: &TimeZone, now: Timestamp) -> Self {
        let days = uptime::days(&component.outages, component.known_since(), zone, now, DAYS);
        let date = |at: Timestamp| at.to_jiff().to_zoned(zone.clone()).date().to_string();
        let said_on = |day: &Day| {
            let was_open = |incident: &&PublishedIncident| {
                incident.components.contains(&component.id)
                    && date(incident.created_at) <= day.date
                    && day.date <= date(incident.resolved_at.unwrap_or(now))
            };
            page.incidents.iter().filter(was_open).map(|incident| (incident.id.clone(), incident.name.clone())).collect()
        };
        let out = |day: &Day| Out { text: told(day), incidents: said_on(day) };
        Self {
            name: component.name.clone(),
            description: component.description.clone(),
            status: component.status.word(),
            label: component.status.label(),
            bars: days.iter().enumerate().map(|(n, day)| Bar::new(n, day)).collect(),
            uptime: Uptime::new(|days| uptime::uptime(&component.outages, component.known_since(), zone, now, days)),
            out: days.iter().rev().filter(|day| day.is_known && day.major_s + day.partial_s > 0).map(out).collect(),
        }
    }
}

/// A day in words.
fn told(day: &Day) -> String {
    let date = pretty_date(&day.date);
    match (day.is_known, day.major_s, day.partial_s) {
        (false, ..) => format!("{date}: no data"),
        (true, 0, 0) => format!("{date}: no downtime recorded on this day"),
        (true, major, partial) => {
            let of = |what: &str, seconds: i64| (seconds > 0).then(|| format!("{what} {}", hours(seconds)));
            let told: Vec<String> = [of("major outage", major), of("partial outage", partial)].into_iter().flatten().collect();
            format!("{date}: {}", told.join(", "))
        }
    }
}

impl Bar {
    fn new(n: usize, day: &Day) -> Self {
        Self::coloured(n, day.is_known.then(|| day.weighted_s()), told(day))
    }

    /// A bar of a day with so many seconds of outage; nothing where nothing is known of it.
    fn coloured(n: usize, weighted_s: Option<i64>, text: String) -> Self {
        /// A bar is 3 wide, 2 apart.
        const STEP: usize = 5;
        let fill = weighted_s.map(|seconds| {
            let (red, green, blue) = uptime::colour(seconds);
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
        let is_open = |incident: &PublishedIncident| {
            incident.stage != Stage::Resolved && incident.created_at.to_jiff().to_zoned(zone.clone()).date() == date
        };
        let incidents = page.incidents.iter().filter(of_day).map(|incident| Incident::new(page, zone, incident)).collect();
        let has_open = page.incidents.iter().any(is_open);
        RecentDay { date: date.strftime("%-d %b %Y").to_string(), incidents, has_open }
    };
    (0..RECENT_DAYS).map(day).collect()
}

impl History {
    fn new(page: &PublishedPage, look: &Look, zone: &TimeZone) -> Self {
        let mut months: Vec<Month> = Vec::new();
        for incident in page.incidents.iter().take(MOST_INCIDENTS) {
            let name = incident.created_at.to_jiff().to_zoned(zone.clone()).strftime("%B %Y").to_string();
            let shown = Incident::new(page, zone, incident);
            match months.last_mut().filter(|month| month.name == name) {
                Some(month) => month.incidents.push(shown),
                None => months.push(Month { name, incidents: vec![shown] }),
            }
        }
        let goes_on_before = page.incidents.get(MOST_INCIDENTS - 1).map(|last| last.id.clone());
        Self { look: look.clone(), title: format!("{} status: history", page.name), months, goes_on_before }
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
    let zone = oncall::zone_or_utc(&page.time_zone);
    let mut view = Overview::new(page, &Look::new(page, ""), &zone, now);
    for component in view.groups.iter_mut().flat_map(|group| &mut group.components) {
        component.bars.drain(..DAYS - 1);
    }
    for together in view.groups.iter_mut().filter_map(|group| group.together.as_mut()) {
        together.bars.drain(..DAYS - 1);
    }
    view.days.truncate(2);
    view
}

/// The history, and the page of the newest incident.
#[cfg(test)]
pub(crate) fn shown_past(page: &PublishedPage) -> impl std::fmt::Debug {
    let (zone, look) = (oncall::zone_or_utc(&page.time_zone), Look::new(page, ""));
    let newest = page.incidents.first().map(|incident| Permalink::new(page, &look, &zone, incident));
    (History::new(page, &look, &zone), newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use allclear_domain::status::uptime::Outage;

    const NOW: &str = "2026-05-03T12:00:00Z";

    fn component(id: &str, outages: Vec<Outage>) -> PublishedComponent {
        let made = "2026-01-05T09:00:00Z".parse().expect("an instant");
        PublishedComponent {
            id: id.into(),
            name: id.to_owned(),
            description: None,
            group: Some("Streaming".to_owned()),
            position: 0,
            status: ComponentStatus::Operational,
            created_at: made,
            known_since: None,
            updated_at: made,
            outages,
        }
    }

    fn page() -> PublishedPage {
        let at = |text: &str| text.parse().expect("an instant");
        let outage =
            Outage { status: ComponentStatus::MajorOutage, from: at("2026-05-02T10:00:00Z"), until: Some(at("2026-05-02T11:00:00Z")) };
        PublishedPage {
            id: "p1".into(),
            name: "SYNQ".into(),
            slug: "synq".into(),
            host: None,
            time_zone: "Etc/UTC".into(),
            branding: allclear_domain::status::Branding::default(),
            updated_at: at(NOW),
            components: vec![component("a", vec![outage]), component("b", vec![])],
            incidents: vec![PublishedIncident {
                id: "i1".into(),
                name: "Streams are down".into(),
                stage: Stage::Resolved,
                impact: Indicator::Critical,
                created_at: at("2026-05-02T10:05:00Z"),
                updated_at: at("2026-05-02T11:00:00Z"),
                resolved_at: Some(at("2026-05-02T11:00:00Z")),
                components: vec!["a".into()],
                updates: vec![],
            }],
        }
    }

    #[test]
    fn a_groups_bars_and_uptime_are_the_mean_of_its_components() {
        let page = page();
        let found = groups(&page, &TimeZone::UTC, NOW.parse().expect("an instant"));
        let together = found[0].together.as_ref().expect("two components");
        assert_eq!(together.bars[88].text, "2 May 2026: downtime of 1 of 2 components");
        // An hour of one is half an hour of both.
        let (red, green, blue) = uptime::colour(1_800);
        assert_eq!(together.bars[88].fill.as_deref(), Some(format!("#{red:02x}{green:02x}{blue:02x}").as_str()));
        assert_eq!(together.bars[89].text, "3 May 2026: no downtime recorded on this day");
        let (of_one, of_both) = (&found[0].components[0].uptime, &together.uptime);
        assert_eq!((of_one.ninety.as_deref(), of_both.ninety.as_deref()), (Some("99.95 %"), Some("99.97 %")));
        assert_eq!((of_one.thirty.as_deref(), of_both.thirty.as_deref()), (Some("99.85 %"), Some("99.92 %")));
    }

    #[test]
    fn days_with_downtime_are_told_in_words_with_what_was_said_of_them() {
        let page = page();
        let found = groups(&page, &TimeZone::UTC, NOW.parse().expect("an instant"));
        let [day] = found[0].components[0].out.as_slice() else { panic!("one day") };
        assert_eq!(day.text, "2 May 2026: major outage 1 h 0 min");
        assert_eq!(day.incidents, [("i1".to_owned(), "Streams are down".to_owned())]);
        assert!(found[0].components[1].out.is_empty());
    }
}
