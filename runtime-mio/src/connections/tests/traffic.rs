//! What passes on a connection: over breaks, held back by who takes it, throttled by who reads it.

use super::*;

/// Passes links on to an address, until they are cut.
struct Relay {
    at: SocketAddr,
    links: Arc<Mutex<Vec<TcpStream>>>,
}

impl Relay {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let links: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let kept = Arc::clone(&links);
        std::thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(to).unwrap());
                // First, so that whatever has passed can be cut.
                kept.lock().unwrap().extend([near.try_clone().unwrap(), far.try_clone().unwrap()]);
                for (from, into) in [(&near, &far), (&far, &near)] {
                    let (mut from, mut into) = (from.try_clone().unwrap(), into.try_clone().unwrap());
                    std::thread::spawn(move || io::copy(&mut from, &mut into));
                }
            }
        });
        Self { at, links }
    }

    /// Both ends of each link hear of it.
    fn cut(&self) {
        self.links.lock().unwrap().drain(..).for_each(|link| _ = link.shutdown(std::net::Shutdown::Both));
    }
}

#[test]
fn n4_a_session_goes_on_by_itself_when_its_link_is_cut() {
    let (mut near, mut far) = (manager(), manager());
    let (_, at) = listening(&mut far);
    let relay = Relay::start(at);
    let id = near.create_to(PAIR, relay.at, None).unwrap();
    near.connect(id).unwrap();
    let (mut heard, mut heard_far) = (Log::default(), Log::default());
    drive((&mut near, &mut heard), (&mut far, &mut heard_far), |near, far| near.0.len() + far.0.len() == 2);
    let far_id = match heard_far.0[..] {
        [Heard::Accept(far_id, _)] => far_id,
        ref other => panic!("{other:?}"),
    };
    for round in 0..3 {
        (0..50).for_each(|n| _ = near.send(id, numbered(round * 100 + n)).unwrap());
        relay.cut();
        (50..100).for_each(|n| _ = near.send(id, numbered(round * 100 + n)).unwrap());
        let told = |heard: &Log, what: &Heard| heard.0.iter().filter(|heard| *heard == what).count() as u64;
        drive((&mut near, &mut heard), (&mut far, &mut heard_far), |near, far| {
            numbers(&far.0).len() as u64 == (round + 1) * 100
                && told(near, &Heard::Resumed(id)) == round + 1
                && told(far, &Heard::Resumed(far_id)) == round + 1
        });
        assert_eq!(told(&heard, &Heard::Interrupted(id)), round + 1);
        assert_eq!(told(&heard_far, &Heard::Interrupted(far_id)), round + 1);
        // All the while it was connected, whatever its links did.
        assert_eq!([near.state(id), far.state(far_id)], [Some(ConnectionState::Connected); 2]);
    }
    assert!(numbers(&heard_far.0).into_iter().eq(0..300), "each once and in order");
    assert!(!ended(&heard.0) && !ended(&heard_far.0));
    assert_eq!(near.statistics(id).unwrap().breaks, 3);
}

#[test]
fn what_is_held_is_acknowledged_when_it_is_taken() {
    #[derive(Default)]
    struct Holder {
        held: Vec<Held>,
        received: u64,
    }
    impl Handler for Holder {
        fn on_receive(&mut self, connections: &mut ConnectionManager, _: ConnectionId, message: Message) {
            self.received += 1;
            if [2, 4].contains(&message.sequence()) {
                self.held.push(connections.hold(message));
            }
        }
    }
    let mut both = Both::new(PAIR);
    for n in 1..=6 {
        assert_eq!(both.near.send(both.id, numbered(n)), Ok(n), "what will be acknowledged");
    }
    let mut holder = Holder::default();
    let id = both.id;
    let acknowledged = |heard: &Log, sequence| heard.0.contains(&Heard::Acknowledged(id, sequence));
    drive((&mut both.near, &mut both.heard), (&mut both.far, &mut holder), |near, holder| {
        holder.received == 6 && acknowledged(near, 1)
    });
    let two = holder.held.remove(0);
    assert_eq!((number(&two), two.sequence()), (2, 2));
    // Out of order: what is held before it holds it back.
    let four = holder.held.remove(0);
    assert_eq!(number(&both.far.take(four)), 4);
    for _ in 0..20 {
        both.near.update(Duration::from_millis(1), &mut both.heard).unwrap();
        both.far.update(Duration::from_millis(1), &mut holder).unwrap();
    }
    assert_eq!(both.heard.0, [Heard::Acknowledged(id, 1)]);
    both.far.take(two);
    drive((&mut both.near, &mut both.heard), (&mut both.far, &mut holder), |near, _| acknowledged(near, 6));
    assert_eq!(both.near.send(both.id, numbered(7)), Ok(7));
}

#[test]
fn n4_what_is_closed_upon_was_taken() {
    let mut both = Both::new(PAIR);
    both.far.send(both.far_id, numbered(1)).unwrap();
    // Nothing of its own is under way: its goodbye leaves before on_receive has returned.
    let mut near = Inside::new("on_receive", |connections: &mut ConnectionManager, id| {
        connections.close(id).unwrap();
    });
    drive((&mut both.near, &mut near), (&mut both.far, &mut both.heard_far), |near, far| {
        ended(&near.log.0) && ended(&far.0)
    });
    let closed = Heard::Disconnect(both.far_id, DisconnectReason::ClosedByPeer);
    assert_eq!(both.heard_far.0, [Heard::Acknowledged(both.far_id, 1), closed]);
}

