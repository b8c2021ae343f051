//! The messenger's commands, one by one, without a network. With one it runs in the simulator.

use xxnet_core::messenger::{Messenger, MessengerCommand, MessengerError, MessengerNotice};
use xxnet_core::net::{Endpoint, NetAction, NetEvent};
use xxnet_core::{Action, Actions, ClusterKey, Config, Event, InstanceId, Instant, Machine, Token};

fn at() -> Endpoint {
    Endpoint::Ip(([10, 0, 0, 1], 7000).into())
}

struct Node {
    machine: Messenger,
    net: Vec<NetAction>,
    told: Vec<MessengerNotice>,
}

impl Node {
    fn new() -> Self {
        let config = Config::new(InstanceId([7; 16]), "node", ClusterKey([0; 32]), 1);
        Self { machine: Messenger::new(config), net: Vec::new(), told: Vec::new() }
    }

    fn step(&mut self, event: Event<MessengerCommand>) {
        let mut actions = Actions::new();
        self.machine.handle(Instant::from_micros(1), event, &mut actions);
        self.machine.check_invariants();
        for action in actions.drain() {
            match action {
                Action::Net(action) => self.net.push(action),
                Action::Notify(notice) => self.told.push(notice),
                Action::Disk(_) | Action::Process(_) => panic!("it has no business there"),
            }
        }
    }
}

#[test]
fn n2_a_listener_that_is_closed_before_it_is_open_is_answered() {
    let mut node = Node::new();
    let (token, address) = (Token(1), at());
    node.step(Event::Command(MessengerCommand::Listen { token, address: address.clone() }));
    let [NetAction::Listen { listener, .. }] = node.net[..] else { panic!("{:?}", node.net) };
    node.step(Event::Command(MessengerCommand::Unlisten { address: address.clone() }));
    node.step(Event::Net(NetEvent::Listening { listener, address: address.clone() }));
    node.step(Event::Net(NetEvent::Unlistened { listener }));
    let error = MessengerError::Unlistened;
    assert_eq!(node.told, [MessengerNotice::Rejected { token, error, pack: None }]);
    // The address can be listened on again.
    node.step(Event::Command(MessengerCommand::Listen { token: Token(2), address }));
    assert!(matches!(node.net.last(), Some(NetAction::Listen { .. })));
}

#[test]
fn n2_a_listener_that_is_open_is_closed_without_a_word() {
    let mut node = Node::new();
    let (token, address) = (Token(1), at());
    node.step(Event::Command(MessengerCommand::Listen { token, address: address.clone() }));
    let [NetAction::Listen { listener, .. }] = node.net[..] else { panic!("{:?}", node.net) };
    node.step(Event::Net(NetEvent::Listening { listener, address: address.clone() }));
    node.step(Event::Command(MessengerCommand::Unlisten { address: address.clone() }));
    node.step(Event::Net(NetEvent::Unlistened { listener }));
    assert_eq!(node.told, [MessengerNotice::Listening { token, address }]);
}
