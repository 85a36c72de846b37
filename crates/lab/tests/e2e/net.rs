//! The lab itself: what the other tests stand on.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use reeve_lab::{Host, Lab, Process, eventually};

use super::LIMIT;

/// True when `host` gets an answer from `address` within a second.
fn reaches(host: &Host, address: SocketAddr) -> bool {
    let script = format!("exec 3<>/dev/tcp/{}/{} && head -c 2 <&3", address.ip(), address.port());
    host.run("timeout", &["1", "bash", "-c", &script]).is_ok_and(|answer| answer == "hi")
}

/// Greets whoever connects and remembers who it was.
fn greeter(lab: &Lab) -> (SocketAddr, std::sync::mpsc::Receiver<SocketAddr>) {
    let listener = TcpListener::bind((lab.address(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            if stream.write_all(b"hi").is_err() || tell.send(peer).is_err() {
                return;
            }
        }
    });
    (address, told)
}

#[test]
fn hosts_reach_this_machine_until_their_cable_is_cut() {
    let mut lab = Lab::new().unwrap();
    let hosts = lab.add_hosts(3).unwrap();
    let (address, told) = greeter(&lab);
    for host in &hosts {
        assert!(reaches(host, address), "{}", host.name());
        assert_eq!(told.recv().unwrap().ip(), host.address());
    }
    hosts[1].cut().unwrap();
    assert!(!reaches(&hosts[1], address));
    assert!(reaches(&hosts[2], address));
    hosts[1].heal().unwrap();
    eventually("the healed host", LIMIT, || Ok(reaches(&hosts[1], address))).unwrap();
}

#[test]
fn a_router_hides_who_is_behind_it() {
    let mut lab = Lab::new().unwrap();
    let mut router = lab.router().unwrap();
    let hidden = router.hidden_host().unwrap();
    let (address, told) = greeter(&lab);
    eventually("the way out", LIMIT, || Ok(reaches(&hidden, address))).unwrap();
    assert_eq!(told.recv().unwrap().ip(), router.address());
}

#[test]
fn a_panic_takes_the_lab_and_its_processes_down() {
    let folder = tempfile::tempdir().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let ended = std::thread::spawn(move || {
        let mut lab = Lab::new().unwrap();
        let host = lab.host().unwrap();
        let sleeper = Process::spawn("sleeper", host.command("sleep").arg("600"), &folder.path().join("log")).unwrap();
        tell.send((host.name().to_owned(), sleeper.id())).unwrap();
        std::mem::forget(sleeper); // as if nobody had kept its handle
        panic!("as planned");
    })
    .join();
    assert!(ended.is_err());
    let (name, pid) = told.recv().unwrap();
    assert!(!std::path::Path::new("/run/netns").join(&name).exists());
    eventually("the end of the process", LIMIT, || {
        let mut state = String::new();
        let Ok(mut stat) = std::fs::File::open(format!("/proc/{pid}/stat")) else {
            return Ok(true);
        };
        stat.read_to_string(&mut state)?;
        Ok(state.contains(") Z ")) // ended; its parent, this test, has not waited for it
    })
    .unwrap();
}
