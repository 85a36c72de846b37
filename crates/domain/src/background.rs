//! What goes on without a request: one table of everything that recurs, the kinds of jobs, and the runner they run on.
//!
//! A loop is on every server when it minds what this process holds (connections, memory) or must react at once, and on one
//! server when it minds rows alone; see docs/adr/0007. The table says when; what is done stands with its noun.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reeve_jobs::{Loop, NewJob, Options, Registry, Runner, Schedule};
use reeve_store::Topic;
use reeve_types::Result;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::{dispatch, intake, presence};
use crate::backup::run::MakeBackup;
use crate::backup::schedule;
use crate::config::Config;
use crate::execution::PruneExecutions;
use crate::host::create_saga::CreateHost;
use crate::host::delete_saga::DeleteHost;
use crate::host::power::SwitchHost;
use crate::plan::CheckOperation;
use crate::seal::rotation::RotateSeal;
use crate::server::keep;
use crate::workflow::saga::RunWorkflow;
use crate::{
    App, command, event, execution, idempotency, identity, job, node_metrics, operation, seal, self_update, server,
    webhook,
};

/// The loop that fans commands out.
pub const FAN_OUT: &str = "command.fan_out";
/// The loop that moves rollouts on.
pub const ROLLOUT: &str = "command.rollout";
/// The loop that moves self-updates on.
pub const SELF_UPDATE: &str = "self_update.advance";

/// How long jobs may take to end when the server stops; what is left goes on after the next start.
const PATIENCE: Duration = Duration::from_secs(8);
const MINUTE: Duration = Duration::from_secs(60);

/// Everything that recurs, and every kind of job.
pub fn registry(config: &Config) -> Registry<App> {
    let secs = Duration::from_secs;
    let pruning = &config.execution_pruning;
    Registry::new()
        // On every server, because of its connections and its memory.
        .looping(Loop::new(FAN_OUT, secs(5), |app| Box::pin(command::fan_out_waiting(app))).on(Topic::Commands))
        .looping(Loop::new(ROLLOUT, secs(5), |app| Box::pin(command::advance_all(app))))
        .looping(Loop::new(SELF_UPDATE, secs(5), |app| Box::pin(self_update::advance_all(app))).on(Topic::Commands))
        .looping(Loop::new("execution.dispatch", secs(5), |app| Box::pin(dispatch::pass(app))).on(Topic::Executions))
        .looping(Loop::new("node.flush", secs(5), |app| Box::pin(presence::flush(app))))
        .looping(Loop::new("server.balance", secs(15), |app| Box::pin(server::balance(app))))
        .looping(Loop::new("node_metrics.flush", secs(5), |app| Box::pin(node_metrics::flush(app))))
        .looping(Loop::new("identity.flush", MINUTE, |app| Box::pin(identity::write_uses(app))))
        .looping(Loop::new("job.measure", secs(15), |app| Box::pin(job::measure(app))))
        // On one server at a time.
        .looping(Loop::new("execution.expire", secs(5), |app| Box::pin(execution::expire(app))).on_one_server())
        .looping(Loop::new("server.tidy", secs(20), |app| Box::pin(server::tidy(app))).on_one_server())
        .looping(Loop::new("node.sweep", secs(20), |app| Box::pin(presence::sweep(app))).on_one_server())
        .looping(Loop::new("operation.settle", secs(5), |app| Box::pin(operation::settle(app))).on_one_server())
        .looping(Loop::new("seal.rotate", 60 * MINUTE, |app| Box::pin(seal::rotate::by_itself(app))).on_one_server())
        .looping(Loop::new("backup.schedule", secs(15), |app| Box::pin(schedule::tick(app))).on_one_server())
        .looping(Loop::new("webhook.tidy", secs(10), |app| Box::pin(webhook::upkeep::tidy(app))).on_one_server())
        // Every tick once.
        .schedule(tick("event.prune", 10 * MINUTE, |app| Box::pin(event::prune_all(app))))
        .schedule(tick("idempotency.prune", 10 * MINUTE, |app| Box::pin(idempotency::prune(app))))
        .schedule(tick("identity.prune", MINUTE, |app| Box::pin(identity::prune(app))))
        .schedule(tick("webhook_delivery.prune", 10 * MINUTE, |app| Box::pin(webhook::upkeep::prune(app))))
        .schedule(tick("operation.prune", 10 * MINUTE, |app| Box::pin(operation::prune(app))))
        .schedule(tick("job.prune", 10 * MINUTE, |app| Box::pin(job::prune(app))))
        .schedule(
            Schedule::enqueue("execution.prune", 24 * 60 * MINUTE, |_| {
                Ok(NewJob::new::<App, PruneExecutions>(&(), "schedule")?.unique("execution.prune"))
            })
            .by_cron(pruning.schedule.clone())
            .off_if(!pruning.enabled),
        )
        .job::<PruneExecutions>()
        .job::<RotateSeal>()
        .job::<MakeBackup>()
        .job::<CheckOperation>()
        .saga::<CreateHost>()
        .saga::<DeleteHost>()
        .saga::<SwitchHost>()
        .saga::<RunWorkflow>()
        .saga::<crate::taskserv::InstallTaskserv>()
        .saga::<crate::taskserv::RemoveTaskserv>()
}

type Tick = for<'a> fn(&'a App) -> BoxFuture<'a, Result<()>>;

fn tick(name: &'static str, every: Duration, work: Tick) -> Schedule<App> {
    Schedule::run(name, every, move |app: Arc<App>| async move { work(&app).await })
}

/// Starts everything that goes on without a request. Some time after `stop` fires it has ended: jobs get a few seconds
/// for it. Await that with [`JoinSet::join_next`].
pub fn start(app: &Arc<App>, stop: &CancellationToken) -> JoinSet<()> {
    let mut loops = JoinSet::new();
    let (a, s) = (app.clone(), stop.clone());
    // No loop over rows: reports wait in memory, and agents repeat what was not stored.
    loops.spawn(async move {
        tokio::select! {
            () = intake::run(&a) => {}
            () = s.cancelled() => {}
        }
    });
    let (a, s) = (app.clone(), stop.clone());
    loops.spawn(async move { webhook::fan_out::run(&a, &s).await });
    loops.spawn(webhook::engine::run(app.clone(), stop.clone()));
    loops.spawn(keep::beat(app.clone(), stop.clone()));
    loops.spawn(keep::share(app.clone(), stop.clone()));
    loops.spawn(keep::read(app.clone(), stop.clone()));
    loops.spawn(server::letters::post(app.clone(), stop.clone()));
    // Nobody else is on a SQLite file: what is leased when this server starts was left behind by a crash.
    let options = Options { name: app.server_id.0.clone(), alone: !app.store.is_shared(), ..Options::default() };
    let (clock, ids) = (app.clock.clone(), app.ids.clone());
    let runner = Runner::new(app.clone(), app.registry.clone(), app.store.clone(), clock, ids, options).start();
    let stop = stop.clone();
    loops.spawn(async move {
        stop.cancelled().await;
        if let Err(error) = runner.shutdown(PATIENCE).await {
            tracing::warn!(%error, "leases were not given back; they pass by themselves");
        }
    });
    loops
}
