//! The links of the traces: which end belongs to which, and which message that came is the one that was sent.

use super::procs::Procs;
use crate::spacetime::record::{Passed, What};
use crate::spacetime::words::LISTENS_AT;
use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A record, by its process and its place there.
pub(super) type At = (usize, usize);

/// One end of a link.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Its place among all.
    at: usize,
    pub(super) proc: usize,
    pub(super) dialled: bool,
    /// Where it was dialled to.
    pub(super) to: String,
    pub(super) local: String,
    pub(super) peer: String,
    pub(super) kind: String,
    pub(super) dial: Option<usize>,
    /// The record with which it was there.
    pub(super) opened: Option<usize>,
    pub(super) dial_failed: Option<usize>,
    pub(super) broken: Option<usize>,
    pub(super) closed: Option<usize>,
    /// The instance at its other end and its name, as that says.
    pub(super) met: String,
    pub(super) met_name: String,
    hello: Option<u32>,
    pub(super) sent: Vec<usize>,
    pub(super) got: Vec<usize>,
    /// What came could be read up to here.
    pub(super) unreadable: Option<(usize, u64)>,
    /// The other end, among all.
    pub(super) other: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Links {
    pub(super) ends: Vec<End>,
    pub(super) by_link: BTreeMap<(usize, u64), usize>,
    /// Which message was received where, by its sending; and back.
    pub(super) arrival: BTreeMap<At, At>,
    pub(super) departure: BTreeMap<At, At>,
    addresses: BTreeMap<String, usize>,
}

impl Links {
    pub(super) fn new(procs: &Procs) -> Self {
        let mut links = Self {
            ends: Vec::new(),
            by_link: BTreeMap::new(),
            arrival: BTreeMap::new(),
            departure: BTreeMap::new(),
            addresses: BTreeMap::new(),
        };
        for (proc, entry) in procs.all.iter().enumerate() {
            for (at, (_, what)) in entry.records.iter().enumerate() {
                links.record(proc, at, what);
            }
        }
        links.pair(procs.simulated);
        links.find_addresses(procs);
        links.hear_addresses(procs);
        links.match_messages(procs);
        links
    }

    fn end(&mut self, proc: usize, link: u64) -> &mut End {
        let at = *self.by_link.entry((proc, link)).or_insert_with(|| {
            let at = self.ends.len();
            self.ends.push(End { at, proc, ..End::default() });
            at
        });
        &mut self.ends[at]
    }

    fn record(&mut self, proc: usize, at: usize, what: &What) {
        match what {
            What::Dial { link, to } => {
                let end = self.end(proc, *link);
                (end.dialled, end.dial, end.to) = (true, Some(at), canonical(to));
            }
            What::Dialed { link, local, peer } => {
                let end = self.end(proc, *link);
                (end.dialled, end.opened) = (true, Some(at));
                (end.local, end.peer) = (canonical(local), canonical(peer));
            }
            What::Accepted { link, local, peer } => {
                let end = self.end(proc, *link);
                end.opened = Some(at);
                (end.local, end.peer) = (canonical(local), canonical(peer));
            }
            What::Known { link, local, peer, dialled, kind } => {
                let end = self.end(proc, *link);
                if end.peer.is_empty() {
                    (end.local, end.peer, end.dialled) = (canonical(local), canonical(peer), *dialled);
                    end.kind.clone_from(kind);
                }
            }
            What::DialFailed { link, .. } => self.end(proc, *link).dial_failed = Some(at),
            What::Broken { link, .. } => self.end(proc, *link).broken = Some(at),
            What::Close { link } => self.end(proc, *link).closed = Some(at),
            What::Unreadable { link, sending: false, end, .. } => {
                self.end(proc, *link).unreadable = Some((at, *end));
            }
            What::Sent(passed) => {
                let end = self.end(proc, passed.link);
                end.sent.push(at);
                end.says(passed, false);
            }
            What::Got(passed) => {
                let end = self.end(proc, passed.link);
                end.got.push(at);
                end.says(passed, true);
            }
            _ => {}
        }
    }

