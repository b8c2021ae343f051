//! Messages by address: what each of these forces was found in the simulated world.

mod commands;
mod world;

use core::time::Duration;
use world::{SECOND, World, at};
use xxnet_core::Limits;
use xxnet_core::messenger::{LOCAL, MessengerCommand, MessengerNotice};

fn undelivered(told: &[MessengerNotice]) -> Vec<u8> {
    let packs = told.iter().filter_map(|notice| match notice {
        MessengerNotice::Undelivered { packs, .. } => Some(packs),
        MessengerNotice::Disconnected { undelivered, .. } => Some(undelivered),
        _ => None,
    });
    packs.flatten().map(|pack| pack.head[0]).collect()
}

fn is_down(told: &[MessengerNotice]) -> bool {
    told.last() == Some(&MessengerNotice::Down)
}

/// Without a connection it is dialled; what waited goes first (ledger N1).
#[test]
fn n1_what_waits_goes_first() {
    let mut world = World::new(2, &Limits::default());
    world.listen(1);
    world.open(0, 1, at(1));
    world.holds_dials = true;
    world.send(0, 1, [1, 2]);
    world.send(0, 1, [3]);
    world.release_dials();
    world.send(0, 1, [4]);
    assert_eq!(world.received(1).0, [1, 2, 3, 4]);
}

/// Sent to an address before we listen there ourselves: it does not come behind what is sent later.
#[test]
fn n1_n10_what_was_sent_to_an_address_before_it_is_ours_comes_first() {
    let mut world = World::new(1, &Limits::default());
    world.open(0, 1, at(0));
    world.send(0, 1, [1, 2]);
    assert_eq!(world.received(0).0, [0_u8; 0]);
    world.listen(0);
    world.send(0, 1, [3]);
    assert_eq!(world.received(0), (vec![1, 2, 3], LOCAL));
    world.pass(120 * SECOND);
    assert_eq!(undelivered(&world.told(0)), [0_u8; 0]);
}

/// A dial that was under way when the peer dialled us, and fails after that session: what waits by then has waited for a moment
/// only, and is not given up.
#[test]
fn n10_an_address_is_given_up_only_after_the_whole_time() {
    let limits = Limits { connect: 60 * SECOND, ..Limits::default() };
    let mut world = World::new(2, &limits);
    world.listen(0);
    world.listen(1);
    world.holds_dials = true;
    world.open(0, 1, at(1));
    world.send(0, 1, [1]);
    world.holds_dials = false;
    world.open(1, 1, at(0));
    world.send(1, 1, [9]);
    let (received, on) = world.received(1);
    assert_eq!(received, [1], "over the session that the other one has made");
    world.take(1, on, 1);
    world.tell(1, MessengerCommand::Disconnect { to: at(0).into() });
    world.pass(3 * SECOND);
    world.holds_dials = true;
    world.send(0, 1, [2]);
    world.told(0);
    world.refuse_dials();
    assert_eq!(undelivered(&world.told(0)), [0_u8; 0]);
    world.holds_dials = false;
    world.pass(30 * SECOND);
    assert_eq!(world.received(1).0, [2]);
}

/// What is sent while a session ends waits for the next one, whoever makes that, and is not refused.
#[test]
fn n1_what_is_sent_while_a_session_ends_goes_on_the_next_one_in_order() {
    let mut world = World::new(2, &Limits::default());
    world.listen(0);
    world.listen(1);
    world.open(0, 1, at(1));
    world.send(0, 1, [1]);
    world.told(0);
    world.tell(0, MessengerCommand::Disconnect { to: at(1).into() });
    world.send(0, 1, [2, 3]);
    assert!(!world.told(0).iter().any(|notice| matches!(notice, MessengerNotice::Rejected { .. })));
    world.pass(5 * SECOND);
    world.send(0, 1, [4]);
    assert_eq!(world.received(1).0, [1, 2, 3, 4]);
    assert_eq!(undelivered(&world.told(0)), [1], "the application at the other end has not taken it");
}

/// A try that is due only after the drain does not hold up the end.
#[test]
fn n14_a_pause_between_two_dials_does_not_outlast_the_drain() {
    let limits = Limits { backoff: (40 * SECOND, 40 * SECOND), ..Limits::default() };
    let mut world = World::new(1, &limits);
    world.open(0, 1, at(1));
    world.send(0, 1, [1]);
    world.tell(0, MessengerCommand::Shutdown { drain: SECOND });
    world.pass(SECOND + Duration::from_millis(1));
    let told = world.told(0);
    assert_eq!(undelivered(&told), [1]);
    assert!(is_down(&told), "{told:?}");
}

/// A dial that is under way and not needed any more does not hold up the end.
#[test]
fn n14_a_spare_dial_does_not_outlast_the_drain() {
    let limits = Limits { connect: 60 * SECOND, ..Limits::default() };
    let mut world = World::new(2, &limits);
    world.listen(0);
    world.listen(1);
    world.holds_dials = true;
    world.open(0, 1, at(1));
    world.send(0, 1, [1]);
    world.holds_dials = false;
    world.open(1, 1, at(0));
    world.send(1, 1, [9]);
    let (_, on) = world.received(1);
    world.take(1, on, 1);
    world.tell(0, MessengerCommand::Shutdown { drain: SECOND });
    world.pass(4 * SECOND);
    assert!(is_down(&world.told(0)));
}
