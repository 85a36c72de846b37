//! The job that makes a scheduled backup, and then deletes those that are not to be kept any longer.

use std::sync::Arc;
use std::time::Duration;

use reeve_jobs::{Body, Failure, Running};
use reeve_ports::Objects;
use reeve_store::event as feed;
use reeve_types::event::NewEvent;
use reeve_types::{Actor, Error, Result, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::create::{Made, Source};
use super::schedule::{self, Plan, plain};
use super::{File, create};
use crate::{App, audit, event};

/// The end of a backup's name.
const SUFFIX: &str = ".rvb";

/// The backup to make. A second run of the job replaces what the first one left.
#[derive(Serialize, Deserialize)]
pub struct NewBackup {
    /// Its file.
    pub name: String,
}

/// Makes a backup.
pub struct MakeBackup;

impl Body<App> for MakeBackup {
    const KIND: &'static str = "backup.create";
    const TIMEOUT: Duration = Duration::from_secs(12 * 3600);
    const MAX_ATTEMPTS: i64 = 3;
    type Payload = NewBackup;

    async fn run(app: &Arc<App>, job: &Running, new: NewBackup) -> Result<(), Failure> {
        let made = tokio::select! {
            made = make(app, job, &new.name) => made,
            () = job.cancelled() => Err(Error::conflict("cancelled; nothing was left in the backup's place")),
        };
        let error = match made {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let why = plain(&error);
        let failure = Failure::from(error);
        let last = matches!(failure, Failure::Fail(_)) || job.attempt >= Self::MAX_ATTEMPTS;
        if let Err(error) = failed(app, job, &new.name, &why, last).await {
            tracing::error!(%error, "that a backup failed could not be noted");
        }
        Err(failure)
    }
}

async fn make(app: &Arc<App>, job: &Running, name: &str) -> Result<()> {
    let plan = schedule::plan(app).await?;
    let site = app.backup_site()?;
    let place = site.place(&plan.to, &plan.access)?;
    job.output.line(&format!("writing {name} to {}", place.describe()));
    let files = site.files()?.into_iter().map(|(name, content)| File { name, content }).collect();
    let source = Source {
        store: &app.store,
        files,
        version: site.version(),
        server_id: app.server_id.as_str(),
        clock: &*app.clock,
        ids: &*app.ids,
    };
    let out = place.create(name).await?;
    let made = create(source, &plan.key, out).await?;
    job.output.line(&format!(
        "{} bytes, {} rows of {} tables",
        made.bytes,
        made.manifest.rows(),
        made.manifest.tables.len()
    ));
    // A backup that is there is a success, whatever becomes of the old ones.
    let not_deleted = match delete_old(app, &*place, &plan, job).await {
        Ok(()) => None,
        Err(error) => {
            let why = plain(&error);
            tracing::warn!(place = place.describe(), why, "old backups could not be deleted");
            job.output.line(&format!("old backups could not be deleted: {why}"));
            Some(why)
        }
    };
    succeeded(app, job, name, &place.describe(), &made, not_deleted).await
}

async fn succeeded(
    app: &App,
    job: &Running,
    name: &str,
    place: &str,
    made: &Made,
    not_deleted: Option<String>,
) -> Result<()> {
    let now = app.now();
    let data = json!({
        "job_id": job.id, "name": name, "place": place, "bytes": made.bytes, "created_at": made.created_at,
        "schema": made.schema, "completed_at": now.rfc3339_secs(),
    });
    let mut tx = app.store.begin().await?;
    let success =
        schedule::Success { at: now, name: name.to_owned(), place: place.to_owned(), bytes: made.bytes, not_deleted };
    schedule::note(&mut tx, now, |outcome| {
        (outcome.last_success, outcome.last_failure) = (Some(success), None);
    })
    .await?;
    let done = NewEvent { kind: event::BACKUP_COMPLETED, subject: job.id.0.clone(), data };
    feed::append(&mut tx, &*app.ids, now, &[done]).await?;
    audit::record(
        app,
        &mut tx,
        &Actor::system(),
        "backup.create",
        job.id.as_str(),
        json!({"name": name, "place": place}),
    )
    .await?;
    tx.commit().await
}

async fn failed(app: &App, job: &Running, name: &str, why: &str, last: bool) -> Result<()> {
    let now = app.now();
    let mut tx = app.store.begin().await?;
    let failure = schedule::Failure { at: now, error: why.to_owned() };
    schedule::note(&mut tx, now, |outcome| outcome.last_failure = Some(failure)).await?;
    if last {
        let data = json!({"job_id": job.id, "name": name, "error": why, "failed_at": now.rfc3339_secs()});
        let told = NewEvent { kind: event::BACKUP_FAILED, subject: job.id.0.clone(), data };
        feed::append(&mut tx, &*app.ids, now, &[told]).await?;
    }
    tx.commit().await
}

async fn delete_old(app: &App, place: &dyn Objects, plan: &Plan, job: &Running) -> Result<()> {
    if plan.keep_last.is_none() && plan.keep_days.is_none() {
        return Ok(());
    }
    let names: Vec<String> = place.list().await?.into_iter().map(|file| file.name).collect();
    for name in surplus(&names, &plan.label, (plan.keep_last, plan.keep_days), app.now()) {
        place.delete(name).await?;
        job.output.line(&format!("deleted {name}"));
    }
    Ok(())
}

/// Which of these files are backups of the schedule that are not to be kept. Never the newest.
fn surplus<'a>(
    names: &'a [String],
    label: &str,
    (keep_last, keep_days): (Option<u32>, Option<u32>),
    now: Timestamp,
) -> Vec<&'a str> {
    let mut own: Vec<(Timestamp, &str)> =
        names.iter().filter_map(|name| Some((made_at(label, name)?, name.as_str()))).collect();
    own.sort_unstable();
    own.reverse();
    let too_many = |index: usize| keep_last.is_some_and(|most| index >= most as usize);
    let too_old = |at: Timestamp| keep_days.is_some_and(|days| now.ms_since(at) > i64::from(days) * 86_400_000);
    let old = own.iter().enumerate().skip(1).filter(|(index, (at, _))| too_many(*index) || too_old(*at));
    old.map(|(_, (_, name))| *name).collect()
}

