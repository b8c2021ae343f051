//! One state of everything, what can happen next in it, and what then is.

use super::engine::{Cause, Deed, Engine};
use super::node::Run;
use super::scenario::GRID;
use super::wire::{BROKEN, END, End, Notice, Wire};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use xxnet_core::{Instant, LinkId, RunId};

/// A command ends by itself at the latest after this.
const LINGERS: Duration = Duration::from_secs(6);

/// One node: the process that is up, if one is, and what a dead one has left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Slot {
    pub(super) up: Option<u32>,
    pub(super) incarnation: u8,
    /// Commands of a dead process that its supervisor has yet to reap: until when it may take.
    left: Vec<Instant>,
    /// The whole host is away: nobody refuses a dial.
    dark: bool,
}

/// One state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) slots: Vec<Slot>,
    wires: Vec<Rc<Wire>>,
    /// Faults that may still happen, and times that time may still go on although something could happen before.
    faults: u8,
    late: u8,
    /// Whether a fault has happened, or time was late.
    hurt: bool,
}

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// An end of a wire reads what is in front.
    Read { wire: u8, end: u8 },
    /// A node does what is due.
    Tick { node: u8 },
    /// An application asks for what it has yet to ask.
    Ask { node: u8 },
    /// A command ends, or what was killed is reaped.
    Exit { node: u8, run: RunId },
    /// A dead process's commands are reaped.
    Reap { node: u8 },
    /// Time goes to the next deadline.
    Wait,
    /// A process that has died is started again.
    Restart { node: u8 },
    /// A fault: a link breaks. What is on its way to each end comes or is lost; both ends notice, or one.
    Break { wire: u8, kept: [bool; 2], both: bool, one: u8 },
    /// A fault: a process dies; or its host goes dark, and what it has sent is lost.
    Crash { node: u8, dark: bool },
}

type Work = VecDeque<(u8, Cause)>;

impl World {
    /// The state from which all is explored: everybody is up, and what the scenario wants done before is done.
    pub(super) fn new(engine: &mut Engine, faults: u8, late: u8) -> Result<Self, String> {
        let now = Instant::from_micros(u64::try_from(GRID.as_micros()).unwrap_or(0));
        let slots = vec![Slot::default(); engine.scenario.nodes()];
        let mut world = Self { now, slots, wires: Vec::new(), faults, late, hurt: false };
        for node in 0..engine.scenario.nodes() {
            world.start(engine, node as u8)?;
            world.calm(engine)?;
        }
        if let Some((node, command)) = engine.scenario.begins() {
            world.run(engine, node as u8, Cause::Command(command))?;
        }
        Ok(world)
    }

    /// Lets everything be read, first things first.
    fn calm(&mut self, engine: &mut Engine) -> Result<(), String> {
        let mut choices = Vec::new();
        while self.reads(engine, &mut choices) {
            let first = choices[0];
            self.take(engine, first)?;
            choices.clear();
        }
        Ok(())
    }

    fn start(&mut self, engine: &mut Engine, node: u8) -> Result<(), String> {
        let slot = &mut self.slots[usize::from(node)];
        let fresh = engine.scenario.make(usize::from(node), slot.incarnation);
        slot.up = Some(engine.intern(fresh));
        slot.dark = false;
        for command in engine.scenario.setup(usize::from(node)) {
            self.run(engine, node, Cause::Command(*command))?;
        }
        Ok(())
    }

    /// Everything that can happen next. Empty: nothing can, ever.
    pub(super) fn choices(&self, engine: &Engine, settled: bool, choices: &mut Vec<Choice>) {
        choices.clear();
        if !settled {
            let reads = self.reads(engine, choices);
            self.own(engine, choices, reads);
        }
        if self.faults > 0 {
            self.breakages(choices);
        }
    }

    fn reads(&self, engine: &Engine, choices: &mut Vec<Choice>) -> bool {
        let before = choices.len();
        for (number, wire) in self.wires.iter().enumerate() {
            for end in 0..2 {
                if self.can_read(engine, wire, end) {
                    choices.push(Choice::Read { wire: number as u8, end: end as u8 });
                }
            }
        }
        choices.len() > before
    }

    fn can_read(&self, engine: &Engine, wire: &Wire, end: usize) -> bool {
        let end = &wire.ends[end];
        let Some(front) = end.inbox.first().filter(|_| end.open) else { return false };
        let Some(process) = self.slots[usize::from(end.node)].up else { return false };
        *front == BROKEN || engine.at(process).reads.contains_key(&end.link)
    }

