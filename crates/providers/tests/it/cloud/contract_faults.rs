//! What every cloud does when calls get lost, refused, delayed or answered with rubbish.

use std::time::Duration;

use futures::future::join_all;
use futures::{FutureExt, TryStreamExt};
use reeve_ports::CloudErrorKind;
use reeve_ports::cloud::{CloudServer, LabelFilter, ServerState, Zone};
use reeve_simulators::Trouble;

use super::stage::{Stage, kind};

pub async fn an_order_whose_answer_is_lost_is_found_again(stage: &impl Stage) {
    let spec = stage.spec("lost-1");
    stage.front().trouble(stage.order_call(), 1, Trouble::DropAfter);
    assert_eq!(kind(stage.cloud().create(&spec).await), CloudErrorKind::Ambiguous);
    stage.pass_ms(i64::try_from(stage.cloud().settle_ms()).unwrap()).await;
    // A server that crashed knows nothing: another adapter has to find it.
    let created = stage.adapter(|_| {}).create(&spec).await.unwrap();
    assert!(created.found && created.surplus.is_empty());
    assert_eq!(stage.ours().await.len(), 1);
    assert_eq!(stage.front().calls(stage.order_call()), 1);
    stage.until(&created.server.id, ServerState::Running).await;
}

pub async fn an_order_that_times_out_is_found_again(stage: &impl Stage) {
    let spec = stage.spec("slow-1");
    stage.cloud().check(&spec).await.unwrap();
    let impatient = stage.adapter(|endpoint| endpoint.timeout = Duration::from_secs(4));
    stage.front().trouble(stage.order_call(), 1, Trouble::Silence);
    let error = impatient.create(&spec).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (CloudErrorKind::Ambiguous, "TIMEOUT"));
    assert!(stage.cloud().create(&spec).await.unwrap().found);
    assert_eq!(stage.ours().await.len(), 1);
}

pub async fn a_call_that_never_arrived_is_told_from_one_that_did(stage: &impl Stage) {
    // A free port of loopback: the connection itself is refused.
    let nowhere = stage.adapter(|endpoint| {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        endpoint.base_url = format!("http://127.0.0.1:{port}");
    });
    let spec = stage.spec("cut-1");
    assert_eq!(kind(nowhere.create(&spec).await), CloudErrorKind::Unavailable);
    assert_eq!(kind(nowhere.delete(&stage.missing()).await), CloudErrorKind::Unavailable);

    let created = stage.cloud().create(&spec).await.unwrap();
    stage.front().cut_off(true);
    assert_eq!(kind(stage.cloud().get(&created.server.id).await), CloudErrorKind::Unavailable);
    stage.front().cut_off(false);
    stage.cloud().get(&created.server.id).await.expect("the connection is made again");
    stage.front().trouble(stage.order_call(), 1, Trouble::DropBefore);
    let other = stage.spec("cut-2");
    assert_eq!(kind(stage.cloud().create(&other).await), CloudErrorKind::Ambiguous);
    assert!(!stage.cloud().create(&other).await.unwrap().found);
    assert_eq!(stage.ours().await.len(), 2);
}

pub async fn refused_credentials(stage: &impl Stage) {
    let (stranger, filter) = (stage.stranger(), LabelFilter::ours());
    assert_eq!(kind(stranger.authenticate().await), CloudErrorKind::Auth);
    assert_eq!(kind(stranger.create(&stage.spec("auth-1")).await), CloudErrorKind::Auth);
    assert_eq!(kind(stranger.get(&stage.missing()).await), CloudErrorKind::Auth);
    assert_eq!(kind(stranger.delete(&stage.missing()).await), CloudErrorKind::Auth);
    assert_eq!(kind(stranger.list(&filter).try_collect::<Vec<CloudServer>>().await), CloudErrorKind::Auth);
    assert_eq!(stage.ours().await.len(), 0);
}

pub async fn a_rate_limit_is_kept(stage: &impl Stage) {
    let created = stage.cloud().create(&stage.spec("rate-1")).await.unwrap();
    let id = created.server.id;
    stage.front().trouble("", 1, stage.too_many());
    let error = stage.cloud().get(&id).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::RateLimited);
    let pause_ms = error.retry_after_ms.expect("a pause");
    assert!((1_000..=60_000).contains(&pause_ms), "{pause_ms}");

    stage.front().forget_calls();
    let again = stage.cloud().create(&stage.spec("rate-2")).await.unwrap_err();
    assert_eq!((again.kind, stage.front().calls("")), (CloudErrorKind::RateLimited, 0), "nothing is sent meanwhile");
    stage.pass_ms(i64::try_from(pause_ms).unwrap()).await;
    stage.cloud().get(&id).await.unwrap();
}

