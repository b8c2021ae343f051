//! Where the command line meets the runtime: each machine driven until the command line says stop.

use super::errors::{Failure, Outcome, plain};
use super::record::RecordArgs;
use super::trace::Tracer;
use std::io::ErrorKind;
use std::path::Path;
use xxnet_core::client::{Client, ClientCommand, ClientNotice};
use xxnet_core::connection::{ConnectionCommand, ConnectionNotice, Connections};
use xxnet_core::executor::{Executor, ExecutorCommand, ExecutorNotice};
use xxnet_core::registry::{Registry, RegistryCommand, RegistryNotice};
use xxnet_core::{Config, ExecutorConfig, Machine};
use xxnet_runtime_mio::recording::Subject;
use xxnet_runtime_mio::supervisor::{self, Supervisor};
use xxnet_runtime_mio::{DiskOptions, Driver, Handle, Observer, Options, Processes, WorkDir, signals};
use xxnet_sim::spacetime::InWords;

pub(crate) use xxnet_runtime_mio::Flow;

/// Hands commands to a machine from any thread; after the machine's end they go nowhere.
pub(crate) struct Door<C>(Handle<C>);

impl<C> Clone for Door<C> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<C> Door<C> {
    /// Hands one in.
    pub(crate) fn send(&self, command: C) {
        let _ = self.0.send(command);
    }
}

/// Asks one question.
pub(crate) fn client(config: Config, command: ClientCommand) -> Outcome<ClientNotice> {
    let mut answer = None;
    drive(
        Client::new(config),
        Options::default(),
        Vec::new(),
        |door| {
            door.send(command);
            Ok(())
        },
        |notice, _| {
            answer = Some(notice);
            Flow::Stop
        },
    )?;
    answer.ok_or_else(|| Failure::new("the question was broken off"))
}

/// Drives connections by id. `begin` gets their door before the loop starts.
pub(crate) fn connections(
    config: &Config,
    begin: impl FnOnce(&Door<ConnectionCommand>) -> Outcome,
    on_notice: impl FnMut(ConnectionNotice, &mut Vec<ConnectionCommand>) -> Flow,
) -> Outcome {
    drive(Connections::new(config), Options::default(), Vec::new(), begin, on_notice)
}

/// Runs a registry, recorded if so asked. `begin` gets its door before the loop starts.
pub(crate) fn registry(
    config: Config,
    (tracer, record): (Option<Tracer>, &RecordArgs),
    begin: impl FnOnce(&Door<RegistryCommand>) -> Outcome,
    on_notice: impl FnMut(RegistryNotice, &mut Vec<RegistryCommand>) -> Flow,
) -> Outcome {
    let recorder = record.recorder(&config, Subject::Registry)?;
    drive(Registry::new(config), Options::default(), watchers(tracer, recorder), begin, on_notice)
}

/// What an executor needs that runs commands.
pub(crate) struct Workshop {
    supervisor: Supervisor,
}

impl Workshop {
    /// Puts the supervisor above this process. Before any thread exists: it forks, and what returns from here is the child.
    pub(crate) fn open() -> Outcome<Self> {
        let supervisor = supervisor::start().map_err(|error| {
            Failure::new(format!("cannot start the supervisor of commands: {}", plain(&error)))
        })?;
        Ok(Self { supervisor })
    }
}

/// Runs an executor, recorded if so asked; with a workshop and a folder for it, it can run commands, without it only publishes.
pub(crate) fn executor(
    config: Config,
    settings: ExecutorConfig,
    workshop: Option<(Workshop, &Path)>,
    (tracer, record): (Option<Tracer>, Option<&RecordArgs>),
    begin: impl FnOnce(&Door<ExecutorCommand>) -> Outcome,
    on_notice: impl FnMut(ExecutorNotice, &mut Vec<ExecutorCommand>) -> Flow,
) -> Outcome {
    let (processes, work) = match workshop {
        None => (None, None),
        Some((workshop, base)) => {
            let work = WorkDir::open(base).map_err(|error| {
                Failure::new(format!(
                    "cannot use the work folder {}: {}; name another with --work-dir DIR",
                    base.display(),
                    plain(&error)
                ))
            })?;
            (Some(Processes::new(workshop.supervisor)), Some(work))
        }
    };
    let subject = Subject::from(&settings);
    let recorder = record.map(|record| record.recorder(&config, subject)).transpose()?.flatten();
    let work_dir = work.as_ref().map(|work| work.path().to_path_buf());
    let disk = DiskOptions { work_dir, kept: work.as_ref().map(WorkDir::kept) };
    let options = Options { disk: Some(disk), processes, ..Options::default() };
    // The work folder goes after everything that writes there.
    let watchers = watchers(tracer, recorder);
    let ended = drive(Executor::new(config, settings), options, watchers, begin, on_notice);
    drop(work);
    ended
}

type Watchers<M> = Vec<Box<dyn Observer<M> + Send>>;

fn watchers<M, R>(tracer: Option<Tracer>, recorder: Option<R>) -> Watchers<M>
where
    M: Machine<Command: InWords, Notice: InWords>,
    R: Observer<M> + Send + 'static,
{
    let tracer = tracer.map(|tracer| Box::new(tracer) as Box<dyn Observer<M> + Send>);
    let recorder = recorder.map(|recorder| Box::new(recorder) as Box<dyn Observer<M> + Send>);
    tracer.into_iter().chain(recorder).collect()
}

fn drive<M: Machine>(
    machine: M,
    options: Options,
    watchers: Watchers<M>,
    begin: impl FnOnce(&Door<M::Command>) -> Outcome,
    on_notice: impl FnMut(M::Notice, &mut Vec<M::Command>) -> Flow,
) -> Outcome {
    let mut driver = Driver::new(machine, options)
        .map_err(|error| Failure::new(format!("cannot start the network loop: {}", plain(&error))))?;
    for watcher in watchers {
        driver.observe(watcher);
    }
    begin(&Door(driver.handle()))?;
    driver.run(on_notice).map_err(|error| {
        Failure::new(match error.kind() {
            ErrorKind::BrokenPipe => {
                "its supervisor was killed, so every command here has been ended".to_owned()
            }
            _ => format!("the network loop failed: {}", plain(&error)),
        })
    })
}

/// Calls `heard` with each signal that asks to end (SIGINT, SIGTERM, SIGHUP), and how many there were. Once a process.
pub(crate) fn on_signals(mut heard: impl FnMut(i32, u32) + Send + 'static) -> Outcome {
    signals::watch(move |signal, count| heard(signal.number(), count))
        .map_err(|error| Failure::new(format!("cannot watch for signals: {}", plain(&error))))
}
