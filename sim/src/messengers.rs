//! Messages by address: a handful of nodes that listen or do not, send to whomever they know of, answer, take slowly, part and
//! shut down, over links that break; then peace, in which everything that is sent to somebody who listens is taken.
//!
//! | oracle | promise |
//! | --- | --- |
//! | `events` | a session begins once and ends once; nothing is heard of it before or after |
//! | `session` | what a session brings is numbered from one without a gap, from its peer alone, as it was sent |
//! | `twice` | no message comes twice, whatever sessions there are |
//! | `order` | what one node sends to one address comes in the order in which it was sent: what had to wait, too (N1) |
//! | `address` | a message comes only to whom its address means (N1, N10) |
//! | `report` | what a session ends with as undelivered is what was sent on it behind what was acknowledged (N4, N14) |
//! | `refused` | a message that was rejected, or told as never sent, comes nowhere; and there was a reason (N8) |
//! | `early` | an address is given up only after as long as a session lives without a link (N10) |
//! | `settled` | each message settles once, with its bytes: reported, rejected, or taken by the application at the other end (N4) |
//! | `crash` | a session with an instance that is no more ends, and nothing of it reaches the next one (N11) |
//! | `pair` | one session a pair; in peace it keeps its link, and both ends have it (N3) |
//! | `bound` | a node keeps no more than the limit of its queues, whoever takes slowly (N8) |
//! | `credit` | no session brings more than its window before something is taken: slow readers have bounded memory |
//! | `stuck` | in peace, all that was sent settles in time; what was sent to a living listener is taken (N4, N10) |
//! | `down` | a shutdown is over within its drain and the time for last words (N14) |
//! | `leak` | once it is down nothing is left: no socket, no row, no timer (N14) |
//! | `blame` | nobody says that the other's words make no sense, unless a bit was flipped |
//!
//! Where they chat, `chat.rs` listens too; where there is bulk, `prompt.rs` looks at the clock.

mod account;
mod application;
mod chat;
mod peace;
mod prompt;
mod temper;

use crate::choices::{Choices, Place};
use crate::clock::{Clock, MILLI, Micros, SECOND};
use crate::cluster::Report;
use crate::context::{Context, HostId, ProcId};
use crate::failure::{Failure, FailureKind};
use crate::fault::Fault;
use crate::faults::{Injection, PlannedFault};
use crate::machine::{Adapter, Command, Notice};
use crate::plan::Nodes;
use crate::talk::Talk;
use crate::weather::{self, Weather};
use crate::world::{Happening, World};
pub use account::Messages;
use account::{Account, Verdict};
use application::Application;
use chat::Chat;
use prompt::Prompt;
use temper::Temper;
use xxnet_core::config::{ClusterKey, Config};
use xxnet_core::connection::DisconnectReason;
use xxnet_core::messenger::{Messenger, MessengerCommand, MessengerNotice};
use xxnet_core::net::Endpoint;
use xxnet_core::{ConnectionId, Token};

const PORT: u16 = 9000;

/// Nodes that have nothing but messages.
pub(crate) struct Messengers {
    world: World,
    weather: Weather,
    nodes: Vec<Application>,
    account: Account,
    temper: Temper,
    next_token: u64,
    horizon: Micros,
    /// How often applications still do something.
    acts: u64,
    /// What they talk about, if it is something.
    talk: Option<Talk>,
    chat: Chat,
    prompt: Prompt,
    /// Everything is well and stays so: no session may lose its link, and nothing that is sent to a listener is lost.
    calm: bool,
}

/// Steps of this scenario, besides those of the weather: a node acts, takes what has come, sends to another, must be
/// down, must have nothing left.
const ACT: u32 = weather::FREE;
const TAKE: u32 = weather::FREE + 1;
const SEND: u32 = weather::FREE + 2;
const DOWN: u32 = weather::FREE + 3;
const GONE: u32 = weather::FREE + 4;

/// How long the links and look-ups of one that is down may take.
const LAST_WORDS: Micros = 10 * SECOND;

