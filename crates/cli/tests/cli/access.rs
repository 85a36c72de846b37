//! Names, doors and updates of nodes: `alias`, `ssh-user`, `self-update`.

use serde_json::{Value, json};

use crate::fake::{Fake, User, data, empty, node, node_id, page};

const ID: &str = "0193aaaa-0000-7000-8000-0000000000aa";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhVX/7vyodHPimN2fnuT1inLDnEkkMwov/ZqBn3Fzos ann@laptop";

async fn fleet() -> Fake {
    let fake = Fake::start().await;
    fake.on("GET /edge/api/v1/nodes", |_| page(vec![node(1, "web-1", "healthy")], 1, false));
    fake
}

fn cells(line: &str) -> Vec<&str> {
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[tokio::test]
async fn aliases_are_given_and_taken() {
    let fake = fleet().await;
    let alias = json!({
        "id": ID, "name": "shop", "node_id": node_id(1), "cluster_name": "prod",
        "vpn_hostname": "node-shop.cluster-prod.nm.internal", "inserted_at": "2026-01-10T11:00:00Z",
    });
    let row = alias.clone();
    fake.on("GET /edge/api/v1/aliases", move |_| page(vec![row.clone()], 1, false));
    fake.on(&format!("POST /edge/api/v1/nodes/{}/aliases", node_id(1)), move |_| data(alias.clone()));
    fake.on(&format!("DELETE /edge/api/v1/aliases/{ID}"), |_| empty());
    let mut user = User::of(&fake);
    let ran = user.run("alias create web-1 shop").await;
    assert_eq!(ran.stderr, "node web-1 is also called shop: node-shop.cluster-prod.nm.internal\n");
    assert_eq!(fake.asked(&format!("POST /edge/api/v1/nodes/{}/aliases", node_id(1)))[0].body, json!({"name": "shop"}));
    let ran = user.run("alias list --node web-1 --cluster 'p*'").await;
    let line = ran.stdout.lines().nth(1).unwrap().to_owned();
    assert_eq!(cells(&line), ["shop", "prod", "node-shop.cluster-prod.nm.internal", &node_id(1), "60m"]);
    assert_eq!(fake.asked("GET /edge/api/v1/aliases")[0].param("node_id"), Some(&*node_id(1)));
    assert_eq!(user.run("alias list -o name").await.stdout, format!("{ID}\n"));
    assert_eq!(user.run("alias delete shop").await.stderr, "alias shop deleted\n");
    let ran = user.run("alias delete nobody").await;
    assert_eq!((ran.code, ran.stderr.lines().next().unwrap()), (1, "error: no alias is called 'nobody'"));
}

#[tokio::test]
async fn ssh_users_are_let_in_tried_and_shut_out() {
    let fake = fleet().await;
    let key = json!({
        "id": "k1", "ssh_username_id": ID, "key_name": "laptop", "public_key": KEY, "key_type": "ssh-ed25519", "bits": 256,
        "fingerprint": "SHA256:fCSz", "comment": "ann@laptop", "inserted_at": "2026-01-10T11:00:00Z",
    });
    let deploy = json!({
        "id": ID, "node_id": node_id(1), "username": "deploy", "has_password": true, "public_keys": [key],
        "inserted_at": "2026-01-10T11:00:00Z",
    });
    let (row, made) = (deploy.clone(), deploy.clone());
    let on_node = format!("/edge/api/v1/nodes/{}/ssh_usernames", node_id(1));
    fake.on("GET /edge/api/v1/ssh_usernames", move |_| page(vec![row.clone()], 1, false));
    fake.on(&format!("POST {on_node}"), move |_| data(made.clone()));
    fake.on(&format!("POST {on_node}/verify"), |seen| data(json!({"verified": seen.body["password"] == "right"})));
    fake.on(&format!("DELETE /edge/api/v1/ssh_usernames/{ID}"), |_| empty());
    let added = key.clone();
    fake.on(&format!("POST /edge/api/v1/ssh_usernames/{ID}/ssh_public_keys"), move |_| data(added.clone()));
    fake.on("GET /edge/api/v1/ssh_public_keys", move |_| page(vec![key.clone()], 1, false));
    fake.on("DELETE /edge/api/v1/ssh_public_keys/k1", |_| empty());
    let mut user = User::of(&fake);
    let (public, private) = (user.home().join("id_ed25519.pub"), user.home().join("id_ed25519"));
    std::fs::write(&public, format!("{KEY}\n")).unwrap();
    std::fs::write(&private, "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
    let (public, private) = (public.display().to_string(), private.display().to_string());

    user.answers = vec!["correct horse battery"];
    let named = format!("laptop={public}");
    let ran = user.run_words(&["ssh-user", "create", "deploy@web-1", "--password", "--key", &named]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, "deploy@web-1 is let in\n"));
    assert_eq!(
        fake.asked(&format!("POST {on_node}"))[0].body,
        json!({"username": "deploy", "password": "correct horse battery", "public_keys": [{"key_name": "laptop", "public_key": KEY}]})
    );
    let ran = user.run_words(&["ssh-user", "create", "deploy@web-1", "--key", &private]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("holds a private key"), "{}", ran.stderr);
    assert_eq!(fake.asked(&format!("POST {on_node}")).len(), 1, "nothing was sent");
    assert_eq!(user.run("ssh-user create deploy").await.code, 2);

    let ran = user.run("ssh-user list --has-password").await;
    assert_eq!(cells(ran.stdout.lines().nth(1).unwrap())[..4], ["deploy", &node_id(1), "yes", "laptop"]);
    assert_eq!(fake.asked("GET /edge/api/v1/ssh_usernames")[0].param("has_password"), Some("true"));
    for (password, code, said) in [("right", 0, "is let in"), ("wrong", 1, "is not let in")] {
        user.answers = vec![password];
        let ran = user.run("ssh-user verify deploy@web-1").await;
        assert_eq!((ran.code, ran.stderr), (code, format!("deploy@web-1 {said}\n")));
    }
    let ran = user.run_words(&["ssh-user", "key", "add", "deploy@web-1", &public]).await;
    assert_eq!(ran.stderr, "key laptop lets deploy@web-1 in: SHA256:fCSz\n");
    let asked = fake.asked(&format!("POST /edge/api/v1/ssh_usernames/{ID}/ssh_public_keys"));
    assert_eq!(asked[0].body, json!({"key_name": "id_ed25519", "public_key": KEY}));
    let ran = user.run("ssh-user key list deploy@web-1 --matching *@laptop").await;
    let line = ran.stdout.lines().nth(1).unwrap().to_owned();
    assert_eq!(cells(&line), ["laptop", "ssh-ed25519", "256", "SHA256:fCSz", "ann@laptop", "60m", "k1"]);
    assert_eq!(fake.asked("GET /edge/api/v1/ssh_public_keys")[0].param("ssh_username_id"), Some(ID));
    assert_eq!(user.run("ssh-user key delete k1").await.stderr, "key k1 deleted\n");
    assert_eq!(user.run("ssh-user delete deploy@web-1").await.stderr, "deploy@web-1 is shut out\n");
}

#[tokio::test]
async fn self_updates_are_asked_for_and_looked_at() {
    let fake = fleet().await;
    let request = |status: &str| {
        json!({
            "id": ID, "targeting": {"type": "all"}, "status": status, "summary": Value::Null, "created_by": "ann",
            "inserted_at": "2026-01-10T11:00:00Z", "rollout": {"state": "running"},
            "progress": {"total": 3, "pending": 1, "sent": 0, "triggered": 1, "failed": 1, "cancelled": 0},
        })
    };
    fake.on("POST /edge/api/v1/self_update_requests", move |_| data(request("pending")));
    fake.on("GET /edge/api/v1/self_update_requests", move |_| page(vec![request("processing")], 1, false));
    fake.on(&format!("GET /edge/api/v1/self_update_requests/{ID}/nodes"), |_| {
        page(vec![json!({"node_id": node_id(1), "state": "failed", "reason": "no", "batch": 1})], 1, false)
    });
    fake.on(&format!("POST /edge/api/v1/self_update_requests/{ID}/rollout/pause"), move |_| {
        data(request("processing"))
    });
    fake.on(&format!("DELETE /edge/api/v1/self_update_requests/{ID}"), |_| empty());
    let mut user = User::of(&fake);
    assert_eq!(user.run("self-update create").await.code, 2, "no target");
    let ran = user.run("self-update create --node web-1 --canary 1 --batch 10% --max-failures 2").await;
    assert_eq!(ran.stderr, format!("asked; what the nodes answer: reeve self-update nodes {ID}\n"));
    assert_eq!(
        fake.asked("POST /edge/api/v1/self_update_requests")[0].body,
        json!({
            "targeting": {"type": "nodes", "node_ids": [node_id(1)]},
            "rollout": {"canary": 1, "batch_size": "10%", "max_failures": 2},
        })
    );
    let ran = user.run("self-update list").await;
    let line = ran.stdout.lines().nth(1).unwrap().to_owned();
    assert_eq!(cells(&line), [ID, "processing", "1", "1", "3", "all", "running", "60m", "ann"]);
    let ran = user.run("self-update nodes last --state failed").await;
    assert_eq!(cells(ran.stdout.lines().nth(1).unwrap())[..3], [&*node_id(1), "failed", "no"]);
    let paused = user.run("self-update pause last").await.stderr;
    assert_eq!(paused, format!("the rollout of self-update request {ID} is paused\n"));
    let deleted = user.run("self-update delete last").await.stderr;
    assert_eq!(deleted, format!("self-update request {ID} deleted\n"));
}
