//! A whole run: steps until one fails, then the teardown, always.

use std::collections::BTreeMap;
use std::sync::Arc;

use allclear_base::runtime::Switch;
use allclear_base::{Runtime, Secret, Secrets, clock, crash, id};
use allclear_domain::apitest::document::{Environment, LONGEST_RUN, Step, Test};
use allclear_domain::apitest::report::{Failure, RunReport, StepReport, Teardown, Verdict};
use allclear_domain::{LocationName, RunId, TestId, Timestamp};
use allclear_egress::{Client, Guard, is_never_permitted};
use futures::future::{Either, select};
use serde_json::Value;

use crate::canary::Canaries;
use crate::debt::{Debt, DebtJournal};
use crate::exchange::{Context, Outcome, mask_value, run_step};
use crate::variables::Variables;

/// What is to be run.
#[derive(Debug, Clone)]
pub struct Job {
    /// The test's id; empty for a file that is run without a server.
    pub test_id: TestId,
    /// The test.
    pub test: Arc<Test>,
    /// The environment's name.
    pub environment: String,
    /// Values that replace the environment's own.
    pub overrides: BTreeMap<String, Value>,
    /// Where from.
    pub location: LocationName,
    /// What may be called from there.
    pub guard: Guard,
    /// Addresses (`host:port`) whose silence, besides that of the resolver, shows that the fault is ours.
    pub canaries: Vec<String>,
    /// The slot that it is for.
    pub slot: Option<Timestamp>,
    /// Which try it is.
    pub attempt: u32,
    /// The configuration's revision.
    pub catalog_rev: i64,
}

/// Runs tests. Cheap to clone.
#[derive(Clone)]
pub struct Runner {
    client: Client,
    runtime: Runtime,
    secrets: Arc<Secrets>,
    journal: Option<Arc<DebtJournal>>,
    canaries: Arc<Canaries>,
}

/// How the steps of a run went.
struct Played {
    reports: Vec<StepReport>,
    verdict: Verdict,
    /// A creating request got no answer: what it made may be left behind.
    answer_lost: bool,
}

