//! The fault tests every saga has to pass: fail each step, repeat each step, repeat each undo, and be killed or
//! cancelled at every boundary. After each of them the world is as if nothing had been begun, or as if nothing had gone wrong.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::{Arc, Mutex};

use reeve_jobs::fault::{Accident, Point};
use reeve_jobs::{NewJob, Options, Registry, Runner, Saga};
use reeve_store::Store;
use reeve_types::id::{Ids, SystemIds};
use reeve_types::job::{Job, JobState};
use reeve_types::{Error, JobId, ManualClock, Timestamp};

/// What a saga acts on in a test, fresh for every case, with everything that can be seen of it.
pub trait World {
    /// What the saga's steps are given.
    type Ctx: Send + Sync + 'static;
    /// The saga.
    type Saga: Saga<Self::Ctx>;
    /// All that the saga may change, outside and in the database, without what differs between two worlds.
    type Seen: PartialEq + Debug;

    /// The store with the jobs.
    fn store(&self) -> &Store;
    /// What the steps are given.
    fn ctx(&self) -> Arc<Self::Ctx>;
    /// What the saga begins with.
    fn first_state(&self) -> <Self::Saga as Saga<Self::Ctx>>::State;
    /// Looks at the world.
    fn seen(&self) -> impl Future<Output = Self::Seen>;
    /// The clock of the runner; of the application too, where it has one.
    fn clock(&self) -> Arc<ManualClock> {
        Arc::new(ManualClock::at(Timestamp(1_700_000_000_000_000)))
    }
}

/// Every fault test.
pub async fn survives_everything<W: World>(fresh: impl AsyncFn() -> W) {
    fails_at_each_step(&fresh).await;
    repeats_each_step(&fresh).await;
    repeats_each_undo(&fresh).await;
    is_killed_at_every_boundary(&fresh).await;
    is_cancelled_at_every_boundary(&fresh).await;
    is_cancelled_while_the_server_is_down(&fresh).await;
}

/// Each step fails, once before its effect and once after: everything is undone.
pub async fn fails_at_each_step<W: World>(fresh: &impl AsyncFn() -> W) {
    for step in 0..steps::<W>() {
        for point in [Point::BeforeRun, Point::AfterRun] {
            let plan = Plan::new().always(point, step, What::Fail);
            let case = format!("step {step} fails at {point:?}");
            expect_undone(&case, &fresh().await, plan, JobState::Failed).await;
        }
    }
}

/// The server dies after each step's effect, before it is recorded: the step runs twice, the result is the same.
pub async fn repeats_each_step<W: World>(fresh: &impl AsyncFn() -> W) {
    for step in 0..steps::<W>() {
        let plan = Plan::new().once(Point::AfterRun, step, What::Crash);
        let case = format!("step {step} runs twice");
        let visits = expect_done(&case, fresh, plan).await;
        // A step that waits for something outside looks more often.
        assert!(visits.get(&(Point::BeforeRun, step)) >= Some(&2), "{case}");
    }
}

/// Whatever step fails, the server dies after each undo's effect, before it is recorded: everything is undone.
pub async fn repeats_each_undo<W: World>(fresh: &impl AsyncFn() -> W) {
    for failing in 0..steps::<W>() {
        for undo in 0..=failing {
            let plan =
                Plan::new().always(Point::AfterRun, failing, What::Fail).once(Point::AfterUndo, undo, What::Crash);
            let case = format!("step {failing} fails and the undo of {undo} runs twice");
            let visits = expect_undone(&case, &fresh().await, plan, JobState::Failed).await;
            assert!(visits.get(&(Point::BeforeUndo, undo)) >= Some(&2), "{case}");
        }
    }
}

/// The server dies at every moment there is, going forward and going back.
pub async fn is_killed_at_every_boundary<W: World>(fresh: &impl AsyncFn() -> W) {
    let last = steps::<W>().saturating_sub(1);
    for step in 0..=last {
        for point in Point::ALL {
            if matches!(point, Point::BeforeRun | Point::AfterRun | Point::Recorded) {
                let plan = Plan::new().once(point, step, What::Crash);
                expect_done(&format!("killed at {point:?} of step {step}"), fresh, plan).await;
            }
            // The crash is planned first, so at the moment of the failure it comes first too.
            let plan = Plan::new().once(point, step, What::Crash).always(Point::AfterRun, last, What::Fail);
            let case = format!("killed at {point:?} of step {step}, and the last step fails");
            expect_undone(&case, &fresh().await, plan, JobState::Failed).await;
        }
    }
}

/// Somebody cancels at every moment on the way forward: everything is undone, or it was too late and everything is done.
pub async fn is_cancelled_at_every_boundary<W: World>(fresh: &impl AsyncFn() -> W) {
    let steps = steps::<W>();
    for step in 0..steps {
        for point in [Point::BeforeRun, Point::AfterRun, Point::Recorded] {
            let plan = || Plan::new().once(point, step, What::Cancel);
            let case = format!("cancelled at {point:?} of step {step}");
            if step + 1 < steps {
                expect_undone(&case, &fresh().await, plan(), JobState::Cancelled).await;
            } else {
                expect_done(&case, fresh, plan()).await;
            }
        }
    }
}

