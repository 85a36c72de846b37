//! A place for backups in memory, with a switch that makes it refuse.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use reeve_ports::{BackupSite, BucketAccess, NewObject, ObjectInfo, Objects, OpenObject};
use reeve_types::{Error, Result, Timestamp};
use tokio::io::AsyncWrite;

/// What the file `server.json` of this machine holds.
pub const SERVER_JSON: &[u8] = b"{\"id\": \"s1\", \"seal\": \"planted-in-the-file\"}";

/// A machine with one place. Clones are the same one.
#[derive(Clone, Default)]
pub struct MemorySite(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    files: BTreeMap<String, Vec<u8>>,
    broken: bool,
    undeletable: bool,
    asked: Vec<(String, BucketAccess)>,
}

impl MemorySite {
    /// From here on the place refuses everything, or nothing.
    pub fn set_broken(&self, broken: bool) {
        self.0.lock().unwrap().broken = broken;
    }

    /// From here on nothing can be deleted, or everything.
    pub fn set_undeletable(&self, undeletable: bool) {
        self.0.lock().unwrap().undeletable = undeletable;
    }

    /// Puts a file there.
    pub fn put(&self, name: &str) {
        self.0.lock().unwrap().files.insert(name.to_owned(), b"x".to_vec());
    }

    /// The names there.
    pub fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().files.keys().cloned().collect()
    }

    /// The content of a file.
    pub fn content(&self, name: &str) -> Vec<u8> {
        self.0.lock().unwrap().files[name].clone()
    }

    /// What was asked for last: the address and the access.
    pub fn last_asked(&self) -> (String, BucketAccess) {
        self.0.lock().unwrap().asked.last().cloned().unwrap()
    }

    /// Awaits that the names satisfy `condition`.
    pub async fn until(&self, condition: impl Fn(&[String]) -> bool) -> Vec<String> {
        crate::find("the files to be so", async || {
            let names = self.names();
            if condition(&names) { Ok(names) } else { Err(names) }
        })
        .await
    }

    fn works(&self) -> Result<()> {
        let broken = self.0.lock().unwrap().broken;
        if broken { Err(Error::unavailable("the disk is on fire")) } else { Ok(()) }
    }
}

impl BackupSite for MemorySite {
    fn place(&self, to: &str, access: &BucketAccess) -> Result<Arc<dyn Objects>> {
        self.0.lock().unwrap().asked.push((to.to_owned(), access.clone()));
        Ok(Arc::new(self.clone()))
    }
    fn files(&self) -> Result<Vec<(String, Vec<u8>)>> {
        Ok(vec![("server.json".to_owned(), SERVER_JSON.to_vec())])
    }
    fn version(&self) -> &'static str {
        "9.9.9"
    }
}

impl Objects for MemorySite {
    fn create<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<NewObject>> {
        Box::pin(async move {
            self.works()?;
            let file = NewFile { site: self.clone(), name: name.to_owned(), bytes: Vec::new() };
            Ok(Box::new(file) as NewObject)
        })
    }
    fn open<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<OpenObject>> {
        Box::pin(async move { Ok(Box::new(io::Cursor::new(self.content(name))) as OpenObject) })
    }
    fn list(&self) -> BoxFuture<'_, Result<Vec<ObjectInfo>>> {
        Box::pin(async move {
            self.works()?;
            let inside = self.0.lock().unwrap();
            let info = |(name, bytes): (&String, &Vec<u8>)| ObjectInfo {
                name: name.clone(),
                bytes: bytes.len() as u64,
                modified_at: Timestamp(0),
            };
            Ok(inside.files.iter().map(info).collect())
        })
    }
    fn delete<'a>(&'a self, name: &'a str) -> BoxFuture<'a, Result<()>> {
        Box::pin(async move {
            self.works()?;
            let mut inside = self.0.lock().unwrap();
            if inside.undeletable {
                return Err(Error::forbidden("it is write-once"));
            }
            inside.files.remove(name);
            Ok(())
        })
    }
    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

struct NewFile {
    site: MemorySite,
    name: String,
    bytes: Vec<u8>,
}

impl AsyncWrite for NewFile {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (name, bytes) = (self.name.clone(), std::mem::take(&mut self.bytes));
        self.site.0.lock().unwrap().files.insert(name, bytes);
        Poll::Ready(Ok(()))
    }
}
