//! The sealing key: how it stands, and its rotation.

use std::sync::Arc;

use reeve_domain::App;
use reeve_domain::seal::rotation::{self, Status};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;
use serde::Serialize;

use crate::dto::job::View;

#[derive(Serialize)]
struct SealView {
    keys: Vec<KeyView>,
    others: i64,
    rotation: Option<View>,
}

#[derive(Serialize)]
struct KeyView {
    id: String,
    newest: bool,
    sealed: i64,
}

impl From<Status> for SealView {
    fn from(status: Status) -> Self {
        let key = |(index, (id, sealed))| KeyView { id, newest: index == 0, sealed };
        Self {
            keys: status.keys.into_iter().enumerate().map(key).collect(),
            others: status.others,
            rotation: status.rotation.map(View::from),
        }
    }
}

/// GET /api/seal
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&SealView::from(rotation::status(&app, &call.actor).await?))
}

/// POST /api/seal/rotations
pub async fn rotate(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::accepted(&View::from(rotation::start(&app, &call.actor).await?))
}
