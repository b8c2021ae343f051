//! The world: hosts, processes and the one queue of everything that will happen.
//!
//! It does what a runtime does at the machines' two doors: carries their actions out in order, brings completions back as
//! events, calls a tick at the deadline. After every event the machine's own invariants are checked.

mod watch;

use crate::choices::Place;
use crate::clock::{MILLI, Micros};
use crate::context::{Context, HostId, Item, ProcId};
use crate::disk::Disk;
use crate::failure::{self, Failure, FailureKind};
use crate::fault::Fault;
use crate::machine::{Brain, Command, Notice};
use crate::marks::{self, Marks, Reach, Target};
use crate::net::Net;
use crate::process::{Processes, RunItem};
use crate::tap::{Door, Tap};
use crate::trace::Ticked;
use std::collections::{BTreeMap, VecDeque};
use xxnet_core::connection::ConnectionCommand;
use xxnet_core::net::{NetAction, NetEvent};
use xxnet_core::{Action, Event, Instant, LinkId};

/// A process of the world: a machine and what its runtime remembers of it.
#[derive(Debug)]
struct Proc {
    host: HostId,
    name: String,
    /// Where its draws belong: the first, second … run of its name.
    place: Place,
    brain: Option<Box<dyn Brain>>,
    /// Whether a supervisor holds its listening sockets and its commands (an executor).
    supervised: bool,
    frozen: bool,
    /// What waits for its thaw.
    stash: Vec<Item>,
    deadline: Option<Instant>,
    /// When it is looked at next: at the deadline, or before it, if it has moved away since. And which look that is: the
    /// newest alone counts.
    armed: Option<Micros>,
    generation: u64,
    /// Ticks in a row at one moment that changed nothing.
    spins: u32,
    /// Events since all of its invariants were checked.
    unchecked: usize,
}

impl Proc {
    /// Has its deadline looked at then, unless it is looked at before.
    fn arm(&mut self, ctx: &mut Context, id: ProcId, at: Micros) {
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            self.generation += 1;
            ctx.at(at, Item::Deadline(id, self.generation));
        }
    }
}

/// All that there ever were, by number from 1.
#[derive(Debug, Default)]
struct Procs(Vec<Proc>);

impl Procs {
    fn next(&self) -> ProcId {
        ProcId(self.0.len() as u32 + 1)
    }

    fn get(&self, id: ProcId) -> Option<&Proc> {
        self.0.get((id.0 as usize).wrapping_sub(1))
    }

    fn get_mut(&mut self, id: ProcId) -> Option<&mut Proc> {
        self.0.get_mut((id.0 as usize).wrapping_sub(1))
    }

    fn iter(&self) -> impl Iterator<Item = (ProcId, &Proc)> {
        (1..).map(ProcId).zip(&self.0)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (ProcId, &mut Proc)> {
        (1..).map(ProcId).zip(&mut self.0)
    }
}

/// What an event can have changed.
enum Scope {
    /// This link and those that the machine then acts on.
    Links(Option<LinkId>),
    /// Anything.
    All,
}

/// After so many events a link, all that a machine holds is checked in any case: the cost of that is shared by them.
const UNCHECKED: usize = 64;
/// A machine with more links than so many is large: where it cannot tell what an event can have changed, all of it is checked after
/// one event in a number that grows with its links, so that the checks of a crowd's registry do not grow with the crowd's square.
const LARGE: usize = 32;

impl Scope {
    fn of(event: &Event<Command>) -> Self {
        match event {
            Event::Tick => Self::Links(None),
            Event::Net(NetEvent::Received { link, .. } | NetEvent::Sent { link }) => Self::Links(Some(*link)),
            Event::Command(Command::Connections(
                ConnectionCommand::SendPack { .. } | ConnectionCommand::Taken { .. },
            )) => Self::Links(None),
            Event::Net(_) | Event::Disk(_) | Event::Process(_) | Event::Command(_) => Self::All,
        }
    }

