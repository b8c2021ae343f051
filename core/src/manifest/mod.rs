//! The list of what a tree holds: pure, the same for every disk.
//!
//! A manifest stands at the start of a tree's stream (see [`disk`](crate::disk)) and says where everything goes. It comes
//! from a peer, so nothing in it is believed before [`Manifest::decode`] has checked all of it: what it names lies inside
//! the tree, and writing it entry by entry never goes through a link (ledger F12).

mod codec;
mod layout;
mod name;

pub use layout::{Layout, Segment};
pub use name::{MAX_COMPONENT, MAX_PATH, NameError, Platform, check_name, check_name_on, clean_name};

use crate::disk::FileErrorKind;
use alloc::vec::Vec;
use core::fmt;

/// One thing in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where, relative to the tree's root, components separated by `/`; empty for the root itself.
    pub path: Vec<u8>,
    /// What.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file; its bytes stand in the stream behind the manifest, in the entries' order.
    File {
        /// Bytes of content.
        size: u64,
        /// Permission bits; only the lowest nine travel.
        mode: u32,
        /// When it was last modified.
        mtime: Mtime,
    },
    /// A folder.
    Folder {
        /// Permission bits; only the lowest nine travel.
        mode: u32,
        /// When it was last modified.
        mtime: Mtime,
    },
    /// A symbolic link.
    Link {
        /// Where it points, relative to its own folder, inside the tree.
        target: Vec<u8>,
    },
    /// Not there any more; only in trees of [`Source::Changes`](crate::disk::Source::Changes).
    Deleted,
}

/// A modification time: seconds since 1970 (before it: negative) and nanoseconds on top of them (below 10⁹).
pub type Mtime = (i64, u32);

/// The permission bits that travel: no setuid, setgid or sticky bit comes from a peer.
pub const MODE_MASK: u32 = 0o777;

/// All entries of a tree.
///
/// A valid one (every manifest that [`new`](Self::new) or [`decode`](Self::decode) returns) keeps these rules:
/// - the first entry is the root, a file or a folder; a file is then the only entry. It is never a link: whoever scans
///   follows a link that was named as the tree itself, and ships what it points at;
/// - the entries are sorted by the bytes of their paths, none twice; the parent of each is a folder's entry, which so
///   stands before it (in a tree of changes, too: folders on the way to a change are listed);
/// - paths are relative, without `.`, `..`, empty components or NUL, components up to [`MAX_COMPONENT`] bytes and paths up
///   to [`MAX_PATH`]; no component is a device's name on the [`Platform`] where the tree is checked;
/// - a link's target is relative and stays inside the tree: `..` stands only at its start, at most once for each folder
///   above the link. (Behind a name, `..` could start from wherever another link leads.)
/// - all contents together are at most `i64::MAX` bytes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The entries, sorted by path.
    pub entries: Vec<Entry>,
}

impl Manifest {
    /// The longest encoded manifest: about a million files (64 MiB). Longer ones are neither made nor taken; whoever
    /// collects a manifest from a stream looks at the announced length first.
    pub const MAX_LEN: u64 = 64 << 20;

