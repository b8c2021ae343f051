//! What a folder holds: every entry with its state, sorted by path, links not followed.

use super::error::{About, below};
use crate::fs::{Dir, Kind, Stat};
use std::io;
use std::vec;
use xxnet_core::disk::{FileError, FileErrorKind};
use xxnet_core::manifest::{Entry, EntryKind, Mtime};

/// What staged trees are called beside or inside their destination; 16 hex digits follow. Never part of a source.
pub(super) const STAGING: &str = ".xxnet-";

/// One entry and the state it was in.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) entry: Entry,
    pub(super) stat: Stat,
}

impl Found {
    /// The root, or any other entry that is a file or a folder.
    pub(super) fn new(path: Vec<u8>, stat: Stat) -> Self {
        let (mode, mtime) = (stat.mode, split_time(stat.mtime));
        let kind = match stat.kind {
            Kind::Folder => EntryKind::Folder { mode, mtime },
            Kind::File | Kind::Link | Kind::Special => EntryKind::File { size: stat.size, mode, mtime },
        };
        Self { entry: Entry { path, kind }, stat }
    }
}

/// A folder that is being gone through.
struct Level {
    dir: Dir,
    path: Vec<u8>,
    names: vec::IntoIter<Vec<u8>>,
}

/// Everything in `root`, the root itself first. `name` is what people call it.
///
/// # Errors
/// `Special` for devices, sockets and pipes, `PermissionDenied` for what cannot be read; names the entry.
pub(super) fn scan(root: Dir, name: &str) -> Result<Vec<Found>, FileError> {
    let stat = root.stat_self().about(|| name.to_owned())?;
    let mut found = vec![Found::new(Vec::new(), stat)];
    let mut levels = vec![enter(root, Vec::new()).about(|| name.to_owned())?];
    while let Some(level) = levels.last_mut() {
        let Some(next) = level.names.next() else {
            levels.pop();
            continue;
        };
        if is_staging(&next) {
            continue;
        }
        let mut path = level.path.clone();
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&next);
        let about = |error: io::Result<()>| error.about(|| below(name, &path));
        let stat = match level.dir.stat(&next) {
            // Gone since the names were read: as if it had never been there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            stat => stat.about(|| below(name, &path))?,
        };
        match stat.kind {
            Kind::Special => return Err(FileError::new(FileErrorKind::Special, below(name, &path))),
            Kind::Link => {
                let target = level.dir.read_link(&next).about(|| below(name, &path))?;
                found.push(Found { entry: Entry { path, kind: EntryKind::Link { target } }, stat });
            }
            Kind::File => {
                // Said now rather than in the middle of the transfer.
                about(level.dir.access(&next, libc::R_OK))?;
                found.push(Found::new(path, stat));
            }
            Kind::Folder => {
                let inner = level.dir.dir(&next).about(|| below(name, &path))?;
                found.push(Found::new(path.clone(), stat));
                let entered = enter(inner, path.clone()).about(|| below(name, &path))?;
                levels.push(entered);
            }
        }
    }
    found.sort_by(|a, b| a.entry.path.cmp(&b.entry.path));
    Ok(found)
}

fn enter(dir: Dir, path: Vec<u8>) -> io::Result<Level> {
    let names = dir.names()?.into_iter();
    Ok(Level { dir, path, names })
}

/// Whether a name is that of a tree on its way in.
pub(super) fn is_staging(name: &[u8]) -> bool {
    name.strip_prefix(STAGING.as_bytes())
        .is_some_and(|rest| rest.len() == 16 && rest.iter().all(u8::is_ascii_hexdigit))
}

/// Nanoseconds as the manifest has them.
fn split_time(nanos: i64) -> Mtime {
    let rest = u32::try_from(nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
    (nanos.div_euclid(1_000_000_000), rest)
}

/// The manifest's time in nanoseconds; times beyond the year 2262 are as late as can be.
pub(super) fn join_time(time: Mtime) -> i64 {
    time.0.saturating_mul(1_000_000_000).saturating_add(i64::from(time.1))
}
