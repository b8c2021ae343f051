//! One target a machine: what it is made of, what its application asks.

use super::peer::{PLAIN, SESSION, address};
use super::source::Source;
use super::stage::{self, Subject, play};
use super::words;
use bytes::Bytes;
use std::collections::BTreeSet;
use std::time::Duration;
use xxnet_core::client::{Client, ClientCommand};
use xxnet_core::connection::{ConnectionCommand, ConnectionKind, Connections, KindId, LinkRule, Role};
use xxnet_core::executor::{Executor, ExecutorCommand, InputFile, OutputFile, TaskSpec};
use xxnet_core::message::Placement;
use xxnet_core::messenger::{Messenger, MessengerCommand};
use xxnet_core::net::Endpoint;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::process::Stream;
use xxnet_core::registry::{Registry, RegistryCommand};
use xxnet_core::{Address, AttemptNumber, Config, ConnectionId, Dict, ExecutorConfig, Token};

/// Connections: links of plain kinds and sessions, against hostile streams and peers.
pub fn connections(data: &[u8]) {
    play::<Connections>(data);
}

/// The messenger.
pub fn messenger(data: &[u8]) {
    play::<Messenger>(data);
}

/// The registry.
pub fn registry(data: &[u8]) {
    play::<Registry>(data);
}

/// The executor, as publisher and as assignee.
pub fn executor(data: &[u8]) {
    play::<Executor>(data);
}

/// The client.
pub fn client(data: &[u8]) {
    play::<Client>(data);
}

/// What a machine's story makes it ask and tell, by name; nothing for the decoders, which have no story.
pub fn marks(target: &str, data: &[u8]) -> BTreeSet<String> {
    match target {
        "connections" => stage::marks::<Connections>(data),
        "messenger" => stage::marks::<Messenger>(data),
        "registry" => stage::marks::<Registry>(data),
        "executor" => stage::marks::<Executor>(data),
        "client" => stage::marks::<Client>(data),
        _ => BTreeSet::new(),
    }
}

/// Where the machine listens.
fn home() -> std::net::SocketAddr {
    ([10, 0, 0, 1], 7000).into()
}

fn target(source: &mut Source<'_>) -> Address {
    match source.below(8) {
        0 => Address::Name("host".into(), 7000),
        1 => Address::Socket(home()),
        2 => Address::Unix("#1".into()),
        3 => Address::Unix("/tmp/x".into()),
        peer => address((peer - 4) % 3).into(),
    }
}

fn pack(source: &mut Source<'_>) -> DataPack {
    let kind = PackType(u16::from(source.one(&[16, 17, 17, 3, 99_u8])));
    let len = source.one(&[0, 1, 40, 2_000, 20_000]);
    let mut pack = DataPack::new(kind, vec![1; len]);
    if source.rarely(8) {
        pack.bulk.push(Bytes::from_static(b"bulk"));
    }
    pack
}

impl Subject for Connections {
    const KINDS: &'static [KindId] = &[PLAIN, SESSION, KindId::MESSAGES, KindId::PROBE];

    fn new(config: Config) -> Self {
        Self::new(&config)
    }

    fn opening() -> Vec<ConnectionCommand> {
        let token = Token(0);
        let kinds = [
            ConnectionKind::plain(KindId(6), LinkRule::Many, Role::Listen),
            ConnectionKind::plain(PLAIN, LinkRule::OnePerDialler, Role::Both),
            ConnectionKind::session(SESSION, LinkRule::OnePerDialler, Role::Both),
            ConnectionKind::session(KindId::MESSAGES, LinkRule::OnePerPair, Role::Both),
        ];
        let mut all: Vec<_> =
            kinds.into_iter().map(|kind| ConnectionCommand::Register { token, kind }).collect();
        all.push(ConnectionCommand::Create { token, kind: KindId(6) });
        all.push(ConnectionCommand::Listen { token, id: ConnectionId(1), address: home().into() });
        all
    }

    fn command(source: &mut Source<'_>) -> ConnectionCommand {
        let (token, id) = (Token(0), ConnectionId(source.number()));
        let kind = source.one(&[PLAIN, SESSION, KindId::MESSAGES, KindId(6), KindId(9)]);
        match source.below(16) {
            0 => ConnectionCommand::Create { token, kind },
            1 | 2 => {
                let data = source.rarely(2).then(Dict::new);
                ConnectionCommand::CreateTo { token, kind, target: target(source), data }
            }
            3 | 4 => {
                let target = source.rarely(3).then(|| target(source));
                let expect = source.rarely(4).then(|| words::node(source));
                ConnectionCommand::Connect { token, id, target, expect }
            }
            5 => ConnectionCommand::Listen { token, id, address: target(source) },
            6 | 7 => ConnectionCommand::SendPack { token, id, pack: pack(source) },
            8 => ConnectionCommand::Taken { id, sequence: source.number() },
            9 => ConnectionCommand::Ping { token, id },
            10 => ConnectionCommand::Pause { id },
            11 => ConnectionCommand::Resume { id },
            12 => ConnectionCommand::Close { token, id },
            13 => ConnectionCommand::Discard { id },
            14 => ConnectionCommand::Admit { admits: source.rarely(2) },
            _ => ConnectionCommand::Advertise { address: Some(target(source)) },
        }
    }

    fn closing() -> Option<ConnectionCommand> {
        Some(ConnectionCommand::Destroy)
    }

    fn census(&self) -> [usize; 4] {
        self.manager().census()
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        self.manager().unfinished()
    }
}

