//! Credentials of workspaces for providers.

use std::collections::BTreeMap;
use std::sync::Arc;

use reeve_domain::{App, credential};
use reeve_http_kit::{Call, Reply};
use reeve_types::{Result, Secret};

use crate::dto::credential::{Deleted, View};

/// GET /v1/workspaces/{name}/credentials
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let found = credential::list(&app, &call.actor, call.param("name")).await?;
    Reply::ok(&found.into_iter().map(View::from).collect::<Vec<_>>())
}

/// PUT /v1/workspaces/{name}/credentials/{provider}
pub async fn put(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let fields: BTreeMap<String, Secret> = call.body()?;
    let view = credential::put(&app, &call.actor, call.param("name"), call.param("provider"), fields).await?;
    Reply::ok(&View::from(view))
}

/// DELETE /v1/workspaces/{name}/credentials/{provider}
pub async fn delete(app: Arc<App>, call: Call) -> Result<Reply> {
    credential::delete(&app, &call.actor, call.param("name"), call.param("provider")).await?;
    Reply::ok(&Deleted { deleted: true })
}
