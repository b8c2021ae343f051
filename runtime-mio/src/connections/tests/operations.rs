//! What may be asked of a connection, and when.

use super::*;

#[test]
fn k1_kinds_and_both_forms_of_create_through_the_face() {
    let mut manager = manager();
    let again = ConnectionKind::plain(MANY, LinkRule::Many, Role::Both);
    assert_eq!(manager.register(again), Err(ConnectionError::KindTaken(MANY)));
    let bad = ConnectionKind::plain(KindId(2000), LinkRule::OnePerPair, Role::Both);
    assert!(matches!(manager.register(bad), Err(ConnectionError::BadKind(_))));
    assert_eq!(manager.create(KindId(2000)), Err(ConnectionError::UnknownKind(KindId(2000))));
    assert_eq!(manager.create(ACCEPT_ONLY), Err(ConnectionError::WrongRole(ACCEPT_ONLY)));
    assert_eq!(manager.create_to(DOOR, any_port(), None), Err(ConnectionError::WrongRole(DOOR)));
    let much = Dict::from([("much", "x".repeat(5 << 20).into())]);
    let refused = manager.create_to(MANY, any_port(), much);
    assert!(matches!(refused, Err(ConnectionError::TooLarge { .. })), "{refused:?}");
    let (one, two) = (manager.create(MANY).unwrap(), manager.create_to(MANY, any_port(), None).unwrap());
    assert_ne!(one, two);
    assert_eq!((manager.state(one), manager.kind(two)), (Some(ConnectionState::Idle), Some(MANY)));
    assert_eq!(manager.update(Duration::ZERO, &mut ()).unwrap(), 0);
}

