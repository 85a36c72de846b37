//! Decides what runs when: one task that owns the state of every execution this node knows.
//!
//! Each step that must survive a crash is journalled before it takes effect: accepted before it is confirmed, started
//! before the process exists, the result before it is sent.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use reeve_agent_proto::message::{Accepted, ExecutionResult, Heartbeat, Known, ResultStatus, Run, Started};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use crate::clock::Clock;
use crate::counters::Counters;
use crate::execution::{Command, Entry, Happened, Step, Wish, progress, send};
use crate::journal::{Recovered, is_full};
use crate::journal_thread::JournalHandle;
use crate::leftover;
use crate::record::Fact;
use crate::runner::{self, Outcome, Shell, Stop};
use crate::uplink::Uplink;

/// Results sent and not yet acknowledged, in bytes; more wait in the journal.
const RESULT_WINDOW: usize = 4 * 1024 * 1024;
/// How often a journal without space is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Everything the executor stands on.
pub struct Setup {
    /// The journal.
    pub journal: JournalHandle,
    /// What the journal held at start.
    pub recovered: Vec<Recovered>,
    /// Executions forgotten lately.
    pub past: Vec<String>,
    /// The way to the server.
    pub uplink: Uplink,
    /// The shell commands run in.
    pub shell: Shell,
    /// The server's clock.
    pub clock: Arc<Clock>,
    /// Commands run at once.
    pub max_parallel: usize,
    /// What is counted.
    pub counters: Arc<Counters>,
}

/// Access to a running executor.
#[derive(Clone)]
pub struct Executor {
    commands: mpsc::UnboundedSender<Command>,
    health: watch::Receiver<Heartbeat>,
}

impl Executor {
    /// Starts the executor's task.
    pub fn start(setup: Setup) -> Self {
        let (commands, inbox) = mpsc::unbounded_channel();
        let (events, happened) = mpsc::unbounded_channel();
        let (health, health_seen) = watch::channel(Heartbeat { healthy: true, reasons: Vec::new() });
        let state = State {
            journal: setup.journal,
            uplink: setup.uplink,
            shell: setup.shell,
            clock: setup.clock,
            max_parallel: setup.max_parallel.max(1),
            counters: setup.counters,
            events,
            health,
            entries: HashMap::new(),
            queue: VecDeque::new(),
            unsent: VecDeque::new(),
            in_flight: HashMap::new(),
            past: setup.past.into(),
            running: 0,
            open: false,
            stop: None,
            retry: Vec::new(),
            retry_at: None,
        };
        tokio::spawn(state.serve(setup.recovered, inbox, happened));
        Self { commands, health: health_seen }
    }

    /// Hands over a command.
    pub fn tell(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::error!("the executor has ended");
        }
    }

    /// The executions in the journal, for the next hello.
    pub async fn known(&self) -> Vec<Known> {
        let (reply, known) = oneshot::channel();
        self.tell(Command::Known(reply));
        known.await.unwrap_or_default()
    }

    /// Ends running commands, see [`Command::Stop`].
    pub async fn stop(&self, grace: Duration) {
        let (done, stopped) = oneshot::channel();
        self.tell(Command::Stop { grace, done });
        if stopped.await.is_err() {
            tracing::error!("the executor ended before it was stopped");
        }
    }

    /// The node's health as the executor sees it.
    pub fn health(&self) -> watch::Receiver<Heartbeat> {
        self.health.clone()
    }
}

struct State {
    journal: JournalHandle,
    uplink: Uplink,
    shell: Shell,
    clock: Arc<Clock>,
    max_parallel: usize,
    counters: Arc<Counters>,
    events: mpsc::UnboundedSender<Happened>,
    health: watch::Sender<Heartbeat>,
    entries: HashMap<String, Entry>,
    queue: VecDeque<String>,
    /// Finished and not sent on this connection, oldest first.
    unsent: VecDeque<String>,
    /// Sent on this connection and not acknowledged, with their sizes.
    in_flight: HashMap<String, usize>,
    past: VecDeque<String>,
    running: usize,
    open: bool,
    stop: Option<Stopping>,
    retry: Vec<Step>,
    retry_at: Option<Instant>,
}

