//! Writing a backup, beside whatever the server does meanwhile.

use reeve_store::snapshot::{self, Pages};
use reeve_store::{Store, migrate};
use reeve_types::id::Ids;
use reeve_types::{Clock, Error, Result};
use tokio::io::AsyncWrite;

use super::header::Header;
use super::key::{BackupKey, KeyHint};
use super::record::{File, FileSum, Manifest, Record, TableHash, write};
use super::stream::Writer;

/// What goes into a backup beside the database, and who makes it.
pub struct Source<'a> {
    /// The database.
    pub store: &'a Store,
    /// Paths inside the data directory with their content.
    pub files: Vec<File>,
    /// Version of the program.
    pub version: &'a str,
    /// This server.
    pub server_id: &'a str,
    /// Now.
    pub clock: &'a dyn Clock,
    /// Randomness.
    pub ids: &'a dyn Ids,
}

/// A backup that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// Length of the file.
    pub bytes: u64,
    /// What can be read without the key. Its `key` is the hint as written.
    pub created_at: String,
    /// Schema of the database.
    pub schema: i64,
    /// What it holds.
    pub manifest: Manifest,
}

/// Writes a backup of one consistent state to `out` and closes it. Needs memory for a page of rows.
///
/// # Errors
/// As the store; Unavailable when `out` refuses. What was written until then is no backup and says so when read.
pub async fn create<W: AsyncWrite + Unpin + Send>(source: Source<'_>, key: &BackupKey, out: W) -> Result<Made> {
    let mut tx = source.store.snapshot().await?;
    let schema = migrate::number(&mut tx).await?;
    if schema == 0 {
        return Err(Error::conflict("the database is empty: there is nothing to back up"));
    }
    let created_at = source.clock.now().rfc3339_secs();
    let header = Header {
        created_at: created_at.clone(),
        reeve_version: source.version.to_owned(),
        schema,
        database: source.store.backend_name().to_owned(),
        server_id: source.server_id.to_owned(),
        key: KeyHint::KeyFile { salt: String::new(), id: String::new() },
    };
    let mut out = Writer::begin(out, header, key, source.ids).await?;
    let mut manifest =
        Manifest { tables: Vec::new(), sequences: snapshot::sequences(&mut tx).await?, files: Vec::new() };
    for file in source.files {
        manifest.files.push(FileSum::of(&file));
        write(&mut out, &Record::File(file)).await?;
    }
    for table in snapshot::tables(&mut tx).await? {
        let head = Record::Table { name: table.name.clone(), columns: table.columns.clone() };
        write(&mut out, &head).await?;
        let (mut pages, mut hash) = (Pages::new(&table), TableHash::default());
        loop {
            let rows = pages.next(&mut tx).await?;
            if rows.is_empty() {
                break;
            }
            rows.iter().for_each(|row| hash.add(row));
            write(&mut out, &Record::Rows(rows)).await?;
            // Statements of SQLite run where they stand: let requests have their turn.
            tokio::task::yield_now().await;
        }
        let sum = hash.end(&table.name);
        write(&mut out, &Record::TableEnd(sum.clone())).await?;
        manifest.tables.push(sum);
    }
    drop(tx);
    write(&mut out, &Record::Manifest(manifest.clone())).await?;
    let bytes = out.end().await?;
    Ok(Made { bytes, created_at, schema, manifest })
}
