//! K12: no descriptors are left. In a file of its own, because the limit is the whole process's.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use xxnet_core::connection::*;
use xxnet_core::net::NetError;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Address, ClusterKey, Config, ConnectionId, InstanceId, Token};
use xxnet_runtime_mio::{Driver, Flow, Handle, Options};

const KIND: KindId = KindId(1024);
const LISTENER: KindId = KindId(1025);
const TOKEN: Token = Token(1);
const PATIENCE: Duration = Duration::from_secs(30);

type Told = mpsc::Receiver<ConnectionNotice>;

/// A node on a thread of its own, that ends with the process.
fn node(number: u8) -> (Handle<ConnectionCommand>, Told) {
    let config = Config::new(InstanceId([number; 16]), "node", ClusterKey([5; 32]), u64::from(number));
    let mut driver = Driver::new(Connections::new(&config), Options::default()).unwrap();
    let (handle, (tell, told)) = (driver.handle(), mpsc::channel());
    thread::spawn(move || {
        driver.run(|notice, _| if tell.send(notice).is_ok() { Flow::Continue } else { Flow::Stop }).unwrap();
    });
    for (id, role) in [(KIND, Role::Both), (LISTENER, Role::Listen)] {
        let kind = ConnectionKind::plain(id, LinkRule::Many, role);
        handle.send(ConnectionCommand::Register { token: TOKEN, kind }).unwrap();
    }
    (handle, told)
}

fn create(node: &Handle<ConnectionCommand>, told: &Told, kind: KindId) -> ConnectionId {
    node.send(ConnectionCommand::Create { token: TOKEN, kind }).unwrap();
    let ConnectionNotice::Created { id, .. } = told.recv_timeout(PATIENCE).unwrap() else { panic!() };
    id
}

fn event(told: &Told) -> ConnectionEvent {
    match told.recv_timeout(PATIENCE).unwrap() {
        ConnectionNotice::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

fn connect(node: &Handle<ConnectionCommand>, id: ConnectionId, to: &Address) {
    let target = Some(to.clone());
    node.send(ConnectionCommand::Connect { token: TOKEN, id, target, expect: None }).unwrap();
}

#[test]
fn k12_without_descriptors_connections_live_on_and_accepting_resumes() {
    let (server, server_told) = node(1);
    let (client, client_told) = node(2);
    let listener = create(&server, &server_told, LISTENER);
    let address = "127.0.0.1:0".parse().unwrap();
    server.send(ConnectionCommand::Listen { token: TOKEN, id: listener, address }).unwrap();
    let ConnectionEvent::Listening { address: at, .. } = event(&server_told) else { panic!() };
    let at = at.socket().unwrap();
    let to = Address::Socket(at);
    let old = create(&client, &client_told, KIND);
    connect(&client, old, &to);
    assert!(matches!(event(&client_told), ConnectionEvent::Connected { .. }));
    let ConnectionEvent::Accepted { id: accepted, .. } = event(&server_told) else { panic!() };

    // Few are allowed, and all of them are taken but one, which a caller gets.
    let limit = libc::rlimit { rlim_cur: 128, rlim_max: 128 };
    // SAFETY: passes a struct of its own; only lowers this process's limit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0);
    let mut held = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        held.push(file);
        assert!(held.len() <= 128);
    }
    held.pop();
    let mut caller = TcpStream::connect(at).unwrap();
    let error = NetError::Exhausted;
    assert_eq!(event(&server_told), ConnectionEvent::AcceptFailing { listener, error });

    // The connection that is there lives on, also past a few more tries; they are not told again.
    for n in 0..5 {
        let pack = DataPack::new(PackType::RAW, vec![n]);
        client.send(ConnectionCommand::SendPack { token: TOKEN, id: old, pack: pack.clone() }).unwrap();
        assert_eq!(event(&server_told), ConnectionEvent::Received { id: accepted, pack });
        assert!(server_told.recv_timeout(Duration::from_millis(100)).is_err());
    }

    // Accepting resumes by itself: first with the caller that waited, who is a stranger.
    drop(held);
    caller.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let ConnectionEvent::TurnedAway { reason, .. } = event(&server_told) else { panic!() };
    assert_eq!(reason, DisconnectReason::NotOurProtocol { hint: "HTTP" });
    let new = create(&client, &client_told, KIND);
    connect(&client, new, &to);
    assert!(matches!(event(&client_told), ConnectionEvent::Connected { id, .. } if id == new));
    assert!(matches!(event(&server_told), ConnectionEvent::Accepted { .. }));
}
