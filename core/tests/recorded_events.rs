//! Everything that enters a machine survives as bytes, and nothing else is taken for it.
// Test code, which the linter cannot see here.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;
use xxnet_core::disk::{Aside, Beside, DiskDone, DiskEvent, FileError, FileErrorKind, Hash};
use xxnet_core::executor::{ExecutorCommand, InputFile, OutputFile, TaskSpec};
use xxnet_core::message::Placement;
use xxnet_core::needs::Need;
use xxnet_core::net::{Endpoint, NetError, NetEvent};
use xxnet_core::process::{ExitStatus, ProcessEvent, SpawnError, Stream};
use xxnet_core::registry::RegistryCommand;
use xxnet_core::{AttemptNumber, Event, InstanceId, LinkId, ListenerId, OpId, QueryId, RunId, TaskId, Token};

fn socket() -> impl Strategy<Value = SocketAddr> {
    let six = (any::<[u16; 8]>(), any::<u16>(), any::<u32>(), any::<u32>());
    prop_oneof![
        (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from),
        six.prop_map(
            |(ip, port, flow, scope)| SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope).into()
        ),
    ]
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    prop_oneof![socket().prop_map(Endpoint::Ip), ".{0,20}".prop_map(Endpoint::Unix)]
}

fn data() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..3000).prop_map(Bytes::from)
}

fn net_error() -> impl Strategy<Value = NetError> {
    prop_oneof![
        Just(NetError::Refused),
        Just(NetError::NameNotFound),
        Just(NetError::Exhausted),
        any::<i32>().prop_map(NetError::Other)
    ]
}

fn net() -> impl Strategy<Value = NetEvent> {
    let link = || any::<u64>().prop_map(LinkId);
    let listener = || any::<u64>().prop_map(ListenerId);
    prop_oneof![
        (any::<u64>(), prop_oneof![vec(socket(), 0..5).prop_map(Ok), net_error().prop_map(Err)])
            .prop_map(|(query, result)| NetEvent::Resolved { query: QueryId(query), result }),
        (listener(), endpoint()).prop_map(|(listener, address)| NetEvent::Listening { listener, address }),
        (listener(), net_error()).prop_map(|(listener, error)| NetEvent::ListenFailed { listener, error }),
        (listener(), link(), endpoint(), endpoint())
            .prop_map(|(listener, link, peer, local)| NetEvent::Accepted { listener, link, peer, local }),
        (listener(), link(), net_error()).prop_map(|(listener, link, error)| NetEvent::AcceptFailed {
            listener,
            link,
            error
        }),
        listener().prop_map(|listener| NetEvent::Unlistened { listener }),
        (link(), endpoint(), endpoint()).prop_map(|(link, peer, local)| NetEvent::Dialed {
            link,
            peer,
            local
        }),
        (link(), net_error()).prop_map(|(link, error)| NetEvent::DialFailed { link, error }),
        link().prop_map(|link| NetEvent::Sent { link }),
        (link(), data()).prop_map(|(link, data)| NetEvent::Received { link, data }),
        link().prop_map(|link| NetEvent::PeerClosed { link }),
        link().prop_map(|link| NetEvent::ShutdownDone { link }),
        (link(), net_error()).prop_map(|(link, error)| NetEvent::Broken { link, error }),
        link().prop_map(|link| NetEvent::Closed { link }),
    ]
}

fn file_error() -> impl Strategy<Value = FileError> {
    let kind = prop_oneof![
        Just(FileErrorKind::NotFound),
        Just(FileErrorKind::Busy),
        any::<i32>().prop_map(FileErrorKind::System)
    ];
    (kind, ".{0,30}").prop_map(|(kind, name)| FileError { kind, name })
}

fn disk() -> impl Strategy<Value = DiskEvent> {
    let hash = || any::<[u8; 32]>().prop_map(Hash);
    let aside = (".{0,9}", ".{0,9}").prop_map(|(own, name)| Aside { own, name });
    let beside = (vec(aside, 0..4), any::<u64>()).prop_map(|(first, count)| Beside { first, count });
    let done = prop_oneof![
        Just(DiskDone::Nothing),
        any::<[u64; 3]>().prop_map(|[stream_len, manifest_len, stamp]| DiskDone::Opened {
            stream_len,
            manifest_len,
            stamp
        }),
        beside.prop_map(|beside| DiskDone::Committed { beside }),
        (data(), hash()).prop_map(|(data, hash)| DiskDone::Block { data, hash }),
        hash().prop_map(|root| DiskDone::Root { root }),
        any::<u64>().prop_map(|blocks| DiskDone::Resumed { blocks }),
    ];
    let result = prop_oneof![done.prop_map(Ok), file_error().prop_map(Err)];
    (any::<u64>(), result).prop_map(|(op, result)| DiskEvent { op: OpId(op), result })
}

