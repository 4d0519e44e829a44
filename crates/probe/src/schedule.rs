//! Schedules by itself: every slot of the assignment starts a run, or is accounted for with a reason.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use allclear_base::Runtime;
use allclear_base::runtime::{Switch, Wake};
use allclear_domain::apitest::document::Test;
use allclear_domain::apitest::report::{RunReport, Verdict};
use allclear_domain::apitest::slots::{Slots, is_late};
use allclear_domain::{LocationName, Span, TestId, Timestamp};
use allclear_egress::Guard;
use tokio::sync::{Semaphore, mpsc};

use crate::run::{Job, Runner};

/// Runs at the same time: a bound on sockets and memory; more wait for their turn and are late. Ten thousand tests whose
/// target hangs must not hold up those whose target answers.
const MOST_RUNS: usize = 12_000;

/// Runs start together that are due within this time of each other. Waking an idle processor for each run alone costs
/// more than the run's own work; nobody sees twentieths of a second in a schedule of seconds.
const GRID_US: i64 = 20_000;

/// The first instant of the grid that is not before `at_us`.
const fn on_the_grid(at_us: i64) -> i64 {
    at_us.saturating_add(GRID_US - 1).div_euclid(GRID_US).saturating_mul(GRID_US)
}

/// The slots of a paused test are accounted for by stretches of this length: few rows, and little said too much where
/// the pause ends early.
const PAUSE_AT_ONCE: Span = Span::from_mins(10);

/// One scheduled test.
#[derive(Debug, Clone)]
pub struct Item {
    /// The test's id.
    pub test_id: TestId,
    /// The test.
    pub test: Arc<Test>,
    /// The revision that changed it last.
    pub rev: i64,
    /// The environment's name.
    pub environment: String,
    /// Where from.
    pub location: LocationName,
    /// The interval.
    pub every: Span,
    /// What may be called from there.
    pub guard: Guard,
    /// Addresses whose failing shows that the fault is ours.
    pub canaries: Vec<String>,
}

/// A scheduled test's name among all. It is cloned for every slot, hence the `Arc`.
type Key = Arc<(TestId, String, LocationName)>;

impl Item {
    fn key(&self) -> Key {
        Arc::new((self.test_id.clone(), self.environment.clone(), self.location.clone()))
    }

    /// Its slots.
    #[must_use]
    pub fn slots(&self) -> Slots {
        Slots::new(&self.test_id, &self.environment, &self.location, self.every)
    }
}

/// Everything that a probe runs.
#[derive(Debug, Clone, Default)]
pub struct Assignment {
    /// The configuration's revision.
    pub rev: i64,
    /// The scheduled tests.
    pub items: Vec<Item>,
}

/// What became of a wish for a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// It was begun.
    Now,
    /// Another run of the test is under way: it may begin after it.
    NotYet,
    /// The test is not scheduled there, or is paused.
    Never,
}

/// When a test that is new or changed runs first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At once, and then at its slots.
    AtOnce,
    /// At its slots from this instant on; those before are accounted for.
    SlotsSince(Timestamp),
}

/// Slots in a row that did not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missed {
    /// The test.
    pub test: TestId,
    /// The environment's name.
    pub environment: String,
    /// The location.
    pub location: LocationName,
    /// The first of them.
    pub first: Timestamp,
    /// The last of them.
    pub last: Timestamp,
    /// How many.
    pub slots: i64,
    /// Why.
    pub reason: &'static str,
}

/// What became of a slot.
#[derive(Debug, Clone)]
pub enum Finished {
    /// It ran: the report that counts, and the one that a retry replaced.
    Ran {
        /// The report that counts.
        report: Arc<RunReport>,
        /// The first try, if there was a retry.
        superseded: Option<Arc<RunReport>>,
        /// Whether it started late.
        late: bool,
    },
    /// It did not run.
    Missed(Missed),
}

/// A test that runs often is not called stopped before this.
const SHORTEST_STOP: Span = Span::from_mins(2);

