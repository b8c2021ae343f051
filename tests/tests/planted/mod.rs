//! A copy of the workspace in which bugs are planted, one after the other.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the patches are looked at, and where they are copied from.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests stands in the workspace").to_owned()
}

/// Whether patches can be planted into the workspace as it is, so that they follow the code that they break.
pub(crate) fn can_be_planted<'a>(names: impl Iterator<Item = &'a str>) {
    if Command::new("patch").arg("--version").output().is_err() {
        println!("skipped: there is no `patch` here");
        return;
    }
    names.for_each(|name| patch(&workspace(), name, &["--dry-run"]));
}

/// The copy; it goes with everything that was built in it.
pub(crate) struct Copy {
    temp: tempfile::TempDir,
}

impl Copy {
    pub(crate) fn new() -> Self {
        let copy = Self { temp: tempfile::tempdir().expect("a temporary folder") };
        fs::create_dir_all(copy.sources()).expect("a folder is made");
        for part in ["Cargo.toml", "Cargo.lock", "core", "sim", "runtime-mio", "tests"] {
            copy_tree(&workspace().join(part), &copy.sources().join(part));
        }
        copy
    }

    fn sources(&self) -> PathBuf {
        self.temp.path().join("workspace")
    }

    /// Builds the simulator with a bug, and lets it be tried; a trial is also told where it may write. The bug is taken out again.
    #[allow(dead_code, reason = "each file of tests has its own copy of this one, and uses one of the two")]
    pub(crate) fn with(&self, name: &str, release: bool, trial: impl FnOnce(&Path, &Path)) {
        patch(&self.sources(), name, &[]);
        run(self.cargo(&["build", "-p", "xxnet-sim"]).args(release.then_some("--release")));
        let built = self.target().join(if release { "release" } else { "debug" });
        trial(&built.join("xxnet-sim"), self.temp.path());
        patch(&self.sources(), name, &["-R"]);
    }

    /// Runs one of this package's tests, with a bug or with none: whether it passes. That it ran is asserted.
    #[allow(dead_code, reason = "as above")]
    pub(crate) fn passes(&self, bug: Option<&str>, file: &str, test: &str) -> bool {
        bug.iter().for_each(|name| patch(&self.sources(), name, &[]));
        let arguments = ["test", "-p", "xxnet-tests", "--test", file, "--", "--exact", test];
        let output = self.cargo(&arguments).output().expect("cargo runs");
        bug.iter().for_each(|name| patch(&self.sources(), name, &["-R"]));
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(out.contains("running 1 test"), "{test} did not run\n{out}{err}");
        output.status.success()
    }

    fn target(&self) -> PathBuf {
        self.temp.path().join("target")
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
        command
            .arg(arguments[0])
            .arg("--offline")
            .args(&arguments[1..])
            .current_dir(self.sources())
            .env("CARGO_TARGET_DIR", self.target())
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // An assertion of a debug build would see some of them before the oracle does.
            .env("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false")
            .env("CARGO_PROFILE_DEV_OVERFLOW_CHECKS", "false");
        command
    }
}

fn patch(at: &Path, name: &str, arguments: &[&str]) {
    let file = workspace().join("sim/mutants").join(format!("{name}.patch"));
    run(Command::new("patch").args(arguments).args(["-p1", "-i"]).arg(file).current_dir(at));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{command:?}\n{out}{err}");
}

fn copy_tree(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).expect("a file is copied");
        return;
    }
    fs::create_dir_all(to).expect("a folder is made");
    for entry in fs::read_dir(from).expect("a folder is read") {
        let entry = entry.expect("an entry");
        if entry.file_name() != "target" {
            copy_tree(&entry.path(), &to.join(entry.file_name()));
        }
    }
}
