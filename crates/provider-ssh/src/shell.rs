//! Words into text for a POSIX shell.
//!
//! The command line that the host's login shell gets is the same for every order but for a length; what is run comes
//! through the connection, so that neither words nor variables show in the host's list of processes, and any login shell
//! will do.

use std::fmt::Write as _;

use reeve_ports::remote::RemoteOrder;

/// Begins the line by which the shell on the host tells its process id, which is that of its process group too.
const PID_LINE: &str = "reeve-pid ";
/// A line longer than this is none of ours.
const PID_LINE_BYTES: usize = 4096;

/// One word as the shell reads it back.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// What the shell on the host evaluates: sets the variables, goes to the folder, becomes the command.
///
/// It is one compound command: a text that arrives only in part is a syntax error, and nothing of it is run.
pub fn text(order: &RemoteOrder) -> String {
    let mut text = "{\n".to_owned();
    for (name, value) in &order.env {
        // Writing to a String cannot fail.
        writeln!(text, "export {name}={}", quote(value.expose())).ok();
    }
    if let Some(folder) = &order.directory {
        writeln!(text, "cd {} || exit 126", quote(folder)).ok();
    }
    text.push_str("exec");
    for word in &order.argv {
        text.push(' ');
        text.push_str(&quote(word));
    }
    text + "\n}"
}

/// The command line for the host. `dd` reads byte by byte, so it takes nothing of the command's own input.
pub fn command_line(text: &str) -> String {
    let bytes = text.len();
    format!(
        r#"exec /bin/sh -c 'printf "{PID_LINE}%s\n" "$$" >&2; eval "$(dd bs=1 count={bytes} 2>/dev/null)"; exit 126'"#
    )
}

/// Finds the process id in what a host complains of, and takes it out.
#[derive(Default)]
pub struct PidLine {
    held: Vec<u8>,
    /// No longer looked for.
    done: bool,
    pub pid: Option<i32>,
}

impl PidLine {
    /// Whether it may come yet.
    pub fn is_awaited(&self) -> bool {
        !self.done
    }

    /// Passes on what is not the line.
    pub fn filter(&mut self, bytes: &[u8], mut pass: impl FnMut(&[u8])) {
        if self.done {
            return pass(bytes);
        }
        self.held.extend_from_slice(bytes);
        while let Some(end) = self.held.iter().position(|b| *b == b'\n') {
            let line: Vec<u8> = self.held.drain(..=end).collect();
            let pid = std::str::from_utf8(&line).ok().and_then(|l| l.strip_prefix(PID_LINE)?.trim_end().parse().ok());
            match pid {
                Some(pid) => {
                    self.pid = Some(pid);
                    self.done = true;
                    return self.flush(pass);
                }
                // A login profile complains before the shell speaks.
                None => pass(&line),
            }
        }
        if self.held.len() > PID_LINE_BYTES {
            self.done = true;
            self.flush(pass);
        }
    }

    /// Passes on what is held back: no more comes.
    pub fn flush(&mut self, mut pass: impl FnMut(&[u8])) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            pass(&held);
        }
    }
}

/// Ends the process group `pid`: TERM, then KILL after a while. Succeeds when nothing of it is left.
pub fn kill_line(pid: i32, grace_secs: u64) -> String {
    // dash asks for the `--`, busybox refuses it. Whoever got KILL is gone, even if nobody has reaped it yet.
    let script = format!(
        "exec 2>/dev/null; k() {{ kill -s $1 -- -{pid} || kill -s $1 -{pid}; }}; k TERM || exit 0; i=0; while k 0; do \
         if [ $i -ge {grace_secs} ]; then k KILL; exit $?; fi; i=$((i + 1)); sleep 1; done; exit 0"
    );
    format!("exec /bin/sh -c {}", quote(&script))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(pieces: &[&str]) -> (Option<i32>, String) {
        let mut line = PidLine::default();
        let mut passed = Vec::new();
        for piece in pieces {
            line.filter(piece.as_bytes(), |bytes| passed.extend_from_slice(bytes));
        }
        line.flush(|bytes| passed.extend_from_slice(bytes));
        (line.pid, String::from_utf8(passed).unwrap())
    }

    #[test]
    fn words_stay_words() {
        assert_eq!(quote("a"), "'a'");
        assert_eq!(quote("it's $HOME `x` \\ \n"), "'it'\\''s $HOME `x` \\ \n'");
        let order = RemoteOrder {
            directory: Some("/a b".to_owned()),
            ..RemoteOrder::new(["printf", "%s", "x;y"]).with_env("A", "1'2")
        };
        assert_eq!(text(&order), "{\nexport A='1'\\''2'\ncd '/a b' || exit 126\nexec 'printf' '%s' 'x;y'\n}");
    }

    #[test]
    fn the_process_id_is_taken_out_of_the_complaints() {
        assert_eq!(filtered(&["reeve-pid 42\nfirst\n"]), (Some(42), "first\n".to_owned()));
        assert_eq!(filtered(&["motd\nree", "ve-pid 4", "2\nfi", "rst\n"]), (Some(42), "motd\nfirst\n".to_owned()));
        assert_eq!(filtered(&["reeve-pid 1\nreeve-pid 2\n"]), (Some(1), "reeve-pid 2\n".to_owned()));
        assert_eq!(filtered(&["This account is not available."]), (None, "This account is not available.".to_owned()));
        let long = "x".repeat(PID_LINE_BYTES + 1);
        assert_eq!(filtered(&[&long, "\nreeve-pid 3\n"]), (None, long + "\nreeve-pid 3\n"));
    }
}
