//! A real sshd of one's own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use reeve_lab::{PATIENCE, until, wait_for};
use reeve_ports::remote::{Kept, RemoteHost, RemoteHosts, RemoteOrder, Target};
use reeve_provider_ssh::{Settings, Ssh};
use reeve_types::Secret;
use tempfile::TempDir;

/// The login that is not root, known to this sshd alone.
pub const GUEST: &str = "reeveguest";
const GUEST_ID: u32 = 64123;

pub struct Sshd {
    child: Child,
    pub port: u16,
    pub dir: TempDir,
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn ssh() -> Ssh {
    Ssh::new(Settings { keepalive: Duration::from_secs(1), ..Settings::default() })
}

/// The pair of every test's login.
pub fn key() -> Secret {
    ssh().key_pair(&[1; 32], "test").unwrap().private
}

impl Sshd {
    pub fn start() -> Self {
        Self::with("", &["ed25519"])
    }

    pub fn with(config: &str, host_keys: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // The guest reads the authorized keys too.
        Command::new("chmod").args(["755"]).arg(dir.path()).status().unwrap();
        let public = ssh().key_pair(&[1; 32], "test").unwrap().public;
        std::fs::write(dir.path().join("authorized_keys"), public + "\n").unwrap();
        let mut text = format!(
            "AuthorizedKeysFile {0}/authorized_keys\nStrictModes no\nUsePAM no\nPidFile none\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nListenAddress 127.0.0.1\n\
             MaxStartups 100\n{config}\n",
            dir.path().display()
        );
        for kind in host_keys {
            let path = dir.path().join(format!("host_{kind}"));
            keygen(kind, &path);
            text += &format!("HostKey {}\n", path.display());
        }
        let config = dir.path().join("sshd_config");
        std::fs::write(&config, text).unwrap();
        if is_root() {
            std::fs::create_dir_all("/run/sshd").unwrap();
        }
        let port = free_port();
        let mut sshd = Self { child: spawn(dir.path(), port), port, dir };
        for _ in 0..10 {
            if sshd.listens(1) {
                return sshd;
            }
            // Somebody else took the port between its choice and sshd's start.
            sshd.port = free_port();
            sshd.child = spawn(sshd.dir.path(), sshd.port);
        }
        panic!("{}", sshd.log());
    }

    /// Waits until it listens on its port for the n-th time; false when it ended instead.
    fn listens(&mut self, time: usize) -> bool {
        let word = format!("Server listening on 127.0.0.1 port {}.", self.port);
        wait_for("sshd to listen", PATIENCE, || {
            if self.log().matches(&word).count() >= time {
                return Ok(Some(true));
            }
            Ok(self.child.try_wait()?.map(|_| false))
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.log()))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Another host key, as after a new installation.
    pub fn change_host_key(&mut self) {
        self.stop();
        let path = self.dir.path().join("host_ed25519");
        std::fs::remove_file(&path).unwrap();
        keygen("ed25519", &path);
        let time = self.log().matches("Server listening on 127.0.0.1").count() + 1;
        self.child = spawn(self.dir.path(), self.port);
        assert!(self.listens(time), "{}", self.log());
    }

    pub fn target(&self) -> Target {
        let user = if is_root() { "root".to_owned() } else { std::env::var("USER").unwrap() };
        Target {
            address: "127.0.0.1".to_owned(),
            port: self.port,
            user,
            key: key(),
            pinned: None,
            connect_timeout: Duration::from_secs(20),
        }
    }

    pub fn guest(&self) -> Target {
        if is_root() { Target { user: GUEST.to_owned(), ..self.target() } } else { self.target() }
    }

    pub fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// The processes of this sshd's logins.
    pub fn sessions(&self) -> Vec<u32> {
        children(self.child.id())
    }

    pub fn signal_all(&self, signal: &str) {
        for pid in self.sessions().into_iter().chain([self.child.id()]) {
            for pid in children(pid).into_iter().filter(|pid| comm(*pid).starts_with("sshd")).chain([pid]) {
                Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status().unwrap();
            }
        }
    }

    fn stop(&mut self) {
        self.signal_all("-KILL");
        // It may have ended by itself.
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn keygen(kind: &str, path: &Path) {
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-N", "", "-t", kind, "-f"]).arg(path);
    assert!(keygen.status().unwrap().success());
}

/// A new key of a kind that ssh-keygen knows, as it writes it by default or with `-m PEM`.
pub fn fresh_key(dir: &Path, kind: &str, more: &[&str]) -> (Secret, String) {
    let path: PathBuf = dir.join(format!("key_{kind}_{}", more.len()));
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", kind, "-f"]).arg(&path).args(more);
    if !more.contains(&"-N") {
        keygen.args(["-N", ""]);
    }
    assert!(keygen.status().unwrap().success());
    let public = std::fs::read_to_string(path.with_extension("pub")).unwrap();
    (Secret::new(std::fs::read_to_string(&path).unwrap()), public)
}

fn spawn(dir: &Path, port: u16) -> Child {
    let log = std::fs::File::options().create(true).append(true).open(dir.join("log")).unwrap();
    let mut command = if is_root() {
        // Own mounts, so that a user can be added without touching this machine's.
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let home = dir.join("home");
        std::fs::create_dir_all(&home).unwrap();
        std::os::unix::fs::chown(&home, Some(GUEST_ID), Some(GUEST_ID)).unwrap();
        let guest = format!("{GUEST}:x:{GUEST_ID}:{GUEST_ID}::{}:/bin/dash\n", home.display());
        std::fs::write(dir.join("passwd"), passwd + &guest).unwrap();
        let shadow = std::fs::read_to_string("/etc/shadow").unwrap();
        std::fs::write(dir.join("shadow"), shadow + &format!("{GUEST}:*:19000:0:99999:7:::\n")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c"]);
        command.arg(r#"mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow && d=$1 && shift && exec "$@""#);
        command.arg("sh").arg(dir).arg("/usr/sbin/sshd");
        command
    } else {
        Command::new("/usr/sbin/sshd")
    };
    // Not from root's profile, which can take its time.
    command.env("HOME", "/").arg("-D").arg("-e").args(["-p", &port.to_string()]).arg("-f").arg(dir.join("sshd_config"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}

fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

fn comm(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default()
}

/// Runs words and returns status and both outputs.
pub async fn sh(host: &dyn RemoteHost, script: &str) -> (String, String, String) {
    let mut kept = Kept::default();
    let order = RemoteOrder::new(["sh", "-c", script]);
    let outcome = host.run(&order, &mut kept).await.unwrap();
    (outcome.end.to_string(), kept.stdout(), kept.stderr())
}

pub async fn login(target: &Target) -> Arc<dyn RemoteHost> {
    ssh().connect(target).await.unwrap()
}

/// Waits until `path` exists.
pub async fn appears(path: &str) {
    until(&format!("{path} to appear"), || Path::new(path).exists()).await;
}
