//! Who dials us: announced once, or turned away.

use super::*;

#[test]
fn k8_accepted_ones_are_announced_once_and_outlive_their_listener() {
    let mut both = Both::new(MANY);
    let second = both.near.create_to(ACCEPT_ONLY, both.at, None);
    assert_eq!(second, Err(ConnectionError::WrongRole(ACCEPT_ONLY)));
    let second = both.near.create_to(ONE, both.at, None).unwrap();
    both.near.connect(second).unwrap();
    both.until(|_, far| !far.is_empty());
    let Heard::Accept(far_second, door) = both.heard_far.0[0] else { panic!("{:?}", both.heard_far.0) };
    assert_eq!(both.far.kind(far_second), Some(ONE), "of the kind that the dialler named");
    both.far.close(door).unwrap();
    both.until(|_, far| ended(far));
    both.clear();
    both.near.send(both.id, numbered(1)).unwrap();
    both.near.send(second, numbered(2)).unwrap();
    both.until(|_, far| far.len() >= 2);
    assert_eq!(both.heard_far.0.len(), 2);
    // Nobody else is accepted, and nobody is turned away at the door of a kind that is only dialled.
    let third = both.near.create_to(MANY, both.at, None).unwrap();
    both.near.connect(third).unwrap();
    both.until(|near, _| ended(near));
    assert_eq!(both.heard.0, [Heard::Disconnect(third, DisconnectReason::Net(NetError::Refused))]);
}

#[test]
fn k8_who_is_turned_away_hears_why() {
    let (mut near, mut far) = (manager(), manager());
    let (_, at) = listening(&mut far);
    let mut other = manager_with(|options| options.key = ClusterKey([4; 32]));
    let (mut heard, mut heard_far) = (Log::default(), Log::default());
    let id = other.create_to(MANY, at, None).unwrap();
    other.connect(id).unwrap();
    drive((&mut other, &mut heard), (&mut far, &mut heard_far), |near, far| {
        ended(&near.0) && far.0.len() == 1
    });
    assert_eq!(heard.0, [Heard::Disconnect(id, DisconnectReason::WrongKey)]);
    assert_eq!(heard_far.0, [Heard::TurnedAway(DisconnectReason::WrongKey)]);
    // The other end only dials it too.
    let id = near.create_to(DIAL_ONLY, at, None).unwrap();
    near.connect(id).unwrap();
    heard.0.clear();
    drive((&mut near, &mut heard), (&mut far, &mut heard_far), |near, far| {
        ended(&near.0) && far.0.len() == 2
    });
    assert_eq!(heard.0, [Heard::Disconnect(id, DisconnectReason::KindRefused)]);
}

#[test]
fn k8_one_batch_with_an_accept_a_message_and_the_end_is_whole() {
    let (mut near, mut far) = (manager(), manager());
    let (_, at) = listening(&mut far);
    let id = near.create_to(MANY, at, Dict::from([("n", 1.into())])).unwrap();
    near.connect(id).unwrap();
    let mut client = Inside::new("on_connect", |connections: &mut ConnectionManager, id| {
        connections.close(id).unwrap();
    });
    let mut heard = Log::default();
    drive((&mut near, &mut client), (&mut far, &mut heard), |_, far| ended(&far.0));
    assert!(
        matches!(heard.0[..], [Heard::Accept(a, _), Heard::Receive(b, _), Heard::Disconnect(c, DisconnectReason::ClosedByPeer)]
            if a == b && b == c),
        "{:?}",
        heard.0
    );
}
