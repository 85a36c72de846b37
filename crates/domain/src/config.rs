//! What the use cases can be configured with. Reading files and environment is the server's job.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use reeve_jobs::Cron;
use reeve_types::Secret;
use reeve_types::workspace::Defaults;

/// The static keys of the edge API. Generated at the first start where unset.
#[derive(Clone, Debug)]
pub struct StaticKeys {
    /// `MASTER_KEY`
    pub master: Secret,
    /// `API_KEY`
    pub api: Secret,
    /// `METRICS_KEY`
    pub metrics: Secret,
    /// `MCP_KEY`
    pub mcp: Secret,
    /// `PROXY_KEY`
    pub proxy: Secret,
}

/// Dropping of old executions.
#[derive(Clone, Debug)]
pub struct ExecutionPruning {
    /// `EXECUTION_PRUNING_ENABLED`
    pub enabled: bool,
    /// `EXECUTION_PRUNING_SCHEDULE`
    pub schedule: Cron,
    /// `EXECUTION_RETENTION_DAYS`
    pub retention: Duration,
}

impl Default for ExecutionPruning {
    /// Off; daily at midnight UTC what is older than 30 days.
    fn default() -> Self {
        #[allow(clippy::expect_used)] // a constant, parsed by a test
        let schedule = Cron::parse("execution_pruning_schedule", "0 0 * * *").expect("a cron pattern");
        Self { enabled: false, schedule, retention: Duration::from_secs(30 * 24 * 3600) }
    }
}

/// Settings of the domain.
#[derive(Clone, Debug)]
pub struct Config {
    /// The static keys.
    pub keys: StaticKeys,
    /// Cluster made at the first start; what `default` in key routes stands for. None closes those routes.
    pub default_cluster: Option<String>,
    /// Opens the route that hands out keys without authentication.
    pub public_enrollment_keys: bool,
    /// Address pools for clusters, scanned in order.
    pub address_pools: Vec<String>,
    /// Prefix length of a range taken from the pool.
    pub address_prefix: u8,
    /// DNS suffix of node names; empty for none.
    pub dns_suffix: String,
    /// Suffix of the name of the servers' own cluster: `admin-cluster-<suffix>`.
    pub admin_cluster: String,
    /// Range of the servers' own network; None takes one from the end of the address pools.
    pub admin_cluster_subnet: Option<String>,
    /// A server that was not heard of for this long is no member any more.
    pub server_lease: Duration,
    /// A server that is no member is forgotten after this long.
    pub forget_servers_after: Duration,
    /// Peers a server may hold; bounds how many nodes it owns.
    pub max_peers: i64,
    /// URLs of this server baked into enrollment keys.
    pub public_urls: Vec<String>,
    /// `host:port` of the agents listener, as agents reach it; baked into enrollment keys.
    pub agent_endpoints: Vec<String>,
    /// `sha256:<hex>` over the agents listener's public key; baked into enrollment keys.
    pub agent_pin: String,
    /// Time between heartbeats of an agent.
    pub heartbeat: Duration,
    /// Time between samples of an agent; zero wants none.
    pub sample_interval: Duration,
    /// How long a node that is asked for its metrics may take.
    pub scrape_timeout: Duration,
    /// `host:port` that Prometheus is told to scrape nodes' metrics at.
    pub metrics_base_url: String,
    /// A node is unreachable after this long without contact.
    pub unreachable_after: Duration,
    /// Life of an access token.
    pub access_token_life: Duration,
    /// Life of a refresh token.
    pub refresh_token_life: Duration,
    /// How long an `Idempotency-Key` is remembered.
    pub idempotency_life: Duration,
    /// Events older than this are dropped from the feed.
    pub event_retention: Duration,
    /// Jobs that ended longer ago are dropped with their output.
    pub job_retention: Duration,
    /// Whether and when old executions are dropped.
    pub execution_pruning: ExecutionPruning,
    /// Webhooks.
    pub webhooks: Webhooks,
    /// Provisioning.
    pub provisioning: Provisioning,
    /// `corename` of events.
    pub core_name: String,
    /// `source` of events, a URI.
    pub event_source: String,
}

impl Config {
    /// Name of the servers' own cluster: `admin-cluster-<suffix>`.
    pub fn admin_cluster_name(&self) -> String {
        format!("admin-cluster-{}", self.admin_cluster)
    }

