//! The disk, off the loop. (Being built.)

use crate::alarm::Outbox;
use std::path::PathBuf;
use xxnet_core::FolderId;
use xxnet_core::disk::{DiskAction, DiskEvent, FileError, FileErrorKind};

/// What a disk needs to know.
#[derive(Clone, Debug, Default)]
pub struct DiskOptions {
    /// Where attempts get their folders; without it there are none.
    pub work_dir: Option<PathBuf>,
}

/// The disk.
#[derive(Debug)]
pub(crate) struct Disk {
    options: DiskOptions,
    outbox: Outbox,
}

impl Disk {
    pub(crate) fn new(options: DiskOptions, outbox: Outbox) -> Self {
        Self { options, outbox }
    }

    pub(crate) fn act(&self, action: DiskAction) {
        let result = Err(FileError::new(FileErrorKind::System(libc::ENOSYS), ""));
        self.outbox.put(crate::alarm::Completion::Disk(DiskEvent { op: action.op, result }));
    }

    pub(crate) fn folder_path(&self, folder: FolderId) -> PathBuf {
        let base = self.options.work_dir.clone().unwrap_or_default();
        base.join(format!("{}-{}", folder.task, folder.attempt.0))
    }
}
