//! Every limit and timeout, in one place, with its default.

use crate::needs::Label;
use crate::{Address, InstanceId};
use alloc::{string::String, vec::Vec};
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// The shared secret of a cluster. Never printed, never sent; proven by [`handshake`](crate::handshake).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ClusterKey(pub [u8; 32]);

impl ClusterKey {
    /// What stands for the key in a state that was read: no state contains it.
    fn unknown() -> Self {
        Self([0; 32])
    }
}

impl core::fmt::Debug for ClusterKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ClusterKey(..)")
    }
}

/// Who a node is, and what every machine of it shares.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub struct Config {
    /// This run of this process.
    pub instance: InstanceId,
    /// For people; at most [`Config::MAX_NAME`] bytes.
    pub name: String,
    /// The secret that both ends of every link must have.
    #[serde(skip, default = "ClusterKey::unknown")]
    pub key: ClusterKey,
    /// The one source of randomness, forked a component.
    pub seed: u64,
    /// Limits and timeouts.
    pub limits: Limits,
}

/// Limits and timeouts. [`Limits::validate`] names the first that contradicts another.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Limits {
    /// Largest data of one pack, in bytes; larger ones are refused before anything is allocated (4 MiB).
    pub max_data: u32,
    /// A link whose outbox would grow over this many bytes is closed: its peer does not read (16 MiB).
    pub max_outbox: usize,
    /// Above this many bytes in an outbox a connection is not writable; bulk senders wait (2 MiB).
    pub high_water: usize,
    /// Links that are still shaking hands, at most; further newcomers are closed (1,024).
    pub max_handshakes: usize,
    /// From a link's opening to its last handshake pack (5 s).
    pub handshake: Duration,
    /// A dial with no answer (5 s).
    pub connect: Duration,
    /// Silence after which a link is pinged, and the heartbeat of registrations and leases (3 s).
    pub heartbeat: Duration,
    /// Silence after which a link is dead, and a member gets no new work (9 s).
    pub suspect: Duration,
    /// A closing link that cannot send its rest or whose peer does not close is cut (2 s).
    pub close: Duration,
    /// A session without a link is over after this, or after the peer's wish if that is shorter (60 s).
    pub session_timeout: Duration,
    /// Wire bytes of a session's messages that wait for the application to take them; the peer sends no more (4 MiB).
    pub session_window: u32,
    /// Wire bytes of a session's messages that are not acknowledged yet, and above which nothing more is taken (32 MiB).
    pub session_queue: usize,
    /// An acknowledgement waits this long for a message to go along with, unless much was taken (1 ms).
    pub ack_delay: Duration,
    /// An executor ends its attempt this long after *sending* the last renewal that was acknowledged (12 s; PROTOCOL A4).
    pub attempt_deadline: Duration,
    /// A publisher grants anew this long after the last renewal arrived (15 s; PROTOCOL A5). A silent member is gone.
    pub lease: Duration,
    /// First and longest pause before a dial is repeated; drawn with jitter (0.2 s, 10 s).
    pub backoff: (Duration, Duration),
    /// The window in which a file must make verified progress (300 s, the seed's five minutes).
    pub file_window: Duration,
    /// Verified bytes a second that a window must bring at the least, unless less is left (16 KiB).
    pub file_min_rate: u64,
    /// Blocks of one file connection that are read ahead or being written, at most (4).
    pub blocks_ahead: usize,
    /// File requests served on one file connection at once; one more is [`Busy`](crate::disk::FileErrorKind::Busy) (1,024).
    pub max_file_requests: usize,
    /// Output bytes of one stream under way before the reader has taken them (256 KiB).
    pub output_credit: u64,
    /// Standard input bytes under way, and kept for a repeated attempt (16 MiB): once an attempt has taken more, the task
    /// cannot be repeated, and says so.
    pub input_replay: u64,
    /// Attempts at a task that the system, not the command, ended (5).
    pub max_attempts: u32,
    /// A task is set aside once this many different executors died under it (3).
    pub max_deaths: u32,
    /// Proposals a member may hold beyond its free slots (2, plus one a slot).
    pub proposals_ahead: u32,
    /// A pair that could not reach each other is not tried again for so long (60 s).
    pub unreachable: Duration,
    /// Tasks a registry keeps, and tasks of one publisher, at most (200,000).
    pub max_tasks: usize,
    /// Members of a registry, at most (10,000).
    pub max_members: usize,
    /// How long an ended task is still listed (600 s), newest 10,000 at most.
    pub remember: Duration,
    /// A command-line question is answered, or said to be unanswered, within this (10 s).
    pub ask: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_data: 4 << 20,
            max_outbox: 16 << 20,
            high_water: 2 << 20,
            max_handshakes: 1024,
            handshake: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            heartbeat: Duration::from_secs(3),
            suspect: Duration::from_secs(9),
            close: Duration::from_secs(2),
            session_timeout: Duration::from_secs(60),
            session_window: 4 << 20,
            session_queue: 32 << 20,
            ack_delay: Duration::from_millis(1),
            attempt_deadline: Duration::from_secs(12),
            lease: Duration::from_secs(15),
            backoff: (Duration::from_millis(200), Duration::from_secs(10)),
            file_window: Duration::from_secs(300),
            file_min_rate: 16 << 10,
            blocks_ahead: 4,
            max_file_requests: 1024,
            output_credit: 256 << 10,
            input_replay: 16 << 20,
            max_attempts: 5,
            max_deaths: 3,
            proposals_ahead: 2,
            unreachable: Duration::from_secs(60),
            max_tasks: 200_000,
            max_members: 10_000,
            remember: Duration::from_secs(600),
            ask: Duration::from_secs(10),
        }
    }
}

