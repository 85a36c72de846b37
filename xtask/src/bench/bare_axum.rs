//! The peer of `reads`: the least that axum can do for an answer of the same size.

use std::net::TcpListener;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::extract::Path;
use axum::routing::get;
use axum::{Json, Router};
use reeve_lab::{Process, wait_for};
use serde_json::{Value, json};

/// Serves on the port in `PORT` until killed.
pub fn serve() -> Result<ExitCode> {
    let port = std::env::var("PORT").context("PORT is not set")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let app = Router::new().route("/api/v1/clusters/{name}", get(cluster));
        let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
        axum::serve(listener, app).await
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Starts it as a process of its own and returns its URL.
pub fn start(folder: &std::path::Path) -> Result<(Process, String)> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", "bare-axum"]).env("PORT", port.to_string());
    let process = Process::spawn("bare axum", &mut command, &folder.join("axum.log"))?;
    let url = format!("http://127.0.0.1:{port}");
    let mut client = reeve_lab::Client::new(&url, "");
    wait_for("bare axum", Duration::from_secs(10), || client.get("/api/v1/clusters/x").map(Some))?;
    Ok((process, url))
}

async fn cluster(Path(name): Path<String>) -> Json<Value> {
    Json(json!({
        "data": {
            "id": "0196f6a0-0000-7000-8000-000000000000", "name": name, "network_name": "cluster-bench",
            "ipv4_range": "100.64.0.0/24", "node_count": 0, "node_limit": null, "nodes": [],
            "inserted_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
            "vpn_domain": "cluster-bench.nm.internal",
        },
        "meta": { "request_id": "0196f6a0-0000-7000-8000-000000000000", "timestamp": "2026-01-01T00:00:00.000000Z" },
    }))
}
