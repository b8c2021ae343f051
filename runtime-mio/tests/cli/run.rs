//! `xxnet run`: streams, exit codes, signals.

use crate::harness::*;
use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

#[test]
fn t1_the_count_is_shown_the_file_comes_back_the_code_is_kept() {
    let cluster = Cluster::new(2, 1);
    cluster.home.write("README.md", "one two three\nfour\n");
    let ended = cluster.run(&[
        "--in",
        "README.md",
        "--out",
        "n.txt",
        "--",
        "sh",
        "-c",
        "wc -w README.md | tee n.txt; exit 3",
    ]);
    ended.expect(3);
    assert_eq!(ended.out, "4 README.md\n");
    assert_eq!(ended.err, "");
    assert_eq!(cluster.home.read("n.txt"), "4 README.md\n");
    assert_eq!(cluster.home.work_folders(), Vec::<std::path::PathBuf>::new(), "folders are left");
}

#[test]
fn t8_exit_codes_are_the_commands_own() {
    let cluster = Cluster::new(1, 2);
    for code in [0, 1, 2, 42, 124, 125, 126, 127, 255] {
        let ended = cluster.run(&["sh", "-c", &format!("exit {code}")]);
        ended.expect(code);
        assert_eq!(ended.err, "");
    }
    cluster.run(&["--", "sh", "-c", "kill -TERM $$"]).expect(128 + 15);
    cluster.run(&["--", "sh", "-c", "kill -KILL $$"]).expect(128 + 9);
}

#[test]
fn t8_a_command_that_is_not_there_or_cannot_be_executed() {
    let cluster = Cluster::new(1, 1);
    cluster.run(&["--", "surely-no-such-command"]).expect(127).says("no command 'surely-no-such-command'");
    cluster.home.write("plain.txt", "text");
    cluster.run(&["-i", "plain.txt", "--", "./plain.txt"]).expect(126).says("cannot execute");
    cluster.run(&["--", "./none"]).expect(127).says("no command './none'");
}

#[test]
fn t8_a_timeout_ends_the_command_and_all_it_started() {
    let cluster = Cluster::new(1, 1);
    let mark = format!("7{:07}", std::process::id());
    let script = format!("setsid sleep {mark} & sleep {mark} & echo on; sleep {mark}");
    let ended = cluster.run(&["--timeout", "0.5s", "--", "sh", "-c", &script]);
    ended.expect(124).says("--timeout");
    assert_eq!(ended.out, "on\n");
    assert!(ended.took < Duration::from_secs(10), "{:?}", ended.took);
    assert_eq!(processes(&mark), Vec::<u32>::new());
}

#[test]
fn t8_children_that_outlive_the_command_are_ended() {
    let cluster = Cluster::new(1, 1);
    let mark = format!("6{:07}", std::process::id());
    let script = format!("setsid sleep {mark} >/dev/null 2>&1 & echo done");
    let ended = cluster.run(&["--", "sh", "-c", &script]);
    ended.expect(0);
    assert_eq!(ended.out, "done\n");
    assert_eq!(processes(&mark), Vec::<u32>::new());
}

#[test]
fn t8_much_output_arrives_whole_and_before_the_exit() {
    let cluster = Cluster::new(1, 1);
    let ended = cluster.run(&["--", "sh", "-c", "seq 1 2000000; seq 1 300000 >&2; echo end"]);
    ended.expect(0);
    assert!(ended.out.starts_with("1\n2\n3\n") && ended.out.ends_with("2000000\nend\n"));
    assert_eq!(ended.out.lines().count(), 2_000_001);
    assert_eq!(ended.err.lines().count(), 300_000);
}

#[test]
fn t8_a_line_is_seen_as_soon_as_it_is_written() {
    let cluster = Cluster::new(1, 1);
    let script = "for i in 1 2 3 4 5; do date +%s%N; sleep 0.2; done";
    let mut running = Running::start(cluster.xxnet(["run", "--", "sh", "-c", script]));
    let began = (std::time::SystemTime::now(), std::time::Instant::now());
    let mut text = String::new();
    let mut slowest = Duration::ZERO;
    for line in 1..=5 {
        let at = running.until_lines(line);
        text = running.out();
        let written: u64 = text.lines().nth(line - 1).unwrap().parse().unwrap();
        let written = std::time::UNIX_EPOCH + Duration::from_nanos(written);
        let seen = began.0 + at.duration_since(began.1);
        slowest = slowest.max(seen.duration_since(written).unwrap_or_default());
    }
    running.finish().expect(0);
    assert!(slowest < Duration::from_millis(100), "{slowest:?} until a line was seen:\n{text}");
}

