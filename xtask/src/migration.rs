//! `cargo xtask new-migration NAME`: two files, one number, one name.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::shell;

#[derive(clap::Args)]
pub struct Args {
    /// What it does, in snake_case: add_node_labels
    name: String,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if args.name.is_empty() || !args.name.chars().all(ok) {
        bail!("{:?} is not a migration name: use lower-case letters, digits and _", args.name);
    }
    let root = shell::root();
    let number = next_number(&root.join("migrations/sqlite"))?;
    for dialect in ["sqlite", "postgres"] {
        let file = root.join("migrations").join(dialect).join(format!("{number:04}_{}.sql", args.name));
        fs::create_dir_all(file.parent().unwrap_or(&root))?;
        fs::write(&file, "-- Expand only: add what the next version needs, remove nothing that this one reads.\n")
            .with_context(|| format!("cannot write {}", file.display()))?;
        println!("{}", file.strip_prefix(&root).unwrap_or(&file).display());
    }
    Ok(ExitCode::SUCCESS)
}

fn next_number(folder: &Path) -> Result<u32> {
    if !folder.is_dir() {
        return Ok(1);
    }
    let mut last = 0;
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let number = name.to_string_lossy().split('_').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        last = last.max(number);
    }
    Ok(last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_continue_after_the_last_file() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(next_number(&dir.path().join("absent")).unwrap(), 1);
        fs::write(dir.path().join("0001_first.sql"), "").unwrap();
        fs::write(dir.path().join("0012_later.sql"), "").unwrap();
        assert_eq!(next_number(dir.path()).unwrap(), 13);
    }
}