    /// A manifest of these entries, sorted here, and the modes reduced to what travels.
    ///
    /// # Errors
    /// [`ManifestError`] if they break a rule; its entry number counts the sorted entries.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, ManifestError> {
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        for entry in &mut entries {
            if let EntryKind::File { mode, .. } | EntryKind::Folder { mode, .. } = &mut entry.kind {
                *mode &= MODE_MASK;
            }
        }
        let manifest = Self { entries };
        manifest.validate()?;
        Ok(manifest)
    }

    /// The bytes that travel; [`decode`](Self::decode) has the layout.
    ///
    /// # Errors
    /// [`ManifestError`] if a rule is broken, or the bytes would be more than [`MAX_LEN`](Self::MAX_LEN).
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        codec::encode(self)
    }

    /// The manifest that exactly these bytes stand for. Little-endian:
    ///
    /// | | bytes |
    /// | --- | --- |
    /// | manifest | version: u8 = 1; count: u32; then as many entries |
    /// | entry | kind: u8; length of path: u16; path; then what the kind says |
    /// | 0 file | size: u64; mode: u16; modified: seconds i64, nanoseconds u32 |
    /// | 1 folder | mode: u16; modified: seconds i64, nanoseconds u32 |
    /// | 2 link | length of target: u16; target |
    /// | 3 deleted | – |
    ///
    /// Allocates in proportion to what was read, whatever the count claims.
    ///
    /// # Errors
    /// [`ManifestError`] for any other bytes, and for those that break a rule.
    pub fn decode(bytes: &[u8]) -> Result<Self, ManifestError> {
        codec::decode(bytes)
    }

    /// Checks every rule; see [`Manifest`].
    ///
    /// # Errors
    /// The first one that is broken.
    pub fn validate(&self) -> Result<(), ManifestError> {
        self.validate_on(Platform::HERE)
    }

    /// As [`validate`](Self::validate), for a tree on another system than this.
    ///
    /// # Errors
    /// The first rule that is broken there.
    pub fn validate_on(&self, platform: Platform) -> Result<(), ManifestError> {
        let root = self.entries.first().filter(|entry| entry.path.is_empty()).ok_or(ManifestError::NoRoot)?;
        match root.kind {
            EntryKind::File { .. } if self.entries.len() > 1 => {
                return Err(ManifestError::NoParent { entry: 1 });
            }
            EntryKind::File { .. } | EntryKind::Folder { .. } => {}
            EntryKind::Link { .. } | EntryKind::Deleted => return Err(ManifestError::BadRoot),
        }
        let mut content: u64 = 0;
        for entry in 0..self.entries.len() {
            content = content.saturating_add(self.validate_entry(entry, platform)?);
        }
        if i64::try_from(content).is_err() { Err(ManifestError::ContentTooLong) } else { Ok(()) }
    }

    /// The bytes of all files together: the stream is as long as this and the manifest.
    pub fn content_len(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.content_len()))
    }

    /// The entry of a path.
    pub fn find(&self, path: &[u8]) -> Option<&Entry> {
        find(&self.entries, path)
    }

    /// Where each file's bytes stand in the content.
    pub fn layout(&self) -> Layout {
        Layout::new(self)
    }

    /// One entry, given those before it; its bytes of content.
    fn validate_entry(&self, entry: usize, platform: Platform) -> Result<u64, ManifestError> {
        let (before, from) = self.entries.split_at(entry);
        let Some(Entry { path, kind }) = from.first() else { return Ok(0) };
        if let Some(last) = before.last() {
            if last.path >= *path {
                return Err(ManifestError::NotSorted { entry });
            }
            name::check_path(path, platform).map_err(|error| ManifestError::Path { entry, error })?;
            let parent = find(before, name::parent(path));
            if !matches!(parent, Some(Entry { kind: EntryKind::Folder { .. }, .. })) {
                return Err(ManifestError::NoParent { entry });
            }
        }
        match kind {
            EntryKind::File { mtime, .. } | EntryKind::Folder { mtime, .. } if mtime.1 >= 1_000_000_000 => {
                Err(ManifestError::BadTime { entry })
            }
            EntryKind::Link { target } => name::check_target(path, target, platform)
                .map_err(|error| ManifestError::Target { entry, error })
                .map(|()| 0),
            EntryKind::File { size, .. } => Ok(*size),
            EntryKind::Folder { .. } | EntryKind::Deleted => Ok(0),
        }
    }
}

impl Entry {
    /// Its bytes in the stream behind the manifest: a file's size, and nothing for all others.
    pub fn content_len(&self) -> u64 {
        if let EntryKind::File { size, .. } = self.kind { size } else { 0 }
    }
}

/// Binary search in sorted entries.
fn find<'a>(entries: &'a [Entry], path: &[u8]) -> Option<&'a Entry> {
    let at = entries.binary_search_by(|entry| entry.path.as_slice().cmp(path)).ok()?;
    entries.get(at)
}

/// Why a manifest is refused. `entry` counts from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// The manifest has another version.
    Version(u8),
    /// The bytes end too early, or a count or length is more than the bytes behind it can hold.
    Truncated,
    /// Bytes are left over.
    Trailing,
    /// No kind of entry has this number.
    UnknownKind(u8),
    /// Over [`Manifest::MAX_LEN`] bytes, or over `u32::MAX` entries.
    TooLong,
    /// The first entry is not the root.
    NoRoot,
    /// The root is neither a file nor a folder.
    BadRoot,
    /// A path that cannot be.
    Path {
        /// Whose.
        entry: usize,
        /// What is wrong with it.
        error: NameError,
    },
    /// A path is not above the one before it.
    NotSorted {
        /// Whose.
        entry: usize,
    },
    /// No folder's entry stands for the parent.
    NoParent {
        /// Whose.
        entry: usize,
    },
    /// A link that leads out of the tree, or nowhere.
    Target {
        /// Whose.
        entry: usize,
        /// What is wrong with it.
        error: NameError,
    },
    /// Nanoseconds of a second or more.
    BadTime {
        /// Whose.
        entry: usize,
    },
    /// All contents together are longer than `i64::MAX`.
    ContentTooLong,
}

