//! Whoever changes a taskserv on a machine waits for its turn there. A command outlives the server that gave it: when that
//! server comes again and goes on with the operation, its next command would run beside the one from before.

/// How long a command waits for its turn before it fails and says so (seconds).
pub const WAIT_SECS: u64 = 300;

/// `words`, run once nobody else holds `lock` on the machine. The input stays theirs, and what they leave running in the
/// background does not hold the turn. Machines without the flock of util-linux know no turns.
pub(crate) fn take(lock: &str, wait_secs: u64, words: Vec<String>) -> Vec<String> {
    // All values are arguments: none is part of the script. 75 is the one that flock itself ends with.
    const SCRIPT: &str = "lock=$1; wait=$2; shift 2; \
        case $(flock --version 2>/dev/null </dev/null || :) in *util-linux*) ;; *) exec \"$@\" ;; esac; \
        code=0; flock -o -E 75 -w \"$wait\" \"$lock\" \"$@\" || code=$?; \
        if [ \"$code\" = 75 ]; then echo \"::problem an earlier run is still at work on this machine after $wait s: \
        see 'fuser -v $lock'\" >&2; fi; exit \"$code\"";
    ["sh", "-c", SCRIPT, "turn", lock, &wait_secs.to_string()].map(str::to_owned).into_iter().chain(words).collect()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)] // they start sh
mod tests {
    use std::io::Write as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    fn start(lock: &str, wait_secs: u64, script: &str, folder: &std::path::Path) -> Child {
        let words = take(lock, wait_secs, ["sh", "-s"].map(str::to_owned).to_vec());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).current_dir(folder);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        child
    }

    #[test]
    fn commands_take_turns_and_what_they_leave_behind_holds_none() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("it's a lock").display().to_string();
        let script =
            "mkdir here || exit 9; sleep 60 >/dev/null 2>&1 & echo $! >>left; sleep 0.02; rmdir here; exit 3\n";
        let all: Vec<Child> = (0..8).map(|_| start(&lock, 60, script, folder.path())).collect();
        for child in all {
            let output = child.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
        }
        let left = std::fs::read_to_string(folder.path().join("left")).unwrap();
        assert!(Command::new("kill").args(left.lines()).status().unwrap().success(), "they ran until here");
    }

    #[test]
    fn who_never_gets_a_turn_says_what_is_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let lock = folder.path().join("lock").display().to_string();
        let file = std::fs::File::create(&lock).unwrap();
        file.lock().unwrap();
        let output = start(&lock, 1, "echo ran\n", folder.path()).wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(75), b"".as_slice()));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.starts_with("::problem an earlier run is still at work on this machine after 1 s: see"), "{told}");
    }
}
