//! Authenticated reads of one object beside a bare axum handler, and pages out of a large table.

use anyhow::Result;

use super::load::{Request, drive};
use super::report::{Figure, Target};
use super::rig::{Rig, folder, median, seed};
use super::{Bench, bare_axum};

const CLIENTS: usize = 16;
const ROWS: u64 = 100_000;

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let folder = folder()?;
    seed(bench, folder.path(), 1000, ROWS)?;
    let rig = Rig::on(bench, folder, "127.0.0.1:0")?;
    rig.server.enrollment_key("bench")?;
    let (_peer, peer) = bare_axum::start(rig.folder.path())?;
    let (edge, key) = (rig.server.url("edge")?, rig.server.master_key());

    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        ours.push(drive(edge, key, CLIENTS, bench.seconds, 200, |_, _| get("/api/v1/clusters/bench"))?);
        theirs.push(drive(&peer, key, CLIENTS, bench.seconds, 200, |_, _| get("/api/v1/clusters/bench"))?);
    }
    let rate = median(ours.iter().map(|load| load.per_second).collect());
    let bare = median(theirs.iter().map(|load| load.per_second).collect());

    let pages = (ROWS * bench.percent / 100 / 100).max(1);
    // A stride prime to the number of pages visits all of them in no particular order.
    let page = |client: usize, turn: u64| 1 + (client as u64 * 131 + turn * 37) % pages;
    let paged = drive(edge, key, 4, bench.seconds, 200, |client, turn| {
        get(&format!("/api/v1/command_executions?page_size=100&page={}", page(client, turn)))
    })?;
    let filtered = drive(edge, key, 4, bench.seconds, 200, |_, _| {
        get("/api/v1/command_executions?page_size=100&status=completed&order_by=completed_at&order_directions=desc")
    })?;
    Ok(vec![
        Figure::new(format!("bare axum handler, {CLIENTS} clients"), bare, "/s", Target::None),
        Figure::new(format!("GET one cluster, {CLIENTS} clients"), rate, "/s", Target::AtLeast(bare / 2.0))
            .note(format!("{:.0} % of bare axum", rate / bare * 100.0)),
        Figure::new(
            "GET one cluster, p99",
            median(ours.iter().map(|load| load.percentile_ms(0.99)).collect()),
            "ms",
            Target::None,
        ),
        Figure::new("any page of 100 executions, p99", paged.percentile_ms(0.99), "ms", Target::AtMost(50.0))
            .note(format!("{pages} pages, {:.0} pages/s", paged.per_second)),
        Figure::new("first page, filtered and sorted, p99", filtered.percentile_ms(0.99), "ms", Target::AtMost(50.0))
            .note(format!("{:.0} pages/s", filtered.per_second)),
    ])
}

fn get(path: &str) -> Request {
    Request { method: "GET", path: path.to_owned(), body: None }
}
