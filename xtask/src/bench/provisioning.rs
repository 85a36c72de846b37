//! Machines at a simulated vendor: what 200 of them cost in calls, how soon an operation begins, how fast long lists are.
//!
//! The simulator's time moves with every call, so that what is measured is ours and not the vendor's boot time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reeve_lab::Client;
use reeve_simulators::{SimulatedTime, UpCloudSimulator, upcloud};
use serde_json::{Value, json};

use super::Bench;
use super::load::{Request, drive};
use super::report::{Figure, Target};
use super::rig::{Rig, folder, median, options};

const MACHINES: u64 = 200;
const OPERATIONS: u64 = 10_000;
/// Simulated time that passes with every call.
const PER_CALL_MS: i64 = 10_000;
/// Measurements of how soon an operation begins.
const STARTS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(600);

pub fn run(bench: &Bench) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let time = Arc::new(SimulatedTime::manual());
    time.advance_per_call_ms(PER_CALL_MS);
    let free: SocketAddr = ([127, 0, 0, 1], 0).into();
    let vendor = runtime.block_on(UpCloudSimulator::start_at(free, time))?;
    let rig = rig(bench, &vendor)?;
    let (url, key) = (rig.server.url("provisioning")?.to_owned(), rig.server.master_key().to_owned());
    let mut client = Client::new(&url, &key).with_timeout(Duration::from_secs(30));
    let defaults = json!({"provider": "upcloud", "plan": "1xCPU-1GB", "zone": "de-fra1"});
    expect(&mut client, "POST", "/v1/workspaces/create", &json!({"name": "bench", "activate": true}))?;
    expect(&mut client, "PATCH", "/v1/workspaces/bench", &json!({"defaults": defaults}))?;

    let mut figures = machines(bench, &vendor, &mut client)?;
    figures.push(begins(&mut client)?);
    figures.extend(lists(bench, &mut client, &url, &key)?);
    Ok(figures)
}

fn rig(bench: &Bench, vendor: &UpCloudSimulator) -> Result<Rig> {
    let folder = folder()?;
    let mut options = options(bench, folder.path(), "127.0.0.1:0");
    options.environment.push(("REEVE_UPCLOUD_URL".to_owned(), vendor.front.url()));
    options.environment.push(("UPCLOUD_TOKEN".to_owned(), upcloud::TOKEN.to_owned()));
    options.environment.push(("REEVE_LOG".to_owned(), "warn".to_owned()));
    Ok(Rig { server: reeve_lab::Server::start(&options)?, folder })
}

/// Two hundred machines from the first request to the last that is up.
fn machines(bench: &Bench, vendor: &UpCloudSimulator, client: &mut Client) -> Result<Vec<Figure>> {
    let count = (MACHINES * bench.percent / 100).max(1);
    vendor.front.forget_calls();
    let began = Instant::now();
    for n in 0..count {
        let order = json!({"workspace": "bench", "hostname": format!("m{n}")});
        expect(client, "POST", "/v1/servers/create", &order)?;
    }
    let accepted = began.elapsed();
    await_none(client, "pending,running")?;
    let elapsed = began.elapsed();
    let failed = rows(client, "/v1/operations?status=failed,cancelled")?;
    ensure!(failed.is_empty(), "{} operations failed: {}", failed.len(), failed[0]);
    ensure!(vendor.servers() as u64 == count, "{} machines instead of {count}", vendor.servers());
    let calls = vendor.front.calls("") as f64 / count as f64;
    Ok(vec![
        Figure::new(format!("{count} servers, calls to the vendor for each"), calls, "", Target::AtMost(5.0))
            .note("a look by label, the order, one look for the address; the rest is shared"),
        Figure::new(format!("{count} servers, all up"), elapsed.as_secs_f64(), "s", Target::None).note(format!(
            "accepted in {:.2} s; {PER_CALL_MS} ms pass at the vendor with each call",
            accepted.as_secs_f64()
        )),
    ])
}

/// From the request to the first sight of an operation that is not pending any more.
fn begins(client: &mut Client) -> Result<Figure> {
    let mut waits = Vec::new();
    for n in 0..STARTS {
        let order = json!({"workspace": "bench", "hostname": format!("s{n}"), "check_mode": true});
        let began = Instant::now();
        let made = expect(client, "POST", "/v1/servers/create", &order)?;
        let path = format!("/v1/operations/{}", made["id"].as_str().context("no id")?);
        while client.send("GET", &path, None)?.json()?["status"] == "pending" {
            if began.elapsed() > PATIENCE {
                bail!("{path} does not begin");
            }
        }
        waits.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(Figure::new("request to begun, p50", median(waits), "ms", Target::AtMost(10.0))
        .note("with the request's own time and one look at the operation"))
}

/// Lists of many operations, complete and by the page.
fn lists(bench: &Bench, client: &mut Client, url: &str, key: &str) -> Result<Vec<Figure>> {
    let wanted = OPERATIONS * bench.percent / 100;
    let known = rows(client, "/v1/operations")?.len() as u64;
    for n in known..wanted {
        let order = json!({"workspace": "bench", "hostname": format!("c{n}"), "check_mode": true});
        let answer = client.send("POST", "/v1/servers/create", Some(order.to_string().as_bytes()))?;
        if answer.status == 503 {
            // As many as may wait do.
            await_none(client, "pending,running")?;
        } else {
            ensure!(answer.status == 200, "{}", answer.text());
        }
    }
    await_none(client, "pending,running")?;
    let count = rows(client, "/v1/operations")?.len();
    let pages = (count as u64).div_ceil(100).max(1);
    let whole = drive(url, key, 1, bench.seconds, 200, |_, _| get("/v1/operations".to_owned()))?;
    let page = drive(url, key, 4, bench.seconds, 200, |client, turn| {
        get(format!("/v1/operations?per_page=100&page={}", 1 + (client as u64 * 2_741 + turn * 7_919) % pages))
    })?;
    Ok(vec![
        Figure::new(
            format!("list of {count} operations, complete, p99"),
            whole.percentile_ms(0.99),
            "ms",
            Target::None,
        ),
        Figure::new("a page of 100 of them, p99", page.percentile_ms(0.99), "ms", Target::AtMost(50.0)),
    ])
}

fn get(path: String) -> Request {
    Request { method: "GET", path, body: None }
}

fn expect(client: &mut Client, method: &str, path: &str, body: &Value) -> Result<Value> {
    let answer = client.send(method, path, Some(body.to_string().as_bytes()))?;
    ensure!(answer.status == 200, "{method} {path}: {} {}", answer.status, answer.text());
    answer.json()
}

fn rows(client: &mut Client, path: &str) -> Result<Vec<Value>> {
    let answer = client.send("GET", path, None)?;
    ensure!(answer.status == 200, "GET {path}: {} {}", answer.status, answer.text());
    serde_json::from_value(answer.json()?).context("no list")
}

fn await_none(client: &mut Client, status: &str) -> Result<()> {
    let began = Instant::now();
    loop {
        let open = rows(client, &format!("/v1/operations?status={status}&per_page=1&page=1"))?;
        if open.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "operations do not end: {}", open[0]);
        std::thread::sleep(Duration::from_millis(50));
    }
}
