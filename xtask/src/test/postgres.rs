//! A PostgreSQL server in a temporary folder, on a free port of loopback, for one run of the tests. It keeps fsync on:
//! the tests are about what survives.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::shell;

const OWNER: &str = "postgres";

/// A running server; stopped by `stop`, or killed when dropped.
pub struct Postgres {
    pub version: String,
    pub port: u16,
    server: Child,
    /// Removed with the server's data when this goes.
    _folder: TempDir,
}

impl Postgres {
    pub fn start() -> Result<Self> {
        let bin = folder().context("no PostgreSQL found; run `cargo xtask test --only needs`")?;
        let folder = tempfile::Builder::new().prefix("reeve-test-postgres-").tempdir_in("/tmp")?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let owner = if shell::is_root() { Some(account(OWNER)?) } else { None };
        if let Some((uid, gid)) = owner {
            chown(folder.path(), Some(uid), Some(gid))?;
        }
        let data = folder.path().join("data");
        shell::capture(
            as_owner(&bin.join("initdb"), owner.is_some())
                .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--pgdata"])
                .arg(&data),
        )?;
        let port = free_port()?;
        let log = fs::File::create(folder.path().join("log"))?;
        let server = as_owner(&bin.join("postgres"), owner.is_some())
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(folder.path())
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=400"])
            .args(["-c", "shared_buffers=128MB"])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("cannot start postgres")?;
        let mut postgres = Self { version: version(&bin)?, port, server, _folder: folder };
        postgres.wait_until_ready(&bin)?;
        Ok(postgres)
    }

    pub fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Asks for a fast shutdown and waits for it.
    pub fn stop(mut self) -> Result<()> {
        if let Some(pid) = i32::try_from(self.server.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::INT).context("cannot signal postgres")?;
        }
        self.server.wait()?;
        Ok(())
    }

    fn wait_until_ready(&mut self, bin: &Path) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let port = self.port.to_string();
        loop {
            let ready = Command::new(bin.join("pg_isready")).args(["-q", "-h", "127.0.0.1", "-p", &port]).status()?;
            if ready.success() {
                return Ok(());
            }
            let ended = self.server.try_wait()?;
            if ended.is_some() || Instant::now() > deadline {
                let log = fs::read_to_string(self._folder.path().join("log")).unwrap_or_default();
                bail!("PostgreSQL did not start (ended: {ended:?}); its log:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // After `stop` it has ended and this does nothing.
        if matches!(self.server.try_wait(), Ok(None)) && self.server.kill().and_then(|()| self.server.wait()).is_err() {
            eprintln!("xtask: PostgreSQL (pid {}) could not be stopped", self.server.id());
        }
    }
}

/// Where initdb and postgres are: the newest version of the Debian layout, else the path.
pub fn folder() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok().into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse::<u32>().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").is_file())
        .max();
    newest.map(|(_, bin)| bin).or_else(|| Some(shell::find("initdb")?.parent()?.to_path_buf()))
}

/// PostgreSQL refuses to run as root: then it runs as its own account.
fn as_owner(program: &Path, root: bool) -> Command {
    let mut command;
    if root {
        command = Command::new("setpriv");
        command.args(["--reuid", OWNER, "--regid", OWNER, "--clear-groups"]).arg(program);
    } else {
        command = Command::new(program);
    }
    command.current_dir("/");
    command
}

/// User and group id of an account.
fn account(name: &str) -> Result<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    let fields =
        passwd.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields.first() == Some(&name));
    let fields = fields.with_context(|| format!("no account {name}; reinstall the package postgresql"))?;
    match fields.as_slice() {
        [_, _, uid, gid, ..] => Ok((uid.parse()?, gid.parse()?)),
        _ => bail!("unreadable /etc/passwd"),
    }
}

fn version(bin: &Path) -> Result<String> {
    let text = shell::capture(Command::new(bin.join("postgres")).arg("--version"))?;
    Ok(text.split_whitespace().nth(2).unwrap_or("?").to_owned())
}

/// A port of loopback that was free a moment ago.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
