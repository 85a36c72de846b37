//! Accounts with simulated vendors, as an application is given them.

use std::collections::BTreeMap;
use std::sync::Arc;

use reeve_domain::config::Config;
use reeve_providers::cloud::{Clouds, CloudsSettings};
use reeve_simulators::{HetznerSimulator, UpCloudSimulator, hetzner, upcloud};
use reeve_types::{Clock, Secret};

/// The simulators behind an application, and a folder for its workspaces. Time passes in the simulators with every call.
pub struct SimulatedClouds {
    /// UpCloud.
    pub upcloud: UpCloudSimulator,
    /// Hetzner.
    pub hetzner: HetznerSimulator,
    folder: tempfile::TempDir,
}

/// How much time passes in a simulator with every call.
const PER_CALL_MS: i64 = 30_000;

impl SimulatedClouds {
    /// Empty accounts.
    pub async fn open() -> Self {
        let upcloud = UpCloudSimulator::start().await.expect("a free port");
        let hetzner = HetznerSimulator::start().await.expect("a free port");
        upcloud.time.advance_per_call_ms(PER_CALL_MS);
        hetzner.time.advance_per_call_ms(PER_CALL_MS);
        Self { upcloud, hetzner, folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// No time passes in the simulators, or it does again.
    pub fn stand_still(&self, still: bool) {
        let ms = if still { 0 } else { PER_CALL_MS };
        self.upcloud.time.advance_per_call_ms(ms);
        self.hetzner.time.advance_per_call_ms(ms);
    }

    /// Where workspaces are.
    pub fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("workspaces")
    }

    /// Puts workspaces below the folder.
    pub fn configure(&self, config: &mut Config) {
        config.provisioning.workspaces_root = self.root();
    }

    /// Counts how often machines were restarted.
    pub fn restarts(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let (upcloud, hetzner) =
            (self.upcloud.front.counter("/restart"), self.hetzner.front.counter("/actions/reboot"));
        move || upcloud() + hetzner()
    }

    /// The way to the accounts.
    pub fn factory(&self, clock: Arc<dyn Clock>) -> Arc<Clouds> {
        let settings = CloudsSettings {
            upcloud_url: Some(self.upcloud.front.url()),
            hetzner_url: Some(self.hetzner.front.url()),
            environment: BTreeMap::from([
                ("UPCLOUD_TOKEN".to_owned(), Secret::new(upcloud::TOKEN)),
                ("HCLOUD_TOKEN".to_owned(), Secret::new(hetzner::TOKEN)),
            ]),
            ..CloudsSettings::default()
        };
        Arc::new(Clouds::new(settings, clock))
    }
}
