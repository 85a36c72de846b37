//! The readable beginning of a backup: who made it, when, of what, and how its key is found. Not secret, but covered by
//! a checksum and by the key.

use reeve_types::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::key::{KeyHint, Keys};
use super::{changed, newer, not_a_backup, truncated, unreadable, unwritable, wrong_key};

/// The first bytes of every backup.
const MAGIC: &[u8; 13] = b"reeve-backup\n";
/// The form of the file that this version writes, and the newest it reads.
pub const FORMAT: u16 = 1;
/// Longest header, in bytes.
const MOST_TEXT: u32 = 16_384;

/// What can be read of a backup without its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// When the snapshot was taken, RFC 3339.
    pub created_at: String,
    /// The version that made it.
    pub reeve_version: String,
    /// Number of the database's schema.
    pub schema: i64,
    /// `sqlite` or `postgres`; a backup of one restores onto the other.
    pub database: String,
    /// The server that made it.
    pub server_id: String,
    /// How its key is found.
    pub key: KeyHint,
}

impl Header {
    pub(super) fn text(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(Error::internal)
    }

    fn checked(&self, text: &[u8]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(MAGIC);
        hash.update(FORMAT.to_be_bytes());
        hash.update(text);
        hash.finalize().into()
    }

    /// Writes the header; the bytes written.
    pub(super) async fn write(&self, keys: &Keys, out: &mut (impl AsyncWrite + Unpin)) -> Result<u64> {
        let text = self.text()?;
        let length = u32::try_from(text.len()).map_err(Error::internal)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(FORMAT.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes.extend(&text);
        bytes.extend(self.checked(&text));
        bytes.extend(keys.tag(self)?);
        out.write_all(&bytes).await.map_err(unwritable)?;
        Ok(bytes.len() as u64)
    }

    /// Reads the header, and the tag that [`check`](Self::check) wants. Needs no key.
    pub(super) async fn read(input: &mut (impl AsyncRead + Unpin)) -> Result<(Self, [u8; 32], u64)> {
        let mut magic = [0_u8; 13];
        exact(input, &mut magic).await.map_err(|e| if e.reason == super::TRUNCATED { not_a_backup() } else { e })?;
        if magic != *MAGIC {
            return Err(not_a_backup());
        }
        let mut format = [0_u8; 2];
        exact(input, &mut format).await?;
        let format = u16::from_be_bytes(format);
        if format > FORMAT {
            return Err(newer(format!(
                "the backup has format {format}, this version of reeve reads up to {FORMAT}: use the version that made it, \
                 or a later one"
            )));
        }
        let mut length = [0_u8; 4];
        exact(input, &mut length).await?;
        let length = u32::from_be_bytes(length);
        if format == 0 || length > MOST_TEXT {
            return Err(changed("the backup's header is damaged".to_owned()));
        }
        let mut text = vec![0_u8; length as usize];
        exact(input, &mut text).await?;
        let (mut sum, mut tag) = ([0_u8; 32], [0_u8; 32]);
        exact(input, &mut sum).await?;
        exact(input, &mut tag).await?;
        let header: Self =
            serde_json::from_slice(&text).map_err(|_| changed("the backup's header is damaged".to_owned()))?;
        // Written again it must be the same text: what was not understood must not pass as checked.
        if header.text()? != text || header.checked(&text) != sum {
            return Err(changed("the backup's header is damaged: its checksum does not fit".to_owned()));
        }
        let bytes = MAGIC.len() + 2 + 4 + text.len() + 32 + 32;
        Ok((header, tag, bytes as u64))
    }

    /// Whether `keys` are those of this backup.
    pub(super) fn check(&self, keys: &Keys, tag: &[u8; 32]) -> Result<()> {
        use subtle::ConstantTimeEq;
        if bool::from(keys.tag(self)?.ct_eq(tag)) {
            return Ok(());
        }
        Err(wrong_key(match self.key {
            KeyHint::Passphrase { .. } => "the passphrase is wrong: it does not open this backup".to_owned(),
            KeyHint::KeyFile { .. } => "the key does not open this backup".to_owned(),
        }))
    }
}

async fn exact(input: &mut (impl AsyncRead + Unpin), buffer: &mut [u8]) -> Result<()> {
    match input.read_exact(buffer).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(truncated("the backup ends in the middle of its header: it was cut off".to_owned()))
        }
        Err(error) => Err(unreadable(error)),
    }
}
