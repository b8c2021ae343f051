//! What executor, supervisor and keepers say to each other: one packet each, forwarded as it came.
//!
//! A packet is a head of five little-endian words, and for a spawn the spec behind it. The processes are forks of one
//! binary, so there is no version; every field is still checked, as a packet that is not understood is dropped.

use std::ffi::CStr;
use std::os::raw::c_char;
use xxnet_core::process::{ExitStatus, RunSpec, SpawnError};
use xxnet_core::{Instant, RunId};

/// A spec that is longer travels as a file in memory: packets have to fit the socket's buffer.
pub(crate) const MAX_INLINE: usize = 32 << 10;

/// The largest packet.
pub(crate) const MAX_PACKET: usize = HEAD + MAX_INLINE;

/// Bytes of a head.
pub(crate) const HEAD: usize = 40;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    /// Executor → supervisor → keeper: run a command. Its descriptors: standard output, standard error, standard input
    /// if `stdin`, and a file with the spec if `large`; else the spec follows the head.
    Spawn { run: RunId, deadline: Instant, stdin: bool, large: bool },
    /// Executor → supervisor → keeper: move a deadline.
    Extend { run: RunId, deadline: Instant },
    /// Executor → supervisor → keeper: end a run.
    Kill { run: RunId },
    /// Executor → supervisor: hold this listening socket, identified by its number of the system.
    Hold { socket: u64 },
    /// Executor → supervisor: let go of it.
    Release { socket: u64 },
    /// Keeper → executor: the command runs.
    Spawned { run: RunId },
    /// Keeper → supervisor → executor: it could not be started; nothing is left of it.
    Failed { run: RunId, error: SpawnError },
    /// Keeper → supervisor → executor: it has ended, and every process of the run is reaped.
    Ended { run: RunId, status: ExitStatus },
}