struct Stopping {
    kill_at: Option<Instant>,
    done: Option<oneshot::Sender<()>>,
}

impl State {
    async fn serve(
        mut self,
        recovered: Vec<Recovered>,
        mut inbox: mpsc::UnboundedReceiver<Command>,
        mut happened: mpsc::UnboundedReceiver<Happened>,
    ) {
        self.recover(recovered);
        loop {
            self.start_next();
            self.send_results();
            self.finish_stop();
            self.count();
            let wake = [self.retry_at, self.stop.as_ref().and_then(|s| s.kill_at)].into_iter().flatten().min();
            tokio::select! {
                command = inbox.recv() => match command {
                    Some(command) => self.command(command),
                    None => return,
                },
                Some(event) = happened.recv() => self.happened(event),
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => self.on_timer(),
            }
        }
    }

    fn recover(&mut self, recovered: Vec<Recovered>) {
        for found in recovered {
            let id = found.execution_id;
            if found.result.is_some() {
                self.entries.insert(id.clone(), Entry::Finished { held: None, journalled: true });
                self.unsent.push_back(id);
            } else if found.started {
                let killed = leftover::kill(&id, found.spawned.as_ref());
                tracing::warn!(execution.id = %id, killed, "the agent died while this command ran");
                let outcome = Outcome::failed(
                    "The agent stopped while this command was running; its remaining processes were killed and its \
                     output is lost.",
                );
                self.end(id, outcome, ResultStatus::Completed);
            } else if let Some(run) = found.run {
                self.entries.insert(id.clone(), Entry::Queued(Box::new(run)));
                self.queue.push_back(id);
            }
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Run(run) => self.accept(run),
            Command::Cancel(id) => self.cancel(id),
            Command::Drop(id) => self.forget(&id),
            Command::Acknowledged(id) => self.acknowledged(&id),
            Command::Sync(sync) => {
                sync.drop.iter().for_each(|id| self.forget(id));
                sync.cancel.into_iter().for_each(|id| self.cancel(id));
            }
            Command::Open => self.open = true,
            Command::Closed => {
                self.open = false;
                // Oldest first again: what was sent before comes before what never was.
                let mut again: Vec<String> = self.in_flight.drain().map(|(id, _)| id).collect();
                again.sort_unstable();
                again.into_iter().for_each(|id| self.unsent.push_front(id));
            }
            Command::Known(reply) => {
                let known = self.entries.iter().filter_map(|(id, entry)| Some((id, progress(entry)?)));
                let known = known.map(|(id, p)| Known { execution_id: id.clone(), progress: p.into() }).collect();
                if reply.send(known).is_err() {
                    tracing::debug!("nobody waits for the known executions any more");
                }
            }
            Command::Stop { grace, done } => {
                self.stop = Some(Stopping { kill_at: Some(Instant::now() + grace), done: Some(done) });
            }
        }
    }

    fn accept(&mut self, run: Box<Run>) {
        let id = run.execution_id.clone();
        if self.stop.is_some() {
            return;
        }
        match self.entries.get(&id) {
            None if self.past.contains(&id) => {
                tracing::warn!(execution.id = %id, "refused to run an execution again");
                let outcome = Outcome::failed("The agent has run this execution before and does not run it again.");
                self.hold(id, outcome);
            }
            None => {
                self.entries.insert(id, Entry::Accepting { wish: None });
                self.journal(Step::Accepted(run));
            }
            Some(Entry::Accepting { .. } | Entry::Finished { .. }) => {}
            Some(Entry::Queued(_) | Entry::Starting { .. } | Entry::Running { .. } | Entry::Ending) => {
                self.uplink.send(Accepted { execution_id: id });
            }
        }
    }

    fn cancel(&mut self, id: String) {
        match self.entries.get_mut(&id) {
            Some(Entry::Accepting { wish } | Entry::Starting { wish }) => *wish = wish.or(Some(Wish::Cancel)),
            Some(Entry::Queued(_)) => {
                self.queue.retain(|queued| *queued != id);
                self.end(id, Outcome::cancelled(), ResultStatus::Completed);
            }
            Some(Entry::Running { stop, .. }) => {
                stop.send_replace(Some(Stop::Cancel));
            }
            Some(Entry::Ending | Entry::Finished { .. }) => {}
            // It never arrived, and from here on it never will run.
            None => self.hold(id, Outcome::cancelled()),
        }
    }

