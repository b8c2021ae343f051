//! `--trace FILE`: a daemon writes down what passes at its machine's doors.

use crate::cli::errors::{Failure, Outcome, plain};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use xxnet_core::{Action, Event, InstanceId, Instant, Machine};
use xxnet_runtime_mio::{Observer, clock};
use xxnet_sim::spacetime::record::{Header, Record, VERSION, What};
use xxnet_sim::spacetime::{InWords, Scribe};

/// The option of everything that can be traced.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct TraceArgs {
    /// Write down what passes, for `xxnet trace`: the last 64 to 128 MB, the older part in FILE.1
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
}

impl TraceArgs {
    /// Begins to trace, if that is wanted.
    ///
    /// # Errors
    /// The file cannot be written, or is something else than a trace.
    pub(crate) fn begin(&self, role: &str, name: &str, instance: InstanceId) -> Outcome<Option<Tracer>> {
        self.trace.as_deref().map(|path| Tracer::begin(path, role, name, instance)).transpose()
    }
}

/// Bytes of a file after which the next one begins.
const LARGEST: u64 = 64 << 20;
/// Longest wait of a record for its way to the file while the daemon is busy; when it is not, there is none.
const FLUSH: Duration = Duration::from_secs(1);

/// Writes a trace. Whatever goes wrong with the file ends the trace and nothing else.
pub(crate) struct Tracer {
    scribe: Scribe,
    header: Header,
    path: PathBuf,
    /// None once it could not be written.
    file: Option<BufWriter<File>>,
    written: u64,
    largest: u64,
    /// Whether it can begin anew; a pipe or a device cannot.
    regular: bool,
    flushed: Instant,
    /// Lends its memory.
    scratch: Vec<What>,
}

impl Tracer {
    fn begin(path: &Path, role: &str, name: &str, instance: InstanceId) -> Outcome<Self> {
        let regular = path.metadata().map_or(true, |found| found.is_file());
        for old in [path.to_path_buf(), older(path)] {
            if regular && !is_trace_or_nothing(&old) {
                return Err(Failure::new(format!(
                    "{} is there and is no trace; name another file with --trace FILE",
                    old.display()
                )));
            }
        }
        let mut tracer = Self {
            scribe: Scribe::new(),
            header: Header {
                version: VERSION,
                node: name.to_owned(),
                role: role.to_owned(),
                instance: instance.to_string(),
                clock: boot(),
                ..Header::default()
            },
            path: path.to_path_buf(),
            file: None,
            written: 0,
            largest: LARGEST,
            regular,
            flushed: clock::now(),
            scratch: Vec::new(),
        };
        tracer.open().and_then(|()| tracer.flush(clock::now())).map_err(|error| {
            Failure::new(format!("cannot write the trace {}: {}", path.display(), plain(&error)))
        })?;
        Ok(tracer)
    }

    fn event<C: InWords>(&mut self, now: Instant, event: &Event<C>) {
        self.tell(now, |scribe, out| scribe.event(event, out));
        if now.since(self.flushed) >= FLUSH {
            let flushed = self.flush(now);
            self.check(flushed);
        }
    }

    fn action<N: InWords>(&mut self, now: Instant, action: &Action<N>) {
        self.tell(now, |scribe, out| scribe.action(action, out));
    }

    fn tell(&mut self, now: Instant, tell: impl FnOnce(&mut Scribe, &mut Vec<What>)) {
        if self.file.is_none() {
            return;
        }
        let mut told = std::mem::take(&mut self.scratch);
        tell(&mut self.scribe, &mut told);
        let mut written = Ok(());
        for what in told.drain(..) {
            written = written.and_then(|()| self.record(now, what));
        }
        self.scratch = told;
        if written.is_ok() && self.regular && self.written >= self.largest {
            written = self.begin_anew(now);
        }
        self.check(written);
    }

    fn record(&mut self, now: Instant, what: What) -> io::Result<()> {
        self.line(&Record { t: now.as_micros(), n: 0, what })
    }

    fn line(&mut self, line: &impl serde::Serialize) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.written += text.len() as u64;
        file.write_all(&text)
    }

    /// A new file; the one before is kept beside it.
    fn open(&mut self) -> io::Result<()> {
        if self.regular && self.path.metadata().is_ok_and(|found| found.len() > 0) {
            std::fs::rename(&self.path, older(&self.path))?;
        }
        // Command lines and messages are nobody else's business.
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(self.regular)
            .mode(0o600)
            .open(&self.path)?;
        self.file = Some(BufWriter::with_capacity(64 << 10, file));
        self.written = 0;
        self.header.at = clock::now().as_micros();
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        self.header.wall = wall.and_then(|wall| u64::try_from(wall.as_micros()).ok());
        let header = self.header.clone();
        self.line(&header)
    }

    fn begin_anew(&mut self, now: Instant) -> io::Result<()> {
        self.flush(now)?;
        self.open()?;
        let known = self.scribe.known();
        known.into_iter().try_for_each(|what| self.record(now, what))
    }

    fn flush(&mut self, now: Instant) -> io::Result<()> {
        self.flushed = now;
        self.file.as_mut().map_or(Ok(()), BufWriter::flush)
    }

    /// A full disk ends the trace, never the daemon.
    fn check(&mut self, result: io::Result<()>) {
        let Err(error) = result else { return };
        if let Some(file) = self.file.take() {
            // What is left in its buffer could not be written either.
            drop(file.into_parts());
        }
        tracing::warn!(
            event = "trace-ended",
            file = %self.path.display(),
            "the trace cannot be written any more ({}); everything else goes on",
            plain(&error)
        );
    }
}

