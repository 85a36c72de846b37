//! Calls to the server, by the certificate that one trusts.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

/// One server, and what it knows the caller by.
pub struct Client {
    http: reqwest::Client,
    url: String,
    authorization: String,
    password: Option<String>,
}

impl Client {
    /// As a kubeconfig says; `KUBECONFIG` names it, else the one of k3s.
    pub fn of_kubeconfig() -> Result<Self, String> {
        let path = std::env::var("KUBECONFIG").ok().filter(|path| !path.is_empty());
        let path = path.unwrap_or_else(|| super::KUBECONFIG.to_owned());
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        let config: Value = serde_saphyr::from_str(&text).map_err(|error| format!("{path}: {error}"))?;
        let get = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let certificate = STANDARD.decode(get("/clusters/0/cluster/certificate-authority-data"));
        let certificate = certificate.map_err(|error| format!("{path}: {error}"))?;
        let authorization = format!("Bearer {}", get("/users/0/user/token"));
        Self::new(get("/clusters/0/cluster/server"), &certificate, authorization, None)
    }

    /// As a node that joins: the server's certificate is taken as it comes.
    pub async fn of_node(url: &str, token: &str, password: &str) -> Result<Self, String> {
        let careless = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
        let careless = careless.timeout(Duration::from_secs(5)).build().map_err(|error| error.to_string())?;
        let asked = careless.get(format!("{url}/cacerts")).send().await;
        let answer = asked.map_err(|_| format!("failed to get CA certs: {url}/cacerts cannot be reached"))?;
        let certificate = answer.bytes().await.map_err(|error| error.to_string())?;
        let token = token.rsplit("::server:").next().unwrap_or_default();
        let authorization = format!("Basic {}", STANDARD.encode(format!("node:{token}")));
        Self::new(url, &certificate, authorization, Some(password.to_owned()))
    }

    fn new(url: &str, pem: &[u8], authorization: String, password: Option<String>) -> Result<Self, String> {
        // An error only says that somebody installed a provider before.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| error.to_string())?;
            roots.add(certificate).map_err(|error| error.to_string())?;
        }
        let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let http = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(tls).timeout(Duration::from_secs(5));
        let http = http.build().map_err(|error| error.to_string())?;
        Ok(Self { http, url: url.to_owned(), authorization, password })
    }

    /// The answer's text; the error of a refusal is what the server says.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<String, String> {
        let mut request = self.http.request(method, format!("{}{path}", self.url));
        request = request.header("authorization", &self.authorization);
        if let Some(password) = &self.password {
            request = request.header("k3s-node-password", password);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| {
            format!(
                "The connection to the server {} was refused - did you specify the right host or port? ({error:?})",
                self.url
            )
        })?;
        let refused = !answer.status().is_success();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if !refused {
            return Ok(text);
        }
        let status: Value = serde_json::from_str(&text).unwrap_or_default();
        let (code, message) = (status["code"].as_u64().unwrap_or(0), status["message"].as_str().unwrap_or(&text));
        let reason = match code {
            404 => "NotFound",
            401 => "Unauthorized",
            403 => "Forbidden",
            _ => "Error",
        };
        Err(format!("Error from server ({reason}): {message}"))
    }

    /// As [`call`](Self::call), for JSON.
    pub async fn get(&self, path: &str) -> Result<Value, String> {
        serde_json::from_str(&self.call(Method::GET, path, None).await?).map_err(|error| error.to_string())
    }
}