    /// Checks what is in it. `false`: all must be checked.
    fn check(&self, brain: &dyn Brain, actions: &[Action<Notice>]) -> bool {
        let Self::Links(own) = self else { return false };
        let acted = actions.iter().filter_map(|action| match action {
            Action::Net(
                NetAction::Send { link, .. }
                | NetAction::Recv { link, .. }
                | NetAction::Shutdown { link }
                | NetAction::Close { link }
                | NetAction::Dial { link, .. },
            ) => Some(*link),
            Action::Net(_) | Action::Disk(_) | Action::Process(_) | Action::Notify(_) => None,
        });
        if !brain.checks_links() {
            return false;
        }
        let mut last = None;
        for link in own.iter().copied().chain(acted) {
            if last.replace(link) != Some(link) {
                brain.check_link(link);
            }
        }
        true
    }
}

/// What the scenario has to look at.
#[derive(Debug)]
pub(crate) enum Happening {
    /// Something that it planned is due.
    Due(u32),
    /// A machine has handled something; its notices, if any, wait in [`World::notices`].
    Handled,
    /// Something inside the world went on.
    Inside,
}

/// Everything that exists in one run.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) ctx: Context,
    /// Where the draws of the scenario belong.
    pub(crate) scenario: Place,
    pub(crate) net: Net,
    pub(crate) disk: Disk,
    pub(crate) processes: Processes,
    /// What machines told their applications, in order.
    pub(crate) notices: VecDeque<(ProcId, Notice)>,
    procs: Procs,
    asleep: BTreeMap<HostId, Vec<Item>>,
    /// How often a process of a name was started.
    runs: BTreeMap<String, u32>,
    actions: Vec<Action<Notice>>,
    /// Events that machines have handled.
    pub(crate) handled: u64,
    /// Things that have happened since time went on.
    at_once: u32,
    /// Who reads along, if a test wants to know what passes.
    pub(crate) tap: Option<Tap>,
    /// What was reached, if somebody watches.
    marks: Option<Marks>,
}

/// Ticks in a row at one moment before a machine counts as spinning.
const MAX_SPINS: u32 = 50;
/// Things that happen at one moment before the world counts as standing still: many times what a crowd of hundreds brings about.
const MAX_AT_ONCE: u32 = 2_000_000;

impl World {
    pub(crate) fn new(mut ctx: Context) -> Self {
        let scenario = ctx.place("scenario".to_owned());
        Self {
            ctx,
            scenario,
            net: Net::default(),
            disk: Disk::default(),
            processes: Processes::default(),
            notices: VecDeque::new(),
            procs: Procs::default(),
            asleep: BTreeMap::new(),
            runs: BTreeMap::new(),
            actions: Vec::new(),
            handled: 0,
            at_once: 0,
            tap: None,
            marks: None,
        }
    }

    /// Starts a process. What dead ones left on its host's disk is swept, as a daemon does at its start.
    pub(crate) fn start(
        &mut self,
        host: HostId,
        name: impl Into<String>,
        brain: Box<dyn Brain>,
        supervised: bool,
    ) -> ProcId {
        let id = self.procs.next();
        let procs = &self.procs;
        self.disk.sweep(self.ctx.now, host, |owner| {
            procs.get(owner).is_none_or(|proc| proc.host == host && proc.brain.is_none())
        });
        let name = name.into();
        let runs = self.runs.entry(name.clone()).or_default();
        *runs += 1;
        let place = self.ctx.place(if *runs == 1 { name.clone() } else { format!("{name}, run {runs}") });
        let entry = Proc {
            host,
            name,
            place,
            brain: Some(brain),
            supervised,
            frozen: false,
            stash: Vec::new(),
            deadline: None,
            armed: None,
            generation: 0,
            spins: 0,
            unchecked: 0,
        };
        self.ctx.trace.started(self.ctx.now, u64::from(id.0), &entry.name);
        self.procs.0.push(entry);
        self.look(id);
        id
    }

