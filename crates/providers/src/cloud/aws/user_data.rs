//! What an EC2 machine is told at its first start. EC2 takes one key pair and no host name, so both travel with the
//! user data, as a part of its own that cloud-init reads beside the caller's.

use reeve_ports::cloud::ServerSpec;
use reeve_types::Secret;
use serde_json::json;

/// EC2's own limit, before base64.
pub const LIMIT_BYTES: usize = 16 * 1024;

/// User data as a MIME archive: ours, then the caller's.
pub fn archive(spec: &ServerSpec) -> Secret {
    let caller = spec.user_data.as_ref().map(Secret::expose).unwrap_or_default();
    let boundary = boundary(caller);
    let short = spec.hostname.split('.').next().unwrap_or_default();
    let keys: Vec<&str> = spec.ssh_keys.iter().map(|key| key.public_key.as_str()).collect();
    // JSON is YAML, and leaves no doubt about quoting.
    let config = json!({"hostname": short, "fqdn": spec.hostname, "ssh_authorized_keys": keys});
    let mut archive = format!("Content-Type: multipart/mixed; boundary=\"{boundary}\"\nMIME-Version: 1.0\n\n");
    let mut part = |kind: &str, text: &str| {
        archive.push_str(&format!("--{boundary}\nContent-Type: {kind}; charset=\"utf-8\"\nMIME-Version: 1.0\n"));
        // The caller's keys and users are added to ours instead of taking their place.
        archive.push_str("Merge-Type: list(append)+dict(recurse_array,no_replace)+str()\n\n");
        archive.push_str(text);
        archive.push('\n');
    };
    part("text/cloud-config", &format!("#cloud-config\n{config}"));
    if !caller.is_empty() {
        let kind = match caller.lines().next().unwrap_or_default() {
            first if first.starts_with("#cloud-config") => "text/cloud-config",
            first if first.starts_with("#!") => "text/x-shellscript",
            _ => "text/plain",
        };
        part(kind, caller);
    }
    archive.push_str(&format!("--{boundary}--\n"));
    Secret::new(archive)
}

/// A line that the caller's text does not hold.
fn boundary(text: &str) -> String {
    let mut boundary = "==reeve==".to_owned();
    while text.contains(&boundary) {
        boundary.push('=');
    }
    boundary
}

#[cfg(test)]
mod tests {
    use super::*;
    use reeve_ports::cloud::{Labels, OperationTag, SshKey};

    #[test]
    fn both_parts_survive() {
        let spec = ServerSpec {
            operation: OperationTag::new("a1").unwrap(),
            hostname: "web.example.com".to_owned(),
            plan: "t3.micro".to_owned(),
            zone: "z".to_owned(),
            image: "i".to_owned(),
            disk_gb: None,
            ssh_keys: vec![SshKey { name: "k".to_owned(), public_key: "ssh-ed25519 AAAA \"x\"".to_owned() }],
            user_data: Some(Secret::new("#!/bin/sh\necho ==reeve==\n")),
            labels: Labels::new(),
        };
        let text = archive(&spec).expose().to_owned();
        assert!(text.starts_with("Content-Type: multipart/mixed; boundary=\"==reeve===\"\n"), "{text}");
        assert!(text.contains("\n#cloud-config\n{\"fqdn\":\"web.example.com\",\"hostname\":\"web\""), "{text}");
        assert!(text.contains(r#"["ssh-ed25519 AAAA \"x\""]"#), "{text}");
        assert!(text.contains("text/x-shellscript") && text.ends_with("--==reeve===--\n"), "{text}");
    }
}
