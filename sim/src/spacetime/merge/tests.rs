use super::*;
use crate::spacetime::read::Part;
use crate::spacetime::record::{Header, Pack, Passed, Said, What};

const A: &str = "10.0.0.1:40000";
const B: &str = "10.0.0.2:7000";

fn header(node: &str, clock: &str) -> Header {
    Header {
        version: 1,
        node: node.to_owned(),
        clock: clock.to_owned(),
        wall: Some(1_000_000),
        ..Header::default()
    }
}

fn part(node: &str, clock: &str, records: Vec<(u64, What)>) -> (String, File) {
    let part = Part { header: header(node, clock), records };
    (format!("{node}.jsonl"), File { parts: vec![part], ..File::default() })
}

fn dial(link: u64) -> What {
    What::Dial { link, to: B.to_owned() }
}

fn dialed(link: u64) -> What {
    What::Dialed { link, local: A.to_owned(), peer: B.to_owned() }
}

fn accepted(link: u64) -> What {
    What::Accepted { link, local: B.to_owned(), peer: A.to_owned() }
}

fn passed(link: u64, end: u64, name: &str) -> Passed {
    let sum = name.bytes().fold(7, |sum, byte| sum * 31 + u32::from(byte));
    let pack =
        Pack { name: name.to_owned(), label: name.to_owned(), kind: "task".to_owned(), ..Pack::default() };
    Passed { link, end, len: 10, sum, pack }
}

fn sent(link: u64, end: u64, name: &str) -> What {
    What::Sent(passed(link, end, name))
}

fn got(link: u64, end: u64, name: &str) -> What {
    What::Got(passed(link, end, name))
}

fn broken(link: u64) -> What {
    What::Broken { link, why: "reset".to_owned() }
}

fn story(files: Vec<(String, File)>) -> Story {
    Story::new(files, &Wanted::all("test"))
}

/// Of each message: its name, its fate, and when it was sent and came.
fn told(story: &Story) -> Vec<(&str, Fate, Option<u64>, Option<u64>)> {
    let time = |at: Option<usize>| at.map(|at| story.events[at].t);
    let messages = story.arrows.iter().filter(|arrow| arrow.name != "dial");
    messages.map(|arrow| (&arrow.name[..], arrow.fate, time(arrow.from), time(arrow.to))).collect()
}

#[test]
fn a_message_goes_from_its_sending_to_its_arrival() {
    let story = story(vec![
        part("a", "c", vec![(1, dial(4)), (3, dialed(4)), (4, sent(4, 10, "x")), (9, got(4, 10, "y"))]),
        part("b", "c", vec![(2, accepted(8)), (6, got(8, 10, "x")), (7, sent(8, 10, "y"))]),
    ]);
    assert_eq!(
        told(&story),
        [("x", Fate::Arrived, Some(4), Some(6)), ("y", Fate::Arrived, Some(7), Some(9))]
    );
    let dial = story.arrows.iter().find(|arrow| arrow.name == "dial").unwrap();
    assert_eq!((dial.fate, story.events[dial.to.unwrap()].t), (Fate::Arrived, 2));
    assert!(story.notes.is_empty(), "{:?}", story.notes);
    assert_eq!(story.facts, ["2 nodes within 0.0 s: 2 messages (2 arrived); 1 dial."]);
}

#[test]
fn a_message_under_way_when_its_link_breaks_is_cut() {
    let story = story(vec![
        part("a", "c", vec![(1, dialed(1)), (4, sent(1, 10, "x")), (5, sent(1, 20, "y")), (9, broken(1))]),
        part("b", "c", vec![(2, accepted(1)), (6, got(1, 10, "x")), (2_000_000, What::Timer)]),
    ]);
    assert_eq!(told(&story), [("x", Fate::Arrived, Some(4), Some(6)), ("y", Fate::Cut, Some(5), None)]);
    assert!(story.arrows[1].why.contains("broke at a"), "{}", story.arrows[1].why);
}

#[test]
fn a_message_that_never_comes_is_lost_or_only_late() {
    let late = 700_000;
    let story = story(vec![
        part("a", "c", vec![(1, dialed(1)), (4, sent(1, 10, "x")), (late, sent(1, 20, "y"))]),
        part("b", "c", vec![(2, accepted(1)), (late + 9, What::Timer)]),
    ]);
    assert_eq!(told(&story), [("x", Fate::Lost, Some(4), None), ("y", Fate::Open, Some(late), None)]);
}

