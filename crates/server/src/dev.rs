//! `reeve dev`, hidden: fills a store so that benchmarks measure a fleet and not an empty table.

use std::path::PathBuf;

use anyhow::Result;
use reeve_store::{Store, Value};
use reeve_types::id::{Ids, SystemIds};
use reeve_types::{Clock, SystemClock};

use crate::bench_jobs::{self, BenchJobsArgs};
use crate::config::{ServeArgs, Settings};
use crate::data_dir::DataDir;
use crate::say;

/// What can be done.
#[derive(clap::Subcommand, Clone, Debug)]
pub enum DevCommand {
    /// Adds nodes that never connect, and ended executions on them
    Seed(SeedArgs),
    /// Measures the job runner; the last line is JSON
    BenchJobs(BenchJobsArgs),
}

/// Flags of `reeve dev seed`.
#[derive(clap::Args, Clone, Debug)]
pub struct SeedArgs {
    /// The data directory
    #[arg(long)]
    data: PathBuf,
    /// Nodes to add
    #[arg(long, default_value_t = 0)]
    nodes: usize,
    /// Executions to add, spread over the nodes
    #[arg(long, default_value_t = 0)]
    executions: usize,
}

/// Runs a dev command.
pub async fn run(command: DevCommand) -> Result<()> {
    match command {
        DevCommand::Seed(args) => seed(args).await,
        DevCommand::BenchJobs(args) => bench_jobs::run(args).await,
    }
}

async fn seed(args: SeedArgs) -> Result<()> {
    let settings = Settings::load(&ServeArgs { data: Some(args.data), ..ServeArgs::default() })?;
    let _lock = DataDir::open(&settings.data)?;
    let store = Store::open(&settings.location()).await?;
    let ids = SystemIds;
    let now = SystemClock.now().0;
    let cluster = ids.next();
    let mut tx = store.begin().await?;
    let row = vec![vec![
        Value::from(cluster.clone()),
        Value::from(format!("seed-{}", &cluster[30..])),
        Value::from("100.126.0.0/16".to_owned()),
        Value::from(1_685_979_136),
        Value::from(1_686_044_671),
        Value::from(args.nodes as i64),
        Value::from(now),
        Value::from(now),
    ]];
    let into = "clusters (id, name, ipv4_range, ipv4_first, ipv4_last, node_count, inserted_at, updated_at)";
    tx.insert_many(into, &row, "").await?;
    tx.commit().await?;
    let nodes: Vec<String> = (0..args.nodes).map(|_| ids.next()).collect();
    let into = "nodes (id, cluster_id, id_type, status, version, http_port, ssh_port, host_metrics_port, wireguard_metrics_port,
        http_proxy_port, socks5_proxy_port, self_update_enabled, last_seen_at, public_key, api_token_sealed, api_token_hash,
        proxy_password_sealed, inserted_at, updated_at)";
    let me = DataDirIdentity::load(&settings, &_lock)?;
    for chunk in nodes.chunks(5_000) {
        let mut tx = store.begin().await?;
        let rows: Vec<Vec<Value<'_>>> = chunk.iter().map(|id| node_row(&me, &ids, id, &cluster, now)).collect();
        tx.insert_many(into, &rows, "").await?;
        tx.commit().await?;
    }
    seed_executions(&store, &ids, &nodes, args.executions, now).await?;
    say::line(&format!("{} nodes and {} executions added", args.nodes, args.executions));
    Ok(())
}

struct DataDirIdentity(reeve_domain::seal::Seal);

impl DataDirIdentity {
    fn load(settings: &Settings, data: &DataDir) -> Result<Self> {
        Ok(Self(data.identity(settings, &SystemIds)?.seal))
    }
}

fn node_row<'a>(me: &DataDirIdentity, ids: &SystemIds, id: &'a str, cluster: &'a str, now: i64) -> Vec<Value<'a>> {
    let seal = |column| me.0.seal(ids, reeve_domain::seal::Aad::new("nodes", column, id), "seeded");
    vec![
        id.into(),
        cluster.into(),
        "random".into(),
        "healthy".into(),
        "0.1.0".into(),
        44000.into(),
        40022.into(),
        49100.into(),
        49586.into(),
        43128.into(),
        41080.into(),
        false.into(),
        now.into(),
        "00".into(),
        seal("api_token_sealed").into(),
        id.into(),
        seal("proxy_password_sealed").into(),
        now.into(),
        now.into(),
    ]
}

/// Ended executions, a minute of history for every thousand: three in a hundred failed, two expired without an end.
async fn seed_executions(store: &Store, ids: &SystemIds, nodes: &[String], executions: usize, now: i64) -> Result<()> {
    let commands = if nodes.is_empty() { 0 } else { executions.div_ceil(nodes.len()) };
    let mut number = 0;
    let into = "executions (id, command_id, node_id, target_all, status, exit_code, output_bytes, sent_at, completed_at, inserted_at, updated_at)";
    for _ in 0..commands {
        let command = ids.next();
        let begun = now - (executions - number) as i64 * 60_000;
        let mut tx = store.begin().await?;
        let row = vec![vec![
            Value::from(command.clone()),
            "true".into(),
            "{\"type\":\"all\"}".into(),
            "{}".into(),
            true.into(),
            "system".into(),
            true.into(),
            begun.into(),
            begun.into(),
        ]];
        let columns =
            "commands (id, command_text, targeting, plan, target_all, created_by, fanned_out, inserted_at, updated_at)";
        tx.insert_many(columns, &row, "").await?;
        for chunk in nodes[..(executions - number).min(nodes.len())].chunks(5_000) {
            let rows: Vec<Vec<Value<'_>>> = chunk
                .iter()
                .map(|node| {
                    number += 1;
                    execution_row(ids.next(), &command, node, number, now - (executions - number) as i64 * 60_000)
                })
                .collect();
            tx.insert_many(into, &rows, "").await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

fn execution_row<'a>(id: String, command: &'a str, node: &'a str, number: usize, begun: i64) -> Vec<Value<'a>> {
    // Not in the order in which they began: executions take their time.
    let ended = begun + (number * 7_919 % 60_000) as i64 * 1_000;
    let (status, exit_code) = match number % 100 {
        0..3 => ("completed", Some(1)),
        3..5 => ("expired", None),
        _ => ("completed", Some(0)),
    };
    vec![
        id.into(),
        command.into(),
        node.into(),
        true.into(),
        status.into(),
        exit_code.into(),
        0.into(),
        begun.into(),
        exit_code.map(|_| ended).into(),
        begun.into(),
        ended.into(),
    ]
}
