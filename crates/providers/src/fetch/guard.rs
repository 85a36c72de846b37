//! The one check of URLs and addresses, asked when a URL is stored and again whenever it is used.

use std::net::IpAddr;

use url::{Host, Url};

use super::address::{Reach, reach};

/// Most bytes of a URL.
const LONGEST: usize = 2048;

/// Names under which clouds and container hosts serve credentials, or that mean this machine whatever the resolver says.
const NEVER: &[&str] = &[
    "metadata",
    "instance-data",
    "metadata.google.internal",
    "metadata.goog",
    "metadata.azure.internal",
    "metadata.azure.com",
    "metadata.tencentyun.com",
    "metadata.packet.net",
    "metadata.platformequinix.com",
    "metadata.oraclecloud.com",
    "metadata.aliyuncs.com",
    "instance-data.ec2.internal",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];
const LOCAL: &[&str] = &["localhost", "localhost.localdomain", "localhost6", "ip6-localhost", "ip6-loopback"];

/// What is allowed here.
#[derive(Clone, Copy, Debug)]
pub struct Guard {
    /// Whether this machine and private networks may be reached.
    pub allow_private: bool,
}

/// Why not, safe to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(pub String);

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

impl Guard {
    /// Reads a URL and checks everything that can be checked without resolving its name.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn url(self, text: &str) -> Result<Url, Refusal> {
        let refuse = |why: &str| Err(Refusal(why.to_owned()));
        if text.len() > LONGEST {
            return refuse("is longer than 2048 bytes");
        }
        // Readers of URLs disagree on these: one strips or turns what another takes as it is.
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return refuse("must not contain spaces, control characters or backslashes");
        }
        let Ok(url) = Url::parse(text) else { return refuse("is not an absolute http or https URL") };
        if !matches!(url.scheme(), "http" | "https") {
            return refuse("must begin with http:// or https://");
        }
        let Some(authority) =
            text.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or(rest))
        else {
            return refuse("is not an absolute http or https URL");
        };
        if authority.is_empty() {
            return refuse("must name a host");
        }
        if authority.contains('@') || !url.username().is_empty() || url.password().is_some() {
            return refuse("must not contain a user name or password; send credentials in a header");
        }
        if url.fragment().is_some() {
            return refuse("must not contain a fragment (#...)");
        }
        if url.port() == Some(0) {
            return refuse("must not name port 0");
        }
        match url.host() {
            None => refuse("must name a host"),
            Some(Host::Ipv4(ip)) => self.address(ip.into()).map(|()| url),
            Some(Host::Ipv6(ip)) => self.address(ip.into()).map(|()| url),
            Some(Host::Domain(name)) => self.name(name).map(|()| url),
        }
    }

    fn name(self, name: &str) -> Result<(), Refusal> {
        let name = name.trim_end_matches('.');
        if name.is_empty() {
            return Err(Refusal("must name a host".to_owned()));
        }
        if NEVER.contains(&name) {
            return Err(Refusal(format!("{name} is the name of a metadata service")));
        }
        if !self.allow_private && (LOCAL.contains(&name) || name.ends_with(".localhost")) {
            return Err(Refusal(format!("{name} is this machine")));
        }
        Ok(())
    }

    /// Checks one address.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn address(self, ip: IpAddr) -> Result<(), Refusal> {
        match reach(ip) {
            Reach::Public => Ok(()),
            Reach::Private(_) if self.allow_private => Ok(()),
            Reach::Private(what) => Err(Refusal(format!(
                "leads to {what} ({ip}); allow that with WEBHOOK_ALLOW_PRIVATE_IPS where receivers are private"
            ))),
            Reach::Never(what) => Err(Refusal(format!("leads to {what} ({ip})"))),
        }
    }

    /// Checks all addresses of a name: one bad one refuses the name, for who mixes them is about to rebind.
    ///
    /// # Errors
    /// Why it is refused.
    pub fn addresses(self, ips: impl IntoIterator<Item = IpAddr>) -> Result<(), Refusal> {
        ips.into_iter().try_for_each(|ip| self.address(ip))
    }
}
