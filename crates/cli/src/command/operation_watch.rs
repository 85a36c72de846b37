//! Watching an operation until it ends: a bar with its steps.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::operation::KIND;
use crate::Session;
use crate::failure::{Failure, Outcome};
use crate::follow::{Follow, Source, Step};
use crate::out::{Out, one_line};
use crate::view::text;

/// Follows an operation until it has ended, and gives it whole; `None` when somebody pressed Ctrl-C.
pub(super) async fn follow(session: &mut Session<'_>, id: &str, what: &str) -> Outcome<Option<Value>> {
    let source = Source::beginning(format!("{}/stream", KIND.at(id)));
    let mut follow = Follow::start(session.api()?, source, session.world.pace);
    let mut board = Board::new(&session.world.out, what, session.format().is_table());
    loop {
        let step = tokio::select! {
            step = follow.next() => step,
            () = session.world.interrupt.next() => return Ok(None),
        };
        let out = &mut session.world.out;
        match step {
            Step::Events(events) => {
                for event in events {
                    let data: Value =
                        serde_json::from_str(&event.data).map_err(|error| Failure::local(error.to_string()))?;
                    match event.kind.as_str() {
                        "operation" => board.show(out, &data)?,
                        "end" => {
                            board.bar.finish_and_clear();
                            out.flush()?;
                            return Ok(Some(data));
                        }
                        _ => {}
                    }
                }
                out.flush()?;
            }
            Step::Lost(why) => board.note(out, &format!("connection lost ({why}), trying again"))?,
            Step::Resumed => board.note(out, "connected again")?,
            Step::Failed(failure) => return Err(failure),
        }
    }
}

/// A bar where there is a terminal, else a line for each step.
struct Board {
    bar: ProgressBar,
    what: String,
    lines: bool,
    said: String,
}

impl Board {
    fn new(out: &Out, what: &str, wanted: bool) -> Self {
        let (what, said) = (what.to_owned(), String::new());
        if !(wanted && out.err_is_terminal) {
            return Self { bar: ProgressBar::hidden(), what, lines: wanted, said };
        }
        let bar = ProgressBar::with_draw_target(Some(1), ProgressDrawTarget::stderr());
        let template = if out.err_colour {
            "{prefix} {bar:24.green} {pos}/{len} {wide_msg} {elapsed}"
        } else {
            "{prefix} {bar:24} {pos}/{len} {wide_msg} {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━━╌"));
        }
        bar.set_prefix(what.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        Self { bar, what, lines: false, said }
    }

    fn show(&mut self, out: &mut Out, detail: &Value) -> Outcome<()> {
        let number = |pointer: &str| detail.pointer(pointer).and_then(Value::as_u64).unwrap_or_default();
        self.bar.set_length(number("/progress/total"));
        self.bar.set_position(number("/progress/done"));
        let words = words(detail);
        self.bar.set_message(words.clone());
        if self.lines && words != self.said {
            out.note(&format!("{}: {words}", self.what))?;
            self.said = words;
        }
        Ok(())
    }

    fn note(&self, out: &mut Out, text: &str) -> Outcome<()> {
        self.bar.suspend(|| out.note(text))
    }
}

/// What is being done: the phases that run, else the step, and what it waits for.
fn words(detail: &Value) -> String {
    let list = |key: &str| detail[key].as_array().cloned().unwrap_or_default();
    let running: Vec<String> =
        list("phases").iter().filter(|phase| phase["state"] == "running").map(|phase| text(phase, "name")).collect();
    let mut words = if running.is_empty() {
        let steps = list("steps");
        let current = steps.iter().find(|step| matches!(step["state"].as_str(), Some("current" | "undoing")));
        current.map_or_else(
            || text(detail, "status"),
            |step| match step["state"].as_str() {
                Some("undoing") => format!("taking back {}", text(step, "name")),
                _ => text(step, "name"),
            },
        )
    } else {
        running.join(", ")
    };
    if let Some(waiting) = detail["waiting"].as_str() {
        words.push_str(&format!(" ({waiting})"));
    }
    one_line(&words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_said_of_an_operation() {
        let steps = json!([{"name": "order", "state": "done"}, {"name": "boot", "state": "current"}]);
        assert_eq!(words(&json!({"status": "running", "steps": steps, "phases": [], "waiting": null})), "boot");
        assert_eq!(
            words(&json!({"status": "running", "steps": steps, "waiting": "no address yet"})),
            "boot (no address yet)"
        );
        let phases =
            json!([{"name": "a/etcd/install", "state": "running"}, {"name": "b/etcd/install", "state": "running"}]);
        assert_eq!(words(&json!({"steps": steps, "phases": phases})), "a/etcd/install, b/etcd/install");
        assert_eq!(words(&json!({"status": "pending", "steps": []})), "pending");
        let back = json!([{"name": "order", "state": "undoing"}]);
        assert_eq!(words(&json!({"status": "cancelled", "steps": back})), "taking back order");
    }
}
