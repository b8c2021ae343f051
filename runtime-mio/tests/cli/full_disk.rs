//! Disks that are full: 4 MiB of memory, mounted where only the daemon sees it.

use crate::harness::*;
use crate::namespace::Namespace;
use std::path::{Path, PathBuf};

/// A file system of 4 MiB at a folder, if this machine permits it.
fn small_disk(at: &Path) -> Option<Namespace> {
    let script = format!("mount -t tmpfs -o size=4m tmpfs '{}'", at.display());
    Namespace::new("--mount", None, &script)
}

/// What is in a folder of that namespace.
fn names(disk: &Namespace, folder: &Path) -> Vec<PathBuf> {
    let seen = format!("/proc/{}/root{}", disk.process(), folder.display());
    std::fs::read_dir(seen).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn x5_an_executor_whose_disk_is_full_says_so_and_serves_on() {
    let home = Home::new();
    let Some(disk) = small_disk(&home.at("work")) else { return };
    let registry = Daemon::registry(&home, "127.0.0.1:0");
    let executor = Daemon::executor_command(&home, &registry.address, 1, 1);
    let mut executor = Daemon::start(disk.within(&executor), "registered");
    let run = |args: &[&str]| finish(home.xxnet(["run", "--reg", &registry.address].iter().chain(args)));
    let [own] = &names(&disk, &home.at("work"))[..] else { panic!("one work directory") };
    let until_empty = || {
        until("everything to be removed", || std::fs::read_dir(own).unwrap().count() == 0);
    };
    home.write("large", vec![b'x'; 16 << 20]);
    home.write("half", vec![b'x'; 5 << 19]);
    home.write("half too", vec![b'y'; 5 << 19]);
    // Known before the first byte; in the middle; and each time it is tried.
    let large = ["-i", "large"];
    let halves = ["-i", "half", "-i", "half too"];
    for (inputs, retries) in [(&large[..], "0"), (&halves, "0"), (&large, "2")] {
        let ended = run(&[inputs, &["--retries", retries, "--", "true"]].concat());
        ended.expect(125).says("no space left on the disk");
        assert!(ended.err.starts_with("xxnet: the task failed"), "{}", ended.err);
        until_empty();
    }
    // A command that fills it has its own words for that, and what it has filled is removed.
    let ended = run(&["--", "dd", "if=/dev/zero", "of=all", "bs=1M"]);
    ended.expect(1);
    assert!(ended.err.contains("No space left"), "{}", ended.err);
    until_empty();
    assert_eq!(run(&["-i", "half", "--", "wc", "-c", "half"]).expect(0).out, "2621440 half\n");
    until_empty();
    assert!(executor.lives());
}

#[test]
fn f8_a_result_that_does_not_fit_here_is_said_and_leaves_nothing() {
    let home = Home::new();
    std::fs::create_dir(home.here("small")).unwrap();
    let Some(disk) = small_disk(&home.here("small")) else { return };
    let registry = Daemon::registry(&home, "127.0.0.1:0");
    let _executor = Daemon::executor(&home, &registry.address, 1, 1);
    let run = |args: &[&str]| {
        let run = home.xxnet(["run", "--reg", &registry.address].iter().chain(args));
        finish(disk.within(&run))
    };
    let make = "head -c 16777216 /dev/zero > out; head -c 2621440 /dev/zero > a; cp a b; exit 0";
    run(&["-o", "out:small/out", "--", "sh", "-c", make]).expect(125).says("no space left on the disk");
    assert_eq!(names(&disk, &home.here("small")), Vec::<PathBuf>::new());
    // Of two that do not fit together one may have come: that one is whole, and there is nothing else.
    let ended = run(&["-o", "a:small/a", "-o", "b:small/b", "--", "sh", "-c", make]);
    ended.expect(125);
    assert!(ended.err.contains("no space left on the disk"), "{}", ended.err);
    let come = names(&disk, &home.here("small"));
    assert!(come.len() <= 1, "{come:?}");
    for path in come {
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 2_621_440, "{path:?}");
        std::fs::remove_file(path).unwrap();
    }
    run(&["-o", "a:small/a", "--", "sh", "-c", make]).expect(0);
    // Its command's own failure says more.
    run(&["-o", "out:small/out", "--", "sh", "-c", "head -c 16777216 /dev/zero > out; exit 7"]).expect(7);
}

#[test]
fn x5_a_daemon_whose_recording_finds_no_space_says_so_and_serves_on() {
    let home = Home::new();
    std::fs::create_dir(home.here("small")).unwrap();
    let Some(disk) = small_disk(&home.here("small")) else { return };
    let registry = Daemon::registry(&home, "127.0.0.1:0");
    let mut executor = Daemon::executor_command(&home, &registry.address, 1, 1);
    executor.arg("--record").arg(home.here("small/exe.rec")).arg("--record-size=64M");
    let mut executor = Daemon::start(disk.within(&executor), "registered");
    let emit = || {
        let command = ["run", "--reg", &registry.address, "--", "head", "-c", "3000000", "/dev/zero"];
        assert_eq!(finish(home.xxnet(command)).expect(0).out.len(), 3_000_000);
    };
    emit();
    emit();
    let said = executor.wait_for("recording-stopped");
    assert_eq!(said["level"], "warn", "{said}");
    assert!(said["why"].as_str().unwrap().contains("no space left"), "{said}");
    emit();
    assert!(executor.lives());
    // What has found a place replays.
    let path = format!("/proc/{}/root{}", disk.process(), home.here("small/exe.rec").display());
    let ended = finish(home.xxnet(["replay", &path]));
    assert!(ended.expect(0).out.contains("all the same"), "{}", ended.out);
}
