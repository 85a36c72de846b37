//! The other commands: each asks the server for the right thing and says what came of it.

use serde_json::{Value, json};

use crate::fake::{Fake, User, data, empty, event, node, node_id, page, stream};

#[tokio::test]
async fn a_key_prints_the_line_that_joins() {
    let fake = Fake::start().await;
    fake.on("POST /edge/api/v1/clusters/default/enrollment_keys", |_| {
        data(json!({"id": "k", "key": "BLOB=", "cluster_name": "default-1"}))
    });
    fake.on("POST /edge/api/v1/clusters/prod/enrollment_keys", |_| {
        data(json!({"id": "k", "key": "BLOB2=", "cluster_name": "prod"}))
    });
    let ran = User::of(&fake).run("key create").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "reeve agent --enroll BLOB=\n"));
    assert_eq!(ran.stderr, "run this on the machine that shall join cluster default-1:\n");
    User::of(&fake).run("key create --cluster prod --uses unlimited --expire-in 1h --name rack7").await;
    let body = fake.asked("POST /edge/api/v1/clusters/prod/enrollment_keys")[0].body.clone();
    assert_eq!(body, json!({"name": "rack7", "uses_remaining": null, "expired_at": "2026-01-10T13:00:00Z"}));
}

#[tokio::test]
async fn keys_are_listed_without_the_key_and_changed() {
    let fake = Fake::start().await;
    let key = json!({"id": "k1", "key": "BLOB", "name": null, "cluster_name": "prod", "uses_remaining": null, "expired_at": "2026-01-10T13:00:00Z", "inserted_at": "2026-01-10T11:00:00Z"});
    let row = key.clone();
    fake.on("GET /edge/api/v1/enrollment_keys", move |_| page(vec![row.clone()], 1, false));
    fake.on("PATCH /edge/api/v1/enrollment_keys/k1", move |_| data(key.clone()));
    let ran = User::of(&fake).run("key list -o json").await;
    assert!(!ran.stdout.contains("BLOB"));
    let ran = User::of(&fake).run("key list").await;
    assert_eq!(
        ran.stdout
            .lines()
            .nth(1)
            .unwrap()
            .split("  ")
            .filter(|cell| !cell.is_empty())
            .map(str::trim)
            .collect::<Vec<_>>(),
        ["k1", "-", "prod", "unlimited", "in 60m", "-", "60m"]
    );
    User::of(&fake).run("key update k1 --uses 5 --no-expiry").await;
    assert_eq!(
        fake.asked("PATCH /edge/api/v1/enrollment_keys/k1")[0].body,
        json!({"uses_remaining": 5, "expired_at": null})
    );
}

#[tokio::test]
async fn nodes_are_labelled_moved_and_deleted() {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/nodes", |_| page(vec![node(1, "web-1", "healthy"), node(2, "db", "healthy")], 2, false));
    fake.on(&format!("PATCH /edge/api/v1/nodes/{}/labels", node_id(1)), |_| data(node(1, "web-1", "healthy")));
    fake.on(&format!("PATCH /edge/api/v1/nodes/{}/change_cluster", node_id(1)), |_| data(node(1, "web-1", "healthy")));
    fake.on(&format!("DELETE /edge/api/v1/nodes/{}", node_id(2)), |_| empty());
    let mut user = User::of(&fake);
    let ran = user.run("node label web-1 env=prod old-").await;
    assert_eq!(ran.stderr, "node web-1 now has the labels env=prod,name=web-1\n");
    assert_eq!(
        fake.asked(&format!("PATCH /edge/api/v1/nodes/{}/labels", node_id(1)))[0].body,
        json!({"labels": {"env": "prod", "old": null}})
    );
    assert_eq!(user.run("node move web-1 edge").await.stderr, "node web-1 is now in cluster edge\n");
    assert_eq!(user.run("node delete db").await.stderr, format!("node {} deleted\n", node_id(2)));
    assert_eq!(user.run(&format!("node delete {} -o name", node_id(2))).await.stdout, format!("{}\n", node_id(2)));
}

