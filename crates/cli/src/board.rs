//! What is known of a running command: one row per execution, fed by the events of its stream. Pure, so that what the
//! closing summary says can be tested by table.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::command::{commands::took, output::fresh};
use crate::follow::Offsets;
use crate::human;
use crate::names::NodeNames;
use crate::sse::Event;

/// A line of output without an end is shown when it grows beyond this.
const LONGEST_LINE: usize = 8 * 1024;
/// Output kept per execution for `-o json`; the whole is at the server.
const KEPT_OUTPUT: usize = 64 * 1024;
/// Failed nodes that the summary names.
const FAILED_SHOWN: usize = 20;
/// The exit code of a command that ran out of time.
const TIMED_OUT: i64 = 124;

/// The executions of one command.
#[derive(Debug, Default)]
pub struct Board {
    rows: BTreeMap<String, Row>,
    offsets: Offsets,
    /// The server's counts, the newest known.
    pub summary: Value,
    /// The rollout's state, the newest known.
    pub rollout: Value,
    keep_output: bool,
}

/// What one execution has come to.
#[derive(Debug, Default)]
struct Row {
    node_id: String,
    state: State,
    exit_code: Option<i64>,
    began: Option<Duration>,
    took: Option<Duration>,
    partial: String,
    last_line: String,
    output: String,
    output_cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Pending,
    Sent,
    Completed,
    Cancelled,
    Expired,
}

/// A whole line of a node's output.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The node.
    pub node_id: String,
    /// The text, without its line end.
    pub text: String,
}

/// How many executions are where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All of them.
    pub total: u64,
    /// Ended with exit code 0.
    pub succeeded: u64,
    /// Ended with another exit code, time-outs apart.
    pub failed: u64,
    /// Ran out of time.
    pub timed_out: u64,
    /// Cancelled.
    pub cancelled: u64,
    /// Not begun before the deadline.
    pub expired: u64,
    /// Sent, not yet ended.
    pub sent: u64,
    /// Not sent yet.
    pub pending: u64,
}

impl Counts {
    /// The counts of a summary.
    pub fn of(summary: &Value) -> Self {
        let count = |key: &str| summary.get(key).and_then(Value::as_u64).unwrap_or(0);
        let timed_out = count("timed_out");
        let (succeeded, completed) = (count("succeeded"), count("completed"));
        Self {
            total: count("total"),
            succeeded,
            // Whether `failed` counts time-outs too does not matter when it is taken from what completed.
            failed: completed.saturating_sub(succeeded + timed_out),
            timed_out,
            cancelled: count("cancelled"),
            expired: count("expired"),
            sent: count("sent"),
            pending: count("pending"),
        }
    }

    /// How many have ended.
    pub fn ended(&self) -> u64 {
        self.succeeded + self.failed + self.timed_out + self.cancelled + self.expired
    }

    /// How many have not.
    pub fn open(&self) -> u64 {
        self.sent + self.pending
    }

    /// `3 succeeded, 1 failed`, without what is zero.
    pub fn words(&self) -> String {
        let parts = [
            (self.succeeded, "succeeded"),
            (self.failed, "failed"),
            (self.timed_out, "timed out"),
            (self.cancelled, "cancelled"),
            (self.expired, "expired"),
            (self.sent, "running"),
            (self.pending, "waiting"),
        ];
        let words: Vec<String> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        if words.is_empty() { "nothing yet".to_owned() } else { words.join(", ") }
    }
}

impl Board {
    /// An empty board; `keep_output` keeps output for a document at the end.
    pub fn new(rollout: Value, keep_output: bool) -> Self {
        Self { rollout, keep_output, ..Self::default() }
    }

