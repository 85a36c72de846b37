//! SSH credentials: made whole or not at all, verified exactly, each attempt with its event.

use reeve_domain::ssh_public_key::{self, MAX_KEYS, NewKey};
use reeve_domain::ssh_username::{self, Offer};
use reeve_domain::{event, node};
use reeve_testkit::db::on_both;
use reeve_types::ssh_public_key::SshPublicKeyFilter;
use reeve_types::{Actor, ErrorKind, NodeId, Page, Secret, TextMatch};
use serde_json::{Value, json};

use crate::world::World;

const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhVX/7vyodHPimN2fnuT1inLDnEkkMwov/ZqBn3Fzos ann@laptop";
const EC: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHpp8P623ePA8pI1RUA+7a85taDVy5SHevih6g+JqEZZhQOaNwlo5RQrH0jg9XNUtQsJkogM+QICHA0SjlBWCZI=";
const PASSWORD: &str = "correct horse battery";

fn key(name: &str, line: &str) -> NewKey {
    NewKey { key_name: name.into(), public_key: line.into() }
}

async fn user(w: &World, node: &NodeId, name: &str, password: bool, keys: Vec<NewKey>) -> ssh_username::View {
    let password = password.then(|| Secret::new(PASSWORD));
    let input = ssh_username::Create { username: name.into(), password, public_keys: keys };
    ssh_username::create(&w.app, &w.admin, node, input).await.unwrap()
}

async fn lets_in(w: &World, node: &NodeId, name: &str, offer: Offer) -> bool {
    ssh_username::verify(&w.app, node, name, &offer).await.unwrap()
}

fn password(text: &str) -> Offer {
    Offer::of(Some(Secret::new(text)), None)
}

fn public_key(line: &str) -> Offer {
    Offer::of(None, Some(line.into()))
}

async fn events(w: &World) -> Vec<Value> {
    let kinds = [event::SSH_USERNAME_VERIFIED.to_owned()];
    let found = event::after(&w.app, &Actor::system(), 0, &kinds).await.unwrap();
    found.iter().map(|event| serde_json::from_str(&event.data).unwrap()).collect()
}

#[tokio::test]
async fn only_exact_names_with_their_own_credentials_are_let_in() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let (a, b) = (w.node("main").await, w.node("main").await);
        user(&w, &a, "deploy", true, vec![key("laptop", ED)]).await;
        user(&w, &a, "keys-only", false, vec![key("laptop", EC)]).await;
        user(&w, &b, "other", true, Vec::new()).await;
        assert!(lets_in(&w, &a, "deploy", password(PASSWORD)).await);
        let bare = ED.rsplit_once(' ').unwrap().0;
        assert!(lets_in(&w, &a, "deploy", public_key(bare)).await);
        assert!(lets_in(&w, &a, "deploy", public_key(&format!("{bare} another@comment"))).await);
        assert!(lets_in(&w, &a, "keys-only", public_key(EC)).await);
        for (node, name, offer) in [
            (&a, "deploy", password("correct horse batterz")),
            (&a, "Deploy", password(PASSWORD)),
            (&a, "dep*", password(PASSWORD)),
            (&a, "deploy,keys-only", password(PASSWORD)),
            (&a, "%", password(PASSWORD)),
            (&a, "deploy\0", password(PASSWORD)),
            (&a, "", password(PASSWORD)),
            (&b, "deploy", password(PASSWORD)),
            (&a, "keys-only", password(PASSWORD)),
            (&a, "keys-only", password("")),
            (&a, "nobody", password(PASSWORD)),
            (&a, "deploy", public_key(EC)),
            (&a, "nobody", public_key(ED)),
            (&a, "deploy", public_key("ssh-ed25519 AAAA")),
            (&a, "deploy", public_key(ED.split(' ').nth(1).unwrap())),
            (&a, "deploy", Offer::of(None, None)),
            (&a, "deploy", Offer::of(Some(Secret::new(PASSWORD)), Some(ED.into()))),
        ] {
            assert!(!lets_in(&w, node, name, offer.clone()).await, "{name} {offer:?}");
        }
        let gone = ssh_username::verify(&w.app, &"gone".into(), "deploy", &password(PASSWORD)).await;
        assert_eq!(gone.unwrap_err().kind, ErrorKind::NotFound);
        assert_eq!(events(&w).await.len(), 21, "one for each attempt at a node");
    })
    .await;
}

