//! `ports::Cloud` without a cloud: light Linux hosts on this machine, each with its own network, processes, root file
//! system, sshd and address. Their state is files below one folder and the processes themselves, so that a server that
//! comes back finds them as they are.
//!
//! Must not be taken for a wall: root on such a host is root on this machine. Must not touch an interface, a route or a
//! file that it did not make.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod cloud;
mod image;
pub mod inside;
mod life;
mod limits;
mod needs;
mod network;
mod plan;
mod process;
mod program;
mod record;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use ipnet::Ipv4Net;
use reeve_types::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use plan::Size;

/// How hosts are made on this machine.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where hosts and images are kept: an absolute path on a file system that overlayfs can write to.
    pub folder: PathBuf,
    /// The bridge that the hosts' cables end in: a name of at most 15 characters that nobody else uses.
    pub bridge: String,
    /// Their addresses. The first one is this machine's own on the bridge.
    pub pool: Ipv4Net,
    /// Whether hosts reach the world: this machine then forwards and masquerades for the pool (nftables).
    pub egress: bool,
    /// A folder of this machine that every host sees, read only, as [`PACKAGES_AT`].
    pub packages: Option<PathBuf>,
    /// The program that a host starts as: it must call [`inside::main`] with the words after these.
    pub launcher: Vec<OsString>,
    /// Where debootstrap gets its packages; None is its own default.
    pub mirror: Option<String>,
}

/// Where hosts see [`Settings::packages`].
pub const PACKAGES_AT: &str = "/mnt/packages";

impl Settings {
    /// For [`Settings::bridge`] where nothing speaks for another.
    pub const BRIDGE: &str = "reeve-local";
    /// For [`Settings::pool`] where nothing speaks for another: hardly anybody uses it.
    pub const POOL: &str = "10.214.0.0/24";
    /// The hidden word by which a program of ours becomes a host, when it is given as the first one.
    pub const WORD: &str = "local-host";

    /// Hosts below `folder`, made by this very program.
    pub fn new(folder: PathBuf) -> Self {
        // By the process: the program file may be replaced while we run.
        let launcher = vec![format!("/proc/{}/exe", std::process::id()).into(), Self::WORD.into()];
        Self {
            folder,
            bridge: Self::BRIDGE.to_owned(),
            pool: Ipv4Net::new_assert(std::net::Ipv4Addr::new(10, 214, 0, 0), 24),
            egress: false,
            packages: None,
            launcher,
            mirror: None,
        }
    }
}

/// The hosts of this machine. Cheap to clone.
#[derive(Clone)]
pub struct Local {
    inner: Arc<Inner>,
}

struct Inner {
    settings: Settings,
    clock: Arc<dyn Clock>,
    /// One change at a time; between processes the file `lock` says the same.
    changing: tokio::sync::Mutex<()>,
    /// Hosts whose interrupted way is being gone on with.
    resuming: std::sync::Mutex<std::collections::HashSet<reeve_ports::cloud::CloudServerId>>,
    /// What goes on behind the answers.
    work: TaskTracker,
    ending: CancellationToken,
}

impl Local {
    /// Touches nothing yet; what is missing on this machine shows when it is asked for something.
    pub fn new(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let (changing, resuming) = (tokio::sync::Mutex::default(), Default::default());
        let (work, ending) = (TaskTracker::new(), CancellationToken::new());
        Self { inner: Arc::new(Inner { settings, clock, changing, resuming, work, ending }) }
    }

    /// Ends what goes on behind the answers: hosts that are going down or coming up again go on where they are when
    /// somebody looks at them next.
    pub async fn close(&self) {
        self.inner.ending.cancel();
        self.inner.work.close();
        self.inner.work.wait().await;
    }
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Local({})", self.inner.settings.folder.display())
    }
}
