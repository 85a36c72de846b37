//! The server's side: nodes and what is deployed, kept in a file, told over TLS to whoever has a token.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode, header};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::config::{Config, Role};
use super::{DATA, KUBECONFIG, VERSION, complain, random, write};

/// Seconds without a word after which a node is not ready.
const SILENCE_S: u64 = 40;

/// What a node says of itself, again and again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Told {
    pub address: Option<IpAddr>,
    pub labels: Vec<String>,
    pub server: bool,
    /// Its Cilium agent answers.
    pub cilium: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    password: String,
    told: Told,
    seen_at: u64,
}

#[derive(Default, Serialize, Deserialize)]
struct Cluster {
    nodes: BTreeMap<String, Node>,
    /// Version of Cilium, once it is installed.
    cilium: Option<String>,
}

struct Inner {
    cluster: Mutex<Cluster>,
    token: String,
    admin: String,
    certificate: String,
    flannel: bool,
}

pub struct Server {
    listener: TcpListener,
    acceptor: TlsAcceptor,
    routes: Router,
}

impl Server {
    pub async fn open(config: &Config) -> Result<Self, String> {
        let (cert_path, key_path) = (format!("{DATA}/server/tls/server.crt"), format!("{DATA}/server/tls/server.key"));
        if !std::path::Path::new(&cert_path).exists() {
            let mut names = vec![config.node_name.clone(), "localhost".into(), "127.0.0.1".into(), "kubernetes".into()];
            names.extend(config.names.clone());
            names.extend(config.node_ip.map(|ip| ip.to_string()));
            let key = KeyPair::generate().map_err(|error| error.to_string())?;
            let mut params = CertificateParams::new(names).map_err(|error| error.to_string())?;
            params.distinguished_name.push(DnType::CommonName, "k3s-simulator");
            let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
            write(&key_path, &key.serialize_pem())?;
            write(&cert_path, &certificate.pem())?;
        }
        let certificate = std::fs::read_to_string(&cert_path).map_err(|error| error.to_string())?;
        let secret = |name: &str| -> Result<String, String> {
            let path = format!("{DATA}/server/{name}");
            if let Ok(kept) = std::fs::read_to_string(&path) {
                return Ok(kept.trim().to_owned());
            }
            let fresh = random()?;
            write(&path, &fresh)?;
            Ok(fresh)
        };
        let token = if config.token.is_empty() { secret("token")? } else { config.token.clone() };
        let admin = secret("admin-token")?;
        let kept = std::fs::read_to_string(format!("{DATA}/server/cluster.json")).ok();
        let cluster: Cluster = kept.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
        write(&format!("{DATA}/server/node-token"), &format!("K10simulated::server:{token}\n"))?;
        write(KUBECONFIG, &kubeconfig(&certificate, config.port, &admin))?;

        let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
        let key = PrivateKeyDer::from_pem_file(&key_path).map_err(|error| error.to_string())?;
        let tls = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.map_err(|error| error.to_string())?, key)
            .map_err(|error| error.to_string())?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, config.port)).await;
        let listener = listener.map_err(|error| format!("port {}: {error}", config.port))?;
        debug_assert_eq!(config.role, Role::Server);
        let flannel = config.flannel;
        let inner = Arc::new(Inner { cluster: Mutex::new(cluster), token, admin, certificate, flannel });
        Ok(Self { listener, acceptor: TlsAcceptor::from(Arc::new(tls)), routes: routes(inner) })
    }

    pub async fn serve(self) -> Result<(), String> {
        complain(&format!("k3s {VERSION} is up and running"));
        loop {
            let (stream, _) = self.listener.accept().await.map_err(|error| error.to_string())?;
            let (acceptor, routes) = (self.acceptor.clone(), self.routes.clone());
            tokio::spawn(async move {
                // An error is a client that went away, or that trusts somebody else.
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = TowerToHyperService::new(routes);
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            });
        }
    }
}

fn kubeconfig(certificate: &str, port: u16, admin: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\nclusters:\n- name: default\n  cluster:\n    server: https://127.0.0.1:{port}\n    \
         certificate-authority-data: {}\ncontexts:\n- name: default\n  context: {{cluster: default, user: default}}\n\
         current-context: default\nusers:\n- name: default\n  user:\n    token: {admin}\n",
        STANDARD.encode(certificate)
    )
}

type Cloud = State<Arc<Inner>>;

fn routes(inner: Arc<Inner>) -> Router {
    let of_admin = Router::new()
        .route("/api/v1/nodes", get(nodes))
        .route("/api/v1/nodes/{name}", get(node).delete(delete_node))
        .route(
            "/apis/apps/v1/namespaces/kube-system/daemonsets/cilium",
            get(cilium).put(install_cilium).delete(remove_cilium),
        )
        .layer(middleware::from_fn_with_state(inner.clone(), admins_only));
    Router::new()
        .route("/readyz", get(|| async { "ok" }))
        .route("/livez", get(|| async { "ok" }))
        .route("/cacerts", get(|State(inner): Cloud| async move { inner.certificate.clone() }))
        .route("/v1-k3s/nodes/{name}", put(join))
        .merge(of_admin)
        .fallback(|| async { refusal(404, "the server could not find the requested resource") })
        .with_state(inner)
}

