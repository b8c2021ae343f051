//! One stream, of TCP or of a Unix socket: what is outstanding on it, and what the system is known to be ready for.

use super::error::{dial_error, net_error};
use crate::chunks::Chunks;
use bytes::{Buf, Bytes};
use socket2::Socket;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::os::fd::AsRawFd;
use xxnet_core::LinkId;
use xxnet_core::net::{Endpoint, NetError, NetEvent};

/// Received pieces up to this size are copied out of their chunk, so that a message of a few bytes does not keep a large
/// piece of memory alive.
const COPIED: usize = 4096;
/// Buffers handed to the system in one write.
const VECTORED: usize = 64;
/// Reads and writes a link may complete in one turn of the loop before others get theirs.
const BUDGET: u32 = 32;

/// The life of a link's socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Dialing,
    Open,
    /// Its last event is on its way to the machine; it ignores all but a close.
    Dead,
}

/// One stream.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) socket: Socket,
    /// Where the other end is, as far as its socket cannot say.
    peer: Endpoint,
    pub(crate) phase: Phase,
    /// Edge-triggered readiness: true until the system has shown otherwise.
    readable: bool,
    writable: bool,
    /// The end of the stream is near: a read that brings less than asked for does not mean that nothing is left.
    ending: bool,
    recv: Option<usize>,
    send: Option<VecDeque<Bytes>>,
    /// A write has failed; what the peer said before it is read first, as long as somebody reads.
    doomed: Option<NetError>,
    /// The turn that `budget` belongs to.
    turn: u64,
    budget: u32,
}

/// Whether a link must be looked at again in the next turn, its budget for this one being spent.
#[must_use]
pub(crate) struct Deferred(pub(crate) bool);

impl Link {
    pub(crate) fn new(id: LinkId, socket: Socket, peer: Endpoint, phase: Phase) -> Self {
        // A fresh socket takes a write; if bytes are there, the poll will say so.
        let writable = phase == Phase::Open;
        Self {
            id,
            socket,
            peer,
            phase,
            readable: false,
            writable,
            ending: false,
            recv: None,
            send: None,
            doomed: None,
            turn: 0,
            budget: 0,
        }
    }

