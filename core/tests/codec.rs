//! P1 to P8: what the codec promises, clause by clause. (P9 is `golden`, the bounds on memory and stack are `memory`.)
#![allow(clippy::unwrap_used)]

mod dicts;

use bytes::{Bytes, BytesMut};
use dicts::any_dict;
use proptest::collection::vec;
use proptest::prelude::*;
use xxnet_core::pack::{
    DataHeader, DataPack, DecodeError, Decoder, Dict, Encoder, PackType, Value, ValueError, encode,
    encode_into,
};

const MAX_DATA: u32 = 4 << 20;

fn wire(packs: &[DataPack]) -> Bytes {
    let mut buffer = BytesMut::new();
    packs.iter().for_each(|pack| encode_into(pack, &mut buffer).unwrap());
    buffer.freeze()
}

/// The bulk in one piece: pieces depend on how the bytes came.
fn flat(mut pack: DataPack) -> DataPack {
    let bulk = Bytes::from(pack.bulk.concat());
    pack.bulk = Some(bulk).filter(|bulk| !bulk.is_empty()).into_iter().collect();
    pack
}

/// All packs that there are, and the error behind them.
fn drain(decoder: &mut Decoder) -> (Vec<DataPack>, Option<DecodeError>) {
    let mut packs = Vec::new();
    loop {
        match decoder.next() {
            Ok(Some(pack)) => packs.push(flat(pack)),
            Ok(None) => return (packs, None),
            Err(error) => return (packs, Some(error)),
        }
    }
}

fn decode_all(stream: &Bytes) -> (Vec<DataPack>, Option<DecodeError>) {
    let mut decoder = Decoder::new(MAX_DATA);
    decoder.feed(stream.clone());
    drain(&mut decoder)
}

/// A pack whose header is as long as a newer peer's, `tail` being the fields that we do not know.
fn with_longer_header(pack: &DataPack, tail: &[u8]) -> Vec<u8> {
    let ours = wire(std::slice::from_ref(pack));
    let (header, data) = ours.split_at(DataHeader::WIRE_LEN);
    let size = DataHeader::SIZE + u16::try_from(tail.len()).unwrap();
    let mut bytes = [&size.to_le_bytes(), &header[2..], tail, data].concat();
    let checked_end = DataHeader::WIRE_LEN + tail.len() + pack.head.len();
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..30]);
    crc.update(&bytes[34..checked_end]);
    bytes[30..34].copy_from_slice(&crc.finalize().to_le_bytes());
    bytes
}

fn any_pack() -> impl Strategy<Value = DataPack> {
    let bytes = |max: usize| vec(any::<u8>(), 0..max).prop_map(Bytes::from);
    let sizes = prop_oneof![4 => Just(40), 2 => Just(600), 1 => Just(10_000)];
    let head = sizes.clone().prop_flat_map(bytes);
    let bulk = prop_oneof![3 => Just(0_usize), 1 => 1..4_usize]
        .prop_flat_map(move |pieces| vec(sizes.clone().prop_flat_map(bytes), pieces));
    (any::<(u16, u64, u64)>(), head, bulk).prop_map(|((pack_type, sequence, acknowledgement), head, bulk)| {
        DataPack { pack_type: PackType(pack_type), sequence, acknowledgement, head, bulk }
    })
}

/// `lists` lists within one another, in a dict: depth `lists + 1`.
fn nested(lists: usize) -> Dict {
    let mut value = Value::List(vec![]);
    for _ in 1..lists {
        value = Value::List(vec![value]);
    }
    Dict::from([("", value)])
}

/// The bytes of `nested`, made without the encoder, as deep as one likes.
fn nested_bytes(lists: usize) -> Vec<u8> {
    let mut bytes = [1_u64.to_le_bytes(), 0_u64.to_le_bytes()].concat();
    for n in 0..lists {
        bytes.extend_from_slice(&6_u32.to_le_bytes());
        bytes.extend_from_slice(&u64::from(n + 1 < lists).to_le_bytes());
    }
    bytes
}

/// To a pack, to bytes, and back.
fn through_the_wire(dict: &Dict) -> Dict {
    let pack = dict.to_pack().unwrap();
    let (packs, error) = decode_all(&wire(&[pack]));
    assert_eq!((packs.len(), error), (1, None));
    Dict::from_pack(&packs[0]).unwrap()
}