    /// The application asks a machine for something.
    pub(crate) fn command(&mut self, proc: ProcId, delay: Micros, command: Command) {
        self.ctx.after(delay, Item::Deliver(proc, Event::Command(command)));
    }

    /// The scenario wants to be called.
    pub(crate) fn plan(&mut self, at: Micros, number: u32) {
        self.ctx.at(at, Item::Scenario(number));
    }

    pub(crate) fn name(&self, proc: ProcId) -> &str {
        self.procs.get(proc).map_or("nobody", |proc| &proc.name)
    }

    pub(crate) fn host_of(&self, proc: ProcId) -> Option<HostId> {
        self.procs.get(proc).map(|proc| proc.host)
    }

    pub(crate) fn is_alive(&self, proc: ProcId) -> bool {
        self.procs.get(proc).is_some_and(|proc| proc.brain.is_some())
    }

    /// The sockets that a machine holds, by its own count.
    pub(crate) fn census(&self, proc: ProcId) -> [usize; 4] {
        self.brain(proc).map_or([0; 4], |brain| brain.census())
    }

    /// What a machine has not finished, by its own count.
    pub(crate) fn unfinished(&self, proc: ProcId) -> Vec<(&'static str, usize)> {
        let all = self.brain(proc).map_or_else(Vec::new, |brain| brain.unfinished());
        all.into_iter().filter(|(_, count)| *count > 0).collect()
    }

    /// Steps that a machine has counted.
    pub(crate) fn effort(&self, proc: ProcId) -> u64 {
        self.brain(proc).map_or(0, |brain| brain.effort())
    }

    fn brain(&self, proc: ProcId) -> Option<&dyn Brain> {
        self.procs.get(proc)?.brain.as_deref()
    }

    /// When a machine wants its next tick.
    pub(crate) fn deadline(&self, proc: ProcId) -> Option<Instant> {
        self.brain(proc).and_then(|brain| brain.deadline())
    }

    /// A process is killed. Its kernel ends its streams; its supervisor, if it has one, kills its commands and then lets go
    /// of its listening sockets.
    pub(crate) fn kill(&mut self, id: ProcId) {
        self.ctx.hits.all_at([Target::Proc(id)]);
        self.judge_hits();
        let Some(proc) = self.procs.get_mut(id) else { return };
        if proc.brain.take().is_none() {
            return;
        }
        proc.stash.clear();
        proc.frozen = false;
        self.ctx.trace.gone(self.ctx.now, u64::from(id.0), "its process is killed");
        let supervised = proc.supervised;
        self.look(id);
        self.net.process_died(&mut self.ctx, id);
        if supervised {
            self.processes.executor_died(&mut self.ctx, id);
        } else {
            self.net.close_listeners(&mut self.ctx, id);
        }
    }

    /// A host loses its power, with everything on it but its disk.
    pub(crate) fn power_off(&mut self, host: HostId) {
        self.ctx.hits.all_at([Target::Host(host)]);
        self.judge_hits();
        self.ctx.host_mut(host).up = false;
        self.ctx.host_mut(host).asleep = false;
        self.asleep.remove(&host);
        let mut died = Vec::new();
        for (id, proc) in self.procs.iter_mut().filter(|(_, proc)| proc.host == host) {
            if proc.brain.is_some() {
                self.ctx.trace.gone(self.ctx.now, u64::from(id.0), "its host has lost its power");
            }
            proc.brain = None;
            proc.frozen = false;
            proc.stash.clear();
            died.push(id);
        }
        died.iter().for_each(|id| self.look(*id));
        self.net.host_died(host, &died);
        self.processes.host_died(host);
    }

    pub(crate) fn power_on(&mut self, host: HostId) {
        self.ctx.host_mut(host).up = true;
    }

