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

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhVX/7vyodHPimN2fnuT1inLDnEkkMwov/ZqBn3Fzos ann@laptop";

/// A fleet with an alias, a user with a password and webhooks.
async fn dressed() -> Fake {
    let fake = fleet().await;
    fake.on("GET /edge/api/v1/aliases", |_| {
        let row = json!({"id": "a1", "name": "db", "cluster_name": "prod", "node_id": node_id(2)});
        page(vec![row], 1, false)
    });
    fake.on("GET /edge/api/v1/ssh_usernames", |_| {
        let keys = json!([{"key_name": "laptop", "public_key": KEY}]);
        let row =
            json!({"id": "u1", "username": "ann", "node_id": node_id(1), "has_password": true, "public_keys": keys});
        page(vec![row], 1, false)
    });
    fake.on("GET /edge/api/v1/webhooks", |_| {
        let hook = |id: &str, url: &str, state: &str, headers: bool| {
            json!({"id": id, "url": url, "state": state, "has_headers": headers, "state_reason": "410",
                "subscribed_events": ["edge.node.registered", "edge.command_execution.completed"]})
        };
        let rows = vec![
            hook("w1", "https://a.example/in", "paused", true),
            hook("w2", "https://a.example/in", "active", false),
            hook("w3", "https://b.example/in", "disabled", false),
        ];
        page(rows, 3, false)
    });
    fake
}

#[tokio::test]
async fn an_export_holds_no_secret_and_says_so() {
    let fake = dressed().await;
    let ran = User::of(&fake).run("export --only aliases,ssh_usernames,webhooks").await;
    let (one, two) = (node_id(1), node_id(2));
    let expected = format!(
        "# The desired state of a fleet, written by `reeve export`. `reeve apply -f FILE` brings a server to it.
version: 1

aliases:
  prod/db: # db
    node: {two}

ssh_usernames:
  ann@{one}: # web-1, with a password
    public_keys:
      laptop: >-
        ssh-ed25519
        AAAAC3NzaC1lZDI1NTE5AAAAIDhVX/7vyodHPimN2fnuT1inLDnEkkMwov/ZqBn3Fzos ann@laptop

webhooks:
  \"https://a.example/in\":
    events:
    - edge.command_execution.completed
    - edge.node.registered
    paused: true
  \"https://b.example/in\": # disabled: 410
    events:
    - edge.command_execution.completed
    - edge.node.registered
    paused: false
"
    );
    assert_eq!((ran.code, ran.stdout.clone()), (0, expected), "{}", ran.stderr);
    assert_eq!(
        ran.stderr,
        format!(
            "left out: the password of ann@{one}\n\
             left out: another webhook that posts to https://a.example/in (id w2)\n\
             left out: the secret and the headers of webhook https://a.example/in\n\
             left out: the secret of webhook https://b.example/in\n"
        )
    );
    // Applied to where it comes from it changes nothing.
    let mut user = User::of(&fake);
    let path = file(&user, "f.yaml", &ran.stdout);
    let again = user.run(&format!("apply -f {path}")).await;
    assert_eq!((again.code, again.stdout.as_str()), (0, ""), "{again:?}");
    assert_eq!(again.stderr, "0 created, 0 changed, 0 deleted, 4 as they should be\n");
}

