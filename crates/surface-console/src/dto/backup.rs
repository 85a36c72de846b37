//! Backups and their schedule.

use reeve_domain::backup::schedule::{self, BucketAccess, KeyText, ObjectInfo, Status, Wanted};
use reeve_types::{Error, Result, Secret};
use serde::{Deserialize, Serialize};

use super::{shown, shown_if};

/// POST /api/backups/download
#[derive(Debug, Deserialize)]
pub struct Key {
    passphrase: Option<Secret>,
    key_file: Option<Secret>,
}

impl Key {
    fn given(self) -> Result<Option<KeyText>> {
        match (self.passphrase, self.key_file) {
            (Some(_), Some(_)) => Err(Error::invalid("key_file", "and passphrase exclude each other")),
            (Some(text), None) => Ok(Some(KeyText::Passphrase(text))),
            (None, Some(text)) => Ok(Some(KeyText::KeyFile(text))),
            (None, None) => Ok(None),
        }
    }
}

impl TryFrom<Key> for KeyText {
    type Error = Error;
    fn try_from(key: Key) -> Result<Self> {
        key.given()?.ok_or_else(|| Error::invalid("passphrase", "is missing, and so is key_file"))
    }
}

/// PUT /api/backups/schedule
#[derive(Debug, Deserialize)]
pub struct Set {
    cron: String,
    to: String,
    keep_last: Option<u32>,
    keep_days: Option<u32>,
    #[serde(flatten)]
    key: Key,
    s3: Option<Bucket>,
}

#[derive(Debug, Deserialize)]
struct Bucket {
    endpoint: Option<String>,
    region: Option<String>,
    access_key_id: Option<String>,
    secret_access_key: Option<Secret>,
}

impl TryFrom<Set> for Wanted {
    type Error = Error;
    fn try_from(s: Set) -> Result<Self> {
        let access = |b: Bucket| BucketAccess {
            endpoint: b.endpoint,
            region: b.region,
            access_key_id: b.access_key_id,
            secret_access_key: b.secret_access_key,
        };
        Ok(Self {
            cron: s.cron,
            to: s.to,
            keep_last: s.keep_last,
            keep_days: s.keep_days,
            key: s.key.given()?,
            access: s.s3.map(access),
        })
    }
}

/// The schedule and what came of it.
#[derive(Debug, Serialize)]
pub struct View {
    schedule: Option<Schedule>,
    next_at: Option<String>,
    last_success: Option<Success>,
    last_failure: Option<Failure>,
    late_since: Option<String>,
}

#[derive(Debug, Serialize)]
struct Schedule {
    cron: String,
    to: String,
    keep_last: Option<u32>,
    keep_days: Option<u32>,
    label: String,
    key: &'static str,
    s3: Option<ShownBucket>,
    set_at: String,
    set_by: String,
}

#[derive(Debug, Serialize)]
struct ShownBucket {
    endpoint: Option<String>,
    region: Option<String>,
    access_key_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct Success {
    at: String,
    name: String,
    place: String,
    bytes: u64,
    not_deleted: Option<String>,
}

#[derive(Debug, Serialize)]
struct Failure {
    at: String,
    error: String,
}

impl From<Status> for View {
    fn from(status: Status) -> Self {
        let success = |s: schedule::Success| Success {
            at: shown(s.at),
            name: s.name,
            place: s.place,
            bytes: s.bytes,
            not_deleted: s.not_deleted,
        };
        Self {
            schedule: status.schedule.map(Schedule::from),
            next_at: shown_if(status.next_at),
            last_success: status.outcome.last_success.map(success),
            last_failure: status.outcome.last_failure.map(|f| Failure { at: shown(f.at), error: f.error }),
            late_since: shown_if(status.late_since),
        }
    }
}

impl From<schedule::Schedule> for Schedule {
    fn from(s: schedule::Schedule) -> Self {
        let BucketAccess { endpoint, region, access_key_id, .. } = s.access;
        Self {
            s3: s.to.starts_with("s3://").then_some(ShownBucket { endpoint, region, access_key_id }),
            cron: s.cron,
            to: s.to,
            keep_last: s.keep_last,
            keep_days: s.keep_days,
            label: s.label,
            key: s.key,
            set_at: shown(s.set_at),
            set_by: s.set_by,
        }
    }
}

/// The backups in a place.
#[derive(Debug, Serialize)]
pub struct Listing {
    place: String,
    backups: Vec<Backup>,
}

#[derive(Debug, Serialize)]
struct Backup {
    name: String,
    bytes: u64,
    modified_at: String,
}

impl From<(String, Vec<ObjectInfo>)> for Listing {
    fn from((place, found): (String, Vec<ObjectInfo>)) -> Self {
        let backup = |o: ObjectInfo| Backup { name: o.name, bytes: o.bytes, modified_at: shown(o.modified_at) };
        Self { place, backups: found.into_iter().map(backup).collect() }
    }
}
