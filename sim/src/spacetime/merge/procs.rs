//! The processes of the traces: what belongs to one run of one node, whatever file it stands in.

use crate::spacetime::read::{File, Part};
use crate::spacetime::record::{Header, What};
use std::collections::{BTreeMap, BTreeSet};

/// One run of one node.
#[derive(Debug)]
pub(super) struct Proc {
    pub(super) header: Header,
    /// The first eight digits of its instance id, if they are told anywhere.
    pub(super) instance: String,
    pub(super) records: Vec<(u64, What)>,
    /// Which of [`Procs::clocks`] it is on.
    pub(super) clock: usize,
    pub(super) lane: usize,
}

/// A clock that one or several processes share.
#[derive(Debug)]
pub(super) struct Clock {
    pub(super) name: String,
    /// What is added to its time: to come to the wall's, then to come behind what it hears from others.
    pub(super) offset: i128,
    pub(super) has_wall: bool,
    pub(super) shifted: u64,
}

#[derive(Debug)]
pub(super) struct Procs {
    pub(super) all: Vec<Proc>,
    pub(super) clocks: Vec<Clock>,
    /// What happened to no node; on the first clock.
    pub(super) world: Vec<(u64, What)>,
    pub(super) lanes: Vec<String>,
    /// Everything that runs is in these traces.
    pub(super) simulated: bool,
    /// What time 0 of the story is.
    pub(super) origin: i128,
}

/// What is wrong with the files themselves, in words.
pub(super) fn complaints(files: &[(String, File)]) -> Vec<String> {
    let mut all = Vec::new();
    for (name, file) in files {
        if file.torn {
            all.push(format!("The last line of {name} is cut off: its process was killed while it wrote."));
        }
        if file.unreadable > 0 {
            all.push(format!("{} lines of {name} cannot be read and are left out.", file.unreadable));
        }
        let records = file.parts.iter().flat_map(|part| &part.records).chain(&file.world);
        let left_out: u64 = records
            .filter_map(|(_, what)| if let What::LeftOut { count } = what { Some(count) } else { None })
            .sum();
        if left_out > 0 {
            all.push(format!(
                "{left_out} records were left out of {name} when it was written, to keep it in bounds."
            ));
        }
    }
    all
}

impl Procs {
    pub(super) fn new(files: Vec<(String, File)>) -> Self {
        let mut world = Vec::new();
        let mut parts: Vec<Part> = Vec::new();
        for (_, file) in files {
            world.extend(file.world);
            for part in file.parts {
                // The same file, named twice.
                if part.header.instance.is_empty() || !parts.contains(&part) {
                    parts.push(part);
                }
            }
        }
        parts.sort_by_key(|part| part.header.at);
        let mut clocks = Vec::<Clock>::new();
        let mut all = Vec::<Proc>::new();
        for (number, Part { header, records }) in parts.into_iter().enumerate() {
            let same = |proc: &&mut Proc| {
                let (one, other) = (&proc.header, &header);
                !other.instance.is_empty()
                    && (&one.instance, &one.node, &one.clock) == (&other.instance, &other.node, &other.clock)
            };
            // One run that went on in another file.
            if let Some(proc) = all.iter_mut().find(same) {
                proc.records.extend(records);
                continue;
            }
            let name = if header.clock.is_empty() { format!("#{number}") } else { header.clock.clone() };
            let clock = clocks.iter().position(|clock| clock.name == name).unwrap_or_else(|| {
                let wall = header.wall.map(|wall| i128::from(wall) - i128::from(header.at));
                let (offset, has_wall) = (wall.unwrap_or(0), wall.is_some());
                clocks.push(Clock { name, offset, has_wall, shifted: 0 });
                clocks.len() - 1
            });
            let instance = instance(&header, &records);
            all.push(Proc { header, instance, records, clock, lane: 0 });
        }
        let simulated = !all.is_empty() && all.iter().all(|proc| proc.header.clock == "simulated");
        let mut procs = Self { all, clocks, world, lanes: Vec::new(), simulated, origin: 0 };
        procs.find_lanes();
        procs.find_origin();
        procs
    }

