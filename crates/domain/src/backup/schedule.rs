//! When the server backs itself up, where to, and how that goes. Kept in one sealed setting: it holds the key that
//! backups are sealed with and the access to a bucket, neither of which is ever shown.

use reeve_jobs::{Cron, NewJob, enqueue};
pub use reeve_ports::{BucketAccess, ObjectInfo};
use reeve_store::{Topic, Tx, schedule as ticks, setting};
use reeve_types::{Actor, Error, Permission, Result, Secret, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::key::BackupKey;
use super::run::{self, MakeBackup, NewBackup};
use crate::job::{self, View};
use crate::seal::rotate::setting_place;
use crate::{App, audit, authz};

/// The setting with the schedule, sealed.
const SETTING: &str = "backup.schedule";
/// The setting with what came of it, in plain.
const OUTCOME: &str = "backup.outcome";
/// Its times among those of the other schedules.
const TICKS: &str = "backup.create";
/// While a backup is being made no second one is begun.
const UNIQUE: &str = "backup.create";
/// A backup that was due this long ago and is not there is late.
const LATE_MS: i64 = 3_600_000;
/// Backups kept, and days, at the most that can be asked for.
const MOST_KEPT: u32 = 100_000;
/// Longest address, endpoint and the like.
const MOST_TEXT: usize = 1_024;

/// With what scheduled backups are sealed.
#[derive(Clone, Debug)]
pub enum KeyText {
    /// A passphrase.
    Passphrase(Secret),
    /// The content of a key file.
    KeyFile(Secret),
}

impl KeyText {
    /// The key.
    ///
    /// # Errors
    /// Invalid, for the field `passphrase` or `key_file`.
    pub fn key(&self) -> Result<BackupKey> {
        match self {
            Self::Passphrase(text) => BackupKey::passphrase(text.expose()),
            Self::KeyFile(text) => BackupKey::file(text.expose()),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase",
            Self::KeyFile(_) => "key_file",
        }
    }
}

/// A schedule as somebody wants it.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Cron pattern, UTC.
    pub cron: String,
    /// A folder on the server, or `s3://BUCKET/PREFIX`.
    pub to: String,
    /// Scheduled backups that are kept.
    pub keep_last: Option<u32>,
    /// Days for which they are kept; the newest is kept in any case.
    pub keep_days: Option<u32>,
    /// None keeps the one that is set.
    pub key: Option<KeyText>,
    /// None keeps what is set, while the target is a bucket.
    pub access: Option<BucketAccess>,
}

/// What is stored. The only place where the secrets are text.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    cron: String,
    to: String,
    keep_last: Option<u32>,
    keep_days: Option<u32>,
    /// In the names of its backups, so that no others are ever deleted.
    label: String,
    key_kind: String,
    key: String,
    endpoint: Option<String>,
    region: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<String>,
    set_at: Timestamp,
    set_by: String,
}

impl Stored {
    fn key(&self) -> KeyText {
        let text = Secret::new(self.key.clone());
        if self.key_kind == "passphrase" { KeyText::Passphrase(text) } else { KeyText::KeyFile(text) }
    }

    fn access(&self) -> BucketAccess {
        BucketAccess {
            endpoint: self.endpoint.clone(),
            region: self.region.clone(),
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone().map(Secret::new),
        }
    }
}

/// The schedule that is set, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Cron pattern, UTC.
    pub cron: String,
    /// Where to.
    pub to: String,
    /// Scheduled backups that are kept.
    pub keep_last: Option<u32>,
    /// Days for which they are kept.
    pub keep_days: Option<u32>,
    /// The names of its backups begin with `reeve-LABEL-`.
    pub label: String,
    /// `passphrase` or `key_file`.
    pub key: &'static str,
    /// How the bucket is reached; without the secret.
    pub access: BucketAccess,
    /// When it was set.
    pub set_at: Timestamp,
    /// By whom.
    pub set_by: String,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The newest backup.
    pub last_success: Option<Success>,
    /// The newest failure, unless a backup was made since.
    pub last_failure: Option<Failure>,
}

/// A backup that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Success {
    /// When it was whole.
    pub at: Timestamp,
    /// Its file.
    pub name: String,
    /// The place.
    pub place: String,
    /// Its length.
    pub bytes: u64,
    /// Why old backups could not be deleted after it.
    pub not_deleted: Option<String>,
}

/// A backup that was not made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub error: String,
}

/// How backups stand.
#[derive(Clone, Debug)]
pub struct Status {
    /// None: the server makes none by itself.
    pub schedule: Option<Schedule>,
    /// The next one.
    pub next_at: Option<Timestamp>,
    /// What came of the last ones.
    pub outcome: Outcome,
    /// One that was due a while ago and is not there.
    pub late_since: Option<Timestamp>,
}

