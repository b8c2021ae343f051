//! Attempts' folders in the work directory.

use crate::alarm::lock;
use crate::fs::{Dir, Stat, path_of, remove_tree};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use xxnet_core::FolderId;

/// The state of what arrived in a folder, by path.
pub(super) type Baseline = BTreeMap<Vec<u8>, Stat>;

/// All attempts' folders.
#[derive(Debug)]
pub(super) struct Folders {
    work_dir: Option<PathBuf>,
    kept: Option<PathBuf>,
    known: Mutex<HashMap<FolderId, Folder>>,
    /// Folders, by device and inode, where leftovers of others were looked for.
    swept: Mutex<BTreeSet<(u64, u64)>>,
}

/// Folders that are remembered as swept; one that is forgotten is merely swept again.
const SWEPT: usize = 1024;

#[derive(Debug)]
struct Folder {
    name: Vec<u8>,
    baseline: Arc<Baseline>,
}

impl Folders {
    pub(super) fn new(work_dir: Option<PathBuf>, kept: Option<PathBuf>) -> Self {
        Self { work_dir, kept, known: Mutex::default(), swept: Mutex::default() }
    }

    /// Where blocks are kept that may be of use to others, if anywhere.
    pub(super) fn kept(&self) -> Option<&Path> {
        self.kept.as_deref()
    }

    /// The folder that holds all attempts' folders.
    pub(super) fn base(&self) -> io::Result<Dir> {
        let missing = || io::Error::from_raw_os_error(libc::ENOENT);
        Dir::at_path(self.work_dir.as_deref().ok_or_else(missing)?)
    }

    /// Makes an attempt's folder.
    pub(super) fn make(&self, id: FolderId) -> io::Result<()> {
        let base = self.base()?;
        // Two publishers' short names can be the same, one time in four billion.
        for number in 0..100 {
            let mut name = name_of(id);
            if number > 0 {
                name.extend_from_slice(format!("-{number}").as_bytes());
            }
            match base.make_dir(&name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => {
                    made?;
                    lock(&self.known).insert(id, Folder { name, baseline: Arc::default() });
                    return Ok(());
                }
            }
        }
        Err(io::Error::from_raw_os_error(libc::EEXIST))
    }

    /// Removes an attempt's folder with all that is in it.
    pub(super) fn remove(&self, id: FolderId) -> io::Result<()> {
        let Some(name) = lock(&self.known).get(&id).map(|folder| folder.name.clone()) else { return Ok(()) };
        remove_tree(&self.base()?, &name)?;
        lock(&self.known).remove(&id);
        Ok(())
    }

    /// Opens an attempt's folder.
    pub(super) fn open(&self, id: FolderId) -> io::Result<Dir> {
        let missing = || io::Error::from_raw_os_error(libc::ENOENT);
        let name = lock(&self.known).get(&id).map(|folder| folder.name.clone()).ok_or_else(missing)?;
        self.base()?.dir(&name)
    }

    /// Where an attempt's folder is.
    pub(super) fn path(&self, id: FolderId) -> PathBuf {
        let name = lock(&self.known).get(&id).map_or_else(|| name_of(id), |folder| folder.name.clone());
        let base = self.work_dir.clone().unwrap_or_default();
        base.join(path_of(&name))
    }

    /// What arrived in an attempt's folder.
    pub(super) fn baseline(&self, id: FolderId) -> Arc<Baseline> {
        lock(&self.known).get(&id).map(|folder| Arc::clone(&folder.baseline)).unwrap_or_default()
    }

    /// Does something in a folder the first time that it is met.
    pub(super) fn once_in(&self, folder: &Dir, work: impl FnOnce(&Dir)) {
        let Ok(stat) = folder.stat_self() else { return };
        let mut swept = lock(&self.swept);
        if swept.len() >= SWEPT {
            swept.clear();
        }
        if swept.insert((stat.device, stat.inode)) {
            drop(swept);
            work(folder);
        }
    }

    /// More has arrived.
    pub(super) fn arrived(&self, id: FolderId, states: Baseline) {
        if let Some(folder) = lock(&self.known).get_mut(&id) {
            Arc::make_mut(&mut folder.baseline).extend(states);
        }
    }
}

fn name_of(id: FolderId) -> Vec<u8> {
    format!("{}-{}", id.task, id.attempt.0).into_bytes()
}
