//! Messages about names, doors and updates of a node: aliases, SSH credentials, self-updates.

use prost::Message;

/// The node asks for further names. Sent once after each start; answered by [`AliasesRegistered`].
#[derive(Clone, PartialEq, Eq, Message)]
pub struct RegisterAliases {
    /// DNS labels.
    #[prost(string, repeated, tag = "1")]
    pub names: Vec<String>,
}

/// What came of one name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct AliasOutcome {
    /// The name.
    #[prost(string, tag = "1")]
    pub name: String,
    /// Why the node does not have it; empty when it does.
    #[prost(string, tag = "2")]
    pub problem: String,
}

/// Which names the node has got.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct AliasesRegistered {
    /// In the order in which they were asked for.
    #[prost(message, repeated, tag = "1")]
    pub outcomes: Vec<AliasOutcome>,
}

/// May this username open a session on the node? Exactly one of the credentials is set. Answered by [`SshVerified`].
#[derive(Clone, PartialEq, Eq, Message)]
#[prost(skip_debug)]
pub struct VerifySsh {
    /// Chosen by the agent, comes back in the answer.
    #[prost(uint64, tag = "1")]
    pub request_id: u64,
    /// Who wants in.
    #[prost(string, tag = "2")]
    pub username: String,
    /// What was typed.
    #[prost(string, optional, tag = "3")]
    pub password: Option<String>,
    /// `algorithm base64` of a key whose private half the agent has seen used.
    #[prost(string, optional, tag = "4")]
    pub public_key: Option<String>,
}

impl std::fmt::Debug for VerifySsh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifySsh").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

/// Whether somebody is let in.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SshVerified {
    /// Of the question.
    #[prost(uint64, tag = "1")]
    pub request_id: u64,
    /// False also when the question could not be answered.
    #[prost(bool, tag = "2")]
    pub verified: bool,
    /// Why the question could not be answered; empty when it was.
    #[prost(string, tag = "3")]
    pub problem: String,
}

/// Update yourself. Answered by [`SelfUpdateAnswer`]; a repeat gets the same answer and starts nothing.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SelfUpdate {
    /// The request that this is part of.
    #[prost(string, tag = "1")]
    pub request_id: String,
}

/// Whether the update has begun.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SelfUpdateAnswer {
    /// Of the order.
    #[prost(string, tag = "1")]
    pub request_id: String,
    /// True when it has.
    #[prost(bool, tag = "2")]
    pub triggered: bool,
    /// Why it has not.
    #[prost(string, tag = "3")]
    pub reason: String,
}
