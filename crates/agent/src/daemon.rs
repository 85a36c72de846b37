//! The agent's life: identity, enrollment, and one connection after the other until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use reeve_agent_proto::EnrollmentKey;
use reeve_agent_proto::backoff::full_jitter;
use reeve_agent_proto::message::Rejected;
use rustls::ClientConfig;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::aliases::Aliases;
use crate::clock::Clock;
use crate::connection::{End, Link, Node, explain};
use crate::counters::Counters;
use crate::data_dir::DataDir;
use crate::dial::{Connection, dial};
use crate::error::AgentError;
use crate::executor::{Executor, Setup};
use crate::identity::Identity;
use crate::journal::Journal;
use crate::journal_thread::JournalHandle;
use crate::membership::Membership;
use crate::options::Options;
use crate::proxy::Proxy;
use crate::questions::Desk;
use crate::runner::Shell;
use crate::sample::Sampler;
use crate::ssh_credentials::SshCredentials;
use crate::tls::client_config;
use crate::uplink::Uplink;

/// First reconnect delay's ceiling, in milliseconds.
const BACKOFF_BASE_MS: u64 = 1_000;
/// Shortest pause before a refused node tries again.
const REFUSED_PAUSE_MS: u64 = 15_000;

/// Runs an agent to its end on a runtime of its own: sets up logging, stops on SIGTERM and SIGINT, and prints what
/// went wrong together with the next step.
pub fn main(options: Options) -> ExitCode {
    init_logging(&options.log);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(256 * 1024)
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(run_until_signal(options));
            runtime.shutdown_timeout(Duration::from_millis(100));
            outcome
        }
        Err(error) => Err(AgentError::new(format!("cannot start: {error}"), "free some memory and try again")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs an agent on the current runtime until `stop` is cancelled or it cannot go on.
pub async fn run(options: Options, stop: CancellationToken) -> Result<(), AgentError> {
    run_with(options, SshCredentials::default(), stop).await
}

/// As [`run`]; `credentials` asks over this agent's connection who is let in.
pub async fn run_with(
    options: Options,
    credentials: SshCredentials,
    stop: CancellationToken,
) -> Result<(), AgentError> {
    let dir = DataDir::open(&options.data_dir)?;
    let identity = Identity::load_or_create(&dir, options.random_id)?;
    let key = options.enroll.as_deref().map(parse_key).transpose()?;
    let stored = Membership::load(&dir)?;
    // A key of another server means that the node moves there.
    let stored = stored.filter(|m| key.as_ref().and_then(|k| k.pin.as_ref()).is_none_or(|pin| *pin == m.pin));
    let enrolled = stored.is_some();
    let membership = match (stored, &key) {
        (Some(mut membership), _) => {
            if let Some(server) = &options.server {
                membership.endpoints = vec![server.clone()];
            }
            membership
        }
        (None, Some(key)) => Membership::from_key(key, options.server.as_deref())?,
        (None, None) => {
            return Err(AgentError::new(
                "this node is not enrolled",
                "create an enrollment key on the server (reeve key create) and pass it with --enroll KEY",
            ));
        }
    };
    let bad_pin = |e: rustls::Error| AgentError::new(format!("cannot set up TLS: {e}"), "report this as a bug");
    let tls = client_config(&membership.pin).map_err(bad_pin)?;
    let clock = Arc::new(Clock::default());
    let uplink = credentials.uplink.clone();
    let counters = Arc::new(Counters::default());
    let (executor, journal_thread) = start_executor(&dir, &options, &uplink, &clock, &counters)?;
    tracing::info!(node.id = %identity.node_id, enrolled, "agent {} started", crate::VERSION);
    let node = Node {
        identity,
        ports: options.ports,
        executor: executor.clone(),
        desk: Desk::open(Sampler::new(counters.clone()), uplink.clone()),
        uplink,
        aliases: Aliases::new(&options.aliases),
        credentials,
        self_update: options.self_update,
        clock,
        sessions: AtomicU64::new(count_start(&dir)),
        counters,
        told: watch::Sender::default(),
        stop: CancellationToken::new(),
    };
    let endpoint = membership.endpoints.first().cloned().unwrap_or_default();
    let mut daemon =
        Daemon { dir: &dir, options: &options, node: &node, membership, tls, enrolled, attempt: 0, endpoint };
    let outcome = tokio::select! {
        outcome = daemon.live() => outcome,
        () = async {
            stop.cancelled().await;
            // The connection stays until the last result is out.
            executor.stop(Duration::from_millis(options.stop_grace_ms)).await;
            node.stop.cancel();
            std::future::pending().await
        } => Ok(()),
    };
    if outcome.is_err() {
        executor.stop(Duration::ZERO).await;
    }
    drop(daemon);
    drop(node);
    drop(executor);
    // The executor's task holds the journal; it ends when the last handle is gone.
    let joined = tokio::task::spawn_blocking(move || journal_thread.join());
    if tokio::time::timeout(Duration::from_secs(5), joined).await.is_err() {
        tracing::warn!("the journal did not close in time");
    }
    outcome
}

async fn run_until_signal(options: Options) -> Result<(), AgentError> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let unavailable = |e| AgentError::new(format!("cannot handle signals: {e}"), "report this as a bug");
    let mut term = signal(SignalKind::terminate()).map_err(unavailable)?;
    let mut int = signal(SignalKind::interrupt()).map_err(unavailable)?;
    let signalled = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
        tracing::info!("stopping");
        signalled.cancel();
    });
    run(options, stop).await
}

