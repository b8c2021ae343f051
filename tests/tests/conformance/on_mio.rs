//! What every runtime owes, of the one on mio.

use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use xxnet_runtime_mio::{Driver, Flow, Handle, Options};
use xxnet_tests::conformance::{Command, Notice, Real, Running, Subject};

/// A node on a thread of its own.
struct Node(Handle<Command>, Option<JoinHandle<()>>);

fn start(subject: Subject, tell: Sender<Notice>) -> Box<dyn Running> {
    let mut driver = Driver::new(subject, Options::default()).expect("a driver");
    let handle = driver.handle();
    let thread = thread::spawn(move || {
        let run = driver.run(|notice, _| {
            if matches!(notice, Notice::Stopping) {
                return Flow::Stop;
            }
            _ = tell.send(notice);
            Flow::Continue
        });
        run.expect("the poll works");
    });
    Box::new(Node(handle, Some(thread)))
}

impl Running for Node {
    fn command(&mut self, command: Command) {
        _ = self.0.send(command);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        _ = self.0.send(Command::Stop);
        if let Some(thread) = self.1.take() {
            _ = thread.join();
        }
    }
}

xxnet_tests::for_each_scenario! { xxnet_tests::conformance_tests! [Real::new(start).with_unix_sockets()] }