impl Runner {
    /// A runner. Without a journal nothing is owed after a crash: for a run by hand.
    #[must_use]
    pub fn new(client: Client, runtime: Runtime, secrets: Arc<Secrets>, journal: Option<Arc<DebtJournal>>) -> Self {
        let canaries = Arc::new(Canaries::new(client.clone()));
        Self { client, runtime, secrets, journal, canaries }
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.runtime.clock.now_us())
    }

    fn variables(&self, run: &RunId) -> Variables {
        let (clock, rng) = (Arc::clone(&self.runtime.clock), Arc::clone(&self.runtime.rng));
        Variables::new(run.clone(), Arc::clone(&self.secrets), clock, rng)
    }

    /// Runs a test once, teardown included.
    pub async fn run(&self, job: &Job) -> RunReport {
        self.run_beside(job, std::future::pending()).await
    }

    /// The same, but when `stop` is turned the steps end where they are; the teardown runs all the same.
    pub async fn run_until(&self, job: &Job, stop: &Switch) -> RunReport {
        self.run_beside(job, stop.turned()).await
    }

    async fn run_beside(&self, job: &Job, stopped: impl Future<Output = ()>) -> RunReport {
        let run_id = RunId(id::uuid7(&*self.runtime.rng, self.runtime.clock.now_us()));
        let started_at = self.now();
        let environment = job.test.environments.get(&job.environment).cloned().unwrap_or_default();
        let mut variables = self.variables(&run_id);
        let secrets = self.secrets.values();
        let mut initial = environment.variables.clone();
        initial.extend(job.overrides.clone());
        let ready = variables.initialise(&initial);
        let owes = !job.test.teardown.is_empty();
        if owes {
            crash::point("probe.before_debt");
            self.owe(&run_id, job, &initial, &variables).await;
            crash::point("probe.after_debt");
        }
        let played = match ready {
            Ok(()) => {
                let playing = std::pin::pin!(self.play(job, &environment, &run_id, &mut variables, &secrets));
                match select(playing, std::pin::pin!(stopped)).await {
                    Either::Left((played, _)) => played,
                    Either::Right(((), _)) => {
                        Played { reports: vec![], verdict: Verdict::Inconclusive { why: "interrupted".into() }, answer_lost: true }
                    }
                }
            }
            Err(error) => {
                let failure = Failure { step: "variables".into(), message: error.to_string() };
                Played { reports: vec![], verdict: Verdict::Failed(failure), answer_lost: false }
            }
        };
        let finished_at = self.now();
        let (teardown_steps, teardown) = if owes {
            let (reports, outcome) = self
                .tear_down(&job.test.teardown, &job.test.steps, &environment, &job.guard, &run_id, &mut variables, played.answer_lost)
                .await;
            self.settle(&run_id, &outcome);
            (reports, outcome)
        } else {
            (vec![], Teardown::None)
        };
        let masked = variables.values().iter().map(|(name, value)| (name.clone(), mask_value(value, &secrets))).collect();
        RunReport {
            run_id,
            test_id: job.test_id.clone(),
            test_name: job.test.name.clone(),
            environment: job.environment.clone(),
            location: job.location.clone(),
            slot: job.slot,
            attempt: job.attempt,
            started_at,
            finished_at,
            verdict: played.verdict,
            steps: played.reports,
            teardown_steps,
            teardown,
            variables: masked,
            catalog_rev: job.catalog_rev,
        }
    }

    /// Runs the steps until one fails, within the run's own time limit.
    async fn play(&self, job: &Job, environment: &Environment, run: &RunId, variables: &mut Variables, secrets: &[Secret]) -> Played {
        let mut deadline = self.runtime.clock.sleep_until(self.now().plus(LONGEST_RUN).0);
        let mut played = Played { reports: vec![], verdict: Verdict::Passed, answer_lost: false };
        for step in &job.test.steps {
            let label = step.label();
            let work = self.step(step, environment, &job.guard, run, variables, secrets);
            let outcome = match clock::before(&mut deadline, work).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let message = format!("the run took longer than {LONGEST_RUN}");
                    played.answer_lost = true;
                    played.reports.push(failed_step(&label, &message));
                    played.verdict = Verdict::Failed(Failure { step: label, message });
                    return played;
                }
            };
            crash::point("probe.after_request");
            if let Some(journal) = self.journal.as_ref().filter(|_| !outcome.report.saved.is_empty() && !job.test.teardown.is_empty()) {
                let saved = outcome
                    .report
                    .saved
                    .keys()
                    .filter_map(|name| variables.values().get(name).map(|v| (name.clone(), v.clone())))
                    .collect();
                let (journal, of) = (Arc::clone(journal), run.clone());
                if let Err(error) = self.write_down(move || journal.learn(&of, saved)).await {
                    tracing::error!(run.id = %run, %error, "what a test made could not be written down");
                }
            }
            let passed = outcome.report.passed;
            played.answer_lost |= outcome.error.as_ref().is_some_and(allclear_egress::Error::may_have_been_sent);
            if !passed {
                played.verdict = self.judge_failure(job, &outcome).await;
            }
            played.reports.push(outcome.report);
            if !passed {
                return played;
            }
        }
        played
    }

    async fn step(
        &self,
        step: &Step,
        environment: &Environment,
        guard: &Guard,
        run: &RunId,
        variables: &mut Variables,
        secrets: &[Secret],
    ) -> Outcome {
        match step {
            Step::Pause(pause) => {
                self.runtime.sleep(pause.pause.to_std()).await;
                let report = StepReport { passed: true, error: None, ..failed_step(&step.label(), "") };
                Outcome { report, error: None, undefined: None }
            }
            Step::Request(request) => {
                let context = Context { client: &self.client, guard, environment, secrets, run: run.as_str() };
                run_step(&context, request, step.label(), variables).await
            }
        }
    }

    /// Whose fault it is. Only positive evidence makes it ours; when in doubt, it is the target's.
    async fn judge_failure(&self, job: &Job, outcome: &Outcome) -> Verdict {
        let message = outcome.report.error.clone().unwrap_or_default();
        match &outcome.error {
            Some(allclear_egress::Error::Blocked { host, addr }) if is_never_permitted(*addr) => {
                Verdict::Misconfigured { why: format!("{host} is {addr}, where clouds hand out credentials; it is never called") }
            }
            Some(allclear_egress::Error::Blocked { host, addr }) => {
                let line = format!("kind: location\nname: {}\nallow: [\"{addr}\"]", job.location);
                Verdict::Misconfigured { why: format!("{host} is the internal address {addr}; to allow it, add:\n{line}") }
            }
            Some(error) if error.is_local() => Verdict::Inconclusive { why: message },
            Some(error) if error.is_silence() => match self.canaries.all_silent(&job.canaries).await {
                Some(canaries) => Verdict::Inconclusive { why: format!("{message}; {canaries} cannot be reached from here either") },
                None => Verdict::Failed(Failure { step: outcome.report.name.clone(), message }),
            },
            Some(_) | None => Verdict::Failed(Failure { step: outcome.report.name.clone(), message }),
        }
    }

    /// Looks at a location's canaries while all is well: only those that have answered are evidence later.
    pub async fn look_at_canaries(&self, canaries: &[String]) {
        self.canaries.look(canaries).await;
    }

    #[expect(clippy::too_many_arguments, reason = "a debt that is paid after a crash has no job to carry these")]
    async fn tear_down(
        &self,
        teardown: &[Step],
        steps: &[Step],
        environment: &Environment,
        guard: &Guard,
        run: &RunId,
        variables: &mut Variables,
        answer_lost: bool,
    ) -> (Vec<StepReport>, Teardown) {
        crash::point("probe.before_teardown");
        let secrets = self.secrets.values();
        let saved_by_steps: Vec<&str> = steps.iter().flat_map(saved_names).collect();
        let (mut reports, mut worst, mut ran) = (vec![], Teardown::NothingToDelete, false);
        for step in teardown {
            let outcome = self.step(step, environment, guard, run, variables, &secrets).await;
            let missing = outcome.undefined.as_deref().filter(|name| saved_by_steps.contains(name));
            if let Some(name) = missing {
                if answer_lost {
                    worst = Teardown::MayHaveLeaked { why: format!("a request got no answer, so that {name} is not known") };
                }
                continue;
            }
            ran = true;
            if !outcome.report.passed && !matches!(worst, Teardown::MayHaveLeaked { .. }) {
                let why = outcome.report.error.clone().unwrap_or_default();
                worst = Teardown::Failed { why: format!("{}: {why}", outcome.report.name) };
            }
            reports.push(outcome.report);
        }
        crash::point("probe.after_teardown");
        if ran && worst == Teardown::NothingToDelete {
            worst = Teardown::Done;
        }
        (reports, worst)
    }

    /// Writes to the journal, which blocks.
    async fn write_down(&self, work: impl FnOnce() -> std::io::Result<()> + Send + 'static) -> std::io::Result<()> {
        self.runtime.unblock(work).await.unwrap_or_else(|interrupted| Err(std::io::Error::other(interrupted)))
    }

    async fn owe(&self, run: &RunId, job: &Job, initial: &BTreeMap<String, Value>, variables: &Variables) {
        let Some(journal) = self.journal.clone() else { return };
        // Values made of secrets are rendered anew when the debt is paid; they are not written down.
        let known = |(name, value): (&String, &Value)| {
            (!crate::variables::names_secret(value)).then(|| Some((name.clone(), variables.values().get(name)?.clone())))?
        };
        let hidden = initial.iter().filter(|(_, value)| crate::variables::names_secret(value));
        let mut environment = job.test.environments.get(&job.environment).cloned().unwrap_or_default();
        environment.variables = hidden.map(|(name, value)| (name.clone(), value.clone())).collect();
        let debt = Debt {
            run: run.clone(),
            test_id: job.test_id.clone(),
            test_name: job.test.name.clone(),
            environment,
            location: job.location.clone(),
            steps: job.test.steps.clone(),
            teardown: job.test.teardown.clone(),
            known: initial.iter().filter_map(known).collect(),
            tries: 0,
            due_at: Timestamp(0),
        };
        if let Err(error) = self.write_down(move || journal.owe(&debt)).await {
            tracing::error!(run.id = %run, %error, "a teardown could not be written down before its run");
        }
    }

    fn settle(&self, run: &RunId, outcome: &Teardown) {
        let Some(journal) = &self.journal else { return };
        if matches!(outcome, Teardown::Failed { .. }) && journal.defer(run, self.now()) {
            return;
        }
        if let Err(error) = journal.settle(run) {
            tracing::error!(run.id = %run, %error, "a teardown that was done could not be crossed out");
        }
        if let Teardown::Failed { why } | Teardown::MayHaveLeaked { why } = outcome {
            tracing::warn!(run.id = %run, why, "a test may have left something behind");
        }
        crash::point("probe.after_settle");
    }

    /// Pays what earlier runs owe; how many debts there were. `guard` says what may be called from a location.
    pub async fn pay_debts(&self, guard: impl Fn(&LocationName) -> Guard) -> usize {
        let Some(journal) = &self.journal else { return 0 };
        let debts = journal.outstanding(self.now());
        for debt in &debts {
            let mut variables = self.variables(&debt.run);
            for (name, value) in &debt.known {
                variables.set(name, value.clone());
            }
            if let Err(error) = variables.initialise(&debt.environment.variables) {
                tracing::warn!(run.id = %debt.run, %error, "a variable of an owed teardown cannot be rendered");
            }
            let guard = guard(&debt.location);
            let (_, outcome) =
                self.tear_down(&debt.teardown, &debt.steps, &debt.environment, &guard, &debt.run, &mut variables, true).await;
            tracing::debug!(run.id = %debt.run, test = debt.test_name, outcome = ?outcome, "an owed teardown was run");
            self.settle(&debt.run, &outcome);
        }
        debts.len()
    }
}

fn saved_names(step: &Step) -> Vec<&str> {
    match step {
        Step::Request(step) => step.save.iter().map(|save| save.name.as_str()).collect(),
        Step::Pause(_) => vec![],
    }
}

fn failed_step(label: &str, message: &str) -> StepReport {
    StepReport {
        name: label.to_owned(),
        passed: false,
        error: Some(message.to_owned()),
        exchange: None,
        assertions: vec![],
        saved: BTreeMap::new(),
    }
}