    /// A name has one lane, unless two of that name lived at once.
    fn find_lanes(&mut self) {
        let mut by_name: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, proc) in self.all.iter().enumerate() {
            by_name.entry(&proc.header.node).or_default().push(at);
        }
        let span = |at: usize| {
            let proc = &self.all[at];
            let last = proc.records.last().map_or(proc.header.at, |(t, _)| *t);
            (self.absolute(at, proc.header.at), self.absolute(at, last))
        };
        let shared: BTreeSet<usize> = by_name
            .values()
            .filter(|ats| {
                let mut spans: Vec<_> = ats.iter().map(|at| span(*at)).collect();
                spans.sort_unstable();
                spans.windows(2).any(|two| two[1].0 < two[0].1)
            })
            .flatten()
            .copied()
            .collect();
        let mut lanes = Vec::<String>::new();
        for (at, proc) in self.all.iter_mut().enumerate() {
            let name = match &proc.header.node {
                node if shared.contains(&at) => format!("{node} ({})", proc.instance),
                node => node.clone(),
            };
            proc.lane = lanes.iter().position(|lane| *lane == name).unwrap_or_else(|| {
                lanes.push(name);
                lanes.len() - 1
            });
        }
        // Registries first, then whoever publishes, then whoever runs; as they are numbered.
        let rank = |role: &str| match role {
            "registry" => 0,
            "publisher" | "client" => 1,
            _ => 2,
        };
        let mut order: Vec<usize> = (0..lanes.len()).collect();
        let role =
            |lane: usize| self.all.iter().find(|proc| proc.lane == lane).map_or("", |proc| &proc.header.role);
        order.sort_by_cached_key(|lane| (rank(role(*lane)), numbers_last(&lanes[*lane])));
        let place = |lane: usize| order.iter().position(|other| *other == lane).unwrap_or(lane);
        self.all.iter_mut().for_each(|proc| proc.lane = place(proc.lane));
        self.lanes = order.into_iter().map(|lane| lanes[lane].clone()).collect();
    }

    /// Time 0 is when the first of all records was made.
    pub(super) fn find_origin(&mut self) {
        if self.simulated {
            return;
        }
        let first = (0..self.all.len()).map(|at| {
            let proc = &self.all[at];
            let record = proc.records.first().map_or(proc.header.at, |(t, _)| *t);
            self.absolute(at, record.min(proc.header.at))
        });
        self.origin = first.min().unwrap_or(0);
    }

    fn absolute(&self, proc: usize, t: u64) -> i128 {
        i128::from(t) + self.clocks[self.all[proc].clock].offset
    }

    /// A process's moment on the story's clock.
    pub(super) fn time(&self, proc: usize, t: u64) -> u64 {
        u64::try_from(self.absolute(proc, t) - self.origin).unwrap_or(0)
    }

    /// Who has an instance.
    pub(super) fn lane_of(&self, instance: &str) -> Option<usize> {
        let found = self.all.iter().find(|proc| !instance.is_empty() && proc.instance == instance);
        found.map(|proc| proc.lane)
    }

    pub(super) fn lane_name(&self, proc: usize) -> &str {
        &self.lanes[self.all[proc].lane]
    }
}

/// "node-10" comes behind "node-9".
fn numbers_last(name: &str) -> (String, u64) {
    let word = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    (word.to_owned(), name[word.len()..].parse().unwrap_or(0))
}

/// What a process says of itself in its handshakes, if its header does not.
fn instance(header: &Header, records: &[(u64, What)]) -> String {
    if !header.instance.is_empty() {
        return header.instance.clone();
    }
    let said = records.iter().find_map(|(_, what)| match what {
        What::Sent(passed) => passed.pack.who.as_ref().map(|(instance, _)| instance.clone()),
        _ => None,
    });
    said.unwrap_or_default()
}
