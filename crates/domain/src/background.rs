//! The loops that make reality match the rows: each wakes by timer and by poke, logs its failures and goes on.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reeve_store::Topic;
use reeve_types::Result;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::agent::{dispatch, intake, presence};
use crate::seal::rotate::rotate;
use crate::server::keep;
use crate::{App, command, event, execution, idempotency, identity};

type Pass = for<'a> fn(&'a App) -> BoxFuture<'a, Result<()>>;

/// One loop: what it is called, how often it looks, what else wakes it, and one pass.
struct Reconciler {
    name: &'static str,
    every: Duration,
    poke: Option<fn(&App) -> &Notify>,
    topic: Option<Topic>,
    pass: Pass,
}

const fn timed(name: &'static str, every_secs: u64, pass: Pass) -> Reconciler {
    Reconciler { name, every: Duration::from_secs(every_secs), poke: None, topic: None, pass }
}

fn reconcilers() -> [Reconciler; 10] {
    [
        Reconciler {
            poke: Some(|app| &app.fan_outs),
            topic: Some(Topic::Jobs),
            ..timed("command.fan_out", 5, |app| Box::pin(command::fan_out_waiting(app)))
        },
        Reconciler {
            poke: Some(|app| &app.rollouts),
            ..timed("command.rollout", 5, |app| Box::pin(command::advance_all(app)))
        },
        Reconciler {
            topic: Some(Topic::Executions),
            ..timed("execution.dispatch", 5, |app| Box::pin(dispatch::pass(app)))
        },
        timed("execution.expire", 5, |app| Box::pin(execution::expire(app))),
        timed("node.flush", 5, |app| Box::pin(presence::flush(app))),
        timed("node.sweep", 20, |app| Box::pin(presence::sweep(app))),
        timed("identity.tidy", 60, |app| Box::pin(identity::tidy(app))),
        timed("idempotency.expire", 600, |app| Box::pin(expire_idempotency_keys(app))),
        timed("seal.rotate", 3600, |app| Box::pin(rotate_seals(app))),
        timed("event.prune", 600, |app| Box::pin(prune_events(app))),
    ]
}

async fn prune_events(app: &App) -> Result<()> {
    while event::prune(app).await? > 0 {}
    Ok(())
}

async fn expire_idempotency_keys(app: &App) -> Result<()> {
    idempotency::drop_expired(app).await.map(|_| ())
}

/// The first pass comes with the start, so a new key in front of the ring is taken up by restarting one server.
async fn rotate_seals(app: &App) -> Result<()> {
    let rotated = rotate(app).await?;
    for place in &rotated.unreadable {
        tracing::warn!(place, "a sealed text does not open with any key of this server");
    }
    if rotated.resealed > 0 {
        tracing::info!(
            resealed = rotated.resealed,
            key = app.seal.newest_id(),
            "secrets were sealed again with the newest key"
        );
    }
    Ok(())
}

/// Starts every loop. They end soon after `stop` fires; await them with [`JoinSet::join_next`].
pub fn start(app: &Arc<App>, stop: &CancellationToken) -> JoinSet<()> {
    let mut loops = JoinSet::new();
    let (a, s) = (app.clone(), stop.clone());
    loops.spawn(async move {
        tokio::select! {
            () = intake::run(&a) => {}
            () = s.cancelled() => {}
        }
    });
    loops.spawn(keep::beat(app.clone(), stop.clone()));
    loops.spawn(keep::share(app.clone(), stop.clone()));
    loops.spawn(keep::read(app.clone(), stop.clone()));
    loops.spawn(keep::tidy(app.clone(), stop.clone()));
    for reconciler in reconcilers() {
        loops.spawn(run(reconciler, app.clone(), stop.clone()));
    }
    loops
}

async fn run(r: Reconciler, app: Arc<App>, stop: CancellationToken) {
    let never = Notify::new();
    let poke = r.poke.map_or(&never, |poke| poke(&app));
    let mut topic = r.topic.map(|topic| app.store.subscribe(topic));
    loop {
        if let Err(error) = (r.pass)(&app).await {
            tracing::error!(reconciler = r.name, %error, source = ?error.source, "a pass failed; the next one tries again");
        }
        let elsewhere = async {
            let woken = match &mut topic {
                Some(topic) => topic.changed().await.is_ok(),
                None => false,
            };
            if !woken {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = poke.notified() => {}
            () = elsewhere => {}
            () = tokio::time::sleep(r.every) => {}
        }
    }
}