pub async fn errors_of_the_vendor_tell_whether_it_may_have_worked(stage: &impl Stage) {
    let created = stage.cloud().create(&stage.spec("broken-1")).await.unwrap();
    stage.front().trouble(stage.get_call(), 1, stage.broken());
    assert_eq!(kind(stage.cloud().get(&created.server.id).await), CloudErrorKind::Unavailable);
    stage.front().trouble(stage.order_call(), 1, stage.broken());
    assert_eq!(kind(stage.cloud().create(&stage.spec("broken-2")).await), CloudErrorKind::Ambiguous);
    // A door before the vendor that answers for it.
    let gateway = Trouble::Answer { status: 502, body: "<html>Bad Gateway</html>".to_owned(), headers: Vec::new() };
    stage.front().trouble(stage.get_call(), 1, gateway);
    assert_eq!(kind(stage.cloud().get(&created.server.id).await), CloudErrorKind::Unavailable);
}

pub async fn unreadable_answers_are_errors(stage: &impl Stage) {
    let created = stage.cloud().create(&stage.spec("garbage-1")).await.unwrap();
    let id = created.server.id;
    let deep_json = "[".repeat(100_000);
    let deep_xml = "<a>".repeat(100_000);
    let bombs = "<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;&b;\">]><r><instancesSet><item><instanceId>&c;</instanceId></item></instancesSet></r>";
    let rubbish: Vec<&[u8]> = vec![
        b"",
        b"{}",
        b"[]",
        b"null",
        b"<",
        b"<r/>",
        b"\xff\xfe\x00",
        b"{\"server\": {\"uuid\": 7, \"id\": -1}}",
        b"{\"server\": {\"id\": 1e400, \"uuid\": null}}",
        b"<r><reservationSet><item><instancesSet><item><instanceId/></item></instancesSet></item></reservationSet></r>",
        deep_json.as_bytes(),
        deep_xml.as_bytes(),
        bombs.as_bytes(),
    ];
    for (n, body) in rubbish.into_iter().enumerate() {
        stage.front().trouble(stage.get_call(), 1, Trouble::AnswerAfter(body.to_vec()));
        let error = stage.cloud().get(&id).await.expect_err(&format!("number {n}"));
        // An empty answer of EC2 means that there is nothing.
        let expected = matches!(error.kind, CloudErrorKind::Unavailable | CloudErrorKind::NotFound);
        assert!(expected, "number {n}: {error:?}");
        let spec = stage.spec(&format!("garbage-{}", n + 2));
        stage.front().trouble(stage.order_call(), 1, Trouble::AnswerAfter(body.to_vec()));
        let error = stage.cloud().create(&spec).await.expect_err(&format!("number {n}"));
        assert_eq!(error.kind, CloudErrorKind::Ambiguous, "number {n}: {error:?}");
        assert!(stage.cloud().create(&spec).await.unwrap().found, "number {n}");
    }
    stage.front().trouble("", 1, Trouble::AnswerAfter(b"{\"zones\": 3, \"locations\": {}}".to_vec()));
    stage.adapter(|_| {}).zones().try_collect::<Vec<Zone>>().await.unwrap_err();
}

pub async fn an_endless_answer_is_cut(stage: &impl Stage) {
    let created = stage.cloud().create(&stage.spec("flood-1")).await.unwrap();
    let frugal = stage.adapter(|endpoint| endpoint.answer_bytes = 256 * 1024);
    stage.front().trouble(stage.get_call(), 1, Trouble::Flood(1 << 30));
    let error = frugal.get(&created.server.id).await.unwrap_err();
    assert_eq!((error.kind, error.code.as_str()), (CloudErrorKind::Unavailable, "ANSWER_TOO_LARGE"));
    frugal.get(&created.server.id).await.unwrap();
}

pub async fn no_more_calls_at_once_than_allowed(stage: &impl Stage) {
    let created = stage.cloud().create(&stage.spec("slots-1")).await.unwrap();
    let narrow = stage.adapter(|endpoint| endpoint.parallel_calls = 1);
    stage.front().forget_calls();
    stage.front().trouble(stage.get_call(), 1, Trouble::Silence);
    let mut first = narrow.get(&created.server.id);
    while stage.front().calls("") == 0 {
        assert!(futures::poll!(&mut first).is_pending());
        tokio::task::yield_now().await;
    }
    let mut others = join_all((0..4).map(|_| narrow.get(&created.server.id))).boxed();
    for _ in 0..1_000 {
        assert!(futures::poll!(&mut others).is_pending(), "the first still has the only slot");
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.front().calls(""), 1);
    drop(first);
    assert!(others.await.iter().all(Result::is_ok));
    assert_eq!(stage.front().calls(""), 5);
}