    /// A process is stopped; its kernel, its supervisor and its commands go on.
    pub(crate) fn freeze(&mut self, id: ProcId) {
        self.ctx.hits.all_at([Target::Proc(id)]);
        if let Some(proc) = self.procs.get_mut(id) {
            proc.frozen = proc.brain.is_some();
            self.ctx.trace.state(self.ctx.now, u64::from(id.0), "frozen");
        }
    }

    /// It goes on, with everything that came meanwhile.
    pub(crate) fn thaw(&mut self, id: ProcId) {
        let Some(proc) = self.procs.get_mut(id) else { return };
        if core::mem::take(&mut proc.frozen) {
            self.ctx.trace.state(self.ctx.now, u64::from(id.0), "running");
        }
        let mut stash = core::mem::take(&mut proc.stash);
        // A runtime may look at its clock first, or at its sockets.
        if self.ctx.choices.chance(500) {
            stash.sort_by_key(|item| !matches!(item, Item::Deadline(..)));
        }
        stash.into_iter().for_each(|item| self.ctx.after(0, item));
    }

    /// A host falls asleep: nothing on it runs, its clock goes on.
    pub(crate) fn sleep(&mut self, host: HostId) {
        self.ctx.hits.all_at([Target::Host(host)]);
        self.ctx.host_mut(host).asleep = true;
        self.tell_state(host, "asleep");
    }

    /// It wakes up.
    pub(crate) fn wake(&mut self, host: HostId) {
        let now = self.ctx.now;
        let entry = self.ctx.host_mut(host);
        if !entry.asleep {
            return;
        }
        entry.asleep = false;
        entry.woke = Some(now);
        self.tell_state(host, "running");
        let stash = self.asleep.remove(&host).unwrap_or_default();
        // The supervisor is a process of its own: it gets its turn before or after the executor.
        let supervisor = self.ctx.choices.below(400 * MILLI);
        for item in stash {
            let delay = if matches!(item, Item::Run(_)) { supervisor } else { 0 };
            self.ctx.after(delay, item);
        }
    }

    /// For readers: the processes of a host stop, or go on.
    fn tell_state(&mut self, host: HostId, state: &str) {
        for (id, _) in self.procs.iter().filter(|(_, proc)| proc.host == host && proc.brain.is_some()) {
            self.ctx.trace.state(self.ctx.now, u64::from(id.0), state);
        }
    }

    /// Wakes, thaws and mends everything.
    pub(crate) fn heal(&mut self) {
        self.ctx.faulty = false;
        self.ctx.mend_all();
        self.net.heal();
        let frozen: Vec<ProcId> = self.procs.iter().filter(|(_, p)| p.frozen).map(|(id, _)| id).collect();
        frozen.into_iter().for_each(|id| self.thaw(id));
        let hosts: Vec<HostId> = (0..self.ctx.hosts.len()).map(|at| HostId(at as u16)).collect();
        hosts.into_iter().for_each(|host| self.wake(host));
    }

