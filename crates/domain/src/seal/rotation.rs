//! Rotation of the sealing key while the server runs: a new key, everything sealed again, the old keys dropped. A job.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reeve_jobs::{Body, Failure, Filter, NewJob, Running, enqueue};
use reeve_store::Tx;
use reeve_types::job::Job;
use reeve_types::{Actor, Error, Page, Permission, Result, TextMatch, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Seal;
use super::rotate::{census, rotate_telling};
use crate::job::View;
use crate::{App, audit, authz, job};

/// A transaction that sealed with the old key has ended after this long: no request takes more.
const GRACE_MS: i64 = 35_000;
/// Other servers that were seen within this time may hold the old keys.
const ALIVE_MS: i64 = 60_000;
/// Only one rotation at a time.
const UNIQUE: &str = "seal.rotate";

/// How the sealing stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Every key of this server, newest first, with the number of texts it sealed.
    pub keys: Vec<(String, i64)>,
    /// Texts that none of them sealed.
    pub others: i64,
    /// The last rotation that somebody asked for.
    pub rotation: Option<View>,
}

/// How the sealing stands.
///
/// # Errors
/// As the store.
pub async fn status(app: &App, actor: &Actor) -> Result<Status> {
    authz::require(actor, Permission::ServerRead)?;
    let (keys, others) = census(app).await?;
    let mut tx = app.store.read().await?;
    let filter = Filter { kind: Some(TextMatch::Exact(RotateSeal::KIND.to_owned())), ..Filter::default() };
    let last = reeve_jobs::list(&mut tx, &filter, Page { number: 1, size: 1 }).await?.items.pop();
    Ok(Status { keys, others, rotation: last.map(|job| job::view(app, job)) })
}

/// Begins a rotation; when one is under way, gives that one.
///
/// # Errors
/// Conflict when the keys come from the settings, or other servers share the store.
pub async fn start(app: &App, actor: &Actor) -> Result<View> {
    authz::require(actor, Permission::ServerWrite)?;
    seal_keys(app)?.may_change()?;
    let now = app.now();
    let mut tx = app.begin(actor).await?;
    alone(app, &mut tx).await?;
    let payload = NewKey { id: fresh_id(app) };
    let new = NewJob::new::<App, RotateSeal>(&payload, &actor.principal.label())?.unique(UNIQUE);
    let id = enqueue(&mut tx, now, &*app.ids, new.about(format!("seal:{}", payload.id))).await?;
    let job: Job = reeve_jobs::get(&mut tx, &id).await?;
    audit::record(app, &mut tx, actor, "seal.start_rotation", id.as_str(), json!({"subject": job.subject})).await?;
    tx.commit().await?;
    Ok(job::view(app, job))
}

/// A key that others do not have would lock them out of what is sealed with it.
async fn alone(app: &App, tx: &mut Tx) -> Result<()> {
    if reeve_store::server::others(tx, &app.server_id, app.now().plus_ms(-ALIVE_MS)).await? == 0 {
        return Ok(());
    }
    Err(Error::conflict(
        "other servers share this store and its keys: give all of them the new key with REEVE_SEAL_KEY, one after the \
         other; the secrets are sealed again by themselves",
    ))
}

fn seal_keys(app: &App) -> Result<&dyn reeve_ports::SealKeys> {
    app.seal_keys().ok_or_else(|| Error::conflict("the keys of this server cannot be changed while it runs"))
}

fn fresh_id(app: &App) -> String {
    let mut bytes = [0; 4];
    app.ids.fill(&mut bytes);
    format!("k{}", hex::encode(bytes))
}

/// The id of the key that a rotation brings in. The key itself is made when the job runs, and is never in the store.
#[derive(Serialize, Deserialize)]
pub struct NewKey {
    id: String,
}

/// Brings a new key in, seals everything with it and drops the others.
pub struct RotateSeal;