/// How backups stand.
///
/// # Errors
/// As the store.
pub async fn status(app: &App, actor: &Actor) -> Result<Status> {
    authz::require(actor, Permission::ServerRead)?;
    let mut tx = app.store.read_consistent().await?;
    let stored = stored(app, &mut tx).await?.map(|(stored, _)| stored);
    let next_at = ticks::next_at(&mut tx, TICKS).await?.filter(|_| stored.is_some());
    let outcome = outcome(&mut tx).await?;
    let late_since = match &stored {
        Some(stored) => late(&Cron::parse("cron", &stored.cron)?, stored.set_at, &outcome, app.now()),
        None => None,
    };
    Ok(Status { schedule: stored.map(shown), next_at, outcome, late_since })
}

/// When a backup was due that should be there by now.
fn late(cron: &Cron, set_at: Timestamp, outcome: &Outcome, now: Timestamp) -> Option<Timestamp> {
    let since = outcome.last_success.as_ref().map_or(set_at, |last| last.at.max(set_at));
    cron.after(since).filter(|due| now.ms_since(*due) > LATE_MS)
}

fn shown(stored: Stored) -> Schedule {
    let access = BucketAccess { secret_access_key: None, ..stored.access() };
    Schedule {
        key: stored.key().word(),
        access,
        cron: stored.cron,
        to: stored.to,
        keep_last: stored.keep_last,
        keep_days: stored.keep_days,
        label: stored.label,
        set_at: stored.set_at,
        set_by: stored.set_by,
    }
}

/// Sets the schedule, once its place has been tried.
///
/// # Errors
/// Invalid when something does not fit or the place cannot be used; Conflict when somebody else changed it meanwhile.
pub async fn set(app: &App, actor: &Actor, wanted: Wanted) -> Result<Status> {
    authz::require(actor, Permission::ServerWrite)?;
    let site = app.backup_site()?;
    let cron = Cron::parse("cron", &wanted.cron)?;
    check(&wanted)?;
    let before = stored(app, &mut app.store.read().await?).await?;
    let next = merge(app, actor, wanted, before.as_ref().map(|(stored, _)| stored))?;
    let place = site.place(&next.to, &next.access())?;
    let tried = async {
        // One that is given up at once: it needs the right to write and leaves nothing behind.
        drop(place.create(".reeve-tries-to-write").await?);
        place.list().await.map(drop)
    };
    tried.await.map_err(|e| Error::invalid("to", format!("cannot be used: {}", plain(&e))).with_source(e))?;
    let text = serde_json::to_string(&next).map_err(Error::internal)?;
    let sealed = app.seal.seal(&*app.ids, setting_place(SETTING), &text);
    let mut tx = app.begin(actor).await?;
    if setting::get(&mut tx, SETTING).await? != before.map(|(_, sealed)| sealed) {
        return Err(Error::conflict("the schedule was changed by somebody else in this moment; look again"));
    }
    let now = app.now();
    setting::put(&mut tx, SETTING, &sealed, now).await?;
    ticks::set_next(&mut tx, TICKS, cron.after(now).unwrap_or(Timestamp(i64::MAX))).await?;
    let details = json!({
        "cron": next.cron, "to": next.to, "keep_last": next.keep_last, "keep_days": next.keep_days,
        "key": next.key_kind, "access_key_id": next.access_key_id, "endpoint": next.endpoint,
    });
    audit::record(app, &mut tx, actor, "backup.schedule.set", &next.label, details).await?;
    tx.wake(Topic::Schedules);
    tx.commit().await?;
    status(app, actor).await
}

fn check(wanted: &Wanted) -> Result<()> {
    let is_path = wanted.to.starts_with('/');
    if wanted.to.len() > MOST_TEXT || !(is_path || wanted.to.starts_with("s3://")) {
        return Err(Error::invalid("to", "is neither an absolute path on the server nor s3://BUCKET/PREFIX"));
    }
    for (field, number) in [("keep_last", wanted.keep_last), ("keep_days", wanted.keep_days)] {
        if number.is_some_and(|n| n == 0 || n > MOST_KEPT) {
            return Err(Error::invalid(field, format!("is not between 1 and {MOST_KEPT}")));
        }
    }
    if let Some(key) = &wanted.key {
        key.key()?;
    }
    let Some(access) = &wanted.access else { return Ok(()) };
    if is_path {
        return Err(Error::invalid(
            "s3",
            "is of no use for a folder; leave it out, or give s3://BUCKET/PREFIX as `to`",
        ));
    }
    if access.access_key_id.is_some() != access.secret_access_key.is_some() {
        return Err(Error::invalid("s3", "needs access_key_id and secret_access_key, both or neither"));
    }
    let secret = access.secret_access_key.as_ref().map(Secret::expose);
    let texts = [access.endpoint.as_deref(), access.region.as_deref(), access.access_key_id.as_deref(), secret];
    if texts.iter().flatten().any(|text| text.len() > MOST_TEXT || text.is_empty()) {
        return Err(Error::invalid("s3", format!("has a text that is empty or longer than {MOST_TEXT} bytes")));
    }
    Ok(())
}

