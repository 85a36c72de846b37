//! Pages of executions.

use reeve_types::execution::{Execution, ExecutionFilter, ExecutionStatus};
use reeve_types::{Page, Paged, Result, Sort, TextMatch};

use crate::execution::{COLUMNS, FROM, OUTPUT, OUTPUT_JOIN, read};
use crate::filter::{FEW, Where, order_by, page, page_of};
use crate::{Tx, args};

const SORTABLE: &[(&str, &str)] = &[
    ("status", "e.status"),
    ("exit_code", "e.exit_code"),
    ("sent_at", "e.sent_at"),
    ("completed_at", "e.completed_at"),
    ("cancelled_at", "e.cancelled_at"),
    ("inserted_at", "e.inserted_at"),
    ("updated_at", "e.updated_at"),
];

/// Nodes with their clusters.
const NODES: &str = "nodes n JOIN clusters nc ON nc.id = n.cluster_id";
/// The same, cluster by cluster: nodes of clusters that are not meant are not looked at.
const NODES_OF_CLUSTERS: &str = "clusters nc CROSS JOIN nodes n";

/// A page of executions with their output. Those of deleted nodes are left out.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &ExecutionFilter, sorts: &[Sort], at: Page) -> Result<Paged<Execution>> {
    let order = order_by(sorts, SORTABLE, "e.inserted_at", "e.id");
    let (columns, from) = (format!("{COLUMNS}{OUTPUT}"), format!("{FROM}{OUTPUT_JOIN}"));
    let mut pick_from = "executions e".to_owned();
    if filter.output.is_some() {
        pick_from.push_str(OUTPUT_JOIN);
    }
    let mut w = conditions(filter);
    let known = ExecutionFilter {
        status: filter.status.clone(),
        cluster_name: filter.cluster_name.clone(),
        ..ExecutionFilter::default()
    };
    let (rows, total) = if *filter == known {
        let total = match &filter.cluster_name {
            None => count(tx, &filter.status).await?,
            Some(_) => count_in_clusters(tx, filter).await?,
        };
        if filter.cluster_name.is_some() && total <= FEW {
            pick_from = format!("{NODES} CROSS JOIN {pick_from}");
            w.raw("e.node_id = n.id");
            w.text("nc.name", &filter.cluster_name);
        } else {
            of_clusters(&mut w, &filter.cluster_name);
        }
        (page_of(tx, &columns, &from, &pick_from, w, &order, at, total).await?, total as u64)
    } else {
        of_clusters(&mut w, &filter.cluster_name);
        page(tx, &columns, &from, &pick_from, w, &order, at).await?
    };
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}

/// Everything that is asked but the cluster.
fn conditions(filter: &ExecutionFilter) -> Where<'_> {
    let mut w = Where::new();
    // As the indexes for lists have it, word by word.
    w.raw("e.node_id IS NOT NULL");
    w.raw("e.id <> ''");
    w.any_of("e.command_id", &filter.command_ids);
    w.any_of("e.node_id", &filter.node_ids);
    w.any_of("e.status", filter.status.iter().copied());
    w.range("e.exit_code", &filter.exit_code);
    w.present("e.cluster_id", filter.has_cluster);
    match filter.has_output {
        Some(true) => w.raw("e.output_bytes > 0"),
        Some(false) => w.raw("e.output_bytes = 0"),
        None => {}
    }
    w.text("o.output", &filter.output);
    w.eq("e.target_all", filter.target_all);
    w.range("e.sent_at", &filter.sent_at);
    w.range("e.completed_at", &filter.completed_at);
    w.range("e.cancelled_at", &filter.cancelled_at);
    w.range("e.inserted_at", &filter.inserted_at);
    w.range("e.updated_at", &filter.updated_at);
    w
}

/// The cluster as a question to each row in turn: it leaves the order to an index.
fn of_clusters<'a>(w: &mut Where<'a>, name: &'a Option<TextMatch>) {
    if let Some(named) = w.text_condition("nc.name", name) {
        w.raw(format!("EXISTS (SELECT 1 FROM {NODES} WHERE n.id = e.node_id AND {named})"));
    }
}

/// Executions on nodes that exist, those in one of `statuses` or all of them. Triggers keep the numbers: counting a million
/// rows takes longer than a page may.
async fn count(tx: &mut Tx, statuses: &[ExecutionStatus]) -> Result<i64> {
    let mut w = Where::new();
    w.any_of("status", statuses.iter().copied());
    let sql = format!("SELECT CAST(coalesce(sum(n), 0) AS BIGINT) FROM execution_counts{}", w.sql());
    tx.one(&sql, w.args()).await?.get()
}

/// As [`count`], on nodes of the clusters that `filter` names. Counted is the smaller part: a cluster with most of the
/// nodes has what the others have not.
async fn count_in_clusters(tx: &mut Tx, filter: &ExecutionFilter) -> Result<i64> {
    let mut w = Where::new();
    w.raw("n.cluster_id = nc.id");
    w.text("nc.name", &filter.cluster_name);
    let inside: i64 = tx.one(&format!("SELECT count(*) FROM {NODES_OF_CLUSTERS}{}", w.sql()), w.args()).await?.get()?;
    let nodes: i64 = tx.one("SELECT count(*) FROM nodes", args![]).await?.get()?;
    let others = inside > nodes / 2;
    let mut w = Where::new();
    w.raw("n.cluster_id = nc.id");
    w.raw("e.node_id = n.id");
    if let Some(named) = w.text_condition("nc.name", &filter.cluster_name) {
        w.raw(if others { format!("NOT ({named})") } else { named });
    }
    w.any_of("e.status", filter.status.iter().copied());
    // Nodes come first: each has its executions in an index.
    let sql = format!("SELECT count(*) FROM {NODES_OF_CLUSTERS} CROSS JOIN executions e{}", w.sql());
    let counted: i64 = tx.one(&sql, w.args()).await?.get()?;
    Ok(if others { (count(tx, &filter.status).await? - counted).max(0) } else { counted })
}
