//! What every cloud does when all goes well, and what it says to wrong orders.

use futures::future::join_all;
use futures::{StreamExt, TryStreamExt};
use reeve_ports::CloudErrorKind;
use reeve_ports::cloud::{Image, LabelFilter, Plan, Removal, ServerSpec, ServerState, Stop, Zone};

use super::stage::{Stage, kind};

pub async fn the_catalogue_names_what_can_be_ordered(stage: &impl Stage) {
    let (plan, zone, image) = stage.words();
    let plans: Vec<Plan> = stage.cloud().plans().try_collect().await.unwrap();
    let plan = plans.iter().find(|p| p.name == plan).expect("the plan");
    assert!(plan.cpu_cores > 0 && plan.memory_mib >= 512, "{plan:?}");
    let zones: Vec<Zone> = stage.cloud().zones().try_collect().await.unwrap();
    assert!(zones.iter().any(|z| z.name == zone), "{zones:?}");
    if stage.cloud().vendor() != "aws" {
        assert!(plan.price(zone).is_some_and(|price| price.per_hour_micros > 0), "{plan:?}");
    }
    let images: Vec<Image> = stage.cloud().images().try_collect().await.unwrap();
    assert!(images.iter().any(|i| i.name == image && !i.login_user.is_empty()), "{images:?}");
    stage.cloud().authenticate().await.unwrap();
    // Streams may be dropped half-way.
    assert!(stage.cloud().plans().next().await.is_some());
}

pub async fn a_check_changes_nothing(stage: &impl Stage) {
    let spec = stage.spec("check-1");
    let preview = stage.cloud().check(&spec).await.unwrap();
    assert_eq!((&preview.plan.name, &preview.zone.name), (&spec.plan, &spec.zone));
    assert!(preview.disk_gb.is_some_and(|gb| gb > 0) || stage.cloud().vendor() == "aws", "{preview:?}");
    assert!(preview.existing.is_none());
    assert_eq!((stage.ours().await.len(), stage.disks().await), (0, 0));
    let created = stage.cloud().create(&spec).await.unwrap();
    let preview = stage.cloud().check(&spec).await.unwrap();
    assert_eq!(preview.existing.map(|server| server.id), Some(created.server.id));
}

pub async fn a_servers_life(stage: &impl Stage) {
    let cloud = stage.cloud();
    let spec = stage.spec("life-1");
    let created = cloud.create(&spec).await.unwrap();
    let id = created.server.id.clone();
    assert!(!created.found && created.surplus.is_empty() && !created.login_user.is_empty());
    assert_eq!(created.server.hostname, spec.hostname);
    assert!(
        matches!(created.server.state, ServerState::Creating | ServerState::Changing),
        "{:?}",
        created.server.state
    );

    let server = stage.until(&id, ServerState::Running).await;
    assert!(server.address().is_some(), "{server:?}");
    assert_eq!((&server.plan, &server.zone), (&spec.plan, &spec.zone));
    assert_eq!(server.labels, spec.all_labels());
    assert!(server.created_at.is_some());

    cloud.start(&id).await.expect("it is on already");
    cloud.reboot(&id).await.unwrap();
    cloud.stop(&id, Stop::Soft { timeout_s: 60 }).await.unwrap();
    stage.until(&id, ServerState::Stopped).await;
    cloud.stop(&id, Stop::Hard).await.expect("it is off already");
    assert_eq!(kind(cloud.reboot(&id).await), CloudErrorKind::State);
    cloud.start(&id).await.unwrap();
    stage.until(&id, ServerState::Running).await;
    cloud.stop(&id, Stop::Hard).await.unwrap();
    stage.until(&id, ServerState::Stopped).await;

    stage.gone(&id).await;
    assert_eq!(kind(cloud.get(&id).await), CloudErrorKind::NotFound);
    assert_eq!(cloud.delete(&id).await.unwrap(), Removal::Gone);
    assert_eq!((stage.ours().await.len(), stage.disks().await), (0, 0));
}

pub async fn a_repeated_order_is_the_same_order(stage: &impl Stage) {
    let spec = stage.spec("same-1");
    let first = stage.cloud().create(&spec).await.unwrap();
    stage.pass_ms(1_000).await;
    let second = stage.cloud().create(&spec).await.unwrap();
    assert_eq!(first.server.id, second.server.id);
    assert!(second.found && !first.found);
    assert_eq!(first.login_user, second.login_user);
    assert_eq!(stage.ours().await.len(), 1);
    let other = ServerSpec { hostname: "host-other".to_owned(), ..stage.spec("same-2") };
    assert_ne!(stage.cloud().create(&other).await.unwrap().server.id, first.server.id);
}