#[tokio::test]
async fn secrets_are_written_hidden_and_not_compared() {
    let fake = dressed().await;
    fake.on("POST /edge/api/v1/webhooks", |seen| data(json!({"id": "w9", "url": seen.body["url"]})));
    fake.on("POST /edge/api/v1/webhooks/w9/pause", |_| data(json!({"id": "w9"})));
    fake.on(&format!("POST /edge/api/v1/nodes/{}/ssh_usernames", node_id(2)), |_| data(json!({"id": "u9"})));
    let mut user = User::of(&fake);
    let (one, two) = (node_id(1), node_id(2));
    let text = format!(
        "version: 1
ssh_usernames:
  ann@{one}: {{password: planted-one-planted}}
  bob@{two}: {{password: planted-two-planted, public_keys: {{key: '{KEY}'}}}}
webhooks:
  https://a.example/in: {{secret: planted-three-planted-three-planted, headers: {{x: planted-four}}}}
  https://c.example/in: {{events: [edge.node.registered], secret: planted-five-planted-five-planted-, paused: true}}
  https://d.example/in: {{events: [edge.node.registered]}}
  https://e.example/in: {{}}
"
    );
    let path = file(&user, "f.yaml", &text);
    let ran = user.run(&format!("apply -f {path} --dry-run")).await;
    let shown = format!("{}{}", ran.stdout, ran.stderr);
    assert!(!shown.contains("planted"), "{shown}");
    assert!(ran.stdout.contains("+   password: not shown") && ran.stdout.contains("+   secret: not shown"), "{shown}");
    assert!(
        ran.stdout.contains("! webhook https://e.example/in: it is not there yet and cannot be made without `events`")
    );
    for words in [
        &format!("SSH username ann@{one}: its password cannot be compared and stays as it is"),
        "webhook https://a.example/in: its secret and headers cannot be compared and stays as it is",
    ] {
        assert!(ran.stderr.contains(words), "{}", ran.stderr);
    }
    let ran = user.run(&format!("apply -f {path}")).await;
    assert_eq!(ran.code, 1, "one cannot be made: {ran:?}");
    let made = fake.asked("POST /edge/api/v1/webhooks");
    assert_eq!(made[0].body["secret"], "planted-five-planted-five-planted-");
    // One that was drawn is told once; one that was given is not repeated.
    let drawn = made[1].body["secret"].as_str().unwrap();
    assert!(drawn.starts_with("whsec_") && ran.stderr.contains(drawn), "{}", ran.stderr);
    assert!(!ran.stderr.contains("planted"));
    let bob = &fake.asked(&format!("POST /edge/api/v1/nodes/{two}/ssh_usernames"))[0].body;
    assert_eq!(
        bob,
        &json!({"username": "bob", "password": "planted-two-planted", "public_keys": [{"key_name": "key", "public_key": KEY}]})
    );
}

#[tokio::test]
async fn aliases_keys_and_webhooks_become_what_the_file_says() {
    let fake = dressed().await;
    let (one, two, three) = (node_id(1), node_id(2), node_id(3));
    fake.on("DELETE /edge/api/v1/aliases/a1", |_| empty());
    fake.on(&format!("GET /edge/api/v1/nodes/{one}"), |_| data(node(1, "web-1", "healthy")));
    fake.on(&format!("POST /edge/api/v1/nodes/{one}/aliases"), |_| data(json!({"id": "a2"})));
    fake.on("GET /edge/api/v1/ssh_public_keys", |_| {
        page(vec![json!({"id": "k1", "key_name": "laptop", "public_key": KEY})], 1, false)
    });
    fake.on("DELETE /edge/api/v1/ssh_public_keys/k1", |_| empty());
    fake.on("POST /edge/api/v1/ssh_usernames/u1/ssh_public_keys", |_| data(json!({"id": "k2"})));
    fake.on("PATCH /edge/api/v1/webhooks/w1", |_| data(json!({"id": "w1"})));
    fake.on("POST /edge/api/v1/webhooks/w1/resume", |_| data(json!({"id": "w1"})));
    fake.on("DELETE /edge/api/v1/webhooks/w3", |_| empty());
    let mut user = User::of(&fake);
    let other = KEY.replace("ann@laptop", "ann@desk");
    let text = format!(
        "version: 1
aliases:
  prod/db: {{node: {one}}}
  prod/far: {{node: {three}}}
  lab/web: {{node: {one}}}
ssh_usernames:
  ann@{one}: {{public_keys: {{desk: '{other}'}}}}
  eve@{three}: {{}}
webhooks:
  https://a.example/in: {{events: [edge.node.registered], paused: false, headers: {{}}}}
"
    );
    let path = file(&user, "f.yaml", &text);
    let ran = user.run(&format!("apply -f {path} --prune --yes")).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    let waiting = format!("needs node {three}, which has not enrolled with this server yet; apply again once it has");
    assert_eq!(
        ran.stdout,
        format!(
            "alias prod/db changed\nalias prod/far {waiting}\nSSH username ann@{one} changed\nSSH username eve@{three} {waiting}\n\
             webhook https://a.example/in changed\nwebhook https://b.example/in deleted\n"
        )
    );
    let failed = format!("alias lab/web failed: node {one} is in cluster prod, so it has no name in lab");
    assert!(ran.stderr.contains(&failed), "{}", ran.stderr);
    assert_eq!(fake.asked(&format!("POST /edge/api/v1/nodes/{one}/aliases")).len(), 1);
    let added = &fake.asked("POST /edge/api/v1/ssh_usernames/u1/ssh_public_keys")[0].body;
    assert_eq!(added, &json!({"key_name": "desk", "public_key": other}));
    let patched = &fake.asked("PATCH /edge/api/v1/webhooks/w1")[0].body;
    assert_eq!(patched, &json!({"subscribed_events": ["edge.node.registered"], "headers": {}}));
    assert!(two != one);
}
