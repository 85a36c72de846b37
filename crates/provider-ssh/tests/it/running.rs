//! Commands: their words, their input and output, their ends.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use reeve_ports::remote::{End, Kept, Nowhere, OutputSink, Pipe, RemoteErrorKind, RemoteHosts, RemoteOrder};

use crate::sshd::{Sshd, appears, login, sh, ssh};

#[tokio::test]
async fn words_variables_input_and_folder_arrive_as_they_were_given() {
    let sshd = Sshd::start();
    for target in [sshd.target(), sshd.guest()] {
        let host = login(&target).await;
        let words = ["a b", "it's", "$HOME", "`x`", "\\n", "", "-e", "*", "é“ą\u{81}", "line\nbreak", "\"", "!", "a\r"];
        let order = RemoteOrder::new(["printf", "<%s>"].into_iter().chain(words));
        let mut kept = Kept::default();
        assert!(host.run(&order, &mut kept).await.unwrap().is_success());
        let expected: String = words.iter().map(|word| format!("<{word}>")).collect();
        assert_eq!((kept.stdout(), kept.stderr()), (expected, String::new()));

        let order = RemoteOrder {
            directory: Some("/usr".to_owned()),
            ..RemoteOrder::script("cat >/dev/null </dev/null; pwd; printf '%s' \"$SECRET\"; cat\n")
                .with_env("SECRET", "it's\n$x é")
        };
        let mut kept = Kept::default();
        assert!(host.run(&order, &mut kept).await.unwrap().is_success());
        assert_eq!(kept.stdout(), "/usr\nit's\n$x é");

        let order = RemoteOrder::new(["cat"]).with_stdin(vec![b'x'; 3_000_000]);
        let mut kept = Kept::new(10);
        let order = RemoteOrder { output_bytes: 5_000_000, ..order };
        let outcome = host.run(&order, &mut kept).await.unwrap();
        assert_eq!((outcome.output_bytes, outcome.omitted_bytes), (3_000_000, 0));
    }
}

#[tokio::test]
async fn ends_are_told() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    assert_eq!(
        sh(&*host, "echo out; echo err >&2; exit 7").await,
        ("exit status 7".into(), "out\n".into(), "err\n".into())
    );
    let end = |argv: &[&str]| RemoteOrder::new(argv.iter().copied());
    for (order, expected) in [
        (end(&["no-such-program"]), End::Exited(127)),
        (end(&["/etc/passwd"]), End::Exited(126)),
        (end(&["true", "with", "words"]), End::Exited(0)),
        (end(&["sh", "-c", "kill -KILL $$"]), End::Signalled("KILL".into())),
        (RemoteOrder { directory: Some("/no/such".into()), ..end(&["true"]) }, End::Exited(126)),
        // One that does not read what it is given.
        (end(&["true"]).with_stdin(vec![0; 9_000_000]), End::Exited(0)),
    ] {
        assert_eq!(host.run(&order, &mut Nowhere).await.unwrap().end, expected, "{:?}", order.argv);
    }
}

#[tokio::test]
async fn secrets_stand_on_no_command_line() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let look = "tr '\\0' ' ' < /proc/$PPID/cmdline; tr '\\0' ' ' < /proc/$$/cmdline; \
                for p in /proc/[0-9]*; do tr '\\0' ' ' < $p/cmdline; echo; done 2>/dev/null";
    let order = RemoteOrder::script(look).with_env("TOKEN", "hush-9b1c");
    let mut kept = Kept::new(4_000_000);
    assert!(host.run(&order, &mut kept).await.unwrap().is_success());
    assert!(kept.stdout().contains("sshd") && !kept.stdout().contains("hush-9b1c"));
}

#[tokio::test]
async fn a_flood_is_cut_counted_and_does_not_stop_the_command() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let order = RemoteOrder::new(["sh", "-c", "head -c 50000000 /dev/zero; echo done >&2; exit 3"]);
    let order = RemoteOrder { output_bytes: 10_000, ..order };
    let mut counter = Counter::default();
    let outcome = host.run(&order, &mut counter).await.unwrap();
    assert_eq!(outcome.end, End::Exited(3));
    assert_eq!((outcome.output_bytes, outcome.omitted_bytes), (50_000_005, 49_990_005));
    assert_eq!(counter.bytes, 10_000);
}

#[derive(Default)]
struct Counter {
    bytes: u64,
    first: Option<Instant>,
}

impl OutputSink for Counter {
    fn write(&mut self, _: Pipe, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.first.get_or_insert_with(Instant::now);
    }
}

#[tokio::test]
async fn output_comes_while_the_command_runs() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let order = RemoteOrder::new(["sh", "-c", "echo first; sleep 2; echo second"]);
    let mut counter = Counter::default();
    host.run(&order, &mut counter).await.unwrap();
    assert!(counter.first.unwrap().elapsed() > Duration::from_millis(1500));
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group_even_what_ignores_being_asked() {
    let sshd = Sshd::start();
    for (target, name) in [(sshd.target(), "own"), (sshd.guest(), "guest")] {
        let host = login(&target).await;
        let marker = format!("31{}.{}", sshd.port, name.len());
        // A child beside the shell; the second time both ignore TERM.
        for trap in ["", "trap '' TERM; "] {
            let script = format!("{trap}sleep {marker} & echo up; wait; sleep {marker}");
            let order = RemoteOrder::new(["sh", "-c", &script]).with_timeout(Duration::from_secs(1));
            let begun = Instant::now();
            let mut kept = Kept::default();
            let error = host.run(&order, &mut kept).await.unwrap_err();
            assert_eq!((error.kind, kept.stdout().as_str()), (RemoteErrorKind::TimedOut, "up\n"), "{name} {trap}");
            assert!(error.message.ends_with("it was ended"), "{name} {trap}: {error}");
            assert!(begun.elapsed() < Duration::from_secs(12));
            gone(&marker).await;
        }
        assert_eq!(sh(&*host, "echo well").await.1, "well\n", "the connection is as good as before");
    }
}

