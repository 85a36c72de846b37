//! What several kinds need to know of the server, read once.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::api::{Api, EDGE};
use crate::failure::Outcome;

/// What was read so far.
#[derive(Default)]
pub struct Fleet {
    nodes: Option<BTreeMap<String, Value>>,
}

impl Fleet {
    /// Every node, by id.
    pub async fn nodes(&mut self, api: &Api) -> Outcome<&BTreeMap<String, Value>> {
        if self.nodes.is_none() {
            let order = vec![("order_by", "inserted_at".to_owned()), ("order_directions", "asc".to_owned())];
            let rows = api.list(&format!("{EDGE}/nodes"), &order, 0).await?.rows;
            let by_id = rows.into_iter().filter_map(|row| Some((row.get("id")?.as_str()?.to_owned(), row)));
            self.nodes = Some(by_id.collect());
        }
        Ok(self.nodes.get_or_insert_default())
    }
}
