//! Enrollment: a key, a machine and a proven key pair become a node, in one transaction.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use reeve_store::{Topic, Tx, alias, cluster, enrollment_key, event as feed, node};
use reeve_types::enrollment_key::{EnrollmentKey, KeyRefusal};
use reeve_types::event::NewEvent;
use reeve_types::node::{Node, NodeIdType, NodeSecrets, NodeStatus};
use reeve_types::{Actor, NodeId, Result, Secret};
use serde_json::json;

use super::Machine;
use crate::node::{password_aad, token_aad};
use crate::{App, audit, event};

/// What an agent brings. The shell has checked that it holds the private key of `public_key`.
#[derive(Clone, Debug)]
pub struct Enrollment {
    /// The key blob as given to the agent.
    pub key: String,
    /// The id it wants, a UUID.
    pub node_id: NodeId,
    /// Where that id comes from.
    pub id_type: NodeIdType,
    /// Ed25519, 32 bytes.
    pub public_key: Vec<u8>,
    /// Its machine.
    pub machine: Machine,
}

/// What a new node is given.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Its id.
    pub node_id: NodeId,
    /// The cluster it is in.
    pub cluster_name: String,
    /// For the HTTP interfaces that agents use.
    pub api_token: Secret,
    /// For its forward proxies.
    pub proxy_password: Secret,
    /// `host:port` of every server that it may come to, this one first.
    pub agent_endpoints: Vec<String>,
}

/// Why an agent may not enroll or connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Because of its key.
    Key(KeyRefusal),
    /// Another key pair holds this node id.
    NodeIdTaken,
    /// More nodes than capacity.
    Degraded,
    /// No such node.
    UnknownNode,
}

impl Refusal {
    /// The stable word.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::Key(refusal) => refusal.word(),
            Refusal::NodeIdTaken => "node_id_taken",
            Refusal::Degraded => "degraded_mode",
            Refusal::UnknownNode => "unknown_node",
        }
    }

    /// A sentence for the person at the machine, with the next step.
    pub fn message(self) -> &'static str {
        match self {
            Refusal::Key(KeyRefusal::InvalidKey) => {
                "this server does not know the enrollment key; make one with `reeve key create CLUSTER`"
            }
            Refusal::Key(KeyRefusal::KeyExpired) => {
                "the enrollment key has expired; make a new one with `reeve key create CLUSTER`"
            }
            Refusal::Key(KeyRefusal::KeySpent) => {
                "the enrollment key has no use left; make a new one with `reeve key create CLUSTER`"
            }
            Refusal::Key(KeyRefusal::NodeLimitReached) => {
                "the cluster has reached its node limit; raise it with `reeve cluster update` or remove a node"
            }
            Refusal::NodeIdTaken => {
                "a node with this id is registered with another key pair; restore its data directory, delete the node with \
                 `reeve node delete`, or start the agent with --random-id"
            }
            Refusal::Degraded => {
                "the servers hold more nodes than they have room for; add a server or raise its peer limit"
            }
            Refusal::UnknownNode => "this server does not know the node any more; enroll it again with a fresh key",
        }
    }
}

/// Enrolls a node, or registers a known one again when it proves the same key pair. A use of the key is consumed only
/// when that succeeds; each attempt leaves an event.
///
/// # Errors
/// As the store. A refusal is not an error.
pub async fn enroll(app: &App, input: Enrollment) -> Result<Result<Enrolled, Refusal>> {
    if app.is_degraded() {
        return Ok(Err(Refusal::Degraded));
    }
    let now = app.now();
    let mut tx = app.store.begin().await?;
    let key = enrollment_key::by_hash_for_update(&mut tx, &crate::enrollment_key::hash(&input.key)).await?;
    match attempt(app, &mut tx, key.as_ref(), &input).await? {
        Ok((enrolled, mut events)) => {
            if let Some(key) = &key {
                crate::host::enroll::link(app, &mut tx, key, &input.node_id).await?;
            }
            events.insert(0, event::of_key_use(key.as_ref(), "verified", now));
            let details = json!({"cluster": enrolled.cluster_name, "key": key.as_ref().map(|k| &k.id)});
            audit::record(app, &mut tx, &Actor::system(), "node.enroll", input.node_id.as_str(), details).await?;
            feed::append(&mut tx, &*app.ids, now, &events).await?;
            tx.wake(Topic::Servers);
            tx.commit().await?;
            app.in_flight.forget(&input.node_id);
            Ok(Ok(enrolled))
        }
        Err(refusal) => {
            drop(tx);
            tracing::info!(node.id = %input.node_id, reason = refusal.word(), "enrollment refused");
            if let Refusal::Key(reason) = refusal {
                let mut tx = app.store.begin().await?;
                let event = event::of_key_use(key.as_ref(), reason.word(), now);
                feed::append(&mut tx, &*app.ids, now, &[event]).await?;
                tx.commit().await?;
            }
            Ok(Err(refusal))
        }
    }
}

