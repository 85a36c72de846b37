//! A thousand secrets go in; none of them can be read in the database file.

use std::collections::HashSet;

use reeve_domain::idempotency;
use reeve_domain::identity::{api_token, authenticate, session, user};
use reeve_domain::seal::rotate::setting_place;
use reeve_domain::ssh_username::{self, Offer};
use reeve_domain::{App, agent, cluster, enrollment_key};
use reeve_store::setting;
use reeve_testkit::db::TestDb;
use reeve_types::access::StoredReply;
use reeve_types::node::NodeIdType;
use reeve_types::{Actor, NodeId, Role, Secret};

use crate::{Bench, nobody_from, with_key};

#[tokio::test]
async fn no_planted_secret_is_in_the_file() {
    let bench = Bench::new(TestDb::sqlite().await);
    let app = &bench.app;
    let mut planted: Vec<String> = Vec::new();

    let mut actors = Vec::new();
    for i in 0..20 {
        let password = format!("planted-password-of-{i:04}");
        let input =
            user::Create { username: format!("user{i}"), password: Secret::new(&*password), role: Role::Operator };
        user::create(app, &Actor::system(), input).await.unwrap();
        let tokens =
            session::login(app, &nobody_from(""), &format!("user{i}"), &Secret::new(&*password)).await.unwrap();
        actors.push(authenticate::authenticate(app, tokens.access_token.expose(), "").await.unwrap());
        planted.extend([password, tokens.access_token.expose().to_owned()]);
        let mut refresh = tokens.refresh_token;
        for _ in 0..10 {
            planted.push(refresh.expose().to_owned());
            let next = session::refresh(app, &nobody_from(""), &refresh).await.unwrap();
            planted.push(next.access_token.expose().to_owned());
            refresh = next.refresh_token;
        }
        planted.push(refresh.expose().to_owned());
    }
    // People type passwords into name fields.
    for i in 0..10 {
        let typed = format!("planted-as-name-no-{i:04}");
        session::login(app, &nobody_from(""), &typed, &Secret::new("x")).await.unwrap_err();
        planted.push(typed);
    }
    for i in 0..200 {
        let actor = with_key(&actors[i % actors.len()], &format!("r{i}"), &format!("key{i}"), "f");
        let input = api_token::Create { name: format!("token{i}"), scopes: vec![], expires_at: None };
        let (_, token) = api_token::create(app, &actor, input).await.unwrap();
        let body = format!("{{\"token\":\"{}\"}}", token.expose());
        idempotency::complete(app, &actor, &StoredReply { status: 201, headers: vec![], body }).await.unwrap();
        planted.push(token.expose().to_owned());
    }
    let node = enrolled_node(app, &mut planted).await;
    for i in 0..10 {
        let password = format!("planted-ssh-password-{i:04}");
        let input = ssh_username::Create {
            username: format!("user{i}"),
            password: Some(Secret::new(&*password)),
            public_keys: Vec::new(),
        };
        ssh_username::create(app, &Actor::system(), &node, input).await.unwrap();
        let offer = Offer::Password(Secret::new(&*password));
        assert!(ssh_username::verify(app, &node, &format!("user{i}"), &offer).await.unwrap());
        let typed = format!("Planted-as-SSH-name-{i:04}");
        ssh_username::verify(app, &node, &typed, &offer).await.unwrap();
        planted.extend([password, typed]);
    }
    for i in 0..350 {
        let name = format!("sealed.{i}");
        let secret = format!("planted-and-sealed-{i:04}");
        let mut tx = app.store.begin().await.unwrap();
        let sealed = app.seal.seal(&*app.ids, setting_place(&name), &secret);
        setting::put(&mut tx, &name, &sealed, app.now()).await.unwrap();
        tx.commit().await.unwrap();
        planted.push(secret);
    }
    assert!(planted.len() >= 1_000, "{}", planted.len());

    // The end of a secret is enough: its start may be a prefix that is meant to be seen.
    let ends: HashSet<&[u8]> = planted.iter().map(|s| &s.as_bytes()[s.len() - END..]).collect();
    let path = app.store.sqlite_path().unwrap().to_owned();
    let mut looked_at = 0;
    let mut plain_text_seen = false;
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        looked_at += bytes.len();
        for window in bytes.windows(END) {
            assert!(!ends.contains(window), "{} is readable", String::from_utf8_lossy(window));
            plain_text_seen |= window == PLAIN;
        }
    }
    assert!(plain_text_seen && looked_at > 500_000, "{looked_at} bytes scanned");
}

async fn enrolled_node(app: &App, planted: &mut Vec<String>) -> NodeId {
    let input = cluster::Create { name: "main".into(), ipv4_range: None, node_limit: None };
    cluster::create(app, &Actor::system(), input).await.unwrap();
    let input = enrollment_key::Create { uses_remaining: Some(1), ..Default::default() };
    let key = enrollment_key::create(app, &Actor::system(), "main", input).await.unwrap().key;
    let node_id = NodeId(app.ids.next());
    let enrollment = agent::Enrollment {
        key: key.expose().to_owned(),
        node_id: node_id.clone(),
        id_type: NodeIdType::Random,
        public_key: vec![1; 32],
        machine: crate::world::machine("1.0.0"),
    };
    agent::enroll(app, enrollment).await.unwrap().unwrap();
    planted.push(key.expose().to_owned());
    node_id
}

const END: usize = 12;
/// What is meant to be readable, to see that the scan sees.
const PLAIN: &[u8; END] = b"token.create";
