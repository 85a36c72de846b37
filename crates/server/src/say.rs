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
