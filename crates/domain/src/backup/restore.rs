//! Filling an empty database from a backup. All or nothing: one transaction.

use reeve_store::snapshot::{self, Column, Load};
use reeve_store::{Store, Tx, dialect, migrate, server};
use reeve_types::{Error, Result, Timestamp};
use tokio::io::AsyncRead;

use super::header::Header;
use super::key::BackupKey;
use super::record::{File, Manifest, unfit};
use super::verify::{Contents, Item};
use super::{IN_USE, NOT_EMPTY, newer, refusal};

/// What was restored.
#[derive(Clone)]
pub struct Restored {
    /// The readable part.
    pub header: Header,
    /// What it held.
    pub manifest: Manifest,
    /// The files that came along; the caller puts them in place before it commits.
    pub files: Vec<File>,
}

/// Fills `store` from a backup, with the schema that the backup has; `place` is given the files once the whole backup
/// has been read and checked, before the commit: when it fails nothing is changed. Bring the schema up to date after.
///
/// # Errors
/// Conflict when the backup is damaged, does not open or is of a newer schema, or when the database is not empty (with
/// `replace` its tables are dropped).
pub async fn restore<R: AsyncRead + Unpin + Send>(
    input: R,
    key: &BackupKey,
    store: &Store,
    replace: bool,
    place: impl FnOnce(&[File]) -> Result<()>,
) -> Result<Restored> {
    let mut contents = Contents::begin(input, key).await?;
    let header = contents.header.clone();
    if header.schema > migrate::newest() {
        return Err(newer(format!(
            "the backup was made by reeve {} with schema {}, this version knows schema {}: restore it with that version \
             or a later one",
            header.reeve_version,
            header.schema,
            migrate::newest()
        )));
    }
    let mut tx = store.begin().await?;
    if replace {
        // Of a SQLite file there is one server, which the lock of its data directory keeps out.
        if store.is_shared() {
            unused(&mut tx).await?;
        }
        snapshot::drop_all(&mut tx).await?;
    } else if !snapshot::is_empty(&mut tx).await? {
        let problem = "the database to restore to is not empty: nothing was changed; name an empty one, or replace what \
                       is there with --force";
        return Err(Error::conflict(problem).with_reason(NOT_EMPTY));
    }
    migrate::create(&mut tx, header.schema).await?;
    let load = Load::begin(&mut tx).await?;
    let mut files = Vec::new();
    let mut table: Option<(String, Vec<Column>, u64)> = None;
    while let Some(item) = contents.next().await? {
        match (item, &mut table) {
            (Item::File(file), _) => files.push(file),
            (Item::Table { name, columns }, _) => {
                load.table(&name, &columns)?;
                table = Some((name, columns, 0));
            }
            (Item::Rows(mut rows), Some((name, columns, inserted))) => {
                rows.iter_mut().for_each(|row| snapshot::as_stored(&tx, row));
                *inserted += load.insert(&mut tx, load.table(name, columns)?, &rows).await?;
            }
            (Item::TableEnd { rows }, Some((name, _, inserted))) => {
                if *inserted != rows {
                    return Err(unfit(&format!("{rows} rows of {name} became {inserted}")));
                }
                table = None;
            }
            (Item::Rows(_) | Item::TableEnd { .. }, None) => return Err(unfit("rows stand outside of a table")),
        }
    }
    let manifest = contents.manifest()?;
    load.end(&mut tx, &manifest.sequences).await?;
    place(&files)?;
    tx.commit().await?;
    Ok(Restored { header, manifest, files })
}

/// Refuses to pull a database away from under servers that work on it.
async fn unused(tx: &mut Tx) -> Result<()> {
    let now = dialect::database_now(tx, Timestamp(0)).await?;
    let alive = server::alive(tx, now).await?;
    if alive.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = alive.iter().map(|id| format!("admin-{id}")).collect();
    Err(refusal(
        IN_USE,
        format!(
            "the database is in use by {}: nothing was changed; stop these servers first, or wait a few seconds for the \
             lease of one that was killed to pass",
            names.join(", ")
        ),
    ))
}
