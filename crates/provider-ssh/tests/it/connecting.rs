//! Getting in, and being kept out.

use std::net::TcpListener;
use std::time::Duration;

use futures::future::join_all;
use reeve_lab::{find, until};
use reeve_ports::remote::{HostKey, RemoteErrorKind, RemoteHosts, Target, gather};
use reeve_provider_ssh::{Settings, Ssh};

use crate::sshd::{Sshd, fresh_key, is_root, login, sh, ssh};

#[tokio::test]
async fn the_first_contact_tells_the_key_that_later_ones_pin() {
    let mut sshd = Sshd::with("", &["rsa", "ecdsa", "ed25519"]);
    let target = sshd.target();
    let first = login(&target).await;
    let file = std::fs::read_to_string(sshd.path("host_ed25519.pub")).unwrap();
    assert_eq!(first.host_key(), &HostKey::parse(&file).unwrap());

    for kind in ["ed25519", "rsa", "ecdsa"] {
        let line = std::fs::read_to_string(sshd.path(&format!("host_{kind}.pub"))).unwrap();
        let pinned = Target { pinned: Some(HostKey::parse(&line).unwrap()), ..target.clone() };
        let host = login(&pinned).await;
        assert_eq!(Some(host.host_key()), pinned.pinned.as_ref(), "{kind}: asked for the kind that is pinned");
    }

    let pinned = Target { pinned: Some(first.host_key().clone()), ..target.clone() };
    sshd.change_host_key();
    let Err(error) = ssh().connect(&pinned).await else { panic!("a changed key was accepted") };
    assert_eq!(error.kind, RemoteErrorKind::HostKeyChanged);
    let file = std::fs::read_to_string(sshd.path("host_ed25519.pub")).unwrap();
    for key in [first.host_key(), &HostKey::parse(&file).unwrap()] {
        assert!(error.message.contains(&key.fingerprint()), "{error}");
    }
    assert!(!sshd.log().contains("Accepted publickey for nobody"));
}

#[tokio::test]
async fn a_pin_is_compared_on_a_connection_that_stands_too() {
    let sshd = Sshd::start();
    let pool = ssh();
    let _first = pool.connect(&sshd.target()).await.unwrap();
    let other =
        HostKey::parse("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1Xl0Zb6cVb0o0QJ0m1pE4w5n3m3e2Jt0m5h4e7yQ2x").unwrap();
    let pinned = Target { pinned: Some(other), ..sshd.target() };
    let Err(error) = pool.connect(&pinned).await else { panic!("a wrong pin was accepted") };
    assert_eq!(error.kind, RemoteErrorKind::HostKeyChanged);
}

#[tokio::test]
async fn every_kind_of_key_logs_in() {
    let sshd = Sshd::start();
    let mut authorized = String::new();
    let mut keys = Vec::new();
    for (kind, more) in [
        ("ed25519", &[][..]),
        ("ecdsa", &[]),
        ("ecdsa", &["-b", "521"]),
        ("rsa", &["-b", "2048"]),
        ("rsa", &["-b", "3072", "-m", "PEM"]),
    ] {
        let (private, public) = fresh_key(sshd.dir.path(), kind, more);
        authorized += &public;
        keys.push((format!("{kind} {more:?}"), private, public));
    }
    std::fs::write(sshd.path("authorized_keys"), authorized).unwrap();
    for (name, key, public) in keys {
        let line = ssh().public_key(&key).unwrap();
        let words = |line: &str| line.split(' ').take(2).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&line), words(public.trim()), "{name}");
        let host = ssh().connect(&Target { key, ..sshd.target() }).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(sh(&*host, "echo in").await.1, "in\n", "{name}");
    }
    let (locked, _) = fresh_key(sshd.dir.path(), "ed25519", &["-N", "secret phrase"]);
    let Err(error) = ssh().connect(&Target { key: locked, ..sshd.target() }).await else { panic!("unlocked itself") };
    assert!(error.kind == RemoteErrorKind::Invalid && error.message.contains("passphrase"), "{error}");
}

#[tokio::test]
async fn a_wrong_key_and_a_wrong_user_are_kept_out() {
    let sshd = Sshd::start();
    let pair = ssh().key_pair(&[9; 32], "stranger").unwrap();
    let Err(error) = ssh().connect(&Target { key: pair.private, ..sshd.target() }).await else { panic!("let in") };
    assert_eq!(error.kind, RemoteErrorKind::Auth);
    assert!(error.message.contains(&pair.public), "says what to put into authorized_keys: {error}");
    let Err(error) = ssh().connect(&Target { user: "nobody-here".to_owned(), ..sshd.target() }).await else {
        panic!("let in")
    };
    assert_eq!(error.kind, RemoteErrorKind::Auth);
}

