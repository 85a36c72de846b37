//! Runs one command: a shell in a process group of its own, its output streamed, its time bounded.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use reeve_agent_proto::message::{OutputChunk, Run};
use reeve_agent_proto::output::append_line;
use reeve_agent_proto::{BoundedOutput, Utf8Stream};
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::facts::boot_id;
use crate::leftover::{MARK, start_ticks};
use crate::record::Spawned;
use crate::uplink::Uplink;

/// Between TERM and KILL.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// How long a dead shell's children may keep the result waiting with their output.
const DRAIN_LIMIT: Duration = Duration::from_secs(1);
/// A dead shell's pipe that stays quiet this long has nothing more to say.
const DRAIN_QUIET: Duration = Duration::from_millis(100);
/// Live chunks are sent at most this often, unless they fill up before.
const LIVE_INTERVAL: Duration = Duration::from_millis(50);
/// A live chunk is sent at once when it has reached this size, in bytes.
const LIVE_CHUNK: usize = 16 * 1024;
/// How often a terminated group is looked at.
const GROUP_POLL: Duration = Duration::from_millis(20);
/// A command longer than this goes through a file: the kernel limits one argument to 128 KiB.
const MAX_ARGUMENT: usize = 100 * 1024;

/// Why a running command has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Cancelled: exit code 143.
    Cancel,
    /// The agent stops.
    Shutdown,
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// 128 + signal when killed by one, 124 timed out, 143 cancelled.
    pub exit_code: i32,
    /// Bounded output.
    pub output: String,
    /// Bytes the command wrote.
    pub output_bytes: u64,
}

impl Outcome {
    /// It never ran, or nothing is known about how it ended.
    pub fn failed(line: impl Into<String>) -> Self {
        let mut output = line.into();
        output.push('\n');
        Self { exit_code: 1, output_bytes: 0, output }
    }

    /// It was cancelled before it ran.
    pub fn cancelled() -> Self {
        Self { exit_code: 143, output: "Command cancelled\n".into(), output_bytes: 0 }
    }
}

/// The shell commands run in.
#[derive(Debug, Clone)]
pub struct Shell {
    program: PathBuf,
    login: bool,
    scripts: PathBuf,
}

impl Shell {
    /// Bash as a login shell, `sh` when there is no bash. Long commands pass through files in `scripts`.
    pub fn find(scripts: &Path) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/local/bin:/usr/bin:/bin"));
        let bash = std::env::split_paths(&path).map(|dir| dir.join("bash")).find(|bash| bash.is_file());
        match bash {
            Some(program) => Self { program, login: true, scripts: scripts.to_owned() },
            None => Self { program: "/bin/sh".into(), login: false, scripts: scripts.to_owned() },
        }
    }

    #[cfg(test)]
    pub fn plain(scripts: &Path) -> Self {
        Self { program: "/bin/sh".into(), login: false, scripts: scripts.to_owned() }
    }

    fn command(&self, run: &Run) -> io::Result<(Command, Option<Script>)> {
        let mut command = Command::new(&self.program);
        if self.login {
            command.arg("-l");
        }
        let mut script = None;
        if run.command_text.len() > MAX_ARGUMENT {
            let file = Script::write(&self.scripts, run)?;
            command.args(["-c", ". \"$0\""]).arg(&file.path);
            script = Some(file);
        } else {
            command.args(["-c", &run.command_text]);
        }
        command
            .process_group(0)
            .stdin(Stdio::null())
            .env(MARK, &run.execution_id)
            .env_remove("REEVE_ENROLLMENT_KEY")
            .env_remove("ENROLLMENT_KEY");
        match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
            Some(home) if Path::new(&home).is_dir() => command.current_dir(home),
            Some(_) => command.current_dir("/"),
            None if rustix::process::geteuid().is_root() => command.env("HOME", "/root").current_dir("/"),
            None => command.env("HOME", "/").current_dir("/"),
        };
        Ok((command, script))
    }
}

/// A command too long for an argument; the file goes when the command has ended.
struct Script {
    path: PathBuf,
}

impl Script {
    fn write(dir: &Path, run: &Run) -> io::Result<Self> {
        use std::io::Write;
        let name: String = run.execution_id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let script = Self { path: dir.join(format!("script-{name}.sh")) };
        crate::data_dir::private_file(&script.path, true)?.write_all(run.command_text.as_bytes())?;
        Ok(script)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "could not remove a script");
        }
    }
}