/// The latest runs of a scheduled test that are remembered.
pub const REMEMBERED: usize = 12;

/// A run that is remembered, for a list that shows how a test fares without reading a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Whether it passed.
    pub passed: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u32,
    /// When it ended.
    pub at: Timestamp,
}

/// The latest runs of one scheduled test.
#[derive(Debug, Clone, Copy, Default)]
struct Recent {
    marks: [Option<Mark>; REMEMBERED],
    /// Where the next one goes.
    next: u8,
}

impl Recent {
    fn push(&mut self, report: &RunReport) {
        let took_ms = u32::try_from(report.finished_at.since(report.started_at).as_millis()).unwrap_or(u32::MAX);
        let at = usize::from(self.next) % REMEMBERED;
        self.marks[at] = Some(Mark { passed: report.verdict == Verdict::Passed, took_ms, at: report.finished_at });
        self.next = u8::try_from((at + 1) % REMEMBERED).unwrap_or(0);
    }

    /// Takes in runs from before the first that it knows, oldest first.
    fn take_in(&mut self, earlier: &[Mark]) {
        let known: Vec<Mark> = self.marks().collect();
        let first = known.first().map(|mark| mark.at);
        let before = earlier.iter().filter(|mark| first.is_none_or(|first| mark.at < first)).copied();
        let all: Vec<Mark> = before.chain(known).collect();
        *self = Self::default();
        for (at, mark) in all[all.len().saturating_sub(REMEMBERED)..].iter().enumerate() {
            self.marks[at] = Some(*mark);
            self.next = u8::try_from((at + 1) % REMEMBERED).unwrap_or(0);
        }
    }

    /// Oldest first.
    fn marks(&self) -> impl Iterator<Item = Mark> {
        let at = usize::from(self.next) % REMEMBERED;
        self.marks[at..].iter().chain(&self.marks[..at]).flatten().copied()
    }
}

struct Planned {
    item: Arc<Item>,
    recent: Recent,
    /// When a run of it began last; before the first, since when it is planned.
    began: Timestamp,
    /// A run of it has not come to its end.
    running: bool,
    /// Raised when the item changes, so that entries of the heap made before are passed over.
    generation: u64,
}

#[derive(Default)]
struct State {
    rev: i64,
    generation: u64,
    items: BTreeMap<Key, Planned>,
    due: BinaryHeap<Reverse<(Timestamp, u64, Key)>>,
    /// Slots that were started or missed and whose outcome is not yet on disk.
    open: BTreeSet<(Timestamp, Key)>,
}

/// Starts runs when they are due. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler {
    runtime: Runtime,
    runner: Runner,
    state: Arc<Mutex<State>>,
    permits: Arc<Semaphore>,
    finished: mpsc::Sender<Finished>,
    wake: Wake,
}

impl Scheduler {
    /// A scheduler without an assignment. What becomes of each slot goes to `finished`.
    #[must_use]
    pub fn new(runtime: Runtime, runner: Runner, finished: mpsc::Sender<Finished>) -> Self {
        let permits = Arc::new(Semaphore::new(MOST_RUNS));
        Self { runtime, runner, state: Arc::default(), permits, finished, wake: Wake::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.runtime.clock.now_us())
    }

    /// Takes a new assignment; what was assigned before and did not change goes on undisturbed.
    pub fn assign(&self, assignment: Assignment, from: From) {
        let now = self.now();
        let mut state = self.lock();
        state.rev = assignment.rev;
        let mut before = std::mem::take(&mut state.items);
        for item in assignment.items.into_iter().map(Arc::new) {
            let key = item.key();
            let old = before.remove(&key);
            let running = old.as_ref().is_some_and(|old| old.running);
            let recent = old.as_ref().map_or_else(Recent::default, |old| old.recent);
            let began = old.as_ref().map_or(now, |old| old.began);
            if let Some(old) = old.filter(|old| old.item.rev == item.rev && old.item.every == item.every) {
                // The same test: its place in the heap stands, but guard and canaries may be new.
                state.items.insert(key, Planned { item, ..old });
                continue;
            }
            state.generation += 1;
            let generation = state.generation;
            let first = match from {
                From::AtOnce => now,
                From::SlotsSince(since) => item.slots().at_or_after(since),
            };
            state.due.push(Reverse((first, generation, key.clone())));
            state.items.insert(key, Planned { item, recent, began, running, generation });
        }
        drop(state);
        self.wake.wake();
    }

