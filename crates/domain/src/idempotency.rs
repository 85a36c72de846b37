//! `Idempotency-Key`.
use reeve_store::Tx;
use reeve_types::{Actor, Result};
use crate::App;
/// Takes the key.
///
/// # Errors
/// Conflict.
pub async fn take(_app: &App, _tx: &mut Tx, _actor: &Actor) -> Result<()> { Ok(()) }
