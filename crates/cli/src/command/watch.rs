//! Watching a command until it ends: live output, a progress bar, a closing summary, and what Ctrl-C does.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use console::{Style, measure_text_width};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::Session;
use crate::api::{Api, EDGE, Query};
use crate::board::{Board, Counts, Line};
use crate::failure::{FAILED, Failure, INTERRUPTED, OK, Outcome};
use crate::follow::{Follow, Source, Step};
use crate::names::NodeNames;
use crate::out::Out;
use crate::sse::Event;

/// Nodes whose names are fetched beforehand; the rest show the start of their id.
const NAMES_FETCHED: usize = 1_000;
/// Failed executions asked for when the stream left some out.
const FILLED_IN: usize = 100;
/// Names longer than this do not push the output further to the right.
const LONGEST_NAME: usize = 24;

/// How a command is watched.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Watching")]
pub struct WatchOptions {
    /// Let Ctrl-C cancel the command instead of leaving it running
    #[arg(long)]
    pub cancel_on_interrupt: bool,
    /// Print no live output, only the summary
    #[arg(short, long)]
    pub quiet: bool,
    /// Print output without the node's name before each line
    #[arg(long)]
    pub no_prefix: bool,
}

enum End {
    Ended,
    Detached,
}

/// Watches a command until it ends; the exit code says whether all succeeded.
pub async fn command(
    session: &mut Session<'_>,
    api: &Arc<Api>,
    command: &Value,
    options: &WatchOptions,
) -> Outcome<u8> {
    let id = command.get("id").and_then(Value::as_str).ok_or_else(|| Failure::lacking("command id"))?;
    let mut watch = Watch {
        api: Arc::clone(api),
        path: format!("{EDGE}/commands/{id}"),
        names: NodeNames::fetch(api, NAMES_FETCHED).await,
        board: Board::new(rollout_of(command), !session.format().is_table()),
        live: session.format().is_table() && !options.quiet,
        prefix: (!options.no_prefix).then_some(0),
        began: Instant::now(),
        bar: bar(&session.world.out, session.format().is_table()),
    };
    let end = watch.until_end(session, options.cancel_on_interrupt).await;
    watch.bar.finish_and_clear();
    match end? {
        End::Detached => {
            session.world.out.note(&format!(
                "detached; the command goes on\nnext:  reeve command watch {id}\n       reeve command cancel {id}"
            ))?;
            return Ok(INTERRUPTED);
        }
        End::Ended => watch.complete(id).await,
    }
    let lines = watch.board.rest();
    watch.print(&mut session.world.out, lines)?;
    if session.format().is_table() {
        for line in watch.board.closing(&watch.names, watch.began.elapsed(), id) {
            session.world.out.note(&line)?;
        }
    } else if session.format() == crate::Format::Name {
        session.world.out.line(id)?;
    } else {
        let document = watch.board.document(command, &watch.names);
        crate::view::document(&mut session.world.out, session.globals.output, &document)?;
    }
    let counts = watch.board.counts();
    if counts.total == 0 {
        session.world.out.note("no node matched the target\nnext:  reeve node list shows which there are")?;
    }
    Ok(if counts.total > 0 && counts.succeeded == counts.total { OK } else { FAILED })
}

struct Watch {
    api: Arc<Api>,
    path: String,
    names: NodeNames,
    board: Board,
    live: bool,
    /// The width of the longest name so far; `None` prints no names.
    prefix: Option<usize>,
    began: Instant,
    bar: ProgressBar,
}

impl Watch {
    async fn until_end(&mut self, session: &mut Session<'_>, cancel_on_interrupt: bool) -> Outcome<End> {
        let pace = session.world.pace;
        self.look().await;
        let source =
            Source { path: format!("{}/stream", self.path), query: Query::new(), last_event_id: None, patient: true };
        let mut follow = Follow::start(Arc::clone(&self.api), source, pace);
        // Rollouts change their state without an event; for other commands a look now and then only guards against a
        // stream that stays silent.
        let period = if self.board.rollout.is_object() { pace.poll } else { pace.poll * 5 };
        let mut looks = interval_at(Instant::now() + period, period);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut cancelling = false;
        let mut quiet_ends = 0;
        loop {
            self.draw();
            tokio::select! {
                step = follow.next() => match step {
                    Step::Events(events) => {
                        quiet_ends = 0;
                        if self.take(&mut session.world.out, &events)? {
                            return Ok(End::Ended);
                        }
                    }
                    Step::Lost(why) => self.note(&mut session.world.out, &format!("connection lost ({why}), trying again"))?,
                    Step::Resumed => self.note(&mut session.world.out, "connected again")?,
                    Step::Failed(failure) => return Err(failure),
                },
                () = session.world.interrupt.next() => {
                    if !cancel_on_interrupt || cancelling {
                        return Ok(End::Detached);
                    }
                    cancelling = true;
                    self.note(&mut session.world.out, "cancelling; Ctrl-C again leaves without waiting")?;
                    self.board.summary = self.api.post(&format!("{}/cancel", self.path), &json!({})).await?;
                }
                _ = looks.tick() => {
                    if self.look().await {
                        quiet_ends += 1;
                        // Twice, so that events already on their way are shown first.
                        if quiet_ends >= 2 {
                            return Ok(End::Ended);
                        }
                    }
                }
            }
        }
    }