impl ManifestError {
    /// The entry that is at fault, if it is one.
    pub fn entry(&self) -> Option<usize> {
        match *self {
            Self::Path { entry, .. }
            | Self::NotSorted { entry }
            | Self::NoParent { entry }
            | Self::Target { entry, .. }
            | Self::BadTime { entry } => Some(entry),
            Self::Version(_)
            | Self::Truncated
            | Self::Trailing
            | Self::UnknownKind(_)
            | Self::TooLong
            | Self::NoRoot
            | Self::BadRoot
            | Self::ContentTooLong => None,
        }
    }

    /// The file error that stands for it: names and links that lead out are told apart from malformed bytes.
    pub fn as_file_error(&self) -> FileErrorKind {
        match self {
            Self::Path { .. } | Self::Target { .. } | Self::NoParent { .. } | Self::BadRoot => {
                FileErrorKind::Escapes
            }
            Self::Version(_)
            | Self::Truncated
            | Self::Trailing
            | Self::UnknownKind(_)
            | Self::TooLong
            | Self::NoRoot
            | Self::NotSorted { .. }
            | Self::BadTime { .. }
            | Self::ContentTooLong => FileErrorKind::BadManifest,
        }
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "a file list of version {version}"),
            Self::Truncated => f.write_str("the file list is longer than its bytes"),
            Self::Trailing => f.write_str("bytes left over behind the file list"),
            Self::UnknownKind(kind) => write!(f, "no kind of entry has the number {kind}"),
            Self::TooLong => f.write_str("the file list is too long"),
            Self::NoRoot => f.write_str("the file list does not begin with its root"),
            Self::BadRoot => f.write_str("the root is neither a file nor a folder"),
            Self::Path { entry, error } => write!(f, "the path of entry {entry} {error}"),
            Self::NotSorted { entry } => write!(f, "entry {entry} is repeated or not in order"),
            Self::NoParent { entry } => write!(f, "the parent of entry {entry} is no folder of the list"),
            Self::Target { entry, error } => write!(f, "the link at entry {entry} {error}"),
            Self::BadTime { entry } => write!(f, "the time of entry {entry} has too many nanoseconds"),
            Self::ContentTooLong => f.write_str("the files together are too long"),
        }
    }
}

