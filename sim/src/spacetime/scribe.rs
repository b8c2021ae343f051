//! Stands at the two doors of one machine and writes down what people want to know of it.
//!
//! It reads along what each link carries, with the core's own decoder, in each direction on its own: a message is one record, however
//! many pieces its bytes came in. What it holds is a decoder a direction of each open link, and so at most one unfinished message
//! each; a link that is over is forgotten.

use super::record::{Pack, Passed, What};
use super::words::{self, InWords};
use bytes::Bytes;
use std::collections::BTreeMap;
use xxnet_core::connection::KindId;
use xxnet_core::disk::{DiskAction, DiskEvent};
use xxnet_core::handshake::Hello;
use xxnet_core::net::{Endpoint, NetAction, NetEvent};
use xxnet_core::pack::{DataHeader, Decoder, PackType};
use xxnet_core::process::{ProcessAction, ProcessEvent};
use xxnet_core::{Action, Event, Limits, LinkId};

/// Reads along at one machine. What it is given and what it writes are of one moment; whoever calls it knows which.
#[derive(Debug, Default)]
pub struct Scribe {
    links: BTreeMap<LinkId, Line>,
    /// A timer was due, and nothing has come of it yet.
    due: bool,
}

/// One open link.
#[derive(Debug)]
struct Line {
    local: String,
    peer: String,
    dialled: bool,
    /// Known from its Hello on.
    kind: Option<KindId>,
    sent: Half,
    got: Half,
}

/// One direction of a link.
#[derive(Debug)]
struct Half {
    /// None behind bytes that are no pack.
    decoder: Option<Decoder>,
    fed: u64,
    /// Where the last whole pack ended.
    end: u64,
}

impl Scribe {
    /// Of a machine that has done nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something enters the machine.
    pub fn event<C: InWords>(&mut self, event: &Event<C>, out: &mut Vec<What>) {
        match event {
            Event::Tick => self.timer(),
            Event::Net(event) => self.net_event(event, out),
            Event::Disk(event) => self.disk_event(event, out),
            Event::Process(event) => self.process_event(event, out),
            Event::Command(command) => self.command(command, out),
        }
    }

    /// Something leaves the machine.
    pub fn action<N: InWords>(&mut self, action: &Action<N>, out: &mut Vec<What>) {
        match action {
            Action::Net(action) => self.net_action(action, out),
            Action::Disk(action) => self.disk_action(action, out),
            Action::Process(action) => self.process_action(action, out),
            Action::Notify(notice) => self.notice(notice, out),
        }
    }

    /// The links that are open, as a new file must tell them.
    pub fn known(&self) -> Vec<What> {
        let known = self.links.iter().filter(|(_, line)| !line.peer.is_empty());
        known
            .map(|(link, line)| What::Known {
                link: link.0,
                local: line.local.clone(),
                peer: line.peer.clone(),
                dialled: line.dialled,
                kind: line.kind.map_or_else(String::new, |kind| kind.to_string()),
            })
            .collect()
    }

    /// A timer may be due; it is told if something comes of it.
    pub(crate) fn timer(&mut self) {
        self.due = true;
    }

    fn begin_action(&mut self, out: &mut Vec<What>) {
        if core::mem::take(&mut self.due) {
            out.push(What::Timer);
        }
    }

    /// The network reports something.
    pub(crate) fn net_event(&mut self, event: &NetEvent, out: &mut Vec<What>) {
        self.due = false;
        match event {
            NetEvent::Accepted { link, peer, local, .. } => {
                let line = Line::new(local, peer, false);
                let (local, peer) = (line.local.clone(), line.peer.clone());
                self.links.insert(*link, line);
                out.push(What::Accepted { link: link.0, local, peer });
            }
            NetEvent::Dialed { link, peer, local } => {
                let line = Line::new(local, peer, true);
                let (local, peer) = (line.local.clone(), line.peer.clone());
                self.links.insert(*link, line);
                out.push(What::Dialed { link: link.0, local, peer });
            }
            NetEvent::DialFailed { link, error } => {
                self.links.remove(link);
                out.push(What::DialFailed { link: link.0, why: error.to_string() });
            }
            NetEvent::Received { link, data } => self.pass(*link, false, core::slice::from_ref(data), out),
            NetEvent::PeerClosed { link } => out.push(What::PeerClosed { link: link.0 }),
            NetEvent::Broken { link, error } => {
                self.links.remove(link);
                out.push(What::Broken { link: link.0, why: error.to_string() });
            }
            NetEvent::Closed { link } => {
                self.links.remove(link);
            }
            NetEvent::Resolved { .. }
            | NetEvent::Listening { .. }
            | NetEvent::ListenFailed { .. }
            | NetEvent::AcceptFailed { .. }
            | NetEvent::Unlistened { .. }
            | NetEvent::Sent { .. }
            | NetEvent::ShutdownDone { .. } => {}
        }
    }

