//! Whole pages, from small worlds: what a reader must find on them.
//!
//! With `XXNET_PAGES=FOLDER` the pages are written there, to be looked at.

use super::merge::{Arrow, Fate, Story};
use super::page::page;
use super::{Chronicle, Wanted};
use crate::choices::Choices;
use crate::clock::Clock;
use crate::context::{Context, ProcId};
use crate::failure::{Failure, FailureKind};
use crate::fault::{Fault, Swarm};
use crate::faults::Injection;
use crate::lab::{Door, Lab, Task};
use crate::machine::{Adapter, Command};
use crate::runner::run_one;
use crate::script::{Step, content};
use crate::setup::Setup;
use crate::spacetime::read::File;
use crate::tap::{Tap, Wanted as Caught};
use crate::world::World;
use core::time::Duration;
use xxnet_core::connection::KindId;
use xxnet_core::messenger::{Messenger, MessengerCommand};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Address, ClusterKey, Config, Dict, InstanceId, Token};

/// Looked at by people, if they want to.
fn show(name: &str, story: &Story) {
    if let Some(folder) = std::env::var_os("XXNET_PAGES") {
        std::fs::write(std::path::Path::new(&folder).join(name), page(story)).unwrap();
    }
}

fn arrows<'a>(story: &'a Story, name: &'a str) -> impl Iterator<Item = &'a Arrow> + 'a {
    story.arrows.iter().filter(move |arrow| arrow.name == name)
}

fn with(story: &Story, name: &str, fate: Fate) -> usize {
    arrows(story, name).filter(|arrow| arrow.fate == fate).count()
}

fn has_event(story: &Story, class: &str, name: &str) -> bool {
    story.events.iter().any(|event| (event.class, &event.name[..]) == (class, name))
}

/// Two messengers that listen on port 9000 and know each other as token 1.
fn two_messengers(seed: u64) -> (World, [ProcId; 2]) {
    let mut ctx = Context::new(Choices::seeded(seed, "world"), Injection::Drawn(Swarm::none()), false);
    let hosts = ["anna", "berta"].map(|name| ctx.add_host(name, Clock::exact()));
    let mut world = World::new(ctx);
    let procs = ["anna", "berta"].map(|name| {
        let at = usize::from(name == "berta");
        let config = Config::new(InstanceId([7 + at as u8; 16]), name, ClusterKey([9; 32]), seed + at as u64);
        let proc = world.start(hosts[at], name, Box::new(Adapter::new(Messenger::new(config))), false);
        let here = hosts[at].socket(9000).into();
        let there = Address::Socket(hosts[1 - at].socket(9000));
        let listen = MessengerCommand::Listen { token: Token(9), address: here };
        let open = MessengerCommand::Open { token: Token(1), to: there };
        world.command(proc, 0, Command::Messenger(listen));
        world.command(proc, 1, Command::Messenger(open));
        proc
    });
    (world, procs)
}

fn say(world: &mut World, proc: ProcId, delay: u64, text: &str) {
    let dict = Dict::from([("text", text.into())]);
    let pack = DataPack::new(PackType::DICT, dict.encode().unwrap());
    let send = MessengerCommand::Send { token: Token(1), packs: vec![pack] };
    world.command(proc, delay, Command::Messenger(send));
}

/// Runs on; every message that comes is taken at once.
fn run(world: &mut World, until: u64, mut stop: impl FnMut(&mut World) -> bool) -> bool {
    use xxnet_core::messenger::MessengerNotice;
    while let Some(_step) = world.step(until).expect("nothing fails") {
        while let Some((proc, notice)) = world.notices.pop_front() {
            if let crate::machine::Notice::Messenger(MessengerNotice::Received { on, pack }) = notice {
                let taken = MessengerCommand::Taken { on, sequence: pack.sequence };
                world.command(proc, 0, Command::Messenger(taken));
            }
        }
        if stop(world) {
            return true;
        }
    }
    false
}

