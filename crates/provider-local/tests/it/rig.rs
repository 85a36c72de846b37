//! Local hosts below a folder of a test's own, on a bridge and a pool of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use reeve_lab::find;
use reeve_ports::cloud::{Cloud, CloudServer, Created, LabelFilter, Labels, OperationTag, Removal, ServerSpec, SshKey};
use reeve_ports::remote::{Kept, RemoteHost, RemoteHosts, RemoteOrder, Target};
use reeve_provider_local::{Local, Settings};
use reeve_provider_ssh::Ssh;
use reeve_types::SystemClock;
use tempfile::TempDir;

static NEXT: AtomicU32 = AtomicU32::new(0);

pub struct Rig {
    pub dir: TempDir,
    pub settings: Settings,
    pub local: Local,
    pub ssh: Ssh,
}

impl Rig {
    pub fn new() -> Self {
        let number = NEXT.fetch_add(1, Ordering::SeqCst);
        let dir = tempfile::Builder::new().prefix("reeve-local-").tempdir().unwrap();
        let settings = settings(dir.path(), &format!("rvt{}-{number}", std::process::id()), number);
        Self { local: local(&settings), ssh: Ssh::new(Default::default()), dir, settings }
    }

    /// As a server that was started anew.
    pub fn again(&self) -> Local {
        local(&self.settings)
    }

    pub fn spec(&self, name: &str) -> ServerSpec {
        ServerSpec {
            operation: OperationTag::new(format!("op-{name}")).unwrap(),
            hostname: format!("{name}.example.com"),
            plan: "1xCPU-1GB".to_owned(),
            zone: "local".to_owned(),
            image: "host".to_owned(),
            disk_gb: None,
            ssh_keys: vec![SshKey { name: "test".to_owned(), public_key: key(&self.ssh).1 }],
            user_data: None,
            labels: Labels::from([("role".to_owned(), name.to_owned())]),
        }
    }

    pub async fn create(&self, name: &str) -> Created {
        self.local.create(&self.spec(name)).await.unwrap()
    }

    /// Logs in, as soon as somebody answers.
    pub async fn login(&self, server: &CloudServer) -> Arc<dyn RemoteHost> {
        let target = Target {
            address: server.address().unwrap().to_string(),
            port: 22,
            user: "root".to_owned(),
            key: key(&self.ssh).0,
            pinned: None,
            connect_timeout: Duration::from_secs(20),
        };
        find("a login", async || self.ssh.connect(&target).await.map_err(|error| (error, self.console(server)))).await
    }

    pub fn folder(&self, server: &CloudServer) -> PathBuf {
        self.dir.path().join("hosts").join(server.id.as_str())
    }

    pub fn console(&self, server: &CloudServer) -> String {
        std::fs::read_to_string(self.folder(server).join("console.log")).unwrap_or_default()
    }

    pub fn pid(&self, server: &CloudServer) -> u32 {
        std::fs::read_to_string(self.folder(server).join("alive")).unwrap().parse().unwrap()
    }

    pub async fn all(&self) -> Vec<CloudServer> {
        self.local.list(&LabelFilter::ours()).try_collect().await.unwrap()
    }

    pub async fn delete_all(&self) {
        for server in self.all().await {
            assert_eq!(self.local.delete(&server.id).await.unwrap(), Removal::Gone);
        }
    }

    /// Whatever of this rig is still on the machine.
    pub fn traces(&self) -> Vec<String> {
        let mut traces = Vec::new();
        let folder = self.dir.path().to_str().unwrap();
        for entry in std::fs::read_dir(self.dir.path().join("hosts")).into_iter().flatten().flatten() {
            traces.push(format!("folder {}", entry.path().display()));
        }
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&line).contains(folder) {
                traces.push(format!("process {} {}", process.path().display(), String::from_utf8_lossy(&line)));
            }
            let mounts = std::fs::read_to_string(process.path().join("mountinfo")).unwrap_or_default();
            if let Some(mount) = mounts.lines().find(|line| line.contains(folder)) {
                traces.push(format!("mount in {}: {mount}", process.path().display()));
            }
        }
        for link in std::fs::read_dir("/sys/class/net").unwrap().flatten() {
            let alias = std::fs::read_to_string(link.path().join("ifalias")).unwrap_or_default();
            let master = std::fs::read_link(link.path().join("master")).unwrap_or_default();
            if alias.contains(folder) || master.ends_with(&self.settings.bridge) {
                traces.push(format!("interface {}", link.path().display()));
            }
        }
        traces
    }
}

pub fn settings(folder: &Path, bridge: &str, number: u32) -> Settings {
    assert!(rustix_is_root(), "local hosts need root: run the tests as root");
    // One of the 16384 networks of /27 in 10.216.0.0/13.
    let network = (std::process::id() * 16 + number) % 16_384;
    let pool = format!("{}/27", std::net::Ipv4Addr::from_bits(0x0AD8_0000 + network * 32)).parse().unwrap();
    let launcher = vec![env!("CARGO_BIN_EXE_reeve-local-host").into()];
    Settings { bridge: bridge.to_owned(), pool, launcher, ..Settings::new(folder.to_owned()) }
}

pub fn local(settings: &Settings) -> Local {
    Local::new(settings.clone(), Arc::new(SystemClock))
}

fn rustix_is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().any(|line| line.starts_with("Uid:\t0\t0"))
}

fn key(ssh: &Ssh) -> (reeve_types::Secret, String) {
    let pair = ssh.key_pair(&[3; 32], "rig").unwrap();
    (pair.private, pair.public)
}

/// What a script prints on a host.
pub async fn sh(host: &dyn RemoteHost, script: &str) -> String {
    let mut kept = Kept::default();
    let outcome = host.run(&RemoteOrder::new(["sh", "-c", script]), &mut kept).await.unwrap();
    assert!(outcome.is_success(), "{script}: {} {}", outcome.end, kept.stderr());
    kept.stdout().trim_end().to_owned()
}

impl Drop for Rig {
    fn drop(&mut self) {
        // A test that failed leaves nothing running either.
        for host in std::fs::read_dir(self.dir.path().join("hosts")).into_iter().flatten().flatten() {
            let alive = host.path().join("alive");
            let held = std::fs::File::open(&alive).is_ok_and(|file| file.try_lock().is_err());
            if held && let Ok(pid) = std::fs::read_to_string(&alive) {
                Command::new("kill").args(["-KILL", &pid]).status().unwrap();
                while std::fs::File::open(&alive).is_ok_and(|file| file.try_lock().is_err()) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            for controller in ["memory", "cpu", "."] {
                let group = Path::new("/sys/fs/cgroup").join(controller).join("reeve-local").join(host.file_name());
                std::fs::remove_dir(group).ok();
            }
        }
        Command::new("ip").args(["link", "del", &self.settings.bridge]).output().unwrap();
    }
}
