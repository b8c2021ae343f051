//! What the application of one node does: whom it knows of, where it listens, what it sends.

use super::{ACT, DOWN, Messengers, PORT, SEND};
use crate::clock::{MILLI, Micros, SECOND};
use crate::context::{HostId, ProcId};
use crate::failure::Failure;
use crate::talk::Talk;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use xxnet_core::messenger::MessengerCommand;
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Address, ConnectionId, Token};

/// What one application knows of its messenger.
#[derive(Debug, Default)]
pub(super) struct Application {
    /// Where each token sends to, as the messenger was told last.
    routes: BTreeMap<Token, Address>,
    /// Who is connected, and where they can be sent to.
    pub(super) peers: BTreeMap<ConnectionId, Address>,
    /// Where it listens, or has asked to.
    listener: Option<SocketAddr>,
    opening: bool,
    /// It is shutting down: by when that is over, and how much longer it may take for each time it was stopped.
    pub(super) must_be_down: Option<(Micros, Micros)>,
    pub(super) is_down: bool,
    /// It was stopped since.
    pub(super) disturbed: bool,
    /// A slow reader will read on.
    pub(super) reads: bool,
}

/// What a shutdown may take besides its drain: last words, and a listener that closes.
const LAST_WORDS: Micros = 4 * SECOND;

impl Application {
    pub(super) fn listens(&mut self, address: SocketAddr) {
        (self.listener, self.opening) = (Some(address), false);
    }

    pub(super) fn does_not_listen(&mut self) {
        if core::mem::take(&mut self.opening) {
            self.listener = None;
        }
    }

    pub(super) fn is_listening(&self) -> bool {
        self.listener.is_some() && !self.opening
    }

    pub(super) fn leaves(&self) -> bool {
        self.must_be_down.is_some()
    }
}

/// Where a node listens, for all who know of it.
fn listening(host: HostId) -> Address {
    host.socket(PORT).into()
}

impl Messengers {
    /// A node does something, and will again.
    pub(super) fn act(&mut self, at: usize) -> Result<(), Failure> {
        if !self.world.ctx.faulty || self.acts == 0 {
            return Ok(());
        }
        let delay = self.world.ctx.choices.scaled(MILLI, 4 * SECOND);
        self.plan(delay, ACT, at, 0);
        let Some(proc) = self.alive(at).filter(|_| !self.nodes[at].is_down) else { return Ok(()) };
        if !self.weather.is_still(at) {
            // It has judged by now whatever it was given before.
            let verdict = self.account.bound(proc);
            self.complain(proc, verdict)?;
        }
        self.strike(at, proc);
        if self.alive(at).is_some() {
            self.do_something(at, proc);
        }
        Ok(())
    }

    fn do_something(&mut self, at: usize, proc: ProcId) {
        if self.talk.is_some() {
            return self.talk_on(at, proc);
        }
        if self.world.ctx.choices.chance(self.temper.restless) {
            if self.world.ctx.choices.chance(300) {
                self.shut_down(at, proc);
            } else {
                self.part(at, proc);
            }
            return;
        }
        match self.world.ctx.choices.below(12) {
            0..=6 => {
                let to = self.somebody(at);
                let count = self.world.ctx.choices.scaled(1, 16);
                self.send(at, proc, &to, count);
            }
            7 => {
                let to = self.somebody(at);
                let count = self.world.ctx.choices.scaled(16, 60);
                self.send(at, proc, &to, count);
            }
            8 | 9 => self.cross(at),
            10 => self.forget(at, proc),
            _ if self.nodes[at].listener.is_none() => self.listen(at, proc),
            _ => self.unlisten(at, proc),
        }
    }

    /// What they talk about goes on.
    pub(super) fn talk_on(&mut self, at: usize, proc: ProcId) {
        match self.talk {
            Some(Talk::Chat(_)) => self.say(at, proc),
            Some(Talk::Bulk(largest)) => self.send_beside_bulk(at, proc, largest),
            Some(Talk::SlowReaders(_)) => {
                for other in (0..self.nodes.len()).filter(|other| *other != at) {
                    let count = self.world.ctx.choices.scaled(1, 16);
                    self.send(at, proc, &listening(self.weather.host(other)), count);
                }
            }
            None => {}
        }
    }

    /// Says something in a room.
    fn say(&mut self, at: usize, proc: ProcId) {
        let rooms = self.chat.rooms_of(at);
        if rooms.is_empty() {
            return;
        }
        let room = *self.world.ctx.choices.pick(&rooms);
        let utterance = self.chat.utterance();
        for other in self.chat.others(room, at) {
            let ears = self.alive(other);
            self.chat.says(self.account.next(), (room, utterance), proc, (other, ears));
            self.send(at, proc, &listening(self.weather.host(other)), 1);
        }
    }

    /// The first node sends the second one something large; everybody sends everybody something small.
    fn send_beside_bulk(&mut self, at: usize, proc: ProcId, largest: usize) {
        if at == 0 {
            let bytes = self.world.ctx.choices.scaled(largest as u64 / 8, largest as u64);
            self.send_sized(at, proc, &listening(self.weather.host(1)), &[bytes as usize]);
        }
        for other in (0..self.nodes.len()).filter(|other| *other != at) {
            for _ in 0..self.world.ctx.choices.between(1, 3) {
                let bytes = self.world.ctx.choices.between(1, 64) as usize;
                self.prompt.sent(self.account.next(), at, other, self.world.ctx.now);
                self.send_sized(at, proc, &listening(self.weather.host(other)), &[bytes]);
            }
        }
    }

    fn other(&mut self, at: usize) -> usize {
        let other = self.world.ctx.choices.below(self.nodes.len() as u64 - 1) as usize;
        other + usize::from(other >= at)
    }