/// The number of the first connection of this start: higher than any before, with room for a million connections.
fn count_start(dir: &DataDir) -> u64 {
    const FILE: &str = "starts";
    let text = dir.read(FILE).ok().flatten().and_then(|content| String::from_utf8(content).ok());
    let before: u64 = text.and_then(|text| text.trim().parse().ok()).unwrap_or_default();
    let starts = before.saturating_add(1).min(1 << 40);
    if let Err(error) = dir.replace(FILE, format!("{starts}\n").as_bytes()) {
        // The server then waits until it knows that the connection before is gone.
        tracing::warn!(%error, "the start could not be counted");
    }
    (starts << 20) + 1
}

fn start_executor(
    dir: &DataDir,
    options: &Options,
    uplink: &Uplink,
    clock: &Arc<Clock>,
    counters: &Arc<Counters>,
) -> Result<(Executor, std::thread::JoinHandle<()>), AgentError> {
    let path = dir.file("journal");
    let failed = |error: std::io::Error| {
        let path = path.display();
        AgentError::new(
            format!("cannot open the journal {path}: {error}"),
            "free some disk space or repair the file; if it is moved away, results that were not sent are lost",
        )
    };
    let (journal, recovered) = Journal::open(&path, options.journal_limit_bytes).map_err(failed)?;
    let past = journal.past().cloned().collect();
    tracing::debug!(records = journal.records(), open = recovered.len(), "journal read");
    let (journal, thread) = JournalHandle::start(journal).map_err(failed)?;
    let executor = Executor::start(Setup {
        journal,
        recovered,
        past,
        uplink: uplink.clone(),
        shell: Shell::find(&options.data_dir),
        clock: clock.clone(),
        max_parallel: options.max_parallel,
        counters: counters.clone(),
    });
    Ok((executor, thread))
}

struct Daemon<'a> {
    dir: &'a DataDir,
    options: &'a Options,
    node: &'a Node,
    membership: Membership,
    tls: Arc<ClientConfig>,
    enrolled: bool,
    attempt: u32,
    /// The server to go to.
    endpoint: String,
}

