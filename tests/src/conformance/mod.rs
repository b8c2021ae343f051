//! What every runtime owes, as scenarios that run against any of them.
//!
//! The simulator, the runtime on mio and the one on tokio run them in this repository (`tests/tests/conformance`); whoever writes
//! another depends on this crate (without its default features, which are the runtime on tokio) and runs them too. A runtime under
//! test starts nodes, each with a machine of the suite's own ([`Subject`]), passes [`Command`]s in and [`Notice`]s out:
//!
//! ```
//! use std::sync::mpsc::Sender;
//! use xxnet_tests::conformance::{Command, Notice, Real, Running, Subject, run};
//! use xxnet_tests::tokio_runtime;
//!
//! /// A node of the runtime under test, on a thread of its own.
//! struct Node(Option<tokio::sync::mpsc::Sender<Command>>, Option<std::thread::JoinHandle<()>>);
//!
//! fn start(subject: Subject, tell: Sender<Notice>) -> Box<dyn Running> {
//!     let (commands, waiting) = tokio::sync::mpsc::channel(64);
//!     let thread = std::thread::spawn(move || {
//!         let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
//!         runtime.block_on(tokio_runtime::run(subject, waiting, |notice| _ = tell.send(notice)));
//!     });
//!     Box::new(Node(Some(commands), Some(thread)))
//! }
//!
//! impl Running for Node {
//!     fn command(&mut self, command: Command) {
//!         self.0.as_ref().map(|commands| commands.blocking_send(command));
//!     }
//! }
//!
//! impl Drop for Node {
//!     fn drop(&mut self) {
//!         drop(self.0.take());
//!         self.1.take().map(std::thread::JoinHandle::join);
//!     }
//! }
//!
//! run("n2_port_0_takes_a_free_one_and_tells_it", &mut Real::new(start));
//! ```
//!
//! A test file of a runtime is its `start` and one line, which makes a test of each scenario:
//! `xxnet_tests::for_each_scenario! { xxnet_tests::conformance_tests! [Real::new(start)] }`.
//!
//! Two things look at a runtime: the scenarios, which use it as an application does and wait for what must come; and the
//! audit at the door of every node, in every scenario, which knows what is outstanding and catches what must *not* come: a
//! completion nobody asked for, or a second one, one behind a `Close`, bytes beyond what was armed, a clock that goes back. Nothing
//! is timed tightly: a scenario waits long for what must come and shortly for what must not. [`Broken`] breaks a runtime on purpose, in
//! every way of [`Fault`], and some scenario sees each.
//!
//! What no scenario can see, a runtime owes all the same: that its clock counts time asleep, that a name server which does not answer
//! holds up nobody, that accepting goes on after descriptors ran out, and that an idle link holds no buffer.

mod audit;
mod broken;
mod real;
mod relay;
mod scenarios;
mod stage;
mod subject;

pub use broken::{Broken, Fault};
pub use real::{Real, Running};
pub use relay::{RelayCommand, RelayNotice};
pub use stage::Stage;
pub use subject::{Command, Kind, Notice, Report, Request, Subject};

use std::net::{IpAddr, Ipv4Addr};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// A node of a runtime, counted from 0 in the order in which they were started.
pub type Node = usize;

/// A runtime under test. Nodes on real sockets are [`Real`]; only a world of its own (a simulator) implements this itself.
pub trait Runtime {
    /// Starts a node that drives this machine. Nodes are counted.
    fn start(&mut self, subject: Subject);

    /// Gives a node's machine a command.
    fn command(&mut self, node: Node, command: Command);

    /// What a node's machine tells next; `None` if it tells nothing within this time.
    fn next(&mut self, node: Node, within: Duration) -> Option<Notice>;

    /// Ends a node as a kill does: its sockets are closed, its machine is asked nothing.
    fn stop(&mut self, node: Node);

    /// The time by which the suite is patient, from any zero; a world of its own has a time of its own.
    fn now(&self) -> Duration {
        static ZERO: OnceLock<Instant> = OnceLock::new();
        ZERO.get_or_init(Instant::now).elapsed()
    }