#[test]
fn p1_an_empty_dict_survives() {
    assert_eq!(through_the_wire(&Dict::new()), Dict::new());
}

#[test]
fn p1_nested_dicts_and_lists_survive_as_deep_as_allowed() {
    let deepest = nested(Dict::MAX_DEPTH - 1);
    assert_eq!(through_the_wire(&deepest), deepest);
    let mut dict = Dict::new();
    for n in 1..Dict::MAX_DEPTH {
        dict = Dict::from([("inner", dict.into()), ("n", u32::try_from(n).unwrap().into())]);
    }
    assert_eq!(through_the_wire(&dict), dict);
    assert_eq!(Dict::from([("one more", dict.into())]).to_pack(), Err(ValueError::TooDeep));
}

#[test]
fn p1_unicode_keys_survive_in_the_order_of_their_bytes() {
    let keys = ["", "A", "a", "é", "ключ", "鍵", "🔑", "\u{10ffff}"];
    let dict: Dict = keys.iter().rev().map(|key| (*key, *key)).collect();
    assert_eq!(through_the_wire(&dict), dict);
    assert_eq!(dict.keys().collect::<Vec<_>>(), keys);
}

#[test]
fn p1_every_value_type_survives_at_its_extremes() {
    let dict = Dict::from([
        ("null", Value::Null),
        ("bools", Value::from_iter([false, true])),
        ("ints", Value::from_iter([i64::MIN, -1, 0, i64::MAX])),
        ("floats", Value::from_iter([f64::MIN, -0.0, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY])),
        ("str", "a\0b\u{feff}".into()),
        ("bytes", (0..=255).collect::<Vec<u8>>().into()),
        ("list", vec![Value::List(vec![]), Value::Dict(Dict::new())].into()),
        ("dict", Dict::from([("", Value::Null)]).into()),
    ]);
    assert_eq!(through_the_wire(&dict), dict);
}

#[test]
fn p1_the_largest_allowed_dict_survives_and_one_byte_more_does_not() {
    // count, key's length, tag and length of the value: 28 bytes before the bytes themselves.
    let of = |len: usize| Dict::from([("", vec![b'x'; len - 28].into())]);
    let limit = usize::try_from(MAX_DATA).unwrap();
    let largest = of(limit);
    assert_eq!(largest.encode().unwrap().len(), limit);
    assert_eq!(through_the_wire(&largest), largest);
    let over = decode_all(&wire(&[of(limit + 1).to_pack().unwrap()]));
    assert_eq!(over, (vec![], Some(DecodeError::TooLarge { size: MAX_DATA + 1, limit: MAX_DATA })));
    // As many entries as fit, too.
    let many: Dict = (0..200_000).map(|n| (format!("{n:05}"), Value::Null)).collect();
    assert_eq!(through_the_wire(&many), many);
}

#[test]
fn p2_the_header_size_comes_first_then_the_header_then_the_data() {
    let pack = DataPack::new(PackType(1), vec![1, 2, 3]);
    let whole = wire(std::slice::from_ref(&pack));
    let mut decoder = Decoder::new(MAX_DATA);
    for (n, byte) in whole.iter().enumerate() {
        assert_eq!(decoder.next(), Ok(None), "after {n} bytes");
        assert_eq!(decoder.buffered(), n);
        decoder.feed(Bytes::copy_from_slice(&[*byte]));
    }
    assert_eq!(decoder.next(), Ok(Some(pack)));
    // Each part is judged as soon as it is there, and no sooner.
    let judged_after = |bytes: &[u8]| {
        let mut decoder = Decoder::new(100);
        let mut read = 0;
        while decoder.next().is_ok() {
            decoder.feed(Bytes::copy_from_slice(&bytes[read..=read]));
            read += 1;
        }
        read
    };
    assert_eq!(judged_after(b"HTTP/1.1"), 2);
    let mut too_large = whole.to_vec();
    too_large[2..6].copy_from_slice(&101_u32.to_le_bytes());
    assert_eq!(judged_after(&too_large), 34);
    let mut damaged = whole.to_vec();
    damaged[36] ^= 1;
    assert_eq!(judged_after(&damaged), 37);
}

#[test]
fn p3_several_packs_in_one_read() {
    let packs: Vec<_> = (0..50_u8).map(|n| DataPack::new(PackType(n.into()), vec![n; n.into()])).collect();
    assert_eq!(decode_all(&wire(&packs)), (packs, None));
}

