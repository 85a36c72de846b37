//! `reeve backup`: copies of a whole server. Most verbs work on files and data directories of this machine and are the
//! binary's own business; this module knows their command lines. What asks a server is in `backup_schedule`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueHint};

use super::backup_schedule;
pub use super::backup_schedule::{Download, ScheduleVerb};
use crate::Session;
use crate::failure::{Failure, Outcome};
use crate::world::World;

/// Holds the passphrase for those who cannot be asked.
const VARIABLE: &str = "REEVE_BACKUP_PASSPHRASE";
/// Longest passphrase or key file, in bytes.
const MOST_KEY: u64 = 4096;

/// Backups.
#[derive(Debug, Clone, Args)]
pub struct Noun {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What can be done with backups.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// Make a backup of a data directory and its database, while the server runs or not
    Create(Create),
    /// Read a backup to its end and check everything, without restoring it
    Verify(Verify),
    /// Bring a server back from a backup, into an empty data directory and database
    Restore(Restore),
    /// List the backups in a folder or bucket
    #[command(visible_alias = "ls")]
    List(List),
    /// Fetch a backup of this moment from a server, over the network
    Download(Download),
    /// Let the server back itself up by a schedule
    Schedule {
        /// What to do.
        #[command(subcommand)]
        verb: ScheduleVerb,
    },
    /// Make a key file, with which backups can be made and opened instead of a passphrase
    Key {
        /// The file to make
        file: PathBuf,
    },
}

/// With what a backup is made and opened.
#[derive(Debug, Clone, Default, Args)]
pub struct KeyArgs {
    /// File whose first line is the passphrase; otherwise REEVE_BACKUP_PASSPHRASE, or it is asked for
    #[arg(long, value_name = "FILE", conflicts_with = "key_file")]
    pub passphrase_file: Option<PathBuf>,
    /// Key file instead of a passphrase, made by `reeve backup key`
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
}

/// `reeve backup create`
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// File, folder/, s3://BUCKET/NAME, s3://BUCKET/PREFIX/ or `-` for standard output [default: a name with date and
    /// time, here]
    #[arg(value_hint = ValueHint::AnyPath)]
    pub to: Option<String>,
    /// The data directory [default: ./reeve-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// PostgreSQL URL of the server, when its settings are not here
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
}

/// `reeve backup verify`
#[derive(Debug, Clone, Args)]
pub struct Verify {
    /// File, s3://BUCKET/NAME, or `-` for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub from: String,
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
}

/// `reeve backup restore`
#[derive(Debug, Clone, Args)]
pub struct Restore {
    /// File, s3://BUCKET/NAME, or `-` for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub from: String,
    /// The data directory to make [default: ./reeve-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// PostgreSQL URL to restore the database to [default: SQLite in the data directory]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Replace what is there; a data directory is moved aside, tables in PostgreSQL are dropped
    #[arg(long)]
    pub force: bool,
    /// The key.
    #[command(flatten)]
    pub key: KeyArgs,
}

/// `reeve backup list`
#[derive(Debug, Clone, Args)]
pub struct List {
    /// Folder or s3://BUCKET/PREFIX [default: here]
    #[arg(value_hint = ValueHint::DirPath)]
    pub place: Option<String>,
}

impl Verb {
    /// Whether it works on files of this machine rather than asking a server.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Create(_) | Self::Verify(_) | Self::Restore(_) | Self::List(_) | Self::Key { .. } => true,
            Self::Download(_) | Self::Schedule { .. } => false,
        }
    }
}

/// A passphrase or the content of a key file, not yet looked at.
pub enum KeyText {
    /// A passphrase.
    Passphrase(String),
    /// The content of a key file.
    File(String),
}

/// Finds the key: in a file, in the environment, or at the keyboard (twice for a new one).
///
/// # Errors
/// When there is none, or a file cannot be read; two lines for people.
pub fn key_text(args: &KeyArgs, fresh: bool, world: &mut World) -> Result<KeyText, Failure> {
    if let Some(file) = &args.key_file {
        return read(file).map(KeyText::File);
    }
    if let Some(file) = &args.passphrase_file {
        let text = read(file)?;
        return Ok(KeyText::Passphrase(text.lines().next().unwrap_or_default().to_owned()));
    }
    if let Some(text) = world.var(VARIABLE) {
        return Ok(KeyText::Passphrase(text.to_owned()));
    }
    if !world.has_keyboard() {
        let next = format!("give --passphrase-file FILE or --key-file FILE, or set {VARIABLE}");
        return Err(Failure::usage("a backup needs a passphrase or a key file", next));
    }
    let first = world.ask("Passphrase of the backup", true)?;
    if fresh && world.ask("The same again", true)? != first {
        return Err(Failure::local_with("the two passphrases differ", "try again"));
    }
    Ok(KeyText::Passphrase(first))
}

fn read(file: &Path) -> Outcome<String> {
    let failed = |error: std::io::Error| {
        Failure::usage(format!("cannot read {}: {error}", file.display()), "give a file that this user may read")
    };
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(MOST_KEY + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > MOST_KEY {
        let what = format!("{} holds more than {MOST_KEY} bytes: that is no passphrase or key", file.display());
        return Err(Failure::usage(what, "give the file with the passphrase or the key"));
    }
    Ok(text)
}

/// Runs what asks a server, and refuses the rest where the binary did not do it.
pub(crate) async fn run(noun: Noun, session: &mut Session<'_>) -> Outcome<u8> {
    match noun.verb {
        Verb::Download(args) => backup_schedule::download(args, session).await,
        Verb::Schedule { verb } => backup_schedule::run(verb, session).await,
        Verb::Create(_) | Verb::Verify(_) | Verb::Restore(_) | Verb::List(_) | Verb::Key { .. } => {
            Err(Failure::usage("this program cannot look into a data directory", "run the `reeve` of the server"))
        }
    }
}
