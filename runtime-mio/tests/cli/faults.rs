//! Processes that die: what users were promised about the rest.

use crate::harness::*;
use std::time::Duration;

#[test]
fn t7_an_executor_killed_while_it_runs_a_task() {
    let mut cluster = Cluster::new(2, 1);
    let mark = format!("4{:07}", std::process::id());
    // The first attempt would run for ever; the second ends.
    let script = format!("echo attempt $XXNET_ATTEMPT; [ $XXNET_ATTEMPT = 2 ] || sleep {mark}");
    let mut running = Running::start(cluster.xxnet(["run", "--", "sh", "-c", &script]));
    running.until_out("attempt 1");
    let tasks = cluster.until_tasks(|tasks| tasks.len() == 1 && tasks[0]["executor"].is_string());
    let victim = if tasks[0]["executor"] == "node-1" { 0 } else { 1 };
    let killed = std::time::Instant::now();
    cluster.executors[victim].kill();
    running.until_out("attempt 2");
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    assert_eq!(processes(&format!("sleep\0{mark}")), Vec::<u32>::new());
    let ended = running.finish();
    ended.expect(0);
    assert_eq!(ended.out, "attempt 1\nattempt 2\n");
    assert!(ended.err.contains("attempt 1") && ended.err.contains("its output starts anew"), "{}", ended.err);
}

#[test]
fn t7_a_host_that_falls_silent_keeps_its_task_until_the_lease_is_over() {
    let cluster = Cluster::new(2, 1);
    let mark = format!("1{:07}", std::process::id());
    let script = format!("echo attempt $XXNET_ATTEMPT; [ $XXNET_ATTEMPT = 2 ] || sleep {mark}");
    let mut running = Running::start(cluster.xxnet(["run", "--", "sh", "-c", &script]));
    running.until_out("attempt 1");
    let tasks = cluster.until_tasks(|tasks| tasks.len() == 1 && tasks[0]["executor"].is_string());
    let victim = if tasks[0]["executor"] == "node-1" { 0 } else { 1 };
    // As if the whole host were frozen: supervisor, executor, keepers, commands.
    let frozen = family(cluster.executors[victim].process);
    let silent = std::time::Instant::now();
    frozen.iter().for_each(|process| signal(*process, libc::SIGSTOP));
    running.until_out("attempt 2");
    let took = silent.elapsed();
    let alive = processes(&format!("sleep\0{mark}"));
    // Renewals are 3 s apart, so the last one was heard at most that long before.
    assert!(took > Duration::from_secs(11) && took < Duration::from_secs(20), "{took:?}");
    assert!(!alive.is_empty(), "the frozen command should still be there");
    running.finish().expect(0);
    frozen.iter().for_each(|process| signal(*process, libc::SIGCONT));
    // Thawed, it is ended within a second or so: its deadline has passed.
    within(Duration::from_secs(5), "the thawed command to be ended", || {
        processes(&format!("sleep\0{mark}")).is_empty()
    });
}

#[test]
fn t6_a_publisher_killed_while_its_task_runs() {
    let cluster = Cluster::new(1, 1);
    let mark = format!("3{:07}", std::process::id());
    let mut running =
        Running::start(cluster.xxnet(["run", "--", "sh", "-c", &format!("echo on; sleep {mark}")]));
    running.until_out("on");
    until("the command to be further than its first line", || {
        !processes(&format!("sleep\0{mark}")).is_empty()
    });
    running.signal(libc::SIGKILL);
    within(Duration::from_secs(15), "the task to be ended", || {
        processes(&format!("sleep\0{mark}")).is_empty()
    });
    within(Duration::from_secs(5), "its folder to be gone", || cluster.home.work_folders().is_empty());
    cluster.run(&["--", "true"]).expect(0);
}

#[test]
fn r4_a_registry_killed_under_running_and_queued_tasks() {
    let mut cluster = Cluster::new(2, 4);
    let log = cluster.home.at("ran");
    std::fs::create_dir(&log).unwrap();
    let count = 200;
    let tasks: Vec<Running> = (0..count)
        .map(|n| {
            // Each run leaves a file of its own: two would show.
            let script = format!("mktemp {}/{n}.XXXXXX; sleep 0.1", log.display());
            Running::start(cluster.xxnet(["run", "-q", "--", "sh", "-c", &script]))
        })
        .collect();
    until("some to have run", || std::fs::read_dir(&log).unwrap().count() >= 20);
    let address = cluster.registry.address.clone();
    cluster.registry.kill();
    cluster.registry = Daemon::registry(&cluster.home, &address);
    for task in tasks {
        task.finish().expect(0);
    }
    let mut ran: Vec<String> =
        std::fs::read_dir(&log).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    ran.iter_mut().for_each(|name| name.truncate(name.find('.').unwrap()));
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len(), count, "some never ran, or the list has doubles");
    assert_eq!(std::fs::read_dir(&log).unwrap().count(), count, "some ran twice");
}

#[test]
fn x3_daemons_told_to_end_leave_nothing_behind() {
    let mut cluster = Cluster::new(1, 2);
    let mark = format!("2{:07}", std::process::id());
    let mut running =
        Running::start(cluster.xxnet(["run", "--", "sh", "-c", &format!("echo on; sleep {mark}")]));
    running.until_out("on");
    assert!(cluster.executors[0].terminate().success());
    assert_eq!(processes(&format!("sleep\0{mark}")), Vec::<u32>::new());
    assert_eq!(std::fs::read_dir(cluster.home.at("work")).unwrap().count(), 0, "work folders are left");
    // The task waits for another executor, and can still be cancelled.
    running.signal(libc::SIGINT);
    running.finish().expect(130);
    assert!(cluster.registry.terminate().success());
}
