//! Agents' reports on their way into the store: one bounded queue, many reports per transaction, answers once durable.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use reeve_ports::Order;
use reeve_store::execution_output::{self as outputs, Chunk};
use reeve_store::{Topic, event as feed, execution as table};
use reeve_types::execution::{ExecutionStatus, Outcome};
use reeve_types::{ExecutionId, NodeId, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::Report;
use crate::{App, event};

/// Reports waiting at the most; connections then wait with theirs.
const QUEUE: usize = 8_192;
/// Output in them at the most, in KiB: ten thousand agents may end with a megabyte each at the same time.
const OUTPUT_KIB: u32 = 64 * 1024;
/// Longest piece of live output that is taken, in bytes; agents send a quarter of it.
const LONGEST_PIECE: usize = 256 * 1024;
/// Reports in one transaction.
const BATCH: usize = 1_024;
/// The exit code of a command that its agent refused to take.
const EXIT_REFUSED: i64 = 1;

/// A report, whose it is, and the room that its output takes.
#[derive(Debug)]
struct Queued {
    item: Item,
    room: Option<OwnedSemaphorePermit>,
}

type Item = (NodeId, Report);

/// The queue.
#[derive(Debug)]
pub struct Intake {
    queue: mpsc::Sender<Queued>,
    reader: Mutex<Option<mpsc::Receiver<Queued>>>,
    room: Arc<Semaphore>,
}

impl Intake {
    pub(crate) fn new() -> Self {
        let (queue, reader) = mpsc::channel(QUEUE);
        Self { queue, reader: Mutex::new(Some(reader)), room: Arc::new(Semaphore::new(OUTPUT_KIB as usize)) }
    }

    /// False when nobody reads any more.
    async fn put(&self, node: &NodeId, report: Report) -> bool {
        let bytes = match &report {
            Report::Output { text, .. } => text.len(),
            Report::Outcome(outcome) => outcome.output.len(),
            Report::Accepted(_) | Report::Started(_) | Report::Refused { .. } => 0,
        };
        let room = match u32::try_from(bytes / 1024).unwrap_or(OUTPUT_KIB).min(OUTPUT_KIB) {
            0 => None,
            kib => self.room.clone().acquire_many_owned(kib).await.ok(),
        };
        self.queue.send(Queued { item: (node.clone(), report), room }).await.is_ok()
    }
}

/// Queues a report. Waits while the queue is full, of reports or of output.
pub async fn report(app: &App, node: &NodeId, report: Report) {
    // No id of ours looks like that, and a database might not take it.
    if !super::is_plausible(id_of(&report)) {
        tracing::warn!(node.id = %node, "an agent reported on something that is no execution");
        return;
    }
    if !app.intake.put(node, report).await {
        tracing::error!("reports of agents are not read any more");
    }
}

/// Reads the queue until the app is gone. Started once. A batch that the store does not take is tried again: agents keep
/// their outcomes until they are told that they are stored.
pub async fn run(app: &App) {
    let reader = app.intake.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut reader) = reader else { return };
    let mut queued = Vec::with_capacity(BATCH);
    while reader.recv_many(&mut queued, BATCH).await > 0 {
        // The room is given back once the reports are stored.
        let (batch, _room): (Vec<Item>, Vec<_>) = queued.drain(..).map(|q: Queued| (q.item, q.room)).unzip();
        let mut pause_ms = 50;
        while let Err(error) = take_in(app, &batch).await {
            tracing::error!(%error, source = ?error.source, reports = batch.len(), "agents' reports could not be stored; trying again");
            tokio::time::sleep(std::time::Duration::from_millis(pause_ms)).await;
            pause_ms = (pause_ms * 2).min(5_000);
        }
    }
}

#[derive(Default)]
struct Sorted<'a> {
    accepted: Vec<ExecutionId>,
    started: Vec<ExecutionId>,
    chunks: Vec<Chunk>,
    outcomes: Vec<(&'a NodeId, Outcome)>,
    refused: HashSet<ExecutionId>,
}

impl Sorted<'_> {
    /// Most commands are taken, start and end within one batch: then only the outcome is stored, which implies the rest.
    /// Gives the executions whose start was left out.
    fn leave_out_what_has_ended(&mut self) -> HashSet<ExecutionId> {
        let ended: HashSet<&ExecutionId> = self.outcomes.iter().map(|(_, outcome)| &outcome.execution_id).collect();
        let both = std::mem::take(&mut self.started).into_iter();
        let (started, rest): (HashSet<_>, HashSet<_>) = both.partition(|id| ended.contains(id));
        self.started = rest.into_iter().collect();
        self.accepted.retain(|id| !ended.contains(id));
        self.chunks.retain(|chunk| !ended.contains(&chunk.execution_id));
        started
    }
}

