//! A client in another language, written from `core/WIRE.md` alone: `tests/python/xxnet_client.py`.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use xxnet_core::{ClusterKey, Dict};
use xxnet_runtime_mio::Net;
use xxnet_runtime_mio::messages::{NetEvent, NetOptions};
use xxnet_tests::proxy::{Plan, Proxy};

const WAIT: Duration = Duration::from_secs(60);
const COUNT: u32 = 3000;

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The client with these arguments, or nothing where there is no Python to run it.
fn client(arguments: &[&str]) -> Option<Child> {
    let script = folder("python/xxnet_client.py");
    let child = Command::new("python3").arg("-B").arg(script).args(arguments).stdout(Stdio::piped()).spawn();
    match child {
        Ok(child) => Some(child),
        Err(error) => {
            println!("skipped: python3 cannot be run here: {error}");
            None
        }
    }
}

/// What the client has printed, once it has ended well.
fn printed(child: Child) -> String {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "the client says why above");
    String::from_utf8(output.stdout).unwrap()
}

/// The number behind `name=`.
fn number(text: &str, name: &str) -> u64 {
    let mut words = text.split_whitespace().filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    words.next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn p9_a_client_in_python_reads_the_golden_vectors() {
    let Some(child) = client(&["selftest", folder("golden").to_str().unwrap()]) else { return };
    let read = number(&printed(child), "vectors");
    assert!(read > 60, "only {read} vectors");
}

#[test]
fn n4_a_client_in_python_talks_through_cuts_and_each_message_comes_once_and_in_order() {
    // The smallest id chooses which link counts, the largest follows.
    ["00000000000000000000000000000001", "ffffffffffffffffffffffffffffffff"].into_iter().for_each(talk);
}

fn talk(instance: &str) {
    let server = Net::start(NetOptions::new(ClusterKey([9; 32]))).unwrap();
    let at = server.listen("127.0.0.1:0").unwrap();
    // The first is cut on the way there, the third within its handshake, the others whichever way is first at its byte. Eight of
    // them carry less than there is to say; the ninth lives.
    // Bytes pass slowly enough for answers to come meanwhile: a link that was of no use costs the client a pause.
    let slow = Plan { piece: 2048, delay: Duration::from_millis(1), ..Plan::default() };
    let proxy = Proxy::start(at.socket().unwrap(), move |link| match link {
        0 => Plan { cut_there: Some(20_001), ..slow },
        2 => Plan { cut_back: Some(100), ..slow },
        1..=7 => {
            Plan { cut_there: Some(15_000 + link * 4_001), cut_back: Some(12_000 + link * 3_001), ..slow }
        }
        _ => Plan::default(),
    });
    let key = "09".repeat(32);
    let (to, count) = (proxy.address().to_string(), COUNT.to_string());
    let Some(child) = client(&["talk", &to, &key, &count, instance]) else { return };
    for n in 0..COUNT {
        let message = server.recv_timeout(WAIT).unwrap();
        let expected = Dict::from([("n", n.into()), ("text", "x".repeat(n as usize % 300).into())]);
        assert_eq!(message.dict().unwrap(), expected);
        let bytes = vec![n as u8; n as usize % 200];
        let back = Dict::from([("back", n.into()), ("bytes", bytes.into())]);
        server.send(message.from(), &back).unwrap();
    }
    server.flush(WAIT).unwrap();
    let said = printed(child);
    assert_eq!((proxy.links(), number(&said, "links")), (9, 8));
    assert!(number(&said, "resent") > 0, "{said}");
    assert_eq!(number(&said, "taken"), u64::from(COUNT));
    // One session all along, ended on purpose.
    let events = server.events();
    let mut connected = 0;
    loop {
        match events.next_timeout(WAIT).unwrap() {
            NetEvent::Connected { .. } => connected += 1,
            NetEvent::Disconnected { .. } => break,
            NetEvent::Undelivered { .. } => panic!("something is undelivered"),
            _ => {}
        }
    }
    assert_eq!((connected, server.shutdown(WAIT)), (1, 0));
}
