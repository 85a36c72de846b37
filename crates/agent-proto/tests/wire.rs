//! Properties of the wire: chunking, hostile input, flow control, versions, sessions against each other.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use prost::Message;
use reeve_agent_proto::message::*;
use reeve_agent_proto::mux::{MAX_MESSAGE, Side};
use reeve_agent_proto::sample::{Answer, Answered, Ask, Asked, Refused, Sample, SampleWanted};
use reeve_agent_proto::stream::INITIAL_CREDIT;
use reeve_agent_proto::{AgentEvent, AgentSession, CloseReason, Mux, MuxEvent, ServerEvent, ServerSession};

fn hello() -> Hello {
    Hello { node_id: "n1".into(), version: "0.1.0".into(), ..Hello::default() }
}

/// Moves everything both ways until nobody has anything left to say, in chunks of `chunk` bytes.
fn exchange(agent: &mut AgentSession, server: &mut ServerSession, chunk: usize, now: u64) {
    loop {
        let up = agent.take_output();
        let down = server.take_output();
        if up.is_empty() && down.is_empty() {
            return;
        }
        up.chunks(chunk).for_each(|c| server.received(c, now));
        down.chunks(chunk).for_each(|c| agent.received(c, now));
    }
}

fn open_session(chunk: usize) -> (AgentSession, ServerSession) {
    let mut agent = AgentSession::new(1, 0);
    let mut server = ServerSession::new(1_000, 0);
    agent.hello(hello(), 0);
    exchange(&mut agent, &mut server, chunk, 0);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Hello(h)) if h.node_id == "n1"));
    server.welcome("1.0", 5, 0);
    exchange(&mut agent, &mut server, chunk, 0);
    assert!(matches!(agent.poll_event(), Some(AgentEvent::Welcome(w)) if w.protocol_version == PROTOCOL_MAX));
    (agent, server)
}

#[test]
fn enroll_then_hello_on_one_connection() {
    let mut agent = AgentSession::new(1, 0);
    let mut server = ServerSession::new(1_000, 0);
    agent.enroll(Enroll { key: "k".into(), node_id: "n1".into(), ..Enroll::default() }, 0);
    exchange(&mut agent, &mut server, 3, 0);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Enroll(e)) if e.key == "k"));
    server.enrolled(Enrolled { node_id: "n1".into(), cluster_name: "c".into(), ..Enrolled::default() }, 0);
    exchange(&mut agent, &mut server, 3, 0);
    assert!(matches!(agent.poll_event(), Some(AgentEvent::Enrolled(e)) if e.cluster_name == "c"));
    agent.hello(hello(), 0);
    exchange(&mut agent, &mut server, 3, 0);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Hello(_))));
}

#[test]
fn rejection_closes_both_sides() {
    let mut agent = AgentSession::new(1, 0);
    let mut server = ServerSession::new(1_000, 0);
    agent.hello(hello(), 0);
    exchange(&mut agent, &mut server, 64, 0);
    server.poll_event();
    server.reject(Rejected { error: "unknown_node".into(), ..Rejected::default() });
    exchange(&mut agent, &mut server, 64, 0);
    assert!(matches!(agent.poll_event(), Some(AgentEvent::Rejected(r)) if r.error == "unknown_node"));
    assert_eq!(agent.poll_event(), Some(AgentEvent::Closed(CloseReason::Rejected)));
    assert_eq!(server.poll_event(), Some(ServerEvent::Closed(CloseReason::Rejected)));
}

#[test]
fn heartbeats_keep_a_session_alive_and_silence_ends_it() {
    let (mut agent, mut server) = open_session(64);
    let mut beats = 0;
    let mut now = 0;
    while now < 60_000 {
        now = agent.deadline_ms().min(server.deadline_ms());
        agent.tick(now);
        server.tick(now);
        exchange(&mut agent, &mut server, 64, now);
        while let Some(event) = server.poll_event() {
            assert!(matches!(event, ServerEvent::Heartbeat(Heartbeat { healthy: true, .. })), "{event:?}");
            beats += 1;
        }
    }
    assert!((50..75).contains(&beats), "{beats}");
    let silent_at = server.deadline_ms();
    server.tick(silent_at - 1);
    assert_eq!(server.poll_event(), None);
    server.tick(silent_at);
    assert_eq!(server.poll_event(), Some(ServerEvent::Closed(CloseReason::Silent)));
    while agent.poll_event().is_none() {
        agent.tick(agent.deadline_ms());
        agent.take_output();
    }
    assert!(!agent.is_open());
}