    /// What the nodes do by themselves, and time.
    fn own(&self, engine: &Engine, choices: &mut Vec<Choice>, reads: bool) {
        let mut pending = reads;
        let mut next: Option<Instant> = None;
        let mut wait = true;
        let mut at = |moment: Instant| next = Some(next.map_or(moment, |next| next.min(moment)));
        for (node, slot) in self.slots.iter().enumerate() {
            let node = node as u8;
            let Some(process) = slot.up else {
                pending = true;
                match slot.left.iter().min() {
                    Some(deadline) => {
                        choices.push(Choice::Reap { node });
                        wait &= *deadline > self.now;
                        at(*deadline);
                    }
                    None => choices.push(Choice::Restart { node }),
                }
                continue;
            };
            if let Some(deadline) = engine.deadline(process) {
                if deadline <= self.now {
                    choices.push(Choice::Tick { node });
                    wait = false;
                }
                at(deadline);
            }
            let process = engine.at(process);
            if process.application.open().is_some() {
                choices.push(Choice::Ask { node });
                pending = true;
            }
            for (run, state) in live(&process.runs) {
                choices.push(Choice::Exit { node, run });
                pending |= state.killed;
                wait &= state.deadline > self.now && state.since + LINGERS > self.now;
                at(state.deadline);
            }
        }
        if wait && next.is_some() && (!pending || self.late > 0) {
            choices.push(Choice::Wait);
        }
    }

    fn breakages(&self, choices: &mut Vec<Choice>) {
        for (number, wire) in self.wires.iter().enumerate() {
            if !wire.ends.iter().all(|end| end.open && !end.deaf) {
                continue;
            }
            let wire_number = number as u8;
            for kept in [[false; 2], [true, false], [false, true], [true; 2]] {
                // Nothing that is kept is as good as nothing that is lost.
                if (0..2).any(|end| kept[end] && wire.ends[end].inbox.is_empty()) {
                    continue;
                }
                choices.push(Choice::Break { wire: wire_number, kept, both: true, one: 0 });
                for one in 0..2 {
                    choices.push(Choice::Break { wire: wire_number, kept, both: false, one });
                }
            }
        }
        for (node, slot) in self.slots.iter().enumerate() {
            if slot.up.is_some() {
                for dark in [false, true] {
                    choices.push(Choice::Crash { node: node as u8, dark });
                }
            }
        }
    }

    /// Lets one thing happen. `Err`: a machine has contradicted itself.
    pub(super) fn take(&mut self, engine: &mut Engine, choice: Choice) -> Result<(), String> {
        match choice {
            Choice::Read { wire, end } => self.read(engine, usize::from(wire), usize::from(end))?,
            Choice::Tick { node } => self.run(engine, node, Cause::Tick)?,
            Choice::Ask { node } => {
                let process = self.slots[usize::from(node)].up;
                if let Some(command) = process.and_then(|process| engine.at(process).application.open()) {
                    self.run(engine, node, Cause::Command(command))?;
                }
            }
            Choice::Exit { node, run } => self.run(engine, node, Cause::Exit(run))?,
            Choice::Reap { node } => self.reap(node),
            Choice::Wait => self.wait(engine)?,
            Choice::Restart { node } => {
                self.slots[usize::from(node)].incarnation += 1;
                self.start(engine, node)?;
            }
            Choice::Break { wire, kept, both, one } => {
                self.hit();
                let notice = if both { Notice::Both } else { Notice::One(usize::from(one)) };
                Wire::change(&mut self.wires[usize::from(wire)]).cut(kept, notice);
            }
            Choice::Crash { node, dark } => {
                self.hit();
                self.crash(engine, node, dark);
            }
        }
        self.keep_alive(engine)?;
        self.wires.retain(|wire| !wire.is_over());
        self.wires.sort();
        Ok(())
    }

    fn hit(&mut self) {
        self.faults -= 1;
        self.hurt = true;
    }

    fn read(&mut self, engine: &mut Engine, wire: usize, end: usize) -> Result<(), String> {
        let wire = Wire::change(&mut self.wires[wire]);
        let end = &mut wire.ends[end];
        let (node, link, what) = (end.node, end.link, end.inbox.remove(0));
        let cause = match what {
            END => Cause::PeerClosed(link),
            BROKEN => {
                end.open = false;
                end.inbox.clear();
                Cause::Broken(link)
            }
            pack => {
                let room =
                    self.slots[usize::from(node)].up.and_then(|up| engine.at(up).reads.get(&link).copied());
                assert!(room >= Some(engine.size(pack)), "a send that is read in one piece");
                Cause::Received(link, pack)
            }
        };
        self.run(engine, node, cause)
    }

