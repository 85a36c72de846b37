//! Sharing the edge clusters out among the servers of a group, and whether there is room for all nodes. What a
//! computation came to stands in rows, so that asking is cheap and all servers answer alike.

use std::sync::atomic::Ordering;

use reeve_store::admin_cluster::{self as table, Weighed};
use reeve_store::{Topic, Tx, cluster, dialect, server as servers};
use reeve_types::server::{AdminCluster, Server};
use reeve_types::{ClusterId, Error, Result, ServerId, Timestamp};

use super::assign::{Load, Member, assign, capacity};
use crate::{App, address};

/// Written down anew after this long, even when nothing changed.
const AGE_MS: i64 = 60_000;
/// When the first of the group does nothing for this long, another one does it.
const STAND_IN_MS: i64 = 90_000;
/// Prefix length of the range of a group's own network.
const GROUP_PREFIX: u8 = 24;

/// Computes the shares if it is this server's turn, and takes over what was computed. Called by its loop whenever servers,
/// clusters or nodes came or went.
///
/// # Errors
/// As the store.
pub async fn share_out(app: &App) -> Result<()> {
    if app.holder().epoch == 0 {
        return Ok(());
    }
    let name = app.config.admin_cluster_name();
    let mut tx = app.store.read().await?;
    let now = dialect::database_now(&mut tx, app.now()).await?;
    let Some(group) = table::by_name(&mut tx, &name).await? else { return Ok(()) };
    let members = of_group(servers::members(&mut tx).await?, &name);
    let age_ms = group.computed_at.map_or(i64::MAX, |at| now.ms_since(at));
    let first = members.first().is_some_and(|first| first.id == app.server_id);
    if !first && age_ms < STAND_IN_MS {
        take_over(app, &group);
        return Ok(());
    }
    let computed = Computed::of(&mut tx, app, &group, &members, now).await?;
    drop(tx);
    if !computed.differs_from(&group) && age_ms < AGE_MS {
        take_over(app, &group);
        return Ok(());
    }
    let written = write(app, &name).await;
    match written {
        Ok(group) => take_over(app, &group),
        // A cluster was deleted in between; its deletion leads to another pass.
        Err(error) if dialect::is_foreign_key_violation(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Computes again under the group's lock, so that of two servers one is second and sees what the first wrote.
async fn write(app: &App, name: &str) -> Result<AdminCluster> {
    let mut tx = app.store.begin().await?;
    let group = table::by_name_for_update(&mut tx, name).await?;
    let group = group.ok_or_else(|| Error::internal("the servers' cluster vanished"))?;
    let now = dialect::database_now(&mut tx, app.now()).await?;
    super::require_member(&mut tx, app.holder()).await?;
    let members = of_group(servers::members(&mut tx).await?, name);
    let computed = Computed::of(&mut tx, app, &group, &members, now).await?;
    if computed.differs_from(&group) {
        tx.wake(Topic::Servers);
    }
    table::assign(&mut tx, name, &computed.moved, now).await?;
    table::set_computed(&mut tx, &computed.group).await?;
    tx.commit().await?;
    if !computed.moved.is_empty() {
        tracing::info!(clusters = computed.moved.len(), servers = members.len(), "edge clusters were shared out");
    }
    if computed.group.degraded != group.degraded {
        let (nodes, room) = (computed.group.total_nodes, computed.group.total_capacity);
        tracing::warn!(degraded = computed.group.degraded, nodes, room, "the servers' room for nodes changed");
    }
    Ok(computed.group)
}

fn of_group(servers: Vec<Server>, name: &str) -> Vec<Server> {
    servers.into_iter().filter(|server| server.admin_cluster == name).collect()
}

fn take_over(app: &App, group: &AdminCluster) {
    app.degraded.store(group.degraded, Ordering::Relaxed);
    metrics::gauge!("reeve_nodes").set(group.total_nodes as f64);
    metrics::gauge!("reeve_degraded").set(f64::from(u8::from(group.degraded)));
}

struct Computed {
    group: AdminCluster,
    moved: Vec<(ClusterId, Option<ServerId>)>,
}

impl Computed {
    async fn of(tx: &mut Tx, app: &App, group: &AdminCluster, members: &[Server], now: Timestamp) -> Result<Self> {
        app.counters.weighings.add(1);
        let clusters = table::weighed(tx, &group.name).await?;
        let count = members.len() as i64;
        let bins: Vec<Member<'_>> =
            members.iter().map(|m| Member { id: &m.id, capacity: capacity(m.max_peers, count) }).collect();
        let loads: Vec<Load<'_>> =
            clusters.iter().map(|c| Load { name: &c.name, nodes: c.nodes, owner: c.owner.as_ref() }).collect();
        let owners = assign(&bins, &loads).into_iter().map(|m| m.map(|m| members[m].id.clone()));
        let differs = |(cluster, owner): &(&Weighed, Option<ServerId>)| !cluster.known || cluster.owner != *owner;
        let moved =
            clusters.iter().zip(owners).filter(differs).map(|(cluster, owner)| (cluster.id.clone(), owner)).collect();
        let total_nodes: i64 = clusters.iter().map(|c| c.nodes).sum();
        let total_capacity = bins.iter().map(|bin| bin.capacity).sum();
        let group = AdminCluster {
            degraded: total_nodes > total_capacity,
            total_nodes,
            total_capacity,
            computed_by: Some(app.server_id.clone()),
            computed_at: Some(now),
            ..group.clone()
        };
        Ok(Self { group, moved })
    }

    fn differs_from(&self, before: &AdminCluster) -> bool {
        let told = |g: &AdminCluster| (g.degraded, g.total_nodes, g.total_capacity);
        !self.moved.is_empty() || told(&self.group) != told(before)
    }
}

/// Makes the group with a range for its own network, or gives it the configured one.
///
/// # Errors
/// Invalid for a range that cannot be used; Conflict when it is taken.
pub(crate) async fn ensure_group(app: &App, tx: &mut Tx, name: &str) -> Result<()> {
    let given = match &app.config.admin_cluster_subnet {
        Some(text) => Some(address::parse_as(text, "admin_cluster_subnet")?),
        None => None,
    };
    let known = table::by_name(tx, name).await?;
    if known.as_ref().is_some_and(|group| given.is_none_or(|net| group.ipv4_range == net.to_string())) {
        return Ok(());
    }
    // The same lock under which edge clusters are given their ranges.
    dialect::lock_table(tx, "clusters").await?;
    let known = table::by_name(tx, name).await?;
    let net = match given {
        Some(net) => {
            let (first, last) = address::bounds(&net);
            let taken = match cluster::overlapping(tx, first, last).await? {
                Some(taken) => Some(taken),
                None => table::overlapping(tx, name, first, last).await?,
            };
            if let Some(taken) = taken {
                return Err(Error::conflict(format!(
                    "admin_cluster_subnet {net} overlaps with {taken}, which is taken"
                )));
            }
            net
        }
        None if known.is_some() => return Ok(()),
        None => last_free(app, tx).await?,
    };
    let bounds = address::bounds(&net);
    match known {
        Some(_) => table::set_range(tx, name, &net.to_string(), bounds).await,
        None => table::insert(tx, name, &net.to_string(), bounds, app.now()).await,
    }
}

async fn last_free(app: &App, tx: &mut Tx) -> Result<ipnet::Ipv4Net> {
    for pool in app.config.address_pools.iter().rev() {
        let pool: ipnet::Ipv4Net = pool.parse().map_err(Error::internal)?;
        let (first, last) = address::bounds(&pool);
        let mut taken = cluster::ranges_within(tx, first, last).await?;
        taken.extend(table::ranges_within(tx, first, last).await?);
        if let Some(net) = address::last_free(&pool, GROUP_PREFIX.max(pool.prefix_len()), &mut taken) {
            return Ok(net);
        }
    }
    Err(Error::conflict(
        "no free range for the servers' own network is left; name an admin_cluster_subnet or add a pool",
    ))
}
