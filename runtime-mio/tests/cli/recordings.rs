//! `--record` and `xxnet replay`: what a daemon did on real sockets, files and processes is done again without any.

use crate::harness::*;
use crate::lists::greeted;
use serde_json::Value;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A registry and an executor, both recorded.
struct Recorded {
    home: Home,
    registry: Daemon,
    executor: Daemon,
}

impl Recorded {
    fn new(size: &str) -> Self {
        let home = Home::new();
        let mut registry = Daemon::registry_command(&home, "127.0.0.1:0");
        registry.arg("--record").arg(home.at("reg.rec")).arg(format!("--record-size={size}"));
        let registry = Daemon::start(registry, "listening");
        let mut executor = Daemon::executor_command(&home, &registry.address, 1, 2);
        executor.arg("--record").arg(home.at("exe.rec")).arg(format!("--record-size={size}"));
        let executor = Daemon::start(executor, "registered");
        Self { home, registry, executor }
    }

    fn run(&self, args: &[&str]) -> Ended {
        finish(self.home.xxnet(["run", "--reg", &self.registry.address].iter().chain(args)))
    }

    /// A task with files, input and output.
    fn work(&self) {
        self.home.write("in", vec![b'x'; 3 << 20]);
        let ended =
            self.run(&["-i", "in", "-o", "out", "--", "sh", "-c", "echo said; wc -c < in > out; exit 3"]);
        assert_eq!(ended.expect(3).out, "said\n");
        assert_eq!(self.home.read("out").trim(), (3 << 20).to_string());
    }
}

fn replay(home: &Home, file: &Path, code: i32) -> Value {
    let ended = finish(home.xxnet(["replay".as_ref(), "--json".as_ref(), file.as_os_str()]));
    ended.expect(code);
    serde_json::from_str(&ended.out).unwrap()
}

/// The frames of a recording, and what stands before them.
fn frames(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (magic, mut rest) = bytes.split_at(18);
    let mut frames = vec![magic.to_vec()];
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[..4].try_into().unwrap()) as usize;
        let (frame, behind) = rest.split_at(9 + len + 4);
        frames.push(frame.to_vec());
        rest = behind;
    }
    frames
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_le_bytes().to_vec();
    frame.push(kind);
    let check = crc32fast::hash(&frame);
    frame.extend(check.to_le_bytes());
    frame.extend(payload);
    frame.extend(crc32fast::hash(payload).to_le_bytes());
    frame
}

/// The place of the event that brought about an action with these words.
fn event_of(frames: &[Vec<u8>], words: &str) -> usize {
    let has = |frame: &[u8]| frame.windows(words.len()).any(|window| window == words.as_bytes());
    let answer = (2..frames.len()).find(|at| frames[*at][4] == b'A' && has(&frames[*at])).unwrap();
    (2..answer).rev().find(|at| frames[*at][4] == b'E').unwrap()
}

#[test]
fn a_recorded_cluster_does_the_same_again() {
    let mut recorded = Recorded::new("64M");
    recorded.work();
    let silent = recorded.run(&["--", "xxnet-no-such-command"]);
    silent.expect(127);
    assert!(recorded.executor.terminate().success() && recorded.registry.terminate().success());
    let home = &recorded.home;
    let key = std::fs::read_to_string(home.at(".config/xxnet/key")).unwrap();
    let raw: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&key[2 * at..2 * at + 2], 16).unwrap()).collect();
    for (file, machine, least) in [("reg.rec", "registry", 20), ("exe.rec", "executor", 50)] {
        let path = home.at(file);
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600, "for its owner alone");
        let bytes = std::fs::read(&path).unwrap();
        let has = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
        assert!(!has(&raw) && !has(key.trim().as_bytes()), "the key is in {file}");
        let report = replay(home, &path, 0);
        assert_eq!(report["verdict"], "same", "{report}");
        assert_eq!((&report["machine"], &report["tail"]), (&machine.into(), &"whole".into()), "{report}");
        assert!(report["events"].as_u64().unwrap() >= least, "{report}");
        assert!(report["actions"].as_u64().unwrap() >= least / 2, "{report}");
        assert!(report["states"].as_u64().unwrap() >= 1 && report["state"].is_string(), "{report}");
        assert_eq!(replay(home, &path, 0), report, "each time the same");
        let told = finish(home.xxnet(["replay".as_ref(), path.as_os_str()]));
        let told = &told.expect(0).out;
        assert!(told.contains("all the same") && told.contains(report["state"].as_str().unwrap()), "{told}");
    }
}

