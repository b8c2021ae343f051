//! From a spec to a running command: the one place where code runs between fork and exec.
#![allow(unsafe_code)]

use super::packet::Spec;
use super::sys::{self, Pid, Signals};
use std::ffi::{CString, c_char, c_int, c_void};
use std::io;
use std::os::fd::RawFd;
use std::ptr;
use xxnet_core::process::SpawnError;

/// Starts commands. Keeps the stack that a child borrows until its exec.
pub(super) struct Launcher {
    stack: Vec<u8>,
}

/// What the child needs, and where it leaves why it failed. It shares this process's memory until its exec.
struct Launch {
    keeper: Pid,
    folder: *const c_char,
    /// Where the command may be, in order, ended by null.
    candidates: *const *const c_char,
    argv: *const *const c_char,
    env: *const *const c_char,
    /// `/bin/sh`, a place for the script's path, its arguments, null: for a script without `#!`, as execvp has it.
    shell_argv: *mut *const c_char,
    stdio: [RawFd; 3],
    unblocked: Signals,
    failure: Option<Failure>,
}

#[derive(Clone, Copy)]
enum Failure {
    /// The folder or the standard streams; by the system's number.
    Setup(c_int),
    /// No candidate could be executed; by the number that says the most.
    Exec(c_int),
}

impl Launcher {
    pub(super) fn new() -> Self {
        Self { stack: vec![0; 64 << 10] }
    }

    /// Runs a command in a session of its own, with `stdio` as its standard streams, no signal blocked, and no other
    /// descriptor (all of this process's are close-on-exec). It dies with this process.
    pub(super) fn launch(&mut self, spec: &Spec<'_>, stdio: [RawFd; 3]) -> Result<Pid, SpawnError> {
        let candidates = candidates(spec);
        let pointers: Vec<*const c_char> =
            candidates.iter().map(|path| path.as_ptr()).chain([ptr::null()]).collect();
        let mut shell_argv = vec![c"/bin/sh".as_ptr(), ptr::null()];
        shell_argv.extend_from_slice(&spec.argv[1..]);
        let mut launch = Launch {
            keeper: sys::pid(),
            folder: spec.folder.as_ptr(),
            candidates: pointers.as_ptr(),
            argv: spec.argv.as_ptr(),
            env: spec.env.as_ptr(),
            shell_argv: shell_argv.as_mut_ptr(),
            stdio,
            unblocked: Signals::none(),
            failure: None,
        };
        let top = self.stack.as_mut_ptr_range().end;
        // SAFETY: CLONE_VFORK suspends this process until the child has executed or ended, so everything `launch` points
        // to, and the stack (aligned down to 16), stay valid and are used by the child alone. `child` makes system calls
        // only: it neither allocates nor locks. All signals are blocked here, so no handler runs in shared memory before
        // the child unblocks them, and the only handler there is does nothing.
        let pid = unsafe {
            let stack = top.sub(top.addr() % 16).cast::<c_void>();
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            libc::clone(child, stack, flags, (&raw mut launch).cast())
        };
        if pid == -1 {
            return Err(SpawnError::System(
                io::Error::last_os_error().raw_os_error().unwrap_or(libc::EAGAIN),
            ));
        }
        // SAFETY: the child may have written to it through the pointer above; it is a valid value either way.
        match unsafe { ptr::read_volatile(&raw const launch.failure) } {
            None => Ok(pid),
            Some(failure) => {
                sys::reap_one(pid);
                Err(match failure {
                    Failure::Setup(number) => SpawnError::System(number),
                    Failure::Exec(number) => exec_error(number),
                })
            }
        }
    }
}

/// Where the command may be: as it is named if that has a slash, else in each folder of the run's own `PATH`.
fn candidates(spec: &Spec<'_>) -> Vec<CString> {
    let name = spec.command.to_bytes();
    if name.contains(&b'/') {
        return vec![spec.command.to_owned()];
    }
    if name.is_empty() {
        return Vec::new();
    }
    let join = |folder: &[u8]| {
        let folder = if folder.is_empty() { b"." } else { folder };
        CString::new([folder, b"/", name].concat()).ok()
    };
    spec.path.split(|byte| *byte == b':').filter_map(join).collect()
}

/// The system's number in the words of the contract.
fn exec_error(number: c_int) -> SpawnError {
    match number {
        libc::ENOENT | libc::ENOTDIR => SpawnError::NotFound,
        libc::EACCES
        | libc::EPERM
        | libc::ENOEXEC
        | libc::EISDIR
        | libc::ELOOP
        | libc::ELIBBAD
        | libc::EINVAL
        | libc::ENAMETOOLONG
        | libc::ETXTBSY => SpawnError::NotExecutable,
        other => SpawnError::System(other),
    }
}

/// Runs in the child, on the memory of the suspended keeper. Returns only if it failed.
extern "C" fn child(launch: *mut c_void) -> c_int {
    // SAFETY: `launch` points to the keeper's `Launch`, which nobody else touches before this child has ended or
    // executed. All pointers in it are null-ended arrays of C strings that live as long.
    unsafe {
        let launch = launch.cast::<Launch>();
        (*launch).failure = Some(prepare(&*launch).map_or_else(|| execute(&*launch), Failure::Setup));
    }
    127
}

/// Makes the child what the contract says; the system's number if something failed.
///
/// # Safety
/// As for [`child`], whose part it is.
unsafe fn prepare(launch: &Launch) -> Option<c_int> {
    // SAFETY: system calls on valid descriptors and C strings.
    unsafe {
        libc::setsid();
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
        if libc::getppid() != launch.keeper {
            // It died before the line above: nobody will ever kill this one.
            libc::_exit(127);
        }
        for (place, fd) in launch.stdio.iter().enumerate() {
            if libc::dup2(*fd, place as c_int) == -1 {
                return Some(*libc::__errno_location());
            }
        }
        if libc::chdir(launch.folder) == -1 {
            return Some(*libc::__errno_location());
        }
    }
    None
}

/// Tries each candidate, as execvp does.
///
/// # Safety
/// As for [`child`], whose part it is.
unsafe fn execute(launch: &Launch) -> Failure {
    launch.unblocked.block();
    let mut answer = libc::ENOENT;
    let mut candidate = launch.candidates;
    // SAFETY: null-ended arrays of C strings; `shell_argv` has a second place to write to.
    unsafe {
        while !(*candidate).is_null() {
            libc::execve(*candidate, launch.argv, launch.env);
            let mut number = *libc::__errno_location();
            if number == libc::ENOEXEC {
                *launch.shell_argv.add(1) = *candidate;
                libc::execve(c"/bin/sh".as_ptr(), launch.shell_argv, launch.env);
                number = libc::ENOEXEC;
            }
            match number {
                // Not there: what an earlier folder had but could not be executed says more.
                libc::ENOENT | libc::ENOTDIR | libc::ENAMETOOLONG => {}
                libc::EACCES => answer = number,
                other => return Failure::Exec(other),
            }
            candidate = candidate.add(1);
        }
    }
    Failure::Exec(answer)
}
