//! `--trace FILE` and `xxnet trace`: what passed between real daemons, on one page.

use super::harness::{Daemon, Home, finish, until};
use serde_json::Value;
use std::path::Path;

/// The story that a page holds.
fn story(page: &Path) -> Value {
    let page = std::fs::read_to_string(page).unwrap();
    let begin = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    serde_json::from_str(&page[begin..begin + page[begin..].find("</script>").unwrap()]).unwrap()
}

/// Of each arrow: from whom, to whom, its name, its fate.
fn arrows(story: &Value) -> Vec<(String, String, String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lane_of = |event: &Value| {
        let lane = event.as_u64().and_then(|event| story["events"][event as usize]["l"].as_u64());
        lane.map_or_else(String::new, |lane| text(&story["lanes"][lane as usize]["name"]))
    };
    let all = story["arrows"].as_array().unwrap().iter();
    all.map(|arrow| (lane_of(&arrow["a"]), lane_of(&arrow["b"]), text(&arrow["n"]), text(&arrow["f"])))
        .collect()
}

/// A registry, an executor and a run, each with its trace.
fn traced() -> Home {
    let home = Home::new();
    let mut command = Daemon::registry_command(&home, "127.0.0.1:0");
    command.arg("--name=reg").arg("--trace=reg.jsonl");
    let mut registry = Daemon::start(command, "listening");
    let mut command = Daemon::executor_command(&home, &registry.address, 1, 1);
    command.arg("--trace=exe.jsonl");
    let mut executor = Daemon::start(command, "registered");
    home.write("in.txt", "some words");
    let mut run = home.xxnet([
        "run",
        "--trace=run.jsonl",
        "-i",
        "in.txt",
        "-o",
        "out.txt",
        "-e",
        "SECRET=hunter2",
        "--",
    ]);
    run.args(["sh", "-c", "cat in.txt > out.txt; echo '</script>'"]).env("XXNET_REG", &registry.address);
    finish(run).expect(0);
    assert!(executor.terminate().success() && registry.terminate().success());
    home
}

