//! The one way to the terminal: results go to standard output, everything else (progress, hints, errors) to standard
//! error. Colour and width are decided here, once, and never for a pipe.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};

use console::{Style, Term};

use crate::failure::{Failure, Outcome};
use crate::safe::{self, Allowed, Filter};

/// Standard output and standard error, and what is known about them.
pub struct Out {
    stdout: Box<dyn Write + Send>,
    stderr: Box<dyn Write + Send>,
    /// Of result text that comes in pieces.
    filter: Filter,
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
            filter: Filter::default(),
            width,
            err_is_terminal,
            colour: allowed && (forced || width.is_some()),
            err_colour: allowed && (forced || err_is_terminal),
        }
    }

    /// Streams of the caller's choice: for tests.
    pub fn to(stdout: Box<dyn Write + Send>, stderr: Box<dyn Write + Send>, width: Option<usize>) -> Self {
        let filter = Filter::default();
        Self { stdout, stderr, filter, width, err_is_terminal: false, colour: false, err_colour: false }
    }

    /// One line of a result. A pipe gets it as it is, a terminal what cannot steer it.
    pub fn line(&mut self, text: &str) -> Outcome<()> {
        match self.width {
            Some(_) => {
                let allowed = Allowed { colour: self.colour, carriage_return: false };
                self.stdout.write_all(safe::text(text, allowed).as_bytes())?;
            }
            None => self.stdout.write_all(text.as_bytes())?,
        }
        self.stdout.write_all(b"\n")?;
        Ok(())
    }

    /// A piece of result text; a pipe gets it as it is, a terminal what cannot steer it.
    pub fn raw(&mut self, text: &str) -> Outcome<()> {
        match self.width {
            Some(_) => {
                let allowed = Allowed { colour: self.colour, carriage_return: true };
                let text = self.filter.pass(text, allowed);
                self.stdout.write_all(text.as_bytes())?;
            }
            None => self.stdout.write_all(text.as_bytes())?,
        }
        Ok(())
    }

    /// Steers the terminal: for text of our own only.
    pub fn steer(&mut self, text: &str) -> Outcome<()> {
        self.stdout.write_all(text.as_bytes())?;
        Ok(())
    }

    /// A message as standard error gets it.
    fn message(&self, text: &str) -> String {
        match self.err_is_terminal {
            true => safe::text(text, Allowed { colour: self.err_colour, carriage_return: false }),
            false => text.to_owned(),
        }
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
        let text = self.message(text);
        self.stderr.write_all(text.as_bytes())?;
        self.stderr.write_all(b"\n")?;
        Ok(())
    }

    /// A prompt without a line end, on standard error.
    pub fn prompt(&mut self, text: &str) -> Outcome<()> {
        self.stdout.flush()?;
        let text = self.message(text);
        self.stderr.write_all(text.as_bytes())?;
        self.stderr.flush()?;
        Ok(())
    }

    /// Reports a failure in two lines and says nothing when nobody listens.
    pub fn failure(&mut self, failure: &Failure) {
        if matches!(failure, Failure::PipeClosed | Failure::Interrupted) {
            return;
        }
        let head = if self.err_colour { paint("error:", &Style::new().red().bold()) } else { "error:".to_owned() };
        let mut text = format!("{head} {failure}\n");
        if let Some(next) = failure.next_step() {
            text.push_str(&format!("next:  {next}\n"));
        }
        // A closed standard error leaves nobody to tell; the exit code still speaks.
        self.stdout.flush().ok();
        let text = self.message(&text);
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

/// `text` made safe for one terminal line: what a remote machine wrote must not move our cursor.
pub fn one_line(text: &str) -> String {
    let text = text.trim_end_matches(['\n', '\r']);
    if !text.chars().any(safe::is_steering) {
        return text.to_owned();
    }
    let text = safe::text(text, Allowed { colour: false, carriage_return: false });
    text.replace('\n', "⏎").replace('\t', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_keeps_text_and_defuses_control_characters() {
        assert_eq!(one_line("plain\n"), "plain");
        assert_eq!(one_line("a\nb\tc\u{1b}[2J"), "a⏎b c\u{fffd}[2J");
        assert_eq!(one_line("\u{1b}[31mred\u{1b}[0m \u{202e}back"), "red \u{fffd}back");
    }
}
