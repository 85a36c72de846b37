//! The server: everything wired together, from the data directory to the listeners, and stopped in order.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use reeve_agent_gateway::{Gateway, Hub, TlsIdentity};
use reeve_domain::seal::Seal;
use reeve_domain::{App, background, identity, server};
use reeve_http_kit::cors::Cors;
use reeve_http_kit::limits::{LimitRates, Limits, Rate};
use reeve_http_kit::listener::{Listener, ListenerOptions};
use reeve_http_kit::measure::Metrics;
use reeve_http_kit::probes::{Probes, metrics_router};
use reeve_http_kit::surface::Kit;
use reeve_http_kit::tls::Identity;
use reeve_provider_local::Local;
use reeve_provider_ssh::Ssh;
use reeve_providers::cloud::{Clouds, CloudsSettings};
use reeve_providers::fetch::{Fetcher, Guard};
use reeve_store::Store;
use reeve_types::id::{Ids, SystemIds};
use reeve_types::{Actor, Clock, Secret, SharedClock};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::backup;
use crate::config::{ServeArgs, Settings, with_port, without_port};
use crate::data_dir::{Credentials, DataDir};
use crate::doctor::Doctor;
use crate::environment::unread_variables;
use crate::seal_keys::KeyFile;
use crate::seams::{Bearers, Checks, Keys};
use crate::{say, shared};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long a stop waits for requests in flight.
const DRAIN: Duration = Duration::from_secs(10);
/// Why a server does not start on an older schema.
const NO_BACKUP: &str = "the schema has to change, and the backup that is made before it failed; nothing was changed";

/// `reeve serve`.
pub async fn run(args: ServeArgs) -> Result<()> {
    let settings = Settings::load(&args)?;
    logging(&settings)?;
    let server = Server::start(settings).await?;
    for (surface, url) in &server.listeners {
        tracing::info!(surface, url, "listening");
    }
    stop_signal().await?;
    server.stop().await;
    Ok(())
}

/// `reeve migrate`.
pub async fn migrate(args: ServeArgs) -> Result<()> {
    let settings = Settings::load(&args)?;
    let _data = DataDir::open(&settings.data)?;
    let store = Store::open_unmigrated(&settings.location()).await?;
    if let Some(path) = backup::before_migration(&settings, &store).await.context(NO_BACKUP)? {
        say::line(&format!(
            "backup of the schema before in {path} (key: {})",
            backup::kept_key_path(&settings.data).display()
        ));
    }
    let applied = reeve_store::migrate::up(&store).await?;
    say::line(&match applied.as_slice() {
        [] => format!("the schema is up to date (number {})", reeve_store::migrate::newest()),
        applied => format!("applied {}", applied.join(", ")),
    });
    Ok(())
}

/// Opens the store; a database of an older version is backed up before its schema is changed.
async fn open(settings: &Settings) -> Result<Store> {
    let store = Store::open_unmigrated(&settings.location()).await?;
    if let Some(path) = backup::before_migration(settings, &store).await.context(NO_BACKUP)? {
        let key = backup::kept_key_path(&settings.data);
        tracing::warn!(path, key = %key.display(), "the schema changes; a backup of the database before was made");
    }
    reeve_store::migrate::up(&store).await?;
    Ok(store)
}

/// A running server.
pub struct Server {
    /// The domain.
    pub app: Arc<App>,
    /// Surface to URL.
    pub listeners: BTreeMap<String, String>,
    /// For the people on this machine.
    pub credentials: Credentials,
    /// Whether the data directory was new.
    pub first_start: bool,
    /// The settings it runs with.
    pub settings: Settings,
    data: DataDir,
    draining: CancellationToken,
    stopping: CancellationToken,
    listening: JoinSet<()>,
    loops: JoinSet<()>,
    local: Option<Local>,
}

