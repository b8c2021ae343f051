//! What every part of the world shares: the queue, the choices, the trace, the hosts and the ways between them.

use crate::choices::{Choices, Place};
use crate::clock::{Clock, MILLI, Micros};
use crate::fault::{Counts, Fault};
use crate::faults::{Faults, Injection};
use crate::machine::Command;
use crate::marks::{Hits, Target};
use crate::net::NetItem;
use crate::process::RunItem;
use crate::queue::Queue;
use crate::trace::Trace;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::collections::BTreeSet;
use xxnet_core::Event;
use xxnet_core::disk::DiskAction;

/// One host: an address, a clock, a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub u16);

/// Hosts of one net.
const A_NET: u16 = 250;

impl HostId {
    /// Its address.
    pub fn ip(self) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, (self.0 / A_NET) as u8, (self.0 % A_NET) as u8 + 1))
    }

    /// A place on it.
    pub fn socket(self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(), port)
    }

    /// The host that has an address.
    pub fn of(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(v4) => match v4.octets() {
                [10, 0, high, low] if low > 0 => Some(Self(u16::from(high) * A_NET + u16::from(low - 1))),
                _ => None,
            },
            IpAddr::V6(_) => None,
        }
    }
}

/// One run of one process on some host; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcId(pub u32);

/// The state of a host.
#[derive(Clone, Debug)]
pub struct Host {
    /// For people.
    pub name: String,
    /// Its clock; goes on whatever happens.
    pub clock: Clock,
    /// Whether it has power.
    pub up: bool,
    /// Asleep until then.
    pub asleep: bool,
    /// When it last woke up.
    pub woke: Option<Micros>,
}

/// Something that will happen.
#[derive(Debug)]
pub(crate) enum Item {
    /// An event enters a machine.
    Deliver(ProcId, Event<Command>),
    /// A machine's deadline, if it still stands.
    Deadline(ProcId, u64),
    /// Inside the network.
    Net(NetItem),
    /// A disk request is carried out.
    Disk(ProcId, DiskAction),
    /// Inside a run or its supervisor.
    Run(RunItem),
    /// The scenario goes on: a fault, a workload, a check; numbered by it.
    Scenario(u32),
}

/// What every part of the world shares.
#[derive(Debug)]
pub struct Context {
    /// Simulated time.
    pub now: Micros,
    /// The one source of decisions.
    pub choices: Choices,
    /// What happened.
    pub trace: Trace,
    /// How often each fault was injected.
    pub counts: Counts,
    pub(crate) faults: Faults,
    /// What they have hit, for those who look at marks.
    pub(crate) hits: Hits,
    /// Whether faults are injected now; false once the world heals.
    pub faulty: bool,
    /// Whether nothing disturbs this run from its beginning to its end: no fault, and no hand.
    pub calm: bool,
    pub(crate) hosts: Vec<Host>,
    queue: Queue<Item>,
    /// From whom nothing reaches whom.
    cut: BTreeSet<(HostId, HostId)>,
    /// Base delay of each way that was used, by the lower host and then the higher one.
    delays: Vec<Vec<Option<Micros>>>,
}

impl Context {
    /// An empty world.
    pub fn new(choices: Choices, injection: Injection, keep_trace: bool) -> Self {
        Self {
            now: 0,
            calm: injection.is_calm(),
            choices,
            trace: Trace::new(keep_trace),
            counts: Counts::default(),
            faults: Faults::new(injection),
            hits: Hits::default(),
            faulty: true,
            hosts: Vec::new(),
            queue: Queue::default(),
            cut: BTreeSet::new(),
            delays: Vec::new(),
        }
    }

    /// One more host.
    pub fn add_host(&mut self, name: impl Into<String>, clock: Clock) -> HostId {
        self.hosts.push(Host { name: name.into(), clock, up: true, asleep: false, woke: None });
        HostId(self.hosts.len() as u16 - 1)
    }

    /// A host.
    pub fn host(&self, id: HostId) -> &Host {
        &self.hosts[usize::from(id.0)]
    }

