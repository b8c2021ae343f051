//! An executor's work directory: its own alone, gone when it is, and swept by the next one if it was killed.

use crate::disk::kept;
use crate::fs::{Dir, path_of, random_name, remove_tree};
use std::fs::{DirBuilder, create_dir_all};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// What work directories are called, inside their base.
const PREFIX: &str = "xxnet-";

/// A work directory, locked for as long as this lives, removed when it is dropped.
#[derive(Debug)]
pub struct WorkDir {
    path: PathBuf,
    base: Dir,
    name: Vec<u8>,
    /// Holds the lock; close-on-exec, so that no command can keep it.
    _lock: Dir,
}

impl WorkDir {
    /// Makes a work directory inside `base` (which is made if it is not there), for this user alone. Whatever executors
    /// that are dead have left in `base` is removed first; those that live keep theirs.
    ///
    /// # Errors
    /// The system's, if `base` cannot be made or written to.
    pub fn open(base: &Path) -> io::Result<Self> {
        if !base.is_dir() {
            create_dir_all(base.parent().unwrap_or(base))?;
            match DirBuilder::new().mode(0o700).create(base) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => made?,
            }
        }
        let path = base.canonicalize()?;
        let base = Dir::at_path(&path)?;
        // Held while a directory is made and locked, so that nobody takes it for a dead one's in between.
        let turn = Dir::at_path(&path)?;
        turn.lock()?;
        sweep(&base, &kept::place(&path))?;
        let name = random_name(PREFIX)?;
        base.make_dir(&name)?;
        let lock = base.dir(&name)?;
        lock.try_lock()?;
        Ok(Self { path: path.join(path_of(&name)), base, name, _lock: lock })
    }

    /// Where blocks of large inputs are kept that did not come whole: beside it, for whoever comes next.
    pub fn kept(&self) -> PathBuf {
        kept::place(self.path.parent().unwrap_or(&self.path))
    }

    /// Where it is: absolute, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        // What cannot be removed now is swept at the next start.
        let _ = remove_tree(&self.base, &self.name);
    }
}

/// Removes the directories whose lock is free: their executors are dead. What they had received of large inputs is kept.
fn sweep(base: &Dir, kept: &Path) -> io::Result<()> {
    kept::tidy(kept);
    for name in base.names()? {
        if !name.starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let Ok(dir) = base.dir(&name) else { continue };
        if dir.try_lock().is_ok() {
            kept::save(&dir, kept);
            // Another user's, or one where a dying command still writes, is left for the next time.
            let _ = remove_tree(base, &name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::WorkDir;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn t7_leftovers_of_the_dead_are_swept_and_the_living_are_left_alone() {
        let base = tempfile::tempdir().expect("a temp folder");
        let base = base.path().join("made/on/the/way");
        let living = WorkDir::open(&base).expect("open");
        fs::write(living.path().join("file"), "mine").expect("write");
        let mode = fs::metadata(living.path()).expect("stat").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);

        // One that was killed: its folder is there, its lock is not.
        let dead = base.join("xxnet-dead");
        fs::create_dir_all(dead.join("deep/er")).expect("make folders");
        fs::set_permissions(dead.join("deep"), fs::Permissions::from_mode(0o500)).expect("chmod");
        fs::write(base.join("somebody-elses"), "file").expect("write");

        let second = WorkDir::open(&base).expect("open beside the first");
        assert!(!dead.exists());
        assert!(living.path().join("file").exists());
        assert!(base.join("somebody-elses").exists());
        assert_ne!(second.path(), living.path());

        let path = living.path().to_path_buf();
        drop(living);
        assert!(!path.exists());
        assert!(second.path().exists());
    }

    #[test]
    fn many_that_start_at_once_never_sweep_each_other() {
        let base = tempfile::tempdir().expect("a temp folder");
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..20 {
                        let dir = WorkDir::open(base.path()).expect("open");
                        fs::write(dir.path().join("file"), "x").expect("still there");
                    }
                });
            }
        });
        assert_eq!(fs::read_dir(base.path()).expect("read").count(), 0);
    }
}
