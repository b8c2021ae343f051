//! What each event means in each phase of a link, and what each pack means: two tables, every pair named.

use crate::LinkId;
use crate::net::{Endpoint, NetError, NetEvent};
use crate::pack::PackType;
use bytes::Bytes;

/// Where a link stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    /// TCP connects.
    Dialling,
    /// Dialler: Welcome is awaited.
    HelloSent,
    /// Acceptor: Hello is awaited.
    AwaitHello,
    /// Acceptor: Confirm is awaited.
    WelcomeSent,
    /// Both ends have proven the key.
    Established,
    /// Closing: the outbox goes first.
    Flushing,
    /// Closing: our end is being told.
    Ending,
    /// Closing: the peer's end is awaited.
    Draining,
    /// The network was asked to close it.
    Closed,
    /// Nothing is left.
    Gone,
}

/// What happens to one link.
#[derive(Clone, Debug, Hash)]
pub(crate) enum LinkEvent {
    /// The dial has succeeded.
    Dialed { peer: Endpoint, local: Endpoint },
    /// The dial has failed; the link does not exist.
    DialFailed { error: NetError },
    /// The send under way is complete.
    Sent,
    /// Bytes have come.
    Received { data: Bytes },
    /// The peer sends no more.
    PeerClosed,
    /// The peer was told our end.
    ShutdownDone,
    /// The link is dead.
    Broken { error: NetError },
    /// The link is closed, as asked.
    Closed,
    /// The phase's deadline is reached.
    Due,
}

/// [`LinkEvent`] without what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Dialed,
    DialFailed,
    Sent,
    Received,
    PeerClosed,
    ShutdownDone,
    Broken,
    Closed,
    Due,
}

impl LinkEvent {
    /// The link that a network event is about, and what it says; `None` if it is about something else.
    pub(crate) fn of(event: NetEvent) -> Result<(LinkId, Self), NetEvent> {
        Ok(match event {
            NetEvent::Dialed { link, peer, local } => (link, Self::Dialed { peer, local }),
            NetEvent::DialFailed { link, error } => (link, Self::DialFailed { error }),
            NetEvent::Sent { link } => (link, Self::Sent),
            NetEvent::Received { link, data } => (link, Self::Received { data }),
            NetEvent::PeerClosed { link } => (link, Self::PeerClosed),
            NetEvent::ShutdownDone { link } => (link, Self::ShutdownDone),
            NetEvent::Broken { link, error } => (link, Self::Broken { error }),
            NetEvent::Closed { link } => (link, Self::Closed),
            other @ (NetEvent::Resolved { .. }
            | NetEvent::Listening { .. }
            | NetEvent::ListenFailed { .. }
            | NetEvent::Accepted { .. }
            | NetEvent::AcceptFailed { .. }
            | NetEvent::Unlistened { .. }) => return Err(other),
        })
    }

    pub(super) fn name(&self) -> Name {
        match self {
            Self::Dialed { .. } => Name::Dialed,
            Self::DialFailed { .. } => Name::DialFailed,
            Self::Sent => Name::Sent,
            Self::Received { .. } => Name::Received,
            Self::PeerClosed => Name::PeerClosed,
            Self::ShutdownDone => Name::ShutdownDone,
            Self::Broken { .. } => Name::Broken,
            Self::Closed => Name::Closed,
            Self::Due => Name::Due,
        }
    }

    /// Why the network ended the link.
    pub(super) fn error(&self) -> Option<NetError> {
        match self {
            Self::DialFailed { error } | Self::Broken { error } => Some(*error),
            Self::Dialed { .. }
            | Self::Sent
            | Self::Received { .. }
            | Self::PeerClosed
            | Self::ShutdownDone
            | Self::Closed
            | Self::Due => None,
        }
    }
}

/// What to do about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Illegal here: late, doubled or never asked for. Counted, no effect.
    Stray,
    /// Say Hello.
    Greet,
    /// The next batch may leave.
    Sent,
    /// Decode what has come.
    Read,
    /// Throw away what has come.
    Discard,
    /// The peer has closed in order: the link is over.
    PeerEnded,
    /// The peer has closed while we do: remember it.
    NoteEnd,
    /// Wait for the peer's end, if it has not come.
    Drain,
    /// Everything is said and heard, or time is up: close.
    Close,
    /// The network ended it.
    Broke,
    /// The last completion has come.
    Gone,
    /// Nobody answers the dial.
    GiveUp,
    /// Nobody speaks in time.
    Silent,
    /// Ping, or give a silent peer up.
    Keepalive,
}