#[test]
fn x4_what_a_killed_daemon_was_given_last_is_there() {
    let mut recorded = Recorded::new("64M");
    recorded.work();
    let mut running = Running::start(recorded.home.xxnet([
        "run",
        "--reg",
        &recorded.registry.address,
        "--retries",
        "0",
        "--",
        "sh",
        "-c",
        "echo on; sleep 600",
    ]));
    running.until_out("on\n");
    recorded.executor.kill();
    recorded.registry.kill();
    drop(running);
    for file in ["reg.rec", "exe.rec"] {
        let path = recorded.home.at(file);
        let report = replay(&recorded.home, &path, 0);
        assert_eq!((&report["verdict"], &report["tail"]), (&"same".into(), &"cut".into()), "{report}");
        let bytes = std::fs::read(&path).unwrap();
        let whole = usize::try_from(report["tail_at"].as_u64().unwrap()).unwrap();
        assert_eq!(frames(&bytes[..whole]).concat().len(), whole);
        let told = finish(recorded.home.xxnet(["replay".as_ref(), path.as_os_str()]));
        assert!(told.expect(0).out.contains("has no end"), "{}", told.out);
    }
    let last = std::fs::read(recorded.home.at("exe.rec")).unwrap();
    assert!(last.windows(3).any(|window| window == b"on\n"), "its last words are in it");
}

#[test]
fn a_divergence_is_named() {
    let mut recorded = Recorded::new("64M");
    recorded.work();
    assert!(recorded.executor.terminate().success() && recorded.registry.terminate().success());
    let home = &recorded.home;
    for (file, words) in [("reg.rec", "Notify(MemberJoined"), ("exe.rec", "Notify(AttemptStarted")] {
        let whole = std::fs::read(home.at(file)).unwrap();
        let all = frames(&whole);
        let at = event_of(&all, words);
        let before = all[..=at].iter().filter(|frame| frame[4] == b'E').count() as u64 - 2;
        let write = |frames: &[Vec<u8>]| std::fs::write(home.at("edited"), frames.concat()).unwrap();
        // One event is gone, with what it brought about.
        let mut less = all.clone();
        less.drain(at..at + 2);
        write(&less);
        let report = replay(home, &home.at("edited"), 2);
        assert_eq!(report["verdict"], "diverged", "{report}");
        let divergence = &report["divergence"];
        assert!(divergence["event"].as_u64().unwrap() >= before, "{report}");
        assert!(!divergence["difference"].is_null(), "{report}");
        // What it brought about was recorded otherwise.
        let mut other = all.clone();
        let mut payload = other[at + 1][9..other[at + 1].len() - 4].to_vec();
        payload[0] ^= 1;
        other[at + 1] = frame(b'A', &payload);
        write(&other);
        let ended = finish(home.xxnet(["replay".as_ref(), home.at("edited").as_os_str()]));
        let told = &ended.expect(2).out;
        assert!(told.contains(&format!("diverged at event {}", before + 2)), "{told}");
        assert!(told.contains("action 1 was ") && told.contains("action 1 is now "), "{told}");
        // Another version's, with the same events: said, and no reason to stop.
        let mut older = all.clone();
        let json = String::from_utf8(older[1][9..older[1].len() - 4].to_vec()).unwrap();
        let version = format!("\"version\":\"{}\"", env!("CARGO_PKG_VERSION"));
        assert!(json.contains(&version));
        older[1] = frame(b'H', json.replacen(&version, "\"version\":\"0.0.7\"", 1).as_bytes());
        write(&older);
        let ended = finish(home.xxnet(["replay".as_ref(), home.at("edited").as_os_str()]));
        ended.expect(0).says("recorded by xxnet 0.0.7");
        // Damage is told apart, and what stands before it is compared.
        let mut damaged = whole.clone();
        damaged[all[..at].concat().len() + 12] ^= 0x10;
        std::fs::write(home.at("edited"), &damaged).unwrap();
        let report = replay(home, &home.at("edited"), 65);
        assert_eq!((&report["verdict"], &report["tail"]), (&"same".into(), &"damaged".into()), "{report}");
        assert_eq!(report["events"].as_u64().unwrap(), before + 1, "{report}");
    }
}

impl Recorded {
    /// Three megabytes of output go through the executor, and so into its recording.
    fn emit(&self) {
        let ended = self.run(&["--", "head", "-c", "3000000", "/dev/zero"]);
        assert_eq!(ended.expect(0).out.len(), 3_000_000);
    }

    /// Bytes of all parts.
    fn sizes(&self, file: &str) -> u64 {
        let len = |end: &str| std::fs::metadata(self.home.at(&format!("{file}{end}"))).map_or(0, |m| m.len());
        ["", ".before", ".new"].iter().map(|end| len(end)).sum()
    }
}