#[test]
fn t8_a_reader_that_goes_away_ends_it_quietly() {
    let cluster = Cluster::new(1, 1);
    let mark = format!("9{:07}", std::process::id());
    // `yes` never ends by itself.
    let mut running = Running::start(cluster.xxnet(["run", "--", "yes", &mark]));
    running.until_out(&mark);
    let process = running.process();
    running.close_out();
    let ended = running.finish();
    ended.expect(141);
    assert_eq!(ended.err, "");
    assert_eq!(processes(&process.to_string()).iter().filter(|p| **p == process).count(), 0);
    until("the command to be ended", || processes(&mark).is_empty());
    cluster.run(&["--", "true"]).expect(0);
}

#[test]
fn t8_an_output_that_cannot_be_written_is_told() {
    let cluster = Cluster::new(1, 1);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = cluster.xxnet(["run", "--", "sh", "-c", "echo lost; sleep 60"]);
    let mut child = command.stdout(Stdio::from(full)).stderr(Stdio::piped()).spawn().unwrap();
    let mut err = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut err).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(125));
    assert!(err.starts_with("xxnet: cannot write the command's output: no space"), "{err}");
}

#[test]
fn t8_standard_input_is_forwarded_from_a_pipe_and_a_file() {
    let cluster = Cluster::new(1, 1);
    let mut command = cluster.xxnet(["run", "--", "sh", "-c", "read a; echo got $a; wc -c"]);
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    let mut stdin = running.stdin();
    stdin.write_all(b"first\n").unwrap();
    // What was written is there before the pipe is closed.
    running.until_out("got first\n");
    stdin.write_all(&vec![b'x'; 3_000_000]).unwrap();
    drop(stdin);
    let ended = running.finish();
    ended.expect(0);
    assert!(ended.out.ends_with("3000000\n"), "{}", ended.out);

    cluster.home.write("in.txt", "a b c\n");
    let mut command = cluster.xxnet(["run", "--", "cat"]);
    command.stdin(std::fs::File::open(cluster.home.here("in.txt")).unwrap());
    assert_eq!(finish(command).expect(0).out, "a b c\n");

    let mut command = cluster.xxnet(["run", "-n", "--", "wc", "-c"]);
    command.stdin(std::fs::File::open(cluster.home.here("in.txt")).unwrap());
    assert_eq!(finish(command).expect(0).out, "0\n");
}

#[test]
fn t8_a_command_that_does_not_read_its_input_is_not_held_up() {
    let cluster = Cluster::new(1, 1);
    let mut command = cluster.xxnet(["run", "--", "true"]);
    command.stdin(Stdio::piped());
    let mut running = Running::start(command);
    // Held open until it has ended.
    let stdin = running.stdin();
    running.finish().expect(0);
    drop(stdin);
}

#[test]
fn t8_the_environment_is_clean_and_what_was_set() {
    let cluster = Cluster::new(1, 1);
    let mut command = cluster.xxnet(["run", "-e", "A=1 2", "--env", "B", "-e", "NONE", "--", "env"]);
    command.env("B", "ours").env("C", "stays here").env_remove("NONE");
    let ended = finish(command);
    ended.expect(0);
    let names: Vec<&str> = ended.out.lines().filter_map(|line| line.split('=').next()).collect();
    for name in names {
        let known = ["PATH", "HOME", "LANG", "A", "B", "XXNET_TASK", "XXNET_ATTEMPT", "PWD", "SHLVL", "_"];
        assert!(known.contains(&name), "{name} should not be there:\n{}", ended.out);
    }
    assert!(ended.out.contains("A=1 2\n") && ended.out.contains("B=ours\n"), "{}", ended.out);
    assert!(ended.out.contains("XXNET_ATTEMPT=1\n") && ended.out.contains("XXNET_TASK="), "{}", ended.out);
}

#[test]
fn t9_ctrl_c_cancels_the_task() {
    let cluster = Cluster::new(1, 1);
    let mark = format!("5{:07}", std::process::id());
    let mut running =
        Running::start(cluster.xxnet(["run", "--", "sh", "-c", &format!("echo on; sleep {mark}")]));
    running.until_out("on");
    running.signal(libc::SIGINT);
    let ended = running.finish();
    ended.expect(130);
    until("the command to be ended", || processes(&format!("sleep\0{mark}")).is_empty());
    cluster.until_tasks(|tasks| tasks[0]["state"] == "cancelled");
    until("its folder to be gone", || cluster.home.work_folders().is_empty());
    // The slot is free again.
    cluster.run(&["--", "true"]).expect(0);
}

#[test]
fn t9_a_second_ctrl_c_leaves_at_once() {
    let cluster = Cluster::new(1, 1);
    let mut running = Running::start(cluster.xxnet(["run", "--", "sh", "-c", "echo on; sleep 50"]));
    running.until_out("on");
    // A stopped executor never confirms anything.
    signal(cluster.executors[0].inner, libc::SIGSTOP);
    running.signal(libc::SIGINT);
    running.until_err("cancelling");
    running.signal(libc::SIGINT);
    let ended = running.finish();
    signal(cluster.executors[0].inner, libc::SIGCONT);
    ended.expect(130);
}