#[test]
fn p3_a_pack_and_a_half_then_the_rest() {
    let packs = [DataPack::new(PackType(1), vec![1; 100]), DataPack::new(PackType(2), vec![2; 100])];
    let whole = wire(&packs);
    for cut in 134..268 {
        let mut decoder = Decoder::new(MAX_DATA);
        decoder.feed(whole.slice(..cut));
        assert_eq!(drain(&mut decoder), (vec![packs[0].clone()], None), "cut at {cut}");
        decoder.feed(whole.slice(cut..));
        assert_eq!(drain(&mut decoder), (vec![packs[1].clone()], None), "cut at {cut}");
        assert_eq!(decoder.buffered(), 0);
    }
}

#[test]
fn p4_every_header_size_that_cannot_be_is_a_typed_error_for_ever() {
    let good = wire(&[DataPack::new(PackType(1), vec![])]);
    for size in (0..DataHeader::SIZE).chain(DataHeader::MAX_SIZE + 1..=u16::MAX) {
        let first = size.to_le_bytes();
        let mut decoder = Decoder::new(MAX_DATA);
        decoder.feed(good.clone());
        decoder.feed(Bytes::copy_from_slice(&first));
        // What came before it is not lost.
        let (packs, error) = drain(&mut decoder);
        assert_eq!((packs.len(), error), (1, Some(DecodeError::BadHeaderSize { first })), "{size}");
        // And nothing that comes after it is believed.
        decoder.feed(good.clone());
        assert_eq!(drain(&mut decoder), (vec![], error));
    }
}

#[test]
fn p4_every_header_size_that_can_be_is_read() {
    let pack = DataPack::new(PackType(7), vec![1, 2, 3]);
    for tail in 0..=480 {
        let bytes = with_longer_header(&pack, &vec![0xee; tail]);
        assert_eq!(decode_all(&bytes.into()), (vec![pack.clone()], None), "{tail} further bytes");
    }
}

#[test]
fn p5_a_data_size_over_the_limit_is_refused_by_its_header_alone() {
    for (size, limit) in [(1, 0), (101, 100), (u32::MAX, 100), (u32::MAX, u32::MAX - 1)] {
        let mut header = wire(&[DataPack::new(PackType(1), vec![])]).to_vec();
        header[2..6].copy_from_slice(&size.to_le_bytes());
        let mut decoder = Decoder::new(limit);
        decoder.feed(header.into());
        assert_eq!(decoder.next(), Err(DecodeError::TooLarge { size, limit }));
        assert_eq!(decoder.next(), Err(DecodeError::TooLarge { size, limit }));
    }
    let mut decoder = Decoder::new(100);
    decoder.feed(wire(&[DataPack::new(PackType(1), vec![0; 100])]));
    assert!(decoder.next().unwrap().is_some(), "the limit itself is allowed");
    // A limit that changes holds from the next header on.
    decoder.set_max_data(99);
    decoder.feed(wire(&[DataPack::new(PackType(1), vec![0; 100])]));
    assert_eq!(decoder.next(), Err(DecodeError::TooLarge { size: 100, limit: 99 }));
}

#[test]
fn p5_a_header_that_contradicts_itself_is_refused() {
    let header_with = |at: usize, bytes: &[u8]| {
        let mut header = wire(&[DataPack::new(PackType(1), vec![1; 10])]).to_vec();
        header[at..at + bytes.len()].copy_from_slice(bytes);
        decode_all(&header.into()).1
    };
    let over = header_with(6, &11_u32.to_le_bytes());
    assert_eq!(over, Some(DecodeError::BadCheckedSize { checked: 11, size: 10 }));
    assert_eq!(header_with(12, &[0, 1]), Some(DecodeError::UnknownFlags(256)));
}

#[test]
fn p6_the_unknown_tail_of_a_longer_header_is_skipped_but_covered() {
    let pack =
        DataPack { bulk: vec![Bytes::from_static(b"bulk")], ..DataPack::new(PackType(9), vec![1, 2, 3]) };
    let next = DataPack::new(PackType(10), vec![4]);
    let tail: Vec<u8> = (0..100).collect();
    let mut bytes = with_longer_header(&pack, &tail);
    bytes.extend_from_slice(&wire(std::slice::from_ref(&next)));
    assert_eq!(decode_all(&bytes.clone().into()), (vec![pack, next], None));
    for at in 34..134 {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        assert_eq!(decode_all(&damaged.into()), (vec![], Some(DecodeError::Checksum)), "byte {at}");
    }
}

