//! Which faults are looked at in which states.
//!
//! Not every fault in every state: what a fault cannot hit says nothing, and what lasts for microseconds of simulated time
//! says little. Each group has its reason for what it leaves out.

use crate::fault::Fault;
use std::sync::LazyLock;
use xxnet_core::states::State;

struct Product {
    faults: &'static [Fault],
    /// Tables, and the states of each.
    states: &'static [(&'static str, &'static [&'static str])],
}

/// All that a process stands for: what its death or its sleep may cost somebody. Left out are its connections and links, whose
/// other ends are told by the faults of links.
const PROMISES: &[(&str, &[&str])] = &[
    ("executor.registration", &["waiting", "dialling", "linked", "registered"]),
    ("executor.task-lane", &["resting", "dialling", "up", "accepted"]),
    ("executor.file-lane", &["resting", "dialling", "up", "accepted"]),
    ("publisher.task", &["opening", "free", "granted", "running", "collecting", "lapsed"]),
    ("publisher.probe", &["resting", "asking"]),
    (
        "worker.attempt",
        &[
            "proposed", "wanted", "folder", "fetching", "spawning", "running", "packing", "finished",
            "stopping", "leaving",
        ],
    ),
    ("executor.fetch", &["waiting", "requested", "receiving", "broken", "arrived", "committing", "closing"]),
    ("executor.serve", &["reading", "root"]),
    ("registry.member", &["present", "away", "suspect", "silent"]),
    ("registry.task", &["waiting", "proposed", "taken", "ended"]),
    ("connection.session", &["linked", "several", "cut", "redialling", "closing"]),
    ("messenger.peer", &["waiting", "dialling", "connected"]),
];

const PRODUCTS: &[Product] = &[
    Product {
        faults: &[Fault::HostCrash, Fault::ProcessFreeze, Fault::HostFreeze, Fault::SpuriousTick],
        states: PROMISES,
    },
    // It strikes executors, which publish nothing in this world, and the nodes of the other scenarios.
    Product {
        faults: &[Fault::ExecutorCrash],
        states: &[
            ("executor.registration", &["waiting", "dialling", "linked", "registered"]),
            ("executor.task-lane", &["resting", "dialling", "up"]),
            ("executor.file-lane", &["resting", "dialling", "up"]),
            PROMISES[5],
            ("executor.fetch", &["waiting", "requested", "receiving", "broken", "committing", "closing"]),
            ("executor.serve", &["reading", "root"]),
            ("connection.session", &["linked", "several", "cut", "redialling", "closing"]),
            ("messenger.peer", &["waiting", "dialling", "connected"]),
        ],
    },
    Product {
        faults: &[Fault::RegistryCrash],
        states: &[
            ("registry.member", &["present", "away", "suspect", "silent"]),
            ("registry.task", &["waiting", "proposed", "taken", "ended"]),
        ],
    },
    // A publisher has no slots: it dials nobody but registries, and suspects.
    Product {
        faults: &[Fault::PublisherCrash],
        states: &[
            ("executor.registration", &["waiting", "dialling", "linked", "registered"]),
            ("executor.task-lane", &["accepted"]),
            ("executor.file-lane", &["accepted"]),
            ("publisher.task", &["opening", "free", "granted", "running", "collecting", "lapsed"]),
            ("publisher.probe", &["resting", "asking"]),
            (
                "executor.fetch",
                &["waiting", "requested", "receiving", "broken", "arrived", "committing", "closing"],
            ),
            ("executor.serve", &["reading", "root"]),
        ],
    },
    // At a byte that passes: not before the link is open, nor once its end is given up. What hangs on no link is not hit.
    Product {
        faults: &[
            Fault::ResetBoth,
            Fault::ResetSender,
            Fault::ResetReceiver,
            Fault::HalfOpen,
            Fault::OneWay,
            Fault::BitFlip,
        ],
        states: BROKEN,
    },
    // The same, and dials.
    Product { faults: &[Fault::Partition, Fault::OneWayPartition], states: BROKEN },
    Product { faults: &[Fault::Partition, Fault::OneWayPartition], states: DIALS },
    // They strike a dial when it is made, or while it is under way.
    Product {
        faults: &[
            Fault::SynLost,
            Fault::DialHangs,
            Fault::DialRefused,
            Fault::AnswerLost,
            Fault::AcceptanceLost,
            Fault::SlowLink,
            Fault::SmallWindow,
            Fault::OddPieces,
            Fault::SingleBytes,
        ],
        states: DIALS,
    },
    // Registries alone have names here.
    Product {
        faults: &[Fault::NameFails],
        states: &[("executor.registration", &["dialling"]), ("connection", &["resolving"])],
    },
    Product { faults: &[Fault::AcceptFails], states: &[("listener", &["open", "failing"])] },
    // A command is started, or begins to run, while its attempt still waits for that, or is already being stopped.
    Product {
        faults: &[Fault::SlowDisk, Fault::SpawnFails, Fault::Hangs, Fault::Stubborn, Fault::Lingers],
        states: &[("worker.attempt", &["spawning"])],
    },
    Product {
        faults: &[Fault::SpawnFails, Fault::Hangs, Fault::Stubborn, Fault::Lingers],
        states: &[("worker.attempt", &["stopping"])],
    },
    // The application knows a task once it is published.
    Product {
        faults: &[Fault::Cancel],
        states: &[("publisher.task", &["free", "granted", "running", "collecting", "lapsed"])],
    },
    // Not looked at in states: a replay comes from a stranger, what an application does late or twice is no state's matter, and
    // the other faults of a disk are each those of one kind of request.
];