#[test]
fn what_was_closed_or_killed_before_it_read_cuts_what_was_under_way() {
    for (end, why) in [
        (What::Close { link: 1 }, "b closed the link"),
        (What::Gone { why: "its process is killed".to_owned() }, "b was no more"),
    ] {
        let story = story(vec![
            part("a", "c", vec![(1, dialed(1)), (4, sent(1, 10, "x"))]),
            part("b", "c", vec![(2, accepted(1)), (3, end)]),
        ]);
        assert_eq!(story.arrows[0].fate, Fate::Cut);
        assert!(story.arrows[0].why.contains(why), "{}", story.arrows[0].why);
    }
}

#[test]
fn a_damaged_message_ends_where_it_could_not_be_read() {
    let unreadable = What::Unreadable { link: 1, sending: false, end: 10, why: "checksum".to_owned() };
    let story = story(vec![
        part(
            "a",
            "c",
            vec![(1, dialed(1)), (4, sent(1, 10, "x")), (5, sent(1, 20, "y")), (6, sent(1, 30, "z"))],
        ),
        part("b", "c", vec![(2, accepted(1)), (6, got(1, 10, "x")), (7, unreadable)]),
    ]);
    let [x, y, z] = [0, 1, 2].map(|at| told(&story)[at]);
    assert_eq!((x.1, y.1, z.1), (Fate::Arrived, Fate::Damaged, Fate::Lost));
    assert_eq!(y.3, Some(7));
}

/// The same two addresses again: the first words tell which is which, also if an end has no counterpart.
#[test]
fn ports_that_are_used_again_are_told_apart() {
    let story = story(vec![
        part(
            "a",
            "c",
            vec![
                (1, dialed(1)),
                (2, sent(1, 10, "Hello")),
                (3, broken(1)),
                (10, dialed(2)),
                (11, What::Sent(Passed { sum: 99, ..passed(2, 10, "Hello") })),
            ],
        ),
        // Of the first one it never heard.
        part(
            "b",
            "c",
            vec![(12, accepted(1)), (13, What::Got(Passed { sum: 99, ..passed(1, 10, "Hello") }))],
        ),
    ]);
    assert_eq!(
        told(&story),
        [("Hello", Fate::Beyond, Some(2), None), ("Hello", Fate::Arrived, Some(11), Some(13))]
    );
}

/// Behind a translation of addresses both ends see others; the first words still fit.
#[test]
fn translated_addresses_are_matched_by_the_first_words() {
    let outside = What::Accepted { link: 1, local: B.to_owned(), peer: "192.0.2.9:1234".to_owned() };
    let story = story(vec![
        part("a", "c", vec![(1, dialed(1)), (2, sent(1, 10, "Hello"))]),
        part("b", "c", vec![(2, outside), (3, got(1, 10, "Hello"))]),
    ]);
    assert_eq!(told(&story), [("Hello", Fate::Arrived, Some(2), Some(3))]);
}

#[test]
fn a_node_without_a_trace_is_pointed_at() {
    let story = story(vec![part(
        "a",
        "c",
        vec![(1, dial(1)), (2, dialed(1)), (3, sent(1, 10, "x")), (4, got(1, 10, "y"))],
    )]);
    assert!(told(&story).iter().all(|(_, fate, ..)| *fate == Fate::Beyond));
    assert!(story.arrows.iter().any(|arrow| arrow.why.contains(B)), "{:?}", story.arrows);
}

/// A daemon that was killed: its trace ends, and whoever dials it later is pointed at its lane, by the address that it told.
#[test]
fn a_trace_that_ends_early_is_marked_and_its_node_is_found_by_its_address() {
    let mut hello = passed(1, 10, "Hello");
    hello.pack.who = Some(("0b0b0b0b".to_owned(), "b".to_owned()));
    hello.pack.more = vec![("listens at".to_owned(), "10.0.0.2:9999".to_owned())];
    let (name, mut file) = part("b", "c", vec![(1, dialed(1)), (2, What::Sent(hello))]);
    file.parts[0].header.instance = "0b0b0b0b".to_owned();
    let later = What::Dial { link: 7, to: "10.0.0.2:9999".to_owned() };
    let there = What::Dialed { link: 7, local: A.to_owned(), peer: "10.0.0.2:9999".to_owned() };
    let stopped = What::Notice(Said { name: "stopped".to_owned(), ..Said::default() });
    let a = part("a", "c", vec![(1, What::Timer), (5_000_000, later), (5_000_001, there)]);
    let c = part("c", "c", vec![(1, stopped)]);
    let story = story(vec![a, (name, file), c]);
    let lane = |name: &str| story.lanes.iter().position(|lane| lane.name == name);
    let ends: Vec<_> =
        story.events.iter().filter(|event| event.name == "trace ends").map(|event| event.lane).collect();
    assert_eq!(ends, [lane("b")], "c has said that it stops");
    let dial = story.arrows.iter().find(|arrow| arrow.name == "dial").unwrap();
    assert_eq!((dial.fate, dial.other), (Fate::Beyond, lane("b")));
    assert_eq!(dial.why, "the trace of b had ended by then");
}

