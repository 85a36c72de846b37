//! Dry runs change nothing, can be read, and are applied while the world is as it was.

use reeve_domain::{host, operation, plan, workflow};
use reeve_testkit::db::{TestDb, on_both};
use reeve_types::operation::OperationStatus;
use reeve_types::{ErrorKind, OperationId, PlanId};
use serde_json::{Value, json};

use super::Site;

fn result(operation: &reeve_types::operation::Operation) -> Value {
    serde_json::from_str(operation.result.as_deref().expect("a result")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_a_plan_with_its_price() {
    on_both(|db| async {
        let site = Site::new(db).await;
        let made = site.create(host::Create { check_mode: true, ..site.order("a") }).await.unwrap();
        assert_eq!(made.status, OperationStatus::Pending);
        let done = site.finish(&made.id).await;
        assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
        let content = result(&done);
        assert_eq!(content["summary"], "1 server to create");
        assert_eq!(content["items"][0]["action"], "create");
        assert!(content["items"][0]["price_per_hour"]["amount"].is_string(), "{content}");
        assert_eq!((site.clouds.upcloud.servers(), site.hosts().await.len()), (0, 0));

        let id = PlanId(content["plan_id"].as_str().unwrap().to_owned());
        // Somebody else has begun to, and it is not known yet what comes of it.
        let set = async |by: Option<OperationId>| {
            let mut tx = site.app.store.begin().await.unwrap();
            reeve_store::plan::set_applied(&mut tx, &id, by.as_ref()).await.unwrap();
            tx.commit().await.unwrap();
        };
        set(Some(OperationId(id.0.clone()))).await;
        let meanwhile = plan::apply(&site.app, &site.admin, &id).await.unwrap_err();
        assert_eq!(meanwhile.kind, ErrorKind::Conflict);
        assert!(meanwhile.message.starts_with("the plan is being applied"), "{meanwhile}");
        set(None).await;
        let applied = plan::apply(&site.app, &site.admin, &id).await.unwrap();
        let done = site.finish(&applied.id).await;
        assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
        assert_eq!(site.machines().await.len(), 1);
        let twice = plan::apply(&site.app, &site.admin, &id).await.unwrap_err();
        assert_eq!(twice.kind, ErrorKind::Conflict);
        assert_eq!(plan::get(&site.app, &site.admin, &id).await.unwrap().applied_by, Some(applied.id));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_of_another_world_is_refused() {
    let site = Site::new(TestDb::sqlite().await).await;
    let made = site.create(host::Create { check_mode: true, ..site.order("a") }).await.unwrap();
    let content = result(&site.finish(&made.id).await);
    site.host("b").await;
    let id = PlanId(content["plan_id"].as_str().unwrap().to_owned());
    let error = plan::apply(&site.app, &site.admin, &id).await.unwrap_err();
    assert_eq!((error.kind, error.reason), (ErrorKind::Conflict, "plan_stale"));
    assert_eq!(site.machines().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_cannot_be_applied_can_be_tried_again() {
    let site = Site::new(TestDb::sqlite().await).await;
    let made = site.create(host::Create { check_mode: true, ..site.order("a") }).await.unwrap();
    let content = result(&site.finish(&made.id).await);
    let id = PlanId(content["plan_id"].as_str().unwrap().to_owned());
    // The catalogue was forgotten and the provider is away.
    site.clock.advance_ms(3_600_000);
    site.clouds.upcloud.front.cut_off(true);
    let error = plan::apply(&site.app, &site.admin, &id).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    site.clouds.upcloud.front.cut_off(false);
    plan::apply(&site.app, &site.admin, &id).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn deletions_and_workflows_have_dry_runs_too() {
    let site = Site::new(TestDb::sqlite().await).await;
    let host = site.host("a").await;
    let input = host::Delete { server: host.handle.clone(), check_mode: true, ..host::Delete::default() };
    let made = host::delete(&site.app, &site.admin, input).await.unwrap();
    assert_eq!(result(&site.finish(&made.id).await)["summary"], "1 server to delete");
    assert_eq!(site.machines().await.len(), 1);

    let Value::Object(parameters) =
        json!({"cluster_name": "k8s", "node_count": 3, "taskservs": [], "check_mode": true})
    else {
        unreachable!()
    };
    let submit = workflow::Submit {
        workspace: "w".into(),
        workflow_type: "cluster_create".into(),
        parameters,
        ..Default::default()
    };
    let made = workflow::submit(&site.app, &site.admin, submit).await.unwrap();
    assert!(made.check_mode);
    let content = result(&site.finish(&made.id).await);
    assert_eq!(content["summary"], "3 servers to create", "{content}");
    let id = PlanId(content["plan_id"].as_str().unwrap().to_owned());
    let applied = plan::apply(&site.app, &site.admin, &id).await.unwrap();
    let done = site.finish(&applied.id).await;
    assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
    assert_eq!(site.machines().await.len(), 4);
    let log = operation::log(&site.app, &site.admin, &made.id, 0, 10_000).await.unwrap().text;
    assert!(log.contains("create server k8s-cp-1"), "{log}");
}
