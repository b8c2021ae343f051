//! Bugs planted on purpose, each of which the simulator must see with the oracle that is there for it: who trusts a thousand
//! seeds that pass must know that they can fail. Slow (it builds the simulator once for each), so it runs on its own:
//! `cargo test -p xxnet-tests --test sim_mutants -- --ignored`.

mod planted;

use std::fs;
use std::path::Path;
use std::process::Command;

/// A planted bug.
struct Mutant {
    /// Its patch in `sim/mutants`.
    name: &'static str,
    /// What it breaks.
    area: &'static str,
    /// The oracles of which one must see it.
    oracles: &'static [&'static str],
    /// What finds it: a seed, and what it is told besides.
    seed: u64,
    arguments: &'static [&'static str],
}

const fn mutant(
    name: &'static str,
    area: &'static str,
    oracles: &'static [&'static str],
    seed: u64,
) -> Mutant {
    Mutant { name, area, oracles, seed, arguments: &[] }
}

const RESETS: &[&str] = &["--scenario", "cluster", "--faults", "link-reset-both-notice"];

/// The list that stands in the simulator's README, too. Each seed is the first of a thousand that finds it.
const MUTANTS: [Mutant; 18] = [
    // The checksum of a pack with data is not compared.
    mutant("unchecked", "codec", &["session"], 21),
    // A link whose peer is silent is never given up.
    mutant("never-silent", "link", &["stuck"], 5),
    // Each connection of a dialler counts for itself, so an older link of its is not replaced.
    mutant("link-rule", "link rules", &["one"], 11),
    // The end that follows closes its older links by itself when one comes up: both ends close both.
    mutant("closed-by-preference", "link rules", &["pair"], 3),
    // The end that chooses sends, and closes the other links, before the other end has said `Using`.
    mutant("before-using", "link rules", &["pair"], 3),
    // A new link goes on from the newest message, and not from the one that the peer lacks.
    mutant("resume-from-newest", "session resume", &["blame"], 5),
    // A session that has expired leaves its generation to the next one: a count of the old one is believed.
    mutant("same-generation", "session resume", &["blame"], 3),
    // A message of a session is acknowledged once it has come, taken or not.
    mutant("acknowledged-on-arrival", "session delivery", &["acknowledged"], 7),
    // What waits for an address that turns out to be a connected peer's comes behind what is sent there later.
    mutant("waiting-overtaken", "messenger", &["order"], 93),
    // A publisher takes a lease for over before it is.
    mutant("lease", "leases", &["copies"], 28),
    // A task that was granted before is granted again under the same attempt number.
    mutant("attempt-again", "attempts", &["late-result"], 12),
    // The table of pending callbacks forgets which have fired.
    mutant("callback-table", "callbacks", &["callback"], 0),
    // A file that is asked for again is asked for from one block too far.
    Mutant { arguments: RESETS, ..mutant("resume-too-far", "file resume", &["excuse"], 56) },
    // The slot of an attempt that is being stopped is free before its command is reaped.
    mutant("slot-before-reaped", "slot count", &["panic"], 0),
    // A member that gets no more work keeps the proposals that it has.
    mutant("proposal-kept", "proposals", &["panic"], 8),
    // A deadline that is set anew leaves the old one where it was.
    mutant("old-timer", "timers", &["copies"], 12),
    // An outbox that is empty at once does not say that there is room again.
    mutant("room-untold", "outbox", &["stuck"], 37),
    // A worker remembers for ever where it once dialled a publisher.
    mutant("peer-address", "peers", &["unfinished"], 0),
];

/// The plan of this one has so many faults that only a shrunk one can be read.
const LONG: &str = "lease";

/// The patches are looked at each time, so that they follow the code that they break.
#[test]
fn planted_bugs_can_be_planted() {
    planted::can_be_planted(MUTANTS.iter().map(|mutant| mutant.name));
}

/// The list in the README is this one.
#[test]
fn planted_bugs_are_listed_in_the_readme() {
    let readme =
        fs::read_to_string(planted::workspace().join("sim/README.md")).expect("the simulator has a README");
    for Mutant { name, area, oracles, seed, arguments } in MUTANTS {
        let arguments: String = arguments.iter().map(|word| format!(" {word}")).collect();
        let row = format!("| {area} | `{name}` | `{}` | `--seed {seed}{arguments}` |", oracles[0]);
        assert!(readme.contains(&row), "it does not say: {row}");
    }
}

#[test]
#[ignore = "builds the simulator eighteen times: about five minutes"]
fn planted_bugs_are_seen_by_their_oracles() {
    let (part, of) = part();
    let copy = planted::Copy::new();
    for (_, mutant) in MUTANTS.into_iter().enumerate().filter(|(number, _)| number % of == part) {
        let Mutant { name, oracles, seed, arguments, .. } = mutant;
        println!("{name}");
        copy.with(name, false, |program, folder| {
            let seed = seed.to_string();
            let replay = Command::new(program).args(["replay", "--seed", &seed]).args(arguments).output();
            let text = String::from_utf8_lossy(&replay.expect("the simulator runs").stdout).into_owned();
            let seen = oracles.iter().any(|oracle| text.contains(&format!(" ({oracle}) on ")));
            assert!(seen, "{name} is not seen by {oracles:?}:\n{text}");
            if name == LONG {
                shrinks(program, &seed, folder);
            }
        });
    }
}

/// `XXNET_PLANTED=1/3`: every third bug from the second on, for who has no time for all of them.
fn part() -> (usize, usize) {
    let Ok(text) = std::env::var("XXNET_PLANTED") else { return (0, 1) };
    let (part, of) = text.split_once('/').expect("a part, such as 1/3");
    let [part, of] = [part, of].map(|number| number.parse().expect("a number"));
    assert!(part < of, "{text}: parts are counted from 0");
    (part, of)
}

/// Of many faults, the few that matter are left.
fn shrinks(program: &Path, seed: &str, folder: &Path) {
    let plan = folder.join("plan.json");
    let shrunk = Command::new(program).args(["shrink", "--seed", seed, "--out"]).arg(&plan).output();
    let told = String::from_utf8_lossy(&shrunk.expect("the simulator runs").stderr).into_owned();
    let numbers: Vec<usize> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    assert!(numbers[0] > 50 && numbers[1] <= 3, "{told}");
    assert!(told.contains("nothing more can be left out"), "{told}");
    let replay = Command::new(program).arg("replay").arg(&plan).output().expect("the simulator runs");
    assert_eq!(replay.status.code(), Some(2), "{}", String::from_utf8_lossy(&replay.stdout));
}
