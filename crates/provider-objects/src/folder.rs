//! A folder. Files are written beside their name and renamed once they are on the disk; readable by the owner only.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::UNIX_EPOCH;

use futures::FutureExt;
use futures::future::BoxFuture;
use reeve_ports::{NewObject, ObjectInfo, Objects, OpenObject};
use reeve_types::{Error, ErrorKind, Result, Timestamp};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWrite;

/// See the module.
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`; made with the first file.
    pub fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn path(&self, name: &str) -> Result<PathBuf> {
        if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
            return Err(Error::invalid("name", "is not the name of a file"));
        }
        Ok(self.0.join(name))
    }
}

fn failed(what: &str, path: &Path, error: io::Error) -> Error {
    let message = format!("{} cannot be {what}: {error}", path.display());
    Error::new(ErrorKind::Unavailable, message).with_source(error)
}

impl Objects for Folder {
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<NewObject>> {
        Box::pin(async move {
            let path = self.path(name)?;
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&self.0)
                .await
                .map_err(|e| failed("made", &self.0, e))?;
            let partial = self.0.join(format!(".{name}.{}.partial", std::process::id()));
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let file = options.open(&partial).await.map_err(|e| failed("written", &partial, e))?;
            Ok(Box::new(NewFile { state: State::Open(file), partial, path }) as NewObject)
        })
    }

    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<OpenObject>> {
        Box::pin(async move {
            let path = self.path(name)?;
            match File::open(&path).await {
                Ok(file) => Ok(Box::new(tokio::io::BufReader::with_capacity(1 << 17, file)) as OpenObject),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(Error::new(ErrorKind::NotFound, format!("there is no file {}", path.display())))
                }
                Err(error) => Err(failed("read", &path, error)),
            }
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<ObjectInfo>>> {
        Box::pin(async move {
            let mut entries = match fs::read_dir(&self.0).await {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
                Err(error) => return Err(failed("read", &self.0, error)),
            };
            let mut found = Vec::new();
            while let Some(entry) = entries.next_entry().await.map_err(|e| failed("read", &self.0, e))? {
                let Ok(name) = entry.file_name().into_string() else { continue };
                // A file may go away while others are looked at.
                let Ok(metadata) = entry.metadata().await else { continue };
                if !metadata.is_file() || name.starts_with('.') {
                    continue;
                }
                let modified = metadata.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
                let modified_at = Timestamp(modified.map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX)));
                found.push(ObjectInfo { name, bytes: metadata.len(), modified_at });
            }
            found.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(found)
        })
    }

    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            let path = self.path(name)?;
            match fs::remove_file(&path).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("deleted", &path, error)),
                Ok(()) | Err(_) => Ok(()),
            }
        })
    }

    fn describe(&self) -> String {
        self.0.display().to_string()
    }
}

enum State {
    Open(File),
    Closing(BoxFuture<'static, io::Result<()>>),
    Closed,
}

struct NewFile {
    state: State,
    partial: PathBuf,
    path: PathBuf,
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Nothing to be done about a partial file that cannot be removed; the next one of this name replaces it.
        if !matches!(self.state, State::Closed) {
            std::fs::remove_file(&self.partial).ok();
        }
    }
}

fn is_closed() -> io::Error {
    io::Error::other("the file was closed")
}

impl AsyncWrite for NewFile {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.state {
            State::Open(file) => Pin::new(file).poll_write(context, bytes),
            State::Closing(_) | State::Closed => Poll::Ready(Err(is_closed())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.state {
            State::Open(file) => Pin::new(file).poll_flush(context),
            State::Closing(_) | State::Closed => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.state {
                State::Open(file) => {
                    ready!(Pin::new(&mut *file).poll_flush(context))?;
                    let State::Open(file) = std::mem::replace(&mut self.state, State::Closed) else { continue };
                    let (partial, path) = (self.partial.clone(), self.path.clone());
                    self.state = State::Closing(Box::pin(async move {
                        file.sync_all().await?;
                        fs::rename(&partial, &path).await?;
                        // The name is on the disk once its folder is.
                        let folder = path.parent().unwrap_or(Path::new("."));
                        File::open(folder).await?.sync_all().await
                    }));
                }
                State::Closing(closing) => {
                    let done = ready!(closing.poll_unpin(context));
                    if done.is_ok() {
                        self.state = State::Closed;
                    }
                    return Poll::Ready(done);
                }
                State::Closed => return Poll::Ready(Ok(())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn a_file_appears_whole_or_not_at_all() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = Folder::new(&temporary.path().join("deep/er"));
        assert!(folder.list().await.unwrap().is_empty());
        let mut file = folder.create("a").await.unwrap();
        file.write_all(b"hello").await.unwrap();
        assert!(folder.list().await.unwrap().is_empty());
        file.shutdown().await.unwrap();
        drop(file);
        let mut dropped = folder.create("b").await.unwrap();
        dropped.write_all(b"half").await.unwrap();
        drop(dropped);
        let listed = folder.list().await.unwrap();
        assert_eq!(listed.iter().map(|o| (o.name.as_str(), o.bytes)).collect::<Vec<_>>(), [("a", 5)]);
        assert_eq!(std::fs::read_dir(temporary.path().join("deep/er")).unwrap().count(), 1);
        let mut text = String::new();
        folder.open("a").await.unwrap().read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(temporary.path().join("deep/er/a")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        folder.delete("a").await.unwrap();
        folder.delete("a").await.unwrap();
        assert_eq!(folder.open("a").await.err().unwrap().kind, ErrorKind::NotFound);
        for name in ["", "..", "a/b", "/etc/passwd"] {
            assert!(folder.create(name).await.is_err(), "{name}");
        }
    }
}
