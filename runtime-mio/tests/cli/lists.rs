//! `nodes`, `tasks`, `why`, `up`, `demo`, help.

use crate::harness::*;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn r1_who_is_there_is_listed() {
    let cluster = Cluster::new(2, 3);
    let nodes = cluster.json(&["nodes"]);
    let nodes = nodes["nodes"].as_array().unwrap();
    let mut names: Vec<_> = nodes.iter().map(|node| node["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["node-1", "node-2"]);
    assert!(
        nodes.iter().all(|node| node["slots"] == 3 && node["role"] == "executor" && node["state"] == "ready")
    );
    let ended = finish(cluster.xxnet(["nodes"]));
    ended.expect(0);
    assert!(ended.out.starts_with("NAME") && ended.out.contains("node-2"), "{}", ended.out);
    assert!(!ended.out.contains('\x1b'), "colours although this is no terminal");
}

#[test]
fn r1_empty_lists_say_so() {
    let cluster = Cluster::new(0, 0);
    assert!(finish(cluster.xxnet(["nodes"])).expect(0).out.starts_with("no nodes"));
    assert!(finish(cluster.xxnet(["tasks"])).expect(0).out.starts_with("no tasks"));
    assert_eq!(cluster.json(&["nodes"])["nodes"], serde_json::json!([]));
    assert_eq!(cluster.json(&["tasks"])["tasks"], serde_json::json!([]));
}

#[test]
fn t4_why_says_what_a_task_waits_for() {
    let cluster = Cluster::new(1, 1);
    let mut first = Running::start(cluster.xxnet(["run", "--", "sh", "-c", "echo on; sleep 50"]));
    first.until_out("on");
    let mut second = Running::start(cluster.xxnet(["run", "--", "true"]));
    second.until_err("waiting: ");
    let tasks = cluster.until_tasks(|tasks| tasks.iter().any(|task| task["state"] == "waiting"));
    let task =
        tasks.iter().find(|task| task["state"] == "waiting").unwrap()["task"].as_str().unwrap().to_owned();
    let why = cluster.json(&["why", &task]);
    for name in ["state", "waits_for", "then"] {
        assert!(why[name].is_string(), "{why}");
    }
    assert!(why["since_seconds"].is_number());
    let ended = finish(cluster.xxnet(["why", &task]));
    ended.expect(0);
    assert!(ended.out.contains("waits for"), "{}", ended.out);
    first.signal(libc::SIGINT);
    first.finish().expect(130);
    second.finish().expect(0);
    finish(cluster.xxnet(["why", "00000000-1"])).expect(1).says("no task is called");
}

#[test]
fn x3_up_serves_and_leaves_nothing_behind() {
    let home = Home::new();
    let mut up =
        Running::start(home.xxnet(["up", "--listen", "127.0.0.1:0", "--executors", "2", "--slots", "1"]));
    let registry = greeted(&mut up);
    let mut command = home.xxnet(["run", "--", "echo", "hello"]);
    command.env("XXNET_REG", &registry);
    assert_eq!(finish(command).expect(0).out, "hello\n");
    up.signal(libc::SIGINT);
    up.finish().expect(0);
    until("all of it to end", || processes(&registry).is_empty());
    assert_eq!(std::fs::read_dir(home.at(".cache/xxnet/work")).unwrap().count(), 0);
}

#[test]
fn x4_up_killed_takes_its_children_along() {
    let home = Home::new();
    let mut up =
        Running::start(home.xxnet(["up", "--listen", "127.0.0.1:0", "--executors", "2", "--slots", "1"]));
    let registry = greeted(&mut up);
    assert!(processes(&format!("--reg={registry}")).len() >= 2);
    up.signal(libc::SIGKILL);
    within(Duration::from_secs(10), "all of it to end", || processes(&registry).is_empty());
}

#[test]
fn x4_up_says_when_a_child_dies() {
    let home = Home::new();
    let mut up =
        Running::start(home.xxnet(["up", "--listen", "127.0.0.1:0", "--executors", "2", "--slots", "1"]));
    let registry = greeted(&mut up);
    let victims = processes("--name=node-2");
    for victim in victims.iter().filter(|victim| processes(&registry).contains(victim)) {
        signal(*victim, libc::SIGKILL);
    }
    up.until_err("node-2 has ended");
    up.signal(libc::SIGTERM);
    up.finish().expect(0);
}

pub(crate) fn greeted(up: &mut Running) -> String {
    up.until_out("Ctrl-C ends them all.");
    let text = up.out();
    let line = text.lines().find(|line| line.contains("export XXNET_REG=")).expect("the address is printed");
    line.trim().trim_start_matches("export XXNET_REG=").to_owned()
}

#[test]
fn t1_the_demo_shows_every_step() {
    let home = Home::new();
    let ended = finish(home.xxnet(["demo"]));
    ended.expect(0);
    for step in 1..=10 {
        assert!(ended.out.contains(&format!("step {step} ")), "no step {step}:\n{}", ended.out);
    }
    for step in 1..=4 {
        assert_eq!(
            ended.out.matches(&format!("file {step} ")).count(),
            4,
            "file step {step}:\n{}",
            ended.out
        );
    }
    assert!(ended.out.contains("spring.txt") && ended.out.contains("Where the time went"), "{}", ended.out);
    assert_eq!(std::fs::read_dir(home.at("tmp")).unwrap().count(), 0, "files are left");
    assert!(!home.at(".config/xxnet/key").exists(), "the user's own key is none of the demo's business");
}

#[test]
fn x3_the_demo_interrupted_leaves_nothing_behind() {
    let home = Home::new();
    let mut demo = Running::start(home.xxnet(["demo"]));
    demo.until_out("node-1");
    demo.signal(libc::SIGINT);
    demo.finish().expect(130);
    let mark = home.at("tmp").to_str().unwrap().to_owned();
    until("all of it to end", || processes(&mark).is_empty());
    assert_eq!(std::fs::read_dir(home.at("tmp")).unwrap().count(), 0, "files are left");
}

#[test]
fn help_teaches_and_goes_where_it_should() {
    let home = Home::new();
    let alone = finish(home.xxnet::<&str>([]));
    alone.expect(2);
    assert!(alone.err.contains("Examples:") && alone.out.is_empty());
    for command in [
        "demo", "up", "run", "reg", "exe", "nodes", "tasks", "cancel", "why", "ping", "listen", "send",
        "bench",
    ] {
        let ended = finish(home.xxnet([command, "--help"]));
        ended.expect(0);
        assert!(ended.out.contains("Exit codes"), "{command}:\n{}", ended.out);
    }
    finish(home.xxnet(["nodes", "--bogus"])).expect(2);
    finish(home.xxnet(["run", "--bogus", "--", "true"])).expect(125);
    finish(home.xxnet(["run"])).expect(125);
    assert!(finish(home.xxnet(["--version"])).expect(0).out.starts_with("xxnet "));
    assert!(!home.at(".config").exists(), "help makes no key");
}

#[test]
fn a_list_whose_reader_is_gone_ends_quietly() {
    let cluster = Cluster::new(1, 1);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = cluster.xxnet(["nodes"]);
    let child = command.stdout(Stdio::from(writer)).stderr(Stdio::piped()).spawn().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(141), &b""[..]));
}
