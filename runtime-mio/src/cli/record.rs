//! `--record FILE`: what a daemon was given is kept, for `xxnet replay`.

use super::args::size;
use super::errors::{Failure, Outcome, plain};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use xxnet_core::Config;
use xxnet_runtime_mio::recording::{Header, LEAST, MAGIC, Recorder, Stopped, Subject};

/// Whether and where to record.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// Keep all that it is given in this file, for `xxnet replay`: inputs, output and environment of tasks too
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Stop recording at this size: 64K at the least
    #[arg(long, value_name = "SIZE", default_value = "256M", requires = "record", value_parser = limit)]
    record_size: u64,
}

fn limit(text: &str) -> Result<u64, String> {
    match size(text)? {
        bytes if bytes < LEAST => Err(format!("a recording needs {}K at the least", LEAST >> 10)),
        bytes => Ok(bytes),
    }
}

impl RecordArgs {
    /// Begins the recording of a machine that is built from this, if one is wanted.
    ///
    /// # Errors
    /// The file cannot be made, or is there and is no recording.
    pub(crate) fn recorder(&self, config: &Config, subject: Subject) -> Outcome<Option<Recorder<File>>> {
        let Some(path) = &self.record else { return Ok(None) };
        let file = create(path)?;
        let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let began = u64::try_from(began.as_micros()).unwrap_or(u64::MAX);
        let header = Header::new(config, subject, began);
        let shown = path.display().to_string();
        let recorder = Recorder::new(file, &header, self.record_size, {
            let shown = shown.clone();
            move |why| tell(&shown, &why)
        });
        let recorder = recorder.map_err(|error| cannot(path, &error))?;
        tracing::info!(event = "recording", file = shown, limit = self.record_size);
        Ok(Some(recorder))
    }
}

/// Said once; the daemon goes on.
fn tell(file: &str, why: &Stopped) {
    let why = match why {
        Stopped::Full => {
            tracing::warn!(
                event = "recording-full",
                file,
                "the recording has reached its limit; what it has can be replayed, nothing more is recorded"
            );
            return;
        }
        Stopped::TooLarge => "one event is larger than a recording can hold".to_owned(),
        Stopped::Failed(error) => plain(error),
    };
    tracing::warn!(event = "recording-stopped", file, why, "nothing more is recorded");
}

/// A new file for its owner alone. A recording that is there already may be the one of the crash that somebody wants to see: it
/// stays, as `FILE.old`, and only an older recording goes for it.
fn create(path: &Path) -> Outcome<File> {
    if is_there(path)? {
        let mut old = path.as_os_str().to_owned();
        old.push(".old");
        let old = PathBuf::from(old);
        is_there(&old)?;
        fs::rename(path, &old).map_err(|error| cannot(&old, &error))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|error| cannot(path, &error))
}

/// Whether a recording is there.
///
/// # Errors
/// Something else is there, which is not ours to move away.
fn is_there(path: &Path) -> Outcome<bool> {
    let metadata = match path.symlink_metadata() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        metadata => metadata.map_err(|error| cannot(path, &error))?,
    };
    let mut begin = [0; MAGIC.len()];
    let ours = metadata.is_file()
        && match File::open(path).and_then(|mut file| file.read_exact(&mut begin)) {
            Ok(()) => begin == *MAGIC,
            // Too short for anything.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => metadata.len() == 0,
            Err(error) => return Err(cannot(path, &error)),
        };
    if ours {
        return Ok(true);
    }
    Err(Failure::new(format!(
        "{} is there and is no recording; choose another file for --record",
        path.display()
    )))
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot record to {}: {}", path.display(), plain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_recording_is_its_owners_alone_and_keeps_the_one_before() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("rec");
        create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        fs::write(&path, [&MAGIC[..], b"first"].concat()).unwrap();
        for _ in 0..2 {
            create(&path).unwrap();
            fs::write(&path, [&MAGIC[..], b"later"].concat()).unwrap();
        }
        assert!(fs::read(place.path().join("rec.old")).unwrap().ends_with(b"later"));
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_no_recording_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("letter");
        for text in ["dear", "dear reader, this is long enough"] {
            fs::write(&path, text).unwrap();
            assert!(create(&path).unwrap_err().text.contains("no recording"));
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert!(create(place.path()).unwrap_err().text.contains("no recording"));
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(create(&link).unwrap_err().text.contains("no recording"));
        // What stands where the one before would go is safe, too.
        let rec = place.path().join("rec");
        fs::write(&rec, MAGIC).unwrap();
        fs::write(place.path().join("rec.old"), "mine").unwrap();
        assert!(create(&rec).unwrap_err().text.contains("rec.old"));
        assert!(create(&place.path().join("none/rec")).unwrap_err().text.contains("cannot record"));
    }

    #[test]
    fn sizes_have_a_least() {
        assert_eq!(limit("64K"), Ok(65536));
        assert!(limit("63K").is_err() && limit("x").is_err());
    }
}
