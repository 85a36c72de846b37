//! The sealed part of a backup: a stream of chunks, each compressed and then sealed with ChaCha20-Poly1305 (STREAM: the
//! nonce is the chunk's number and whether it is the last), so that a changed, missing, reordered or cut-off chunk is
//! found, with memory for one chunk only.

use std::io::{Read as _, Write as _};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::DeflateDecoder;
use flate2::write::DeflateEncoder;
use reeve_types::id::Ids;
use reeve_types::{Error, Result};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::header::Header;
use super::key::{BackupKey, Keys};
use super::{changed, truncated, unreadable, unwritable};

/// Plain bytes in a chunk; only the last has fewer.
const CHUNK: usize = 128 * 1024;
/// Sealed bytes of a chunk at the most: codec, content and tag.
const MOST_SEALED: usize = 1 + CHUNK + 16;
/// In the length before a chunk: it is the last.
const LAST: u32 = 1 << 31;
const STORED: u8 = 0;
const DEFLATED: u8 = 1;

/// Writes a backup.
pub(super) struct Writer<W> {
    out: W,
    key: Arc<LessSafeKey>,
    number: u64,
    plain: Vec<u8>,
    written: u64,
}

impl<W: AsyncWrite + Unpin + Send> Writer<W> {
    /// Writes `header`, whose key hint is filled in here.
    pub async fn begin(mut out: W, mut header: Header, key: &BackupKey, ids: &dyn Ids) -> Result<Self> {
        header.key = key.fresh_hint(ids);
        let keys = keys_of(key, &header).await?;
        let written = header.write(&keys, &mut out).await?;
        Ok(Self { out, key: Arc::new(cipher(&keys)?), number: 0, plain: Vec::with_capacity(CHUNK), written })
    }

    /// Appends.
    pub async fn put(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            // A full chunk is kept until more comes: it may be the last.
            if self.plain.len() == CHUNK {
                self.flush_chunk(false).await?;
            }
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK - self.plain.len()));
            self.plain.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes the last chunk and closes what was written to; the bytes of the whole backup.
    pub async fn end(mut self) -> Result<u64> {
        self.flush_chunk(true).await?;
        self.out.shutdown().await.map_err(unwritable)?;
        Ok(self.written)
    }

    async fn flush_chunk(&mut self, last: bool) -> Result<()> {
        let plain = std::mem::replace(&mut self.plain, Vec::with_capacity(CHUNK));
        let (key, number) = (self.key.clone(), self.number);
        let sealed = tokio::task::spawn_blocking(move || seal(&key, number, last, &plain)).await;
        let sealed = sealed.map_err(Error::internal)??;
        let length = u32::try_from(sealed.len()).map_err(Error::internal)? | if last { LAST } else { 0 };
        self.out.write_all(&length.to_be_bytes()).await.map_err(unwritable)?;
        self.out.write_all(&sealed).await.map_err(unwritable)?;
        self.number += 1;
        self.written += 4 + sealed.len() as u64;
        Ok(())
    }
}

