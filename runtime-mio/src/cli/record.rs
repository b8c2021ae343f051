//! `--record FILE`: what a daemon was given is kept, for `xxnet replay`.

use super::args::size;
use super::errors::{Failure, Outcome, plain};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use xxnet_core::Config;
use xxnet_runtime_mio::clock;
use xxnet_runtime_mio::recording::{Files, FilesError, Header, LEAST, Recorder, Subject, Told};

/// Whether and where to record.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RecordArgs {
    /// Keep the newest of all that it is given in this file and FILE.before, for `xxnet replay`: inputs, output and environment of
    /// tasks too
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Bytes of both together: 64K at the least
    #[arg(long, value_name = "SIZE", default_value = "256M", requires = "record", value_parser = limit)]
    record_size: u64,
}

pub(crate) fn limit(text: &str) -> Result<u64, String> {
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
    pub(crate) fn recorder(&self, config: &Config, subject: Subject) -> Outcome<Option<Recorder<Files>>> {
        let Some(path) = &self.record else { return Ok(None) };
        let files = Files::new(path.clone()).map_err(|error| match error {
            FilesError::InTheWay(path) => Failure::new(format!(
                "{} is there and is no recording; choose another file for --record",
                path.display()
            )),
            FilesError::System(path, error) => cannot(&path, &error),
        })?;
        let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let began = u64::try_from(began.as_micros()).unwrap_or(u64::MAX);
        let header = Header::new(config, subject, began, clock::now());
        let shown = path.display().to_string();
        let recorder = Recorder::new(files, &header, self.record_size, {
            let shown = shown.clone();
            move |what| tell(&shown, &what)
        });
        let recorder = recorder.map_err(|error| cannot(path, &error))?;
        tracing::info!(event = "recording", file = shown, limit = self.record_size);
        Ok(Some(recorder))
    }
}

/// The daemon goes on, whatever it is.
fn tell(file: &str, what: &Told) {
    let pause = |what, bytes| {
        let advice = "nothing is recorded until it fits; a larger --record-size has room for it";
        tracing::warn!(event = "recording-paused", file, what, bytes, "{advice}");
    };
    match what {
        Told::EventTooLarge(bytes) => pause("one event", *bytes),
        Told::StateTooLarge(bytes) => pause("its state", *bytes),
        Told::GoesOn => tracing::info!(event = "recording-goes-on", file),
        Told::Failed(error) => {
            tracing::warn!(event = "recording-stopped", file, why = plain(error), "nothing more is recorded");
        }
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot record to {}: {}", path.display(), plain(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_least() {
        assert_eq!(limit("64K"), Ok(65536));
        assert!(limit("63K").is_err() && limit("x").is_err());
    }
}
