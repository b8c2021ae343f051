//! The trace: a rolling hash over every event and action in order, and the readable lines for one run.
//!
//! Two runs of one seed have the same hash, in two processes, in debug and in release (ledger X1).

use crate::fault::Fault;
use crate::machine::{Command, Notice};
use crate::spacetime::record::{Said, What};
use crate::spacetime::{Chronicle, Scribe};
use bytes::Bytes;
use core::fmt::{self, Write as _};
use xxnet_core::connection::{ConnectionCommand, ConnectionEvent, ConnectionNotice};
use xxnet_core::disk::{DiskAction, DiskDone, DiskEvent, DiskRequest};
use xxnet_core::executor::{ExecutorCommand, ExecutorNotice};
use xxnet_core::messenger::{MessengerCommand, MessengerNotice};
use xxnet_core::net::{NetAction, NetEvent};
use xxnet_core::pack::DataPack;
use xxnet_core::process::{ProcessAction, ProcessEvent};

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// A rolling FNV-1a, eight bytes a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling(u64);

impl Default for Rolling {
    fn default() -> Self {
        Self(OFFSET)
    }
}

impl Rolling {
    /// The hash so far.
    pub fn value(self) -> u64 {
        self.0
    }

    /// Mixes a number in.
    pub fn number(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(PRIME);
        self.0 ^= self.0 >> 29;
    }

    /// Mixes bytes in.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            self.number(u64::from_le_bytes(chunk.try_into().unwrap_or_default()));
        }
        chunks.remainder().iter().for_each(|byte| self.number(u64::from(*byte)));
    }

    /// Mixes in what a value's `Debug` writes.
    pub fn debug(&mut self, value: &dyn fmt::Debug) {
        // Writing into a hash cannot fail.
        let _ = write!(self, "{value:?}");
    }
}

impl fmt::Write for Rolling {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(PRIME));
        Ok(())
    }
}

/// The trace of one run.
#[derive(Debug, Default)]
pub struct Trace {
    hash: Rolling,
    /// Whether lines are kept.
    keep: bool,
    lines: Vec<String>,
    /// For the space-time page, if that is wanted. Nothing of it is in the hash.
    chronicle: Option<Chronicle>,
}

impl Trace {
    /// With readable lines, or with the hash alone; and for the page, within [`Chronicle::of`].
    pub fn new(keep: bool) -> Self {
        Self { hash: Rolling::default(), keep, lines: Vec::new(), chronicle: Chronicle::next() }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash.value()
    }

    /// The readable lines, taken.
    pub fn take_lines(&mut self) -> Vec<String> {
        core::mem::take(&mut self.lines)
    }

    /// One thing that happened to `who` at `now`.
    pub fn record(&mut self, now: u64, who: u64, name: &str, what: &dyn Entry) {
        self.hash.number(now);
        self.hash.number(who);
        what.mix(&mut self.hash);
        if self.keep {
            let mut line = format!("{:>4}.{:06} {name:<12} ", now / 1_000_000, now % 1_000_000);
            what.write(&mut line);
            self.lines.push(line);
        }
        if let Some(chronicle) = &self.chronicle {
            chronicle.hears(now, who, |scribe, out| what.tell(scribe, out));
        }
    }

    /// A remark, for readers only.
    pub fn note(&mut self, now: u64, text: impl FnOnce() -> String) {
        if !self.keep && self.chronicle.is_none() {
            return;
        }
        let text = text();
        if let Some(chronicle) = &self.chronicle {
            let said = Said { name: "remark".to_owned(), say: text.clone(), weight: 1 };
            chronicle.world(now, What::Remark(said));
        }
        self.line(now, &text);
    }

    /// A fault was injected, at a place that may have a name, for readers only.
    pub fn fault(&mut self, now: u64, kind: Fault, place: &str) {
        if let Some(chronicle) = &self.chronicle {
            // What only delays is weather; a reader looks for what breaks.
            let mild = matches!(
                kind,
                Fault::SlowLink
                    | Fault::SmallWindow
                    | Fault::OddPieces
                    | Fault::SingleBytes
                    | Fault::SlowDisk
                    | Fault::SlowApplication
                    | Fault::SpuriousTick
            );
            let weight = if mild { 1 } else { 2 };
            let place = if place == "scenario" { "" } else { place };
            let said = Said { name: kind.name().to_owned(), say: place.to_owned(), weight };
            chronicle.world(now, What::Fault(said));
        }
        if self.keep {
            self.line(now, &format!("fault: {kind}"));
        }
    }

