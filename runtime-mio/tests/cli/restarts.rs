//! Daemons that are killed and started again as they were: they go on, and what they had left is gone.

use crate::harness::*;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Which processes of an executor are killed.
#[derive(Clone, Copy)]
enum Victim {
    Executor,
    Supervisor,
    Both,
}

/// Kills an executor, waits until it is gone with all of its processes, and starts it again as it was: with its name, its work
/// directory and its address.
fn kill_and_restart(cluster: &mut Cluster, victim: Victim) {
    let mut old = cluster.executors.remove(0);
    let family = family(old.process);
    if let Victim::Supervisor | Victim::Both = victim {
        signal(old.process, libc::SIGKILL);
    }
    if let Victim::Executor | Victim::Both = victim {
        signal(old.inner, libc::SIGKILL);
    }
    until("the executor to be gone", || !old.lives() && family.iter().all(|process| is_gone(*process)));
    let of_executors = |home: &Home| {
        let all = std::fs::read_dir(home.at("work")).unwrap().flatten();
        all.filter(|entry| entry.path() != home.kept()).count()
    };
    let left = of_executors(&cluster.home);
    assert_eq!(left, usize::from(!matches!(victim, Victim::Supervisor)), "a killed executor cannot tidy up");
    let mut again = Daemon::executor_command(&cluster.home, &cluster.registry.address, 1, 1);
    again.arg(format!("--listen={}", old.address));
    cluster.executors.push(Daemon::start(again, "registered"));
    assert_eq!(cluster.executors[0].address, old.address);
    assert_eq!(of_executors(&cluster.home), 1, "what the killed one had left is still there");
}

#[test]
fn x4_a_killed_executor_starts_again_and_goes_on_whatever_it_was_doing() {
    let mut cluster = Cluster::new(1, 1);
    let large = 96 << 20;
    File::create(cluster.home.here("in")).unwrap().set_len(large).unwrap();
    let mark = format!("8{:07}", std::process::id());
    // The first attempt at it never ends by itself; its result is as large as its input.
    let script = |long: bool| {
        let wait = if long { format!("[ $XXNET_ATTEMPT = 2 ] || sleep {mark}") } else { "true".to_owned() };
        format!("echo attempt $XXNET_ATTEMPT; {wait}; mv in out")
    };
    let staged = |home: &Home| {
        let mut names = std::fs::read_dir(home.here("")).unwrap().flatten().map(|entry| entry.file_name());
        names.any(|name| name.to_str().unwrap().starts_with(".xxnet-"))
    };
    kill_and_restart(&mut cluster, Victim::Executor);
    for (moment, victim) in [
        ("fetching", Victim::Executor),
        ("running", Victim::Executor),
        ("running", Victim::Supervisor),
        ("running", Victim::Both),
        ("returning", Victim::Executor),
        ("returning", Victim::Both),
    ] {
        let script = script(moment == "running");
        let args = ["run", "-q", "-i", "in", "-o", "out", "--", "sh", "-c", &script];
        let mut running = Running::start(cluster.xxnet(args));
        match moment {
            "fetching" => until("the input to be on its way", || !cluster.home.work_folders().is_empty()),
            "running" => _ = running.until_out("attempt 1\n"),
            _ => until("the result to be on its way", || staged(&cluster.home)),
        }
        kill_and_restart(&mut cluster, victim);
        assert_eq!(processes(&format!("sleep\0{mark}")), Vec::<u32>::new());
        let ended = running.finish();
        ended.expect(0);
        // On its way does not mean that it is not there by the time of the kill; running and killed is.
        let last = if moment != "running" && ended.out == "attempt 1\n" { 1 } else { 2 };
        assert!(ended.out.ends_with(&format!("attempt {last}\n")), "{moment}: {}", ended.out);
        let out = cluster.home.here("out");
        assert_eq!(std::fs::metadata(&out).unwrap().len(), large, "{moment}");
        std::fs::remove_file(out).unwrap();
        assert!(!staged(&cluster.home), "{moment}: something half-written is left");
        until("the attempt's folder to be gone", || cluster.home.work_folders().is_empty());
        assert!(!cluster.home.kept().exists(), "{moment}: blocks are kept that were taken up");
    }
}

/// An executor that is killed in the middle of a large input, and started again: the second attempt pulls only the rest.
#[test]
fn f10_after_a_kill_only_the_rest_of_an_input_is_pulled() {
    const MIB: u64 = 1 << 20;
    const SIZE: u64 = 256 * MIB;
    let mut cluster = Cluster::new(1, 1);
    let input = File::create(cluster.home.here("in")).unwrap();
    input.set_len(SIZE).unwrap();
    (0..SIZE / MIB).for_each(|n| input.write_all_at(&n.to_le_bytes(), n * MIB + 77 * n).unwrap());
    let (there, go) = (cluster.home.at("there"), cluster.home.at("go"));
    let script = format!(
        "cmp in {} && echo same && touch {} && while [ ! -e {} ]; do sleep 0.01; done",
        cluster.home.here("in").display(),
        there.display(),
        go.display(),
    );
    let running = Running::start(cluster.xxnet(["run", "-q", "-i", "in", "--", "sh", "-c", &script]));
    // How many blocks a journal names, in a folder of either kind: behind its head, each with a number and a hash.
    let blocks = |folder: &Path| std::fs::metadata(folder.join("journal")).map_or(0, |data| data.len() / 40);
    let parts = |home: &Home| home.work_folders().iter().map(|folder| blocks(folder)).sum::<u64>();
    until("a part of the input to be there", || parts(&cluster.home) > 40);
    signal(running.process(), libc::SIGSTOP);
    kill_and_restart(&mut cluster, Victim::Executor);
    let all: Vec<_> = std::fs::read_dir(cluster.home.kept()).unwrap().flatten().collect();
    assert_eq!(all.len(), 1, "{all:?}");
    let kept = blocks(&all[0].path());
    assert!(kept > 40 && kept * MIB < SIZE, "{kept} blocks");
    // What the publisher reads of its file is what it sends.
    let read = |process: u32| -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
        text.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
    };
    let before = read(running.process());
    signal(running.process(), libc::SIGCONT);
    until("the second attempt to have it", || there.exists());
    let pulled = read(running.process()) - before;
    // The journal's head is no longer than the hashes of three blocks, and of those that were being written side by side some may
    // be there behind one that is not.
    assert!(pulled < SIZE - (kept - 12) * MIB, "{pulled} bytes, with {kept} blocks there already");
    assert!(pulled > SIZE - (kept + 1) * MIB, "what the publisher reads is not counted here: {pulled}");
    assert!(!cluster.home.kept().exists());
    std::fs::write(&go, "").unwrap();
    let ended = running.finish();
    ended.expect(0);
    assert_eq!(ended.out, "same\n");
}

