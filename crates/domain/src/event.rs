//! The catalogue of events, what they carry, and the feed.

use std::sync::Arc;

use reeve_types::enrollment_key::EnrollmentKey;
use reeve_types::event::{Event, NewEvent};
use reeve_types::execution::Execution;
use reeve_types::node::Node;
use reeve_types::self_update::SelfUpdateRequest;
use reeve_types::ssh_username::{AuthMethod, SshUsername, is_username};
use reeve_types::{Actor, Permission, Result, Timestamp};
use serde_json::{Value, json};

use crate::{App, authz};

/// Every type, in the order in which the edge API lists them.
pub const CATALOG: [&str; 15] = [
    KEY_VERIFIED,
    NODE_REGISTERED,
    NODE_REREGISTERED,
    NODE_VERSION_CHANGED,
    NODE_STATUS_CHANGED,
    NODE_CLUSTER_CHANGED,
    NODE_UPDATE_TRIGGERED,
    EXECUTION_CREATED,
    EXECUTION_SENT,
    EXECUTION_COMPLETED,
    EXECUTION_CANCELLED,
    EXECUTION_EXPIRED,
    EXECUTION_PRUNED,
    SSH_USERNAME_VERIFIED,
    SELF_UPDATE_COMPLETED,
];

/// Types that the published catalogue does not have.
pub const OWN: [&str; 15] = [
    WEBHOOK_DISABLED,
    BACKUP_COMPLETED,
    BACKUP_FAILED,
    WORKSPACE_CREATED,
    WORKSPACE_ACTIVATED,
    WORKSPACE_DELETED,
    OPERATION_CREATED,
    OPERATION_COMPLETED,
    OPERATION_FAILED,
    OPERATION_CANCELLED,
    HOST_CREATED,
    HOST_CHANGED,
    HOST_DELETED,
    TASKSERV_INSTALLED,
    TASKSERV_REMOVED,
];

/// Whether there is such a type.
pub fn is_known(kind: &str) -> bool {
    CATALOG.contains(&kind) || OWN.contains(&kind)
}

/// A webhook was disabled because its endpoint failed.
pub const WEBHOOK_DISABLED: &str = "reeve.webhook.disabled";
/// The server made a backup by itself.
pub const BACKUP_COMPLETED: &str = "reeve.backup.completed";
/// The server gave up making a backup.
pub const BACKUP_FAILED: &str = "reeve.backup.failed";
/// A workspace was made.
pub const WORKSPACE_CREATED: &str = "provisioning.workspace.created";
/// A workspace became the active one.
pub const WORKSPACE_ACTIVATED: &str = "provisioning.workspace.activated";
/// A workspace was deleted.
pub const WORKSPACE_DELETED: &str = "provisioning.workspace.deleted";
/// Somebody asked for an operation.
pub const OPERATION_CREATED: &str = "provisioning.operation.created";
/// An operation did what it was asked for.
pub const OPERATION_COMPLETED: &str = "provisioning.operation.completed";
/// An operation failed.
pub const OPERATION_FAILED: &str = "provisioning.operation.failed";
/// An operation was called off.
pub const OPERATION_CANCELLED: &str = "provisioning.operation.cancelled";
/// A host is up.
pub const HOST_CREATED: &str = "provisioning.server.created";
/// A host was switched on or off, or restarted.
pub const HOST_CHANGED: &str = "provisioning.server.changed";
/// A host is gone.
pub const HOST_DELETED: &str = "provisioning.server.deleted";
/// A taskserv was installed or changed.
pub const TASKSERV_INSTALLED: &str = "provisioning.taskserv.installed";
/// A taskserv was removed.
pub const TASKSERV_REMOVED: &str = "provisioning.taskserv.removed";
/// A node tried an enrollment key.
pub const KEY_VERIFIED: &str = "edge.enrollment_key.verified";
/// A node enrolled for the first time.
pub const NODE_REGISTERED: &str = "edge.node.registered";
/// A known node enrolled again.
pub const NODE_REREGISTERED: &str = "edge.node.reregistered";
/// A node came back with another agent version.
pub const NODE_VERSION_CHANGED: &str = "edge.node.version_changed";
/// A node's status changed.
pub const NODE_STATUS_CHANGED: &str = "edge.node.status_changed";
/// A node was moved.
pub const NODE_CLUSTER_CHANGED: &str = "edge.node.cluster_changed";
/// A node's agent began to update itself.
pub const NODE_UPDATE_TRIGGERED: &str = "edge.node.update_triggered";
/// A command got an execution for a node.
pub const EXECUTION_CREATED: &str = "edge.command_execution.created";
/// The agent has it.
pub const EXECUTION_SENT: &str = "edge.command_execution.sent";
/// It ran to an end.
pub const EXECUTION_COMPLETED: &str = "edge.command_execution.completed";
/// It was cancelled.
pub const EXECUTION_CANCELLED: &str = "edge.command_execution.cancelled";
/// Its deadline passed.
pub const EXECUTION_EXPIRED: &str = "edge.command_execution.expired";
/// It was removed by age.
pub const EXECUTION_PRUNED: &str = "edge.command_execution.pruned";
/// Somebody wanted to be let in on a node over SSH.
pub const SSH_USERNAME_VERIFIED: &str = "edge.ssh_username.verified";
/// Every node of a self-update request has answered, or will not.
pub const SELF_UPDATE_COMPLETED: &str = "edge.self_update_request.completed";

