//! Letters between servers: what is to be done at the one that holds an agent's connection, and is not found in the rows
//! there. Left in the transaction that it follows from, read within milliseconds, worthless after a minute.

use std::collections::BTreeMap;
use std::sync::Arc;

use reeve_ports::Order;
use reeve_store::letter::{self as table, Letter};
use reeve_store::{Tx, node};
use reeve_types::{Error, ExecutionId, NodeId, Result, ServerId};
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::questions;
use crate::App;

/// A letter is worthless after this long: by then the agent has connected anew, and was told everything.
const LIFE_MS: i64 = 60_000;
/// Letters read in one transaction.
const BATCH: i64 = 256;
/// Errands in one letter.
const ERRANDS: usize = 500;
const ERRAND: &str = "errands";

/// Something to be done at an agent's connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Errand {
    /// Stop this.
    Cancel(ExecutionId),
    /// Forget this.
    Forget(ExecutionId),
    /// Close the connection.
    Disconnect(String),
}

/// Leaves errands for agents that are connected to other servers; the caller does those of its own after the commit.
pub(crate) async fn send_errands(app: &App, tx: &mut Tx, errands: &[(NodeId, Errand)]) -> Result<()> {
    if !app.store.is_shared() {
        return Ok(());
    }
    let elsewhere: Vec<NodeId> = errands
        .iter()
        .map(|(node, _)| node)
        .filter(|node| !app.agents().is_connected(node))
        .cloned()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let holders: BTreeMap<NodeId, ServerId> = node::holders(tx, &elsewhere).await?.into_iter().collect();
    let mut by_server: BTreeMap<&ServerId, Vec<&(NodeId, Errand)>> = BTreeMap::new();
    for errand in errands {
        if let Some(server) = holders.get(&errand.0).filter(|server| **server != app.server_id) {
            by_server.entry(server).or_default().push(errand);
        }
    }
    let mut letters = Vec::new();
    for (server, errands) in by_server {
        for chunk in errands.chunks(ERRANDS) {
            let body = serde_json::to_string(chunk).map_err(Error::internal)?;
            letters.push(letter(app, server, ERRAND, body, LIFE_MS));
        }
    }
    if letters.is_empty() { Ok(()) } else { table::send(tx, &letters, app.now()).await }
}

fn letter(app: &App, to: &ServerId, kind: &str, body: String, life_ms: i64) -> Letter {
    Letter { to: to.clone(), from: app.server_id.clone(), kind: kind.to_owned(), body, life_ms }
}

/// Reads what waits for this server and does it. Called by its loop.
///
/// # Errors
/// As the store.
pub async fn read(app: &Arc<App>) -> Result<()> {
    loop {
        let mut tx = app.store.read().await?;
        if !table::any(&mut tx, &app.server_id).await? {
            return Ok(());
        }
        drop(tx);
        let mut tx = app.store.begin().await?;
        let letters = table::take(&mut tx, &app.server_id, BATCH, app.now()).await?;
        tx.commit().await?;
        for letter in letters {
            open(app, letter);
        }
    }
}

fn open(app: &Arc<App>, letter: Letter) {
    match letter.kind.as_str() {
        ERRAND => match serde_json::from_str::<Vec<(NodeId, Errand)>>(&letter.body) {
            Ok(errands) => errands.into_iter().for_each(|(node, errand)| run(app, &node, errand)),
            Err(error) => unreadable(&letter, &error),
        },
        questions::QUESTION => questions::asked(app, letter),
        questions::ANSWER => questions::answered(app, &letter),
        // From a newer server, while versions are mixed.
        kind => tracing::warn!(kind, from = %letter.from, "a letter of an unknown kind was not understood"),
    }
}

pub(super) fn unreadable(letter: &Letter, error: &serde_json::Error) {
    tracing::error!(kind = letter.kind, from = %letter.from, %error, "a letter of another server cannot be read");
}

/// Puts letters that stand alone into the store, many in one transaction, until `stop`. What cannot be sent is dropped:
/// who asked here is told at once, who waits for an answer elsewhere gives up at the deadline.
pub async fn post(app: Arc<App>, stop: CancellationToken) {
    let Some(mut waiting) = app.membership.desk.take_out_tray() else { return };
    let mut batch = Vec::new();
    while stop.run_until_cancelled(waiting.recv_many(&mut batch, BATCH as usize)).await.is_some_and(|n| n > 0) {
        let sent = async {
            let mut tx = app.store.begin().await?;
            table::send(&mut tx, &batch, app.now()).await?;
            tx.commit().await
        };
        if let Err(error) = sent.await {
            tracing::warn!(%error, letters = batch.len(), "letters to other servers could not be sent");
            batch.iter().filter(|letter| letter.kind == questions::QUESTION).for_each(|l| questions::unsent(&app, l));
        }
        batch.clear();
    }
}

/// Queues a letter that stands alone. False when too many wait.
pub(super) fn queue(app: &App, to: &ServerId, kind: &str, body: String, life_ms: i64) -> bool {
    app.membership.desk.put_out(letter(app, to, kind, body, life_ms))
}

/// Does one errand at an agent that is connected here; at others it is void.
fn run(app: &App, node: &NodeId, errand: Errand) {
    match errand {
        Errand::Cancel(execution) => {
            app.agents().deliver(node, vec![Order::Cancel(execution)]);
        }
        Errand::Forget(execution) => {
            app.agents().deliver(node, vec![Order::Forget(execution)]);
        }
        Errand::Disconnect(reason) => {
            app.agents().disconnect(node, &reason);
            app.presence.forget(node);
            app.in_flight.forget(node);
        }
    }
}
