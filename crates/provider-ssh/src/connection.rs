//! One login on one host: how it is made, who the host is, and how it ends.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use reeve_ports::remote::{HostKey, RemoteError, RemoteErrorKind, Target};
use russh::client::{AuthResult, Config, Handle, Handler};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, Disconnect, Preferred};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::debug;

use crate::keys;
use crate::pool::Settings;

/// A connection used less than this ago is taken to stand.
const FRESH: Duration = Duration::from_secs(1);
/// Time for an answer to a ping.
const PING: Duration = Duration::from_secs(3);

/// A login that stands.
pub struct Connection {
    handle: Handle<HostCheck>,
    host_key: HostKey,
    /// Commands side by side; the host's own bound (ten, as a rule) leaves room beyond it for those that end others.
    sessions: Semaphore,
    last_used: Mutex<Instant>,
    label: String,
    /// Its place among all connections.
    _place: OwnedSemaphorePermit,
}

/// Looks at the host's key before anything is said to it.
struct HostCheck {
    pinned: Option<HostKey>,
    shown: Arc<OnceLock<HostKey>>,
}

impl Handler for HostCheck {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            return Ok(false); // never asked for
        };
        let line = key.to_openssh().map_err(russh::Error::SshKey)?;
        let Ok(shown) = HostKey::parse(&line) else {
            return Ok(false);
        };
        let shown = self.shown.get_or_init(|| shown);
        Ok(self.pinned.as_ref().is_none_or(|pinned| pinned == shown))
    }
}

/// How far the way to a host went.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Tcp,
    Handshake,
    Login,
}

impl Connection {
    /// Connects and logs in, within the target's time limit.
    pub async fn open(target: &Target, settings: &Settings, place: OwnedSemaphorePermit) -> Result<Self, RemoteError> {
        let key = keys::read(&target.key)?;
        let label = label(target);
        let shown = Arc::new(OnceLock::new());
        let check = HostCheck { pinned: target.pinned.clone(), shown: Arc::clone(&shown) };
        let stage = Mutex::new(Stage::Tcp);
        let opening = open(target, settings, key, check, &stage);
        let opened = tokio::time::timeout(target.connect_timeout, opening).await;
        let stage = *stage.lock().unwrap_or_else(PoisonError::into_inner);
        let shown = shown.get();
        if let (Some(pinned), Some(shown)) = (&target.pinned, shown) {
            check_pin(&label, pinned, shown)?;
        }
        let handle = match opened {
            Ok(opened) => opened.map_err(|error| describe(&label, stage, target, error))?,
            Err(_) => return Err(timed_out(&label, stage, target)),
        };
        let host_key = shown.cloned().ok_or_else(|| unreachable_host(format!("{label} showed no host key")))?;
        let sessions = Semaphore::new(settings.sessions);
        let last_used = Mutex::new(Instant::now());
        debug!(host = %label, key = %host_key.fingerprint(), "logged in");
        Ok(Self { handle, host_key, sessions, last_used, label, _place: place })
    }

    /// The key that the host showed.
    pub fn host_key(&self) -> &HostKey {
        &self.host_key
    }

    /// `user@address:port`.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// Places for commands.
    pub fn sessions(&self) -> &Semaphore {
        &self.sessions
    }

    /// Whether commands can still be given.
    pub fn is_open(&self) -> bool {
        !self.handle.is_closed()
    }

    /// Whether the host still answers: asked when nothing has been heard for a while, so that nobody is handed a connection
    /// that broke in silence.
    pub async fn is_alive(&self) -> bool {
        if self.last_used().elapsed() < FRESH {
            return self.is_open();
        }
        self.is_open()
            && matches!(tokio::time::timeout(PING, self.handle.send_ping()).await, Ok(Ok(())))
            && self.is_open()
    }

