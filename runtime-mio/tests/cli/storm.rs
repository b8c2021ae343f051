//! Storms on the links of real daemons.

use crate::harness::*;
use socket2::SockRef;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// What a process holds: open descriptors, and threads but those of the disk's pool, which grows to its size and stays.
fn held(process: u32) -> (usize, usize) {
    let of = |what: &str| std::fs::read_dir(format!("/proc/{process}/{what}")).unwrap().flatten();
    let of_pool = |name: String| name == "xxnet-disk\n";
    let threads =
        of("task").filter(|task| !std::fs::read_to_string(task.path().join("comm")).is_ok_and(of_pool));
    (of("fd").count(), threads.count())
}

/// The first words of a real dialler.
fn hello(cluster: &Cluster) -> Vec<u8> {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap().to_string();
    let asker = Running::start(cluster.home.xxnet(["nodes", "--reg", &address]));
    let mut hello = vec![0; 4096];
    let read = nobody.accept().unwrap().0.read(&mut hello).unwrap();
    hello.truncate(read);
    drop(nobody);
    asker.finish().expect(1);
    hello
}

/// Calls as no good peer does, in one of eight ways; those that stay are given back.
fn call(address: &str, way: usize, hello: &[u8]) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    let noise: Vec<u8> = (0..3000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> (way + 15)) as u8).collect();
    let reset = |stream: &TcpStream| SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
    let words: &[u8] = match way {
        0..=2 => b"",
        3 => &hello[..hello.len() / 2],
        4 | 5 => hello,
        6 => b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        _ => &noise,
    };
    // It may have been turned away before it has said all.
    let _ = stream.write_all(words);
    match way {
        0 => return None,
        1 | 4 => {
            reset(&stream);
            return None;
        }
        _ => {}
    }
    Some(stream)
}

const SLOTS: usize = 2;

#[test]
fn x3_a_storm_on_the_links_of_real_daemons_leaves_nothing_open() {
    let mut cluster = Cluster::new(1, SLOTS);
    let (registry, executor) = (cluster.registry.inner, cluster.executors[0].inner);
    let supervisor = cluster.executors[0].process;
    let fresh = [registry, executor].map(held);
    cluster.run(&["--", "true"]).expect(0);
    // A supervisor keeps the keepers that it has had at once for later tasks, each at the end of one socket.
    let keepers = || children(supervisor).len() - 1;
    let watching = || (held(supervisor).0 - keepers(), held(supervisor).1);
    let before = watching();
    let quiet = || [registry, executor].map(held) == fresh && watching() == before && keepers() <= SLOTS;
    until("the first task to have left nothing open", quiet);

    let hello = hello(&cluster);
    let addresses = [cluster.registry.address.clone(), cluster.executors[0].address.clone()];
    let mut good = Vec::new();
    let mut stay = Vec::new();
    for round in 0..25 {
        for (address, way) in addresses.iter().flat_map(|address| (0..8).map(move |way| (address, way))) {
            stay.extend(call(address, way, &hello));
        }
        // Good ones among them: each dials the registry, and the executor dials every second one.
        good.push(Running::start(cluster.xxnet(if round % 2 == 0 {
            vec!["nodes"]
        } else {
            vec!["run", "--", "true"]
        })));
    }
    assert!(held(registry).0 > fresh[0].0 + 25 && held(executor).0 > fresh[1].0 + 25, "there was no storm");
    for running in good {
        running.finish().expect(0);
    }
    // Who stays is hung up on: at once for what it has said, or when its time to shake hands is over.
    for mut stream in stay {
        stream.set_read_timeout(Some(LONG)).unwrap();
        let ended = stream.read_to_end(&mut Vec::new());
        assert!(!ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "nobody hangs up");
    }
    until(&format!("everything to be closed again, as it was at first: {fresh:?} {before:?}"), quiet);
    assert!(cluster.registry.lives() && cluster.executors[0].lives());
    assert_eq!(cluster.run(&["--", "echo", "fine"]).expect(0).out, "fine\n");
}