#[test]
fn p7_counts_and_lengths_that_claim_the_world_are_truncated() {
    let tags = [(4_u32, "str"), (5, "bytes"), (6, "list"), (7, "dict")];
    for claim in [1_u64 << 60, u64::MAX, 1 << 32, 100] {
        assert_eq!(Dict::decode(&claim.to_le_bytes()), Err(ValueError::Truncated), "entries");
        let key = [1_u64.to_le_bytes(), claim.to_le_bytes()].concat();
        assert_eq!(Dict::decode(&key), Err(ValueError::Truncated), "key");
        for (tag, name) in tags {
            let entry = [1_u64.to_le_bytes(), 0_u64.to_le_bytes()].concat();
            let bytes = [&entry[..], &tag.to_le_bytes(), &claim.to_le_bytes(), &[0; 64]].concat();
            assert_eq!(Dict::decode(&bytes), Err(ValueError::Truncated), "{name} of {claim}");
        }
    }
}

#[test]
fn p7_nesting_is_allowed_to_its_limit_and_refused_behind_it() {
    assert_eq!(nested_bytes(63), nested(63).encode().unwrap());
    assert!(Dict::decode(&nested_bytes(63)).is_ok());
    for lists in [64, 65, 10_000, 1_000_000] {
        assert_eq!(Dict::decode(&nested_bytes(lists)), Err(ValueError::TooDeep), "{lists}");
    }
}

#[test]
fn p7_every_other_way_to_be_no_dict_has_its_error() {
    let entry =
        |key: &[u8], value: &[u8]| [&u64::try_from(key.len()).unwrap().to_le_bytes(), key, value].concat();
    let dict = |entries: &[Vec<u8>]| {
        let count = u64::try_from(entries.len()).unwrap();
        Dict::decode(&[&count.to_le_bytes(), &entries.concat()[..]].concat())
    };
    let null = [0; 4];
    assert!(dict(&[entry(b"a", &null), entry(b"b", &null)]).is_ok());
    assert_eq!(dict(&[entry(b"a", &null), entry(b"a", &null)]), Err(ValueError::KeyOrder));
    assert_eq!(dict(&[entry(b"b", &null), entry(b"a", &null)]), Err(ValueError::KeyOrder));
    assert_eq!(dict(&[entry(b"\xff", &null)]), Err(ValueError::NotUtf8));
    assert_eq!(dict(&[entry(b"a", &[8, 0, 0, 0])]), Err(ValueError::UnknownTag(8)));
    assert_eq!(dict(&[entry(b"a", &[0, 0, 0, 1])]), Err(ValueError::UnknownTag(1 << 24)));
    assert_eq!(dict(&[entry(b"a", &[1, 0, 0, 0, 2])]), Err(ValueError::BadBool(2)));
    let bad_text = [&4_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &[0x80]].concat();
    assert_eq!(dict(&[entry(b"a", &bad_text)]), Err(ValueError::NotUtf8));
    let mut pack = Dict::new().to_pack().unwrap();
    pack.bulk = vec![Bytes::from_static(b"x")];
    assert_eq!(Dict::from_pack(&pack), Err(ValueError::Trailing));
    pack.pack_type = PackType::RAW;
    assert_eq!(Dict::from_pack(&pack), Err(ValueError::OtherPack(PackType::RAW)));
}

/// What must stand behind a damaged pack for the damage to be seen, should the header seem longer.
fn more_packs() -> Vec<u8> {
    wire(&vec![DataPack::new(PackType::PING, vec![]); 20]).to_vec()
}

#[test]
fn p8_a_flipped_bit_anywhere_is_noticed() {
    let pack = DataPack { sequence: 3, acknowledgement: 4, ..DataPack::new(PackType(9), vec![0x55; 40]) };
    for whole in [wire(std::slice::from_ref(&pack)).to_vec(), with_longer_header(&pack, &[1; 30])] {
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            damaged.extend_from_slice(&more_packs());
            let (packs, error) = decode_all(&damaged.into());
            assert!(packs.is_empty() && error.is_some(), "bit {bit}: {packs:?}");
        }
    }
}

