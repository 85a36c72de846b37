//! Machines that somebody rents out, in our own words: whoever makes one through this port knows no vendor.
//!
//! Every call is one bounded step: it answers or fails within the adapter's time limit and never waits for a machine to
//! change state. What takes longer is polled by the caller: `get` until the state is the one wanted, `delete` until
//! [`Removal::Gone`]. Adapters do not retry; the kind of a [`CloudError`] tells whether and when the caller should.

mod error;
mod factory;
mod nouns;
mod spec;

use futures::future::BoxFuture;
use futures::stream::BoxStream;

pub use error::{CloudError, CloudErrorKind};
pub use factory::{CloudFactory, CredentialField, Credentials, NoClouds, Provider};
pub use nouns::{
    Address, CloudServer, CloudServerId, Created, Image, Labels, Plan, Preview, Price, Removal, ServerState, Stop, Zone,
};
pub use spec::{LabelFilter, OPERATION_LABEL, OperationTag, ServerSpec, SshKey};

/// One answer of a cloud.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, CloudError>>;
/// Many answers, fetched page by page while they are read. After an error the stream ends.
pub type Items<'a, T> = BoxStream<'a, Result<T, CloudError>>;

/// An account with a vendor of machines (for AWS: an account in one region).
pub trait Cloud: Send + Sync + 'static {
    /// The vendor's word as in the API: `upcloud`, `hetzner`, `aws`.
    fn vendor(&self) -> &'static str;

    /// How long (ms) after an order its machine may still be invisible to `create`, `get` and `list`. Whoever got
    /// [`CloudErrorKind::Ambiguous`] from `create` waits this long before asking again, or risks a double; whoever gets
    /// NotFound for a machine younger than this asks again before believing it.
    fn settle_ms(&self) -> u64;

    /// How soon (ms) it is worth looking again at a machine on its way; None leaves it to the caller, who minds the vendor's
    /// limits.
    fn look_ms(&self) -> Option<u64> {
        None
    }

    /// The cheapest call that needs the credentials: Auth when they are refused.
    fn authenticate(&self) -> Answer<'_, ()>;

    /// Where machines can be.
    fn zones(&self) -> Items<'_, Zone>;
    /// What sizes there are, with prices where the vendor tells them here.
    fn plans(&self) -> Items<'_, Plan>;
    /// What machines can start from: the vendor's systems and the account's own images.
    fn images(&self) -> Items<'_, Image>;

    /// What `create` would do; changes nothing. Invalid names the field of the spec that is wrong.
    fn check<'a>(&'a self, spec: &'a ServerSpec) -> Answer<'a, Preview>;

    /// Orders the machine, or finds the one that an earlier call with the same [`ServerSpec::operation`] ordered: the
    /// vendor is always asked for it first, so a repeat after a crash makes no second one.
    fn create<'a>(&'a self, spec: &'a ServerSpec) -> Answer<'a, Created>;

    /// One machine with everything known about it. NotFound when it is gone.
    fn get<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, CloudServer>;
    /// The machines that carry a label. Addresses may be missing here (`None`), `get` has them.
    fn list<'a>(&'a self, filter: &'a LabelFilter) -> Items<'a, CloudServer>;

    /// Switches it on; accepted, not done. Ok when it is on already.
    fn start<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, ()>;
    /// Switches it off; accepted, not done. Ok when it is off already. A soft stop may never be obeyed: the caller
    /// follows with a hard one when the state has not come within its own patience.
    fn stop<'a>(&'a self, id: &'a CloudServerId, how: Stop) -> Answer<'a, ()>;
    /// Restarts it, softly; accepted, not done. State when it is off.
    fn reboot<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, ()>;

    /// One step towards no machine and no disk of it: call again until [`Removal::Gone`], which is also the answer for
    /// a machine that does not exist. It does not ask the system inside; stop softly before where that matters. Every
    /// disk attached to the machine goes with it.
    fn delete<'a>(&'a self, id: &'a CloudServerId) -> Answer<'a, Removal>;
}
