//! X5: the wall clock may jump as it likes. Leases, timers and windows are counted on `clock.rs` alone; the few places that look at
//! the wall clock, to tell people or to name files, are listed here.
// The helpers are test code too, which the linter cannot see.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

/// Who may read the wall clock, and what for.
const ALLOWED: [(&str, &str); 6] = [
    ("runtime-mio/src/cli/logging.rs", "the time of a log line"),
    ("runtime-mio/src/cli/demo/steps.rs", "the time of a log line, read again"),
    ("runtime-mio/src/cli/record.rs", "when a recording began, for people"),
    (
        "runtime-mio/src/cli/trace/writer.rs",
        "when a trace began, to lay traces of several hosts side by side",
    ),
    (
        "runtime-mio/src/disk/kept.rs",
        "whether what is kept for the next attempt is old; its blocks are verified in any case",
    ),
    ("runtime-mio/src/disk/target.rs", "whether what a dead process left half-written is old"),
];

/// Ways to it.
const WAYS: [&str; 6] = [
    "SystemTime::now",
    "CLOCK_REALTIME",
    "gettimeofday",
    "libc::time(",
    "UNIX_EPOCH.elapsed",
    "TFD_TIMER_CANCEL",
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "tests") {
                sources(&path, found);
            }
        } else if path.extension().is_some_and(|end| end == "rs")
            && path.file_name().is_some_and(|name| name != "tests.rs")
        {
            found.push(path);
        }
    }
}

#[test]
fn x5_nothing_but_what_is_named_looks_at_the_wall_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut files = Vec::new();
    for folder in ["core/src", "runtime-mio/src"] {
        sources(&root.join(folder), &mut files);
    }
    assert!(files.len() > 150, "{} files were looked at", files.len());
    let looks: Vec<String> = files
        .iter()
        .filter(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            WAYS.iter().any(|way| text.contains(way))
        })
        .map(|file| file.strip_prefix(root).unwrap().to_str().unwrap().to_owned())
        .collect();
    let strangers: Vec<_> =
        looks.iter().filter(|file| !ALLOWED.iter().any(|(allowed, _)| allowed == file)).collect();
    assert!(strangers.is_empty(), "the wall clock jumps; these look at it: {strangers:?}");
    assert_eq!(looks.len(), ALLOWED.len(), "the list is longer than the truth: {looks:?}");
}
