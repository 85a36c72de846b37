//! The client commands of the binary `reeve`: they talk HTTP to the console listener and know nothing of the server's
//! insides. The binary mounts [`ClientCommand`] beside its own commands and hands it to [`run`].
//!
//! Results go to standard output, everything else to standard error. Exit codes: 0 all succeeded, 1 something failed,
//! 2 wrong command line, 3 no server answered, 130 interrupted while the work goes on.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

mod api;
mod args;
mod board;
mod command;
mod context;
mod desired;
mod failure;
mod follow;
mod human;
mod keyboard;
mod names;
mod out;
mod safe;
mod sse;
mod table;
mod target;
mod tls;
mod top;
mod view;
mod world;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use jiff::Timestamp;

use crate::api::Api;
pub use crate::args::{Globals, With};
pub use crate::command::backup;
pub use crate::command::doctor::Doctor;
use crate::command::{
    admin, alias, apply, audit, cluster, commands, completions, contexts, doctor, events, execution, export, job, key,
    login, member, node, operation, plan, provider, run_command, seal, self_update, server, ssh_user, taskserv, token,
    top as fleet, user, webhook, whoami, workflow, workspace,
};
pub use crate::failure::Failure;
use crate::failure::Outcome;
pub use crate::out::Out;
pub use crate::view::Format;
pub use crate::world::{Input, Interrupt, Pace, World};

/// Every command that talks to a server.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Run a shell command on many nodes and watch the results
    Run(Box<With<run_command::Run>>),
    /// Log in to a server and remember it as a context
    Login(With<login::Login>),
    /// Forget the login of a context
    Logout(With<login::Logout>),
    /// Choose between servers
    #[command(visible_alias = "ctx")]
    Context(With<contexts::Noun>),
    /// Machines: list, label, move, delete
    #[command(visible_alias = "nodes")]
    Node(With<node::Noun>),
    /// The fleet's load: processors, memory, disks and network of every machine
    Top(With<fleet::Arguments>),
    /// Clusters of machines
    #[command(visible_alias = "clusters")]
    Cluster(With<cluster::Noun>),
    /// Further names of machines
    #[command(visible_alias = "aliases")]
    Alias(With<alias::Noun>),
    /// Who may open SSH sessions on which machines
    #[command(visible_alias = "ssh-users")]
    SshUser(With<ssh_user::Noun>),
    /// Asking machines to update their agents
    #[command(visible_alias = "self-updates")]
    SelfUpdate(With<self_update::Noun>),
    /// Enrollment keys, with which machines join
    #[command(visible_alias = "keys")]
    Key(With<key::Noun>),
    /// Commands that were given: show, watch, cancel, steer the rollout
    #[command(visible_aliases = ["commands", "cmd"])]
    Command(With<commands::Noun>),
    /// What a command did on each node: results and output
    #[command(visible_aliases = ["executions", "exec"])]
    Execution(With<execution::Noun>),
    /// Webhooks: URLs that events are posted to, and what came of it
    #[command(visible_alias = "webhooks")]
    Webhook(With<webhook::Noun>),
    /// Folders of servers, with defaults and credentials
    #[command(visible_aliases = ["workspaces", "ws"])]
    Workspace(With<workspace::Noun>),
    /// Who rents out servers, and what they offer
    #[command(visible_alias = "providers")]
    Provider(With<provider::Noun>),
    /// Servers: create, reach, switch, delete
    #[command(visible_alias = "servers")]
    Server(Box<With<server::Noun>>),
    /// Software on servers: install, check, upgrade, remove
    #[command(visible_alias = "taskservs")]
    Taskserv(Box<With<taskserv::Noun>>),
    /// Workflows: clusters, batches
    #[command(visible_aliases = ["workflows", "wf"])]
    Workflow(With<workflow::Noun>),
    /// Changes of servers and what is on them: watch, log, cancel, retry
    #[command(visible_aliases = ["operations", "op"])]
    Operation(With<operation::Noun>),
    /// Plans that dry runs left: show, apply
    #[command(visible_alias = "plans")]
    Plan(With<plan::Noun>),
    /// Write the fleet's desired state as YAML
    Export(With<export::Export>),
    /// Bring the server to the state that files describe
    Apply(With<apply::Apply>),
    /// What happens: the stream of events
    Events(With<events::Events>),
    /// Who did what: the audit log
    Audit(With<audit::Noun>),
    /// The server's background jobs
    #[command(visible_alias = "jobs")]
    Job(With<job::Noun>),
    /// Users and their roles
    #[command(visible_alias = "users")]
    User(With<user::Noun>),
    /// API tokens for programs
    #[command(visible_alias = "tokens")]
    Token(With<token::Noun>),
    /// Who the server takes you for, and what you may do
    Whoami(With<whoami::Whoami>),
    /// Back up a whole server, check and restore backups
    #[command(visible_alias = "backups")]
    Backup(With<backup::Noun>),
    /// The key that seals secrets in the store
    Seal(With<seal::Noun>),
    /// The Reeve server that answers: version, listeners, agents; the other members of its store
    #[command(visible_alias = "members")]
    Member(With<member::Noun>),
    /// The group of servers that the edge clusters are shared out among
    #[command(visible_alias = "admins")]
    Admin(With<admin::Noun>),
    /// Check the connection and the server, and say what to do
    Doctor(With<Doctor>),
    /// Write a completion script for a shell
    Completions(completions::Completions),
}

