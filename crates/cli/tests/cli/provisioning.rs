//! Servers, workflows, operations, plans and workspaces.

use serde_json::{Value, json};

use crate::fake::{Fake, User, event, raw, stream};

const ID: &str = "550e8400-e29b-41d4-a716-446655440000";
const BASE: &str = "/provisioning/v1";

fn workspaces(fake: &Fake) {
    fake.on(&format!("GET {BASE}/workspaces"), |_| {
        raw(
            200,
            json!([
                {"name": "old", "path": "/w/old", "active": false, "last_used": null},
                {"name": "prod", "path": "/w/prod", "active": true, "last_used": "2026-01-10T11:59:00Z"},
            ]),
        )
    });
}

fn operation(status: &str, result: Value) -> Value {
    json!({"id": ID, "status": status, "created_at": "2026-01-10T11:59:00Z", "updated_at": "2026-01-10T11:59:00Z", "result": result, "error": null})
}

fn detail(status: &str, step: &str, result: Value) -> Value {
    let mut detail = operation(status, result);
    detail["steps"] = json!([{"name": "order", "state": "done"}, {"name": step, "state": "current"}]);
    detail["phases"] = json!([]);
    detail["progress"] = json!({"done": 1, "total": 2});
    detail["waiting"] = Value::Null;
    detail
}

fn followed(fake: &Fake, end: Value) {
    fake.on(&format!("GET {BASE}/operations/{ID}/stream"), move |_| {
        let shown = event("1", "operation", detail("running", "boot", Value::Null));
        stream(vec![shown, event("2", "end", end.clone())], false)
    });
}

#[tokio::test]
async fn servers_are_created_in_the_active_workspace_and_waited_for() {
    let fake = Fake::start().await;
    workspaces(&fake);
    fake.on(&format!("POST {BASE}/servers/create"), |_| raw(200, operation("pending", Value::Null)));
    followed(&fake, detail("completed", "boot", json!({"server_id": "srv-abc123", "ip_address": "10.0.0.7"})));
    let ran = User::of(&fake)
        .run("server create web --count 2 --provider local --plan 1xCPU-1GB --tag a,b -l env=prod --wait")
        .await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("creating web-1: boot\ncreating web-1: completed, 10.0.0.7\n"), "{}", ran.stderr);
    let asked = fake.asked(&format!("POST {BASE}/servers/create"));
    let names: Vec<&Value> = asked.iter().map(|seen| &seen.body["hostname"]).collect();
    assert_eq!(names, ["web-1", "web-2"]);
    assert_eq!(
        (&asked[0].body["workspace"], &asked[0].body["tags"], &asked[0].body["labels"], &asked[0].body["zone"]),
        (&json!("prod"), &json!(["a", "b"]), &json!({"env": "prod"}), &Value::Null)
    );
}

#[tokio::test]
async fn what_fails_says_where_to_look_and_ends_with_one() {
    let fake = Fake::start().await;
    workspaces(&fake);
    fake.on(&format!("POST {BASE}/servers/create"), |_| raw(200, operation("pending", Value::Null)));
    let mut failed = detail("failed", "boot", Value::Null);
    failed["error"] = json!("the provider has no room");
    followed(&fake, failed);
    let ran = User::of(&fake).run("server create web --wait").await;
    assert_eq!(ran.code, 1);
    let words = format!("creating web: failed: the provider has no room\nnext:  reeve operation logs {ID}");
    assert!(ran.stderr.contains(&words), "{}", ran.stderr);
}

