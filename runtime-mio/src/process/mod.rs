//! The process backend. (Being built: the door that the driver knocks at.)

use mio::Registry;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use xxnet_core::process::{ProcessAction, ProcessEvent};
use xxnet_core::{FolderId, Instant};

/// Runs commands through the supervisor.
#[derive(Debug)]
pub struct Processes(Infallible);

impl Processes {
    pub(crate) fn attach(&mut self, _registry: Registry) -> io::Result<()> {
        match self.0 {}
    }

    pub(crate) fn act(
        &mut self,
        _now: Instant,
        _action: ProcessAction,
        _folder_path: &dyn Fn(FolderId) -> PathBuf,
        _out: &mut VecDeque<ProcessEvent>,
    ) {
        match self.0 {}
    }

    pub(crate) fn ready(&mut self, _event: &mio::event::Event, _out: &mut VecDeque<ProcessEvent>) {
        match self.0 {}
    }

    pub(crate) fn hold_listener(&mut self, _fd: BorrowedFd<'_>) -> io::Result<()> {
        match self.0 {}
    }

    /// Whether the supervisor has ended, so that nothing can be run any more.
    pub fn supervisor_gone(&self) -> bool {
        match self.0 {}
    }
}
