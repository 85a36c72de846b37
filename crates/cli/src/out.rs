//! The one way to the terminal: results go to standard output, everything else (progress, hints, errors) to standard
//! error. Colour and width are decided here, once, and never for a pipe.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};

use console::{Style, Term};

use crate::failure::{Failure, Outcome};

/// Standard output and standard error, and what is known about them.
pub struct Out {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    /// Columns of the terminal that standard output is, `None` for a pipe or a file.
    pub width: Option<usize>,
    /// Whether standard error is a terminal: progress bars and prompts are for people only.
    pub err_is_terminal: bool,
    /// Whether results may be coloured.
    pub colour: bool,
    /// Whether messages on standard error may be coloured.
    pub err_colour: bool,
}

impl Out {
    /// The process's own streams; `vars` decides about `NO_COLOR` and `CLICOLOR_FORCE`.
    pub fn real(vars: &BTreeMap<String, String>) -> Self {
        let stdout = io::stdout();
        let stderr = io::stderr();
        let width = stdout.is_terminal().then(|| {
            let size = Term::stdout().size_checked().map(|(_, columns)| usize::from(columns));
            size.filter(|columns| *columns > 0).unwrap_or(80)
        });
        let err_is_terminal = stderr.is_terminal();
        let set = |name: &str| vars.get(name).is_some_and(|value| !value.is_empty() && value != "0");
        let dumb = vars.get("TERM").is_some_and(|term| term == "dumb");
        let forced = set("CLICOLOR_FORCE");
        let allowed = vars.get("NO_COLOR").is_none_or(String::is_empty) && !dumb;
        Self {
            stdout: Box::new(BufWriter::new(stdout)),
            stderr: Box::new(stderr),
            width,
            err_is_terminal,
            colour: allowed && (forced || width.is_some()),
            err_colour: allowed && (forced || err_is_terminal),
        }
    }

    /// Streams of the caller's choice: for tests.
    pub fn to(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>, width: Option<usize>) -> Self {
        Self { stdout, stderr, width, err_is_terminal: false, colour: false, err_colour: false }
    }

    /// One line of a result.
    pub fn line(&mut self, text: &str) -> Outcome<()> {
        self.stdout.write_all(text.as_bytes())?;
        self.stdout.write_all(b"\n")?;
        Ok(())
    }

    /// Result text as it is.
    pub fn raw(&mut self, text: &str) -> Outcome<()> {
        self.stdout.write_all(text.as_bytes())?;
        Ok(())
    }

    /// Makes what was written visible.
    pub fn flush(&mut self) -> Outcome<()> {
        self.stdout.flush()?;
        self.stderr.flush()?;
        Ok(())
    }

    /// One line for the person at the keyboard, on standard error.
    pub fn note(&mut self, text: &str) -> Outcome<()> {
        // Results first, so that both streams on one terminal read in order.
        self.stdout.flush()?;
        self.stderr.write_all(text.as_bytes())?;
        self.stderr.write_all(b"\n")?;
        Ok(())
    }

    /// A prompt without a line end, on standard error.
    pub fn prompt(&mut self, text: &str) -> Outcome<()> {
        self.stdout.flush()?;
        self.stderr.write_all(text.as_bytes())?;
        self.stderr.flush()?;
        Ok(())
    }

    /// Reports a failure in two lines and says nothing when nobody listens.
    pub fn failure(&mut self, failure: &Failure) {
        if matches!(failure, Failure::PipeClosed) {
            return;
        }
        let head = if self.err_colour { paint("error:", &Style::new().red().bold()) } else { "error:".to_owned() };
        let mut text = format!("{head} {failure}\n");
        if let Some(next) = failure.next_step() {
            text.push_str(&format!("next:  {next}\n"));
        }
        // A closed standard error leaves nobody to tell; the exit code still speaks.
        self.stdout.flush().ok();
        self.stderr.write_all(text.as_bytes()).ok();
        self.stderr.flush().ok();
    }

    /// `text` in a colour, when results may be coloured.
    pub fn painted(&self, text: &str, style: &Style) -> String {
        if self.colour { paint(text, style) } else { text.to_owned() }
    }
}

/// `text` in a colour, whatever the stream is.
pub fn paint(text: &str, style: &Style) -> String {
    style.clone().force_styling(true).apply_to(text).to_string()
}

/// `text` made safe for one terminal line: control characters of a remote machine must not move our cursor.
pub fn one_line(text: &str) -> String {
    let text = text.trim_end_matches(['\n', '\r']);
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => line.push('⏎'),
            '\t' => line.push(' '),
            c if c.is_control() => line.push('\u{fffd}'),
            c => line.push(c),
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_keeps_text_and_defuses_control_characters() {
        assert_eq!(one_line("plain\n"), "plain");
        assert_eq!(one_line("a\nb\tc\u{1b}[2J"), "a⏎b c\u{fffd}[2J");
    }
}
