//! Settings: flags before `REEVE_*` environment before `reeve.toml` before defaults.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use figment::Figment;
use figment::providers::{Env, Format, Serialized, Toml};
use reeve_domain::config::{Cron, ExecutionPruning};
use reeve_types::workspace::Defaults;
use serde::{Deserialize, Serialize};

use crate::environment::{ORIGINAL_NAMES, is_setting};

/// Seconds of a day.
const DAY: f64 = 86_400.0;

/// Flags of `up`, `serve` and `migrate`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Where everything is kept [default: ./reeve-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// PostgreSQL URL for several servers on one store, with sslmode and sslrootcert as libpq knows them (verify-full
    /// checks everything) [default: SQLite in the data directory]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Where a surface listens, as edge=0.0.0.0:44000; port 0 takes a free one, `off` closes it. Surfaces: edge, provisioning, console, agents
    #[arg(long, value_name = "SURFACE=ADDR")]
    pub listen: Vec<String>,
    /// Host name or address (with or without port) under which agents reach this server; repeatable
    #[arg(long, value_name = "HOST[:PORT]")]
    pub advertise: Vec<String>,
    /// Serve HTTPS with cert.pem and key.pem of this folder; a self-signed pair is made when they are not there
    #[arg(long, value_name = "DIR")]
    pub tls: Option<PathBuf>,
    /// Settings file [default: ./reeve.toml when it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What is logged, as info or reeve=debug
    #[arg(long, value_name = "FILTER")]
    pub log: Option<String>,
}

/// One surface's settings.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Surface {
    /// An address, or `off`.
    pub listen: String,
}

