//! P9: the golden vectors. The files in `tests/golden` are written by hand from the formats' descriptions, for readers in any
//! language; here the values are written down that they stand for.
#![allow(clippy::unwrap_used)]

mod handshake;
mod messages;
mod vectors;

use bytes::Bytes;
use vectors::{compare, read};
use xxnet_core::Address;
use xxnet_core::manifest::{Entry, EntryKind, Manifest};
use xxnet_core::message::{Message, Register};
use xxnet_core::pack::{DataHeader, DataPack, Decoder, Dict, PackType, Value, encode};

fn pack(pack_type: u16, sequence: u64, acknowledgement: u64, head: &[u8], bulk: &[u8]) -> DataPack {
    let bulk = Some(Bytes::copy_from_slice(bulk)).filter(|bulk| !bulk.is_empty());
    DataPack {
        pack_type: PackType(pack_type),
        sequence,
        acknowledgement,
        head: Bytes::copy_from_slice(head),
        bulk: bulk.into_iter().collect(),
    }
}

/// The one pack in these bytes.
fn decode_pack(bytes: &[u8]) -> DataPack {
    let mut decoder = Decoder::new(1000);
    decoder.feed(Bytes::copy_from_slice(bytes));
    let pack = decoder.next().unwrap().unwrap();
    assert_eq!((decoder.next(), decoder.buffered()), (Ok(None), 0));
    pack
}

#[test]
fn p9_packs_byte_for_byte() {
    let bulk: Vec<u8> = (0..20).collect();
    let expected = [
        ("ping", pack(5, 0, 0, b"", b"")),
        ("pong", pack(6, 0, 0, &1_u64.to_le_bytes(), b"")),
        ("raw", pack(17, 1, 2, b"hello", b"")),
        ("largest numbers", pack(u16::MAX, u64::MAX, u64::MAX - 1, &[0], b"")),
        ("bulk", pack(129, 0, 0, b"headpart", &bulk)),
        ("bulk alone", pack(129, 0, 0, b"", &[0xaa, 0xbb])),
        ("longer header", pack(17, 1, 2, b"hello", b"")),
        ("longest header", pack(17, 0, 0, b"", b"")),
    ];
    let vectors = read("packs.hex");
    assert_eq!(vectors.len(), expected.len());
    for ((name, bytes), (wanted, value)) in vectors.iter().zip(&expected) {
        assert_eq!(name, wanted);
        assert_eq!(decode_pack(bytes), *value, "{name}");
        // We write headers of our own version, whatever we read.
        let ours = bytes[..2] == DataHeader::SIZE.to_le_bytes();
        assert_eq!(ours, !name.starts_with("long"), "{name}");
        if ours {
            assert_eq!(encode(value).unwrap().concat(), *bytes, "{name}");
            let header = DataHeader::from_bytes(bytes[..DataHeader::WIRE_LEN].try_into().unwrap());
            assert_eq!(header, DataHeader::of(value).unwrap(), "{name}");
            assert_eq!(header.to_bytes(), bytes[..DataHeader::WIRE_LEN], "{name}");
        }
    }
}

#[test]
fn p9_dicts_byte_for_byte() {
    let v = |value: Value| Dict::from([("v", value)]);
    let expected = vec![
        ("empty", Dict::new()),
        ("null", v(Value::Null)),
        ("false", v(false.into())),
        ("true", v(true.into())),
        ("int", v((-2).into())),
        ("int least", v(i64::MIN.into())),
        ("int most", v(i64::MAX.into())),
        ("float", v((-0.5).into())),
        ("float minus zero", v((-0.0).into())),
        ("float infinity", v(f64::INFINITY.into())),
        ("float nan", v(f64::from_bits(0x7ff8_0000_0000_0001).into())),
        ("str", v("grüße, 世界".into())),
        ("bytes", v(vec![0_u8, 255].into())),
        ("bytes empty", v(Vec::<u8>::new().into())),
        ("list", v(vec![Value::Null, true.into(), Value::List(vec![])].into())),
        ("dict", v(Dict::from([("k", Dict::new().into())]).into())),
        ("keys", ["", "Z", "a", "ä", "名"].into_iter().zip(0..5).collect()),
    ];
    // As bits, so that minus zero and NaN count.
    let bits = |dict: &Dict| match dict.get("v") {
        Some(Value::Float(float)) => Some(float.to_bits()),
        _ => None,
    };
    let expected = expected.into_iter().map(|(name, dict)| (name.into(), Bits(bits(&dict), dict))).collect();
    let decode = |_: &str, bytes: &[u8]| {
        let dict = Dict::decode(bytes).unwrap();
        Bits(bits(&dict), dict)
    };
    compare("dicts.hex", expected, decode, |Bits(_, dict)| dict.encode().unwrap());
}

/// A dict of one float by the float's bits, or any other dict.
#[derive(Debug)]
struct Bits(Option<u64>, Dict);

impl PartialEq for Bits {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0 && (self.0.is_some() || self.1 == other.1)
    }
}

