//! The rules of the house that the compiler does not check. A rule is a plain function from text to findings; this
//! module reads the tree, calls them all, and prints one line a finding: `path:line: what: how to fix`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use crate::shell;

mod graph;
mod licence;
mod links;
mod manifest;
mod migrations;
mod sources;

#[derive(clap::Args)]
pub struct Args {
    /// Show warnings too (files that are growing long)
    #[arg(long, short)]
    verbose: bool,
}

/// One broken rule, with the place and the remedy.
#[derive(Debug, PartialEq)]
pub struct Finding {
    path: String,
    line: usize,
    what: String,
    fix: String,
    warning: bool,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into(), fix: fix.into(), warning: false }
    }

    fn warn(mut self) -> Self {
        self.warning = true;
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what, fix, warning } = self;
        let mark = if *warning { "warning: " } else { "" };
        write!(f, "{path}:{line}: {mark}{what}: {fix}")
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    Ok(if findings(&shell::root(), args.verbose)? == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints what is wrong in the workspace at `root` and returns how much of it has to be mended.
pub fn findings(root: &Path, verbose: bool) -> Result<usize> {
    let (warnings, errors): (Vec<_>, Vec<_>) = check(root)?.into_iter().partition(|finding| finding.warning);
    for finding in errors.iter().chain(warnings.iter().filter(|_| verbose)) {
        println!("{finding}");
    }
    let hint = if warnings.is_empty() || verbose { "" } else { " (--verbose shows them)" };
    println!("tidy: {} findings, {} warnings{hint}", errors.len(), warnings.len());
    Ok(errors.len())
}

/// Every finding in the workspace at `root`, ordered by place.
fn check(root: &Path) -> Result<Vec<Finding>> {
    let metadata = MetadataCommand::new()
        .manifest_path(root.join("Cargo.toml"))
        .exec()
        .context("cargo metadata failed; does `cargo check` work?")?;
    let mut findings = graph::check(&members(&metadata, root)?);
    findings.extend(licence::check(&licences(&metadata)));
    for file in files(root)? {
        let path = relative(&file, root);
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        }; // not text: nothing here to read
        findings.extend(sources::check(&path, &text));
        match path.as_str() {
            "Cargo.toml" => findings.extend(manifest::root(&path, &text)),
            "Cargo.lock" => findings.extend(manifest::lock(&path, &text)),
            _ if path.ends_with(".md") => findings.extend(links::check(&path, &text, |link| root.join(link).exists())),
            _ if path.ends_with("/Cargo.toml") => findings.extend(manifest::member(&path, &text)),
            _ => {}
        }
    }
    findings.extend(migrations::check(
        &names(&root.join("migrations/sqlite"))?,
        &names(&root.join("migrations/postgres"))?,
    ));
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(findings)
}

/// The workspace's crates with what each one declares.
fn members(metadata: &Metadata, root: &Path) -> Result<Vec<graph::Member>> {
    let mut members = Vec::new();
    for package in metadata.workspace_packages() {
        let manifest = package.manifest_path.as_std_path();
        let text = fs::read_to_string(manifest).with_context(|| format!("cannot read {}", manifest.display()))?;
        let dependencies = package.dependencies.iter().map(|dependency| graph::Dependency {
            name: dependency.name.clone(),
            dev: dependency.kind == DependencyKind::Development,
        });
        members.push(graph::Member {
            name: package.name.to_string(),
            manifest: relative(manifest, root),
            dependencies: dependencies.collect(),
            text,
        });
    }
    Ok(members)
}

fn licences(metadata: &Metadata) -> Vec<licence::Package> {
    let ours = metadata.workspace_packages();
    let foreign = metadata.packages.iter().filter(|package| !ours.iter().any(|our| our.id == package.id));
    foreign
        .map(|package| licence::Package {
            name: package.name.to_string(),
            version: package.version.to_string(),
            licence: package.license.clone(),
        })
        .collect()
}

/// Every file of the repository except build output and hidden folders (but `.ci` and `.cargo` are read).
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let hidden = name.starts_with('.') && !matches!(&*name, ".ci" | ".cargo" | ".gitignore");
            if hidden || matches!(&*name, "target" | "node_modules") {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

fn names(folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn relative(path: &Path, root: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line() {
        let finding = Finding::new("a/b.rs", 3, "too long", "split it");
        assert_eq!(finding.to_string(), "a/b.rs:3: too long: split it");
        assert_eq!(finding.warn().to_string(), "a/b.rs:3: warning: too long: split it");
    }

    #[test]
    fn build_output_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["target", ".git", ".ci", "src"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("file"), "").unwrap();
        }
        let found: Vec<_> = files(dir.path()).unwrap().iter().map(|file| relative(file, dir.path())).collect();
        assert_eq!(found, [".ci/file", "src/file"]);
    }
}
