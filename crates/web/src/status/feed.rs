//! The feeds and the badge of a status page.

use allclear_domain::Timestamp;
use allclear_domain::status::published::{PublishedIncident, PublishedPage};
use askama::Template;
use jiff::tz::TimeZone;

use super::{in_a_word, stage_label};

/// Incidents in a feed; StatusPage has 25 to 50.
const MOST: usize = 25;

#[derive(Debug)]
struct Entry {
    id: String,
    title: String,
    link: String,
    published: String,
    updated: String,
    html: String,
}

#[derive(Debug, Template)]
#[template(path = "history.atom.xml")]
struct Atom<'a> {
    page: &'a PublishedPage,
    host: &'a str,
    base: &'a str,
    updated: String,
    entries: Vec<Entry>,
}

#[derive(Debug, Template)]
#[template(path = "history.rss.xml")]
struct Rss<'a> {
    page: &'a PublishedPage,
    base: &'a str,
    published: String,
    entries: Vec<Entry>,
}

/// What an entry says: each update, newest first, as HTML.
#[derive(Debug, Template)]
#[template(path = "feed_entry.html")]
struct Told {
    updates: Vec<Said>,
}

#[derive(Debug)]
struct Said {
    day: String,
    time: String,
    label: &'static str,
    text: String,
}

fn told(incident: &PublishedIncident, zone: &TimeZone) -> Result<String, askama::Error> {
    let said = |update: &allclear_domain::status::published::PublishedUpdate| {
        let at = update.at.to_jiff().to_zoned(zone.clone());
        let (day, time) = (at.strftime("%b %e").to_string(), at.strftime("%H:%M %Z").to_string());
        Said { day, time, label: stage_label(update.stage), text: update.body.clone() }
    };
    Told { updates: incident.updates.iter().map(said).collect() }.render()
}

fn rfc822(at: Timestamp, zone: &TimeZone) -> String {
    at.to_jiff().to_zoned(zone.clone()).strftime("%a, %d %b %Y %H:%M:%S %z").to_string()
}

fn entry(
    incident: &PublishedIncident,
    base: &str,
    host: &str,
    zone: &TimeZone,
    stamp: impl Fn(Timestamp) -> String,
) -> Result<Entry, askama::Error> {
    let last = incident.updates.first().map_or(incident.updated_at, |update| update.at);
    Ok(Entry {
        id: format!("tag:{host},2005:Incident/{}", incident.id),
        title: incident.name.clone(),
        link: format!("{base}/incidents/{}", incident.id),
        published: stamp(last),
        updated: stamp(incident.updated_at),
        html: told(incident, zone)?,
    })
}

fn host_of(base: &str) -> &str {
    let rest = base.split_once("//").map_or(base, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or(rest)
}

pub(super) fn atom(page: &PublishedPage, base: &str, zone: &TimeZone) -> Result<String, askama::Error> {
    let host = host_of(base);
    let entries = page.incidents.iter().take(MOST).map(|incident| entry(incident, base, host, zone, |at| at.to_rfc3339_seconds()));
    Atom { page, host, base, updated: page.updated_at.to_rfc3339_seconds(), entries: entries.collect::<Result<_, _>>()? }.render()
}

pub(super) fn rss(page: &PublishedPage, base: &str, zone: &TimeZone, now: Timestamp) -> Result<String, askama::Error> {
    let entries = page.incidents.iter().take(MOST).map(|incident| entry(incident, base, host_of(base), zone, |at| rfc822(at, zone)));
    Rss { page, base, published: rfc822(now, zone), entries: entries.collect::<Result<_, _>>()? }.render()
}

#[derive(Debug, Template)]
#[template(path = "badge.svg.xml")]
struct Badge {
    word: &'static str,
    colour: &'static str,
    width: usize,
    label_width: usize,
    word_width: usize,
}

/// `status | operational`, in the usual form.
pub(super) fn badge(page: &PublishedPage) -> Result<String, askama::Error> {
    /// About as wide as a letter of Verdana at 11 px.
    const LETTER: usize = 7;
    const MARGIN: usize = 12;
    let (word, colour) = in_a_word(page);
    let (label_width, word_width) = ("status".len() * LETTER + MARGIN, word.len() * LETTER + MARGIN);
    Badge { word, colour, width: label_width + word_width, label_width, word_width }.render()
}