/// Both dial in the same moment: two dials cross, one of both links is chosen, and each message arrives once.
#[test]
fn a_page_of_a_crossed_dial_shows_both_dials_and_the_choice() {
    let (_, chronicle) = Chronicle::of(|| {
        let (mut world, [anna, berta]) = two_messengers(3);
        say(&mut world, anna, 1_000, "hello berta");
        say(&mut world, berta, 1_000, "hello anna");
        run(&mut world, 2_000_000, |_| false);
    });
    let story = chronicle.story("A crossed dial");
    show("crossed-dial.html", &story);
    assert_eq!(story.lanes.len(), 2);
    assert_eq!((with(&story, "dial", Fate::Arrived), with(&story, "Hello", Fate::Arrived)), (2, 2));
    // Each dial leaves before the other's arrives: they cross.
    let dials: Vec<_> =
        arrows(&story, "dial").map(|arrow| (arrow.from.unwrap(), arrow.to.unwrap())).collect();
    assert!(dials[0].0 < dials[1].1 && dials[1].0 < dials[0].1, "{dials:?}");
    assert!(arrows(&story, "Use").count() >= 1 && arrows(&story, "Using").count() >= 1);
    // What was sent before the choice goes again on the chosen link.
    assert!(with(&story, "Message", Fate::Arrived) >= 2);
    assert!(story.facts[0].starts_with("2 nodes"), "{:?}", story.facts);
}

/// The acknowledgement of a message is on its way when the link breaks.
#[test]
fn a_page_of_a_lost_acknowledgement_shows_it_cut_and_the_message_once() {
    let (_, chronicle) = Chronicle::of(|| {
        let (mut world, [anna, berta]) = two_messengers(4);
        world.tap = Some(Tap::default());
        say(&mut world, anna, 1_000, "please say that you have this");
        let wanted = Caught { door: Door::Sent, kind: KindId::MESSAGES, pack_type: PackType::ACK };
        world.tap.as_mut().unwrap().want(Some(berta), wanted);
        assert!(run(&mut world, 2_000_000, |world| world.tap.as_ref().unwrap().has_caught()));
        let caught = world.tap.as_mut().unwrap().take().unwrap();
        let World { net, ctx, .. } = &mut world;
        assert!(net.break_link(ctx, berta, caught.link, Fault::ResetBoth));
        run(&mut world, 6_000_000, |_| false);
    });
    let story = chronicle.story("A lost acknowledgement");
    show("lost-acknowledgement.html", &story);
    assert_eq!((with(&story, "Ack", Fate::Cut), with(&story, "Message", Fate::Arrived)), (1, 1));
    let cut = arrows(&story, "Ack").find(|arrow| arrow.fate == Fate::Cut).unwrap();
    assert!(cut.why.contains("anna") && cut.why.contains("broke"), "{}", cut.why);
    assert!(has_event(&story, "fault", "link reset, both notice") && has_event(&story, "notice", "resumed"));
    // The next Hello says how far the other one was.
    assert!(story.events.iter().any(|event| event.say.contains("has received 1 of the other's messages")));
}

/// The link of a file breaks behind its second block.
#[test]
fn a_page_of_a_file_resume_shows_where_it_goes_on() {
    let (_, chronicle) = Chronicle::of(|| {
        let mut lab = Lab::settled(5, Setup::calm(1, &[1]));
        let copy = Step::Copy(b"in".to_vec(), b"out".to_vec());
        let task = Task::new(vec![copy]).input(b"in", content(1, 5 << 20)).output(b"out");
        let task = lab.publish("publisher-1", task);
        for _ in 0..2 {
            lab.catch(Some("executor-1"), Door::Received, KindId::FILE, "Block", Duration::from_secs(5));
        }
        lab.run_for(Duration::from_millis(4));
        assert!(lab.break_link("executor-1", KindId::FILE, Fault::ResetBoth));
        lab.done(task, Duration::from_secs(30));
        lab.finish();
    });
    let story = chronicle.story("A file that is resumed");
    show("file-resume.html", &story);
    let asked =
        |event: &&super::merge::Happened| event.name.starts_with("FileRequest") && event.class == "sent";
    let requests: Vec<_> = story.events.iter().filter(asked).map(|event| &event.name[..]).collect();
    assert_eq!(requests[0], "FileRequest 0");
    assert!(requests.iter().any(|name| name.contains("from block")), "{requests:?}");
    assert!(with(&story, "Block", Fate::Cut) >= 1, "no block was under way when the link broke");
    assert!(has_event(&story, "notice", "ended: done"));
    let runs: Vec<_> = story.lanes.iter().map(|lane| (&lane.name[..], lane.runs.len())).collect();
    // The second one is the lab's own, which sees at the end whether all still works.
    assert_eq!(runs, [("registry-1", 0), ("publisher-1", 0), ("executor-1", 2)]);
}

