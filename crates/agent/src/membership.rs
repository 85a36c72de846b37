//! What the node knows about its server once it is enrolled.

use reeve_agent_proto::EnrollmentKey;
use serde::{Deserialize, Serialize};

use crate::data_dir::DataDir;
use crate::error::AgentError;

const FILE: &str = "membership.json";

/// Where the server is, how to recognise it, and what it gave this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Membership {
    /// `host:port` of the agent listener.
    pub endpoints: Vec<String>,
    /// `sha256:<hex>` of the server's SubjectPublicKeyInfo.
    pub pin: String,
    /// Base URLs of the REST API.
    #[serde(default)]
    pub admin_urls: Vec<String>,
    /// Name of the node's cluster when it enrolled.
    #[serde(default)]
    pub cluster_name: String,
    /// Secret for REST calls.
    #[serde(default)]
    pub api_token: String,
    /// Secret of the node's proxies.
    #[serde(default)]
    pub proxy_password: String,
}

impl Membership {
    /// The stored membership of an enrolled node.
    pub fn load(dir: &DataDir) -> Result<Option<Self>, AgentError> {
        let failed = |what: String| {
            AgentError::new(
                format!("cannot use {}: {what}", dir.file(FILE).display()),
                "make the file readable, or remove it and enroll the node again",
            )
        };
        match dir.read(FILE).map_err(|e| failed(e.to_string()))? {
            Some(content) => serde_json::from_slice(&content).map(Some).map_err(|e| failed(e.to_string())),
            None => Ok(None),
        }
    }

    /// Takes over where the servers are; `present` is the address that works and stays known whatever they say. True when
    /// something changed.
    pub fn adopt(&mut self, told: &[String], present: &str) -> bool {
        /// More than this many servers nobody runs.
        const MOST: usize = 64;
        let mut endpoints: Vec<String> = Vec::new();
        for endpoint in told.iter().map(String::as_str).chain([present]) {
            let plain = endpoint.len() <= 255 && endpoint.contains(':') && !endpoint.contains(char::is_whitespace);
            if plain && endpoints.len() < MOST && !endpoints.iter().any(|known| known == endpoint) {
                endpoints.push(endpoint.to_owned());
            }
        }
        // The same servers in another order are no news: each server names itself first.
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort();
            list
        };
        if told.is_empty() || sorted(&endpoints) == sorted(&self.endpoints) {
            return false;
        }
        self.endpoints = endpoints;
        true
    }

    /// What an enrollment key tells; the rest comes with the server's answer.
    pub fn from_key(key: &EnrollmentKey, server: Option<&str>) -> Result<Self, AgentError> {
        let Some(pin) = key.pin.clone() else {
            return Err(AgentError::new(
                "the enrollment key does not name the server's public key",
                "create an enrollment key on a Reeve server and use that",
            ));
        };
        let endpoints = match server {
            Some(server) => vec![server.to_owned()],
            None => key.agent_endpoints.clone(),
        };
        if endpoints.is_empty() {
            return Err(AgentError::new(
                "the enrollment key does not name an agent endpoint",
                "add --server HOST:PORT with the address of the server's agent listener",
            ));
        }
        Ok(Self {
            endpoints,
            pin,
            admin_urls: key.admin_urls.clone(),
            cluster_name: String::new(),
            api_token: String::new(),
            proxy_password: String::new(),
        })
    }

    /// Stores the membership durably.
    pub fn save(&self, dir: &DataDir) -> Result<(), AgentError> {
        let failed = |what: String| {
            AgentError::new(
                format!("cannot store {}: {what}", dir.file(FILE).display()),
                "free some disk space and start the agent again; the node is already enrolled",
            )
        };
        let content = serde_json::to_vec_pretty(self).map_err(|e| failed(e.to_string()))?;
        dir.replace(FILE, &content).map_err(|e| failed(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(endpoints: &[&str]) -> Membership {
        let endpoints = endpoints.iter().map(|e| (*e).to_owned()).collect();
        let (pin, none) = (String::new(), String::new);
        let admin_urls = Vec::new();
        Membership { endpoints, pin, admin_urls, cluster_name: none(), api_token: none(), proxy_password: none() }
    }

    fn told(list: &[&str]) -> Vec<String> {
        list.iter().map(|e| (*e).to_owned()).collect()
    }

    #[test]
    fn what_servers_tell_replaces_what_was_known_and_keeps_what_works() {
        let mut membership = at(&["a:1"]);
        assert!(membership.adopt(&told(&["b:1", "c:1"]), "a:1"));
        assert_eq!(membership.endpoints, ["b:1", "c:1", "a:1"]);
        assert!(!membership.adopt(&told(&["c:1", "b:1", "a:1"]), "a:1"));
        assert!(!membership.adopt(&[], "a:1"));
        assert!(membership.adopt(&told(&["b:1"]), "b:1"));
        assert_eq!(membership.endpoints, ["b:1"]);
    }

    #[test]
    fn nonsense_is_left_out() {
        let mut membership = at(&["a:1"]);
        let long = format!("{}:1", "x".repeat(300));
        assert!(membership.adopt(&told(&["no port", "", &long, "b:1", "b:1"]), "a:1"));
        assert_eq!(membership.endpoints, ["b:1", "a:1"]);
        let many: Vec<String> = (0..500).map(|i| format!("h{i}:1")).collect();
        membership.adopt(&many, "a:1");
        assert_eq!(membership.endpoints.len(), 64);
    }
}
