//! Tables whose keys are counted up from 1: a look into a list each.

use super::{Stream, StreamId};
use crate::context::ProcId;
use xxnet_core::LinkId;

/// The streams that exist.
#[derive(Debug, Default)]
pub(super) struct Streams(Vec<Option<Box<Stream>>>);

impl Streams {
    pub(super) fn get(&self, id: StreamId) -> Option<&Stream> {
        self.0.get(id.0 as usize)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.0.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// A new one, under the next number.
    pub(super) fn add(&mut self, stream: Stream) -> StreamId {
        if self.0.is_empty() {
            // Number 0 is nobody's.
            self.0.push(None);
        }
        self.0.push(Some(Box::new(stream)));
        StreamId(self.0.len() as u64 - 1)
    }

    pub(super) fn remove(&mut self, id: StreamId) {
        if let Some(slot) = self.0.get_mut(id.0 as usize) {
            *slot = None;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, &Stream)> {
        let numbered = self.0.iter().enumerate();
        numbered.filter_map(|(at, slot)| Some((StreamId(at as u64), slot.as_deref()?)))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.0.iter_mut().filter_map(Option::as_deref_mut)
    }
}

/// Which stream and end of it a machine's link is.
#[derive(Debug, Default)]
pub(super) struct Links(Vec<Vec<Option<(StreamId, usize)>>>);

impl Links {
    pub(super) fn get(&self, proc: ProcId, link: LinkId) -> Option<(StreamId, usize)> {
        *self.0.get(proc.0 as usize)?.get(usize::try_from(link.0).ok()?)?
    }

    /// Answers what the link was before.
    pub(super) fn insert(
        &mut self,
        proc: ProcId,
        link: LinkId,
        end: (StreamId, usize),
    ) -> Option<(StreamId, usize)> {
        let (proc, link) = (proc.0 as usize, link.0 as usize);
        if self.0.len() <= proc {
            self.0.resize_with(proc + 1, Vec::new);
        }
        let own = &mut self.0[proc];
        // Machines count their links up from 1.
        assert!(link < own.len() + (1 << 20), "link {link} is far from all others");
        if own.len() <= link {
            own.resize(link + 1, None);
        }
        own[link].replace(end)
    }

    pub(super) fn remove(&mut self, proc: ProcId, link: LinkId) -> Option<(StreamId, usize)> {
        self.0.get_mut(proc.0 as usize)?.get_mut(usize::try_from(link.0).ok()?)?.take()
    }

    /// All links of a process, which has none then.
    pub(super) fn take(&mut self, proc: ProcId) -> impl Iterator<Item = (StreamId, usize)> + use<> {
        let own = self.0.get_mut(proc.0 as usize).map(core::mem::take).unwrap_or_default();
        own.into_iter().flatten()
    }

    /// How many a process has.
    pub(super) fn count(&self, proc: ProcId) -> usize {
        self.0.get(proc.0 as usize).map_or(0, |own| own.iter().flatten().count())
    }
}
