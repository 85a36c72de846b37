//! Acknowledged durable writes: small POSTs from 64 clients, beside raw SQLite transactions with an fsync each on the
//! same disk.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::Bench;
use super::load::{Load, Request, drive};
use super::report::{Figure, Target};
use super::rig::{Rig, folder, median};
use crate::shell;

const CLIENTS: usize = 64;

/// Two inserts and a commit, durable, as often as one connection can.
const RAW: &str = r#"
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA journal_mode=WAL"); db.execute("PRAGMA synchronous=FULL")
db.execute("CREATE TABLE IF NOT EXISTS a (id INTEGER PRIMARY KEY, body TEXT)")
db.execute("CREATE TABLE IF NOT EXISTS b (id INTEGER PRIMARY KEY, body TEXT)")
end = time.monotonic() + float(sys.argv[2]); begun = time.monotonic(); count = 0
while time.monotonic() < end:
    db.execute("BEGIN IMMEDIATE")
    db.execute("INSERT INTO a (body) VALUES (?)", ("x" * 200,))
    db.execute("INSERT INTO b (body) VALUES (?)", ("x" * 200,))
    db.execute("COMMIT"); count += 1
print(count / (time.monotonic() - begun))
"#;

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let rig = Rig::empty(bench)?;
    rig.server.enrollment_key("bench")?;
    let raw_folder = folder()?;
    let (mut keys, mut commands, mut raw) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        raw.push(raw_transactions(raw_folder.path(), bench.seconds)?);
        keys.push(post(bench, &rig, "/api/v1/clusters/bench/enrollment_keys", &json!({ "uses_remaining": 1 }))?);
        let nobody =
            json!({ "command_text": "true", "targeting": { "type": "all", "label_selector": "bench=nobody" } });
        commands.push(post(bench, &rig, "/api/v1/commands", &nobody)?);
    }
    let raw = median(raw);
    let mut figures = vec![Figure::new("raw two-insert SQLite, one fsync each", raw, "/s", Target::None)];
    for (what, loads) in [("POST enrollment key", keys), ("POST command", commands)] {
        let rate = median(loads.iter().map(|load| load.per_second).collect());
        let p = |share| median(loads.iter().map(|load| load.percentile_ms(share)).collect());
        figures.push(
            Figure::new(format!("{what}, {CLIENTS} clients"), rate, "/s", Target::AtLeast(5000.0))
                .note(format!("{:.1} x raw", rate / raw)),
        );
        figures.push(Figure::new(format!("{what}, p50"), p(0.5), "ms", Target::None));
        figures.push(Figure::new(format!("{what}, p99"), p(0.99), "ms", Target::AtMost(40.0)));
    }
    Ok(figures)
}

fn post(bench: &Bench, rig: &Rig, path: &str, body: &serde_json::Value) -> Result<Load> {
    let body = body.to_string();
    drive(rig.server.url("edge")?, rig.server.master_key(), CLIENTS, bench.seconds, 201, |_, _| Request {
        method: "POST",
        path: path.to_owned(),
        body: Some(body.clone()),
    })
}

fn raw_transactions(folder: &std::path::Path, seconds: u64) -> Result<f64> {
    let mut python = Command::new("python3");
    python.args(["-c", RAW]).arg(folder.join("raw.db")).arg(seconds.to_string());
    let rate = shell::capture(&mut python).context("the raw peer needs python3")?;
    rate.trim().parse().with_context(|| format!("not a rate: {rate:?}"))
}
