//! Cases whose body is the executor itself.

use crate::Inside;
use crate::look::{self, LEFT, leaves_behind, marked, marker, sleepers};
use crate::rig::{Outcome, PATIENCE, Rig, now, spec, until};
use bytes::Bytes;
use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant as Wall};
use xxnet_core::process::{ExitStatus, ProcessAction, ProcessEvent, SpawnError, Stream};
use xxnet_core::{Instant, RunId};

pub(crate) const CASES: &[(&str, Inside)] = &[
    ("t8_exit_codes_and_signals", exit_codes_and_signals),
    ("t8_output_is_whole_and_ends_once", output_is_whole),
    ("t8_a_command_that_cannot_run_says_why", cannot_run),
    ("t8_a_script_without_interpreter_runs", script_without_interpreter),
    ("t8_the_environment_is_clean", clean_environment),
    ("t8_signals_and_descriptors_are_as_new", clean_process),
    ("t8_large_specs_arrive", large_specs),
    ("t8_children_that_outlive_the_command_are_killed", outliving_children),
    ("t8_a_daemon_may_end_while_the_command_runs", daemons_are_reaped),
    ("t8_forking_without_end_is_ended", fork_bomb),
    ("t8_hopping_from_process_to_process_is_ended", hopper),
    ("t8_gigabytes_of_output_under_backpressure", gigabytes),
    ("t8_unread_output_outlives_the_command", output_after_exit),
    ("t8_standard_input_is_fed_and_closed", standard_input),
    ("t8_standard_input_that_nobody_reads", standard_input_refused),
    ("t9_kill_ends_every_descendant", kill_ends_all),
    ("t9_kill_in_every_state_is_harmless", kill_in_every_state),
    ("t7_a_killed_keeper_leaves_nothing", killed_keeper),
    ("t7_a_stopped_keeper_is_overruled", stopped_keeper),
    ("t7_a_killed_idle_keeper_is_replaced", killed_idle_keeper),
    ("t14_a_late_spawn_is_refused", late_spawn),
    ("t14_the_deadline_kills_and_moves", deadline),
    ("t13_many_at_once", many_at_once),
    ("x3_no_descriptor_or_zombie_is_left", nothing_is_left),
    ("n2_a_released_listener_frees_its_address", released_listener),
];

fn code(code: i32) -> Option<ExitStatus> {
    Some(ExitStatus::Code(code))
}

fn exit_codes_and_signals(mut rig: Rig) {
    assert_eq!(rig.run(&["true"]).status, code(0));
    assert_eq!(rig.run(&["false"]).status, code(1));
    assert_eq!(rig.sh("exit 255").status, code(255));
    assert_eq!(rig.sh("kill -TERM $$").status, Some(ExitStatus::Signal(libc::SIGTERM)));
    assert_eq!(rig.sh("kill -9 $$").status, Some(ExitStatus::Signal(libc::SIGKILL)));
}

fn output_is_whole(mut rig: Rig) {
    let outcome = rig.sh("echo one; echo two >&2; printf three");
    let expected = [b"one\nthree".to_vec(), b"two\n".to_vec()];
    assert_eq!(outcome, Outcome { status: code(0), error: None, output: expected });
    // Nothing more is said about it, and its end is not told again.
    let run = rig.spawned(spec(&["true"]));
    rig.exited(run);
    while rig.event_within(Duration::from_millis(100)).is_some() {}
    Stream::BOTH.into_iter().for_each(|stream| rig.arm(run, stream));
    assert_eq!(rig.event_within(Duration::from_millis(100)), None);
}