impl Server {
    /// Starts everything; returns when every listener accepts.
    pub async fn start(settings: Settings) -> Result<Self> {
        raise_file_limit();
        let data = DataDir::open(&settings.data)?;
        let ids: Arc<dyn Ids> = Arc::new(SystemIds);
        let me = data.identity(&settings, &*ids)?;
        let (mut credentials, first_start) = data.credentials(&settings, &*ids)?;
        let store = open(&settings).await?;

        shared::keys(&store, &me.seal, &*ids, &settings, &mut credentials).await?;
        let agents = agents_listener(&settings, &store, &me.seal, &*ids).await?;
        let edge = listener(&settings, "edge").await?;
        let provisioning = listener(&settings, "provisioning").await?;
        let console = listener(&settings, "console").await?;
        let mut listeners = BTreeMap::new();
        listeners.extend(edge.as_ref().map(|l| ("edge".to_owned(), l.url())));
        listeners.extend(provisioning.as_ref().map(|l| ("provisioning".to_owned(), l.url())));
        listeners.extend(console.as_ref().map(|l| ("console".to_owned(), l.url())));
        let mut config = settings.domain(credentials.keys())?;
        config.public_urls = edge.iter().map(Listener::url).collect();
        if let Some(agents) = &agents {
            listeners.insert("agents".to_owned(), format!("https://{}", agents.local_addr()));
            config.agent_endpoints = endpoints(&settings, agents.local_addr());
            config.agent_pin = agents.pin();
        }
        config.metrics_base_url = match (&settings.metrics_base_url, &edge) {
            (Some(base), _) => base.clone(),
            (None, Some(edge)) => metrics_base(&settings, edge.address()),
            (None, None) => config.metrics_base_url,
        };
        let endpoint = config.agent_endpoints.first().cloned().unwrap_or_default();

        let clock = Arc::new(SharedClock::default());
        let app = Arc::new(App::new(store, clock.clone(), ids.clone(), me.seal, config, me.id));
        app.follow(clock);
        app.set_fetch(Arc::new(Fetcher::new(Guard { allow_private: settings.webhook_allow_private_ips })));
        let local = settings.local()?.map(|local| Local::new(local, app.clock.clone()));
        app.set_clouds(Arc::new(clouds(&settings, local.clone(), app.clock.clone())));
        app.set_remote(Arc::new(Ssh::new(reeve_provider_ssh::Settings::default())));
        app.set_seal_keys(Arc::new(KeyFile { data: settings.data.clone(), given: settings.seal_key.is_some() }));
        app.set_backup_site(Arc::new(backup::Site { data: settings.data.clone() }));
        prepare(&app, &settings, &mut credentials, first_start, &listeners).await?;

        let (draining, stopping) = (CancellationToken::new(), CancellationToken::new());
        let metrics = Metrics::install().map_err(anyhow::Error::msg)?;
        app.counters.announce();
        let kit = kit(&app, &settings, &draining)?;
        let edge_surface = reeve_surface_edge::routes::surface(app.clone(), kit.clone())?;
        let about = reeve_surface_provisioning::About { version: VERSION, started_at: app.now() };
        let provisioning_surface =
            reeve_surface_provisioning::routes::surface(app.clone(), kit.clone(), Arc::new(about))?;
        let doctor = Arc::new(Doctor { app: app.clone(), data: settings.data.clone(), listeners: listeners.clone() });
        let info = reeve_surface_console::ServerInfo {
            version: VERSION.to_owned(),
            listeners: listeners.clone(),
            agent_endpoint: endpoint,
            doctor,
        };
        let console_surface = reeve_surface_console::routes::surface(app.clone(), kit.clone(), Arc::new(info))?;
        let probes = Probes {
            version: VERSION,
            health: Arc::new(Checks(app.clone())),
            degraded: app.degraded.clone(),
            draining: draining.clone(),
        };

        let mut listening = JoinSet::new();
        if let Some(agents) = agents {
            let hub = Arc::new(Hub::new());
            app.set_agents(hub.clone());
            listening.spawn(agents.serve(app.clone(), hub, draining.clone()));
        }
        if let Some(edge) = edge {
            listening.spawn(edge.serve(edge_surface.router("", probes.router()), draining.clone()));
        }
        let measured = || metrics_router(metrics.clone(), kit.authenticate.clone());
        if let Some(provisioning) = provisioning {
            listening.spawn(provisioning.serve(provisioning_surface.router("", measured()), draining.clone()));
        }
        if let Some(console) = console {
            let router = console_surface
                .router("", probes.router().merge(measured()))
                .nest("/edge", edge_surface.router("/edge", Router::new()))
                .nest("/provisioning", provisioning_surface.router("/provisioning", Router::new()));
            listening.spawn(console.serve(router, draining.clone()));
        }
        let mut loops = background::start(&app, &stopping);
        let ticking = stopping.clone();
        loops.spawn(async move {
            while tokio::time::timeout(Duration::from_secs(5), ticking.cancelled()).await.is_err() {
                metrics.upkeep();
            }
        });

        credentials.url = listeners.get("console").cloned().unwrap_or_default();
        data.write_credentials(&credentials)?;
        data.write_run(&listeners, settings.tls.as_deref())?;
        Ok(Self {
            app,
            listeners,
            credentials,
            first_start,
            settings,
            data,
            draining,
            stopping,
            listening,
            loops,
            local,
        })
    }

