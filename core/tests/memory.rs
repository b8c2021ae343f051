//! P5 and P7: what a peer can make us allocate, and how deep our stack goes, measured.
#![allow(clippy::unwrap_used)]

use bytes::{BufMut, Bytes, BytesMut};
use serde::ser::{SerializeSeq, Serializer};
use serde::{Deserialize, Serialize};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;
use xxnet_core::manifest::{Manifest, ManifestError};
use xxnet_core::message::Message;
use xxnet_core::pack::{
    ConvertReason, DataHeader, DataPack, DecodeError, Decoder, Dict, PackType, Value, ValueError, encode_into,
};

thread_local! {
    /// Bytes that this thread has allocated and not freed, and the most there were since the last look.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

fn count(change: isize) {
    let live = LIVE.get() + change;
    LIVE.set(live);
    PEAK.set(PEAK.get().max(live));
}

fn signed(size: usize) -> isize {
    isize::try_from(size).unwrap_or(isize::MAX)
}

// SAFETY: everything is passed on to the system's allocator unchanged; the counters neither allocate nor unwind.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may exist for a moment.
        count(signed(size));
        count(-signed(layout.size()));
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `work` returns, and the most memory it held at a time.
fn measure<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = LIVE.get();
    PEAK.set(before);
    let result = work();
    (result, usize::try_from(PEAK.get() - before).unwrap())
}

/// Runs on a stack of 128 KiB, the smallest that anybody gives a thread (musl's default).
fn on_a_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new().stack_size(128 << 10).spawn(work).unwrap().join().unwrap()
}

fn le(number: u64) -> [u8; 8] {
    number.to_le_bytes()
}

#[test]
fn the_measure_measures() {
    let (kept, peak) = measure(|| {
        drop(vec![1_u8; 1000]);
        vec![2_u8; 100]
    });
    assert_eq!(peak, 1000);
    drop(kept);
}

#[test]
fn p5_nothing_is_allocated_on_a_headers_word() {
    let header = |size: u32| {
        let pack = DataPack::new(PackType(1), vec![]);
        let header = DataHeader { data_size: size, checked_size: size, ..DataHeader::of(&pack).unwrap() };
        Bytes::copy_from_slice(&header.to_bytes())
    };
    let refused = header(u32::MAX);
    let (result, peak) = measure(|| {
        let mut decoder = Decoder::new(4 << 20);
        decoder.feed(refused);
        decoder.next()
    });
    assert_eq!(result, Err(DecodeError::TooLarge { size: u32::MAX, limit: 4 << 20 }));
    assert!(peak < 1024, "{peak} bytes");
    // Nor for one that is allowed, until its data comes.
    let allowed = header(4 << 20);
    let (result, peak) = measure(|| {
        let mut decoder = Decoder::new(4 << 20);
        decoder.feed(allowed);
        decoder.next()
    });
    assert_eq!(result, Ok(None));
    assert!(peak < 1024, "{peak} bytes");
}

#[test]
fn p5_a_pack_that_drips_costs_twice_its_bytes() {
    const SIZE: usize = 1 << 20;
    let pack = DataPack { bulk: vec![vec![7; SIZE].into()], ..DataPack::new(PackType(1), vec![1; 100]) };
    let mut whole = BytesMut::new();
    encode_into(&pack, &mut whole).unwrap();
    for step in [1, 100, 4095, 4096, 10_000] {
        let (pieces, peak) = measure(|| {
            let mut decoder = Decoder::new(4 << 20);
            for piece in whole.chunks(step) {
                assert_eq!(decoder.next(), Ok(None));
                decoder.feed(Bytes::copy_from_slice(piece));
            }
            decoder.next().unwrap().unwrap().bulk.len()
        });
        // The buffers that joined pieces grow in, and what a `Bytes` costs.
        assert!(peak < 2 * SIZE + (192 << 10), "{peak} bytes by {step}");
        assert!(pieces <= SIZE / 4096 + 2, "{pieces} pieces by {step}");
    }
}