impl Messengers {
    /// The nodes of a plan.
    pub(crate) fn new(choices: Choices, plan: &Nodes, injection: Injection, keep_trace: bool) -> Self {
        let mut ctx = Context::new(choices, injection, keep_trace);
        ctx.choices.enter(Place::of("temper"));
        let mut temper = Temper::draw(&mut ctx.choices);
        if let Some(talk) = &plan.talk {
            temper.suit(talk);
        }
        let (count, horizon) = (plan.nodes, plan.horizon_us);
        let hosts: Vec<HostId> = (0..count)
            .map(|at| {
                let name = format!("node-{at}");
                ctx.choices.enter(Place::of(&name));
                let clock = Clock::draw(&mut ctx.choices);
                ctx.add_host(name, clock)
            })
            .collect();
        let mut world = World::new(ctx);
        for host in &hosts {
            world.net.name(format!("node-{}", host.0), *host);
        }
        let mut all = Self {
            account: Account::new(&temper),
            nodes: hosts.iter().map(|_| Application::default()).collect(),
            world,
            weather: Weather::new(hosts),
            temper,
            next_token: 0,
            horizon,
            acts: plan.acts.unwrap_or(u64::MAX),
            chat: Chat::new(if let Some(Talk::Chat(rooms)) = &plan.talk { rooms } else { &[] }),
            prompt: Prompt::default(),
            talk: plan.talk.clone(),
            calm: false,
        };
        (0..count).for_each(|at| all.start(at));
        if plan.together {
            // All of them send to each other in the same moment.
            for at in 0..count {
                (0..count)
                    .filter(|other| *other != at)
                    .for_each(|other| all.plan(5 * MILLI, SEND, at, other));
            }
        }
        all
    }

    /// Marks are looked at from now on.
    pub(crate) fn watch(&mut self) {
        self.world.watch();
    }

    /// The whole life.
    pub(crate) fn live(&mut self) -> Result<(), Failure> {
        self.run(self.horizon)?;
        self.peace()
    }

    /// The faults that were injected.
    pub(crate) fn injected(&mut self) -> Vec<PlannedFault> {
        core::mem::take(&mut self.world.ctx.faults.injected)
    }

    pub(crate) fn report(&mut self) -> (Report, Vec<String>) {
        let report = Report {
            faults: self.world.ctx.counts.clone(),
            sessions: self.account.sessions,
            messages: self.account.counts,
            simulated: self.world.ctx.now,
            events: self.world.handled,
            hash: self.world.ctx.trace.hash(),
            marks: self.world.seen(),
            ..Report::default()
        };
        (report, self.world.ctx.trace.take_lines())
    }

    fn run(&mut self, limit: Micros) -> Result<(), Failure> {
        while let Some(happening) = self.world.step(limit)? {
            if let Happening::Due(number) = happening {
                self.due(number)?;
            }
            while let Some((proc, notice)) = self.world.notices.pop_front() {
                if let Notice::Messenger(notice) = notice {
                    self.hear(proc, &notice)?;
                }
            }
        }
        self.world.ctx.now = limit;
        Ok(())
    }

    fn due(&mut self, number: u32) -> Result<(), Failure> {
        let (what, at, other) = self.weather.due(&mut self.world, number);
        match what {
            ACT => return self.act(at),
            weather::RETURN => self.start(at),
            TAKE => self.take(at),
            SEND => self.send_to_listener(at, other),
            DOWN => return self.must_be_down(at),
            GONE => return self.gone(at),
            _ => {}
        }
        Ok(())
    }

    fn plan(&mut self, delay: Micros, what: u32, at: usize, other: usize) {
        weather::plan(&mut self.world, delay, what, at, other);
    }

    fn start(&mut self, at: usize) {
        if !self.weather.comes_back(&mut self.world, at) {
            return;
        }
        let host = self.weather.host(at);
        let instance = weather::instance(&mut self.world, at);
        let mut config =
            Config::new(instance, format!("node-{at}"), ClusterKey([9; 32]), self.world.ctx.choices.word());
        config.limits = self.temper.limits.clone();
        let brain = Box::new(Adapter::new(Messenger::new(config)));
        let proc = self.world.start(host, format!("node-{at}"), brain, false);
        self.weather.started(at, proc);
        self.nodes[at] = Application::default();
        self.account.started(proc, at, instance);
        if self.world.ctx.choices.chance(700) || self.talk.is_some() {
            self.listen(at, proc);
        }
        self.plan(MILLI, ACT, at, 0);
    }

    fn alive(&self, at: usize) -> Option<ProcId> {
        self.weather.proc(at).filter(|proc| self.world.is_alive(*proc))
    }

    fn token(&mut self) -> Token {
        Token::next(&mut self.next_token)
    }

    fn tell(&mut self, proc: ProcId, command: MessengerCommand) {
        self.world.command(proc, 1, Command::Messenger(command));
    }