    /// Stops accepting, lets requests end, then stops the loops.
    pub async fn stop(mut self) {
        self.data.remove_run();
        self.draining.cancel();
        let drained = async { while self.listening.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        self.stopping.cancel();
        let ended = async { while self.loops.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, ended).await.is_err() {
            tracing::warn!("some background loops did not end in time");
        }
        if let Some(local) = &self.local
            && tokio::time::timeout(DRAIN, local.close()).await.is_err()
        {
            tracing::warn!("changes to local hosts did not end in time");
        }
        if let Err(error) = reeve_domain::agent::presence::flush(&self.app).await {
            tracing::warn!(%error, "the last heartbeats were not stored");
        }
        if let Err(error) = reeve_domain::node_metrics::flush(&self.app).await {
            tracing::warn!(%error, "the last samples of nodes were not stored");
        }
        if let Err(error) = server::leave(&self.app).await {
            tracing::warn!(%error, "the other servers were not told; they notice by themselves");
        }
    }
}

/// The way to accounts with vendors of machines.
fn clouds(settings: &Settings, local: Option<Local>, clock: Arc<dyn Clock>) -> Clouds {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty()).map(Secret::new);
    let environment = CloudsSettings::variables().filter_map(|name| Some((name.to_owned(), variable(name)?))).collect();
    let vendors = CloudsSettings {
        upcloud_url: settings.upcloud_url.clone(),
        hetzner_url: settings.hetzner_url.clone(),
        aws_url: settings.aws_url.clone(),
        aws_subnet_id: settings.aws_subnet_id.clone(),
        aws_security_group_ids: settings.aws_security_group_ids.clone(),
        environment,
        timeout: None,
    };
    let clouds = Clouds::new(vendors, clock);
    match local {
        Some(local) => clouds.with("this machine", Arc::new(local)),
        None => clouds,
    }
}