    /// A process begins, for readers only.
    pub fn started(&mut self, now: u64, who: u64, name: &str) {
        if let Some(chronicle) = &self.chronicle {
            chronicle.started(now, who, name);
        }
    }

    /// A process is no more, for readers only.
    pub fn gone(&mut self, now: u64, who: u64, why: &str) {
        if let Some(chronicle) = &self.chronicle {
            chronicle.happens(now, who, What::Gone { why: why.to_owned() });
        }
    }

    /// A process stops for a while ("frozen", "asleep") or goes on ("running"), for readers only.
    pub fn state(&mut self, now: u64, who: u64, state: &str) {
        if let Some(chronicle) = &self.chronicle {
            chronicle.happens(now, who, What::State { state: state.to_owned() });
        }
    }

    fn line(&mut self, now: u64, text: &str) {
        if self.keep {
            self.lines.push(format!("{:>4}.{:06} -- {text}", now / 1_000_000, now % 1_000_000));
        }
    }
}

/// What a trace can hold.
pub trait Entry {
    /// Into the hash, whole.
    fn mix(&self, hash: &mut Rolling);
    /// As people read it, long data cut.
    fn write(&self, line: &mut String);
    /// For the space-time page.
    fn tell(&self, scribe: &mut Scribe, out: &mut Vec<What>);
}

/// Mixes data that came in pieces, so that the pieces count too.
fn mix_pieces(hash: &mut Rolling, pieces: &[Bytes]) {
    hash.number(pieces.len() as u64);
    pieces.iter().for_each(|piece| hash.bytes(piece));
}