    /// The next thing happens, if it does by `limit`.
    pub(crate) fn step(&mut self, limit: Micros) -> Result<Option<Happening>, Failure> {
        let before = self.ctx.now;
        let Some(item) = self.ctx.next(limit) else { return Ok(None) };
        self.at_once = if self.ctx.now == before { self.at_once + 1 } else { 0 };
        if self.at_once > MAX_AT_ONCE {
            return Err(self.stands_still(&item));
        }
        let at_work = self.proc_of_item(&item).and_then(|proc| self.procs.get(proc));
        self.ctx.choices.enter(at_work.map_or(self.scenario, |proc| proc.place));
        if let Some(host) = self.host_of_item(&item)
            && self.ctx.host(host).asleep
        {
            self.asleep.entry(host).or_default().push(item);
            return Ok(Some(Happening::Inside));
        }
        match item {
            Item::Deliver(proc, event) => self.deliver(proc, event),
            Item::Deadline(proc, generation) => self.tick(proc, generation),
            Item::Net(item) => {
                let stream = item.stream();
                let told = self.net.proceed(&mut self.ctx, item);
                if self.ctx.hits.is_open() {
                    let links = self.net.links_of(stream);
                    self.ctx.hits.all_at(links.into_iter().map(|(proc, link)| Target::Link(proc, link)));
                }
                let Some((proc, event)) = told else { return Ok(Some(Happening::Inside)) };
                let place = self.procs.get(proc).map_or(self.scenario, |proc| proc.place);
                self.ctx.choices.enter(place);
                self.deliver(proc, Event::Net(event))
            }
            Item::Disk(proc, action) => {
                let host = self.host_of(proc).filter(|_| self.is_alive(proc));
                if let Some(host) = host {
                    failure::watch(self.name(proc), self.ctx.now, self.handled);
                    self.disk.proceed(&mut self.ctx, proc, host, action);
                }
                Ok(Some(Happening::Inside))
            }
            Item::Run(item) => {
                let task = watch::run_of(&item).and_then(|run| Some((run.0, self.processes.task_of(run)?)));
                self.processes.proceed(&mut self.ctx, &mut self.disk, item);
                self.ctx.hits.all_at(task.map(|(proc, task)| Target::Task(proc, task)));
                for proc in core::mem::take(&mut self.processes.released) {
                    self.net.close_listeners(&mut self.ctx, proc);
                }
                Ok(Some(Happening::Inside))
            }
            Item::Scenario(number) => Ok(Some(Happening::Due(number))),
        }
    }

    fn host_of_item(&self, item: &Item) -> Option<HostId> {
        self.host_of(self.proc_of_item(item)?)
    }

    fn proc_of_item(&self, item: &Item) -> Option<ProcId> {
        match item {
            Item::Deliver(proc, _) | Item::Deadline(proc, _) | Item::Disk(proc, _) => Some(*proc),
            Item::Run(
                RunItem::Start((proc, _))
                | RunItem::Awake((proc, _))
                | RunItem::Deadline((proc, _))
                | RunItem::Reaped((proc, _))
                | RunItem::Orphaned(proc)
                | RunItem::Released(proc),
            ) => Some(*proc),
            Item::Net(_) | Item::Scenario(_) => None,
        }
    }

    fn deliver(&mut self, id: ProcId, event: Event<Command>) -> Result<Option<Happening>, Failure> {
        let Some(proc) = self.procs.get_mut(id).filter(|proc| proc.brain.is_some()) else {
            return Ok(Some(Happening::Inside));
        };
        if proc.frozen {
            proc.stash.push(Item::Deliver(id, event));
            return Ok(Some(Happening::Inside));
        }
        if let Event::Net(event) = &event
            && !self.net.delivers(id, event)
        {
            return Ok(Some(Happening::Inside));
        }
        self.handle(id, event)
    }

    fn tick(&mut self, id: ProcId, generation: u64) -> Result<Option<Happening>, Failure> {
        let Some(proc) = self.procs.get_mut(id).filter(|proc| proc.brain.is_some()) else {
            return Ok(Some(Happening::Inside));
        };
        if proc.frozen {
            proc.stash.push(Item::Deadline(id, generation));
            return Ok(Some(Happening::Inside));
        }
        if proc.generation != generation {
            return Ok(Some(Happening::Inside));
        }
        proc.armed = None;
        let Some(due) = proc.deadline else { return Ok(Some(Happening::Inside)) };
        let at = self.ctx.hosts[usize::from(proc.host.0)].clock.global(due);
        if at > self.ctx.now {
            proc.arm(&mut self.ctx, id, at);
            return Ok(Some(Happening::Inside));
        }
        let before = proc.deadline.take();
        let happening = self.handle(id, Event::Tick)?;
        let Some(proc) = self.procs.get_mut(id) else { return Ok(happening) };
        proc.spins = if proc.deadline.is_some() && proc.deadline == before { proc.spins + 1 } else { 0 };
        if proc.spins > MAX_SPINS {
            let what = format!("its deadline stays at {before:?} however often it ticks");
            return Err(self.failure(id, FailureKind::Liveness, "spin", what));
        }
        Ok(happening)
    }