    fn forget(&mut self, id: &str) {
        match self.entries.get_mut(id) {
            Some(Entry::Accepting { wish } | Entry::Starting { wish }) => *wish = Some(Wish::Forget),
            Some(Entry::Running { stop, forget }) => {
                *forget = true;
                stop.send_replace(Some(Stop::Cancel));
            }
            Some(Entry::Queued(_) | Entry::Ending | Entry::Finished { .. }) => self.remove(id),
            None => {}
        }
    }

    fn acknowledged(&mut self, id: &str) {
        if matches!(self.entries.get(id), Some(Entry::Finished { .. })) {
            self.counters.stored.add();
            self.remove(id);
        }
    }

    /// Forgets an execution that has no process.
    fn remove(&mut self, id: &str) {
        self.queue.retain(|queued| queued != id);
        self.unsent.retain(|unsent| unsent != id);
        self.in_flight.remove(id);
        self.entries.remove(id);
        self.past.push_back(id.to_owned());
        if self.past.len() > 1024 {
            self.past.pop_front();
        }
        self.journal(Step::Forgotten(id.to_owned()));
    }

    fn start_next(&mut self) {
        while self.running < self.max_parallel && self.stop.is_none() && self.retry_at.is_none() {
            let Some(id) = self.queue.pop_front() else {
                return;
            };
            let Some(entry) = self.entries.get_mut(&id) else {
                continue;
            };
            let Entry::Queued(run) = std::mem::replace(entry, Entry::Starting { wish: None }) else {
                continue;
            };
            if run.expires_at_us > 0 && run.expires_at_us <= self.clock.now_us() {
                let outcome = Outcome { exit_code: 0, output: String::new(), output_bytes: 0 };
                self.end(id, outcome, ResultStatus::Expired);
                continue;
            }
            self.running += 1;
            self.journal(Step::Started(run));
        }
    }

    fn happened(&mut self, event: Happened) {
        match event {
            Happened::Journalled(step, Ok(_)) => self.journalled(step),
            Happened::Journalled(step, Err(error)) => self.not_journalled(step, &error),
            Happened::Ended(id, outcome) => {
                self.running -= 1;
                match self.entries.get(&id) {
                    Some(Entry::Running { forget: true, .. }) | None => self.remove(&id),
                    Some(_) => self.end(id, outcome, ResultStatus::Completed),
                }
            }
            Happened::Read(id, Ok(Some(result))) => self.send_result(&id, result),
            Happened::Read(id, Ok(None)) => {
                self.in_flight.remove(&id);
            }
            Happened::Read(id, Err(error)) => {
                tracing::error!(execution.id = %id, %error, "a result cannot be read back from the journal");
                self.in_flight.remove(&id);
                self.remove(&id);
                self.hold(id, Outcome::failed(format!("The result was lost: the agent's journal failed: {error}")));
            }
        }
    }

    fn journalled(&mut self, step: Step) {
        if self.retry.is_empty() && self.retry_at.is_none() {
            self.report_health(None);
        }
        match step {
            Step::Accepted(run) => self.accepted(run),
            Step::Started(run) => self.started(run),
            Step::Result(result) => self.result_journalled(*result),
            Step::Forgotten(_) | Step::Probe => {}
        }
    }

    fn accepted(&mut self, run: Box<Run>) {
        let id = run.execution_id.clone();
        match self.entries.get_mut(&id) {
            Some(Entry::Accepting { wish: Some(Wish::Forget) }) | None => self.remove(&id),
            Some(Entry::Accepting { wish: Some(Wish::Cancel) }) => {
                self.end(id, Outcome::cancelled(), ResultStatus::Completed);
            }
            Some(entry) => {
                *entry = Entry::Queued(run);
                self.queue.push_back(id.clone());
                self.counters.accepted.add();
                self.uplink.send(Accepted { execution_id: id });
            }
        }
    }

