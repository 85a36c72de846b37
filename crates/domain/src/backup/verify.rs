//! Reading a backup to its end without writing anything.

use reeve_types::Result;
use tokio::io::AsyncRead;

use super::header::Header;
use super::key::BackupKey;
use super::record::{File, FileSum, Manifest, Record, TableHash, read, unfit};
use super::stream::Reader;
use reeve_store::Cell;
use reeve_store::snapshot::Column;

/// What can be said of a backup without its key. Damage after the header is not seen.
///
/// # Errors
/// Conflict when it is no backup, is damaged or was made by a later version.
pub async fn header_of<R: AsyncRead + Unpin>(mut input: R) -> Result<Header> {
    Header::read(&mut input).await.map(|(header, _, _)| header)
}

/// What a whole, unchanged backup holds.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The readable part.
    pub header: Header,
    /// What it holds.
    pub manifest: Manifest,
}

/// Reads everything: every chunk's seal, every table's count and hash, every file's hash, and the end.
///
/// # Errors
/// Conflict with a `reason` that tells a cut-off file, a changed one, a wrong key and a later version apart.
pub async fn verify<R: AsyncRead + Unpin + Send>(input: R, key: &BackupKey) -> Result<Verified> {
    let mut contents = Contents::begin(input, key).await?;
    while contents.next().await?.is_some() {}
    Ok(Verified { header: contents.header.clone(), manifest: contents.manifest()? })
}

/// What a reader of a backup is given.
pub(super) enum Item {
    File(File),
    Table { name: String, columns: Vec<Column> },
    Rows(Vec<Vec<Cell>>),
    TableEnd { rows: u64 },
}

/// A backup that is read from the start to the end, and checked on the way.
pub(super) struct Contents<R> {
    reader: Reader<R>,
    pub header: Header,
    table: Option<(String, usize, TableHash)>,
    seen: Manifest,
    manifest: Option<Manifest>,
}

impl<R: AsyncRead + Unpin + Send> Contents<R> {
    pub async fn begin(input: R, key: &BackupKey) -> Result<Self> {
        let (reader, header) = Reader::begin(input, key).await?;
        let seen = Manifest { tables: Vec::new(), sequences: Vec::new(), files: Vec::new() };
        Ok(Self { reader, header, table: None, seen, manifest: None })
    }

    /// The next item; None after the manifest, once everything fits it.
    pub async fn next(&mut self) -> Result<Option<Item>> {
        let width = self.table.as_ref().map_or(0, |(_, width, _)| *width);
        let Some(record) = read(&mut self.reader, width).await? else {
            self.manifest()?;
            return Ok(None);
        };
        if self.manifest.is_some() {
            return Err(unfit("something follows its manifest"));
        }
        Ok(Some(match (record, &mut self.table) {
            (Record::File(file), None) => {
                self.seen.files.push(FileSum::of(&file));
                Item::File(file)
            }
            (Record::Table { name, columns }, None) => {
                self.table = Some((name.clone(), columns.len(), TableHash::default()));
                Item::Table { name, columns }
            }
            (Record::Rows(rows), Some((_, _, hash))) => {
                rows.iter().for_each(|row| hash.add(row));
                Item::Rows(rows)
            }
            (Record::TableEnd(promised), Some(_)) => {
                let sum = self.table.take().map(|(name, _, hash)| hash.end(&name));
                if sum.as_ref() != Some(&promised) {
                    return Err(unfit(&format!("the rows of {} are not those it names", promised.name)));
                }
                let rows = promised.rows;
                self.seen.tables.push(promised);
                Item::TableEnd { rows }
            }
            (Record::Manifest(manifest), None) => {
                if manifest.tables != self.seen.tables || manifest.files != self.seen.files {
                    return Err(unfit("its manifest names other tables or files"));
                }
                self.manifest = Some(manifest);
                return Box::pin(self.next()).await;
            }
            (_, _) => return Err(unfit("its records are out of order")),
        }))
    }

    /// The manifest, once it was read.
    pub fn manifest(&self) -> Result<Manifest> {
        self.manifest.clone().ok_or_else(|| unfit("it has no manifest"))
    }
}
