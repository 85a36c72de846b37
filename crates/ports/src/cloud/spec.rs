//! What is ordered, and the rules that hold on every vendor: an order that passes here means the same everywhere.

use reeve_types::Secret;

use super::{CloudError, Labels};

/// The label that carries the operation: how a machine is found again after a crash.
pub const OPERATION_LABEL: &str = "reeve-operation";

/// Names one order for all time: the id of an operation, with a suffix where it orders several machines
/// (`01890000-…-3`). 1 to 63 of `a-z A-Z 0-9 . _ -`, beginning and ending with a letter or digit: what a label may hold
/// with every vendor.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationTag(String);

impl OperationTag {
    /// Takes a tag. Invalid (`operation`) when it cannot be a label.
    pub fn new(text: impl Into<String>) -> Result<Self, CloudError> {
        let text = text.into();
        if text.is_empty() || !is_label_value(&text) {
            let problem = "an operation tag has 1 to 63 letters, digits, '.', '_' and '-', and begins and ends with a letter or digit";
            return Err(CloudError::invalid("operation", problem));
        }
        Ok(Self(text))
    }
    /// The label's value.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A public key that may log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SshKey {
    /// For people.
    pub name: String,
    /// One line as in `authorized_keys`, without options: `ssh-ed25519 AAAA… comment`.
    pub public_key: String,
}

/// An order for one machine.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    /// What makes a repeat of this order the same order.
    pub operation: OperationTag,
    /// RFC 1123, at most 63 characters a label and 128 in all. Some vendors want it unique in the account.
    pub hostname: String,
    /// The vendor's word.
    pub plan: String,
    /// The vendor's word.
    pub zone: String,
    /// The vendor's id, or a name as in [`super::Image::name`].
    pub image: String,
    /// Size of the first disk. None: what comes with the plan or the image.
    pub disk_gb: Option<u32>,
    /// Who may log in as [`super::Created::login_user`]; at least one, at most 20.
    pub ssh_keys: Vec<SshKey>,
    /// Given to cloud-init: a script with `#!`, or `#cloud-config`. At most [`ServerSpec::USER_DATA_BYTES`]. A secret,
    /// because it may carry an enrollment key.
    pub user_data: Option<Secret>,
    /// Labels besides the operation's; at most 20. Keys: 2 to 63 of `a-z 0-9 . _ -`, values: empty or as an operation tag.
    pub labels: Labels,
}

impl ServerSpec {
    /// What the tightest vendor (EC2: 16 KiB) takes, less what the adapter may have to add.
    pub const USER_DATA_BYTES: usize = 12 * 1024;

    /// Checks what does not need the vendor. Invalid names the field.
    pub fn validate(&self) -> Result<(), CloudError> {
        let invalid = |field, problem: String| Err(CloudError::invalid(field, problem));
        if !is_hostname(&self.hostname) {
            let rule = "a hostname has labels of 1 to 63 letters, digits and inner hyphens, joined by dots, 128 characters in all";
            return invalid("hostname", rule.to_owned());
        }
        for (field, value) in [("plan", &self.plan), ("zone", &self.zone), ("image", &self.image)] {
            if value.is_empty() || value.len() > 200 || value.chars().any(char::is_control) {
                return invalid(field, format!("{field} is a name of 1 to 200 characters"));
            }
        }
        if self.disk_gb.is_some_and(|gb| !(1..=4096).contains(&gb)) {
            return invalid("disk_gb", "a disk has 1 to 4096 GB".to_owned());
        }
        if self.ssh_keys.is_empty() || self.ssh_keys.len() > 20 {
            return invalid("ssh_keys", "give 1 to 20 SSH keys; without one nobody could log in".to_owned());
        }
        if let Some(index) = self.ssh_keys.iter().position(|key| !is_public_key(&key.public_key)) {
            let rule = "is one line such as `ssh-ed25519 AAAA… comment`, without options, at most 4096 characters";
            return invalid("ssh_keys", format!("key {} {rule}", index + 1));
        }
        if let Some(bytes) = self.user_data.as_ref().map(|d| d.expose().len()).filter(|b| *b > Self::USER_DATA_BYTES) {
            return invalid("user_data", format!("user data of {bytes} bytes; at most {} fit", Self::USER_DATA_BYTES));
        }
        if self.labels.len() > 20 {
            return invalid("labels", format!("{} labels; at most 20 fit", self.labels.len()));
        }
        for (key, value) in &self.labels {
            if key == OPERATION_LABEL {
                return invalid("labels", format!("{OPERATION_LABEL} is set by us"));
            }
            if !is_label_key(key) || !is_label_value(value) {
                let rule = "keys have 2 to 63 of a-z 0-9 . _ -, values up to 63 of a-z A-Z 0-9 . _ -, both beginning and ending with a letter or digit";
                return invalid("labels", format!("label {key:?} = {value:?}: {rule}"));
            }
        }
        Ok(())
    }

    /// All labels that the machine gets.
    pub fn all_labels(&self) -> Labels {
        let mut labels = self.labels.clone();
        labels.insert(OPERATION_LABEL.to_owned(), self.operation.as_str().to_owned());
        labels
    }
}

/// Which machines to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelFilter {
    key: String,
    value: Option<String>,
}

