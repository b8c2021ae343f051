//! More than fits: what passes through may be larger than what any process of ours holds.

use crate::harness::*;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::Command;

/// No process of ours holds more at once, however much goes through it.
const MEMORY: u64 = 64 << 20;

/// Asserts how much memory each process of ours has had: registry, publisher, supervisor, executor, keepers.
fn assert_small(cluster: &Cluster, publisher: u32) {
    let mut all = vec![("the registry", cluster.registry.inner), ("the publisher", publisher)];
    all.extend(family(cluster.executors[0].process).into_iter().map(|process| ("the executor", process)));
    all.retain(|(_, process)| is_ours(*process));
    assert!(all.len() >= 4, "{all:?}");
    for (what, process) in all {
        let peak = peak_memory(process);
        assert!(peak < MEMORY, "process {process} of {what} has had {} MiB", peak >> 20);
    }
}

/// How much the command `head` has written so far; `None`: it is not there.
fn written(cluster: &Cluster) -> Option<u64> {
    let of = |process: u32, what: &str| std::fs::read_to_string(format!("/proc/{process}/{what}")).ok();
    let is_head = |process: &u32| of(*process, "comm").is_some_and(|name| name == "head\n");
    let head = family(cluster.executors[0].process).into_iter().find(is_head)?;
    of(head, "io")?.lines().find_map(|line| line.strip_prefix("wchar: "))?.parse().ok()
}

#[test]
fn t8_gigabytes_of_output_reach_the_publisher() {
    const LINE: &[u8] = b"all the way to the publisher\n";
    let total: u64 = 2 << 30;
    let cluster = Cluster::new(1, 1);
    let (line, go) = (String::from_utf8_lossy(&LINE[..LINE.len() - 1]).into_owned(), cluster.home.at("go"));
    // It lives until everything has been counted, so that its processes can be looked at.
    let script =
        format!("yes '{line}' | head -c {total}; while [ ! -e {} ]; do sleep 0.01; done", go.display());
    let (running, mut out) = Running::unread(cluster.xxnet(["run", "--", "sh", "-c", &script]));
    let pattern = LINE.repeat((1 << 20) / LINE.len() + 2);
    let mut buffer = vec![0; 1 << 20];
    // Nobody reads for a while: the command is held up all the way back, and nothing piles up between.
    let (mut before, mut looks) = (None, 0);
    until("the command to be held up", || {
        let now = written(&cluster);
        looks = if now == before { looks + 1 } else { 0 };
        before = now;
        looks >= 40 && now.is_some_and(|written| written > 0)
    });
    assert!(before.is_some_and(|written| written < 16 << 20), "{before:?} bytes were written to nobody");
    let mut count = 0;
    while count < total {
        let read = out.read(&mut buffer).unwrap();
        assert!(read > 0, "it ends after {count} bytes");
        let phase = (count % LINE.len() as u64) as usize;
        assert!(
            buffer[..read] == pattern[phase..phase + read],
            "other bytes between {count} and {}",
            count + read as u64
        );
        count += read as u64;
    }
    assert_small(&cluster, running.process());
    std::fs::write(go, "").unwrap();
    assert_eq!((out.read(&mut buffer).unwrap(), count), (0, total));
    running.finish().expect(0);
}

#[test]
fn f11_a_file_larger_than_memory() {
    const UNREAD: u64 = 200_000;
    let total: u64 = 1 << 30;
    let cluster = Cluster::new(1, 1);
    let home = &cluster.home;
    // A file with holes: it costs nothing here, and travels as what it reads as.
    let large = std::fs::File::create(home.here("large")).unwrap();
    large.set_len(total).unwrap();
    for (n, at) in (0..).step_by(300_000_001).take_while(|at| *at < total).enumerate() {
        large.write_all_at(format!("mark {n}").as_bytes(), at).unwrap();
    }
    let same = format!("cmp large {} && mv large copy", home.here("large").display());
    // More than a pipe holds, and nobody reads it yet: the publisher is still there when it has everything.
    let script = format!("{same} && head -c {UNREAD} /dev/zero");
    let args = ["run", "-i", "large", "-o", "copy", "--", "sh", "-c", &script];
    let (running, mut out) = Running::unread(cluster.xxnet(args));
    until("the result to be there", || home.here("copy").exists());
    assert_small(&cluster, running.process());
    assert_eq!(std::io::copy(&mut out, &mut std::io::sink()).unwrap(), UNREAD);
    running.finish().expect(0);
    let same = Command::new("cmp").arg(home.here("large")).arg(home.here("copy")).status().unwrap();
    assert!(same.success(), "it came back with other bytes");
}

#[test]
fn f11_ten_thousand_small_files_go_there_and_back() {
    let cluster = Cluster::new(1, 1);
    let home = &cluster.home;
    let name = |n: usize| format!("{}/file {n}", n % 100);
    (0..100).for_each(|n| std::fs::create_dir_all(home.here(&format!("many/{n}"))).unwrap());
    (0..10_000).for_each(|n| home.write(&format!("many/{}", name(n)), "x".repeat(n % 7)));
    cluster.run(&["-i", "many", "-o", "back", "--", "mv", "many", "back"]).expect(0);
    let count = |folder| std::fs::read_dir(folder).unwrap().count();
    assert_eq!((0..100).map(|n| count(home.here(&format!("back/{n}")))).sum::<usize>(), 10_000);
    (0..10_000).for_each(|n| assert_eq!(home.read(&format!("back/{}", name(n))), "x".repeat(n % 7)));
}