/// Stores a batch and answers the agents.
pub(crate) async fn take_in(app: &App, batch: &[Item]) -> Result<()> {
    let ids: Vec<ExecutionId> =
        batch.iter().map(|(_, r)| id_of(r).clone()).collect::<HashSet<_>>().into_iter().collect();
    let mut tx = app.store.begin().await?;
    // Read inside the transaction: watchers rely on changes being stamped in the order of commits.
    let now = app.now();
    let stored: HashMap<ExecutionId, (Option<NodeId>, ExecutionStatus, bool)> = table::statuses(&mut tx, &ids)
        .await?
        .into_iter()
        .map(|(id, node, status, done)| (id, (node, status, done)))
        .collect();

    let mut orders: HashMap<&NodeId, Vec<Order>> = HashMap::new();
    let mut sorted = Sorted::default();
    for (node, report) in batch {
        let id = id_of(report);
        match stored.get(id) {
            Some((Some(owner), status, answered)) if owner == node => {
                sort_in(&mut sorted, node, report, *status, *answered, &mut orders);
            }
            Some(_) | None => orders.entry(node).or_default().push(Order::Forget(id.clone())),
        }
    }

    let mut changed: Vec<ExecutionId> = Vec::new();
    let started = sorted.leave_out_what_has_ended();
    // Another server may have noted it since this transaction looked.
    let mut accepted: HashSet<ExecutionId> =
        table::set_sent(&mut tx, &sorted.accepted, now).await?.into_iter().collect();
    changed.extend(accepted.iter().cloned());
    table::set_started(&mut tx, &sorted.started, now).await?;
    outputs::append(&mut tx, &sorted.chunks).await?;
    let mut ended = HashSet::new();
    for (node, outcome) in &sorted.outcomes {
        let id = &outcome.execution_id;
        if let Some(first_word) = table::set_outcome(&mut tx, outcome, started.contains(id), now).await? {
            // That the agent took it came with this outcome, or the word of it died with another server.
            if first_word && !sorted.refused.contains(id) {
                accepted.insert(id.clone());
            }
            outputs::finish(&mut tx, &outcome.execution_id, &outcome.output, true).await?;
            changed.push(outcome.execution_id.clone());
            ended.insert(outcome.execution_id.clone());
        }
        orders.entry(node).or_default().push(Order::Stored(outcome.execution_id.clone()));
    }
    changed.sort_unstable();
    changed.dedup();
    let rows = table::by_ids(&mut tx, &changed).await?;
    let mut events = Vec::with_capacity(rows.len() * 2);
    for row in &rows {
        if accepted.contains(&row.id) {
            let mut sent = row.clone();
            sent.status = ExecutionStatus::Sent;
            (sent.exit_code, sent.completed_at, sent.cancelled_at) = (None, None, None);
            events.push(event::of_execution(event::EXECUTION_SENT, &sent));
        }
        if ended.contains(&row.id) {
            let kind = match row.status {
                ExecutionStatus::Cancelled => event::EXECUTION_CANCELLED,
                ExecutionStatus::Expired if row.exit_code.is_none() => event::EXECUTION_EXPIRED,
                _ => event::EXECUTION_COMPLETED,
            };
            events.push(event::of_execution(kind, row));
        }
    }
    feed::append(&mut tx, &*app.ids, now, &events).await?;
    tx.wake(Topic::Output);
    tx.commit().await?;

    app.counters.executions_ended.add(ended.len() as u64);
    for (node, report) in batch {
        if !matches!(report, Report::Output { .. }) {
            app.in_flight.remove(node, id_of(report));
        }
    }
    for (node, orders) in orders {
        // An agent that is gone by now hears it when it connects again.
        app.agents().deliver(node, orders);
    }
    if !ended.is_empty() {
        app.rollouts_changed();
    }
    Ok(())
}

fn sort_in<'a>(
    sorted: &mut Sorted<'a>,
    node: &'a NodeId,
    report: &Report,
    status: ExecutionStatus,
    answered: bool,
    orders: &mut HashMap<&'a NodeId, Vec<Order>>,
) {
    match report {
        Report::Accepted(id) => match status {
            ExecutionStatus::Pending => sorted.accepted.push(id.clone()),
            ExecutionStatus::Sent => {}
            // It was cancelled or expired on its way.
            ExecutionStatus::Cancelled | ExecutionStatus::Expired if !answered => {
                orders.entry(node).or_default().push(Order::Cancel(id.clone()));
            }
            ExecutionStatus::Completed | ExecutionStatus::Cancelled | ExecutionStatus::Expired => {
                orders.entry(node).or_default().push(Order::Stored(id.clone()));
            }
        },
        Report::Started(id) => sorted.started.push(id.clone()),
        Report::Output { text, .. } if text.len() > LONGEST_PIECE => {}
        Report::Output { execution_id, offset, text } if !status.is_final() => sorted.chunks.push(Chunk {
            execution_id: execution_id.clone(),
            start: i64::try_from(*offset).unwrap_or(i64::MAX),
            text: text.clone(),
        }),
        Report::Output { .. } => {}
        Report::Outcome(outcome) => sorted.outcomes.push((node, outcome.clone())),
        Report::Refused { execution_id, reason } => {
            sorted.refused.insert(execution_id.clone());
            let outcome = Outcome {
                execution_id: execution_id.clone(),
                expired: false,
                exit_code: Some(EXIT_REFUSED),
                output: format!("the agent could not take this command, it did not run: {reason}\n"),
                completed_at: None,
            };
            sorted.outcomes.push((node, outcome));
        }
    }
}

fn id_of(report: &Report) -> &ExecutionId {
    match report {
        Report::Accepted(id) | Report::Started(id) => id,
        Report::Output { execution_id, .. } | Report::Refused { execution_id, .. } => execution_id,
        Report::Outcome(outcome) => &outcome.execution_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(kib: usize) -> Report {
        Report::Output { execution_id: "e".into(), offset: 0, text: "x".repeat(kib * 1024) }
    }

    #[tokio::test]
    async fn output_that_waits_is_bounded_in_bytes() {
        let (intake, node) = (Intake::new(), NodeId::from("n"));
        for _ in 0..OUTPUT_KIB / 1024 {
            assert!(intake.put(&node, output(1024)).await);
        }
        let mut next = std::pin::pin!(intake.put(&node, output(1)));
        assert!(futures::poll!(next.as_mut()).is_pending(), "64 MiB wait already");
        assert!(intake.put(&node, Report::Started("e".into())).await, "small reports are not held up");
        let mut reader = intake.reader.lock().unwrap().take().unwrap();
        drop(reader.recv().await.unwrap());
        assert!(next.await);
    }
}