    /// Remembers runs of a scheduled test from before the start, oldest first.
    pub fn remember(&self, test: &TestId, environment: &str, location: &LocationName, earlier: &[Mark]) {
        let key: Key = Arc::new((test.clone(), environment.to_owned(), location.clone()));
        if let Some(planned) = self.lock().items.get_mut(&key) {
            planned.recent.take_in(earlier);
        }
    }

    /// Runs a scheduled test now, besides its slots; its result counts like any other.
    pub fn run_now(&self, test: &TestId, environment: &str, location: &LocationName) -> Begun {
        let (key, now): (Key, _) = (Arc::new((test.clone(), environment.to_owned(), location.clone())), self.now());
        let mut state = self.lock();
        let rev = state.rev;
        let may_run = |planned: &&mut Planned| planned.item.test.paused_until.is_none_or(|until| until <= now);
        let Some(planned) = state.items.get_mut(&key).filter(may_run) else { return Begun::Never };
        if planned.running {
            return Begun::NotYet;
        }
        planned.running = true;
        let (scheduler, item) = (self.clone(), Arc::clone(&planned.item));
        state.open.insert((now, Arc::clone(&key)));
        self.runtime.spawn(async move { scheduler.run_slot(&key, &item, now, rev).await });
        Begun::Now
    }

    /// The latest runs of a test, over its environments and locations, oldest first.
    #[must_use]
    pub fn recent(&self, test: &TestId) -> Vec<Mark> {
        let first: Key = Arc::new((test.clone(), String::new(), LocationName::from("")));
        let state = self.lock();
        let of_test = state.items.range(first..).take_while(|(key, _)| key.0 == *test);
        let mut marks: Vec<Mark> = of_test.flat_map(|(_, planned)| planned.recent.marks()).collect();
        marks.sort_by_key(|mark| mark.at);
        marks
    }

    /// The tests whose last run did not pass, somewhere where they are scheduled.
    #[must_use]
    pub fn not_passing(&self) -> BTreeSet<TestId> {
        let failed = |planned: &&Planned| planned.recent.marks().last().is_some_and(|mark| !mark.passed);
        self.lock().items.values().filter(failed).map(|planned| planned.item.test_id.clone()).collect()
    }

    /// The first test that has stopped, and how many there are: no run of it began for three slots or two minutes, whichever is
    /// longer, though it is not paused.
    #[must_use]
    pub fn stopped(&self) -> Option<(TestId, usize)> {
        let now = self.now();
        let has_stopped = |planned: &&Planned| {
            let item = &planned.item;
            let since = item.test.paused_until.map_or(planned.began, |until| until.max(planned.began));
            since.plus(item.every.times(3).max(SHORTEST_STOP)) < now
        };
        let state = self.lock();
        let mut stopped = state.items.values().filter(has_stopped).map(|planned| planned.item.test_id.clone());
        let first = stopped.next()?;
        Some((first, 1 + stopped.count()))
    }

    /// Every slot up to here has its outcome on disk.
    #[must_use]
    pub fn through(&self) -> Timestamp {
        let now = self.now();
        let state = self.lock();
        let first_open = state.open.first().map(|(slot, _)| *slot);
        let first_due = state.due.peek().map(|Reverse((slot, _, _))| *slot);
        let first = [first_open, first_due].into_iter().flatten().min().unwrap_or(now).min(now);
        Timestamp(first.0 - 1)
    }

