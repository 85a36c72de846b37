//! Between the protocol's messages and the domain's values.

use std::time::Duration;

use reeve_agent_proto::message::{
    Cancel, ExecutionResult, Forget, IdType, Known, Ports, Progress, Rejected, ResultAck, ResultStatus, Run,
    SelfUpdate, ServerMessage, SshVerified,
};
use reeve_agent_proto::sample as told;
use reeve_domain::agent::{self, Machine, Refusal, Stage};
use reeve_ports::agents::Order;
use reeve_ports::{Answer, Question, Unreached};
use reeve_types::execution::Outcome;
use reeve_types::node::{NodeIdType, NodePorts};
use reeve_types::node_metrics::{AgentProcess, CpuTime, Disk, Host, Interface, Memory, Sample};
use reeve_types::{ExecutionId, Timestamp};

/// Largest facts document kept, in bytes.
const MAX_FACTS: usize = 16 * 1024;
/// Longest version text kept, in bytes.
const MAX_VERSION: usize = 64;
/// Longest name of an interface kept, in characters.
const MAX_INTERFACE: usize = 32;
/// Longest reason of a refusal kept, in characters.
const MAX_REASON: usize = 256;

pub(crate) fn machine(version: &str, ports: Option<Ports>, self_update_enabled: bool, facts: String) -> Machine {
    let version = plain(version, MAX_VERSION);
    let facts = (!facts.is_empty() && facts.len() <= MAX_FACTS).then_some(facts);
    Machine { version, ports: node_ports(ports), self_update_enabled, facts, session: 0 }
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

pub(crate) fn question(id: u64, question: Question, deadline: Duration) -> ServerMessage {
    let question = match question {
        Question::Sample => told::Asked::Sample(told::SampleWanted {}),
    };
    let deadline_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
    told::Ask { id, deadline_ms, question: Some(question) }.into()
}

pub(crate) fn answer(answer: told::Answer) -> Result<Answer, Unreached> {
    match answer.answer {
        Some(told::Answered::Sample(told)) => Ok(Answer::Sample(Box::new(sample(*told)))),
        Some(told::Answered::Refused(no)) if no.error == "unsupported" => Err(Unreached::Unsupported),
        Some(told::Answered::Refused(no)) => Err(Unreached::Refused(plain(&no.message, MAX_REASON))),
        None => Err(Unreached::Unsupported),
    }
}

/// What an agent measured, within bounds whatever it says.
pub(crate) fn sample(told: told::Sample) -> Sample {
    Sample { host: told.host.map(host), agent: told.agent.map(agent_process) }
}

fn host(told: told::Host) -> Host {
    let memory = |m: told::Memory| Memory {
        total: m.total,
        available: m.available,
        free: m.free,
        buffers: m.buffers,
        cached: m.cached,
        swap_total: m.swap_total,
        swap_free: m.swap_free,
    };
    let cpu = |c: told::CpuTime| CpuTime {
        number: c.number,
        spent: [c.user, c.nice, c.system, c.idle, c.iowait, c.irq, c.softirq, c.steal],
    };
    let interface = |i: told::Interface| Interface {
        name: plain(&i.name, MAX_INTERFACE),
        received_bytes: i.received_bytes,
        received_packets: i.received_packets,
        received_errors: i.received_errors,
        sent_bytes: i.sent_bytes,
        sent_packets: i.sent_packets,
        sent_errors: i.sent_errors,
    };
    // Two of one name or number would be one metric twice.
    let mut cpus: Vec<CpuTime> = told.cpus.into_iter().take(told::MAX_CPUS).map(cpu).collect();
    cpus.sort_by_key(|cpu| cpu.number);
    cpus.dedup_by_key(|cpu| cpu.number);
    let mut interfaces: Vec<Interface> =
        told.interfaces.into_iter().take(told::MAX_INTERFACES).map(interface).collect();
    interfaces.sort_by(|a, b| a.name.cmp(&b.name));
    interfaces.dedup_by(|a, b| a.name == b.name);
    Host {
        cores: told.cores,
        load_hundredths: told.load_hundredths.try_into().ok(),
        running_processes: told.running_processes,
        uptime_ms: told.uptime_ms,
        memory: told.memory.map(memory),
        disk: told.disk.map(|d| Disk { size: d.size, free: d.free, available: d.available }),
        cpus,
        interfaces,
        busy_permille: told.busy_permille.map(|busy| busy.min(1_000)),
        received_bytes_per_second: told.received_bytes_per_second,
        sent_bytes_per_second: told.sent_bytes_per_second,
    }
}

fn agent_process(told: told::Agent) -> AgentProcess {
    AgentProcess {
        uptime_ms: told.uptime_ms,
        resident_bytes: told.resident_bytes,
        tasks: told.tasks,
        commands_accepted: told.commands_accepted,
        commands_completed: told.commands_completed,
        commands_expired: told.commands_expired,
        results_stored: told.results_stored,
        commands_queued: told.commands_queued,
        commands_running: told.commands_running,
        results_waiting: told.results_waiting,
        syncs: told.syncs,
        heartbeats: told.heartbeats,
        dials: told.dials,
    }
}

fn plain(text: &str, most: usize) -> String {
    text.chars().filter(|c| !c.is_control()).take(most).collect()
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

    #[test]
    fn a_sample_is_bounded_and_names_nothing_twice() {
        let interface = |name: &str| told::Interface { name: name.into(), ..Default::default() };
        let long = "x".repeat(1_000);
        let told = told::Host {
            load_hundredths: vec![1, 2],
            busy_permille: Some(4_000),
            cpus: vec![told::CpuTime::default(); 5_000],
            interfaces: [vec![interface("a\n"), interface("a"), interface(&long)], vec![interface("b"); 5_000]]
                .concat(),
            ..Default::default()
        };
        let host = sample(told::Sample { host: Some(told), agent: None }).host.unwrap();
        assert_eq!((host.load_hundredths, host.busy_permille, host.cpus.len()), (None, Some(1_000), 1));
        let names: Vec<_> = host.interfaces.iter().map(|i| i.name.len()).collect();
        assert_eq!(names, [1, 1, MAX_INTERFACE]);
    }

    #[test]
    fn an_answer_to_another_question_is_none() {
        let refused = |error: &str| told::Refused { error: error.into(), message: "no\t".repeat(1_000) };
        let unsupported = told::Answer { id: 1, answer: Some(told::Answered::Refused(refused("unsupported"))) };
        assert_eq!(answer(unsupported), Err(Unreached::Unsupported));
        assert_eq!(answer(told::Answer { id: 1, answer: None }), Err(Unreached::Unsupported));
        let busy = told::Answer { id: 1, answer: Some(told::Answered::Refused(refused("busy"))) };
        assert!(matches!(answer(busy), Err(Unreached::Refused(why)) if why.len() == MAX_REASON));
    }
}