impl<M: Machine<Command: InWords, Notice: InWords>> Observer<M> for Tracer {
    fn event(&mut self, now: Instant, _: &M, event: &Event<M::Command>) {
        self.event(now, event);
    }

    fn action(&mut self, now: Instant, action: &Action<M::Notice>) {
        self.action(now, action);
    }

    /// Nothing waits for its way to the file while nothing happens: whoever is killed then has written all.
    fn idle(&mut self) {
        let flushed = self.flush(clock::now());
        self.check(flushed);
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let flushed = self.flush(clock::now());
        self.check(flushed);
    }
}

/// Where the older part goes.
pub(super) fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

fn is_trace_or_nothing(path: &Path) -> bool {
    const BEGINS: &[u8] = br#"{"xxnet-trace""#;
    let mut first = Vec::new();
    match File::open(path) {
        // What cannot be read is told when it cannot be written.
        Err(_) => true,
        Ok(file) => file
            .take(BEGINS.len() as u64)
            .read_to_end(&mut first)
            .is_ok_and(|_| first.is_empty() || first == BEGINS),
    }
}

/// Names the clock that all processes of this host share until its next boot.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| format!("boot {}", id.trim()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use xxnet_core::LinkId;
    use xxnet_core::net::{NetAction, NetEvent};
    use xxnet_sim::spacetime::read;

    const ME: InstanceId = InstanceId([7; 16]);

    fn begin(path: &Path) -> Outcome<Tracer> {
        Tracer::begin(path, "executor", "me", ME)
    }

    fn at(port: u16) -> xxnet_core::net::Endpoint {
        SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    fn link(number: u64) -> Event<()> {
        Event::Net(NetEvent::Dialed { link: LinkId(number), peer: at(1), local: at(2) })
    }

    fn close(number: u64) -> Action<()> {
        Action::Net(NetAction::Close { link: LinkId(number) })
    }

    fn parts(path: &Path) -> Vec<read::Part> {
        read::File::read(&std::fs::read(path).unwrap()).unwrap().parts
    }

    #[test]
    fn what_is_no_trace_is_left_alone() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("notes.txt");
        std::fs::write(&path, "dear diary").unwrap();
        assert!(begin(&path).err().unwrap().text.contains("is no trace"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "dear diary");
        let missing = place.path().join("no/such/folder");
        assert!(begin(&missing).err().unwrap().text.contains("no such file"));
    }

    #[test]
    fn the_trace_before_stays_beside_the_new_one() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("t.jsonl");
        begin(&path).unwrap().event(Instant::from_micros(1), &link(1));
        drop(begin(&path).unwrap());
        assert_eq!((parts(&path)[0].records.len(), parts(&older(&path))[0].records.len()), (0, 1));
    }

    #[test]
    fn a_full_file_is_followed_by_one_that_tells_the_open_links_again() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("t.jsonl");
        let mut tracer = begin(&path).unwrap();
        tracer.largest = 10_000;
        tracer.event(Instant::from_micros(1), &link(1));
        for number in 0..1_000 {
            tracer.action(Instant::from_micros(2 + number), &close(100 + number));
        }
        drop(tracer);
        let files = [&path, &older(&path)].map(|path| std::fs::metadata(path).unwrap().len());
        assert!(files.iter().all(|size| *size < 11_000), "{files:?}");
        let part = &parts(&path)[0];
        assert!(
            matches!(&part.records[0].1, What::Known { link: 1, dialled: true, .. }),
            "{:?}",
            part.records[0]
        );
        assert_eq!(part.header.instance, ME.to_string());
    }

    #[test]
    fn a_full_disk_ends_the_trace_alone() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return;
        }
        assert!(begin(full).is_err(), "it is told at the start");
        // Later it is not: the file goes away under a trace that is under way.
        let place = tempfile::tempdir().unwrap();
        let mut tracer = begin(&place.path().join("t")).unwrap();
        tracer.file = Some(BufWriter::new(OpenOptions::new().write(true).open(full).unwrap()));
        tracer.event(Instant::from_micros(1), &link(1));
        tracer.flushed = Instant::ZERO;
        tracer.event(clock::now(), &Event::<()>::Tick);
        assert!(tracer.file.is_none());
        tracer.event(Instant::from_micros(3), &link(2));
    }
}
