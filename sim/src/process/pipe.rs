//! The pipes of a command.

use bytes::{Bytes, BytesMut};
use xxnet_core::RunId;
use xxnet_core::process::{ProcessEvent, Stream};

/// What a pipe holds.
const ROOM: usize = 64 << 10;

/// Standard output or error: the command fills it, an armed read empties it.
#[derive(Debug, Default)]
pub(super) struct OutputPipe {
    held: BytesMut,
    armed: Option<usize>,
    closed: bool,
    end_told: bool,
}

impl OutputPipe {
    pub(super) fn arm(&mut self, run: RunId, max: usize) {
        assert!(self.armed.is_none(), "{run}: a second read of one stream is armed");
        assert!(max > 0, "{run}: a read of nothing");
        self.armed = Some(max);
    }

    /// Takes what there is room for.
    pub(super) fn fill(&mut self, data: &mut Bytes) {
        let taken = data.split_to(data.len().min(ROOM - self.held.len()));
        self.held.extend_from_slice(&taken);
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_drained(&self) -> bool {
        self.end_told
    }

    pub(super) fn complete(&mut self, run: RunId, stream: Stream) -> Option<ProcessEvent> {
        let max = self.armed?;
        if !self.held.is_empty() {
            self.armed = None;
            let data = self.held.split_to(self.held.len().min(max)).freeze();
            return Some(ProcessEvent::Output { run, stream, data });
        }
        if !self.closed || self.end_told {
            return None;
        }
        self.armed = None;
        self.end_told = true;
        Some(ProcessEvent::OutputEnded { run, stream })
    }
}

/// Standard input: a write fills it, the command empties it.
#[derive(Debug)]
pub(super) struct InputPipe {
    held: BytesMut,
    /// The rest of the write under way.
    rest: Option<Bytes>,
    /// The writer has closed it, or there never was one.
    ended: bool,
    /// The command has closed it.
    closed: bool,
}

impl InputPipe {
    pub(super) fn new(fed: bool) -> Self {
        Self { held: BytesMut::new(), rest: None, ended: !fed, closed: false }
    }

    pub(super) fn write(&mut self, run: RunId, data: Bytes) {
        assert!(self.rest.is_none(), "{run}: a second write to standard input is under way");
        assert!(!self.ended, "{run}: a write to standard input behind its end");
        assert!(!data.is_empty(), "{run}: an empty write to standard input");
        self.rest = Some(data);
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
        self.held.clear();
    }

    /// Whether the command will read nothing more.
    pub(super) fn is_over(&self) -> bool {
        self.closed || (self.ended && self.held.is_empty() && self.rest.is_none())
    }

    /// Everything that is there.
    pub(super) fn take(&mut self) -> Bytes {
        self.held.split().freeze()
    }

    pub(super) fn complete(&mut self, run: RunId) -> Option<ProcessEvent> {
        let rest = self.rest.as_mut()?;
        if self.closed {
            self.rest = None;
            return Some(ProcessEvent::InputClosed { run });
        }
        let taken = rest.split_to(rest.len().min(ROOM - self.held.len()));
        self.held.extend_from_slice(&taken);
        if !rest.is_empty() {
            return None;
        }
        self.rest = None;
        Some(ProcessEvent::InputTaken { run })
    }
}
