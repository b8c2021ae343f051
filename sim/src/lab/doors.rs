//! What a test does behind one certain message: it stops the world there, breaks a link, says something once more.

use super::{Lab, micros};
use crate::context::ProcId;
use crate::fault::Fault;
use crate::tap::{self, Door, Tap, Wanted};
use bytes::BytesMut;
use core::time::Duration;
use xxnet_core::LinkId;
use xxnet_core::connection::KindId;
use xxnet_core::message::Message;
use xxnet_core::pack::{DataPack, encode_into};

/// A message that has passed a door.
#[derive(Clone, Debug)]
pub struct Passed {
    /// Whose door.
    pub node: String,
    proc: ProcId,
    link: LinkId,
    pack: DataPack,
}

#[allow(clippy::missing_panics_doc, reason = "a test fails by a panic")]
impl Passed {
    /// The message itself; only those of the handshake are none.
    pub fn message(&self) -> Message {
        Message::from_pack(self.pack.clone()).expect("a message of the cluster's")
    }
}

#[allow(clippy::missing_panics_doc, reason = "a test fails by a panic")]
impl Lab {
    fn proc(&self, node: &str) -> ProcId {
        self.cluster.nodes[self.node(node)].proc.unwrap_or_else(|| panic!("{node} is down"))
    }

    /// Runs until the next message of this name has passed a door of a connection of this kind, and not a moment longer.
    /// `at`: whose door; `None`: anybody's.
    pub fn catch(
        &mut self,
        at: Option<&str>,
        door: Door,
        kind: KindId,
        name: &str,
        most: Duration,
    ) -> Passed {
        let wanted = Wanted { door, kind, pack_type: tap::pack_type(name) };
        let at = at.map(|node| self.proc(node));
        self.tap().want(at, wanted);
        let limit = self.now() + micros(most);
        let result =
            self.cluster.run(limit, |cluster| cluster.world.tap.as_ref().is_some_and(Tap::has_caught));
        self.check(result);
        match self.tap().take() {
            Some(tap::Caught { proc, link, pack }) => {
                Passed { node: self.cluster.world.name(proc).to_owned(), proc, link, pack }
            }
            None => self.fail(&format!("after {most:?}: no {name} was {door:?} on a {kind} connection")),
        }
    }

    fn tap(&mut self) -> &mut Tap {
        self.cluster.world.tap.get_or_insert_default()
    }

    /// How often a message has passed a door of a node's present process.
    pub fn passed(&self, node: &str, door: Door, kind: KindId, name: &str) -> usize {
        let wanted = Wanted { door, kind, pack_type: tap::pack_type(name) };
        self.cluster.world.tap.as_ref().map_or(0, |tap| tap.count(self.proc(node), wanted))
    }

    /// The link of a node's newest connection of this kind breaks now, in the way that a fault says. `false`: none is up.
    pub fn break_link(&mut self, node: &str, kind: KindId, how: Fault) -> bool {
        let proc = self.proc(node);
        let links = self.tap().links(proc, kind);
        let world = &mut self.cluster.world;
        links.into_iter().any(|link| world.net.break_link(&mut world.ctx, proc, link, how))
    }

    /// Another message follows on the link that one was sent on, as if its sender had said it.
    pub fn say(&mut self, behind: &Passed, message: Message) {
        let mut bytes = BytesMut::new();
        encode_into(&message.into_pack(), &mut bytes).expect("a message is short enough");
        let world = &mut self.cluster.world;
        let said = world.net.slip_in(&mut world.ctx, behind.proc, behind.link, bytes.freeze());
        assert!(said, "the link of {behind:?} is not up");
    }
}
