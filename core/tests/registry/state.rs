//! A registry's state as bytes: how large, and what becomes of damaged ones. That a copy goes on as the original is shown in simulated
//! runs (`tests/tests/sim_states.rs`).

use crate::world::*;
use xxnet_core::message::Publish;
use xxnet_core::registry::Registry;
use xxnet_core::state::Kept;

/// So many members, and tasks that wait behind those that they run.
fn crowded(members: usize, tasks: usize) -> World {
    let mut world = World::new();
    let publisher = world.executor("publisher", 0);
    for number in 0..members {
        world.executor(&format!("node-{number}"), 2);
    }
    world.checking = false;
    for number in 0..tasks {
        let title = format!("sort --numeric --output=out-{number} data-{number}.csv");
        let publication = Publish { title, ..world.publication(publisher) };
        world.say(publisher, publication);
    }
    world.checking = true;
    world
}

#[test]
fn a_waiting_task_and_a_member_take_a_few_hundred_bytes() {
    let small = crowded(20, 100).registry().to_state().len();
    let members = crowded(220, 100).registry().to_state().len();
    let world = crowded(20, 10_100);
    let state = world.registry().to_state();
    let copy = Registry::from_state(&state, &KEY).unwrap();
    assert!(copy.to_state() == state);
    let (task, member) = ((state.len() - small) / 10_000, (members - small) / 200);
    assert!((200..600).contains(&task), "{task} bytes a task");
    assert!((500..2500).contains(&member), "{member} bytes a member");
}

#[test]
fn damaged_states_are_refused_or_read_and_never_more() {
    let state = crowded(5, 20).registry().to_state();
    assert!(Registry::from_state(&[&state[..], &[0]].concat(), &KEY).is_err());
    for end in (0..state.len()).step_by(7) {
        assert!(Registry::from_state(&state[..end], &KEY).is_err(), "cut at {end}");
    }
    let (mut refused, mut read) = (0, 0);
    for at in 0..state.len() {
        for bit in [0, 7] {
            let mut damaged = state.clone();
            damaged[at] ^= 1 << bit;
            match Registry::from_state(&damaged, &KEY) {
                Ok(_) => read += 1,
                Err(_) => refused += 1,
            }
        }
    }
    assert!(refused > 100 && read > 100, "{refused} {read}");
}
