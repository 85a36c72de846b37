//! What is wrong is told; what is not ours is left alone.

use std::process::Command;

use reeve_ports::CloudErrorKind;
use reeve_ports::cloud::{Cloud, ServerSpec, ServerState};

use crate::rig::Rig;

fn ip(words: &str) -> bool {
    Command::new("ip").args(words.split(' ')).status().unwrap().success()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interface_of_somebody_else_is_not_taken() {
    let rig = Rig::new();
    let bridge = &rig.settings.bridge;
    assert!(ip(&format!("link add {bridge} type bridge")));
    let error = rig.local.create(&rig.spec("a")).await.unwrap_err();
    assert_eq!(error.kind, CloudErrorKind::State);
    assert!(error.message.contains("exists and is not of these hosts"), "{error}");
    assert_eq!(rig.all().await[0].state, ServerState::Failed);
    rig.delete_all().await;
    assert!(std::path::Path::new("/sys/class/net").join(bridge).exists(), "still somebody else's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_is_routed_elsewhere_is_not_taken() {
    let rig = Rig::new();
    let other = format!("rvx{}", std::process::id());
    assert!(ip(&format!("link add {other} type bridge")));
    assert!(ip(&format!("address add {}/30 dev {other}", rig.settings.pool.hosts().nth(4).unwrap())));
    assert!(ip(&format!("link set {other} up")));
    let error = rig.local.create(&rig.spec("a")).await.unwrap_err();
    assert!(ip(&format!("link del {other}")));
    assert!(error.kind == CloudErrorKind::State && error.message.contains("overlaps"), "{error}");
    // Somebody has removed the obstacle, and the order is repeated.
    assert!(rig.create("a").await.found);
    rig.delete_all().await;
    assert_eq!(rig.traces(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_orders_name_their_field() {
    let rig = Rig::new();
    for (spec, field, words) in [
        (ServerSpec { plan: "huge".into(), ..rig.spec("a") }, "plan", "2xCPU-4GB"),
        (ServerSpec { zone: "de-fra1".into(), ..rig.spec("a") }, "zone", "only local"),
        (ServerSpec { image: "plan9".into(), ..rig.spec("a") }, "image", "there are: host"),
        (ServerSpec { hostname: "a_b".into(), ..rig.spec("a") }, "hostname", "hyphens"),
    ] {
        for error in [rig.local.create(&spec).await.unwrap_err(), rig.local.check(&spec).await.unwrap_err()] {
            assert_eq!(error.kind, CloudErrorKind::Invalid { field: Box::leak(field.to_owned().into_boxed_str()) });
            assert!(error.message.contains(words), "{error}");
        }
    }
    assert!(rig.all().await.is_empty());
    for id in ["../../etc", "0123456789ab", ""] {
        assert_eq!(rig.local.get(&id.into()).await.unwrap_err().kind, CloudErrorKind::NotFound, "{id}");
        assert_eq!(rig.local.start(&id.into()).await.unwrap_err().kind, CloudErrorKind::NotFound, "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_this_machine_lacks_is_told() {
    let mut rig = Rig::new();
    rig.settings.packages = Some("/no/such/folder".into());
    let error = rig.again().authenticate().await.unwrap_err();
    assert!(error.kind == CloudErrorKind::State && error.message.contains("/no/such/folder"), "{error}");
    rig.settings.packages = None;
    rig.settings.folder = "/usr/share/reeve-local-test".into();
    let error = rig.again().check(&rig.spec("a")).await.unwrap_err();
    assert!(error.message.contains("move the data directory"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_cannot_come_up_says_why() {
    let mut rig = Rig::new();
    rig.settings.launcher = vec!["/bin/sh".into(), "-c".into(), "echo the disk burns; exit 1".into()];
    rig.local = rig.again();
    let error = rig.local.create(&rig.spec("a")).await.unwrap_err();
    assert!(error.message.contains("the disk burns"), "{error}");
    assert_eq!(rig.all().await[0].state, ServerState::Failed);
    rig.delete_all().await;
    assert_eq!(rig.traces(), Vec::<String>::new());
}
