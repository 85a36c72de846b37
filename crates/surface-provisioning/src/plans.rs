//! Stored plans.

use std::sync::Arc;

use reeve_domain::{App, plan};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::operation;
use crate::dto::plan::{Query, View};
use crate::ids;

/// GET /v1/plans
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let mut views: Vec<View> = plan::list(&app, &call.actor).await?.into_iter().map(View::from).collect();
    if let Some(workspace) = query.workspace {
        views.retain(|view| view.workspace == workspace);
    }
    Reply::ok(&views)
}

/// GET /v1/plans/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(plan::get(&app, &call.actor, &ids::plan(&call)).await?))
}

/// POST /v1/plans/{id}/apply
pub async fn apply(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&operation::View::from(plan::apply(&app, &call.actor, &ids::plan(&call)).await?))
}