/// An executor that has nothing to do removes kept blocks when their hour is over.
#[test]
fn f10_kept_blocks_go_when_their_hour_is_over() {
    let home = Home::new();
    let kept = home.kept().join("of-somebody");
    std::fs::create_dir_all(&kept).unwrap();
    // Of a content that nobody wants: the journal's mark, and its numbers.
    let journal = [b"xxnet kept 1\n\0\0\0".as_slice(), &[0; 40]].concat();
    std::fs::write(kept.join("journal"), journal).unwrap();
    let file = File::options().append(true).open(kept.join("journal")).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(3590)).unwrap();
    let registry = Daemon::registry(&home, "127.0.0.1:0");
    let _executor = Daemon::executor(&home, &registry.address, 1, 1);
    assert!(kept.exists(), "it is gone before its time");
    until("its time to be over", || !home.kept().exists());
}

#[test]
fn t7_an_executor_killed_between_the_end_of_its_command_and_the_result() {
    let mut cluster = Cluster::new(1, 1);
    let (first, second) = (cluster.home.at("ran-1"), cluster.home.at("ran-2"));
    // Nobody reads what the publisher writes. It takes 256 KiB and what its pipe holds; the command's own pipe holds 64 KiB: so
    // the command can write all of this and end, and all of it cannot be at the publisher.
    let script = format!("seq 50000; touch {}/ran-$XXNET_ATTEMPT", cluster.home.at("").display());
    let (running, mut out) = Running::unread(cluster.xxnet(["run", "-q", "--", "sh", "-c", &script]));
    assert!(unsafe { libc::fcntl(out.as_raw_fd(), libc::F_SETPIPE_SZ, 4096) } >= 0);
    let executor = cluster.executors[0].process;
    until("the command to have ended", || first.exists() && family(executor).into_iter().all(is_ours));
    kill_and_restart(&mut cluster, Victim::Executor);
    let mut text = String::new();
    out.read_to_string(&mut text).unwrap();
    running.finish().expect(0);
    assert!(second.exists(), "it was not run again");
    let whole: String = (1..=50_000).map(|n| format!("{n}\n")).collect();
    assert!(text.ends_with(&whole), "the second attempt's output is not whole");
    assert!(text.len() < 2 * whole.len(), "the first attempt's output was all there already");
}

#[test]
fn x4_a_registry_killed_at_every_stage_of_a_task() {
    let mut cluster = Cluster::new(0, 0);
    let home = Home::new();
    let restart = |cluster: &mut Cluster| {
        let address = cluster.registry.address.clone();
        cluster.registry.kill();
        cluster.registry = Daemon::registry(&cluster.home, &address);
    };
    // While it waits for an executor; and once more before anybody can have come back.
    let go = home.at("go");
    let script = format!("echo on; while [ ! -e {} ]; do sleep 0.01; done; echo end", go.display());
    let mut running = Running::start(cluster.xxnet(["run", "--", "sh", "-c", &script]));
    running.until_err("no other executor is registered");
    restart(&mut cluster);
    restart(&mut cluster);
    cluster.until_tasks(|tasks| tasks.len() == 1 && tasks[0]["state"] == "waiting");
    cluster.executors.push(Daemon::executor(&cluster.home, &cluster.registry.address, 1, 1));
    running.until_out("on\n");
    // While it runs: neither it nor its slot is touched, and what waits behind it is known again.
    let mut behind = Running::start(cluster.xxnet(["run", "--", "echo", "behind"]));
    cluster.until_tasks(|tasks| tasks.len() == 2);
    restart(&mut cluster);
    let tasks =
        cluster.until_tasks(|tasks| tasks.len() == 2 && tasks.iter().any(|task| task["state"] == "running"));
    assert!(tasks.iter().any(|task| task["state"] == "waiting"), "{tasks:?}");
    assert_eq!((running.out().as_str(), behind.out().as_str()), ("on\n", ""));
    // While it is away the task ends.
    let address = cluster.registry.address.clone();
    cluster.registry.kill();
    std::fs::write(&go, "").unwrap();
    let ended = running.finish();
    ended.expect(0);
    assert_eq!(ended.out, "on\nend\n", "it ran once");
    cluster.registry = Daemon::registry(&cluster.home, &address);
    behind.until_out("behind\n");
    behind.finish().expect(0);
    // After its end: it does not come again, and others do.
    restart(&mut cluster);
    assert_eq!(cluster.run(&["--", "echo", "after"]).expect(0).out, "after\n");
    let tasks = cluster.until_tasks(|tasks| tasks.iter().all(|task| task["state"] == "done"));
    assert_eq!(tasks.len(), 1, "{tasks:?}");
}