fn cannot_run(mut rig: Rig) {
    let folder = rig.folder.clone();
    fs::write(folder.join("plain"), "not a program").unwrap();
    fs::create_dir(folder.join("dir")).unwrap();
    let mut error = |argv: &[&str]| {
        let outcome = rig.run(argv);
        assert_eq!(outcome.status, None, "{argv:?}");
        outcome.error.unwrap()
    };
    assert_eq!(error(&["no-such-command-here"]), SpawnError::NotFound);
    assert_eq!(error(&["./missing"]), SpawnError::NotFound);
    assert_eq!(error(&["/no/such/folder/x"]), SpawnError::NotFound);
    assert_eq!(error(&["./plain/x"]), SpawnError::NotFound);
    assert_eq!(error(&[""]), SpawnError::NotFound);
    assert_eq!(error(&["./plain"]), SpawnError::NotExecutable);
    assert_eq!(error(&["./dir"]), SpawnError::NotExecutable);
    // Zero bytes cannot be told to a command, nor an argument that the system finds too long.
    assert_eq!(error(&["true", "a\0b"]), SpawnError::System(libc::EINVAL));
    assert_eq!(error(&["true", &"x".repeat(1 << 20)]), SpawnError::System(libc::E2BIG));
    // Found by the run's own PATH, relative to its folder; what cannot be executed is passed over but remembered.
    fs::write(folder.join("dir/tool"), "#!/bin/sh\necho found\n").unwrap();
    let with_path = |path: &str| {
        let mut spec = spec(&["tool"]);
        spec.env.push((b"PATH".to_vec(), path.as_bytes().to_vec()));
        spec
    };
    let run = rig.spawn(with_path("/nowhere:dir"));
    assert_eq!(rig.finish(run).error, Some(SpawnError::NotExecutable));
    fs::set_permissions(folder.join("dir/tool"), fs::Permissions::from_mode(0o755)).unwrap();
    let run = rig.spawn(with_path("/nowhere:dir"));
    assert_eq!(rig.finish(run).text(), "found\n");
    rig.folder.push("gone");
    assert_eq!(rig.run(&["true"]).error, Some(SpawnError::System(libc::ENOENT)));
}

