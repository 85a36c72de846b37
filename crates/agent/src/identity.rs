//! Who this node is: an id, derived from the machine where possible, and a key pair of its own.

use std::fs;
use std::path::Path;

use rand::RngCore;
use reeve_agent_proto::message::IdType;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde::{Deserialize, Serialize};

use crate::data_dir::DataDir;
use crate::error::AgentError;

const FILE: &str = "identity.json";

/// Where a machine keeps an id of its own, best first; below `/host` when the agent runs in a container.
const SOURCES: [&str; 5] = [
    "etc/machine-id",
    "var/lib/dbus/machine-id",
    "sys/class/dmi/id/product_uuid",
    "sys/class/dmi/id/board_serial",
    "sys/class/dmi/id/product_serial",
];

/// What vendors write where a serial number belongs.
const PLACEHOLDERS: [&str; 14] = [
    "to be filled by o.e.m.",
    "to be filled by oem",
    "default string",
    "system serial number",
    "base board serial number",
    "baseboard serial number",
    "not specified",
    "not applicable",
    "not available",
    "unknown serial",
    "0123456789",
    "123456789",
    "chassis serial number",
    "uninitialized",
];

/// A node's id and key pair.
pub struct Identity {
    /// UUID text.
    pub node_id: String,
    /// Where the id comes from.
    pub id_type: IdType,
    /// Proves that a connection belongs to this node.
    pub key: Ed25519KeyPair,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    node_id: String,
    id_type: String,
    /// Hex of the 32 byte Ed25519 seed.
    seed: String,
}

impl Identity {
    /// Reads the identity, or makes one on the first start.
    pub fn load_or_create(dir: &DataDir, random_id: bool) -> Result<Self, AgentError> {
        let failed = |what: String| {
            AgentError::new(
                format!("cannot use {}: {what}", dir.file(FILE).display()),
                "make the file readable and the disk writable; without the file the node must be enrolled again",
            )
        };
        if let Some(content) = dir.read(FILE).map_err(|e| failed(e.to_string()))? {
            let stored: Stored = serde_json::from_slice(&content).map_err(|e| failed(e.to_string()))?;
            return Self::from_stored(&stored).ok_or_else(|| failed("damaged key".into()));
        }
        let derived = if random_id { None } else { machine_id(Path::new("/")) };
        let mut seed = [0u8; 32];
        rand::rng().fill_bytes(&mut seed);
        let stored = Stored {
            id_type: if derived.is_some() { "persistent" } else { "random" }.into(),
            node_id: derived.unwrap_or_else(random_node_id),
            seed: hex::encode(seed),
        };
        let content = serde_json::to_vec_pretty(&stored).map_err(|e| failed(e.to_string()))?;
        dir.replace(FILE, &content).map_err(|e| failed(e.to_string()))?;
        Self::from_stored(&stored).ok_or_else(|| failed("damaged key".into()))
    }

    /// The Ed25519 public key, 32 bytes.
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public_key().as_ref().to_vec()
    }

    fn from_stored(stored: &Stored) -> Option<Self> {
        let seed = hex::decode(&stored.seed).ok()?;
        Some(Self {
            node_id: stored.node_id.clone(),
            id_type: if stored.id_type == "persistent" { IdType::Persistent } else { IdType::Random },
            key: Ed25519KeyPair::from_seed_unchecked(&seed).ok()?,
        })
    }
}

fn random_node_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// The id of the machine whose root is `root`, from the first plausible source.
fn machine_id(root: &Path) -> Option<String> {
    let roots = [root.join("host"), root.to_owned()];
    roots.iter().find_map(|root| {
        SOURCES.iter().find_map(|source| {
            let text = fs::read_to_string(root.join(source)).ok()?;
            plausible(text.trim()).then(|| as_uuid(text.trim()))
        })
    })
}

fn plausible(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let digits: Vec<char> = lower.chars().filter(char::is_ascii_hexdigit).collect();
    (8..=128).contains(&text.len())
        && !PLACEHOLDERS.iter().any(|p| lower.starts_with(p))
        && digits.iter().any(|c| *c != '0')
        // A run of one digit is a placeholder too (all f, all 1).
        && digits.iter().any(|c| *c != digits[0])
}

/// Hex digits only, lower case, cut or padded with zeros to 32, hyphenated.
fn as_uuid(text: &str) -> String {
    let mut digits: String = text.chars().filter(char::is_ascii_hexdigit).take(32).collect();
    digits.make_ascii_lowercase();
    while digits.len() < 32 {
        digits.push('0');
    }
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Option<String> {
        let root = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        machine_id(root.path())
    }

    #[test]
    fn sources_in_order() {
        let machine_id = "4C4C45440042351080385AC04F4E3732\n";
        let uuid = "4c4c4544-0042-3510-8038-5ac04f4e3732";
        assert_eq!(machine(&[("etc/machine-id", machine_id)]).as_deref(), Some(uuid));
        assert_eq!(
            machine(&[("etc/machine-id", "11112222333344445555666677778888"), ("host/etc/machine-id", machine_id)])
                .as_deref(),
            Some(uuid)
        );
        assert_eq!(machine(&[("sys/class/dmi/id/product_uuid", uuid)]).as_deref(), Some(uuid));
        assert_eq!(
            machine(&[("sys/class/dmi/id/product_serial", "XJ-9 A0B1C2")]).as_deref(),
            Some("9a0b1c20-0000-0000-0000-000000000000")
        );
    }

    #[test]
    fn placeholders_are_passed_over() {
        for text in [
            "",
            "short",
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "To Be Filled By O.E.M.",
            "Default string",
            &"a1".repeat(80),
        ] {
            assert_eq!(machine(&[("etc/machine-id", text)]), None, "{text}");
        }
        assert_eq!(machine(&[]), None);
    }

    #[test]
    fn identity_survives_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let data = DataDir::open(dir.path()).unwrap();
        let first = Identity::load_or_create(&data, true).unwrap();
        let second = Identity::load_or_create(&data, false).unwrap();
        assert_eq!((&first.node_id, first.public_key()), (&second.node_id, second.public_key()));
        assert_eq!(second.id_type, IdType::Random);
        data.replace(FILE, b"{}").unwrap();
        assert!(Identity::load_or_create(&data, true).is_err());
    }
}