/// Every (phase, event) pair.
#[rustfmt::skip]
pub(super) fn step(phase: Phase, event: Name) -> Step {
    use Name::*;
    match (phase, event) {
        (Phase::Dialling, Dialed) => Step::Greet,
        (Phase::Dialling, DialFailed | Broken) => Step::Broke,
        (Phase::Dialling, Due) => Step::GiveUp,
        (Phase::Dialling, Sent | Received | PeerClosed | ShutdownDone | Closed) => Step::Stray,

        (Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent, Sent) => Step::Sent,
        (Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent, Received) => Step::Read,
        (Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent, PeerClosed) => Step::PeerEnded,
        (Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent, Broken) => Step::Broke,
        (Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent, Due) => Step::Silent,
        (Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent,
            Dialed | DialFailed | ShutdownDone | Closed) => Step::Stray,

        (Phase::Established, Sent) => Step::Sent,
        (Phase::Established, Received) => Step::Read,
        (Phase::Established, PeerClosed) => Step::PeerEnded,
        (Phase::Established, Broken) => Step::Broke,
        (Phase::Established, Due) => Step::Keepalive,
        (Phase::Established, Dialed | DialFailed | ShutdownDone | Closed) => Step::Stray,

        (Phase::Flushing, Sent) => Step::Sent,
        (Phase::Flushing, Received) => Step::Discard,
        (Phase::Flushing, PeerClosed) => Step::NoteEnd,
        (Phase::Flushing, Broken) => Step::Broke,
        (Phase::Flushing, Due) => Step::Close,
        (Phase::Flushing, Dialed | DialFailed | ShutdownDone | Closed) => Step::Stray,

        (Phase::Ending, ShutdownDone) => Step::Drain,
        (Phase::Ending, Received) => Step::Discard,
        (Phase::Ending, PeerClosed) => Step::NoteEnd,
        (Phase::Ending, Broken) => Step::Broke,
        (Phase::Ending, Due) => Step::Close,
        (Phase::Ending, Dialed | DialFailed | Sent | Closed) => Step::Stray,

        (Phase::Draining, Received) => Step::Discard,
        (Phase::Draining, PeerClosed) => Step::Close,
        (Phase::Draining, Broken) => Step::Broke,
        (Phase::Draining, Due) => Step::Close,
        (Phase::Draining, Dialed | DialFailed | Sent | ShutdownDone | Closed) => Step::Stray,

        // Whatever was under way when the close was asked for may still be answered; one of these three is the last.
        (Phase::Closed, Closed | Broken | DialFailed) => Step::Gone,
        (Phase::Closed, Dialed | Sent | Received | PeerClosed | ShutdownDone | Due) => Step::Stray,

        (Phase::Gone, Dialed | DialFailed | Sent | Received | PeerClosed | ShutdownDone | Broken | Closed | Due) =>
            Step::Stray,
    }
}

/// What a pack means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reading {
    Hello,
    Welcome,
    Confirm,
    Refuse,
    Ping,
    Pong,
    Goodbye,
    /// For the session that the link belongs to, if it does to one.
    Session,
    /// A dialler hears a Hello: it has reached itself, or another dialler.
    Echo,
    /// For the layers above.
    Payload,
    /// The peer's fault.
    Wrong(&'static str),
}

/// Pack types below this number are the link's own.
pub(crate) const FIRST_PAYLOAD: u16 = PackType::DICT.0;

