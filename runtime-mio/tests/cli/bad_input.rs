//! Each thing that users do wrong, or that is wrong around them: one sentence, the right code, no daemon harmed.

use crate::harness::*;
use std::io::{Read, Write};
use std::net::TcpListener;

#[test]
fn n10_no_registry_at_that_address() {
    let home = Home::new();
    let reg = format!("127.0.0.1:{}", free_port());
    for command in [vec!["nodes"], vec!["tasks"], vec!["cancel", "aa-1"], vec!["why", "aa-1"]] {
        let ended = finish(home.xxnet(command.iter().chain(&["--reg", &reg])));
        ended.expect(1).says("start one with `xxnet up`");
        assert!(ended.err.contains(&reg));
    }
    // The first that answers is enough.
    let cluster = Cluster::new(0, 0);
    let both = format!("{reg},{}", cluster.registry.address);
    finish(cluster.xxnet(["nodes", "--reg", &both])).expect(0);
}

#[test]
fn n10_a_registry_whose_name_is_unknown() {
    let home = Home::new();
    let reg = "no-such-host.invalid";
    finish(home.xxnet(["nodes", "--reg", reg])).expect(1).says("no host of that name");
    finish(home.xxnet(["run", "--reg", reg, "--", "true"])).expect(125).says("no host of that name");
    finish(home.xxnet(["nodes", "--reg", "not an address"])).expect(2);
    finish(home.xxnet(["nodes", "--reg", "0.0.0.0:7700"])).expect(2);
}

#[test]
fn r5_run_waits_for_a_registry_that_is_not_there_yet_and_says_so_once() {
    let home = Home::new();
    let reg = format!("127.0.0.1:{}", free_port());
    let mut running = Running::start(home.xxnet(["run", "--reg", &reg, "--", "echo", "there"]));
    running.until_err("no registry at");
    let registry = Daemon::registry(&home, &reg);
    let executor = Daemon::executor(&home, &registry.address, 1, 1);
    let ended = running.finish();
    ended.expect(0);
    assert_eq!(ended.out, "there\n");
    assert_eq!(ended.err.matches("no registry at").count(), 1, "{}", ended.err);
    drop(executor);
}

#[test]
fn n12_another_key_is_refused_with_the_way_out() {
    let mut cluster = Cluster::new(1, 1);
    let stranger = Home::new();
    for (command, code) in [(vec!["nodes"], 1), (vec!["run", "--", "true"], 125)] {
        let mut command = stranger.xxnet(command);
        command.env("XXNET_REG", &cluster.registry.address);
        finish(command).expect(code).says("--key-file");
    }
    // The key itself is the way out.
    let mut command = stranger.xxnet(["run", "--", "echo", "in"]);
    command.env("XXNET_REG", &cluster.registry.address);
    command.env("XXNET_KEY_FILE", cluster.home.at(".config/xxnet/key"));
    assert_eq!(finish(command).expect(0).out, "in\n");
    assert!(cluster.registry.lives());
}

#[test]
fn n12_a_key_file_that_is_open_missing_or_no_key() {
    use std::os::unix::fs::PermissionsExt;
    let home = Home::new();
    let nodes = |file: &str| finish(home.xxnet(["nodes", "--key-file", file]));
    nodes("none").expect(1).says("there is no key file");
    home.write("key", "nonsense\n");
    std::fs::set_permissions(home.here("key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    nodes("key").expect(1).says("no cluster key");
    home.write("key", "ab".repeat(32));
    std::fs::set_permissions(home.here("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    nodes("key").expect(1).says("chmod 600");
}

#[test]
fn n12_many_first_uses_at_once_make_one_key() {
    let home = Home::new();
    let reg = format!("127.0.0.1:{}", free_port());
    let running: Vec<_> = (0..12).map(|_| Running::start(home.xxnet(["nodes", "--reg", &reg]))).collect();
    for command in running {
        command.finish().expect(1).says("there is no registry");
    }
    assert_eq!(std::fs::read_dir(home.at(".config/xxnet")).unwrap().count(), 1);
}

#[test]
fn n2_a_port_in_use_or_forbidden_is_one_sentence() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let plain = |ended: Ended, code: i32| {
        ended.expect(code).says("--listen");
        assert!(ended.err.starts_with("xxnet: cannot listen on"), "{}", ended.err);
    };
    plain(finish(home.xxnet(["-q", "reg", "--listen", &address])), 1);
    plain(finish(home.xxnet(["-q", "exe", "--listen", &address])), 1);
    plain(finish(home.xxnet(["up", "--listen", &address])), 1);
    plain(finish(home.xxnet(["run", "--listen", &address, "--", "true"])), 125);
    plain(finish(home.xxnet(["-q", "reg", "--listen", "192.0.2.1:7700"])), 1);
    finish(home.xxnet(["reg", "--listen", "no-such-host.invalid:1"])).expect(1).says("has no address");
}

#[test]
fn n10_what_answers_is_no_registry() {
    let mut cluster = Cluster::new(1, 1);
    // An executor is xxnet, but no registry.
    let executor = cluster.executors[0].address.clone();
    finish(cluster.xxnet(["nodes", "--reg", &executor])).expect(1).says("is an executor and no registry");
    finish(cluster.xxnet(["run", "--reg", &executor, "--", "true"])).expect(125).says("no registry");
    assert!(cluster.executors[0].lives());

    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in web.incoming().flatten() {
            let mut stream = stream;
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
        }
    });
    finish(cluster.xxnet(["nodes", "--reg", &address])).expect(1).says("HTTP");
    finish(cluster.xxnet(["run", "--reg", &address, "--", "true"])).expect(125).says("HTTP");
}

#[test]
fn n10_strangers_who_talk_something_else_harm_no_daemon() {
    let mut cluster = Cluster::new(1, 1);
    let noise: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
    for address in [cluster.registry.address.clone(), cluster.executors[0].address.clone()] {
        babble(&address, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
        babble(&address, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03");
        babble(&address, &noise);
    }
    assert!(cluster.registry.lives() && cluster.executors[0].lives());
    cluster.registry.wait_for("turned-away");
    cluster.executors[0].wait_for("turned-away");
    assert_eq!(cluster.run(&["--", "echo", "fine"]).expect(0).out, "fine\n");
}

#[test]
fn x4_a_work_folder_that_cannot_be_used() {
    let home = Home::new();
    home.write("file", "x");
    let ended = finish(home.xxnet(["-qq", "exe", "--work-dir", "file/work"]));
    ended.expect(1).says("--work-dir");
}
