//! `reeve admin`: the group of servers that the edge clusters are shared out among.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::Session;
use crate::api::{EDGE, Listing, Query};
use crate::failure::Outcome;
use crate::view::{View, age, column, text};

/// The servers as the edge API shows them.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Subcommand)]
enum Verb {
    /// Show the group of the server that answers: members, room, nodes
    #[command(visible_alias = "get")]
    Show,
    /// List every group on the store with its servers
    #[command(visible_alias = "ls")]
    List,
    /// List which server each edge cluster is assigned to
    Clusters,
    /// List the edge clusters that no server has room for
    Orphaned,
}

static GROUP: View = View {
    plural: "groups",
    columns: &[
        column("NAME", 9, 3, |group, _| text(group, "name")),
        column("DEGRADED", 8, 3, |group, _| text(group, "degraded")),
        column("NODES", 7, 3, |group, _| text(group, "total_nodes")),
        column("ROOM", 7, 3, |group, _| text(group, "total_edge_capacity")),
        column("SERVERS", 7, 3, |group, _| names(group)),
        column("FIRST", 6, 3, |group, _| text(group, "weak_leader")),
    ],
    name: |group| text(group, "name"),
};

static SERVERS: View = View {
    plural: "servers",
    columns: &[
        column("NAME", 9, 6, |server, _| text(server, "name")),
        column("STATUS", 8, 6, |server, _| text(server, "status")),
        column("SEEN", 7, 4, |server, now| age(server, "last_checked_in", now)),
        column("GROUP", 6, 6, |server, _| text(server, "group")),
        column("HOST NAME", 3, 9, |server, _| text(server, "vpn_hostname")),
    ],
    name: |server| text(server, "name"),
};

static CLUSTERS: View = View {
    plural: "clusters",
    columns: &[
        column("CLUSTER", 9, 6, |cluster, _| text(cluster, "cluster")),
        column("SERVER", 8, 6, |cluster, _| text(cluster, "server")),
        column("NODES", 7, 4, |cluster, _| text(cluster, "nodes")),
    ],
    name: |cluster| text(cluster, "cluster"),
};

fn names(group: &Value) -> String {
    let members = group.get("topology").and_then(Value::as_array);
    members.into_iter().flatten().map(|member| text(member, "name")).collect::<Vec<_>>().join("\n")
}

/// Runs `reeve admin`.
pub async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let get = async |path: &str| api.get(&format!("{EDGE}/admins/{path}"), &Query::new()).await;
    match noun.verb {
        Verb::Show => {
            let group = get("my_admin_cluster").await?;
            session.show(&GROUP, &group)
        }
        Verb::List => {
            let groups = get("admin_clusters").await?;
            session.show_list(&SERVERS, &listing(servers(&groups)))
        }
        Verb::Clusters => {
            let shares = get("edge_clusters").await?;
            let of_server = |(server, clusters): (&String, &Value)| rows(clusters, Some(server));
            let mut rows: Vec<Value> = shares.as_object().into_iter().flatten().flat_map(of_server).collect();
            rows.sort_by_key(|row| text(row, "cluster"));
            session.show_list(&CLUSTERS, &listing(rows))
        }
        Verb::Orphaned => {
            let orphans = get("orphaned_clusters").await?;
            session.show_list(&CLUSTERS, &listing(rows(&orphans, None)))
        }
    }
}

fn servers(groups: &Value) -> Vec<Value> {
    let mut found = Vec::new();
    for group in groups.as_array().into_iter().flatten() {
        for server in group.get("admins").and_then(Value::as_array).into_iter().flatten() {
            let mut row = server.clone();
            row["group"] = json!(text(group, "name"));
            found.push(row);
        }
    }
    found
}

fn rows(clusters: &Value, server: Option<&str>) -> Vec<Value> {
    let row = |(cluster, nodes): (&String, &Value)| {
        let nodes = nodes.as_array().map_or(0, Vec::len);
        json!({"cluster": cluster.trim_start_matches("cluster-"), "server": server, "nodes": nodes})
    };
    clusters.as_object().into_iter().flatten().map(row).collect()
}

fn listing(rows: Vec<Value>) -> Listing {
    Listing { total: Some(rows.len() as u64), rows }
}
