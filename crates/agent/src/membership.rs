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
