//! Desired state against a server that answers from a script: nodes, prune, partial failure, files.

use serde_json::{Value, json};

use crate::fake::{Fake, Reply, User, data, empty, node, node_id, page, refuse};

fn cluster(name: &str, limit: Value) -> Value {
    json!({"id": name, "name": name, "ipv4_range": "100.64.0.0/16", "node_limit": limit, "node_count": 0})
}

async fn fleet() -> Fake {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/clusters", |_| {
        page(vec![cluster("prod", json!(5)), cluster("lab", Value::Null)], 2, false)
    });
    fake.on("GET /edge/api/v1/nodes", |_| page(vec![node(1, "web-1", "healthy"), node(2, "db", "healthy")], 2, false));
    let key = |id: &str, name: Value, uses: Value, expires: Value| json!({"id": id, "key": "BLOB", "name": name, "cluster_name": "prod", "uses_remaining": uses, "expired_at": expires});
    fake.on("GET /edge/api/v1/enrollment_keys", move |_| {
        let rows = vec![
            key("k1", json!("rack"), json!(3), Value::Null),
            key("k2", json!("rack"), json!(9), Value::Null),
            key("k3", Value::Null, json!(1), Value::Null),
            key("k4", json!("spent"), json!(0), Value::Null),
            key("k5", json!("old"), Value::Null, json!("2026-01-10T11:00:00Z")),
        ];
        page(rows, 5, false)
    });
    fake
}

fn file(user: &User, name: &str, text: &str) -> String {
    let path = user.home().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn an_export_names_what_it_leaves_out() {
    let fake = fleet().await;
    let ran = User::of(&fake).run("export --only enrollment_keys,nodes").await;
    assert_eq!(ran.code, 0);
    let expected = format!(
        "# The desired state of a fleet, written by `reeve export`. `reeve apply -f FILE` brings a server to it.
version: 1

enrollment_keys:
  prod/rack:
    expires_at: null
    uses: 3

nodes:
  {}: # web-1
    cluster: prod
    labels:
      env: prod
      name: web-1
  {}: # db
    cluster: prod
    labels:
      env: prod
      name: db
",
        node_id(1),
        node_id(2)
    );
    assert_eq!(ran.stdout, expected);
    assert_eq!(
        ran.stderr,
        "left out: another enrollment key is called prod/rack (id k2)\nleft out: an enrollment key without a name\n\
         left out: enrollment key prod/old has expired\nleft out: enrollment key prod/spent is used up\n"
    );
    assert!(!ran.stdout.contains("BLOB"));
}

#[tokio::test]
async fn nodes_are_moved_and_labelled_with_what_differs() {
    let fake = fleet().await;
    let id = node_id(1);
    fake.on(&format!("PATCH /edge/api/v1/nodes/{id}/change_cluster"), |_| data(node(1, "web-1", "healthy")));
    fake.on(&format!("PATCH /edge/api/v1/nodes/{id}/labels"), |_| data(node(1, "web-1", "healthy")));
    let mut user = User::of(&fake);
    let text = format!(
        "version: 1\nnodes:\n  {id}: {{cluster: lab, labels: {{env: prod, tier: '7'}}}}\n  {}: {{cluster: prod}}\n  {}: {{}}\n",
        node_id(2),
        node_id(3)
    );
    let path = file(&user, "f.yaml", &text);
    user.colour = true;
    let ran = user.run(&format!("apply -f {path} --dry-run")).await;
    assert!(ran.stdout.contains("\u{1b}[31m-   labels.name: web-1"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\u{1b}[32m+   labels.tier: 7"), "{}", ran.stdout);
    user.colour = false;
    let ran = user.run(&format!("apply -f {path}")).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let waiting = format!("node {} has not enrolled with this server yet; apply again once it has\n", node_id(3));
    assert_eq!(ran.stdout, format!("node {id} changed\n{waiting}"));
    assert_eq!(ran.stderr, "0 created, 1 changed, 0 deleted, 1 as they should be, 1 waiting\n");
    let body = |what: &str| fake.asked(&format!("PATCH /edge/api/v1/nodes/{id}/{what}"))[0].body.clone();
    assert_eq!(body("change_cluster"), json!({"cluster_name": "lab"}));
    assert_eq!(body("labels"), json!({"labels": {"tier": "7", "name": null}}));
}

#[tokio::test]
async fn limited_keys_are_not_armed_again() {
    let fake = fleet().await;
    fake.on("PATCH /edge/api/v1/enrollment_keys/k1", |_| data(json!({"id": "k1"})));
    let user_text = |uses: &str| {
        format!("version: 1\nenrollment_keys:\n  prod/rack: {{uses: {uses}}}\n  prod/spent: {{uses: 4}}\n")
    };
    let mut user = User::of(&fake);
    let path = file(&user, "f.yaml", &user_text("20"));
    assert_eq!(
        user.run(&format!("apply -f {path}")).await.stderr,
        "0 created, 0 changed, 0 deleted, 2 as they should be\n"
    );
    file(&user, "f.yaml", &user_text("unlimited"));
    assert_eq!(user.run(&format!("apply -f {path}")).await.stdout, "enrollment key prod/rack changed\n");
    assert_eq!(fake.asked("PATCH /edge/api/v1/enrollment_keys/k1")[0].body, json!({"uses_remaining": null}));
}

#[tokio::test]
async fn pruning_asks_first_and_leaves_other_sections_alone() {
    let fake = fleet().await;
    fake.on("DELETE /edge/api/v1/clusters/lab", |_| empty());
    let mut user = User::of(&fake);
    let path = file(&user, "f.yaml", "version: 1\nclusters:\n  prod: {node_limit: 5}\nnodes: {}\n");
    user.answers = vec!["no"];
    let ran = user.run(&format!("apply --prune -f {path}")).await;
    assert_eq!((ran.code, ran.stderr.contains("nothing was changed")), (1, true), "{ran:?}");
    let ran = user.run(&format!("apply --prune -f {path}")).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(fake.asked("DELETE /edge/api/v1/clusters/lab").is_empty());
    user.answers = vec!["yes"];
    let ran = user.run(&format!("apply --prune -f {path}")).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "cluster lab deleted\n"), "{ran:?}");
    assert_eq!(fake.asked("DELETE /edge/api/v1/clusters/lab").len(), 1);
}

#[tokio::test]
async fn failures_are_told_per_object_and_the_rest_is_done() {
    let fake = fleet().await;
    fake.on("POST /edge/api/v1/clusters", |seen| -> Reply {
        match seen.body["name"].as_str() {
            Some("bad") => refuse(409, "conflict", "no free range is left", Value::Null),
            _ => data(json!({})),
        }
    });
    let mut user = User::of(&fake);
    let first = file(&user, "dir/1.yaml", "version: 1\nclusters: {bad: {}, good: {}}\n");
    file(&user, "dir/2.yml", "version: 1\nclusters: {later: {node_limit: 2}}\n");
    file(&user, "dir/readme.txt", "not for apply");
    let folder = user.home().join("dir").display().to_string();
    let ran = user.run(&format!("apply -f {folder}")).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, "cluster good created\ncluster later created\n"));
    assert_eq!(
        ran.stderr,
        "cluster bad failed: no free range is left (409 conflict)\n2 created, 0 changed, 0 deleted, 0 as they should be, 1 failed\n"
    );
    let ran = user.run(&format!("apply -f {folder} -f {first}")).await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("cluster bad stands in"), "{}", ran.stderr);
    let ran = user.run("apply -f /no/such/file").await;
    assert_eq!(ran.code, 2);
}