fn process() -> impl Strategy<Value = ProcessEvent> {
    let run = || any::<u64>().prop_map(RunId);
    let stream = || prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    let status =
        prop_oneof![any::<i32>().prop_map(ExitStatus::Code), any::<i32>().prop_map(ExitStatus::Signal)];
    let error = prop_oneof![Just(SpawnError::Late), any::<i32>().prop_map(SpawnError::System)];
    prop_oneof![
        run().prop_map(|run| ProcessEvent::Spawned { run }),
        (run(), error).prop_map(|(run, error)| ProcessEvent::SpawnFailed { run, error }),
        (run(), stream(), data()).prop_map(|(run, stream, data)| ProcessEvent::Output { run, stream, data }),
        (run(), stream()).prop_map(|(run, stream)| ProcessEvent::OutputEnded { run, stream }),
        run().prop_map(|run| ProcessEvent::InputTaken { run }),
        run().prop_map(|run| ProcessEvent::InputClosed { run }),
        (run(), status).prop_map(|(run, status)| ProcessEvent::Exited { run, status }),
    ]
}

fn spec() -> impl Strategy<Value = TaskSpec> {
    let bytes = || vec(any::<u8>(), 0..20);
    let input = (bytes(), bytes()).prop_map(|(path, name)| InputFile { path, name });
    let output = prop_oneof![
        Just(OutputFile::Changes),
        (bytes(), bytes()).prop_map(|(name, path)| OutputFile::Named { name, path })
    ];
    let need = (".{1,5}", proptest::option::of(".{0,5}")).prop_map(|(name, value)| Need { name, value });
    let time = || {
        proptest::option::of(
            any::<(u32, u32)>().prop_map(|(s, n)| Duration::new(s.into(), n % 1_000_000_000)),
        )
    };
    let files = (vec(bytes(), 1..5), vec((bytes(), bytes()), 0..3), vec(input, 0..4), vec(output, 0..4));
    let rest = (any::<bool>(), time(), time(), any::<Option<u32>>(), vec(need, 0..4));
    (files, rest).prop_map(|((argv, env, inputs, outputs), (stdin, timeout, patience, attempts, needs))| {
        TaskSpec {
            argv,
            env,
            inputs,
            outputs,
            stdin,
            timeout,
            patience,
            attempts,
            placement: Placement::Others,
            needs,
        }
    })
}

fn command() -> impl Strategy<Value = ExecutorCommand> {
    let task = || {
        (any::<[u8; 16]>(), any::<u64>())
            .prop_map(|(publisher, number)| TaskId { publisher: InstanceId(publisher), number })
    };
    prop_oneof![
        Just(ExecutorCommand::Start),
        (any::<u64>(), spec())
            .prop_map(|(token, spec)| ExecutorCommand::Publish { token: Token(token), spec }),
        (task(), data(), any::<bool>()).prop_map(|(task, data, last)| ExecutorCommand::Input {
            task,
            data,
            last
        }),
        (task(), any::<u32>(), any::<u64>()).prop_map(|(task, attempt, upto)| ExecutorCommand::OutputTaken {
            task,
            attempt: AttemptNumber(attempt.into()),
            stream: Stream::Stderr,
            upto
        }),
        task().prop_map(ExecutorCommand::Cancel),
        Just(ExecutorCommand::Shutdown),
    ]
}

fn executors() -> impl Strategy<Value = Event<ExecutorCommand>> {
    prop_oneof![
        Just(Event::Tick),
        net().prop_map(Event::Net),
        disk().prop_map(Event::Disk),
        process().prop_map(Event::Process),
        command().prop_map(Event::Command),
    ]
}

proptest! {
    #[test]
    fn an_executors_events_survive(event in executors()) {
        let bytes = event.to_bytes();
        prop_assert_eq!(Event::from_bytes(&bytes).unwrap(), event);
        prop_assert!(Event::<ExecutorCommand>::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        for cut in 0..bytes.len().min(200) {
            prop_assert!(Event::<ExecutorCommand>::from_bytes(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn a_registrys_commands_survive(at in socket()) {
        for event in [Event::Command(RegistryCommand::Listen(at)), Event::Command(RegistryCommand::Shutdown)] {
            prop_assert_eq!(Event::from_bytes(&event.to_bytes()).unwrap(), event);
        }
    }

    #[test]
    fn any_bytes_are_an_event_or_an_error(bytes in vec(any::<u8>(), 0..300), variant in 0..5_u8, inner in 0..20_u8) {
        let head = [variant, 0, 0, 0, inner, 0, 0, 0];
        for bytes in [&bytes[..], &[&head[..], &bytes].concat()] {
            if let Ok(event) = Event::<ExecutorCommand>::from_bytes(bytes) {
                prop_assert_eq!(event.to_bytes(), bytes);
            }
        }
    }
}

#[test]
fn a_whole_block_survives() {
    let data = Bytes::from(vec![0xa5; 4 << 20]);
    let event: Event<RegistryCommand> = Event::Net(NetEvent::Received { link: LinkId(3), data });
    assert_eq!(Event::from_bytes(&event.to_bytes()).unwrap(), event);
}
