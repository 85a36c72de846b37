//! The few commands of kubectl that taskservs use, and a table for people.

use serde_json::Value;

use super::client::Client;
use super::{runtime, say};

const READY: &str = r#"jsonpath={range .items[*]}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}"#;

pub fn run(words: &[&str]) -> Result<(), String> {
    let (mut plain, mut output, mut namespace) = (Vec::new(), "", "default");
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match *word {
            "-o" | "--output" => output = rest.next().copied().unwrap_or_default(),
            "-n" | "--namespace" => namespace = rest.next().copied().unwrap_or_default(),
            word if word.starts_with("--request-timeout=") => {}
            word => plain.push(word),
        }
    }
    runtime()?.block_on(async {
        let client = Client::of_kubeconfig()?;
        let text = match (plain.as_slice(), namespace) {
            (["get", "--raw", path], _) => client.call(reqwest::Method::GET, path, None).await?,
            (["get", "node" | "nodes"], _) => shown(&client.get("/api/v1/nodes").await?, output)?,
            (["get", "node" | "nodes", name], _) => {
                shown(&client.get(&format!("/api/v1/nodes/{name}")).await?, output)?
            }
            (["get", "daemonset", name], "kube-system") => {
                client.get(&format!("/apis/apps/v1/namespaces/kube-system/daemonsets/{name}")).await?;
                format!("daemonset.apps/{name}")
            }
            (["delete", "node", name], _) => {
                client.call(reqwest::Method::DELETE, &format!("/api/v1/nodes/{name}"), None).await?;
                format!("node \"{name}\" deleted")
            }
            _ => return Err(format!("the simulator's kubectl does not know `{}`", words.join(" "))),
        };
        if !text.is_empty() {
            say(&text);
        }
        Ok(())
    })
}

fn shown(found: &Value, output: &str) -> Result<String, String> {
    let one = [found.clone()];
    let nodes: &[Value] = found["items"].as_array().map_or(&one, Vec::as_slice);
    let text =
        |node: &Value, pointer: &str| node.pointer(pointer).and_then(Value::as_str).unwrap_or("<none>").to_owned();
    let lines: Vec<String> = match output {
        "name" => nodes.iter().map(|node| format!("node/{}", text(node, "/metadata/name"))).collect(),
        READY => nodes.iter().map(|node| text(node, "/status/conditions/0/status")).collect(),
        "json" => vec![found.to_string()],
        "" | "wide" => {
            let line = |node: &Value| {
                let ready = text(node, "/status/conditions/0/status") == "True";
                let role = node.pointer("/metadata/labels/node-role.kubernetes.io~1control-plane").is_some();
                let words = [
                    text(node, "/metadata/name"),
                    if ready { "Ready" } else { "NotReady" }.to_owned(),
                    if role { "control-plane" } else { "<none>" }.to_owned(),
                    text(node, "/status/addresses/0/address"),
                    text(node, "/status/nodeInfo/kubeletVersion"),
                ];
                words.join("   ")
            };
            std::iter::once("NAME   STATUS   ROLES   INTERNAL-IP   VERSION".to_owned())
                .chain(nodes.iter().map(line))
                .collect()
        }
        other => return Err(format!("the simulator's kubectl does not know the output `{other}`")),
    };
    Ok(lines.join("\n"))
}
