//! What the system itself says about processes.

use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};

/// One process.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    pub(crate) parent: i32,
    pub(crate) state: char,
    pub(crate) name: String,
    pub(crate) command: String,
}

pub(crate) fn processes() -> Vec<Process> {
    let pids =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(process).collect()
}

pub(crate) fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (start, rest) = stat.rsplit_once(") ")?;
    let (state, rest) = rest.split_once(' ')?;
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(Process {
        pid,
        parent: rest.split(' ').next()?.parse().ok()?,
        state: state.chars().next()?,
        name: start.split_once('(')?.1.to_owned(),
        command: String::from_utf8_lossy(&command).replace('\0', " "),
    })
}

/// A number of seconds to sleep that nobody else sleeps for: it finds a process again, whatever it does to its session
/// or environment.
pub(crate) fn marker() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("86400.{:07}{:03}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The processes whose command line has the marker.
pub(crate) fn marked(marker: &str) -> Vec<Process> {
    processes().into_iter().filter(|process| process.command.contains(marker)).collect()
}

/// The marked processes that sleep, and not the shells that will.
pub(crate) fn sleepers(marker: &str) -> usize {
    marked(marker).iter().filter(|process| process.name == "sleep").count()
}

/// Everything below a process, zombies included.
pub(crate) fn below(pid: i32) -> Vec<Process> {
    let all = processes();
    let mut found: Vec<Process> = all.iter().filter(|process| process.parent == pid).cloned().collect();
    let mut next = 0;
    while next < found.len() {
        let parent = found[next].pid;
        found.extend(all.iter().filter(|process| process.parent == parent).cloned());
        next += 1;
    }
    found
}

pub(crate) fn signal(pid: i32, signal: i32) {
    // SAFETY: takes no memory of ours.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0, "process {pid} is there");
}

pub(crate) fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Kilobytes of a line in `/proc/self/status`.
pub(crate) fn status_kb(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// A script that leaves [`LEFT`] processes behind, in every way there is; each sleeps for the marker. It ends once the
/// file `go` is in its folder.
pub(crate) fn leaves_behind(marker: &str) -> String {
    format!(
        "sleep {marker} & \
         setsid sleep {marker} & \
         (setsid sh -c 'sleep {marker} & exec sleep {marker}' &) ; \
         env -i \"$(command -v setsid)\" \"$(command -v sleep)\" {marker} & \
         (trap '' HUP TERM INT; nohup setsid sleep {marker} >/dev/null 2>&1 &) ; \
         until [ -e go ]; do sleep 0.01; done; exit 5"
    )
}

/// Sleepers that [`leaves_behind`] leaves.
pub(crate) const LEFT: usize = 6;