    fn handle(&mut self, id: ProcId, event: Event<Command>) -> Result<Option<Happening>, Failure> {
        self.judge_hits();
        let now = self.ctx.now;
        let Some(proc) = self.procs.get_mut(id) else { return Ok(None) };
        let (host, name) = (proc.host, &proc.name);
        let Some(brain) = proc.brain.as_mut() else { return Ok(None) };
        failure::watch(name, now, self.handled);
        let (who, trace) = (u64::from(id.0), &mut self.ctx.trace);
        match &event {
            Event::Tick => trace.record(now, who, name, &Ticked),
            Event::Net(event) => trace.record(now, who, name, event),
            Event::Disk(event) => trace.record(now, who, name, event),
            Event::Process(event) => trace.record(now, who, name, event),
            Event::Command(command) => trace.record(now, who, name, command),
        }
        if let (Some(tap), Event::Net(NetEvent::Received { link, data })) = (&mut self.tap, &event) {
            tap.bytes(id, *link, Door::Received, [data]);
        }
        let local = self.ctx.hosts[usize::from(host.0)].clock.local(now);
        let mut actions = core::mem::take(&mut self.actions);
        let (scope, reach) = (Scope::of(&event), Reach::of(&event));
        brain.handle(local, event, &mut actions);
        if let Some(marks) = &mut self.marks {
            marks.look((now, id), brain.as_ref(), reach, &actions);
        }
        self.handled += 1;
        let links = brain.census()[0];
        let due = proc.unchecked >= UNCHECKED * links;
        let spared = links > LARGE && proc.unchecked < links / 8;
        if due || !(scope.check(brain.as_ref(), &actions) || spared) {
            proc.unchecked = 0;
            brain.check_invariants();
        } else {
            proc.unchecked += 1;
        }
        let deadline = brain.deadline();
        if deadline != proc.deadline {
            proc.deadline = deadline;
            if let Some(deadline) = deadline {
                let at = self.ctx.host(host).clock.global(deadline);
                // One microsecond at the least: a machine that wants a tick at once gets it, and time goes on.
                proc.arm(&mut self.ctx, id, at.max(now + 1));
            }
        }
        for action in actions.drain(..) {
            self.act(id, host, action);
        }
        self.actions = actions;
        if self.ctx.fault(Fault::SpuriousTick, 5) {
            self.ctx.hits.all_at([Target::Proc(id)]);
            let delay = self.ctx.value(0, 100 * MILLI);
            self.ctx.after(delay, Item::Deliver(id, Event::Tick));
        }
        Ok(Some(Happening::Handled))
    }

    fn act(&mut self, id: ProcId, host: HostId, action: Action<Notice>) {
        let (now, who) = (self.ctx.now, u64::from(id.0));
        let name = self.procs.get(id).map_or("", |proc| &proc.name);
        match action {
            Action::Net(action) => {
                self.ctx.trace.record(now, who, name, &action);
                if let (Some(tap), NetAction::Send { link, buffers }) = (&mut self.tap, &action) {
                    tap.bytes(id, *link, Door::Sent, buffers);
                }
                let target = marks::target(id, &action);
                self.net.act(&mut self.ctx, id, host, action);
                self.ctx.hits.all_at(target);
            }
            Action::Disk(action) => {
                self.ctx.trace.record(now, who, name, &action);
                let request = marks::request(&action.request);
                self.disk.act(&mut self.ctx, id, action);
                self.ctx.hits.all_at([Target::Disk(request)]);
            }
            Action::Process(action) => {
                self.ctx.trace.record(now, who, name, &action);
                let task = marks::task(id, &action);
                self.processes.act(&mut self.ctx, &mut self.disk, id, host, action);
                self.ctx.hits.all_at(task);
            }
            Action::Notify(notice) => {
                self.ctx.trace.record(now, who, name, &notice);
                self.notices.push_back((id, notice));
            }
        }
    }

