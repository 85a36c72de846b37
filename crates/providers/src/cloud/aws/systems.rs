//! Portable names of systems on EC2: an AMI's id differs in every region and from month to month, so a name stands for
//! "the publisher's latest".

/// Where the images of a system come from.
pub struct System {
    /// Portable name.
    pub name: &'static str,
    /// The publisher's account.
    pub owner: &'static str,
    /// What their names look like; `{arch}` is the publisher's word for the processor.
    pub pattern: &'static str,
    /// Who may log in.
    pub login_user: &'static str,
}

impl System {
    /// The name pattern for a processor, as `DescribeImages` filters by it.
    pub fn pattern_for(&self, architecture: &str) -> String {
        self.pattern.replace("{arch}", if architecture == "arm64" { "arm64" } else { "amd64" })
    }
}

/// Debian publishes under 136693071363, Canonical under 099720109477.
pub const SYSTEMS: &[System] = &[
    System { name: "debian-12", owner: "136693071363", pattern: "debian-12-{arch}-*", login_user: "admin" },
    System { name: "debian-13", owner: "136693071363", pattern: "debian-13-{arch}-*", login_user: "admin" },
    System {
        name: "ubuntu-22.04",
        owner: "099720109477",
        pattern: "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-{arch}-server-*",
        login_user: "ubuntu",
    },
    System {
        name: "ubuntu-24.04",
        owner: "099720109477",
        pattern: "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-{arch}-server-*",
        login_user: "ubuntu",
    },
];

/// Who may log in to an image that is not one of ours by name: what its name suggests.
pub fn login_user_of(image_name: &str) -> &'static str {
    let name = image_name.to_lowercase();
    let pairs = [("ubuntu", "ubuntu"), ("debian", "admin"), ("rocky", "rocky"), ("fedora", "fedora")];
    pairs.iter().find(|(word, _)| name.contains(word)).map_or("ec2-user", |(_, user)| user)
}