/// Most bytes of a command's text in an event: a fan-out makes one event per node.
const MAX_TEXT: usize = 4096;

fn secs(at: Option<Timestamp>) -> Value {
    at.map_or(Value::Null, |at| at.rfc3339_secs().into())
}

/// An event about a node; `extra` are fields of that type only, as `previous_status`.
pub fn of_node(kind: &'static str, node: &Node, extra: &[(&str, Value)]) -> NewEvent {
    let mut data = json!({
        "node_id": node.id, "cluster_name": node.cluster_name, "status": node.status, "version": node.version,
        "id_type": node.id_type, "http_port": node.ports.http, "ssh_port": node.ports.ssh,
        "host_metrics_port": node.ports.host_metrics, "wireguard_metrics_port": node.ports.wireguard_metrics,
        "http_proxy_port": node.ports.http_proxy, "socks5_proxy_port": node.ports.socks5_proxy,
        "self_update_enabled": node.self_update_enabled, "last_seen_at": secs(node.last_seen_at),
        "inserted_at": node.inserted_at.rfc3339_secs(), "updated_at": node.updated_at.rfc3339_secs(),
    });
    for (field, value) in extra {
        data[*field] = value.clone();
    }
    NewEvent { kind, subject: node.id.0.clone(), data }
}

/// An event about an execution. Never carries output.
pub fn of_execution(kind: &'static str, e: &Execution) -> NewEvent {
    let data = json!({
        "command_execution_id": e.id, "command_id": e.command_id, "node_id": e.node_id, "cluster_name": e.cluster_name,
        "command_text": short(&e.command_text), "timeout": e.timeout_ms, "status": e.status, "exit_code": e.exit_code,
        "target_all": e.target_all, "expired_at": secs(e.expired_at), "sent_at": secs(e.sent_at),
        "completed_at": secs(e.completed_at), "cancelled_at": secs(e.cancelled_at),
        "inserted_at": e.inserted_at.rfc3339_secs(), "updated_at": e.updated_at.rfc3339_secs(),
    });
    NewEvent { kind, subject: e.id.0.clone(), data }
}

/// The event of one use of a key. `key` is None when the key is unknown; the uses are those before this one.
pub fn of_key_use(key: Option<&EnrollmentKey>, result: &str, at: Timestamp) -> NewEvent {
    let data = json!({
        "enrollment_key_id": key.map(|k| &k.id), "cluster_name": key.map(|k| &k.cluster_name),
        "name": key.and_then(|k| k.name.as_ref()), "uses_remaining": key.and_then(|k| k.uses_remaining),
        "result": result, "verified_at": at.rfc3339_secs(),
    });
    NewEvent { kind: KEY_VERIFIED, subject: key.map(|k| k.id.0.clone()).unwrap_or_default(), data }
}

