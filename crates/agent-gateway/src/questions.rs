//! Questions of agents, answered without keeping their other messages waiting.

use std::sync::Arc;

use reeve_agent_proto::message::{AliasOutcome, AliasesRegistered, RegisterAliases, SshVerified, VerifySsh};
use reeve_domain::ssh_username::Offer;
use reeve_domain::{App, alias, ssh_username};
use reeve_ports::AgentLink;
use reeve_ports::agents::Order;
use reeve_types::{NodeId, Secret};
use tokio::sync::Semaphore;

use crate::listener::Shell;

/// Questions of one agent that are being answered at once: checking a password costs memory and time.
pub(crate) const AT_ONCE: usize = 8;

/// Gives the node the names it asks for, as far as they can be had.
pub(crate) async fn aliases(app: &App, node: &NodeId, asked: RegisterAliases) -> AliasesRegistered {
    let outcomes = alias::register_own(app, node, asked.names).await;
    let told = |o: alias::Registration| AliasOutcome { name: o.name, problem: o.problem.unwrap_or_default() };
    AliasesRegistered { outcomes: outcomes.into_iter().map(told).collect() }
}

/// Finds out whether somebody is let in and tells the agent, wherever it is connected by then. A refusal is for the caller
/// to send.
pub(crate) fn ssh(shell: &Shell, node: &NodeId, asking: &Arc<Semaphore>, asked: VerifySsh) -> Option<SshVerified> {
    let question = asked.request_id;
    let Ok(turn) = asking.clone().try_acquire_owned() else {
        let problem = "too many questions at once".to_owned();
        return Some(SshVerified { request_id: question, verified: false, problem });
    };
    let (app, hub, node) = (shell.app.clone(), shell.hub.clone(), node.clone());
    tokio::spawn(async move {
        let offer = Offer::of(asked.password.map(Secret::new), asked.public_key);
        let (verified, problem) = match ssh_username::verify(&app, &node, &asked.username, &offer).await {
            Ok(verified) => (verified, String::new()),
            Err(error) => {
                tracing::warn!(node.id = %node, %error, source = ?error.source, "SSH credentials could not be checked");
                (false, error.message)
            }
        };
        hub.deliver(&node, vec![Order::SshVerified { question, verified, problem }]);
        drop(turn);
    });
    None
}
