//! What surrounds a command: streams, environment, clock, keyboard and interrupts. Tests build their own.

use std::collections::{BTreeMap, VecDeque};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use console::Term;
use jiff::Timestamp;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use crate::failure::{Failure, Outcome};
use crate::out::Out;

/// The surroundings of one command.
pub struct World {
    /// The environment variables.
    pub vars: BTreeMap<String, String>,
    /// The working directory, for `./reeve-data`.
    pub cwd: PathBuf,
    /// The data directory of an installed server.
    pub system_data: PathBuf,
    /// Where output goes.
    pub out: Out,
    /// The present.
    pub now: fn() -> Timestamp,
    /// Where answers to prompts come from.
    pub input: Input,
    /// Ctrl-C.
    pub interrupt: Interrupt,
    /// How a broken stream is taken up again.
    pub pace: Pace,
}

impl World {
    /// The process's own surroundings.
    #[allow(clippy::disallowed_methods)] // The one place where the real clock comes in.
    pub fn real() -> Self {
        let vars: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            cwd: std::env::current_dir().unwrap_or_default(),
            system_data: PathBuf::from("/var/lib/reeve"),
            out: Out::real(&vars),
            now: Timestamp::now,
            input: Input::Process,
            interrupt: Interrupt::Process(None),
            pace: Pace::default(),
            vars,
        }
    }

    /// An environment variable that is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether there is somebody to ask.
    pub fn has_keyboard(&self) -> bool {
        match &self.input {
            Input::Lines(lines) => !lines.is_empty(),
            Input::Process => std::io::stdin().is_terminal(),
        }
    }

    /// Asks for a line; `secret` ones are not echoed.
    pub fn ask(&mut self, prompt: &str, secret: bool) -> Outcome<String> {
        let gone = || Failure::local_with("no input to read the answer from", "give it as an option, see --help");
        match &mut self.input {
            Input::Lines(lines) => lines.pop_front().ok_or_else(gone),
            Input::Process if std::io::stdin().is_terminal() => {
                self.out.prompt(&format!("{prompt}: "))?;
                if !secret {
                    return Ok(Term::stderr().read_line()?);
                }
                let answer = crate::keyboard::unseen_line();
                self.out.note("")?;
                answer?.ok_or(Failure::Interrupted)
            }
            Input::Process => {
                let mut line = String::new();
                match std::io::stdin().read_line(&mut line)? {
                    0 => Err(gone()),
                    _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
                }
            }
        }
    }

    /// Everything on standard input, for `--script -`.
    pub fn read_all(&mut self) -> Outcome<String> {
        match &mut self.input {
            Input::Lines(lines) => Ok(lines.drain(..).collect::<Vec<_>>().join("\n")),
            Input::Process => Ok(std::io::read_to_string(std::io::stdin())?),
        }
    }
}

/// Where answers come from.
pub enum Input {
    /// The terminal, or standard input when it is a pipe.
    Process,
    /// Prepared lines, for tests.
    Lines(VecDeque<String>),
}

/// Where interrupts come from.
pub enum Interrupt {
    /// SIGINT of the process; the handler is installed when first waited for.
    Process(Option<Signal>),
    /// A channel, for tests.
    Channel(mpsc::UnboundedReceiver<()>),
}

impl Interrupt {
    /// Waits for the next interrupt. Cancel safe.
    pub async fn next(&mut self) {
        match self {
            Self::Process(handler) => {
                if handler.is_none() {
                    *handler = signal(SignalKind::interrupt()).ok();
                }
                match handler {
                    Some(handler) => {
                        handler.recv().await;
                    }
                    // Without a handler the signal ends the process, as is its habit.
                    None => std::future::pending().await,
                }
            }
            Self::Channel(channel) => {
                if channel.recv().await.is_none() {
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// How long to wait between attempts to take up a broken stream.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Before the first attempt.
    pub first: Duration,
    /// The longest wait between two attempts.
    pub most: Duration,
    /// Attempts in a row without an answer before giving up.
    pub attempts: u32,
    /// Between two looks at a rollout that sends no events.
    pub poll: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            most: Duration::from_secs(5),
            attempts: 30,
            poll: Duration::from_secs(2),
        }
    }
}

impl Pace {
    /// The wait before attempt number `attempt` (from 1).
    pub fn wait(&self, attempt: u32) -> Duration {
        self.first.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(self.most)
    }
}