#[test]
fn p8_damage_is_noticed_before_the_bulk_has_come() {
    let bulk = vec![Bytes::from(vec![7; 1 << 20])];
    let pack = DataPack { bulk, ..DataPack::new(PackType(129), vec![0x55; 40]) };
    let whole = wire(&[pack]);
    let checked = DataHeader::WIRE_LEN + 40;
    // From behind the header's size on: a header that seems longer takes some of the bulk for its tail.
    for bit in 16..checked * 8 {
        let mut damaged = whole[..checked].to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let (packs, error) = decode_all(&damaged.into());
        let waits_for_more_head = (48..80).contains(&bit) && error.is_none();
        assert!(packs.is_empty() && (error.is_some() || waits_for_more_head), "bit {bit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn p1_any_dict_survives(dict in any_dict()) {
        let bytes = dict.encode().unwrap();
        let again = through_the_wire(&dict);
        // By bytes, because a NaN equals nothing.
        prop_assert_eq!(again.encode().unwrap(), bytes);
        prop_assert_eq!(format!("{again:?}"), format!("{dict:?}"));
    }

    #[test]
    fn p2_p3_any_fragmentation_gives_the_same_packs(
        packs in vec(any_pack(), 1..6),
        cuts in vec(any::<prop::sample::Index>(), 0..40),
        drain_each_time in any::<bool>(),
    ) {
        let whole = wire(&packs);
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).collect();
        cuts.extend([0, whole.len()]);
        cuts.sort_unstable();
        let mut decoder = Decoder::new(MAX_DATA);
        let mut got = Vec::new();
        for cut in cuts.windows(2) {
            decoder.feed(whole.slice(cut[0]..cut[1]));
            if drain_each_time {
                let (packs, error) = drain(&mut decoder);
                prop_assert_eq!(error, None);
                got.extend(packs);
            }
        }
        got.extend(drain(&mut decoder).0);
        let expected: Vec<_> = packs.into_iter().map(flat).collect();
        prop_assert_eq!(got, expected);
        prop_assert_eq!(decoder.buffered(), 0);
    }

    #[test]
    fn p2_one_byte_a_read_gives_the_same_packs(packs in vec(any_pack(), 1..4)) {
        let whole = wire(&packs);
        let mut decoder = Decoder::new(MAX_DATA);
        let mut got = Vec::new();
        for at in 0..whole.len() {
            decoder.feed(whole.slice(at..=at));
            got.extend(drain(&mut decoder).0);
        }
        let expected: Vec<_> = packs.into_iter().map(flat).collect();
        prop_assert_eq!(got, expected);
    }

    #[test]
    fn every_way_to_encode_gives_the_same_bytes(packs in vec(any_pack(), 0..6)) {
        let mut encoder = Encoder::new();
        packs.iter().for_each(|pack| encoder.push(pack).unwrap());
        let whole = wire(&packs);
        prop_assert_eq!(encoder.len(), whole.len());
        let buffers = encoder.take();
        prop_assert!(buffers.iter().all(|buffer| !buffer.is_empty()));
        prop_assert_eq!(buffers.concat(), &whole[..]);
        let one_by_one: Vec<_> = packs.iter().flat_map(|pack| encode(pack).unwrap()).collect();
        prop_assert_eq!(one_by_one.concat(), &whole[..]);
    }

    #[test]
    fn p6_any_tail_of_a_header_is_skipped(pack in any_pack(), tail in vec(any::<u8>(), 0..=480)) {
        let bytes = with_longer_header(&pack, &tail);
        prop_assert_eq!(decode_all(&bytes.into()), (vec![flat(pack)], None));
    }

    #[test]
    fn p7_damaged_dicts_never_panic_and_have_one_encoding(
        dict in any_dict(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = dict.encode().unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(dict) = Dict::decode(&bytes) {
            prop_assert_eq!(dict.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn p7_random_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = Dict::decode(&bytes);
        let _ = decode_all(&bytes.clone().into());
        // Behind a header's size that is right, more of the decoder is reached.
        let _ = decode_all(&[&[32, 0], &bytes[..]].concat().into());
    }

    #[test]
    fn p8_any_flipped_bit_is_noticed(pack in any_pack(), bit in any::<prop::sample::Index>()) {
        let mut bytes = wire(std::slice::from_ref(&pack)).to_vec();
        let bit = bit.index((DataHeader::WIRE_LEN + pack.head.len()) * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes.extend_from_slice(&more_packs());
        let (packs, error) = decode_all(&bytes.into());
        prop_assert!(packs.is_empty() && error.is_some());
    }
}