/// Brings the store into the state that a server expects at its start.
async fn prepare(
    app: &Arc<App>,
    settings: &Settings,
    credentials: &mut Credentials,
    first_start: bool,
    listeners: &BTreeMap<String, String>,
) -> Result<()> {
    reeve_domain::seal::rotate::check_keys(app).await?;
    let listeners = serde_json::to_string(listeners)?;
    server::join(app, server::About { version: VERSION.to_owned(), listeners }).await?;
    app.counters.joins.add(1);
    let created = identity::bootstrap::first_admin(app, Some(Secret::new(&*credentials.password))).await?;
    if created.is_none() && first_start && app.store.is_shared() && settings.admin_password.is_none() {
        // Another server made the first admin: the password generated here opens nothing.
        credentials.password.clear();
    }
    if let Some(name) = &settings.default_cluster_name {
        let system = Actor::system();
        match reeve_domain::cluster::get(app, &system, name).await {
            Ok(_) => {}
            Err(error) if error.kind == reeve_types::ErrorKind::NotFound => {
                let fresh = reeve_domain::cluster::Create { name: name.clone(), ipv4_range: None, node_limit: None };
                match reeve_domain::cluster::create(app, &system, fresh).await {
                    Ok(_) => {}
                    // Of several servers that start at once, one makes it.
                    Err(error) if error.kind == reeve_types::ErrorKind::Conflict => {
                        reeve_domain::cluster::get(app, &system, name).await?;
                    }
                    Err(error) => return Err(error.into()),
                }
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn kit(app: &Arc<App>, settings: &Settings, draining: &CancellationToken) -> Result<Kit> {
    let mut kit = Kit::new(app.clock.clone(), app.ids.clone(), Arc::new(Bearers(app.clone())));
    kit.idempotency = Some(Arc::new(Keys(app.clone())));
    kit.degraded = app.degraded.clone();
    kit.draining = draining.clone();
    kit.docs = settings.api_docs_enabled;
    kit.cors = Cors::new(
        &settings.cors_allowed_origins,
        &["authorization", "content-type", "x-request-id"].map(str::to_owned),
    )
    .map_err(anyhow::Error::msg)?;
    let per_second = settings.requests_per_second;
    let principal = Rate { per_second, burst: per_second.saturating_mul(2) };
    kit.limits = Arc::new(Limits::new(LimitRates { principal, ..LimitRates::default() }));
    Ok(kit)
}

async fn listener(settings: &Settings, surface: &str) -> Result<Option<Listener>> {
    let Some(address) = settings.address(surface)? else { return Ok(None) };
    let tls = match &settings.tls {
        Some(folder) => Some(certificate(folder, address)?),
        None => None,
    };
    let options = ListenerOptions { tls, drain_timeout: DRAIN, ..ListenerOptions::default() };
    let bound = Listener::bind(surface, address, options).await;
    bound
        .map(Some)
        .with_context(|| format!("{surface} cannot listen on {address}; choose another with --listen {surface}=ADDR"))
}

/// The pair in `folder`; one that is signed by itself is made where there is none.
fn certificate(folder: &Path, address: SocketAddr) -> Result<Identity> {
    let names = ["localhost".to_owned(), address.ip().to_string()];
    Identity::self_signed(folder, &names).with_context(|| {
        format!("TLS: put cert.pem and key.pem into {}, or leave it empty to get a self-signed pair", folder.display())
    })
}

async fn agents_listener(settings: &Settings, store: &Store, seal: &Seal, ids: &dyn Ids) -> Result<Option<Gateway>> {
    let Some(address) = settings.address("agents")? else { return Ok(None) };
    let folder = settings.data.join("tls-agents");
    Identity::self_signed(&folder, &["reeve".to_owned()]).context("the agents' certificate cannot be made")?;
    shared::agents_tls(store, seal, ids, &folder).await?;
    let identity = TlsIdentity::from_pem_files(&folder.join("cert.pem"), &folder.join("key.pem"))?;
    let bound = Gateway::bind(address, identity).await;
    bound
        .map(Some)
        .with_context(|| format!("agents cannot listen on {address}; choose another with --listen agents=ADDR"))
}

/// How agents reach the listener: what was configured, else the address it is bound to, else this machine's own.
fn endpoints(settings: &Settings, bound: SocketAddr) -> Vec<String> {
    if !settings.advertise.is_empty() {
        return settings.advertise.iter().map(|host| with_port(host, bound.port())).collect();
    }
    if !bound.ip().is_unspecified() {
        return vec![bound.to_string()];
    }
    let own = own_address().map(|ip| SocketAddr::new(ip, bound.port()).to_string());
    own.into_iter().chain([format!("127.0.0.1:{}", bound.port())]).collect()
}

/// Where Prometheus reaches the edge listener, as far as it can be known: an advertised host, else its own address.
fn metrics_base(settings: &Settings, bound: SocketAddr) -> String {
    if let Some(host) = settings.advertise.first() {
        return with_port(without_port(host), bound.port());
    }
    match own_address().filter(|_| bound.ip().is_unspecified()) {
        Some(ip) => SocketAddr::new(ip, bound.port()).to_string(),
        None => bound.to_string(),
    }
}

/// The address from which this machine would reach others. Sends nothing.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}

/// Thousands of agents are thousands of sockets.
pub fn raise_file_limit() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let raised = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = rustix::process::setrlimit(rustix::process::Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

/// Sets up logging, once.
pub fn logging(settings: &Settings) -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log)
        .with_context(|| format!("`{}` is not a log filter; as in info or reeve=debug", settings.log))?;
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal() && !plain)
        .with_writer(std::io::stderr);
    let done = if settings.log_format == "json" { logs.json().try_init() } else { logs.try_init() };
    done.map_err(|e| anyhow::anyhow!("logging was set up twice: {e}"))?;
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in unread_variables(names) {
        tracing::warn!(name, "this environment variable is no setting of reeve and is not read");
    }
    Ok(())
}

/// Returns at Ctrl-C or SIGTERM.
pub async fn stop_signal() -> Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        done = tokio::signal::ctrl_c() => done?,
        _ = terminate.recv() => {}
    }
    Ok(())
}
