//! Standard input: forwarded when it is a pipe or a file, read only as far as the task has room for it.

use super::super::host::Door;
use bytes::Bytes;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use xxnet_core::TaskId;
use xxnet_core::executor::ExecutorCommand;

/// Bytes of one piece.
const PIECE: usize = 64 << 10;

/// A terminal and `/dev/null` are not forwarded: a command that waits for a terminal would wait for ever.
pub(super) fn is_forwarded() -> bool {
    let Some(kind) = standard_input().and_then(|file| file.metadata().ok()).map(|data| data.file_type())
    else {
        return false;
    };
    kind.is_file() || kind.is_fifo() || kind.is_socket()
}

fn standard_input() -> Option<File> {
    std::io::stdin().as_fd().try_clone_to_owned().ok().map(File::from)
}

/// Feeds one piece for each time that one is wanted; the reader begins with the first.
pub(super) struct Input {
    door: Door<ExecutorCommand>,
    wanted: Option<SyncSender<()>>,
}

impl Input {
    /// Reads nothing yet.
    pub(super) fn new(door: Door<ExecutorCommand>) -> Self {
        Self { door, wanted: None }
    }

    /// One more piece is wanted.
    pub(super) fn wanted(&mut self, task: TaskId) {
        let wanted = self.wanted.get_or_insert_with(|| {
            let (wanted, asked) = sync_channel(1);
            let door = self.door.clone();
            // It ends with standard input or with the process.
            std::thread::spawn(move || feed(task, &door, &asked));
            wanted
        });
        match wanted.try_send(()) {
            // Asked for already, or read to its end.
            Ok(()) | Err(TrySendError::Full(()) | TrySendError::Disconnected(())) => {}
        }
    }

    /// Nothing more is wanted.
    pub(super) fn closed(&mut self) {
        let (nobody, _) = sync_channel(1);
        self.wanted = Some(nobody);
    }
}

fn feed(task: TaskId, door: &Door<ExecutorCommand>, asked: &Receiver<()>) {
    let mut file = standard_input();
    let mut buffer = vec![0; PIECE];
    while asked.recv().is_ok() {
        // What cannot be read has ended; a shell's pipe makes no difference between the two either.
        let read = file.as_mut().map_or(0, |file| read_some(file, &mut buffer));
        let data = Bytes::copy_from_slice(buffer.get(..read).unwrap_or_default());
        door.send(ExecutorCommand::Input { task, data, last: read == 0 });
        if read == 0 {
            return;
        }
    }
}

fn read_some(file: &mut File, buffer: &mut [u8]) -> usize {
    loop {
        match file.read(buffer) {
            Ok(read) => return read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                super::output::wait_for(file, libc::POLLIN);
            }
            Err(_) => return 0,
        }
    }
}
