//! Backups: one sealed file with the database in a form that either database takes, and with what a server needs to come
//! up elsewhere as the same one: its sealing keys, its id and the identity that agents trust.
//!
//! The file's form is described in `docs/backup-format.md`. Must not know where backups are kept.

pub mod create;
pub mod download;
pub mod header;
pub mod key;
mod record;
pub mod restore;
pub mod run;
pub mod schedule;
mod stream;
pub mod verify;

pub use create::create;
pub use header::{FORMAT, Header};
pub use key::{BackupKey, KeyHint};
pub use record::{File, FileSum, Manifest, TableSum};
pub use restore::restore;
pub use verify::{header_of, verify};

use reeve_types::{Error, ErrorKind};

/// `reason` of an error: the file is no backup.
pub const NOT_A_BACKUP: &str = "backup_not_a_backup";
/// `reason` of an error: bytes at the end are missing.
pub const TRUNCATED: &str = "backup_truncated";
/// `reason` of an error: bytes were changed.
pub const CHANGED: &str = "backup_changed";
/// `reason` of an error: another key made it.
pub const WRONG_KEY: &str = "backup_wrong_key";
/// `reason` of an error: a later version made it.
pub const NEWER: &str = "backup_newer";
/// `reason` of an error: servers work on the database that is to be replaced.
pub const IN_USE: &str = "backup_in_use";
/// `reason` of an error: the place to restore to is not empty.
pub const NOT_EMPTY: &str = "backup_not_empty";

fn refusal(reason: &'static str, message: String) -> Error {
    Error::conflict(message).with_reason(reason)
}

fn not_a_backup() -> Error {
    refusal(NOT_A_BACKUP, "this is not a backup made by reeve".to_owned())
}

fn truncated(message: String) -> Error {
    refusal(TRUNCATED, message)
}

fn changed(message: String) -> Error {
    refusal(CHANGED, message)
}

fn wrong_key(message: String) -> Error {
    refusal(WRONG_KEY, message)
}

fn newer(message: String) -> Error {
    refusal(NEWER, message)
}

fn unwritable(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the backup cannot be written: {error}")).with_source(error)
}

fn unreadable(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("the backup cannot be read: {error}")).with_source(error)
}
