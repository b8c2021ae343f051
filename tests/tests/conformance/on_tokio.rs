//! What every runtime owes, of the one on tokio.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::mpsc;
use xxnet_core::LinkId;
use xxnet_core::net::{NetAction, NetError, NetEvent};
use xxnet_tests::conformance::{Command, Kind, Notice, Real, Request, Running, Runtime, Subject};
use xxnet_tests::tokio_runtime;

/// A node on a thread of its own.
struct Node(Option<mpsc::Sender<Command>>, Option<JoinHandle<()>>);

pub(crate) fn start(subject: Subject, tell: Sender<Notice>) -> Box<dyn Running> {
    let (commands, waiting) = mpsc::channel(64);
    let thread = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(tokio_runtime::run(subject, waiting, |notice| _ = tell.send(notice)));
    });
    Box::new(Node(Some(commands), Some(thread)))
}

impl Running for Node {
    fn command(&mut self, command: Command) {
        if let Some(commands) = &self.0 {
            _ = commands.blocking_send(command);
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.0 = None;
        if let Some(thread) = self.1.take() {
            _ = thread.join();
        }
    }
}

xxnet_tests::for_each_scenario! { xxnet_tests::conformance_tests! [Real::new(start)] }

/// More than is owed, and as the runtime on mio does it: a peer that leaves in anger has often said why.
#[test]
fn what_a_peer_said_before_it_reset_the_link_is_still_heard() {
    let mut node = Real::new(start);
    node.start(Subject::new(Kind::Raw));
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    // Whether the reading or the writing side notices first is chance.
    for number in 1..=20 {
        let link = LinkId(number);
        let send = || NetAction::Send { link, buffers: vec!["more".into()] };
        let recv = || NetAction::Recv { link, max: 5 };
        ask(&mut node, &[NetAction::Dial { link, address: server.local_addr().unwrap().into() }]);
        assert!(matches!(hear(&mut node), NetEvent::Dialed { .. }));
        let (mut peer, _) = server.accept().unwrap();
        ask(&mut node, &[send()]);
        assert_eq!(hear(&mut node), NetEvent::Sent { link });
        peer.read_exact(&mut [0]).unwrap();
        peer.write_all(b"reason: no room").unwrap();
        // With bytes unread, this is a reset.
        drop(peer);
        ask(&mut node, &[send(), recv()]);
        let mut heard = Vec::new();
        loop {
            match hear(&mut node) {
                NetEvent::Sent { .. } => ask(&mut node, &[send()]),
                NetEvent::Received { data, .. } => {
                    heard.extend_from_slice(&data);
                    ask(&mut node, &[recv()]);
                }
                NetEvent::Broken { error: NetError::Reset, .. } => break,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(heard, b"reason: no room");
    }
}

fn ask(node: &mut impl Runtime, actions: &[NetAction]) {
    node.command(0, Command::Raw(actions.iter().cloned().map(Request::Net).collect()));
}

fn hear(node: &mut impl Runtime) -> NetEvent {
    match node.next(0, Duration::from_secs(20)) {
        Some(Notice::Net(event)) => event,
        other => panic!("{other:?}"),
    }
}