fn cut(text: &mut String, value: &dyn fmt::Debug) {
    // A line tells what happened; the bytes themselves are in the hash.
    let _ = write!(text, "{value:?}");
    if text.len() > 300 {
        let mut end = 300;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
}

impl Entry for NetAction {
    fn mix(&self, hash: &mut Rolling) {
        match self {
            Self::Send { link, buffers } => {
                hash.number(1);
                hash.number(link.0);
                mix_pieces(hash, buffers);
            }
            Self::Recv { link, max } => {
                hash.number(2);
                hash.number(link.0);
                hash.number(*max as u64);
            }
            other => hash.debug(other),
        }
    }

    fn write(&self, line: &mut String) {
        match self {
            Self::Send { link, buffers } => {
                let _ = write!(line, "> Send {link} {} B", buffers.iter().map(Bytes::len).sum::<usize>());
            }
            other => {
                let _ = write!(line, "> {other:?}");
            }
        }
    }

    fn tell(&self, scribe: &mut Scribe, out: &mut Vec<What>) {
        scribe.net_action(self, out);
    }
}

impl Entry for NetEvent {
    fn mix(&self, hash: &mut Rolling) {
        match self {
            Self::Received { link, data } => {
                hash.number(3);
                hash.number(link.0);
                hash.bytes(data);
            }
            Self::Sent { link } => {
                hash.number(4);
                hash.number(link.0);
            }
            other => hash.debug(other),
        }
    }

    fn write(&self, line: &mut String) {
        match self {
            Self::Received { link, data } => {
                let _ = write!(line, "< Received {link} {} B", data.len());
            }
            other => {
                let _ = write!(line, "< {other:?}");
            }
        }
    }

    fn tell(&self, scribe: &mut Scribe, out: &mut Vec<What>) {
        scribe.net_event(self, out);
    }
}

impl Entry for DiskAction {
    fn mix(&self, hash: &mut Rolling) {
        if let DiskRequest::WriteBlock { tree, index, data, hash: block } = &self.request {
            hash.number(self.op.0);
            hash.number(tree.0);
            hash.number(*index);
            mix_pieces(hash, data);
            hash.bytes(&block.0);
        } else {
            hash.debug(self);
        }
    }

    fn write(&self, line: &mut String) {
        if let DiskRequest::WriteBlock { tree, index, data, .. } = &self.request {
            let len = data.iter().map(Bytes::len).sum::<usize>();
            let _ = write!(line, "> {} WriteBlock {tree} {index} {len} B", self.op);
        } else {
            let _ = write!(line, "> {} {:?}", self.op, self.request);
        }
    }

    fn tell(&self, scribe: &mut Scribe, out: &mut Vec<What>) {
        scribe.disk_action(self, out);
    }
}

impl Entry for DiskEvent {
    fn mix(&self, hash: &mut Rolling) {
        if let Ok(DiskDone::Block { data, hash: block }) = &self.result {
            hash.number(self.op.0);
            hash.bytes(data);
            hash.bytes(&block.0);
        } else {
            hash.debug(self);
        }
    }

    fn write(&self, line: &mut String) {
        if let Ok(DiskDone::Block { data, .. }) = &self.result {
            let _ = write!(line, "< {} Block {} B", self.op, data.len());
        } else {
            let _ = write!(line, "< {} {:?}", self.op, self.result);
        }
    }

    fn tell(&self, scribe: &mut Scribe, out: &mut Vec<What>) {
        scribe.disk_event(self, out);
    }
}

impl Entry for ProcessAction {
    fn mix(&self, hash: &mut Rolling) {
        match self {
            Self::WriteInput { run, data } => {
                hash.number(5);
                hash.number(run.0);
                hash.bytes(data);
            }
            Self::Spawn { run, spec, deadline } => {
                hash.number(6);
                hash.number(run.0);
                spec.argv.iter().for_each(|word| hash.bytes(word));
                hash.debug(&spec.folder);
                hash.number(deadline.as_micros());
            }
            other => hash.debug(other),
        }
    }

    fn write(&self, line: &mut String) {
        match self {
            Self::WriteInput { run, data } => {
                let _ = write!(line, "> WriteInput {run} {} B", data.len());
            }
            Self::Spawn { run, spec, deadline } => {
                let words: Vec<_> = spec.argv.iter().map(|word| String::from_utf8_lossy(word)).collect();
                let _ =
                    write!(line, "> Spawn {run} {:?} until {deadline:?}: {}", spec.folder, words.join(" "));
            }
            other => {
                line.push_str("> ");
                cut(line, other);
            }
        }
    }

    fn tell(&self, scribe: &mut Scribe, out: &mut Vec<What>) {
        scribe.process_action(self, out);
    }
}

impl Entry for ProcessEvent {
    fn mix(&self, hash: &mut Rolling) {
        if let Self::Output { run, stream, data } = self {
            hash.number(run.0);
            hash.number(stream.index() as u64);
            hash.bytes(data);
        } else {
            hash.debug(self);
        }
    }

    fn write(&self, line: &mut String) {
        if let Self::Output { run, stream, data } = self {
            let _ = write!(line, "< Output {run} {stream:?} {} B", data.len());
        } else {
            line.push_str("< ");
            cut(line, self);
        }
    }

    fn tell(&self, scribe: &mut Scribe, out: &mut Vec<What>) {
        scribe.process_event(self, out);
    }
}

/// The number of a message, by which its account knows it.
fn first_word(pack: &DataPack) -> Option<u64> {
    pack.head.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

impl Entry for Command {
    fn mix(&self, hash: &mut Rolling) {
        match self {
            Self::Connections(ConnectionCommand::SendPack { token, id, pack }) => {
                hash.number(token.0);
                hash.number(id.0);
                hash.bytes(&pack.head);
            }
            Self::Connections(ConnectionCommand::Taken { id, sequence }) => {
                hash.number(id.0);
                hash.number(*sequence);
            }
            Self::Messenger(MessengerCommand::Send { token, packs }) => {
                hash.number(token.0);
                packs.iter().for_each(|pack| hash.bytes(&pack.head));
            }
            Self::Executor(command) => match &**command {
                ExecutorCommand::Input { task, data, last } => {
                    hash.number(task.number);
                    hash.bytes(data);
                    hash.number(u64::from(*last));
                }
                _ => hash.debug(self),
            },
            Self::Registry(_) | Self::Client(_) | Self::Connections(_) | Self::Messenger(_) => {
                hash.debug(self);
            }
        }
    }

    fn write(&self, line: &mut String) {
        match self {
            Self::Connections(ConnectionCommand::SendPack { token, id, pack }) => {
                let _ = write!(line, "< {token} SendPack {id} {} B", pack.head.len());
            }
            Self::Messenger(MessengerCommand::Send { token, packs }) => {
                let numbers: Vec<u64> = packs.iter().filter_map(first_word).collect();
                let _ = write!(line, "< {token} Send {numbers:?}");
            }
            Self::Executor(command) => match &**command {
                ExecutorCommand::Input { task, data, last } => {
                    let _ = write!(line, "< Input {task} {} B, last {last}", data.len());
                }
                ExecutorCommand::Publish { token, spec } => {
                    let words: Vec<_> = spec.argv.iter().map(|word| String::from_utf8_lossy(word)).collect();
                    let _ = write!(line, "< Publish {token} {}", words.join(" "));
                }
                _ => {
                    line.push_str("< command ");
                    cut(line, self);
                }
            },
            Self::Registry(_) | Self::Client(_) | Self::Connections(_) | Self::Messenger(_) => {
                line.push_str("< command ");
                cut(line, self);
            }
        }
    }

    fn tell(&self, scribe: &mut Scribe, out: &mut Vec<What>) {
        scribe.command(self, out);
    }
}

impl Entry for Notice {
    fn mix(&self, hash: &mut Rolling) {
        match self {
            Self::Connections(ConnectionNotice::Event(ConnectionEvent::Received { id, pack })) => {
                hash.number(id.0);
                hash.bytes(&pack.head);
                mix_pieces(hash, &pack.bulk);
            }
            Self::Connections(ConnectionNotice::Event(ConnectionEvent::Acknowledged { id, sequence })) => {
                hash.number(id.0);
                hash.number(*sequence);
            }
            Self::Messenger(MessengerNotice::Received { on, pack }) => {
                hash.number(on.0);
                hash.bytes(&pack.head);
            }
            Self::Executor(ExecutorNotice::Output { task, attempt, stream, offset, data }) => {
                hash.number(task.number);
                hash.number(attempt.0);
                hash.number(stream.index() as u64);
                hash.number(*offset);
                hash.bytes(data);
            }
            Self::Executor(_)
            | Self::Registry(_)
            | Self::Client(_)
            | Self::Connections(_)
            | Self::Messenger(_) => {
                hash.debug(self);
            }
        }
    }

    fn write(&self, line: &mut String) {
        match self {
            Self::Connections(ConnectionNotice::Event(ConnectionEvent::Received { id, pack })) => {
                let _ = write!(line, "! Received {id} {} B", pack.data_len());
            }
            Self::Messenger(MessengerNotice::Received { on, pack }) => {
                let _ = write!(line, "! Received {on} {:?} as {}", first_word(pack), pack.sequence);
            }
            Self::Messenger(MessengerNotice::Disconnected { on, reason, undelivered }) => {
                let numbers: Vec<u64> = undelivered.iter().filter_map(first_word).collect();
                let _ = write!(line, "! Disconnected {on}: {reason}, undelivered {numbers:?}");
            }
            Self::Messenger(MessengerNotice::Undelivered { to, reason, packs }) => {
                let numbers: Vec<u64> = packs.iter().filter_map(first_word).collect();
                let _ = write!(line, "! Undelivered {to}: {reason}, {numbers:?}");
            }
            Self::Messenger(MessengerNotice::Rejected { token, error, pack }) => {
                let number = pack.as_ref().and_then(first_word);
                let _ = write!(line, "! Rejected {token} {number:?}: {error}");
            }
            Self::Executor(ExecutorNotice::Output { task, attempt, stream, offset, data }) => {
                let _ = write!(line, "! Output {task} {attempt} {stream:?} at {offset}: {} B", data.len());
            }
            Self::Executor(_)
            | Self::Registry(_)
            | Self::Client(_)
            | Self::Connections(_)
            | Self::Messenger(_) => {
                line.push_str("! ");
                cut(line, self);
            }
        }
    }

    fn tell(&self, scribe: &mut Scribe, out: &mut Vec<What>) {
        scribe.notice(self, out);
    }
}

/// A tick.
#[derive(Debug)]
pub(crate) struct Ticked;

impl Entry for Ticked {
    fn mix(&self, hash: &mut Rolling) {
        hash.number(7);
    }

    fn write(&self, line: &mut String) {
        line.push_str("< Tick");
    }

    fn tell(&self, scribe: &mut Scribe, _: &mut Vec<What>) {
        scribe.timer();
    }
}
