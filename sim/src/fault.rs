//! The kinds of fault, which of them a run may inject, and how often it did.

use crate::choices::Choices;
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
    /// A name does not resolve, or only after seconds.
    NameFails = "name look-up failed",
    /// The link breaks at a certain byte and both ends notice.
    ResetBoth = "link reset, both notice",
    /// The link breaks and only the sender of that byte notices.
    ResetSender = "link reset, sender notices",
    /// The link breaks and only the receiver of that byte notices.
    ResetReceiver = "link reset, receiver notices",
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
    enabled: [bool; Fault::ALL.len()],
    /// Multiplies every chance, in percent.
    pub eagerness: u64,
}

impl Default for Swarm {
    fn default() -> Self {
        Self::none()
    }
}

impl Swarm {
    /// None at all.
    pub fn none() -> Self {
        Self { enabled: [false; Fault::ALL.len()], eagerness: 100 }
    }

    /// A random part of all kinds: runs in which some kinds are missing reach states that all kinds together hide.
    pub fn draw(choices: &mut Choices) -> Self {
        let mut swarm = Self::none();
        // One run in ten is calm: what fails there fails without any fault.
        if choices.chance(100) {
            return swarm;
        }
        let share = *choices.pick(&[150, 300, 500, 700]);
        for enabled in &mut swarm.enabled {
            *enabled = choices.chance(share);
        }
        swarm.eagerness = *choices.pick(&[100, 40, 200]);
        swarm
    }

    /// Only these.
    pub fn only(kinds: &[Fault]) -> Self {
        let mut swarm = Self::none();
        for kind in kinds {
            swarm.enabled[*kind as usize] = true;
        }
        swarm
    }

    /// With every chance multiplied, in percent.
    #[must_use]
    pub fn eager(mut self, percent: u64) -> Self {
        self.eagerness = percent;
        self
    }

    /// Without these.
    #[must_use]
    pub fn without(mut self, kinds: &[Fault]) -> Self {
        for kind in kinds {
            self.enabled[*kind as usize] = false;
        }
        self
    }

    /// Whether a kind may be injected.
    pub fn enabled(&self, fault: Fault) -> bool {
        self.enabled[fault as usize]
    }

    /// Whether nothing may be injected.
    pub fn is_calm(&self) -> bool {
        !self.enabled.iter().any(|enabled| *enabled)
    }
}
