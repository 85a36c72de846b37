//! Hosts come, live and go.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reeve_lab::{find, until};
use reeve_ports::cloud::{Cloud, CloudServer, CloudServerId, LabelFilter, ServerSpec, ServerState, Stop};
use reeve_ports::remote::gather;
use reeve_ports::{CloudErrorKind, cloud::Removal};
use reeve_types::Secret;

use futures::TryStreamExt;

use crate::rig::{Rig, sh};

async fn reaches(rig: &Rig, id: &CloudServerId, state: ServerState) -> CloudServer {
    find(&format!("a host that is {state:?}"), async || match rig.local.get(id).await.unwrap() {
        server if server.state == state => Ok(server),
        server => Err((server.state, rig.console(&server))),
    })
    .await
}

/// Processes of this machine that were started with a word.
fn with_word(word: &str) -> usize {
    let lines = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = lines.filter_map(|process| std::fs::read(process.path().join("cmdline")).ok());
    lines.filter(|line| line.starts_with(b"sleep\0") && line.split(|b| *b == 0).any(|w| w == word.as_bytes())).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hosts_side_by_side_and_gone_without_a_trace() {
    let rig = Rig::new();
    rig.local.authenticate().await.unwrap();
    let begun = Instant::now();
    let made = join_all(["a", "b", "c"].map(|name| rig.create(name))).await;
    let servers: Vec<CloudServer> = made.iter().map(|made| made.server.clone()).collect();
    let hosts = join_all(servers.iter().map(|server| rig.login(server))).await;
    println!("three hosts were made and logged in to within {:?}", begun.elapsed());
    assert!(made.iter().all(|made| made.login_user == "root" && !made.found));

    for (server, host) in servers.iter().zip(&hosts) {
        assert_eq!(server.state, ServerState::Running);
        let short = server.hostname.split('.').next().unwrap();
        let facts = gather(&**host).await.unwrap();
        assert_eq!((facts.hostname.as_str(), facts.root, facts.user.as_str()), (short, true, "root"));
        assert_eq!(sh(&**host, "hostname -f").await, server.hostname);
        // They see each other, and their own processes alone.
        for other in &servers {
            let address = other.address().unwrap();
            let greeting = sh(
                &**host,
                &format!(
                    "exec 3<>/dev/null; python3 -c \"import socket; \
                print(socket.create_connection(('{address}', 22), 5).recv(3).decode())\""
                ),
            )
            .await;
            assert_eq!(greeting, "SSH");
        }
        assert_eq!(sh(&**host, "cat /proc/1/cmdline | tr '\\0' ' '").await, "/bin/sh /.reeve/init");
    }
    let listed: Vec<CloudServer> =
        rig.local.list(&LabelFilter::label("role", "b").unwrap()).try_collect().await.unwrap();
    assert_eq!(listed.iter().map(|s| s.id.clone()).collect::<Vec<_>>(), [servers[1].id.clone()]);

    // The numbers of namespaces are used again at once, so a process of the host is looked for instead.
    let marker = format!("123{}.25", std::process::id());
    sh(&*hosts[0], &format!("nohup setsid sleep {marker} >/dev/null 2>&1 &")).await;
    until("the process", || with_word(&marker) > 0).await;
    rig.delete_all().await;
    assert_eq!(rig.traces(), Vec::<String>::new());
    assert_eq!(with_word(&marker), 0, "a process of the host lives on");
    for controller in ["memory", "cpu"] {
        for server in &servers {
            assert!(!std::path::Path::new(&format!("/sys/fs/cgroup/{controller}/reeve-local/{}", server.id)).exists());
        }
    }
    assert_eq!(rig.local.get(&servers[0].id).await.unwrap_err().kind, CloudErrorKind::NotFound);
    assert_eq!(rig.local.delete(&servers[0].id).await.unwrap(), Removal::Gone, "as often as one likes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_keeps_its_files_and_its_key_and_outlives_the_server() {
    let rig = Rig::new();
    let made = rig.create("keeper").await;
    let host = rig.login(&made.server).await;
    sh(
        &*host,
        "echo mine > /etc/mine; echo data > /var/lib/data; echo x > /tmp/x; mkdir -p /opt/y && echo y > /opt/y/z",
    )
    .await;
    let key = host.host_key().clone();
    let hardware = "ip -br link show eth0 | awk '{print $3}'";
    let known_by = sh(&*host, hardware).await;

    // A server that is started anew finds it; the same order too.
    let again = rig.again();
    assert_eq!(again.get(&made.server.id).await.unwrap(), made.server);
    let repeat = again.create(&rig.spec("keeper")).await.unwrap();
    assert!(repeat.found && repeat.server == made.server && repeat.surplus.is_empty());
    let other = ServerSpec { hostname: "other".to_owned(), ..rig.spec("keeper") };
    assert_eq!(again.create(&other).await.unwrap_err().kind, CloudErrorKind::Conflict);
    assert!(again.check(&rig.spec("keeper")).await.unwrap().existing.is_some());

    let pid = rig.pid(&made.server);
    rig.local.reboot(&made.server.id).await.unwrap();
    let server = reaches(&rig, &made.server.id, ServerState::Running).await;
    assert_ne!(rig.pid(&server), pid);
    let host = rig.login(&server).await;
    assert_eq!(sh(&*host, hardware).await, known_by, "those who know its address need not find it anew");
    assert_eq!(host.host_key(), &key);
    assert_eq!(sh(&*host, "cat /etc/mine /var/lib/data /opt/y/z; ls /tmp").await, "mine\ndata\ny");

    rig.local.stop(&server.id, Stop::Soft { timeout_s: 20 }).await.unwrap();
    reaches(&rig, &server.id, ServerState::Stopped).await;
    assert_eq!(rig.local.reboot(&server.id).await.unwrap_err().kind, CloudErrorKind::State);
    rig.local.stop(&server.id, Stop::Hard).await.unwrap();
    assert!(
        again.create(&rig.spec("keeper")).await.unwrap().server.state == ServerState::Stopped,
        "not switched on by a repeat"
    );
    rig.local.start(&server.id).await.unwrap();
    rig.local.start(&server.id).await.unwrap();
    assert_eq!(rig.login(&reaches(&rig, &server.id, ServerState::Running).await).await.host_key(), &key);

    // Killed from outside, as by a restart of this machine.
    std::process::Command::new("kill").args(["-KILL", &rig.pid(&server).to_string()]).status().unwrap();
    reaches(&rig, &server.id, ServerState::Stopped).await;
    rig.local.start(&server.id).await.unwrap();
    let host = rig.login(&reaches(&rig, &server.id, ServerState::Running).await).await;
    assert_eq!(sh(&*host, "cat /etc/mine").await, "mine");
    rig.delete_all().await;
    assert_eq!(rig.traces(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_stop_asks_and_then_pulls_the_plug() {
    let rig = Rig::new();
    let made = rig.create("stubborn").await;
    let host = rig.login(&made.server).await;
    let witness = rig.folder(&made.server).join("root/var/lib/asked");
    let script = "trap \"echo yes > /var/lib/asked\" TERM; touch /var/lib/ready; while :; do sleep 0.2; done";
    sh(&*host, &format!("nohup sh -c '{script}' >/dev/null 2>&1 &")).await;
    until("the one that does not end", || rig.folder(&made.server).join("root/var/lib/ready").exists()).await;
    let begun = Instant::now();
    rig.local.stop(&made.server.id, Stop::Soft { timeout_s: 8 }).await.unwrap();
    assert_eq!(rig.local.get(&made.server.id).await.unwrap().state, ServerState::Changing);
    reaches(&rig, &made.server.id, ServerState::Stopped).await;
    assert!(begun.elapsed() > Duration::from_secs(7), "{:?}", begun.elapsed());
    assert_eq!(std::fs::read_to_string(witness).unwrap(), "yes\n");
    rig.delete_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_order_gives_along_is_run_once_at_the_first_start() {
    let rig = Rig::new();
    let script = "#!/bin/sh\necho secret-5d1 >/dev/null\necho \"$(hostname) $$\" >> /var/lib/born\nexit 4\n";
    let spec = ServerSpec { user_data: Some(Secret::new(script)), ..rig.spec("born") };
    let made = rig.local.create(&spec).await.unwrap();
    let host = rig.login(&made.server).await;
    let status = "while [ ! -s /.reeve/user-data.status ]; do sleep 0.1; done; \
                  cat /.reeve/user-data.status; wc -l < /var/lib/born";
    assert_eq!(sh(&*host, status).await, "4\n1");
    rig.local.reboot(&made.server.id).await.unwrap();
    let server = reaches(&rig, &made.server.id, ServerState::Running).await;
    assert_eq!(sh(&*rig.login(&server).await, "wc -l < /var/lib/born").await, "1");
    let grep =
        std::process::Command::new("grep").args(["-rl", "secret-5d1"]).arg(rig.folder(&server)).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&grep.stdout), "", "nothing of it is kept");
    for (data, kind) in [("#cloud-config\npackages: [x]\n", "user_data"), ("echo hi", "user_data")] {
        let spec = ServerSpec { user_data: Some(Secret::new(data)), ..rig.spec("cloudy") };
        let error = rig.local.create(&spec).await.unwrap_err();
        assert_eq!(error.kind, CloudErrorKind::Invalid { field: kind });
        assert!(error.message.contains("#!/bin/sh"), "{error}");
    }
    rig.delete_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_has_the_programs_of_this_machine_and_none_of_its_secrets() {
    let mut rig = Rig::new();
    let packages = rig.dir.path().join("packages");
    std::fs::create_dir(&packages).unwrap();
    std::fs::write(packages.join("a.deb"), "package").unwrap();
    rig.settings.packages = Some(packages);
    rig.local = rig.again();
    let made = rig.create("plain").await;
    let host = rig.login(&made.server).await;
    assert_eq!(sh(&*host, "cat /mnt/packages/a.deb").await, "package");
    assert_eq!(sh(&*host, "echo x > /mnt/packages/b 2>/dev/null || echo no").await, "no");
    assert_eq!(sh(&*host, "ls -A /home; ls /root; ls /etc/ssh | grep -c ssh_host_.*key$").await, "1");
    assert_eq!(
        sh(&*host, "grep -c ':\\*:' /etc/shadow; grep -vc ':\\*:' /etc/shadow || true").await.lines().last(),
        Some("0")
    );
    assert_eq!(sh(&*host, &format!("ls {} 2>/dev/null || echo hidden", rig.dir.path().display())).await, "hidden");
    assert_eq!(sh(&*host, "dpkg -s openssh-server | grep ^Status").await, "Status: install ok installed");
    assert_ne!(
        sh(&*host, "cat /etc/machine-id").await,
        std::fs::read_to_string("/etc/machine-id").unwrap_or_default().trim()
    );
    assert_eq!(
        sh(
            &*host,
            "test -w /dev/null && test -c /dev/urandom && test -d /dev/pts && echo ok > /dev/shm/x && cat /dev/shm/x"
        )
        .await,
        "ok"
    );
    // Nothing done inside shows outside.
    sh(&*host, "echo changed > /etc/reeve-was-here; touch /usr/bin/reeve-was-here; hostname other").await;
    assert!(
        !std::path::Path::new("/etc/reeve-was-here").exists()
            && !std::path::Path::new("/usr/bin/reeve-was-here").exists()
    );
    rig.delete_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plan_limits_a_host_where_this_machine_lets_us() {
    let rig = Rig::new();
    let spec = ServerSpec { plan: "2xCPU-3GB".to_owned(), ..rig.spec("limited") };
    let made = rig.local.create(&spec).await.unwrap();
    let zones: Vec<_> = rig.local.zones().try_collect().await.unwrap();
    let id = &made.server.id;
    let read = |path: String| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).ok();
    let memory = read(format!("/sys/fs/cgroup/memory/reeve-local/{id}/memory.limit_in_bytes"))
        .or_else(|| read(format!("/sys/fs/cgroup/reeve-local/{id}/memory.max")));
    match memory {
        Some(bytes) => {
            assert_eq!(bytes, (3u64 << 30).to_string());
            let procs = read(format!("/sys/fs/cgroup/memory/reeve-local/{id}/cgroup.procs"))
                .or_else(|| read(format!("/sys/fs/cgroup/reeve-local/{id}/cgroup.procs")));
            assert!(procs.unwrap().lines().any(|pid| pid == rig.pid(&made.server).to_string()));
        }
        None => assert!(zones[0].title.contains("not enforced"), "{}", zones[0].title),
    }
    rig.delete_all().await;
    assert_eq!(rig.traces(), Vec::<String>::new());
}