impl LabelFilter {
    /// Every machine that we ordered with this account.
    pub fn ours() -> Self {
        Self { key: OPERATION_LABEL.to_owned(), value: None }
    }
    /// What one order made.
    pub fn operation(tag: &OperationTag) -> Self {
        Self { key: OPERATION_LABEL.to_owned(), value: Some(tag.as_str().to_owned()) }
    }
    /// Machines with a label of ours. Invalid when no machine could have it.
    pub fn label(key: &str, value: &str) -> Result<Self, CloudError> {
        if !is_label_key(key) || !is_label_value(value) {
            return Err(CloudError::invalid("labels", format!("no server can have the label {key:?} = {value:?}")));
        }
        Ok(Self { key: key.to_owned(), value: Some(value.to_owned()) })
    }
    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }
    /// The value it must have; None for any.
    pub fn value(&self) -> Option<&str> {
        self.value.as_deref()
    }
    /// Whether these labels pass.
    pub fn matches(&self, labels: &Labels) -> bool {
        labels.get(&self.key).is_some_and(|value| self.value.as_ref().is_none_or(|wanted| wanted == value))
    }
}

fn framed(text: &str, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()].into_iter().flatten().all(u8::is_ascii_alphanumeric);
    ends && bytes.iter().all(|b| inner(*b))
}

fn is_label_key(key: &str) -> bool {
    (2..=63).contains(&key.len())
        && framed(key, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_label_value(value: &str) -> bool {
    value.len() <= 63 && framed(value, |b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

fn is_hostname(name: &str) -> bool {
    let label = |l: &str| (1..=63).contains(&l.len()) && framed(l, |b| b.is_ascii_alphanumeric() || b == b'-');
    name.len() <= 128 && name.split('.').all(label)
}

fn is_public_key(line: &str) -> bool {
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    let blob = words.next().unwrap_or_default();
    let known = ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|prefix| kind.starts_with(prefix));
    let base64 = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'@' | b'.');
    let clean = line.len() <= 4096 && !line.chars().any(char::is_control);
    clean && known && kind.bytes().all(word) && blob.len() >= 40 && blob.bytes().all(base64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1Xl0Zb6cVb0o0QJ0m1pE4w5n3m3e2Jt0m5h4e7yQ2x a@b";

    fn spec() -> ServerSpec {
        ServerSpec {
            operation: OperationTag::new("0190-1").unwrap(),
            hostname: "web-1.example.com".to_owned(),
            plan: "2xCPU-4GB".to_owned(),
            zone: "de-fra1".to_owned(),
            image: "debian-12".to_owned(),
            disk_gb: None,
            ssh_keys: vec![SshKey { name: "a".to_owned(), public_key: KEY.to_owned() }],
            user_data: None,
            labels: Labels::new(),
        }
    }

    fn field(spec: &ServerSpec) -> &'static str {
        match spec.validate() {
            Ok(()) => "",
            Err(CloudError { kind: super::super::CloudErrorKind::Invalid { field }, .. }) => field,
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn the_rules_of_every_vendor() {
        assert_eq!(field(&spec()), "");
        for hostname in ["", "-a", "a-", "a..b", "a_b", "ä", &"a".repeat(64), &"a.".repeat(65)] {
            assert_eq!(field(&ServerSpec { hostname: hostname.to_owned(), ..spec() }), "hostname", "{hostname}");
        }
        assert_eq!(field(&ServerSpec { plan: String::new(), ..spec() }), "plan");
        assert_eq!(field(&ServerSpec { zone: "a\nb".to_owned(), ..spec() }), "zone");
        assert_eq!(field(&ServerSpec { image: "x".repeat(201), ..spec() }), "image");
        assert_eq!(field(&ServerSpec { disk_gb: Some(0), ..spec() }), "disk_gb");
        assert_eq!(field(&ServerSpec { ssh_keys: Vec::new(), ..spec() }), "ssh_keys");
        for key in ["ssh-rsa", "command=\"x\" ssh-rsa AAAA", &format!("{KEY}\n{KEY}"), &"x".repeat(9000)] {
            let ssh_keys = vec![SshKey { name: String::new(), public_key: key.to_owned() }];
            assert_eq!(field(&ServerSpec { ssh_keys, ..spec() }), "ssh_keys", "{key}");
        }
        let user_data = Some(Secret::new("x".repeat(ServerSpec::USER_DATA_BYTES + 1)));
        assert_eq!(field(&ServerSpec { user_data, ..spec() }), "user_data");
        for (key, value) in
            [(OPERATION_LABEL, "x"), ("k", "x"), ("UP", "x"), ("key", "a b"), ("key", "-x"), ("_k", "x")]
        {
            let labels = Labels::from([(key.to_owned(), value.to_owned())]);
            assert_eq!(field(&ServerSpec { labels, ..spec() }), "labels", "{key}={value}");
        }
    }

    #[test]
    fn tags_and_filters() {
        for bad in ["", "a b", "-a", "a/", &"a".repeat(64)] {
            assert!(OperationTag::new(bad).is_err(), "{bad}");
        }
        let labels = spec().all_labels();
        assert!(LabelFilter::ours().matches(&labels));
        assert!(LabelFilter::operation(&spec().operation).matches(&labels));
        assert!(!LabelFilter::operation(&OperationTag::new("other").unwrap()).matches(&labels));
        assert!(LabelFilter::label("Role", "x").is_err());
    }
}
