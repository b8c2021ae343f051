//! `ping`: a look at a node from outside.

use crate::harness::*;
use serde_json::Value;

fn json_lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn every_node_answers() {
    let mut cluster = Cluster::new(1, 1);
    let mut listen = Running::start(cluster.xxnet(["listen", "127.0.0.1:0", "--name", "ears"]));
    listen.until_err("listening address=");
    let ears = listen.err().split("listening address=").nth(1).unwrap().trim().to_owned();
    let executor = cluster.executors[0].address.clone();
    for (name, address) in [("registry@", &cluster.registry.address), ("node-1", &executor), ("ears", &ears)]
    {
        let ended = finish(cluster.xxnet(["ping", "-c", "3", "-i", "1ms", "--json", address]));
        ended.expect(0);
        let lines = json_lines(&ended.out);
        assert_eq!(lines.len(), 4, "{}", ended.out);
        for (at, line) in lines[..3].iter().enumerate() {
            assert_eq!(line["number"], at + 1);
            assert!(line["round_trip_seconds"].as_f64().unwrap() >= 0.0);
        }
        let sum = &lines[3];
        assert!(sum["name"].as_str().unwrap().starts_with(name), "{sum}");
        assert_eq!((&sum["round_trips"], &sum["address"]), (&3.into(), &address[..].into()));
        let [min, p50, max] =
            ["min_seconds", "p50_seconds", "max_seconds"].map(|field| sum[field].as_f64().unwrap());
        assert!(min <= p50 && p50 <= max && sum["connect_seconds"].as_f64().unwrap() > 0.0, "{sum}");
        let ended = finish(cluster.xxnet(["-q", "ping", "-c", "2", "-i", "1ms", address]));
        assert!(ended.expect(0).out.starts_with("2 round trips: min "), "{}", ended.out);
    }
    // Nobody minded.
    assert!(cluster.registry.lives() && cluster.executors[0].lives());
    assert_eq!(cluster.run(&["--", "echo", "fine"]).expect(0).out, "fine\n");
    listen.signal(libc::SIGINT);
    let ended = listen.finish();
    assert!(!ended.expect(0).err.contains("connected"), "a probe is no peer:\n{}", ended.err);
}

#[test]
fn n10_nobody_there_is_one_sentence() {
    let home = Home::new();
    let at = format!("127.0.0.1:{}", free_port());
    finish(home.xxnet(["ping", &at])).expect(1).says(&format!("nothing listens at {at}"));
    finish(home.xxnet(["ping", "no-such-host.invalid"])).expect(1).says("no host of that name");
    finish(home.xxnet(["ping", "-c", "0", &at])).expect(2).says("'--count <N>': 0 is not in 1..");
}

#[test]
fn it_goes_on_until_ctrl_c_or_the_end_of_the_other() {
    let cluster = Cluster::new(0, 0);
    let address = cluster.registry.address.clone();
    let ping = |more: &[&str]| {
        let mut running = Running::start(cluster.xxnet(["ping", "-i", "5ms", &address].iter().chain(more)));
        running.until_lines(4);
        running
    };
    let (until_told, counted, mut until_killed) = (ping(&[]), ping(&["-c", "1000000"]), ping(&[]));
    for (running, code) in [(until_told, 0), (counted, 130)] {
        running.signal(libc::SIGINT);
        let ended = running.finish();
        assert!(
            ended.expect(code).out.lines().last().unwrap().contains(" round trips: min "),
            "{}",
            ended.out
        );
        assert!(ended.err.is_empty(), "{}", ended.err);
    }
    let Cluster { mut registry, home: _home, .. } = cluster;
    registry.kill();
    until_killed.until_out(" round trips: min ");
    until_killed.finish().expect(1).says(&address);
}
