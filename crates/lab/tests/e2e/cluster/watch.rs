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
    /// Kill by kill.
    pub kills: Vec<Kill>,
    /// What was seen in the end without a kill.
    rest: Vec<String>,
}

/// A kill of the server.
pub struct Kill {
    /// Steps that were seen for the first time then.
    seen: Vec<String>,
    /// Since the server was there again after the kill before.
    after: Duration,
}

impl Story {
    /// What was seen of anything, line by line.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.kills.iter().flat_map(|kill| &kill.seen).chain(&self.rest).map(String::as_str)
    }

    /// Kill by kill, for people.
    pub fn told(&self) -> String {
        let line = |(n, kill): (usize, &Kill)| {
            format!("{:3} {:6} ms  {}\n", n + 1, kill.after.as_millis(), kill.seen.join(", "))
        };
        self.kills.iter().enumerate().map(line).collect()
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
            let Some(operation) = step["operation_id"].as_str().filter(|id| !self.closed.contains(*id)) else {
                continue;
            };
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

/// Kills the server whenever a step has begun or ended that was not seen before and is worth it, and starts it again, until
/// the workflow has ended. It is asked without a pause: each look is an answer of the server.
pub fn kill_at_every_step(mut up: Up, id: &str, limit: Duration, worth: impl Fn(&str) -> bool) -> Result<(Up, Story)> {
    let mut watch = Watch::of(id);
    let (mut kills, mut seen) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + limit;
    let mut client = provisioning(&up.server)?;
    let mut there_since = Instant::now();
    loop {
        let (fresh, whole) = watch.look(&mut client).with_context(|| up.server.process.last_words())?;
        let status = text(&whole, "status");
        let hit = fresh.iter().any(|line| worth(line));
        seen.extend(fresh);
        if hit {
            kills.push(Kill { seen: std::mem::take(&mut seen), after: there_since.elapsed() });
            up = up.kill_and_restart()?;
            client = provisioning(&up.server)?;
            there_since = Instant::now();
            continue;
        }
        if matches!(status, "completed" | "failed" | "cancelled") {
            let (status, error) = (status.to_owned(), text(&whole, "error").to_owned());
            return Ok((up, Story { status, error, kills, rest: seen }));
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