    /// How long what must come is waited for: longer than anything takes, so that only a failure waits so long.
    fn patience(&self) -> Duration {
        Duration::from_secs(20)
    }

    /// Where all nodes can listen and reach each other.
    fn ip(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    /// A name of the same place.
    fn name(&self) -> String {
        "localhost".into()
    }

    /// A path that is free for a Unix socket, the same each time; `None` if nodes have no such sockets.
    fn socket_file(&self) -> Option<String> {
        None
    }

    /// Whether nodes can listen on IPv6: its loopback and its wildcard.
    fn has_ipv6(&self) -> bool {
        std::net::TcpListener::bind("[::1]:0").is_ok()
    }
}

/// A scenario's name and body.
pub type Scenario = (&'static str, fn(&mut Stage<'_>));

/// Hands the names of all scenarios to a macro, behind whatever else it is given in brackets.
#[macro_export]
macro_rules! for_each_scenario {
    ($($act:ident)::+ ! [$($args:tt)*]) => {
        $($act)::+! {
            [$($args)*]
            n2_port_0_takes_a_free_one_and_tells_it
            n2_addresses_that_the_system_refuses_and_why
            n2_after_unlisten_the_address_is_free_although_old_links_live
            n2_an_ipv6_wildcard_leaves_ipv4_alone
            n2_unix_sockets_work_or_are_said_not_to_be_there
            k4_a_dial_connects_or_says_why_not
            k6_a_dial_under_way_can_be_closed
            names_are_found_or_do_not_exist
            one_newcomer_for_each_accept
            n5_a_send_completes_when_all_is_taken_and_waits_for_a_slow_reader
            n6_no_more_is_read_than_was_asked_for
            small_sends_are_not_held_back
            k11_each_side_of_a_stream_ends_by_itself
            a_reset_is_told_once
            k10_nothing_is_told_of_a_link_after_its_close
            a_close_that_crosses_with_the_end_is_completed_once
            many_links_stay_apart
            a_deadline_is_kept_and_not_before_its_time
            a_deadline_can_move_and_go
            a_deadline_is_kept_on_a_busy_link
            an_idle_node_is_left_alone
            requests_to_disk_and_processes_are_answered_once
            connections_refused_unknown_and_by_name
            thousands_of_packs_of_mixed_sizes_in_order_both_ways
            n8_bulk_waits_for_a_reader_that_pauses
            keepalive_holds_an_idle_link_and_finds_a_silent_one
            k12_two_hundred_connections_at_once_leave_nothing
            k9_closed_by_one_end_and_connected_again
            n3_both_dial_at_once_and_one_link_is_left
            n4_a_link_that_breaks_again_and_again_and_each_message_once_in_order
            n13_shutdown_waits_until_all_is_acknowledged
            n11_what_an_instance_that_is_gone_had_not_taken_is_told
        }
    };
}

/// For [`for_each_scenario`]: a test of each scenario, with the runtime that the expression makes.
#[macro_export]
macro_rules! conformance_tests {
    ([$runtime:expr] $($name:ident)*) => {
        $(#[test]
        fn $name() {
            $crate::conformance::run(stringify!($name), &mut $runtime);
        })*
    };
}

macro_rules! table {
    ([$(#[$doc:meta])* $table:ident] $($name:ident)*) => {
        $(#[$doc])*
        pub const $table: &[Scenario] = &[$((stringify!($name), scenarios::$name)),*];
    };
}

for_each_scenario! { table! [
    /// All scenarios.
    SCENARIOS
] }

/// Runs one scenario on a fresh runtime.
///
/// # Panics
/// If the runtime does not do what it should, or there is no such scenario.
pub fn run(name: &str, runtime: &mut dyn Runtime) {
    let found = SCENARIOS.iter().find(|(known, _)| *known == name);
    let (_, body) = found.unwrap_or_else(|| panic!("there is no scenario {name}"));
    let mut stage = Stage::new(runtime);
    body(&mut stage);
    stage.end();
}
