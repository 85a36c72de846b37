//! A thousand secrets go in; none of them can be read in the database file.

use reeve_domain::idempotency::{self, StoredReply};
use reeve_domain::identity::{api_token, authenticate, session, user};
use reeve_domain::seal::Aad;
use reeve_domain::seal::rotate::setting_place;
use reeve_store::setting;
use reeve_testkit::db::TestDb;
use reeve_types::{Actor, Role, Secret};

use crate::{Bench, nobody_from, with_key};

#[tokio::test]
async fn no_planted_secret_is_in_the_file() {
    let bench = Bench::new(TestDb::sqlite().await);
    let app = &bench.app;
    let mut planted: Vec<String> = Vec::new();

    let mut actors = Vec::new();
    for i in 0..20 {
        let password = format!("planted-password-{i:04}-end");
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
        let typed = format!("planted-as-name-{i:04}-end");
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
    for i in 0..350 {
        let name = format!("sealed.{i}");
        let secret = format!("planted-sealed-{i:04}-end");
        let mut tx = app.store.begin().await.unwrap();
        let sealed = app.seal.seal(&*app.ids, setting_place(&name), &secret);
        setting::put(&mut tx, &name, &sealed, app.now()).await.unwrap();
        tx.commit().await.unwrap();
        planted.push(secret);
    }
    planted.push("master-master-master".to_owned());
    assert!(planted.len() >= 1_000, "{}", planted.len());
    assert!(app.seal.open(Aad::new("settings", "value", "sealed.1"), "s1.k1.AA").is_err());

    let path = app.store.sqlite_path().unwrap().to_owned();
    let folder = path.parent().unwrap();
    let mut looked_at = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        looked_at += bytes.len();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains("user.create") || bytes.len() < 100_000, "the scan sees what is plain");
        for secret in &planted {
            assert!(!text.contains(secret.as_str()), "a planted secret is readable");
            // The part that makes a token secret, without its visible prefix.
            let tail = &secret[secret.len().saturating_sub(20)..];
            assert!(!text.contains(tail), "a part of a planted secret is readable");
        }
    }
    assert!(looked_at > 100_000, "{looked_at}");
}
