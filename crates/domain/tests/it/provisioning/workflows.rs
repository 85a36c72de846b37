//! Workflows: graphs that run, fail, are undone, crash at every moment, and are tried again.

use reeve_domain::{operation, workflow};
use reeve_jobs::fault::Accident;
use reeve_testkit::db::{TestDb, on_both};
use reeve_types::operation::{Operation, OperationKind, OperationStatus};
use reeve_types::{Error, ErrorKind, Result};
use serde_json::{Value, json};

use super::{Site, nth};

async fn submit(site: &Site, kind: &str, parameters: Value) -> Result<Operation> {
    let Value::Object(parameters) = parameters else { panic!("an object") };
    let input =
        workflow::Submit { workspace: "w".into(), workflow_type: kind.into(), parameters, ..Default::default() };
    workflow::submit(&site.app, &site.admin, input).await
}

fn cluster(nodes: u32) -> Value {
    json!({"cluster_name": "k8s", "node_count": nodes, "taskservs": []})
}

async fn nothing_is_left(site: &Site, case: &str) {
    assert_eq!(site.machines().await, [], "{case}");
    assert_eq!((site.clouds.upcloud.servers(), site.clouds.upcloud.disks()), (0, 0), "{case}");
    assert_eq!((site.hosts().await.len(), site.stale_locks().await), (0, 0), "{case}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_made_and_deleted() {
    on_both(|db| async {
        let site = Site::new(db).await;
        let made = submit(&site, "cluster_create", cluster(3)).await.unwrap();
        assert!(made.is_workflow && made.kind == OperationKind::ClusterCreate);
        let again = submit(&site, "cluster_create", cluster(3)).await.unwrap_err();
        assert_eq!((again.kind, again.reason), (ErrorKind::Conflict, "busy"));
        let done = site.finish(&made.id).await;
        assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
        let result: Value = serde_json::from_str(done.result.as_deref().unwrap()).unwrap();
        assert_eq!((result["servers"].as_array().unwrap().len(), &result["cluster_name"]), (3, &json!("k8s")));
        let names: Vec<String> = site.machines().await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["k8s-cp-1", "k8s-node-1", "k8s-node-2"]);
        assert_eq!(site.stale_locks().await, 0);
        let (detail, steps) = workflow::steps(&site.app, &site.admin, &made.id).await.unwrap();
        assert_eq!((detail.progress(), steps.len(), steps[0].tries), ((3, 3), 3, 1));

        let made = submit(&site, "cluster_delete", json!({"cluster_name": "k8s"})).await.unwrap();
        let done = site.finish(&made.id).await;
        assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
        nothing_is_left(&site, "deleted").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_half_way_is_undone_or_kept() {
    for keep in [false, true] {
        let site = Site::new(TestDb::sqlite().await).await;
        site.clouds.upcloud.switch(|s| s.server_limit = 2);
        let mut parameters = cluster(3);
        parameters["preserve_on_failure"] = json!(keep);
        let made = submit(&site, "cluster_create", parameters).await.unwrap();
        let failed = site.finish(&made.id).await;
        assert_eq!(failed.status, OperationStatus::Failed);
        let why = failed.error.unwrap();
        assert!(why.starts_with("operations: server/k8s-"), "{why}");
        if !keep {
            nothing_is_left(&site, "undone").await;
            continue;
        }
        let kept = site.machines().await.len();
        assert_eq!((kept, site.hosts().await.len()), (2, 2));
        // Tried again, it goes on where it failed.
        site.clouds.upcloud.switch(|s| s.server_limit = 10);
        let ordered = site.clouds.upcloud.front.calls("POST /1.3/server ");
        let again = operation::retry(&site.app, &site.admin, &made.id).await.unwrap();
        let done = site.finish(&again.id).await;
        assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
        assert_eq!(site.machines().await.len(), 3);
        assert_eq!(site.clouds.upcloud.front.calls("POST /1.3/server ") - ordered, 3 - kept);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_at_any_moment_makes_no_orphan_and_no_double() {
    let mut n = 0;
    loop {
        n += 1;
        let site = Site::new(TestDb::sqlite().await).await;
        let made = submit(&site, "cluster_create", cluster(2)).await.unwrap();
        let (meet, met) = nth(n, || Accident::Crash);
        let done = site.finish_with(&made.id, Some(meet)).await;
        assert_eq!(done.status, OperationStatus::Completed, "moment {n}: {:?}", done.error);
        let names: Vec<String> = site.machines().await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["k8s-cp-1", "k8s-node-1"], "moment {n}");
        assert_eq!((site.clouds.upcloud.disks(), site.hosts().await.len()), (2, 2), "moment {n}");
        assert_eq!(site.stale_locks().await, 0, "moment {n}");
        if *met.lock().unwrap() < n {
            break;
        }
    }
    assert!(n > 30, "only {n} moments");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_moment_leaves_nothing() {
    let mut n = 0;
    loop {
        n += 1;
        let site = Site::new(TestDb::sqlite().await).await;
        let made = submit(&site, "cluster_create", cluster(2)).await.unwrap();
        let (meet, met) = nth(n, || Accident::Fail(Error::conflict("planned")));
        let done = site.finish_with(&made.id, Some(meet)).await;
        if *met.lock().unwrap() < n {
            break;
        }
        match done.status {
            OperationStatus::Failed => nothing_is_left(&site, &format!("moment {n}: {:?}", done.error)).await,
            // After a step is recorded a failure has no effect.
            OperationStatus::Completed => assert_eq!(site.machines().await.len(), 2, "moment {n}"),
            other => panic!("moment {n}: {other:?}"),
        }
    }
    assert!(n > 30, "only {n} moments");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_workflow_takes_everything_back() {
    on_both(|db| async {
        let site = Site::new(db).await;
        let made = submit(&site, "cluster_create", cluster(3)).await.unwrap();
        site.work(None).await;
        assert_eq!(site.clouds.upcloud.servers(), 3);
        let cancelled = operation::cancel_workflow(&site.app, &site.admin, &made.id).await.unwrap();
        assert_eq!(cancelled.status, OperationStatus::Cancelled);
        let ended = site.finish(&made.id).await;
        assert_eq!((ended.status, ended.error), (OperationStatus::Cancelled, None));
        nothing_is_left(&site, "cancelled").await;
        let host = site.create(site.order("a")).await.unwrap();
        let error = operation::cancel_workflow(&site.app, &site.admin, &host.id).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::NotFound, "a plain operation is no workflow");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_goes_along_its_graph() {
    let site = Site::new(TestDb::sqlite().await).await;
    let batch = json!({
        "parallel_limit": 2,
        "operations": [
            {"id": "edge", "type": "server_batch", "items": [{"hostname": "e1"}, {"hostname": "e2"}, {"hostname": "e3"}]},
            {"id": "core", "type": "server_create", "parameters": {"hostname": "c1"}, "depends_on": ["edge"]},
        ],
    });
    site.clouds.stand_still(true);
    let made = submit(&site, "batch", batch).await.unwrap();
    site.work(None).await;
    assert_eq!(site.clouds.upcloud.servers(), 2);
    site.clouds.stand_still(false);
    let done = site.finish(&made.id).await;
    assert_eq!(done.status, OperationStatus::Completed, "{:?}", done.error);
    let (_, steps) = workflow::steps(&site.app, &site.admin, &made.id).await.unwrap();
    let core = steps.iter().find(|step| step.node == "core").unwrap();
    assert_eq!(core.needs, ["edge-1", "edge-2", "edge-3"]);
    let begun = core.operation.as_ref().unwrap().inserted_at;
    assert!(
        steps.iter().filter(|s| s.node != "core").all(|s| s.operation.as_ref().unwrap().finished_at.unwrap() <= begun)
    );
    assert_eq!(site.machines().await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_does_as_it_was_told() {
    let part = |id: &str, plan: &str, more: Value| {
        let mut part = json!({"id": id, "type": "server_create", "parameters": {"hostname": id, "plan": plan}});
        part.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        part
    };
    for (on_failure, status, left) in [
        ("rollback", OperationStatus::Failed, vec![]),
        ("fail", OperationStatus::Failed, vec!["a"]),
        ("continue", OperationStatus::Completed, vec!["a", "d"]),
    ] {
        let site = Site::new(TestDb::sqlite().await).await;
        site.clouds.upcloud.front.trouble(
            "\"hostname\":\"b\"",
            100,
            reeve_simulators::Trouble::Answer {
                status: 402,
                body: r#"{"error":{"error_code":"INSUFFICIENT_CREDITS","error_message":"no"}}"#.into(),
                headers: vec![],
            },
        );
        let plan = "1xCPU-1GB";
        let batch = json!({"operations": [
            part("a", plan, json!({})),
            part("b", plan, json!({"depends_on": ["a"], "on_failure": on_failure, "retry": {"attempts": 2, "first_delay_secs": 1}})),
            part("c", plan, json!({"depends_on": ["b"]})),
            part("d", plan, json!({"depends_on": [{"id": "b", "kind": "soft"}]})),
        ]});
        let made = submit(&site, "batch", batch).await.unwrap();
        let ended = site.finish(&made.id).await;
        assert_eq!(ended.status, status, "{on_failure}: {:?}", ended.error);
        let names: Vec<String> = site.machines().await.into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, left, "{on_failure}");
        let (_, steps) = workflow::steps(&site.app, &site.admin, &made.id).await.unwrap();
        let tries = steps.iter().find(|step| step.node == "b").unwrap().tries;
        assert_eq!(tries, 2, "{on_failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_workflow_switches_no_server_of_another_workspace() {
    let site = Site::new(TestDb::sqlite().await).await;
    let host = site.host("a").await;
    site.workspace("other", Default::default()).await.unwrap();
    let batch = json!({"operations": [{"id": "off", "type": "server_stop", "parameters": {"server_id": host.handle}}]});
    let Value::Object(parameters) = batch else { unreachable!() };
    let input = workflow::Submit {
        workspace: "other".into(),
        workflow_type: "batch".into(),
        parameters: parameters.clone(),
        ..Default::default()
    };
    let made = workflow::submit(&site.app, &site.admin, input).await.unwrap();
    let done = site.finish(&made.id).await;
    assert_eq!(done.status, OperationStatus::Failed);
    assert!(done.error.as_deref().unwrap().contains("server not found"), "{:?}", done.error);
    let made = submit(&site, "batch", Value::Object(parameters)).await.unwrap();
    assert_eq!(site.finish(&made.id).await.status, OperationStatus::Completed);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_grow_beyond_measure_is_refused_before_it_does() {
    let site = Site::new(TestDb::sqlite().await).await;
    let large = "x".repeat(100_000);
    let part = |id: &str, items: usize, parameters: Value, needs: Vec<&str>| {
        let items = vec![json!({}); items];
        json!({"id": id, "type": "server_create", "parameters": parameters, "items": items, "depends_on": needs})
    };
    let host = || json!({"hostname": "a"});
    for (parameters, field, says) in [
        (json!({"operations": [part("a", 100_000, host(), vec![])]}), "parameters/operations", "1 to 1000; there are"),
        (
            json!({"operations": [part("a", 900, json!({"hostname": large}), vec![])]}),
            "parameters/operations",
            "at most 4194304 fit",
        ),
        (
            json!({"operations": [part("a", 500, host(), vec![]), part("b", 500, host(), vec!["a"; 100_000])]}),
            "parameters/operations/1/depends_on",
            "more than 100000",
        ),
        (json!({"operations": [part(&large, 900, host(), vec![])]}), "parameters/operations/0/id", "1 to 100"),
    ] {
        let error = submit(&site, "batch", parameters).await.unwrap_err();
        let said = error.details.get(field).unwrap_or_else(|| panic!("{error}")).join(" ");
        assert!(said.contains(says), "{said}");
    }
    let mut wide = json!({"cluster_name": "k", "node_count": 200, "tags": [large]});
    let error = submit(&site, "cluster_create", wide.clone()).await.unwrap_err();
    assert!(error.details["parameters"][0].contains("at most 4194304 fit"), "{error}");
    (wide["tags"], wide["taskservs"]) = (json!([]), json!(vec!["redis"; 100_000]));
    let error = submit(&site, "cluster_create", wide).await.unwrap_err();
    assert!(error.details["parameters/taskservs"][0].contains("at most 100"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_workflow_is_refused_at_the_door() {
    let site = Site::new(TestDb::sqlite().await).await;
    let one = |id: &str, needs: &[&str]| json!({"id": id, "type": "server_create", "parameters": {"hostname": id}, "depends_on": needs});
    for (kind, parameters, field, says) in [
        ("teleport", json!({}), "workflow_type", "cluster_create"),
        ("cluster_create", json!({"node_count": 3}), "parameters", "cluster_name"),
        ("cluster_create", json!({"cluster_name": "k", "node_count": 0}), "parameters/node_count", "1 to 200"),
        ("cluster_create", json!({"cluster_name": "k", "node_count": "3"}), "parameters/node_count", "a whole number"),
        // Not a dry run by mistake.
        (
            "cluster_create",
            json!({"cluster_name": "k", "node_count": 1, "check_mode": "true"}),
            "parameters/check_mode",
            "true or false",
        ),
        (
            "batch",
            json!({"operations": [{"id": "a", "type": "server_create", "parameters": {"hostname": "a", "check_mode": true}}]}),
            "parameters/operations/0/parameters/check_mode",
            "whole workflow",
        ),
        (
            "cluster_create",
            json!({"cluster_name": "k", "node_count": 1, "taskservs": ["os", "os"]}),
            "parameters/taskservs/1",
            "`os` stands there twice",
        ),
        (
            "batch",
            json!({"operations": [{"id": "a", "type": "server_create", "retry": {"attempts": "x"}}]}),
            "parameters/operations/0/retry/attempts",
            "a whole number",
        ),
        ("server_create", json!({"hostname": "a", "tags": "x"}), "parameters/tags", "a list"),
        ("cluster_create", json!({"cluster_name": "K_8", "node_count": 1}), "parameters/cluster_name", "a-z"),
        (
            "cluster_create",
            json!({"cluster_name": "k", "node_count": 3, "control_plane_count": 2}),
            "parameters/control_plane_count",
            "odd",
        ),
        (
            "cluster_create",
            json!({"cluster_name": "k", "node_count": 1, "taskservs": ["os", "teleport"]}),
            "taskserv/teleport/name",
            "no taskserv `teleport`",
        ),
        (
            "cluster_create",
            json!({"cluster_name": "k", "node_count": 1, "config": {"kubernetes": {"distribution": "k3s"}}}),
            "taskserv/kubernetes/config.source",
            "k3s comes as a program",
        ),
        ("cluster_delete", json!({"cluster_name": "none"}), "parameters/cluster_name", "no server"),
        ("server_create", json!({}), "parameters/hostname", "missing"),
        ("server_create", json!({"hostname": "a", "plan": "huge"}), "plan", "huge"),
        ("batch", json!({"operations": []}), "operations", "1 to"),
        ("batch", json!({"operations": [one("a", &["b"]), one("b", &["a"])]}), "operations", "circle"),
        (
            "batch",
            json!({"operations": [one("a", &["x"])]}),
            "parameters/operations/0/depends_on",
            "`x` does not exist",
        ),
        ("batch", json!({"operations": [one("a", &[]), one("a", &[])]}), "parameters/operations", "twice"),
        ("batch", json!({"operations": [{"id": "a", "type": "batch"}]}), "parameters/operations/0/type", "not one of"),
        ("batch", json!({"operations": [one("a", &[])], "parallel_limit": 0}), "parameters/parallel_limit", "1 to 100"),
    ] {
        let error = submit(&site, kind, parameters.clone()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{parameters}: {error}");
        let said = error.details.get(field).unwrap_or_else(|| panic!("{parameters}: {error}")).join(" ");
        assert!(said.contains(says), "{parameters}: {said}");
    }
    site.workspace("bare", Default::default()).await.unwrap();
    let Value::Object(parameters) = cluster(1) else { unreachable!() };
    let input = workflow::Submit {
        workspace: "bare".into(),
        workflow_type: "cluster_create".into(),
        parameters,
        ..Default::default()
    };
    let error = workflow::submit(&site.app, &site.admin, input).await.unwrap_err();
    assert_eq!(error.details.keys().collect::<Vec<_>>(), ["plan", "provider", "zone"]);
    assert_eq!(site.clouds.upcloud.servers(), 0);
}
