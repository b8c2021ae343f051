//! The program itself: what it prints and how it exits.

use std::process::{Command, Output};
use xxnet_sim::runner::run_one;

fn program(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xxnet-sim")).args(arguments).output().expect("the program runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The same seed in two other processes and in this one.
#[test]
fn x1_one_seed_has_one_trace_in_every_process() {
    for seed in ["2", "3", "5", "17"] {
        let (one, other) =
            (stdout(&program(&["replay", "--seed", seed])), stdout(&program(&["replay", "--seed", seed])));
        assert_eq!(one, other);
        let here = run_one(seed.parse().expect("a number"), false).report.hash;
        assert!(one.contains(&format!("trace hash {here:016x}")), "{one}");
    }
}

/// The same seeds in the program as the other profile builds it: overflow checks, debug assertions and optimisation change
/// nothing of what happens.
#[test]
#[ignore = "builds the program in the other profile: about a minute, unless it is there"]
fn x1_debug_and_release_have_one_trace() {
    let other = if cfg!(debug_assertions) { "release" } else { "dev" };
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let there = |arguments: &[&str]| {
        let cargo_run = ["run", "--quiet", "--offline", "--profile", other, "-p", "xxnet-sim", "--"];
        let output = Command::new(&cargo).args(cargo_run).args(arguments).output().expect("cargo runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        stdout(&output)
    };
    // Of clusters, of connections alone and of messengers; then many at once, whose combined hash stands in the last line.
    for seed in ["0", "2", "3", "5", "7", "17"] {
        assert_eq!(
            stdout(&program(&["replay", "--seed", seed])),
            there(&["replay", "--seed", seed]),
            "{other} has another trace"
        );
    }
    let hash = |text: String| {
        let json: serde_json::Value =
            serde_json::from_str(text.lines().last().expect("a last line")).expect("the last line is JSON");
        (json["events"].as_u64().expect("a number"), json["hash"].as_str().expect("a hash").to_owned())
    };
    let many = ["run", "--start", "100", "--seeds", "60", "--json"];
    assert_eq!(hash(stdout(&program(&many))), hash(there(&many)));
}

#[test]
fn many_seeds_print_their_faults_and_replay_as_json() {
    let output = program(&["run", "--seeds", "12", "--json"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("faults injected") && text.contains("all well"), "{text}");
    let last = text.lines().last().expect("a last line");
    let json: serde_json::Value = serde_json::from_str(last).expect("the last line is JSON");
    assert_eq!(json["seeds"], 12);
    assert!(json["faults"]["bit flipped"].is_u64());
    let marks = &json["marks"];
    let (reached, of) =
        (marks["reached"].as_u64().expect("a number"), marks["of"].as_u64().expect("a number"));
    assert!(text.contains(&format!("marks reached: {reached} of {of}")), "{text}");
    assert_eq!(marks["never"].as_array().map(|never| never.len() as u64), Some(of - reached));
}

#[test]
fn a_trace_is_readable_and_bad_usage_has_its_own_exit_code() {
    let text = stdout(&program(&["replay", "--seed", "1", "--trace"]));
    assert!(text.contains("registry-1") && text.contains("MemberJoined"), "no registration in the trace");
    assert_eq!(program(&["replay", "--sead", "1"]).status.code(), Some(64));
    assert_eq!(program(&["--version"]).status.code(), Some(0));
}

/// On one thread and on two, and whoever ends first: the same seeds are the same runs.
#[test]
fn x1_seeds_do_not_depend_on_threads() {
    let last = |jobs: &str| {
        let output = program(&["run", "--start", "40", "--seeds", "24", "--jobs", jobs, "--json"]);
        let text = stdout(&output);
        let json: serde_json::Value =
            serde_json::from_str(text.lines().last().expect("a last line")).expect("it is JSON");
        (json["events"].clone(), json["hash"].clone())
    };
    let one = last("1");
    assert!(one.1.is_string(), "{one:?}");
    assert_eq!(one, last("2"));
}

/// What a user gets wrong: a plan that is not there, is none, or says what cannot be.
#[test]
fn what_is_wrong_with_a_plan_is_said_with_an_exit_code_of_its_own() {
    let folder = std::env::temp_dir().join(format!("xxnet-sim-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder is made");
    let path = folder.join("plan.json");
    let (name, missing) = (path.display().to_string(), folder.join("missing.json").display().to_string());
    for (text, part) in [
        ("GET / HTTP/1.1", "is no plan"),
        (r#"{"seed": 1, "scenario": {"cluster": {"publishers": 0}}}"#, "publishers is 0; it must be from 1"),
    ] {
        std::fs::write(&path, text).expect("a file is written");
        for command in ["replay", "show", "shrink"] {
            let output = program(&[command, &name]);
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.code() == Some(66) && told.contains(part), "{told}");
        }
    }
    assert_eq!(program(&["replay", &missing]).status.code(), Some(66));
    assert_eq!(program(&["replay"]).status.code(), Some(64));
    let output = program(&["run", "--faults", "rain"]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(64) && told.contains("bit-flipped"), "{told}");
    std::fs::remove_dir_all(&folder).expect("it is removed");
}

/// A seed's plan, kept as a file, is the same run; and it can be told in words.
#[test]
fn x1_a_plan_as_a_file_is_the_run_of_its_seed() {
    let folder = std::env::temp_dir().join(format!("xxnet-sim-plan-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder is made");
    for seed in [1, 3, 5] {
        let outcome = run_one(seed, false);
        let path = folder.join(format!("{seed}.json"));
        std::fs::write(&path, outcome.plan.text()).expect("a file is written");
        let text = stdout(&program(&["replay", &path.display().to_string()]));
        assert!(text.contains(&format!("trace hash {:016x}", outcome.report.hash)), "{text}");
        let shown = stdout(&program(&["show", &path.display().to_string()]));
        assert!(shown.contains(&format!("{} faults", outcome.plan.faults.len())), "{shown}");
    }
    std::fs::remove_dir_all(&folder).expect("it is removed");
}

#[test]
fn a_replay_draws_its_page() {
    let path = std::env::temp_dir().join(format!("xxnet-sim-{}.html", std::process::id()));
    let output = program(&["replay", "--seed", "3", "--html", path.to_str().expect("a path")]);
    let page = std::fs::read_to_string(&path).expect("a page");
    std::fs::remove_file(&path).expect("it is removed");
    assert!(output.status.success() && page.contains("xxnet simulation, seed 3: all well"));
    let nowhere = program(&["replay", "--seed", "3", "--html", "/no/such/folder/page.html"]);
    assert_eq!(nowhere.status.code(), Some(73));
}
