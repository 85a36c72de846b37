//! Age, backlog, log and secrets.

use reeve_domain::seal::Seal;
use reeve_domain::webhook::{self, upkeep};
use reeve_testkit::db::{TestDb, on_both};
use reeve_types::Secret;
use reeve_types::webhook::{DeliveryFilter, DeliveryState, WebhookState};

use super::{A, Hooks};

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_too_long_is_dropped() {
    on_both(|db| async move {
        let hooks = Hooks::new(db).await;
        let one = hooks.webhook("http://one/", &[A]).await;
        webhook::pause(&hooks.app, &hooks.admin, &one.id).await.unwrap();
        hooks.happen(A, 0..2).await;
        hooks.await_log("noted", |log| log.len() == 2).await;
        hooks.clock.advance_ms(5 * 86_400_000 + 1_000);
        hooks.happen(A, 2..3).await;
        hooks.await_log("noted", |log| log.len() == 3).await;
        // Those of a paused webhook by the upkeep, those of an active one when their turn comes.
        webhook::resume(&hooks.app, &hooks.admin, &one.id).await.unwrap();
        let log = hooks.await_log("ended", |log| log.iter().all(|d| d.finished_at.is_some())).await;
        let dropped: Vec<_> = log.iter().filter(|d| d.state == DeliveryState::Dropped).collect();
        assert_eq!((dropped.len(), dropped[0].attempts), (2, 0));
        assert_eq!(dropped[0].error.as_deref(), Some("older than the maximum age"));
        assert_eq!(hooks.receivers.got().len(), 1);

        webhook::pause(&hooks.app, &hooks.admin, &one.id).await.unwrap();
        hooks.happen(A, 3..5).await;
        hooks.await_log("noted", |log| log.len() == 5).await;
        hooks.clock.advance_ms(6 * 86_400_000);
        upkeep::tidy(&hooks.app).await.unwrap();
        let dropped = DeliveryFilter { states: vec![DeliveryState::Dropped], ..Default::default() };
        assert_eq!(hooks.log(dropped).await.len(), 4);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_that_waits_disables() {
    on_both(|db| async move {
        let hooks = Hooks::with(db, |config| config.webhooks.max_backlog = 50).await;
        let one = hooks.webhook("http://one/", &[A]).await;
        webhook::pause(&hooks.app, &hooks.admin, &one.id).await.unwrap();
        hooks.happen(A, 0..49).await;
        hooks.await_log("noted", |log| log.len() == 49).await;
        upkeep::tidy(&hooks.app).await.unwrap();
        assert_eq!(
            (hooks.reload(&one.id).await.state, hooks.reload(&one.id).await.backlog),
            (WebhookState::Paused, 49)
        );
        hooks.happen(A, 49..60).await;
        hooks.await_log("noted", |log| log.len() == 60).await;
        upkeep::tidy(&hooks.app).await.unwrap();
        let after = hooks.reload(&one.id).await;
        assert_eq!((after.state, after.backlog), (WebhookState::Disabled, 60));
        webhook::resume(&hooks.app, &hooks.admin, &one.id).await.unwrap();
        hooks.receivers.await_count(60).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_kept_for_a_while() {
    on_both(|db| async move {
        let hooks = Hooks::new(db).await;
        let one = hooks.webhook("http://one/", &[A]).await;
        hooks.happen(A, 0..10).await;
        hooks.await_log("ended", |log| log.len() == 10 && log.iter().all(|d| d.finished_at.is_some())).await;
        hooks.clock.advance_ms(7 * 86_400_000 - 60_000);
        hooks.happen(A, 10..12).await;
        hooks.await_log("ended", |log| log.len() == 12 && log.iter().all(|d| d.finished_at.is_some())).await;
        upkeep::prune(&hooks.app).await.unwrap();
        assert_eq!(hooks.log(DeliveryFilter::default()).await.len(), 12);
        webhook::pause(&hooks.app, &hooks.admin, &one.id).await.unwrap();
        hooks.happen(A, 12..13).await;
        hooks.await_log("noted", |log| log.len() == 13).await;
        hooks.clock.advance_ms(120_000);
        upkeep::prune(&hooks.app).await.unwrap();
        assert_eq!(hooks.log(DeliveryFilter::default()).await.len(), 3);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_and_headers_cannot_be_read_in_the_file() {
    let hooks = Hooks::new(TestDb::sqlite().await).await;
    let secret = "planted-secret-of-a-webhook-0123456789";
    let header = "Bearer planted-header-of-a-webhook";
    let input = webhook::Create {
        url: "http://one/".into(),
        secret: Secret::new(secret),
        headers: Some([("Authorization".to_owned(), header.to_owned())].into()),
        subscribed_events: vec![A.into()],
    };
    let made = webhook::create(&hooks.app, &hooks.admin, input).await.unwrap();
    let change = webhook::Update { secret: Some(Secret::new(secret.replace('0', "9"))), ..Default::default() };
    webhook::update(&hooks.app, &hooks.admin, &made.id, change).await.unwrap();
    hooks.happen(A, 0..1).await;
    hooks.await_log("delivered", |log| log.iter().any(|d| d.state == DeliveryState::Delivered)).await;
    assert_eq!(hooks.receivers.got()[0].headers["authorization"], header);
    let path = hooks.app.store.sqlite_path().unwrap().to_owned();
    for file in std::fs::read_dir(path.parent().unwrap()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        for planted in ["planted-secret", "planted-header"] {
            assert!(!bytes.windows(planted.len()).any(|w| w == planted.as_bytes()), "{planted} is readable");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_sealing_key_keeps_webhooks_working() {
    on_both(|db| async move {
        let mut hooks = Hooks::new(db).await;
        hooks.webhook("http://one/", &[A]).await;
        hooks.kill();
        let keys = || vec![("k2".to_owned(), crate::seal_key(2)), ("k1".to_owned(), crate::seal_key(1))];
        let clock = hooks.clock.clone();
        let open = |keys: Vec<(String, Secret)>| {
            let seal = Seal::new(keys).unwrap();
            let config = hooks.app.config.clone();
            let ids = std::sync::Arc::new(reeve_types::id::SystemIds);
            reeve_domain::App::new(hooks.db.store.clone(), clock.clone(), ids, seal, config, "s1".into())
        };
        reeve_domain::seal::rotate::rotate(&open(keys())).await.unwrap();
        let mut newest = keys();
        newest.truncate(1);
        let app = std::sync::Arc::new(open(newest));
        app.set_fetch(hooks.receivers.clone());
        hooks.clock.advance_ms(60_000);
        let stop = tokio_util::sync::CancellationToken::new();
        let _loops = reeve_domain::background::start(&app, &stop);
        super::happen(&app, A, 0..1).await;
        hooks.receivers.await_count(1).await;
        stop.cancel();
    })
    .await;
}
