//! The bytes of a manifest; [`Manifest::decode`] states the layout.

use super::{Entry, EntryKind, MODE_MASK, Manifest, ManifestError, Mtime};
use alloc::vec::Vec;

const VERSION: u8 = 1;
const FILE: u8 = 0;
const FOLDER: u8 = 1;
const LINK: u8 = 2;
const DELETED: u8 = 3;

/// The shortest entry: a kind and an empty path.
const LEAST_ENTRY: usize = 3;
/// Entries that get room before they were read.
const AHEAD: usize = 1024;

pub(super) fn encode(manifest: &Manifest) -> Result<Vec<u8>, ManifestError> {
    // Also bounds every path and target, so their lengths fit into 16 bits.
    manifest.validate()?;
    let count = u32::try_from(manifest.entries.len()).map_err(|_| ManifestError::TooLong)?;
    let mut out = Vec::new();
    out.push(VERSION);
    out.extend_from_slice(&count.to_le_bytes());
    for entry in &manifest.entries {
        put_entry(&mut out, entry)?;
        if out.len() as u64 > Manifest::MAX_LEN {
            return Err(ManifestError::TooLong);
        }
    }
    Ok(out)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
    if bytes.len() as u64 > Manifest::MAX_LEN {
        return Err(ManifestError::TooLong);
    }
    let mut reader = Reader { rest: bytes };
    let [version] = reader.array()?;
    if version != VERSION {
        return Err(ManifestError::Version(version));
    }
    let count = usize::try_from(u32::from_le_bytes(reader.array()?)).unwrap_or(usize::MAX);
    if count > reader.rest.len() / LEAST_ENTRY {
        return Err(ManifestError::Truncated);
    }
    let mut entries = Vec::with_capacity(count.min(AHEAD));
    for _ in 0..count {
        entries.push(reader.entry()?);
    }
    if !reader.rest.is_empty() {
        return Err(ManifestError::Trailing);
    }
    let manifest = Manifest { entries };
    manifest.validate()?;
    Ok(manifest)
}

fn put_entry(out: &mut Vec<u8>, entry: &Entry) -> Result<(), ManifestError> {
    out.push(match entry.kind {
        EntryKind::File { .. } => FILE,
        EntryKind::Folder { .. } => FOLDER,
        EntryKind::Link { .. } => LINK,
        EntryKind::Deleted => DELETED,
    });
    put_bytes(out, &entry.path)?;
    match &entry.kind {
        EntryKind::File { size, mode, mtime } => {
            out.extend_from_slice(&size.to_le_bytes());
            put_attributes(out, *mode, *mtime);
        }
        EntryKind::Folder { mode, mtime } => put_attributes(out, *mode, *mtime),
        EntryKind::Link { target } => put_bytes(out, target)?,
        EntryKind::Deleted => {}
    }
    Ok(())
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) -> Result<(), ManifestError> {
    let len = u16::try_from(bytes.len()).map_err(|_| ManifestError::TooLong)?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
    Ok(())
}

fn put_attributes(out: &mut Vec<u8>, mode: u32, mtime: Mtime) {
    // Nine bits always fit.
    let mode = u16::try_from(mode & MODE_MASK).unwrap_or_default();
    out.extend_from_slice(&mode.to_le_bytes());
    out.extend_from_slice(&mtime.0.to_le_bytes());
    out.extend_from_slice(&mtime.1.to_le_bytes());
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl Reader<'_> {
    fn entry(&mut self) -> Result<Entry, ManifestError> {
        let [kind] = self.array()?;
        let path = self.bytes()?;
        let kind = match kind {
            FILE => {
                let size = u64::from_le_bytes(self.array()?);
                let (mode, mtime) = self.attributes()?;
                EntryKind::File { size, mode, mtime }
            }
            FOLDER => {
                let (mode, mtime) = self.attributes()?;
                EntryKind::Folder { mode, mtime }
            }
            LINK => EntryKind::Link { target: self.bytes()? },
            DELETED => EntryKind::Deleted,
            other => return Err(ManifestError::UnknownKind(other)),
        };
        Ok(Entry { path, kind })
    }

    fn attributes(&mut self) -> Result<(u32, Mtime), ManifestError> {
        let mode = u32::from(u16::from_le_bytes(self.array()?)) & MODE_MASK;
        let seconds = i64::from_le_bytes(self.array()?);
        Ok((mode, (seconds, u32::from_le_bytes(self.array()?))))
    }

    fn bytes(&mut self) -> Result<Vec<u8>, ManifestError> {
        let len = usize::from(u16::from_le_bytes(self.array()?));
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(ManifestError::Truncated)?;
        self.rest = rest;
        Ok(bytes.to_vec())
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ManifestError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(ManifestError::Truncated)?;
        self.rest = rest;
        Ok(*array)
    }
}
