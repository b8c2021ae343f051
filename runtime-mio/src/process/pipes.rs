//! The two kinds of pipe that a run has: what the command writes, what it reads.

use crate::supervisor::sys;
use bytes::{Buf as _, Bytes};
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

/// Buffer of a read, at most. No pipe holds more, unless it was told to.
const LARGEST_READ: usize = 256 << 10;

/// Registers a pipe once, at the first time that it has nothing; the poll tells at once if it has something by then.
/// False if the poll can take no more.
fn register(
    pipe: &OwnedFd,
    registered: &mut bool,
    registry: Option<&Registry>,
    token: Token,
    interest: Interest,
) -> bool {
    if !*registered {
        let fd = pipe.as_raw_fd();
        *registered =
            registry.is_some_and(|registry| registry.register(&mut SourceFd(&fd), token, interest).is_ok());
    }
    *registered
}

/// Where reads go to, reused until somebody keeps the bytes.
#[derive(Debug, Default)]
pub(super) struct Scratch(Vec<u8>);

impl Scratch {
    /// What was read: copied if it is little, handed over if it fills its buffer by half or more.
    fn take(&mut self) -> Bytes {
        if self.0.len() * 2 < self.0.capacity() {
            let data = Bytes::copy_from_slice(&self.0);
            self.0.clear();
            data
        } else {
            Bytes::from(std::mem::take(&mut self.0))
        }
    }
}

/// An output stream of a command.
#[derive(Debug)]
pub(super) struct Output {
    source: Source,
    /// The most that the armed read takes.
    armed: Option<usize>,
}

#[derive(Debug)]
enum Source {
    /// Somebody may write to it.
    Pipe { pipe: OwnedFd, registered: bool },
    /// All that is left of it: nobody can write any more.
    Rest(Bytes),
    /// Its end was told.
    Over,
}

impl Output {
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self { source: Source::Pipe { pipe, registered: false }, armed: None }
    }

    /// One read is wanted.
    pub(super) fn arm(&mut self, max: usize) {
        self.armed = Some(max.clamp(1, LARGEST_READ));
    }

    /// Whether its end was told.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.source, Source::Over)
    }

    /// Completes the armed read if something is there. The end is not told here: see [`Self::take_end`].
    pub(super) fn read(
        &mut self,
        token: Token,
        registry: Option<&Registry>,
        scratch: &mut Scratch,
    ) -> Option<Bytes> {
        let max = self.armed?;
        let data = match &mut self.source {
            Source::Over => None,
            Source::Rest(rest) => (!rest.is_empty()).then(|| rest.split_to(max.min(rest.len()))),
            Source::Pipe { pipe, registered } => {
                match sys::read(pipe.as_fd(), &mut scratch.0, max) {
                    Ok(count) if count > 0 => Some(scratch.take()),
                    Err(error)
                        if error.kind() == io::ErrorKind::WouldBlock
                            && register(pipe, registered, registry, token, Interest::READABLE) =>
                    {
                        None
                    }
                    // Its end, or nobody could tell when it goes on.
                    Ok(_) | Err(_) => {
                        self.source = Source::Rest(Bytes::new());
                        None
                    }
                }
            }
        };
        if data.is_some() {
            self.armed = None;
        }
        data
    }

    /// True once: nothing is left and nothing can come.
    pub(super) fn take_end(&mut self) -> bool {
        let end = matches!(&self.source, Source::Rest(rest) if rest.is_empty());
        if end {
            self.source = Source::Over;
            self.armed = None;
        }
        end
    }

    /// Nobody can write any more: takes out what is left, at most what a pipe holds, and closes the pipe.
    pub(super) fn drain(&mut self) {
        if let Source::Pipe { pipe, .. } = &self.source {
            let mut rest = Vec::new();
            // An end, an error, or (if the command gave its end of the pipe to a stranger) nothing more for now.
            while sys::read(pipe.as_fd(), &mut rest, 64 << 10).is_ok_and(|count| count > 0) {}
            self.source = Source::Rest(Bytes::from(rest));
        }
    }
}

/// The standard input of a command.
#[derive(Debug)]
pub(super) enum Input {
    /// The command may read.
    Pipe {
        /// Our end.
        pipe: OwnedFd,
        /// Whether the poll knows it.
        registered: bool,
        /// What the write under way has left.
        rest: Bytes,
    },
    /// Closed by either side, or never there; with a write to be answered.
    Refusing,
    /// The same, with nothing to answer.
    Closed,
}

/// What came of a try to write.
pub(super) enum Written {
    /// Nothing is under way, or the pipe is full.
    Waits,
    /// All of it was taken.
    All,
    /// The command does not read any more.
    Closed,
}

impl Input {
    pub(super) fn new(pipe: OwnedFd) -> Self {
        Self::Pipe { pipe, registered: false, rest: Bytes::new() }
    }

    /// One write is wanted.
    pub(super) fn give(&mut self, data: Bytes) {
        match self {
            Self::Pipe { rest, .. } => *rest = data,
            Self::Refusing | Self::Closed => *self = Self::Refusing,
        }
    }

    /// Closes it; whether a write was under way.
    pub(super) fn close(&mut self) -> bool {
        let under_way = match self {
            Self::Pipe { rest, .. } => !rest.is_empty(),
            Self::Refusing => true,
            Self::Closed => false,
        };
        *self = Self::Closed;
        under_way
    }

    /// Goes on with the write under way.
    pub(super) fn write(&mut self, token: Token, registry: Option<&Registry>) -> Written {
        let Self::Pipe { pipe, registered, rest } = self else {
            return if self.close() { Written::Closed } else { Written::Waits };
        };
        if rest.is_empty() {
            return Written::Waits;
        }
        while !rest.is_empty() {
            match sys::write(pipe.as_fd(), rest) {
                Ok(count) => rest.advance(count),
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        && register(pipe, registered, registry, token, Interest::WRITABLE) =>
                {
                    return Written::Waits;
                }
                Err(_) => {
                    *self = Self::Closed;
                    return Written::Closed;
                }
            }
        }
        Written::All
    }
}
