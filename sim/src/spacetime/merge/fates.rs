//! What became of a message that never arrived, and of a dial.

use super::Fate;
use super::links::{End, Links, passed};
use super::procs::Procs;
use crate::spacetime::record::What;

/// Behind this the traces end, and a message that has not arrived is only late, in microseconds.
const LATE: u64 = 500_000;

/// What is known of all of a story's ends.
pub(super) struct Fates<'a> {
    procs: &'a Procs,
    links: &'a Links,
    /// When the last record of each process was made.
    last: Vec<u64>,
    end_of_all: u64,
}

impl<'a> Fates<'a> {
    pub(super) fn new(procs: &'a Procs, links: &'a Links) -> Self {
        let last: Vec<u64> = (0..procs.all.len())
            .map(|at| {
                let proc = &procs.all[at];
                procs.time(at, proc.records.last().map_or(proc.header.at, |(t, _)| *t))
            })
            .collect();
        let end_of_all = last.iter().copied().max().unwrap_or(0);
        Self { procs, links, last, end_of_all }
    }

    fn time(&self, proc: usize, at: usize) -> u64 {
        self.procs.time(proc, self.procs.all[proc].records[at].0)
    }

    /// A message that was sent and not received; with the record that tells of its damage, if that is it.
    pub(super) fn of_sent(&self, end: &End, at: usize) -> (Fate, String, Option<(usize, usize)>) {
        let sent = self.time(end.proc, at);
        let Some(other) = end.other.map(|other| &self.links.ends[other]) else {
            return self.without_other(end, sent);
        };
        let name = self.procs.lane_name(other.proc);
        if let (Some((record, read)), Some(passed)) = (other.unreadable, passed(self.procs, end.proc, at)) {
            let begin = passed.end - passed.len;
            if begin == read {
                let why = format!("it arrived damaged: {name} could not read it");
                return (Fate::Damaged, why, Some((other.proc, record)));
            }
            if begin > read {
                return (Fate::Lost, format!("{name} reads nothing behind a damaged message"), None);
            }
        }
        let after = |record: Option<usize>, end: &End| {
            record.map(|at| self.time(end.proc, at)).filter(|t| *t >= sent)
        };
        if let Some(when) = after(other.broken, other) {
            return (
                Fate::Cut,
                format!("the link broke at {name} before it was read{}", later(sent, when)),
                None,
            );
        }
        if other.closed.is_some() {
            return (Fate::Cut, format!("{name} closed the link without reading it"), None);
        }
        if let Some(gone) = self.gone(other.proc) {
            return (Fate::Cut, format!("{name} was no more: {gone}"), None);
        }
        if let Some(when) = after(end.broken, end) {
            let who = self.procs.lane_name(end.proc);
            return (
                Fate::Cut,
                format!("the link broke at {who} before it arrived{}", later(sent, when)),
                None,
            );
        }
        let until = if self.procs.simulated { self.end_of_all } else { self.last[other.proc] };
        if sent + LATE > until {
            return (Fate::Open, "it was still under way when the trace ends".to_owned(), None);
        }
        (Fate::Lost, "it never arrived, and the network told nobody".to_owned(), None)
    }

    fn without_other(&self, end: &End, sent: u64) -> (Fate, String, Option<(usize, usize)>) {
        if !self.procs.simulated {
            return (Fate::Beyond, self.unseen(end, sent), None);
        }
        if sent + LATE > self.end_of_all {
            return (Fate::Open, "it was still under way when the trace ends".to_owned(), None);
        }
        (Fate::Lost, "the other end never had this connection: only this one believes in it".to_owned(), None)
    }

    /// Why nothing is known of a link's other end.
    fn unseen(&self, end: &End, when: u64) -> String {
        let Some(lane) = self.links.other_lane(self.procs, end) else {
            return format!("there is no trace of the other end, {}", end.peer_name());
        };
        let name = &self.procs.lanes[lane];
        let traced = |at: &usize| self.procs.all[*at].lane == lane && self.last[*at] >= when;
        if (0..self.last.len()).any(|at| traced(&at)) {
            format!("{name} took no such connection, as far as its trace goes")
        } else {
            format!("the trace of {name} had ended by then")
        }
    }

    /// Why a process is no more, if it is.
    fn gone(&self, proc: usize) -> Option<&'a str> {
        self.procs.all[proc].records.iter().rev().take(3).find_map(|(_, what)| match what {
            What::Gone { why } => Some(&why[..]),
            _ => None,
        })
    }

    /// A message that came from nobody who is known to have sent it.
    pub(super) fn of_got(&self, end: &End) -> (Fate, String) {
        let from = &end.peer;
        if self.procs.simulated {
            return (
                Fate::Stranger,
                format!("no node of this world is known to have sent it; it came from {from}"),
            );
        }
        if end.other.is_some() {
            return (Fate::Beyond, "the trace of its sender does not reach back so far".to_owned());
        }
        (Fate::Beyond, format!("there is no trace of the other end, {}", end.peer_name()))
    }

    /// A dial; with the record of its arrival, if there is one.
    pub(super) fn of_dial(&self, end: &End, at: usize) -> (Fate, String, Option<(usize, usize)>) {
        if let Some(failed) = end.dial_failed
            && let What::DialFailed { why, .. } = &self.procs.all[end.proc].records[failed].1
        {
            return (Fate::Failed, why.clone(), None);
        }
        if let Some(other) = end.other.map(|other| &self.links.ends[other])
            && let Some(opened) = other.opened
        {
            return (Fate::Arrived, String::new(), Some((other.proc, opened)));
        }
        if end.opened.is_some() {
            return self.without_other(end, self.time(end.proc, at));
        }
        if end.closed.is_some() {
            return (Fate::Failed, "it was given up before there was an answer".to_owned(), None);
        }
        (Fate::Open, "there is no answer yet when the trace ends".to_owned(), None)
    }
}

fn later(sent: u64, when: u64) -> String {
    match when - sent {
        0..1_000 => String::new(),
        span => format!(", {} after it was sent", crate::spacetime::words::span(span)),
    }
}