#[tokio::test]
async fn a_dry_run_prints_its_plan_and_how_to_apply_it() {
    let fake = Fake::start().await;
    workspaces(&fake);
    fake.on(&format!("POST {BASE}/workflows/submit"), |_| raw(200, operation("pending", Value::Null)));
    let result = json!({"text": "  1. create server k8s-1\n", "plan_id": "p-1", "check_mode": true});
    followed(&fake, detail("completed", "check", result));
    let ran = User::of(&fake)
        .run("workflow submit cluster_create --set cluster_name=k8s --set node_count=3 --check -w old")
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "  1. create server k8s-1\n"));
    assert!(ran.stderr.ends_with("next:  reeve plan apply p-1\n"), "{}", ran.stderr);
    let body = fake.asked(&format!("POST {BASE}/workflows/submit"))[0].body.clone();
    assert_eq!(
        body,
        json!({"workspace": "old", "workflow_type": "cluster_create", "parameters": {"cluster_name": "k8s", "node_count": 3}, "check_mode": true, "preserve_on_failure": false})
    );
}

#[tokio::test]
async fn a_server_is_known_by_its_hostname() {
    let fake = Fake::start().await;
    fake.on(&format!("GET {BASE}/servers"), |_| {
        raw(200, json!([{"id": "srv-abc123", "hostname": "web-1", "provider": "local", "plan": "1xCPU-1GB", "zone": "local", "ip_address": "10.0.0.7", "status": "running", "created_at": "2026-01-10T11:59:00Z"}]))
    });
    fake.on(&format!("DELETE {BASE}/servers/srv-abc123"), |_| raw(200, operation("pending", Value::Null)));
    fake.on(&format!("GET {BASE}/operations/{ID}/detail"), |_| raw(200, detail("pending", "begin", Value::Null)));
    let list = User::of(&fake).run("server list").await.stdout;
    assert!(list.contains("web-1  running  10.0.0.7  local     1xCPU-1GB  local  60s  srv-abc123"), "{list}");
    let ran = User::of(&fake).run("server delete web-1 --force").await;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(fake.asked(&format!("DELETE {BASE}/servers/srv-abc123"))[0].body["force"], true);
    let ran = User::of(&fake).run("server delete nope").await;
    assert!(ran.code == 1 && ran.stderr.contains("no server is called 'nope'"), "{}", ran.stderr);
}

#[tokio::test]
async fn refusals_without_an_envelope_are_understood() {
    let fake = Fake::start().await;
    workspaces(&fake);
    fake.on(&format!("POST {BASE}/servers/create"), |_| {
        raw(400, json!({"error": "VALIDATION_ERROR", "message": "provider: is missing", "code": "400"}))
    });
    let ran = User::of(&fake).run("server create web").await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("provider: is missing (400 validation_error)"), "{}", ran.stderr);
}

