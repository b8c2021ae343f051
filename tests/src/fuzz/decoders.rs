//! Whatever is decoded from bytes: packs, values, messages, manifests.

use bytes::{Bytes, BytesMut};
use xxnet_core::manifest::{EntryKind, Manifest};
use xxnet_core::message::Message;
use xxnet_core::pack::{DataHeader, DataPack, DecodeError, Decoder, Dict, PackType, encode_into};

/// Largest data that the fuzzed decoder takes: small, so that the limit itself is reached.
const MAX_DATA: u32 = 2000;

/// Any split of a stream gives the packs and the error of the whole, and what was decoded encodes to the same packs again.
///
/// The first byte says whether checksums are put right, the second how many bytes of cut lengths follow; the rest is the
/// stream.
pub fn pack_decoder(data: &[u8]) {
    let [repair, cuts, rest @ ..] = data else { return };
    let Some((cuts, stream)) = rest.split_at_checked(usize::from(cuts % 16)) else { return };
    let mut stream = stream.to_vec();
    if repair % 2 == 1 {
        repair_checksums(&mut stream);
    }
    let stream = Bytes::from(stream);
    let whole = decode_split(&stream, &[]);
    assert_eq!(decode_split(&stream, cuts), whole, "another split, other packs");
    assert_eq!(decode_split(&stream, &[1]), whole, "byte by byte, other packs");
    let (packs, _) = whole;
    let mut again = BytesMut::new();
    for pack in &packs {
        assert!(pack.data_len() <= MAX_DATA as usize, "over the limit");
        encode_into(pack, &mut again).expect("what was decoded is small enough");
    }
    assert_eq!(decode_split(&again.freeze(), &[]), (packs, None), "decoded, encoded and decoded");
}

/// A dict that decodes has exactly these bytes, and is what it serialises to.
pub fn value_decoder(data: &[u8]) {
    if let Ok(dict) = Dict::decode(data) {
        assert_eq!(dict.encode().expect("what was decoded is not too deep"), data);
        // By bytes, because a NaN equals nothing.
        let through_serde = Dict::from_serialize(&dict).expect("what was decoded is not too deep");
        assert_eq!(through_serde.encode().expect("as deep as it was"), data);
        assert!(dict.iter().zip(dict.iter().skip(1)).all(|((a, _), (b, _))| a.as_bytes() < b.as_bytes()));
    }
}

/// A message that decodes has exactly these bytes. The first byte chooses the pack type.
pub fn message_decoder(data: &[u8]) {
    let Some((choice, payload)) = data.split_first() else { return };
    let (number, name) = Message::ALL[usize::from(*choice) % Message::ALL.len()];
    let mut pack = DataPack::new(PackType(number), payload.to_vec());
    if name == "Block" {
        pack.bulk.push(Bytes::from_static(b"bulk"));
    }
    if let Ok(message) = Message::from_pack(pack.clone()) {
        assert_eq!(message.name(), name);
        assert_eq!(message.into_pack(), pack);
    }
}

/// A manifest that decodes keeps every rule, survives, and its layout covers each file once.
pub fn manifest_decoder(data: &[u8]) {
    let Ok(manifest) = Manifest::decode(data) else { return };
    assert_eq!(manifest.validate(), Ok(()));
    let bytes = manifest.encode().expect("what was decoded can be encoded");
    assert_eq!(bytes.len(), data.len());
    assert_eq!(Manifest::decode(&bytes).as_ref(), Ok(&manifest));
    for entry in &manifest.entries {
        let inside = !entry.path.starts_with(b"/")
            && entry.path.split(|&byte| byte == b'/').all(|part| part != b".." && part != b".");
        assert!(inside && !entry.path.contains(&0), "{:?} leads out", entry.path.escape_ascii().to_string());
        if let EntryKind::Link { target } = &entry.kind {
            assert!(!target.starts_with(b"/"), "{:?} is absolute", target.escape_ascii().to_string());
        }
    }
    let layout = manifest.layout();
    let block = manifest.content_len() / 7 + 1;
    let mut end = vec![0; manifest.entries.len()];
    for n in 0..8 {
        for segment in layout.segments(n * block, block) {
            assert_eq!(end[segment.entry], segment.offset, "a gap or an overlap");
            end[segment.entry] += segment.len;
        }
    }
    assert!(manifest.entries.iter().map(|entry| entry.content_len()).eq(end), "not all of it");
}

/// Packs and the error behind them, with the bytes coming in pieces of these lengths, again and again (none: at once). Bulk
/// is joined, because its pieces are the split's.
fn decode_split(stream: &Bytes, cuts: &[u8]) -> (Vec<DataPack>, Option<DecodeError>) {
    let mut decoder = Decoder::new(MAX_DATA);
    let mut packs = Vec::new();
    let mut rest = stream.clone();
    let mut cuts = cuts.iter().map(|&cut| usize::from(cut).max(1)).cycle();
    loop {
        match decoder.next() {
            Ok(Some(mut pack)) => {
                let bulk = Bytes::from(pack.bulk.concat());
                pack.bulk = Some(bulk).filter(|bulk| !bulk.is_empty()).into_iter().collect();
                packs.push(pack);
            }
            Ok(None) if rest.is_empty() => return (packs, None),
            Ok(None) => {
                let cut = cuts.next().unwrap_or(rest.len()).min(rest.len());
                decoder.feed(rest.split_to(cut));
                // What it asks for next is always something.
                assert!((1..=1 << 20).contains(&decoder.wanted()));
            }
            Err(error) => {
                assert_eq!(decoder.next(), Err(error), "an error is for ever");
                return (packs, Some(error));
            }
        }
    }
}

/// Gives every header that could be one its right checksum: no fuzzer guesses 32 bits.
fn repair_checksums(stream: &mut [u8]) {
    let mut at = 0;
    while let Some(fixed) = stream.get(at..at + DataHeader::WIRE_LEN).and_then(|bytes| bytes.try_into().ok())
    {
        let header = DataHeader::from_bytes(fixed);
        let size = usize::from(u16::from_le_bytes([stream[at], stream[at + 1]]));
        let data = at + 2 + size;
        let (checked_end, end) = (data + header.checked_size as usize, data + header.data_size as usize);
        if size < usize::from(DataHeader::SIZE)
            || header.check(MAX_DATA).is_err()
            || checked_end > stream.len()
        {
            return;
        }
        let covered = [&stream[at..at + 30], &stream[at + 34..checked_end]].concat();
        stream[at + 30..at + 34].copy_from_slice(&crc32(&covered).to_le_bytes());
        at = end;
    }
}

/// CRC-32 as in zlib, bit by bit: so that the format's description is checked against another implementation.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 * (crc & 1)))
    })
}