/// What was slipped into a stream moves all behind it; each is found all the same.
#[test]
fn a_stream_with_something_slipped_in_is_matched_in_order() {
    let story = story(vec![
        part(
            "a",
            "c",
            vec![(1, dialed(1)), (2, sent(1, 10, "x")), (3, sent(1, 20, "y")), (4, sent(1, 30, "x"))],
        ),
        part(
            "b",
            "c",
            vec![
                (1, accepted(1)),
                (5, got(1, 10, "x")),
                (6, got(1, 20, "evil")),
                (7, got(1, 30, "y")),
                (8, got(1, 40, "x")),
            ],
        ),
    ]);
    let told = told(&story);
    assert_eq!(told[..3].iter().map(|(.., to)| *to).collect::<Vec<_>>(), [Some(5), Some(7), Some(8)]);
    assert_eq!(told[3], ("evil", Fate::Beyond, None, Some(6)));
}

/// The same words twice, of which a file has the second arrival alone: the place in the stream tells which it is.
#[test]
fn a_trace_that_begins_in_the_middle_is_matched_by_the_place_in_the_stream() {
    let known = What::Known {
        link: 1,
        local: B.to_owned(),
        peer: A.to_owned(),
        dialled: false,
        kind: "task".to_owned(),
    };
    let story = story(vec![
        part("a", "c", vec![(1, dialed(1)), (2, sent(1, 10, "x")), (3, sent(1, 20, "x"))]),
        part("b", "c", vec![(1, known), (4, got(1, 20, "x"))]),
    ]);
    assert_eq!(told(&story).iter().map(|(.., to)| *to).collect::<Vec<_>>(), [None, Some(4)]);
}

#[test]
fn clocks_are_moved_by_as_little_as_no_message_comes_too_early() {
    // b is half a second behind, c a whole one behind b.
    let link = |link: u64, local: &str, peer: &str, dialled: bool| What::Known {
        link,
        local: local.to_owned(),
        peer: peer.to_owned(),
        dialled,
        kind: String::new(),
    };
    let story = story(vec![
        part("a", "one", vec![(1_000_000, link(1, "1", "2", true)), (1_000_000, sent(1, 10, "x"))]),
        part(
            "b",
            "two",
            vec![
                (500_000, link(1, "2", "1", false)),
                (500_000, got(1, 10, "x")),
                (500_000, link(2, "2", "3", true)),
                (500_000, sent(2, 10, "y")),
            ],
        ),
        part("c", "three", vec![(0, link(2, "3", "2", false)), (0, got(2, 10, "y"))]),
    ]);
    let messages = told(&story);
    assert_eq!(messages[0], ("x", Fate::Arrived, Some(1_000_000), Some(1_000_001)));
    assert_eq!(messages[1], ("y", Fate::Arrived, Some(1_000_001), Some(1_000_002)));
    assert_eq!(story.notes.len(), 2, "{:?}", story.notes);
    assert!(story.notes[0].contains("The clock of b was moved forward by 500.0 ms"), "{}", story.notes[0]);
    assert!(story.notes[1].contains("The clock of c was moved forward by 1.000 s"), "{}", story.notes[1]);
}

/// Clocks that contradict each other whatever is done (one ran faster) are no endless matter.
#[test]
fn clocks_that_cannot_be_put_right_end_the_search() {
    let story = story(vec![
        part("a", "one", vec![(9, dialed(1)), (9, sent(1, 10, "x")), (5, got(1, 10, "y"))]),
        part("b", "two", vec![(1, accepted(1)), (5, got(1, 10, "x")), (9, sent(1, 10, "y"))]),
    ]);
    assert_eq!(told(&story).len(), 2);
}