    /// Time does not go on.
    fn stands_still(&self, item: &Item) -> Failure {
        let whose = self.proc_of_item(item).unwrap_or(ProcId(0));
        let what = format!("{MAX_AT_ONCE} things happen at one moment, and then {item:?}");
        self.failure(whose, FailureKind::Liveness, "spin", what)
    }

    /// A failure on a node, now.
    pub(crate) fn failure(
        &self,
        proc: ProcId,
        kind: FailureKind,
        oracle: &'static str,
        what: impl Into<String>,
    ) -> Failure {
        let (node, at) = (self.name(proc).to_owned(), self.ctx.now);
        Failure { kind, oracle, what: what.into(), node, at, event: self.handled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choices::Choices;
    use crate::clock::Clock;
    use crate::faults::Injection;
    use std::sync::{Arc, Mutex};

    /// Holds two links by its own count, acts on one at each tick, and writes down what is checked.
    #[derive(Debug)]
    struct Witness(Arc<Mutex<Vec<Option<LinkId>>>>);

    impl Brain for Witness {
        fn handle(&mut self, _: Instant, _: Event<Command>, actions: &mut Vec<Action<Notice>>) {
            actions.push(Action::Net(NetAction::Close { link: LinkId(7) }));
        }

        fn deadline(&self) -> Option<Instant> {
            None
        }

        fn check_invariants(&self) {
            self.0.lock().expect("nobody panicked").push(None);
        }

        fn checks_links(&self) -> bool {
            true
        }

        fn check_link(&self, link: LinkId) {
            self.0.lock().expect("nobody panicked").push(Some(link));
        }

        fn census(&self) -> [usize; 4] {
            [2, 0, 0, 0]
        }

        fn unfinished(&self) -> Vec<(&'static str, usize)> {
            Vec::new()
        }
    }

    #[test]
    fn a_moment_that_does_not_end_is_seen() {
        let ctx = Context::new(Choices::seeded(1, "here"), Injection::Planned(Vec::new()), false);
        let mut world = World::new(ctx);
        world.plan(5, 1);
        let failure = loop {
            match world.step(10) {
                Ok(Some(Happening::Due(number))) => world.plan(5, number),
                Ok(_) => panic!("nothing else is planned"),
                Err(failure) => break failure,
            }
        };
        assert_eq!((failure.kind, failure.oracle, failure.at), (FailureKind::Liveness, "spin", 5));
        assert!(failure.what.contains("Scenario(1)"), "{failure}");
    }

    #[test]
    fn each_event_checks_the_links_that_it_concerns_and_some_events_check_all() {
        let mut ctx = Context::new(Choices::seeded(1, "here"), Injection::Planned(Vec::new()), false);
        let host = ctx.add_host("host", Clock::exact());
        let mut world = World::new(ctx);
        let checked = Arc::new(Mutex::new(Vec::new()));
        let proc = world.start(host, "witness", Box::new(Witness(Arc::clone(&checked))), false);
        let mut checks = |event: Event<Command>| {
            world.handle(proc, event).expect("no oracle");
            core::mem::take(&mut *checked.lock().expect("nobody panicked"))
        };
        let received = Event::Net(NetEvent::Sent { link: LinkId(3) });
        assert_eq!(checks(received), [Some(LinkId(3)), Some(LinkId(7))]);
        assert_eq!(checks(Event::Tick), [Some(LinkId(7))]);
        assert_eq!(
            checks(Event::Net(NetEvent::Closed { link: LinkId(7) })),
            [None],
            "it may change anything"
        );
        let until_all = (1..).find(|_| checks(Event::Tick) == [None]);
        assert_eq!(until_all, Some(UNCHECKED * 2 + 1));
    }
}
