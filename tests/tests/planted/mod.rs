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
    pub(crate) fn with(&self, name: &str, release: bool, trial: impl FnOnce(&Path, &Path)) {
        patch(&self.sources(), name, &[]);
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
        let target = self.temp.path().join("target");
        run(Command::new(cargo)
            .args(["build", "--offline", "-p", "xxnet-sim"])
            .args(release.then_some("--release"))
            .current_dir(self.sources())
            .env("CARGO_TARGET_DIR", &target)
            .env("CARGO_INCREMENTAL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            // An assertion of a debug build would see some of them before the oracle does.
            .env("CARGO_PROFILE_DEV_DEBUG_ASSERTIONS", "false")
            .env("CARGO_PROFILE_DEV_OVERFLOW_CHECKS", "false"));
        trial(&target.join(if release { "release" } else { "debug" }).join("xxnet-sim"), self.temp.path());
        patch(&self.sources(), name, &["-R"]);
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