    /// The defaults, with these keys.
    pub fn with_keys(keys: StaticKeys) -> Self {
        Self {
            keys,
            default_cluster: None,
            public_enrollment_keys: false,
            address_pools: vec!["100.64.0.0/10".into()],
            address_prefix: 24,
            dns_suffix: "nm.internal".into(),
            admin_cluster: "main".into(),
            admin_cluster_subnet: None,
            server_lease: Duration::from_secs(6),
            forget_servers_after: Duration::from_secs(2 * 3600),
            max_peers: 1_000_000,
            public_urls: Vec::new(),
            agent_endpoints: Vec::new(),
            agent_pin: String::new(),
            heartbeat: Duration::from_secs(30),
            sample_interval: Duration::from_secs(60),
            scrape_timeout: Duration::from_secs(10),
            metrics_base_url: "localhost:44000".into(),
            unreachable_after: Duration::from_secs(300),
            access_token_life: Duration::from_secs(24 * 3600),
            refresh_token_life: Duration::from_secs(7 * 24 * 3600),
            idempotency_life: Duration::from_secs(24 * 3600),
            event_retention: Duration::from_secs(7 * 24 * 3600),
            job_retention: Duration::from_secs(7 * 24 * 3600),
            execution_pruning: ExecutionPruning::default(),
            webhooks: Webhooks::default(),
            provisioning: Provisioning::default(),
            core_name: "default".into(),
            event_source: "urn:reeve:edge".into(),
        }
    }
}

/// How machines are made.
#[derive(Clone, Debug)]
pub struct Provisioning {
    /// Folders of workspaces are below this one only.
    pub workspaces_root: PathBuf,
    /// What machines start from when nobody says.
    pub default_image: String,
    /// What a request for a machine of a provider means where neither it nor the workspace says.
    pub provider_defaults: BTreeMap<String, Defaults>,
    /// Operations that ended longer ago are dropped.
    pub operation_retention: Duration,
    /// Operations under way or waiting; more are refused.
    pub most_open_operations: i64,
    /// A used refresh token is exchanged once more within this time after its first use.
    pub refresh_grace: Duration,
    /// Where hosts of provider `local` see a folder of packages; None when they have none.
    pub local_packages: Option<String>,
    /// How often a provider is asked how its machines are doing.
    pub poll: Duration,
    /// A machine that is not up by then was not made.
    pub boot_patience: Duration,
    /// How long a system inside may take to shut down before the plug is pulled.
    pub stop_patience: Duration,
    /// Where new machines fetch the agent from; None enrolls none.
    pub agent_url: Option<String>,
    /// What it has to be, hex SHA-256.
    pub agent_sha256: Option<String>,
    /// A provider's catalogue is believed for this long.
    pub catalogue_life: Duration,
}

impl Default for Provisioning {
    fn default() -> Self {
        let secs = Duration::from_secs;
        Self {
            workspaces_root: PathBuf::from("reeve-data/workspaces"),
            default_image: "debian-12".into(),
            provider_defaults: BTreeMap::new(),
            operation_retention: secs(30 * 24 * 3600),
            most_open_operations: 10_000,
            refresh_grace: secs(30),
            local_packages: None,
            poll: secs(5),
            boot_patience: secs(15 * 60),
            stop_patience: secs(120),
            agent_url: None,
            agent_sha256: None,
            catalogue_life: secs(600),
        }
    }
}

/// How events are sent to webhooks.
#[derive(Clone, Debug)]
pub struct Webhooks {
    /// Webhooks there may be.
    pub most: i64,
    /// Attempts of one delivery.
    pub max_attempts: i64,
    /// Pause after the first failure, the second, ...; the last one counts for all that follow.
    pub pauses: Vec<Duration>,
    /// A delivery that waits longer is given up; None is never.
    pub max_age: Option<Duration>,
    /// Time for one attempt.
    pub timeout: Duration,
    /// Attempts at once for one webhook.
    pub at_once: usize,
    /// Attempts at once in all; beyond that each webhook still has one.
    pub at_once_in_all: usize,
    /// A webhook that failed this long without a success is disabled.
    pub disable_after: Duration,
    /// A webhook with this many waiting deliveries is disabled.
    pub max_backlog: i64,
    /// Ended deliveries are kept this long.
    pub log_retention: Duration,
    /// How long the secret before a change signs too, unless the change says otherwise.
    pub secret_overlap: Duration,
}

impl Default for Webhooks {
    fn default() -> Self {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 3600;
        let pauses = [
            5,
            30,
            2 * MINUTE,
            10 * MINUTE,
            30 * MINUTE,
            2 * HOUR,
            5 * HOUR,
            10 * HOUR,
            14 * HOUR,
            20 * HOUR,
            24 * HOUR,
        ];
        Self {
            most: 1_000,
            max_attempts: 12,
            pauses: pauses.map(Duration::from_secs).to_vec(),
            max_age: Some(Duration::from_secs(5 * 24 * HOUR)),
            timeout: Duration::from_secs(10),
            at_once: 8,
            at_once_in_all: 512,
            disable_after: Duration::from_secs(5 * 24 * HOUR),
            max_backlog: 100_000,
            log_retention: Duration::from_secs(7 * 24 * HOUR),
            secret_overlap: Duration::from_secs(24 * HOUR),
        }
    }
}
