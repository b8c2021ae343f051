//! Who descends from this process, by `/proc`, and the end of them.
//!
//! A subreaper's descendants stay its descendants, whatever they do: `setsid`, double forks and a cleared environment
//! change nothing about the parent that the system gives an orphan. So the walk over parents is complete, and what
//! proves that nobody is left is the system's own word: `waitpid` says that there is no child.

use super::sys::{self, Pid};
use std::fs;
use xxnet_core::process::ExitStatus;

/// One line of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    pid: Pid,
    parent: Pid,
    /// When it started: with the number, its identity.
    start: u64,
    dead: bool,
}

/// Sends SIGKILL to every descendant of this process, but not to `spared` and their descendants. Returns how many
/// children and grandchildren there are, the dead ones that wait to be reaped included.
///
/// Who forks meanwhile escapes one walk, not the next: its parent is dead by then and it is our own child.
pub(super) fn kill_descendants(spared: &dyn Fn(Pid) -> bool) -> usize {
    let me = sys::pid();
    kill_children(spared);
    let mut all = processes();
    all.sort_unstable_by_key(|process| process.parent);
    let children = |parent: Pid| {
        let first = all.partition_point(|process| process.parent < parent);
        all[first..].iter().take_while(move |process| process.parent == parent).copied()
    };
    let mut family: Vec<Process> = children(me).filter(|process| !spared(process.pid)).collect();
    for child in family.iter().filter(|child| !child.dead) {
        // A child's number is its own until this process reaps it.
        sys::kill(child.pid, libc::SIGKILL);
    }
    let mut next = 0;
    while let Some(parent) = family.get(next).map(|process| process.pid) {
        for process in children(parent) {
            if !process.dead {
                sys::kill_if(process.pid, || read(process.pid).is_some_and(|now| is_still(process, now, me)));
            }
            family.push(process);
        }
        next += 1;
    }
    family.len()
}

/// Sends SIGKILL to every child, as fast as it can be done: one that hops from process to process, by forking and ending,
/// has long moved on when the walk over all processes is through.
fn kill_children(spared: &dyn Fn(Pid) -> bool) {
    // Not in every kernel; the walk does without, if nobody hops.
    let Ok(children) = fs::read_to_string("/proc/thread-self/children") else { return };
    for child in children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()) {
        if !spared(child) {
            sys::kill(child, libc::SIGKILL);
        }
    }
}

/// Whether `now` is the descendant that was seen before: its number may have gone to somebody else, its parent may have
/// ended and left it to us.
fn is_still(seen: Process, now: Process, me: Pid) -> bool {
    now.start == seen.start && (now.parent == seen.parent || now.parent == me)
}

/// Every process that can be seen.
fn processes() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(read).collect()
}

fn read(pid: Pid) -> Option<Process> {
    parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// `pid (name) state parent …`: the name may hold anything, so the fields are counted from the last parenthesis.
fn parse(pid: Pid, stat: &[u8]) -> Option<Process> {
    let end = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    let parent = fields.next()?.parse().ok()?;
    // proc(5): the parent is field 4, the start field 22.
    let start = fields.nth(17)?.parse().ok()?;
    Some(Process { pid, parent, start, dead })
}

/// A wait status in the words of the contract.
pub(super) fn exit_status(status: i32) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(libc::WTERMSIG(status))
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_forge_the_fields() {
        let stat = b"77 (a) R 1 (b) ) S 42 77 77 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1 2";
        assert_eq!(parse(77, stat), Some(Process { pid: 77, parent: 42, start: 98765, dead: false }));
        assert_eq!(parse(77, b"77 (a) Z 42"), None);
        assert_eq!(parse(77, b""), None);
    }

    #[test]
    fn this_process_is_found_with_its_parent() {
        let me = read(sys::pid()).unwrap();
        assert_eq!(me.parent.cast_unsigned(), std::os::unix::process::parent_id());
        assert!(processes().iter().any(|process| process.pid == me.pid && process.start == me.start));
    }
}