#[test]
fn t9_cancel_from_elsewhere_ends_it_once() {
    let cluster = Cluster::new(1, 1);
    let mut running = Running::start(cluster.xxnet(["run", "--", "sh", "-c", "echo on; sleep 50"]));
    running.until_out("on");
    let tasks = cluster.until_tasks(|tasks| tasks.len() == 1 && tasks[0]["state"] == "running");
    let task = tasks[0]["task"].as_str().unwrap().to_owned();
    let why = cluster.json(&["why", &task]);
    assert_eq!(why["task"], task.as_str());
    assert!(why["state"].as_str().unwrap().contains("running"), "{why}");
    let ended = finish(cluster.xxnet(["cancel", &task]));
    ended.expect(0);
    assert_eq!(ended.out, format!("{task} is cancelled\n"));
    running.finish().expect(125).says("cancelled");
    // Twice is harmless, and says so.
    finish(cluster.xxnet(["cancel", &task])).expect(0);
    finish(cluster.xxnet(["cancel", "ffffffff-9"])).expect(1).says("no task is called ffffffff-9");
    finish(cluster.xxnet(["cancel", "nonsense"])).expect(2);
}

#[test]
fn t9_cancel_while_it_waits() {
    let cluster = Cluster::new(0, 0);
    let mut running = Running::start(cluster.xxnet(["run", "--", "true"]));
    running.until_err("no other executor is registered");
    let tasks = cluster.until_tasks(|tasks| tasks.len() == 1);
    assert_eq!(tasks[0]["state"], "waiting");
    let task = tasks[0]["task"].as_str().unwrap().to_owned();
    finish(cluster.xxnet(["cancel", &task])).expect(0);
    assert_eq!(running.finish().code(), 125);
}

#[test]
fn t4_a_task_waits_for_an_executor_or_expires() {
    let mut cluster = Cluster::new(0, 0);
    let ended = cluster.run(&["--patience", "0.3s", "--", "true"]);
    ended.expect(125).says("--patience");
    let mut running = Running::start(cluster.xxnet(["run", "--", "echo", "at last"]));
    running.until_err("no other executor is registered");
    cluster.executors.push(Daemon::executor(&cluster.home, &cluster.registry.address, 1, 1));
    let ended = running.finish();
    ended.expect(0);
    assert_eq!(ended.out, "at last\n");
    assert_eq!(ended.err.lines().count(), 1, "said more than once:\n{}", ended.err);
}

#[test]
fn t5_a_task_runs_here_only_if_asked() {
    let home = Home::new();
    home.write("in.txt", "here\n");
    let ended = finish(home.xxnet([
        "run",
        "--local",
        "-i",
        "in.txt",
        "-o",
        "out.txt",
        "--",
        "sh",
        "-c",
        "tee out.txt < in.txt; exit 4",
    ]));
    ended.expect(4);
    assert_eq!(ended.out, "here\n");
    assert_eq!(home.read("out.txt"), "here\n");
    let cache = home.at(".cache/xxnet/work");
    assert_eq!(std::fs::read_dir(cache).unwrap().count(), 0, "work folders are left");
}

#[test]
fn t12_a_need_that_nobody_there_meets_is_said_at_once_and_waited_for() {
    let mut cluster = Cluster::new(1, 1);
    let arch = std::env::consts::ARCH;
    let needed = ["run", "--need", "gpu=a100", "--need", &format!("arch={arch}"), "--", "echo", "at last"];
    let mut running = Running::start(cluster.xxnet(needed));
    running.until_err(&format!("no executor that is there has gpu=a100 and arch={arch}"));
    let mut command = Daemon::executor_command(&cluster.home, &cluster.registry.address, 2, 1);
    command.args(["--label", "gpu=a100", "--label", "big"]);
    cluster.executors.push(Daemon::start(command, "registered"));
    let ended = running.finish();
    ended.expect(0);
    assert_eq!(ended.out, "at last\n");
    let listed = finish(cluster.xxnet(["nodes"]));
    let line = listed.out.lines().find(|line| line.contains("gpu=a100")).unwrap().to_owned();
    assert!(line.contains("big") && line.contains(&format!("arch={arch}")), "{line}");
    // Everybody has these: no need to wait.
    cluster.run(&["--need", "os", "--", "true"]).expect(0);
}

#[test]
fn t12_a_need_that_can_never_be_met_and_one_that_is_none() {
    let home = Home::new();
    let ended = finish(home.xxnet(["run", "--local", "--need", "gpu", "--", "true"]));
    ended.expect(125).says("it has no label gpu");
    let ended = finish(home.xxnet(["run", "--need", "=x", "--", "true"]));
    ended.expect(125).says("NAME=VALUE");
}
