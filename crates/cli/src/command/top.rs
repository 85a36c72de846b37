//! `reeve top`: the fleet's load, watched in a terminal or shown once.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use console::Term;
use reqwest::Method;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::push;
use crate::Session;
use crate::api::{Api, EDGE, Query};
use crate::failure::{Failure, OK, Outcome};
use crate::human::parse_duration;
use crate::keyboard::Keyboard;
use crate::top::{self, By, Top, Turn};
use crate::view::{Format, document};
use crate::world::Input;

/// The fleet's load.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Only nodes with these labels, e.g. 'env=prod,tier!=db,zone in (a,b),gpu,!old'
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// Only nodes of this cluster (`*` is a wildcard)
    #[arg(short, long)]
    cluster: Option<String>,
    /// Only nodes in this state: healthy, unhealthy or unreachable
    #[arg(long)]
    status: Option<String>,
    /// What comes first
    #[arg(long, value_enum, default_value_t = By::Load)]
    sort: By,
    /// The other way round
    #[arg(long)]
    reverse: bool,
    /// Time between two looks
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = parse_duration)]
    interval: Duration,
    /// Show it once and end, as is done without a terminal
    #[arg(long)]
    once: bool,
    /// With --once, at most this many nodes; 0 for all
    #[arg(long, default_value_t = 0)]
    limit: usize,
}

/// Runs `reeve top`.
pub async fn run(arguments: Arguments, session: &mut Session<'_>) -> Outcome<u8> {
    let api = session.api()?;
    let mut filter = Query::new();
    let mut words = Vec::new();
    words.extend(arguments.cluster.as_ref().map(|cluster| format!("cluster {cluster}")));
    words.extend(arguments.selector.clone());
    words.extend(arguments.status.clone());
    push(&mut filter, "cluster_name", arguments.cluster);
    push(&mut filter, "label_selector", arguments.selector);
    push(&mut filter, "status", arguments.status);
    let top = Top::new(arguments.sort, arguments.reverse, filter, words.join(" · "));
    let watched = session.world.out.width.is_some()
        && matches!(session.world.input, Input::Process)
        && std::io::stdin().is_terminal();
    if arguments.once || !watched || !session.format().is_table() {
        return once(&api, &top, arguments.limit, session).await;
    }
    if arguments.interval.is_zero() {
        return Err(Failure::usage("--interval 0 leaves no time to look", "give for example 2s"));
    }
    watch(api, top, arguments.interval, session).await
}

async fn once(api: &Api, top: &Top, limit: usize, session: &mut Session<'_>) -> Outcome<u8> {
    let mut query = top.order();
    // A page can be asked of its nodes; a whole fleet is shown as it last told.
    if (1..=100).contains(&limit) {
        query.push(("live", "true".to_owned()));
    }
    let listing = api.list(&format!("{EDGE}/nodes/metrics"), &query, limit).await?;
    let (now, format) = (session.now(), session.format());
    let out = &mut session.world.out;
    match format {
        Format::Json | Format::Yaml => document(out, format, &Value::Array(listing.rows))?,
        Format::Name => {
            for row in &listing.rows {
                out.line(row.get("node_id").and_then(Value::as_str).unwrap_or("-"))?;
            }
        }
        Format::Table | Format::Wide if listing.rows.is_empty() => {
            out.note("no node has told its load in the last 5 minutes")?;
        }
        Format::Table | Format::Wide => {
            let width = if format == Format::Wide { None } else { out.width };
            for line in top::table(&listing.rows, width, now, out.colour) {
                out.line(&line)?;
            }
        }
    }
    Ok(OK)
}

/// Rows of one page and the size of the fleet.
type Page = Outcome<(Vec<Value>, u64)>;

async fn watch(api: Arc<Api>, mut top: Top, every: Duration, session: &mut Session<'_>) -> Outcome<u8> {
    let mut screen = Screen::open(session)?;
    let mut terminated = signal(SignalKind::terminate())?;
    let (answers, mut answered) = mpsc::channel::<Page>(1);
    let mut looks = interval_at(Instant::now() + every, every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // `outdated`: what is being asked for is not what is wanted any more.
    let (mut asking, mut again, mut outdated, mut first) = (false, true, false, true);
    loop {
        let (height, width) = size();
        top.fit(height);
        if again && !asking {
            (asking, again, outdated) = (true, false, false);
            tokio::spawn(ask(Arc::clone(&api), top.query(), answers.clone()));
        }
        let now = screen.session.now();
        let colour = screen.session.world.out.colour;
        screen.draw(&top.frame(width, height, now, colour))?;
        tokio::select! {
            Some(page) = answered.recv() => {
                asking = false;
                match page {
                    Ok((rows, total)) => {
                        first = false;
                        if !outdated {
                            top.take(rows, total);
                        }
                    }
                    // A server that never answered is a mistake; one that goes away comes back.
                    Err(failure) if first => return Err(failure),
                    Err(failure) => top.lost(failure.to_string()),
                }
            }
            key = screen.keyboard.next() => match top.key(key) {
                Turn::Quit => return Ok(OK),
                Turn::Ask => (again, outdated) = (true, true),
                Turn::Draw => {}
            },
            _ = looks.tick() => again = again || !(asking || top.is_paused()),
            _ = terminated.recv() => return Ok(OK),
        }
    }
}

async fn ask(api: Arc<Api>, query: Query, answers: mpsc::Sender<Page>) {
    let page = api.call(Method::GET, &format!("{EDGE}/nodes/metrics"), &query, None).await.map(|mut answer| {
        let total = answer.pointer("/meta/pagination/total_count").and_then(Value::as_u64).unwrap_or_default();
        let rows = match answer.get_mut("data").map(Value::take) {
            Some(Value::Array(rows)) => rows,
            _ => Vec::new(),
        };
        (rows, total)
    });
    // Nobody waits any more when the watching has ended.
    answers.send(page).await.ok();
}

fn size() -> (usize, usize) {
    let (rows, columns) = Term::stdout().size_checked().unwrap_or((24, 80));
    (usize::from(rows).max(1), usize::from(columns).max(1))
}

/// The terminal while it shows the picture; afterwards it is as it was.
struct Screen<'a, 'b> {
    session: &'a mut Session<'b>,
    keyboard: Keyboard,
}

impl<'a, 'b> Screen<'a, 'b> {
    fn open(session: &'a mut Session<'b>) -> Outcome<Self> {
        let keyboard = Keyboard::open()?;
        // The other screen, and no cursor on it.
        session.world.out.steer("\u{1b}[?1049h\u{1b}[?25l")?;
        Ok(Self { session, keyboard })
    }

    fn draw(&mut self, lines: &[String]) -> Outcome<()> {
        // Over the old picture, so that nothing flickers; the rest of each line and of the screen is wiped.
        let mut picture = String::from("\u{1b}[H");
        for (n, line) in lines.iter().enumerate() {
            if n > 0 {
                picture.push_str("\r\n");
            }
            picture.push_str(line);
            picture.push_str("\u{1b}[K");
        }
        picture.push_str("\u{1b}[J");
        self.session.world.out.steer(&picture)?;
        self.session.world.out.flush()
    }
}

impl Drop for Screen<'_, '_> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing put back.
        self.session.world.out.steer("\u{1b}[?25h\u{1b}[?1049l").ok();
        self.session.world.out.flush().ok();
    }
}