fn merge(app: &App, actor: &Actor, wanted: Wanted, before: Option<&Stored>) -> Result<Stored> {
    let key = wanted.key.or_else(|| before.map(Stored::key));
    let key = key.ok_or_else(|| {
        Error::invalid("passphrase", "is missing, and so is key_file: a backup is sealed with one of them")
    })?;
    let was_bucket = before.filter(|b| b.to.starts_with("s3://") && wanted.to.starts_with("s3://"));
    let access = wanted.access.or_else(|| was_bucket.map(Stored::access)).unwrap_or_default();
    let (key_kind, text) = match &key {
        KeyText::Passphrase(text) | KeyText::KeyFile(text) => (key.word().to_owned(), text.expose().to_owned()),
    };
    let mut label = [0; 5];
    app.ids.fill(&mut label);
    Ok(Stored {
        cron: wanted.cron,
        to: wanted.to,
        keep_last: wanted.keep_last,
        keep_days: wanted.keep_days,
        label: before.map_or_else(|| hex::encode(label), |before| before.label.clone()),
        key_kind,
        key: text,
        endpoint: access.endpoint,
        region: access.region,
        access_key_id: access.access_key_id,
        secret_access_key: access.secret_access_key.map(|secret| secret.expose().to_owned()),
        set_at: app.now(),
        set_by: actor.principal.label(),
    })
}

/// Ends the schedule. Backups that were made stay.
///
/// # Errors
/// NotFound when there is none.
pub async fn unset(app: &App, actor: &Actor) -> Result<()> {
    authz::require(actor, Permission::ServerWrite)?;
    let mut tx = app.begin(actor).await?;
    if !setting::delete(&mut tx, SETTING).await? {
        return Err(Error::not_found("backup schedule"));
    }
    setting::delete(&mut tx, OUTCOME).await?;
    ticks::forget(&mut tx, TICKS).await?;
    audit::record(app, &mut tx, actor, "backup.schedule.unset", "", json!({})).await?;
    tx.commit().await
}

/// Makes a backup as the schedule would, at once; while one is being made, gives that one.
///
/// # Errors
/// Conflict without a schedule.
pub async fn run_now(app: &App, actor: &Actor) -> Result<View> {
    authz::require(actor, Permission::ServerWrite)?;
    let mut tx = app.begin(actor).await?;
    let (stored, _) = stored(app, &mut tx).await?.ok_or_else(none)?;
    let new = new_job(&mut tx, &stored, app.now(), &actor.principal.label()).await?;
    let id = enqueue(&mut tx, app.now(), &*app.ids, new).await?;
    let job = reeve_jobs::get(&mut tx, &id).await?;
    audit::record(app, &mut tx, actor, "backup.run", id.as_str(), json!({"to": stored.to})).await?;
    tx.commit().await?;
    Ok(job::view(app, job))
}

/// The backups in the schedule's place that the schedule made, by name.
///
/// # Errors
/// Conflict without a schedule; Unavailable when the place cannot be asked.
pub async fn list(app: &App, actor: &Actor) -> Result<(String, Vec<ObjectInfo>)> {
    authz::require(actor, Permission::ServerRead)?;
    let plan = plan(app).await?;
    let place = app.backup_site()?.place(&plan.to, &plan.access)?;
    let all = place.list().await.map_err(|e| Error::unavailable(plain(&e)).with_source(e))?;
    let own = all.into_iter().filter(|file| run::made_at(&plan.label, &file.name).is_some()).collect();
    Ok((place.describe(), own))
}