    /// Somebody uses it.
    pub fn touch(&self) {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// When somebody last used it.
    pub fn last_used(&self) -> Instant {
        *self.last_used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session for one command.
    pub async fn channel(&self) -> Result<Channel<russh::client::Msg>, RemoteError> {
        self.touch();
        self.handle.channel_open_session().await.map_err(|error| match error {
            russh::Error::ChannelOpenFailure(reason) => RemoteError::new(
                RemoteErrorKind::Refused,
                format!("{} gives no session ({reason:?}); is MaxSessions of its sshd reached?", self.label),
            ),
            error => unreachable_host(format!("the connection to {} is gone: {error}", self.label)),
        })
    }

    /// Says goodbye; without an answer the connection goes all the same.
    pub async fn close(&self, why: &str) {
        if let Err(error) = self.handle.disconnect(Disconnect::ByApplication, why, "").await {
            debug!(host = %self.label, %error, "was closed already");
        }
    }
}

/// How people see a target.
pub fn label(target: &Target) -> String {
    let Target { address, port, user, .. } = target;
    if address.contains(':') { format!("{user}@[{address}]:{port}") } else { format!("{user}@{address}:{port}") }
}

/// The pinned key against the one that is shown.
pub fn check_pin(label: &str, pinned: &HostKey, shown: &HostKey) -> Result<(), RemoteError> {
    if pinned == shown {
        return Ok(());
    }
    let (old, new) = (pinned.fingerprint(), shown.fingerprint());
    Err(RemoteError::new(
        RemoteErrorKind::HostKeyChanged,
        format!(
            "{label} shows the host key {new} ({}), but {old} ({}) is pinned: it was made anew, or somebody sits in \
             between. Compare with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host before pinning anew",
            shown.algorithm(),
            pinned.algorithm()
        ),
    ))
}

pub fn unreachable_host(message: impl AsRef<str>) -> RemoteError {
    RemoteError::new(RemoteErrorKind::Unreachable, message)
}

async fn open(
    target: &Target,
    settings: &Settings,
    key: PrivateKey,
    check: HostCheck,
    stage: &Mutex<Stage>,
) -> Result<Handle<HostCheck>, Failure> {
    let reached = |next| *stage.lock().unwrap_or_else(PoisonError::into_inner) = next;
    let config = config(settings, check.pinned.as_ref());
    let socket = TcpStream::connect((target.address.as_str(), target.port)).await.map_err(russh::Error::IO)?;
    socket.set_nodelay(true).map_err(russh::Error::IO)?;
    reached(Stage::Handshake);
    let mut handle = russh::client::connect_stream(Arc::new(config), socket, check).await?;
    reached(Stage::Login);
    let hash = if key.algorithm().is_rsa() {
        match handle.best_supported_rsa_hash().await? {
            Some(Some(hash)) => Some(hash),
            // A host that does not say (older than 2018) is taken to know SHA-2 nevertheless.
            None => Some(HashAlg::Sha512),
            Some(None) => return Err(Failure::OnlySha1),
        }
    } else {
        None
    };
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), hash);
    match handle.authenticate_publickey(&target.user, key).await? {
        AuthResult::Success => Ok(handle),
        AuthResult::Failure { partial_success, .. } => {
            handle.disconnect(Disconnect::ByApplication, "", "").await?;
            Err(Failure::NotLetIn { wants_more: partial_success })
        }
    }
}

enum Failure {
    Ssh(russh::Error),
    NotLetIn { wants_more: bool },
    OnlySha1,
}

impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

fn config(settings: &Settings, pinned: Option<&HostKey>) -> Config {
    let mut algorithms = vec![
        Algorithm::Ed25519,
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP384 },
        Algorithm::Ecdsa { curve: EcdsaCurve::NistP521 },
        Algorithm::Rsa { hash: Some(HashAlg::Sha512) },
        Algorithm::Rsa { hash: Some(HashAlg::Sha256) },
    ];
    // A host has several keys and shows the first kind that we ask for: ask for the pinned kind first.
    if let Some(pinned) = pinned {
        let same = |algorithm: &Algorithm| match algorithm {
            Algorithm::Rsa { .. } => pinned.algorithm() == "ssh-rsa",
            other => other.as_str() == pinned.algorithm(),
        };
        algorithms.sort_by_key(|algorithm| !same(algorithm));
    }
    Config {
        preferred: Preferred { key: algorithms.into(), ..Preferred::DEFAULT },
        keepalive_interval: Some(settings.keepalive),
        keepalive_max: 3,
        nodelay: true,
        ..Config::default()
    }
}

fn describe(label: &str, stage: Stage, target: &Target, failure: Failure) -> RemoteError {
    let auth = |text: String| RemoteError::new(RemoteErrorKind::Auth, text);
    match failure {
        Failure::NotLetIn { wants_more: true } => {
            auth(format!("{label} wants more than a key (a password or a second factor), which nobody here can give"))
        }
        Failure::NotLetIn { wants_more: false } => {
            let key = keys::read(&target.key).and_then(|key| keys::public_line(&key)).unwrap_or_default();
            let user = &target.user;
            auth(format!("{label} does not let {user} in with this key; put it into {user}'s authorized_keys: {key}"))
        }
        Failure::OnlySha1 => auth(format!("{label} takes RSA keys with SHA-1 only; use an Ed25519 key")),
        Failure::Ssh(error @ russh::Error::NoCommonAlgo { .. }) => {
            unreachable_host(format!("{label} and we have no cryptography in common: {error}"))
        }
        Failure::Ssh(error) => match stage {
            Stage::Tcp => unreachable_host(format!("{label} cannot be reached: {error}")),
            Stage::Handshake => unreachable_host(format!("{label} answers, but not as an SSH server does: {error}")),
            Stage::Login => unreachable_host(format!("{label} hung up during the login: {error}")),
        },
    }
}

fn timed_out(label: &str, stage: Stage, target: &Target) -> RemoteError {
    let seconds = target.connect_timeout.as_secs_f32();
    let what = match stage {
        Stage::Tcp => "does not answer",
        Stage::Handshake => "accepted the connection but does not speak SSH",
        Stage::Login => "does not finish the login",
    };
    unreachable_host(format!("{label} {what} within {seconds} s"))
}
