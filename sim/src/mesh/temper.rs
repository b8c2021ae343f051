//! How the nodes of one run are set up, and how their applications behave.

use crate::choices::Choices;
use crate::mesh::ledger::HEAD;
use core::time::Duration;
use xxnet_core::config::Limits;

/// The same for all nodes of a run.
#[derive(Debug)]
pub(super) struct Temper {
    pub(super) limits: Limits,
    /// How often a message that has come is not taken at once, in a thousand.
    pub(super) slow: u64,
    /// How often one is answered; always: with messages of the largest size.
    pub(super) chatty: u64,
    /// Whether only those who dialled a session send on it.
    pub(super) one_way: bool,
    /// Whether sessions are hardly ever closed or forgotten.
    pub(super) loyal: bool,
    /// The largest message of a session.
    pub(super) largest: u64,
    /// How often a link breaks when a node acts.
    pub(super) brittle: u64,
}

impl Temper {
    /// Everybody answers at once, with a message of so many bytes.
    pub(super) fn lively(len: u64) -> Self {
        Self {
            limits: Limits::default(),
            slow: 0,
            chatty: 1000,
            one_way: false,
            loyal: true,
            largest: len,
            brittle: 0,
        }
    }

    /// So many bytes behind what every message begins with.
    pub(super) fn filler(&self, choices: &mut Choices) -> usize {
        let most = self.largest.saturating_sub(HEAD as u64);
        (if self.chatty == 1000 { most } else { choices.scaled(1, most) }) as usize
    }

    pub(super) fn draw(choices: &mut Choices) -> Self {
        let millis = |millis| Duration::from_millis(millis);
        // Some so short that a session expires at one end before the other has noticed that the link is gone.
        let session_timeout = Duration::from_secs(*choices.pick(&[30, 2, 4, 8]));
        let session_window = *choices.pick(&[4 << 20, 300, 3_000, 30_000]);
        let queues = [(32 << 20, 2 << 20), (8_000, 3_000), (3_000, 3_000), (60_000, 20_000)];
        let (session_queue, high_water) = *choices.pick(&queues);
        let ack_delay = millis(*choices.pick(&[1, 1, 60]));
        let (first, longest) = *choices.pick(&[(200, 10_000), (10, 500)]);
        let limits = Limits {
            session_timeout,
            session_window,
            session_queue,
            high_water,
            ack_delay,
            backoff: (millis(first), millis(longest)),
            ..Limits::default()
        };
        debug_assert_eq!(limits.validate(), Ok(()));
        Self {
            limits,
            slow: *choices.pick(&[100, 500, 950]),
            chatty: *choices.pick(&[0, 200, 600]),
            one_way: choices.chance(400),
            loyal: choices.chance(600),
            largest: *choices.pick(&[8_000, 300, 40_000]),
            brittle: *choices.pick(&[0, 100, 400]),
        }
    }
}
