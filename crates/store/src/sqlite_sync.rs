//! One fsync for many commits: a thread that flushes the write-ahead log and releases everybody who waited for it.
//!
//! With `synchronous=NORMAL` a commit is in the log file but not on the disk. Whoever commits asks here and goes on when
//! a flush that began after its commit has ended. A checkpoint may restart the log in between; SQLite flushes the log
//! before it copies it, so what was committed before is on the disk by then.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use reeve_types::{Error, Result};
use tokio::sync::oneshot;

struct Waiting {
    commits: Vec<oneshot::Sender<bool>>,
    stopping: bool,
    failed: bool,
}

struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

/// Handle to the flushing thread; dropping it stops the thread.
pub struct Syncer {
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Syncer {
    /// Starts flushing the log at `wal`.
    ///
    /// # Errors
    /// Unavailable when the log cannot be opened or the thread not be started.
    pub fn start(wal: PathBuf) -> Result<Self> {
        let file = File::open(&wal).map_err(|e| unavailable(&wal, e))?;
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting { commits: Vec::new(), stopping: false, failed: false }),
            wake: Condvar::new(),
        });
        let for_thread = shared.clone();
        let thread = std::thread::Builder::new()
            .name("wal-sync".into())
            .spawn(move || run(&for_thread, &file))
            .map_err(|e| unavailable(&wal, e))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Returns when everything committed before the call is on the disk.
    ///
    /// # Errors
    /// Unavailable when the disk refused; from then on every call fails, since what the disk holds is unknown.
    pub async fn sync(&self) -> Result<()> {
        let (done, wait) = oneshot::channel();
        {
            let mut waiting = self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.failed || waiting.stopping {
                return Err(lost());
            }
            waiting.commits.push(done);
        }
        self.shared.wake.notify_one();
        match wait.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(lost()),
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).stopping = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that flushes the write-ahead log panicked");
        }
    }
}

fn run(shared: &Shared, file: &File) {
    loop {
        let commits = {
            let mut waiting = shared.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            while waiting.commits.is_empty() && !waiting.stopping {
                waiting = shared.wake.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
            if waiting.commits.is_empty() {
                return;
            }
            std::mem::take(&mut waiting.commits)
        };
        let flushed = file.sync_data();
        if let Err(error) = &flushed {
            tracing::error!(%error, "the disk did not take the write-ahead log; no commit is acknowledged from here on");
            shared.waiting.lock().unwrap_or_else(PoisonError::into_inner).failed = true;
        }
        for commit in commits {
            // A receiver that is gone was cancelled; its commit stands all the same.
            commit.send(flushed.is_ok()).ok();
        }
    }
}

fn unavailable(wal: &Path, error: std::io::Error) -> Error {
    Error::unavailable(format!("cannot open {}: {error}", wal.display())).with_source(error)
}

fn lost() -> Error {
    Error::unavailable("the disk did not confirm the change, so it may be lost; check the disk and restart the server")
}