#[test]
fn p9_manifests_byte_for_byte() {
    let entry = |path: &[u8], kind| Entry { path: path.into(), kind };
    let file = |path: &[u8], size, mode, s, ns| entry(path, EntryKind::File { size, mode, mtime: (s, ns) });
    let folder = |path: &[u8], mode, s, ns| entry(path, EntryKind::Folder { mode, mtime: (s, ns) });
    let every_kind = vec![
        folder(b"", 0o755, 1_700_000_000, 999_999_999),
        file(b"-rf", 1 << 40, 0o600, -1, 1),
        folder(b"a", 0o777, 0, 0),
        file(b"a b", 3, 0o755, 0, 0),
        entry(b"a/up", EntryKind::Link { target: b"../a b".into() }),
        folder(b"a/z", 0, 0, 0),
        entry(b"gone", EntryKind::Deleted),
        file(b"\xff\xfe", 1, 0o444, 1 << 40, 0),
    ];
    let expected = vec![
        ("empty file".into(), Manifest { entries: vec![file(b"", 0, 0o644, 0, 0)] }),
        ("empty folder".into(), Manifest { entries: vec![folder(b"", 0o700, 1_700_000_000, 5)] }),
        ("every kind".into(), Manifest { entries: every_kind }),
    ];
    let decode = |_: &str, bytes: &[u8]| Manifest::decode(bytes).unwrap();
    compare("manifests.hex", expected, decode, |manifest| manifest.encode().unwrap());
}

#[test]
fn p9_addresses_byte_for_byte() {
    // Through a message that is nothing but an address.
    let names = ["192.0.2.1:7700", "[2001:db8::1]:7700", "node-1.example:65535", "unix:/run/x.sock"];
    let expected = names.iter().map(|name| ((*name).into(), name.parse::<Address>().unwrap())).collect();
    let registered = |head: &[u8]| match Message::from_pack(DataPack::new(PackType(33), head.to_vec())) {
        Ok(Message::Registered(message)) => message.address,
        other => panic!("{other:?}"),
    };
    let encode = |address: &Address| {
        let message = xxnet_core::message::Registered { address: address.clone() };
        Message::from(message).into_pack().head.to_vec()
    };
    compare("addresses.hex", expected, |_, bytes| registered(bytes), encode);
}

#[test]
fn p9_messages_byte_for_byte() {
    let expected = messages::samples().into_iter().map(|(what, message)| {
        let (number, name) = Message::ALL.iter().find(|(_, name)| *name == message.name()).unwrap();
        (format!("{name} {number} {what}").trim_end().to_string(), message)
    });
    let decode = |name: &str, bytes: &[u8]| {
        let number = name.split(' ').nth(1).unwrap().parse().unwrap();
        let mut pack = DataPack::new(PackType(number), bytes.to_vec());
        if name.starts_with("Block ") {
            pack.bulk = vec![Bytes::from_static(b"bulk")];
        }
        Message::from_pack(pack).unwrap()
    };
    compare("messages.hex", expected.collect(), decode, |message| message.clone().into_pack().head.to_vec());
}

#[test]
fn p9_every_message_has_a_vector_and_its_number() {
    let numbers = messages::NUMBERS;
    assert_eq!(Message::ALL, numbers, "a message keeps its number; a new one gets a vector and a line here");
    let samples = messages::samples();
    for (number, name) in numbers {
        let of_it: Vec<_> = samples.iter().filter(|(_, message)| message.name() == *name).collect();
        assert!(!of_it.is_empty(), "{name} has no vector");
        for (_, message) in of_it {
            assert_eq!(message.clone().into_pack().pack_type, PackType(*number), "{name}");
        }
    }
}

#[test]
fn p6_an_unknown_pack_type_is_refused_by_name() {
    for number in [0, 1, 31, 999, u16::MAX] {
        let error = Message::from_pack(DataPack::new(PackType(number), Vec::new())).unwrap_err();
        assert_eq!(error.to_string(), format!("unknown pack type {number}"));
    }
}

#[test]
fn p7_a_message_with_another_length_is_refused() {
    for (name, message) in messages::samples() {
        let is_block = matches!(message, Message::Block(_));
        let whole = message.into_pack();
        for end in 0..whole.head.len() {
            let mut cut = whole.clone();
            cut.head.truncate(end);
            let error = Message::from_pack(cut).unwrap_err();
            assert_eq!(error.to_string(), "malformed payload", "{name} cut to {end}");
        }
        let mut longer = whole.clone();
        longer.head = [&whole.head[..], &[0]].concat().into();
        let error = Message::from_pack(longer).unwrap_err();
        assert_eq!(error.to_string(), "bytes left over behind the payload", "{name}");
        let mut bulky = whole;
        bulky.bulk = vec![Bytes::from_static(b"x")];
        assert_eq!(Message::from_pack(bulky).is_ok(), is_block, "{name}");
    }
}

#[test]
fn p7_a_message_that_claims_the_world_is_refused() {
    // The first field of a registration is its name's length, and of a question's answer there are counts in its middle.
    let register = Message::from(Register {
        name: String::new(),
        address: "[::1]:1".parse().unwrap(),
        slots: 0,
        client: false,
        labels: Vec::new(),
        running: Vec::new(),
        proposed: Vec::new(),
    });
    let whole = register.into_pack();
    let counts = [0, whole.head.len() - 8, whole.head.len() - 16, whole.head.len() - 24];
    for at in counts {
        for claim in [1_u64 << 60, u64::MAX, 1 << 32] {
            let mut head = whole.head.to_vec();
            head[at..at + 8].copy_from_slice(&claim.to_le_bytes());
            let pack = DataPack::new(whole.pack_type, head);
            assert_eq!(Message::from_pack(pack).unwrap_err().to_string(), "malformed payload", "at {at}");
        }
    }
}
