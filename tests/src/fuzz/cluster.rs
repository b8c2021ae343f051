//! A whole simulated world whose every decision is a byte.

use xxnet_sim::choices::{Bytes, Driver, Place, Seeded};
use xxnet_sim::plan::Kind;
use xxnet_sim::runner::run_driven;

/// A world keeps its promises, whatever is decided. The first byte chooses what it is about; the rest are its decisions, and
/// where they end, the plainest follow.
pub fn cluster(data: &[u8]) {
    let Some((choice, decisions)) = data.split_first() else { return };
    let kind = [Kind::Cluster, Kind::Connections, Kind::Messages][usize::from(*choice) % 3];
    let driver = Decisions { bytes: Bytes::new(decisions), identities: Seeded::new(1) };
    if let Err(failure) = run_driven(kind, driver).result {
        panic!("{kind:?}: {failure}");
    }
}

/// What is decided comes from the bytes. Who somebody is does not: ids of instances and seeds are never the same, as every
/// protocol here assumes.
struct Decisions {
    bytes: Bytes,
    identities: Seeded,
}

/// Whoever draws from so many or more draws no decision.
const IDENTITY: u64 = 1 << 48;

impl Driver for Decisions {
    fn draw(&mut self, place: Place, nth: u64, bound: u64) -> u64 {
        if bound >= IDENTITY {
            return self.identities.draw(place, nth, bound);
        }
        self.bytes.draw(place, nth, bound)
    }
}
