//! One link between two processes: a queue of whole sends each way, and how it ends.

use super::hash::fingerprint;
use std::cell::Cell;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::rc::Rc;
use xxnet_core::LinkId;

/// The end of the stream, in an inbox.
pub(super) const END: u32 = u32::MAX;
/// The link is broken, as this end is about to notice.
pub(super) const BROKEN: u32 = u32::MAX - 1;

/// One end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct End {
    pub(super) node: u8,
    pub(super) link: LinkId,
    /// Whether its process has it still.
    pub(super) open: bool,
    /// A dead process's supervisor has it, until the last command is reaped.
    pub(super) kept: bool,
    /// What is sent to it is lost, and nobody is told.
    pub(super) deaf: bool,
    /// What is on its way to it.
    pub(super) inbox: Vec<u32>,
}

/// Both ends: the dialler's first.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) ends: [End; 2],
    /// Its fingerprint, once somebody has asked for it: most steps change one wire at the most, and all are hashed.
    print: Cell<Option<u64>>,
}

/// A copy is made to be changed.
impl Clone for Wire {
    fn clone(&self) -> Self {
        Self::new(self.ends.clone())
    }
}

impl PartialEq for Wire {
    fn eq(&self, other: &Self) -> bool {
        self.ends == other.ends
    }
}

impl Eq for Wire {}

impl PartialOrd for Wire {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Wire {
    fn cmp(&self, other: &Self) -> Ordering {
        self.ends.cmp(&other.ends)
    }
}

impl Hash for Wire {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let print = self.print.get().unwrap_or_else(|| fingerprint(&self.ends));
        self.print.set(Some(print));
        hasher.write_u64(print);
    }
}

/// Which end notices a break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    Both,
    One(usize),
}

impl End {
    pub(super) fn new(node: u8, link: LinkId) -> Self {
        Self { node, link, open: true, kept: false, deaf: false, inbox: Vec::new() }
    }
}

impl Wire {
    pub(super) fn new(ends: [End; 2]) -> Self {
        Self { ends, print: Cell::new(None) }
    }

    /// The wire to be changed: it alone, if others have it too.
    pub(super) fn change(shared: &mut Rc<Self>) -> &mut Self {
        let own = Rc::make_mut(shared);
        own.print.set(None);
        own
    }

    /// Which end this process's link is.
    pub(super) fn end_of(&self, node: u8, link: LinkId) -> Option<usize> {
        (0..2).find(|end| {
            let end = &self.ends[*end];
            end.node == node && end.link == link && end.open
        })
    }

    /// Puts something on its way to an end.
    pub(super) fn send(&mut self, to: usize, what: u32) {
        let end = &mut self.ends[to];
        let over = matches!(end.inbox.last(), Some(&END | &BROKEN));
        if end.open && !end.deaf && !over {
            end.inbox.push(what);
        }
    }

    /// This end is closed by its process, or with it: what was on its way to it is lost, and the other end reads the end.
    pub(super) fn close(&mut self, end: usize, last: u32) {
        self.ends[end].open = false;
        self.ends[end].inbox.clear();
        self.send(1 - end, last);
    }

    /// Breaks. `kept`: of each end, whether what is on its way to it comes before it notices.
    pub(super) fn cut(&mut self, kept: [bool; 2], notice: Notice) {
        for (at, end) in self.ends.iter_mut().enumerate() {
            if !kept[at] {
                end.inbox.clear();
            }
            if notice == Notice::Both || notice == Notice::One(at) {
                end.inbox.push(BROKEN);
            }
            end.deaf = true;
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.ends.iter().all(|end| !end.open && !end.kept)
    }

    /// Whether both ends have it and nothing is wrong with it.
    pub(super) fn is_whole(&self) -> bool {
        self.ends.iter().all(|end| end.open && !end.deaf && end.inbox.is_empty())
    }
}