impl Daemon<'_> {
    async fn live(&mut self) -> Result<(), AgentError> {
        loop {
            let pause = match self.connect_once().await? {
                End::Stopped => return Ok(()),
                End::GoAway { after } => {
                    self.attempt = 0;
                    tracing::info!(pause_ms = millis(after), "the server goes away");
                    after
                }
                End::Rejected(rejected) => {
                    let pause_ms = match rejected.retry_after_ms {
                        0 => REFUSED_PAUSE_MS.saturating_add(self.backoff_ms(self.options.reconnect_cap_ms)),
                        after => after.saturating_add(rand::random_range(0..=after / 4 + 1)),
                    };
                    tracing::error!(reason = %rejected.error, pause_ms, "{}", refusal(&rejected));
                    Duration::from_millis(pause_ms)
                }
                End::Lost { reason, was_open } => {
                    if was_open {
                        self.attempt = 0;
                    }
                    let pause_ms = self.backoff_ms(self.options.reconnect_cap_ms);
                    tracing::warn!(%reason, pause_ms, "not connected");
                    Duration::from_millis(pause_ms)
                }
                // `connect_once` goes on after an enrollment.
                End::Enrolled(_) => Duration::ZERO,
            };
            self.go_elsewhere();
            tokio::select! {
                () = sleep(pause) => {}
                () = self.node.stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn connect_once(&mut self) -> Result<End, AgentError> {
        let endpoint = self.endpoint.clone();
        let dialled = tokio::select! {
            dialled = self.dial(&endpoint) => dialled?,
            () = self.node.stop.cancelled() => return Ok(End::Stopped),
        };
        let connection = match dialled {
            Ok(connection) => connection,
            Err(error) if crate::tls::is_wrong_pin(&error) && !self.enrolled => {
                return Err(AgentError::new(
                    format!("{endpoint} is not the server this enrollment key was made for"),
                    "check the address for a proxy or another server in between, or create a new enrollment key",
                ));
            }
            Err(error) => {
                return Ok(End::Lost { reason: format!("{endpoint}: {}", explain(&error)), was_open: false });
            }
        };
        let mut link = Link::new(self.node, connection);
        if !self.enrolled
            && let Some(key) = self.options.enroll.as_deref()
        {
            match link.enroll(key.trim()).await {
                End::Enrolled(enrolled) => {
                    if self.options.server.is_none() {
                        self.membership.adopt(&enrolled.agent_endpoints, &endpoint);
                    }
                    self.membership.cluster_name = enrolled.cluster_name;
                    self.membership.api_token = enrolled.api_token;
                    self.membership.proxy_password = enrolled.proxy_password;
                    self.membership.save(self.dir)?;
                    self.enrolled = true;
                    tracing::info!(cluster = %self.membership.cluster_name, "enrolled");
                }
                End::Rejected(rejected) => {
                    return self.enrollment_refused(rejected, &endpoint).await;
                }
                end => return Ok(end),
            }
        }
        Ok(self.serve(link, &endpoint).await)
    }

    /// Serves a connection to its end, and remembers where the servers say that they are.
    async fn serve(&mut self, link: Link<'_>, endpoint: &str) -> End {
        let mut told = self.node.told.subscribe();
        let served = link.serve();
        tokio::pin!(served);
        loop {
            tokio::select! {
                end = &mut served => return end,
                Ok(()) = told.changed() => {
                    let endpoints = told.borrow_and_update().clone();
                    // A server named on the command line is the one that is wanted.
                    if self.options.server.is_none()
                        && self.membership.adopt(&endpoints, endpoint)
                        && let Err(error) = self.membership.save(self.dir)
                    {
                        tracing::warn!(%error, "the servers' addresses are known only until the agent ends");
                    }
                }
            }
        }
    }

    /// Chooses another server at random, where there is one: agents of a server that died spread over the others.
    fn go_elsewhere(&mut self) {
        let others: Vec<&String> = self.membership.endpoints.iter().filter(|e| **e != self.endpoint).collect();
        if !others.is_empty() {
            self.endpoint = others[rand::random_range(0..others.len())].clone();
        }
    }

    /// The server may have registered the node on an earlier attempt whose answer was lost: then a hello works.
    async fn enrollment_refused(&mut self, rejected: Rejected, endpoint: &str) -> Result<End, AgentError> {
        if matches!(rejected.error.as_str(), "unavailable" | "degraded_mode") || rejected.retry_after_ms > 0 {
            return Ok(End::Rejected(rejected));
        }
        if matches!(rejected.error.as_str(), "key_spent" | "key_expired" | "invalid_key" | "node_id_taken")
            && let Ok(connection) = self.dial(endpoint).await?
        {
            self.membership.save(self.dir)?;
            match Link::new(self.node, connection).serve().await {
                End::Rejected(_) => self.forget_membership()?,
                End::Lost { was_open: false, .. } => self.forget_membership()?,
                end => {
                    self.enrolled = true;
                    return Ok(end);
                }
            }
        }
        Err(AgentError::new(format!("the server refused the enrollment: {}", refusal(&rejected)), hint(&rejected)))
    }

    fn forget_membership(&self) -> Result<(), AgentError> {
        std::fs::remove_file(self.dir.file("membership.json"))
            .map_err(|e| AgentError::new(format!("cannot remove membership.json: {e}"), "remove it by hand"))
    }

    async fn dial(&self, endpoint: &str) -> Result<std::io::Result<Connection>, AgentError> {
        self.node.counters.dials.add();
        let env = |name: &str| std::env::var(name).ok();
        let url = self.options.http_proxy.clone().or_else(|| Proxy::from_env(endpoint, &env));
        let proxy = url.as_deref().map(Proxy::parse).transpose().map_err(|error| {
            AgentError::new(error.to_string(), "give --http-proxy (or HTTPS_PROXY) as http://HOST:PORT")
        })?;
        Ok(dial(endpoint, proxy.as_ref(), &self.tls).await)
    }

    fn backoff_ms(&mut self, cap_ms: u64) -> u64 {
        // The pauses grow with the rounds over all servers, not with each of them.
        let rounds = self.attempt / u32::try_from(self.membership.endpoints.len()).unwrap_or(u32::MAX).max(1);
        let delay = full_jitter(rounds, BACKOFF_BASE_MS.min(cap_ms), cap_ms, rand::random());
        self.attempt = self.attempt.saturating_add(1);
        delay
    }
}

fn parse_key(text: &str) -> Result<EnrollmentKey, AgentError> {
    EnrollmentKey::decode(text)
        .map_err(|error| AgentError::new(error.to_string(), "copy the whole key from the server and try again"))
}

fn refusal(rejected: &Rejected) -> String {
    if rejected.message.is_empty() { rejected.error.clone() } else { rejected.message.clone() }
}

fn hint(rejected: &Rejected) -> &'static str {
    match rejected.error.as_str() {
        "invalid_key" | "key_expired" | "key_spent" => {
            "create a new enrollment key on the server (reeve key create) and pass it with --enroll KEY"
        }
        "node_limit_reached" => "raise the cluster's node limit, or delete nodes that are gone, and try again",
        "node_id_taken" => {
            "another machine, or an earlier installation of this one, holds this node id: delete that node on the \
             server, or start the agent with --random-id and a new data directory"
        }
        "version_unsupported" => "install the agent version that comes with the server",
        _ => "see the server's log for the cause",
    }
}

fn init_logging(level: &str) {
    use std::io::IsTerminal;
    let level = level.parse().unwrap_or(tracing::Level::INFO);
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .finish();
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        tracing::debug!("logging is already set up");
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
