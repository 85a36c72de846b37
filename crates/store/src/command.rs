//! Commands, and which nodes they are for.

use reeve_types::cluster::ClusterFilter;
use reeve_types::command::{Command, CommandFilter, CommandSummary, TargetKind, Targeting};
use reeve_types::execution::{EXIT_TIMED_OUT, ExecutionStatus};
use reeve_types::{ClusterId, CommandId, NodeId, Page, Paged, Result, Sort, Timestamp};

use crate::filter::{Where, order_by, page};
use crate::{Row, Tx, args, cluster, dialect, node, rollout};

const COLUMNS: &str = "m.id, m.command_text, m.timeout_ms, m.expired_at, m.targeting, m.target_all, m.created_by, m.fanned_out, \
    m.inserted_at, m.updated_at";
const FROM: &str = "commands m LEFT JOIN rollouts r ON r.command_id = m.id";
const SORTABLE: &[(&str, &str)] = &[
    ("timeout", "m.timeout_ms"),
    ("expired_at", "m.expired_at"),
    ("inserted_at", "m.inserted_at"),
    ("updated_at", "m.updated_at"),
];

fn columns() -> String {
    format!("{COLUMNS}, {}", rollout::COLUMNS)
}

fn read(mut row: Row) -> Result<Command> {
    let mut command = Command {
        id: row.get()?,
        command_text: row.get()?,
        timeout_ms: row.get()?,
        expired_at: row.get()?,
        targeting: row.get()?,
        target_all: row.get()?,
        created_by: row.get()?,
        fanned_out: row.get()?,
        inserted_at: row.get()?,
        updated_at: row.get()?,
        rollout: None,
    };
    command.rollout = rollout::read(&mut row)?;
    Ok(command)
}

/// Stores a new command without its rollout. `plan` is the targeting as the fan-out reads it, JSON text.
///
/// # Errors
/// As the store.
pub async fn insert(tx: &mut Tx, command: &Command, plan: &str) -> Result<()> {
    let sql = "INSERT INTO commands
        (id, command_text, timeout_ms, expired_at, targeting, plan, target_all, created_by, fanned_out, inserted_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let c = command;
    let args = args![
        &c.id,
        &c.command_text,
        c.timeout_ms,
        c.expired_at,
        &c.targeting,
        plan,
        c.target_all,
        &c.created_by,
        c.fanned_out,
        c.inserted_at,
        c.updated_at
    ];
    tx.execute(sql, args).await?;
    Ok(())
}

/// The command with this id.
///
/// # Errors
/// As the store.
pub async fn by_id(tx: &mut Tx, id: &CommandId) -> Result<Option<Command>> {
    let sql = format!("SELECT {} FROM {FROM} WHERE m.id = $1", columns());
    tx.opt(&sql, args![id]).await?.map(read).transpose()
}

/// A page of commands.
///
/// # Errors
/// As the store.
pub async fn list(tx: &mut Tx, filter: &CommandFilter, sorts: &[Sort], at: Page) -> Result<Paged<Command>> {
    let mut w = Where::new();
    w.text("m.command_text", &filter.command_text);
    w.present("m.timeout_ms", filter.has_timeout);
    w.range("m.timeout_ms", &filter.timeout_ms);
    w.present("m.expired_at", filter.has_expired_at);
    w.range("m.expired_at", &filter.expired_at);
    w.range("m.inserted_at", &filter.inserted_at);
    w.range("m.updated_at", &filter.updated_at);
    let order = order_by(sorts, SORTABLE, "m.inserted_at", "m.id");
    let (rows, total) = page(tx, &columns(), FROM, "commands m", w, &order, at).await?;
    Ok(Paged { items: rows.into_iter().map(read).collect::<Result<_>>()?, total, page: at })
}

/// A command whose executions do not all exist yet.
pub struct Waiting {
    /// Which.
    pub id: CommandId,
    /// Its targeting as the fan-out reads it, JSON text.
    pub plan: String,
    /// The last node that has its execution; empty at first.
    pub after: String,
}

/// Commands whose executions do not all exist yet, oldest first.
///
/// # Errors
/// As the store.
pub async fn waiting(tx: &mut Tx, most: i64) -> Result<Vec<Waiting>> {
    let sql = "SELECT id, plan, fan_out_after FROM commands WHERE fanned_out = 0 ORDER BY id LIMIT $1";
    let rows = tx.all(sql, args![most]).await?;
    rows.into_iter().map(|mut row| Ok(Waiting { id: row.get()?, plan: row.get()?, after: row.get()? })).collect()
}

/// Notes that the nodes of a command up to `to` have their executions, and with `done` that there are no more. False when
/// somebody else went on from `from`, or stopped it.
///
/// # Errors
/// As the store.
pub async fn fan_out_to(tx: &mut Tx, id: &CommandId, from: &str, to: &str, done: bool) -> Result<bool> {
    let sql = "UPDATE commands SET fan_out_after = $3, fanned_out = $4 WHERE id = $1 AND fanned_out = 0 AND fan_out_after = $2";
    Ok(tx.execute(sql, args![id, from, to, done]).await? == 1)
}

/// Stops making executions of a command. False when all of them exist.
///
/// # Errors
/// As the store.
pub async fn stop_fan_out(tx: &mut Tx, id: &CommandId) -> Result<bool> {
    let sql = "UPDATE commands SET fanned_out = 1 WHERE id = $1 AND fanned_out = 0";
    Ok(tx.execute(sql, args![id]).await? == 1)
}

/// Removes a command with its executions.
///
/// # Errors
/// As the store.
pub async fn delete(tx: &mut Tx, id: &CommandId) -> Result<bool> {
    Ok(tx.execute("DELETE FROM commands WHERE id = $1", args![id]).await? == 1)
}

/// The nodes a targeting stands for, in id order, after the node `after`, at most `most`.
///
/// # Errors
/// As the store.
pub async fn targets(tx: &mut Tx, targeting: &Targeting, after: &str, most: i64) -> Result<Vec<NodeId>> {
    let mut w = Where::new();
    if !after.is_empty() {
        let after = w.arg(after);
        w.raw(format!("n.id > {after}"));
    }
    match targeting.kind {
        TargetKind::All => {}
        TargetKind::Nodes => {
            let ids: Vec<&str> = targeting.node_ids.iter().map(NodeId::as_str).collect();
            let list = w.arg(dialect::json_text(&ids)?);
            let texts = dialect::json_texts(tx, &list);
            w.raw(format!("n.id IN ({texts})"));
        }
        TargetKind::Clusters => {
            let list = w.arg(dialect::json_text(&targeting.cluster_names)?);
            let texts = dialect::json_texts(tx, &list);
            w.raw(format!("c.name IN ({texts})"));
        }
    }
    node::conditions_of(&mut w, &targeting.nodes);
    if targeting.clusters != ClusterFilter::default() {
        cluster::conditions_of(&mut w, &targeting.clusters);
    }
    if let Some(selector) = &targeting.labels {
        node::selector_conditions(&mut w, selector);
    }
    let conditions = w.sql();
    let most = w.arg(most);
    let sql = format!(
        "SELECT n.id FROM nodes n JOIN clusters c ON c.id = n.cluster_id{conditions} ORDER BY n.id LIMIT {most}"
    );
    tx.all(&sql, w.args()).await?.into_iter().map(|mut row| row.get()).collect()
}

/// Ids of the clusters among `names` that exist and pass the cluster filters.
///
/// # Errors
/// As the store.
pub async fn target_clusters(tx: &mut Tx, targeting: &Targeting) -> Result<Vec<ClusterId>> {
    let mut w = Where::new();
    let list = w.arg(dialect::json_text(&targeting.cluster_names)?);
    let texts = dialect::json_texts(tx, &list);
    w.raw(format!("c.name IN ({texts})"));
    cluster::conditions_of(&mut w, &targeting.clusters);
    let sql = format!("SELECT c.id FROM clusters c{}", w.sql());
    tx.all(&sql, w.args()).await?.into_iter().map(|mut row| row.get()).collect()
}

/// How the executions of these commands stand.
///
/// # Errors
/// As the store.
pub async fn summaries(tx: &mut Tx, ids: &[CommandId]) -> Result<Vec<(CommandId, CommandSummary)>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut w = Where::new();
    w.any_of("command_id", ids);
    let sql = format!(
        "SELECT command_id, status, exit_code, count(*), count(started_at) FROM executions{} GROUP BY command_id, status, exit_code",
        w.sql()
    );
    let mut found: std::collections::HashMap<CommandId, CommandSummary> = Default::default();
    for mut row in tx.all(&sql, w.args()).await? {
        let summary = found.entry(row.get()?).or_default();
        let (status, exit_code): (ExecutionStatus, Option<i64>) = (row.get()?, row.get()?);
        let (count, started): (i64, i64) = (row.get()?, row.get()?);
        add(summary, status, exit_code, count, started);
    }
    Ok(ids.iter().map(|id| (id.clone(), found.remove(id).unwrap_or_default())).collect())
}