#[test]
fn a_ring_keeps_the_newest_and_the_run_before_stays_whole() {
    const LIMIT: u64 = 4 << 20;
    let mut recorded = Recorded::new("4M");
    for _ in 0..5 {
        recorded.emit();
        assert!(recorded.sizes("exe.rec") <= LIMIT);
    }
    assert!(recorded.executor.terminate().success());
    let path = recorded.home.at("exe.rec");
    assert!(recorded.home.at("exe.rec.before").exists() && recorded.sizes("exe.rec") > LIMIT / 3);
    let report = replay(&recorded.home, &path, 0);
    assert_eq!((&report["verdict"], &report["tail"]), (&"same".into(), &"whole".into()), "{report}");
    assert_eq!(report["gap"], Value::Null, "{report}");
    assert!(report["before"].as_u64().unwrap() > 20 && report["events"].as_u64().unwrap() > 10, "{report}");
    assert!(
        report["from"].as_str() <= report["to"].as_str()
            && report["began"].as_str() <= report["from"].as_str()
    );
    let told = finish(recorded.home.xxnet(["replay".as_ref(), path.as_os_str()]));
    for words in ["events before those below are not held any more", "held from 20", "all the same"] {
        assert!(told.expect(0).out.contains(words), "{}", told.out);
    }
    // Started again, it keeps both parts of its life before.
    let mut again = Daemon::executor_command(&recorded.home, &recorded.registry.address, 1, 2);
    again.arg("--record").arg(&path).arg("--record-size=4M");
    recorded.executor = Daemon::start(again, "registered");
    recorded.emit();
    recorded.emit();
    assert_eq!(replay(&recorded.home, &recorded.home.at("exe.rec.old"), 0), report);
    // One that is still being written can be looked at.
    let live = replay(&recorded.home, &path, 0);
    assert_eq!((&live["verdict"], &live["tail"]), (&"same".into(), &"cut".into()), "{live}");

    // The older part is damaged: told, and the newer one is run all the same.
    let before = recorded.home.at("exe.rec.old.before");
    let whole = std::fs::read(&before).unwrap();
    let mut damaged = whole.clone();
    damaged[whole.len() / 2] ^= 1;
    std::fs::write(&before, &damaged).unwrap();
    let less = replay(&recorded.home, &recorded.home.at("exe.rec.old"), 65);
    assert_eq!((&less["verdict"], &less["gap"]), (&"same".into(), &"damaged".into()), "{less}");
    assert_eq!(less["state"], report["state"]);
    std::fs::write(&before, &whole[..20]).unwrap();
    let ended = finish(recorded.home.xxnet(["replay".as_ref(), recorded.home.at("exe.rec.old").as_os_str()]));
    ended.expect(65).says("its beginning is damaged");
    assert!(ended.out.contains("all the same"), "{}", ended.out);
    // Killed between the two renames of a turn, all is in the older part.
    std::fs::write(&before, &whole).unwrap();
    std::fs::remove_file(recorded.home.at("exe.rec.old")).unwrap();
    let alone = replay(&recorded.home, &recorded.home.at("exe.rec.old"), 0);
    assert_eq!((&alone["verdict"], &alone["tail"]), (&"same".into(), &"turned".into()), "{alone}");
}

#[test]
fn x4_an_executor_killed_while_its_ring_turns_leaves_what_replays() {
    let mut recorded = Recorded::new("4M");
    let path = recorded.home.at("exe.rec");
    for _ in 0..4 {
        let mut command =
            recorded.home.xxnet(["run", "--reg", &recorded.registry.address, "--retries=0", "--"]);
        command.args(["sh", "-c", "while :; do head -c 20000 /dev/zero; sleep 0.001; done"]);
        let running = Running::start(command);
        // A part is full every tenth of a second or so; while one is begun, it is killed.
        until("the ring to turn", || recorded.home.at("exe.rec.before").exists());
        let since = Instant::now();
        while !recorded.home.at("exe.rec.new").exists() {
            assert!(since.elapsed() < Duration::from_secs(60), "the ring does not turn any more");
        }
        recorded.executor.kill();
        drop(running);
        assert!(recorded.sizes("exe.rec") <= 4 << 20);
        let report = replay(&recorded.home, &path, 0);
        assert_eq!(report["verdict"], "same", "{report}");
        assert!(report["before"].as_u64().unwrap() > 20 && report["gap"].is_null(), "{report}");
        let mut again = Daemon::executor_command(&recorded.home, &recorded.registry.address, 1, 2);
        again.arg("--record").arg(&path).arg("--record-size=4M");
        recorded.executor = Daemon::start(again, "registered");
        assert!(!recorded.home.at("exe.rec.new").exists());
        assert_eq!(replay(&recorded.home, &recorded.home.at("exe.rec.old"), 0), report);
    }
}