/// All settings of a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The data directory.
    pub data: PathBuf,
    /// PostgreSQL URL; None is SQLite.
    pub store: Option<String>,
    /// Listeners.
    pub surfaces: BTreeMap<String, Surface>,
    /// Under which names agents reach this server.
    pub advertise: Vec<String>,
    /// Log filter.
    pub log: String,
    /// `text` or `json`.
    pub log_format: String,
    /// Cluster made at the first start.
    pub default_cluster_name: Option<String>,
    /// Opens the route that hands out enrollment keys to anybody.
    pub public_enrollment_key_enabled: bool,
    /// Suffix of the servers' own cluster.
    pub admin_cluster_name: String,
    /// Range of the servers' own network; unset takes one from the end of the ranges below.
    pub admin_cluster_subnet: Option<String>,
    /// Peers per server; bounds how many nodes it owns.
    pub admin_max_wireguard_peers: i64,
    /// Seconds after which the other servers expel one that is silent.
    pub server_lease_secs: f64,
    /// Minutes after which a server that is gone is forgotten.
    pub zombie_admin_checkin_threshold_minutes: u32,
    /// DNS suffix of node names.
    pub dns_suffix: String,
    /// Address pools of clusters.
    pub cluster_auto_generated_ranges: Vec<String>,
    /// Prefix length of a cluster's range.
    pub cluster_subnet_prefix: u8,
    /// Seconds between heartbeats.
    pub heartbeat_secs: f64,
    /// Seconds without contact until a node is unreachable.
    pub unreachable_after_secs: f64,
    /// Seconds between samples of a node; 0 wants none pushed.
    pub sample_interval_secs: f64,
    /// Milliseconds that a node may take to answer a live question for its metrics.
    pub metrics_scrape_timeout_ms: u64,
    /// `host:port` that Prometheus is told to scrape nodes' metrics at; the edge listener's when unset.
    pub metrics_base_url: Option<String>,
    /// Whether old executions are dropped.
    pub execution_pruning_enabled: bool,
    /// When, as a cron pattern in UTC.
    pub execution_pruning_schedule: String,
    /// Which: those made longer ago that have ended.
    pub execution_retention_days: u32,
    /// Older events are dropped from the feed.
    pub event_retention_days: u32,
    /// Jobs that ended longer ago are dropped.
    pub job_retention_days: u32,
    /// `corename` of events.
    pub core_name: String,
    /// Whether webhooks may lead to this machine and to private networks.
    pub webhook_allow_private_ips: bool,
    /// Attempts of one delivery to a webhook.
    pub webhook_max_attempts: i64,
    /// Seconds after the first failed attempt, the second, ...; the last counts for all that follow.
    pub webhook_retry_schedule_secs: Vec<f64>,
    /// Seconds for one attempt.
    pub webhook_timeout_secs: f64,
    /// Attempts at once for one webhook; 1 keeps the order of events.
    pub webhook_concurrency: usize,
    /// Days of failure without a success after which a webhook is disabled.
    pub webhook_disable_after_days: f64,
    /// Days that ended deliveries stay in the log.
    pub webhook_log_retention_days: f64,
    /// Seconds after which a waiting delivery is given up; 0 is never.
    pub event_delivery_max_age_seconds: u64,
    /// Folders of workspaces are below this one only; `workspaces` in the data directory when unset.
    pub workspaces_root: Option<PathBuf>,
    /// What servers start from when neither the request nor the workspace says.
    pub default_image: String,
    /// Where new machines fetch the agent from, to be born as nodes; unset enrolls none.
    pub agent_download_url: Option<String>,
    /// What it has to be, hex SHA-256.
    pub agent_download_sha256: Option<String>,
    /// Operations that ended longer ago are dropped.
    pub operation_retention_days: u32,
    /// Another address of UpCloud's API, for a proxy or a simulator.
    pub upcloud_url: Option<String>,
    /// Another address of Hetzner Cloud's API.
    pub hetzner_url: Option<String>,
    /// Another address of EC2's API.
    pub aws_url: Option<String>,
    /// The subnet that EC2 servers are put in; the account's default when unset.
    pub aws_subnet_id: Option<String>,
    /// The security groups of EC2 servers; the account's default when empty.
    pub aws_security_group_ids: Vec<String>,
    /// Whether machines of provider `local` can be made: hosts in namespaces of this machine. Needs root.
    pub local_enabled: bool,
    /// Where they are kept; `local` in the data directory when unset.
    pub local_folder: Option<PathBuf>,
    /// The bridge they are connected by.
    pub local_bridge: String,
    /// Their addresses; the first one is this machine's.
    pub local_pool: String,
    /// Whether they reach the world, by NAT through this machine.
    pub local_egress: bool,
    /// A folder of this machine that they see, read only, as `/mnt/packages`.
    pub local_packages: Option<PathBuf>,
    /// Where debootstrap gets packages for their image debian-12.
    pub local_mirror: Option<String>,
    /// Whether the API documents and Swagger UI are served.
    pub api_docs_enabled: bool,
    /// Origins of browsers that may call the APIs.
    pub cors_allowed_origins: Vec<String>,
    /// Requests a second per principal; 0 is no limit.
    pub requests_per_second: u32,
    /// Folder with `cert.pem` and `key.pem` for the HTTP listeners; None is plain HTTP.
    pub tls: Option<PathBuf>,
    /// The first admin's password; generated when unset.
    pub admin_password: Option<String>,
    /// The static keys; generated when unset.
    pub master_key: Option<String>,
    /// See `master_key`.
    pub api_key: Option<String>,
    /// See `master_key`.
    pub metrics_key: Option<String>,
    /// See `master_key`.
    pub mcp_key: Option<String>,
    /// See `master_key`.
    pub proxy_key: Option<String>,
    /// The key that seals secrets, base64 of 32 bytes; generated and kept in the data directory when unset.
    pub seal_key: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let webhooks = reeve_domain::config::Webhooks::default();
        let surface = |listen: &str| Surface { listen: listen.to_owned() };
        Self {
            data: PathBuf::from("reeve-data"),
            store: None,
            surfaces: BTreeMap::from([
                ("edge".to_owned(), surface("127.0.0.1:44000")),
                ("provisioning".to_owned(), surface("127.0.0.1:8083")),
                ("console".to_owned(), surface("127.0.0.1:7400")),
                ("agents".to_owned(), surface("127.0.0.1:7443")),
            ]),
            advertise: Vec::new(),
            log: "info".into(),
            log_format: "text".into(),
            default_cluster_name: Some("main".into()),
            public_enrollment_key_enabled: false,
            admin_cluster_name: "main".into(),
            admin_cluster_subnet: None,
            admin_max_wireguard_peers: 100_000,
            server_lease_secs: 6.0,
            zombie_admin_checkin_threshold_minutes: 120,
            dns_suffix: "nm.internal".into(),
            cluster_auto_generated_ranges: vec!["100.64.0.0/10".into()],
            cluster_subnet_prefix: 24,
            heartbeat_secs: 30.0,
            unreachable_after_secs: 300.0,
            sample_interval_secs: 60.0,
            metrics_scrape_timeout_ms: 10_000,
            metrics_base_url: None,
            execution_pruning_enabled: false,
            execution_pruning_schedule: "0 0 * * *".into(),
            execution_retention_days: 30,
            event_retention_days: 7,
            job_retention_days: 7,
            core_name: "default".into(),
            webhook_allow_private_ips: false,
            webhook_max_attempts: webhooks.max_attempts,
            webhook_retry_schedule_secs: webhooks.pauses.iter().map(Duration::as_secs_f64).collect(),
            webhook_timeout_secs: webhooks.timeout.as_secs_f64(),
            webhook_concurrency: webhooks.at_once,
            webhook_disable_after_days: webhooks.disable_after.as_secs_f64() / DAY,
            webhook_log_retention_days: webhooks.log_retention.as_secs_f64() / DAY,
            event_delivery_max_age_seconds: webhooks.max_age.map_or(0, |age| age.as_secs()),
            workspaces_root: None,
            default_image: "debian-12".into(),
            agent_download_url: None,
            agent_download_sha256: None,
            operation_retention_days: 30,
            upcloud_url: None,
            hetzner_url: None,
            aws_url: None,
            aws_subnet_id: None,
            aws_security_group_ids: Vec::new(),
            local_enabled: true,
            local_folder: None,
            local_bridge: reeve_provider_local::Settings::BRIDGE.into(),
            local_pool: reeve_provider_local::Settings::POOL.into(),
            local_egress: false,
            local_packages: None,
            local_mirror: None,
            api_docs_enabled: true,
            cors_allowed_origins: Vec::new(),
            requests_per_second: 20_000,
            tls: None,
            admin_password: None,
            master_key: None,
            api_key: None,
            metrics_key: None,
            mcp_key: None,
            proxy_key: None,
            seal_key: None,
        }
    }
}