/// A failure stands on its node, at its time, first among the facts, and in the title.
#[test]
fn a_failure_is_a_mark_with_its_words() {
    let (outcome, chronicle) = Chronicle::of(|| run_one(2, false));
    outcome.result.expect("all well");
    let what = "two live copies of </script><b>task 1</b>".to_owned();
    let (at, node) = (20_000_000, "executor-1".to_owned());
    let failure = Failure { kind: FailureKind::Safety, oracle: "copies", what, node, at, event: 1234 };
    let page = chronicle.page("seed 2", Some(&failure));
    if let Some(folder) = std::env::var_os("XXNET_PAGES") {
        std::fs::write(std::path::Path::new(&folder).join("failure.html"), &page).unwrap();
    }
    assert!(page.contains("<title>xxnet simulation, seed 2: Safety failure (copies)</title>"));
    assert_eq!(page.matches("</script>").count(), 2);
    let story = chronicle.story("");
    let mark = story.events.iter().find(|event| event.class == "failure").unwrap();
    assert_eq!((mark.t, &story.lanes[mark.lane.unwrap()].name[..]), (at, "executor-1"));
    assert!(
        story.facts[0].starts_with("FAILED: Safety (copies) on executor-1 at 20.000000 s: two live copies")
    );
}

/// The story of a run is told and nothing of the run has changed.
#[test]
fn x1_tracing_a_run_changes_nothing_of_it() {
    for seed in [2, 3, 5] {
        let plain = run_one(seed, false).report;
        let (told, chronicle) = Chronicle::of(|| run_one(seed, true).report);
        assert_eq!((plain.hash, plain.events), (told.hash, told.events));
        assert!(!chronicle.story("").events.is_empty());
    }
}

/// Whatever happens, the page accounts for it: each message has one arrow, each arrow its ends, none arrives before it was sent.
#[test]
fn every_message_of_a_storm_has_its_fate() {
    for seed in [0, 3, 5, 11] {
        let (outcome, chronicle) = Chronicle::of(|| run_one(seed, false));
        outcome.result.expect("all well");
        let file = File::read(chronicle.lines().as_bytes()).unwrap();
        assert!(!file.torn && file.unreadable == 0);
        let story = Story::new(vec![("x".to_owned(), file)], &Wanted { most: usize::MAX, ..Wanted::all("") });
        assert!(story.events.is_sorted_by_key(|event| event.t));
        for arrow in &story.arrows {
            assert!(arrow.from.is_some() || arrow.to.is_some());
            assert_eq!(arrow.fate == Fate::Arrived, arrow.why.is_empty(), "{arrow:?}");
            if let (Some(from), Some(to)) = (arrow.from, arrow.to) {
                assert!(story.events[from].t <= story.events[to].t);
                assert!(story.events[from].lane.is_some() && story.events[to].lane.is_some());
            }
        }
        for event in story.events.iter().filter(|event| ["sent", "got"].contains(&event.class)) {
            assert!(event.arrow.is_some(), "{event:?}");
        }
        let strangers = story.arrows.iter().filter(|arrow| arrow.fate == Fate::Stranger).count();
        let replays = outcome.report.faults.of(Fault::Replay);
        assert!(strangers == 0 || replays > 0, "seed {seed}: {strangers} messages of strangers");
    }
}
