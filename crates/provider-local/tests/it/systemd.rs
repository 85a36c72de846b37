//! Hosts whose first program is systemd, and restarts that outlive the server that was asked for them.

use reeve_lab::find;
use reeve_ports::cloud::{Cloud, CloudServer, CloudServerId, ServerSpec, ServerState, Stop};
use reeve_provider_local::Local;
use reeve_types::Secret;

use crate::rig::{Rig, sh};

async fn reaches(local: &Local, id: &CloudServerId, state: ServerState) -> CloudServer {
    find(&format!("{state:?}"), async || {
        let server = local.get(id).await.unwrap();
        if server.state == state { Ok(server) } else { Err(server.state) }
    })
    .await
}

const UNIT: &str = "[Service]\nExecStart=/bin/sleep infinity\nRestart=always\n[Install]\nWantedBy=multi-user.target\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_host_with_systemd_keeps_services_over_restarts() {
    let rig = Rig::new();
    let spec = ServerSpec {
        image: "host-systemd".to_owned(),
        user_data: Some(Secret::new("#!/bin/sh\necho \"$1\" >/root/told\n")),
        ..rig.spec("sd")
    };
    let server = rig.local.create(&spec).await.unwrap().server;
    let host = rig.login(&server).await;
    assert_eq!(
        sh(&*host, "cat /proc/1/comm; systemctl is-system-running --wait || systemctl --failed").await,
        "systemd\nrunning"
    );
    // Nothing of this machine is switched on inside, and nothing inside touches its groups, devices or settings.
    assert_eq!(
        sh(&*host, "cat /proc/1/cgroup | cut -d: -f3 | sort -u | grep -v '^/init.scope$' | grep -v '^/$' || true")
            .await,
        ""
    );
    assert_eq!(
        sh(&*host, "ls /etc/systemd/system/multi-user.target.wants").await,
        "reeve-sshd.service\nreeve-user-data.service"
    );
    assert_eq!(sh(&*host, "systemctl is-active systemd-udevd systemd-sysctl || true").await, "inactive\ninactive");
    assert_eq!(
        sh(&*host, "until [ -e /.reeve/user-data.status ]; do sleep 0.1; done; ls /root/told").await,
        "/root/told"
    );

    let unit = format!("printf '{}' >/etc/systemd/system/own.service", UNIT.replace('\n', "\\n"));
    sh(&*host, &unit).await;
    sh(&*host, "systemctl enable --now own").await;
    let first = sh(&*host, "systemctl show -p MainPID --value own; cut -d' ' -f22 /proc/1/stat").await;
    host.close().await;
    rig.local.reboot(&server.id).await.unwrap();
    assert_eq!(rig.local.get(&server.id).await.unwrap().state, ServerState::Changing);
    reaches(&rig.local, &server.id, ServerState::Running).await;
    let host = rig.login(&server).await;
    assert_eq!(sh(&*host, "systemctl is-active own; systemctl is-system-running --wait").await, "active\nrunning");
    assert_ne!(sh(&*host, "systemctl show -p MainPID --value own; cut -d' ' -f22 /proc/1/stat").await, first);
    host.close().await;

    rig.local.stop(&server.id, Stop::Soft { timeout_s: 30 }).await.unwrap();
    reaches(&rig.local, &server.id, ServerState::Stopped).await;
    rig.local.start(&server.id).await.unwrap();
    let host = rig.login(&server).await;
    assert_eq!(sh(&*host, "systemctl is-active own").await, "active");
    // Other servers on this machine find it, and the plug can be pulled.
    assert_eq!(rig.again().get(&server.id).await.unwrap().state, ServerState::Running);
    rig.local.stop(&server.id, Stop::Hard).await.unwrap();
    assert_eq!(rig.local.get(&server.id).await.unwrap().state, ServerState::Stopped);
    rig.delete_all().await;
    assert_eq!(rig.traces(), Vec::<String>::new());
    let groups = format!("/sys/fs/cgroup/systemd/reeve-local/{}", server.id.as_str());
    assert!(!std::path::Path::new(&groups).exists(), "{groups}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_gone_on_with_by_the_next_server() {
    let rig = Rig::new();
    let server = rig.create("next").await.server;
    rig.login(&server).await.close().await;
    rig.local.reboot(&server.id).await.unwrap();
    // The server that was asked ends at once.
    rig.local.close().await;
    let next = rig.again();
    reaches(&next, &server.id, ServerState::Running).await;
    rig.login(&server).await;
    rig.delete_all().await;
    assert_eq!(rig.traces(), Vec::<String>::new());
}
