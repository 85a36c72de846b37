//! Answers that change seldom, such as a catalogue, fetched once for many orders.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use reeve_ports::CloudError;
use reeve_types::Timestamp;
use tokio::sync::Mutex;

/// How long a catalogue is believed (ms).
pub const CATALOGUE_MS: i64 = 600_000;

/// One remembered answer. Two hundred orders at once make one call: the others wait for it.
pub struct Remembered<T>(Mutex<Option<(Timestamp, Arc<T>)>>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Remembered<T> {
    /// What is remembered, else what `fetch` brings. A failure is not remembered.
    pub async fn get(
        &self,
        now: Timestamp,
        fetch: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<Arc<T>, CloudError> {
        let mut held = self.0.lock().await;
        if let Some((at, value)) = held.as_ref()
            && (0..CATALOGUE_MS).contains(&now.ms_since(*at))
        {
            return Ok(value.clone());
        }
        let value = Arc::new(fetch.await?);
        *held = Some((now, value.clone()));
        Ok(value)
    }
}

/// Keys of one memory; beyond this it starts over.
const MOST: usize = 500;

/// Remembered answers by what was asked for.
pub struct RememberedBy<T>(Mutex<BTreeMap<String, Arc<Remembered<T>>>>);

impl<T> Default for RememberedBy<T> {
    fn default() -> Self {
        Self(Mutex::new(BTreeMap::new()))
    }
}

impl<T> RememberedBy<T> {
    /// As [`Remembered::get`], for one `key`.
    pub async fn get(
        &self,
        key: &str,
        now: Timestamp,
        fetch: impl Future<Output = Result<T, CloudError>>,
    ) -> Result<Arc<T>, CloudError> {
        let one = {
            let mut all = self.0.lock().await;
            if all.len() >= MOST && !all.contains_key(key) {
                all.clear();
            }
            all.entry(key.to_owned()).or_default().clone()
        };
        one.get(now, fetch).await
    }
}