    fn started(&mut self, run: Box<Run>) {
        let id = run.execution_id.clone();
        let wish = match self.entries.get(&id) {
            Some(Entry::Starting { wish }) => *wish,
            _ => Some(Wish::Forget),
        };
        match wish {
            Some(Wish::Forget) => {
                self.running -= 1;
                return self.remove(&id);
            }
            Some(Wish::Cancel) => {
                self.running -= 1;
                return self.end(id, Outcome::cancelled(), ResultStatus::Completed);
            }
            None => {}
        }
        let (stop, stopped) = watch::channel(None);
        self.entries.insert(id.clone(), Entry::Running { stop, forget: false });
        self.uplink.send(Started { execution_id: id.clone(), started_at_us: self.clock.now_us() });
        let (shell, uplink, journal, events) =
            (self.shell.clone(), self.uplink.clone(), self.journal.clone(), self.events.clone());
        tokio::spawn(async move {
            let note = |spawned| {
                journal.append(Fact::Spawned(spawned).into(), |written| {
                    if let Err(error) = written {
                        tracing::warn!(%error, "could not journal a process id");
                    }
                });
            };
            let outcome = runner::run(&run, &shell, &uplink, stopped, note).await;
            send(&events, Happened::Ended(id, outcome));
        });
    }

    fn result_journalled(&mut self, result: ExecutionResult) {
        let id = result.execution_id.clone();
        match self.entries.get_mut(&id) {
            Some(entry @ Entry::Ending) => {
                *entry = Entry::Finished { held: None, journalled: true };
                if self.open && self.unsent.is_empty() && self.in_flight_bytes() < RESULT_WINDOW {
                    self.in_flight.insert(id.clone(), result.output.len());
                    self.send_result(&id, result);
                } else {
                    self.unsent.push_back(id);
                }
            }
            Some(Entry::Finished { held, journalled }) => {
                *held = None;
                *journalled = true;
            }
            // It was forgotten while it was written.
            _ => self.journal(Step::Forgotten(id)),
        }
    }

    fn not_journalled(&mut self, step: Step, error: &io::Error) {
        let reason = if is_full(error) {
            format!("the agent's journal has no space: {error}")
        } else {
            format!("the agent's journal cannot be written: {error}")
        };
        tracing::error!(%error, "cannot write the journal");
        self.report_health(Some(reason.clone()));
        match step {
            // Nothing happened yet: refuse, and say so.
            Step::Accepted(run) => {
                let id = run.execution_id;
                self.entries.remove(&id);
                self.hold(id, Outcome::failed(format!("The command was not run: {reason}.")));
                self.retry_at = self.retry_at.or(Some(Instant::now() + RETRY));
                return;
            }
            // Accepted durably: it waits for space.
            Step::Started(run) => {
                self.running -= 1;
                let id = run.execution_id.clone();
                match self.entries.get(&id) {
                    Some(Entry::Starting { wish: Some(Wish::Forget) }) | None => self.remove(&id),
                    Some(Entry::Starting { wish: Some(Wish::Cancel) }) => {
                        self.end(id, Outcome::cancelled(), ResultStatus::Completed);
                    }
                    Some(_) => {
                        self.entries.insert(id.clone(), Entry::Queued(run));
                        self.queue.push_front(id);
                    }
                }
            }
            // It is sent from memory meanwhile; should the agent die too, the execution is reported as lost, and a
            // server that has this result keeps it.
            Step::Result(result) => {
                let id = result.execution_id.clone();
                if let Some(entry @ Entry::Ending) = self.entries.get_mut(&id) {
                    *entry = Entry::Finished { held: Some(result.clone()), journalled: false };
                    self.unsent.push_back(id);
                }
                self.retry.push(Step::Result(result));
            }
            step @ (Step::Forgotten(_) | Step::Probe) => self.retry.push(step),
        }
        self.retry_at = self.retry_at.or(Some(Instant::now() + RETRY));
    }

