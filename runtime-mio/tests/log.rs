//! What the log says. A process of its own: the lines come from the thread of a `Net`, so whoever reads them reads all of the process.
#![allow(clippy::unwrap_used)]

use std::fmt::{Debug, Write};
use std::sync::{Mutex, OnceLock};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};
use xxnet_core::ClusterKey;
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::{ListenError, NetOptions};

static LINES: Mutex<Vec<(Level, String)>> = Mutex::new(Vec::new());

/// Keeps each event as its level and one line.
struct Lines;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        LINES.lock().unwrap().push((*event.metadata().level(), line.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Warnings that name this.
fn warnings(of: &str) -> Vec<String> {
    let lines = LINES.lock().unwrap();
    let wanted = |(level, line): &&(Level, String)| *level <= Level::WARN && line.contains(of);
    lines.iter().filter(wanted).map(|(_, line)| line.clone()).collect()
}

fn net() -> Net {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| tracing::subscriber::set_global_default(Lines).unwrap());
    Net::start(NetOptions::new(ClusterKey([5; 32]))).unwrap()
}

#[test]
fn n2_a_second_listen_is_dropped_and_logged() {
    let net = net();
    let at = net.listen("127.0.0.1:0").unwrap();
    assert!(warnings(&at.to_string()).is_empty(), "the first is nothing to warn of");
    for times in 1..=3 {
        assert!(matches!(net.listen(&at), Err(ListenError::AlreadyListening(taken)) if taken == at));
        // Written before the answer was given.
        let said = warnings(&at.to_string());
        assert_eq!(said.len(), times, "{said:?}");
        assert!(said[times - 1].contains("listened on already"), "{said:?}");
    }
    // The first is unharmed.
    let other = self::net();
    other.send(at, b"still there?".as_slice()).unwrap();
    assert_eq!(&net.recv().unwrap().bytes()[..], b"still there?");
}