    /// Takes an event in; `at` is the time since watching began. Whole lines of output come back.
    pub fn apply(&mut self, event: &Event, at: Duration) -> Vec<Line> {
        let Ok(data) = serde_json::from_str::<Value>(&event.data) else {
            return Vec::new();
        };
        match event.kind.as_str() {
            "output" => self.output(&data),
            "execution" => self.execution(&data, at),
            "end" => {
                self.summary = data;
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn output(&mut self, chunk: &Value) -> Vec<Line> {
        let Some(id) = chunk.get("execution_id").and_then(Value::as_str) else {
            return Vec::new();
        };
        // The event id is left out: in a command's stream it is no offset of one execution.
        let text = fresh(&mut self.offsets, id, chunk, None).to_owned();
        let row = self.rows.entry(id.to_owned()).or_default();
        if row.node_id.is_empty() {
            chunk.get("node_id").and_then(Value::as_str).unwrap_or_default().clone_into(&mut row.node_id);
        }
        row.take(&text, self.keep_output)
    }

    fn execution(&mut self, execution: &Value, at: Duration) -> Vec<Line> {
        let text = |key: &str| execution.get(key).and_then(Value::as_str).unwrap_or_default();
        let row = self.rows.entry(text("id").to_owned()).or_default();
        text("node_id").clone_into(&mut row.node_id);
        row.exit_code = execution.get("exit_code").and_then(Value::as_i64);
        row.state = match text("status") {
            "sent" => State::Sent,
            "completed" => State::Completed,
            "cancelled" => State::Cancelled,
            "expired" => State::Expired,
            _ => State::Pending,
        };
        match row.state {
            State::Pending => Vec::new(),
            State::Sent => {
                row.began.get_or_insert(at);
                Vec::new()
            }
            State::Completed | State::Cancelled | State::Expired => {
                // The server's rows count whole seconds; what was seen here is finer.
                row.took =
                    row.took.or_else(|| row.began.map(|began| at.saturating_sub(began))).or_else(|| took(execution));
                row.finish()
            }
        }
    }

    /// Takes in an execution as the list shows it, for what the stream left out.
    pub fn fill_in(&mut self, execution: &Value) {
        self.execution(execution, Duration::ZERO);
        let Some(id) = execution.get("id").and_then(Value::as_str) else {
            return;
        };
        if let (Some(row), Some(output)) = (self.rows.get_mut(id), execution.get("output").and_then(Value::as_str))
            && row.last_line.is_empty()
        {
            output.trim_end().lines().next_back().unwrap_or_default().clone_into(&mut row.last_line);
        }
    }

    /// The lines without an end that are left when watching ends.
    pub fn rest(&mut self) -> Vec<Line> {
        self.rows.values_mut().flat_map(Row::finish).collect()
    }

    /// The counts by what was seen here and what the server said, whichever is further.
    pub fn counts(&self) -> Counts {
        let mut seen = Counts::default();
        for row in self.rows.values() {
            seen.total += 1;
            match (row.state, row.exit_code) {
                (State::Pending, _) => seen.pending += 1,
                (State::Sent, _) => seen.sent += 1,
                (State::Cancelled, _) => seen.cancelled += 1,
                (State::Expired, _) => seen.expired += 1,
                (State::Completed, Some(0)) => seen.succeeded += 1,
                (State::Completed, Some(TIMED_OUT)) => seen.timed_out += 1,
                (State::Completed, _) => seen.failed += 1,
            }
        }
        let said = Counts::of(&self.summary);
        if said.ended() > seen.ended() {
            return said;
        }
        // Executions that have not changed since they were made send no event.
        let unseen = said.total.saturating_sub(seen.total);
        seen.total += unseen;
        seen.pending += unseen;
        seen
    }

    /// Whether the stream left results out that the server counts.
    pub fn is_incomplete(&self) -> bool {
        let said = Counts::of(&self.summary);
        let bad = self.rows.values().filter(|row| row.is_bad()).count() as u64;
        said.ended().saturating_sub(said.succeeded) > bad
    }

    /// The rollout in words: `batch 2 of 5`.
    pub fn rollout_words(&self) -> Option<String> {
        let state = self.rollout.get("state")?.as_str()?;
        let number = |key: &str| self.rollout.get(key).and_then(Value::as_u64);
        let batch = match (number("current_batch"), number("batches")) {
            (Some(current), Some(all)) => format!("batch {current} of {all}"),
            _ => "rollout".to_owned(),
        };
        Some(if state == "running" { batch } else { format!("{batch}, {state}") })
    }

    /// The closing summary, a line each.
    pub fn closing(&self, names: &NodeNames, elapsed: Duration, command_id: &str) -> Vec<String> {
        let counts = self.counts();
        let nodes = if counts.total == 1 { "node" } else { "nodes" };
        let mut first = format!("{} {nodes} in {}: {}", counts.total, human::duration(elapsed), counts.words());
        let slowest = self.rows.values().filter_map(|row| Some((row.took?, row))).max_by_key(|(took, _)| *took);
        if let Some((took, row)) = slowest.filter(|_| counts.total > 1) {
            first.push_str(&format!("; slowest {} {}", names.get(&row.node_id), human::duration(took)));
        }
        if let Some(rollout) = self.rollout_words() {
            first.push_str(&format!("; {rollout}"));
        }
        let mut lines = vec![first];
        let bad: Vec<(String, &Row)> =
            self.rows.values().filter(|row| row.is_bad()).map(|row| (names.get(&row.node_id), row)).collect();
        let longest =
            bad.iter().take(FAILED_SHOWN).map(|(name, _)| console::measure_text_width(name)).max().unwrap_or(0);
        for (name, row) in bad.iter().take(FAILED_SHOWN) {
            let name = console::pad_str(name, longest, console::Alignment::Left, None);
            let line = format!("  {name}  {}  {}", row.verdict(), crate::out::one_line(&row.last_line));
            lines.push(line.trim_end().to_owned());
        }
        let more = bad.len().saturating_sub(FAILED_SHOWN);
        if more > 0 {
            lines.push(format!("  … and {more} more: reeve execution list --command {command_id} --failed"));
        }
        lines
    }

    /// The whole as one document.
    pub fn document(&self, command: &Value, names: &NodeNames) -> Value {
        let executions: Vec<Value> = self
            .rows
            .iter()
            .map(|(id, row)| {
                json!({
                    "id": id, "node_id": row.node_id, "node": names.get(&row.node_id), "status": row.state.word(), "exit_code": row.exit_code,
                    "duration_ms": row.took.map(|took| took.as_millis() as u64), "output": row.output, "output_truncated": row.output_cut,
                })
            })
            .collect();
        json!({ "command": command, "summary": self.summary, "executions": executions })
    }
}

impl Row {
    fn take(&mut self, text: &str, keep: bool) -> Vec<Line> {
        if keep {
            self.output.push_str(text);
            if self.output.len() > KEPT_OUTPUT {
                let mut cut = self.output.len() - KEPT_OUTPUT;
                while !self.output.is_char_boundary(cut) {
                    cut += 1;
                }
                self.output.drain(..cut);
                self.output_cut = true;
            }
        }
        let mut lines = Vec::new();
        for piece in text.split_inclusive('\n') {
            self.partial.push_str(piece);
            if piece.ends_with('\n') || self.partial.len() > LONGEST_LINE {
                lines.extend(self.finish());
            }
        }
        lines
    }

    fn finish(&mut self) -> Vec<Line> {
        if self.partial.is_empty() {
            return Vec::new();
        }
        let line = std::mem::take(&mut self.partial);
        let text = line.trim_end_matches(['\n', '\r']).to_owned();
        if !text.trim().is_empty() {
            text.clone_into(&mut self.last_line);
        }
        vec![Line { node_id: self.node_id.clone(), text }]
    }

    fn is_bad(&self) -> bool {
        match self.state {
            State::Pending | State::Sent => false,
            State::Completed => self.exit_code != Some(0),
            State::Cancelled | State::Expired => true,
        }
    }

    fn verdict(&self) -> String {
        match (self.state, self.exit_code) {
            (State::Completed, Some(TIMED_OUT)) => "timed out (124)".to_owned(),
            (State::Completed, Some(code)) => format!("exit {code}"),
            (state, _) => state.word().to_owned(),
        }
    }
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
        }
    }
}