#[test]
fn up_records_each_machine_in_a_file_of_its_own() {
    let home = Home::new();
    let mut up = home.xxnet(["up", "--executors=2", "--slots=1", "--listen=127.0.0.1:0"]);
    up.arg("--record").arg(home.at("r.rec")).arg("--record-size=16M");
    let mut up = Running::start(up);
    let registry = greeted(&mut up);
    finish(home.xxnet(["run", "--reg", &registry, "--", "echo", "recorded"])).expect(0);
    up.signal(libc::SIGINT);
    up.finish().expect(0);
    let mut machines = Vec::new();
    for file in ["r-registry.rec", "r-node-1.rec", "r-node-2.rec"] {
        let report = replay(&home, &home.at(file), 0);
        assert_eq!((&report["verdict"], &report["tail"]), (&"same".into(), &"whole".into()), "{report}");
        assert_eq!(report["before"], 0, "{report}");
        machines.push(format!(
            "{} {}",
            report["machine"].as_str().unwrap(),
            report["name"].as_str().unwrap()
        ));
    }
    assert_eq!(machines, ["registry registry", "executor node-1", "executor node-2"]);
    finish(home.xxnet(["up", "--record=/", "--listen=127.0.0.1:0"]))
        .expect(2)
        .says("names no file to record into");
}

#[test]
fn what_cannot_be_replayed_or_recorded_gets_a_sentence() {
    let mut recorded = Recorded::new("1M");
    assert!(recorded.executor.terminate().success() && recorded.registry.terminate().success());
    let home = &recorded.home;
    let replay = |file: &Path, more: &[&str]| {
        let mut command = home.xxnet(["replay".as_ref(), file.as_os_str()]);
        command.args(more);
        finish(command)
    };
    replay(&home.at("none"), &[]).expect(1).says("no such file");
    replay(&home.at("work"), &[]).expect(1).says("is a directory");
    for text in ["", "xxnet recording", "dear reader, this is a letter"] {
        home.write("letter", text);
        replay(&home.here("letter"), &[]).expect(65).says("no recording of xxnet");
    }
    let whole = std::fs::read(home.at("reg.rec")).unwrap();
    for end in [18, 20, 100] {
        home.write("begun", &whole[..end]);
        replay(&home.here("begun"), &[]).expect(65).says("its beginning is damaged or not there");
    }
    let headless = [&frames(&whole)[0], &frames(&whole)[2]].map(Vec::as_slice).concat();
    home.write("headless", headless);
    replay(&home.here("headless"), &[]).expect(65).says("of which machine");
    home.write("strange", [&whole[..18], &frame(b'H', b"{}")].concat());
    replay(&home.here("strange"), &[]).expect(65).says("cannot be read by this version");

    let key: PathBuf = home.here("key");
    std::fs::write(&key, "ab".repeat(32)).unwrap();
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
    let other = ["--key-file", key.to_str().unwrap()];
    replay(&home.at("reg.rec"), &other).expect(1).says("the recorded registry had another cluster key");
    replay(&home.at("exe.rec"), &other).expect(1).says("--key-file FILE");
    std::fs::remove_file(home.at(".config/xxnet/key")).unwrap();
    replay(&home.at("reg.rec"), &[]).expect(1).says("there is no cluster key");
    assert!(!home.at(".config/xxnet/key").exists(), "a new key would only be the wrong one");

    for words in [
        &["replay"][..],
        &["replay", "a", "b"],
        &["replay", "--what", "a"],
        &["-v", "replay", "--reg=x", "a"],
        &["sim", "replay"],
        &["sim", "run", "--faults", "rain"],
    ] {
        finish(home.xxnet(words)).expect(64).says("xxnet");
    }
    let reg = |words: &[&str]| finish(home.xxnet(["-qq", "reg", "--listen=127.0.0.1:0"].iter().chain(words)));
    reg(&["--record=letter"]).expect(1).says("is no recording");
    assert_eq!(home.read("letter"), "dear reader, this is a letter");
    reg(&["--record=none/rec"]).expect(1).says("cannot record to none/rec");
    reg(&["--record=rec", "--record-size=1K"]).expect(2).says("64K at the least");
    reg(&["--record-size=1M"]).expect(2).says("--record");
    assert!(!home.here("rec").exists());
}