impl core::error::Error for ManifestError {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry { path: path.into(), kind }
    }

    fn file(path: &str, size: u64) -> Entry {
        entry(path, EntryKind::File { size, mode: 0o644, mtime: (5, 6) })
    }

    fn folder(path: &str) -> Entry {
        entry(path, EntryKind::Folder { mode: 0o755, mtime: (-1, 999_999_999) })
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, EntryKind::Link { target: target.into() })
    }

    /// What is wrong with a tree of these entries below a root folder.
    fn verdict(mut entries: Vec<Entry>) -> Result<(), ManifestError> {
        entries.insert(0, folder(""));
        Manifest::new(entries).map(|_| ())
    }

    #[test]
    fn a_tree_survives() {
        let entries = vec![
            folder(""),
            file("a.txt", 7),
            folder("a"),
            file("a/deep file", 0),
            link("a/up", "../a.txt"),
            link("here", "a/./deep file"),
            entry("gone", EntryKind::Deleted),
        ];
        let manifest = Manifest::new(entries).unwrap();
        let paths: Vec<_> = manifest.entries.iter().map(|entry| entry.path.as_slice()).collect();
        assert_eq!(paths, [&b""[..], b"a", b"a.txt", b"a/deep file", b"a/up", b"gone", b"here"]);
        assert_eq!(Manifest::decode(&manifest.encode().unwrap()), Ok(manifest));
    }

    #[test]
    fn modes_lose_what_must_not_travel() {
        let root = entry("", EntryKind::File { size: 1, mode: 0o104_755, mtime: (0, 0) });
        let manifest = Manifest::new(vec![root.clone()]).unwrap();
        assert!(matches!(manifest.entries[0].kind, EntryKind::File { mode: 0o755, .. }));
        let unmasked = Manifest { entries: vec![root] };
        assert_eq!(Manifest::decode(&unmasked.encode().unwrap()), Ok(manifest.clone()));
        // And a peer that sends them all the same is not believed: the mode stands behind kind, path and size.
        let mut bytes = manifest.encode().unwrap();
        bytes[5 + 3 + 8 + 1] |= 0o7000_u16.to_le_bytes()[1];
        assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    }

    #[test]
    fn f12_a_path_that_leaves_the_tree_is_refused() {
        let path_error = |path: &str| match verdict(vec![folder("a"), file(path, 1)]) {
            Err(ManifestError::Path { error, .. }) => Some(error),
            other => panic!("{path}: {other:?}"),
        };
        assert_eq!(path_error("../x"), Some(NameError::Escapes));
        assert_eq!(path_error("a/../../x"), Some(NameError::Escapes));
        assert_eq!(path_error("a/.."), Some(NameError::Escapes));
        assert_eq!(path_error("/etc/passwd"), Some(NameError::Absolute));
        assert_eq!(path_error("a//x"), Some(NameError::NotPlain));
        assert_eq!(path_error("a/"), Some(NameError::NotPlain));
        assert_eq!(path_error("."), Some(NameError::NotPlain));
        assert_eq!(path_error("a/./x"), Some(NameError::NotPlain));
        assert_eq!(path_error("a\0b"), Some(NameError::Nul));
        assert_eq!(path_error(&"x".repeat(256)), Some(NameError::TooLong));
        assert_eq!(path_error(&"x/".repeat(2049)), Some(NameError::TooLong));
        assert_eq!(verdict(vec![file(&"x".repeat(255), 1), file("...", 1), file("..x", 1)]), Ok(()));
    }

    #[test]
    fn f12_a_tree_with_a_devices_name_is_refused_where_it_is_one() {
        let tree = |entries: Vec<Entry>| Manifest::new([vec![folder("")], entries].concat()).unwrap();
        let named = tree(vec![folder("src"), file("src/Aux.c", 1)]);
        assert_eq!(named.validate_on(Platform::Unix), Ok(()));
        let error = ManifestError::Path { entry: 2, error: NameError::Device };
        assert_eq!(named.validate_on(Platform::Windows), Err(error));
        let linked = tree(vec![link("a", "nul")]);
        assert_eq!(linked.validate_on(Platform::Unix), Ok(()));
        let error = ManifestError::Target { entry: 1, error: NameError::Device };
        assert_eq!(linked.validate_on(Platform::Windows), Err(error));
    }

    #[test]
    fn f12_nothing_is_written_through_a_link() {
        let through = vec![link("a", "b"), folder("b"), file("a/x", 1)];
        assert_eq!(verdict(through), Err(ManifestError::NoParent { entry: 2 }));
        assert_eq!(verdict(vec![file("a/x", 1)]), Err(ManifestError::NoParent { entry: 1 }));
        assert_eq!(verdict(vec![file("a", 1), file("a/x", 1)]), Err(ManifestError::NoParent { entry: 2 }));
        let gone = entry("a", EntryKind::Deleted);
        assert_eq!(verdict(vec![gone, file("a/x", 1)]), Err(ManifestError::NoParent { entry: 2 }));
        // The same name as a link and as a folder would be the same hole.
        let twice = vec![link("a", "b"), folder("a"), file("a/x", 1)];
        assert_eq!(verdict(twice), Err(ManifestError::NotSorted { entry: 2 }));
    }

    #[test]
    fn f12_a_link_that_leaves_the_tree_is_refused() {
        let error = |path: &str, target: &str| {
            let folders = vec![folder("a"), folder("a/b"), link(path, target)];
            match verdict(folders) {
                Err(ManifestError::Target { error, .. }) => Some(error),
                Ok(()) => None,
                other => panic!("{path} -> {target}: {other:?}"),
            }
        };
        assert_eq!(error("a/b/l", "../../x"), None);
        assert_eq!(error("a/b/l", "./.././../x/y/"), None);
        assert_eq!(error("a/b/l", "../.."), None);
        assert_eq!(error("l", "a/b"), None);
        assert_eq!(error("a/b/l", "../../../x"), Some(NameError::Escapes));
        assert_eq!(error("l", ".."), Some(NameError::Escapes));
        assert_eq!(error("l", "../root/x"), Some(NameError::Escapes));
        // With a/b/l -> ../.. this would be x beside the tree, though it looks like a/b/x.
        assert_eq!(error("a/b/m", "l/../x"), Some(NameError::Escapes));
        assert_eq!(error("l", "/etc/passwd"), Some(NameError::Absolute));
        assert_eq!(error("l", ""), Some(NameError::Empty));
        assert_eq!(error("l", "a\0"), Some(NameError::Nul));
        assert_eq!(error("l", &"x/".repeat(2049)), Some(NameError::TooLong));
    }

    #[test]
    fn the_root_is_a_file_alone_or_a_folder() {
        assert!(Manifest::new(vec![file("", 3)]).is_ok());
        assert_eq!(Manifest::new(vec![]), Err(ManifestError::NoRoot));
        assert_eq!(Manifest::new(vec![file("a", 3)]), Err(ManifestError::NoRoot));
        assert_eq!(Manifest::new(vec![link("", "a")]), Err(ManifestError::BadRoot));
        assert_eq!(Manifest::new(vec![entry("", EntryKind::Deleted)]), Err(ManifestError::BadRoot));
        let below = Manifest::new(vec![file("", 3), file("a", 3)]);
        assert_eq!(below, Err(ManifestError::NoParent { entry: 1 }));
        let twice = Manifest::new(vec![folder(""), folder("")]);
        assert_eq!(twice, Err(ManifestError::NotSorted { entry: 1 }));
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let late = entry("a", EntryKind::Folder { mode: 0, mtime: (0, 1_000_000_000) });
        assert_eq!(verdict(vec![late]), Err(ManifestError::BadTime { entry: 1 }));
        let half = i64::MAX as u64 / 2;
        assert_eq!(verdict(vec![file("a", half), file("b", half + 1)]), Ok(()));
        let over = vec![file("a", half), file("b", half + 2)];
        assert_eq!(verdict(over), Err(ManifestError::ContentTooLong));
        let wrapping = vec![file("a", u64::MAX), file("b", 2)];
        assert_eq!(verdict(wrapping), Err(ManifestError::ContentTooLong));
    }

    #[test]
    fn order_is_checked_where_it_was_not_made() {
        let swapped = Manifest { entries: vec![folder(""), file("b", 1), file("a", 1)] };
        assert_eq!(swapped.validate(), Err(ManifestError::NotSorted { entry: 2 }));
        assert_eq!(swapped.encode(), Err(ManifestError::NotSorted { entry: 2 }));
    }

    #[test]
    fn every_prefix_is_truncated_and_every_addition_is_trailing() {
        let tree = vec![folder(""), file("a", 1), link("b", "a"), entry("c", EntryKind::Deleted)];
        let bytes = Manifest::new(tree).unwrap().encode().unwrap();
        for end in 0..bytes.len() {
            assert_eq!(Manifest::decode(&bytes[..end]), Err(ManifestError::Truncated), "prefix of {end}");
        }
        assert_eq!(Manifest::decode(&[&bytes[..], &[0]].concat()), Err(ManifestError::Trailing));
        assert_eq!(Manifest::decode(&[2, 0, 0, 0, 0]), Err(ManifestError::Version(2)));
        assert_eq!(Manifest::decode(&[1, 0, 0, 0, 0]), Err(ManifestError::NoRoot));
        assert_eq!(Manifest::decode(&[1, 1, 0, 0, 0, 4, 0, 0]), Err(ManifestError::UnknownKind(4)));
        assert_eq!(Manifest::decode(&[1, 255, 255, 255, 255, 3, 0, 0]), Err(ManifestError::Truncated));
    }

    #[test]
    fn segments_lie_where_the_files_do() {
        let files = vec![folder(""), file("a", 3), file("b", 0), file("c", 5), folder("d"), file("d/e", 2)];
        let manifest = Manifest::new(files).unwrap();
        let layout = manifest.layout();
        assert_eq!((layout.content_len(), manifest.content_len()), (10, 10));
        let segments = |offset, len| -> Vec<_> {
            layout.segments(offset, len).map(|s| (s.entry, s.offset, s.len)).collect()
        };
        assert_eq!(segments(0, 10), [(1, 0, 3), (3, 0, 5), (5, 0, 2)]);
        assert_eq!(segments(2, 2), [(1, 2, 1), (3, 0, 1)]);
        assert_eq!(segments(3, 5), [(3, 0, 5)]);
        assert_eq!(segments(4, 1), [(3, 1, 1)]);
        assert_eq!(segments(7, u64::MAX), [(3, 4, 1), (5, 0, 2)]);
        assert_eq!(segments(4, 0), []);
        assert_eq!(segments(10, 1), []);
        assert_eq!(segments(u64::MAX, u64::MAX), []);
    }
}
