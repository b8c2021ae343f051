//! A recording's two parts as files, as logs rotate: `FILE` is the newest, `FILE.before` what was before it.
//!
//! A new part is written to `FILE.new` up to its first event and then renamed, so whenever the daemon is killed there is a whole
//! `FILE`, or, between two renames, a `FILE.before` in which everything is. `FILE.before` goes before `FILE.new` is begun: the
//! two parts never have more than the limit.
//!
//! The recording of a run before this one stays whole, as `FILE.old` and `FILE.old.before`: it may be the one of the crash that
//! somebody wants to see.

use super::frame::MAGIC;
use super::recorder::Shelf;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where the part before the one in this file is kept.
pub fn before(file: &Path) -> PathBuf {
    beside(file, ".before")
}

fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The files of a recording that is written, for their owner alone.
#[derive(Debug)]
pub struct Files {
    file: PathBuf,
}

/// Why there can be no recording.
#[derive(Debug)]
pub enum FilesError {
    /// Something else is there, which is not ours to move away.
    InTheWay(PathBuf),
    /// The system says no.
    System(PathBuf, io::Error),
}

impl Files {
    /// Makes room for a new recording: the one that is there is the old one from now on, and only an older one goes for it.
    ///
    /// # Errors
    /// [`FilesError`]; of what is no recording nothing was touched.
    pub fn new(file: PathBuf) -> Result<Self, FilesError> {
        let files = Self { file };
        let (newest, earlier, begun) = (&files.file, &before(&files.file), &files.begun());
        let old = beside(newest, ".old");
        let old_before = before(&old);
        let there = |path: &PathBuf| is_there(path);
        let (is_newest, is_earlier) = (there(newest)?, there(earlier)?);
        let (_, is_old_before) = (there(&old)?, there(&old_before)?);
        if there(begun)? {
            remove(begun)?;
        }
        if is_newest || is_earlier {
            if is_old_before {
                remove(&old_before)?;
            }
            match (is_earlier, is_newest) {
                (true, true) => {
                    rename(earlier, &old_before)?;
                    rename(newest, &old)?;
                }
                (false, _) => rename(newest, &old)?,
                // It was killed between two renames.
                (true, false) => rename(earlier, &old)?,
            }
        }
        Ok(files)
    }

    /// The part that has no event yet.
    fn begun(&self) -> PathBuf {
        beside(&self.file, ".new")
    }
}

impl Shelf for Files {
    type Part = File;

    fn begin(&mut self) -> io::Result<File> {
        match fs::remove_file(before(&self.file)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.begun())
    }

    fn turn(&mut self) -> io::Result<()> {
        match fs::rename(&self.file, before(&self.file)) {
            // The first part of all.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            renamed => renamed?,
        }
        fs::rename(self.begun(), &self.file)
    }
}

fn rename(from: &Path, to: &Path) -> Result<(), FilesError> {
    fs::rename(from, to).map_err(|error| FilesError::System(to.to_path_buf(), error))
}

fn remove(path: &Path) -> Result<(), FilesError> {
    fs::remove_file(path).map_err(|error| FilesError::System(path.to_path_buf(), error))
}

/// Whether a part of a recording is there, be it only its very beginning.
fn is_there(path: &Path) -> Result<bool, FilesError> {
    let system = |error| FilesError::System(path.to_path_buf(), error);
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        metadata => metadata.map_err(system)?,
    };
    let mut begin = Vec::new();
    if metadata.is_file() {
        let file = File::open(path).map_err(system)?;
        file.take(MAGIC.len() as u64).read_to_end(&mut begin).map_err(system)?;
        if MAGIC.starts_with(&begin) {
            return Ok(true);
        }
    }
    Err(FilesError::InTheWay(path.to_path_buf()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    /// What is in a folder, by name, without what every recording begins with.
    fn all(place: &Path) -> Vec<(String, String)> {
        let mut all: Vec<_> = fs::read_dir(place)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let text = fs::read(entry.path()).unwrap();
                let text = text.strip_prefix(MAGIC).unwrap_or(&text);
                (entry.file_name().into_string().unwrap(), String::from_utf8(text.to_vec()).unwrap())
            })
            .collect();
        all.sort();
        all
    }

    fn part(files: &mut Files, text: &str) {
        files.begin().unwrap().write_all(&[&MAGIC[..], text.as_bytes()].concat()).unwrap();
        files.turn().unwrap();
    }

    fn named<const N: usize>(all: [(&str, &str); N]) -> Vec<(String, String)> {
        all.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec()
    }

    #[test]
    fn a_recording_is_its_owners_alone_and_the_run_before_stays_whole() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("rec");
        let mut first = Files::new(path.clone()).unwrap();
        for text in ["1", "2", "3"] {
            part(&mut first, text);
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(all(place.path()), named([("rec", "3"), ("rec.before", "2")]));
        let mut second = Files::new(path.clone()).unwrap();
        assert_eq!(all(place.path()), named([("rec.old", "3"), ("rec.old.before", "2")]));
        for text in ["4", "5", "6"] {
            part(&mut second, text);
        }
        let four = [("rec", "6"), ("rec.before", "5"), ("rec.old", "3"), ("rec.old.before", "2")];
        assert_eq!(all(place.path()), named(four));
        // A run of one part leaves nothing of an older one beside it.
        Files::new(path.clone()).unwrap();
        part(&mut Files::new(path.clone()).unwrap(), "7");
        Files::new(path).unwrap();
        assert_eq!(all(place.path()), named([("rec.old", "7")]));
    }

    /// Killed behind each step of a turn, what was recorded is there, and the next run keeps it.
    #[test]
    fn x4_a_turn_that_is_broken_off_loses_no_part_that_is_whole() {
        for steps in 0..4 {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("rec");
            let mut files = Files::new(path.clone()).unwrap();
            part(&mut files, "1");
            part(&mut files, "2");
            if steps > 0 {
                files.begin().unwrap();
            }
            if steps > 1 {
                fs::write(files.begun(), &MAGIC[..7]).unwrap();
            }
            if steps > 2 {
                fs::rename(&path, before(&path)).unwrap();
            }
            Files::new(path).unwrap();
            let kept = all(place.path());
            assert!(kept.contains(&("rec.old".to_owned(), "2".to_owned())), "{steps}: {kept:?}");
            assert_eq!(kept.len(), if steps == 0 { 2 } else { 1 }, "{steps}: {kept:?}");
        }
    }

    #[test]
    fn what_is_no_recording_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("rec");
        let in_the_way = |path: PathBuf| matches!(Files::new(path), Err(FilesError::InTheWay(_)));
        for end in ["", ".before", ".new", ".old", ".old.before"] {
            let other = beside(&path, end);
            fs::write(&path, MAGIC).unwrap();
            for text in ["dear", "dear reader, this is long enough"] {
                fs::write(&other, text).unwrap();
                assert!(in_the_way(path.clone()), "{end}");
                assert_eq!(fs::read_to_string(&other).unwrap(), text);
            }
            fs::remove_file(&other).unwrap();
        }
        assert!(in_the_way(place.path().to_path_buf()));
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(in_the_way(link));
        let nowhere = Files::new(place.path().join("none/rec")).unwrap().begin();
        assert_eq!(nowhere.unwrap_err().kind(), ErrorKind::NotFound);
    }
}
