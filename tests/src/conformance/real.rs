//! Runtimes on real sockets: each node is a thread, or whatever it likes to be.

use super::{Command, Node, Notice, Runtime, Subject};
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

/// A node that runs. Dropping it ends it, and waits until it has ended.
pub trait Running {
    /// Gives its machine a command.
    fn command(&mut self, command: Command);
}

/// A runtime on real sockets, by how it starts a node: what the machine tells goes to the sender.
pub struct Real<F> {
    start: F,
    nodes: Vec<Started>,
    socket_file: Option<PathBuf>,
}

struct Started {
    /// `None`: stopped.
    running: Option<Box<dyn Running>>,
    told: Receiver<Notice>,
}

impl<F> fmt::Debug for Real<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Real").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

impl<F: FnMut(Subject, Sender<Notice>) -> Box<dyn Running>> Real<F> {
    /// No node yet.
    pub fn new(start: F) -> Self {
        Self { start, nodes: Vec::new(), socket_file: None }
    }

    /// Its nodes have Unix sockets, too.
    #[must_use]
    pub fn with_unix_sockets(mut self) -> Self {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("xxnet-conformance-{}-{}.sock", std::process::id(), FILES.fetch_add(1, Ordering::SeqCst));
        self.socket_file = Some(std::env::temp_dir().join(name));
        self
    }
}

impl<F: FnMut(Subject, Sender<Notice>) -> Box<dyn Running>> Runtime for Real<F> {
    fn start(&mut self, subject: Subject) {
        let (tell, told) = mpsc::channel();
        let running = Some((self.start)(subject, tell));
        self.nodes.push(Started { running, told });
    }

    fn command(&mut self, node: Node, command: Command) {
        if let Some(running) = &mut self.nodes[node].running {
            running.command(command);
        }
    }

    fn next(&mut self, node: Node, within: Duration) -> Option<Notice> {
        self.nodes[node].told.recv_timeout(within).ok()
    }

    fn stop(&mut self, node: Node) {
        self.nodes[node].running = None;
    }

    fn socket_file(&self) -> Option<String> {
        self.socket_file.clone()?.into_os_string().into_string().ok()
    }
}

impl<F> Drop for Real<F> {
    fn drop(&mut self) {
        self.nodes.clear();
        // Whoever listened has removed it, unless it is broken.
        if let Some(file) = &self.socket_file {
            _ = std::fs::remove_file(file);
        }
    }
}