/// Runs a command to its end. `spawned` is told the process as soon as there is one.
pub async fn run(
    run: &Run,
    shell: &Shell,
    uplink: &Uplink,
    mut stop: watch::Receiver<Option<Stop>>,
    spawned: impl FnOnce(Spawned),
) -> Outcome {
    let (child, pipe, _script) = match spawn(run, shell) {
        Ok(parts) => parts,
        Err(error) => return Outcome::failed(format!("The command could not be started: {error}")),
    };
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
    spawned(Spawned {
        execution_id: run.execution_id.clone(),
        pid,
        start_ticks: start_ticks(pid).unwrap_or_default(),
        boot_id: boot_id().unwrap_or_default(),
    });
    let mut running = Running {
        group: Pid::from_raw(pid),
        child,
        pipe: Some(pipe),
        output: Output::new(&run.execution_id, uplink.clone()),
        cause: None,
        kill_at: None,
        exited: None,
        drained_at: None,
        timeout_at: (run.timeout_ms > 0).then(|| Instant::now() + Duration::from_millis(run.timeout_ms)),
    };
    running.drive(&mut stop).await;
    running.outcome(run.timeout_ms)
}

fn spawn(run: &Run, shell: &Shell) -> io::Result<(Child, pipe::Receiver, Option<Script>)> {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let (mut command, script) = shell.command(run)?;
    command.stdout(Stdio::from(write.try_clone()?)).stderr(Stdio::from(write));
    let child = command.spawn()?;
    // The command holds the pipe's write ends: as long as it lives the pipe does not end.
    drop(command);
    Ok((child, pipe::Receiver::from_owned_fd(read)?, script))
}

/// Why the group is being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Timeout,
    Stopped(Stop),
}

struct Running {
    group: Option<Pid>,
    child: Child,
    pipe: Option<pipe::Receiver>,
    output: Output,
    cause: Option<Cause>,
    kill_at: Option<Instant>,
    exited: Option<io::Result<ExitStatus>>,
    /// When waiting for more output of a dead shell's children ends.
    drained_at: Option<Instant>,
    timeout_at: Option<Instant>,
}

