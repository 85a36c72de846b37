//! Jobs, schedules and reconcilers through their use cases, on the runner that a server starts.

use reeve_domain::config::Config;
use reeve_domain::execution::PruneExecutions;
use reeve_domain::job::{self, Progress};
use reeve_domain::{App, audit, background, recurring, server};
use reeve_jobs::{Filter, NewJob, Options, Recurs, Runner, enqueue};
use reeve_store::schedule;
use reeve_testkit::db::{TestDb, on_both};
use reeve_types::audit::AuditFilter;
use reeve_types::execution::ExecutionStatus;
use reeve_types::job::JobState;
use reeve_types::{Actor, ErrorKind, JobId, Page, TextMatch};
use tokio_util::sync::CancellationToken;

use crate::Bench;
use crate::world::{World, all_are, everything};

const ALL: Page = Page { number: 1, size: 100 };
const DAY_MS: i64 = 24 * 3600 * 1000;

fn runner(bench: &Bench) -> Runner<App> {
    let app = bench.app.clone();
    let (clock, ids) = (app.clock.clone(), app.ids.clone());
    Runner::new(app.clone(), app.registry.clone(), app.store.clone(), clock, ids, Options::default())
}

async fn enqueue_pruning(bench: &Bench) -> JobId {
    let mut tx = bench.app.store.begin().await.unwrap();
    let job = NewJob::new::<App, PruneExecutions>(&(), "test").unwrap().about("everything");
    let id = enqueue(&mut tx, bench.app.now(), &*bench.app.ids, job).await.unwrap();
    tx.commit().await.unwrap();
    id
}

#[tokio::test]
async fn a_job_is_listed_followed_and_ended() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let system = Actor::system();
        let id = enqueue_pruning(&bench).await;
        let mut follow = job::follow(&bench.app, &system, &id, 0).await.unwrap();
        let Some(Progress::Job(queued)) = follow.next().await.unwrap() else { panic!("not how it stands") };
        assert_eq!((queued.job.state, queued.job.requested_by.as_str()), (JobState::Queued, "test"));
        runner(&bench).run_until_idle().await.unwrap();

        let Some(Progress::Output { offset: 0, next_offset, text }) = follow.next().await.unwrap() else { panic!() };
        assert!(text.starts_with("dropping executions made before ") && text.ends_with("\ndropped 0\n"), "{text}");
        assert_eq!(next_offset, text.len() as i64);
        let Some(Progress::End(ended)) = follow.next().await.unwrap() else { panic!("not the end") };
        assert_eq!((ended.job.state, ended.job.attempts), (JobState::Succeeded, 1));
        assert_eq!(follow.next().await.unwrap(), None);
        let mut resumed = job::follow(&bench.app, &system, &id, next_offset - 2).await.unwrap();
        assert!(matches!(resumed.next().await.unwrap(), Some(Progress::Output { text, .. }) if text == "0\n"));

        let piece = job::output(&bench.app, &system, &id, next_offset - 2, 1000).await.unwrap();
        assert_eq!((piece.text.as_str(), piece.next_offset, piece.complete), ("0\n", next_offset, true));
        let piece = job::output(&bench.app, &system, &id, 0, 8).await.unwrap();
        assert_eq!((piece.text.as_str(), piece.next_offset, piece.complete), ("dropping", 8, false));

        let about = |text: &str| Filter { subject: Some(TextMatch::parse(text)), ..Filter::default() };
        let listed = async |filter: &Filter| job::list(&bench.app, &system, filter, ALL).await.unwrap().items.len();
        assert_eq!((listed(&about("every*")).await, listed(&about("nothing")).await), (1, 0));
        let unknown = job::get(&bench.app, &system, &"nobody".into()).await.unwrap_err();
        assert_eq!(unknown.kind, ErrorKind::NotFound);
        assert_eq!(job::cancel(&bench.app, &system, &id).await.unwrap_err().message, "the job has already succeeded");
    })
    .await;
}

