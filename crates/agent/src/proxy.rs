//! CONNECT through an HTTP proxy.

use std::io;

use base64::Engine;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest answer head accepted from a proxy, in bytes.
const MAX_HEAD: usize = 8 * 1024;

/// A proxy to connect through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// `host:port`.
    pub address: String,
    authorization: Option<String>,
}

impl Proxy {
    /// Reads `http://[user:password@]host[:port]`; the scheme may be left out.
    pub fn parse(url: &str) -> io::Result<Self> {
        let bad = |why: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("bad proxy URL: {why}"));
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some(_) => return Err(bad("only http:// proxies are supported")),
            None => url,
        };
        let rest = rest.split('/').next().unwrap_or_default();
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        if host.is_empty() {
            return Err(bad("no host"));
        }
        let has_port = host.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok()) && !host.ends_with(']');
        let address = if has_port { host.to_owned() } else { format!("{host}:80") };
        let authorization = user
            .map(|user| format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(percent_decode(user))));
        Ok(Self { address, authorization })
    }

    /// The proxy the environment names for `endpoint`, unless `NO_PROXY` exempts it.
    pub fn from_env(endpoint: &str, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
        let get = |upper: &str, lower: &str| env(upper).or_else(|| env(lower)).filter(|v| !v.is_empty());
        let url = get("HTTPS_PROXY", "https_proxy")?;
        let host = endpoint.rsplit_once(':').map_or(endpoint, |(host, _)| host).trim_matches(['[', ']']);
        let exempt = get("NO_PROXY", "no_proxy").unwrap_or_default().split(',').map(str::trim).any(|entry| {
            let suffix = entry.trim_start_matches('.');
            entry == "*"
                || (!suffix.is_empty()
                    && (host.eq_ignore_ascii_case(suffix)
                        || host.to_ascii_lowercase().ends_with(&format!(".{}", suffix.to_ascii_lowercase()))))
        });
        (!exempt).then_some(url)
    }

    /// Asks the proxy, on a fresh connection to it, for a tunnel to `target` (`host:port`).
    pub async fn tunnel(&self, stream: &mut TcpStream, target: &str) -> io::Result<()> {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some(authorization) = &self.authorization {
            request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        // Byte by byte: what follows the head belongs to the tunnel.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= MAX_HEAD {
                return Err(io::Error::other("the proxy's answer is too long"));
            }
            head.push(stream.read_u8().await?);
        }
        let status = String::from_utf8_lossy(&head);
        let status = status.lines().next().unwrap_or_default();
        let mut words = status.split_whitespace();
        let is_http = words.next().is_some_and(|w| w.starts_with("HTTP/1."));
        let code = words.next().and_then(|w| w.parse::<u16>().ok());
        if is_http && code.is_some_and(|c| (200..300).contains(&c)) {
            return Ok(());
        }
        Err(io::Error::other(format!("the proxy refused the tunnel: {status}")))
    }
}

fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok()))
            .flatten();
        match escaped {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        assert_eq!(Proxy::parse("http://p:3128/").unwrap().address, "p:3128");
        assert_eq!(Proxy::parse("p").unwrap().address, "p:80");
        assert_eq!(Proxy::parse("http://[::1]").unwrap().address, "[::1]:80");
        let proxy = Proxy::parse("http://u:p%40x@h:1").unwrap();
        assert_eq!((proxy.address.as_str(), proxy.authorization.as_deref()), ("h:1", Some("Basic dTpwQHg=")));
        assert!(Proxy::parse("socks5://h:1").is_err());
        assert!(Proxy::parse("http://").is_err());
    }

    #[test]
    fn no_proxy() {
        let with = |no_proxy: &str, endpoint: &str| {
            let no_proxy = no_proxy.to_owned();
            Proxy::from_env(endpoint, &move |name| match name {
                "HTTPS_PROXY" => Some("http://p:1".into()),
                "NO_PROXY" => Some(no_proxy.clone()),
                _ => None,
            })
        };
        assert!(with("", "a.example:1").is_some());
        assert!(with("b.example, 10.0.0.1", "a.example:1").is_some());
        assert!(with("*", "a.example:1").is_none());
        assert!(with(".example", "a.example:1").is_none());
        assert!(with("A.example", "a.example:1").is_none());
        assert!(with("10.0.0.1", "10.0.0.1:1").is_none());
    }
}