    /// The machine asks the network for something.
    pub(crate) fn net_action(&mut self, action: &NetAction, out: &mut Vec<What>) {
        self.begin_action(out);
        match action {
            NetAction::Dial { link, address } => {
                out.push(What::Dial { link: link.0, to: address.to_string() });
            }
            NetAction::Send { link, buffers } => self.pass(*link, true, buffers, out),
            NetAction::Close { link } => out.push(What::Close { link: link.0 }),
            NetAction::Resolve { .. }
            | NetAction::Listen { .. }
            | NetAction::Accept { .. }
            | NetAction::Unlisten { .. }
            | NetAction::Recv { .. }
            | NetAction::Shutdown { .. } => {}
        }
    }

    /// The disk has done something.
    pub(crate) fn disk_event(&mut self, event: &DiskEvent, out: &mut Vec<What>) {
        self.due = false;
        out.extend(words::disk_done(event).map(|words| What::Disk(words.into())));
    }

    /// The machine asks the disk for something.
    pub(crate) fn disk_action(&mut self, action: &DiskAction, out: &mut Vec<What>) {
        self.begin_action(out);
        out.extend(words::disk_request(&action.request).map(|words| What::Disk(words.into())));
    }

    /// A process reports something.
    pub(crate) fn process_event(&mut self, event: &ProcessEvent, out: &mut Vec<What>) {
        self.due = false;
        if let (Some(say), ProcessEvent::SpawnFailed { run, .. } | ProcessEvent::Exited { run, .. }) =
            (words::exit(event), event)
        {
            out.push(What::Exit { run: run.0, say });
        }
    }

    /// The machine asks for something about a process.
    pub(crate) fn process_action(&mut self, action: &ProcessAction, out: &mut Vec<What>) {
        self.begin_action(out);
        if let ProcessAction::Spawn { run, spec, .. } = action {
            out.push(What::Spawn { run: run.0, say: words::spawn(spec) });
        }
    }

    /// The application asks for something.
    pub(crate) fn command(&mut self, command: &impl InWords, out: &mut Vec<What>) {
        self.due = false;
        out.extend(command.in_words().map(|words| What::Command(words.into())));
    }

    /// The application is told something.
    pub(crate) fn notice(&mut self, notice: &impl InWords, out: &mut Vec<What>) {
        self.begin_action(out);
        out.extend(notice.in_words().map(|words| What::Notice(words.into())));
    }

    /// Bytes pass on a link.
    fn pass(&mut self, link: LinkId, sending: bool, pieces: &[Bytes], out: &mut Vec<What>) {
        // Bytes of a link that nobody has told of: the trace began behind it, and who begins in the middle reads nonsense.
        let Some(line) = self.links.get_mut(&link) else { return };
        let half = if sending { &mut line.sent } else { &mut line.got };
        let Some(decoder) = &mut half.decoder else { return };
        for piece in pieces {
            half.fed += piece.len() as u64;
            decoder.feed(piece.clone());
        }
        loop {
            let pack = match decoder.next() {
                Ok(Some(pack)) => pack,
                Ok(None) => return,
                Err(error) => {
                    out.push(What::Unreadable {
                        link: link.0,
                        sending,
                        end: half.end,
                        why: error.to_string(),
                    });
                    half.decoder = None;
                    return;
                }
            };
            let end = half.fed - decoder.buffered() as u64;
            let len = end - half.end;
            half.end = end;
            if pack.pack_type == PackType::HELLO {
                line.kind = Hello::decode(&pack.head).ok().map(|hello| KindId(hello.kind));
            }
            let sum = DataHeader::of(&pack).map_or(0, |header| header.checksum);
            let pack: Pack = words::pack(&pack, line.kind);
            let passed = Passed { link: link.0, end, len, sum, pack };
            out.push(if sending { What::Sent(passed) } else { What::Got(passed) });
        }
    }
}

impl Line {
    fn new(local: &Endpoint, peer: &Endpoint, dialled: bool) -> Self {
        let half = || Half { decoder: Some(Decoder::new(Limits::default().max_data)), fed: 0, end: 0 };
        Self {
            local: local.to_string(),
            peer: peer.to_string(),
            dialled,
            kind: None,
            sent: half(),
            got: half(),
        }
    }
}

#[cfg(test)]
mod tests;