    /// Takes events in and prints what they bring; true when the command has ended.
    fn take(&mut self, out: &mut Out, events: &[Event]) -> Outcome<bool> {
        let mut lines = Vec::new();
        for event in events {
            lines.extend(self.board.apply(event, self.began.elapsed()));
            if event.kind == "end" {
                self.print(out, lines)?;
                return Ok(true);
            }
        }
        self.print(out, lines)?;
        Ok(false)
    }

    /// Asks the server for its counts; true when nothing more will happen. A failure to answer is the stream's business.
    async fn look(&mut self) -> bool {
        if self.board.rollout.is_object()
            && let Ok(command) = self.api.get(&self.path, &Query::new()).await
        {
            self.board.rollout = rollout_of(&command);
        }
        let Ok(summary) = self.api.get(&format!("{}/summary", self.path), &Query::new()).await else {
            return false;
        };
        let counts = Counts::of(&summary);
        self.board.summary = summary;
        match self.board.rollout.get("state").and_then(Value::as_str) {
            None => counts.total > 0 && counts.open() == 0,
            Some("completed") => counts.open() == 0,
            // What is still waiting will not begin any more, unless somebody resumes it.
            Some("stopped" | "aborted") => counts.sent == 0,
            Some(_) => false,
        }
    }

    /// Fetches what the stream left out, for the closing summary.
    async fn complete(&mut self, id: &str) {
        if self.board.rollout.is_object()
            && let Ok(command) = self.api.get(&self.path, &Query::new()).await
        {
            self.board.rollout = rollout_of(&command);
        }
        if !self.board.is_incomplete() {
            return;
        }
        for (name, value) in [("exit_code__gte", "1"), ("status", "cancelled"), ("status", "expired")] {
            let query = vec![("command_id", id.to_owned()), (name, value.to_owned())];
            let Ok(listing) = self.api.list(&format!("{EDGE}/command_executions"), &query, FILLED_IN).await else {
                return;
            };
            listing.rows.iter().for_each(|execution| self.board.fill_in(execution));
        }
    }

    fn print(&mut self, out: &mut Out, lines: Vec<Line>) -> Outcome<()> {
        if !self.live || lines.is_empty() {
            return Ok(());
        }
        let Self { bar, names, prefix, .. } = self;
        bar.suspend(|| {
            for line in &lines {
                match prefix {
                    None => out.line(&line.text)?,
                    Some(width) => {
                        let name = names.get(&line.node_id);
                        let text = prefixed(out, &name, width, &line.text);
                        out.line(&text)?;
                    }
                }
            }
            out.flush()
        })
    }

    fn note(&self, out: &mut Out, text: &str) -> Outcome<()> {
        self.bar.suspend(|| out.note(text))
    }

    fn draw(&self) {
        let counts = self.board.counts();
        self.bar.set_length(counts.total);
        self.bar.set_position(counts.ended());
        let mut words = counts.words();
        if let Some(rollout) = self.board.rollout_words() {
            words = format!("{words} · {rollout}");
        }
        self.bar.set_message(words);
    }
}

/// A line of output with its node's name. Names stand below each other on a terminal; a pipe gets no padding, so that the
/// same line always reads the same.
fn prefixed(out: &Out, name: &str, width: &mut usize, text: &str) -> String {
    if out.width.is_none() {
        return format!("{name} | {text}");
    }
    // What a terminal would show of a line that writes over itself, without the name before it being written over.
    let text = text.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
    *width = (*width).max(measure_text_width(name).min(LONGEST_NAME));
    let pad = " ".repeat(width.saturating_sub(measure_text_width(name)));
    let bar = format!("{name}{pad} |");
    // A colour left open by the command must not run into the next node's name.
    let reset = if out.colour && text.contains('\u{1b}') { "\u{1b}[0m" } else { "" };
    format!("{} {text}{reset}", out.painted(&bar, &colour_of(name)))
}

/// The same colour for the same node, every time.
fn colour_of(name: &str) -> Style {
    let hash = name.bytes().fold(5381_u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    let style = Style::new();
    match hash % 6 {
        0 => style.cyan(),
        1 => style.green(),
        2 => style.yellow(),
        3 => style.magenta(),
        4 => style.blue(),
        _ => style.cyan().bold(),
    }
}

fn rollout_of(command: &Value) -> Value {
    command.get("rollout").cloned().unwrap_or_default()
}

fn bar(out: &Out, wanted: bool) -> ProgressBar {
    if !(wanted && out.err_is_terminal) {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = if out.err_colour {
        "{bar:24.green} {pos}/{len} {wide_msg} {elapsed}"
    } else {
        "{bar:24} {pos}/{len} {wide_msg} {elapsed}"
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("━━╌"));
    }
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}