#[tokio::test]
async fn a_dead_a_silent_and_a_strange_host_are_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sshd = Sshd::start();
    let target = Target { port, ..sshd.target() };

    let silent = Target { connect_timeout: Duration::from_millis(700), ..target.clone() };
    let Err(error) = ssh().connect(&silent).await else { panic!("nobody there") };
    assert_eq!(error.kind, RemoteErrorKind::Unreachable);
    assert!(error.message.contains("does not speak SSH"), "{error}");

    let stranger = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let (mut second, _) = listener.accept().unwrap();
        for socket in [&mut socket, &mut second] {
            std::io::Write::write_all(socket, b"HTTP/1.1 400 Bad Request\r\n\r\n").ok();
        }
    });
    let Err(error) = ssh().connect(&target).await else { panic!("nobody there") };
    assert_eq!(error.kind, RemoteErrorKind::Unreachable);
    stranger.join().unwrap();

    let Err(error) = ssh().connect(&target).await else { panic!("nobody there") };
    assert!(error.is_passing() && error.message.contains("cannot be reached"), "{error}");
    let target = Target { address: "no-such-host.invalid".to_owned(), ..target };
    let Err(error) = ssh().connect(&target).await else { panic!("nobody there") };
    assert_eq!(error.kind, RemoteErrorKind::Unreachable);
}

#[tokio::test]
async fn one_connection_is_shared_and_closed_when_idle() {
    let sshd = Sshd::start();
    let pool = Ssh::new(Settings { idle: Duration::from_millis(300), ..Settings::default() });
    let target = sshd.target();
    let hosts = join_all((0..10).map(|_| pool.connect(&target))).await;
    let hosts: Vec<_> = hosts.into_iter().map(Result::unwrap).collect();
    join_all(hosts.iter().map(|host| sh(&**host, "true"))).await;
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1, "{}", sshd.log());
    drop(hosts);
    until("the idle connection to be closed", || sshd.sessions().is_empty()).await;
    until("it to be forgotten", || format!("{pool:?}") == "Ssh(0 targets)").await;
    sh(&*pool.connect(&target).await.unwrap(), "true").await;
}

#[tokio::test]
async fn connections_are_bounded_and_unused_ones_make_room() {
    let hosts = [Sshd::start(), Sshd::start()];
    let pool = Ssh::new(Settings { connections: 1, ..Settings::default() });
    let held = pool.connect(&hosts[0].target()).await.unwrap();
    let second = Target { connect_timeout: Duration::from_millis(500), ..hosts[1].target() };
    let Err(error) = pool.connect(&second).await else { panic!("beyond the bound") };
    assert!(error.is_passing() && error.message.contains("no free connection"), "{error}");
    drop(held);
    sh(&*pool.connect(&hosts[1].target()).await.unwrap(), "true").await;
}

#[tokio::test]
async fn a_broken_connection_is_replaced() {
    let mut sshd = Sshd::start();
    let pool = ssh();
    let target = sshd.target();
    let host = pool.connect(&target).await.unwrap();
    sshd.change_host_key(); // kills every process of it
    let other = find("another connection", async || match pool.connect(&target).await {
        Ok(other) if other.host_key() != host.host_key() => Ok(other),
        Ok(_) => Err("the one that broke".to_owned()),
        Err(error) => Err(error.to_string()),
    })
    .await;
    assert_eq!(sh(&*other, "echo again").await.1, "again\n");
}

#[tokio::test]
async fn the_facts_of_a_host() {
    let sshd = Sshd::start();
    let facts = gather(&*login(&sshd.target()).await).await.unwrap();
    assert_eq!((facts.kernel.as_str(), facts.root), ("linux", is_root()));
    assert!(facts.cpu_cores.unwrap() > 0 && facts.memory_mib.unwrap() > 0 && facts.disk_gib.is_some(), "{facts:?}");
    let guest = gather(&*login(&sshd.guest()).await).await.unwrap();
    assert_eq!((&guest.os, &guest.hostname), (&facts.os, &facts.hostname));
    if is_root() {
        assert!(!guest.root && guest.user == crate::sshd::GUEST, "{guest:?}");
    }
}