/// When a backup says that it was begun: a second after the one before it at the least, for names tell no less apart.
pub(super) fn begun_at(now: Timestamp, before: Option<Timestamp>) -> Timestamp {
    before.map_or(now, |before| now.max(before.plus_ms(1_000)))
}

/// The name of a backup of the schedule that is begun at `at`.
pub(super) fn name_of(label: &str, at: Timestamp) -> String {
    format!("reeve-{label}-{}{SUFFIX}", at.rfc3339_secs().replace(['-', ':'], ""))
}

/// When the backup with this name was begun; None for what the schedule did not make.
pub(super) fn made_at(label: &str, name: &str) -> Option<Timestamp> {
    let stamp = name.strip_prefix("reeve-")?.strip_prefix(label)?.strip_prefix('-')?.strip_suffix(SUFFIX)?;
    if stamp.len() != 16 || !stamp.is_ascii() {
        return None;
    }
    let (date, time) = stamp.split_once('T')?;
    let text = format!(
        "{}-{}-{}T{}:{}:{}",
        date.get(..4)?,
        date.get(4..6)?,
        date.get(6..)?,
        time.get(..2)?,
        time.get(2..4)?,
        time.get(4..)?
    );
    Timestamp::parse(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_when_and_whose() {
        let at = Timestamp::parse("2026-01-31T08:00:05Z").unwrap();
        assert_eq!(name_of("ab12", at), "reeve-ab12-20260131T080005Z.rvb");
        assert_eq!(made_at("ab12", "reeve-ab12-20260131T080005Z.rvb"), Some(at));
        for other in [
            "reeve-ab13-20260131T080005Z.rvb",
            "reeve-ab12-20260131T080005Z.rvb.partial",
            "reeve-ab12-20261331T080005Z.rvb",
            "reeve-ab12-before-the-move.rvb",
            "reeve-ab12-ü260131T080005Z.rvb",
            "notes.txt",
        ] {
            assert_eq!(made_at("ab12", other), None, "{other}");
        }
    }

    #[test]
    fn no_two_have_one_name() {
        let at = |text| Timestamp::parse(text).unwrap();
        let now = at("2026-01-31T08:00:05.900Z");
        for (before, begun) in [
            (None, "20260131T080005Z"),
            (Some("2026-01-31T08:00:04Z"), "20260131T080005Z"),
            (Some("2026-01-31T08:00:05Z"), "20260131T080006Z"),
            (Some("2026-01-31T08:00:06Z"), "20260131T080007Z"),
        ] {
            let name = name_of("ab", begun_at(now, before.map(at)));
            assert_eq!(name, format!("reeve-ab-{begun}.rvb"), "{before:?}");
        }
    }

    #[test]
    fn the_newest_are_kept_and_nothing_else_is_touched() {
        let day = |day: u32| format!("reeve-ab-202601{day:02}T030000Z.rvb");
        let mut names: Vec<String> = (1..=9).rev().map(day).collect();
        names.extend(["reeve-cd-20250101T030000Z.rvb", "reeve-old.rvb", "x"].map(str::to_owned));
        let now = Timestamp::parse("2026-01-09T04:00:00Z").unwrap();
        let gone = |keep_last, keep_days| surplus(&names, "ab", (keep_last, keep_days), now);
        assert_eq!(gone(Some(7), None), [day(2), day(1)]);
        assert_eq!(gone(None, Some(5)), [day(4), day(3), day(2), day(1)]);
        assert_eq!(gone(Some(2), Some(5)).len(), 7);
        let later = now.plus_ms(400 * 86_400_000);
        assert_eq!(surplus(&names, "ab", (None, Some(1)), later).len(), 8, "the newest stays however old it is");
    }
}
