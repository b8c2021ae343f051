//! Runtimes that are broken on purpose, to show that the suite sees it.
//!
//! A fault stands between the runtime and the audit, at the machine's door: to both it is as if the runtime itself did so.

use super::{Command, Node, Notice, Runtime, Subject};
use bytes::Bytes;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;
use xxnet_core::net::{Endpoint, NetAction, NetError, NetEvent};
use xxnet_core::{Event, Instant};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// What a runtime can do wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
        }
    };
}

faults! {
    /// Never a tick.
    NoTick,
    /// Ticks that come three seconds late.
    LateTick,
    /// Each tenth event comes with a time of a second before.
    TimeGoesBack,
    /// `Sent` twice.
    DoublesSent,
    /// `Received` twice.
    DoublesReceived,
    /// `Accepted` twice.
    DoublesAccepted,
    /// `Dialed` twice.
    DoublesDialed,
    /// `Broken` twice.
    DoublesBroken,
    /// No `Sent` after the third.
    LosesSent,
    /// No `Closed`.
    LosesClosed,
    /// No `Unlistened`.
    LosesUnlistened,
    /// No `ShutdownDone`.
    LosesShutdownDone,
    /// No `Resolved`.
    LosesResolved,
    /// Nothing of what the disk does.
    LosesDisk,
    /// Nothing of what processes do.
    LosesProcesses,
    /// `PeerClosed` of a link that is being closed, before `Closed`.
    TellsWhileClosing,
    /// `Broken` behind `Closed`.
    TellsAfterClose,
    /// Two sends in the other order.
    ReordersSends,
    /// The buffers of a send in the other order.
    ReordersBuffers,
    /// A send without its last byte.
    CutsSends,
    /// Reads twice as much as was asked for.
    ReadsTooMuch,
    /// The end of a stream as no bytes.
    TellsNothingReceived,
    /// A peer that says no more as a reset.
    HalfCloseAsReset,
    /// A reset as the end of the stream.
    ResetAsEnd,
    /// `Shutdown` is answered, and not done.
    NoShutdown,
    /// `Close` is answered, and not done.
    NoClose,
    /// `Unlisten` is answered, and not done.
    NoUnlisten,
    /// Port 0 is told as it was asked.
    TellsPortZero,
    /// Every failed dial is just some error.
    UntypedDialErrors,
    /// Every failed listen is just some error.
    UntypedListenErrors,
    /// A name that does not exist has no addresses.
    FindsNothing,
}

/// A fault and what it has to remember.
#[derive(Debug, Default)]
pub(super) struct Breakage {
    pub(super) fault: Option<Fault>,
    count: u64,
    held: Option<Vec<Bytes>>,
}

impl Breakage {
    pub(super) fn time(&mut self, now: Instant) -> Instant {
        self.count += 1;
        if self.fault == Some(Fault::TimeGoesBack) && self.count.is_multiple_of(10) {
            return Instant::from_micros(now.as_micros().saturating_sub(1_000_000));
        }
        now
    }

    pub(super) fn deadline(&self, deadline: Option<Instant>) -> Option<Instant> {
        match self.fault {
            Some(Fault::NoTick) => None,
            Some(Fault::LateTick) => deadline.map(|deadline| deadline + Duration::from_secs(3)),
            _ => deadline,
        }
    }