#[test]
fn one_run_in_two_files_is_one_and_one_file_named_twice_too() {
    let known = What::Known {
        link: 1,
        local: A.to_owned(),
        peer: B.to_owned(),
        dialled: true,
        kind: "task".to_owned(),
    };
    let instance = |(name, mut file): (String, File), at: u64| {
        file.parts[0].header.instance = "0a0a0a0a".to_owned();
        file.parts[0].header.at = at;
        (name, file)
    };
    let new = instance(part("a", "c", vec![(7, known), (8, sent(1, 20, "y"))]), 7);
    let old = instance(part("a", "c", vec![(1, dialed(1)), (2, sent(1, 10, "x"))]), 0);
    let other = part("b", "c", vec![(1, accepted(1)), (3, got(1, 10, "x")), (9, got(1, 20, "y"))]);
    let story = story(vec![new.clone(), other, old, new]);
    assert_eq!(story.lanes.len(), 2);
    assert_eq!(
        told(&story),
        [("x", Fate::Arrived, Some(2), Some(3)), ("y", Fate::Arrived, Some(8), Some(9))]
    );
}

#[test]
fn two_of_one_name_at_once_have_a_lane_each_and_one_after_the_other_share_it() {
    let node = |instance: &str, from: u64, to: u64| {
        let (name, mut file) = part("n", "c", vec![(to, What::Timer)]);
        file.parts[0].header.instance = instance.to_owned();
        file.parts[0].header.at = from;
        (name, file)
    };
    assert_eq!(story(vec![node("0a", 0, 10), node("0b", 20, 30)]).lanes.len(), 1);
    let both = story(vec![node("0a", 0, 10), node("0b", 5, 30)]);
    let names: Vec<_> = both.lanes.iter().map(|lane| &lane.name[..]).collect();
    assert_eq!(names, ["n (0a)", "n (0b)"]);
}

#[test]
fn what_is_too_much_is_left_out_and_that_is_said() {
    let many = |most, from, to| {
        let records = (0..100).map(|at| (at * 1_000, What::Notice(Said::default()))).collect();
        let wanted = Wanted { title: String::new(), from, to, most };
        let story = Story::new(vec![part("a", "c", records)], &wanted);
        let times: Vec<u64> = story.events.iter().map(|event| event.t).collect();
        (times.len(), times[0], times[times.len() - 1], story.notes.join(" "))
    };
    // The start of the trace is an event too.
    assert_eq!(many(1_000, None, None), (101, 0, 99_000, String::new()));
    let (count, first, last, note) = many(10, None, None);
    assert_eq!((count, first, last), (10, 90_000, 99_000));
    assert!(note.contains("91 earlier events are left out") && note.contains("--to 0.089s"), "{note}");
    let (count, first, last, note) = many(10, Some(50_000), None);
    assert_eq!((count, first, last), (10, 50_000, 59_000));
    assert!(note.contains("40 later events are left out") && note.contains("--from 0.060s"), "{note}");
    let (count, first, last, note) = many(1_000, Some(10_000), Some(20_000));
    assert_eq!((count, first, last), (11, 10_000, 20_000));
    assert!(note.contains("outside of the chosen window"), "{note}");
}

#[test]
fn instances_are_called_by_their_names_and_tasks_keep_theirs() {
    let said =
        Said { name: "n".to_owned(), say: "gives 0a0a0a0a-1 to 0a0a0a0a, x0a0a0a0a".to_owned(), weight: 0 };
    let (name, mut file) = part("anna", "c", vec![(1, What::Notice(said))]);
    file.parts[0].header.instance = "0a0a0a0a".to_owned();
    let story = story(vec![(name, file)]);
    assert_eq!(story.events[1].say, "gives 0a0a0a0a-1 to anna, x0a0a0a0a");
}

#[test]
fn lanes_know_when_their_nodes_stood_still_and_what_they_ran() {
    let state = |state: &str| What::State { state: state.to_owned() };
    let (name, mut file) = part(
        "n",
        "simulated",
        vec![
            (10, state("frozen")),
            (20, state("running")),
            (25, What::Spawn { run: 1, say: "make".to_owned() }),
            (30, What::Exit { run: 1, say: String::new() }),
            (35, What::Spawn { run: 2, say: "more".to_owned() }),
            (40, What::Gone { why: "killed".to_owned() }),
        ],
    );
    file.parts[0].header.wall = None;
    file.world = vec![(50, What::Fault(Said::default()))];
    let lane = &story(vec![(name, file)]).lanes[0];
    assert_eq!(lane.spans, [(0, 10, "up"), (10, 20, "frozen"), (20, 40, "up")]);
    assert_eq!(lane.runs, [(25, 30, "make".to_owned()), (35, 40, "more".to_owned())]);
}

