//! What a backup says, record by record: files, tables with their rows, and at the end the manifest.

use reeve_store::Cell;
use reeve_store::snapshot::{Column, Kind};
use reeve_types::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncWrite};

use super::changed;
use super::stream::{Reader, Writer};

/// Longest record, in bytes. A row is far shorter: requests and outputs are bounded.
const MOST_RECORD: u32 = 256 << 20;

/// A file that came along.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Path inside the data directory.
    pub name: String,
    /// Content.
    pub content: Vec<u8>,
}

/// A table as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSum {
    /// Name.
    pub name: String,
    /// Rows.
    pub rows: u64,
    /// The sum of the rows' SHA-256 modulo 2^256, in hex: the same in whatever order the rows are read.
    pub hash: String,
}

/// A file as the manifest names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSum {
    /// Path inside the data directory.
    pub name: String,
    /// Length.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub hash: String,
}

impl FileSum {
    pub(super) fn of(file: &File) -> Self {
        let hash = hex::encode(Sha256::digest(&file.content));
        Self { name: file.name.clone(), bytes: file.content.len() as u64, hash }
    }
}

/// The last record: what a whole backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Every table, by name.
    pub tables: Vec<TableSum>,
    /// How far numbers were given out, by table.
    pub sequences: Vec<(String, i64)>,
    /// Every file.
    pub files: Vec<FileSum>,
}

impl Manifest {
    /// Rows of all tables.
    pub fn rows(&self) -> u64 {
        self.tables.iter().map(|t| t.rows).sum()
    }
}

/// The running sum over a table's rows.
#[derive(Default)]
pub(super) struct TableHash {
    sum: [u8; 32],
    rows: u64,
}

impl TableHash {
    pub fn add(&mut self, row: &[Cell]) {
        let mut bytes = Vec::new();
        encode_row(row, &mut bytes);
        let digest = Sha256::digest(&bytes);
        let mut carry = 0_u16;
        for i in (0..32).rev() {
            let digit = u16::from(self.sum[i]) + u16::from(digest[i]) + carry;
            self.sum[i] = (digit & 0xff) as u8;
            carry = digit >> 8;
        }
        self.rows += 1;
    }

    pub fn end(self, name: &str) -> TableSum {
        TableSum { name: name.to_owned(), rows: self.rows, hash: hex::encode(self.sum) }
    }
}

/// One record.
pub(super) enum Record {
    File(File),
    Table { name: String, columns: Vec<Column> },
    Rows(Vec<Vec<Cell>>),
    TableEnd(TableSum),
    Manifest(Manifest),
}

#[derive(Serialize, Deserialize)]
struct TableHead {
    name: String,
    /// Name and `int` or `text`.
    columns: Vec<(String, String)>,
}

const FILE: u8 = b'F';
const TABLE: u8 = b'T';
const ROWS: u8 = b'R';
const TABLE_END: u8 = b'E';
const MANIFEST: u8 = b'M';

pub(super) async fn write<W: AsyncWrite + Unpin + Send>(out: &mut Writer<W>, record: &Record) -> Result<()> {
    let (kind, payload) = match record {
        Record::File(file) => {
            let mut payload = (file.name.len() as u64).to_be_bytes().to_vec();
            payload.extend(file.name.as_bytes());
            payload.extend(&file.content);
            (FILE, payload)
        }
        Record::Table { name, columns } => {
            let columns = columns.iter().map(|c| (c.name.clone(), kind_word(c.kind).to_owned())).collect();
            (TABLE, json(&TableHead { name: name.clone(), columns })?)
        }
        Record::Rows(rows) => {
            let mut payload = Vec::new();
            rows.iter().for_each(|row| encode_row(row, &mut payload));
            (ROWS, payload)
        }
        Record::TableEnd(sum) => (TABLE_END, json(sum)?),
        Record::Manifest(manifest) => (MANIFEST, json(manifest)?),
    };
    let length = u32::try_from(payload.len()).ok().filter(|length| *length <= MOST_RECORD);
    let length = length.ok_or_else(|| Error::internal("a record of a backup is too long"))?;
    out.put(&[kind]).await?;
    out.put(&length.to_be_bytes()).await?;
    out.put(&payload).await
}