    /// Finds for each dialled end the accepted one: by both addresses, and, where ports were used again, by the first words,
    /// which hold a number that is never said twice. Between networks that translate addresses, by the first words alone.
    fn pair(&mut self, simulated: bool) {
        let mut accepted: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
        let mut by_hello: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (at, end) in self.ends.iter().enumerate().filter(|(_, end)| !end.dialled && !end.peer.is_empty())
        {
            accepted.entry((&end.peer, &end.local)).or_default().push(at);
            if let Some(hello) = end.hello {
                by_hello.entry(hello).or_default().push(at);
            }
        }
        let mut pairs = Vec::new();
        let mut taken = BTreeSet::new();
        let mut alone = Vec::new();
        for (at, end) in self.ends.iter().enumerate().filter(|(_, end)| end.dialled && !end.peer.is_empty()) {
            let candidates = accepted.get(&(&end.local[..], &end.peer[..])).map_or(&[][..], Vec::as_slice);
            let free = || candidates.iter().copied().filter(|other| !taken.contains(other));
            let fits = |other: &usize| end.hello.is_some() && self.ends[*other].hello == end.hello;
            let silent = |other: &usize| end.hello.is_none() || self.ends[*other].hello.is_none();
            let found = free().find(fits).or_else(|| free().find(silent));
            match found {
                Some(other) => {
                    taken.insert(other);
                    pairs.push((at, other));
                }
                None if candidates.is_empty() => alone.push(at),
                None => {}
            }
        }
        for at in alone.into_iter().filter(|_| !simulated) {
            let Some(hello) = self.ends[at].hello else { continue };
            let mut free = by_hello.get(&hello).into_iter().flatten().filter(|other| !taken.contains(other));
            if let Some(other) = free.next().copied() {
                taken.insert(other);
                pairs.push((at, other));
            }
        }
        for (one, other) in pairs {
            self.ends[one].other = Some(other);
            self.ends[other].other = Some(one);
            for (to, from) in [(one, other), (other, one)] {
                if self.ends[to].kind.is_empty() {
                    self.ends[to].kind = self.ends[from].kind.clone();
                }
            }
        }
    }

    /// Where nodes can be found: at addresses that they were reached at; in a simulated world each host has one of its own.
    fn find_addresses(&mut self, procs: &Procs) {
        let mut hosts: BTreeMap<String, BTreeSet<usize>> = BTreeMap::new();
        for end in self.ends.iter().filter(|end| !end.local.is_empty()) {
            let lane = procs.all[end.proc].lane;
            if !end.dialled {
                self.addresses.insert(end.local.clone(), lane);
            }
            if let (true, Ok(local)) = (procs.simulated, end.local.parse::<SocketAddr>()) {
                hosts.entry(local.ip().to_string()).or_default().insert(lane);
            }
        }
        for (host, lanes) in hosts {
            if let (1, Some(lane)) = (lanes.len(), lanes.first()) {
                self.addresses.insert(host, *lane);
            }
        }
    }

    /// Where a node says in its handshakes that it can be dialled: it may never have been, and another may have been there later.
    fn hear_addresses(&mut self, procs: &Procs) {
        let all = procs.all.iter().flat_map(|proc| &proc.records);
        for pack in all.filter_map(|(_, what)| match what {
            What::Sent(passed) | What::Got(passed) => Some(&passed.pack),
            _ => None,
        }) {
            let said = pack.more.iter().find(|(name, _)| name == LISTENS_AT);
            if let (Some((instance, _)), Some((_, address))) = (&pack.who, said)
                && let Some(lane) = procs.lane_of(instance)
                && address.parse::<SocketAddr>().is_ok_and(|at| !at.ip().is_unspecified())
            {
                self.addresses.entry(canonical(address)).or_insert(lane);
            }
        }
    }

    /// Which lane an address belongs to, as far as that is known.
    pub(super) fn lane_at(&self, address: &str) -> Option<usize> {
        let host =
            || address.parse::<SocketAddr>().ok().and_then(|at| self.addresses.get(&at.ip().to_string()));
        self.addresses.get(address).or_else(host).copied()
    }

