//! Canaries: what a location can always reach, unless the fault is its own. The system's resolver is one; a location's
//! document may name others.
//!
//! Only a canary that has answered before is evidence: one that was never reachable from here would otherwise turn every
//! outage of a target into "the fault is ours", and nobody would be paged.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allclear_egress::Client;

/// Beyond this a canary does not answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The resolver's name in a verdict.
const RESOLVER: &str = "the resolver";

/// The canaries of this process, and which of them have answered.
pub(crate) struct Canaries {
    client: Client,
    have_answered: Mutex<BTreeSet<String>>,
}

impl Canaries {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, have_answered: Mutex::default() }
    }

    fn have_answered(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.have_answered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the resolver and at `addresses` (`host:port`), and remembers which of them answer.
    pub(crate) async fn look(&self, addresses: &[String]) {
        let all: Vec<&str> = std::iter::once(RESOLVER).chain(addresses.iter().map(String::as_str)).collect();
        let answers = futures::future::join_all(all.iter().map(|canary| self.answers(canary))).await;
        let answering = all.iter().zip(answers).filter(|(_, answers)| *answers).map(|(canary, _)| (*canary).to_owned());
        self.have_answered().extend(answering);
    }

    /// The canaries in words, if all of them that have ever answered are silent now.
    pub(crate) async fn all_silent(&self, addresses: &[String]) -> Option<String> {
        let known: Vec<String> = {
            let have_answered = self.have_answered();
            std::iter::once(RESOLVER)
                .chain(addresses.iter().map(String::as_str))
                .filter(|c| have_answered.contains(*c))
                .map(str::to_owned)
                .collect()
        };
        let answers = futures::future::join_all(known.iter().map(|canary| self.answers(canary))).await;
        (!known.is_empty() && answers.iter().all(|answers| !answers)).then(|| known.join(" and "))
    }

    async fn answers(&self, canary: &str) -> bool {
        if canary == RESOLVER {
            return self.client.resolver_answers(PATIENCE).await == Some(true);
        }
        let Some((host, port)) = canary.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) else { return false };
        self.client.reaches(host, port, PATIENCE).await
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;

    use allclear_base::clock::VirtualClock;
    use allclear_base::runtime::Task;
    use allclear_base::{Runtime, Secrets, SeededRng, Spawn};
    use allclear_domain::apitest::document::{Request, RequestStep, Step, Test};
    use allclear_domain::apitest::report::Verdict;
    use allclear_egress::{Connect, Connected, Error, Guard, Phase, Target};
    use futures::executor::block_on;

    use super::*;
    use crate::{Job, Runner};

    /// A network in which only these can be reached.
    #[derive(Default)]
    struct Network(Mutex<BTreeSet<&'static str>>);

    impl Network {
        fn reach(&self, names: &[&'static str]) {
            *self.0.lock().expect("the only thread") = names.iter().copied().collect();
        }

        fn reaches(&self, name: &str) -> bool {
            self.0.lock().expect("the only thread").contains(name)
        }
    }

    impl Connect for Network {
        fn connect<'a>(&'a self, target: &'a Target, _: &'a Guard) -> Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send + 'a>> {
            let refused = self.reaches("refusal");
            let silent = Error::Connect { to: target.host.clone(), why: "no route to host".into(), refused };
            let (ours, _theirs) = tokio::io::duplex(64);
            let connected = Connected { io: Box::new(ours), remote: None, dns_us: 0, connect_us: 0, tls_us: 0 };
            Box::pin(std::future::ready(if self.reaches(&target.host) { Ok(connected) } else { Err(silent) }))
        }

        fn resolver_answers(&self, _: Duration) -> Pin<Box<dyn Future<Output = Option<bool>> + Send + '_>> {
            Box::pin(std::future::ready(Some(self.reaches("resolver"))))
        }
    }

    struct NoTasks;

    impl Spawn for NoTasks {
        fn spawn(&self, task: Task) {
            block_on(task);
        }
    }

    fn runner() -> (Arc<Network>, Runner) {
        struct Shared(Arc<Network>);
        impl Connect for Shared {
            fn connect<'a>(
                &'a self,
                target: &'a Target,
                guard: &'a Guard,
            ) -> Pin<Box<dyn Future<Output = Result<Connected, Error>> + Send + 'a>> {
                self.0.connect(target, guard)
            }
            fn resolver_answers(&self, timeout: Duration) -> Pin<Box<dyn Future<Output = Option<bool>> + Send + '_>> {
                self.0.resolver_answers(timeout)
            }
        }
        let (network, clock) = (Arc::new(Network::default()), Arc::new(VirtualClock::at(0)));
        let runtime = Runtime { clock: Arc::clone(&clock) as _, rng: Arc::new(SeededRng::new(1)), spawner: Arc::new(NoTasks) };
        let client = Client::new(Arc::new(Shared(Arc::clone(&network))), clock);
        (network, Runner::new(client, runtime, Arc::new(Secrets::default()), None))
    }

    const CANARIES: &[&str] = &["one.example:443", "two.example:443"];

    fn run(runner: &Runner) -> Verdict {
        let request: Request = serde_json::from_str(r#"{ "method": "GET", "url": "http://target/" }"#).expect("a request");
        let step = Step::Request(Box::new(RequestStep { name: None, request, assertions: vec![], save: vec![] }));
        let mut test: Test = serde_json::from_str(r#"{ "bucket": "b", "name": "n", "environments": {}, "steps": [] }"#).expect("a test");
        test.steps.push(step);
        let job = Job {
            test_id: "t".into(),
            test: Arc::new(test),
            environment: "e".into(),
            overrides: Default::default(),
            location: "local".into(),
            guard: Guard::default(),
            canaries: CANARIES.iter().map(|c| (*c).to_owned()).collect(),
            slot: None,
            attempt: 1,
            catalog_rev: 0,
        };
        block_on(runner.run(&job)).verdict
    }

    fn look(runner: &Runner) {
        block_on(runner.look_at_canaries(&CANARIES.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()));
    }

    #[test]
    fn a_silent_target_is_inconclusive_only_where_every_canary_that_ever_answered_is_silent_too() {
        let (network, runner) = runner();
        network.reach(&["resolver", "one.example"]);
        look(&runner);
        network.reach(&[]);
        let Verdict::Inconclusive { why } = run(&runner) else { panic!("the fault is ours") };
        assert!(why.contains("the resolver and one.example:443 cannot be reached from here either"), "{why}");
        for heard in ["resolver", "one.example"] {
            network.reach(&[heard]);
            assert!(matches!(run(&runner), Verdict::Failed(_)), "{heard} answers: the target is down");
        }
    }

    #[test]
    fn a_canary_that_never_answered_hides_no_outage() {
        let (network, runner) = runner();
        look(&runner);
        assert!(matches!(run(&runner), Verdict::Failed(_)));
        network.reach(&["two.example"]);
        assert!(matches!(run(&runner), Verdict::Failed(_)), "nobody looked while it answered");
    }

    #[test]
    fn a_target_that_refuses_is_down_whatever_else_is_silent() {
        let (network, runner) = runner();
        network.reach(&["resolver"]);
        look(&runner);
        network.reach(&["refusal"]);
        assert!(matches!(run(&runner), Verdict::Failed(_)));
        let answered = [Error::Timeout { phase: Phase::Wait, after_ms: 1 }, Error::Tls("expired".into())];
        assert!(answered.iter().all(|error| !error.is_silence()));
    }
}
