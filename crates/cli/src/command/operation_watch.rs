//! Watching an operation until it ends: a bar with its steps, or its log.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::execution::fresh;
use super::operation::path;
use crate::Session;
use crate::api::{Api, Query};
use crate::failure::{Failure, OK, Outcome};
use crate::follow::{Follow, Offsets, Source, Step};
use crate::out::{Out, one_line};
use crate::view::text;

/// How watching ended.
pub(super) enum Ended {
    /// The operation, with everything about it.
    With(Value),
    /// Somebody pressed Ctrl-C.
    Interrupted,
}

/// Prints what there is of an operation's log.
pub(super) async fn print_log(session: &mut Session<'_>, api: &Api, id: &str) -> Outcome<u8> {
    let mut offset = 0;
    loop {
        let (text, headers) = api.text(&format!("{}/log", path(id)), &vec![("offset", offset.to_string())]).await?;
        session.world.out.raw(&text)?;
        let next = headers.get("x-next-offset").and_then(|next| next.to_str().ok()?.parse::<u64>().ok());
        match next {
            Some(next) if next > offset && !text.is_empty() => offset = next,
            _ => return Ok(OK),
        }
    }
}

/// Follows an operation until it has ended: its log goes to standard output when `log`, else its steps to a bar.
pub(super) async fn follow(session: &mut Session<'_>, id: &str, what: &str, log: bool) -> Outcome<Ended> {
    let source =
        Source { path: format!("{}/stream", path(id)), query: Query::new(), last_event_id: None, patient: false };
    let mut follow = Follow::start(session.api()?, source, session.world.pace);
    let mut offsets = Offsets::default();
    let mut board = Board::new(&session.world.out, what, !log && session.format().is_table());
    loop {
        let step = tokio::select! {
            step = follow.next() => step,
            () = session.world.interrupt.next() => return Ok(Ended::Interrupted),
        };
        let out = &mut session.world.out;
        match step {
            Step::Events(events) => {
                for event in events {
                    let data: Value =
                        serde_json::from_str(&event.data).map_err(|error| Failure::local(error.to_string()))?;
                    match event.kind.as_str() {
                        "output" if log => out.raw(fresh(&mut offsets, id, &data, event.id.as_deref()))?,
                        "operation" => board.show(out, &data)?,
                        "end" => {
                            board.bar.finish_and_clear();
                            out.flush()?;
                            return Ok(Ended::With(data));
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