#[tokio::test]
async fn cancel_and_retry_are_audited_and_old_jobs_are_dropped() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let system = Actor::system();
        let id = enqueue_pruning(&bench).await;
        assert_eq!(job::cancel(&bench.app, &system, &id).await.unwrap().job.state, JobState::Cancelled);
        assert_eq!(job::retry(&bench.app, &system, &id).await.unwrap().job.state, JobState::Queued);
        runner(&bench).run_until_idle().await.unwrap();
        assert_eq!(job::get(&bench.app, &system, &id).await.unwrap().job.state, JobState::Succeeded);
        assert_eq!(job::retry(&bench.app, &system, &id).await.unwrap_err().kind, ErrorKind::Conflict);
        let entries = audit::list(&bench.app, &system, &AuditFilter::default(), ALL).await.unwrap();
        let actions: Vec<&str> = entries.items.iter().map(|e| e.action.as_str()).collect();
        assert_eq!(actions, ["job.retry", "job.cancel"]);

        bench.clock.advance_ms(7 * DAY_MS - 1000);
        job::prune(&bench.app).await.unwrap();
        assert_eq!(bench.count("job_output").await, 1);
        bench.clock.advance_ms(2000);
        job::prune(&bench.app).await.unwrap();
        assert_eq!((bench.count("jobs").await, bench.count("job_output").await), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn what_recurs_is_listed_and_can_be_asked_for() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let system = Actor::system();
        let mut runner = runner(&bench);
        runner.run_until_idle().await.unwrap();
        let reconcilers = recurring::list(&bench.app, &system, Recurs::Reconciler).await.unwrap();
        for view in &reconcilers {
            assert!(view.status.last_success_at == Some(bench.app.now()) && view.next_at.is_some(), "{view:?}");
        }
        assert!(reconcilers.iter().any(|r| r.status.name == background::FAN_OUT && !r.status.one_server));
        let schedules = recurring::list(&bench.app, &system, Recurs::Schedule).await.unwrap();
        let names: Vec<&str> = schedules.iter().map(|s| s.status.name).collect();
        let all = [
            "event.prune",
            "idempotency.prune",
            "identity.prune",
            "webhook_delivery.prune",
            "operation.prune",
            "job.prune",
            "execution.prune",
        ];
        assert_eq!(names, all);
        let pruning = schedules.last().unwrap();
        assert!(pruning.status.off && pruning.next_at.is_none() && pruning.status.rhythm == "0 0 * * *");

        let poke = async |what, name| recurring::poke(&bench.app, &system, what, name).await;
        poke(Recurs::Schedule, "event.prune").await.unwrap();
        runner.run_until_idle().await.unwrap();
        let schedules = recurring::list(&bench.app, &system, Recurs::Schedule).await.unwrap();
        assert_eq!((schedules[0].last_at, schedules[0].status.passes), (Some(bench.app.now()), 1));
        poke(Recurs::Reconciler, "node.sweep").await.unwrap();
        let unknown = poke(Recurs::Schedule, "node.sweep").await.unwrap_err();
        assert_eq!((unknown.kind, unknown.message.as_str()), (ErrorKind::NotFound, "schedule not found"));
        assert_eq!(poke(Recurs::Schedule, "execution.prune").await.unwrap_err().kind, ErrorKind::Conflict);
    })
    .await;
}

#[tokio::test]
async fn health_counts_what_waits_and_names_what_fails() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let quiet = job::health(&bench.app).await.unwrap();
        assert_eq!((quiet.depths.len(), quiet.oldest_waiting_ms, quiet.failed, quiet.failing.len()), (0, 0, 0, 0));
        enqueue_pruning(&bench).await;
        bench.clock.advance_ms(5000);
        let behind = job::health(&bench.app).await.unwrap();
        assert_eq!((behind.count(JobState::Queued), behind.oldest_waiting_ms), (1, 5000));
        bench.sql("ALTER TABLE jobs RENAME TO away").await;
        let mut runner = runner(&bench);
        assert!(runner.run_until_idle().await.is_err());
        bench.sql("ALTER TABLE away RENAME TO jobs").await;
        bench.sql("ALTER TABLE rollouts RENAME TO away").await;
        runner.run_until_idle().await.unwrap();
        let failing = job::health(&bench.app).await.unwrap().failing;
        assert_eq!(failing.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [background::ROLLOUT]);
        job::measure(&bench.app).await.unwrap();
    })
    .await;
}

