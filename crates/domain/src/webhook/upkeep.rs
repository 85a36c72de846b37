//! Keeping webhooks in bounds: what waits too long, what waits in too great a number, what is logged for too long.

use reeve_store::{webhook as table, webhook_delivery as log};
use reeve_types::Result;
use reeve_types::webhook::WebhookState;

use super::{record, rules};
use crate::App;

/// Rows in one transaction.
const BATCH: i64 = 5_000;

/// Counts what waits, disables webhooks with too much of it, and gives up what waits too long.
///
/// # Errors
/// As the store.
pub async fn tidy(app: &App) -> Result<()> {
    let found = table::backlogs(&mut app.store.read().await?).await?;
    let limits = &app.config.webhooks;
    for (id, state, noted, waiting) in found {
        let now = app.now();
        if noted != waiting {
            let mut tx = app.store.begin().await?;
            table::set_backlog(&mut tx, &id, waiting).await?;
            if waiting >= limits.max_backlog && state != WebhookState::Disabled {
                let reason = format!("{waiting} deliveries wait, and {} is the limit", limits.max_backlog);
                record::disable(app, &mut tx, &id, &reason, now).await?;
            }
            tx.commit().await?;
        }
        // Those of an active webhook are given up when their turn comes.
        if let Some(age) = limits.max_age
            && waiting > 0
            && state != WebhookState::Active
        {
            let before = now.plus_ms(-(age.as_millis() as i64));
            loop {
                let mut tx = app.store.begin().await?;
                let dropped = log::drop_old(&mut tx, &id, before, now, BATCH).await?;
                tx.commit().await?;
                if dropped < BATCH as u64 {
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Drops ended deliveries from the log that are older than configured.
///
/// # Errors
/// As the store.
pub async fn prune(app: &App) -> Result<()> {
    let keep_ms = app.config.webhooks.log_retention.as_millis() as i64;
    let before = rules::first_id(app.now().plus_ms(-keep_ms));
    loop {
        let mut tx = app.store.begin().await?;
        let dropped = log::prune(&mut tx, &before, BATCH).await?;
        tx.commit().await?;
        if dropped < BATCH as u64 {
            return Ok(());
        }
    }
}
