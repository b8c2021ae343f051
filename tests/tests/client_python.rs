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
    let server = Net::start(NetOptions::new(ClusterKey([9; 32]))).unwrap();
    let at = server.listen("127.0.0.1:0").unwrap();
    // Cut now on the way there, now on the way back, the handshake of the third among them; the ninth lives.
    let proxy = Proxy::start(at, |link| match link {
        2 => Plan { cut_back: Some(100), ..Plan::default() },
        0 | 4 | 6 => Plan { cut_there: Some(20_000 + link * 7_919), ..Plan::default() },
        1 | 3 | 5 | 7 => Plan { cut_back: Some(10_000 + link * 7_919), ..Plan::default() },
        _ => Plan::default(),
    });
    let key = "09".repeat(32);
    let (to, count) = (proxy.address().to_string(), COUNT.to_string());
    let Some(child) = client(&["talk", &to, &key, &count]) else { return };
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
    assert!(number(&said, "links") > 7 && number(&said, "resent") > 0, "{said}");
    assert_eq!(number(&said, "taken"), COUNT.into());
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
