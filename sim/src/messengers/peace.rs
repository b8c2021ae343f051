//! After the storm: nothing is broken any more. What was sent settles; whoever listens gets everything; all shut down.

use super::{LAST_WORDS, Messengers};
use crate::clock::{MILLI, Micros, SECOND};
use crate::context::ProcId;
use crate::failure::{Failure, FailureKind};

/// After this, whatever was half-open is noticed.
const NOTICED: Micros = 15 * SECOND;
/// From then on, all that was sent has settled within this: an address that nobody answers at is given up, a session whose peer
/// is no more has expired, a node that shuts down has done so.
const BOUND: Micros = 90 * SECOND;
/// The drain of the last shutdown of all.
const DRAIN: Micros = 5 * SECOND;

impl Messengers {
    pub(super) fn peace(&mut self) -> Result<(), Failure> {
        self.world.heal();
        self.weather.clears();
        for at in 0..self.nodes.len() {
            self.world.power_on(self.weather.host(at));
            if self.weather.proc(at).is_none() {
                self.start(at);
            }
        }
        if self.world.ctx.calm {
            let verdict = self.prompt.is_over(self.world.ctx.now);
            self.complain(ProcId(0), verdict)?;
        }
        self.take_all();
        self.run(self.world.ctx.now + NOTICED)?;
        self.settle()?;
        self.everybody_heard()?;
        self.go_on()?;
        self.settle()?;
        self.everybody_heard()?;
        self.rests()?;
        self.leave()
    }

    fn take_all(&mut self) {
        for at in 0..self.nodes.len() {
            let Some(proc) = self.weather.proc(at) else { continue };
            self.account.of(proc).into_iter().for_each(|on| self.take_to(proc, on, None));
        }
    }

    /// Until everything that was sent has settled, and both ends of every session agree.
    fn settle(&mut self) -> Result<(), Failure> {
        self.until(|all, at, proc| {
            let leaves = all.nodes[at].leaves().then(|| ("down", "is not down".to_owned()));
            leaves.or_else(|| all.account.unrest(proc))
        })
    }

    fn everybody_heard(&self) -> Result<(), Failure> {
        let verdict = self.chat.is_complete(|proc| self.world.is_alive(proc));
        verdict.map_err(|(oracle, what)| self.world.failure(ProcId(0), FailureKind::Liveness, oracle, what))
    }

    /// In peace, nothing waits or is under way: no queue, no buffer, no link but those of sessions.
    fn rests(&mut self) -> Result<(), Failure> {
        self.until(|all, at, proc| {
            let (unfinished, [links, listeners, ..]) = (all.world.unfinished(proc), all.world.census(proc));
            // One's own address is no session.
            let sessions = all.account.of(proc).len() - 1;
            let listens = usize::from(all.nodes[at].is_listening());
            let rests = unfinished.is_empty() && (links, listeners) == (sessions, listens);
            let what = || {
                format!("has {links} links for {sessions} sessions, {listeners} listeners for {listens}, {unfinished:?}")
            };
            (!rests).then(|| ("unfinished", what()))
        })
    }

    fn until(
        &mut self,
        trouble: impl Fn(&Self, usize, ProcId) -> Option<(&'static str, String)>,
    ) -> Result<(), Failure> {
        let limit = self.world.ctx.now + BOUND;
        loop {
            let left = (0..self.nodes.len()).find_map(|at| match self.weather.proc(at) {
                Some(proc) => trouble(self, at, proc).map(|(oracle, what)| (proc, oracle, what)),
                // It has shut down and comes back.
                None => Some((ProcId(0), "down", "is not back".to_owned())),
            });
            match left {
                None => return Ok(()),
                Some((proc, oracle, what)) if self.world.ctx.now >= limit => {
                    let what = format!("{} s after peace it {what}", BOUND / SECOND);
                    return Err(self.world.failure(proc, FailureKind::Liveness, oracle, what));
                }
                Some(_) => self.run(self.world.ctx.now + SECOND)?,
            }
        }
    }

    /// Everybody sends to everybody, from both ends at once, and nothing is lost.
    fn go_on(&mut self) -> Result<(), Failure> {
        self.calm = true;
        for _ in 0..self.world.ctx.choices.between(4, 12) {
            for at in 0..self.nodes.len() {
                self.talk(at);
            }
            let pause = self.world.ctx.choices.scaled(100, 400 * MILLI);
            self.run(self.world.ctx.now + pause)?;
        }
        self.run(self.world.ctx.now + SECOND)?;
        Ok(())
    }

    /// To each listener, by its name or its socket; over each session; to itself.
    fn talk(&mut self, at: usize) {
        let Some(proc) = self.weather.proc(at) else { return };
        if self.talk.is_some() {
            return self.talk_on(at, proc);
        }
        for other in 0..self.nodes.len() {
            if self.nodes[other].is_listening() && self.world.ctx.choices.chance(700) {
                self.send_to_listener(at, other);
            }
        }
        let peers: Vec<_> = self.nodes[at].peers.values().cloned().collect();
        for to in peers {
            if self.world.ctx.choices.chance(500) {
                let count = self.world.ctx.choices.between(1, 3);
                self.send(at, proc, &to, count);
            }
        }
    }

    /// Half of all shut down in the middle of a talk, then the rest.
    fn leave(&mut self) -> Result<(), Failure> {
        let half = self.nodes.len() / 2;
        (0..self.nodes.len()).for_each(|at| self.talk(at));
        let pause = self.world.ctx.choices.below(10 * MILLI);
        self.run(self.world.ctx.now + pause)?;
        for part in [0..half, half..self.nodes.len()] {
            let procs: Vec<ProcId> = part.clone().filter_map(|at| self.weather.proc(at)).collect();
            for (at, proc) in part.clone().zip(&procs) {
                self.shut_down_within(at, *proc, DRAIN);
            }
            // That it is over in time is seen to by the plan that goes with each shutdown.
            self.run(self.world.ctx.now + DRAIN + LAST_WORDS + 5 * SECOND)?;
            if let Some(proc) = procs.into_iter().find(|proc| self.world.is_alive(*proc)) {
                let what = "was shut down in peace, and is not down";
                return Err(self.world.failure(proc, FailureKind::Liveness, "down", what));
            }
        }
        Ok(())
    }
}
