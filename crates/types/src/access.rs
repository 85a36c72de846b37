//! Who asks, and what they may do. The role table itself is a rule and stands in `domain::authz`.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::id::{ApiTokenId, UserId};

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $word:literal),* $(,)?) => {
        /// One right. Every route declares the one it needs.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Permission { $($(#[$doc])* $name),* }

        impl Permission {
            /// Every permission there is.
            pub const ALL: &'static [Permission] = &[$(Permission::$name),*];
            /// The stable word used in token scopes, the API contract and messages.
            pub fn word(self) -> &'static str {
                match self { $(Permission::$name => $word),* }
            }
        }
    };
}

permissions! {
    /// See this server's place among the servers.
    AdminsRead = "edge.admins.read",
    /// See edge clusters.
    ClustersRead = "edge.clusters.read",
    /// Create, change and delete edge clusters.
    ClustersWrite = "edge.clusters.write",
    /// See enrollment keys, which includes the keys themselves.
    EnrollmentKeysRead = "edge.enrollment_keys.read",
    /// Create, change and delete enrollment keys.
    EnrollmentKeysWrite = "edge.enrollment_keys.write",
    /// See nodes.
    NodesRead = "edge.nodes.read",
    /// Label, move and delete nodes.
    NodesWrite = "edge.nodes.write",
    /// See a node's API token and proxy password in clear.
    NodeSecretsRead = "edge.node_secrets.read",
    /// See commands, executions and their output.
    CommandsRead = "edge.commands.read",
    /// Run commands on nodes, cancel and delete them.
    CommandsRun = "edge.commands.run",
    /// See aliases of nodes.
    AliasesRead = "edge.aliases.read",
    /// Give nodes aliases and take them away.
    AliasesWrite = "edge.aliases.write",
    /// See who may open SSH sessions, and with which public keys.
    SshRead = "edge.ssh.read",
    /// Let people in over SSH, shut them out, and try credentials.
    SshWrite = "edge.ssh.write",
    /// See self-update requests and what the nodes answered.
    SelfUpdatesRead = "edge.self_updates.read",
    /// Ask nodes to update their agents.
    SelfUpdatesWrite = "edge.self_updates.write",
    /// Read metrics of nodes and servers.
    MetricsRead = "edge.metrics.read",
    /// See webhooks and their delivery log; URLs and answers often hold secrets of others.
    WebhooksRead = "edge.webhooks.read",
    /// Create, change, steer and delete webhooks.
    WebhooksWrite = "edge.webhooks.write",
    /// Read the event feed and its catalogue.
    EventsRead = "events.read",
    /// Read the audit log.
    AuditRead = "audit.read",
    /// See background jobs and their output.
    JobsRead = "jobs.read",
    /// Cancel and retry background jobs, ask for passes and ticks out of turn.
    JobsWrite = "jobs.write",
    /// See users.
    UsersRead = "users.read",
    /// Create, change and delete users.
    UsersWrite = "users.write",
    /// Manage one's own API tokens and see oneself.
    SelfManage = "self.manage",
    /// See server details and run the checks of `doctor`.
    ServerRead = "server.read",
    /// Change what the server itself rests on, as its sealing key.
    ServerWrite = "server.write",
    /// Speak MCP.
    McpUse = "mcp.use",
    /// Use the forward proxies.
    ProxyUse = "proxy.use",
    /// See hosts and what providers offer.
    HostsRead = "provisioning.server_read",
    /// Make hosts, adopt them, switch them on and off.
    HostsCreate = "provisioning.server_create",
    /// Delete hosts.
    HostsDelete = "provisioning.server_delete",
    /// Let a key of one's own in on hosts for a while.
    HostsSsh = "provisioning.server_ssh",
    /// See taskservs.
    TaskservsRead = "provisioning.taskserv_read",
    /// Install and upgrade taskservs.
    TaskservsCreate = "provisioning.taskserv_create",
    /// Remove taskservs.
    TaskservsDelete = "provisioning.taskserv_delete",
    /// Submit workflows and apply plans.
    WorkflowsSubmit = "provisioning.workflow_submit",
    /// See workflows and their steps.
    WorkflowsRead = "provisioning.workflow_read",
    /// Cancel workflows.
    WorkflowsCancel = "provisioning.workflow_cancel",
    /// See operations, their log and stored plans.
    OperationsRead = "provisioning.operation_read",
    /// Cancel and retry operations.
    OperationsCancel = "provisioning.operation_cancel",
    /// See workspaces.
    WorkspacesRead = "provisioning.workspace_read",
    /// Create, change and delete workspaces, and give them credentials.
    WorkspacesCreate = "provisioning.workspace_create",
    /// See how the provisioning service is doing.
    SystemMetrics = "provisioning.system_metrics",
}

impl Permission {
    /// Reads a [`word`](Self::word).
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|p| p.word() == word)
    }
}

