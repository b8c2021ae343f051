//! The system's errors as the machines' words, about a name.

use std::io;
use xxnet_core::disk::{FileError, FileErrorKind};
use xxnet_core::manifest::{Manifest, ManifestError, NameError};

/// The word for an error.
pub(super) fn kind_of(error: &io::Error) -> FileErrorKind {
    let Some(number) = error.raw_os_error() else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => FileErrorKind::Changed,
            io::ErrorKind::WriteZero | io::ErrorKind::StorageFull => FileErrorKind::NoSpace,
            _ => FileErrorKind::System(libc::EIO),
        };
    };
    match number {
        libc::ENOENT => FileErrorKind::NotFound,
        libc::EACCES | libc::EPERM | libc::EROFS => FileErrorKind::PermissionDenied,
        libc::ENOSPC | libc::EDQUOT | libc::EFBIG => FileErrorKind::NoSpace,
        libc::ELOOP | libc::EXDEV => FileErrorKind::Escapes,
        libc::EEXIST | libc::ENOTEMPTY | libc::EISDIR | libc::ENOTDIR => FileErrorKind::InTheWay,
        other => FileErrorKind::System(other),
    }
}

/// Bytes of a name, for people.
pub(super) fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Says what a system error is about.
pub(super) trait About<T> {
    /// Names the file or folder.
    fn about(self, name: impl FnOnce() -> String) -> Result<T, FileError>;
}

impl<T> About<T> for io::Result<T> {
    fn about(self, name: impl FnOnce() -> String) -> Result<T, FileError> {
        self.map_err(|error| FileError::new(kind_of(&error), name()))
    }
}

/// Why a source cannot travel: names the entry at fault below `root`. `paths` gives an entry's path by its number.
pub(super) fn scan_error<'a>(
    error: ManifestError,
    root: &str,
    path: impl FnOnce(usize) -> Option<&'a [u8]>,
) -> FileError {
    let kind = match error {
        ManifestError::Target { error: NameError::Escapes | NameError::Absolute, .. } => {
            FileErrorKind::Escapes
        }
        ManifestError::Path { error: NameError::TooLong, .. } => FileErrorKind::System(libc::ENAMETOOLONG),
        ManifestError::TooLong | ManifestError::ContentTooLong => FileErrorKind::System(libc::EFBIG),
        _ => FileErrorKind::BadManifest,
    };
    let name = error.entry().and_then(path).map_or_else(|| root.to_owned(), |path| below(root, path));
    FileError::new(kind, name)
}

/// Why what a peer sent is no manifest.
pub(super) fn arrival_error(error: ManifestError, root: &str) -> FileError {
    let kind = match error {
        ManifestError::Path {
            error: NameError::Escapes | NameError::Absolute | NameError::Device, ..
        }
        | ManifestError::Target {
            error: NameError::Escapes | NameError::Absolute | NameError::Device, ..
        } => FileErrorKind::Escapes,
        _ => FileErrorKind::BadManifest,
    };
    FileError::new(kind, format!("{root}: {error}"))
}

/// The path of an entry for people, given its tree's name.
pub(super) fn below(root: &str, path: &[u8]) -> String {
    match (root, path) {
        (root, []) => root.to_owned(),
        ("." | "", path) => shown(path),
        (root, path) => format!("{}/{}", root.trim_end_matches('/'), shown(path)),
    }
}

/// The path of a manifest's entry, for people.
pub(super) fn entry_name(root: &str, manifest: &Manifest, entry: usize) -> String {
    below(root, manifest.entries.get(entry).map_or(&[], |entry| &entry.path))
}
