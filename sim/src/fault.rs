//! The kinds of fault, which of them a run may inject, and how often it did.

use crate::choices::{Choices, Place};
use core::fmt;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What can go wrong in a simulated world.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Fault {
            $($(#[$doc])* $name,)*
        }

        impl Fault {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// In words, for reports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }

        /// Where each kind draws, whatever other kinds there are.
        const PLACES: [u64; Fault::ALL.len()] = [$(Place::of($text).key(),)*];
    };
}

faults! {
    /// A connect request is lost once; it is sent again after a second.
    SynLost = "connect request lost",
    /// No connect request of this dial ever arrives.
    DialHangs = "dial black-holed",
    /// A firewall refuses this dial.
    DialRefused = "dial refused",
    /// The acceptor takes the connection, the dialler never hears of it.
    AnswerLost = "connect answer lost",
    /// The dialler believes it is connected, the acceptor never hears of it.
    AcceptanceLost = "acceptance lost",
    /// No descriptors are left for a newcomer.
    AcceptFails = "accept failed",
    /// No descriptor is left for a dial: the dialler's own want.
    DialExhausted = "no descriptor for a dial",
    /// A name does not resolve, or only after seconds.
    NameFails = "name look-up failed",
    /// The link breaks at a certain byte and both ends notice.
    ResetBoth = "link reset, both notice",
    /// The link breaks and only the sender of that byte notices.
    ResetSender = "link reset, sender notices",
    /// The link breaks and only the receiver of that byte notices.
    ResetReceiver = "link reset, receiver notices",
    /// A kernel whose process closes a link resets it, although all that came was read.
    ResetAtClose = "link reset at its close",
    /// From a certain byte on, nothing travels in either direction and nobody is told.
    HalfOpen = "link black-holed",
    /// From a certain byte on, nothing travels in one direction.
    OneWay = "link black-holed one way",
    /// A bit is flipped under way.
    BitFlip = "bit flipped",
    /// A link is slow.
    SlowLink = "slow link",
    /// A link has a small window.
    SmallWindow = "small window",
    /// A link delivers in odd pieces.
    OddPieces = "odd pieces",
    /// A link delivers a byte at a time.
    SingleBytes = "single bytes",
    /// What a dialler sent first is sent again on a connection of a stranger's.
    Replay = "dial replayed",
    /// Two hosts cannot reach each other for a while.
    Partition = "partition",
    /// One host's packets do not reach another for a while.
    OneWayPartition = "one-way partition",
    /// A host loses its power: nothing is sent, its memory is gone.
    HostCrash = "host crash",
    /// An executor's process is killed; its supervisor lives.
    ExecutorCrash = "executor crash",
    /// A registry's process is killed.
    RegistryCrash = "registry crash",
    /// A publisher's process is killed.
    PublisherCrash = "publisher crash",
    /// A process is stopped for a while, its host goes on.
    ProcessFreeze = "process frozen",
    /// A host sleeps for a while; its clock goes on.
    HostFreeze = "host frozen",
    /// No space for a file, known beforehand.
    NoSpaceBefore = "no space, at the start",
    /// The disk fills while a file is written.
    NoSpaceDuring = "no space, in the middle",
    /// A source changes while it is read.
    Changed = "source changed",
    /// A source cannot be read.
    Unreadable = "source unreadable",
    /// A folder cannot be removed, for some tries.
    FolderStays = "folder not removed",
    /// A disk request takes seconds.
    SlowDisk = "slow disk",
    /// The system cannot start a command.
    SpawnFails = "spawn failed",
    /// A command ignores its kill for a while.
    Stubborn = "kill ignored for a while",
    /// A command does nothing for minutes.
    Hangs = "command hangs",
    /// A command leaves a child behind.
    Lingers = "child outlives command",
    /// An application gives credit late.
    SlowApplication = "slow application",
    /// A command of the application is given twice.
    DoubledCommand = "command doubled",
    /// A tick that nobody asked for.
    SpuriousTick = "spurious tick",
    /// The publisher cancels.
    Cancel = "cancel",
}

impl Fault {
    /// Its own part of any place: another kind of fault shifts nothing that this one draws.
    pub(crate) fn part(self) -> u64 {
        PLACES[self as usize]
    }

    /// By its words.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name)
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::by_name(&name).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|fault| fault.name()).collect();
            de::Error::custom(format!("no fault is called {name:?}; these are: {}", all.join(", ")))
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How often each kind was injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counts([u64; Fault::ALL.len()]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; Fault::ALL.len()])
    }
}

