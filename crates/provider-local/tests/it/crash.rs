//! `kill -9` of the process that makes hosts, at many moments: no orphan, no double, and the order can be repeated.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use reeve_ports::cloud::{Cloud, ServerState};

use crate::rig::{Rig, local, settings, sh};

const FOLDER: &str = "REEVE_TEST_LOCAL_FOLDER";

/// Not a test of its own: what the next one starts and kills.
#[tokio::test(flavor = "multi_thread")]
async fn makes_a_host_when_told_to() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let (folder, rest) = folder.split_once('|').unwrap();
    let (bridge, pool) = rest.split_once('|').unwrap();
    let mut settings = settings(Path::new(folder), bridge, 0);
    settings.pool = pool.parse().unwrap();
    // The spec alone is of this rig.
    local(&settings).create(&Rig::new().spec("crashed")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_maker_that_is_killed_at_any_moment_leaves_one_host() {
    let rig = Rig::new();
    let told = format!("{}|{}|{}", rig.dir.path().display(), rig.settings.bridge, rig.settings.pool);
    let mut finished = 0;
    for delay in [0u64, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 130, 160, 200, 300, 450, 700] {
        let mut maker = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::makes_a_host_when_told_to", "--nocapture"])
            .env(FOLDER, &told)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(delay)).await;
        finished += usize::from(maker.try_wait().unwrap().is_some());
        maker.kill().unwrap();
        maker.wait().unwrap();
        let before = rig.all().await;
        assert!(before.len() <= 1, "{before:?}");

        let made = rig.local.create(&rig.spec("crashed")).await.unwrap();
        assert_eq!(made.server.state, ServerState::Running, "killed after {delay} ms: {}", rig.console(&made.server));
        assert_eq!(made.found, !before.is_empty());
        assert_eq!(rig.all().await, std::slice::from_ref(&made.server));
        let host = rig.login(&made.server).await;
        assert_eq!(sh(&*host, "hostname").await, "crashed");
        host.close().await;
        let inits = rig.traces().iter().filter(|t| t.starts_with("process") && t.contains("unshare")).count();
        assert_eq!(inits, 1, "killed after {delay} ms: {:?}", rig.traces());
        rig.delete_all().await;
        assert_eq!(rig.traces(), Vec::<String>::new(), "killed after {delay} ms");
    }
    println!("{finished} of 18 makers were done before they were killed");
}
