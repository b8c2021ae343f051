use super::*;
use crate::spacetime::record::Record;
use core::net::SocketAddr;
use xxnet_core::message::{Granted, Message, Spec};
use xxnet_core::net::NetError;
use xxnet_core::pack::{DataPack, encode};
use xxnet_core::{AttemptNumber, ClaimNumber, Config, InstanceId, Instant, TaskId};

const LINK: LinkId = LinkId(1);

fn address(port: u16) -> Endpoint {
    SocketAddr::from(([10, 0, 0, 1], port)).into()
}

/// A scribe with one dialled link.
fn scribe() -> Scribe {
    let mut scribe = Scribe::new();
    let dialed = NetEvent::Dialed { link: LINK, peer: address(7000), local: address(40_000) };
    scribe.net_event(&dialed, &mut Vec::new());
    scribe
}

fn ping(number: u64) -> DataPack {
    DataPack::new(PackType::PING, number.to_le_bytes().to_vec())
}

/// The bytes of a pack, in one piece.
fn wire(pack: &DataPack) -> Bytes {
    let buffers = encode(pack).unwrap();
    let mut all = Vec::new();
    buffers.iter().for_each(|buffer| all.extend_from_slice(buffer));
    all.into()
}

fn send(scribe: &mut Scribe, buffers: Vec<Bytes>) -> Vec<What> {
    let mut out = Vec::new();
    scribe.net_action(&NetAction::Send { link: LINK, buffers }, &mut out);
    out
}

fn receive(scribe: &mut Scribe, data: Bytes) -> Vec<What> {
    let mut out = Vec::new();
    scribe.net_event(&NetEvent::Received { link: LINK, data }, &mut out);
    out
}

