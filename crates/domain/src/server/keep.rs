//! The loops that keep this server a member, its share computed and its letters read.

use std::sync::Arc;
use std::time::Duration;

use reeve_store::Topic;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{letters, share};
use crate::App;

/// Between two computations, so that a thousand enrollments are not a thousand computations.
const SHARE_GAP: Duration = Duration::from_millis(150);
/// Longest time between two looks at the shares; a wake may get lost.
const SHARE_EVERY: Duration = Duration::from_secs(10);

/// Beats until `stop`.
pub async fn beat(app: Arc<App>, stop: CancellationToken) {
    let every = Duration::from_millis(app.beat_ms().unsigned_abs());
    while stop.run_until_cancelled(sleep(every)).await.is_some() {
        if let Err(error) = super::beat(&app).await {
            tracing::error!(%error, source = ?error.source, "a heartbeat of this server did not reach the store");
        }
    }
}

/// Shares out until `stop`.
pub async fn share(app: Arc<App>, stop: CancellationToken) {
    let mut news = app.store.subscribe(Topic::Servers);
    loop {
        news.borrow_and_update();
        if let Err(error) = share::share_out(&app).await {
            tracing::error!(%error, source = ?error.source, "the edge clusters could not be shared out; the next pass tries again");
        }
        let next = async {
            sleep(SHARE_GAP).await;
            tokio::time::timeout(SHARE_EVERY, news.changed()).await
        };
        if stop.run_until_cancelled(next).await.is_none() {
            return;
        }
    }
}

/// Reads letters until `stop`.
pub async fn read(app: Arc<App>, stop: CancellationToken) {
    let mut mail = app.store.mailbox(&app.server_id);
    loop {
        mail.borrow_and_update();
        if let Err(error) = letters::read(&app).await {
            tracing::error!(%error, source = ?error.source, "letters of other servers could not be read; the next pass tries again");
        }
        let next = tokio::time::timeout(Duration::from_secs(5), mail.changed());
        if stop.run_until_cancelled(next).await.is_none() {
            return;
        }
    }
}
