//! Whether a host runs, and how its processes end: by a locked file and the number in it, never by a name.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use reeve_ports::CloudError;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::program::{broken, io};

/// Time that the kernel gets for taking away what was killed.
const PATIENCE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The first process of a host that runs, as this machine numbers it. None: it does not run. The host's first process
/// holds the lock for all its life, so the number is good as long as the lock is held.
pub fn first(host: &Path) -> Result<Option<i32>, CloudError> {
    let path = host.join("alive");
    let file = match File::options().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io("open", &path)(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let text = std::fs::read_to_string(&path).map_err(io("read", &path))?;
            Ok(text.trim().parse().ok().filter(|pid| *pid > 1))
        }
        Err(TryLockError::Error(error)) => Err(io("lock", &path)(error)),
    }
}

/// True as long as anything of the host holds the lock, even before it has written its number.
pub fn is_held(host: &Path) -> bool {
    let file = File::options().read(true).write(true).open(host.join("alive"));
    file.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Signals the first process. Ok when there is none.
pub fn signal(host: &Path, signal: Signal) -> Result<(), CloudError> {
    let Some(pid) = first(host)?.and_then(Pid::from_raw) else { return Ok(()) };
    let failed = |error: rustix::io::Errno| broken(format!("the host's process {pid:?} cannot be signalled: {error}"));
    let handle = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(handle) => handle,
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    // The handle is of the process that has the number at this moment; it is the host's if the host still has it.
    if first(host)?.and_then(Pid::from_raw) != Some(pid) {
        return Ok(());
    }
    match pidfd_send_signal(handle, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// Ends all processes of a host: the kernel takes the others along when the first one goes.
pub async fn kill(host: &Path) -> Result<(), CloudError> {
    let begun = tokio::time::Instant::now();
    while is_held(host) {
        signal(host, Signal::KILL)?;
        if begun.elapsed() > PATIENCE {
            return Err(broken("the host's processes do not end"));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