    /// The outcome of this slot is on disk.
    pub fn recorded(&self, finished: &Finished) {
        let (slot, key) = match finished {
            Finished::Ran { report, .. } => {
                let key = Arc::new((report.test_id.clone(), report.environment.clone(), report.location.clone()));
                (report.slot.unwrap_or(report.started_at), key)
            }
            Finished::Missed(missed) => {
                (missed.first, Arc::new((missed.test.clone(), missed.environment.clone(), missed.location.clone())))
            }
        };
        self.lock().open.remove(&(slot, key));
    }

    /// Whether no run is under way and every outcome is on disk.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.lock().open.is_empty()
    }

    /// Starts runs until `stop` is turned; runs that were started go on to their end.
    pub async fn run(&self, stop: &Switch) {
        while !stop.is_turned() {
            let now = self.now();
            while let Some(missed) = self.start_next(now) {
                for one in missed {
                    self.hand_over(Finished::Missed(one)).await;
                }
            }
            let next = self.lock().due.peek().map_or(i64::MAX, |Reverse((slot, _, _))| slot.0);
            let waited = std::pin::pin!(self.wake.wait_until(&*self.runtime.clock, on_the_grid(next)));
            let stopped = std::pin::pin!(stop.turned());
            futures::future::select(waited, stopped).await;
        }
    }

    /// Starts the next due run; the slots that are missed, `None` when nothing is due.
    fn start_next(&self, now: Timestamp) -> Option<Vec<Missed>> {
        let mut state = self.lock();
        let Reverse((slot, generation, key)) = state.due.peek().filter(|Reverse((slot, _, _))| *slot <= now).cloned()?;
        state.due.pop();
        let rev = state.rev;
        let Some(planned) = state.items.get_mut(&key).filter(|planned| planned.generation == generation) else { return Some(vec![]) };
        let item = Arc::clone(&planned.item);
        let slots = item.slots();
        if let Some(until) = item.test.paused_until.filter(|until| slot < *until) {
            let next = slots.at_or_after(until.min(slot.plus(PAUSE_AT_ONCE)).max(slots.after(slot)));
            let paused = slots.count(slot, next);
            state.due.push(Reverse((next, generation, key.clone())));
            if paused == 0 {
                return Some(vec![]);
            }
            let ((test, environment, location), first) = ((*key).clone(), slots.at_or_after(slot));
            let last = Timestamp(next.0 - item.every.as_micros());
            state.open.insert((first, key));
            return Some(vec![Missed { test, environment, location, first, last, slots: paused, reason: "paused" }]);
        }
        // After a time in which this machine stood still, slots between this one and the newest do not run.
        let next = slots.after(slot.max(Timestamp(now.0 - item.every.as_micros())));
        let busy = std::mem::replace(&mut planned.running, true);
        state.due.push(Reverse((next, generation, key.clone())));
        let (test, environment, location) = &*key;
        let missed = |first, last, slots, reason| Missed {
            test: test.clone(),
            environment: environment.clone(),
            location: location.clone(),
            first,
            last,
            slots,
            reason,
        };
        let mut all_missed = Vec::new();
        let after = slots.after(slot);
        if after < next {
            let last = Timestamp(next.0 - item.every.as_micros());
            all_missed.push(missed(after, last, slots.count(after, next), "the machine stood still"));
        }
        if busy {
            all_missed.push(missed(slot, slot, 1, "still running"));
        } else {
            let (scheduler, key) = (self.clone(), Arc::clone(&key));
            self.runtime.spawn(async move { scheduler.run_slot(&key, &item, slot, rev).await });
        }
        state.open.extend(all_missed.iter().map(|one| (one.first, key.clone())));
        state.open.insert((slot, key));
        Some(all_missed)
    }

    async fn run_slot(&self, key: &Key, item: &Item, slot: Timestamp, rev: i64) {
        let Ok(_permit) = self.permits.acquire().await else { return };
        let now = self.now();
        let late = is_late(slot, now, item.every);
        if let Some(planned) = self.lock().items.get_mut(key) {
            planned.began = now;
        }
        let mut job = Job {
            test_id: item.test_id.clone(),
            test: Arc::clone(&item.test),
            environment: item.environment.clone(),
            overrides: BTreeMap::new(),
            location: item.location.clone(),
            guard: item.guard.clone(),
            canaries: item.canaries.clone(),
            slot: Some(slot),
            attempt: 1,
            catalog_rev: rev,
        };
        let mut report = Arc::new(self.runner.run(&job).await);
        let mut superseded = None;
        if job.test.retry && matches!(report.verdict, Verdict::Failed(_)) {
            job.attempt = 2;
            superseded = Some(std::mem::replace(&mut report, Arc::new(self.runner.run(&job).await)));
        }
        if let Some(planned) = self.lock().items.get_mut(key) {
            planned.running = false;
            planned.recent.push(&report);
        }
        self.hand_over(Finished::Ran { report, superseded, late }).await;
    }

    async fn hand_over(&self, finished: Finished) {
        // The receiver goes away only when the process stops; what it did not take counts as not run.
        if self.finished.send(finished).await.is_err() {
            tracing::debug!("a result came after the end");
        }
    }
}

