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
    for seed in ["2", "3", "17"] {
        let (one, other) = (stdout(&program(&["--seed", seed])), stdout(&program(&["--seed", seed])));
        assert_eq!(one, other);
        let here = run_one(seed.parse().expect("a number"), false).report.hash;
        assert!(one.contains(&format!("trace hash {here:016x}")), "{one}");
    }
}

#[test]
fn many_seeds_print_their_faults_and_replay_as_json() {
    let output = program(&["--seeds", "12", "--json"]);
    let text = stdout(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("faults injected") && text.contains("all well"), "{text}");
    let last = text.lines().last().expect("a last line");
    let json: serde_json::Value = serde_json::from_str(last).expect("the last line is JSON");
    assert_eq!(json["seeds"], 12);
    assert!(json["faults"]["bit flipped"].is_u64());
}

#[test]
fn a_trace_is_readable_and_bad_usage_has_its_own_exit_code() {
    let text = stdout(&program(&["--seed", "1", "--trace"]));
    assert!(text.contains("registry-1") && text.contains("MemberJoined"), "no registration in the trace");
    assert_eq!(program(&["--sead", "1"]).status.code(), Some(64));
    assert_eq!(program(&["--version"]).status.code(), Some(0));
}