impl Running {
    async fn drive(&mut self, stop: &mut watch::Receiver<Option<Stop>>) {
        let mut buffer = vec![0u8; LIVE_CHUNK];
        let mut quiet_at = None;
        let mut stoppable = true;
        loop {
            let now = Instant::now();
            if self.is_over(now, quiet_at) {
                return;
            }
            let wake = self.next_wake(now, quiet_at);
            let read = async {
                match &mut self.pipe {
                    Some(pipe) => pipe.read(&mut buffer).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                read = read => match read {
                    Ok(n) if n > 0 => {
                        self.output.push(&buffer[..n]);
                        if self.exited.is_some() {
                            quiet_at = Some(Instant::now() + DRAIN_QUIET);
                        }
                    }
                    Ok(_) => self.pipe = None,
                    Err(error) => {
                        tracing::warn!(%error, "could not read a command's output");
                        self.pipe = None;
                    }
                },
                status = self.child.wait(), if self.exited.is_none() => {
                    self.exited = Some(status);
                    let now = Instant::now();
                    self.drained_at = Some(now + DRAIN_LIMIT);
                    quiet_at = Some(now + DRAIN_QUIET);
                }
                changed = stop.changed(), if stoppable => {
                    stoppable = changed.is_ok();
                    let wanted = *stop.borrow();
                    if let Some(wanted) = wanted {
                        self.terminate(Cause::Stopped(wanted));
                    }
                }
                () = sleep_until(wake) => self.on_timer(),
            }
        }
    }

    /// Over when the shell has ended, its output is in, and a group that had to end is gone.
    fn is_over(&self, now: Instant, quiet_at: Option<Instant>) -> bool {
        if self.exited.is_none() {
            return false;
        }
        if self.cause.is_some() && self.kill_at.is_some() && self.group_exists() {
            return false;
        }
        self.pipe.is_none() || self.drained_at.is_some_and(|t| now >= t) || quiet_at.is_some_and(|t| now >= t)
    }

    fn next_wake(&self, now: Instant, quiet_at: Option<Instant>) -> Instant {
        let mut wake = now + Duration::from_secs(3600);
        let mut at = |t: Option<Instant>| wake = t.map_or(wake, |t| wake.min(t));
        at(self.output.flush_at);
        if self.cause.is_none() && self.exited.is_none() {
            at(self.timeout_at);
        }
        at(self.kill_at);
        if self.exited.is_some() {
            at(self.drained_at);
            at(quiet_at);
            if self.kill_at.is_some() {
                at(Some(now + GROUP_POLL));
            }
        }
        wake
    }

    fn on_timer(&mut self) {
        let now = Instant::now();
        if self.output.flush_at.is_some_and(|t| now >= t) {
            self.output.flush();
        }
        if self.exited.is_none() && self.timeout_at.is_some_and(|t| now >= t) {
            self.terminate(Cause::Timeout);
        }
        if self.kill_at.is_some_and(|t| now >= t) {
            self.kill_at = None;
            self.signal(Signal::KILL);
        }
    }

    fn terminate(&mut self, cause: Cause) {
        if self.cause.is_none() && self.exited.is_none() {
            self.cause = Some(cause);
            self.kill_at = Some(Instant::now() + TERM_GRACE);
            self.signal(Signal::TERM);
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group
            && let Err(error) = kill_process_group(group, signal)
        {
            tracing::debug!(%error, "the process group is gone already");
        }
    }

    fn group_exists(&self) -> bool {
        self.group.is_some_and(|group| test_kill_process_group(group).is_ok())
    }

    fn outcome(self, timeout_ms: u64) -> Outcome {
        let line = match self.cause {
            Some(Cause::Timeout) => Some(format!("Command timed out after {timeout_ms} milliseconds")),
            Some(Cause::Stopped(Stop::Cancel)) => Some("Command cancelled".to_owned()),
            Some(Cause::Stopped(Stop::Shutdown)) => Some("Command stopped: the agent was shut down".to_owned()),
            None => None,
        };
        let exit_code = match (self.cause, &self.exited) {
            (Some(Cause::Timeout), _) => 124,
            (Some(Cause::Stopped(Stop::Cancel)), _) => 143,
            (Some(Cause::Stopped(Stop::Shutdown)), _) | (None, None | Some(Err(_))) => 1,
            (None, Some(Ok(status))) => exit_code(*status),
        };
        let (output, output_bytes) = self.output.finish(line.as_deref());
        Outcome { exit_code, output, output_bytes }
    }
}

fn exit_code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

/// A command's output: bounded for the result, and in chunks for those who watch.
struct Output {
    utf8: Utf8Stream,
    kept: BoundedOutput,
    ends_in_newline: bool,
    live: Live,
    flush_at: Option<Instant>,
    last_flush: Option<Instant>,
}

struct Live {
    execution_id: String,
    uplink: Uplink,
    pending: String,
    /// Offset of `pending` in the whole output.
    offset: u64,
    dropped: u64,
}

impl Output {
    fn new(execution_id: &str, uplink: Uplink) -> Self {
        let execution_id = execution_id.to_owned();
        Self {
            utf8: Utf8Stream::default(),
            kept: BoundedOutput::new(),
            ends_in_newline: true,
            live: Live { execution_id, uplink, pending: String::new(), offset: 0, dropped: 0 },
            flush_at: None,
            last_flush: None,
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let from = self.live.pending.len();
        self.utf8.push(bytes, &mut self.live.pending);
        self.pushed(from);
        let now = Instant::now();
        let due = self.last_flush.map_or(now, |last| last + LIVE_INTERVAL);
        if self.live.pending.len() >= LIVE_CHUNK || due <= now {
            self.flush();
        } else if !self.live.pending.is_empty() {
            self.flush_at = Some(due);
        }
    }

    fn flush(&mut self) {
        self.flush_at = None;
        if !self.live.pending.is_empty() {
            self.last_flush = Some(Instant::now());
            self.live.send();
        }
    }

    fn finish(mut self, line: Option<&str>) -> (String, u64) {
        let from = self.live.pending.len();
        self.utf8.finish(&mut self.live.pending);
        self.pushed(from);
        let written = self.kept.total();
        if let Some(line) = line {
            if !self.ends_in_newline {
                self.live.pending.push('\n');
            }
            self.live.pending.push_str(line);
            self.live.pending.push('\n');
        }
        self.flush();
        let mut output = self.kept.finish();
        if let Some(line) = line {
            append_line(&mut output, line);
        }
        (output, written)
    }

    fn pushed(&mut self, from: usize) {
        let text = &self.live.pending[from..];
        if !text.is_empty() {
            self.kept.push(text);
            self.ends_in_newline = text.ends_with('\n');
        }
    }
}

impl Live {
    fn send(&mut self) {
        let text = std::mem::take(&mut self.pending);
        let len = text.len() as u64;
        let chunk =
            OutputChunk { execution_id: self.execution_id.clone(), offset: self.offset, text, dropped: self.dropped };
        self.dropped = if self.uplink.send_live(chunk) { 0 } else { self.dropped + len };
        self.offset += len;
    }
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