    pub(crate) fn host_mut(&mut self, id: HostId) -> &mut Host {
        &mut self.hosts[usize::from(id.0)]
    }

    /// Something will happen, `delay` from now. What is put in first at one moment happens first.
    pub(crate) fn after(&mut self, delay: Micros, item: Item) {
        self.at(self.now.saturating_add(delay), item);
    }

    pub(crate) fn at(&mut self, time: Micros, item: Item) {
        self.queue.put(time.max(self.now), item);
    }

    /// The next thing that happens, if it does before `limit`.
    pub(crate) fn next(&mut self, limit: Micros) -> Option<Item> {
        let (time, item) = self.queue.take(limit)?;
        self.now = time;
        Some(item)
    }

    /// A place by its name, which plans of faults use.
    pub(crate) fn place(&mut self, name: String) -> Place {
        let place = self.faults.name(name);
        self.choices.note(place)
    }

    /// Whether a fault is planned at the place that is at work: only while faults are on.
    pub fn draws(&mut self, kind: Fault, per_mille: u64) -> bool {
        self.faulty && self.faults.decide(&mut self.choices, kind, per_mille)
    }

    /// Whether faults of a kind are possible in this run.
    pub(crate) fn may(&self, kind: Fault) -> bool {
        self.faults.may(kind)
    }

    /// How badly the fault strikes that was planned last: some value from `low` to `high`; `low` is mildest.
    pub fn value(&mut self, low: u64, high: u64) -> u64 {
        self.drawn_value(low, high, |choices| choices.between(low, high))
    }

    /// The same, small values as likely as large ones.
    pub fn scaled_value(&mut self, low: u64, high: u64) -> u64 {
        self.drawn_value(low, high, |choices| choices.scaled(low, high))
    }

    /// The same, drawn in some other way.
    pub(crate) fn drawn_value(&mut self, low: u64, high: u64, draw: impl FnOnce(&mut Choices) -> u64) -> u64 {
        self.faults.value(&mut self.choices, (low, high), draw)
    }

    /// Whether a fault happens now.
    pub fn fault(&mut self, kind: Fault, per_mille: u64) -> bool {
        let hit = self.draws(kind, per_mille);
        if hit {
            self.count(kind);
        }
        hit
    }

    /// A fault was injected.
    pub fn count(&mut self, kind: Fault) {
        self.counts.add(kind);
        self.hits.fault(kind);
        let now = self.now;
        self.trace.fault(now, kind, self.faults.name_of(self.choices.place()));
    }

    /// Nothing reaches `to` from `from` any more.
    pub fn cut(&mut self, from: HostId, to: HostId) {
        self.cut.insert((from, to));
        self.hits.at(Target::Way(from, to));
    }

    /// It does again.
    pub fn mend(&mut self, from: HostId, to: HostId) {
        self.cut.remove(&(from, to));
    }

    /// Every way is open again.
    pub fn mend_all(&mut self) {
        self.cut.clear();
    }

    /// Whether packets travel from one host to another. A sleeping host neither sends nor answers.
    pub fn reaches(&self, from: HostId, to: HostId) -> bool {
        let (from_host, to_host) = (self.host(from), self.host(to));
        let awake = from_host.up && to_host.up && !from_host.asleep && !to_host.asleep;
        awake && (from == to || !self.cut.contains(&(from, to)))
    }

    /// How long a packet travels.
    pub fn travel(&mut self, from: HostId, to: HostId) -> Micros {
        if from == to {
            return self.choices.between(10, 60);
        }
        let (low, high) = (usize::from(from.min(to).0), usize::from(from.max(to).0));
        if self.delays.len() < self.hosts.len() {
            self.delays.resize_with(self.hosts.len(), Vec::new);
        }
        let row = &mut self.delays[low];
        if row.len() <= high {
            row.resize(high + 1, None);
        }
        let base = *row[high].get_or_insert_with(|| self.choices.scaled(100, 8 * MILLI));
        base + self.choices.below(base / 2 + 1)
    }

    /// How long a runtime takes from a fact to the machine's door.
    pub fn lag(&mut self) -> Micros {
        self.choices.between(1, 80)
    }
}