#[tokio::test]
async fn clusters_are_made_and_changed() {
    let fake = Fake::start().await;
    let cluster = || {
        data(
            json!({"name": "prod", "node_count": 2, "node_limit": null, "ipv4_range": "100.64.0.0/24", "inserted_at": "2026-01-10T11:00:00Z", "nodes": [{"id": "n1", "status": "healthy"}]}),
        )
    };
    fake.on("POST /edge/api/v1/clusters", move |_| cluster());
    fake.on("PATCH /edge/api/v1/clusters/prod", move |_| cluster());
    fake.on("GET /edge/api/v1/clusters/prod", move |_| cluster());
    let mut user = User::of(&fake);
    let ran = user.run("cluster create prod --node-limit 5").await;
    assert_eq!(
        ran.stderr,
        "cluster prod created with the range 100.64.0.0/24\nnext:  reeve key create --cluster prod\n"
    );
    user.run("cluster update prod --node-limit none").await;
    assert_eq!(fake.asked("PATCH /edge/api/v1/clusters/prod")[0].body, json!({"node_limit": null}));
    assert!(user.run("cluster show prod").await.stdout.contains("MEMBERS     n1 healthy\n"));
    assert!(user.run("cluster show prod -o json").await.stdout.contains("\"node_count\": 2"));
}

#[tokio::test]
async fn commands_and_executions_are_listed_and_steered() {
    let fake = Fake::start().await;
    let id = "0193aaaa-0000-7000-8000-0000000000aa";
    let command = json!({
        "id": id, "command_text": "apt-get update\nreboot", "targeting": {"type": "all"}, "created_by": "ann", "inserted_at": "2026-01-10T11:58:00Z",
        "summary": {"total": 3, "succeeded": 2, "failed": 1, "pending": 0, "sent": 0}, "rollout": {"state": "paused"}, "timeout": 30000,
    });
    let row = command.clone();
    fake.on("GET /edge/api/v1/commands", move |_| page(vec![row.clone()], 1, false));
    for verb in ["pause", "resume", "abort"] {
        let command = command.clone();
        fake.on(&format!("POST /edge/api/v1/commands/{id}/rollout/{verb}"), move |_| data(command.clone()));
    }
    fake.on(&format!("GET /edge/api/v1/commands/{id}/summary"), |_| {
        data(json!({"total": 3, "succeeded": 2, "exit_codes": {"0": 2, "1": 1}}))
    });
    fake.on(&format!("POST /edge/api/v1/commands/{id}/cancel"), |_| data(json!({"total": 3})));
    fake.on("GET /edge/api/v1/command_executions", |_| {
        let execution = json!({
            "id": "0193aaaa-0000-7000-8000-0000000000bb", "node_id": node_id(1), "status": "completed", "exit_code": 1, "command_text": "x",
            "sent_at": "2026-01-10T11:58:00Z", "completed_at": "2026-01-10T11:59:30Z", "inserted_at": "2026-01-10T11:58:00Z",
        });
        page(vec![execution], 1, false)
    });
    fake.on("PATCH /edge/api/v1/command_executions/0193aaaa-0000-7000-8000-0000000000bb/cancel", |_| {
        data(json!({"result": "cancellation request sent"}))
    });
    let mut user = User::of(&fake);
    let ran = user.run("command list").await;
    assert_eq!(
        ran.stdout.lines().nth(1).unwrap(),
        format!("{id}  apt-get update⏎reboot  2/3 ok, 1 not  all     paused   ann  2m")
    );
    assert_eq!(user.run("command pause last").await.stderr, format!("the rollout of command {id} is paused\n"));
    assert_eq!(user.run("command resume 00aa").await.stderr, format!("the rollout of command {id} is resumed\n"));
    assert!(user.run("command summary last").await.stdout.contains("EXIT CODES  0=2,1=1\n"));
    assert_eq!(user.run("command cancel last").await.code, 0);
    let ran = user.run("execution list --command last --failed").await;
    assert_eq!(
        ran.stdout.lines().nth(1).unwrap(),
        "0193aaaa-0000-7000-8000-0000000000bb  00000001  completed  1     1m30s  x        2m"
    );
    let seen = fake.asked("GET /edge/api/v1/command_executions").pop().unwrap();
    assert_eq!((seen.param("command_id"), seen.param("exit_code__gte")), (Some(id), Some("1")));
    assert!(user.run("execution cancel last").await.stderr.ends_with("cancellation request sent\n"));
}

#[tokio::test]
async fn a_broken_audit_log_is_a_failure() {
    let fake = Fake::start().await;
    fake.on("GET /api/audit/verify", |_| data(json!({"ok": true, "entries": 12})));
    let ran = User::of(&fake).run("audit verify").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "the audit log is whole: 12 entries checked\n"));
    fake.on("GET /api/audit/verify", |_| {
        data(json!({"ok": false, "entries": 12, "first_bad": 7, "problem": "changed"}))
    });
    let ran = User::of(&fake).run("audit verify").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "the audit log is NOT whole: entry 7: changed\n"));
}