    /// Signs of life come as soon as they are in front: they change nothing but when something was heard last, so their order
    /// among others is of no account. What makes a link silent is a fault of its own.
    fn keep_alive(&mut self, engine: &mut Engine) -> Result<(), String> {
        loop {
            let found = self.wires.iter().enumerate().find_map(|(number, wire)| {
                let alive = |end: &usize| {
                    let front = wire.ends[*end].inbox.first();
                    front.is_some_and(|front| *front < BROKEN && engine.keepalive(*front))
                        && self.can_read(engine, wire, *end)
                };
                Some((number, (0..2).find(alive)?))
            });
            let Some((wire, end)) = found else { return Ok(()) };
            self.read(engine, wire, end)?;
        }
    }

    /// If nothing was under way, everybody does at once what is due: what one says at that moment comes behind what all the
    /// others do of themselves. If something was, each does it in any order with that.
    fn wait(&mut self, engine: &mut Engine) -> Result<(), String> {
        let mut choices = Vec::new();
        let reads = self.reads(engine, &mut choices);
        self.own(engine, &mut choices, reads);
        // Whatever else could have happened is late now; but for a command, which takes its time.
        let running = |choice: &Choice| match choice {
            Choice::Wait => true,
            Choice::Exit { node, run } => self.slots[usize::from(*node)]
                .up
                .is_some_and(|up| engine.at(up).runs.get(run).is_some_and(|run| !run.killed)),
            _ => false,
        };
        let late = !choices.iter().all(running);
        self.late -= u8::from(late);
        self.hurt |= late;
        let due = self.slots.iter().flat_map(|slot| {
            let process = slot.up.map(|up| (engine.deadline(up), &engine.at(up).runs));
            let (own, runs) = process.map_or((None, None), |(own, runs)| (own, Some(runs)));
            let runs = runs.into_iter().flat_map(|runs| live(runs).map(|(_, run)| run.deadline));
            own.into_iter().chain(runs).chain(slot.left.iter().copied())
        });
        if let Some(due) = due.min() {
            let grid = u64::try_from(GRID.as_micros()).unwrap_or(1);
            self.now = Instant::from_micros(due.as_micros().next_multiple_of(grid));
        }
        for node in 0..self.slots.len() {
            let process = self.slots[node].up;
            let due = process.and_then(|process| engine.deadline(process)).is_some_and(|at| at <= self.now);
            if due && !late {
                self.run(engine, node as u8, Cause::Tick)?;
            }
        }
        Ok(())
    }

    fn crash(&mut self, engine: &Engine, node: u8, dark: bool) {
        let slot = &mut self.slots[usize::from(node)];
        if let Some(process) = slot.up.take().filter(|_| !dark) {
            slot.left = live(&engine.at(process).runs).map(|(_, run)| run.deadline).collect();
        }
        slot.dark = dark;
        for wire in &mut self.wires {
            for end in 0..2 {
                if wire.ends[end].node != node || !(wire.ends[end].open || wire.ends[end].kept) {
                    continue;
                }
                let wire = Wire::change(wire);
                wire.ends[end].kept = false;
                if dark {
                    wire.ends[1 - end].inbox.clear();
                    wire.ends[1 - end].deaf = true;
                }
                wire.close(end, BROKEN);
            }
        }
    }

    /// The supervisor has reaped everything: now it lets go of the listening socket, and of who waits there.
    fn reap(&mut self, node: u8) {
        self.slots[usize::from(node)].left.clear();
        for wire in &mut self.wires {
            for end in 0..2 {
                if wire.ends[end].node == node && wire.ends[end].kept {
                    let wire = Wire::change(wire);
                    wire.ends[end].kept = false;
                    wire.close(end, BROKEN);
                }
            }
        }
    }

    /// Gives something to a process, and does what it wants done, and so on.
    fn run(&mut self, engine: &mut Engine, node: u8, cause: Cause) -> Result<(), String> {
        let mut work = Work::from([(node, cause)]);
        while let Some((node, cause)) = work.pop_front() {
            let slot = &mut self.slots[usize::from(node)];
            let Some(process) = slot.up else { continue };
            let stepped = engine.step(node, process, self.now, cause)?;
            slot.up = Some(stepped.node);
            for deed in &stepped.deeds {
                self.obey(engine, node, *deed, &mut work);
            }
        }
        Ok(())
    }

    fn obey(&mut self, engine: &Engine, node: u8, deed: Deed, work: &mut Work) {
        let (link, what) = match deed {
            Deed::Dial(link, to) => return self.dial(engine, (node, link), to, work),
            Deed::Send(link, pack) => (link, Some(pack)),
            Deed::Shutdown(link) => (link, Some(END)),
            Deed::Close(link) => (link, None),
        };
        let found = self.wires.iter_mut().find_map(|wire| Some((wire.end_of(node, link)?, wire)));
        let Some((end, wire)) = found else { return };
        let wire = Wire::change(wire);
        match what {
            Some(what) => wire.send(1 - end, what),
            None => wire.close(end, END),
        }
    }

