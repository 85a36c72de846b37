//! Machines that are reached over SSH, in our own words: whoever gives orders through this port knows no SSH library.
//!
//! An order says what to run as a list of words; the adapter quotes them for the POSIX shell of the host. Nothing secret
//! stands on a command line of the host: words, environment and input all travel inside the connection. Adapters do not
//! retry; the kind of a [`RemoteError`] tells whether the caller may, and whether anything can have happened.
//!
//! Must not do IO; what the facts of a host look like and how they are asked for stands here because it needs no more
//! than [`RemoteHost::run`].

mod error;
pub mod facts;
mod file;
mod key;
mod order;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use reeve_types::Secret;

pub use error::{RemoteError, RemoteErrorKind};
pub use facts::{Facts, gather};
pub use file::{Content, RemoteFile, Uploaded, check_removable};
pub use key::{HostKey, KeyPair};
pub use order::{End, Kept, Nowhere, Outcome, OutputSink, Pipe, RemoteOrder};

/// One answer of a host.
pub type Call<'a, T> = BoxFuture<'a, Result<T, RemoteError>>;

/// Whom to reach, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// An IP address or a name that resolves to some.
    pub address: String,
    /// 22 as a rule.
    pub port: u16,
    /// The login.
    pub user: String,
    /// A private key as OpenSSH (or PEM) writes it, without a passphrase: Ed25519, ECDSA, or RSA (which signs with SHA-2).
    pub key: Secret,
    /// The key that the host must show. None is the first contact: whoever answers is believed, and the caller keeps
    /// [`RemoteHost::host_key`] for every later one.
    pub pinned: Option<HostKey>,
    /// Time for everything up to the login.
    pub connect_timeout: Duration,
}

impl Target {
    /// For [`Target::connect_timeout`] where nothing speaks for another.
    pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
}

/// The way to hosts.
pub trait RemoteHosts: Send + Sync + 'static {
    /// Logs in, or hands out a connection that stands already: targets that are equal share one. Dropping the future
    /// gives up.
    fn connect<'a>(&'a self, target: &'a Target) -> Call<'a, Arc<dyn RemoteHost>>;

    /// The Ed25519 key pair that belongs to `seed`, which the caller draws from [`reeve_types::Ids::fill`]: same seed,
    /// same pair.
    fn key_pair(&self, seed: &[u8; 32], comment: &str) -> Result<KeyPair, RemoteError>;

    /// The public key of a private one, as a line for `authorized_keys`. Invalid when it cannot be read or is locked by
    /// a passphrase.
    fn public_key(&self, private: &Secret) -> Result<String, RemoteError>;
}

/// A login on a host. Calls can run side by side; those beyond the adapter's bound wait, within their own time limit.
pub trait RemoteHost: Send + Sync + 'static {
    /// The key that the host showed.
    fn host_key(&self) -> &HostKey;

    /// Runs one command to its end and hands its output on while it comes. A command that ends with a failure is an
    /// [`Outcome`], not an error.
    ///
    /// What is known when it does not get that far: `Refused` before it began, `TimedOut` when it was told to stop
    /// because its time was over, `Lost` when the connection broke while it ran (it may have finished, may run still, or
    /// may have been ended by the host). A dropped future ends the command as its timeout would.
    ///
    /// Ending means TERM, then KILL after [`RemoteOrder::GRACE`], to the process group of the command; what left that
    /// group (a daemon) lives on.
    fn run<'a>(&'a self, order: &'a RemoteOrder, sink: &'a mut dyn OutputSink) -> Call<'a, Outcome>;

    /// Puts a file in place: written beside its path under another name, checked against the SHA-256 of what was sent,
    /// renamed. Readers see the old file or the whole one. The folder must exist. After `Lost` the old file or the one
    /// sent stands there, and a part of it may lie beside; the next upload to the same path takes that away.
    fn upload<'a>(&'a self, file: RemoteFile) -> Call<'a, Uploaded>;

    /// Removes a file or a whole folder; one that is gone is no error. Invalid for a path that is not absolute, holds
    /// `..`, or is the root or a folder directly below it.
    fn remove<'a>(&'a self, path: &'a str) -> Call<'a, ()>;

    /// Says goodbye and closes the connection, also for others that share it: their calls end with `Lost`. A host that
    /// is just dropped leaves the connection to the next who asks, for a while.
    fn close(&self) -> BoxFuture<'_, ()>;
}
