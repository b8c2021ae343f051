//! Where the command line meets the runtime: each machine driven until the command line says stop.

use super::errors::{Failure, Outcome};
use std::path::PathBuf;
use std::sync::Arc;
use xxnet_core::client::{ClientCommand, ClientNotice};
use xxnet_core::executor::{ExecutorCommand, ExecutorNotice};
use xxnet_core::registry::{RegistryCommand, RegistryNotice};
use xxnet_core::{Config, ExecutorConfig};

/// Whether to go on after a notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// Go on.
    Continue,
    /// Leave the loop.
    Stop,
}

/// Hands commands to a machine from any thread.
pub(crate) struct Door<C>(Arc<dyn Fn(C) + Send + Sync>);

impl<C> Clone for Door<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Door<C> {
    /// Hands one in; after the machine's end it goes nowhere.
    pub(crate) fn send(&self, command: C) {
        (self.0)(command);
    }
}

/// Asks one question.
pub(crate) fn client(config: Config, command: ClientCommand) -> Outcome<ClientNotice> {
    let _ = (config, command);
    Err(Failure::new("the runtime is not connected yet"))
}

/// Runs a registry. `begin` gets its door before the loop starts.
pub(crate) fn registry(
    config: Config,
    begin: impl FnOnce(&Door<RegistryCommand>) -> Outcome,
    on_notice: impl FnMut(RegistryNotice, &mut Vec<RegistryCommand>) -> Flow,
) -> Outcome {
    let _ = (config, begin, on_notice);
    Err(Failure::new("the runtime is not connected yet"))
}

/// Runs an executor; with a work folder it can run commands, without it only publishes.
pub(crate) fn executor(
    config: Config,
    executor: ExecutorConfig,
    work: Option<PathBuf>,
    begin: impl FnOnce(&Door<ExecutorCommand>) -> Outcome,
    on_notice: impl FnMut(ExecutorNotice, &mut Vec<ExecutorCommand>) -> Flow,
) -> Outcome {
    let _ = (config, executor, work, begin, on_notice);
    Err(Failure::new("the runtime is not connected yet"))
}

/// Calls `heard` with each signal that asks to end (SIGINT, SIGTERM, SIGHUP), and how many there were.
pub(crate) fn on_signals(heard: impl FnMut(i32, u32) + Send + 'static) -> Outcome {
    let _ = heard;
    Ok(())
}