#[test]
fn p7_claims_of_2_60_elements_allocate_nothing() {
    let entry = [le(1), le(0)].concat();
    for tag in 4..=7_u32 {
        let bytes = [&entry[..], &tag.to_le_bytes(), &le(1 << 60), &[0; 40]].concat();
        let (result, peak) = measure(|| Dict::decode(&bytes));
        assert_eq!(result, Err(ValueError::Truncated));
        assert!(peak < 1024, "{peak} bytes for tag {tag}");
    }
    let (result, peak) = measure(|| Dict::decode(&le(1 << 60)));
    assert_eq!((result, peak), (Err(ValueError::Truncated), 0));
}

#[test]
fn p7_lists_that_each_claim_all_the_rest_allocate_little() {
    // The known attack: 2 KB of nested lists, each claiming as many elements as the bytes that are left could hold.
    let filler = vec![0; 1 << 20];
    let mut bytes = [le(1), le(0)].concat();
    for _ in 0..62 {
        bytes.extend_from_slice(&6_u32.to_le_bytes());
        bytes.extend_from_slice(&le(filler.len() as u64 / 4));
    }
    bytes.extend_from_slice(&[255; 4]);
    bytes.extend_from_slice(&filler);
    let (result, peak) = measure(|| Dict::decode(&bytes));
    assert_eq!(result, Err(ValueError::UnknownTag(u32::MAX)));
    assert!(peak < 64 << 10, "{peak} bytes");
}

#[test]
fn p7_the_worst_dicts_stay_below_the_stated_bound() {
    let list_of = |element: &[u8], count: u64| {
        let mut bytes = [le(1), le(0)].concat();
        bytes.extend_from_slice(&6_u32.to_le_bytes());
        bytes.extend_from_slice(&le(count));
        (0..count).for_each(|_| bytes.extend_from_slice(element));
        bytes
    };
    let null = 0_u32.to_le_bytes();
    let list = 6_u32.to_le_bytes();
    let dict = 7_u32.to_le_bytes();
    let elements = [
        ("null", null.to_vec()),
        ("[]", [&list[..], &le(0)].concat()),
        ("[null]", [&list[..], &le(1), &null].concat()),
        ("[[null]]", [&list[..], &le(1), &list, &le(1), &null].concat()),
        ("{}", [&dict[..], &le(0)].concat()),
        ("{'': null}", [&dict[..], &le(1), &le(0), &null].concat()),
        ("{'k': null}", [&dict[..], &le(1), &le(1), b"k", &null].concat()),
        (
            "{'k': {'k': null}}",
            [&dict[..], &le(1), &le(1), b"k", &dict, &le(1), &le(1), b"k", &null].concat(),
        ),
    ];
    for (name, element) in elements {
        let bytes = list_of(&element, 20_000);
        let (result, peak) = measure(|| Dict::decode(&bytes));
        assert!(result.is_ok(), "{name}");
        let ratio = peak / bytes.len();
        println!("{name}: {peak} bytes of memory for {}: {ratio}", bytes.len());
        assert!(peak <= 40 * bytes.len(), "{name}: {ratio}");
    }
}

#[test]
fn p7_ten_thousand_lists_deep_end_on_a_small_stack() {
    let mut bytes = [le(1), le(0)].concat();
    for _ in 0..10_000 {
        bytes.put_slice(&6_u32.to_le_bytes());
        bytes.put_slice(&le(1));
    }
    let (result, peak) = on_a_small_stack(move || measure(|| Dict::decode(&bytes)));
    assert_eq!(result, Err(ValueError::TooDeep));
    assert!(peak < 64 << 10, "{peak} bytes");
    let mut dicts = Vec::new();
    for _ in 0..10_000 {
        dicts.put_slice(&le(1));
        dicts.put_slice(&le(0));
        dicts.put_slice(&7_u32.to_le_bytes());
    }
    let (result, _) = on_a_small_stack(move || measure(|| Dict::decode(&dicts)));
    assert_eq!(result, Err(ValueError::TooDeep));
}