    /// Two nodes send to each other, some more than once, so that their dials cross.
    fn cross(&mut self, at: usize) {
        let other = self.other(at);
        for (from, to) in [(at, other), (other, at)] {
            for _ in 0..self.world.ctx.choices.between(1, 3) {
                let delay = self.world.ctx.choices.below(20 * MILLI);
                self.plan(delay, SEND, from, to);
            }
        }
    }

    pub(super) fn send_to_listener(&mut self, at: usize, other: usize) {
        let Some(proc) = self.alive(at) else { return };
        let to = listening(self.weather.host(other));
        let count = self.world.ctx.choices.scaled(1, 4);
        self.send(at, proc, &to, count);
    }

    /// Somebody to send to: most often one that listens, or is connected.
    fn somebody(&mut self, at: usize) -> Address {
        let other = self.other(at);
        let host = self.weather.host(other);
        let peers: Vec<Address> = self.nodes[at].peers.values().cloned().collect();
        match self.world.ctx.choices.below(16) {
            6..=9 if !peers.is_empty() => self.world.ctx.choices.pick(&peers).clone(),
            10 | 11 => Address::Name(format!("node-{other}"), PORT),
            12 => listening(self.weather.host(at)),
            13 if self.world.ctx.choices.chance(500) => {
                SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT).into()
            }
            13 => Address::Name(format!("node-{at}"), PORT),
            14 => host.socket(9).into(),
            15 if self.world.ctx.choices.chance(500) => Address::Name("nobody".to_owned(), PORT),
            15 => HostId(200).socket(PORT).into(),
            _ => listening(host),
        }
    }

    /// Gives the messenger some messages, under a token of this address.
    pub(super) fn send(&mut self, at: usize, proc: ProcId, to: &Address, count: u64) {
        let sizes: Vec<usize> = (0..count)
            .map(|_| self.world.ctx.choices.scaled(1, self.temper.largest.min(40_000)) as usize)
            .collect();
        self.send_sized(at, proc, to, &sizes);
    }

    /// The same, of these sizes.
    fn send_sized(&mut self, at: usize, proc: ProcId, to: &Address, sizes: &[usize]) {
        if self.nodes[at].is_down {
            return;
        }
        let known = self.nodes[at].routes.iter().filter(|(_, route)| *route == to);
        let known: Vec<Token> = known.map(|(token, _)| *token).collect();
        let token = if known.is_empty() || self.world.ctx.choices.chance(100) {
            self.open(at, proc, to)
        } else {
            *self.world.ctx.choices.pick(&known)
        };
        let packs = sizes.iter().map(|filler| {
            let message = self.account.offer(proc, self.world.ctx.now, token, to, *filler);
            DataPack::new(PackType::RAW, message)
        });
        let packs = packs.collect();
        self.tell(proc, MessengerCommand::Send { token, packs });
    }

    /// A new name for an address; sometimes one that stood for another.
    fn open(&mut self, at: usize, proc: ProcId, to: &Address) -> Token {
        let used = self.nodes[at].routes.keys().next().copied();
        let token = match used.filter(|_| self.world.ctx.choices.chance(100)) {
            Some(token) => token,
            None => self.token(),
        };
        self.nodes[at].routes.insert(token, to.clone());
        self.tell(proc, MessengerCommand::Open { token, to: to.clone() });
        token
    }

    fn forget(&mut self, at: usize, proc: ProcId) {
        let tokens: Vec<Token> = self.nodes[at].routes.keys().copied().collect();
        if !tokens.is_empty() {
            let token = *self.world.ctx.choices.pick(&tokens);
            self.nodes[at].routes.remove(&token);
            self.tell(proc, MessengerCommand::Forget { token });
        }
    }

    pub(super) fn listen(&mut self, at: usize, proc: ProcId) {
        let host = self.weather.host(at).socket(PORT);
        let everywhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT);
        let address = *self.world.ctx.choices.pick(&[host, host, everywhere]);
        (self.nodes[at].listener, self.nodes[at].opening) = (Some(address), true);
        let token = self.token();
        self.tell(proc, MessengerCommand::Listen { token, address: address.into() });
    }

    fn unlisten(&mut self, at: usize, proc: ProcId) {
        if self.nodes[at].is_listening()
            && let Some(address) = self.nodes[at].listener.take_if(|_| self.world.ctx.choices.chance(200))
        {
            self.account.unlistens(proc);
            self.tell(proc, MessengerCommand::Unlisten { address: address.into() });
        }
    }

    /// Ends a session, or gives an address up.
    fn part(&mut self, at: usize, proc: ProcId) {
        let to = self.somebody(at);
        self.account.parts(proc);
        self.tell(proc, MessengerCommand::Disconnect { to });
    }

    pub(super) fn shut_down(&mut self, at: usize, proc: ProcId) {
        let drain = *self.world.ctx.choices.pick(&[5 * SECOND, 0, 20 * MILLI, SECOND, 20 * SECOND]);
        self.shut_down_within(at, proc, drain);
    }

    pub(super) fn shut_down_within(&mut self, at: usize, proc: ProcId, drain: Micros) {
        for _ in 0..self.world.ctx.choices.between(1, 2) {
            self.tell(proc, MessengerCommand::Shutdown { drain: Duration::from_micros(drain) });
        }
        if self.nodes[at].leaves() {
            return;
        }
        self.account.closes(proc);
        // Its clock may be slow.
        let grace = (drain + LAST_WORDS) * 12 / 10;
        self.nodes[at].must_be_down = Some((self.world.ctx.now + grace, grace));
        self.nodes[at].disturbed = self.weather.is_still(at);
        self.plan(grace, DOWN, at, 0);
    }
}
