//! The app: what a responder needs. Every page works without a script; forms post and answer with a redirect.

pub(crate) mod account;
pub(crate) mod attempts;
pub(crate) mod editor;
pub(crate) mod entry;
pub(crate) mod evidence;
pub(crate) mod guard;
pub(crate) mod incidents;
pub(crate) mod live;
pub(crate) mod named;
pub(crate) mod overview;
pub(crate) mod pages;
pub(crate) mod rules;
pub(crate) mod tests;
pub(crate) mod tree;

use allclear_domain::Timestamp;
use allclear_domain::oncall;
use allclear_ops::OpsError;
use allclear_ops::session::SignedIn;
use allclear_ops::view;
use allclear_store::Store;
use jiff::tz::TimeZone;

use crate::{Web, assets};

/// What every page of the app has around it.
#[derive(Debug)]
pub(crate) struct Shell {
    pub(crate) title: String,
    pub(crate) style: &'static str,
    pub(crate) script: &'static str,
    /// Which of the rooms is open.
    pub(crate) room: &'static str,
    pub(crate) name: String,
    pub(crate) can_act: bool,
    /// Open incidents, for the number beside their room.
    pub(crate) open: i64,
}

impl Shell {
    pub(crate) fn new(title: impl Into<String>, room: &'static str, who: &SignedIn, open: i64) -> Self {
        let can_act = who.actor().may(allclear_ops::Permission::IncidentsWrite);
        Self {
            title: title.into(),
            style: assets::style_path(),
            script: assets::script_path(),
            room,
            name: who.name.clone(),
            can_act,
            open,
        }
    }
}

/// A moment as people read it: how long ago, and the exact one on hover.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) ago: String,
    pub(crate) exact: String,
    pub(crate) machine: String,
}

/// Turns instants into what one viewer reads.
pub(crate) struct Clock {
    now: Timestamp,
    zone: TimeZone,
}

impl Clock {
    /// The viewer's zone; UTC where they have none.
    pub(crate) fn of(store: &Store, who: &SignedIn) -> Self {
        let zone = store.catalog().person(&who.person).and_then(|person| person.time_zone.clone());
        let zone = zone.and_then(|zone| oncall::zone(&zone).ok()).unwrap_or(TimeZone::UTC);
        Self { now: store.now(), zone }
    }

    pub(crate) fn moment(&self, at: Timestamp) -> Moment {
        let past = self.now.since(at).as_secs();
        let ago = match (at > self.now, past) {
            (true, _) => format!("in {}", in_words(at.since(self.now).as_secs())),
            (false, seconds) if seconds < 10 => "just now".to_owned(),
            (false, seconds) => format!("{} ago", in_words(seconds)),
        };
        Moment { ago, exact: self.exact(at), machine: at.to_rfc3339_millis() }
    }

    /// What times are told in: `UTC`, `Europe/Copenhagen`.
    pub(crate) fn zone(&self) -> String {
        self.zone.iana_name().unwrap_or("UTC").to_owned()
    }

    pub(crate) fn exact(&self, at: Timestamp) -> String {
        at.to_jiff().to_zoned(self.zone.clone()).strftime("%-d %b %Y, %H:%M:%S %Z").to_string()
    }

    /// The time of day, with the date where it is another day's.
    pub(crate) fn time(&self, at: Timestamp) -> String {
        let (at, now) = (at.to_jiff().to_zoned(self.zone.clone()), self.now.to_jiff().to_zoned(self.zone.clone()));
        let form = if at.date() == now.date() { "%H:%M:%S" } else { "%-d %b %H:%M" };
        at.strftime(form).to_string()
    }
}

/// How many incidents are open, for the number beside their room.
pub(crate) async fn open_incidents(web: &Web, who: &SignedIn) -> Result<i64, OpsError> {
    let counts = view::open_counts(&web.store, &who.actor()).await?;
    Ok(counts.values().map(|count| count.triggered + count.acknowledged).sum())
}

/// A span in its largest unit.
pub(crate) fn in_words(seconds: i64) -> String {
    match seconds {
        s if s < 120 => format!("{s} s"),
        s if s < 7_200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    }
}
