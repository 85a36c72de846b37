//! An operation as its watchers see it through the public API: the beginning and the end of every step are lines of text.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use reeve_lab::{Client, Server};
use serde_json::Value;

use super::site::Up;

/// What an operation came to.
pub struct Story {
    /// Its last word.
    pub status: String,
    /// And why, when it failed.
    pub error: String,
    /// What was to be seen for the first time when the server was killed, kill by kill.
    pub kills: Vec<Vec<String>>,
    /// Time from the moment at which the server was there again to the next step that was seen.
    pub longest_pause: Duration,
}

impl Story {
    /// Steps of the workflow with how they were seen, each by the kill that followed.
    pub fn steps(&self) -> impl Iterator<Item = &str> {
        let lines = self.kills.iter().flatten().filter(|line| line.starts_with("step "));
        lines.map(|line| line.trim_start_matches("step "))
    }

    /// Kill by kill, for people.
    pub fn told(&self) -> String {
        let kills = self.kills.iter().enumerate();
        kills.map(|(n, lines)| format!("{:3}  {}\n", n + 1, lines.join(", "))).collect()
    }
}

/// Asks what became of a workflow.
pub struct Watch {
    id: String,
    seen: BTreeSet<String>,
    /// Operations that will not change any more, and how they ended.
    closed: BTreeSet<String>,
}

impl Watch {
    pub fn of(id: &str) -> Self {
        Self { id: id.to_owned(), seen: BTreeSet::new(), closed: BTreeSet::new() }
    }

    /// What was never seen before, and the workflow as it stands.
    pub fn look(&mut self, client: &mut Client) -> Result<(Vec<String>, Value)> {
        let mut lines = Vec::new();
        let whole = client.get(&format!("/v1/operations/{}/detail", self.id))?;
        lines.push(format!("workflow: {}", text(&whole, "status")));
        of_job(&whole, "workflow", &mut lines);
        for step in list(&client.get(&format!("/v1/workflows/{}/steps", self.id))?) {
            let (name, status) = (text(step, "name"), text(step, "status"));
            if status != "waiting" {
                lines.push(format!("step {name}: {status}"));
            }
            let Some(operation) = step["operation_id"].as_str().filter(|id| !self.closed.contains(*id)) else { continue };
            let detail = client.get(&format!("/v1/operations/{operation}/detail"))?;
            of_job(&detail, name, &mut lines);
            for phase in list(&detail["phases"]) {
                lines.push(format!("{name} {}: {}", text(phase, "name"), text(phase, "state")));
            }
            // One that was called off still takes back what it did.
            if matches!(text(&detail, "status"), "completed" | "failed") {
                self.closed.insert(operation.to_owned());
            }
        }
        lines.retain(|line| self.seen.insert(line.clone()));
        Ok((lines, whole))
    }
}

/// The steps of an operation's job, but for those that have not begun.
fn of_job(detail: &Value, name: &str, lines: &mut Vec<String>) {
    let steps = list(&detail["steps"]).iter().filter(|step| text(step, "state") != "waiting");
    lines.extend(steps.map(|step| format!("{name}/{}: {}", text(step, "name"), text(step, "state"))));
}

/// Kills the server whenever a step has begun or ended that was not seen before, and starts it again, until the workflow has
/// ended. It is asked without a pause: each look is an answer of the server.
pub fn kill_at_every_step(mut up: Up, id: &str, limit: Duration) -> Result<(Up, Story)> {
    let mut watch = Watch::of(id);
    let mut kills = Vec::new();
    let mut longest_pause = Duration::ZERO;
    let deadline = Instant::now() + limit;
    let mut client = provisioning(&up.server)?;
    let mut there_since = Instant::now();
    loop {
        let (fresh, whole) = watch.look(&mut client).with_context(|| up.server.process.last_words())?;
        let status = text(&whole, "status");
        if !fresh.is_empty() {
            longest_pause = longest_pause.max(there_since.elapsed());
            kills.push(fresh);
            up = up.kill_and_restart()?;
            client = provisioning(&up.server)?;
            there_since = Instant::now();
            continue;
        }
        if matches!(status, "completed" | "failed" | "cancelled") {
            let error = text(&whole, "error").to_owned();
            return Ok((up, Story { status: status.to_owned(), error, kills, longest_pause }));
        }
        if Instant::now() > deadline {
            bail!("after {} kills: {whole:#}\n{}", kills.len(), up.server.process.last_words());
        }
    }
}

/// A client of the provisioning listener with the master key.
pub fn provisioning(server: &Server) -> Result<Client> {
    Ok(Client::new(server.url("provisioning")?, server.master_key()))
}

/// The items of a list.
pub fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A field that is text; empty when it is none.
pub fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field].as_str().unwrap_or_default()
}
