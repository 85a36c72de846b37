//! Lists out of a store with 100,000 nodes and 1,000,000 executions: what people ask for, p99 beside the target.

use anyhow::{Context, Result};
use serde_json::Value;

use super::Bench;
use super::load::{Request, drive};
use super::report::{Figure, Target};
use super::rig::{Rig, folder, seed};

/// Each reads one page after the other.
const CLIENTS: usize = 4;
const NODES: u64 = 100_000;
const EXECUTIONS: u64 = 1_000_000;
const TARGET_MS: f64 = 50.0;

/// A list as it is asked for; `{page}` becomes any of its pages, `{command}` a command with an execution on every node,
/// `{cluster}` the cluster of all nodes.
const LISTS: &[(&str, &str)] = &[
    ("nodes, first page", "nodes?page_size=100"),
    ("nodes, any page", "nodes?page_size=100&page={page}"),
    ("nodes of one status", "nodes?page_size=100&status=healthy"),
    ("nodes of one cluster, any page", "nodes?page_size=100&cluster_name={cluster}&page={page}"),
    ("nodes, wildcard on the version", "nodes?page_size=100&version=0.*"),
    ("nodes by last contact", "nodes?page_size=100&order_by=last_seen_at&order_directions=desc&page={page}"),
    ("executions, first page", "command_executions?page_size=100"),
    ("executions, any page", "command_executions?page_size=100&page={page}"),
    ("executions of one status", "command_executions?page_size=100&status=expired"),
    (
        "executions completed, by their end",
        "command_executions?page_size=100&status=completed&order_by=completed_at&order_directions=desc",
    ),
    ("executions by their end, going up", "command_executions?page_size=100&order_by=completed_at"),
    ("executions that failed", "command_executions?page_size=100&exit_code__gte=1"),
    ("executions of one command, any page", "command_executions?page_size=100&command_id={command}&page={page}"),
    ("executions, the number alone", "command_executions?page_size=1"),
    ("clusters", "clusters?page_size=100"),
    ("executions of one cluster that holds all of them", "command_executions?page_size=100&cluster_name={cluster}"),
];

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let folder = folder()?;
    seed(bench, folder.path(), NODES, EXECUTIONS)?;
    let rig = Rig::on(bench, folder, "127.0.0.1:0")?;
    let (edge, key) = (rig.server.url("edge")?, rig.server.master_key());
    let mut client = reeve_lab::Client::new(edge, key);
    let mut first = |path: &str, field: &str| -> Result<String> {
        let rows = client.get(path)?;
        let row = rows.as_array().and_then(|rows| rows.last()).and_then(|row| row[field].as_str());
        Ok(row.context("the seeded store has no rows")?.to_owned())
    };
    let command = first("/api/v1/commands?page_size=1&order_by=inserted_at", "id")?;
    let cluster = first("/api/v1/nodes?page_size=1", "cluster_name")?;

    let mut figures = Vec::new();
    for (name, list) in LISTS {
        let list = list.replace("{command}", &command).replace("{cluster}", &cluster);
        let begin = client.send("GET", &format!("/api/v1/{}", list.replace("{page}", "1")), None)?.json()?;
        let total = begin["meta"]["pagination"]["total_count"].as_u64().unwrap_or_default();
        let pages = begin["meta"]["pagination"]["total_pages"].as_u64().unwrap_or_default().max(1);
        anyhow::ensure!(begin["data"].as_array().is_some_and(|rows: &Vec<Value>| !rows.is_empty()), "{name}: no rows");
        // A stride prime to the number of pages visits all of them in no particular order.
        let page = |client: usize, turn: u64| 1 + (client as u64 * 2_741 + turn * 7_919) % pages;
        let load = drive(edge, key, CLIENTS, bench.seconds, 200, |client, turn| Request {
            method: "GET",
            path: format!("/api/v1/{}", list.replace("{page}", &page(client, turn).to_string())),
            body: None,
        })?;
        figures.push(
            Figure::new(format!("{name}, p99"), load.percentile_ms(0.99), "ms", Target::AtMost(TARGET_MS))
                .note(format!("p50 {:.1} ms, {:.0} pages/s, {total} rows", load.percentile_ms(0.5), load.per_second)),
        );
    }
    Ok(figures)
}
