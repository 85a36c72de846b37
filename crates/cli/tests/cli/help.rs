//! What the client says of itself: nothing unexplained, the same verb under the same names everywhere, completions for all.

use clap::Command;

use crate::fake::{User, program};

/// Every command below `command`, with the words that lead to it.
fn below<'a>(command: &'a Command, path: &str) -> Vec<(String, &'a Command)> {
    let mut all = Vec::new();
    for sub in command.get_subcommands() {
        let path = format!("{path} {}", sub.get_name());
        all.extend(below(sub, &path));
        all.push((path, sub));
    }
    all
}

#[test]
fn every_command_and_option_is_explained() {
    let mut problems = Vec::new();
    for (path, command) in below(&program(), "reeve") {
        match command.get_about().map(ToString::to_string) {
            None => problems.push(format!("{path}: no help")),
            Some(about) if about.ends_with('.') => problems.push(format!("{path}: '{about}' ends with a full stop")),
            Some(about) if !about.starts_with(char::is_uppercase) => problems.push(format!("{path}: '{about}'")),
            Some(_) => {}
        }
        let silent = command.get_arguments().filter(|arg| arg.get_help().is_none());
        problems.extend(silent.map(|arg| format!("{path} {}: no help", arg.get_id())));
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn a_verb_has_the_same_other_name_everywhere() {
    let mut problems = Vec::new();
    for (path, command) in below(&program(), "reeve") {
        let other = match command.get_name() {
            "list" => "ls",
            "show" => "get",
            "delete" => "rm",
            "logs" => "log",
            _ => continue,
        };
        if !command.get_visible_aliases().any(|alias| alias == other) {
            problems.push(format!("{path}: not known as {other}"));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[tokio::test]
async fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = User::new().run(&format!("completions {shell}")).await;
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let definition = program();
        let unknown: Vec<&str> =
            definition.get_subcommands().map(Command::get_name).filter(|name| !ran.stdout.contains(name)).collect();
        assert!(unknown.is_empty(), "{shell}: {unknown:?}");
        assert!(ran.stdout.contains("unreachable"), "{shell} knows no values");
    }
}

#[tokio::test]
async fn a_word_that_is_none_of_the_possible_ones_names_them() {
    let ran = User::new().run("node list --status wrong").await;
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("healthy, unhealthy, unreachable"), "{}", ran.stderr);
    let ran = User::new().run("operation list --status failed,wrong").await;
    assert!(ran.code == 2 && ran.stderr.contains("cancelled"), "{}", ran.stderr);
}
