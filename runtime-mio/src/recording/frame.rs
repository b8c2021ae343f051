//! How a recording is laid out in its file.
//!
//! ```text
//! | length: u32 | kind: u8 | CRC-32 of these: u32 | as many bytes as length says | CRC-32 of these: u32 |
//! ```
//!
//! Little-endian. The length has a checksum of its own, so that a damaged one is not taken for a file that was cut.

use super::digest::{ActionDigest, StateHash};
use std::io::{self, ErrorKind, Read};
use xxnet_core::Instant;

/// What every recording begins with.
pub const MAGIC: &[u8; 18] = b"xxnet recording 1\n";

/// Largest frame that is written or read.
pub(super) const MOST: usize = 64 << 20;
/// Bytes of a frame beside its payload.
pub(super) const FRAME: usize = HEAD + 4;
const HEAD: usize = 9;

const HEADER: u8 = b'H';
const MACHINE: u8 = b'M';
const EVENT: u8 = b'E';
const ACTIONS: u8 = b'A';
const STATE: u8 = b'S';
const END: u8 = b'Z';

/// One piece of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// What the machine was, as JSON.
    Header(Vec<u8>),
    /// All that the machine is at the beginning of a part, but for the key: [`Kept::to_state`](xxnet_core::state::Kept::to_state).
    Machine(Vec<u8>),
    /// The machine is about to be given this.
    Event {
        /// When.
        now: Instant,
        /// [`Event::to_bytes`](xxnet_core::Event::to_bytes).
        bytes: Vec<u8>,
    },
    /// What the last event asked for, in order. Not there if the daemon did not live to see it.
    Actions(Vec<ActionDigest>),
    /// The state after the last event.
    State(StateHash),
    /// Nothing stands behind this; the state is then as it says.
    End {
        /// Why.
        end: End,
        /// After the last event.
        state: StateHash,
    },
}

/// Why a part ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The daemon has ended.
    Daemon,
    /// Something did not fit: nothing was recorded for a while at least.
    Pause,
    /// It goes on in the next part.
    Turn,
}

impl End {
    const ALL: [Self; 3] = [Self::Daemon, Self::Pause, Self::Turn];
}

impl Record {
    /// Appends its frame; says whether it could: nothing is larger than the most that is read.
    #[must_use]
    pub(super) fn put(&self, out: &mut Vec<u8>) -> bool {
        let payload = self.payload();
        let Some(len) = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= MOST) else {
            return false;
        };
        let begin = out.len();
        out.extend_from_slice(&len.to_le_bytes());
        out.push(self.kind());
        let check = crc32fast::hash(&out[begin..]);
        out.extend_from_slice(&check.to_le_bytes());
        out.extend_from_slice(&payload);
        out.extend_from_slice(&crc32fast::hash(&payload).to_le_bytes());
        true
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Header(_) => HEADER,
            Self::Machine(_) => MACHINE,
            Self::Event { .. } => EVENT,
            Self::Actions(_) => ACTIONS,
            Self::State(_) => STATE,
            Self::End { .. } => END,
        }
    }

    fn payload(&self) -> Vec<u8> {
        match self {
            Self::Header(bytes) | Self::Machine(bytes) => bytes.clone(),
            Self::Event { now, bytes } => [&now.as_micros().to_le_bytes()[..], bytes].concat(),
            Self::Actions(actions) => {
                let mut out = Vec::new();
                for action in actions {
                    out.extend_from_slice(&action.hash);
                    let len = u16::try_from(action.words.len()).unwrap_or(0);
                    out.extend_from_slice(&len.to_le_bytes());
                    out.extend_from_slice(&action.words.as_bytes()[..usize::from(len)]);
                }
                out
            }
            Self::State(state) => state.0.to_vec(),
            Self::End { end, state } => [&[*end as u8][..], &state.0].concat(),
        }
    }

    fn parse(kind: u8, payload: &[u8]) -> Option<Self> {
        match kind {
            HEADER => Some(Self::Header(payload.to_vec())),
            MACHINE => Some(Self::Machine(payload.to_vec())),
            EVENT => {
                let (now, bytes) = payload.split_first_chunk()?;
                let now = Instant::from_micros(u64::from_le_bytes(*now));
                Some(Self::Event { now, bytes: bytes.to_vec() })
            }
            ACTIONS => actions(payload).map(Self::Actions),
            STATE => payload.try_into().ok().map(|state| Self::State(StateHash(state))),
            END => {
                let (end, state) = payload.split_first()?;
                let end = *End::ALL.get(usize::from(*end))?;
                Some(Self::End { end, state: StateHash(state.try_into().ok()?) })
            }
            _ => None,
        }
    }
}