/// Puts a backup in when it is due. Called by its loop; of several servers one does it.
///
/// # Errors
/// As the store.
pub async fn tick(app: &App) -> Result<()> {
    let now = app.now();
    {
        let mut tx = app.store.read().await?;
        let next = ticks::next_at(&mut tx, TICKS).await?;
        let is_set = setting::get(&mut tx, SETTING).await?.is_some();
        if !is_set || next.is_some_and(|at| at > now) {
            return Ok(());
        }
    }
    let mut tx = app.store.begin().await?;
    let Some((stored, _)) = stored(app, &mut tx).await? else { return Ok(()) };
    let following = Cron::parse("cron", &stored.cron)?.after(now).unwrap_or(Timestamp(i64::MAX));
    match ticks::next_at(&mut tx, TICKS).await? {
        None => ticks::ensure(&mut tx, TICKS, following).await?,
        Some(due) if due > now => return Ok(()),
        Some(due) => {
            if !ticks::advance(&mut tx, TICKS, due, following, now).await? {
                return Ok(());
            }
            let new = new_job(&mut tx, &stored, now, "schedule").await?;
            enqueue(&mut tx, now, &*app.ids, new).await?;
        }
    }
    tx.commit().await
}

async fn new_job(tx: &mut Tx, stored: &Stored, now: Timestamp, requested_by: &str) -> Result<NewJob> {
    // Jobs exclude each other, so the last one that was made is the newest there is.
    let last = outcome(tx).await?.last_success;
    let before = last.and_then(|last| run::made_at(&stored.label, &last.name));
    let new = NewBackup { name: run::name_of(&stored.label, run::begun_at(now, before)) };
    Ok(NewJob::new::<App, MakeBackup>(&new, requested_by)?.unique(UNIQUE).about(stored.to.clone()))
}

fn none() -> Error {
    Error::conflict("there is no backup schedule; set one first")
}

/// What a backup is made by.
pub(super) struct Plan {
    pub to: String,
    pub access: BucketAccess,
    pub label: String,
    pub key: BackupKey,
    pub keep_last: Option<u32>,
    pub keep_days: Option<u32>,
}

pub(super) async fn plan(app: &App) -> Result<Plan> {
    let (stored, _) = stored(app, &mut app.store.read().await?).await?.ok_or_else(none)?;
    Ok(Plan {
        access: stored.access(),
        key: stored.key().key()?,
        to: stored.to,
        label: stored.label,
        keep_last: stored.keep_last,
        keep_days: stored.keep_days,
    })
}

/// The schedule, and its sealed text.
async fn stored(app: &App, tx: &mut Tx) -> Result<Option<(Stored, String)>> {
    let Some(sealed) = setting::get(tx, SETTING).await? else { return Ok(None) };
    let text = app.seal.open(setting_place(SETTING), &sealed)?;
    let stored = serde_json::from_str(text.expose()).map_err(Error::internal)?;
    Ok(Some((stored, sealed)))
}

async fn outcome(tx: &mut Tx) -> Result<Outcome> {
    let text = setting::get(tx, OUTCOME).await?;
    text.map_or_else(|| Ok(Outcome::default()), |text| serde_json::from_str(&text).map_err(Error::internal))
}

/// Notes what came of a backup.
pub(super) async fn note(tx: &mut Tx, now: Timestamp, change: impl FnOnce(&mut Outcome)) -> Result<()> {
    let mut outcome = outcome(tx).await?;
    change(&mut outcome);
    setting::put(tx, OUTCOME, &serde_json::to_string(&outcome).map_err(Error::internal)?, now).await
}

/// An error in one line: the problems of fields stand for the message.
pub(super) fn plain(error: &Error) -> String {
    let problems: Vec<String> =
        error.details.iter().map(|(field, all)| format!("{field} {}", all.join(", "))).collect();
    if problems.is_empty() { error.message.clone() } else { problems.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_late_an_hour_after_it_was_due() {
        let at = |text| Timestamp::parse(text).unwrap();
        let daily = Cron::parse("cron", "0 3 * * *").unwrap();
        let made =
            |text| Success { at: at(text), name: String::new(), place: String::new(), bytes: 1, not_deleted: None };
        for (set_at, last, now, late_since) in [
            ("2026-01-31T08:00:00Z", None, "2026-02-01T03:30:00Z", None),
            ("2026-01-31T08:00:00Z", None, "2026-02-01T04:01:00Z", Some("2026-02-01T03:00:00Z")),
            ("2026-01-31T08:00:00Z", Some("2026-02-01T03:00:09Z"), "2026-02-02T02:00:00Z", None),
            (
                "2026-01-31T08:00:00Z",
                Some("2026-02-01T03:00:09Z"),
                "2026-02-05T02:00:00Z",
                Some("2026-02-02T03:00:00Z"),
            ),
            // One by hand counts as well, and a schedule that was set again begins anew.
            ("2026-02-04T08:00:00Z", Some("2026-02-01T03:00:09Z"), "2026-02-05T02:00:00Z", None),
        ] {
            let outcome = Outcome { last_success: last.map(made), last_failure: None };
            assert_eq!(late(&daily, at(set_at), &outcome, at(now)), late_since.map(at), "{set_at} {last:?} {now}");
        }
    }
}