/// What the API takes for a cluster's name; it becomes a part of host names.
fn is_cluster_name(name: &str) -> bool {
    let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=24).contains(&name.len()) && name.chars().all(label) && !name.starts_with('-') && !name.ends_with('-')
}

impl Settings {
    /// Reads all sources.
    pub fn load(args: &ServeArgs) -> Result<Self> {
        let file = args.config.clone().unwrap_or_else(|| PathBuf::from("reeve.toml"));
        if args.config.is_some() && !file.exists() {
            bail!("the settings file {} does not exist", file.display());
        }
        let sources = Figment::from(Serialized::defaults(Self::default()))
            .merge(Toml::file(&file))
            .merge(Env::raw().only(&ORIGINAL_NAMES))
            // Other variables with the prefix belong to the client, the agent or the tests.
            .merge(Env::prefixed("REEVE_").filter(|name| is_setting(name.as_str())).split("__"));
        let mut settings: Self = sources.extract().context("the settings cannot be read")?;
        if let Some(data) = &args.data {
            settings.data = data.clone();
        }
        if let Some(store) = &args.store {
            settings.store = Some(store.clone());
        }
        if let Some(tls) = &args.tls {
            settings.tls = Some(tls.clone());
        }
        if let Some(log) = &args.log {
            settings.log = log.clone();
        }
        settings.advertise.extend(args.advertise.iter().cloned());
        for listen in &args.listen {
            let (name, address) = listen.split_once('=').with_context(|| {
                format!("--listen takes SURFACE=ADDR, as edge=127.0.0.1:44000; `{listen}` has no `=`")
            })?;
            let surface = settings.surfaces.get_mut(name).with_context(|| {
                format!(
                    "--listen {listen}: there is no surface `{name}`; there are edge, provisioning, console and agents"
                )
            })?;
            address.clone_into(&mut surface.listen);
        }
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<()> {
        for name in self.surfaces.keys() {
            self.address(name)?;
        }
        if self.default_cluster_name.as_deref() == Some("default") {
            bail!("default_cluster_name must not be `default`: that word stands for it in the API");
        }
        if let Some(name) = self.default_cluster_name.as_deref().filter(|name| !is_cluster_name(name)) {
            bail!(
                "default_cluster_name must be 1 to 24 of a-z 0-9 and `-`, with a letter or digit at both ends; `{name}` is not"
            );
        }
        if self.heartbeat_secs < 0.05 || self.unreachable_after_secs <= self.heartbeat_secs {
            bail!("unreachable_after_secs must be more than heartbeat_secs, and that at least 0.05");
        }
        if self.sample_interval_secs != 0.0 && !(0.1..=3_600.0).contains(&self.sample_interval_secs) {
            bail!("sample_interval_secs is {}; it is 0 (none) or between 0.1 and 3600", self.sample_interval_secs);
        }
        // The answer has to leave before the handler's 30 s are over.
        if !(1..=25_000).contains(&self.metrics_scrape_timeout_ms) {
            bail!("metrics_scrape_timeout_ms is {}; it is between 1 and 25000", self.metrics_scrape_timeout_ms);
        }
        if let Some(base) = self.metrics_base_url.as_deref().filter(|base| !is_host_and_port(base)) {
            bail!("metrics_base_url is `{base}`; it is HOST:PORT without scheme and path, as in control.example:44000");
        }
        if !(0.5..=300.0).contains(&self.server_lease_secs) {
            bail!("server_lease_secs must be between 0.5 and 300; {} is not", self.server_lease_secs);
        }
        if self.admin_max_wireguard_peers < 0 {
            bail!("admin_max_wireguard_peers must not be negative; {} is", self.admin_max_wireguard_peers);
        }
        let suffix = &self.admin_cluster_name;
        if !is_cluster_name(suffix) || suffix.len() > 18 {
            bail!(
                "admin_cluster_name must be 1 to 18 of a-z 0-9 and `-`, with a letter or digit at both ends; `{suffix}` is not"
            );
        }
        self.pruning()?;
        for (name, days) in [
            ("execution_retention_days", self.execution_retention_days),
            ("event_retention_days", self.event_retention_days),
            ("job_retention_days", self.job_retention_days),
            ("operation_retention_days", self.operation_retention_days),
        ] {
            if days == 0 {
                bail!("{name} must be at least 1");
            }
        }
        self.check_webhooks()
    }

    fn check_webhooks(&self) -> Result<()> {
        let year = 366.0 * DAY;
        let pauses = &self.webhook_retry_schedule_secs;
        if pauses.is_empty() || pauses.len() > 100 || !pauses.iter().all(|secs| (0.1..=year).contains(secs)) {
            bail!("webhook_retry_schedule_secs must list 1 to 100 pauses of 0.1 seconds to a year, as [5, 30, 120]");
        }
        if !(1..=1_000).contains(&self.webhook_max_attempts) {
            bail!("webhook_max_attempts (WEBHOOK_MAX_ATTEMPTS) must be 1 to 1000");
        }
        if !(0.1..=60.0).contains(&self.webhook_timeout_secs) || !(1..=64).contains(&self.webhook_concurrency) {
            bail!("webhook_timeout_secs must be 0.1 to 60 and webhook_concurrency 1 to 64");
        }
        let kept = 0.001..=366.0;
        if !kept.contains(&self.webhook_disable_after_days) || !kept.contains(&self.webhook_log_retention_days) {
            bail!("webhook_disable_after_days and webhook_log_retention_days must be 0.001 to 366");
        }
        if self.event_delivery_max_age_seconds > days(self.event_retention_days).as_secs() {
            bail!("event_delivery_max_age_seconds must not be more than event_retention_days: events are gone by then");
        }
        Ok(())
    }

    fn pruning(&self) -> Result<ExecutionPruning> {
        let name = "execution_pruning_schedule";
        let schedule = Cron::parse(name, &self.execution_pruning_schedule)
            .map_err(|error| anyhow::anyhow!("{name}: {}", error.details[name].join(", ")))?;
        let retention = days(self.execution_retention_days);
        Ok(ExecutionPruning { enabled: self.execution_pruning_enabled, schedule, retention })
    }

    /// Where `surface` listens; None is off.
    pub fn address(&self, surface: &str) -> Result<Option<SocketAddr>> {
        match self.surfaces.get(surface).map(|s| s.listen.as_str()) {
            None | Some("off") => Ok(None),
            Some(text) => text
                .parse()
                .map(Some)
                .with_context(|| format!("the listener of {surface}, `{text}`, is not ADDRESS:PORT or `off`")),
        }
    }

    /// The rules' part, with keys filled in and the agents' listener known.
    pub fn domain(&self, keys: reeve_domain::config::StaticKeys) -> Result<reeve_domain::config::Config> {
        let mut config = reeve_domain::config::Config::with_keys(keys);
        config.default_cluster.clone_from(&self.default_cluster_name);
        config.public_enrollment_keys = self.public_enrollment_key_enabled;
        config.address_pools.clone_from(&self.cluster_auto_generated_ranges);
        config.address_prefix = self.cluster_subnet_prefix;
        config.dns_suffix.clone_from(&self.dns_suffix);
        config.admin_cluster.clone_from(&self.admin_cluster_name);
        config.admin_cluster_subnet.clone_from(&self.admin_cluster_subnet);
        config.max_peers = self.admin_max_wireguard_peers;
        config.server_lease = Duration::from_secs_f64(self.server_lease_secs);
        config.forget_servers_after = Duration::from_secs(60 * u64::from(self.zombie_admin_checkin_threshold_minutes));
        config.heartbeat = Duration::from_secs_f64(self.heartbeat_secs);
        config.unreachable_after = Duration::from_secs_f64(self.unreachable_after_secs);
        config.sample_interval = Duration::from_secs_f64(self.sample_interval_secs);
        config.scrape_timeout = Duration::from_millis(self.metrics_scrape_timeout_ms);
        config.core_name.clone_from(&self.core_name);
        config.event_retention = days(self.event_retention_days);
        config.job_retention = days(self.job_retention_days);
        let provisioning = &mut config.provisioning;
        let root = self.workspaces_root.clone().unwrap_or_else(|| self.data.join("workspaces"));
        // Paths of workspaces are absolute.
        provisioning.workspaces_root = std::path::absolute(root).context("workspaces_root")?;
        provisioning.default_image.clone_from(&self.default_image);
        provisioning.agent_url.clone_from(&self.agent_download_url);
        provisioning.agent_sha256.clone_from(&self.agent_download_sha256);
        if self.local_enabled {
            let own = |word: &str| Some(word.to_owned());
            let words = Defaults { provider: None, plan: own("1xCPU-1GB"), zone: own("local"), image: own("host") };
            provisioning.provider_defaults.insert("local".to_owned(), words);
            let packages = self.local_packages.as_ref().map(|_| reeve_provider_local::PACKAGES_AT.to_owned());
            provisioning.local_packages = packages;
        }
        provisioning.operation_retention = days(self.operation_retention_days);
        config.execution_pruning = self.pruning()?;
        config.webhooks.max_attempts = self.webhook_max_attempts;
        config.webhooks.pauses =
            self.webhook_retry_schedule_secs.iter().copied().map(Duration::from_secs_f64).collect();
        config.webhooks.timeout = Duration::from_secs_f64(self.webhook_timeout_secs);
        config.webhooks.at_once = self.webhook_concurrency;
        config.webhooks.disable_after = Duration::from_secs_f64(self.webhook_disable_after_days * DAY);
        config.webhooks.log_retention = Duration::from_secs_f64(self.webhook_log_retention_days * DAY);
        let age = self.event_delivery_max_age_seconds;
        config.webhooks.max_age = (age > 0).then(|| Duration::from_secs(age));
        Ok(config)
    }

    /// How hosts of this machine are made; None when they are not wanted.
    pub fn local(&self) -> Result<Option<reeve_provider_local::Settings>> {
        if !self.local_enabled {
            return Ok(None);
        }
        let folder = self.local_folder.clone().unwrap_or_else(|| self.data.join("local"));
        let pool = self.local_pool.parse().with_context(|| {
            format!(
                "local_pool is {:?}; write a network such as {}",
                self.local_pool,
                reeve_provider_local::Settings::POOL
            )
        })?;
        let settings = reeve_provider_local::Settings::new(std::path::absolute(folder).context("local_folder")?);
        Ok(Some(reeve_provider_local::Settings {
            bridge: self.local_bridge.clone(),
            pool,
            egress: self.local_egress,
            packages: self.local_packages.clone(),
            mirror: self.local_mirror.clone(),
            ..settings
        }))
    }

    /// Where the data lives.
    pub fn location(&self) -> reeve_store::Location {
        match &self.store {
            Some(url) => reeve_store::Location::Postgres(url.clone()),
            None => reeve_store::Location::Sqlite(self.database()),
        }
    }

    /// The SQLite file.
    pub fn database(&self) -> PathBuf {
        self.data.join("reeve.db")
    }

    /// Folder of the local agent that `up` starts.
    pub fn local_agent(&self) -> PathBuf {
        self.data.join("agent")
    }
}

fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 24 * 3600)
}