#[test]
fn k2_n2_listen_answers_at_once_and_says_why_not() {
    let mut manager = manager();
    let (door, at) = listening(&mut manager);
    assert_ne!(at.port(), 0);
    assert_eq!(manager.state(door), Some(ConnectionState::Listening));
    let refused = |answer: Result<Address, ListenError>| match answer {
        Err(ListenError::Refused(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(manager.listen(NOBODY, any_port())), ConnectionError::UnknownConnection(NOBODY));
    let talker = manager.create(MANY).unwrap();
    assert_eq!(refused(manager.listen(talker, any_port())), ConnectionError::WrongRole(MANY));
    let twice = manager.listen(door, any_port());
    assert_eq!(refused(twice), ConnectionError::WrongState(ConnectionState::Listening));
    let other = manager.create(DOOR).unwrap();
    assert_eq!(refused(manager.listen(other, at)), ConnectionError::AlreadyListening(at.into()));
    let name: Address = "localhost:0".parse().unwrap();
    assert_eq!(refused(manager.listen(other, name)), ConnectionError::NotASocketAddress);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let holder = TcpListener::bind(taken).unwrap();
    let by_the_system = manager.listen(other, taken);
    assert!(
        matches!(&by_the_system, Err(ListenError::System(at, NetError::AddressInUse)) if *at == taken.into()),
        "{by_the_system:?}"
    );
    // The connection is idle again, and may listen elsewhere or, later, there.
    drop(holder);
    assert_eq!(manager.listen(other, taken).unwrap(), taken.into());
    // After its close an address can be listened on again, by the same connection.
    manager.close(door).unwrap();
    let mut heard = Log::default();
    while heard.0.is_empty() {
        manager.update(PATIENCE, &mut heard).unwrap();
    }
    assert_eq!(heard.0, [Heard::Disconnect(door, DisconnectReason::Closed)]);
    assert_eq!(manager.listen(door, at).unwrap(), at.into());
}

#[test]
fn k3_connect_only_when_idle_through_the_face() {
    let mut both = Both::new(MANY);
    let (near, id) = (&mut both.near, both.id);
    let wrong = |state| Err(ConnectionError::WrongState(state));
    assert_eq!(near.connect(id), wrong(ConnectionState::Connected));
    assert_eq!(near.connect(NOBODY), Err(ConnectionError::UnknownConnection(NOBODY)));
    let fresh = near.create(MANY).unwrap();
    assert_eq!(near.connect(fresh), Err(ConnectionError::NoTarget));
    near.connect_to(fresh, both.at).unwrap();
    assert_eq!(near.connect(fresh), wrong(ConnectionState::Connecting));
    let (door, _) = listening(near);
    assert_eq!(near.connect_to(door, both.at), Err(ConnectionError::WrongRole(DOOR)));
    near.close(id).unwrap();
    assert_eq!(near.connect(id), wrong(ConnectionState::Closing));
    let far_id = both.far_id;
    assert_eq!(both.far.connect_to(far_id, both.at), wrong(ConnectionState::Connected), "an accepted one");
}

#[test]
fn k4_each_connect_is_answered_once_with_the_reason() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (mut near, mut far) = (manager(), manager());
    let (_, at) = listening(&mut far);
    let refused = near.create_to(MANY, free, None).unwrap();
    let named =
        near.create_to(MANY, format!("localhost:{}", at.port()).parse::<Address>().unwrap(), None).unwrap();
    let stranger = near.create_to(MANY, at, None).unwrap();
    near.connect(refused).unwrap();
    near.connect(named).unwrap();
    near.connect_expecting(stranger, InstanceId([9; 16])).unwrap();
    let (mut heard, mut heard_far) = (Log::default(), Log::default());
    drive((&mut near, &mut heard), (&mut far, &mut heard_far), |near, _| near.0.len() >= 3);
    assert!(heard.0.contains(&Heard::Disconnect(refused, DisconnectReason::Net(NetError::Refused))));
    assert!(heard.0.contains(&Heard::Connect(named)));
    let other = DisconnectReason::OtherInstance(far.instance());
    assert!(heard.0.contains(&Heard::Disconnect(stranger, other)), "{:?}", heard.0);
    assert_eq!(heard.0.len(), 3);
    assert_eq!(near.state(refused), Some(ConnectionState::Idle), "and may try again");
}

#[test]
fn k5_send_only_while_connected_and_nothing_of_the_links_own() {
    let mut both = Both::new(MANY);
    let idle = both.near.create(MANY).unwrap();
    let wrong = |state| Err(ConnectionError::WrongState(state));
    let hello = || b"hello".as_slice();
    assert_eq!(both.near.send(idle, hello()), wrong(ConnectionState::Idle));
    assert_eq!(both.near.send(NOBODY, hello()), Err(ConnectionError::UnknownConnection(NOBODY)));
    for reserved in 0..16 {
        let pack = DataPack::new(PackType(reserved), Vec::new());
        let refused = both.near.send_pack(both.id, pack);
        assert_eq!(refused, Err(ConnectionError::ReservedPackType(PackType(reserved))));
    }
    let much = both.near.send(both.id, vec![0; 5 << 20]);
    assert!(matches!(much, Err(ConnectionError::TooLarge { .. })), "{much:?}");
    // None of these was half sent.
    assert_eq!(both.near.send(both.id, hello()), Ok(0));
    assert_eq!(both.near.send(both.id, Dict::from([("n", 1.into())])), Ok(0));
    assert_eq!(both.near.send_pack(both.id, DataPack::new(PackType(99), b"own".to_vec())), Ok(0));
    both.near.close(both.id).unwrap();
    assert_eq!(both.near.send(both.id, hello()), wrong(ConnectionState::Closing));
    both.until(|near, far| ended(near) && ended(far));
    assert_eq!(both.near.send(both.id, hello()), wrong(ConnectionState::Idle));
    let far_id = both.far_id;
    assert_eq!(both.far.send(far_id, hello()), Err(ConnectionError::UnknownConnection(far_id)));
    let [Heard::Receive(_, raw), Heard::Receive(_, dict), Heard::Receive(_, own), Heard::Disconnect(..)] =
        &both.heard_far.0[..]
    else {
        panic!("{:?}", both.heard_far.0)
    };
    assert_eq!((&raw.bytes()[..], raw.is_dict(), raw.on()), (&b"hello"[..], false, far_id));
    assert_eq!(dict.dict().unwrap().get("n"), Some(&1.into()));
    assert_eq!(raw.clone().into_payload().unwrap(), Payload::Raw(b"hello".as_slice().into()));
    assert_eq!(own.clone().into_pack().pack_type, PackType(99));
}

/// A connection in each of its states, and what must live so that it stays in it.
fn in_state(
    state: ConnectionState,
) -> (ConnectionManager, ConnectionId, Vec<TcpListener>, Option<ConnectionManager>) {
    let mut manager = manager();
    match state {
        ConnectionState::Idle => {
            let id = manager.create_to(MANY, any_port(), None).unwrap();
            (manager, id, vec![], None)
        }
        ConnectionState::Connecting => {
            let silent = TcpListener::bind("127.0.0.1:0").unwrap();
            let id = manager.create_to(MANY, silent.local_addr().unwrap(), None).unwrap();
            manager.connect(id).unwrap();
            (manager, id, vec![silent], None)
        }
        ConnectionState::Connected | ConnectionState::Closing => {
            let Both { mut near, far, id, .. } = Both::new(MANY);
            if state == ConnectionState::Closing {
                near.close(id).unwrap();
            }
            (near, id, vec![], Some(far))
        }
        ConnectionState::Listening => {
            let (id, _) = listening(&mut manager);
            (manager, id, vec![], None)
        }
    }
}

#[test]
fn k2_k3_k5_k6_the_guides_table_of_operations_and_states() {
    use ConnectionState as S;
    type Operation = fn(&mut ConnectionManager, ConnectionId) -> Result<(), ConnectionError>;
    let listen: Operation = |manager, id| match manager.listen(id, any_port()) {
        Ok(_) => Ok(()),
        Err(ListenError::Refused(error)) => Err(error),
        Err(error) => panic!("{error}"),
    };
    let (role, door) = (Err(ConnectionError::WrongRole(MANY)), Err(ConnectionError::WrongRole(DOOR)));
    let wrong = |state| Err(ConnectionError::WrongState(state));
    let up = |state| if state == S::Connected { Ok(()) } else { wrong(state) };
    for state in [S::Idle, S::Connecting, S::Connected, S::Listening, S::Closing] {
        let only_idle = match state {
            S::Idle => Ok(()),
            S::Listening => door.clone(),
            S::Connecting | S::Connected | S::Closing => wrong(state),
        };
        let table: [(&str, Operation, Result<(), ConnectionError>); 9] = [
            ("listen", listen, if state == S::Listening { wrong(state) } else { role.clone() }),
            ("connect", |manager, id| manager.connect(id), only_idle.clone()),
            ("connect_to", |manager, id| manager.connect_to(id, any_port()), only_idle),
            ("send", |manager, id| manager.send(id, numbered(1)).map(drop), up(state)),
            ("ping", |manager, id| manager.ping(id), up(state)),
            ("pause", |manager, id| manager.pause(id), up(state)),
            ("resume", |manager, id| manager.resume(id), up(state)),
            ("close", |manager, id| manager.close(id), Ok(())),
            ("discard", |manager, id| manager.discard(id), Ok(())),
        ];
        for (name, operation, expected) in table {
            let (mut manager, id, _held, _far) = in_state(state);
            assert_eq!(manager.state(id), Some(state));
            assert_eq!(operation(&mut manager, id), expected, "{name} while {state:?}");
            if expected.is_err() {
                assert_eq!(manager.state(id), Some(state), "{name} has changed nothing");
            }
        }
    }
    // A kind that listens, idle and closing.
    let mut manager = manager();
    let (listener, at) = listening(&mut manager);
    manager.close(listener).unwrap();
    assert_eq!(listen(&mut manager, listener), wrong(S::Closing));
    let idle = manager.create(DOOR).unwrap();
    assert_eq!((manager.connect_to(idle, at), listen(&mut manager, idle)), (door, Ok(())));
}
