//! Lines for the person at the terminal. Everything else is a log.
#![allow(clippy::print_stdout, clippy::print_stderr)] // the one place that prints

/// A line on standard output.
pub fn line(text: &str) {
    println!("{text}");
}

/// A line about progress, on standard error.
pub fn progress(text: &str) {
    eprintln!("  {text}");
}

/// What went wrong, on standard error.
pub fn error(text: &str) {
    eprintln!("reeve: {text}");
}

/// An error with its causes; many repeat theirs in their own words, and once is enough.
pub fn causes(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    #[test]
    fn a_cause_is_said_once() {
        let inner = Err::<(), _>(anyhow::anyhow!("connection refused")).context("cannot connect: connection refused");
        assert_eq!(
            super::causes(&inner.context("the store").unwrap_err()),
            "the store: cannot connect: connection refused"
        );
    }
}