#[test]
fn a_change_of_health_is_sent_at_once() {
    let (mut agent, mut server) = open_session(64);
    agent.set_health(Heartbeat { healthy: false, reasons: vec!["disk full".into()] }, 1);
    exchange(&mut agent, &mut server, 64, 1);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Heartbeat(h)) if h.reasons == ["disk full"]));
}

#[test]
fn an_agent_that_says_nothing_is_not_kept() {
    let mut server = ServerSession::new(1_000, 0);
    server.tick(server.deadline_ms());
    assert_eq!(server.poll_event(), Some(ServerEvent::Closed(CloseReason::HandshakeTimeout)));
}

#[test]
fn messages_out_of_order_close_the_session() {
    let mut agent = Mux::new(Side::Agent);
    agent.send_message(&AgentMessage::from(Accepted { execution_id: "e".into() }));
    let mut server = ServerSession::new(1_000, 0);
    server.received(&agent.take_output(), 0);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Closed(CloseReason::Protocol(_)))));
    assert!(server.take_output().is_empty());
}

/// The wire form of a `Hello` as a first-version agent sends it, and one from the future with an unknown field, an
/// unknown variant and a wider version range.
#[test]
fn older_and_newer_encodings_are_understood() {
    #[derive(Clone, PartialEq, Message)]
    struct OldHello {
        #[prost(string, tag = "1")]
        node_id: String,
        #[prost(bytes = "vec", tag = "2")]
        signature: Vec<u8>,
        #[prost(uint32, tag = "9")]
        min_version: u32,
        #[prost(uint32, tag = "10")]
        max_version: u32,
        #[prost(string, tag = "900")]
        from_the_future: String,
    }
    #[derive(Clone, PartialEq, Message)]
    struct OldEnvelope {
        #[prost(message, optional, tag = "2")]
        hello: Option<OldHello>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct FutureEnvelope {
        #[prost(message, optional, tag = "77")]
        unheard_of: Option<OldHello>,
    }
    let old = |max_version: u32, from_the_future: &str| OldEnvelope {
        hello: Some(OldHello {
            node_id: "n1".into(),
            signature: vec![1],
            min_version: 1,
            max_version,
            from_the_future: from_the_future.into(),
        }),
    };
    for envelope in [old(1, ""), old(9, "surprise")] {
        let mut wire = Mux::new(Side::Agent);
        wire.send_message(&FutureEnvelope { unheard_of: Some(OldHello::default()) });
        wire.send_message(&envelope);
        let mut server = ServerSession::new(1_000, 0);
        server.received(&wire.take_output(), 0);
        let Some(ServerEvent::Hello(hello)) = server.poll_event() else { panic!() };
        assert_eq!((hello.node_id.as_str(), hello.known.len(), hello.facts.as_str()), ("n1", 0, ""));
    }
    assert_eq!(common_version(1, 9), Some(PROTOCOL_MAX));
    assert_eq!(common_version(PROTOCOL_MAX + 1, PROTOCOL_MAX + 2), None);
}

/// These bytes are what version 1 puts on the wire; they must decode for ever.
#[test]
fn recorded_version_1_bytes_still_decode() {
    let bytes = [
        0x22, 0x13, 0x0a, 0x02, b'e', b'1', 0x12, 0x02, b'c', b'1', 0x1a, 0x04, b't', b'r', b'u', b'e', 0x20, 0xf4,
        0x03, 0x28, 0x07,
    ];
    let run = Run {
        execution_id: "e1".into(),
        command_id: "c1".into(),
        command_text: "true".into(),
        timeout_ms: 500,
        expires_at_us: 7,
    };
    assert_eq!(ServerMessage::decode(&bytes[..]).unwrap(), ServerMessage::from(run));
}

#[test]
fn no_common_version_is_told_to_the_agent() {
    let mut wire = Mux::new(Side::Agent);
    let hello = Hello { min_version: 7, max_version: 9, ..hello() };
    wire.send_message(&AgentMessage::from(hello));
    let mut server = ServerSession::new(1_000, 0);
    server.received(&wire.take_output(), 0);
    assert_eq!(server.poll_event(), Some(ServerEvent::Closed(CloseReason::VersionUnsupported)));
    let mut agent = AgentSession::new(1, 0);
    agent.hello(Hello::default(), 0);
    agent.received(&server.take_output(), 0);
    assert!(matches!(agent.poll_event(), Some(AgentEvent::Rejected(r)) if r.error == "version_unsupported"));
}

#[test]
fn a_result_with_a_full_output_passes_and_leaves_no_buffer() {
    let (mut agent, mut server) = open_session(16 * 1024);
    let output = "y".repeat(1024 * 1024 + 40);
    agent.send(ExecutionResult { execution_id: "e".into(), output: output.clone(), ..ExecutionResult::default() });
    exchange(&mut agent, &mut server, 16 * 1024, 0);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Result(r)) if r.output == output));
    assert_eq!(server.partial_len(), 0);
}

