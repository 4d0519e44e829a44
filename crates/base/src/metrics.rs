//! What has happened since the start, counted for operators. One set per process, as there is one log.

use std::sync::LazyLock;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Labels with their values, which come from short lists of our own words: what is counted stays bounded.
type Labels<const N: usize> = [(&'static str, String); N];

/// Upper bounds of a commit's time, in seconds: from a fast disk to one that is in trouble.
const COMMIT_SECONDS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// The counters.
pub struct Metrics {
    registry: Registry,
    runs: Family<Labels<1>, Counter>,
    slots_missed: Family<Labels<1>, Counter>,
    attempts: Family<Labels<3>, Counter>,
    events: Family<Labels<1>, Counter>,
    commits: Histogram,
}

static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// The process's counters.
#[must_use]
pub fn metrics() -> &'static Metrics {
    &METRICS
}

impl Metrics {
    fn new() -> Self {
        let mut registry = Registry::with_prefix("allclear");
        let (runs, slots_missed, attempts, events) = (Family::default(), Family::default(), Family::default(), Family::default());
        let commits = Histogram::new(COMMIT_SECONDS);
        registry.register("runs", "Runs of tests that were kept, by verdict", Family::clone(&runs));
        registry.register("slots_missed", "Scheduled slots that did not run or ran late, by reason", Family::clone(&slots_missed));
        registry.register("attempts", "Messages handed to a channel, by its class and outcome", Family::clone(&attempts));
        registry.register("events", "Requests of the Events API, by the status of the answer", Family::clone(&events));
        registry.register("commit_seconds", "Time that a commit took, its sync included", commits.clone());
        Self { registry, runs, slots_missed, attempts, events, commits }
    }

    /// A run was kept.
    pub fn run(&self, verdict: &str) {
        self.runs.get_or_create(&[("verdict", verdict.to_owned())]).inc();
    }

    /// So many slots did not run, or ran late.
    pub fn missed(&self, reason: &str, slots: u64) {
        self.slots_missed.get_or_create(&[("reason", reason.to_owned())]).inc_by(slots);
    }

    /// An attempt at a provider ended.
    pub fn attempt(&self, channel: &str, provider: &str, outcome: &str) {
        let labels = [("channel", channel.to_owned()), ("provider", provider.to_owned()), ("outcome", outcome.to_owned())];
        self.attempts.get_or_create(&labels).inc();
    }

    /// A request of the Events API was answered.
    pub fn event(&self, status: u16) {
        self.events.get_or_create(&[("status", status.to_string())]).inc();
    }

    /// A commit took so long.
    pub fn commit(&self, took_us: i64) {
        #[expect(clippy::cast_precision_loss, reason = "a time in seconds for a histogram")]
        self.commits.observe(took_us.max(0) as f64 / 1_000_000.0);
    }

    /// Everything as text in OpenMetrics' form, with what was measured just now.
    #[must_use]
    pub fn text(&self, now: &Measured) -> String {
        let mut text = String::new();
        let written = text::encode_registry(&mut text, &self.registry)
            .and_then(|()| text::encode_registry(&mut text, &now.0))
            .and_then(|()| text::encode_eof(&mut text));
        if written.is_err() {
            tracing::error!("the metrics could not be written");
        }
        text
    }
}

/// Values that are measured when somebody asks.
#[derive(Debug)]
pub struct Measured(Registry);

impl Default for Measured {
    fn default() -> Self {
        Self(Registry::with_prefix("allclear"))
    }
}

impl Measured {
    /// A single value.
    pub fn value(&mut self, name: &'static str, help: &'static str, value: i64) {
        let gauge = Gauge::<i64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    /// A value for each word under a label.
    pub fn values(&mut self, name: &'static str, help: &'static str, label: &'static str, values: impl IntoIterator<Item = (String, i64)>) {
        let family = Family::<Labels<1>, Gauge>::default();
        for (word, value) in values {
            family.get_or_create(&[(label, word)]).set(value);
        }
        self.0.register(name, help, family);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_what_is_measured_stand_in_one_text_with_one_end() {
        let metrics = Metrics::new();
        metrics.run("pass");
        metrics.run("pass");
        metrics.attempt("Twilio", "sms", "accepted");
        metrics.commit(700);
        let mut now = Measured::default();
        now.value("outbox_waiting", "Messages that wait", 3);
        now.values("incidents_open", "Open incidents", "status", [("triggered".to_owned(), 1)]);
        let text = metrics.text(&now);
        for line in [
            "allclear_runs_total{verdict=\"pass\"} 2\n",
            "allclear_attempts_total{channel=\"Twilio\",provider=\"sms\",outcome=\"accepted\"} 1\n",
            "allclear_commit_seconds_bucket{le=\"0.001\"} 1\n",
            "allclear_outbox_waiting 3\n",
            "allclear_incidents_open{status=\"triggered\"} 1\n",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
    }
}
