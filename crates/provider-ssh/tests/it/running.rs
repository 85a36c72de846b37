//! Commands: their words, their input and output, their ends.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use reeve_lab::until;
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
    /// Made when the first output comes.
    witness: Option<String>,
}

impl OutputSink for Counter {
    fn write(&mut self, _: Pipe, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if let Some(witness) = self.witness.take() {
            std::fs::write(witness, "").unwrap();
        }
    }
}

#[tokio::test]
async fn output_comes_while_the_command_runs() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let seen = sshd.path("seen");
    // Ends only once its first output has come.
    let order = RemoteOrder::new(["sh", "-c", &format!("echo first; {}; echo second", awaiting(&seen))]);
    let mut counter = Counter { witness: Some(seen), ..Counter::default() };
    assert!(host.run(&order, &mut counter).await.unwrap().is_success());
    assert_eq!(counter.bytes, "first\nsecond\n".len() as u64);
}

/// Shell words that wait until a file is there.
fn awaiting(file: &str) -> String {
    format!("while [ ! -e {file} ]; do sleep 0.05; done")
}

#[tokio::test]
async fn a_timeout_ends_the_whole_group_even_what_ignores_being_asked() {
    let sshd = Sshd::start();
    for (target, name) in [(sshd.target(), "own"), (sshd.guest(), "guest")] {
        let host = login(&target).await;
        // A child beside the shell; the second time both ignore TERM.
        let cases = ["", "trap '' TERM; "].map(|trap| {
            let (host, marker) = (&host, format!("31{}.{}{}", sshd.port, name.len(), trap.len()));
            async move {
                let script = format!("{trap}sleep {marker} & echo up; wait; sleep {marker}");
                // Time enough to begin on a machine that is busy.
                let order = RemoteOrder::new(["sh", "-c", &script]).with_timeout(Duration::from_secs(5));
                let mut kept = Kept::default();
                let error = host.run(&order, &mut kept).await.unwrap_err();
                assert_eq!((error.kind, kept.stdout().as_str()), (RemoteErrorKind::TimedOut, "up\n"), "{name} {trap}");
                assert!(error.message.ends_with("it was ended"), "{name} {trap}: {error}");
                gone(&marker).await;
            }
        });
        join_all(cases).await;
        assert_eq!(sh(&*host, "echo well").await.1, "well\n", "the connection is as good as before");
    }
}

#[tokio::test]
async fn a_dropped_call_ends_its_command() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let marker = format!("32{}", sshd.port);
    let begun = sshd.path("begun");
    let order = RemoteOrder::new(["sh", "-c", &format!("echo up > {begun}; sleep {marker}")]);
    tokio::select! {
        ended = async { host.run(&order, &mut Nowhere).await } => panic!("{ended:?}"),
        () = appears(&begun) => {}
    }
    gone(&marker).await;
}

/// Waits until no process has this word.
async fn gone(word: &str) {
    until("the command to end", || count(word) == 0).await;
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
    // For longer than anybody waits for the command that started it.
    let marker = format!("33{}", sshd.port);
    let (end, out, _) = sh(&*host, &format!("sleep {marker} & echo started")).await;
    assert_eq!((end.as_str(), out.as_str()), ("exit status 0", "started\n"));
    assert_eq!(count(&marker), 1, "it lives");
    sh(&*host, &format!("pkill -f 'sleep {marker}'")).await;
}

#[tokio::test]
async fn a_lost_connection_leaves_the_outcome_open() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let file = sshd.path("outlived");
    let (begun, go) = (sshd.path("begun"), sshd.path("go"));
    let script = format!("echo up > {begun}; {}; echo done > {file}", awaiting(&go));
    let order = RemoteOrder::new(["sh", "-c", &script]);
    let kill = async {
        appears(&begun).await;
        sshd.signal_all("-KILL");
    };
    let mut kept = Kept::default();
    let (result, ()) = tokio::join!(host.run(&order, &mut kept), kill);
    let error = result.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Lost);
    assert!(error.may_have_happened() && !error.is_passing());
    std::fs::write(go, "").unwrap();
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
    let order = RemoteOrder::new(["true"]).with_timeout(reeve_lab::PATIENCE);
    let error = host.run(&order, &mut Nowhere).await.unwrap_err();
    sshd.signal_all("-CONT");
    // Not TimedOut: keepalives find out.
    assert!(matches!(error.kind, RemoteErrorKind::Unreachable | RemoteErrorKind::Lost), "{error}");
}

#[tokio::test]
async fn more_commands_than_sessions_wait_their_turn() {
    let sshd = Sshd::start();
    let host = login(&sshd.target()).await;
    let order = RemoteOrder::new(["sleep", "0.2"]);
    let outcomes = join_all((0..30).map(|_| async { host.run(&order, &mut Nowhere).await.unwrap() })).await;
    assert!(outcomes.iter().all(|outcome| outcome.is_success()));
    let go = sshd.path("go");
    let slow = RemoteOrder::new(["sh", "-c", &awaiting(&go)]);
    let short = RemoteOrder::new(["true"]).with_timeout(Duration::from_millis(100));
    let busy = join_all((0..8).map(|_| async { host.run(&slow, &mut Nowhere).await.unwrap() }));
    let late = async {
        let late = host.run(&short, &mut Nowhere).await;
        std::fs::write(&go, "").unwrap();
        late
    };
    let (_, late) = tokio::join!(busy, late);
    assert_eq!(late.unwrap_err().kind, RemoteErrorKind::Refused, "nothing was begun");
    assert!(host.run(&slow, &mut Nowhere).await.unwrap().is_success());
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
