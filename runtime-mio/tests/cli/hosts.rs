//! Two hosts on this machine: networks of their own, with a cable between them.

use crate::harness::*;
use crate::namespace::Namespace;
use std::process::Command;

/// What each host is for the other.
const ONE: &str = "10.99.0.1";

/// Both of them, if this machine permits it.
fn two_hosts() -> Option<[Namespace; 2]> {
    let one = Namespace::new("--net", None, "ip link set lo up")?;
    let two = Namespace::new("--net", Some(&one), "ip link set lo up")?;
    let cable = format!("ip link add cable0 type veth peer name cable1 netns {}", two.process());
    let set = |end: &str, ip: &str| format!("ip address add {ip}/24 dev {end} && ip link set {end} up");
    for (host, script) in [(&one, cable), (&one, set("cable0", ONE)), (&two, set("cable1", "10.99.0.2"))] {
        let done = host.within(Command::new("sh").args(["-c", &script])).output().unwrap();
        if !done.status.success() {
            eprintln!("skipped: no cable: {}", String::from_utf8_lossy(&done.stderr));
            return None;
        }
    }
    Some([one, two])
}

#[test]
fn r1_who_registers_over_loopback_is_found_from_another_host() {
    let Some([one, two]) = two_hosts() else { return };
    let home = Home::new();
    let registry = Daemon::start(one.within(&Daemon::registry_command(&home, "0.0.0.0:0")), "listening");
    let port = registry.address.rsplit_once(':').unwrap().1;
    let (near, far) = (format!("127.0.0.1:{port}"), format!("{ONE}:{port}"));
    // On every interface, and known to the registry by its loopback.
    let mut beside = Daemon::executor_command(&home, &near, 1, 1);
    beside.arg("--listen=0.0.0.0:0");
    let beside = Daemon::start(one.within(&beside), "registered");
    let beside_port = beside.address.strip_prefix("127.0.0.1:").unwrap().to_owned();
    let list = |host: &Namespace, registry: &str| {
        let ended = finish(host.within(&home.xxnet(["nodes", "--json", "--reg", registry])));
        ended.expect(0);
        let list: serde_json::Value = serde_json::from_str(&ended.out).unwrap();
        list["nodes"][0]["address"].as_str().unwrap().to_owned()
    };
    assert_eq!(list(&one, &near), format!("127.0.0.1:{beside_port}"));
    assert_eq!(list(&one, &far), format!("127.0.0.1:{beside_port}"), "the same host, by its other name");
    assert_eq!(list(&two, &far), format!("{ONE}:{beside_port}"));
    drop(beside);

    // A publisher likewise, with the only executor on the other host.
    let executor = Daemon::start(two.within(&Daemon::executor_command(&home, &far, 2, 1)), "registered");
    let run = ["run", "--reg", &near, "--listen=0.0.0.0:0", "--", "cat", "/proc/net/fib_trie"];
    let ended = finish(one.within(&home.xxnet(run)));
    ended.expect(0);
    assert!(ended.out.contains("10.99.0.2") && !ended.out.contains(ONE), "it ran elsewhere");
    drop((executor, registry));
}
