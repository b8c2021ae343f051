//! Which of several links counts (PROTOCOL B 5 to 9).
//!
//! "Established" differs at the two ends, so nobody closes a link by preference before both agree: the end with the smaller
//! instance id says `Use{k}` on the link it chooses, the other one sends there and answers `Using{k}` on it, and only that
//! answer lets the first close the others.

use crate::LinkId;
use serde::{Deserialize, Serialize};

/// How one end of a session chooses.
#[derive(Clone, Debug, Hash, Serialize, Deserialize)]
pub(in crate::connection) enum Choice {
    /// The kind keeps one link a dialler: the newest is the one.
    Newest,
    /// One link a pair, and ours is the smaller id: we choose. The number and link of the last `Use`, and whether its
    /// `Using` has come.
    Chooses { last: u64, on: Option<LinkId>, agreed: bool },
    /// One link a pair, and the peer chooses: the highest `Use` seen.
    Follows { seen: u64 },
}

/// What a word about the choice brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::connection) enum Chosen {
    /// Nothing: late or repeated.
    Ignored,
    /// The link is the active one; answer `Using` with this number on it, and drop dials of our own.
    Follow(u64),
    /// Both agree: close all other links, and dials of our own.
    Agreed,
    /// Only the other end may say that.
    Wrong,
}

impl Choice {
    /// The number of the `Use` to say on `link`, which we choose; `None` if it is not ours to choose.
    pub(in crate::connection) fn choose(&mut self, link: LinkId) -> Option<u64> {
        let Self::Chooses { last, on, agreed } = self else { return None };
        *last += 1;
        (*on, *agreed) = (Some(link), false);
        Some(*last)
    }

    /// Whether the peer chooses, and closes what is not chosen.
    pub(in crate::connection) fn follows(&self) -> bool {
        matches!(self, Self::Follows { .. })
    }

    /// Whether a choice must be made anew after this link is gone, with `left` of them: it was the last chosen one, or
    /// several are left and none is being chosen.
    pub(in crate::connection) fn is_open_after(&self, gone: LinkId, left: usize) -> bool {
        match self {
            Self::Chooses { on, agreed, .. } => left > 0 && (*on == Some(gone) || (*agreed && left > 1)),
            Self::Newest | Self::Follows { .. } => false,
        }
    }

    /// `Use{number}` has come on `link`.
    pub(in crate::connection) fn use_link(&mut self, number: u64) -> Chosen {
        match self {
            Self::Follows { seen } if number > *seen => {
                *seen = number;
                Chosen::Follow(number)
            }
            Self::Follows { .. } => Chosen::Ignored,
            Self::Newest | Self::Chooses { .. } => Chosen::Wrong,
        }
    }

    /// `Using{number}` has come on `link`.
    pub(in crate::connection) fn using(&mut self, number: u64, link: LinkId) -> Chosen {
        match self {
            Self::Chooses { last, on, agreed } if number == *last && *on == Some(link) && !*agreed => {
                *agreed = true;
                Chosen::Agreed
            }
            Self::Chooses { last, .. } if number <= *last => Chosen::Ignored,
            Self::Chooses { .. } | Self::Newest | Self::Follows { .. } => Chosen::Wrong,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Choice, Chosen};
    use crate::LinkId;

    const ONE: LinkId = LinkId(1);
    const TWO: LinkId = LinkId(2);

    fn chooser() -> Choice {
        Choice::Chooses { last: 0, on: None, agreed: false }
    }

    #[test]
    fn n3_each_new_link_is_chosen_with_a_larger_number_and_only_the_last_answer_counts() {
        let mut choice = chooser();
        assert_eq!((choice.choose(ONE), choice.choose(TWO)), (Some(1), Some(2)));
        assert_eq!(choice.using(1, ONE), Chosen::Ignored, "an older choice");
        assert_eq!(choice.using(2, ONE), Chosen::Ignored, "on another link than it was said on");
        assert_eq!(choice.using(3, TWO), Chosen::Wrong, "never said");
        assert_eq!(choice.using(2, TWO), Chosen::Agreed);
        assert_eq!(choice.using(2, TWO), Chosen::Ignored, "said twice");
        assert_eq!(choice.use_link(9), Chosen::Wrong, "ours to say");
    }

    #[test]
    fn n13_a_choice_whose_link_dies_is_made_again() {
        let mut choice = chooser();
        choice.choose(ONE);
        choice.choose(TWO);
        assert!(!choice.is_open_after(ONE, 1), "the chosen one is another");
        assert!(choice.is_open_after(TWO, 1));
        assert!(!choice.is_open_after(TWO, 0), "nothing is left to choose from");
        assert_eq!(choice.choose(ONE), Some(3));
        assert_eq!(choice.using(3, ONE), Chosen::Agreed);
        assert!(choice.is_open_after(TWO, 2), "several are left, and none is being chosen");
        assert!(choice.is_open_after(ONE, 1), "the agreed one is gone");
    }

    #[test]
    fn n13_the_other_end_follows_larger_numbers_alone() {
        let mut choice = Choice::Follows { seen: 0 };
        assert_eq!(choice.choose(ONE), None);
        assert_eq!(choice.use_link(2), Chosen::Follow(2));
        assert_eq!((choice.use_link(1), choice.use_link(2)), (Chosen::Ignored, Chosen::Ignored));
        assert_eq!(choice.use_link(3), Chosen::Follow(3));
        assert_eq!(choice.using(3, ONE), Chosen::Wrong);
        assert!(!choice.is_open_after(ONE, 2), "it is not for this end to say");
    }
}
