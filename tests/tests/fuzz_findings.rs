//! What the fuzz targets have found, each as the few events that matter.
#![allow(clippy::unwrap_used)]

use xxnet_core::messenger::{Messenger, MessengerCommand};
use xxnet_core::pack::{DataPack, PackType};
use xxnet_core::{Actions, Address, ClusterKey, Config, Event, InstanceId, Instant, Machine, Token};

/// Nothing to send, or nothing that may be sent, leaves no peer behind that waits for nothing for ever.
#[test]
fn n4_a_send_of_nothing_leaves_no_peer_behind() {
    let reserved = DataPack::new(PackType::CONFIRM, vec![1]);
    for packs in [vec![], vec![reserved]] {
        let mut messenger = Messenger::new(Config::new(InstanceId([1; 16]), "me", ClusterKey([0; 32]), 1));
        let (now, token, mut out) = (Instant::ZERO, Token(1), Actions::new());
        let to: Address = "10.0.0.2:7000".parse().unwrap();
        messenger.handle(now, Event::Command(MessengerCommand::Open { token, to }), &mut out);
        messenger.handle(now, Event::Command(MessengerCommand::Send { token, packs }), &mut out);
        messenger.check_invariants();
        let left: Vec<_> = messenger.unfinished().into_iter().filter(|(_, count)| *count > 0).collect();
        assert_eq!(left, []);
    }
}
