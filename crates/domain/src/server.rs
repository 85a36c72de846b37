//! This server among the servers on its store: a member by lease, on the database's clock.
//!
//! A member beats. One whose lease has passed is expelled by the others: its agents count as not connected, and what it
//! still does in its old epoch is void. When it runs on after a pause it finds itself expelled, lets go of its agents and
//! joins anew. `docs/adr/0008-several-servers.md` says why it is so.

pub mod assign;
pub mod keep;
pub mod letters;
pub mod questions;
pub mod share;

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, OnceLock};

use reeve_store::node::Holder;
use reeve_store::{Topic, Tx, dialect, job, node, schedule, server as table, webhook};
use reeve_types::server::{Server, ServerState};
use reeve_types::{Actor, Clock, Error, Permission, Result, SharedClock, Timestamp};

use crate::{App, authz};

/// The shared clock follows the database's when it is off by more than this; less is the noise of measuring.
const CLOCK_SLACK_US: i64 = 50_000;
/// A machine's clock that is off by more than this is worth a word.
pub const CLOCK_WARN_US: i64 = 1_000_000;
/// Time between heartbeats and length of the lease where nobody else looks at it.
const ALONE_BEAT_MS: i64 = 15_000;

/// What a server tells of itself when it joins.
#[derive(Clone, Debug)]
pub struct About {
    /// Reeve's version.
    pub version: String,
    /// Surface to URL, a JSON object.
    pub listeners: String,
}

/// This server's membership. Its epoch is 0 until it has joined.
#[derive(Debug, Default)]
pub struct Membership {
    epoch: AtomicI64,
    /// The last good heartbeat, by the database's clock.
    beat_at: AtomicI64,
    clock: OnceLock<Arc<SharedClock>>,
    about: OnceLock<About>,
    desk: questions::Desk,
}

impl App {
    /// This server in its present epoch, as the holder of agents' connections.
    pub(crate) fn holder(&self) -> Holder<'_> {
        Holder { server: &self.server_id, epoch: self.membership.epoch.load(Ordering::SeqCst) }
    }

    /// Lets the app's clock follow the database's, so that all servers agree on the time. Once, before joining.
    pub fn follow(&self, clock: Arc<SharedClock>) {
        if self.membership.clock.set(clock).is_err() {
            tracing::error!("the shared clock was set twice; the first one stays");
        }
    }

    /// How long a member may be silent.
    fn lease_ms(&self) -> i64 {
        if self.store.is_shared() { self.config.server_lease.as_millis() as i64 } else { ALONE_BEAT_MS * 4 }
    }

    /// Time between heartbeats.
    pub(crate) fn beat_ms(&self) -> i64 {
        if self.store.is_shared() { (self.lease_ms() / 3).max(100) } else { ALONE_BEAT_MS }
    }
}

/// Takes this server in among the others.
///
/// # Errors
/// Invalid when the configured network of the servers cannot be had; otherwise as the store.
pub async fn join(app: &App, about: About) -> Result<()> {
    let about = app.membership.about.get_or_init(|| about);
    let group = app.config.admin_cluster_name();
    let mut tx = app.store.begin().await?;
    share::ensure_group(app, &mut tx, &group).await?;
    let (now, clock_ahead_us) = measure(app, &mut tx).await?;
    let fresh = Server {
        id: app.server_id.clone(),
        epoch: now.0,
        state: ServerState::Member,
        admin_cluster: group,
        max_peers: app.config.max_peers,
        version: about.version.clone(),
        listeners: about.listeners.clone(),
        agent_endpoints: app.config.agent_endpoints.clone(),
        public_urls: app.config.public_urls.clone(),
        agents: 0,
        clock_ahead_us,
        started_at: now,
        last_seen_at: now,
        lease_until: now.plus_ms(app.lease_ms()),
        ended_at: None,
    };
    let epoch = table::join(&mut tx, &fresh).await?;
    node::clear_connections_of(&mut tx, &app.server_id, epoch).await?;
    if app.holder().epoch == 0 {
        // A process that begins: what this server held in an earlier life goes on at once. Nobody else has its id, for the
        // lock of its data directory keeps a second process away.
        job::release_of(&mut tx, &app.server_id).await?;
        webhook::release_of(&mut tx, &app.server_id).await?;
        schedule::release_of(&mut tx, &app.server_id).await?;
    }
    tx.wake(Topic::Servers);
    tx.wake(Topic::Executions);
    tx.commit().await?;
    app.membership.beat_at.store(now.0, Ordering::SeqCst);
    app.membership.epoch.store(epoch, Ordering::SeqCst);
    tracing::info!(server.name = fresh.name(), epoch, "joined the servers on this store");
    share::share_out(app).await
}