    /// Dials are answered at once: the order of what follows is explored anyway.
    fn dial(&mut self, engine: &Engine, (node, link): (u8, LinkId), to: u8, work: &mut Work) {
        let slot = &self.slots[usize::from(to)];
        let mut far = End::new(to, LinkId(0));
        match slot.up {
            Some(process) => {
                let Some((_, theirs)) = engine.at(process).accept else { return };
                far.link = theirs;
                work.push_back((node, Cause::Dialed(link, to)));
                work.push_back((to, Cause::Accepted(node, link)));
            }
            // It goes unanswered until the dialler has enough.
            None if slot.dark => return,
            None if slot.left.is_empty() => return work.push_back((node, Cause::Refused(link))),
            None => {
                (far.open, far.kept) = (false, true);
                work.push_back((node, Cause::Dialed(link, to)));
            }
        }
        self.wires.push(Rc::new(Wire::new([End::new(node, link), far])));
    }

    /// Commands that run, a dead process's included.
    pub(super) fn copies(&self, engine: &Engine) -> usize {
        let of = |slot: &Slot| slot.up.map_or(0, |up| live(&engine.at(up).runs).count()) + slot.left.len();
        self.slots.iter().map(of).sum()
    }

    /// Whether nothing is on its way, due or yet to be asked.
    pub(super) fn is_quiet(&self, engine: &Engine) -> bool {
        let up = self.slots.iter().all(|slot| {
            slot.up.is_some_and(|up| engine.deadline(up).is_none_or(|deadline| deadline > self.now))
        });
        up && self.wires.iter().all(|wire| (0..2).all(|end| !self.can_read(engine, wire, end)))
    }

    pub(super) fn has_one_whole_link(&self) -> bool {
        matches!(&self.wires[..], [wire] if wire.is_whole())
    }

    pub(super) fn incarnation(&self, node: usize) -> u8 {
        self.slots[node].incarnation
    }

    pub(super) fn restarted(&self) -> bool {
        self.slots.iter().any(|slot| slot.incarnation > 0)
    }

    pub(super) fn faultless(&self) -> bool {
        !self.hurt
    }

    /// A choice for people.
    pub(super) fn describe(&self, engine: &Engine, choice: Choice) -> String {
        let who = |node: u8| engine.scenario.who(usize::from(node));
        let at = format!("{:>4} s  ", self.now.as_micros() / 1_000_000);
        at + &match choice {
            Choice::Read { wire, end } => {
                let wire = &self.wires[usize::from(wire)];
                let (to, from) = (&wire.ends[usize::from(end)], &wire.ends[1 - usize::from(end)]);
                let what = match to.inbox[0] {
                    END => "that it is closed".to_owned(),
                    BROKEN => "that it is broken".to_owned(),
                    pack => engine.describe(pack),
                };
                format!("{} reads on {} from {}: {what}", who(to.node), to.link, who(from.node))
            }
            Choice::Tick { node } => format!("{} does what is due", who(node)),
            Choice::Ask { node } => {
                let what =
                    match self.slots[usize::from(node)].up.and_then(|up| engine.at(up).application.open()) {
                        Some(super::application::SEND) => "sends a message",
                        _ => "connects",
                    };
                format!("{} {what}", who(node))
            }
            Choice::Exit { node, run } => format!("{run} of {} ends", who(node)),
            Choice::Reap { node } => format!("what {} had started is reaped", who(node)),
            Choice::Wait => "time goes to the next deadline".to_owned(),
            Choice::Restart { node } => format!("{} is started again", who(node)),
            Choice::Break { wire, kept, both, one } => {
                let ends = &self.wires[usize::from(wire)].ends;
                let [a, b] = [&ends[0], &ends[1]].map(|end| format!("{} of {}", end.link, who(end.node)));
                let notices =
                    if both { "both ends".to_owned() } else { who(ends[usize::from(one)].node).to_owned() };
                let lost = (0..2).filter(|end| !kept[*end] && !ends[*end].inbox.is_empty());
                let lost: Vec<_> = lost.map(|end| who(ends[end].node)).collect();
                format!(
                    "FAULT: {a} with {b} breaks, noticed by {notices}; lost is what was on its way to {lost:?}"
                )
            }
            Choice::Crash { node, dark: false } => format!("FAULT: {} dies", who(node)),
            Choice::Crash { node, dark: true } => format!("FAULT: {}'s host goes dark", who(node)),
        }
    }
}

fn live(runs: &std::collections::BTreeMap<RunId, Run>) -> impl Iterator<Item = (RunId, &Run)> {
    runs.iter().filter(|(_, run)| !run.over).map(|(id, run)| (*id, run))
}
