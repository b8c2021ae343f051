//! Staged entries into a folder that is there already, entry by entry.

use super::error::{About, below, shown};
use super::scan::join_time;
use super::source::SourceTree;
use crate::fs::{Cursor, Dir, Kind, Stat, split};
use std::collections::BTreeSet;
use std::io;
use xxnet_core::disk::{Beside, FileError, FileErrorKind};
use xxnet_core::manifest::{Entry, EntryKind, Manifest};

/// What happens to what stands in the way.
#[derive(Clone, Copy)]
pub(super) enum Policy<'a> {
    /// Files and links are replaced; a folder where a file should go, or the other way round, is an error, found before
    /// anything is moved.
    Replace,
    /// What has changed since this source was scanned is left alone, and the new one lands beside it.
    Careful(&'a SourceTree),
}

/// Moves everything that is staged below `staged` to its place below `target`, and says what landed beside it.
pub(super) fn apply(
    manifest: &Manifest,
    staged: Dir,
    target: Dir,
    name: &str,
    policy: Policy<'_>,
) -> Result<Beside, FileError> {
    let mut apply = Apply {
        manifest,
        staged: Cursor::new(staged),
        target: Cursor::new(target),
        name,
        moved: BTreeSet::new(),
        modes: Vec::new(),
        beside: Beside::default(),
    };
    match policy {
        Policy::Replace => {
            apply.check()?;
            apply.each(|apply, entry| apply.replace(entry))?;
        }
        Policy::Careful(shipped) => apply.each(|apply, entry| apply.merge(entry, shipped))?,
    }
    // At last, so that a read-only folder can be filled first.
    for (path, mode) in std::mem::take(&mut apply.modes).into_iter().rev() {
        apply.target.folder(&path).and_then(|dir| dir.set_own(mode, None)).about(|| below(name, &path))?;
    }
    Ok(apply.beside)
}

/// Sets modes and times of the folders below `path` of a staged tree, the innermost first.
pub(super) fn settle(manifest: &Manifest, staged: &mut Cursor, path: &[u8]) -> io::Result<()> {
    let mut prefix = path.to_vec();
    if !prefix.is_empty() {
        prefix.push(b'/');
    }
    let from = manifest.entries.partition_point(|entry| entry.path < prefix);
    let inside = manifest.entries[from..].iter().take_while(|entry| entry.path.starts_with(&prefix));
    let mut folders: Vec<&Entry> = inside
        .filter(|entry| matches!(entry.kind, EntryKind::Folder { .. }) && !entry.path.is_empty())
        .collect();
    folders.reverse();
    for entry in folders {
        if let EntryKind::Folder { mode, mtime } = entry.kind {
            staged.folder(&entry.path)?.set_own(mode, Some(join_time(mtime)))?;
        }
    }
    Ok(())
}

struct Apply<'a> {
    manifest: &'a Manifest,
    staged: Cursor,
    target: Cursor,
    name: &'a str,
    /// Folders that were moved with all that is in them.
    moved: BTreeSet<Vec<u8>>,
    /// Modes that folders get in the end.
    modes: Vec<(Vec<u8>, u32)>,
    /// What may not replace the user's own.
    beside: Beside,
}