/// The next record; None at the end of the backup. `width` is the number of columns of the table at hand.
pub(super) async fn read<R: AsyncRead + Unpin + Send>(input: &mut Reader<R>, width: usize) -> Result<Option<Record>> {
    let mut kind = [0_u8; 1];
    if !input.fill(&mut kind).await? {
        return Ok(None);
    }
    let mut length = [0_u8; 4];
    whole(input.fill(&mut length).await?)?;
    let length = u32::from_be_bytes(length);
    if length > MOST_RECORD {
        return Err(unfit("a record is too long"));
    }
    let mut payload = vec![0_u8; length as usize];
    whole(length == 0 || input.fill(&mut payload).await?)?;
    Ok(Some(match kind[0] {
        FILE => {
            let file = payload.split_first_chunk::<8>().and_then(|(length, rest)| {
                let (name, content) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
                Some(File { name: String::from_utf8(name.to_vec()).ok()?, content: content.to_vec() })
            });
            Record::File(file.ok_or_else(|| unfit("a file's record is broken"))?)
        }
        TABLE => {
            let head: TableHead = parse(&payload)?;
            let columns: Option<Vec<Column>> =
                head.columns.into_iter().map(|(name, word)| Some(Column { name, kind: kind_of(&word)? })).collect();
            Record::Table { name: head.name, columns: columns.ok_or_else(|| unfit("a column is of an unknown kind"))? }
        }
        ROWS => Record::Rows(decode_rows(&payload, width).ok_or_else(|| unfit("rows are broken"))?),
        TABLE_END => Record::TableEnd(parse(&payload)?),
        MANIFEST => Record::Manifest(parse(&payload)?),
        _ => return Err(unfit("a record is of an unknown kind")),
    }))
}

fn whole(filled: bool) -> Result<()> {
    if filled { Ok(()) } else { Err(unfit("it ends in the middle of a record")) }
}

/// The content opened and still is not what it should be: not damage on the way, so it says so differently.
pub(super) fn unfit(problem: &str) -> Error {
    changed(format!("the backup opens and contradicts itself: {problem}"))
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(Error::internal)
}

fn parse<T: serde::de::DeserializeOwned>(payload: &[u8]) -> Result<T> {
    serde_json::from_slice(payload).map_err(|e| unfit(&e.to_string()))
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "int",
        Kind::Text => "text",
    }
}

fn kind_of(word: &str) -> Option<Kind> {
    [Kind::Int, Kind::Text].into_iter().find(|kind| kind_word(*kind) == word)
}

fn encode_row(row: &[Cell], out: &mut Vec<u8>) {
    for cell in row {
        match cell {
            Cell::Null => out.push(0),
            Cell::Int(number) => {
                out.push(1);
                out.extend(number.to_be_bytes());
            }
            Cell::Text(text) => {
                out.push(2);
                out.extend((text.len() as u64).to_be_bytes());
                out.extend(text.as_bytes());
            }
        }
    }
}

fn decode_rows(mut bytes: &[u8], width: usize) -> Option<Vec<Vec<Cell>>> {
    let mut rows = Vec::new();
    while !bytes.is_empty() {
        if width == 0 {
            return None;
        }
        let mut row = Vec::with_capacity(width);
        for _ in 0..width {
            let (kind, rest) = bytes.split_first()?;
            let (cell, rest) = match kind {
                0 => (Cell::Null, rest),
                1 => rest.split_first_chunk::<8>().map(|(n, rest)| (Cell::Int(i64::from_be_bytes(*n)), rest))?,
                2 => {
                    let (length, rest) = rest.split_first_chunk::<8>()?;
                    let (text, rest) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*length)).ok()?)?;
                    (Cell::Text(String::from_utf8(text.to_vec()).ok()?), rest)
                }
                _ => return None,
            };
            row.push(cell);
            bytes = rest;
        }
        rows.push(row);
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_went() {
        let rows = vec![
            vec![Cell::Null, Cell::Int(-1), Cell::Text("ü\0".into())],
            vec![Cell::Text(String::new()), Cell::Int(i64::MAX), Cell::Null],
        ];
        let mut bytes = Vec::new();
        rows.iter().for_each(|row| encode_row(row, &mut bytes));
        assert_eq!(decode_rows(&bytes, 3), Some(rows));
        for cut in 1..bytes.len() {
            let whole = decode_rows(&bytes[..cut], 3);
            assert!(whole.is_none_or(|rows| rows.len() < 2), "cut at {cut}");
        }
        assert_eq!(decode_rows(&bytes, 0), None);
    }

    #[test]
    fn a_tables_hash_does_not_depend_on_the_order_of_rows() {
        let rows = [vec![Cell::Int(1)], vec![Cell::Int(2)], vec![Cell::Int(3)]];
        let hash = |order: &[usize]| {
            let mut hash = TableHash::default();
            order.iter().for_each(|i| hash.add(&rows[*i]));
            hash.end("t")
        };
        assert_eq!(hash(&[0, 1, 2]), hash(&[2, 0, 1]));
        assert_ne!(hash(&[0, 1]), hash(&[0, 2]));
        assert_ne!(hash(&[0, 0]).hash, hash(&[1, 1]).hash);
    }
}