#[test]
fn three_traces_become_one_page_with_every_message_of_the_task() {
    let home = traced();
    let ended = finish(home.xxnet(["trace", "reg.jsonl", "exe.jsonl", "run.jsonl", "-o", "page.html"]));
    ended.expect(0);
    assert!(
        ended.out.contains("3 nodes within") && ended.out.contains("page.html: open it"),
        "{}",
        ended.out
    );
    let story = story(&home.here("page.html"));
    let names: Vec<&str> =
        story["lanes"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert_eq!((names[0], names.len()), ("reg", 3), "{names:?}");
    let run = names.iter().find(|name| name.starts_with("run-")).unwrap();
    let arrows = arrows(&story);
    for (from, to, message) in [
        ("node-1", "reg", "Register"),
        (run, "reg", "Publish"),
        ("reg", "node-1", "Assign"),
        ("node-1", run, "Claim"),
        (run, "node-1", "GrantedFiles"),
        ("node-1", run, "FileRequest"),
        (run, "node-1", "Block"),
        ("node-1", run, "Output"),
        ("node-1", run, "Finished"),
        (run, "node-1", "FileRequest"),
        ("node-1", run, "Block"),
        (run, "node-1", "Done"),
        (run, "reg", "Ended"),
    ] {
        let arrived = |(a, b, n, f): &(String, String, String, String)| {
            a == from && b == to && n == message && f == "arrived"
        };
        assert!(arrows.iter().any(arrived), "no {message} from {from} to {to} in {arrows:#?}");
    }
    // All of one host: no clock is moved, and nothing arrives before it was sent.
    assert_eq!(story["notes"], Value::Array(Vec::new()));
    for arrow in story["arrows"].as_array().unwrap() {
        let time = |end: &str| {
            arrow[end].as_u64().map(|event| story["events"][event as usize]["t"].as_u64().unwrap())
        };
        if let (Some(sent), Some(came)) = (time("a"), time("b")) {
            assert!(sent <= came, "{arrow}");
        }
    }
    let page = std::fs::read_to_string(home.here("page.html")).unwrap();
    assert!(page.contains("cat in.txt") && !page.contains("hunter2") && !page.contains("some words"));
    assert_eq!(page.matches("</script>").count(), 2, "what a command says ends no script");
}

/// What is left of a killed daemon's trace, in a window, on standard output.
#[test]
fn a_trace_that_was_cut_off_is_read_and_said() {
    let home = traced();
    let text = home.read("exe.jsonl");
    home.write("torn.jsonl", &text[..text.len() - 20]);
    let ended = finish(home.xxnet(["trace", "torn.jsonl", "-o", "page.html", "--from", "0", "--to", "10m"]));
    ended.expect(0);
    assert!(ended.out.contains("The last line of torn.jsonl is cut off"), "{}", ended.out);
    // Whoever it talked to is pointed at.
    assert!(arrows(&story(&home.here("page.html"))).iter().any(|(.., fate)| fate == "beyond"));
    // The part of the same run that was written before, beside it; of another run, it is none of this one's.
    let lines: Vec<&str> = text.lines().collect();
    home.write("exe2.jsonl", [&lines[..1], &lines[lines.len() / 2..]].concat().join("\n") + "\n");
    home.write("exe2.jsonl.1", lines[..lines.len() / 2].join("\n") + "\n");
    let whole = |name: &str| {
        finish(home.xxnet(["trace", name, "-o", "page.html"])).expect(0);
        arrows(&story(&home.here("page.html")))
    };
    let both = whole("exe2.jsonl");
    assert_eq!(both, whole("exe.jsonl"));
    home.write("exe2.jsonl.1", home.read("reg.jsonl"));
    assert!(whole("exe2.jsonl").len() < both.len());
    let few = finish(home.xxnet(["trace", "exe.jsonl", "-o", "page.html", "--most", "5"]));
    few.expect(0);
    assert!(few.out.contains("earlier events are left out"), "{}", few.out);
    let piped = finish(home.xxnet(["trace", "exe.jsonl", "-o", "-"]));
    piped.expect(0);
    assert!(piped.out.starts_with("<!doctype html>"));
}

#[test]
fn what_cannot_be_shown_is_one_sentence() {
    let home = Home::new();
    home.write("empty", "");
    home.write("notes.txt", "dear diary");
    home.write("good", "{\"xxnet-trace\":1,\"node\":\"a\"}\n");
    home.write("newer", "{\"xxnet-trace\":9,\"node\":\"a\"}\n");
    let trace = |args: &[&str]| finish(home.xxnet(["trace"].iter().chain(args)));
    trace(&["missing"]).expect(1).says("cannot read missing: no such file");
    trace(&["empty"]).expect(1).says("empty is empty");
    trace(&["notes.txt"]).expect(1).says("notes.txt is no trace");
    trace(&["newer"]).expect(1).says("version 9");
    trace(&["good", "-o", "good"]).expect(2).says("would be overwritten");
    trace(&["good", "--from", "2m", "--to", "1m"]).expect(2).says("--from is behind --to");
    trace(&["good", "-o", "no/such/folder.html"]).expect(1).says("cannot write no/such/folder.html");
    trace(&["good", "--most", "0"]).expect(2).says("between 1 and 1000000");
    trace(&["good", "-q"]).expect(0);
    assert_eq!(home.read("good"), "{\"xxnet-trace\":1,\"node\":\"a\"}\n");
    let reg = finish(home.xxnet(["reg", "--listen=127.0.0.1:0", "--trace=notes.txt"]));
    assert!(reg.code() == 1 && reg.err.contains("notes.txt is there and is no trace"), "{}", reg.err);
    assert_eq!(home.read("notes.txt"), "dear diary");
}

/// A killed daemon has written all that it did until then: nothing waits in a buffer while nothing happens.
#[test]
fn what_a_daemon_did_before_it_was_killed_is_in_its_trace() {
    let home = Home::new();
    let mut command = Daemon::registry_command(&home, "127.0.0.1:0");
    command.arg("--name=reg").arg("--trace=reg.jsonl");
    let mut registry = Daemon::start(command, "listening");
    let executor = Daemon::executor(&home, &registry.address, 1, 1);
    // It has answered the executor, and waits.
    until("the registry to write", || home.read("reg.jsonl").contains("\"label\":\"Registered\""));
    registry.kill();
    drop(executor);
    finish(home.xxnet(["trace", "reg.jsonl", "-o", "page.html"])).expect(0);
    let wanted = ["reg", "", "Registered", "beyond"].map(str::to_owned);
    let arrows = arrows(&story(&home.here("page.html")));
    assert!(arrows.contains(&wanted.into()), "{arrows:?}");
}