fn passed(what: &What) -> (&str, u64, u64) {
    match what {
        What::Sent(passed) => ("sent", passed.end, passed.len),
        What::Got(passed) => ("got", passed.end, passed.len),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_pack_is_one_record_whatever_pieces_it_comes_in() {
    let bytes = wire(&ping(1));
    let size = bytes.len() as u64;
    let both: Bytes = [&bytes[..], &wire(&ping(2))[..]].concat().into();
    for cut in 1..both.len() {
        let mut scribe = scribe();
        let mut out = receive(&mut scribe, both.slice(..cut));
        out.extend(receive(&mut scribe, both.slice(cut..)));
        let told: Vec<_> = out.iter().map(passed).collect();
        assert_eq!(told, [("got", size, size), ("got", 2 * size, size)], "cut at {cut}");
    }
    let mut scribe = scribe();
    let out = send(&mut scribe, vec![both.slice(..3), both.slice(3..50), both.slice(50..)]);
    assert_eq!(out.iter().map(passed).map(|(way, ..)| way).collect::<Vec<_>>(), ["sent", "sent"]);
}

#[test]
fn both_ends_give_a_message_the_same_mark() {
    let (mut one, mut other) = (scribe(), scribe());
    let sent = send(&mut one, vec![wire(&ping(7))]);
    let got = receive(&mut other, wire(&ping(7)));
    let [What::Sent(sent)] = &sent[..] else { panic!("{sent:?}") };
    let [What::Got(got)] = &got[..] else { panic!("{got:?}") };
    assert_eq!((sent.end, sent.sum), (got.end, got.sum));
    assert_ne!(receive(&mut other, wire(&ping(8))), receive(&mut other, wire(&ping(9))));
}

#[test]
fn bytes_that_are_no_pack_are_told_once_and_nothing_behind_them() {
    let mut scribe = scribe();
    let mut bytes = wire(&ping(2)).to_vec();
    bytes[20] ^= 4;
    let good = receive(&mut scribe, wire(&ping(1)));
    let read = passed(&good[0]).1;
    let out = receive(&mut scribe, bytes.into());
    assert!(
        matches!(&out[..], [What::Unreadable { link: 1, sending: false, end, why }] if *end == read && why.contains("checksum")),
        "{out:?}"
    );
    assert_eq!(receive(&mut scribe, wire(&ping(3))), []);
    // The other direction can be read as before.
    assert_eq!(send(&mut scribe, vec![wire(&ping(4))]).len(), 1);
}

#[test]
fn a_reset_in_the_middle_of_a_pack_ends_the_link_and_a_new_one_begins_anew() {
    let mut scribe = scribe();
    let bytes = wire(&ping(1));
    assert_eq!(receive(&mut scribe, bytes.slice(..20)), []);
    let mut out = Vec::new();
    scribe.net_event(&NetEvent::Broken { link: LINK, error: NetError::Reset }, &mut out);
    assert!(matches!(&out[..], [What::Broken { link: 1, .. }]));
    assert!(scribe.known().is_empty());
    // Bytes of a link that is over are nobody's.
    assert_eq!(receive(&mut scribe, bytes.slice(20..)), []);
    let accepted = NetEvent::Accepted {
        listener: xxnet_core::ListenerId(1),
        link: LINK,
        peer: address(1),
        local: address(2),
    };
    scribe.net_event(&accepted, &mut Vec::new());
    assert_eq!(receive(&mut scribe, bytes).len(), 1);
}

#[test]
fn a_timer_is_told_if_something_comes_of_it() {
    let mut scribe = scribe();
    scribe.event::<()>(&Event::Tick, &mut Vec::new());
    let mut out = Vec::new();
    scribe.net_event(&NetEvent::Sent { link: LINK }, &mut out);
    scribe.net_action(&NetAction::Recv { link: LINK, max: 9 }, &mut out);
    assert_eq!(out, []);
    scribe.event::<()>(&Event::Tick, &mut Vec::new());
    scribe.net_action(&NetAction::Close { link: LINK }, &mut out);
    scribe.net_action(&NetAction::Close { link: LINK }, &mut out);
    assert_eq!(out, [What::Timer, What::Close { link: 1 }, What::Close { link: 1 }]);
}

/// Every message has words of its own, whatever is in it; a stranger's bytes have some too.
#[test]
fn every_pack_type_has_words() {
    for number in 0..200 {
        for head in [&b""[..], &[0; 3], &[0xff; 200]] {
            let pack = words::pack(&DataPack::new(PackType(number), head.to_vec()), Some(KindId::TASK));
            assert!(!pack.name.is_empty() && !pack.say.is_empty(), "{number}");
            assert!(pack.label.len() < 120 && pack.say.len() < 320);
        }
    }
}

#[test]
fn secrets_are_not_written_down() {
    let blob = |text: &str| text.as_bytes().to_vec().into();
    let granted = Granted {
        task: TaskId { publisher: InstanceId([1; 16]), number: 3 },
        claim: ClaimNumber(1),
        attempt: AttemptNumber(2),
        stamp: Instant::from_micros(5),
        spec: Spec {
            argv: vec![blob("make"), blob("</script>")],
            env: vec![(blob("TOKEN"), blob("hunter2"))],
            inputs: Vec::new(),
            outputs: Vec::new(),
            stdin: false,
            timeout: None,
        },
        received: [0, 0],
    };
    let mut scribe = scribe();
    let out = send(&mut scribe, vec![wire(&Message::from(granted).into_pack())]);
    let text = serde_json::to_string(&Record { t: 1, n: 0, what: out[0].clone() }).unwrap();
    assert!(text.contains("TOKEN") && !text.contains("hunter2"), "{text}");
    assert!(text.contains("make </script>"));
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap().what, out[0]);
}

/// What stands in the trace of a handshake: who, and no more than the beginning of what proves it.
#[test]
fn a_handshake_tells_names_and_keeps_its_proofs() {
    use xxnet_core::client::{Client, ClientCommand};
    use xxnet_core::message::Question;
    use xxnet_core::{Actions, ClusterKey, Machine as _};
    let mut client = Client::new(Config::new(InstanceId([0xab; 16]), "anna", ClusterKey([3; 32]), 1));
    let (mut scribe, mut actions, mut out) = (Scribe::new(), Actions::new(), Vec::new());
    let ask = ClientCommand::Ask { registry: "10.0.0.1:7000".parse().unwrap(), question: Question::Nodes };
    let events = [
        Event::Command(ask),
        Event::Net(NetEvent::Dialed { link: LINK, peer: address(7000), local: address(40_000) }),
    ];
    for event in events {
        scribe.event(&event, &mut out);
        client.handle(Instant::from_micros(1), event, &mut actions);
        actions.drain().for_each(|action| scribe.action(&action, &mut out));
    }
    let names: Vec<&str> = out
        .iter()
        .map(|what| match what {
            What::Command(said) => &said.name[..],
            What::Dial { .. } => "dial",
            What::Dialed { .. } => "dialed",
            What::Sent(passed) => &passed.pack.label[..],
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["ask", "dial", "dialed", "Hello for query"]);
    let Some(What::Sent(hello)) = out.last() else { panic!("no Hello") };
    assert_eq!(hello.pack.who, Some(("abababab".to_owned(), "anna".to_owned())));
    let nonce = hello.pack.more.iter().find(|(name, _)| name == "nonce").unwrap();
    assert!(nonce.1.len() < 30, "{nonce:?}");
}