#[tokio::test]
async fn every_attempt_leaves_an_event_without_secrets() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let a = w.node("main").await;
        let made = user(&w, &a, "deploy", true, Vec::new()).await;
        lets_in(&w, &a, "deploy", password(PASSWORD)).await;
        lets_in(&w, &a, "root", public_key(ED)).await;
        lets_in(&w, &a, "Typed-My-Passw0rd", Offer::Unclear).await;
        let shown = |id: Value, name: Value, method: &str, result: &str| {
            json!({
                "ssh_username_id": id, "node_id": a, "cluster_name": "main", "username": name, "auth_method": method,
                "result": result, "verified_at": w.app.now().rfc3339_secs(),
            })
        };
        assert_eq!(
            events(&w).await,
            [
                shown(json!(made.row.id), json!("deploy"), "password", "success"),
                shown(Value::Null, json!("root"), "public_key", "failure"),
                shown(Value::Null, Value::Null, "unknown", "failure"),
            ]
        );
    })
    .await;
}

#[tokio::test]
async fn a_username_is_made_with_its_keys_or_not_at_all() {
    on_both(|db| async move {
        let w = World::new(db).await;
        let a = w.node("main").await;
        let create = |name: &str, password: Option<&str>, public_keys: Vec<NewKey>| {
            let password = password.map(Secret::new);
            let input = ssh_username::Create { username: name.into(), password, public_keys };
            let (w, a) = (&w, &a);
            async move { ssh_username::create(&w.app, &w.admin, a, input).await }
        };
        let error = create("deploy", None, vec![key("same", ED), key("same", EC)]).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Conflict, "key_name has already been taken"));
        let error = create("Deploy", Some("short"), vec![key("", "ssh-dss AAAA")]).await.unwrap_err();
        let fields: Vec<&String> = error.details.keys().collect();
        assert_eq!(fields, ["password", "public_keys/0/key_name", "public_keys/0/public_key", "username"]);
        let error = create("deploy-deploy", Some("Deploy-Deploy"), Vec::new()).await.unwrap_err();
        assert_eq!(error.details["password"], ["must not be the username"]);
        let many = (0..=MAX_KEYS).map(|i| key(&format!("k{i}"), ED)).collect();
        let error = create("deploy", None, many).await.unwrap_err();
        assert_eq!(error.details["public_keys"], ["a username has at most 100 public keys"]);
        let nobody = ssh_username::list(&w.app, &w.admin, &Default::default(), &[], Page::default()).await.unwrap();
        assert_eq!(nobody.total, 0);

        let full = (0..MAX_KEYS).map(|i| key(&format!("k{i}"), ED)).collect();
        let made = create("deploy", None, full).await.unwrap();
        assert_eq!(create("deploy", None, Vec::new()).await.unwrap_err().message, "username has already been taken");
        let one_more = ssh_public_key::create(&w.app, &w.admin, &made.row.id, key("more", EC)).await.unwrap_err();
        assert_eq!(one_more.kind, ErrorKind::Conflict);
        let page = Page { number: 1, size: 100 };
        let named = SshPublicKeyFilter { key_name: Some(TextMatch::Exact("k7".into())), ..Default::default() };
        let found = ssh_public_key::list(&w.app, &w.admin, &named, &[], page).await.unwrap();
        assert_eq!((found.total, found.items[0].key.bits, found.items[0].key.comment.as_str()), (1, 256, "ann@laptop"));
        node::delete(&w.app, &w.admin, &a).await.unwrap();
        let left = ssh_public_key::list(&w.app, &w.admin, &Default::default(), &[], page).await.unwrap();
        assert_eq!(left.total, 0);
    })
    .await;
}

#[tokio::test]
async fn only_who_manages_the_fleet_lets_people_in() {
    let w = World::new(reeve_testkit::db::TestDb::sqlite().await).await;
    let a = w.node("main").await;
    let developer = Actor {
        permissions: reeve_domain::authz::of_role(reeve_types::Role::Developer).into(),
        principal: reeve_types::Principal::User { id: "u".into(), name: "u".into() },
        ..Actor::anonymous()
    };
    let input = ssh_username::Create { username: "deploy".into(), password: None, public_keys: Vec::new() };
    let refused = ssh_username::create(&w.app, &developer, &a, input).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Forbidden);
    let refused = ssh_username::try_credentials(&w.app, &developer, &a, "deploy", &password("x")).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Forbidden);
}