/// What a user is, on every surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything.
    Admin,
    /// Runs the fleet: everything but users and audit.
    Operator,
    /// Runs commands and reads; does not change the fleet's shape.
    Developer,
    /// Reads, without secrets.
    Viewer,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 4] = [Role::Admin, Role::Operator, Role::Developer, Role::Viewer];
    /// The stored word.
    pub fn word(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Operator => "operator",
            Role::Developer => "developer",
            Role::Viewer => "viewer",
        }
    }
    /// Reads a [`word`](Self::word).
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.word() == word)
    }
}

/// The static keys that the edge API names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StaticKey {
    /// `MASTER_KEY`: everything.
    Master,
    /// `API_KEY`: the edge REST API without metrics.
    Api,
    /// `METRICS_KEY`: metrics.
    Metrics,
    /// `MCP_KEY`: the MCP endpoint.
    Mcp,
    /// `PROXY_KEY`: the forward proxies.
    Proxy,
}

impl StaticKey {
    /// Every static key.
    pub const ALL: [StaticKey; 5] =
        [StaticKey::Master, StaticKey::Api, StaticKey::Metrics, StaticKey::Mcp, StaticKey::Proxy];
    /// The principal's name, as `master_key`.
    pub fn word(self) -> &'static str {
        match self {
            StaticKey::Master => "master_key",
            StaticKey::Api => "api_key",
            StaticKey::Metrics => "metrics_key",
            StaticKey::Mcp => "mcp_key",
            StaticKey::Proxy => "proxy_key",
        }
    }
}

/// Who is behind a request or a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A user with an access token.
    User {
        /// The user.
        id: UserId,
        /// The user's name.
        name: String,
    },
    /// A user's API token.
    ApiToken {
        /// The token.
        id: ApiTokenId,
        /// The user it belongs to.
        user: UserId,
        /// The token's name.
        name: String,
    },
    /// One of the static keys.
    Key(StaticKey),
    /// The server itself: schedules, reconcilers, first start.
    System,
    /// Nobody: public routes.
    Anonymous,
}

impl Principal {
    /// One stable line for audit entries and limits: `user:alice`, `token:ci@…`, `key:master_key`, `system`.
    pub fn label(&self) -> String {
        match self {
            Principal::User { name, .. } => format!("user:{name}"),
            Principal::ApiToken { name, user, .. } => format!("token:{name}@{user}"),
            Principal::Key(key) => format!("key:{}", key.word()),
            Principal::System => "system".to_owned(),
            Principal::Anonymous => "anonymous".to_owned(),
        }
    }
    /// The user behind it, if there is one.
    pub fn user(&self) -> Option<&UserId> {
        match self {
            Principal::User { id, .. } => Some(id),
            Principal::ApiToken { user, .. } => Some(user),
            Principal::Key(_) | Principal::System | Principal::Anonymous => None,
        }
    }
}

/// An `Idempotency-Key` with the fingerprint of the request it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As sent by the client, 1..=255 characters.
    pub key: String,
    /// Hex SHA-256 over method, path and body.
    pub fingerprint: String,
}

/// An answer as kept for replays. The envelope is made afresh, so only the data is kept.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredReply {
    /// HTTP status.
    pub status: u16,
    /// Headers that belong to the answer, as `location`.
    pub headers: Vec<(String, String)>,
    /// JSON text of the data; empty when there was none.
    pub body: String,
}

/// What is known of the key that a request came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Nothing, or the request has no key: run it.
    Fresh,
    /// It was answered.
    Replay(StoredReply),
    /// The key came with another request before.
    Mismatch,
    /// The effect is committed and the answer on its way.
    InProgress,
    /// The effect is committed, but the answer was lost with the server that was to give it.
    Unanswered,
}

/// What is known of the request besides its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestContext {
    /// UUIDv7, equal to the answer's `x-request-id`.
    pub request_id: String,
    /// The peer's address, empty when there is none.
    pub remote: String,
    /// Present when the client sent the header.
    pub idempotency: Option<IdempotencyKey>,
}

/// A principal with its rights, for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// Who.
    pub principal: Principal,
    /// May do what.
    pub permissions: Arc<BTreeSet<Permission>>,
    /// Asked how.
    pub request: RequestContext,
}

impl Actor {
    /// The server itself, allowed everything.
    pub fn system() -> Self {
        Self {
            principal: Principal::System,
            permissions: Arc::new(Permission::ALL.iter().copied().collect()),
            request: RequestContext::default(),
        }
    }
    /// Nobody, allowed nothing.
    pub fn anonymous() -> Self {
        Self { principal: Principal::Anonymous, permissions: Arc::default(), request: RequestContext::default() }
    }
    /// Whether the actor holds `permission`.
    pub fn may(&self, permission: Permission) -> bool {
        self.permissions.contains(&permission)
    }
}