/// Every pack in every phase that reads.
pub(super) fn reading(phase: Phase, pack_type: PackType) -> Reading {
    match (phase, pack_type) {
        (Phase::HelloSent, PackType::WELCOME) => Reading::Welcome,
        (Phase::HelloSent, PackType::HELLO) => Reading::Echo,
        (Phase::AwaitHello, PackType::HELLO) => Reading::Hello,
        (Phase::WelcomeSent, PackType::CONFIRM) => Reading::Confirm,
        (
            Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent | Phase::Established,
            PackType::REFUSE,
        ) => Reading::Refuse,
        (Phase::HelloSent | Phase::AwaitHello | Phase::WelcomeSent, _) => {
            Reading::Wrong("another pack than the handshake's next")
        }
        (Phase::Established, PackType::PING) => Reading::Ping,
        (Phase::Established, PackType::PONG) => Reading::Pong,
        (Phase::Established, PackType::GOODBYE) => Reading::Goodbye,
        (Phase::Established, PackType::USE | PackType::USING | PackType::ACK) => Reading::Session,
        (Phase::Established, PackType::HELLO | PackType::WELCOME | PackType::CONFIRM) => {
            Reading::Wrong("a handshake pack on an established link")
        }
        (Phase::Established, PackType(number)) if number >= FIRST_PAYLOAD => Reading::Payload,
        (Phase::Established, _) => Reading::Wrong("an unknown pack type"),
        (
            Phase::Dialling | Phase::Flushing | Phase::Ending | Phase::Draining | Phase::Closed | Phase::Gone,
            _,
        ) => Reading::Wrong("a pack where none is read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use alloc::vec::Vec;

    const PHASES: [Phase; 10] = [
        Phase::Dialling,
        Phase::HelloSent,
        Phase::AwaitHello,
        Phase::WelcomeSent,
        Phase::Established,
        Phase::Flushing,
        Phase::Ending,
        Phase::Draining,
        Phase::Closed,
        Phase::Gone,
    ];
    const EVENTS: [Name; 9] = [
        Name::Dialed,
        Name::DialFailed,
        Name::Sent,
        Name::Received,
        Name::PeerClosed,
        Name::ShutdownDone,
        Name::Broken,
        Name::Closed,
        Name::Due,
    ];

    /// Whoever changes a transition sees it here.
    #[test]
    fn the_table_of_events() {
        let row = |phase| {
            let told = EVENTS.iter().filter(|event| step(phase, **event) != Step::Stray);
            let told: Vec<String> =
                told.map(|event| format!("{event:?}={:?}", step(phase, *event))).collect();
            format!("{phase:?}: {}", told.join(" "))
        };
        let table: Vec<String> = PHASES.into_iter().map(row).collect();
        assert_eq!(
            table,
            [
                "Dialling: Dialed=Greet DialFailed=Broke Broken=Broke Due=GiveUp",
                "HelloSent: Sent=Sent Received=Read PeerClosed=PeerEnded Broken=Broke Due=Silent",
                "AwaitHello: Sent=Sent Received=Read PeerClosed=PeerEnded Broken=Broke Due=Silent",
                "WelcomeSent: Sent=Sent Received=Read PeerClosed=PeerEnded Broken=Broke Due=Silent",
                "Established: Sent=Sent Received=Read PeerClosed=PeerEnded Broken=Broke Due=Keepalive",
                "Flushing: Sent=Sent Received=Discard PeerClosed=NoteEnd Broken=Broke Due=Close",
                "Ending: Received=Discard PeerClosed=NoteEnd ShutdownDone=Drain Broken=Broke Due=Close",
                "Draining: Received=Discard PeerClosed=Close Broken=Broke Due=Close",
                "Closed: DialFailed=Gone Broken=Gone Closed=Gone",
                "Gone: ",
            ]
        );
    }

    #[test]
    fn the_table_of_packs() {
        let row = |phase| {
            let told = (0..18).map(|n| (n, reading(phase, PackType(n))));
            let told = told.filter(|(_, what)| !matches!(what, Reading::Wrong(_)));
            let told: Vec<String> = told.map(|(n, what)| format!("{n}={what:?}")).collect();
            format!("{phase:?}: {}", told.join(" "))
        };
        let table: Vec<String> = PHASES.into_iter().map(row).collect();
        assert_eq!(
            table,
            [
                "Dialling: ",
                "HelloSent: 1=Echo 2=Welcome 4=Refuse",
                "AwaitHello: 1=Hello 4=Refuse",
                "WelcomeSent: 3=Confirm 4=Refuse",
                "Established: 4=Refuse 5=Ping 6=Pong 7=Goodbye 8=Session 9=Session 10=Session 16=Payload 17=Payload",
                "Flushing: ",
                "Ending: ",
                "Draining: ",
                "Closed: ",
                "Gone: ",
            ]
        );
    }
}