fn add(summary: &mut CommandSummary, status: ExecutionStatus, exit_code: Option<i64>, count: i64, started: i64) {
    summary.total += count;
    match status {
        ExecutionStatus::Pending => summary.pending += count,
        ExecutionStatus::Sent => {
            summary.sent += count;
            summary.running += started;
        }
        ExecutionStatus::Completed => summary.completed += count,
        ExecutionStatus::Cancelled => summary.cancelled += count,
        ExecutionStatus::Expired => summary.expired += count,
    }
    if status == ExecutionStatus::Completed {
        match exit_code {
            Some(0) => summary.succeeded += count,
            Some(EXIT_TIMED_OUT) => {
                summary.failed += count;
                summary.timed_out += count;
            }
            Some(_) | None => summary.failed += count,
        }
    }
    if let Some(code) = exit_code {
        match summary.exit_codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, n)) => *n += count,
            None => summary.exit_codes.push((code, count)),
        }
        summary.exit_codes.sort_unstable();
    }
}

/// Executions of the command that are not in a final state.
///
/// # Errors
/// As the store.
pub async fn open_executions(tx: &mut Tx, id: &CommandId) -> Result<i64> {
    let sql = "SELECT count(*) FROM executions WHERE command_id = $1 AND status IN ('pending', 'sent')";
    tx.one(sql, args![id]).await?.get()
}

/// Commands past their deadline at `now` that still have open executions; at most `most`.
///
/// # Errors
/// As the store.
pub async fn overdue(tx: &mut Tx, now: Timestamp, most: i64) -> Result<Vec<CommandId>> {
    let sql = "SELECT m.id FROM commands m WHERE m.expired_at IS NOT NULL AND m.expired_at <= $1
        AND EXISTS (SELECT 1 FROM executions e WHERE e.command_id = m.id AND e.status IN ('pending', 'sent'))
        ORDER BY m.expired_at LIMIT $2";
    tx.all(sql, args![now, most]).await?.into_iter().map(|mut row| row.get()).collect()
}