impl Subject for Messenger {
    const KINDS: &'static [KindId] = &[KindId::MESSAGES];

    fn new(config: Config) -> Self {
        Self::new(config)
    }

    fn opening() -> Vec<MessengerCommand> {
        vec![MessengerCommand::Listen { token: Token(0), address: Endpoint::Ip(home()) }]
    }

    fn command(source: &mut Source<'_>) -> MessengerCommand {
        let token = Token(source.number());
        match source.below(14) {
            0 => MessengerCommand::Listen { token, address: Endpoint::Ip(home()) },
            1 => MessengerCommand::Unlisten { address: Endpoint::Ip(home()) },
            2 | 3 => MessengerCommand::Open { token, to: target(source) },
            4 => MessengerCommand::Forget { token },
            5..=7 => {
                let packs = (0..source.below(4)).map(|_| pack(source)).collect();
                MessengerCommand::Send { token, packs }
            }
            8 => MessengerCommand::Admit { admits: source.rarely(2) },
            9 => MessengerCommand::Mark { token },
            10 | 11 => {
                MessengerCommand::Taken { on: ConnectionId(source.number()), sequence: source.number() }
            }
            12 => MessengerCommand::Look { token, at: source.rarely(2).then(|| target(source)) },
            _ => MessengerCommand::Disconnect { to: target(source) },
        }
    }

    fn closing() -> Option<MessengerCommand> {
        Some(MessengerCommand::Shutdown { drain: Duration::from_secs(2) })
    }

    fn census(&self) -> [usize; 4] {
        self.connections().census()
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        self.unfinished()
    }
}

impl Subject for Registry {
    const KINDS: &'static [KindId] = &[KindId::REGISTRATION, KindId::REGISTRATION, KindId::QUERY];

    fn new(config: Config) -> Self {
        Self::new(config)
    }

    fn opening() -> Vec<RegistryCommand> {
        vec![RegistryCommand::Listen(home())]
    }

    fn command(_: &mut Source<'_>) -> RegistryCommand {
        RegistryCommand::Listen(home())
    }

    fn closing() -> Option<RegistryCommand> {
        Some(RegistryCommand::Shutdown)
    }

    fn census(&self) -> [usize; 4] {
        self.census()
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        self.unfinished()
    }
}

impl Subject for Executor {
    const KINDS: &'static [KindId] = &[KindId::TASK, KindId::FILE, KindId::TASK, KindId::PROBE];

    fn new(config: Config) -> Self {
        let settings = ExecutorConfig {
            registries: vec![address(0).into(), Address::Name("host".into(), 7000)],
            listen: home(),
            advertise: None,
            slots: 2,
            client: false,
            labels: vec![("gpu".into(), String::new())],
            lease_only: false,
        };
        Self::new(config, settings)
    }

    fn opening() -> Vec<ExecutorCommand> {
        vec![ExecutorCommand::Start]
    }

    fn command(source: &mut Source<'_>) -> ExecutorCommand {
        let task = words::task(source);
        match source.below(8) {
            0 => ExecutorCommand::Start,
            1..=3 => ExecutorCommand::Publish { token: Token(source.number()), spec: task_spec(source) },
            4 | 5 => {
                let data = Bytes::copy_from_slice(source.bytes(60));
                ExecutorCommand::Input { task, data, last: source.rarely(3) }
            }
            6 => ExecutorCommand::OutputTaken {
                task,
                attempt: AttemptNumber(source.number()),
                stream: Stream::Stdout,
                upto: source.number(),
            },
            _ => ExecutorCommand::Cancel(task),
        }
    }

    fn closing() -> Option<ExecutorCommand> {
        Some(ExecutorCommand::Shutdown)
    }

    fn census(&self) -> [usize; 4] {
        self.census()
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        self.unfinished()
    }
}

fn task_spec(source: &mut Source<'_>) -> TaskSpec {
    let name = |source: &mut Source<'_>| source.one(&[&b"a"[..], b"b", b".", b"../x", b""]).to_vec();
    TaskSpec {
        argv: (0..2 - usize::from(source.rarely(8)) * 2).map(|_| b"true".to_vec()).collect(),
        env: vec![],
        inputs: (0..source.below(3))
            .map(|_| InputFile { path: b"/data".to_vec(), name: name(source) })
            .collect(),
        outputs: (0..source.below(3))
            .map(|_| match source.below(4) {
                0 => OutputFile::Changes,
                _ => OutputFile::Named { name: name(source), path: b"/out".to_vec() },
            })
            .collect(),
        stdin: source.rarely(2),
        timeout: None,
        patience: source.rarely(4).then(|| words::pause(source)),
        attempts: source.rarely(4).then(|| source.number() as u32),
        placement: source.one(&[Placement::Others, Placement::Anyone, Placement::Publisher]),
        needs: words::needs(source),
    }
}

impl Subject for Client {
    const KINDS: &'static [KindId] = &[KindId::QUERY];

    fn new(config: Config) -> Self {
        Self::new(config)
    }

    fn opening() -> Vec<ClientCommand> {
        vec![]
    }

    fn command(source: &mut Source<'_>) -> ClientCommand {
        ClientCommand::Ask { registry: target(source), question: words::question(source) }
    }

    fn closing() -> Option<ClientCommand> {
        None
    }

    fn census(&self) -> [usize; 4] {
        self.census()
    }

    fn unfinished(&self) -> Vec<(&'static str, usize)> {
        vec![]
    }
}
