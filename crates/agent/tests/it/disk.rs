//! A disk without space: a clear error, and work goes on once there is space again.

use std::process::Command;
use std::sync::atomic::Ordering;

use reeve_lab::until;

use crate::agent::{Agent, Start};
use crate::server::Server;

#[tokio::test]
async fn a_full_journal_refuses_commands_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = Server::start().await;
    let _agent =
        Start::new(&dir.path().join("agent"), Some(&server.key)).env("REEVE_AGENT_JOURNAL_LIMIT_BYTES", "2000").spawn();
    let node = server.hello().await.node_id;
    let shared = server.shared.clone();
    until("the session", || shared.welcomed.load(Ordering::SeqCst) > 0).await;
    let trace = dir.path().join("trace");
    server.run(&node, "big", &format!("touch {}\n#{}", trace.display(), "x".repeat(3_000)));
    let refused = server.result("big").await;
    assert_eq!(refused.exit_code, 1);
    assert!(refused.output.contains("The command was not run: the agent's journal has no space"), "{}", refused.output);
    assert!(!trace.exists());
    server.health(true).await;
    server.run(&node, "small", "echo fits");
    assert_eq!(server.result("small").await.output, "fits\n");
}

/// A small file system of its own, where the machine allows one.
struct Tmpfs(std::path::PathBuf);

impl Tmpfs {
    fn mount(path: &std::path::Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "tmpfs"]).arg(path).status();
        mounted.is_ok_and(|status| status.success()).then(|| Self(path.to_owned()))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        Command::new("umount").arg("-l").arg(&self.0).status().unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_commands_keeps_results_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Tmpfs::mount(&dir.path().join("disk")) else {
        // Without the right to mount, the test above covers the same paths with a size limit.
        return;
    };
    let data = disk.0.join("agent");
    let mut server = Server::start().await;
    let mut agent = Agent::start(&data, &server.key);
    agent.log = dir.path().join("log");
    let node = server.hello().await.node_id;
    let shared = server.shared.clone();
    until("the session", || shared.welcomed.load(Ordering::SeqCst) > 0).await;
    let go = dir.path().join("go");
    server.run(&node, "running", &format!("while [ ! -e {} ]; do sleep 0.01; done; seq 3000", go.display()));
    server.started("running").await;
    let hog = disk.0.join("hog");
    Command::new("sh").args(["-c", "cat /dev/zero > \"$0\" 2>/dev/null"]).arg(&hog).status().unwrap();
    let health = {
        server.run(&node, "refused", &format!("echo {}", "y".repeat(8_000)));
        server.health(false).await
    };
    assert!(health.reasons[0].contains("no space"), "{health:?}");
    server.run(&node, "refused-too", &format!("echo {}", "y".repeat(8_000)));
    let refused = server.result("refused-too").await;
    assert!(refused.output.contains("The command was not run"), "{}", refused.output);
    // What already ran is reported although its result finds no space.
    std::fs::write(&go, "").unwrap();
    let result = server.result("running").await;
    assert!(result.exit_code == 0 && result.output.ends_with("2999\n3000\n"));
    std::fs::remove_file(&hog).unwrap();
    server.health(true).await;
    server.run(&node, "after", "echo works");
    assert_eq!(server.result("after").await.output, "works\n");
}