    /// Who is at the other end, as far as that is known.
    pub(super) fn other_lane(&self, procs: &Procs, end: &End) -> Option<usize> {
        if let Some(other) = end.other {
            return Some(procs.all[self.ends[other].proc].lane);
        }
        let address = if end.peer.is_empty() { &end.to } else { &end.peer };
        procs.lane_of(&end.met).or_else(|| self.lane_at(address))
    }

    /// A link's number in the story: one for both of its ends.
    pub(super) fn number(&self, end: &End) -> usize {
        end.other.map_or(end.at, |other| other.min(end.at))
    }

    /// The end that a record is about.
    pub(super) fn of(&self, proc: usize, link: u64) -> Option<&End> {
        self.by_link.get(&(proc, link)).map(|at| &self.ends[*at])
    }

    fn match_messages(&mut self, procs: &Procs) {
        let mut found = Vec::new();
        for end in &self.ends {
            let Some(other) = end.other.map(|other| &self.ends[other]) else { continue };
            let sent =
                end.sent.iter().filter_map(|at| Some(((end.proc, *at), passed(procs, end.proc, *at)?)));
            let got =
                other.got.iter().filter_map(|at| Some(((other.proc, *at), passed(procs, other.proc, *at)?)));
            found.extend(match_up(&sent.collect::<Vec<_>>(), &got.collect::<Vec<_>>()));
        }
        self.arrival.extend(found.iter().copied());
        self.departure.extend(found.into_iter().map(|(sent, got)| (got, sent)));
    }
}

impl End {
    /// Who is at its other end, by the name that it gave, or its address.
    pub(super) fn peer_name(&self) -> String {
        let address = if self.peer.is_empty() { &self.to } else { &self.peer };
        if self.met_name.is_empty() { address.clone() } else { format!("{} ({address})", self.met_name) }
    }

    fn says(&mut self, passed: &Passed, came: bool) {
        let pack = &passed.pack;
        if pack.name == "Hello" && self.hello.is_none() {
            self.hello = Some(passed.sum);
        }
        if self.kind.is_empty() {
            self.kind.clone_from(&pack.kind);
        }
        if let (true, Some((instance, name))) = (came, &pack.who) {
            self.met.clone_from(instance);
            self.met_name.clone_from(name);
        }
    }
}

pub(super) fn passed(procs: &Procs, proc: usize, at: usize) -> Option<&Passed> {
    match &procs.all[proc].records[at].1 {
        What::Sent(passed) | What::Got(passed) => Some(passed),
        _ => None,
    }
}

/// In one direction of one link: by the place in the stream and the checksum; what was slipped in between shifts all places
/// behind it, so the rest is matched in order by checksum alone.
fn match_up(sent: &[(At, &Passed)], got: &[(At, &Passed)]) -> Vec<(At, At)> {
    let places: BTreeMap<(u64, u32), At> = got.iter().map(|(at, p)| ((p.end, p.sum), *at)).collect();
    let mut found = Vec::new();
    let mut taken = BTreeSet::new();
    let mut missed = Vec::new();
    for (at, passed) in sent {
        match places.get(&(passed.end, passed.sum)) {
            Some(other) if taken.insert(*other) => found.push((*at, *other)),
            _ => missed.push((*at, passed.sum)),
        }
    }
    let rest: Vec<(At, u32)> =
        got.iter().filter(|(at, _)| !taken.contains(at)).map(|(at, passed)| (*at, passed.sum)).collect();
    let mut by_sum: BTreeMap<u32, VecDeque<usize>> = BTreeMap::new();
    rest.iter().enumerate().for_each(|(place, (_, sum))| by_sum.entry(*sum).or_default().push_back(place));
    let mut next = 0;
    for (at, sum) in missed {
        let Some(places) = by_sum.get_mut(&sum) else { continue };
        while places.front().is_some_and(|place| *place < next) {
            places.pop_front();
        }
        if let Some(place) = places.pop_front() {
            found.push((at, rest[place].0));
            next = place + 1;
        }
    }
    found
}

/// An IPv4 address is written as such, also where an IPv6 socket saw it.
fn canonical(address: &str) -> String {
    address.parse::<SocketAddr>().map_or_else(
        |_| address.to_owned(),
        |at| SocketAddr::new(at.ip().to_canonical(), at.port()).to_string(),
    )
}