/// The page of a whole small trace, as the file has it: a change of the format or of the words shows here.
#[test]
fn a_golden_trace_tells_what_it_told() {
    let text = r#"{"xxnet-trace":1,"node":"exe","role":"executor","instance":"0a0a0a0a","clock":"boot 1","at":5,"wall":1764316800000005}
{"xxnet-trace":1,"node":"reg","role":"registry","instance":"0b0b0b0b","clock":"boot 1","at":0,"wall":1764316800000000}
{"t":6,"e":"command","name":"start","say":"is told to start"}
{"t":7,"e":"dial","link":1,"to":"127.0.0.1:7700"}
{"t":8,"n":1,"e":"accepted","link":1,"local":"127.0.0.1:7700","peer":"127.0.0.1:40000"}
{"t":9,"e":"dialed","link":1,"local":"127.0.0.1:40000","peer":"127.0.0.1:7700"}
{"t":10,"e":"sent","link":1,"end":212,"len":212,"sum":1,"pack":{"name":"Hello","kind":"registration","label":"Hello for registration","say":"introduces itself","more":[["kind","registration"]],"who":["0a0a0a0a","exe"]}}
{"t":12,"n":1,"e":"got","link":1,"end":212,"len":212,"sum":1,"pack":{"name":"Hello","kind":"registration","label":"Hello for registration","say":"introduces itself","who":["0a0a0a0a","exe"]}}
{"t":13,"n":1,"e":"notice","name":"turned away","say":"turns 0a0a0a0a away","weight":2}
"#;
    let file = File::read(text.as_bytes()).unwrap();
    let story = story(vec![("x".to_owned(), file)]);
    let json: serde_json::Value = serde_json::to_value(&story).unwrap();
    let wanted = serde_json::json!({
        "title": "test",
        "facts": ["2 nodes within 0.0 s: 1 message (1 arrived); 1 dial."],
        "notes": [],
        "wall": 1_764_316_800_000_000_u64,
        "lanes": [
            { "name": "reg", "role": "registry", "instances": ["0b0b0b0b"], "spans": [[0, 13, "up"]], "runs": [] },
            { "name": "exe", "role": "executor", "instances": ["0a0a0a0a"], "spans": [[5, 10, "up"]], "runs": [] },
        ],
        "events": [
            { "t": 0, "l": 0, "c": "life", "n": "starts", "s": "begins to be traced, as instance 0b0b0b0b", "w": 0 },
            { "t": 5, "l": 1, "c": "life", "n": "starts", "s": "begins to be traced, as instance 0a0a0a0a", "w": 0 },
            { "t": 6, "l": 1, "c": "command", "n": "start", "s": "is told to start", "w": 0 },
            { "t": 7, "l": 1, "c": "link", "n": "dial", "s": "dials reg for a registration connection (link-1)", "w": 0, "a": 0, "k": "registration" },
            { "t": 8, "l": 0, "c": "link", "n": "accepted", "s": "takes a registration connection from exe (link-1)", "w": 0, "a": 0, "k": "registration" },
            { "t": 9, "l": 1, "c": "link", "n": "connected", "s": "has a registration connection to reg now (link-1)", "w": 0, "k": "registration" },
            { "t": 10, "l": 1, "c": "sent", "n": "Hello for registration", "s": "introduces itself", "w": 0, "a": 1, "k": "registration" },
            { "t": 12, "l": 0, "c": "got", "n": "Hello for registration", "s": "introduces itself", "w": 0, "a": 1, "k": "registration" },
            { "t": 13, "l": 0, "c": "notice", "n": "turned away", "s": "turns exe away", "w": 2 },
        ],
        "arrows": [
            { "a": 3, "b": 4, "o": 0, "i": 0, "f": "arrived", "k": "registration", "n": "dial", "m": [["to", "127.0.0.1:7700"]] },
            { "a": 6, "b": 7, "o": 0, "i": 0, "f": "arrived", "k": "registration", "n": "Hello", "m": [["kind", "registration"]] },
        ],
    });
    assert_eq!(json, wanted, "{json:#}");
}