impl Counts {
    /// One more.
    pub fn add(&mut self, fault: Fault) {
        self.0[fault as usize] += 1;
    }

    /// How many.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize]
    }

    /// All kinds together.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Those of another run too.
    pub fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, theirs)| *mine += theirs);
    }
}

/// Which kinds a run may inject, and how eagerly.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Multiplies the chances of each kind, in percent; 0: it is switched off.
    eagerness: [u32; Fault::ALL.len()],
}

impl Default for Swarm {
    fn default() -> Self {
        Self::none()
    }
}

impl Swarm {
    /// None at all.
    pub fn none() -> Self {
        Self { eagerness: [0; Fault::ALL.len()] }
    }

    /// A random part of all kinds: runs in which some kinds are missing reach states that all kinds together hide. Each kind
    /// draws at its own place, so that one kind more leaves the others as they were.
    pub fn draw(choices: &mut Choices) -> Self {
        let mut swarm = Self::none();
        // One run in ten is calm: what fails there fails without any fault.
        if choices.chance(100) {
            return swarm;
        }
        let share = *choices.pick(&[150, 300, 500, 700]);
        let of_all: u32 = *choices.pick(&[100, 40, 200]);
        let here = choices.place();
        for kind in Fault::ALL {
            choices.enter(here.within(kind.part()));
            if choices.chance(share) {
                let own = *choices.pick(&[100, 100, 30, 250]);
                swarm.eagerness[*kind as usize] = of_all * own / 100;
            }
        }
        choices.enter(here);
        swarm
    }

    /// Only these.
    pub fn only(kinds: &[Fault]) -> Self {
        let mut swarm = Self::none();
        for kind in kinds {
            swarm.eagerness[*kind as usize] = 100;
        }
        swarm
    }

    /// With every chance multiplied, in percent.
    #[must_use]
    pub fn eager(mut self, percent: u32) -> Self {
        self.eagerness.iter_mut().for_each(|own| *own = own.saturating_mul(percent) / 100);
        self
    }

    /// Without these.
    #[must_use]
    pub fn without(mut self, kinds: &[Fault]) -> Self {
        for kind in kinds {
            self.eagerness[*kind as usize] = 0;
        }
        self
    }

    /// Whether a kind may be injected.
    pub fn enabled(&self, fault: Fault) -> bool {
        self.eagerness(fault) > 0
    }

    /// What the chances of a kind are multiplied by, in percent.
    pub fn eagerness(&self, fault: Fault) -> u64 {
        u64::from(self.eagerness[fault as usize])
    }

    /// Whether nothing may be injected.
    pub fn is_calm(&self) -> bool {
        self.eagerness.iter().all(|own| *own == 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kind draws is a matter of its own: of all others, any may be left out.
    #[test]
    fn what_a_kind_of_fault_draws_depends_on_no_other_kind() {
        for seed in 0..50 {
            let mut choices = Choices::seeded(seed, "plan");
            let swarm = Swarm::draw(&mut choices);
            let after = choices.below(1000);
            let mut again = Choices::seeded(seed, "plan");
            if again.chance(100) {
                assert!(swarm.is_calm());
                continue;
            }
            let (share, of_all): (u64, u64) =
                (*again.pick(&[150, 300, 500, 700]), *again.pick(&[100, 40, 200]));
            assert_eq!(again.below(1000), after, "seed {seed}: what comes behind is not shifted");
            for kind in Fault::ALL.iter().rev() {
                let mut own = Choices::seeded(seed, "plan");
                own.enter(Place::of("plan").within(Place::of(kind.name()).key()));
                let drawn = own.chance(share).then(|| of_all * *own.pick(&[100, 100, 30, 250]) / 100);
                assert_eq!(swarm.eagerness(*kind), drawn.unwrap_or(0), "seed {seed}: {kind}");
            }
        }
    }
}
