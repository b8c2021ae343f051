//! What every runtime owes, of the one on tokio.

use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use tokio::sync::mpsc;
use xxnet_tests::conformance::{Command, Notice, Real, Running, Subject};
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