const BROKEN: &[(&str, &[&str])] = &[
    ("link", &["hello-sent", "await-hello", "welcome-sent", "established", "flushing", "ending", "draining"]),
    ("executor.registration", &["dialling", "linked", "registered"]),
    ("executor.task-lane", &["dialling", "up", "accepted"]),
    ("executor.file-lane", &["dialling", "up", "accepted"]),
    ("publisher.probe", &["asking"]),
    ("executor.fetch", &["requested", "receiving"]),
    ("executor.serve", &["reading", "root"]),
    ("registry.session", &["newcomer", "member"]),
    ("registry.member", &["present", "suspect"]),
    ("connection.session", &["linked", "several", "closing"]),
    ("messenger.peer", &["dialling", "connected"]),
];

const DIALS: &[(&str, &[&str])] = &[
    ("link", &["dialling"]),
    ("connection", &["dialling", "session"]),
    ("connection.session", &["redialling"]),
    ("executor.registration", &["dialling"]),
    ("executor.task-lane", &["dialling"]),
    ("executor.file-lane", &["dialling"]),
    ("publisher.probe", &["asking"]),
    ("messenger.peer", &["dialling", "connected"]),
];

/// Which state is looked at under which fault.
static LISTED: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let mut listed = vec![false; Fault::ALL.len() * State::COUNT];
    for product in PRODUCTS {
        for state in State::all().filter(|state| product.has(*state)) {
            product
                .faults
                .iter()
                .for_each(|fault| listed[*fault as usize * State::COUNT + state.number()] = true);
        }
    }
    listed
});

impl Product {
    fn has(&self, state: State) -> bool {
        let own = |(table, states): &(&str, &[&str])| {
            *table == state.table().name && states.contains(&state.name())
        };
        self.states.iter().any(own)
    }
}

/// Whether the fault is looked at in this state.
pub(super) fn has(fault: Fault, state: State) -> bool {
    LISTED[fault as usize * State::COUNT + state.number()]
}

/// All pairs that are looked at.
pub(super) fn all() -> impl Iterator<Item = (Fault, State)> {
    let of =
        |fault: Fault| State::all().filter(move |state| has(fault, *state)).map(move |state| (fault, state));
    Fault::ALL.iter().copied().flat_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_that_is_named_exists() {
        let names: Vec<String> = State::all().map(|state| state.to_string()).collect();
        let named = PRODUCTS.iter().flat_map(|product| product.states);
        for (table, states) in named {
            for state in *states {
                assert!(names.contains(&format!("{table}: {state}")), "there is no {table}: {state}");
            }
        }
    }
}
