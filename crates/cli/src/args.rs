//! The arguments that every command of the client takes, and the readers of argument values.

use std::path::PathBuf;

use clap::Args;

use crate::view::Format;

/// Where the server is, who asks, and how results are written.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Connection and output")]
pub struct Globals {
    /// Base URL of the server's console listener
    #[arg(long, global = true, value_name = "URL")]
    pub url: Option<String>,
    /// API token or static key to use instead of the context's credentials
    // No clap `env`: it would print the secret in --help.
    #[arg(long, global = true, value_name = "TOKEN")]
    pub token: Option<String>,
    /// Context to use instead of the current one
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// How results are written
    #[arg(short, long, global = true, value_enum, value_name = "FORMAT", default_value_t)]
    pub output: Format,
    /// Trust the certificates of this PEM file; a self-signed server certificate is pinned by it
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// Do not check the server's certificate
    #[arg(long, global = true)]
    pub insecure: bool,
}

/// A command's own arguments together with the common ones.
#[derive(Debug, Clone, Args)]
pub struct With<T: Args> {
    /// The command's own arguments.
    #[command(flatten)]
    pub own: T,
    /// The common arguments.
    #[command(flatten)]
    pub globals: Globals,
}

/// Reads `KEY=VALUE`, or `KEY-` for one to remove.
pub fn label_change(text: &str) -> Result<(String, Option<String>), String> {
    if let Some((key, value)) = text.split_once('=') {
        if !key.is_empty() {
            return Ok((key.to_owned(), Some(value.to_owned())));
        }
    } else if let Some(key) = text.strip_suffix('-')
        && !key.is_empty()
    {
        return Ok((key.to_owned(), None));
    }
    Err(format!("'{text}' is neither KEY=VALUE nor KEY-"))
}

/// Reads a header as `NAME: VALUE`.
pub fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => Ok((name.trim().to_owned(), value.trim().to_owned())),
        Some(_) | None => Err(format!("'{text}' is not NAME: VALUE")),
    }
}

/// Reads a batch size: a number of nodes, or a share such as `10%`.
pub fn batch(text: &str) -> Result<serde_json::Value, String> {
    let bad = || format!("'{text}' is neither a number of nodes nor a share such as 10%");
    let (digits, share) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
    let number: u32 = digits.parse().map_err(|_| bad())?;
    if number == 0 || (share && number > 100) {
        return Err(bad());
    }
    Ok(if share { text.into() } else { number.into() })
}

/// Reads a count that may be `unlimited`.
pub fn uses(text: &str) -> Result<Option<u32>, String> {
    match text {
        "unlimited" => Ok(None),
        _ => match text.parse() {
            Ok(0) | Err(_) => Err(format!("'{text}' is neither a number above 0 nor 'unlimited'")),
            Ok(number) => Ok(Some(number)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_changes_set_and_remove() {
        assert_eq!(label_change("env=prod"), Ok(("env".into(), Some("prod".into()))));
        assert_eq!(label_change("env="), Ok(("env".into(), Some(String::new()))));
        assert_eq!(label_change("env-"), Ok(("env".into(), None)));
        assert!(label_change("env").is_err() && label_change("=x").is_err() && label_change("-").is_err());
    }

    #[test]
    fn batches_are_counts_or_shares() {
        assert_eq!(batch("5"), Ok(5.into()));
        assert_eq!(batch("10%"), Ok("10%".into()));
        assert!(batch("0").is_err() && batch("101%").is_err() && batch("x").is_err());
        assert_eq!(uses("unlimited"), Ok(None));
        assert_eq!(uses("3"), Ok(Some(3)));
        assert!(uses("0").is_err());
    }
}