/// Reads a backup.
pub(super) struct Reader<R> {
    input: R,
    key: Arc<LessSafeKey>,
    number: u64,
    /// Where the next chunk begins in the file, for people who look for the damage.
    offset: u64,
    plain: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<R: AsyncRead + Unpin + Send> Reader<R> {
    /// Reads the header and checks the key.
    pub async fn begin(mut input: R, key: &BackupKey) -> Result<(Self, Header)> {
        let (header, tag, offset) = Header::read(&mut input).await?;
        let keys = keys_of(key, &header).await?;
        header.check(&keys, &tag)?;
        let key = Arc::new(cipher(&keys)?);
        Ok((Self { input, key, number: 0, offset, plain: Vec::new(), at: 0, ended: false }, header))
    }

    /// Fills `buffer`. False when the backup ends before its first byte.
    pub async fn fill(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let mut filled = 0;
        while filled < buffer.len() {
            if self.at == self.plain.len() {
                if self.ended && filled == 0 {
                    return Ok(false);
                }
                if self.ended {
                    return Err(changed("the backup's content ends in the middle of a record".to_owned()));
                }
                self.next_chunk().await?;
                continue;
            }
            let some = (buffer.len() - filled).min(self.plain.len() - self.at);
            buffer[filled..filled + some].copy_from_slice(&self.plain[self.at..self.at + some]);
            filled += some;
            self.at += some;
        }
        Ok(true)
    }

    async fn next_chunk(&mut self) -> Result<()> {
        let (number, offset) = (self.number, self.offset);
        let mut length = [0_u8; 4];
        let mut got = 0;
        while got < 4 {
            match self.input.read(&mut length[got..]).await.map_err(unreadable)? {
                0 if got == 0 => {
                    return Err(truncated(format!(
                        "the end of the backup is missing: it stops after {number} chunks ({offset} bytes), and none of \
                         them is the last"
                    )));
                }
                0 => return Err(cut(number, offset)),
                n => got += n,
            }
        }
        let length = u32::from_be_bytes(length);
        let (last, length) = (length & LAST != 0, (length & !LAST) as usize);
        if !(17..=MOST_SEALED).contains(&length) {
            return Err(damaged(number, offset));
        }
        let mut sealed = vec![0_u8; length];
        match self.input.read_exact(&mut sealed).await {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Err(cut(number, offset)),
            Err(error) => return Err(unreadable(error)),
        }
        let key = self.key.clone();
        let opened = tokio::task::spawn_blocking(move || open(&key, number, last, sealed)).await;
        self.plain = opened.map_err(Error::internal)?.ok_or_else(|| damaged(number, offset))?;
        self.at = 0;
        self.number += 1;
        self.offset += 4 + length as u64;
        if last {
            self.ended = true;
            let mut more = [0_u8; 1];
            if self.input.read(&mut more).await.map_err(unreadable)? != 0 {
                return Err(changed(format!("bytes follow after the end of the backup, from byte {} on", self.offset)));
            }
        }
        Ok(())
    }
}

fn cut(number: u64, offset: u64) -> Error {
    truncated(format!("the backup ends in the middle of chunk {number} (from byte {offset} on): it was cut off"))
}

fn damaged(number: u64, offset: u64) -> Error {
    changed(format!("chunk {number} of the backup (from byte {offset} on) was changed or is damaged"))
}

async fn keys_of(key: &BackupKey, header: &Header) -> Result<Keys> {
    let (key, hint) = (key.clone(), header.key.clone());
    tokio::task::spawn_blocking(move || key.keys(&hint)).await.map_err(Error::internal)?
}

fn cipher(keys: &Keys) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &*keys.payload);
    key.map(LessSafeKey::new).map_err(|_| Error::internal("the key of a backup has the wrong length"))
}

fn nonce(number: u64, last: bool) -> Nonce {
    let mut bytes = [0_u8; 12];
    bytes[3..11].copy_from_slice(&number.to_be_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

fn seal(key: &LessSafeKey, number: u64, last: bool, plain: &[u8]) -> Result<Vec<u8>> {
    let mut deflate = DeflateEncoder::new(vec![DEFLATED], Compression::fast());
    let deflated = deflate.write_all(plain).and_then(|()| deflate.finish()).map_err(Error::internal)?;
    let mut bytes = if deflated.len() < plain.len() {
        deflated
    } else {
        let mut stored = vec![STORED];
        stored.extend_from_slice(plain);
        stored
    };
    let sealed = key.seal_in_place_append_tag(nonce(number, last), Aad::empty(), &mut bytes);
    sealed.map_err(|_| Error::internal("a chunk of a backup could not be sealed"))?;
    Ok(bytes)
}

fn open(key: &LessSafeKey, number: u64, last: bool, mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let bytes = key.open_in_place(nonce(number, last), Aad::empty(), &mut sealed).ok()?;
    let (codec, content) = bytes.split_first()?;
    match *codec {
        STORED => Some(content.to_vec()),
        DEFLATED => {
            let mut plain = Vec::with_capacity(CHUNK);
            let bounded = DeflateDecoder::new(content).take(CHUNK as u64 + 1).read_to_end(&mut plain);
            (bounded.is_ok() && plain.len() <= CHUNK).then_some(plain)
        }
        _ => None,
    }
}