/// The server dies at every moment on the way forward, and somebody cancels before another one takes over: what the
/// step that was under way may have done is undone too.
pub async fn is_cancelled_while_the_server_is_down<W: World>(fresh: &impl AsyncFn() -> W) {
    let steps = steps::<W>();
    for step in 0..steps {
        for point in [Point::BeforeRun, Point::AfterRun, Point::Recorded] {
            let mut plan = Plan::new().once(point, step, What::Crash);
            plan.cancel_when_down = true;
            let case = format!("killed at {point:?} of step {step}, then cancelled");
            if (point, step + 1) == (Point::Recorded, steps) {
                expect_done(&case, fresh, plan).await;
            } else {
                expect_undone(&case, &fresh().await, plan, JobState::Cancelled).await;
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Fail,
    Crash,
    Cancel,
}

type Visits = HashMap<(Point, usize), u32>;

#[derive(Default)]
struct Plan {
    /// The moment, what happens, and whether only the first time.
    accidents: Vec<(Point, usize, What, bool)>,
    /// Cancel once the first runner is gone.
    cancel_when_down: bool,
    visits: Visits,
}

impl Plan {
    fn new() -> Self {
        Self::default()
    }
    fn once(mut self, point: Point, step: usize, what: What) -> Self {
        self.accidents.push((point, step, what, true));
        self
    }
    fn always(mut self, point: Point, step: usize, what: What) -> Self {
        self.accidents.push((point, step, what, false));
        self
    }
    fn meet(&mut self, point: Point, step: usize) -> Option<Accident> {
        *self.visits.entry((point, step)).or_default() += 1;
        let index = self.accidents.iter().position(|(p, s, _, _)| (*p, *s) == (point, step))?;
        let (_, _, what, once) = self.accidents[index];
        if once {
            self.accidents.remove(index);
        }
        Some(match what {
            What::Fail => Accident::Fail(Error::conflict("planned failure")),
            What::Crash => Accident::Crash,
            What::Cancel => Accident::Cancel,
        })
    }
}

fn steps<W: World>() -> usize {
    let steps = W::Saga::steps().len();
    assert!(steps > 0, "a saga without steps cannot be tested");
    steps
}

async fn expect_undone<W: World>(case: &str, world: &W, plan: Plan, state: JobState) -> Visits {
    let before = world.seen().await;
    let (job, visits) = play(world, plan).await;
    assert_eq!(job.state, state, "{case}: {:?}", job.error);
    assert_eq!(world.seen().await, before, "{case}: the world is not as it was before");
    visits
}

async fn expect_done<W: World>(case: &str, fresh: &impl AsyncFn() -> W, plan: Plan) -> Visits {
    let clean = fresh().await;
    let (job, _) = play(&clean, Plan::new()).await;
    assert_eq!(job.state, JobState::Succeeded, "without any accident: {:?}", job.error);
    let world = fresh().await;
    let (job, visits) = play(&world, plan).await;
    assert_eq!(job.state, JobState::Succeeded, "{case}: {:?}", job.error);
    assert_eq!(world.seen().await, clean.seen().await, "{case}: the world is not as after a clean run");
    visits
}

/// Runs the saga to its end, a new runner after every crash.
async fn play<W: World>(world: &W, plan: Plan) -> (Job, Visits) {
    let (store, clock) = (world.store(), world.clock());
    let ids: Arc<dyn Ids> = Arc::new(SystemIds);
    let plan = Arc::new(Mutex::new(plan));
    let options = Options::default();
    let now = reeve_types::Clock::now(&*clock);
    let mut tx = store.begin().await.unwrap();
    let job = NewJob::saga::<W::Ctx, W::Saga>(&world.first_state(), "test").unwrap();
    let id = reeve_jobs::enqueue(&mut tx, now, &*ids, job).await.unwrap();
    tx.commit().await.unwrap();
    for _ in 0..100 {
        let faults = {
            let plan = plan.clone();
            Arc::new(move |point, step| plan.lock().unwrap().meet(point, step))
        };
        let registry = Registry::new().saga::<W::Saga>().with_faults(faults);
        let mut runner = Runner::new(world.ctx(), registry, store.clone(), clock.clone(), ids.clone(), options.clone());
        runner.run_until_idle().await.unwrap();
        let job = get(store, &id).await;
        if job.state.is_final() {
            let visits = std::mem::take(&mut plan.lock().unwrap().visits);
            return (job, visits);
        }
        let down = {
            let mut plan = plan.lock().unwrap();
            // A step that waits for something outside lets the runner rest without an accident.
            let down = plan.cancel_when_down && plan.accidents.is_empty();
            plan.cancel_when_down &= !down;
            down
        };
        if down {
            let mut tx = store.begin().await.unwrap();
            reeve_jobs::cancel(&mut tx, &id, reeve_types::Clock::now(&*clock)).await.unwrap();
            tx.commit().await.unwrap();
        }
        // Past the lease of what was killed, and past the pause of what waits to be tried again.
        clock.advance_ms(options.lease.max(options.backoff_most).as_millis() as i64 * 2);
    }
    panic!("the saga did not come to an end: {:?}", get(store, &id).await);
}

async fn get(store: &Store, id: &JobId) -> Job {
    let mut tx = store.read().await.unwrap();
    reeve_jobs::get(&mut tx, id).await.unwrap()
}