impl ClientCommand {
    /// The arguments of `doctor --local`, which is the binary's own business: it looks at a data directory, not at a
    /// server.
    pub fn local_doctor(&self) -> Option<&Doctor> {
        match self {
            Self::Doctor(with) if with.own.local => Some(&with.own),
            _ => None,
        }
    }

    /// The arguments of `backup`, whose work on files is the binary's own business too, and the format of results.
    pub fn local_backup(&self) -> Option<(&backup::Verb, Format)> {
        match self {
            Self::Backup(with) if with.own.verb.is_local() => Some((&with.own.verb, with.globals.output)),
            _ => None,
        }
    }
}

/// Shows `thing` as JSON or YAML, or `lines` to people.
///
/// # Errors
/// When nobody reads the output.
pub fn show(world: &mut World, format: Format, thing: &serde_json::Value, lines: &[String]) -> Result<(), Failure> {
    match format {
        Format::Json | Format::Yaml => view::document(&mut world.out, format, thing)?,
        Format::Table | Format::Wide | Format::Name => lines.iter().try_for_each(|line| world.out.line(line))?,
    }
    world.out.flush()
}

/// Runs a client command with the process's own surroundings. `program` is the whole command line's definition, for
/// completions.
pub async fn run(command: ClientCommand, program: clap::Command) -> ExitCode {
    ExitCode::from(run_in(&mut World::real(), command, program).await)
}

/// Runs a client command in given surroundings; the exit code.
pub async fn run_in(world: &mut World, command: ClientCommand, program: clap::Command) -> u8 {
    let result = dispatch(world, command, program).await;
    let result = match world.out.flush() {
        Err(failure) if result.is_ok() => Err(failure),
        _ => result,
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            world.out.failure(&failure);
            failure.exit_code()
        }
    }
}

async fn dispatch(world: &mut World, command: ClientCommand, program: clap::Command) -> Outcome<u8> {
    macro_rules! with {
        ($with:expr, $run:path) => {{
            let With { own, globals } = $with;
            $run(own, &mut Session { world, globals }).await
        }};
    }
    match command {
        ClientCommand::Run(with) => with!(*with, run_command::run),
        ClientCommand::Login(with) => with!(with, login::login),
        ClientCommand::Logout(with) => with!(with, login::logout),
        ClientCommand::Context(with) => with!(with, contexts::run),
        ClientCommand::Node(with) => with!(with, node::run),
        ClientCommand::Top(with) => with!(with, fleet::run),
        ClientCommand::Cluster(with) => with!(with, cluster::run),
        ClientCommand::Alias(with) => with!(with, alias::run),
        ClientCommand::SshUser(with) => with!(with, ssh_user::run),
        ClientCommand::SelfUpdate(with) => with!(with, self_update::run),
        ClientCommand::Key(with) => with!(with, key::run),
        ClientCommand::Command(with) => with!(with, commands::run),
        ClientCommand::Execution(with) => with!(with, execution::run),
        ClientCommand::Webhook(with) => with!(with, webhook::run),
        ClientCommand::Workspace(with) => with!(with, workspace::run),
        ClientCommand::Provider(with) => with!(with, provider::run),
        ClientCommand::Server(with) => with!(*with, server::run),
        ClientCommand::Taskserv(with) => with!(*with, taskserv::run),
        ClientCommand::Workflow(with) => with!(with, workflow::run),
        ClientCommand::Operation(with) => with!(with, operation::run),
        ClientCommand::Plan(with) => with!(with, plan::run),
        ClientCommand::Export(with) => with!(with, export::run),
        ClientCommand::Apply(with) => with!(with, apply::run),
        ClientCommand::Events(with) => with!(with, events::run),
        ClientCommand::Audit(with) => with!(with, audit::run),
        ClientCommand::Job(with) => with!(with, job::run),
        ClientCommand::Seal(with) => with!(with, seal::run),
        ClientCommand::User(with) => with!(with, user::run),
        ClientCommand::Token(with) => with!(with, token::run),
        ClientCommand::Backup(with) => with!(with, backup::run),
        ClientCommand::Whoami(with) => with!(with, whoami::run),
        ClientCommand::Member(with) => with!(with, member::run),
        ClientCommand::Admin(with) => with!(with, admin::run),
        ClientCommand::Doctor(with) => with!(with, doctor::run),
        ClientCommand::Completions(args) => completions::run(&args, world, program),
    }
}

