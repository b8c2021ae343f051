//! After the storm: nothing is broken any more, everybody reaches everybody, both ends of everything agree, and it stays so
//! while they go on dialling each other.

use super::kinds::Kinds;
use super::table::Row;
use super::{DIAL, Mesh};
use crate::clock::{MILLI, Micros, SECOND};
use crate::context::ProcId;
use crate::failure::{Failure, FailureKind};
use crate::machine::Command;
use xxnet_core::ConnectionId;
use xxnet_core::connection::ConnectionCommand;

/// After this, whatever was half-open is noticed.
const NOTICED: Micros = 15 * SECOND;
/// From then on, everybody must have reached everybody, and all that was sent is acknowledged, within this: a session whose
/// peer is no more has expired, the longest pause between two dials is over.
const BOUND: Micros = 75 * SECOND;

/// What is closed in peace is over after this: the drain, and the last words.
const CLOSED: Micros = 5 * SECOND;

impl Mesh {
    pub(super) fn peace(&mut self) -> Result<(), Failure> {
        self.world.heal();
        for at in 0..self.nodes.len() {
            self.world.power_on(self.weather.host(at));
            if self.weather.proc(at).is_none() {
                self.start(at);
            }
        }
        for proc in self.procs() {
            self.ledger.of(proc).into_iter().for_each(|id| self.take_to(proc, id, None));
        }
        self.run(self.world.ctx.now + NOTICED)?;
        self.settle(false)?;
        self.go_on()?;
        self.settle(true)?;
        self.part()?;
        self.rests()?;
        self.destroy()
    }

    fn procs(&self) -> Vec<ProcId> {
        self.weather.procs().collect()
    }

    /// Until everybody reaches everybody and all agree. `spoken`: every session has had messages.
    fn settle(&mut self, spoken: bool) -> Result<(), Failure> {
        let limit = self.world.ctx.now + BOUND;
        loop {
            if spoken {
                self.talk(true);
            }
            self.run((self.world.ctx.now + 5 * SECOND).min(limit))?;
            let trouble = self.reach().or_else(|| self.disagreement(spoken));
            match trouble {
                None => return Ok(()),
                Some((proc, oracle, what)) if self.world.ctx.now >= limit => {
                    let what = format!("{} s after peace it {what}", (BOUND + NOTICED) / SECOND);
                    return Err(self.world.failure(proc, FailureKind::Liveness, oracle, what));
                }
                Some(_) => {}
            }
        }
    }

    /// Everybody dials everybody, again where it did not come up; says what is missing.
    fn reach(&mut self) -> Option<(ProcId, &'static str, String)> {
        let mut missing = None;
        for at in 0..self.nodes.len() {
            let Some(proc) = self.weather.proc(at) else { continue };
            for other in (0..self.nodes.len()).filter(|other| *other != at) {
                for kind in Kinds::DIALLED {
                    if !self.nodes[at].table.reaches(kind, self.nodes[other].instance) {
                        missing = Some((proc, "reach", format!("has not reached node-{other} over {kind}")));
                        self.dial_to(at, other, kind);
                    }
                }
            }
        }
        missing
    }

    /// The first thing that the nodes do not agree on.
    fn disagreement(&self, spoken: bool) -> Option<(ProcId, &'static str, String)> {
        for (at, node) in self.nodes.iter().enumerate() {
            let proc = self.weather.proc(at)?;
            let mut links = 0;
            for (id, row) in node.table.up() {
                links += 1;
                let trouble = match row.kind {
                    Some(kind) if Kinds::is_session(kind) => self.session_trouble(proc, id, spoken),
                    _ => self.plain_trouble(node.instance, id, row),
                };
                if let Some((oracle, what)) = trouble {
                    return Some((proc, oracle, format!("{what}: {id}")));
                }
            }
            let (held, _) = self.world.net.held_by(proc);
            if held != links {
                return Some((proc, "pair", format!("holds {held} links for {links} connections")));
            }
        }
        None
    }

    fn plain_trouble(
        &self,
        me: xxnet_core::InstanceId,
        id: ConnectionId,
        row: &Row,
    ) -> Option<(&'static str, String)> {
        let peer = row.peer.as_ref()?;
        let other = self.nodes.iter().find(|other| other.instance == peer.instance);
        let same = other
            .and_then(|other| other.table.row(peer.connection))
            .and_then(|row| row.peer.as_ref())
            .is_some_and(|back| back.instance == me && back.connection == id);
        let what = || format!("believes to be up with {} of {}, which is not", peer.connection, peer.name);
        (!same).then(|| ("agree", what()))
    }

    fn session_trouble(
        &self,
        proc: ProcId,
        id: ConnectionId,
        spoken: bool,
    ) -> Option<(&'static str, String)> {
        let (key, end) = self.ledger.at(proc, id)?;
        if !self.nodes.iter().any(|node| node.instance == end.peer) {
            return Some(("crash", format!("still has a session with {}, which is no more", end.peer)));
        }
        if let Some(unrest) = end.unrest() {
            return Some(unrest);
        }
        let partner = end.partner.filter(|partner| self.ledger.lives(*partner));
        let agreed = partner.and_then(|partner| self.ledger.at(partner.proc, partner.id));
        let alone = agreed.is_none_or(|(_, other)| other.partner != Some(key));
        (spoken && alone).then(|| ("pair", format!("has a session that {} has not", end.peer)))
    }