/// The event of one attempt to be let in. A name that cannot be a username is left out: people type passwords there.
pub fn of_ssh_attempt(
    known: Option<&SshUsername>,
    node: &Node,
    username: &str,
    method: AuthMethod,
    verified: bool,
    at: Timestamp,
) -> NewEvent {
    let data = json!({
        "ssh_username_id": known.map(|u| &u.id), "node_id": node.id, "cluster_name": node.cluster_name,
        "username": is_username(username).then_some(username), "auth_method": method.word(),
        "result": if verified { "success" } else { "failure" }, "verified_at": at.rfc3339_secs(),
    });
    NewEvent { kind: SSH_USERNAME_VERIFIED, subject: known.map(|u| u.id.0.clone()).unwrap_or_default(), data }
}

/// The event of a completed self-update request.
pub fn of_self_update(q: &SelfUpdateRequest) -> NewEvent {
    let summary = q.summary.map(|s| json!({"total": s.total, "triggered": s.triggered, "failed": s.failed}));
    // The document was JSON when it was stored.
    let targeting: Value = serde_json::from_str(&q.targeting).unwrap_or_default();
    let data = json!({
        "self_update_request_id": q.id, "status": q.status, "targeting": targeting, "summary": summary,
        "inserted_at": q.inserted_at.rfc3339_secs(), "updated_at": q.updated_at.rfc3339_secs(),
    });
    NewEvent { kind: SELF_UPDATE_COMPLETED, subject: q.id.0.clone(), data }
}

/// The event of a webhook that was disabled. Without its URL, which may be a secret.
pub fn of_disabled_webhook(id: &reeve_types::WebhookId, reason: &str, at: Timestamp) -> NewEvent {
    let data = json!({ "webhook_id": id, "reason": reason, "disabled_at": at.rfc3339_secs() });
    NewEvent { kind: WEBHOOK_DISABLED, subject: id.0.clone(), data }
}

/// An event about an operation. Without its request, which may be long.
pub fn of_operation(
    kind: &'static str,
    o: &reeve_types::operation::Operation,
    status: reeve_types::operation::OperationStatus,
    error: Option<&str>,
) -> NewEvent {
    let data = json!({
        "operation_id": o.id, "type": o.kind, "workflow": o.is_workflow, "workspace": o.workspace, "subject": o.subject,
        "status": status, "check_mode": o.check_mode, "error": error.map(short), "parent_id": o.parent_id,
        "inserted_at": o.inserted_at.rfc3339_secs(),
    });
    NewEvent { kind, subject: o.id.0.clone(), data }
}

/// An event about a host.
pub fn of_host(kind: &'static str, h: &reeve_types::host::Host) -> NewEvent {
    let data = json!({
        "server_id": h.handle, "hostname": h.hostname, "workspace_id": h.workspace_id, "provider": h.provider,
        "plan": h.plan, "zone": h.zone, "ip_address": h.address, "status": h.state, "node_id": h.node_id,
    });
    NewEvent { kind, subject: h.id.0.clone(), data }
}

/// An event about a taskserv. Without its settings.
pub fn of_taskserv(kind: &'static str, placed: &reeve_types::taskserv::Placed) -> NewEvent {
    let t = &placed.taskserv;
    let servers: Vec<&String> = placed.hosts.iter().map(|(_, name)| name).collect();
    let data = json!({
        "taskserv_id": t.handle, "name": t.name, "version": t.version, "workspace_id": t.workspace_id, "servers": servers,
        "status": t.state,
    });
    NewEvent { kind, subject: t.id.0.clone(), data }
}