#[test]
fn an_endless_message_is_cut_off() {
    let mut server = ServerSession::new(1_000, 0);
    let part = [&[2u8, 1, 0, 0, 0, 0, 0, 0][..], &[0u8; 65536][..]].concat();
    for _ in 0..=MAX_MESSAGE / 65536 {
        server.received(&part, 0);
    }
    assert!(matches!(server.poll_event(), Some(ServerEvent::Closed(CloseReason::Protocol(_)))));
    assert!(server.partial_len() <= MAX_MESSAGE);
}

fn transfer(data: &[u8], consume: bool) -> (Vec<u8>, usize) {
    let mut agent = Mux::new(Side::Agent);
    let mut server = Mux::new(Side::Server);
    let open = StreamOpen { kind: "tcp".into(), target: "127.0.0.1:22".into() };
    let stream = server.open(&open).unwrap();
    let (mut sent, mut received) = (0, Vec::new());
    for _ in 0..10_000 {
        sent += server.send_data(stream, &data[sent..]);
        if sent == data.len() {
            server.finish(stream);
        }
        agent.feed(&server.take_output()).unwrap();
        while let Some(event) = agent.poll_event() {
            match event {
                MuxEvent::Opened { open: got, .. } => assert_eq!(got, open),
                MuxEvent::Data { stream, bytes } => {
                    received.extend_from_slice(&bytes);
                    if consume {
                        agent.consumed(stream, bytes.len());
                    }
                }
                MuxEvent::Finished { stream } => {
                    agent.finish(stream);
                    server.feed(&agent.take_output()).unwrap();
                    assert_eq!((agent.open_streams(), server.open_streams()), (0, 0));
                    return (received, sent);
                }
                other => panic!("{other:?}"),
            }
        }
        server.feed(&agent.take_output()).unwrap();
        while let Some(event) = server.poll_event() {
            assert!(matches!(event, MuxEvent::Writable { .. }));
        }
    }
    (received, sent)
}

#[test]
fn streams_stop_at_their_credit() {
    let data = vec![1u8; 4 * INITIAL_CREDIT as usize];
    let (received, sent) = transfer(&data, false);
    assert_eq!((received.len(), sent), (INITIAL_CREDIT as usize, INITIAL_CREDIT as usize));
}

#[test]
fn more_than_granted_is_a_violation() {
    let mut server = Mux::new(Side::Server);
    let mut wire = bytes::BytesMut::new();
    use reeve_agent_proto::frame::{FrameKind, encode};
    encode(&mut wire, FrameKind::Open, 1, &[]);
    for _ in 0..3 {
        encode(&mut wire, FrameKind::Data, 1, &[0; 60_000]);
    }
    assert!(server.feed(&wire).is_err());
}

#[test]
fn streams_of_the_wrong_side_or_too_many_are_refused() {
    use reeve_agent_proto::frame::{FrameKind, encode};
    let mut wire = bytes::BytesMut::new();
    encode(&mut wire, FrameKind::Open, 2, &[]);
    assert!(Mux::new(Side::Server).feed(&wire).is_err());
    let mut wire = bytes::BytesMut::new();
    (0..400).for_each(|i| encode(&mut wire, FrameKind::Open, 2 * i + 1, &[]));
    assert!(Mux::new(Side::Server).feed(&wire).is_err());
}

#[test]
fn an_idle_session_is_small() {
    assert!(std::mem::size_of::<ServerSession>() <= 400, "{}", std::mem::size_of::<ServerSession>());
}

