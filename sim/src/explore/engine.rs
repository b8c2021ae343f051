//! Processes and packs by number, and what each input makes of each process.
//!
//! A machine is a function of its state, the time and its input. So what an input does is found once: every later time that the
//! same process meets the same input, in whichever state of the rest of the world, the answer is looked up.

use super::application::Application;
use super::hash::{Map, fingerprint};
use super::node::{Effect, Input, Node};
use super::scenario::{Scenario, address};
use super::world::World;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use xxnet_core::net::{Endpoint, NetError, NetEvent};
use xxnet_core::pack::{DataPack, Decoder, PackType};
use xxnet_core::{Instant, LinkId, RunId};

/// What comes to a process, by numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Cause {
    Tick,
    Command(u8),
    Exit(RunId),
    Received(LinkId, u32),
    PeerClosed(LinkId),
    Broken(LinkId),
    /// Our dial of this node has succeeded.
    Dialed(LinkId, u8),
    Refused(LinkId),
    /// A dial of that node's, on that link of its.
    Accepted(u8, LinkId),
}

/// What a process does, by numbers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Dial(LinkId, u8),
    Send(LinkId, u32),
    Shutdown(LinkId),
    Close(LinkId),
}

/// What an input has made of a process.
#[derive(Debug)]
pub(super) struct Stepped {
    pub(super) node: u32,
    pub(super) deeds: Vec<Deed>,
}

#[derive(Debug)]
struct Known {
    node: Node,
    deadline: Option<Instant>,
}

#[derive(Debug)]
struct Pack {
    bytes: Vec<u8>,
    keepalive: bool,
}

/// All that was met.
#[derive(Debug)]
pub(super) struct Engine {
    pub(super) scenario: Scenario,
    nodes: Vec<Known>,
    by_hash: Map<u64, u32>,
    packs: Vec<Pack>,
    by_bytes: Map<Vec<u8>, u32>,
    known: Map<(u32, Instant, u8, Cause), Rc<Stepped>>,
}

impl Engine {
    pub(super) fn new(scenario: Scenario) -> Self {
        Self {
            scenario,
            nodes: Vec::new(),
            by_hash: Map::default(),
            packs: Vec::new(),
            by_bytes: Map::default(),
            known: Map::default(),
        }
    }

    /// A process of this world, if it is up.
    pub(super) fn node(&self, world: &World, at: usize) -> Option<&Node> {
        Some(self.at(world.slots.get(at)?.up?))
    }

    pub(super) fn application(&self, world: &World, at: usize) -> Option<&Application> {
        self.node(world, at).map(|node| &node.application)
    }

    /// Whether every application has asked for all that it wants.
    pub(super) fn all_done(&self, world: &World) -> bool {
        (0..self.scenario.nodes()).all(|at| self.application(world, at).is_some_and(Application::is_done))
    }

    pub(super) fn at(&self, number: u32) -> &Node {
        &self.nodes[number as usize].node
    }

    pub(super) fn deadline(&self, number: u32) -> Option<Instant> {
        self.nodes[number as usize].deadline
    }