/// One heartbeat: prolongs the lease, and expels members whose lease has passed. Called by its loop.
///
/// # Errors
/// As the store.
pub async fn beat(app: &App) -> Result<()> {
    let epoch = app.holder().epoch;
    if epoch == 0 {
        return Ok(());
    }
    let mut tx = app.store.begin_reserved().await?;
    let (now, clock_ahead_us) = measure(app, &mut tx).await?;
    let agents = i64::try_from(app.agents().connected_count()).unwrap_or(i64::MAX);
    let beat = table::Beat { now, lease_until: now.plus_ms(app.lease_ms()), agents, clock_ahead_us };
    if !table::beat(&mut tx, &app.server_id, epoch, beat).await? {
        drop(tx);
        return rejoin(app).await;
    }
    // Who could not beat itself for a while may not judge others by their silence: the database was away for all.
    let silent_ms = now.ms_since(Timestamp(app.membership.beat_at.load(Ordering::SeqCst)));
    let lapsed = if silent_ms <= app.lease_ms() { table::lapsed(&mut tx, now).await? } else { Vec::new() };
    let mut expelled = Vec::new();
    for server in lapsed {
        if table::end(&mut tx, &server.id, server.epoch, ServerState::Expelled, now).await? {
            let cut = node::clear_connections_of(&mut tx, &server.id, 0).await?;
            // Whoever waits for these leases need not wait longer than it took to be sure.
            webhook::release_of(&mut tx, &server.id).await?;
            schedule::release_of(&mut tx, &server.id).await?;
            expelled.push((server, cut));
        }
    }
    if !expelled.is_empty() {
        tx.wake(Topic::Servers);
        tx.wake(Topic::Executions);
    }
    tx.commit().await?;
    app.membership.beat_at.store(now.0, Ordering::SeqCst);
    for (server, agents) in expelled {
        let (name, silent_ms) = (server.name(), now.ms_since(server.last_seen_at));
        tracing::warn!(server.name = name, silent_ms, agents, "a server was expelled: its lease has passed");
        metrics::counter!("reeve_servers_expelled_total").increment(1);
    }
    Ok(())
}

/// This server was expelled, as when it was paused or cut off for longer than its lease: whatever it held is somebody
/// else's by now.
async fn rejoin(app: &App) -> Result<()> {
    tracing::warn!("the others expelled this server: its lease had passed; it lets go of its agents and joins anew");
    app.agents().disconnect_all("the server was away for too long");
    app.presence.forget_all();
    app.in_flight.forget_all();
    match app.membership.about.get() {
        Some(about) => join(app, about.clone()).await,
        None => Ok(()),
    }
}

/// Says goodbye: its agents count as not connected from here on, and nobody waits for its lease to pass.
///
/// # Errors
/// As the store; the lease then passes by itself.
pub async fn leave(app: &App) -> Result<()> {
    let epoch = app.holder().epoch;
    if epoch == 0 {
        return Ok(());
    }
    let mut tx = app.store.begin().await?;
    let now = dialect::database_now(&mut tx, app.now()).await?;
    if table::end(&mut tx, &app.server_id, epoch, ServerState::Left, now).await? {
        node::clear_connections_of(&mut tx, &app.server_id, 0).await?;
        tx.wake(Topic::Servers);
        tx.wake(Topic::Executions);
        tx.commit().await?;
    }
    Ok(())
}

/// Refuses what a server does in an epoch in which it is no member any more.
///
/// # Errors
/// Unavailable when it is not.
pub(crate) async fn require_member(tx: &mut Tx, holder: Holder<'_>) -> Result<()> {
    // A process that never joined is alone, as in tests of other things.
    if holder.epoch == 0 || table::is_member(tx, holder.server, holder.epoch).await? {
        return Ok(());
    }
    Err(Error::unavailable("this server has to join the others anew; try again in a moment"))
}

/// Clears connections of servers that are no members, whatever left them behind, and forgets servers that ended long ago.
/// Called by its loop, on one server. Who is no member itself judges nobody.
///
/// # Errors
/// As the store.
pub async fn tidy(app: &App) -> Result<()> {
    if app.holder().epoch == 0 {
        return Ok(());
    }
    let mut tx = app.store.begin().await?;
    let now = dialect::database_now(&mut tx, app.now()).await?;
    let stale = node::clear_stale_connections(&mut tx).await?;
    reeve_store::letter::drop_expired(&mut tx, now).await?;
    let forgotten = if app.is_degraded() {
        0
    } else {
        let before = now.plus_ms(-(app.config.forget_servers_after.as_millis() as i64));
        table::forget(&mut tx, before).await?
    };
    if forgotten > 0 {
        tx.wake(Topic::Servers);
    }
    tx.commit().await?;
    if stale > 0 {
        tracing::warn!(agents = stale, "connections of servers that are gone were cleared");
    }
    Ok(())
}

