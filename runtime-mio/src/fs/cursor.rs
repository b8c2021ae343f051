//! Many entries below one folder, looked up one after the other.

use super::Dir;
use std::io;

/// Keeps the folders on the way to the last entry open, so that entries in the order of their paths cost one look-up
/// each. Never follows a link on the way.
#[derive(Debug)]
pub(crate) struct Cursor {
    root: Dir,
    way: Vec<(Vec<u8>, Dir)>,
}

impl Cursor {
    pub(crate) fn new(root: Dir) -> Self {
        Self { root, way: Vec::new() }
    }

    /// The folder that holds `path`, and the last component: what stands there is looked up in it. `path` is not empty.
    pub(crate) fn at<'p>(&mut self, path: &'p [u8]) -> io::Result<(&Dir, &'p [u8])> {
        let (folder, name) = split(path);
        Ok((self.folder(folder)?, name))
    }

    /// The folder that stands at `path`; the root for an empty one.
    pub(crate) fn folder(&mut self, path: &[u8]) -> io::Result<&Dir> {
        let wanted = || path.split(|byte| *byte == b'/').filter(|part| !part.is_empty());
        let shared = self.way.iter().zip(wanted()).take_while(|((name, _), part)| name == part).count();
        self.way.truncate(shared);
        for part in wanted().skip(shared) {
            let next = self.last().dir(part)?;
            self.way.push((part.to_vec(), next));
        }
        Ok(self.last())
    }

    /// As [`folder`](Self::folder), making those that are not there. Says which were made.
    pub(crate) fn make_folder(&mut self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let mut made = Vec::new();
        let mut end = 0;
        for part in path.split(|byte| *byte == b'/') {
            let start = end;
            end += part.len();
            let parent = self.folder(&path[..start])?;
            match parent.make_dir(part) {
                Ok(()) => made.push(path[..end].to_vec()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            end += 1;
        }
        self.folder(path)?;
        Ok(made)
    }

    fn last(&self) -> &Dir {
        self.way.last().map_or(&self.root, |(_, dir)| dir)
    }
}

/// A path's folder and its last component.
pub(crate) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}