impl Message {
    /// The head's bytes.
    pub(crate) fn encode(self) -> [u8; HEAD] {
        let words = match self {
            Self::Spawn { run, deadline, stdin, large } => {
                [1, run.0, deadline.as_micros(), stdin.into(), large.into()]
            }
            Self::Extend { run, deadline } => [2, run.0, deadline.as_micros(), 0, 0],
            Self::Kill { run } => [3, run.0, 0, 0, 0],
            Self::Hold { socket } => [4, socket, 0, 0, 0],
            Self::Release { socket } => [5, socket, 0, 0, 0],
            Self::Spawned { run } => [6, run.0, 0, 0, 0],
            Self::Failed { run, error } => {
                let (kind, number) = match error {
                    SpawnError::NotFound => (0, 0),
                    SpawnError::NotExecutable => (1, 0),
                    SpawnError::Late => (2, 0),
                    SpawnError::System(number) => (3, number),
                };
                [7, run.0, kind, u64::from(number.cast_unsigned()), 0]
            }
            Self::Ended { run, status } => {
                let (kind, number) = match status {
                    ExitStatus::Code(code) => (0, code),
                    ExitStatus::Signal(signal) => (1, signal),
                };
                [8, run.0, kind, u64::from(number.cast_unsigned()), 0]
            }
        };
        let mut bytes = [0; HEAD];
        for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// The message of a packet, and what follows the head.
    pub(crate) fn decode(packet: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = packet.split_at_checked(HEAD)?;
        let mut words = [0; 5];
        for (word, bytes) in words.iter_mut().zip(head.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        let [kind, id, a, b, c] = words;
        let run = RunId(id);
        let number = u32::try_from(b).unwrap_or(0).cast_signed();
        let message = match kind {
            1 => Self::Spawn { run, deadline: Instant::from_micros(a), stdin: b == 1, large: c == 1 },
            2 => Self::Extend { run, deadline: Instant::from_micros(a) },
            3 => Self::Kill { run },
            4 => Self::Hold { socket: id },
            5 => Self::Release { socket: id },
            6 => Self::Spawned { run },
            7 => {
                let error = match a {
                    0 => SpawnError::NotFound,
                    1 => SpawnError::NotExecutable,
                    2 => SpawnError::Late,
                    _ => SpawnError::System(number),
                };
                Self::Failed { run, error }
            }
            8 if a == 0 => Self::Ended { run, status: ExitStatus::Code(number) },
            8 => Self::Ended { run, status: ExitStatus::Signal(number) },
            _ => return None,
        };
        Some((message, rest))
    }
}

/// Writes a spec: two counts, then the folder, the arguments and the environment, each ended by a zero byte.
///
/// `None` if something in it holds a zero byte, or a name in the environment is empty or holds `=`: no command could be
/// told so.
pub(crate) fn encode_spec(
    folder: &[u8],
    spec: &RunSpec,
    env: &[(&[u8], &[u8])],
    into: &mut Vec<u8>,
) -> Option<()> {
    let text = |into: &mut Vec<u8>, parts: &[&[u8]]| {
        for part in parts {
            if part.contains(&0) {
                return None;
            }
            into.extend_from_slice(part);
        }
        into.push(0);
        Some(())
    };
    if spec.argv.is_empty() {
        return None;
    }
    into.extend_from_slice(&u32::try_from(spec.argv.len()).ok()?.to_le_bytes());
    into.extend_from_slice(&u32::try_from(env.len()).ok()?.to_le_bytes());
    text(into, &[folder])?;
    for argument in &spec.argv {
        text(into, &[argument])?;
    }
    for (name, value) in env {
        if name.is_empty() || name.contains(&b'=') {
            return None;
        }
        text(into, &[name, b"=", value])?;
    }
    Some(())
}

/// A spec as the system wants it: pointers into the packet's own bytes.
pub(crate) struct Spec<'a> {
    /// Where the command runs.
    pub(crate) folder: &'a CStr,
    /// The command and its arguments; the last pointer is null.
    pub(crate) argv: Vec<*const c_char>,
    /// The environment; the last pointer is null.
    pub(crate) env: Vec<*const c_char>,
    /// The command as it was named.
    pub(crate) command: &'a CStr,
    /// Its `PATH`.
    pub(crate) path: &'a [u8],
}

impl<'a> Spec<'a> {
    /// Reads what [`encode_spec`] wrote.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (argc, rest) = bytes.split_first_chunk::<4>()?;
        let (envc, mut rest) = rest.split_first_chunk::<4>()?;
        let mut text = || {
            let text = CStr::from_bytes_until_nul(rest).ok()?;
            rest = &rest[text.to_bytes_with_nul().len()..];
            Some(text)
        };
        let folder = text()?;
        let command = text()?;
        let mut argv = vec![command.as_ptr()];
        for _ in 1..u32::from_le_bytes(*argc) {
            argv.push(text()?.as_ptr());
        }
        let mut env = Vec::new();
        let mut path = &b""[..];
        for _ in 0..u32::from_le_bytes(*envc) {
            let entry = text()?;
            if let Some(value) = entry.to_bytes().strip_prefix(b"PATH=") {
                path = value;
            }
            env.push(entry.as_ptr());
        }
        argv.push(std::ptr::null());
        env.push(std::ptr::null());
        Some(Self { folder, argv, env, command, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_survives() {
        let run = RunId(7);
        let deadline = Instant::from_micros(u64::MAX);
        for message in [
            Message::Spawn { run, deadline, stdin: true, large: false },
            Message::Spawn { run, deadline, stdin: false, large: true },
            Message::Extend { run, deadline },
            Message::Kill { run },
            Message::Hold { socket: 9 },
            Message::Release { socket: 9 },
            Message::Spawned { run },
            Message::Failed { run, error: SpawnError::NotFound },
            Message::Failed { run, error: SpawnError::NotExecutable },
            Message::Failed { run, error: SpawnError::Late },
            Message::Failed { run, error: SpawnError::System(-3) },
            Message::Ended { run, status: ExitStatus::Code(255) },
            Message::Ended { run, status: ExitStatus::Signal(9) },
        ] {
            let mut packet = message.encode().to_vec();
            packet.extend_from_slice(b"rest");
            assert_eq!(Message::decode(&packet), Some((message, &b"rest"[..])));
        }
        assert_eq!(Message::decode(&[0; HEAD]), None);
        assert_eq!(Message::decode(&[1; HEAD - 1]), None);
    }

    fn spec(argv: &[&str]) -> RunSpec {
        let task = xxnet_core::TaskId { publisher: xxnet_core::InstanceId::NONE, number: 1 };
        RunSpec {
            argv: argv.iter().map(|argument| argument.as_bytes().to_vec()).collect(),
            env: Vec::new(),
            folder: xxnet_core::FolderId { task, attempt: xxnet_core::AttemptNumber(1) },
            stdin: false,
        }
    }

    #[test]
    fn a_spec_survives() {
        let mut bytes = Vec::new();
        let env: [(&[u8], &[u8]); 2] = [(b"A", b"x=y"), (b"PATH", b"/bin")];
        encode_spec(b"/work", &spec(&["sh", "-c", ""]), &env, &mut bytes).unwrap();
        let read = Spec::decode(&bytes).unwrap();
        assert_eq!(read.folder, c"/work");
        assert_eq!(read.command, c"sh");
        assert_eq!(read.path, b"/bin");
        assert_eq!((read.argv.len(), read.env.len()), (4, 3));
        for cut in 0..bytes.len() {
            assert!(Spec::decode(&bytes[..cut]).is_none(), "a spec cut at {cut} was taken");
        }
    }

    #[test]
    fn t8_what_no_command_can_be_told_is_refused() {
        let encode =
            |argv: &[&str], env: &[(&[u8], &[u8])]| encode_spec(b"/", &spec(argv), env, &mut Vec::new());
        assert!(encode(&["true"], &[]).is_some());
        assert!(encode(&[], &[]).is_none());
        assert!(encode(&["a\0b"], &[]).is_none());
        assert!(encode(&["true"], &[(b"A=B", b"")]).is_none());
        assert!(encode(&["true"], &[(b"", b"x")]).is_none());
        assert!(encode(&["true"], &[(b"A", b"\0")]).is_none());
    }
}