/// What the server does not do, and why.
struct Refusal(u16, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(code, message) = self;
        let status = StatusCode::from_u16(code).expect("a status");
        let body = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code});
        (status, Json(body)).into_response()
    }
}

fn refusal(code: u16, message: &str) -> Refusal {
    Refusal(code, message.to_owned())
}

type Answer = Result<Response, Refusal>;

async fn admins_only(State(inner): Cloud, headers: HeaderMap, request: Request, next: Next) -> Answer {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if given != format!("Bearer {}", inner.admin) {
        return Err(refusal(401, "Unauthorized"));
    }
    Ok(next.run(request).await)
}

impl Inner {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().expect("no panic while it is held")
    }

    fn keep(&self, cluster: &Cluster) -> Result<(), Refusal> {
        let text = serde_json::to_string(cluster).map_err(|error| refusal(500, &error.to_string()))?;
        write(&format!("{DATA}/server/cluster.json"), &text).map_err(|error| refusal(500, &error))
    }

    fn shown(&self, cluster: &Cluster, name: &str, node: &Node) -> Value {
        let networked = self.flannel || (cluster.cilium.is_some() && node.told.cilium);
        let heard = now().saturating_sub(node.seen_at) <= SILENCE_S;
        let (status, reason) = match (heard, networked) {
            (false, _) => ("Unknown", "NodeStatusUnknown"),
            (true, false) => ("False", "KubeletNotReady"),
            (true, true) => ("True", "KubeletReady"),
        };
        let mut labels: BTreeMap<&str, &str> =
            node.told.labels.iter().map(|label| label.split_once('=').unwrap_or((label, ""))).collect();
        labels.insert("kubernetes.io/hostname", name);
        if node.told.server {
            labels.insert("node-role.kubernetes.io/control-plane", "true");
        }
        json!({
            "kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "labels": labels},
            "status": {
                "addresses": [{"type": "InternalIP", "address": node.told.address}, {"type": "Hostname", "address": name}],
                "conditions": [{"type": "Ready", "status": status, "reason": reason}],
                "nodeInfo": {"kubeletVersion": VERSION},
            },
        })
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

async fn nodes(State(inner): Cloud) -> Response {
    let cluster = inner.cluster();
    let items: Vec<Value> = cluster.nodes.iter().map(|(name, node)| inner.shown(&cluster, name, node)).collect();
    Json(json!({"kind": "NodeList", "apiVersion": "v1", "items": items})).into_response()
}

async fn node(State(inner): Cloud, Path(name): Path<String>) -> Answer {
    let cluster = inner.cluster();
    let node = cluster.nodes.get(&name).ok_or_else(|| refusal(404, &format!("nodes \"{name}\" not found")))?;
    Ok(Json(inner.shown(&cluster, &name, node)).into_response())
}

async fn delete_node(State(inner): Cloud, Path(name): Path<String>) -> Answer {
    let mut cluster = inner.cluster();
    if cluster.nodes.remove(&name).is_none() {
        return Err(refusal(404, &format!("nodes \"{name}\" not found")));
    }
    inner.keep(&cluster)?;
    Ok(Json(json!({"kind": "Status", "status": "Success"})).into_response())
}

/// A node joins, or says that it is still there. What it is told: whether Cilium is to run on it.
async fn join(State(inner): Cloud, Path(name): Path<String>, headers: HeaderMap, Json(told): Json<Told>) -> Answer {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = inner.token.rsplit("::server:").next().unwrap_or_default();
    let wanted = format!("Basic {}", STANDARD.encode(format!("node:{token}")));
    if header("authorization") != wanted {
        return Err(refusal(401, "Unauthorized"));
    }
    let password = header("k3s-node-password").to_owned();
    let mut cluster = inner.cluster();
    if cluster.nodes.get(&name).is_some_and(|node| node.password != password) {
        return Err(refusal(
            403,
            "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry",
        ));
    }
    cluster.nodes.insert(name, Node { password, told, seen_at: now() });
    inner.keep(&cluster)?;
    Ok(Json(json!({"cilium": cluster.cilium.is_some()})).into_response())
}

async fn cilium(State(inner): Cloud) -> Answer {
    let cluster = inner.cluster();
    let version = cluster.cilium.as_ref().ok_or_else(|| refusal(404, "daemonsets.apps \"cilium\" not found"))?;
    let ready = cluster.nodes.values().filter(|node| node.told.cilium).count();
    Ok(Json(json!({
        "kind": "DaemonSet", "apiVersion": "apps/v1", "metadata": {"name": "cilium", "labels": {"version": version}},
        "status": {"desiredNumberScheduled": cluster.nodes.len(), "numberReady": ready},
    }))
    .into_response())
}

async fn install_cilium(State(inner): Cloud, Json(asked): Json<Value>) -> Answer {
    let mut cluster = inner.cluster();
    cluster.cilium = Some(asked["version"].as_str().unwrap_or_default().to_owned());
    inner.keep(&cluster)?;
    Ok(Json(asked).into_response())
}

async fn remove_cilium(State(inner): Cloud) -> Answer {
    let mut cluster = inner.cluster();
    cluster.cilium = None;
    inner.keep(&cluster)?;
    Ok(Json(json!({"kind": "Status", "status": "Success"})).into_response())
}