impl Apply<'_> {
    fn each(&mut self, mut place: impl FnMut(&mut Self, &Entry) -> io::Result<()>) -> Result<(), FileError> {
        for entry in self.manifest.entries.iter().skip(1) {
            if self.moved.contains(split(&entry.path).0) {
                if matches!(entry.kind, EntryKind::Folder { .. }) {
                    self.moved.insert(entry.path.clone());
                }
                continue;
            }
            place(self, entry).about(|| below(self.name, &entry.path))?;
        }
        Ok(())
    }

    /// Whether a file stands where a folder should go, or the other way round.
    fn check(&mut self) -> Result<(), FileError> {
        let mut missing: BTreeSet<&[u8]> = BTreeSet::new();
        for entry in self.manifest.entries.iter().skip(1) {
            let is_folder = matches!(entry.kind, EntryKind::Folder { .. });
            if missing.contains(split(&entry.path).0) {
                if is_folder {
                    missing.insert(&entry.path);
                }
                continue;
            }
            let about = || below(self.name, &entry.path);
            let there = self.target.at(&entry.path).and_then(|(dir, leaf)| dir.find(leaf)).about(about)?;
            match there {
                None if is_folder => {
                    missing.insert(&entry.path);
                }
                None => {}
                Some(stat) if (stat.kind == Kind::Folder) == is_folder => {}
                Some(_) => return Err(FileError::new(FileErrorKind::InTheWay, about())),
            }
        }
        Ok(())
    }

    fn replace(&mut self, entry: &Entry) -> io::Result<()> {
        match entry.kind {
            EntryKind::Deleted => Ok(()),
            EntryKind::Folder { .. } if self.there(&entry.path)?.is_some() => Ok(()),
            EntryKind::Folder { .. } | EntryKind::File { .. } | EntryKind::Link { .. } => {
                let (_, leaf) = split(&entry.path);
                self.go(entry, leaf)
            }
        }
    }

    fn merge(&mut self, entry: &Entry, shipped: &SourceTree) -> io::Result<()> {
        let path = &entry.path;
        let (now, then) = (self.there(path)?, shipped.state_of(path));
        let unchanged = match (&now, then) {
            (None, None) => true,
            // A folder's times change with what is in it.
            (Some(now), Some(then)) if now.kind == Kind::Folder => then.kind == Kind::Folder,
            (Some(now), Some(then)) => now == then,
            _ => false,
        };
        let was_folder = now.is_some_and(|now| now.kind == Kind::Folder);
        match entry.kind {
            EntryKind::Deleted if was_folder && unchanged => {
                self.remove_unchanged(path, shipped)?;
                Ok(())
            }
            EntryKind::Deleted if now.is_some() && unchanged => {
                let (dir, leaf) = self.target.at(path)?;
                dir.unlink(leaf)
            }
            EntryKind::Deleted => Ok(()),
            EntryKind::Folder { mode, .. } if was_folder => {
                let before = then.map(|then| then.mode & 0o777);
                let untouched = now.is_some_and(|now| Some(now.mode & 0o777) == before);
                if untouched && before != Some(mode) {
                    self.modes.push((path.clone(), mode));
                }
                Ok(())
            }
            EntryKind::Folder { .. } | EntryKind::File { .. } | EntryKind::Link { .. } => {
                let free = match now {
                    _ if !unchanged => false,
                    // The command has put a file where a folder was; what the user has added to it stays.
                    Some(now) if now.kind == Kind::Folder => self.remove_unchanged(path, shipped)?,
                    // A folder cannot be renamed over a file.
                    Some(_) if matches!(entry.kind, EntryKind::Folder { .. }) => {
                        let (dir, leaf) = self.target.at(path)?;
                        dir.unlink(leaf)?;
                        true
                    }
                    _ => true,
                };
                if free {
                    return self.go(entry, split(path).1);
                }
                let leaf = self.beside(path)?;
                self.go(entry, &leaf)?;
                self.beside.push(|| below(self.name, path), || shown(&leaf));
                Ok(())
            }
        }
    }

    /// Moves an entry, a folder with all that is in it, to `leaf` in its folder.
    fn go(&mut self, entry: &Entry, leaf: &[u8]) -> io::Result<()> {
        let path = &entry.path;
        if let EntryKind::Folder { mode, mtime } = entry.kind {
            settle(self.manifest, &mut self.staged, path)?;
            let inner = self.staged.folder(path)?.try_clone()?;
            self.rename(path, leaf)?;
            self.moved.insert(path.clone());
            return inner.set_own(mode, Some(join_time(mtime)));
        }
        self.rename(path, leaf)
    }

    fn rename(&mut self, path: &[u8], leaf: &[u8]) -> io::Result<()> {
        let (from, name) = self.staged.at(path)?;
        let to = self.target.folder(split(path).0)?;
        from.rename(name, to, leaf)
    }

    fn there(&mut self, path: &[u8]) -> io::Result<Option<Stat>> {
        let (dir, leaf) = self.target.at(path)?;
        dir.find(leaf)
    }

    /// A free name for what may not replace the user's own.
    fn beside(&mut self, path: &[u8]) -> io::Result<Vec<u8>> {
        let (dir, leaf) = self.target.at(path)?;
        for number in 1..1000 {
            let mut name = leaf.to_vec();
            name.extend_from_slice(b".xxnet-new");
            if number > 1 {
                name.extend_from_slice(format!("-{number}").as_bytes());
            }
            if dir.find(&name)?.is_none() {
                return Ok(name);
            }
        }
        Err(io::Error::from_raw_os_error(libc::EEXIST))
    }

    /// Removes what is in a folder and as it was shipped; then the folder, if nothing is left in it.
    fn remove_unchanged(&mut self, path: &[u8], shipped: &SourceTree) -> io::Result<bool> {
        let mut folders = vec![path.to_vec()];
        let mut at = 0;
        while let Some(folder) = folders.get(at).cloned() {
            at += 1;
            let dir = self.target.folder(&folder)?;
            for name in dir.names()? {
                let inner = [folder.as_slice(), b"/", &name].concat();
                let stat = dir.stat(&name)?;
                let then = shipped.state_of(&inner);
                if stat.kind == Kind::Folder {
                    if then.is_some_and(|then| then.kind == Kind::Folder) {
                        folders.push(inner);
                    }
                } else if then == Some(&stat) {
                    dir.unlink(&name)?;
                }
            }
        }
        // Those inside stand behind those around them.
        for folder in folders.iter().rev() {
            let (dir, leaf) = self.target.at(folder)?;
            match dir.remove_dir(leaf) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOTEMPTY | libc::EEXIST)) => {}
                removed => removed?,
            }
        }
        Ok(self.there(path)?.is_none())
    }
}
