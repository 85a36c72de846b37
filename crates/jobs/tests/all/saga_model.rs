//! The saga engine beside a model that fits on a page, under random accidents.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use reeve_jobs::fault::{Accident, Point};
use reeve_jobs::{Failure, NewJob, Options, Registry, Runner, Running, Saga, Step, Steps};
use reeve_testkit::db::TestDb;
use reeve_types::id::SystemIds;
use reeve_types::job::JobState;
use reeve_types::{Clock, Error, ManualClock, Timestamp};

const STEPS: usize = 4;

/// How often each effect is in place: idempotent steps never make it more than once.
type Effects = Mutex<[bool; STEPS]>;

struct Switches;
impl Saga<Effects> for Switches {
    const KIND: &'static str = "test.switches";
    const STEP_TIMEOUT: Duration = Duration::from_secs(30);
    const STEP_ATTEMPTS: i64 = 100;
    const UNDO_ATTEMPTS: i64 = 100;
    type State = u32;
    fn steps() -> Steps<Effects, u32> {
        Steps::new().then(Switch(0)).then(Switch(1)).then(Switch(2)).then(Switch(3))
    }
}

struct Switch(usize);
impl Step<Effects, u32> for Switch {
    fn name(&self) -> &'static str {
        ["zero", "one", "two", "three"][self.0]
    }
    async fn run(&self, effects: &Arc<Effects>, _job: &Running, _state: &mut u32) -> Result<(), Failure> {
        let mut effects = effects.lock().unwrap();
        assert!(effects[..self.0].iter().all(|on| *on), "the steps before are done");
        assert!(!effects[self.0 + 1..].iter().any(|on| *on), "the steps after are not");
        effects[self.0] = true;
        Ok(())
    }
    async fn undo(&self, effects: &Arc<Effects>, _job: &Running, _state: &mut u32) -> Result<(), Failure> {
        let mut effects = effects.lock().unwrap();
        assert!(!effects[self.0 + 1..].iter().any(|on| *on), "the steps after are undone");
        effects[self.0] = false;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Fail,
    Crash,
    Cancel,
}

/// What happens at the n-th visit of a moment.
type Plan = BTreeMap<(Point, usize, u32), What>;

fn plan() -> impl Strategy<Value = Plan> {
    let moment = (prop::sample::select(Point::ALL.to_vec()), 0..STEPS, 1..3u32);
    let what = prop_oneof![2 => Just(What::Fail), 3 => Just(What::Crash), 1 => Just(What::Cancel)];
    prop::collection::btree_map(moment, what, 0..8)
}

/// Counts visits and says what the plan has for this one.
#[derive(Default)]
struct Visits(BTreeMap<(Point, usize), u32>);

impl Visits {
    fn meet(&mut self, plan: &Plan, point: Point, step: usize) -> Option<What> {
        let visits = self.0.entry((point, step)).or_default();
        *visits += 1;
        plan.get(&(point, step, *visits)).copied()
    }
}

/// The model: the saga as one would tell it. A crash forgets a request to stop that only the process knew.
fn model(plan: &Plan) -> (JobState, Effects) {
    let mut visits = Visits::default();
    let mut effects = [false; STEPS];
    let (mut at, mut cancel, mut back, mut begun) = (0, false, None, false);
    loop {
        match back {
            None if at == STEPS => return (JobState::Succeeded, Mutex::new(effects)),
            None if cancel => {
                back = Some(JobState::Cancelled);
                at += usize::from(begun);
            }
            None => {
                begun = true;
                let mut failed = false;
                let mut crashed = false;
                for (point, effect) in [(Point::BeforeRun, false), (Point::AfterRun, true)] {
                    if failed || crashed {
                        break;
                    }
                    effects[at] |= effect;
                    match visits.meet(plan, point, at) {
                        Some(What::Fail) => failed = true,
                        Some(What::Crash) => crashed = true,
                        Some(What::Cancel) => cancel = true,
                        None => {}
                    }
                }
                if crashed {
                    cancel = false;
                } else if failed {
                    back = Some(if cancel { JobState::Cancelled } else { JobState::Failed });
                    at += 1;
                } else {
                    let recorded = visits.meet(plan, Point::Recorded, at);
                    (at, begun) = (at + 1, false);
                    match recorded {
                        Some(What::Crash) => (cancel, begun) = (false, true),
                        Some(What::Cancel) => cancel = true,
                        Some(What::Fail) | None => {}
                    }
                }
            }
            Some(state) if at == 0 => return (state, Mutex::new(effects)),
            Some(_) => {
                let step = at - 1;
                // A failed undo and a crash come to the same: it is done again.
                if matches!(visits.meet(plan, Point::BeforeUndo, step), Some(What::Fail | What::Crash)) {
                    continue;
                }
                effects[step] = false;
                if matches!(visits.meet(plan, Point::AfterUndo, step), Some(What::Fail | What::Crash)) {
                    continue;
                }
                visits.meet(plan, Point::UndoRecorded, step);
                at = step;
            }
        }
    }
}

async fn play(db: &TestDb, plan: &Plan) -> (JobState, Arc<Effects>) {
    let effects = Arc::new(Effects::default());
    let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000_000)));
    let ids = Arc::new(SystemIds);
    let mut tx = db.store.begin().await.unwrap();
    let job = NewJob::saga::<Effects, Switches>(&0, "test").unwrap();
    let id = reeve_jobs::enqueue(&mut tx, clock.now(), &*ids, job).await.unwrap();
    tx.commit().await.unwrap();
    let visits = Arc::new(Mutex::new(Visits::default()));
    for _ in 0..100 {
        let (visits, plan) = (visits.clone(), plan.clone());
        let faults = Arc::new(move |point, step| {
            visits.lock().unwrap().meet(&plan, point, step).map(|what| match what {
                What::Fail => Accident::Fail(Error::conflict("planned")),
                What::Crash => Accident::Crash,
                What::Cancel => Accident::Cancel,
            })
        });
        let registry = Registry::new().saga::<Switches>().with_faults(faults);
        let (store, options) = (db.store.clone(), Options::default());
        let mut runner = Runner::new(effects.clone(), registry, store, clock.clone(), ids.clone(), options);
        runner.run_until_idle().await.unwrap();
        let mut tx = db.store.read().await.unwrap();
        let job = reeve_jobs::get(&mut tx, &id).await.unwrap();
        if job.state.is_final() {
            return (job.state, effects);
        }
        clock.advance_ms(1_200_000);
    }
    panic!("no end in sight");
}

#[test]
fn the_engine_does_what_the_model_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (db, cases) in [(runtime.block_on(TestDb::sqlite()), 150), (runtime.block_on(TestDb::postgres()), 50)] {
        let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
        proptest!(config, |(plan in plan())| {
            let (state, effects) = runtime.block_on(play(&db, &plan));
            let (expected, world) = model(&plan);
            prop_assert_eq!(state, expected);
            prop_assert_eq!(*effects.lock().unwrap(), *world.lock().unwrap());
        });
    }
}
