//! What nodes measure: pushed now and then, coalesced in memory and written in batches; or asked for, live.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use reeve_ports::{Answer, Question, Unreached};
use reeve_store::node_metrics as table;
use reeve_types::node::{Node, NodeFilter};
use reeve_types::node_metrics::{Reading, Sample};
use reeve_types::{Actor, Error, NodeId, Page, Paged, Permission, Result, Sort, Timestamp};

use crate::server::questions;
use crate::{App, authz};

/// A sample that is older than this counts as none.
pub const FRESH: Duration = Duration::from_secs(300);
/// In a live list, samples younger than this are not asked for again.
const YOUNG: Duration = Duration::from_secs(2);
/// In a live list, nobody is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(2);
/// Samples written in one transaction.
const BATCH: usize = 5_000;

/// The newest samples that are not written yet. One per node at the most.
#[derive(Debug, Default)]
pub struct Samples {
    waiting: Mutex<Waiting>,
    /// Held while samples are written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Waiting {
    noted: u64,
    by_node: HashMap<NodeId, (u64, Timestamp, Sample)>,
}

impl Samples {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, id: &NodeId, at: Timestamp, sample: Sample) {
        let mut waiting = self.lock();
        waiting.noted += 1;
        let number = waiting.noted;
        waiting.by_node.insert(id.clone(), (number, at, sample));
    }

    fn get(&self, id: &NodeId) -> Option<(Timestamp, Sample)> {
        self.lock().by_node.get(id).map(|(_, at, sample)| (*at, sample.clone()))
    }

    /// Some that wait, with their numbers. They stay visible until they are [`written`](Self::written).
    fn batch(&self, until: u64) -> (Vec<u64>, Vec<(NodeId, Timestamp, Sample)>) {
        let waiting = self.lock();
        let due = waiting.by_node.iter().filter(|(_, (number, _, _))| *number <= until).take(BATCH);
        due.map(|(id, (number, at, sample))| (*number, (id.clone(), *at, sample.clone()))).unzip()
    }

    /// Forgets what was written, unless something newer came meanwhile.
    fn written(&self, numbers: &[u64], batch: &[(NodeId, Timestamp, Sample)]) {
        let mut waiting = self.lock();
        for (number, (id, _, _)) in numbers.iter().zip(batch) {
            if waiting.by_node.get(id).is_some_and(|(newest, _, _)| newest == number) {
                waiting.by_node.remove(id);
            }
        }
    }

    pub(crate) fn forget(&self, id: &NodeId) {
        self.lock().by_node.remove(id);
    }
}

/// A node as a list of metrics shows it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The node.
    pub node: Node,
    /// When the sample arrived.
    pub taken_at: Timestamp,
    /// What was measured.
    pub sample: Sample,
}

/// Where a node's metrics can be scraped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub node_id: NodeId,
    /// Its cluster's name.
    pub cluster_name: String,
}

/// Takes in a sample that a node pushed. Never waits; the store hears of it within seconds.
pub fn note(app: &App, id: &NodeId, sample: Sample) {
    app.counters.samples.add(1);
    app.samples.put(id, app.now(), sample);
}

/// Writes the samples since the last call. Called by its reconciler.
///
/// # Errors
/// As the store; what was not written is tried again with the next call.
pub async fn flush(app: &App) -> Result<()> {
    let _alone = app.samples.writing.lock().await;
    let until = app.samples.lock().noted;
    loop {
        let (numbers, batch) = app.samples.batch(until);
        if batch.is_empty() {
            return Ok(());
        }
        write(app, &batch).await?;
        app.samples.written(&numbers, &batch);
    }
}

async fn write(app: &App, batch: &[(NodeId, Timestamp, Sample)]) -> Result<()> {
    let mut tx = app.store.begin().await?;
    table::put(&mut tx, batch).await?;
    tx.commit().await
}

/// What a node measures: asked for live, else the last sample it pushed unless that is older than [`FRESH`].
///
/// # Errors
/// NotFound; Unavailable when the node does not answer and has pushed nothing lately, saying why.
pub async fn read(app: &App, actor: &Actor, id: &NodeId) -> Result<Reading> {
    match find(app, actor, id).await? {
        (_, Ok(reading)) => Ok(reading),
        (_, Err(why)) => Err(Error::unavailable(format!("{why}, and it has sent no metrics in the last 5 minutes"))),
    }
}