/// Two settings that contradict each other; names both.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LimitsError(pub &'static str);

impl core::fmt::Display for LimitsError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.0)
    }
}

impl core::error::Error for LimitsError {}

impl Limits {
    /// Checks what the protocols rest on.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn validate(&self) -> Result<(), LimitsError> {
        let rules = [
            (self.heartbeat < self.suspect, "heartbeat must be shorter than suspect"),
            (self.suspect < self.attempt_deadline, "suspect must be shorter than attempt_deadline"),
            // Clock rates drift by less than a fifth: 12 s on one clock are under 15 s on any other.
            (
                self.attempt_deadline * 5 <= self.lease * 4,
                "lease must be at least a quarter longer than attempt_deadline",
            ),
            (self.backoff.0 <= self.backoff.1, "the first backoff must not be longer than the longest"),
            (
                u64::from(self.max_data) >= 2 * crate::disk::BLOCK,
                "max_data must hold a block of 1 MiB and more",
            ),
            (
                self.high_water + self.max_data as usize + crate::pack::DataHeader::WIRE_LEN
                    <= self.max_outbox,
                "max_outbox must hold high_water and one pack of max_data more",
            ),
            (self.session_window >= 1, "session_window must be at least 1"),
            (self.session_queue >= self.high_water, "session_queue must not be below high_water"),
            (
                self.session_timeout >= Duration::from_millis(1),
                "session_timeout must be at least a millisecond",
            ),
            (self.blocks_ahead >= 1, "blocks_ahead must be at least 1"),
            (self.max_attempts >= 1, "max_attempts must be at least 1"),
        ];
        rules.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, text)| Err(LimitsError(text)))
    }
}

impl Config {
    /// Longest name in bytes.
    pub const MAX_NAME: usize = 128;

    /// A node with default limits.
    pub fn new(instance: InstanceId, name: impl Into<String>, key: ClusterKey, seed: u64) -> Self {
        Self { instance, name: name.into(), key, seed, limits: Limits::default() }
    }
}

/// What an executor is beyond its [`Config`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ExecutorConfig {
    /// The registries it registers with; none is allowed (it then works only for itself).
    pub registries: Vec<Address>,
    /// Where it listens; port 0 takes any.
    pub listen: core::net::SocketAddr,
    /// What it tells others to dial instead of the address it listens on.
    pub advertise: Option<Address>,
    /// Commands it runs at once; none for a mere publisher.
    pub slots: u32,
    /// Whether it is a command-line client, listed as such.
    pub client: bool,
    /// What it says of itself, for tasks that state their needs; at most [`MAX_LABELS`](crate::needs::MAX_LABELS).
    pub labels: Vec<Label>,
    /// Never take a refused redial as proof that a peer is dead (PROTOCOL: for networks where an address may answer for
    /// another host); leases then run out in full.
    pub lease_only: bool,
}
