//! Removing a folder with all that is in it, whatever a command has left there.

use super::{Dir, Kind};
use std::io;

/// Removes what stands under `name`; a folder with all that is in it, also where its mode forbids that. Links are removed,
/// never followed. Nothing there is done already.
///
/// However deep the folder, one descriptor is enough: folders inside folders are first moved up.
pub(crate) fn remove_tree(parent: &Dir, name: &[u8]) -> io::Result<()> {
    match parent.find(name)? {
        None => return Ok(()),
        Some(stat) if stat.kind != Kind::Folder => return parent.unlink(name),
        Some(_) => {}
    }
    // An empty one is gone at once.
    if parent.remove_dir(name).is_ok() {
        return Ok(());
    }
    let top = open(parent, name)?;
    let mut moved = 0_u64;
    let mut folders = empty(&top, &top, &mut moved)?;
    while let Some(folder) = folders.pop() {
        let inner = open(&top, &folder)?;
        folders.extend(empty(&inner, &top, &mut moved)?);
        drop(inner);
        top.remove_dir(&folder)?;
    }
    parent.remove_dir(name)
}

/// Removes all that is in `folder` but the folders that are not empty; these now stand in `top`, under the names returned.
fn empty(folder: &Dir, top: &Dir, moved: &mut u64) -> io::Result<Vec<Vec<u8>>> {
    let (this, highest) = (folder.stat_self()?, top.stat_self()?);
    let in_top = (this.device, this.inode) == (highest.device, highest.inode);
    let mut left = Vec::new();
    for name in folder.names()? {
        match folder.unlink(&name) {
            // Folders are EISDIR on Linux, EPERM elsewhere.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EISDIR | libc::EPERM)) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            done => {
                done?;
                continue;
            }
        }
        if folder.remove_dir(&name).is_ok() {
            continue;
        }
        if in_top {
            left.push(name);
            continue;
        }
        // Moving a folder needs the right to write to it.
        folder.set_mode(&name, 0o700)?;
        let new_name = loop {
            *moved += 1;
            let new_name = format!(".xxnet-removed-{moved}").into_bytes();
            if top.find(&new_name)?.is_none() {
                break new_name;
            }
        };
        folder.rename(&name, top, &new_name)?;
        left.push(new_name);
    }
    Ok(left)
}

/// Opens a folder that is to be emptied, giving ourselves the right to.
fn open(parent: &Dir, name: &[u8]) -> io::Result<Dir> {
    // Known to be a folder and not a link; a command that could swap it now is dead.
    let opened = parent.dir(name);
    if matches!(&opened, Ok(dir) if dir.stat_self().is_ok_and(|stat| stat.mode & 0o700 == 0o700)) {
        return opened;
    }
    parent.set_mode(name, 0o700)?;
    parent.dir(name)
}

#[cfg(test)]
mod tests {
    use super::{Dir, remove_tree};
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn removes_what_is_read_only_deep_or_linked_and_leaves_what_links_point_to() {
        let base = tempfile::tempdir().expect("a temp folder");
        let kept = base.path().join("kept");
        fs::write(&kept, "kept").expect("write");
        let doomed = base.path().join("doomed");
        let mut path = doomed.clone();
        for depth in 0..400 {
            path.push(format!("d{}", depth % 10));
        }
        fs::create_dir_all(&path).expect("make folders");
        fs::create_dir_all(doomed.join("x/y")).expect("make folders");
        fs::write(doomed.join("x/y/file"), "x").expect("write");
        symlink(&kept, doomed.join("x/link")).expect("link");
        symlink(base.path(), doomed.join("up")).expect("link");
        for (path, mode) in [("x/y", 0o555), ("x", 0o500), ("", 0o555)] {
            fs::set_permissions(doomed.join(path), fs::Permissions::from_mode(mode)).expect("chmod");
        }
        let parent = Dir::at_path(base.path()).expect("open");
        remove_tree(&parent, b"doomed").expect("remove");
        assert!(!doomed.exists());
        assert_eq!(fs::read(&kept).expect("read"), b"kept");
        remove_tree(&parent, b"doomed").expect("nothing there is done already");
    }
}
