//! A monitoring tool that reports trouble and its end, and remembers what AllClear said it had taken.

use std::collections::BTreeMap;

use allclear_store::record::alert;
use allclear_store::{Store, StoreError, Tx};

/// The tool.
#[derive(Debug, Clone, Default)]
pub struct Tool {
    integration: String,
    key: String,
    heartbeat: String,
    sent: usize,
    /// By dedup key: whether its end was taken as well. An answer that was lost leaves it open.
    taken: BTreeMap<String, bool>,
}

/// Something to be reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// `trigger` or `resolve`.
    pub action: &'static str,
    /// Its dedup key.
    pub dedup_key: String,
    /// The body of the request.
    pub body: String,
}

impl Tool {
    /// Learns the key of the first integration that there is.
    ///
    /// # Errors
    /// Errors of the store.
    pub fn connect(&mut self, store: &Store) -> anyhow::Result<()> {
        let all = futures::executor::block_on(allclear_ops::event::integrations(store, &allclear_ops::Actor::local()))?;
        if let Some(ours) = all.into_iter().next() {
            (self.integration, self.key) = (ours.id.0, ours.key);
        }
        let beats = futures::executor::block_on(allclear_ops::heartbeat::list(store, &allclear_ops::Actor::local()))?;
        self.heartbeat = beats.into_iter().next().map_or_else(String::new, |beat| beat.heartbeat.key);
        Ok(())
    }

    /// The path that says that the tool itself lives, or that it failed.
    #[must_use]
    pub fn heartbeat(&self, well: bool) -> String {
        format!("/ping/{}{}", self.heartbeat, if well { "" } else { "/fail" })
    }

    /// The next report: something new, or where `end` says so, the end of something that is known to be open.
    pub fn next(&mut self, end: bool) -> Report {
        let open = self.taken.iter().find(|(_, over)| !**over).map(|(key, _)| key.clone());
        if let Some(key) = open.filter(|_| end) {
            return self.report("resolve", key);
        }
        self.sent += 1;
        self.report("trigger", format!("trouble {}", self.sent))
    }

    /// The end of everything; what was sent and not answered may be open as well.
    #[must_use]
    pub fn ends(&self) -> Vec<Report> {
        (1..=self.sent).map(|n| self.report("resolve", format!("trouble {n}"))).collect()
    }

    fn report(&self, action: &'static str, dedup_key: String) -> Report {
        let body = serde_json::json!({ "routing_key": self.key, "event_action": action, "dedup_key": dedup_key,
            "payload": { "summary": dedup_key, "source": "tool", "severity": "error" } });
        Report { action, body: body.to_string(), dedup_key }
    }

    /// Hears that a report was taken.
    pub fn taken(&mut self, report: &Report) {
        let over = report.action == "resolve";
        if !over || self.taken.contains_key(&report.dedup_key) {
            self.taken.insert(report.dedup_key.clone(), over);
        }
    }

    /// How many triggers were sent, and how many answered.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        (self.sent, self.taken.len())
    }

    /// What the tool was told to be kept and is not there.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn lost(&self, store: &Store) -> Result<Vec<String>, StoreError> {
        let (integration, taken) = (self.integration.clone(), self.taken.clone());
        let look = move |tx: &mut Tx<'_>| {
            let mut wrong = Vec::new();
            for (key, over) in &taken {
                match alert::newest_alert(tx, &format!("event:{integration}:{key}"))? {
                    None => wrong.push(format!("the accepted event {key:?} is lost")),
                    Some(found) if *over && found.resolved_at.is_none() => wrong.push(format!("the accepted end of {key:?} is lost")),
                    Some(_) => {}
                }
            }
            Ok::<_, StoreError>(wrong)
        };
        store.read("events kept", look).await
    }
}
