//! Ids as newtypes over text, and where fresh ones come from.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::time::Timestamp;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub String);

        impl $name {
            /// The id as stored and shown.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl From<String> for $name {
            fn from(id: String) -> Self {
                Self(id)
            }
        }
        impl From<&str> for $name {
            fn from(id: &str) -> Self {
                Self(id.to_owned())
            }
        }
    )*};
}

ids! {
    /// An edge cluster.
    ClusterId,
    /// A key with which nodes enroll.
    EnrollmentKeyId,
    /// A machine with an agent. Chosen by the agent, a UUID.
    NodeId,
    /// One command as asked for, for many nodes.
    CommandId,
    /// One command on one node.
    ExecutionId,
    /// A command's rollout in batches.
    RolloutId,
    /// A person or robot that can log in.
    UserId,
    /// An API token.
    ApiTokenId,
    /// A chain of refresh tokens that began with one login.
    SessionId,
    /// One unit of asynchronous work.
    JobId,
    /// An event, as CloudEvents `id`.
    EventId,
    /// One server process on the store.
    ServerId,
    /// A further name of a node.
    AliasId,
    /// A name with which a node lets somebody in over SSH.
    SshUsernameId,
    /// A public key of an SSH username.
    SshPublicKeyId,
    /// A request that nodes update their agents.
    SelfUpdateRequestId,
    /// A subscription to events.
    WebhookId,
    /// One event on its way to one webhook.
    DeliveryId,
    /// A folder of machines and what is installed on them.
    WorkspaceId,
    /// A machine that was made or adopted.
    HostId,
    /// A piece of software installed on hosts.
    TaskservId,
    /// A change of the infrastructure, asked for once.
    OperationId,
    /// The stored result of a dry run.
    PlanId,
}

/// Where fresh ids and random bytes come from.
pub trait Ids: Send + Sync + 'static {
    /// A fresh UUIDv7 in text form; later calls sort after earlier ones.
    fn next(&self) -> String;
    /// Fills `buffer` with unpredictable bytes.
    fn fill(&self, buffer: &mut [u8]);
}

/// Ids from the machine's clock and randomness.
#[derive(Debug, Default)]
pub struct SystemIds;

impl Ids for SystemIds {
    #[allow(clippy::disallowed_methods)] // the one place that makes ids
    fn next(&self) -> String {
        uuid::Uuid::now_v7().to_string()
    }
    #[allow(clippy::disallowed_methods)]
    fn fill(&self, buffer: &mut [u8]) {
        rand::RngCore::fill_bytes(&mut rand::rng(), buffer);
    }
}

/// Predictable ids for tests: valid UUIDv7 that count upwards.
#[derive(Debug)]
pub struct CountingIds(AtomicU64);

impl CountingIds {
    /// Starts counting at 1.
    pub fn new() -> Self {
        Self(AtomicU64::new(1))
    }
}

impl Default for CountingIds {
    fn default() -> Self {
        Self::new()
    }
}

impl Ids for CountingIds {
    fn next(&self) -> String {
        let n = self.0.fetch_add(1, Ordering::SeqCst);
        format!("01900000-0000-7000-8000-{n:012x}")
    }
    fn fill(&self, buffer: &mut [u8]) {
        let n = self.0.fetch_add(1, Ordering::SeqCst);
        for (i, byte) in buffer.iter_mut().enumerate() {
            *byte = (n as u8).wrapping_mul(31).wrapping_add(i as u8);
        }
    }
}

/// True for a UUID in the usual hyphenated form, any version.
pub fn is_uuid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

/// The instant inside a UUIDv7, None for other text.
pub fn uuid_time(text: &str) -> Option<Timestamp> {
    let uuid = uuid::Uuid::try_parse(text).ok()?;
    let (secs, nanos) = uuid.get_timestamp()?.to_unix();
    Some(Timestamp(secs as i64 * 1_000_000 + i64::from(nanos) / 1000))
}
