//! The kinds of connection of this scenario: each rule, plain and with sessions.

use xxnet_core::connection::{ConnectionKind, KindId, LinkRule, Role};

/// The kinds, and what is known of each.
pub(super) struct Kinds;

impl Kinds {
    pub(super) const MANY: KindId = KindId(1024);
    pub(super) const ONE: KindId = KindId(1025);
    pub(super) const LISTENER: KindId = KindId(1026);
    pub(super) const PAIR: KindId = KindId(1027);
    pub(super) const ONE_SESSION: KindId = KindId(1028);
    pub(super) const MANY_SESSIONS: KindId = KindId(1029);
    /// Those that are dialled.
    pub(super) const DIALLED: [KindId; 5] =
        [Self::MANY, Self::ONE, Self::PAIR, Self::ONE_SESSION, Self::MANY_SESSIONS];

    pub(super) fn is_session(kind: KindId) -> bool {
        matches!(kind, Self::PAIR | Self::ONE_SESSION | Self::MANY_SESSIONS)
    }

    pub(super) fn rule(kind: KindId) -> LinkRule {
        match kind {
            Self::ONE | Self::ONE_SESSION => LinkRule::OnePerDialler,
            Self::PAIR => LinkRule::OnePerPair,
            _ => LinkRule::Many,
        }
    }

    /// As every node registers them.
    pub(super) fn all() -> impl Iterator<Item = ConnectionKind> {
        let dialled = Self::DIALLED.into_iter().map(|id| {
            let make = if Self::is_session(id) { ConnectionKind::session } else { ConnectionKind::plain };
            make(id, Self::rule(id), Role::Both)
        });
        dialled.chain([ConnectionKind::plain(Self::LISTENER, LinkRule::Many, Role::Listen)])
    }
}