fn any_message() -> impl Strategy<Value = AgentMessage> {
    prop_oneof![
        ("\\PC{0,10}").prop_map(|id| Accepted { execution_id: id }.into()),
        ("\\PC{0,10}", any::<i64>()).prop_map(|(id, at)| Started { execution_id: id, started_at_us: at }.into()),
        ("\\PC{0,4}", any::<u64>(), "\\PC{0,200}", any::<u64>())
            .prop_map(|(id, offset, text, dropped)| { OutputChunk { execution_id: id, offset, text, dropped }.into() }),
        (any::<i32>(), 0usize..200_000).prop_map(|(code, len)| {
            ExecutionResult { exit_code: code, output: "z".repeat(len), ..ExecutionResult::default() }.into()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn chunking_does_not_matter(messages in proptest::collection::vec(any_message(), 1..10), chunk in 1usize..5000) {
        let mut sender = Mux::new(Side::Agent);
        messages.iter().for_each(|m| sender.send_message(m));
        let wire = sender.take_output();
        let mut receiver = Mux::new(Side::Server);
        let mut got = Vec::new();
        for piece in wire.chunks(chunk) {
            receiver.feed(piece).unwrap();
            while let Some(MuxEvent::Message(bytes)) = receiver.poll_event() {
                got.push(AgentMessage::decode(bytes).unwrap());
            }
        }
        prop_assert_eq!(got, messages);
        prop_assert_eq!(receiver.partial_len(), 0);
    }

    #[test]
    fn stream_bytes_arrive_whole_and_in_order(data in proptest::collection::vec(any::<u8>(), 0..400_000)) {
        let (received, _) = transfer(&data, true);
        prop_assert!(received == data);
    }

    #[test]
    fn hostile_bytes_never_panic(chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..20)) {
        let (mut agent, mut server) = open_session(64);
        let mut fresh = ServerSession::new(1_000, 0);
        for chunk in &chunks {
            agent.received(chunk, 0);
            server.received(chunk, 0);
            fresh.received(chunk, 0);
            agent.tick(1);
            server.tick(1);
        }
        while agent.poll_event().is_some() || server.poll_event().is_some() || fresh.poll_event().is_some() {}
    }

    #[test]
    fn hostile_frames_in_any_order_never_panic(
        frames in proptest::collection::vec((0u8..9, 0u32..5, proptest::collection::vec(any::<u8>(), 0..40)), 0..60)
    ) {
        let mut wire = Vec::new();
        for (kind, stream, payload) in &frames {
            wire.push(*kind);
            wire.extend_from_slice(&(payload.len() as u32).to_be_bytes()[1..]);
            wire.extend_from_slice(&stream.to_be_bytes());
            wire.extend_from_slice(payload);
        }
        let (mut agent, mut server) = open_session(64);
        agent.received(&wire, 0);
        server.received(&wire, 0);
        for session in [agent.streams(), server.streams()] {
            prop_assert!(session.open_streams() <= 256);
            for stream in 0..5 {
                session.send_data(stream, b"x");
                session.consumed(stream, usize::MAX);
                session.finish(stream);
                session.reset(stream, "done");
            }
        }
    }
}

#[test]
fn questions_about_names_doors_and_updates_are_answered() {
    let (mut agent, mut server) = open_session(7);
    agent.send(RegisterAliases { names: vec!["web".into()] });
    let question = VerifySsh { request_id: 7, username: "ann".into(), password: Some("s".into()), public_key: None };
    assert!(!format!("{question:?}").contains("ann"), "what is typed stays out of logs");
    agent.send(question.clone());
    exchange(&mut agent, &mut server, 7, 0);
    assert!(matches!(server.poll_event(), Some(ServerEvent::RegisterAliases(r)) if r.names == ["web"]));
    assert!(matches!(server.poll_event(), Some(ServerEvent::VerifySsh(asked)) if *asked == question));
    let outcomes = vec![AliasOutcome { name: "web".into(), problem: "taken".into() }];
    server.send(AliasesRegistered { outcomes: outcomes.clone() });
    server.send(SshVerified { request_id: 7, verified: true, problem: String::new() });
    server.send(SelfUpdate { request_id: "r".into() });
    exchange(&mut agent, &mut server, 7, 0);
    assert!(matches!(agent.poll_event(), Some(AgentEvent::AliasesRegistered(a)) if a.outcomes == outcomes));
    assert!(matches!(agent.poll_event(), Some(AgentEvent::SshVerified(a)) if a.verified && a.request_id == 7));
    assert!(matches!(agent.poll_event(), Some(AgentEvent::SelfUpdate(id)) if id == "r"));
    agent.send(SelfUpdateAnswer { request_id: "r".into(), triggered: false, reason: "no".into() });
    exchange(&mut agent, &mut server, 7, 0);
    assert!(matches!(server.poll_event(), Some(ServerEvent::SelfUpdateAnswer(a)) if !a.triggered && a.reason == "no"));
}

/// A session whose agent speaks versions up to `newest`, wanting a sample a second.
fn sampled_session(newest: u32) -> (AgentSession, ServerSession) {
    let mut agent = AgentSession::new(1, 0);
    let mut server = ServerSession::new(30_000, 0);
    server.set_sample_ms(1_000);
    if newest == PROTOCOL_MAX {
        agent.hello(hello(), 0);
        exchange(&mut agent, &mut server, 64, 0);
    } else {
        let mut old = Mux::new(Side::Agent);
        old.send_message(&AgentMessage::from(Hello { min_version: 1, max_version: newest, ..hello() }));
        server.received(&old.take_output(), 0);
    }
    assert!(matches!(server.poll_event(), Some(ServerEvent::Hello(_))));
    server.welcome("1.0", 5, 0);
    (agent, server)
}

#[test]
fn samples_are_due_at_once_and_then_every_interval() {
    let (mut agent, mut server) = sampled_session(PROTOCOL_MAX);
    exchange(&mut agent, &mut server, 64, 0);
    assert!(matches!(agent.poll_event(), Some(AgentEvent::Welcome(_))));
    let mut due = Vec::new();
    while due.len() < 4 {
        let now = agent.deadline_ms();
        agent.tick(now);
        while let Some(event) = agent.poll_event() {
            if event == AgentEvent::SampleDue {
                due.push(now);
            }
        }
    }
    assert!(due[0] <= 1_000, "{due:?}");
    assert!(due.windows(2).all(|w| (900..=1_100).contains(&(w[1] - w[0]))), "{due:?}");
    agent.send(Sample::default());
    exchange(&mut agent, &mut server, 3, due[3]);
    assert_eq!(server.poll_event(), Some(ServerEvent::Sample(Box::default())));
}

#[test]
fn questions_are_answered_with_their_number() {
    let (mut agent, mut server) = sampled_session(PROTOCOL_MAX);
    assert!(server.takes_questions());
    server.send(Ask { id: 7, deadline_ms: 10, question: Some(Asked::Sample(SampleWanted {})) });
    exchange(&mut agent, &mut server, 5, 0);
    agent.poll_event();
    assert!(matches!(agent.poll_event(), Some(AgentEvent::Ask(Ask { id: 7, question: Some(_), .. }))));
    let refused = Refused { error: "busy".into(), message: String::new() };
    agent.send(Answer { id: 7, answer: Some(Answered::Refused(refused)) });
    exchange(&mut agent, &mut server, 5, 0);
    assert!(matches!(server.poll_event(), Some(ServerEvent::Answer(Answer { id: 7, answer: Some(_) }))));
}

/// A question that a later version invents reaches an agent of this one as a question without content.
#[test]
fn an_unknown_question_is_seen_as_one() {
    #[derive(Clone, PartialEq, Message)]
    struct NewerAsk {
        #[prost(uint64, tag = "1")]
        id: u64,
        #[prost(string, tag = "900")]
        question: String,
    }
    let bytes = NewerAsk { id: 3, question: "?".into() }.encode_to_vec();
    let ask = Ask::decode(bytes.as_slice()).unwrap();
    assert_eq!((ask.id, ask.question), (3, None));
}

#[test]
fn an_agent_of_version_1_is_neither_asked_nor_told_to_sample() {
    let (_, mut server) = sampled_session(1);
    assert!(server.is_open() && !server.takes_questions());
    // What the first version does with a welcome of this one: the field it does not know is skipped.
    let mut agent = Mux::new(Side::Agent);
    agent.feed(&server.take_output()).unwrap();
    let Some(MuxEvent::Message(bytes)) = agent.poll_event() else { panic!("no message") };
    let message = ServerMessage::decode(bytes).unwrap();
    assert!(matches!(message.body, Some(FromServer::Welcome(w)) if w.protocol_version == 1));
}

#[test]
fn a_server_of_version_1_gets_no_samples() {
    let (mut agent, mut server) = (AgentSession::new(1, 0), Mux::new(Side::Server));
    agent.hello(hello(), 0);
    let welcome = Welcome { heartbeat_interval_ms: 1_000, protocol_version: 1, ..Welcome::default() };
    server.send_message(&ServerMessage::from(welcome));
    agent.received(&server.take_output(), 0);
    agent.poll_event();
    for _ in 0..20 {
        agent.tick(agent.deadline_ms());
        while let Some(event) = agent.poll_event() {
            assert_ne!(event, AgentEvent::SampleDue);
        }
    }
}
