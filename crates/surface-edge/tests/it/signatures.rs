//! Real deliveries over real sockets, checked with libraries that receivers use: one from PyPI, one from npm.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Request;
use reeve_domain::webhook::{self, delivery};
use reeve_testkit::app::TestApp;
use reeve_types::{Actor, Secret};
use serde_json::{Value, json};

const RAW: &str = "a-cryptographically-random-32-byte-secret";
const STANDARD: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwABCDEFGHIJ0=";
/// What `cargo xtask test` has the libraries in: an interpreter of Python, and a folder for Node.
const INSTALLED: [&str; 2] = ["REEVE_TEST_PYTHON", "REEVE_TEST_NODE_FOLDER"];

const PYTHON: &str = r#"
import json, sys, base64, hashlib, hmac
from standardwebhooks import Webhook
for d in json.load(sys.stdin):
    raw = d["secret"]
    secret = raw if raw.startswith("whsec_") else "whsec_" + base64.b64encode(raw.encode()).decode()
    got = Webhook(secret).verify(d["body"], d["headers"])
    assert (got if isinstance(got, dict) else json.loads(d["body"]))["specversion"] == "1.0"
    edge = "sha256=" + hmac.new(raw.encode(), d["body"].encode(), hashlib.sha256).hexdigest()
    assert hmac.compare_digest(edge, d["headers"]["x-edge-signature"]), "x-edge-signature"
    try:
        Webhook(secret).verify(d["body"].replace("1.0", "1.1", 1), d["headers"])
    except Exception:
        print("verified")
    else:
        raise SystemExit("a changed body was accepted")
"#;

const NODE: &str = r#"
const { Webhook } = require("standardwebhooks");
let text = "";
process.stdin.on("data", (part) => (text += part)).on("end", () => {
  for (const d of JSON.parse(text)) {
    const hook = d.secret.startsWith("whsec_") ? new Webhook(d.secret) : new Webhook(d.secret, { format: "raw" });
    if (hook.verify(d.body, d.headers).specversion !== "1.0") throw new Error("another event");
    let refused = false;
    try { hook.verify(d.body.replace("1.0", "1.1"), d.headers); } catch { refused = true; }
    if (!refused) throw new Error("a changed body was accepted");
    console.log("verified");
  }
});
"#;

type Got = Arc<Mutex<Vec<(Value, String)>>>;

/// A receiver on this machine; what it got, as headers and body.
async fn receiver() -> (String, Got) {
    let got = Got::default();
    let taken = got.clone();
    let app = Router::new().fallback(move |request: Request| {
        let taken = taken.clone();
        async move {
            let (head, body) = request.into_parts();
            let headers: serde_json::Map<String, Value> =
                head.headers.iter().map(|(n, v)| (n.to_string(), v.to_str().unwrap().into())).collect();
            let body = to_bytes(body, 1 << 20).await.unwrap();
            taken.lock().unwrap().push((headers.into(), String::from_utf8(body.to_vec()).unwrap()));
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, got)
}

#[allow(clippy::disallowed_methods)] // the verifiers are programs of others
fn verify(program: PathBuf, args: &[&str], folder: PathBuf, deliveries: &Value) -> String {
    let mut command = Command::new(program);
    command.args(args).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the verifier starts; run `cargo xtask test`");
    serde_json::to_writer(child.stdin.take().unwrap(), deliveries).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_independent_libraries_accept_what_is_sent() {
    let [python, node_folder] = INSTALLED.map(|name| {
        let path = std::env::var_os(name).map(PathBuf::from);
        path.unwrap_or_else(|| panic!("{name} is not set: run the tests with `cargo xtask test`"))
    });
    let app = TestApp::sqlite().await;
    let (url, got) = receiver().await;
    let mut expected = 0;
    for secret in [RAW, STANDARD] {
        let input = webhook::Create {
            url: format!("{url}/{expected}"),
            secret: Secret::new(secret),
            headers: Some([("X-Secret-Of-The-Test".to_owned(), secret.to_owned())].into()),
            subscribed_events: vec!["edge.node.registered".to_owned(), "edge.enrollment_key.verified".to_owned()],
        };
        let hook = webhook::create(&app.app, &Actor::system(), input).await.unwrap();
        delivery::send_test(&app.app, &Actor::system(), &hook.id).await.unwrap();
        // While secrets overlap, a receiver that knows only the one before accepts too.
        let change =
            webhook::Update { secret: Some(Secret::new("another-secret-of-more-than-32-bytes")), ..Default::default() };
        await_count(&got, expected + 1).await;
        webhook::update(&app.app, &Actor::system(), &hook.id, change).await.unwrap();
        delivery::send_test(&app.app, &Actor::system(), &hook.id).await.unwrap();
        expected += 2;
        await_count(&got, expected).await;
        let back =
            webhook::Update { secret: Some(Secret::new(secret)), secret_overlap_secs: Some(0), ..Default::default() };
        webhook::update(&app.app, &Actor::system(), &hook.id, back).await.unwrap();
    }
    // Real events: a node enrolls.
    reeve_domain::cluster::create(
        &app.app,
        &Actor::system(),
        reeve_domain::cluster::Create { name: "signed".into(), ipv4_range: None, node_limit: None },
    )
    .await
    .unwrap();
    app.agents.enroll("signed").await;
    await_count(&got, expected + 4).await;

    let all: Vec<Value> = got
        .lock()
        .unwrap()
        .iter()
        .map(|(headers, body)| {
            let mut headers = headers.clone();
            let secret = headers.as_object_mut().unwrap().remove("x-secret-of-the-test").unwrap();
            json!({"secret": secret, "headers": headers, "body": body})
        })
        .collect();
    // The edge signature is the current secret's alone: leave out those of the overlap for it.
    let (overlapping, plain): (Vec<Value>, Vec<Value>) =
        all.into_iter().partition(|d| d["headers"]["webhook-signature"].as_str().unwrap().contains(' '));
    assert_eq!((overlapping.len(), plain.len()), (2, 6));
    let python = verify(python, &["-c", PYTHON], node_folder.clone(), &json!(plain));
    assert_eq!(python.lines().count(), 6);
    let both: Vec<Value> = plain.into_iter().chain(overlapping).collect();
    let node = verify("node".into(), &["-e", NODE], node_folder, &json!(both));
    assert_eq!(node.lines().count(), 8);
}

async fn await_count(got: &Got, count: usize) {
    reeve_testkit::until(&format!("{count} requests"), || got.lock().unwrap().len() >= count).await;
}
