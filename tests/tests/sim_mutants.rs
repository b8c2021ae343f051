//! Bugs planted on purpose, each of which the simulator must see with the oracle that is there for it: who trusts a thousand
//! seeds that pass must know that they can fail. Slow (it builds the simulator once for each), so it runs on its own:
//! `cargo test -p xxnet-tests --test sim_mutants -- --ignored`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Patch, and the oracles of which one must see it.
const MUTANTS: [(&str, &[&str]); 10] = [
    // Each connection of a dialler counts for itself, so an older link of its is not replaced.
    ("link-rule", &["one"]),
    // A publisher takes a lease for over before it is.
    ("lease", &["copies", "stale-start"]),
    // The table of pending callbacks forgets which have fired.
    ("callback-table", &["callback"]),
    // A worker remembers for ever where it once dialled a publisher.
    ("peer-address", &["unfinished"]),
    // A message of a session is acknowledged once it has come, taken or not (seeds 29 and 31).
    ("acknowledged-on-arrival", &["acknowledged", "settled"]),
    // The end that follows closes its older links by itself when one comes up: both ends close both (seed 3).
    ("closed-by-preference", &["pair"]),
    // A new link goes on from the newest message, and not from the one that the peer lacks (seed 3).
    ("resume-from-newest", &["blame", "stuck"]),
    // A session that has expired leaves its generation to the next one: a count of the old one is believed (seed 35).
    ("same-generation", &["blame", "session", "twice"]),
    // The end that chooses sends, and closes the other links, before the other end has said `Using` (seed 3).
    ("before-using", &["pair"]),
    // What waits for an address that turns out to be a connected peer's comes behind what is sent there later (seed 21).
    ("waiting-overtaken", &["order"]),
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the workspace").to_owned()
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).expect("a file is copied");
        return;
    }
    fs::create_dir_all(to).expect("a folder is made");
    for entry in fs::read_dir(from).expect("a folder is read") {
        let entry = entry.expect("an entry");
        if entry.file_name() != "target" {
            copy(&entry.path(), &to.join(entry.file_name()));
        }
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{command:?}\n{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// The patches are looked at each time, so that they follow the code that they break.
#[test]
fn planted_bugs_can_be_planted() {
    if Command::new("patch").arg("--version").output().is_err() {
        println!("skipped: there is no `patch` here");
        return;
    }
    let root = workspace();
    for (name, _) in MUTANTS {
        let patch = root.join("sim/mutants").join(format!("{name}.patch"));
        run(Command::new("patch").args(["--dry-run", "-p1", "-i"]).arg(patch).current_dir(&root));
    }
}

#[test]
#[ignore = "builds the simulator ten times: about eight minutes"]
fn planted_bugs_are_seen_by_their_oracles() {
    let root = workspace();
    let temp = tempfile::tempdir().expect("a temporary folder");
    let here = temp.path().join("workspace");
    fs::create_dir_all(&here).expect("a folder is made");
    for part in ["Cargo.toml", "Cargo.lock", "core", "sim", "runtime-mio", "tests"] {
        copy(&root.join(part), &here.join(part));
    }
    for (name, oracles) in MUTANTS {
        let patch = here.join("sim/mutants").join(format!("{name}.patch"));
        run(Command::new("patch").args(["-p1", "-i"]).arg(&patch).current_dir(&here));
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        run(Command::new(cargo)
            .args(["build", "--release", "--offline", "-p", "xxnet-sim"])
            .current_dir(&here)
            .env("CARGO_TARGET_DIR", temp.path().join("target"))
            .env("CARGO_INCREMENTAL", "1"));
        let program = temp.path().join("target/release/xxnet-sim");
        let arguments = ["run", "--seeds", "200", "--failures", "400", "--json", "--no-shrink", "--out"];
        let output = Command::new(program).args(arguments).arg(temp.path()).output();
        let text = String::from_utf8_lossy(&output.expect("the simulator runs").stdout).into_owned();
        let report: serde_json::Value =
            serde_json::from_str(text.lines().last().expect("a last line")).expect("it is JSON");
        let seen: Vec<&str> = report["failures"]
            .as_array()
            .expect("a list of failures")
            .iter()
            .filter_map(|failure| failure["oracle"].as_str())
            .collect();
        assert!(seen.iter().any(|oracle| oracles.contains(oracle)), "{name}: only {seen:?} have seen it");
        run(Command::new("patch").args(["-R", "-p1", "-i"]).arg(&patch).current_dir(&here));
    }
}
