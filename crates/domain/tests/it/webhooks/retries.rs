//! What follows a failed attempt.

use reeve_domain::webhook;
use reeve_ports::fetch::{Answer, Failure};
use reeve_testkit::db::on_both;
use reeve_types::webhook::{DeliveryState, WebhookState};

use super::{A, Got, Hooks, status};

fn states(log: &[reeve_types::webhook::Delivery]) -> Vec<(DeliveryState, i64)> {
    log.iter().map(|d| (d.state, d.attempts)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again_later_and_later_until_given_up() {
    on_both(|db| async move {
        let hooks = Hooks::with(db, |config| config.webhooks.max_attempts = 3).await;
        hooks.receivers.answer(|_, _| status(500));
        hooks.webhook("http://one/", &[A]).await;
        hooks.happen(A, 0..1).await;
        let log = hooks.await_log("one attempt", |log| states(log) == [(DeliveryState::Pending, 1)]).await;
        let pause = log[0].next_at.ms_since(log[0].attempted_at.unwrap());
        assert!((4_000..=6_000).contains(&pause), "{pause}");
        assert_eq!((log[0].http_status, log[0].error.as_deref()), (Some(500), Some("answered 500")));
        assert_eq!(log[0].answer.as_deref(), Some("words of the receiver"));
        hooks.clock.advance_ms(6_000);
        let log = hooks.await_log("two attempts", |log| states(log) == [(DeliveryState::Pending, 2)]).await;
        let pause = log[0].next_at.ms_since(log[0].attempted_at.unwrap());
        assert!((24_000..=36_000).contains(&pause), "{pause}");
        hooks.clock.advance_ms(36_000);
        hooks.await_log("given up", |log| states(log) == [(DeliveryState::Failed, 3)]).await;
        let got = hooks.receivers.got();
        assert!(got.iter().all(|g| g.id() == got[0].id()), "one id for all attempts");
        assert_ne!(got[0].headers["webhook-timestamp"], got[1].headers["webhook-timestamp"]);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_says_when_to_come_back() {
    on_both(|db| async move {
        let hooks = Hooks::new(db).await;
        let busy = |seconds: &str| {
            Ok(Answer {
                status: 429,
                retry_after: Some(seconds.to_owned()),
                body: Default::default(),
                truncated: false,
            })
        };
        hooks.receivers.answer(move |_, before| if before == 0 { busy("600") } else { status(204) });
        hooks.webhook("http://one/", &[A]).await;
        hooks.happen(A, 0..1).await;
        let log = hooks.await_log("one attempt", |log| states(log) == [(DeliveryState::Pending, 1)]).await;
        assert_eq!(log[0].next_at.ms_since(log[0].attempted_at.unwrap()), 600_000);
        // It holds for the whole receiver, so the next event waits too.
        hooks.happen(A, 1..2).await;
        hooks.await_log("the second is noted", |log| log.len() == 2).await;
        hooks.clock.advance_ms(599_000);
        hooks.webhook("http://two/", &[A]).await;
        hooks.happen(A, 2..3).await;
        hooks.receivers.await_until("another receiver", |got| got.iter().any(|g| g.url == "http://two/")).await;
        assert_eq!(hooks.receivers.of("http://one/").len(), 1);
        hooks.clock.advance_ms(1_000);
        hooks
            .await_log("all", |log| {
                log.iter().filter(|d| d.state == DeliveryState::Delivered).count() >= 1 && log.len() == 4
            })
            .await;
        hooks.clock.advance_ms(700_000);
        hooks.await_log("everything", |log| log.iter().all(|d| d.state == DeliveryState::Delivered)).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gone_disables_and_tells() {
    on_both(|db| async move {
        let hooks = Hooks::new(db).await;
        hooks.receivers.answer(|got: &Got, _| if got.url == "http://gone/" { status(410) } else { status(200) });
        let gone = hooks.webhook("http://gone/", &[A]).await;
        hooks.webhook("http://watcher/", &[reeve_domain::event::WEBHOOK_DISABLED]).await;
        hooks.happen(A, 0..1).await;
        let after = hooks.await_webhook(&gone.id, "disabled", |w| w.state == WebhookState::Disabled).await;
        assert!(after.state_reason.unwrap().contains("410"));
        let told = hooks.receivers.await_until("the event", |got| got.iter().any(|g| g.url == "http://watcher/")).await;
        let told = told.iter().find(|g| g.url == "http://watcher/").unwrap();
        assert_eq!(told.body["data"]["webhook_id"], gone.id.as_str());
        // What happens meanwhile is not noted; afterwards it is again.
        hooks.happen(A, 1..2).await;
        hooks.receivers.answer(|_, _| status(200));
        assert!(webhook::pause(&hooks.app, &hooks.admin, &gone.id).await.is_err());
        // The feed has to be read up to here before the webhook is back.
        hooks.await_log("nothing new", |log| log.iter().filter(|d| d.webhook_id == gone.id).count() == 1).await;
        reeve_domain::webhook::fan_out::pass(&hooks.app).await.unwrap();
        webhook::resume(&hooks.app, &hooks.admin, &gone.id).await.unwrap();
        hooks.happen(A, 2..3).await;
        hooks.receivers.await_until("the third", |got| got.iter().any(|g| g.number() == 2)).await;
        assert!(!hooks.receivers.got().iter().any(|g| g.number() == 1));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_failure_disables() {
    on_both(|db| async move {
        let hooks = Hooks::with(db, |config| config.webhooks.max_attempts = 100).await;
        hooks.receivers.answer(|_, _| Err(Failure::TimedOut));
        let dead = hooks.webhook("http://dead/", &[A]).await;
        hooks.happen(A, 0..12).await;
        hooks.await_webhook(&dead.id, "failing", |w| w.failures >= 12).await;
        hooks.clock.advance_ms(4 * 86_400_000);
        hooks.await_webhook(&dead.id, "still active", |w| w.failures >= 24).await;
        assert_eq!(hooks.reload(&dead.id).await.state, WebhookState::Active);
        hooks.clock.advance_ms(86_400_000);
        let after = hooks.await_webhook(&dead.id, "disabled", |w| w.state == WebhookState::Disabled).await;
        assert!(after.state_reason.unwrap().contains("no answer in time"));
        let fresh = webhook::resume(&hooks.app, &hooks.admin, &dead.id).await.unwrap();
        assert_eq!((fresh.state, fresh.failures, fresh.failing_since), (WebhookState::Active, 0, None));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_ends_the_failure() {
    on_both(|db| async move {
        let hooks = Hooks::new(db).await;
        hooks.receivers.answer(|_, before| if before < 2 { status(503) } else { status(200) });
        let one = hooks.webhook("http://one/", &[A]).await;
        hooks.happen(A, 0..1).await;
        hooks.await_webhook(&one.id, "failing", |w| w.failures == 1 && w.failing_since.is_some()).await;
        hooks.clock.advance_ms(6_000);
        hooks.await_webhook(&one.id, "failing", |w| w.failures == 2).await;
        hooks.clock.advance_ms(36_000);
        hooks.await_webhook(&one.id, "well", |w| w.failures == 0 && w.failing_since.is_none()).await;
    })
    .await;
}
