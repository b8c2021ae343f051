//! Standard output and error: written as they come, by a thread of their own, so that a slow reader never holds up the
//! loop. What waits here is bounded by the credit that only written bytes give back.

use super::super::host::Door;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use xxnet_core::executor::ExecutorCommand;
use xxnet_core::process::Stream;
use xxnet_core::{AttemptNumber, TaskId};

/// One piece of output.
pub(super) struct Piece {
    pub(super) task: TaskId,
    pub(super) attempt: AttemptNumber,
    pub(super) stream: Stream,
    pub(super) offset: u64,
    pub(super) data: Bytes,
}

/// Why output can no longer be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Its reader has gone.
    BrokenPipe,
    /// Anything else, for people.
    Other(String),
}

/// Hands pieces to the writing thread, which begins with the first.
pub(super) struct Output {
    door: Door<ExecutorCommand>,
    trouble: Arc<OnceLock<Trouble>>,
    writer: Option<(Sender<Piece>, JoinHandle<()>)>,
}

impl Output {
    /// Nothing is written yet.
    pub(super) fn new(door: Door<ExecutorCommand>) -> Self {
        Self { door, trouble: Arc::default(), writer: None }
    }

    /// Takes one piece.
    pub(super) fn write(&mut self, piece: Piece) {
        let (pieces, _) = self.writer.get_or_insert_with(|| {
            let (pieces, queue) = channel();
            let (door, trouble) = (self.door.clone(), Arc::clone(&self.trouble));
            (pieces, std::thread::spawn(move || write_all(&door, &trouble, &queue)))
        });
        // The writer ends early only in trouble, and then the task is cancelled.
        let _ = pieces.send(piece);
    }

    /// Whether it is still all right.
    pub(super) fn trouble(&self) -> Option<&Trouble> {
        self.trouble.get()
    }

    /// Returns when all is written, or cannot be.
    pub(super) fn finish(&mut self) {
        if let Some((pieces, writer)) = self.writer.take() {
            drop(pieces);
            let _ = writer.join();
        }
    }
}

fn write_all(door: &Door<ExecutorCommand>, trouble: &OnceLock<Trouble>, queue: &Receiver<Piece>) {
    let mut files = [None, None];
    while let Ok(piece) = queue.recv() {
        let Piece { task, attempt, stream, offset, data } = piece;
        if let Err(error) = write_piece(&mut files[stream.index()], stream, &data) {
            let _ = trouble.set(match error.kind() {
                ErrorKind::BrokenPipe => Trouble::BrokenPipe,
                _ => Trouble::Other(super::super::errors::plain(&error)),
            });
            door.send(ExecutorCommand::Cancel(task));
            return;
        }
        let upto = offset + data.len() as u64;
        door.send(ExecutorCommand::OutputTaken { task, attempt, stream, upto });
    }
}

/// Past the buffers of `std::io`: a line is seen when it is written, not when the next one is.
fn write_piece(file: &mut Option<File>, stream: Stream, mut data: &[u8]) -> io::Result<()> {
    let file = match file {
        Some(file) => file,
        None => file.insert(File::from(match stream {
            Stream::Stdout => io::stdout().as_fd().try_clone_to_owned()?,
            Stream::Stderr => io::stderr().as_fd().try_clone_to_owned()?,
        })),
    };
    while !data.is_empty() {
        match file.write(data) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => data = data.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Somebody who shares the terminal has made it non-blocking.
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait_for(file, libc::POLLOUT),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until a descriptor that somebody else made non-blocking can be used.
pub(super) fn wait_for(file: &File, events: libc::c_short) {
    let mut poll = libc::pollfd { fd: file.as_raw_fd(), events, revents: 0 };
    // SAFETY: one valid structure, and its number is one.
    unsafe { libc::poll(&raw mut poll, 1, -1) };
}