fn short(text: &str) -> &str {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// The CloudEvents 1.0 envelope of a stored event, as JSON text.
pub fn envelope(app: &App, event: &Event) -> String {
    let quoted = |text: &str| Value::from(text).to_string();
    format!(
        r#"{{"specversion":"1.0","id":{},"source":{},"type":{},"time":{},"datacontenttype":"application/json","corename":{},"data":{}}}"#,
        quoted(event.id.as_str()),
        quoted(&app.config.event_source),
        quoted(&event.kind),
        quoted(&event.at.rfc3339_micros()),
        quoted(&app.config.core_name),
        event.data,
    )
}

/// Events after a position, in order, at most 500; of these types or of all.
///
/// # Errors
/// Forbidden; Invalid for an unknown type.
pub async fn after(app: &App, actor: &Actor, position: i64, kinds: &[String]) -> Result<Vec<Event>> {
    authz::require(actor, Permission::EventsRead)?;
    if let Some(unknown) = kinds.iter().find(|kind| !is_known(kind)) {
        return Err(reeve_types::Error::invalid(
            "type",
            format!("`{unknown}` is not an event type; see /api/v1/event_types"),
        ));
    }
    let mut tx = app.store.read().await?;
    reeve_store::event::after(&mut tx, position, kinds, 500).await
}

/// The position of the newest event.
///
/// # Errors
/// Forbidden.
pub async fn position(app: &App, actor: &Actor) -> Result<i64> {
    authz::require(actor, Permission::EventsRead)?;
    let mut tx = app.store.read().await?;
    reeve_store::event::last_position(&mut tx).await
}

/// The newest events, in order, at most `most`; of these types or of all.
///
/// # Errors
/// Forbidden; Invalid for an unknown type.
pub async fn newest(app: &App, actor: &Actor, kinds: &[String], most: i64) -> Result<Vec<Event>> {
    check(actor, kinds)?;
    let mut tx = app.store.read().await?;
    reeve_store::event::newest(&mut tx, kinds, most).await
}

/// The feed as it grows.
pub struct Feed {
    app: Arc<App>,
    wakes: tokio::sync::watch::Receiver<u64>,
    position: i64,
    kinds: Vec<String>,
    waiting: std::collections::VecDeque<Event>,
}

/// Follows the feed after a position, or from its end on.
///
/// # Errors
/// Forbidden; Invalid for an unknown type.
pub async fn follow(app: &Arc<App>, actor: &Actor, after: Option<i64>, kinds: Vec<String>) -> Result<Feed> {
    check(actor, &kinds)?;
    let wakes = app.store.subscribe(reeve_store::Topic::Events);
    let position = match after {
        Some(after) => after,
        None => position(app, actor).await?,
    };
    Ok(Feed { app: app.clone(), wakes, position, kinds, waiting: Default::default() })
}

impl Feed {
    /// Everything up to here has been looked at.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// The next event; waits for it.
    ///
    /// # Errors
    /// As the store.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.waiting.pop_front() {
                self.position = event.seq;
                return Ok(event);
            }
            self.wakes.borrow_and_update();
            let (newest, found) = {
                let mut tx = self.app.store.read().await?;
                // In this order: what is as old as the newest has been committed by then.
                let newest = reeve_store::event::last_position(&mut tx).await?;
                (newest, reeve_store::event::after(&mut tx, self.position, &self.kinds, 500).await?)
            };
            self.waiting.extend(found);
            if self.waiting.is_empty() {
                // Who waits for a rare type does not go through all the others again each time.
                self.position = self.position.max(newest);
                // A look now and then, in case a wake got lost on its way from another server.
                tokio::time::timeout(std::time::Duration::from_secs(5), self.wakes.changed()).await.ok();
            }
        }
    }
}

fn check(actor: &Actor, kinds: &[String]) -> Result<()> {
    authz::require(actor, Permission::EventsRead)?;
    match kinds.iter().find(|kind| !is_known(kind)) {
        Some(unknown) => Err(reeve_types::Error::invalid(
            "type",
            format!("`{unknown}` is not an event type; see /api/v1/event_types"),
        )),
        None => Ok(()),
    }
}

/// Drops everything that is older than configured. Called by its schedule.
///
/// # Errors
/// As the store. What was dropped until then stays dropped.
pub async fn prune_all(app: &App) -> Result<()> {
    while prune(app).await? > 0 {}
    Ok(())
}

/// Drops events that are older than configured. One batch; says how many.
///
/// # Errors
/// As the store.
pub async fn prune(app: &App) -> Result<u64> {
    let before = app.now().plus_ms(-(app.config.event_retention.as_millis() as i64));
    let mut tx = app.store.begin().await?;
    let dropped = reeve_store::event::prune(&mut tx, before, 5_000).await?;
    tx.commit().await?;
    Ok(dropped)
}