#[tokio::test]
async fn without_an_active_workspace_the_next_step_is_named() {
    let fake = Fake::start().await;
    fake.on(&format!("GET {BASE}/workspaces"), |_| raw(200, json!([])));
    let ran = User::of(&fake).run("server create web").await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("reeve workspace create NAME"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_newest_operations_stand_last() {
    let fake = Fake::start().await;
    fake.on(&format!("GET {BASE}/operations"), |_| {
        let rows: Vec<Value> = (0..60)
            .map(|n| {
                let mut row = operation("completed", Value::Null);
                row["id"] = json!(format!("{n:08}-e29b-41d4-a716-446655440000"));
                row
            })
            .collect();
        raw(200, Value::Array(rows))
    });
    fake.on(&format!("POST {BASE}/operations/00000059-e29b-41d4-a716-446655440000/cancel"), |_| {
        raw(409, json!({"error": "CONFLICT", "message": "it is completed", "code": "409"}))
    });
    let ran = User::of(&fake).run("operation list -o name --limit 2").await;
    assert_eq!(ran.stdout, "00000058-e29b-41d4-a716-446655440000\n00000059-e29b-41d4-a716-446655440000\n");
    let ran = User::of(&fake).run("operation cancel last").await;
    assert!(ran.code == 1 && ran.stderr.contains("it is completed (409 conflict)"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_last_plan_stands_first_and_the_last_workflow_last() {
    let fake = Fake::start().await;
    let (older, newer) = ("11111111-e29b-41d4-a716-446655440000", "22222222-e29b-41d4-a716-446655440000");
    let row = |id: &str| json!({"id": id, "type": "server_create", "workflow_type": "batch", "plan": {}});
    fake.on(&format!("GET {BASE}/plans"), move |_| raw(200, json!([row(newer), row(older)])));
    fake.on(&format!("GET {BASE}/workflows"), move |_| raw(200, json!([row(older), row(newer)])));
    for noun in ["plan", "workflow"] {
        for id in [older, newer] {
            fake.on(&format!("GET {BASE}/{noun}s/{id}"), move |_| raw(200, row(id)));
        }
        let mut user = User::of(&fake);
        assert_eq!(user.run(&format!("{noun} show last -o name")).await.stdout, format!("{newer}\n"));
        assert_eq!(user.run(&format!("{noun} show 1111 -o name")).await.stdout, format!("{older}\n"));
        let ran = user.run(&format!("{noun} show 4466")).await;
        assert!(ran.stderr.contains(&format!("no {noun} is called '4466'")), "{}", ran.stderr);
        let ran = user.run(&format!("{noun} show 0000")).await;
        assert!(ran.stderr.contains(&format!("'0000' names 2 {noun}s")), "{}", ran.stderr);
        let ran = user.run(&format!("{noun} show 11")).await;
        assert!(ran.code == 1 && ran.stderr.contains("next:  give at least 4 characters"), "{}", ran.stderr);
    }
    fake.on(&format!("GET {BASE}/plans"), |_| raw(200, json!([])));
    let ran = User::of(&fake).run("plan apply last").await;
    assert!(ran.stderr.contains("there is no plan yet\nnext:  make one with --check"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_taskserv_is_known_by_its_name_where_there_is_one_of_it() {
    let fake = Fake::start().await;
    let row = |id: &str, name: &str| json!({"id": id, "name": name, "status": "running", "servers": ["a"]});
    fake.on(&format!("GET {BASE}/taskservs"), move |_| {
        raw(200, json!([row("t-1", "etcd"), row("t-2", "redis"), row("t-3", "redis")]))
    });
    fake.on(&format!("GET {BASE}/taskservs/t-1"), move |_| raw(200, row("t-1", "etcd")));
    fake.on(&format!("GET {BASE}/taskservs/t-3"), move |_| raw(200, row("t-3", "redis")));
    let mut user = User::of(&fake);
    assert_eq!(user.run("taskserv show etcd -o name").await.stdout, "t-1\n");
    assert_eq!(user.run("taskserv show t-3 -o name").await.stdout, "t-3\n");
    let ran = user.run("taskserv show redis").await;
    assert!(ran.stderr.contains("'redis' names 2 taskservs") && ran.stderr.contains("give the whole id"), "{ran:?}");
}

#[tokio::test]
async fn programs_get_the_servers_own_answer() {
    let fake = Fake::start().await;
    workspaces(&fake);
    fake.on(&format!("GET {BASE}/workspaces/prod/key"), |_| raw(200, json!({"public_key": "ssh-ed25519 AAAA"})));
    fake.on(&format!("DELETE {BASE}/workspaces/prod"), |_| raw(200, json!({"name": "prod", "servers_left": ["web"]})));
    let mut user = User::of(&fake);
    assert_eq!(user.run("workspace key").await.stdout, "ssh-ed25519 AAAA\n");
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    assert_eq!(read(&user.run("workspace key -o json").await.stdout)["public_key"], "ssh-ed25519 AAAA");
    assert_eq!(read(&user.run("workspace delete prod -o json").await.stdout)["servers_left"], json!(["web"]));
    let ran = user.run("workspace delete prod").await;
    assert!(ran.stdout.is_empty() && ran.stderr.contains("warning: web is not known any more"), "{ran:?}");
}
