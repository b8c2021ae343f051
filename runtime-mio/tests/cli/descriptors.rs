//! Executors that may open few descriptors.

use crate::harness::*;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::mpsc::channel;

/// With so many descriptors at once for itself, its supervisor and its commands.
fn limited(mut command: Command, most: u64) -> Command {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: only lowers a limit of the new process, which is safe between fork and exec.
    unsafe {
        command.pre_exec(move || match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    command
}

fn descriptors(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

#[test]
fn x5_an_executor_out_of_descriptors_says_so_and_serves_on() {
    let home = Home::new();
    let registry = Daemon::registry(&home, "127.0.0.1:0");
    // It needs about half of these to be there at all.
    let executor = limited(Daemon::executor_command(&home, &registry.address, 1, 4), 32);
    let mut executor = Daemon::start(executor, "registered");
    let before = descriptors(executor.inner);
    let names: Vec<String> = (0..64).map(|number| format!("in-{number}")).collect();
    names.iter().for_each(|name| home.write(name, vec![b'x'; 300_000]));
    let start = |inputs: &[String], script: &str| {
        let mut command = home.xxnet(["run", "-q", "--retries", "0", "--reg", &registry.address]);
        inputs.iter().for_each(|name| _ = command.args(["-i", name]));
        Running::start({
            command.args(["--", "sh", "-c", script]);
            command
        })
    };
    let whole_or_said = |ended: &Ended, out: &str| match ended.code() {
        0 => assert_eq!(ended.out, out),
        _ => _ = ended.expect(125).says("no file descriptors are left"),
    };
    // More files than descriptors at once; and what does not need so many.
    let size = "cat in-* | wc -c";
    start(&names, size).finish().expect(125).says("no file descriptors are left");
    assert_eq!(start(&names[..2], size).finish().expect(0).out, "600000\n");
    // As many commands as it has slots and more, each with some files.
    let script = "cat in-* | wc -c; sleep 0.2";
    let all: Vec<Running> = names.chunks(4).take(6).map(|some| start(some, script)).collect();
    all.into_iter().for_each(|running| whole_or_said(&running.finish(), "1200000\n"));
    // Nothing is lost of what it had: it works as before, and holds no more.
    let four: Vec<Running> = (0..2).map(|_| start(&names[..1], size)).collect();
    four.into_iter().for_each(|running| assert_eq!(running.finish().expect(0).out, "300000\n"));
    within(LONG, "all to be closed again", || descriptors(executor.inner) <= before);
    assert!(executor.lives());
}

#[test]
fn x5_commands_that_find_no_descriptors_are_told_apart_from_those_that_run() {
    let home = Home::new();
    let registry = Daemon::registry(&home, "127.0.0.1:0");
    let executor = limited(Daemon::executor_command(&home, &registry.address, 1, 16), 48);
    let mut executor = Daemon::start(executor, "registered");
    let before = descriptors(executor.inner);
    let go = home.at("go");
    let script = format!("while [ ! -e {} ]; do sleep 0.02; done; echo ran", go.display());
    let start = || {
        let args = ["run", "-q", "--retries", "0", "--reg", &registry.address, "--", "sh", "-c", &script];
        Running::start(home.xxnet(args))
    };
    // A command takes three: its publisher's link and both of its output streams. One more than there is room for.
    let number = (48 - before) / 3 + 1;
    let (sender, ended) = channel();
    std::thread::scope(|scope| {
        for _ in 0..number {
            let (running, sender) = (start(), sender.clone());
            scope.spawn(move || sender.send(running.finish()).unwrap());
        }
        let first = ended.recv().unwrap();
        std::fs::write(&go, "").unwrap();
        first.expect(125).says("no file descriptors are left");
    });
    drop(sender);
    let rest: Vec<Ended> = ended.iter().collect();
    assert!(rest.iter().filter(|ended| ended.code() == 0 && ended.out == "ran\n").count() >= number - 3);
    for ended in rest.iter().filter(|ended| ended.code() != 0) {
        ended.expect(125).says("no file descriptors are left");
    }
    assert_eq!(start().finish().expect(0).out, "ran\n");
    within(LONG, "all to be closed again", || descriptors(executor.inner) <= before);
    assert!(executor.lives());
}
