//! Runs real shells.

use reeve_agent_proto::message::FromAgent;
use reeve_lab::until;

use super::*;
use crate::uplink::Outbox;

struct Bench {
    dir: tempfile::TempDir,
    shell: Shell,
    uplink: Uplink,
    stop: watch::Sender<Option<Stop>>,
}

fn bench() -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let shell = Shell::plain(dir.path());
    Bench { dir, shell, uplink: Uplink::default(), stop: watch::Sender::new(None) }
}

impl Bench {
    async fn run(&self, text: &str, timeout_ms: u64) -> Outcome {
        let run_message = Run {
            execution_id: uuid::Uuid::new_v4().to_string(),
            command_text: text.into(),
            timeout_ms,
            ..Run::default()
        };
        run(&run_message, &self.shell, &self.uplink, self.stop.subscribe(), |_| {}).await
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }
}

fn alive(pid_file: &str) -> bool {
    let pid = std::fs::read_to_string(pid_file).unwrap();
    start_ticks(pid.trim().parse().unwrap()).is_some()
}

#[tokio::test]
async fn output_is_merged_in_order_and_exit_code_kept() {
    let outcome = bench().run("echo a; echo b >&2; echo c; exit 7", 0).await;
    assert_eq!((outcome.output.as_str(), outcome.exit_code, outcome.output_bytes), ("a\nb\nc\n", 7, 6));
}

#[tokio::test]
async fn a_signal_is_128_plus_its_number() {
    assert_eq!(bench().run("kill -KILL $$", 0).await.exit_code, 137);
}

#[tokio::test]
async fn the_login_shell_is_bash_when_there_is_one() {
    let bench = bench();
    let shell = Shell::find(bench.dir.path());
    assert!(shell.login || !Path::new("/bin/bash").exists());
    let outcome = Bench { shell, ..bench }.run("shopt -q login_shell && echo login; cat; echo \"$HOME\"", 0).await;
    assert!(outcome.output.starts_with("login\n/"), "{}", outcome.output);
}

#[tokio::test]
async fn a_timeout_kills_the_grandchildren_and_keeps_the_output() {
    let bench = bench();
    let pid = bench.path("pid");
    let text = format!("echo before; (trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > {pid}; sleep 600') & wait");
    let outcome = bench.run(&text, 5_000).await;
    assert_eq!(outcome.exit_code, 124);
    assert_eq!(outcome.output, "before\nCommand timed out after 5000 milliseconds\n");
    // Killed, and gone once init has reaped it.
    until("the grandchildren to be gone", || !alive(&pid)).await;
}

#[tokio::test]
async fn cancel_kills_the_group() {
    let bench = bench();
    let pid = bench.path("pid");
    let text = format!("printf partial; sleep 600 & echo $! > {pid}.new; mv {pid}.new {pid}; wait");
    let outcome = bench.run(&text, 0);
    let cancel = async {
        until("the command to start", || Path::new(&pid).exists()).await;
        bench.stop.send_replace(Some(Stop::Cancel));
    };
    let (outcome, ()) = tokio::join!(outcome, cancel);
    assert_eq!((outcome.exit_code, outcome.output.as_str()), (143, "partial\nCommand cancelled\n"));
    until("the child to be gone", || !alive(&pid)).await;
}

#[tokio::test]
async fn a_background_child_does_not_hold_the_result() {
    let bench = bench();
    let pid = bench.path("pid");
    // For longer than the command may take.
    let limit_ms = reeve_lab::PATIENCE.as_millis() as u64;
    let outcome = bench.run(&format!("sleep 600 & echo $! > {pid}; echo done"), limit_ms).await;
    assert_eq!((outcome.exit_code, outcome.output.as_str()), (0, "done\n"));
    assert!(alive(&pid), "what was put into the background stays");
    let pid: i32 = std::fs::read_to_string(&pid).unwrap().trim().parse().unwrap();
    rustix::process::kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

#[tokio::test]
async fn large_output_keeps_both_ends() {
    let outcome = bench().run("echo first; head -c 3000000 /dev/zero | tr '\\0' x; echo; echo last", 0).await;
    assert!(outcome.output.starts_with("first\nxxx") && outcome.output.ends_with("xxx\nlast\n"));
    assert!(outcome.output.contains("\n...[truncated: "));
    assert_eq!(outcome.output_bytes, 3_000_012);
    assert!(outcome.output.len() < 1024 * 1024 + 100);
}

#[tokio::test]
async fn a_long_command_text_works() {
    let bench = bench();
    let text = format!("true {}\necho end $(( 1 + 1 ))", "x".repeat(300_000));
    assert_eq!(bench.run(&text, 0).await.output, "end 2\n");
    assert_eq!(std::fs::read_dir(bench.dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let outcome = bench().run("echo \0", 0).await;
    assert_eq!(outcome.exit_code, 1);
    assert!(outcome.output.starts_with("The command could not be started: "), "{}", outcome.output);
}

async fn live(outbox: &mut Outbox) -> OutputChunk {
    match outbox.recv().await.unwrap().body.unwrap() {
        FromAgent::Output(chunk) => chunk,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn output_is_streamed_while_the_command_runs_and_characters_stay_whole() {
    let bench = bench();
    let mut outbox = bench.uplink.connect();
    let go = bench.path("go");
    let text = format!("printf '\\303'; while [ ! -e {go} ]; do sleep 0.01; done; printf '\\244\\377b'");
    let watch = async {
        std::fs::write(&go, "").unwrap();
        let mut seen = String::new();
        while !seen.ends_with('b') {
            let chunk = live(&mut outbox).await;
            assert_eq!((chunk.offset, chunk.dropped), (seen.len() as u64, 0));
            seen.push_str(&chunk.text);
        }
        seen
    };
    let (outcome, seen) = tokio::join!(bench.run(&text, 0), watch);
    assert_eq!((seen.as_str(), outcome.output.as_str()), ("ä\u{fffd}b", "ä\u{fffd}b"));
}

#[tokio::test]
async fn live_output_nobody_takes_is_dropped_not_kept() {
    let bench = bench();
    let mut outbox = bench.uplink.connect();
    let outcome = bench.run("head -c 2000000 /dev/zero | tr '\\0' x", 0).await;
    assert_eq!(outcome.output_bytes, 2_000_000);
    let mut queued = 0;
    while let Some(message) = outbox.try_recv() {
        if let Some(FromAgent::Output(chunk)) = message.body {
            queued += chunk.text.len();
        }
    }
    assert!(queued > 0 && queued <= 256 * 1024, "{queued}");
}
