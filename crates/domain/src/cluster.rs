//! Edge clusters.

use std::collections::HashMap;

use reeve_store::{Topic, Tx, admin_cluster, cluster as table, dialect, node};
use reeve_types::cluster::{Cluster, ClusterFilter};
use reeve_types::node::NodeSummary;
use reeve_types::{Actor, ClusterId, Error, Page, Paged, Patch, Permission, Result, Sort};
use serde_json::json;

use crate::{App, address, audit, authz};

/// Most nodes shown inside a single cluster.
const SUMMARIES_OF_ONE: i64 = 10_000;
/// Most nodes shown inside each cluster of a list.
const SUMMARIES_IN_LIST: i64 = 100;

/// Prefix length of the default cluster's range.
const ROOMY: u8 = 16;

/// A cluster with short forms of its nodes.
#[derive(Clone, Debug)]
pub struct WithNodes {
    /// The cluster; its `node_count` counts all nodes.
    pub cluster: Cluster,
    /// Its nodes, at most 10,000 of one cluster and 100 of each in a list.
    pub nodes: Vec<NodeSummary>,
}

/// What a new cluster is made of.
#[derive(Clone, Debug)]
pub struct Create {
    /// A DNS label of at most 24 characters, checked by the surface's contract.
    pub name: String,
    /// A CIDR; None takes the next free one of the pools.
    pub ipv4_range: Option<String>,
    /// Most nodes.
    pub node_limit: Option<i64>,
}

/// Creates a cluster.
///
/// # Errors
/// Invalid for a reserved name, a forbidden range or too high a limit; Conflict for a taken name, an overlapping range
/// or exhausted pools.
pub async fn create(app: &App, actor: &Actor, input: Create) -> Result<WithNodes> {
    authz::require(actor, Permission::ClustersWrite)?;
    if input.name == "default" {
        return Err(Error::invalid("name", "is reserved"));
    }
    let given = input.ipv4_range.as_deref().map(address::parse).transpose()?;
    if let Some(net) = &given {
        address::check_limit(net, input.node_limit)?;
    }
    let mut tx = app.begin(actor).await?;
    // Two creations must not pick the same free range.
    dialect::lock_table(&mut tx, "clusters").await?;
    if table::by_name(&mut tx, &input.name).await?.is_some() {
        return Err(Error::conflict("name has already been taken"));
    }
    let net = match given {
        Some(net) => net,
        None => free_range(app, &mut tx, &input).await?,
    };
    address::check_limit(&net, input.node_limit)?;
    let (first, last) = address::bounds(&net);
    if let Some(other) = table::overlapping(&mut tx, first, last).await? {
        return Err(Error::conflict(if other == net.to_string() {
            "ipv4_range has already been taken".to_owned()
        } else {
            format!("{net} overlaps with an existing cluster range")
        }));
    }
    if let Some(other) = admin_cluster::overlapping(&mut tx, "", first, last).await? {
        return Err(Error::conflict(format!("{net} overlaps with the servers' own network {other}")));
    }
    let now = app.now();
    let cluster = Cluster {
        id: ClusterId(app.ids.next()),
        name: input.name,
        ipv4_range: net.to_string(),
        node_limit: input.node_limit,
        node_count: 0,
        inserted_at: now,
        updated_at: now,
    };
    table::insert(&mut tx, &cluster, first, last).await?;
    let details = json!({"ipv4_range": cluster.ipv4_range, "node_limit": cluster.node_limit});
    audit::record(app, &mut tx, actor, "cluster.create", &cluster.name, details).await?;
    tx.wake(Topic::Servers);
    tx.commit().await?;
    Ok(WithNodes { cluster, nodes: Vec::new() })
}

/// The next free range of the configured size, or of the size that the node limit needs. The default cluster takes whoever
/// is not sorted into another, so that it gets room for a fleet while there is any.
async fn free_range(app: &App, tx: &mut Tx, input: &Create) -> Result<ipnet::Ipv4Net> {
    let usual = app.config.address_prefix.min(address::prefix_for(input.node_limit));
    let is_default = app.config.default_cluster.as_deref() == Some(&*input.name);
    let roomy = (is_default && usual > ROOMY).then_some(ROOMY);
    for prefix in roomy.into_iter().chain([usual]) {
        if let Some(net) = free_range_of(app, tx, prefix).await? {
            return Ok(net);
        }
    }
    if usual < app.config.address_prefix {
        let problem = format!(
            "needs a range of /{usual}, and none is left in the address pools; name an ipv4_range or add a pool"
        );
        return Err(Error::invalid("node_limit", problem));
    }
    Err(Error::conflict("no free range is left in the address pools; name an ipv4_range or add a pool"))
}

