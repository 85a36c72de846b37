//! Between the protocol's messages and the domain's values.

use reeve_agent_proto::message::{
    Cancel, ExecutionResult, Forget, IdType, Known, Ports, Progress, Rejected, ResultAck, ResultStatus, Run,
    SelfUpdate, ServerMessage, SshVerified,
};
use reeve_domain::agent::{self, Machine, Refusal, Stage};
use reeve_ports::agents::Order;
use reeve_types::execution::Outcome;
use reeve_types::node::{NodeIdType, NodePorts};
use reeve_types::{ExecutionId, Timestamp};

/// Largest facts document kept, in bytes.
const MAX_FACTS: usize = 16 * 1024;
/// Longest version text kept, in bytes.
const MAX_VERSION: usize = 64;

pub(crate) fn machine(version: &str, ports: Option<Ports>, self_update_enabled: bool, facts: String) -> Machine {
    let version = version.chars().filter(|c| !c.is_control()).take(MAX_VERSION).collect();
    let facts = (!facts.is_empty() && facts.len() <= MAX_FACTS).then_some(facts);
    Machine { version, ports: node_ports(ports), self_update_enabled, facts }
}

fn node_ports(ports: Option<Ports>) -> NodePorts {
    let defaults = NodePorts::default();
    let Some(told) = ports else { return defaults };
    // 0 and nonsense read as the default: the edge surface promises a port between 1 and 65535.
    let pick = |told: u32, default: u16| u16::try_from(told).ok().filter(|port| *port > 0).unwrap_or(default);
    NodePorts {
        http: pick(told.http, defaults.http),
        ssh: pick(told.ssh, defaults.ssh),
        host_metrics: pick(told.host_metrics, defaults.host_metrics),
        wireguard_metrics: pick(told.wireguard_metrics, defaults.wireguard_metrics),
        http_proxy: pick(told.http_proxy, defaults.http_proxy),
        socks5_proxy: pick(told.socks5_proxy, defaults.socks5_proxy),
    }
}

pub(crate) fn id_type(id_type: IdType) -> NodeIdType {
    match id_type {
        IdType::Persistent => NodeIdType::Persistent,
        IdType::Random => NodeIdType::Random,
    }
}

pub(crate) fn known(known: Vec<Known>) -> Vec<agent::Known> {
    let convert = |known: Known| agent::Known {
        stage: match known.progress() {
            Progress::Accepted => Stage::Accepted,
            Progress::Started => Stage::Started,
            Progress::Finished => Stage::Finished,
        },
        execution_id: ExecutionId(known.execution_id),
    };
    known.into_iter().map(convert).collect()
}

pub(crate) fn outcome(result: ExecutionResult) -> Outcome {
    let expired = result.status() == ResultStatus::Expired;
    Outcome {
        execution_id: ExecutionId(result.execution_id),
        expired,
        exit_code: (!expired).then_some(i64::from(result.exit_code)),
        output: result.output,
        completed_at: (result.completed_at_us > 0).then_some(Timestamp(result.completed_at_us)),
    }
}

pub(crate) fn order(order: Order) -> ServerMessage {
    match order {
        Order::Run(assignment) => Run {
            execution_id: assignment.execution_id.0,
            command_id: assignment.command_id.0,
            command_text: assignment.command_text.to_string(),
            timeout_ms: assignment.timeout_ms.and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default(),
            expires_at_us: assignment.expired_at.map_or(0, |at| at.0),
        }
        .into(),
        Order::Cancel(id) => Cancel { execution_id: id.0 }.into(),
        Order::Stored(id) => ResultAck { execution_id: id.0 }.into(),
        Order::Forget(id) => Forget { execution_id: id.0 }.into(),
        Order::SshVerified { question, verified, problem } => {
            SshVerified { request_id: question, verified, problem }.into()
        }
        Order::SelfUpdate(id) => SelfUpdate { request_id: id.0 }.into(),
    }
}

pub(crate) fn refusal(refusal: Refusal) -> Rejected {
    let retry_after_ms = if refusal == Refusal::Degraded { 60_000 } else { 0 };
    rejected(refusal.word(), refusal.message(), retry_after_ms)
}

pub(crate) fn rejected(error: &str, message: &str, retry_after_ms: u64) -> Rejected {
    Rejected { error: error.to_owned(), message: message.to_owned(), retry_after_ms }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_tell_is_bounded() {
        let ports = Ports { http: 70_000, ssh: 22, ..Ports::default() };
        let machine = machine(&"v\n".repeat(100), Some(ports), true, "x".repeat(MAX_FACTS + 1));
        assert_eq!((machine.ports.http, machine.ports.ssh), (44000, 22));
        assert_eq!((machine.version.len(), machine.facts), (64, None));
    }

    #[test]
    fn an_expired_result_has_no_exit_code() {
        let result = ExecutionResult { status: ResultStatus::Expired.into(), ..ExecutionResult::default() };
        let outcome = outcome(result);
        assert_eq!((outcome.expired, outcome.exit_code, outcome.completed_at), (true, None, None));
    }
}