#[test]
fn what_is_held_beyond_its_session_says_nothing_to_the_next() {
    struct Holder(Vec<Held>);
    impl Handler for Holder {
        fn on_receive(&mut self, connections: &mut ConnectionManager, _: ConnectionId, message: Message) {
            self.0.push(connections.hold(message));
        }
    }
    let close_soon = |options: &mut ManagerOptions| options.limits.close = Duration::from_millis(50);
    let mut both = Both::with(PAIR, close_soon);
    // The dialler holds: its connection keeps its id from one session to the next.
    both.far.send(both.far_id, numbered(1)).unwrap();
    let mut holder = Holder(vec![]);
    drive((&mut both.near, &mut holder), (&mut both.far, &mut both.heard_far), |holder, _| {
        holder.0.len() == 1
    });
    both.near.close(both.id).unwrap();
    both.until(|near, far| ended(near) && ended(far));
    assert!(both.heard_far.0.iter().any(|heard| matches!(heard, Heard::Undelivered(_, messages)
        if messages.iter().map(number).eq([1]))));
    both.clear();
    both.near.connect(both.id).unwrap();
    both.until(|near, far| !near.is_empty() && !far.is_empty());
    let Heard::Accept(again, _) = both.heard_far.0[0] else { panic!("{:?}", both.heard_far.0) };
    both.far.send(again, numbered(10)).unwrap();
    drive((&mut both.near, &mut holder), (&mut both.far, &mut both.heard_far), |holder, _| {
        holder.0.len() == 2
    });
    // The old one has the same sequence as the new one, and is no word about it.
    both.near.take(holder.0.remove(0));
    for _ in 0..20 {
        both.near.update(Duration::from_millis(1), &mut holder).unwrap();
        both.far.update(Duration::from_millis(1), &mut both.heard_far).unwrap();
    }
    assert!(!both.heard_far.0.contains(&Heard::Acknowledged(again, 1)));
    both.near.take(holder.0.remove(0));
    both.until(|_, far| far.contains(&Heard::Acknowledged(again, 1)));
}

#[test]
fn n8_a_session_whose_peer_takes_nothing_says_full_and_then_writable() {
    let small = |options: &mut ManagerOptions| {
        options.limits.session_window = 32 << 10;
        options.limits.high_water = 64 << 10;
        options.limits.session_queue = 128 << 10;
    };
    let mut both = Both::with(PAIR, small);
    let mut sent = 0;
    let message = |n: u64| [numbered(n), vec![0; 1000]].concat();
    while both.near.send(both.id, message(sent)).is_ok() {
        sent += 1;
    }
    assert_eq!(both.near.send(both.id, message(sent)), Err(ConnectionError::QueueFull));
    assert!(!both.near.writable(both.id));
    let id = both.id;
    both.until(|near, far| near.contains(&Heard::Writable(id)) && numbers(far).len() as u64 == sent);
    assert!(numbers(&both.heard_far.0).into_iter().eq(0..sent));
    assert!(both.near.writable(id));
    assert!(both.near.send(id, message(sent)).is_ok());
}

#[test]
fn n8_a_plain_connection_can_be_paused_and_an_unread_one_ends() {
    let mut both = Both::new(MANY);
    both.far.pause(both.far_id).unwrap();
    let much = vec![0; 1 << 20];
    let full = loop {
        match both.near.send(both.id, much.clone()) {
            Ok(_) => both.far.update(Duration::ZERO, &mut both.heard_far).map(drop).unwrap(),
            Err(error) => break error,
        }
    };
    assert_eq!(full, ConnectionError::OutboxFull);
    both.until(|near, _| ended(near));
    assert_eq!(both.heard.0.last(), Some(&Heard::Disconnect(both.id, DisconnectReason::SlowPeer)));
    // One that is read again gets all of it.
    let mut both = Both::new(MANY);
    both.far.pause(both.far_id).unwrap();
    for n in 0..10 {
        both.near.send(both.id, [numbered(n), vec![0; 1 << 20]].concat()).unwrap();
    }
    both.far.resume(both.far_id).unwrap();
    both.until(|_, far| numbers(far).len() == 10);
    assert!(numbers(&both.heard_far.0).into_iter().eq(0..10));
    let idle = both.near.create(MANY).unwrap();
    let wrong = Err(ConnectionError::WrongState(ConnectionState::Idle));
    assert_eq!(
        (both.near.pause(idle), both.near.resume(idle), both.near.ping(idle)),
        (wrong.clone(), wrong.clone(), wrong)
    );
    both.near.ping(both.id).unwrap();
    let id = both.id;
    both.until(|near, _| near.contains(&Heard::Pong(id)));
    let now = both.near.statistics(id).unwrap();
    assert!(now.links == 1 && now.traffic.sent.bytes > 10 << 20 && now.round_trip.is_some(), "{now:?}");
    assert_eq!(
        (both.near.statistics(idle), both.near.statistics(NOBODY)),
        (Some(Statistics::default()), None)
    );
}
