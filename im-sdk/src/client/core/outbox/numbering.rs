//! The numbers of publishes, and the installation that they are of.
//!
//! A store may be an old copy of itself, restored from a backup, and then its next numbers were used by the process that went on from
//! the original. Nothing in the store tells, so
//!
//! - a send keeps the number and the installation that it was saved with first, by which back ends know it again;
//! - a process begins at a random distance behind the numbers of the store, so that it hardly ever gives a number that was given before,
//!   and a new message is never taken for an old one that says the same;
//! - a message whose number is used all the same, and that this process made, gets one of a new installation;
//! - what is taken without a connection gets one of a new installation at once. Another process may send it, and cannot know any more
//!   that it was made after the restore;
//! - what has failed gets the number under which it is sent anew, of an installation of its own, when it fails: if the user has sent it anew
//!   and then restores the store, and sends it anew, it arrives once.

use rand::{RngExt as _, rngs::StdRng};

use crate::client::device_store::SavedState;

/// The numbers that a process gives.
#[derive(Debug)]
pub(super) struct Numbering {
    /// The random number that goes with every publish; 0: none.
    installation: u64,
    /// The first installation of the store, which seals the local ids of all its sends, whatever their installation.
    origin_key: u64,
    next_number: u64,
    /// Whether this process drew the installation, so that no other one has given numbers of it.
    is_own: bool,
    rng: StdRng,
}

impl Numbering {
    /// Goes on from a store. The numbers of a new one begin at 1: no clock is asked, so a wrong one costs nothing. A store of an earlier
    /// version goes on without an installation.
    pub(super) fn load(saved: &SavedState, mut rng: StdRng) -> Self {
        let is_new = saved.next_number == 0 && saved.installation == 0;
        let installation = if is_new { draw(&mut rng) } else { saved.installation };
        let origin_key = if saved.origin_key == 0 { installation } else { saved.origin_key };
        let next_number = saved.next_number.max(1);
        let next_number = if is_new { next_number } else { next_number.saturating_add(distance(&mut rng)) };
        Self { installation, origin_key, next_number, is_own: is_new, rng }
    }

    /// Takes a number, with its installation.
    pub(super) fn take(&mut self) -> (u64, u64) {
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        (self.installation, number)
    }

    /// Takes a number of an installation that has no other one.
    pub(super) fn take_alone(&mut self) -> (u64, u64) {
        let (_, number) = self.take();
        (draw(&mut self.rng), number)
    }

    /// A send of the store has this number.
    pub(super) fn skip(&mut self, number: u64) {
        self.next_number = self.next_number.max(number.saturating_add(1));
    }

    /// Draws another installation for what is sent from here on, unless this process has done so. Numbers go on: a result names its
    /// publish by the number alone.
    pub(super) fn make_own(&mut self) {
        if !self.is_own {
            self.renew();
        }
    }

    /// A number of an installation turned out to be used: draws another one if it is this one.
    pub(super) fn handle_used(&mut self, installation: u64) {
        if self.installation == installation {
            self.renew();
        }
    }

    pub(super) fn installation(&self) -> u64 {
        self.installation
    }

    pub(super) fn origin_key(&self) -> u64 {
        self.origin_key
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    fn renew(&mut self) {
        self.installation = draw(&mut self.rng);
        self.is_own = true;
        if self.origin_key == 0 {
            self.origin_key = self.installation;
        }
    }
}

/// Draws how far behind the numbers of a store a process begins.
pub(super) fn distance(rng: &mut StdRng) -> u64 {
    rng.random_range(1..=MAX_DISTANCE)
}

fn draw(rng: &mut StdRng) -> u64 {
    rng.random_range(1..=u64::MAX)
}

/// Enough to make it unlikely that two processes give a number twice, and few enough that no device runs out of numbers.
const MAX_DISTANCE: u64 = 1 << 20;
