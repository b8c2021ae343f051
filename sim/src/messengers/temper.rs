//! How the nodes of one run are set up, and how their applications behave.

use crate::choices::Choices;
use crate::talk::Talk;
use core::time::Duration;
use xxnet_core::config::Limits;

/// The same for all nodes of a run.
#[derive(Debug)]
pub(super) struct Temper {
    pub(super) limits: Limits,
    /// How often a message that has come is not taken at once, in a thousand.
    pub(super) slow: u64,
    /// How often one is answered.
    pub(super) chatty: u64,
    /// How often a node that acts parts with a peer or shuts down, in a thousand.
    pub(super) restless: u64,
    /// The largest message.
    pub(super) largest: u64,
    /// How often a link breaks when a node acts.
    pub(super) brittle: u64,
}

impl Temper {
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
            chatty: *choices.pick(&[0, 200, 500]),
            restless: *choices.pick(&[20, 0, 100]),
            largest: *choices.pick(&[8_000, 300, 40_000]),
            brittle: *choices.pick(&[0, 100, 400]),
        }
    }

    /// As it must be for a talk.
    pub(super) fn suit(&mut self, talk: &Talk) {
        // Nobody parts, and nobody answers out of turn.
        (self.restless, self.chatty) = (0, 0);
        match talk {
            Talk::Chat(_) => self.largest = 300,
            Talk::Bulk(largest) => {
                let usual = Limits::default();
                self.limits.session_window = usual.session_window;
                self.limits.session_queue = usual.session_queue;
                self.limits.high_water = usual.high_water;
                self.limits.ack_delay = usual.ack_delay;
                self.largest = *largest as u64;
            }
            Talk::SlowReaders(_) => self.largest = self.largest.min(8_000),
        }
    }
}