fn actions(mut rest: &[u8]) -> Option<Vec<ActionDigest>> {
    let mut actions = Vec::new();
    while !rest.is_empty() {
        let (hash, behind) = rest.split_first_chunk()?;
        let (len, behind) = behind.split_first_chunk()?;
        let (words, behind) = behind.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
        actions.push(ActionDigest { hash: *hash, words: std::str::from_utf8(words).ok()?.to_owned() });
        rest = behind;
    }
    Some(actions)
}

/// How a file ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// With its end; the daemon had ended.
    Whole,
    /// With its end; what came then did not fit, and the daemon went on.
    Paused,
    /// With its end; it goes on in the next part.
    Turned,
    /// Without an end, as a daemon leaves it that was killed: whole up to this byte.
    Cut(u64),
    /// What stands from this byte on is damaged.
    Damaged(u64),
}

/// Reads a part of a recording, frame by frame, and holds one at a time.
#[derive(Debug)]
pub struct Reader<R> {
    from: R,
    /// Bytes that were whole.
    at: u64,
    tail: Option<Tail>,
}

impl<R: Read> Reader<R> {
    /// A reader behind [`MAGIC`]; `None` if the file does not begin with it.
    ///
    /// # Errors
    /// The system's.
    pub fn new(mut from: R) -> io::Result<Option<Self>> {
        let mut magic = [0; MAGIC.len()];
        let read = fill(&mut from, &mut magic)?;
        let ours = read == magic.len() && magic == *MAGIC;
        Ok(ours.then_some(Self { from, at: MAGIC.len() as u64, tail: None }))
    }

    /// The next frame; `None` where [`tail`](Self::tail) says why.
    ///
    /// # Errors
    /// The system's.
    pub fn read(&mut self) -> io::Result<Option<Record>> {
        if self.tail.is_some() {
            return Ok(None);
        }
        let mut head = [0; HEAD];
        if fill(&mut self.from, &mut head)? < HEAD {
            return self.ends(Tail::Cut(self.at));
        }
        let [a, b, c, d, kind, check @ ..] = head;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        if crc32fast::hash(&head[..5]) != u32::from_le_bytes(check) || len > MOST {
            return self.ends(Tail::Damaged(self.at));
        }
        // Room grows with what is there, whatever the length claims.
        let mut payload = Vec::new();
        (&mut self.from).take(len as u64).read_to_end(&mut payload)?;
        let mut check = [0; 4];
        if payload.len() < len || fill(&mut self.from, &mut check)? < check.len() {
            return self.ends(Tail::Cut(self.at));
        }
        if crc32fast::hash(&payload) != u32::from_le_bytes(check) {
            return self.ends(Tail::Damaged(self.at));
        }
        let Some(record) = Record::parse(kind, &payload) else {
            return self.ends(Tail::Damaged(self.at));
        };
        self.at += (FRAME + len) as u64;
        if let Record::End { end, .. } = &record {
            let more = fill(&mut self.from, &mut [0])? > 0;
            self.tail = Some(match end {
                _ if more => Tail::Damaged(self.at),
                End::Daemon => Tail::Whole,
                End::Pause => Tail::Paused,
                End::Turn => Tail::Turned,
            });
        }
        Ok(Some(record))
    }

    /// How the file ends, as soon as that is known.
    pub fn tail(&self) -> Option<Tail> {
        self.tail
    }

    fn ends(&mut self, tail: Tail) -> io::Result<Option<Record>> {
        self.tail = Some(tail);
        Ok(None)
    }
}

/// Reads until the buffer is full or the file ends; says how much there was.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match from.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
