//! The trace of a whole simulated run: every process's records, the faults, the failure.

use super::merge::{Story, Wanted};
use super::page::page;
use super::read::File;
use super::record::{Header, Record, Said, VERSION, WORLD, What};
use super::scribe::Scribe;
use super::words::clip;
use crate::failure::Failure;
use core::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Records that are kept; of more, the newest.
const MOST: usize = 400_000;

/// What a run's page is made of. It changes nothing of the run: no decision is drawn and nothing is mixed into its hash.
#[derive(Clone, Debug)]
pub struct Chronicle(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    headers: Vec<Header>,
    /// Which header is whose, and who reads along there.
    nodes: BTreeMap<u64, (u32, Scribe)>,
    records: VecDeque<Record>,
    left_out: u64,
    /// Lends its memory.
    scratch: Vec<What>,
}

thread_local! {
    /// What the next world of this thread writes into.
    static NEXT: RefCell<Option<Chronicle>> = const { RefCell::new(None) };
}

impl Chronicle {
    /// Runs something that makes a world (the first one counts), and what happened in it.
    pub fn of<T>(body: impl FnOnce() -> T) -> (T, Self) {
        struct Forget;
        impl Drop for Forget {
            fn drop(&mut self) {
                NEXT.take();
            }
        }
        let chronicle = Self(Arc::default());
        NEXT.set(Some(chronicle.clone()));
        let _forget = Forget;
        (body(), chronicle)
    }

    /// For a world that begins: whether, and where, its story is written down.
    pub(crate) fn next() -> Option<Self> {
        NEXT.take()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        // A machine that panics in a run is the very thing that is to be shown.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A process begins.
    pub(crate) fn started(&self, now: u64, who: u64, name: &str) {
        let mut book = self.book();
        let header = Header {
            version: VERSION,
            node: name.to_owned(),
            role: name.rsplit_once('-').map_or(name, |(role, _)| role).to_owned(),
            clock: "simulated".to_owned(),
            at: now,
            ..Header::default()
        };
        let index = book.headers.len() as u32;
        book.headers.push(header);
        book.nodes.insert(who, (index, Scribe::new()));
    }

    /// Something enters or leaves a process's machine.
    pub(crate) fn hears(&self, now: u64, who: u64, tell: impl FnOnce(&mut Scribe, &mut Vec<What>)) {
        let book = &mut *self.book();
        let Some((index, scribe)) = book.nodes.get_mut(&who) else { return };
        let index = *index;
        let mut scratch = core::mem::take(&mut book.scratch);
        tell(scribe, &mut scratch);
        scratch.drain(..).for_each(|what| book.push(now, index, what));
        book.scratch = scratch;
    }

    /// Something happens to a process.
    pub(crate) fn happens(&self, now: u64, who: u64, what: What) {
        let mut book = self.book();
        let index = book.nodes.get(&who).map_or(WORLD, |(index, _)| *index);
        book.push(now, index, what);
    }

    /// Something happens to the world.
    pub(crate) fn world(&self, now: u64, what: What) {
        self.book().push(now, WORLD, what);
    }

    /// How the run ended.
    fn failure(&self, failure: &Failure) {
        let mut book = self.book();
        let of_node = book.headers.iter().rposition(|header| header.node == failure.node);
        let index = of_node.map_or(WORLD, |index| index as u32);
        let said = Said {
            name: format!("{:?} ({})", failure.kind, failure.oracle),
            say: clip(&failure.what, 2_000),
            weight: 2,
        };
        book.push(failure.at, index, What::Failure(said));
    }

    /// As a page: what run it was, and what it failed with, if it did.
    pub fn page(&self, what: &str, failure: Option<&Failure>) -> String {
        let title = match failure {
            None => format!("xxnet simulation, {what}: all well"),
            Some(failure) => {
                self.failure(failure);
                format!("xxnet simulation, {what}: {:?} failure ({})", failure.kind, failure.oracle)
            }
        };
        page(&self.story(title))
    }

    /// As a story.
    pub fn story(&self, title: impl Into<String>) -> Story {
        // What was just written can be read.
        let file = File::read(self.lines().as_bytes()).unwrap_or_default();
        Story::new(vec![("the run".to_owned(), file)], &Wanted::all(title))
    }

    /// As a trace file.
    pub fn lines(&self) -> String {
        let book = self.book();
        let mut text = String::new();
        let mut line = |value: serde_json::Result<String>| {
            // Strings and numbers alone: nothing of it can fail.
            text.push_str(&value.unwrap_or_default());
            text.push('\n');
        };
        book.headers.iter().for_each(|header| line(serde_json::to_string(header)));
        if book.left_out > 0 {
            let t = book.records.front().map_or(0, |record| record.t);
            let what = What::LeftOut { count: book.left_out };
            line(serde_json::to_string(&Record { t, n: WORLD, what }));
        }
        book.records.iter().for_each(|record| line(serde_json::to_string(record)));
        text
    }
}

impl Book {
    fn push(&mut self, t: u64, n: u32, what: What) {
        if self.records.len() >= MOST {
            self.records.pop_front();
            self.left_out += 1;
        }
        self.records.push_back(Record { t, n, what });
    }
}