#[tokio::test]
async fn a_dropped_call_ends_its_command() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let marker = format!("32{}", sshd.port);
    let order = RemoteOrder::new(["sh", "-c", &format!("echo up; sleep {marker}")]);
    let mut counter = Counter::default();
    let call = host.run(&order, &mut counter);
    assert!(tokio::time::timeout(Duration::from_secs(1), call).await.is_err());
    gone(&marker).await;
}

/// Waits until no process has this word.
async fn gone(word: &str) {
    for _ in 0..200 {
        if count(word) == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the command lives on");
}

/// Processes on this machine with this word.
fn count(word: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line.split(|b| *b == 0).any(|w| w == word.as_bytes())).count()
}

#[tokio::test]
async fn a_process_left_in_the_background_holds_nobody_up() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let begun = Instant::now();
    let marker = format!("33{}", sshd.port);
    let (end, out, _) = sh(&*host, &format!("sleep {marker} & echo started")).await;
    assert_eq!((end.as_str(), out.as_str()), ("exit status 0", "started\n"));
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert_eq!(count(&marker), 1, "it lives");
    sh(&*host, &format!("pkill -f 'sleep {marker}'")).await;
}

#[tokio::test]
async fn a_lost_connection_leaves_the_outcome_open() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let file = sshd.path("outlived");
    let begun = sshd.path("begun");
    let order = RemoteOrder::new(["sh", "-c", &format!("echo up > {begun}; sleep 2; echo done > {file}")]);
    let kill = async {
        appears(&begun).await;
        sshd.signal_all("-KILL");
    };
    let mut kept = Kept::default();
    let (result, ()) = tokio::join!(host.run(&order, &mut kept), kill);
    let error = result.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Lost);
    assert!(error.may_have_happened() && !error.is_passing());
    appears(&file).await; // the command outlived its connection
    let error = host.run(&RemoteOrder::new(["true"]), &mut Nowhere).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Unreachable, "afterwards nothing is sent: {error}");
}

#[tokio::test]
async fn a_host_that_hangs_is_noticed() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    sh(&*host, "true").await;
    sshd.signal_all("-STOP");
    let begun = Instant::now();
    let order = RemoteOrder::new(["true"]).with_timeout(Duration::from_secs(30));
    let error = host.run(&order, &mut Nowhere).await.unwrap_err();
    sshd.signal_all("-CONT");
    assert!(matches!(error.kind, RemoteErrorKind::Unreachable | RemoteErrorKind::Lost), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(15), "keepalives find out: {:?}", begun.elapsed());
}

#[tokio::test]
async fn more_commands_than_sessions_wait_their_turn() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let order = RemoteOrder::new(["sleep", "0.2"]);
    let outcomes = join_all((0..30).map(|_| async { host.run(&order, &mut Nowhere).await.unwrap() })).await;
    assert!(outcomes.iter().all(|outcome| outcome.is_success()));
    let slow = RemoteOrder::new(["sleep", "1"]);
    let short = RemoteOrder::new(["true"]).with_timeout(Duration::from_millis(100));
    let (mut a, mut b) = (Nowhere, Nowhere);
    let busy = join_all((0..8).map(|_| async { host.run(&slow, &mut Nowhere).await.unwrap() }));
    let (_, late) = tokio::join!(
        async {
            busy.await;
            host.run(&slow, &mut a).await.unwrap()
        },
        host.run(&short, &mut b)
    );
    assert_eq!(late.unwrap_err().kind, RemoteErrorKind::Refused, "nothing was begun");
}

#[tokio::test]
async fn a_host_without_room_for_sessions_refuses() {
    let sshd = Sshd::with("MaxSessions 0", &["ed25519"]);
    let host = login(&sshd.target()).await;
    let error = host.run(&RemoteOrder::new(["true"]), &mut Nowhere).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Refused);
    assert!(error.message.contains("MaxSessions"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_hosts_side_by_side() {
    let hosts: Vec<Sshd> = (0..20).map(|_| Sshd::start()).collect();
    let pool = Arc::new(ssh());
    let work = hosts.iter().map(|sshd| {
        let (pool, target) = (Arc::clone(&pool), sshd.target());
        tokio::spawn(async move {
            let host = pool.connect(&target).await.unwrap();
            join_all((0..5).map(|n| {
                let host = Arc::clone(&host);
                async move { assert_eq!(sh(&*host, &format!("echo {n}")).await.1, format!("{n}\n")) }
            }))
            .await;
        })
    });
    for done in join_all(work).await {
        done.unwrap();
    }
}