    /// Everybody talks and dials on, pairs from both ends at once: no session may even lose its link.
    fn go_on(&mut self) -> Result<(), Failure> {
        self.calm = true;
        for _ in 0..self.world.ctx.choices.between(4, 12) {
            self.talk(false);
            let at = self.world.ctx.choices.below(self.nodes.len() as u64) as usize;
            if self.world.ctx.choices.chance(700) {
                self.cross(at);
            } else {
                let other = self.other(at);
                let kind = *self.world.ctx.choices.pick(&[Kinds::ONE_SESSION, Kinds::MANY_SESSIONS]);
                self.dial_to(at, other, kind);
            }
            let pause = self.world.ctx.choices.scaled(100, 400 * MILLI);
            self.run(self.world.ctx.now + pause)?;
        }
        self.run(self.world.ctx.now + SECOND)?;
        self.calm = false;
        Ok(())
    }

    /// A message on each session, from each end; or only on those that have had none.
    fn talk(&mut self, first: bool) {
        for at in 0..self.nodes.len() {
            let Some(proc) = self.weather.proc(at) else { continue };
            for id in self.ledger.of(proc) {
                let spoken = self.ledger.at(proc, id).is_some_and(|(_, end)| end.partner.is_some());
                if !(first && spoken) {
                    self.send(at, proc, id);
                }
            }
        }
    }

    /// Half of all sessions are closed at one end, with messages under way, and some dialled again in the same moment: nothing
    /// is lost by it, and what is closed is over in time.
    fn part(&mut self) -> Result<(), Failure> {
        self.calm = true;
        let mut closed = Vec::new();
        for at in 0..self.nodes.len() {
            let Some(proc) = self.weather.proc(at) else { continue };
            for id in self.ledger.of(proc) {
                let Some((key, end)) = self.ledger.at(proc, id) else { continue };
                let (kind, peer, partner) = (end.kind, end.peer, end.partner);
                if closed.contains(&key) || self.world.ctx.choices.chance(500) {
                    continue;
                }
                closed.push(key);
                closed.extend(partner);
                let other = self.nodes.iter().position(|node| node.instance == peer);
                if let Some(other) = other.filter(|_| kind == Kinds::PAIR) {
                    let delay = self.world.ctx.choices.below(20 * MILLI);
                    self.plan(delay, DIAL, at, other);
                }
                (0..self.world.ctx.choices.below(4)).for_each(|_| self.send(at, proc, id));
                let delay = 1 + self.world.ctx.choices.below(10 * MILLI);
                let token = self.token();
                self.nodes[at].table.close(id);
                self.world.command(proc, delay, Command::Connections(ConnectionCommand::Close { token, id }));
            }
        }
        self.run(self.world.ctx.now + CLOSED)?;
        if let Some(key) = closed.into_iter().find(|key| self.ledger.lives(*key)) {
            let what = format!("{key} was closed {} s ago, and is not over", CLOSED / SECOND);
            return Err(self.world.failure(key.proc, FailureKind::Liveness, "report", what));
        }
        self.calm = false;
        Ok(())
    }

    /// In peace, nothing waits or is under way: no queue, no buffer, no link but those that are up.
    fn rests(&mut self) -> Result<(), Failure> {
        let limit = self.world.ctx.now + BOUND;
        loop {
            let left = self.nodes.iter().enumerate().find_map(|(at, node)| {
                let proc = self.weather.proc(at)?;
                let (unfinished, [links, listeners, ..]) =
                    (self.world.unfinished(proc), self.world.census(proc));
                let up = node.table.up().count();
                let what =
                    || format!("{up} are up; it has {links} links, {listeners} listeners, {unfinished:?}");
                let rests = unfinished.is_empty() && (links, listeners) == (up, 1);
                (!rests).then(|| (proc, what()))
            });
            match left {
                None => return Ok(()),
                Some((proc, what)) if self.world.ctx.now >= limit => {
                    return Err(self.world.failure(proc, FailureKind::Liveness, "unfinished", what));
                }
                Some(_) => self.run(self.world.ctx.now + SECOND / 2)?,
            }
        }
    }

    fn destroy(&mut self) -> Result<(), Failure> {
        let procs = self.procs();
        for proc in &procs {
            self.tell(*proc, ConnectionCommand::Destroy);
        }
        self.run(self.world.ctx.now + 10 * SECOND)?;
        for proc in procs {
            let (links, listeners) = self.world.net.held_by(proc);
            let (census, deadline) = (self.world.census(proc), self.world.deadline(proc));
            if links + listeners + census.iter().sum::<usize>() > 0 || deadline.is_some() {
                let what = format!(
                    "destroyed, it holds {links} links, {listeners} listeners; its own count is {census:?}, its deadline {deadline:?}"
                );
                return Err(self.world.failure(proc, FailureKind::Safety, "leak", what));
            }
        }
        let audit = self.ledger.audit();
        audit.map_err(|(proc, what)| self.world.failure(proc, FailureKind::Safety, "report", what))
    }
}
