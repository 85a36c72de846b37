//! What goes to one machine for one taskserv: files, and a script for each phase.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::phase::Phase;
use crate::turn;

/// A file for the machine.
#[derive(Clone, PartialEq, Eq)]
pub struct BundleFile {
    /// Where it goes.
    pub path: String,
    /// Octal.
    pub mode: String,
    /// `user:group`.
    pub owner: String,
    /// What is in it.
    pub content: String,
    /// It is never shown.
    pub secret: bool,
}

impl std::fmt::Debug for BundleFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BundleFile({} {} {} bytes)", self.path, self.mode, self.content.len())
    }
}

/// Everything one machine needs for one taskserv.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// The taskserv.
    pub name: String,
    /// What it writes.
    pub files: Vec<BundleFile>,
    /// Names inside the bundle -> text: `env`, `lib.sh`, `manifest`, the phases, the payloads.
    pub(crate) parts: BTreeMap<String, String>,
    /// SHA-256 over what decides how it runs.
    pub digest: String,
}

/// Where bundles and records are on a machine.
pub(crate) const HOME: &str = "/var/lib/reeve/taskservs";

impl Bundle {
    /// Where it is unpacked.
    pub fn folder(&self) -> String {
        format!("{HOME}/{}/bundle", self.name)
    }

    /// The tar archive that goes to the machine: the same bytes for the same bundle.
    pub fn archive(&self) -> std::io::Result<Vec<u8>> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, text) in &self.parts {
            let mut header = tar::Header::new_ustar();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(0);
            header.set_uid(0);
            header.set_gid(0);
            header.set_cksum();
            builder.append_data(&mut header, name, text.as_bytes())?;
        }
        builder.into_inner()
    }

    /// The command that takes the archive on its input and puts it in place, for the phase upload. `digest` is the archive's.
    pub fn unpack(&self, digest: &str) -> Vec<String> {
        // All values are arguments: none is part of the script.
        const SCRIPT: &str = "set -eu; umask 077; mkdir -p \"$1\"; chmod 0700 \"$1\"; rm -rf \"$1/incoming\"; \
            mkdir \"$1/incoming\"; cat > \"$1/incoming.tar\"; \
            printf '%s  %s\\n' \"$2\" \"$1/incoming.tar\" | sha256sum -c - >/dev/null || \
            { echo '::problem the bundle arrived damaged' >&2; exit 1; }; \
            tar -xf \"$1/incoming.tar\" -C \"$1/incoming\"; rm -f \"$1/incoming.tar\"; rm -rf \"$1/bundle\"; \
            mv \"$1/incoming\" \"$1/bundle\"";
        let words = ["sh", "-c", SCRIPT, "upload", &format!("{HOME}/{}", self.name), digest];
        self.in_turn(words.map(str::to_owned).to_vec())
    }

    /// The SHA-256 of an archive.
    pub fn checksum(archive: &[u8]) -> String {
        hex::encode(Sha256::digest(archive))
    }

    /// The command that runs a phase of the unpacked bundle.
    pub fn command(&self, phase: Phase) -> Vec<String> {
        self.phase_in_turn(phase, vec!["sh".to_owned(), format!("{}/{phase}.sh", self.folder())])
    }

    /// The command that runs a phase from its input: see [`Bundle::inline`].
    pub fn inline_command(&self, phase: Phase) -> Vec<String> {
        self.phase_in_turn(phase, vec!["sh".to_owned(), "-s".to_owned()])
    }

    fn phase_in_turn(&self, phase: Phase, words: Vec<String>) -> Vec<String> {
        if phase.changes() { self.in_turn(words) } else { words }
    }

    /// Not in a folder that removal takes away, nor in one where anybody may make files.
    fn in_turn(&self, words: Vec<String>) -> Vec<String> {
        turn::take(&format!("/run/reeve-taskserv-{}.lock", self.name), turn::WAIT_SECS, words)
    }

    /// A phase as one script that needs nothing on the machine but sh: for its standard input.
    pub fn inline(&self, phase: Phase) -> Option<String> {
        let script = self.parts.get(&format!("{phase}.sh"))?;
        let (env, library) = (self.parts.get("env")?, self.parts.get("lib.sh")?);
        // In a function, so that sh has read all of it before the first command can touch its input.
        Some(format!("reeve_phase() {{\n{env}\n{library}\n{}\n}}\nreeve_phase </dev/null\n", body(script)))
    }

    /// Names of the parts.
    pub fn part_names(&self) -> impl Iterator<Item = &str> {
        self.parts.keys().map(String::as_str)
    }

    /// One part.
    pub fn part(&self, name: &str) -> Option<&str> {
        self.parts.get(name).map(String::as_str)
    }
}

/// The line of a phase script after which its own commands begin.
pub(crate) const BEGIN: &str = "# --- phase";

fn body(script: &str) -> &str {
    script.split_once(BEGIN).map_or(script, |(_, body)| body.trim_start_matches(|c| c != '\n'))
}