/// One command at work: its surroundings and common arguments.
pub(crate) struct Session<'a> {
    /// The surroundings.
    pub world: &'a mut World,
    /// The common arguments.
    pub globals: Globals,
}

impl Session<'_> {
    /// A client for the server that the arguments and surroundings point to.
    pub fn api(&self) -> Outcome<Arc<Api>> {
        let target = target::resolve(self.world, &self.globals)?;
        Ok(Arc::new(Api::new(&target, self.world.now)?))
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        (self.world.now)()
    }

    /// The format of results.
    pub fn format(&self) -> Format {
        self.globals.output
    }

    /// Shows a list that was read from the server, and says so when there is more.
    pub fn show_list(&mut self, view: &view::View, listing: &api::Listing) -> Outcome<u8> {
        let now = self.now();
        view::list(&mut self.world.out, self.globals.output, view, &listing.rows, now)?;
        let shown = listing.rows.len() as u64;
        if let Some(total) = listing.total.filter(|total| *total > shown && shown > 0) {
            self.world.out.note(&format!("showing {shown} of {total} {}; --limit 0 shows all", view.plural))?;
        }
        Ok(failure::OK)
    }

    /// Shows one thing.
    pub fn show(&mut self, view: &view::View, thing: &serde_json::Value) -> Outcome<u8> {
        let now = self.now();
        view::one(&mut self.world.out, self.globals.output, view, thing, now)?;
        Ok(failure::OK)
    }

    /// Says that something was done: in words on standard error for people, and as the thing itself for scripts.
    pub fn done(&mut self, view: &view::View, thing: &serde_json::Value, words: &str) -> Outcome<u8> {
        if self.globals.output.is_table() {
            self.world.out.note(words)?;
            return Ok(failure::OK);
        }
        self.show(view, thing)
    }

    /// Says that something is gone or was asked for, where the server has no thing to show for it.
    pub fn said(&mut self, name: &str, words: &str) -> Outcome<u8> {
        match self.globals.output {
            Format::Name => self.world.out.line(name)?,
            Format::Table | Format::Wide | Format::Json | Format::Yaml => self.world.out.note(words)?,
        }
        Ok(failure::OK)
    }

    /// Says what came of something: in words on standard error for people, and as the server's own answer for programs.
    pub fn told(&mut self, name: &str, answer: &serde_json::Value, words: &str) -> Outcome<u8> {
        match self.globals.output {
            Format::Name => self.world.out.line(name)?,
            Format::Table | Format::Wide => self.world.out.note(words)?,
            format @ (Format::Json | Format::Yaml) => view::document(&mut self.world.out, format, answer)?,
        }
        Ok(failure::OK)
    }

    /// A moment `duration` from the present, as RFC 3339.
    pub fn in_future(&self, duration: std::time::Duration) -> Outcome<String> {
        let at = human::after(self.now(), duration).map_err(|what| Failure::usage(what, "give a shorter one"))?;
        Ok(at.to_string())
    }
}