async fn free_range_of(app: &App, tx: &mut Tx, prefix: u8) -> Result<Option<ipnet::Ipv4Net>> {
    for pool in &app.config.address_pools {
        let pool: ipnet::Ipv4Net = pool.parse().map_err(Error::internal)?;
        let (first, last) = address::bounds(&pool);
        let mut taken = table::ranges_within(tx, first, last).await?;
        taken.extend(admin_cluster::ranges_within(tx, first, last).await?);
        taken.sort_unstable();
        if let Some(net) = address::next_free(&pool, prefix, &taken) {
            return Ok(Some(net));
        }
    }
    Ok(None)
}

/// The cluster called `name`.
///
/// # Errors
/// NotFound.
pub async fn get(app: &App, actor: &Actor, name: &str) -> Result<WithNodes> {
    authz::require(actor, Permission::ClustersRead)?;
    let mut tx = app.store.read().await?;
    with_nodes(&mut tx, name).await
}

async fn with_nodes(tx: &mut Tx, name: &str) -> Result<WithNodes> {
    let cluster = table::by_name(tx, name).await?.ok_or_else(|| Error::not_found("cluster"))?;
    let nodes = match cluster.node_count {
        0 => Vec::new(),
        _ => node::summaries(tx, std::slice::from_ref(&cluster.id), SUMMARIES_OF_ONE).await?,
    };
    Ok(WithNodes { cluster, nodes })
}

/// A page of clusters.
///
/// # Errors
/// As the store.
pub async fn list(
    app: &App,
    actor: &Actor,
    filter: &ClusterFilter,
    sorts: &[Sort],
    page: Page,
) -> Result<Paged<WithNodes>> {
    authz::require(actor, Permission::ClustersRead)?;
    let mut tx = app.store.read().await?;
    let found = table::list(&mut tx, filter, sorts, page).await?;
    let ids: Vec<ClusterId> = found.items.iter().map(|c| c.id.clone()).collect();
    let mut nodes: HashMap<ClusterId, Vec<NodeSummary>> = HashMap::new();
    for summary in node::summaries(&mut tx, &ids, SUMMARIES_IN_LIST).await? {
        nodes.entry(summary.cluster_id.clone()).or_default().push(summary);
    }
    Ok(found.map(|cluster| WithNodes { nodes: nodes.remove(&cluster.id).unwrap_or_default(), cluster }))
}

/// Changes a cluster's node limit.
///
/// # Errors
/// NotFound; Invalid for a limit below the number of nodes or beyond the range.
pub async fn update(app: &App, actor: &Actor, name: &str, node_limit: Patch<i64>) -> Result<WithNodes> {
    authz::require(actor, Permission::ClustersWrite)?;
    let mut tx = app.begin(actor).await?;
    let cluster = table::by_name_for_update(&mut tx, name).await?.ok_or_else(|| Error::not_found("cluster"))?;
    let limit = node_limit.apply(cluster.node_limit);
    if let Patch::Set(limit) = node_limit {
        if limit < cluster.node_count {
            let problem = format!("cannot be less than current node count ({})", cluster.node_count);
            return Err(Error::invalid("node_limit", problem));
        }
        address::check_limit(&cluster.ipv4_range.parse().map_err(Error::internal)?, Some(limit))?;
    }
    table::set_node_limit(&mut tx, &cluster.id, limit, app.now()).await?;
    let details = json!({"node_limit": {"from": cluster.node_limit, "to": limit}});
    audit::record(app, &mut tx, actor, "cluster.update", name, details).await?;
    let changed = with_nodes(&mut tx, name).await?;
    tx.commit().await?;
    Ok(changed)
}

/// Deletes an empty cluster with its keys.
///
/// # Errors
/// NotFound; Conflict while it has nodes.
pub async fn delete(app: &App, actor: &Actor, name: &str) -> Result<()> {
    authz::require(actor, Permission::ClustersWrite)?;
    let mut tx = app.begin(actor).await?;
    let cluster = table::by_name_for_update(&mut tx, name).await?.ok_or_else(|| Error::not_found("cluster"))?;
    if cluster.node_count > 0 || !table::delete_empty(&mut tx, &cluster.id).await? {
        let count = cluster.node_count;
        return Err(Error::conflict(format!("cannot delete cluster with {count} node(s) - remove all nodes first")));
    }
    audit::record(app, &mut tx, actor, "cluster.delete", name, json!({"ipv4_range": cluster.ipv4_range})).await?;
    tx.wake(Topic::Servers);
    tx.commit().await
}