/// Sends some agents to the other members when this one has many more than its share, as after the others were started
/// again. Called by its loop.
///
/// # Errors
/// As the store.
pub async fn balance(app: &App) -> Result<()> {
    if app.holder().epoch == 0 || !app.store.is_shared() {
        return Ok(());
    }
    let group = app.config.admin_cluster_name();
    let members = table::members(&mut app.store.read().await?).await?;
    let agents = members.iter().filter(|m| m.admin_cluster == group && !m.agent_endpoints.is_empty());
    let agents: Vec<(bool, i64)> = agents.map(|m| (m.id == app.server_id, m.agents)).collect();
    let away = surplus(&agents);
    if away > 0 {
        let sent = app.agents().send_away(away);
        tracing::info!(agents = sent, "agents were sent to the other servers, which have fewer");
    }
    Ok(())
}

/// Agents that the server marked among `(is it, its agents)` should send away in one go: a tenth of its surplus over an
/// equal share and at least ten, once it has a quarter and twenty more than that.
fn surplus(servers: &[(bool, i64)]) -> usize {
    let mine: i64 = servers.iter().filter(|(is_it, _)| *is_it).map(|(_, agents)| agents).sum();
    let share =
        servers.iter().map(|(_, agents)| agents).sum::<i64>() / i64::try_from(servers.len()).unwrap_or(1).max(1);
    if mine <= share + share / 4 + 20 {
        return 0;
    }
    let surplus = mine - share;
    usize::try_from((surplus / 10).max(10).min(surplus)).unwrap_or_default()
}

/// Every server that the store knows, and the database's time.
///
/// # Errors
/// Forbidden; as the store.
pub async fn list(app: &App, actor: &Actor) -> Result<(Vec<Server>, Timestamp)> {
    authz::require(actor, Permission::ServerRead)?;
    let mut tx = app.store.read().await?;
    let now = dialect::database_now(&mut tx, app.now()).await?;
    Ok((table::all(&mut tx).await?, now))
}

/// What agents are told of the members' addresses: this server's first and then the others' in order of id, without
/// repeats. Empty where there can be no other server: an agent then keeps the address it came by.
///
/// # Errors
/// As the store.
pub async fn agent_endpoints(app: &App, tx: &mut Tx) -> Result<Vec<String>> {
    if app.store.is_shared() { Ok(of_members(app, tx).await?.0) } else { Ok(Vec::new()) }
}

/// Where agents reach the members, and the base URLs of the members' REST APIs, this server's first.
pub(crate) async fn of_members(app: &App, tx: &mut Tx) -> Result<(Vec<String>, Vec<String>)> {
    /// Enrollment keys are pasted by people.
    const MOST: usize = 24;
    let (mut endpoints, mut urls) = (app.config.agent_endpoints.clone(), app.config.public_urls.clone());
    if app.store.is_shared() {
        let group = app.config.admin_cluster_name();
        for member in table::members(tx).await?.into_iter().filter(|m| m.admin_cluster == group) {
            add(&mut endpoints, member.agent_endpoints, MOST);
            add(&mut urls, member.public_urls, MOST);
        }
    }
    Ok((endpoints, urls))
}

fn add(list: &mut Vec<String>, more: Vec<String>, most: usize) {
    for item in more {
        if list.len() < most && !list.contains(&item) {
            list.push(item);
        }
    }
}

/// The database's time, and how far this machine's clock is ahead of it. Corrects the shared clock.
async fn measure(app: &App, tx: &mut Tx) -> Result<(Timestamp, i64)> {
    let Some(clock) = app.membership.clock.get() else {
        return Ok((dialect::database_now(tx, app.now()).await?, 0));
    };
    let before = clock.own();
    let now = dialect::database_now(tx, clock.now()).await?;
    let after = clock.own();
    if !app.store.is_shared() {
        return Ok((now, 0));
    }
    let ahead_us = (before.0 + after.0) / 2 - now.0;
    // A slow answer says little: it is off by up to half of what it took.
    let trust_us = CLOCK_SLACK_US + (after.0 - before.0) / 2;
    if (ahead_us - clock.ahead_us()).abs() > trust_us {
        clock.set_ahead_us(ahead_us);
        if ahead_us.abs() > CLOCK_WARN_US {
            tracing::warn!(ahead_ms = ahead_us / 1000, "this machine's clock differs from the database's");
        }
    }
    Ok((now, ahead_us))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_with_many_more_agents_than_its_share_sends_some_away() {
        for (servers, away) in [
            (&[][..], 0),
            (&[(true, 5_000)], 0),
            (&[(true, 100), (false, 100)], 0),
            (&[(true, 70), (false, 30)], 0),
            (&[(true, 30), (false, 300)], 0),
            (&[(true, 100), (false, 0)], 10),
            (&[(true, 600), (false, 0), (false, 600)], 20),
            (&[(true, 20_000), (false, 0)], 1_000),
        ] {
            assert_eq!(surplus(servers), away, "{servers:?}");
        }
    }
}