    fn strike(&mut self, at: usize, proc: ProcId) {
        self.weather.snap(&mut self.world, self.temper.brittle);
        if self.weather.strike(&mut self.world, at) {
            self.account.died(proc);
        }
        self.nodes[at].disturbed |= self.weather.is_still(at);
    }

    // ---- what a messenger tells ----

    fn hear(&mut self, proc: ProcId, notice: &MessengerNotice) -> Result<(), Failure> {
        let Some(at) = self.weather.at(proc) else { return Ok(()) };
        let verdict = self.notice(at, proc, notice);
        self.complain(proc, verdict)?;
        if *notice == MessengerNotice::Down {
            self.down(at);
        }
        Ok(())
    }

    fn complain(&self, proc: ProcId, verdict: Verdict) -> Result<(), Failure> {
        verdict.map_err(|(oracle, what)| self.world.failure(proc, FailureKind::Safety, oracle, what))
    }

    fn notice(&mut self, at: usize, proc: ProcId, notice: &MessengerNotice) -> Verdict {
        self.blame(notice)?;
        let flipped = self.world.ctx.counts.of(Fault::BitFlip) > 0;
        self.account.notice(proc, self.world.ctx.now, flipped, notice)?;
        match notice {
            MessengerNotice::Listening { address: Endpoint::Ip(address), .. } => {
                self.nodes[at].listens(*address);
            }
            MessengerNotice::ListenFailed { .. } | MessengerNotice::Rejected { pack: None, .. } => {
                self.nodes[at].does_not_listen();
            }
            MessengerNotice::Connected { on, at: address, .. } => {
                self.nodes[at].peers.insert(*on, address.clone());
            }
            MessengerNotice::Disconnected { on, undelivered, .. } => {
                self.nodes[at].peers.remove(on);
                self.chat.told(undelivered);
                self.keeps(proc, undelivered, "a session was over")?;
            }
            MessengerNotice::Undelivered { packs, .. } => {
                self.chat.told(packs);
                self.keeps(proc, packs, "an address was given up")?;
            }
            MessengerNotice::Interrupted { on, reason }
                if (self.calm || self.world.ctx.calm) && self.account.stays(proc, *on) =>
            {
                return Err(("pair", format!("{on} has lost its link in peace: {reason}")));
            }
            MessengerNotice::Rejected { pack: Some(pack), .. } => self.chat.told(core::slice::from_ref(pack)),
            MessengerNotice::Received { on, pack } => {
                self.chat.heard(at, proc, pack)?;
                if self.world.ctx.calm {
                    self.prompt.came(pack, self.world.ctx.now)?;
                }
                self.came(at, proc, *on);
            }
            _ => {}
        }
        Ok(())
    }

    /// In peace, nothing is lost of what was sent to somebody who listens and stays.
    fn keeps(&self, proc: ProcId, packs: &[xxnet_core::pack::DataPack], why: &str) -> Verdict {
        if !self.calm {
            return Ok(());
        }
        let stays = |at: usize| self.nodes[at].is_listening() && !self.nodes[at].leaves();
        let from = self.weather.at(proc);
        let lost = packs.iter().find(|pack| {
            let to = self.account.node_of(pack);
            to.is_some_and(|to| stays(to) || (Some(to) == from && self.nodes[to].is_listening()))
        });
        match lost {
            Some(pack) => Err(("stuck", format!("{why} in peace, with {}", self.account.describe(pack)))),
            None => Ok(()),
        }
    }

    /// Whoever sends what cannot be understood has been given other bits by the network.
    fn blame(&self, notice: &MessengerNotice) -> Verdict {
        let (MessengerNotice::Interrupted { reason, .. }
        | MessengerNotice::Disconnected { reason, .. }
        | MessengerNotice::Undelivered { reason, .. }
        | MessengerNotice::Retrying { reason, .. }
        | MessengerNotice::TurnedAway { reason, .. }) = notice
        else {
            return Ok(());
        };
        if matches!(reason, DisconnectReason::Malformed(_)) && self.world.ctx.counts.of(Fault::BitFlip) == 0 {
            return Err(("blame", format!("no bit was flipped, and yet {reason}")));
        }
        Ok(())
    }

    /// A message has come: taken at once or some time later, and answered perhaps.
    fn came(&mut self, at: usize, proc: ProcId, on: ConnectionId) {
        if let Some(pause) = self.slow_pace() {
            if !core::mem::replace(&mut self.nodes[at].reads, true) {
                self.plan(pause, TAKE, at, 0);
            }
            return;
        }
        if self.world.ctx.fault(Fault::SlowApplication, self.temper.slow) {
            self.plan_taking(at);
        } else {
            self.take_to(proc, on, None);
        }
        if self.world.ctx.faulty && self.world.ctx.choices.chance(self.temper.chatty) {
            let to = self.nodes[at].peers.get(&on).cloned();
            to.into_iter().for_each(|to| self.send(at, proc, &to, 1));
        }
    }