    /// Takes what the poll has seen.
    pub(crate) fn note(&mut self, event: &mio::event::Event) {
        self.ending |= event.is_read_closed() || event.is_error();
        self.readable |= event.is_readable() || self.ending;
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Whether a dial has come to its end; `None`: not yet.
    pub(crate) fn dialled(&mut self) -> Option<NetEvent> {
        let link = self.id;
        let end = match self.socket.take_error() {
            Ok(Some(error)) | Err(error) => Err(error),
            Ok(None) => self.ends(),
        };
        match end {
            Ok((peer, local)) => {
                self.phase = Phase::Open;
                Some(NetEvent::Dialed { link, peer, local })
            }
            Err(error) if error.kind() == io::ErrorKind::NotConnected => None,
            Err(error) => {
                self.phase = Phase::Dead;
                Some(NetEvent::DialFailed { link, error: dial_error(&error, &self.peer) })
            }
        }
    }

    /// Who is connected with whom; fails while the dial is under way.
    fn ends(&self) -> io::Result<(Endpoint, Endpoint)> {
        let (peer, local) = (self.socket.peer_addr()?, self.socket.local_addr()?);
        Ok(match peer.as_socket().zip(local.as_socket()) {
            Some((peer, local)) => (peer.into(), local.into()),
            // It may have been bound by another name than the one that was dialled.
            None => (self.peer.clone(), Endpoint::Unix(String::new())),
        })
    }

    /// Arms a read.
    pub(crate) fn recv(&mut self, max: usize) {
        self.recv = Some(max.max(1));
    }

    /// Takes bytes to write; empty buffers are left out.
    pub(crate) fn send(&mut self, buffers: Vec<Bytes>) {
        self.send = Some(buffers.into_iter().filter(|buffer| !buffer.is_empty()).collect());
    }

    /// Whether a send is outstanding.
    pub(crate) fn sending(&self) -> bool {
        self.send.is_some()
    }

    /// Reads and writes what the system is ready for, and says what came of it.
    pub(crate) fn progress(
        &mut self,
        turn: u64,
        chunks: &mut Chunks,
        out: &mut VecDeque<NetEvent>,
    ) -> Deferred {
        if self.turn != turn {
            (self.turn, self.budget) = (turn, BUDGET);
        }
        if self.phase != Phase::Open {
            return Deferred(false);
        }
        let wants_read = self.recv.is_some() && self.readable;
        let wants_write = self.send.is_some() && self.writable && self.doomed.is_none();
        if (wants_read || wants_write) && self.budget == 0 {
            return Deferred(true);
        }
        // Read first: what the peer said before it reset the link is still there, and is not lost to a failing write.
        if wants_read {
            self.read(chunks, out);
        }
        if wants_write && self.phase == Phase::Open {
            self.write(chunks, out);
        }
        if self.ending && self.recv.is_none() && self.send.is_none() {
            self.notice_reset(out);
        }
        Deferred(false)
    }

    fn read(&mut self, chunks: &mut Chunks, out: &mut VecDeque<NetEvent>) {
        let Some(max) = self.recv else { return };
        self.budget = self.budget.saturating_sub(1);
        let link = self.id;
        let socket = &self.socket;
        // SAFETY: `recv` says how many bytes it has written into the room it was given.
        let got = unsafe { chunks.fill(max, COPIED, |room| retry(|| socket.recv(room))) };
        match got {
            Ok((data, _)) if data.is_empty() => match self.doomed {
                Some(error) => self.die(error, out),
                None => {
                    self.recv = None;
                    out.push_back(NetEvent::PeerClosed { link });
                }
            },
            Ok((data, filled)) => {
                // Less than there was room for: the system has no more, and will tell when it has.
                self.readable = filled || self.ending;
                self.recv = None;
                out.push_back(NetEvent::Received { link, data });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match self.doomed {
                Some(error) => self.die(error, out),
                None => self.readable = false,
            },
            Err(error) => self.die(net_error(&error), out),
        }
    }

    fn write(&mut self, chunks: &mut Chunks, out: &mut VecDeque<NetEvent>) {
        self.budget = self.budget.saturating_sub(1);
        let Some(buffers) = &mut self.send else { return };
        while !buffers.is_empty() {
            let (wrote, offered) = write_some(&self.socket, buffers);
            match wrote {
                Ok(count) => {
                    consume(buffers, count);
                    if count < offered {
                        // Exactly the rest stays, and waits for the system to take more (ledger N5).
                        self.writable = false;
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.writable = false;
                    return;
                }
                Err(error) => {
                    // The last that the peer said may say why: it is heard first, by whoever asks for it.
                    let error = net_error(&error);
                    self.doomed = Some(error);
                    (self.ending, self.readable) = (true, true);
                    return match self.recv {
                        Some(_) => self.read(chunks, out),
                        None if self.unread() == 0 => self.die(error, out),
                        None => {}
                    };
                }
            }
        }
        self.send = None;
        out.push_back(NetEvent::Sent { link: self.id });
    }

    /// Ends our side of the stream.
    pub(crate) fn shutdown(&mut self, out: &mut VecDeque<NetEvent>) {
        match self.socket.shutdown(std::net::Shutdown::Write) {
            Ok(()) => out.push_back(NetEvent::ShutdownDone { link: self.id }),
            Err(error) => self.die(net_error(&error), out),
        }
    }

    /// A link that nobody reads from or writes to can still be seen to be dead, once nothing is left to be read.
    fn notice_reset(&mut self, out: &mut VecDeque<NetEvent>) {
        if self.unread() > 0 {
            return;
        }
        if let Ok(Some(error)) = self.socket.take_error() {
            self.die(net_error(&error), out);
        }
    }

    /// Bytes that have come and nobody has asked for.
    fn unread(&self) -> libc::c_int {
        let mut unread = 0;
        // SAFETY: the descriptor is open, and FIONREAD writes one int.
        let failed = unsafe { libc::ioctl(self.socket.as_raw_fd(), libc::FIONREAD, &raw mut unread) } != 0;
        if failed { 0 } else { unread }
    }

    fn die(&mut self, error: NetError, out: &mut VecDeque<NetEvent>) {
        self.phase = Phase::Dead;
        (self.recv, self.send) = (None, None);
        out.push_back(NetEvent::Broken { link: self.id, error });
    }
}

/// Hands the front buffers to the system in one call; also says how many bytes it was offered.
fn write_some(socket: &Socket, buffers: &VecDeque<Bytes>) -> (io::Result<usize>, usize) {
    let mut slices = [IoSlice::new(&[]); VECTORED];
    let mut count = 0;
    let mut offered = 0;
    for (slice, buffer) in slices.iter_mut().zip(buffers) {
        *slice = IoSlice::new(buffer);
        offered += buffer.len();
        count += 1;
    }
    // A peer that is gone is an error here, never a signal.
    #[cfg(not(target_vendor = "apple"))]
    let flags = libc::MSG_NOSIGNAL;
    #[cfg(target_vendor = "apple")]
    let flags = 0;
    let sent = match &slices[..count] {
        // The system has less to look at.
        [one] => retry(|| socket.send_with_flags(one, flags)),
        many => retry(|| socket.send_vectored_with_flags(many, flags)),
    };
    (sent, offered)
}

/// Forgets the first `count` bytes.
fn consume(buffers: &mut VecDeque<Bytes>, mut count: usize) {
    while let Some(front) = buffers.front_mut() {
        if count < front.len() {
            front.advance(count);
            return;
        }
        count -= front.len();
        buffers.pop_front();
    }
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::consume;
    use bytes::Bytes;
    use std::collections::VecDeque;

    #[test]
    fn n5_exactly_the_rest_stays() {
        let whole: Vec<u8> = (0..=9).collect();
        for taken in 0..=10 {
            let mut buffers: VecDeque<Bytes> =
                [0..3, 3..4, 4..10].map(|range| Bytes::copy_from_slice(&whole[range])).into();
            consume(&mut buffers, taken);
            assert_eq!(buffers.iter().flatten().copied().collect::<Vec<u8>>(), whole[taken..]);
            assert!(buffers.iter().all(|buffer| !buffer.is_empty()));
        }
    }
}
