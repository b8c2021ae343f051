//! The process backend of systems that cannot run commands yet: without a supervisor there is none.

use crate::supervisor::Supervisor;
use mio::Registry;
use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use xxnet_core::process::{ProcessAction, ProcessEvent};
use xxnet_core::{FolderId, Instant};

/// The processes of one executor; cannot exist here.
#[derive(Debug)]
pub struct Processes(Supervisor);

impl Processes {
    /// Commands that `supervisor` starts.
    pub fn new(supervisor: Supervisor) -> Self {
        Self(supervisor)
    }

    /// Names the poll that wakes the driver. Before anything else.
    ///
    /// # Errors
    /// None.
    pub fn attach(&mut self, _registry: Registry) -> io::Result<()> {
        match self.0.never {}
    }

    /// Whether the supervisor has ended.
    pub fn supervisor_gone(&self) -> bool {
        match self.0.never {}
    }

    /// Has the supervisor keep a listening socket open.
    ///
    /// # Errors
    /// None.
    pub fn hold_listener(&mut self, _fd: BorrowedFd<'_>) -> io::Result<()> {
        match self.0.never {}
    }

    /// Has the supervisor let go of a listening socket.
    pub fn release_listener(&mut self, _fd: BorrowedFd<'_>) {
        match self.0.never {}
    }

    /// Does what a machine asks.
    pub fn act(
        &mut self,
        _now: Instant,
        _action: ProcessAction,
        _folder_path: &dyn Fn(FolderId) -> PathBuf,
        _out: &mut VecDeque<ProcessEvent>,
    ) {
        match self.0.never {}
    }

    /// Takes an event of the poll.
    pub fn ready(&mut self, _event: &mio::event::Event, _out: &mut VecDeque<ProcessEvent>) {
        match self.0.never {}
    }
}