#[cfg(test)]
mod tests {
    use allclear_base::clock::VirtualClock;
    use allclear_base::runtime::Task;
    use allclear_base::{Secrets, SeededRng, Spawn};
    use allclear_egress::{Client, TcpConnect};

    use super::*;

    /// Runs are begun and never get on.
    struct Idle;

    impl Spawn for Idle {
        fn spawn(&self, _: Task) {}
    }

    const MINUTE: Span = Span::from_mins(1);

    fn item(paused_until: Option<Timestamp>) -> Item {
        let mut test: Test = serde_json::from_str(r#"{ "bucket": "b", "name": "n", "environments": {}, "steps": [] }"#).expect("a test");
        test.paused_until = paused_until;
        Item {
            test_id: "t".into(),
            test: Arc::new(test),
            rev: 1,
            environment: "e".into(),
            location: "local".into(),
            every: MINUTE,
            guard: Guard::default(),
            canaries: vec![],
        }
    }

    fn scheduler(at: Timestamp) -> Scheduler {
        scheduler_on(&Arc::new(VirtualClock::at(at.0)))
    }

    fn scheduler_on(clock: &Arc<VirtualClock>) -> Scheduler {
        let runtime = Runtime { clock: Arc::clone(clock) as _, rng: Arc::new(SeededRng::new(1)), spawner: Arc::new(Idle) };
        let client = Client::new(Arc::new(TcpConnect::new(Arc::clone(clock) as _)), Arc::clone(clock) as _);
        let runner = Runner::new(client, runtime.clone(), Arc::new(Secrets::default()), None);
        Scheduler::new(runtime, runner, mpsc::channel(1).0)
    }

    /// Lets time pass to `until`, slot by slot; what was missed, and how many runs began.
    fn play(scheduler: &Scheduler, until: Timestamp) -> (Vec<Missed>, usize) {
        let (mut missed, mut runs) = (Vec::new(), 0);
        loop {
            let next = scheduler.lock().due.peek().map(|Reverse((slot, _, _))| *slot).filter(|slot| *slot <= until);
            let Some(now) = next else { return (missed, runs) };
            let some = scheduler.start_next(now).expect("something is due");
            let planned = scheduler.lock().items.values_mut().next().is_some_and(|planned| std::mem::take(&mut planned.running));
            runs += usize::from(planned);
            missed.extend(some);
        }
    }

    #[test]
    fn every_slot_of_a_pause_is_accounted_for_and_the_first_after_it_runs() {
        let start = item(None).slots().at_or_after(Timestamp(1_774_699_200_000_000));
        let until = start.plus(MINUTE.times(25));
        let scheduler = scheduler(start);
        scheduler.assign(Assignment { rev: 1, items: vec![item(Some(until))] }, From::SlotsSince(start));
        let (missed, runs) = play(&scheduler, start.plus(MINUTE.times(30)));
        assert!(missed.iter().all(|m| m.reason == "paused" && m.slots <= 10));
        assert_eq!((missed.iter().map(|m| m.slots).sum::<i64>(), runs), (25, 6));
        let mut expected = start;
        for one in missed {
            assert_eq!((one.first, one.last), (expected, expected.plus(MINUTE.times(one.slots - 1))));
            expected = one.last.plus(MINUTE);
        }
        assert_eq!(expected, until);
    }

    #[test]
    fn a_test_that_is_run_now_is_not_begun_twice_and_its_slots_go_on() {
        let start = item(None).slots().at_or_after(Timestamp(1_774_699_200_000_000));
        let scheduler = scheduler(start.plus(Span::from_secs(7)));
        scheduler.assign(Assignment { rev: 1, items: vec![item(None)] }, From::SlotsSince(start));
        let run = |environment| scheduler.run_now(&"t".into(), environment, &"local".into());
        assert_eq!(run("elsewhere"), Begun::Never);
        assert_eq!(run("e"), Begun::Now);
        let next = scheduler.lock().due.peek().map(|Reverse((slot, _, _))| *slot);
        assert_eq!(next, Some(start));
        assert_eq!(run("e"), Begun::NotYet, "it runs already");
        scheduler.assign(Assignment { rev: 2, items: vec![Item { rev: 2, ..item(Some(start.plus(MINUTE))) }] }, From::AtOnce);
        scheduler.lock().items.values_mut().for_each(|planned| planned.running = false);
        assert_eq!(run("e"), Begun::Never, "it is paused");
        assert!(!scheduler.is_idle());
    }

    #[test]
    fn runs_from_before_the_start_are_remembered_before_those_since() {
        let start = Timestamp(1_774_699_200_000_000);
        let scheduler = scheduler(start);
        scheduler.assign(Assignment { rev: 1, items: vec![item(None)] }, From::SlotsSince(start));
        let mark = |n: i64| Mark { passed: n % 2 == 0, took_ms: 1, at: Timestamp(n) };
        let remember = |marks: std::ops::Range<i64>| {
            scheduler.remember(&"t".into(), "e", &"local".into(), &marks.map(mark).collect::<Vec<_>>());
        };
        let times = || scheduler.recent(&"t".into()).iter().map(|mark| mark.at.0).collect::<Vec<_>>();
        remember(20..22);
        remember(0..22);
        assert_eq!(times(), (10..22).collect::<Vec<_>>());
        assert_eq!(scheduler.not_passing().len(), 1);
    }

    #[test]
    fn a_test_has_stopped_when_three_slots_began_no_run_and_a_paused_one_has_not() {
        let start = Timestamp(1_774_699_200_000_000);
        let clock = Arc::new(VirtualClock::at(start.0));
        let scheduler = scheduler_on(&clock);
        let paused_until = start.plus(MINUTE.times(10));
        for (paused_until, stops_at) in [(None, start.plus(MINUTE.times(3))), (Some(paused_until), paused_until.plus(MINUTE.times(3)))] {
            clock.advance_to(start.0.max(scheduler.now().0));
            scheduler.assign(Assignment { rev: 1, items: vec![] }, From::AtOnce);
            scheduler.assign(Assignment { rev: 2, items: vec![item(paused_until)] }, From::SlotsSince(start));
            scheduler.lock().items.values_mut().for_each(|planned| planned.began = start);
            if scheduler.now() <= stops_at {
                clock.advance_to(stops_at.0);
                assert_eq!(scheduler.stopped(), None);
            }
            clock.advance_to(stops_at.0 + 1);
            assert_eq!(scheduler.stopped(), Some(("t".into(), 1)));
        }
    }

    #[test]
    fn starts_lie_on_the_grid_and_never_before_their_slot() {
        for at in [0, 1, 19_999, 20_000, 20_001, 1_774_699_200_000_001] {
            let start = on_the_grid(at);
            assert!(start % GRID_US == 0 && (at..at + GRID_US).contains(&start), "{at}: {start}");
        }
        assert!(on_the_grid(i64::MAX) > 0);
    }
}
