//! A backup for whoever asks for one, made while it goes out. Nothing of it touches this machine's disk.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use reeve_types::{Actor, Error, Permission, Result};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::create::Source;
use super::schedule::KeyText;
use super::{File, create};
use crate::{App, audit, authz};

/// Backups that go out at the same time: each holds a snapshot of the database open.
pub const AT_ONCE: usize = 2;
/// A caller that takes nothing for this long has gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes on their way, and pieces.
const PIPE_BYTES: usize = 256 * 1024;
const PIECES: usize = 4;

/// A backup on its way.
pub struct Download {
    /// A name for its file.
    pub name: String,
    /// Its bytes. An error in them means that what came is no backup, which it also says itself when it is read.
    pub bytes: BoxStream<'static, io::Result<Bytes>>,
}

/// Begins a backup that is sealed with the caller's key.
///
/// # Errors
/// Invalid for a key that is none; TooMany while others go out; as the store when it cannot begin.
pub async fn download(app: &Arc<App>, actor: &Actor, key: KeyText) -> Result<Download> {
    authz::require(actor, Permission::ServerWrite)?;
    let key = key.key()?;
    let permit = app.backup_downloads.clone().try_acquire_owned();
    let permit =
        permit.map_err(|_| Error::too_many("other backups are going out; try again when they have", 30_000))?;
    let files = app.backup_site()?.files()?.into_iter().map(|(name, content)| File { name, content }).collect();
    let stamp = app.now().rfc3339_secs().replace(['-', ':'], "");
    let name = format!("reeve-{}-{stamp}.rvb", app.server_id);
    let mut tx = app.begin(actor).await?;
    audit::record(app, &mut tx, actor, "backup.download", app.server_id.as_str(), json!({"name": name})).await?;
    tx.commit().await?;
    let (send, mut pieces) = mpsc::channel(PIECES);
    tokio::spawn(produce(app.clone(), files, key, send, permit));
    // What goes wrong at the beginning is an answer; later it can only be a broken stream.
    let first = match pieces.recv().await {
        Some(Ok(first)) => first,
        Some(Err(error)) => return Err(error),
        None => return Err(Error::unavailable("the backup ended before it began; see the server's log")),
    };
    let rest = unfold(pieces, |mut pieces| async move {
        let piece = pieces.recv().await?;
        Some((piece.map_err(io::Error::other), pieces))
    });
    Ok(Download { name, bytes: futures::stream::once(async move { Ok(first) }).chain(rest).boxed() })
}

async fn produce(
    app: Arc<App>,
    files: Vec<File>,
    key: super::BackupKey,
    send: mpsc::Sender<Result<Bytes>>,
    _permit: OwnedSemaphorePermit,
) {
    let (writer, mut reader) = tokio::io::duplex(PIPE_BYTES);
    let version = match app.backup_site() {
        Ok(site) => site.version(),
        Err(_) => return,
    };
    let (store, clock, ids) = (&app.store, &*app.clock, &*app.ids);
    let source = Source { store, files, version, server_id: app.server_id.as_str(), clock, ids };
    let make = create(source, &key, writer);
    let told = send.clone();
    // Ends early when the caller has gone: its end of the pipe is dropped, and the writer notices.
    let pump = async move {
        loop {
            let mut piece = BytesMut::with_capacity(64 * 1024);
            match reader.read_buf(&mut piece).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if send.send_timeout(Ok(piece.freeze()), PATIENCE).await.is_err() {
                return;
            }
        }
    };
    let (made, ()) = tokio::join!(make, pump);
    if let Err(error) = made {
        tracing::warn!(%error, "a backup that went out to a caller was not finished");
        // A caller that has gone is not told.
        told.send(Err(error)).await.ok();
    }
}