    /// An application takes some of what has come, and the rest later.
    fn take(&mut self, at: usize) {
        let Some(proc) = self.alive(at) else { return };
        if let Some(pause) = self.slow_pace() {
            self.nodes[at].reads = self.take_a_few(proc);
            if self.nodes[at].reads {
                self.plan(pause, TAKE, at, 0);
            }
            return;
        }
        for on in self.account.of(proc) {
            let Some((taken, received)) = self.account.waiting(proc, on) else { continue };
            let most = self.world.ctx.choices.between(taken + 1, received);
            self.take_to(proc, on, Some(most));
            if most < received {
                self.plan_taking(at);
            }
        }
    }

    /// How long a slow reader pauses, until peace.
    fn slow_pace(&self) -> Option<Micros> {
        match self.talk {
            Some(Talk::SlowReaders(pause)) if self.world.ctx.faulty => Some(pause),
            _ => None,
        }
    }

    /// A few messages of each session; whether some are left.
    fn take_a_few(&mut self, proc: ProcId) -> bool {
        let mut left = false;
        for on in self.account.of(proc) {
            let Some((taken, received)) = self.account.waiting(proc, on) else { continue };
            let most = received.min(taken + self.world.ctx.choices.between(1, 4));
            self.take_to(proc, on, Some(most));
            left |= most < received;
        }
        left
    }

    fn plan_taking(&mut self, at: usize) {
        let delay = self.world.ctx.choices.scaled(MILLI, 10 * SECOND);
        self.plan(delay, TAKE, at, 0);
    }

    fn take_to(&mut self, proc: ProcId, on: ConnectionId, most: Option<u64>) {
        if let Some(sequence) = self.account.take(proc, on, most) {
            self.tell(proc, MessengerCommand::Taken { on, sequence });
        }
    }

    // ---- the end of one ----

    /// Everything is over, says a messenger; its process goes once the last words are said.
    fn down(&mut self, at: usize) {
        self.nodes[at].is_down = true;
        self.plan(LAST_WORDS, GONE, at, 0);
    }

    /// Of one that is down nothing is left, and everything that it was given is accounted for.
    fn gone(&mut self, at: usize) -> Result<(), Failure> {
        let Some(proc) = self.alive(at).filter(|_| self.nodes[at].is_down) else { return Ok(()) };
        let delay = self.world.ctx.choices.scaled(MILLI, 10 * SECOND);
        if self.weather.is_still(at) {
            self.plan(delay, GONE, at, 0);
            return Ok(());
        }
        let audit = self.account.audit(proc);
        self.complain(proc, audit)?;
        self.account.died(proc);
        let (left, held) = (self.world.unfinished(proc), self.world.net.held_by(proc));
        let (census, deadline) = (self.world.census(proc), self.world.deadline(proc));
        if !left.is_empty() || deadline.is_some() || census.iter().sum::<usize>() + held.0 + held.1 > 0 {
            let what = format!(
                "it is down and has {left:?}, holds {held:?}; its own count is {census:?}, its deadline {deadline:?}"
            );
            return Err(self.world.failure(proc, FailureKind::Safety, "leak", what));
        }
        self.weather.ends(&mut self.world, at, (!self.calm).then_some(delay));
        Ok(())
    }

    fn must_be_down(&mut self, at: usize) -> Result<(), Failure> {
        let Some(proc) = self.alive(at).filter(|_| !self.nodes[at].is_down) else { return Ok(()) };
        let now = self.world.ctx.now;
        let Some((due, grace)) = self.nodes[at].must_be_down.filter(|(due, _)| *due <= now) else {
            return Ok(());
        };
        // What is stopped for a while has that much more time.
        if core::mem::take(&mut self.nodes[at].disturbed) || self.weather.is_still(at) {
            self.nodes[at].disturbed = self.weather.is_still(at);
            self.nodes[at].must_be_down = Some((now + grace, grace));
            self.plan(grace, DOWN, at, 0);
            return Ok(());
        }
        let (late, left) = ((now - due) / MILLI, self.world.unfinished(proc));
        let what = format!("is not down {late} ms after it should be; it has {left:?}");
        Err(self.world.failure(proc, FailureKind::Liveness, "down", what))
    }
}
