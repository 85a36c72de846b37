//! One key, one effect.

use reeve_domain::idempotency::{self, TAKEN};
use reeve_store::setting;
use reeve_testkit::db::on_both;
use reeve_types::access::{Lookup, StoredReply};
use reeve_types::{Actor, ErrorKind, Result};

use crate::{Bench, nobody_from, with_key};

fn reply() -> StoredReply {
    StoredReply {
        status: 201,
        headers: vec![("location".into(), "/x".into())],
        body: r#"{"token":"rv_secret"}"#.into(),
    }
}

async fn effect(bench: &Bench, actor: &Actor, name: &str) -> Result<()> {
    let mut tx = bench.app.begin(actor).await?;
    setting::put(&mut tx, name, "done", bench.app.now()).await?;
    tx.commit().await
}

#[tokio::test]
async fn a_retry_gets_the_answer() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let first = with_key(&Actor::system(), "r1", "k", "f");
        assert_eq!(idempotency::lookup(&bench.app, &first).await.unwrap(), Lookup::Fresh);
        effect(&bench, &first, "a").await.unwrap();
        let again = with_key(&Actor::system(), "r2", "k", "f");
        assert_eq!(idempotency::lookup(&bench.app, &again).await.unwrap(), Lookup::InProgress);
        let error = effect(&bench, &again, "b").await.unwrap_err();
        assert_eq!((error.kind, error.reason), (ErrorKind::Conflict, TAKEN));
        idempotency::complete(&bench.app, &first, &reply()).await.unwrap();
        assert_eq!(idempotency::lookup(&bench.app, &again).await.unwrap(), Lookup::Replay(reply()));
        assert_eq!(bench.count("settings WHERE value = 'done'").await, 1);
        let other = with_key(&Actor::system(), "r3", "k", "another request");
        assert_eq!(idempotency::lookup(&bench.app, &other).await.unwrap(), Lookup::Mismatch);
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_never_came_is_told_from_one_on_its_way() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        effect(&bench, &with_key(&Actor::system(), "r1", "k", "f"), "a").await.unwrap();
        bench.clock.advance_ms(61_000);
        let again = with_key(&Actor::system(), "r2", "k", "f");
        assert_eq!(idempotency::lookup(&bench.app, &again).await.unwrap(), Lookup::Unanswered);
    })
    .await;
}

#[tokio::test]
async fn a_request_that_failed_leaves_nothing() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let first = with_key(&Actor::system(), "r1", "k", "f");
        drop(bench.app.begin(&first).await.unwrap());
        idempotency::complete(&bench.app, &first, &reply()).await.unwrap();
        let again = with_key(&Actor::system(), "r2", "k", "f");
        assert_eq!(idempotency::lookup(&bench.app, &again).await.unwrap(), Lookup::Fresh);
        effect(&bench, &again, "a").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn one_request_may_begin_twice() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        let actor = with_key(&Actor::system(), "r1", "k", "f");
        effect(&bench, &actor, "a").await.unwrap();
        effect(&bench, &actor, "b").await.unwrap();
        assert_eq!(bench.count("settings WHERE value = 'done'").await, 2);
        // Without a request id nothing says that it is the same request.
        let nameless = with_key(&Actor::system(), "", "k2", "f");
        effect(&bench, &nameless, "a").await.unwrap();
        assert!(effect(&bench, &nameless, "a").await.is_err());
    })
    .await;
}

#[tokio::test]
async fn of_many_at_once_one_has_its_effect() {
    on_both(|db| async move {
        let bench = std::sync::Arc::new(Bench::new(db));
        let tasks: Vec<_> = (0..12)
            .map(|i| {
                let bench = bench.clone();
                tokio::spawn(async move {
                    let actor = with_key(&Actor::system(), &format!("r{i}"), "k", "f");
                    effect(&bench, &actor, &format!("effect{i}")).await
                })
            })
            .collect();
        let mut succeeded = 0;
        for task in tasks {
            match task.await.unwrap() {
                Ok(()) => succeeded += 1,
                Err(error) => assert_eq!((error.kind, error.reason), (ErrorKind::Conflict, TAKEN), "{error:?}"),
            }
        }
        assert_eq!((succeeded, bench.count("settings WHERE value = 'done'").await), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn keys_belong_to_their_principal() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        effect(&bench, &with_key(&Actor::system(), "r1", "k", "f"), "a").await.unwrap();
        let mut stranger = with_key(&nobody_from("192.0.2.1"), "r2", "k", "f");
        stranger.request.remote = "192.0.2.1".into();
        effect(&bench, &stranger, "b").await.unwrap();
        let mut neighbour = with_key(&nobody_from("192.0.2.2"), "r3", "k", "f");
        neighbour.request.remote = "192.0.2.2".into();
        assert_eq!(idempotency::lookup(&bench.app, &neighbour).await.unwrap(), Lookup::Fresh);
    })
    .await;
}

#[tokio::test]
async fn keys_end() {
    on_both(|db| async move {
        let bench = Bench::new(db);
        for i in 0..3 {
            effect(&bench, &with_key(&Actor::system(), &format!("r{i}"), &format!("k{i}"), "f"), "a").await.unwrap();
        }
        bench.clock.advance_ms(24 * 3600 * 1000 + 1);
        let late = with_key(&Actor::system(), "late", "k0", "another request");
        assert_eq!(idempotency::lookup(&bench.app, &late).await.unwrap(), Lookup::Fresh);
        effect(&bench, &late, "b").await.unwrap();
        assert_eq!(idempotency::drop_expired(&bench.app).await.unwrap(), 2);
        assert_eq!(bench.count("idempotency_keys").await, 1);
    })
    .await;
}