    /// How many different processes, and steps of them, were met.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.nodes.len(), self.known.len())
    }

    /// The number of a process.
    pub(super) fn intern(&mut self, node: Node) -> u32 {
        let next = self.nodes.len() as u32;
        let number = *self.by_hash.entry(fingerprint(&node)).or_insert(next);
        if number == next {
            let deadline = node.deadline();
            self.nodes.push(Known { node, deadline });
        }
        number
    }

    pub(super) fn keepalive(&self, pack: u32) -> bool {
        self.packs[pack as usize].keepalive
    }

    /// What the cause makes of the process `number`, which is the node `at`; the words of a panic if the machine contradicts
    /// itself.
    pub(super) fn step(
        &mut self,
        at: u8,
        number: u32,
        now: Instant,
        cause: Cause,
    ) -> Result<Rc<Stepped>, String> {
        if let Some(stepped) = self.known.get(&(number, now, at, cause)) {
            return Ok(stepped.clone());
        }
        let mut node = self.at(number).clone();
        let input = self.input(at, &node, cause);
        let effects = catch_unwind(AssertUnwindSafe(|| node.step(now, input))).map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
        })?;
        let deeds = effects.into_iter().filter_map(|effect| self.deed(effect)).collect();
        let stepped = Rc::new(Stepped { node: self.intern(node), deeds });
        self.known.insert((number, now, at, cause), stepped.clone());
        Ok(stepped)
    }

    fn input(&self, at: u8, node: &Node, cause: Cause) -> Input {
        Input::Net(match cause {
            Cause::Tick => return Input::Tick,
            Cause::Command(number) => return Input::Command(number),
            Cause::Exit(run) => return Input::Exit(run),
            Cause::Received(link, pack) => {
                NetEvent::Received { link, data: self.packs[pack as usize].bytes.clone().into() }
            }
            Cause::PeerClosed(link) => NetEvent::PeerClosed { link },
            Cause::Broken(link) => NetEvent::Broken { link, error: NetError::Reset },
            Cause::Dialed(link, to) => {
                NetEvent::Dialed { link, peer: address(usize::from(to)).into(), local: outgoing(at, link) }
            }
            Cause::Refused(link) => NetEvent::DialFailed { link, error: NetError::Refused },
            Cause::Accepted(from, theirs) => {
                let (listener, link) =
                    node.accept.unwrap_or_else(|| unreachable!("an accept is always armed"));
                NetEvent::Accepted {
                    listener,
                    link,
                    peer: outgoing(from, theirs),
                    local: address(usize::from(at)).into(),
                }
            }
        })
    }

    fn deed(&mut self, effect: Effect) -> Option<Deed> {
        Some(match effect {
            Effect::Dial(link, to) => {
                let node = (0..self.scenario.nodes()).find(|node| Endpoint::from(address(*node)) == to)?;
                Deed::Dial(link, node as u8)
            }
            Effect::Send(link, bytes) => Deed::Send(link, self.pack(bytes)),
            Effect::Shutdown(link) => Deed::Shutdown(link),
            Effect::Close(link) => Deed::Close(link),
        })
    }

    fn pack(&mut self, bytes: Vec<u8>) -> u32 {
        if let Some(number) = self.by_bytes.get(&bytes) {
            return *number;
        }
        let number = self.packs.len() as u32;
        let keepalive =
            decode(&bytes).iter().all(|pack| matches!(pack.pack_type, PackType::PING | PackType::PONG));
        self.by_bytes.insert(bytes.clone(), number);
        self.packs.push(Pack { bytes, keepalive });
        number
    }

    pub(super) fn size(&self, pack: u32) -> usize {
        self.packs[pack as usize].bytes.len()
    }

    /// A send for people.
    pub(super) fn describe(&self, pack: u32) -> String {
        decode(&self.packs[pack as usize].bytes).into_iter().map(name).collect::<Vec<_>>().join(" + ")
    }
}

fn decode(bytes: &[u8]) -> Vec<DataPack> {
    let mut decoder = Decoder::new(1 << 24);
    decoder.feed(bytes.to_vec().into());
    std::iter::from_fn(|| decoder.next().ok().flatten()).collect()
}

fn name(pack: DataPack) -> String {
    let number = || pack.head[..].try_into().map_or(0, u64::from_le_bytes);
    match pack.pack_type {
        PackType::HELLO => "Hello".to_owned(),
        PackType::WELCOME => "Welcome".to_owned(),
        PackType::CONFIRM => "Confirm".to_owned(),
        PackType::REFUSE => "Refuse".to_owned(),
        PackType::PING => "Ping".to_owned(),
        PackType::PONG => "Pong".to_owned(),
        PackType::GOODBYE => "Goodbye".to_owned(),
        PackType::USE => format!("Use {}", number()),
        PackType::USING => format!("Using {}", number()),
        PackType::ACK => format!("Ack {}", pack.acknowledgement),
        PackType::DICT => format!("message {}", pack.sequence),
        _ => xxnet_core::message::Message::from_pack(pack).map_or_else(
            |error| format!("{error:?}"),
            |message| {
                let text = format!("{message:?}");
                // `Claim(Claim { .. })`: once is enough.
                let start = text.find('(').map_or(0, |at| at + 1);
                text[start..text.len() - 1].chars().take(160).collect()
            },
        ),
    }
}

/// Where a dial comes from: one port a link.
fn outgoing(node: u8, link: LinkId) -> Endpoint {
    Endpoint::Ip(SocketAddr::from(([10, 0, 0, node + 1], 2000 + link.0 as u16)))
}