#[test]
fn p7_the_deepest_dict_allowed_lives_on_a_small_stack() {
    on_a_small_stack(|| {
        let mut dict = Dict::new();
        for _ in 1..Dict::MAX_DEPTH {
            dict = Dict::from([("k", dict.into())]);
        }
        let bytes = dict.encode().unwrap();
        let again = Dict::decode(&bytes).unwrap();
        assert_eq!(again, dict);
        let copy = again.clone();
        assert_eq!(copy, again);
        drop(copy);
        assert!(!format!("{again:?}").is_empty());
    });
}

#[test]
fn p7_the_deepest_types_live_on_a_small_stack() {
    /// Spends all there is: an option and a newtype at every level.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Level {
        inner: Wrapped,
        text: String,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Wrapped(Option<Box<Level>>);
    /// Leaves no trace in a value, so nothing in a value ends it.
    #[derive(Debug, Serialize, Deserialize)]
    struct Onion(Option<Box<Self>>);
    on_a_small_stack(|| {
        let level = |inner| Level { inner: Wrapped(inner), text: "x".into() };
        let deeper = |inner| level(Some(Box::new(inner)));
        let deepest = (1..Dict::MAX_DEPTH).fold(level(None), |inner, _| deeper(inner));
        let dict = Dict::from_serialize(&deepest).unwrap();
        assert_eq!(dict.deserialize(), Ok(deepest));
        let too_deep = (1..1000).fold(level(None), |inner, _| deeper(inner));
        assert_eq!(Dict::from_serialize(&too_deep).unwrap_err().reason, ConvertReason::TooDeep);
        let endless = Dict::from([("k", 1.into())]);
        let error = endless.deserialize::<BTreeMap<String, Onion>>().unwrap_err();
        assert_eq!(error.reason, ConvertReason::TooWrapped);
        let onion = (0..1000).fold(Onion(None), |inner, _| Onion(Some(Box::new(inner))));
        assert_eq!(Value::from_serialize(&onion).unwrap_err().reason, ConvertReason::TooWrapped);
    });
}

#[test]
fn p7_a_type_that_claims_the_world_allocates_little() {
    struct Claims;
    impl Serialize for Claims {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_seq(Some(1 << 60))?.end()
        }
    }
    let (result, peak) = measure(|| Value::from_serialize(&Claims));
    assert_eq!(result, Ok(Value::List(vec![])));
    assert!(peak < 1024, "{peak} bytes");
}

#[test]
fn p7_a_message_that_claims_the_world_allocates_little() {
    // Each has a text, bytes or a list as its first field, or directly behind a task's 24 bytes.
    let at = [(32, 0), (36, 24), (99, 8), (100, 8), (97, 48), (105, 44), (131, 12), (42, 24)];
    for (number, offset) in at {
        for claim in [1 << 60, 1 << 40, 1 << 31, 4096] {
            let bytes = [&vec![0; offset][..], &le(claim), &[0; 8]].concat();
            let pack = DataPack::new(PackType(number), bytes);
            let (result, peak) = measure(|| Message::from_pack(pack).map(|_| ()));
            assert_eq!(result.unwrap_err().to_string(), "malformed payload", "pack type {number}");
            assert!(peak <= (1 << 20) + 8192, "{peak} bytes for pack type {number}, claim {claim}");
        }
    }
}

#[test]
fn a_manifest_that_claims_the_world_allocates_nothing() {
    let bytes = [&[1][..], &[255; 4], &[0; 100]].concat();
    let (result, peak) = measure(|| Manifest::decode(&bytes));
    assert_eq!((result, peak), (Err(ManifestError::Truncated), 0));
    // A count that the bytes could hold gets room for what it brings, as it comes.
    let count = 1_000_000_u32;
    let bytes = [&[1][..], &count.to_le_bytes(), &[9], &vec![0; 3_000_000][..]].concat();
    let (result, peak) = measure(|| Manifest::decode(&bytes));
    assert_eq!(result, Err(ManifestError::UnknownKind(9)));
    assert!(peak < 128 << 10, "{peak} bytes");
}
