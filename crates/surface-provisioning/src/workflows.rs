//! Workflows.

use std::sync::Arc;

use reeve_domain::{App, operation, workflow};
use reeve_http_kit::{Call, Reply};
use reeve_types::Result;

use crate::dto::operation::{Query, View as OperationView};
use crate::dto::workflow::{Step, Submit, View};
use crate::ids;

/// GET /v1/workflows
pub async fn list(app: Arc<App>, call: Call) -> Result<Reply> {
    let query: Query = call.query()?;
    let workflows = workflow::list(&app, &call.actor, query.filter()?).await?;
    Reply::ok(&workflows.into_iter().map(View::from).collect::<Vec<_>>())
}

/// POST /v1/workflows/submit
pub async fn submit(app: Arc<App>, mut call: Call) -> Result<Reply> {
    let body: Submit = call.body()?;
    let input = workflow::Submit {
        workspace: body.workspace,
        workflow_type: body.workflow_type,
        parameters: body.parameters,
        check_mode: body.check_mode,
        preserve_on_failure: body.preserve_on_failure,
    };
    Reply::ok(&OperationView::from(workflow::submit(&app, &call.actor, input).await?))
}

/// GET /v1/workflows/{id}
pub async fn get(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&View::from(workflow::get(&app, &call.actor, &ids::operation(&call)).await?))
}

/// POST /v1/workflows/{id}/cancel
pub async fn cancel(app: Arc<App>, call: Call) -> Result<Reply> {
    Reply::ok(&OperationView::from(operation::cancel_workflow(&app, &call.actor, &ids::operation(&call)).await?))
}

/// GET /v1/workflows/{id}/steps
pub async fn steps(app: Arc<App>, call: Call) -> Result<Reply> {
    let (_, steps) = workflow::steps(&app, &call.actor, &ids::operation(&call)).await?;
    Reply::ok(&steps.into_iter().map(Step::from).collect::<Vec<_>>())
}