/// A world whose pruning is on.
async fn pruning_world(db: TestDb) -> World {
    World::configured(db, |config: &mut Config| config.execution_pruning.enabled = true).await
}

#[tokio::test]
async fn old_executions_are_dropped_by_the_schedule_with_an_event_each() {
    on_both(|db| async move {
        let world = pruning_world(db).await;
        let node = world.node("main").await;
        let ended = world.run(everything(), None).await;
        let rows = world.until(&ended, |rows| rows.len() == 1).await;
        world.answer(&node, &rows[0].id, 0, "out\n").await;
        world.until(&ended, all_are(ExecutionStatus::Completed, 1)).await;
        let open = world.run(everything(), None).await;
        world.until(&open, |rows| rows.len() == 1).await;

        world.clock.advance_ms(31 * DAY_MS);
        world.until(&ended, |rows| rows.is_empty()).await;
        assert_eq!(world.executions(&open).await.len(), 1, "it has not ended");
        let kinds = ["edge.command_execution.pruned".to_owned()];
        let events = reeve_domain::event::newest(&world.app, &world.admin, &kinds, 10).await.unwrap();
        assert_eq!(events.len(), 1);
        assert!(events[0].data.contains(&format!(r#""command_id":"{ended}""#)), "{}", events[0].data);
    })
    .await;
}

#[tokio::test]
async fn a_killed_server_leaves_its_job_to_the_next_start() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let id = enqueue_pruning(&bench).await;
        // As a server that was killed in the middle left it.
        bench.sql("UPDATE jobs SET state = 'running', attempts = 1, lease_owner = 'dead/1', lease_until = 9000000000000000").await;
        bench.sql("INSERT INTO schedules (name, next_at) VALUES ('event.prune', 9000000000000000)").await;
        let stop = CancellationToken::new();
        let mut loops = background::start(&bench.app, &stop);
        if bench.app.store.is_shared() {
            // Another server may be at it: the lease has to pass.
            bench.sql("UPDATE jobs SET lease_until = 1").await;
        }
        let system = Actor::system();
        let mut follow = job::follow(&bench.app, &system, &id, 0).await.unwrap();
        let ended = loop {
            match follow.next().await.unwrap().expect("the end comes first") {
                Progress::End(view) => break view,
                Progress::Output { .. } | Progress::Job(_) => bench.clock.advance_ms(1000),
            }
        };
        assert_eq!((ended.job.state, ended.job.attempts), (JobState::Succeeded, 2));
        stop.cancel();
        while loops.join_next().await.is_some() {}
        let mut tx = bench.app.store.read().await.unwrap();
        assert!(schedule::all(&mut tx).await.unwrap().iter().all(|row| row.lease_owner.is_none()), "given back");
    })
    .await;
}

#[tokio::test]
async fn a_server_that_begins_anew_takes_up_its_own_jobs_and_no_others() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let about = server::About { version: "1.0.0".into(), listeners: "{}".into() };
        let leased = async |id: &JobId, owner: &str| {
            let lease = format!("lease_owner = '{owner}', lease_until = {}", i64::MAX);
            let sql = format!("UPDATE jobs SET state = 'running', attempts = 1, {lease} WHERE id = '{id}'");
            assert_eq!(bench.sql(&sql).await, 1);
        };
        let state =
            async |id: &JobId| reeve_jobs::get(&mut bench.app.store.read().await.unwrap(), id).await.unwrap().state;
        let (mine, theirs) = (enqueue_pruning(&bench).await, enqueue_pruning(&bench).await);
        leased(&mine, "server/before").await;
        leased(&theirs, "server-2/alive").await;
        server::join(&bench.app, about.clone()).await.unwrap();
        runner(&bench).run_until_idle().await.unwrap();
        assert_eq!((state(&mine).await, state(&theirs).await), (JobState::Succeeded, JobState::Running));

        // A server that is expelled and joins again runs on with what it has.
        leased(&theirs, "server/now").await;
        server::join(&bench.app, about).await.unwrap();
        assert_eq!(state(&theirs).await, JobState::Running);
    })
    .await;
}