    fn on_timer(&mut self) {
        let now = Instant::now();
        if self.retry_at.is_some_and(|t| now >= t) {
            self.retry_at = None;
            for step in std::mem::take(&mut self.retry) {
                match &step {
                    // Acknowledged meanwhile: only the forgetting still has to be written.
                    Step::Result(result) if !self.entries.contains_key(&result.execution_id) => {}
                    _ => self.journal(step),
                }
            }
            if !self.health.borrow().healthy {
                self.journal(Step::Probe);
            }
        }
        if let Some(stopping) = &mut self.stop
            && stopping.kill_at.is_some_and(|t| now >= t)
        {
            stopping.kill_at = None;
            for entry in self.entries.values() {
                if let Entry::Running { stop, .. } = entry {
                    stop.send_if_modified(|current| current.replace(Stop::Shutdown).is_none());
                }
            }
        }
    }

    fn finish_stop(&mut self) {
        let busy = self.running > 0 || self.entries.values().any(|e| matches!(e, Entry::Ending));
        if !busy
            && let Some(done) = self.stop.as_mut().and_then(|s| s.done.take())
            && done.send(()).is_err()
        {
            tracing::debug!("nobody waits for the executor to stop");
        }
    }

    /// Journals a result; it is sent once that is done.
    fn end(&mut self, id: String, outcome: Outcome, status: ResultStatus) {
        match status {
            ResultStatus::Completed => self.counters.completed.add(),
            ResultStatus::Expired => self.counters.expired.add(),
        }
        let result = self.result(&id, outcome, status);
        self.entries.insert(id, Entry::Ending);
        self.journal(Step::Result(Box::new(result)));
    }

    /// A result for an execution that has left nothing in the journal: it is sent from memory.
    fn hold(&mut self, id: String, outcome: Outcome) {
        let result = self.result(&id, outcome, ResultStatus::Completed);
        self.entries.insert(id.clone(), Entry::Finished { held: Some(Box::new(result)), journalled: false });
        self.unsent.push_back(id);
    }

    fn result(&self, id: &str, outcome: Outcome, status: ResultStatus) -> ExecutionResult {
        ExecutionResult {
            execution_id: id.to_owned(),
            exit_code: outcome.exit_code,
            output: outcome.output,
            completed_at_us: self.clock.now_us(),
            status: status.into(),
            output_bytes: outcome.output_bytes,
        }
    }

    fn send_results(&mut self) {
        while self.open && self.in_flight_bytes() < RESULT_WINDOW {
            let Some(id) = self.unsent.pop_front() else {
                return;
            };
            match self.entries.get(&id) {
                Some(Entry::Finished { held: Some(result), .. }) => {
                    let result = (**result).clone();
                    self.in_flight.insert(id.clone(), result.output.len());
                    self.send_result(&id, result);
                }
                Some(Entry::Finished { held: None, .. }) => {
                    // Counted in full until its size is known, so that few are read at once.
                    self.in_flight.insert(id.clone(), RESULT_WINDOW / 4);
                    let events = self.events.clone();
                    self.journal.read(id.clone(), move |result| send(&events, Happened::Read(id, result)));
                }
                _ => {}
            }
        }
    }

    fn send_result(&mut self, id: &str, result: ExecutionResult) {
        let Some(size) = self.in_flight.get_mut(id) else {
            return;
        };
        *size = result.output.len() + 64;
        self.uplink.send(result);
    }

    fn in_flight_bytes(&self) -> usize {
        self.in_flight.values().sum()
    }

    fn journal(&self, step: Step) {
        let events = self.events.clone();
        let record = step.record();
        self.journal.append(record, move |written| send(&events, Happened::Journalled(step, written)));
    }

    fn count(&self) {
        self.counters.queued.set(self.queue.len());
        self.counters.running.set(self.running);
        self.counters.waiting.set(self.unsent.len() + self.in_flight.len());
    }

    fn report_health(&self, problem: Option<String>) {
        let health = Heartbeat { healthy: problem.is_none(), reasons: problem.into_iter().collect() };
        self.health.send_if_modified(|current| {
            let changed = current.healthy != health.healthy;
            if changed {
                *current = health;
            }
            changed
        });
    }
}