#[tokio::test]
async fn the_audit_log_is_searched() {
    let fake = Fake::start().await;
    fake.on("GET /api/audit", |_| page(vec![json!({"seq": 3, "at": "2026-01-10T11:00:00Z", "actor": "ann", "action": "node.delete", "subject": "n1"})], 1, false));
    let ran = User::of(&fake).run("audit list --action node.delete --since 2h").await;
    assert!(ran.stdout.lines().nth(1).unwrap().starts_with("3    60m  ann    node.delete  n1"), "{}", ran.stdout);
    assert_eq!(fake.asked("GET /api/audit")[0].param("since"), Some("2026-01-10T10%3A00%3A00Z"));
    assert_eq!(User::of(&fake).run("audit list --since never").await.code, 2);
}

#[tokio::test]
async fn users_and_tokens_are_managed() {
    let fake = Fake::start().await;
    fake.on("POST /api/users", |_| data(json!({"id": "u1", "username": "bob", "role": "operator"})));
    fake.on("GET /api/users", |_| data(json!([{"id": "u1", "username": "bob", "role": "operator", "disabled": true}])));
    fake.on("PATCH /api/users/u1", |_| {
        data(json!({"id": "u1", "username": "bob", "role": "viewer", "disabled": true}))
    });
    fake.on("POST /api/users/u1/password", |_| empty());
    fake.on("DELETE /api/users/u1", |_| empty());
    fake.on("POST /api/tokens", |_| data(json!({"id": "t1", "name": "ci", "token": "rv_abc"})));
    fake.on("GET /api/tokens", |_| {
        data(json!([{"id": "t1", "name": "ci", "prefix": "rv_abc", "scopes": ["node.read"]}]))
    });
    fake.on("DELETE /api/tokens/t1", |_| empty());
    let mut user = User::of(&fake);
    user.answers = vec!["long secret words"];
    assert_eq!(user.run("user create bob --role operator").await.stderr, "user bob created with the role operator\n");
    assert_eq!(
        fake.asked("POST /api/users")[0].body,
        json!({"username": "bob", "role": "operator", "password": "long secret words"})
    );
    assert!(user.run("user list").await.stdout.contains("bob   operator  disabled"));
    assert_eq!(user.run("user update bob --disable --role viewer").await.stderr, "user bob: role viewer, disabled\n");
    assert_eq!(user.run("user password bob --password x").await.code, 0);
    assert_eq!(user.run("user delete bob").await.code, 0);
    assert_eq!(user.run("user delete eve").await.code, 1);
    let ran = user.run("token create ci --scope node.read --expire-in 1d").await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("rv_abc\n", "keep this token, it is not shown again:\n"));
    assert_eq!(
        fake.asked("POST /api/tokens")[0].body,
        json!({"name": "ci", "scopes": ["node.read"], "expires_at": "2026-01-11T12:00:00Z"})
    );
    assert_eq!(user.run("token delete ci").await.code, 0);
}

#[tokio::test]
async fn the_doctor_names_what_is_wrong_and_the_cure() {
    let fake = Fake::start().await;
    fake.on("GET /api/me", |_| data(json!({"kind": "key", "name": "MASTER_KEY"})));
    fake.on("GET /api/doctor", |_| {
        data(json!({"ok": false, "checks": [{"name": "store", "ok": true, "detail": "sqlite"}, {"name": "free space", "ok": false, "detail": "1 MB left", "fix": "free some space"}]}))
    });
    let ran = User::of(&fake).run("doctor").await;
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("FAILED  free space      1 MB left"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "free space: free some space\n");
    let report: Value = serde_json::from_str(&User::of(&fake).run("doctor -o json").await.stdout).unwrap();
    assert_eq!(report["ok"], false);
    let ran = User::new().run("doctor --url http://127.0.0.1:1 --token x").await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("FAILED  server reached"), "{ran:?}");
}

