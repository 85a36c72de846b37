//! How hosts come, go down, come up again and go: every step can be repeated, from whatever a crash has left.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use reeve_ports::cloud::{CloudServerId, ServerState};
use reeve_ports::{CloudError, CloudErrorKind};
use tracing::{info, warn};

use crate::image::{self, Readiness};
use crate::inside::Boot;
use crate::plan::Size;
use crate::program::{broken, detach, io};
use crate::record::{Record, Wanted, folder_of, write_whole};
use crate::{Inner, limits, network, process};

/// Time for a host to come up.
const UP_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Time for a soft stop before a restart pulls the plug.
const RESTART_WITHIN: Duration = Duration::from_secs(15);
/// A console longer than this is begun anew at the next start.
const CONSOLE_BYTES: u64 = 1024 * 1024;

/// Held while something changes: nobody else changes anything, in this process or another.
pub struct Changing<'a> {
    _here: tokio::sync::MutexGuard<'a, ()>,
    _everywhere: File,
}

impl Inner {
    pub async fn changing(&self) -> Result<Changing<'_>, CloudError> {
        let here = self.changing.lock().await;
        let folder = &self.settings.folder;
        fs::create_dir_all(folder.join("hosts")).map_err(io("make", folder))?;
        let path = folder.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io("open", &path))?;
        let begun = tokio::time::Instant::now();
        while file.try_lock().is_err() {
            if begun.elapsed() > Duration::from_secs(30) {
                let text = "another process is changing the local hosts of this machine";
                return Err(CloudError::new(CloudErrorKind::Busy, text));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Changing { _here: here, _everywhere: file })
    }

    /// A host that exists, with its folder.
    pub fn find(&self, id: &CloudServerId) -> Result<(Record, PathBuf), CloudError> {
        let folder = folder_of(&self.settings.folder, id)?;
        let record = Record::load(&folder)?.ok_or_else(CloudError::server_not_found)?;
        Ok((record, folder))
    }

    /// Makes the host run, unless it does. Ok as well when its image is still being made.
    pub async fn bring_up(&self, record: &mut Record, host: &Path, _: &Changing<'_>) -> Result<(), CloudError> {
        let started = self.start_processes(record, host).await;
        let problem = started.as_ref().err().map(|error| error.message.clone());
        if record.problem != problem {
            record.problem = problem;
            record.save(host)?;
        }
        started
    }

    async fn start_processes(&self, record: &Record, host: &Path) -> Result<(), CloudError> {
        network::ensure_bridge(&self.settings).await?;
        let Readiness::Ready(lower) = image::ensure(&self.settings, &record.image).await? else {
            return Ok(());
        };
        let mut started = None;
        if !process::is_held(host) {
            let size = Size::parse(&record.plan)?;
            let systemd = image::has_systemd(&record.image);
            let mut groups = limits::apply(&record.id, size);
            if systemd {
                groups.extend(limits::delegate(&record.id)?);
            }
            let boot = Boot {
                hostname: record.hostname.clone(),
                address: record.address,
                prefix: self.settings.pool.prefix_len(),
                gateway: network::gateway(self.settings.pool),
                lower,
                groups,
                systemd,
                packages: self.settings.packages.clone(),
            };
            let text = serde_json::to_vec_pretty(&boot).map_err(|error| broken(error.to_string()))?;
            write_whole(&host.join("boot.json"), &text, 0o600)?;
            // A cable of an earlier life goes with its network, some time after its processes.
            network::unplug(&record.id).await?;
            remove_file(&up(record, host))?;
            let console = host.join("console.log");
            if fs::metadata(&console).is_ok_and(|file| file.len() > CONSOLE_BYTES) {
                remove_file(&console)?;
            }
            let launcher = || self.settings.launcher.iter().map(|word| word.as_os_str());
            let mut words: Vec<&OsStr> = Vec::new();
            let spaces = ["--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--propagation", "private"];
            if systemd {
                // It closes what it inherits, so the lock is held by its parent, with which it ends.
                words.extend(launcher().chain([OsStr::new("hold"), host.as_os_str()]));
            }
            words.push(OsStr::new("unshare"));
            words.extend(spaces.map(OsStr::new));
            if systemd {
                words.extend(["--cgroup", "--kill-child"].map(OsStr::new));
            }
            words.push(OsStr::new("--"));
            words.extend(launcher().chain([OsStr::new("host"), host.as_os_str()]));
            started = Some(detach(words, &console)?);
        }
        // Ended early: before it took the lock.
        let mut ended = || started.as_mut().is_some_and(|child| !matches!(child.try_wait(), Ok(None)));
        let begun = tokio::time::Instant::now();
        while process::first(host)?.is_none() {
            if ended() || begun.elapsed() > UP_WITHIN {
                return Err(not_up(host));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if let Some(pid) = process::first(host)? {
            network::plug(&self.settings, &record.id, record.address, pid).await?;
        }
        while !up(record, host).exists() {
            if !process::is_held(host) || begun.elapsed() > UP_WITHIN {
                return Err(not_up(host));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Lets a host end by itself, and ends it when it has not after `limit`; then does what is wanted of it.
    pub fn end_softly(self: &Arc<Self>, id: CloudServerId, host: PathBuf, limit: Duration) {
        let inner = Arc::clone(self);
        self.resuming().insert(id.clone());
        self.behind(id.clone(), async move { inner.end(&id, &host, limit).await });
    }

    async fn end(&self, id: &CloudServerId, host: &Path, limit: Duration) {
        let begun = tokio::time::Instant::now();
        let wanted = |record: &Record| matches!(record.wanted, Wanted::Down | Wanted::Restart);
        // Somebody may want something else meanwhile: the host is theirs then, also one that was started again between
        // two looks.
        let ours = || self.find(id).is_ok_and(|(record, _)| wanted(&record));
        while process::is_held(host) && begun.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(50)).await;
            if !ours() {
                return;
            }
        }
        if !ours() {
            return;
        }
        if let Err(error) = process::kill(host).await {
            warn!(host = %id, %error, "a local host does not end");
        }
        self.settle(id).await;
    }

    /// How long a restart waits.
    pub fn restart_softly(self: &Arc<Self>, id: CloudServerId, host: PathBuf) {
        self.end_softly(id, host, RESTART_WITHIN);
    }

    /// Goes on, in the background, with a host whose way was interrupted: by a crash, or because its image took long.
    pub fn resume(self: &Arc<Self>, id: CloudServerId) {
        let fresh = self.resuming().insert(id.clone());
        if !fresh {
            return;
        }
        let inner = Arc::clone(self);
        self.behind(id.clone(), async move {
            match inner.find(&id) {
                // Whoever sent it down is not there any more to see it end.
                Ok((record, host)) if record.wanted == Wanted::Restart && process::is_held(&host) => {
                    inner.end(&id, &host, RESTART_WITHIN).await;
                }
                _ => inner.settle(&id).await,
            }
        });
    }

    /// Goes on behind an answer, until it is done or the server ends: every step can be repeated.
    fn behind(self: &Arc<Self>, id: CloudServerId, work: impl Future<Output = ()> + Send + 'static) {
        let inner = Arc::clone(self);
        let ending = self.ending.clone();
        self.work.spawn(async move {
            ending.run_until_cancelled(work).await;
            inner.resuming().remove(&id);
        });
    }

    fn resuming(&self) -> std::sync::MutexGuard<'_, HashSet<CloudServerId>> {
        self.resuming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn settle(&self, id: &CloudServerId) {
        if let Err(error) = self.try_settle(id).await {
            warn!(host = %id, %error, "a local host is not what it should be");
        }
    }

    async fn try_settle(&self, id: &CloudServerId) -> Result<(), CloudError> {
        let changing = self.changing().await?;
        let (mut record, host) = match self.find(id) {
            Err(error) if error.kind == CloudErrorKind::NotFound => return Ok(()),
            found => found?,
        };
        match record.wanted {
            Wanted::Restart if !process::is_held(&host) => {
                record.wanted = Wanted::Up;
                record.save(&host)?;
                self.bring_up(&mut record, &host, &changing).await
            }
            Wanted::Up => self.bring_up(&mut record, &host, &changing).await,
            Wanted::Down if !process::is_held(&host) => {
                limits::remove(&record.id);
                Ok(())
            }
            Wanted::Restart | Wanted::Down | Wanted::Gone => Ok(()),
        }
    }

    /// Takes a host away with everything of it.
    pub async fn remove(&self, record: &mut Record, host: &Path, _: &Changing<'_>) -> Result<(), CloudError> {
        if record.wanted != Wanted::Gone {
            record.wanted = Wanted::Gone;
            record.save(host)?;
        }
        process::kill(host).await?;
        network::unplug(&record.id).await?;
        limits::remove(&record.id);
        // With the last host, and before its folder: as long as that is there, whoever comes after a crash goes on here.
        let (hosts, _) = Record::all(&self.settings.folder)?;
        if hosts.iter().all(|other| other.id == record.id) {
            network::remove_bridge(&self.settings).await?;
        }
        remove_folder(host.to_owned()).await?;
        info!(host = %record.id, hostname = %record.hostname, "a local host is gone");
        Ok(())
    }

    /// What a host is doing.
    pub fn state(&self, record: &Record, host: &Path) -> ServerState {
        let held = process::is_held(host);
        let up = up(record, host).exists();
        match record.wanted {
            Wanted::Gone => ServerState::Deleting,
            Wanted::Restart => ServerState::Changing,
            Wanted::Down if held => ServerState::Changing,
            Wanted::Down => ServerState::Stopped,
            Wanted::Up if held && up => ServerState::Running,
            Wanted::Up if held => ServerState::Creating,
            // It ended by itself, or this machine was started anew.
            Wanted::Up if up => ServerState::Stopped,
            Wanted::Up if record.problem.is_some() => ServerState::Failed,
            Wanted::Up => ServerState::Creating,
        }
    }
}

/// The file that says that a host has come up: as far as its own first program, or as far as its SSH server where that
/// takes its time.
fn up(record: &Record, host: &Path) -> PathBuf {
    host.join(if image::has_systemd(&record.image) { "root/.reeve/up" } else { "up" })
}

/// Takes a folder away, with all its files.
pub async fn remove_folder(folder: PathBuf) -> Result<(), CloudError> {
    let path = folder.clone();
    let removed = tokio::task::spawn_blocking(move || {
        // The description goes last: as long as it is there, the removal can be repeated.
        for entry in fs::read_dir(&folder)?.flatten().filter(|entry| entry.file_name() != "host.json") {
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        fs::remove_dir_all(&folder)
    });
    match removed.await {
        Ok(removed) => removed.map_err(io("remove", &path)),
        Err(error) => Err(broken(error.to_string())),
    }
}

fn remove_file(path: &Path) -> Result<(), CloudError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The last thing that the host's console says.
fn not_up(host: &Path) -> CloudError {
    let console = fs::read(host.join("console.log")).unwrap_or_default();
    let text = String::from_utf8_lossy(&console).into_owned();
    let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("its console is empty").to_owned();
    CloudError::new(CloudErrorKind::State, format!("the host does not come up: {last}"))
}