/// As [`read`], for answers that can do without: the node's cluster, and None instead of Unavailable.
///
/// # Errors
/// NotFound.
pub async fn read_if_any(app: &App, actor: &Actor, id: &NodeId) -> Result<(String, Option<Reading>)> {
    let (cluster_name, reading) = find(app, actor, id).await?;
    Ok((cluster_name, reading.ok()))
}

async fn find(app: &App, actor: &Actor, id: &NodeId) -> Result<(String, Result<Reading, Unreached>)> {
    authz::require(actor, Permission::MetricsRead)?;
    let mut tx = app.store.read().await?;
    let found = table::of_node(&mut tx, id).await?.ok_or_else(|| Error::not_found("node"))?;
    drop(tx);
    let (cluster_name, stored) = found;
    let reading = |taken_at, sample| {
        let (node_id, cluster_name) = (id.clone(), cluster_name.clone());
        Ok(Reading { node_id, cluster_name, taken_at, sample })
    };
    let why = match ask(app, id, app.config.scrape_timeout).await {
        Ok((taken_at, sample)) => return Ok((cluster_name.clone(), reading(taken_at, sample))),
        Err(why) => why,
    };
    let oldest = app.now().plus_ms(-(FRESH.as_millis() as i64));
    let pushed = app.samples.get(id).or_else(|| stored.map(|stored| (stored.taken_at, stored.sample)));
    let last = match pushed.filter(|(taken_at, _)| *taken_at >= oldest) {
        Some((taken_at, sample)) => reading(taken_at, sample),
        None => Err(why),
    };
    Ok((cluster_name, last))
}

/// Asks a node for a fresh sample, and remembers it for others.
async fn ask(app: &App, id: &NodeId, deadline: Duration) -> Result<(Timestamp, Sample), Unreached> {
    app.counters.questions.add(1);
    match questions::ask(app, id, Question::Sample, deadline).await {
        Ok(Answer::Sample(sample)) => {
            let now = app.now();
            app.samples.put(id, now, (*sample).clone());
            Ok((now, *sample))
        }
        Err(why) => {
            app.counters.questions_unanswered.add(1);
            Err(why)
        }
    }
}

/// A page of the fleet's newest samples, none older than [`FRESH`]. With `live` the connected nodes on it are asked for
/// fresh ones first; the order stays that of the samples before.
///
/// # Errors
/// As the store.
pub async fn list(
    app: &App,
    actor: &Actor,
    filter: &NodeFilter,
    sorts: &[Sort],
    page: Page,
    live: bool,
) -> Result<Paged<Measured>> {
    authz::require(actor, Permission::MetricsRead)?;
    let now = app.now();
    let mut tx = app.store.read().await?;
    let found = table::list(&mut tx, filter, now.plus_ms(-(FRESH.as_millis() as i64)), sorts, page).await?;
    drop(tx);
    let newest = found.map(|(node, taken_at, sample)| match app.samples.get(&node.id) {
        Some((newer, sample)) if newer > taken_at => Measured { node, taken_at: newer, sample },
        _ => Measured { node, taken_at, sample },
    });
    if !live {
        return Ok(newest);
    }
    let Paged { items, total, page } = newest;
    let young = now.plus_ms(-(YOUNG.as_millis() as i64));
    let refreshed = items.into_iter().map(async |mut row| {
        if row.taken_at < young
            && let Ok((taken_at, sample)) = ask(app, &row.node.id, PATIENCE).await
        {
            (row.taken_at, row.sample) = (taken_at, sample);
        }
        row
    });
    Ok(Paged { items: join_all(refreshed).await, total, page })
}

/// The nodes in touch, in order of their ids from after `after` on.
///
/// # Errors
/// As the store.
pub async fn targets(app: &App, actor: &Actor, after: &str, most: i64) -> Result<Vec<Target>> {
    authz::require(actor, Permission::MetricsRead)?;
    let mut tx = app.store.read().await?;
    let rows = table::targets_after(&mut tx, after, most).await?;
    Ok(rows.into_iter().map(|(node_id, cluster_name)| Target { node_id, cluster_name }).collect())
}