#[tokio::test]
async fn the_server_tells_about_itself() {
    let fake = Fake::start().await;
    fake.on("GET /api/server", |_| data(json!({"version": "0.1.0", "id": "s1", "listeners": {"edge": "http://a", "console": "http://b"}, "agents_connected": 2})));
    fake.on("GET /api/jobs", |_| {
        page(
            vec![json!({"id": "j1", "kind": "FanOut", "state": "running", "inserted_at": "2026-01-10T11:59:00Z"})],
            1,
            false,
        )
    });
    let ran = User::of(&fake).run("member").await;
    assert!(
        ran.stdout.contains("LISTENERS         console http://b\n                  edge http://a\n"),
        "{}",
        ran.stdout
    );
    let list = User::of(&fake).run("job list").await.stdout;
    assert!(list.contains("j1  FanOut  running  -"), "{list}");
}

#[tokio::test]
async fn a_jobs_output_is_followed_to_its_end_and_the_exit_code_says_how_it_ended() {
    let fake = Fake::start().await;
    let piece = |offset: u64, text: &str| {
        let next = offset + text.len() as u64;
        event(&next.to_string(), "output", json!({"offset": offset, "next_offset": next, "text": text}))
    };
    let id = "01900000-0000-7000-8000-00000000000a";
    let mut connections = 0;
    fake.on(&format!("GET /api/jobs/{id}/stream"), move |seen| {
        connections += 1;
        if connections == 1 {
            return stream(vec![piece(0, "one\n"), piece(4, "two\n")], true);
        }
        assert_eq!(seen.header("last-event-id"), "8");
        let end = event("", "end", json!({"state": "failed", "error": "the disk is full"}));
        stream(vec![piece(8, "three\n"), end], false)
    });
    fake.on("GET /api/jobs", move |seen| {
        assert_eq!(seen.param("order_by"), None);
        page(vec![json!({"id": id})], 1, false)
    });
    let ran = User::of(&fake).run("job logs -f last").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "one\ntwo\nthree\n"), "{ran:?}");
    assert!(ran.stderr.ends_with("the job has failed: the disk is full\n"), "{ran:?}");
}

#[tokio::test]
async fn a_rotation_of_the_key_is_followed_to_its_end() {
    let fake = Fake::start().await;
    let id = "01900000-0000-7000-8000-00000000000a";
    fake.on("GET /api/seal", |_| {
        data(json!({"keys": [{"id": "k2", "newest": true, "sealed": 3}, {"id": "k1", "newest": false, "sealed": 9}], "others": 0, "rotation": null}))
    });
    fake.on("POST /api/seal/rotations", move |_| data(json!({"id": id})));
    fake.on(&format!("GET /api/jobs/{id}/stream"), move |_| {
        let piece = event("5", "output", json!({"offset": 0, "next_offset": 5, "text": "done\n"}));
        stream(vec![piece, event("", "end", json!({"state": "succeeded"}))], false)
    });
    let shown = User::of(&fake).run("seal show").await.stdout;
    assert!(shown.contains("k2: 3 secrets, seals what is written") && shown.contains("k1: 9 secrets\n"), "{shown}");
    let ran = User::of(&fake).run("seal rotate").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "done\n"), "{ran:?}");
    assert_eq!(User::of(&fake).run("seal rotate --detach -o name").await.stdout, format!("{id}\n"));
}

#[tokio::test]
async fn what_recurs_is_listed_and_poked_by_name() {
    let fake = Fake::start().await;
    fake.on("GET /api/schedules", |_| {
        data(json!([
            {"name": "event.prune", "rhythm": "every 10m", "enabled": true, "next_at": "2026-01-10T12:05:00Z"},
            {"name": "execution.prune", "rhythm": "0 0 * * *", "enabled": false, "next_at": null},
        ]))
    });
    fake.on("GET /api/reconcilers", |_| {
        data(json!([{"name": "node.sweep", "rhythm": "every 20s", "enabled": true, "passes": 3, "failures": 0}]))
    });
    fake.on("POST /api/schedules/event.prune/poke", |_| data(json!({"name": "event.prune"})));
    fake.on("POST /api/reconcilers/node.sweep/poke", |_| data(json!({"name": "node.sweep"})));
    let schedules = User::of(&fake).run("job schedules").await.stdout;
    assert!(schedules.contains("execution.prune  off"), "{schedules}");
    assert!(User::of(&fake).run("job reconcilers").await.stdout.contains("node.sweep  every 20s"));
    for name in ["event.prune", "node.sweep"] {
        let ran = User::of(&fake).run(&format!("job poke {name}")).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (0, format!("{name} was asked for\n").as_str()), "{ran:?}");
    }
}
