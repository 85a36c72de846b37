//! What is there in the end, against what clients were told.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use reeve_lab::{Client, Server, wait_for};
use serde_json::Value;

use super::CLUSTER;
use super::load::Told;

/// Agents that were killed in mid command report when they are back; a rotation of keys takes half a minute.
const LIMIT: Duration = Duration::from_secs(300);

/// What was counted, and what must not be.
#[derive(Default)]
pub struct Figures {
    pub seen: Vec<String>,
    pub problems: Vec<String>,
}

pub fn hold(server: &Server, told: &Told, agents: u64) -> Result<Figures> {
    let mut figures = Figures::default();
    let (mut edge, mut console) = (server.edge()?, server.console()?);
    server.await_agents(agents, LIMIT)?;
    ended(&mut edge, "command_executions?status=pending,sent", &mut figures, "executions")?;
    ended(&mut console, "jobs?state=queued,running", &mut figures, "jobs")?;
    keys(&mut edge, told, &mut figures)?;
    effects(&mut edge, told, agents, &mut figures)?;
    jobs(&mut console, told, &mut figures)?;
    let chain = console.get("/api/audit/verify")?;
    figures.seen.push(format!("audit chain: {chain}"));
    if chain["ok"] != true {
        figures.problems.push(format!("the audit chain is broken: {chain}"));
    }
    Ok(figures)
}

fn path(list: &str) -> String {
    let prefix = if list.starts_with("jobs") { "/api" } else { "/api/v1" };
    format!("{prefix}/{list}")
}

fn total(client: &mut Client, list: &str) -> Result<u64> {
    let separator = if list.contains('?') { '&' } else { '?' };
    let page = client.send("GET", &format!("{}{separator}page_size=1", path(list)), None)?.json()?;
    page["meta"]["pagination"]["total_count"].as_u64().with_context(|| format!("{list}: {page}"))
}

/// Every row of a list, page by page.
fn rows(client: &mut Client, list: &str) -> Result<Vec<Value>> {
    let separator = if list.contains('?') { '&' } else { '?' };
    let mut all = Vec::new();
    for number in 1.. {
        let page = client.get(&format!("{}{separator}page_size=100&page={number}", path(list)))?;
        let page = page.as_array().context("not a list")?;
        all.extend(page.iter().cloned());
        if page.len() < 100 {
            break;
        }
    }
    Ok(all)
}

fn ended(client: &mut Client, open: &str, figures: &mut Figures, what: &str) -> Result<()> {
    let done = wait_for(&format!("the end of all {what}"), LIMIT, || match total(client, open)? {
        0 => Ok(Some(())),
        left => anyhow::bail!("{left} left"),
    });
    if let Err(error) = done {
        figures.problems.push(format!("{what} without an end: {error:#}"));
    }
    Ok(())
}

/// No acknowledged write is lost, and none is there twice although many were asked for again.
fn keys(edge: &mut Client, told: &Told, figures: &mut Figures) -> Result<()> {
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for row in rows(edge, &format!("enrollment_keys?cluster_name={CLUSTER}&order_by=inserted_at"))? {
        if let Some(name) = row["name"].as_str() {
            *found.entry(name.to_owned()).or_default() += 1;
        }
    }
    let lost: Vec<&String> = told.keys.iter().filter(|name| !found.contains_key(*name)).collect();
    let twice: Vec<&String> = found.iter().filter(|(_, count)| **count > 1).map(|(name, _)| name).collect();
    let unasked = found.len() - told.keys.iter().collect::<BTreeSet<_>>().len() + lost.len();
    figures.seen.push(format!(
        "writes: {} acknowledged, {} lost, {} twice, {unasked} unasked",
        told.keys.len(),
        lost.len(),
        twice.len()
    ));
    for (problem, names) in [("lost", lost), ("there twice", twice)] {
        if let Some(first) = names.first() {
            figures.problems.push(format!("{} acknowledged writes are {problem}, as {first}", names.len()));
        }
    }
    Ok(())
}

/// A command is there once, runs on every agent, and leaves its mark once for each.
fn effects(edge: &mut Client, told: &Told, agents: u64, figures: &mut Figures) -> Result<()> {
    let mut marks: BTreeMap<String, u64> = BTreeMap::new();
    for line in fs::read_to_string(told.effects.join("all")).unwrap_or_default().lines() {
        *marks.entry(line.to_owned()).or_default() += 1;
    }
    let mut commands: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for row in rows(edge, "commands?order_by=inserted_at")? {
        let mark = row["command_text"].as_str().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
        commands.entry(mark).or_default().push(row["id"].as_str().unwrap_or_default().to_owned());
    }
    let (mut succeeded, mut other) = (0, 0);
    for mark in &told.commands {
        let ids = commands.get(mark).cloned().unwrap_or_default();
        let [id] = ids.as_slice() else {
            figures.problems.push(format!("the command {mark} is there {} times", ids.len()));
            continue;
        };
        let summary = edge.get(&format!("/api/v1/commands/{id}/summary"))?;
        let count = |name: &str| summary[name].as_u64().unwrap_or(u64::MAX);
        let left = marks.get(mark).copied().unwrap_or_default();
        succeeded += count("succeeded");
        other += count("total") - count("succeeded");
        if count("total") != agents {
            figures.problems.push(format!("the command {mark} has {} executions for {agents} agents", count("total")));
        }
        if count("completed") + count("cancelled") + count("expired") != count("total") {
            figures.problems.push(format!("the command {mark} has no end: {summary}"));
        }
        if left > agents || left < count("succeeded") {
            figures.problems.push(format!("the command {mark} left {left} marks: {summary}"));
        }
    }
    figures.seen.push(format!(
        "commands: {} acknowledged, {succeeded} executions succeeded, {other} ended otherwise (their agent was killed), {} \
         marks left",
        told.commands.len(),
        marks.values().sum::<u64>()
    ));
    Ok(())
}

fn jobs(console: &mut Client, told: &Told, figures: &mut Figures) -> Result<()> {
    let mut states: BTreeMap<String, u64> = BTreeMap::new();
    for job in rows(console, "jobs")? {
        let key = format!("{} {}", job["kind"].as_str().unwrap_or_default(), job["state"].as_str().unwrap_or_default());
        *states.entry(key).or_default() += 1;
    }
    let states: Vec<String> = states.iter().map(|(state, count)| format!("{count} {state}")).collect();
    figures.seen.push(format!("jobs: {} asked for (ticks melt together); {}", told.jobs, states.join(", ")));
    Ok(())
}