type Attempt = Result<(Enrolled, Vec<NewEvent>), Refusal>;

async fn attempt(app: &App, tx: &mut Tx, key: Option<&EnrollmentKey>, input: &Enrollment) -> Result<Attempt> {
    let refused = |reason| Ok(Err(Refusal::Key(reason)));
    let now = app.now();
    let Some(key) = key else { return refused(KeyRefusal::InvalidKey) };
    if key.expired_at.is_some_and(|at| at <= now) {
        return refused(KeyRefusal::KeyExpired);
    }
    if key.uses_remaining == Some(0) {
        return refused(KeyRefusal::KeySpent);
    }
    let known = node::by_id(tx, &input.node_id).await?;
    let public_key = hex::encode(&input.public_key);
    if known.as_ref().is_some_and(|known| known.public_key != public_key) {
        return Ok(Err(Refusal::NodeIdTaken));
    }
    let moves = known.as_ref().is_none_or(|known| known.cluster_id != key.cluster_id);
    if moves && !cluster::take_place(tx, &key.cluster_id).await? {
        return refused(KeyRefusal::NodeLimitReached);
    }
    if let Some(known) = known.as_ref().filter(|_| moves) {
        cluster::free_place(tx, &known.cluster_id).await?;
        // They were names inside the cluster that the node leaves.
        alias::delete_of_node(tx, &known.id).await?;
    }
    if !enrollment_key::consume(tx, &key.id, now).await? {
        return refused(KeyRefusal::KeySpent);
    }
    let (api_token, proxy_password) = (fresh_secret(app), fresh_secret(app));
    let secrets = NodeSecrets {
        api_token: app.seal.seal(&*app.ids, token_aad(&input.node_id), &api_token),
        proxy_password: app.seal.seal(&*app.ids, password_aad(&input.node_id), &proxy_password),
    };
    let token_hash = crate::enrollment_key::hash(&api_token);
    let fresh = node_of(app, input, key, public_key, known.as_ref());
    let events = match &known {
        None => {
            node::insert(tx, &fresh, &secrets, &token_hash).await?;
            vec![event::of_node(event::NODE_REGISTERED, &fresh, &[])]
        }
        Some(before) => {
            node::reregister(tx, &fresh, &secrets, &token_hash).await?;
            let mut events = vec![event::of_node(event::NODE_REREGISTERED, &fresh, &[])];
            if before.version != fresh.version {
                let extra = [("previous_version", json!(before.version))];
                events.push(event::of_node(event::NODE_VERSION_CHANGED, &fresh, &extra));
            }
            events
        }
    };
    let enrolled = Enrolled {
        node_id: fresh.id,
        cluster_name: fresh.cluster_name,
        api_token: Secret::new(api_token),
        proxy_password: Secret::new(proxy_password),
        agent_endpoints: crate::server::agent_endpoints(app, tx).await?,
    };
    Ok(Ok((enrolled, events)))
}

fn node_of(app: &App, input: &Enrollment, key: &EnrollmentKey, public_key: String, known: Option<&Node>) -> Node {
    let now = app.now();
    Node {
        id: input.node_id.clone(),
        cluster_id: key.cluster_id.clone(),
        cluster_name: key.cluster_name.clone(),
        id_type: input.id_type,
        status: NodeStatus::Healthy,
        version: Some(input.machine.version.clone()),
        ports: input.machine.ports,
        self_update_enabled: input.machine.self_update_enabled,
        last_seen_at: Some(now),
        connected_server: None,
        public_key,
        facts: input.machine.facts.clone(),
        labels: known.map(|n| n.labels.clone()).unwrap_or_default(),
        inserted_at: known.map_or(now, |n| n.inserted_at),
        updated_at: now,
    }
}

/// 32 random bytes as base64 without padding: 43 characters.
fn fresh_secret(app: &App) -> String {
    let mut bytes = [0u8; 32];
    app.ids.fill(&mut bytes);
    STANDARD_NO_PAD.encode(bytes)
}