fn script_without_interpreter(mut rig: Rig) {
    let script = rig.folder.join("script");
    fs::write(&script, "echo \"$0 $1 $#\"\nexit 4\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let outcome = rig.run(&["./script", "a b", "c"]);
    assert_eq!((outcome.text(), outcome.status), ("./script a b 2\n", code(4)));
}

fn clean_environment(mut rig: Rig) {
    let names = |text: &str| {
        let mut names: Vec<String> =
            text.lines().map(|line| line.split('=').next().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    let outcome = rig.run(&["env"]);
    assert_eq!(names(outcome.text()), ["HOME", "LANG", "PATH", "XXNET_ATTEMPT", "XXNET_TASK"]);
    assert!(outcome.text().contains("XXNET_TASK=abababab-7\n"), "{}", outcome.text());
    assert!(outcome.text().contains("XXNET_ATTEMPT=3\n"));
    let mut own = spec(&["env"]);
    for (name, value) in [("HOME", "/elsewhere"), ("MINE", "x=y z"), ("XXNET_ATTEMPT", "9"), ("MINE", "last")]
    {
        own.env.push((name.into(), value.into()));
    }
    let run = rig.spawn(own);
    let outcome = rig.finish(run);
    for line in ["HOME=/elsewhere\n", "MINE=last\n", "XXNET_ATTEMPT=3\n"] {
        assert!(outcome.text().contains(line), "{line} in {}", outcome.text());
    }
}

fn clean_process(mut rig: Rig) {
    let status = rig.run(&["cat", "/proc/self/status"]);
    let line = |name: &str| {
        let line = status.text().lines().find_map(|line| line.strip_prefix(name)).unwrap();
        // Signals 32 and 33 belong to the C library, which lets nobody touch them.
        u64::from_str_radix(line.trim(), 16).unwrap() & !(3 << 31)
    };
    assert_eq!((line("SigBlk:"), line("SigIgn:"), line("SigCgt:")), (0, 0, 0));
    // Its three streams, and the folder that is being listed.
    assert_eq!(rig.run(&["ls", "/proc/self/fd"]).text(), "0\n1\n2\n3\n");
    assert_eq!(rig.run(&["readlink", "/proc/self/fd/0"]).text(), "/dev/null\n");
    assert_eq!(rig.run(&["pwd"]).text(), format!("{}\n", rig.folder.display()));
    // A session of its own: no terminal signal reaches it, and it cannot join the daemon's process group.
    let ids = rig.sh("ps -o sid=,pgid=,pid= -p $$");
    let ids: Vec<&str> = ids.text().split_whitespace().collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

fn large_specs(mut rig: Rig) {
    for size in [20_000, 32_000, 33_000, 100_000] {
        let text = "x".repeat(size);
        assert_eq!(rig.run(&["printf", "%s", &text]).text(), text);
    }
    let mut argv = vec!["sh", "-c", "echo $#"];
    argv.resize(20_003, "argument");
    assert_eq!(rig.run(&argv).text(), "19999\n");
}

fn outliving_children(mut rig: Rig) {
    let marker = marker();
    let run = rig.spawned(spec(&["sh", "-c", &leaves_behind(&marker)]));
    until("all of them sleep", || sleepers(&marker) == LEFT);
    fs::write(rig.folder.join("go"), "").unwrap();
    assert_eq!(rig.exited(run), ExitStatus::Code(5));
    assert!(marked(&marker).is_empty(), "{:?}", marked(&marker));
    // The same keeper serves the next attempt just as well.
    assert_eq!(rig.sh("exit 6").status, code(6));
}

fn daemons_are_reaped(mut rig: Rig) {
    let run = rig.spawned(spec(&[
        "sh",
        "-c",
        "for i in 1 2 3 4 5; do (setsid true &); done; : > on; exec sleep 600",
    ]));
    rig.wait_for("on");
    let supervisor = std::os::unix::process::parent_id() as i32;
    until("no zombie is kept", || look::below(supervisor).iter().all(|process| process.state != 'Z'));
    rig.act(ProcessAction::Kill { run });
    assert_eq!(rig.exited(run), ExitStatus::Signal(libc::SIGKILL));
}

fn fork_bomb(mut rig: Rig) {
    let marker = marker();
    // A tree of sessions, each process of which forks on; and one that forks as fast as it can until it is killed.
    let tree = "#!/bin/sh\n[ $1 -gt 0 ] && { setsid ./tree $(($1 - 1)) & setsid ./tree $(($1 - 1)) & }\nexec sleep M\n";
    fs::write(rig.folder.join("tree"), tree.replace('M', &marker)).unwrap();
    fs::set_permissions(rig.folder.join("tree"), fs::Permissions::from_mode(0o755)).unwrap();
    let script =
        format!("./tree 6 & i=0; while [ $i -lt 2000 ]; do setsid sleep {marker} & i=$((i+1)); done; wait");
    let run = rig.spawned(spec(&["sh", "-c", &script]));
    until("many sleep", || sleepers(&marker) > 150);
    rig.act(ProcessAction::Kill { run });
    let began = Wall::now();
    assert_eq!(rig.exited(run), ExitStatus::Signal(libc::SIGKILL));
    assert!(marked(&marker).is_empty(), "{} are left", marked(&marker).len());
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
}

/// Forks and ends, over and over, each time in a session of its own: whoever looks for it finds where it was.
pub(crate) fn hop() -> ! {
    let end = Wall::now() + PATIENCE * 2;
    while Wall::now() < end {
        // SAFETY: this process has one thread, and the child goes on as its parent did.
        unsafe {
            if libc::fork() > 0 {
                libc::_exit(0);
            }
            libc::setsid();
        }
    }
    std::process::exit(0)
}

fn hopper(mut rig: Rig) {
    let marker = marker();
    let program = std::env::current_exe().unwrap();
    let script =
        format!("{} --hop {marker} & {} --hop {marker} & sleep 600", program.display(), program.display());
    let run = rig.spawned(spec(&["sh", "-c", &script]));
    until("it hops", || {
        marked(&marker).iter().any(|process| process.command.contains(" --hop ") && process.name != "sh")
    });
    std::thread::sleep(Duration::from_millis(20));
    rig.act(ProcessAction::Kill { run });
    assert_eq!(rig.exited(run), ExitStatus::Signal(libc::SIGKILL));
    for _ in 0..5 {
        assert!(marked(&marker).is_empty(), "{:?}", marked(&marker));
    }
}

fn gigabytes(mut rig: Rig) {
    const TOTAL: u64 = 2 << 30;
    let run = rig.spawned(spec(&["head", "-c", &TOTAL.to_string(), "/dev/zero"]));
    // Nobody reads: the command waits, and nothing is said.
    assert_eq!(rig.event_within(Duration::from_millis(200)), None);
    rig.arm(run, Stream::Stdout);
    let before = look::status_kb("VmHWM");
    let mut seen = 0;
    loop {
        match rig.event() {
            ProcessEvent::Output { data, stream: Stream::Stdout, .. } => {
                assert!(data.len() <= 64 << 10);
                seen += data.len() as u64;
                if seen > TOTAL / 2 && seen - (data.len() as u64) <= TOTAL / 2 {
                    // Not arming is backpressure, in the middle too.
                    assert_eq!(rig.event_within(Duration::from_millis(100)), None);
                }
                rig.arm(run, Stream::Stdout);
            }
            ProcessEvent::OutputEnded { stream: Stream::Stdout, .. } => break,
            ProcessEvent::Exited { .. } | ProcessEvent::OutputEnded { .. } => {}
            other => panic!("unexpected {other:?}"),
        }
    }
    assert_eq!(seen, TOTAL);
    let grown = look::status_kb("VmHWM") - before;
    assert!(grown < 8 << 10, "memory grew by {grown} KB");
}

fn output_after_exit(mut rig: Rig) {
    let descriptors = look::open_descriptors();
    let run = rig.spawned(spec(&["sh", "-c", "printf 0123456789; printf error >&2"]));
    rig.expect(ProcessEvent::Exited { run, status: ExitStatus::Code(0) });
    assert_eq!(look::open_descriptors(), descriptors, "no pipe stays open for a reader who takes its time");
    assert_eq!(rig.event_within(Duration::from_millis(50)), None);
    for part in [&b"0123"[..], b"4567", b"89"] {
        rig.act(ProcessAction::ReadOutput { run, stream: Stream::Stdout, max: 4 });
        rig.expect(ProcessEvent::Output { run, stream: Stream::Stdout, data: Bytes::from_static(part) });
    }
    rig.expect(ProcessEvent::OutputEnded { run, stream: Stream::Stdout });
    rig.arm(run, Stream::Stderr);
    rig.expect(ProcessEvent::Output { run, stream: Stream::Stderr, data: Bytes::from_static(b"error") });
    rig.expect(ProcessEvent::OutputEnded { run, stream: Stream::Stderr });
    // The ends are told of streams that are never read, too.
    let run = rig.spawned(spec(&["true"]));
    rig.expect(ProcessEvent::Exited { run, status: ExitStatus::Code(0) });
    rig.expect(ProcessEvent::OutputEnded { run, stream: Stream::Stdout });
    rig.expect(ProcessEvent::OutputEnded { run, stream: Stream::Stderr });
    assert_eq!(rig.event_within(Duration::from_millis(50)), None);
}

fn standard_input(mut rig: Rig) {
    let mut fed = spec(&["cat"]);
    fed.stdin = true;
    let run = rig.spawned(fed.clone());
    rig.arm(run, Stream::Stdout);
    let data: Bytes = (0..5_000_000_u32).map(|number| ((number * 7) >> 3) as u8).collect();
    rig.act(ProcessAction::WriteInput { run, data: data.clone() });
    let (mut back, mut taken, mut ended) = (Vec::new(), false, false);
    while !ended {
        match rig.event() {
            ProcessEvent::Output { data, .. } => {
                back.extend_from_slice(&data);
                rig.arm(run, Stream::Stdout);
            }
            ProcessEvent::InputTaken { .. } => {
                assert!(!std::mem::replace(&mut taken, true));
                rig.act(ProcessAction::CloseInput { run });
            }
            ProcessEvent::OutputEnded { stream, .. } => ended |= stream == Stream::Stdout,
            ProcessEvent::Exited { status, .. } => assert_eq!(status, ExitStatus::Code(0)),
            other => panic!("unexpected {other:?}"),
        }
    }
    assert!(taken && back == data);
    // Closed at once: it reads its end. Not asked for: it is empty.
    while rig.event_within(Duration::from_millis(50)).is_some() {}
    let run = rig.spawned(fed);
    rig.act(ProcessAction::CloseInput { run });
    assert_eq!(rig.exited(run), ExitStatus::Code(0));
    while rig.event_within(Duration::from_millis(50)).is_some() {}
    assert_eq!(rig.run(&["cat"]).output[0], b"");
}

fn standard_input_refused(mut rig: Rig) {
    // The command closes it, then ends, then is gone: each write is answered once.
    let mut fed = spec(&["sh", "-c", "exec <&-; : > closed; until [ -e go ]; do sleep 0.01; done"]);
    fed.stdin = true;
    let run = rig.spawned(fed);
    rig.wait_for("closed");
    for _ in 0..2 {
        rig.act(ProcessAction::WriteInput { run, data: Bytes::from_static(b"x") });
        rig.expect(ProcessEvent::InputClosed { run });
    }
    fs::write(rig.folder.join("go"), "").unwrap();
    rig.exited(run);
    rig.act(ProcessAction::WriteInput { run, data: Bytes::from_static(b"x") });
    while rig.event() != (ProcessEvent::InputClosed { run }) {}
    // One under way when the command dies.
    let mut deaf = spec(&["sleep", "600"]);
    deaf.stdin = true;
    let run = rig.spawned(deaf);
    rig.act(ProcessAction::WriteInput { run, data: Bytes::from(vec![0; 1 << 20]) });
    assert_eq!(rig.event_within(Duration::from_millis(100)), None);
    rig.act(ProcessAction::Kill { run });
    rig.expect(ProcessEvent::InputClosed { run });
    rig.expect(ProcessEvent::Exited { run, status: ExitStatus::Signal(libc::SIGKILL) });
}

fn kill_ends_all(mut rig: Rig) {
    let marker = marker();
    let run = rig.spawned(spec(&["sh", "-c", &leaves_behind(&marker)]));
    until("all of them sleep", || sleepers(&marker) == LEFT);
    let other = rig.spawned(spec(&["sleep", "600"]));
    rig.act(ProcessAction::Kill { run });
    assert_eq!(rig.exited(run), ExitStatus::Signal(libc::SIGKILL));
    assert!(marked(&marker).is_empty(), "{:?}", marked(&marker));
    // Nobody else's run is touched.
    while let Some(event) = rig.event_within(Duration::from_millis(100)) {
        assert!(matches!(event, ProcessEvent::OutputEnded { .. }), "{event:?}");
    }
    rig.act(ProcessAction::Kill { run: other });
    assert_eq!(rig.exited(other), ExitStatus::Signal(libc::SIGKILL));
}

fn kill_in_every_state(mut rig: Rig) {
    rig.act(ProcessAction::Kill { run: RunId(999) });
    for _ in 0..20 {
        // Before it can have started; twice; after its end.
        let run = rig.spawn(spec(&["sleep", "600"]));
        rig.act(ProcessAction::Kill { run });
        rig.act(ProcessAction::Kill { run });
        assert_eq!(rig.exited(run), ExitStatus::Signal(libc::SIGKILL));
        rig.act(ProcessAction::Kill { run });
        // Crossing with the end.
        let run = rig.spawned(spec(&["true"]));
        rig.act(ProcessAction::Kill { run });
        rig.exited(run);
    }
    while rig.event_within(Duration::from_millis(50)).is_some() {}
    assert_eq!(rig.sh("exit 3").status, code(3));
}

fn keeper_of(marker: &str) -> i32 {
    let shell = marked(marker).into_iter().find(|process| process.name == "sh").unwrap();
    let keeper = look::process(shell.parent).unwrap();
    assert_eq!(keeper.name, "xxn-keeper");
    keeper.pid
}

fn killed_keeper(mut rig: Rig) {
    let (first, second) = (marker(), marker());
    let run = rig.spawned(spec(&["sh", "-c", &leaves_behind(&first)]));
    let other = rig.spawned(spec(&["sh", "-c", &leaves_behind(&second)]));
    until("all of them sleep", || sleepers(&first) == LEFT && sleepers(&second) == LEFT);
    look::signal(keeper_of(&first), libc::SIGKILL);
    assert_eq!(rig.exited(run), ExitStatus::Signal(libc::SIGKILL));
    assert!(marked(&first).is_empty(), "{:?}", marked(&first));
    assert_eq!(sleepers(&second), LEFT, "another keeper's processes are spared");
    rig.act(ProcessAction::Kill { run: other });
    rig.exited(other);
    assert!(marked(&second).is_empty());
}

fn stopped_keeper(mut rig: Rig) {
    let marker = marker();
    let run = rig.spawned(spec(&["sh", "-c", &leaves_behind(&marker)]));
    until("all of them sleep", || sleepers(&marker) == LEFT);
    let keeper = keeper_of(&marker);
    look::signal(keeper, libc::SIGSTOP);
    rig.act(ProcessAction::Kill { run });
    // One that stays stopped, whatever wakes it.
    let began = Wall::now();
    let status = loop {
        // SAFETY: takes no memory of ours; the keeper may be gone.
        unsafe { libc::kill(keeper, libc::SIGSTOP) };
        match rig.event_within(Duration::from_micros(200)) {
            Some(ProcessEvent::Exited { status, .. }) => break status,
            _ => assert!(began.elapsed() < PATIENCE),
        }
    };
    assert_eq!(status, ExitStatus::Signal(libc::SIGKILL));
    assert!(marked(&marker).is_empty(), "{:?}", marked(&marker));
    assert!(began.elapsed() < Duration::from_secs(3), "took {:?}", began.elapsed());
    while rig.event_within(Duration::from_millis(50)).is_some() {}
    assert_eq!(rig.sh("exit 3").status, code(3));
}

fn killed_idle_keeper(mut rig: Rig) {
    let supervisor = std::os::unix::process::parent_id() as i32;
    for _ in 0..5 {
        assert_eq!(rig.sh("exit 3").status, code(3));
        let keepers: Vec<i32> =
            look::below(supervisor).iter().filter(|p| p.name == "xxn-keeper").map(|p| p.pid).collect();
        assert_eq!(keepers.len(), 1, "one after the other needs one keeper");
        look::signal(keepers[0], libc::SIGKILL);
        until("it is reaped", || look::process(keepers[0]).is_none());
    }
}

fn late_spawn(mut rig: Rig) {
    let touch = |name: &str| spec(&["touch", name]);
    let run = rig.spawn_until(touch("a"), now());
    rig.expect(ProcessEvent::SpawnFailed { run, error: SpawnError::Late });
    // The supervisor judges by itself: it may have been asked in time, and hear it late.
    let (run, deadline) = (RunId(500), now());
    rig.act_at(Instant::ZERO, ProcessAction::Spawn { run, spec: touch("b"), deadline });
    rig.expect(ProcessEvent::SpawnFailed { run, error: SpawnError::Late });
    assert_eq!(fs::read_dir(&rig.folder).unwrap().count(), 0);
}

fn deadline(mut rig: Rig) {
    let marker = marker();
    let soon = now() + Duration::from_millis(300);
    let run = rig.spawn_until(spec(&["sh", "-c", &leaves_behind(&marker)]), soon);
    let moved = rig.spawn_until(spec(&["sleep", "600"]), soon);
    let later = now() + Duration::from_millis(900);
    rig.act(ProcessAction::Extend { run: moved, deadline: later });
    // A deadline never moves back.
    rig.act(ProcessAction::Extend { run: moved, deadline: soon });
    assert_eq!(rig.exited(run), ExitStatus::Signal(libc::SIGKILL));
    let at = now();
    assert!(at >= soon && at.since(soon) < Duration::from_secs(1), "{:?} after", at.since(soon));
    assert!(marked(&marker).is_empty(), "{:?}", marked(&marker));
    assert_eq!(rig.exited(moved), ExitStatus::Signal(libc::SIGKILL));
    let at = now();
    assert!(at >= later && at.since(later) < Duration::from_secs(1), "{:?} after", at.since(later));
    // Far away is far away.
    let run = rig.spawn_until(spec(&["sh", "-c", "exit 8"]), Instant::FAR_FUTURE);
    assert_eq!(rig.exited(run), ExitStatus::Code(8));
}

fn many_at_once(mut rig: Rig) {
    const RUNS: usize = 150;
    let runs: Vec<RunId> = (0..RUNS)
        .map(|index| {
            rig.spawn(spec(&[
                "sh",
                "-c",
                &format!("printf {index}; read x < /dev/null; exit {}", index % 200),
            ]))
        })
        .collect();
    let mut outputs = vec![String::new(); RUNS];
    let mut statuses = vec![None; RUNS];
    let mut ends = 0;
    let place = |run: RunId| runs.iter().position(|one| *one == run).unwrap();
    while ends < 2 * RUNS || statuses.iter().any(Option::is_none) {
        match rig.event() {
            ProcessEvent::Spawned { run } => Stream::BOTH.into_iter().for_each(|stream| rig.arm(run, stream)),
            ProcessEvent::Output { run, stream, data } => {
                outputs[place(run)].push_str(std::str::from_utf8(&data).unwrap());
                rig.arm(run, stream);
            }
            ProcessEvent::OutputEnded { .. } => ends += 1,
            ProcessEvent::Exited { run, status } => statuses[place(run)] = Some(status),
            other => panic!("unexpected {other:?}"),
        }
    }
    for index in 0..RUNS {
        assert_eq!(outputs[index], index.to_string());
        assert_eq!(statuses[index], code((index % 200) as i32));
    }
}

fn nothing_is_left(mut rig: Rig) {
    let supervisor = std::os::unix::process::parent_id() as i32;
    rig.run(&["true"]);
    let descriptors = look::open_descriptors();
    let of_supervisor = || fs::read_dir(format!("/proc/{supervisor}/fd")).unwrap().count();
    let of_keeper = || {
        let keeper =
            look::below(supervisor).into_iter().find(|process| process.name == "xxn-keeper").unwrap();
        fs::read_dir(format!("/proc/{}/fd", keeper.pid)).unwrap().count()
    };
    let others = (of_supervisor(), of_keeper());
    let large = "x".repeat(50_000);
    for round in 0..60 {
        let mut fed = spec(&["cat"]);
        fed.stdin = true;
        let run = rig.spawned(fed);
        rig.act(ProcessAction::CloseInput { run });
        rig.finish_started(run);
        assert!(rig.run(&["nothing-of-that-name"]).error.is_some());
        rig.run(&["true", &large]);
        rig.sh("setsid sleep 600 & echo; echo >&2");
        if round % 20 == 0 {
            let run = rig.spawned(spec(&["sleep", "600"]));
            rig.act(ProcessAction::Kill { run });
            rig.finish_started(run);
        }
    }
    assert_eq!(look::open_descriptors(), descriptors);
    assert_eq!((of_supervisor(), of_keeper()), others);
    let left = look::below(supervisor);
    assert_eq!(left.len(), 2, "this executor and one keeper: {left:?}");
}

fn released_listener(mut rig: Rig) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    rig.processes.hold_listener(listener.as_fd()).unwrap();
    // The supervisor has it by the time that it has answered this.
    rig.run(&["true"]);
    std::net::TcpStream::connect(address).unwrap();
    rig.processes.release_listener(listener.as_fd());
    drop(listener);
    assert!(std::net::TcpStream::connect(address).is_err());
    let again = std::net::TcpListener::bind(address).unwrap();
    drop(again);
    // Without a release, its end in this process changes nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    rig.processes.hold_listener(listener.as_fd()).unwrap();
    rig.run(&["true"]);
    drop(listener);
    std::net::TcpStream::connect(address).unwrap();
}
