//! The cluster key: a file that only its owner can read, made on first use.

use super::errors::{Failure, Outcome, plain};
use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use xxnet_core::ClusterKey;

/// A key file is this long at most, line end and all; more is not read.
const LONGEST: u64 = 1024;

/// Loads the key from the file that was named, or from the user's own, which is made if it is not there.
///
/// # Errors
/// A file that is missing although it was named, that others can read, or that holds no key.
pub(crate) fn load(named: Option<&Path>) -> Outcome<ClusterKey> {
    match named {
        Some(path) => read(path)?.ok_or_else(|| {
            Failure::new(format!(
                "there is no key file {}; copy it from the machine that runs the registry (there it is \
                 ~/.config/xxnet/key) and chmod 600 it",
                path.display()
            ))
        }),
        None => load_or_make(&default_path()?),
    }
}

/// As [`load`], but never makes one: for what needs a key that was used before.
///
/// # Errors
/// As those of [`load`], and there is no key.
pub(crate) fn find(named: Option<&Path>) -> Outcome<ClusterKey> {
    if named.is_some() {
        return load(named);
    }
    let path = default_path()?;
    read(&path)?.ok_or_else(|| {
        Failure::new(format!("there is no cluster key {}; name one with --key-file FILE", path.display()))
    })
}

/// `$XDG_CONFIG_HOME/xxnet/key`, else `~/.config/xxnet/key`.
fn default_path() -> Outcome<PathBuf> {
    let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    config.map(|config| config.join("xxnet/key")).ok_or_else(|| {
        Failure::new(
            "HOME is not set, so there is no place for the cluster key; name one with --key-file FILE",
        )
    })
}

/// Reads the key at `path`; several processes that find none at once all end with the same new one.
fn load_or_make(path: &Path) -> Outcome<ClusterKey> {
    if let Some(key) = read(path)? {
        return Ok(key);
    }
    make(path).map_err(|error| {
        Failure::new(format!(
            "cannot make the cluster key {}: {}; name another place with --key-file FILE",
            path.display(),
            plain(&error)
        ))
    })?;
    read(path)?
        .ok_or_else(|| Failure::new(format!("the cluster key {} vanished as it was made", path.display())))
}

/// Makes a new key at `path`, for a cluster of its own.
pub(crate) fn create(path: &Path) -> Outcome {
    make(path)
        .map_err(|error| Failure::new(format!("cannot make the key {}: {}", path.display(), plain(&error))))
}

/// Writes a new key beside `path` and links it there unless another process was first: a link never replaces, and what
/// it makes visible is whole.
fn make(path: &Path) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if let Some(above) = folder.parent() {
        fs::create_dir_all(above)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let mut secret = [0; 32];
    let mut suffix = [0; 8];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    getrandom::fill(&mut suffix).map_err(io::Error::other)?;
    let name = path.file_name().unwrap_or(OsStr::new("key"));
    let draft = folder.join(format!(".{}.{}", name.to_string_lossy(), hex(&suffix)));
    let written = write_new(&draft, &format!("{}\n", hex(&secret)));
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    });
    let removed = fs::remove_file(&draft);
    linked.and(removed)
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// `None` if there is no such file.
fn read(path: &Path) -> Outcome<Option<ClusterKey>> {
    let cannot = |error: io::Error| {
        Failure::new(format!("cannot read the key file {}: {}", path.display(), plain(&error)))
    };
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return Err(Failure::new(format!("the key file {} is no regular file", path.display())));
    }
    let mode = metadata.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(Failure::new(format!(
            "others can read the key file {0} (mode {1:03o}); run: chmod 600 {0}",
            path.display(),
            mode & 0o777
        )));
    }
    let mut text = String::new();
    if metadata.size() <= LONGEST {
        // What is no UTF-8 is no key either: the parse below says so.
        let _ = file.take(LONGEST).read_to_string(&mut text).or_else(|error| match error.kind() {
            ErrorKind::InvalidData => Ok(0),
            _ => Err(cannot(error)),
        })?;
    }
    parse(text.trim()).map(|key| Some(ClusterKey(key))).ok_or_else(|| {
        Failure::new(format!(
            "{} holds no cluster key (64 hex digits); copy it again from the registry's machine, or remove it to \
             have a new one made",
            path.display()
        ))
    })
}

fn parse(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    (digits.len() == 64).then_some(())?;
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok()?;
    }
    Some(key)
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn a_new_key_is_private_and_stays() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("deep/xxnet/key");
        let first = load_or_make(&path).unwrap();
        assert_ne!(first.0, [0; 32]);
        assert_eq!(load_or_make(&path).unwrap(), first);
        assert_eq!(load(Some(&path)).unwrap(), first);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "drafts are left behind: {left:?}");
    }

    #[test]
    fn n12_many_that_start_at_once_get_one_key() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("xxnet/key");
        let barrier = Barrier::new(16);
        let keys: Vec<ClusterKey> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        load_or_make(&path).unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
        assert_eq!(fs::read_dir(place.path().join("xxnet")).unwrap().count(), 1);
    }

    #[test]
    fn n12_a_key_that_others_can_read_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        load_or_make(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = load(Some(&path)).unwrap_err();
            assert!(error.text.contains("chmod 600"), "{}", error.text);
        }
    }

    #[test]
    fn n12_what_is_no_key_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("key");
        let long = "a".repeat(2000);
        let wide = "é".repeat(32);
        for text in ["", "abc", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &long, &wide] {
            let _ = fs::remove_file(&path);
            write_new(&path, text).unwrap();
            assert!(load(Some(&path)).unwrap_err().text.contains("no cluster key"), "{text:?} was taken");
        }
        fs::write(&path, [0xff; 64]).unwrap();
        assert!(load(Some(&path)).unwrap_err().text.contains("no cluster key"));
        assert!(load(Some(place.path())).is_err(), "a folder was taken");
        assert!(load(Some(&place.path().join("none"))).unwrap_err().text.contains("no key file"));
    }

    #[test]
    fn a_key_may_have_capitals_and_a_line_end() {
        let text = "00FF".repeat(16);
        assert_eq!(parse(&text).map(|key| (key[0], key[1])), Some((0, 255)));
    }
}
