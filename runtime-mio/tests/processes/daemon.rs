//! A small executor that runs one script and says what happens, for the cases that kill it.

use crate::rig::{Rig, now, spec};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use xxnet_core::process::ProcessEvent;

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Whether the case that started this daemon is still there: it holds the other end.
fn standard_input_is_open() -> bool {
    let mut poll = libc::pollfd { fd: 0, events: libc::POLLIN, revents: 0 };
    // SAFETY: one `pollfd`, which outlives the call.
    unsafe { libc::poll(&raw mut poll, 1, 0) == 0 }
}

/// `--daemon FOLDER DEADLINE_MS SCRIPT`: says a line for everything that happens, beginning with its pid and port. Ends
/// with 42 once its folder has a file `quit`; SIGINT and SIGTERM are counted.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    let supervisor = xxnet_runtime_mio::supervisor::start().unwrap();
    let mut rig = Rig::within(supervisor, (&arguments[1]).into());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    rig.processes.hold_listener(listener.as_fd()).unwrap();
    for signal in [libc::SIGINT, libc::SIGTERM] {
        // SAFETY: the handler only adds to a number.
        unsafe { libc::signal(signal, count as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    }
    let say = |line: String| {
        let mut out = std::io::stdout().lock();
        // Nobody may be listening any more.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    };
    say(format!("up {} {}", std::process::id(), listener.local_addr().unwrap().port()));
    let deadline = now() + Duration::from_millis(arguments[2].parse().unwrap());
    rig.spawn_until(spec(&["sh", "-c", &arguments[3]]), deadline);
    let mut told = 0;
    loop {
        match rig.event_within(Duration::from_millis(20)) {
            Some(ProcessEvent::Spawned { .. }) => say("spawned".into()),
            Some(ProcessEvent::Exited { status, .. }) => say(format!("exited {status:?}")),
            _ => {}
        }
        let signals = SIGNALS.load(Ordering::Relaxed);
        if signals > told {
            told = signals;
            say(format!("signals {told}"));
        }
        if rig.processes.supervisor_gone() {
            say("gone".into());
            return ExitCode::from(43);
        }
        if !standard_input_is_open() {
            return ExitCode::from(44);
        }
        if std::path::Path::new(&arguments[1]).join("quit").exists() {
            return ExitCode::from(42);
        }
    }
}
