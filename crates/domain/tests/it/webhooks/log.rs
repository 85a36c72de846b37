//! The delivery log, sending again, pausing.

use reeve_domain::webhook::{self, delivery};
use reeve_testkit::db::on_both;
use reeve_types::webhook::{DeliveryFilter, DeliveryState, WebhookState};
use reeve_types::{ErrorKind, TextMatch};

use super::{A, B, Hooks, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_webhook_gets_everything_afterwards() {
    on_both(|db| async move {
        let hooks = Hooks::new(db).await;
        let one = hooks.webhook("http://one/", &[A]).await;
        webhook::pause(&hooks.app, &hooks.admin, &one.id).await.unwrap();
        assert_eq!(webhook::pause(&hooks.app, &hooks.admin, &one.id).await.unwrap().state, WebhookState::Paused);
        hooks.happen(A, 0..20).await;
        hooks.await_log("noted", |log| log.len() == 20).await;
        assert!(hooks.receivers.got().is_empty());
        webhook::resume(&hooks.app, &hooks.admin, &one.id).await.unwrap();
        hooks.receivers.await_count(20).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_found_and_sent_again() {
    on_both(|db| async move {
        let hooks = Hooks::with(db, |config| config.webhooks.max_attempts = 1).await;
        hooks
            .receivers
            .answer(|got, before| if before == 0 && got.number() % 2 == 1 { status(404) } else { status(200) });
        let one = hooks.webhook("http://one/", &[A, B]).await;
        hooks.happen(A, 0..4).await;
        hooks.happen(B, 4..6).await;
        hooks.await_log("all ended", |log| log.len() == 6 && log.iter().all(|d| d.finished_at.is_some())).await;
        let failed = DeliveryFilter { states: vec![DeliveryState::Failed], ..Default::default() };
        assert_eq!(hooks.log(failed.clone()).await.len(), 3);
        let narrow = DeliveryFilter {
            kind: Some(TextMatch::Wildcard("edge.command*".into())),
            error: Some(TextMatch::Wildcard("*404".into())),
            ..failed.clone()
        };
        let found = hooks.log(narrow).await;
        assert_eq!(found.len(), 1);

        let again = delivery::redeliver(&hooks.app, &hooks.admin, &found[0].id).await.unwrap();
        assert_eq!((again.state, &again.id), (DeliveryState::Pending, &found[0].id));
        let sent = |d: &reeve_types::webhook::Delivery| d.id == again.id && d.state == DeliveryState::Delivered;
        hooks.await_log("sent again", |log| log.iter().any(|d| sent(d) && d.attempts == 2)).await;
        assert_eq!(hooks.log(failed).await.len(), 2);

        // Everything that it did not get, and what was never noted for it.
        let since = hooks.app.now();
        let done = delivery::redeliver_since(&hooks.app, &hooks.admin, &one.id, since, None).await.unwrap();
        assert_eq!((done.requeued, done.added, done.continue_from), (2, 0, None));
        hooks.await_log("none left", |log| log.iter().all(|d| d.state == DeliveryState::Delivered)).await;
        assert_eq!(hooks.receivers.got().len(), 9, "what was delivered is not sent again");
        let late = hooks.webhook("http://late/", &[A]).await;
        let done = delivery::redeliver_since(&hooks.app, &hooks.admin, &late.id, since, None).await.unwrap();
        assert_eq!((done.requeued, done.added), (0, 4));
        hooks.receivers.await_until("four", |got| got.iter().filter(|g| g.url == "http://late/").count() == 4).await;
        let none = delivery::redeliver_since(&hooks.app, &hooks.admin, &late.id, since.plus_ms(1), None).await.unwrap();
        assert_eq!((none.requeued, none.added), (0, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_takes_the_log_along() {
    on_both(|db| async move {
        let hooks = Hooks::new(db).await;
        let one = hooks.webhook("http://one/", &[A]).await;
        hooks.happen(A, 0..3).await;
        let log = hooks.await_log("three", |log| log.len() == 3).await;
        webhook::delete(&hooks.app, &hooks.admin, &one.id).await.unwrap();
        let gone = delivery::get(&hooks.app, &hooks.admin, &log[0].id).await.unwrap_err();
        assert_eq!(gone.kind, ErrorKind::NotFound);
        assert_eq!(
            delivery::redeliver(&hooks.app, &hooks.admin, &log[0].id).await.unwrap_err().kind,
            ErrorKind::NotFound
        );
        assert_eq!(webhook::delete(&hooks.app, &hooks.admin, &one.id).await.unwrap_err().kind, ErrorKind::NotFound);
        hooks.happen(A, 3..4).await;
        webhook::fan_out::pass(&hooks.app).await.unwrap();
        assert!(hooks.log(DeliveryFilter::default()).await.is_empty());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_left_the_feed_cannot_be_sent_again() {
    on_both(|db| async move {
        // The log outlives the feed here, or its own upkeep could be first.
        let days = std::time::Duration::from_secs(30 * 86_400);
        let hooks = Hooks::with(db, |config| config.webhooks.log_retention = days).await;
        hooks.webhook("http://one/", &[A]).await;
        hooks.happen(A, 0..1).await;
        let log = hooks.await_log("delivered", |log| log.iter().any(|d| d.state == DeliveryState::Delivered)).await;
        hooks.clock.advance_ms(8 * 86_400_000);
        while reeve_domain::event::prune(&hooks.app).await.unwrap() > 0 {}
        let error = delivery::redeliver(&hooks.app, &hooks.admin, &log[0].id).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_receiver_answers_can_be_written_down() {
    on_both(|db| async move {
        let hooks = Hooks::new(db).await;
        let answers: [&'static [u8]; 4] = [b"{\"a\": \"\\u0000\"}", b"a\0b", b"\\u0000", b"\xff\xfe \\"];
        hooks.receivers.answer(move |got, _| {
            let body = bytes::Bytes::from_static(answers[usize::try_from(got.number()).unwrap()]);
            Ok(reeve_ports::fetch::Answer { status: 200, retry_after: None, body, truncated: false })
        });
        hooks.webhook("http://one/", &[A]).await;
        hooks.happen(A, 0..4).await;
        hooks.await_delivered(4).await;
        let log = hooks.log(DeliveryFilter::default()).await;
        let mut kept: Vec<&str> = log.iter().filter_map(|d| d.answer.as_deref()).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["\\u0000", "a\u{2400}b", "{\"a\": \"\\u0000\"}", "\u{fffd}\u{fffd} \\"]);
    })
    .await;
}
