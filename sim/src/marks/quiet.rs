//! Events after which no row can stand elsewhere, told by what was done about them: most of a world's traffic, which then costs
//! nothing here.

use crate::machine::{Brain, Command, Notice};
use xxnet_core::connection::{ConnectionCommand, ConnectionEvent, ConnectionNotice};
use xxnet_core::net::{NetAction, NetEvent};
use xxnet_core::states::{Key, Row, SessionState, State};
use xxnet_core::{Action, Event, LinkId};

/// What an event can have changed, before it is handled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reach {
    /// Anything.
    All,
    /// Bytes have left, or messages are given to a session: nothing, if all that is done is to send.
    Sending,
    /// Bytes have come: where connections are alone, nothing but their link, if no other link is touched.
    Link(LinkId),
}

impl Reach {
    pub(crate) fn of(event: &Event<Command>) -> Self {
        match event {
            Event::Net(NetEvent::Sent { .. })
            | Event::Command(Command::Connections(ConnectionCommand::SendPack { .. })) => Self::Sending,
            Event::Net(NetEvent::Received { link, .. }) => Self::Link(*link),
            Event::Tick | Event::Net(_) | Event::Disk(_) | Event::Process(_) | Event::Command(_) => Self::All,
        }
    }

    /// Whether all rows stand where they did.
    pub(super) fn is_quiet(self, brain: &dyn Brain, actions: &[Action<Notice>], view: &[Row]) -> bool {
        match self {
            Self::All => false,
            Self::Sending => {
                actions.iter().all(|action| matches!(action, Action::Net(NetAction::Send { .. })))
            }
            Self::Link(link) => {
                let Some(state) = brain.link_state(link) else { return false };
                let own = |row: &&Row| row.key == Key::Link(link);
                // Where a session has several links, a word on one decides about the others.
                let several = State::from(SessionState::Several);
                view.iter().all(|row| row.state != several)
                    && actions.iter().all(|action| is_traffic(action, link))
                    && view.iter().rev().find(own).is_some_and(|row| row.state == state)
            }
        }
    }
}

/// Whether an action does no more than to carry bytes on this link, or to tell what has come on it.
fn is_traffic(action: &Action<Notice>, on: LinkId) -> bool {
    match action {
        Action::Net(NetAction::Send { link, .. } | NetAction::Recv { link, .. }) => *link == on,
        Action::Notify(Notice::Connections(ConnectionNotice::Event(event))) => matches!(
            event,
            ConnectionEvent::Received { .. }
                | ConnectionEvent::Acknowledged { .. }
                | ConnectionEvent::Pong { .. }
                | ConnectionEvent::Writable { .. }
        ),
        Action::Net(_) | Action::Disk(_) | Action::Process(_) | Action::Notify(_) => false,
    }
}
