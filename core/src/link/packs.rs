//! What comes in: one pack of the peer's after the other, and bytes that are no packs.

use super::table::{Phase, Reading, reading};
use super::{Heard, Io, Link, State};
use crate::connection::DisconnectReason;
use crate::handshake::{self, Refuse};
use crate::pack::{DataPack, DecodeError, PackType};
use alloc::boxed::Box;

impl Link {
    /// One pack of the peer's, by the table [`reading`].
    pub(super) fn take<N>(&mut self, pack: DataPack, io: &mut Io<'_, N>) -> Option<Heard> {
        let what = reading(self.phase(), pack.pack_type);
        // Only payload has a use for bytes that no checksum covers.
        if !pack.bulk.is_empty() && what != Reading::Payload {
            self.fail(DisconnectReason::Malformed("bulk in a control pack"), io);
            return None;
        }
        match what {
            Reading::Payload | Reading::Session => return Some(Heard::Pack(pack)),
            Reading::Hello => match handshake::read_hello(&pack.head) {
                Ok(hello) => {
                    self.state = State::AwaitHello(pack.head);
                    return Some(Heard::Hello(Box::new(hello)));
                }
                Err(reason) => self.fail(reason, io),
            },
            Reading::Welcome => {
                let State::HelloSent(sent, welcome_bytes) = &mut self.state else { return None };
                match sent.welcome(io.key, &pack.head) {
                    Ok(welcome) => {
                        *welcome_bytes = pack.head;
                        self.round_trip = Some(io.now.since(self.since));
                        return Some(Heard::Welcome(Box::new(welcome)));
                    }
                    Err(reason) => self.fail(reason, io),
                }
            }
            Reading::Confirm => {
                let State::WelcomeSent(pending) = &self.state else { return None };
                match pending.confirm(io.key, &pack.head) {
                    Ok(resume) => {
                        self.round_trip = Some(io.now.since(self.sent));
                        return Some(Heard::Confirm(resume));
                    }
                    Err(reason) => self.fail(reason, io),
                }
            }
            Reading::Echo => {
                let own = handshake::read_hello(&pack.head).ok();
                let mine = own.is_some() && own.as_ref() == self.own_hello();
                let reason =
                    if mine { DisconnectReason::Myself } else { DisconnectReason::Malformed("two diallers") };
                self.fail(reason, io);
            }
            Reading::Refuse => self.cut(Refuse::reason(&pack.head), io),
            Reading::Goodbye => {
                self.goodbye = true;
                self.cut(DisconnectReason::ClosedByPeer, io);
            }
            Reading::Ping if pack.head.len() > super::alive::PING_DATA => {
                self.fail(DisconnectReason::Malformed("too much data in a ping"), io);
            }
            Reading::Ping => {
                self.outbox.set_pong(DataPack::new(PackType::PONG, pack.head));
                self.flush(io);
            }
            Reading::Pong => return self.ponged(&pack, io.now).map(Heard::Pong),
            Reading::Wrong(what) => self.fail(DisconnectReason::Malformed(what), io),
        }
        None
    }

    pub(super) fn undecodable(&self, error: DecodeError) -> DisconnectReason {
        let shook = self.phase() == Phase::Established;
        match error {
            DecodeError::BadHeaderSize { .. } if !shook => {
                DisconnectReason::NotOurProtocol { hint: error.hint() }
            }
            DecodeError::BadHeaderSize { .. } => DisconnectReason::Malformed("header size"),
            DecodeError::TooLarge { .. } => DisconnectReason::Malformed("more data than is taken"),
            DecodeError::BadCheckedSize { .. } => DisconnectReason::Malformed("checked size"),
            DecodeError::UnknownFlags(_) => DisconnectReason::Malformed("unknown flags"),
            DecodeError::Checksum => DisconnectReason::Malformed("checksum"),
        }
    }
}