pub async fn a_running_server_is_deleted_with_its_disks(stage: &impl Stage) {
    let created = stage.cloud().create(&stage.spec("delete-1")).await.unwrap();
    let kept = stage.cloud().create(&stage.spec("delete-2")).await.unwrap();
    stage.until(&created.server.id, ServerState::Running).await;
    let disks = stage.disks().await;
    stage.gone(&created.server.id).await;
    assert_eq!(stage.ours().await.iter().map(|s| &s.id).collect::<Vec<_>>(), [&kept.server.id]);
    assert_eq!(stage.disks().await, disks / 2);
}

pub async fn a_missing_server(stage: &impl Stage) {
    let (cloud, id) = (stage.cloud(), stage.missing());
    assert_eq!(kind(cloud.get(&id).await), CloudErrorKind::NotFound);
    assert_eq!(kind(cloud.start(&id).await), CloudErrorKind::NotFound);
    assert_eq!(kind(cloud.stop(&id, Stop::Hard).await), CloudErrorKind::NotFound);
    assert_eq!(kind(cloud.reboot(&id).await), CloudErrorKind::NotFound);
    assert_eq!(cloud.delete(&id).await.unwrap(), Removal::Gone);
    // What no server can be called is an error of some kind, never another server's answer.
    for odd in ["../account", "a/b", "x?storages=0", "é", "", " "] {
        cloud.get(&odd.into()).await.unwrap_err();
    }
}

pub async fn unknown_parts_of_an_order_are_named(stage: &impl Stage) {
    let good = stage.spec("unknown-1");
    let nowhere = "nowhere-9".to_owned();
    let cases = [
        ("plan", ServerSpec { plan: "gigantic".to_owned(), ..good.clone() }),
        ("zone", ServerSpec { zone: nowhere.clone(), ..good.clone() }),
        ("image", ServerSpec { image: "templeos-5".to_owned(), ..good.clone() }),
    ];
    for (field, spec) in cases {
        for answer in [stage.cloud().check(&spec).await.map(|_| ()), stage.cloud().create(&spec).await.map(|_| ())] {
            let error = answer.unwrap_err();
            assert_eq!(error.kind, CloudErrorKind::Invalid { field }, "{error}");
        }
    }
    let error = stage.cloud().check(&ServerSpec { zone: nowhere, ..good }).await.unwrap_err();
    assert!(error.message.contains(stage.words().1), "the message names what is right: {error}");
    assert_eq!((stage.ours().await.len(), stage.disks().await), (0, 0));
}

pub async fn a_wrong_order_is_refused_before_it_is_sent(stage: &impl Stage) {
    stage.front().forget_calls();
    let spec = ServerSpec { hostname: "-".to_owned(), ..stage.spec("wrong-1") };
    let wrong = CloudErrorKind::Invalid { field: "hostname" };
    assert_eq!(kind(stage.cloud().create(&spec).await), wrong);
    assert_eq!(kind(stage.cloud().check(&spec).await), wrong);
    assert_eq!(stage.front().calls(""), 0);
}

pub async fn lists_go_by_label_and_over_pages(stage: &impl Stage) {
    let specs: Vec<ServerSpec> = (0..55).map(|n| stage.spec(&format!("page-{n}"))).collect();
    for created in join_all(specs.iter().map(|spec| stage.cloud().create(spec))).await {
        created.unwrap();
    }
    assert_eq!(stage.ours().await.len(), 55);
    let count = async |filter: LabelFilter| stage.cloud().list(&filter).count().await;
    assert_eq!(count(LabelFilter::operation(&specs[3].operation)).await, 1);
    assert_eq!(count(LabelFilter::label("role", "test").unwrap()).await, 55);
    assert_eq!(count(LabelFilter::label("role", "other").unwrap()).await, 0);
}

pub async fn many_orders_make_few_calls(stage: &impl Stage) {
    stage.front().forget_calls();
    let specs: Vec<ServerSpec> = (0..40).map(|n| stage.spec(&format!("many-{n}"))).collect();
    for created in join_all(specs.iter().map(|spec| stage.cloud().create(spec))).await {
        created.unwrap();
    }
    let calls = stage.front().calls("");
    assert!(calls <= 2 * 40 + 4, "one look and one order each, and the catalogue once: {calls}");
    assert_eq!(stage.front().calls(stage.order_call()), 40);
}