    /// What becomes of an event on its way to the machine.
    pub(super) fn enter(&mut self, event: Event<Command>) -> Vec<Event<Command>> {
        let Some(fault) = self.fault else { return vec![event] };
        let event = match event {
            Event::Disk(_) if fault == Fault::LosesDisk => return Vec::new(),
            Event::Process(_) if fault == Fault::LosesProcesses => return Vec::new(),
            Event::Net(event) => event,
            other => return vec![other],
        };
        let told = match (fault, event) {
            (Fault::DoublesSent, event @ NetEvent::Sent { .. })
            | (Fault::DoublesReceived, event @ NetEvent::Received { .. })
            | (Fault::DoublesAccepted, event @ NetEvent::Accepted { .. })
            | (Fault::DoublesDialed, event @ NetEvent::Dialed { .. })
            | (Fault::DoublesBroken, event @ NetEvent::Broken { .. }) => vec![event.clone(), event],
            (Fault::LosesSent, NetEvent::Sent { .. }) if self.held.get_or_insert_default().len() == 3 => {
                Vec::new()
            }
            (Fault::LosesSent, event @ NetEvent::Sent { .. }) => {
                self.held.get_or_insert_default().push(Bytes::new());
                vec![event]
            }
            (Fault::LosesClosed, NetEvent::Closed { .. })
            | (Fault::LosesUnlistened, NetEvent::Unlistened { .. })
            | (Fault::LosesShutdownDone, NetEvent::ShutdownDone { .. })
            | (Fault::LosesResolved, NetEvent::Resolved { .. }) => Vec::new(),
            (Fault::TellsWhileClosing, event @ NetEvent::Closed { link }) => {
                vec![NetEvent::PeerClosed { link }, event]
            }
            (Fault::TellsAfterClose, event @ NetEvent::Closed { link }) => {
                vec![event, NetEvent::Broken { link, error: NetError::Reset }]
            }
            (Fault::TellsNothingReceived, NetEvent::PeerClosed { link }) => {
                vec![NetEvent::Received { link, data: Bytes::new() }]
            }
            (Fault::HalfCloseAsReset, NetEvent::PeerClosed { link }) => {
                vec![NetEvent::Broken { link, error: NetError::Reset }]
            }
            (Fault::ResetAsEnd, NetEvent::Broken { link, .. }) => vec![NetEvent::PeerClosed { link }],
            (Fault::TellsPortZero, NetEvent::Listening { listener, address: Endpoint::Ip(mut socket) }) => {
                socket.set_port(0);
                vec![NetEvent::Listening { listener, address: socket.into() }]
            }
            (Fault::UntypedDialErrors, NetEvent::DialFailed { link, .. }) => {
                vec![NetEvent::DialFailed { link, error: NetError::Other(1) }]
            }
            (Fault::UntypedListenErrors, NetEvent::ListenFailed { listener, .. }) => {
                vec![NetEvent::ListenFailed { listener, error: NetError::Other(1) }]
            }
            (Fault::FindsNothing, NetEvent::Resolved { query, result: Err(_) }) => {
                vec![NetEvent::Resolved { query, result: Ok(Vec::new()) }]
            }
            (_, event) => vec![event],
        };
        told.into_iter().map(Event::Net).collect()
    }

    /// What becomes of a request on its way to the runtime: itself, or an answer at once.
    pub(super) fn leave(&mut self, action: NetAction) -> Result<NetAction, NetEvent> {
        let Some(fault) = self.fault else { return Ok(action) };
        match (fault, action) {
            (Fault::ReordersSends, NetAction::Send { link, buffers }) => match self.held.take() {
                // What is held goes behind what came after it.
                Some(held) if !held.is_empty() => {
                    Ok(NetAction::Send { link, buffers: [buffers, held].concat() })
                }
                _ => {
                    self.held = Some(buffers);
                    Err(NetEvent::Sent { link })
                }
            },
            (Fault::ReordersBuffers, NetAction::Send { link, mut buffers }) => {
                buffers.reverse();
                Ok(NetAction::Send { link, buffers })
            }
            (Fault::CutsSends, NetAction::Send { link, mut buffers }) => {
                let mut all = VecDeque::from(buffers.concat());
                all.pop_back();
                buffers = vec![Bytes::from(Vec::from(all))];
                if buffers[0].is_empty() {
                    return Err(NetEvent::Sent { link });
                }
                Ok(NetAction::Send { link, buffers })
            }
            (Fault::ReadsTooMuch, NetAction::Recv { link, max }) => {
                Ok(NetAction::Recv { link, max: 2 * max })
            }
            (Fault::NoShutdown, NetAction::Shutdown { link }) => Err(NetEvent::ShutdownDone { link }),
            (Fault::NoClose, NetAction::Close { link }) => Err(NetEvent::Closed { link }),
            (Fault::NoUnlisten, NetAction::Unlisten { listener }) => Err(NetEvent::Unlistened { listener }),
            (_, action) => Ok(action),
        }
    }
}

/// A runtime with a fault.
#[derive(Debug)]
pub struct Broken<R> {
    runtime: R,
    fault: Fault,
}

impl<R: Runtime> Broken<R> {
    /// Breaks a runtime.
    pub fn new(runtime: R, fault: Fault) -> Self {
        Self { runtime, fault }
    }
}

impl<R: Runtime> Runtime for Broken<R> {
    fn start(&mut self, mut subject: Subject) {
        subject.break_by(self.fault);
        self.runtime.start(subject);
    }

    fn command(&mut self, node: Node, command: Command) {
        self.runtime.command(node, command);
    }

    fn next(&mut self, node: Node, within: Duration) -> Option<Notice> {
        self.runtime.next(node, within)
    }

    fn stop(&mut self, node: Node) {
        self.runtime.stop(node);
    }

    fn now(&self) -> Duration {
        self.runtime.now()
    }

    /// What is broken is not waited for at length.
    fn patience(&self) -> Duration {
        self.runtime.patience() / 20
    }

    fn ip(&self) -> IpAddr {
        self.runtime.ip()
    }

    fn name(&self) -> String {
        self.runtime.name()
    }

    fn socket_file(&self) -> Option<String> {
        self.runtime.socket_file()
    }

    fn has_ipv6(&self) -> bool {
        self.runtime.has_ipv6()
    }
}
