//! The manifest as a property: any tree survives, any bytes are judged, any range of the content is found.
#![allow(clippy::unwrap_used)]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use xxnet_core::manifest::{Entry, EntryKind, Manifest, NameError, Segment, check_name, clean_name};

fn any_component() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-c]{1,2}".prop_map(String::into_bytes),
        1 => vec(any::<u8>().prop_filter("no slash, no NUL", |byte| !matches!(byte, 0 | b'/')), 1..=255)
            .prop_filter("no dots", |name| name != b"." && name != b".."),
    ]
}

fn any_mtime() -> impl Strategy<Value = (i64, u32)> {
    (any::<i64>(), 0..1_000_000_000_u32)
}

fn any_leaf() -> impl Strategy<Value = EntryKind> {
    let size = prop_oneof![2 => Just(0), 3 => 1..50_u64, 1 => 0..1_u64 << 40];
    prop_oneof![
        4 => (size, 0..=0o777_u32, any_mtime()).prop_map(|(size, mode, mtime)| EntryKind::File { size, mode, mtime }),
        1 => vec(any_component(), 1..3).prop_map(|names| EntryKind::Link { target: names.join(&b'/') }),
        1 => Just(EntryKind::Deleted),
        1 => (0..=0o777_u32, any_mtime()).prop_map(|(mode, mtime)| EntryKind::Folder { mode, mtime }),
    ]
}

/// A tree of things at paths, with the folders that they need; what stands in the way of a folder becomes one.
fn any_manifest() -> impl Strategy<Value = Manifest> {
    btree_map(vec(any_component(), 1..4), any_leaf(), 0..20).prop_map(|leaves| {
        let mut entries: BTreeMap<Vec<u8>, EntryKind> = BTreeMap::new();
        let folder = EntryKind::Folder { mode: 0o755, mtime: (0, 0) };
        for (path, kind) in leaves {
            entries.insert(path.join(&b'/'), kind);
            for end in 0..path.len() {
                entries.insert(path[..end].join(&b'/'), folder.clone());
            }
        }
        entries.entry(Vec::new()).or_insert(folder);
        Manifest::new(entries.into_iter().map(|(path, kind)| Entry { path, kind }).collect()).unwrap()
    })
}

/// What the layout must say, found by looking at every file.
fn segments_slowly(manifest: &Manifest, offset: u64, len: u64) -> Vec<Segment> {
    let stop = offset.saturating_add(len);
    let mut start = 0;
    let mut segments = Vec::new();
    for (entry, size) in manifest.entries.iter().map(Entry::content_len).enumerate() {
        let (from, to) = (offset.max(start), stop.min(start + size));
        if from < to {
            segments.push(Segment { entry, offset: from - start, len: to - from });
        }
        start += size;
    }
    segments
}

/// Where a path leads, links followed, in a tree whose root is `/root`; `None` if it leads out of it.
fn resolve(manifest: &Manifest, path: &[Vec<u8>], hops: u32) -> Option<Vec<Vec<u8>>> {
    let mut at: Vec<Vec<u8>> = Vec::new();
    for component in path {
        match component.as_slice() {
            b"" | b"." => continue,
            b".." => {
                at.pop()?;
                continue;
            }
            name => at.push(name.to_vec()),
        }
        if let Some(EntryKind::Link { target }) = manifest.find(&at.join(&b'/')).map(|entry| &entry.kind) {
            // A circle of links leads nowhere, which is inside.
            let hops = hops.saturating_sub(1);
            if hops == 0 {
                return Some(Vec::new());
            }
            at.pop();
            at.extend(target.split(|&byte| byte == b'/').map(<[u8]>::to_vec));
            at = resolve(manifest, &at, hops)?;
        }
    }
    Some(at)
}