impl Body<App> for RotateSeal {
    const KIND: &'static str = "seal.rotate";
    const TIMEOUT: Duration = Duration::from_secs(12 * 3600);
    type Payload = NewKey;

    async fn run(app: &Arc<App>, job: &Running, new: NewKey) -> Result<(), Failure> {
        let keys = seal_keys(app)?;
        alone(app, &mut app.store.read().await?).await?;
        if app.seal.newest_id() != new.id {
            let mut ring = app.seal.keys();
            ring.insert(0, (new.id.clone(), Seal::fresh_key(&*app.ids)));
            // Kept first: a text that is sealed with a key that nobody has is lost.
            keys.keep(&ring)?;
            app.seal.replace(ring)?;
            app.seal_changed_at.store(app.now().0, Ordering::Relaxed);
        }
        job.output.line(&format!("new secrets are sealed with the key {}", new.id));
        let last_old_at = last_old_at(app);
        reseal(app, job).await?;
        job.output.line("waiting for transactions that began with an older key");
        wait_until(app, job, last_old_at).await?;
        reseal(app, job).await?;
        drop_old(app, job, &new.id).await
    }
}

/// When the last transaction that sealed with an older key has ended. A process that was started with the new key has had
/// none; those of the process before it ended with that, on PostgreSQL at the latest some time after it.
fn last_old_at(app: &App) -> Timestamp {
    match app.seal_changed_at.load(Ordering::Relaxed) {
        0 if app.store.is_shared() => app.started_at.plus_ms(GRACE_MS),
        0 => app.started_at,
        changed_at => Timestamp(changed_at).plus_ms(GRACE_MS),
    }
}

async fn reseal(app: &App, job: &Running) -> Result<(), Failure> {
    let (counts, _) = census(app).await?;
    let all: i64 = counts.iter().map(|(_, count)| count).sum();
    let before = counts.first().map_or(0, |(_, count)| *count);
    let whole = |n: i64| u64::try_from(n).unwrap_or(0);
    job.meter.set(whole(before), Some(whole(all)));
    let rotated = rotate_telling(app, &mut |done| job.meter.set(whole(before) + done, Some(whole(all)))).await?;
    job.output.line(&format!("sealed {} texts again", rotated.resealed));
    for place in &rotated.unreadable {
        job.output.line(&format!("{place} does not open with any key of this server and stays as it is"));
    }
    if job.is_cancelled() {
        return Err(Failure::Fail(Error::conflict("cancelled; the old keys are kept, a retry goes on")));
    }
    Ok(())
}

async fn wait_until(app: &App, job: &Running, at: Timestamp) -> Result<(), Failure> {
    while app.now() < at {
        tokio::select! {
            () = job.cancelled() => {
                return Err(Failure::Fail(Error::conflict("cancelled; the old keys are kept, a retry goes on")));
            }
            // A look at the clock, which tests move by hand.
            () = tokio::time::sleep(Duration::from_millis(100)) => {}
        }
    }
    Ok(())
}

async fn drop_old(app: &App, job: &Running, newest: &str) -> Result<(), Failure> {
    let (counts, _) = census(app).await?;
    if let Some((id, left)) = counts.iter().find(|(id, count)| id != newest && *count > 0) {
        let error = Error::unavailable(format!("{left} texts are still sealed with the key {id}"));
        return Err(Failure::retry(error));
    }
    let (kept, dropped): (Vec<_>, Vec<_>) = app.seal.keys().into_iter().partition(|(id, _)| id == newest);
    let dropped: Vec<String> = dropped.into_iter().map(|(id, _)| id).collect();
    if dropped.is_empty() {
        return Ok(());
    }
    seal_keys(app)?.keep(&kept)?;
    app.seal.replace(kept)?;
    let mut tx = app.store.begin().await?;
    audit::record(app, &mut tx, &Actor::system(), "seal.drop_keys", newest, json!({"dropped": dropped})).await?;
    tx.commit().await?;
    job.output.line(&format!("dropped the key {}", dropped.join(", ")));
    Ok(())
}