/// `host` with `port` added when it has none.
pub fn with_port(host: &str, port: u16) -> String {
    let has_port = host.rsplit_once(':').is_some_and(|(head, tail)| tail.parse::<u16>().is_ok() && !head.contains(':'))
        || host.parse::<SocketAddr>().is_ok();
    if has_port {
        host.to_owned()
    } else if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Without the port, if there is one.
pub fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((head, port)) if port.parse::<u16>().is_ok() && (!head.contains(':') || head.starts_with('[')) => head,
        _ => host,
    }
}

fn is_host_and_port(text: &str) -> bool {
    let host = without_port(text);
    host.len() < text.len() && !host.is_empty() && !host.contains(['/', ' ', '@'])
}

/// True when `path` is a folder that only its owner can enter.
pub fn is_private(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.permissions().mode() & 0o077 == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clusters_names_are_those_of_the_api() {
        assert!(is_cluster_name("main") && is_cluster_name("a") && is_cluster_name("eu-1"));
        for wrong in ["", "Bad Name!", "-a", "a-", "Main", "a.b", "a234567890123456789012345"] {
            assert!(!is_cluster_name(wrong), "{wrong}");
        }
    }

    #[test]
    fn hosts_and_ports() {
        for (text, host) in [("a:1", "a"), ("a", "a"), ("[::1]:5", "[::1]"), ("::1", "::1"), ("1.2.3.4:80", "1.2.3.4")]
        {
            assert_eq!(without_port(text), host);
        }
        assert!(is_host_and_port("control.example:44000") && is_host_and_port("[::1]:9"));
        for wrong in ["control.example", "http://a:1/x", ":1", "a:99999", "::1", "u@h:1"] {
            assert!(!is_host_and_port(wrong), "{wrong}");
        }
    }

    #[test]
    fn settings_of_metrics_are_checked() {
        let with = |change: fn(&mut Settings)| {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().is_ok()
        };
        assert!(with(|s| s.sample_interval_secs = 0.0) && with(|s| s.metrics_base_url = Some("a:1".into())));
        assert!(!with(|s| s.sample_interval_secs = -1.0) && !with(|s| s.sample_interval_secs = f64::NAN));
        assert!(!with(|s| s.metrics_scrape_timeout_ms = 0) && !with(|s| s.metrics_scrape_timeout_ms = 30_000));
        assert!(!with(|s| s.metrics_base_url = Some("http://a:1".into())));
    }
}