proptest! {
    #[test]
    fn any_tree_survives(manifest in any_manifest()) {
        let bytes = manifest.encode().unwrap();
        prop_assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    }

    #[test]
    fn the_layout_finds_what_a_look_at_every_file_finds(
        manifest in any_manifest(),
        range in (any::<Index>(), any::<Index>()),
    ) {
        let content = usize::try_from(manifest.content_len()).unwrap();
        let layout = manifest.layout();
        prop_assert_eq!(layout.content_len(), manifest.content_len());
        let offset = u64::try_from(range.0.index(content + 2)).unwrap();
        let len = u64::try_from(range.1.index(content + 2)).unwrap();
        let found: Vec<_> = layout.segments(offset, len).collect();
        prop_assert_eq!(found, segments_slowly(&manifest, offset, len));
    }

    #[test]
    fn blocks_of_any_size_partition_the_content(manifest in any_manifest(), block in 1..1_u64 << 39) {
        let layout = manifest.layout();
        let block = block.max(manifest.content_len() / 1000);
        let mut written: BTreeMap<usize, u64> = BTreeMap::new();
        for offset in (0..manifest.content_len()).step_by(usize::try_from(block).unwrap()) {
            for segment in layout.segments(offset, block) {
                let done = written.entry(segment.entry).or_default();
                prop_assert_eq!(*done, segment.offset, "a gap or an overlap");
                *done += segment.len;
            }
        }
        for (entry, what) in manifest.entries.iter().enumerate() {
            prop_assert_eq!(written.get(&entry).copied().unwrap_or(0), what.content_len());
        }
    }

    #[test]
    fn f12_damaged_manifests_are_refused_or_keep_every_rule(
        manifest in any_manifest(),
        damage in vec((any::<Index>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = manifest.encode().unwrap();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(manifest) = Manifest::decode(&bytes) {
            prop_assert_eq!(manifest.validate(), Ok(()));
            // Only a mode can lose bits.
            let again = manifest.encode().unwrap();
            prop_assert_eq!(again.len(), bytes.len());
            prop_assert_eq!(Manifest::decode(&again), Ok(manifest));
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = Manifest::decode(&bytes);
        let _ = Manifest::decode(&[&[1, 3, 0, 0, 0], &bytes[..]].concat());
    }

    #[test]
    fn f12_a_checked_name_stays_inside(name in "(\\.\\./|\\./|/|a/|b){0,5}(\\.\\.|\\.|a)?") {
        let verdict = check_name(name.as_bytes());
        let inside = !name.is_empty() && !name.starts_with('/') && !name.split('/').any(|part| part == "..");
        prop_assert_eq!(verdict.is_ok(), inside);
        let clean = clean_name(name.as_bytes());
        prop_assert_eq!(clean.is_ok(), inside);
        if let Ok(clean) = clean {
            prop_assert_eq!(clean_name(&clean), Ok(clean.clone()));
            prop_assert!(clean == b"." || clean.split(|&b| b == b'/').all(|part| !part.is_empty() && part != b"."));
        }
    }
}

/// Targets that go up, down, through other links, and up behind them.
const TARGETS: [&str; 16] = [
    ".",
    "..",
    "../..",
    "../../..",
    "b",
    "l",
    "m",
    "a/b",
    "l/..",
    "m/..",
    "l/../b",
    "m/../..",
    "../l",
    "../m/..",
    "../../a/l",
    "../../a/../l",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn f12_no_link_of_a_valid_tree_leads_out_of_it(
        links in btree_map(
            prop::sample::select(vec!["l", "m", "a/l", "a/m", "a/b/l", "a/b/m"]),
            prop::sample::select(&TARGETS[..]),
            1..=6,
        ),
    ) {
        let folder = |path: &str| Entry {
            path: path.into(),
            kind: EntryKind::Folder { mode: 0o755, mtime: (0, 0) },
        };
        let folders = vec![folder(""), folder("a"), folder("a/b")];
        let links = links.into_iter().map(|(path, target)| Entry {
            path: path.into(),
            kind: EntryKind::Link { target: target.into() },
        });
        // Those that are allowed at all, one by one, together.
        let allowed = links.filter(|link| Manifest::new([&folders[..], std::slice::from_ref(link)].concat()).is_ok());
        let manifest = Manifest::new([folders.clone(), allowed.collect()].concat()).unwrap();
        for entry in &manifest.entries {
            let path: Vec<_> = entry.path.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect();
            let leads_to = resolve(&manifest, &path, 20);
            prop_assert!(leads_to.is_some(), "{:?} in {manifest:?}", entry.path.escape_ascii().to_string());
        }
    }
}

#[test]
fn f12_check_name_takes_bytes_that_are_no_utf_8() {
    assert_eq!(check_name(b"\xff/\xfe"), Ok(()));
    assert_eq!(check_name(b"\xff/../\xfe"), Err(NameError::Escapes));
}

#[test]
fn a_hundred_thousand_files_are_found_at_once() {
    let mut entries = vec![Entry { path: vec![], kind: EntryKind::Folder { mode: 0o755, mtime: (0, 0) } }];
    for n in 0..100_000 {
        let kind = EntryKind::File { size: 10, mode: 0o644, mtime: (0, 0) };
        entries.push(Entry { path: format!("file-{n:06}").into(), kind });
    }
    let manifest = Manifest::new(entries).unwrap();
    let bytes = manifest.encode().unwrap();
    assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
    let layout = manifest.layout();
    // Were it linear, this would be ten billion steps.
    for n in 0..100_000_u64 {
        let segments: Vec<_> = layout.segments(n * 10 + 5, 10).collect();
        assert_eq!(segments[0], Segment { entry: usize::try_from(n).unwrap() + 1, offset: 5, len: 5 });
    }
}
