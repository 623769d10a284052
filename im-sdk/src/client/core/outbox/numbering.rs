//! The numbers of publishes, and the installation that they belong to.
//!
//! A store may have been restored from a backup. Then the process that continued from the original has used its next numbers. The
//! store itself does not show that, so
//!
//! - a send keeps the number and the installation with which it was first saved, by which back ends recognise it;
//! - a process begins at a random distance after the numbers of the store, so that it hardly ever assigns a number twice, and a new
//!   message is not taken for an old one with the same content;
//! - a message of this process whose number was used all the same gets a number of a new installation;
//! - a message that is taken without a connection gets a number of a new installation at once. Another process may send it, which
//!   cannot know that it was made after the restore;
//! - a failed message gets the number for a retry when it fails, with an installation of its own. If the user retries it, restores the
//!   store and retries it again, it arrives once.

use rand::{RngExt as _, rngs::StdRng};

use crate::client::device_store::SavedState;

/// Assigns the numbers of a process.
#[derive(Debug)]
pub(super) struct Numbering {
    /// The random number that goes with every publish. 0 means none.
    installation: u64,
    /// The first installation of the store, which seals the local ids of all its sends, whatever their installation.
    origin_key: u64,
    next_number: u64,
    /// Set if this process drew the installation, so that no other process has assigned numbers of it.
    is_own: bool,
    rng: StdRng,
}

impl Numbering {
    /// Continues from a store. The numbers of a new store begin at 1. They do not depend on the clock, which may be wrong. A store of
    /// an earlier version continues without an installation.
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

    /// Takes a number of a new installation, which gets no other numbers.
    pub(super) fn take_alone(&mut self) -> (u64, u64) {
        let (_, number) = self.take();
        (draw(&mut self.rng), number)
    }

    /// Notes that a send of the store has this number.
    pub(super) fn skip(&mut self, number: u64) {
        self.next_number = self.next_number.max(number.saturating_add(1));
    }

    /// Draws another installation for later sends, unless this process has drawn the present one. Numbers continue, since a result
    /// names its publish by the number alone.
    pub(super) fn make_own(&mut self) {
        if !self.is_own {
            self.renew();
        }
    }

    /// Handles that a number of an installation was used. Draws another installation if it is the present one.
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

/// Draws the distance after the numbers of a store at which a process begins.
pub(super) fn distance(rng: &mut StdRng) -> u64 {
    rng.random_range(1..=MAX_DISTANCE)
}

fn draw(rng: &mut StdRng) -> u64 {
    rng.random_range(1..=u64::MAX)
}

/// The longest distance. It makes it unlikely that two processes assign the same number, and does not exhaust the numbers of a device.
const MAX_DISTANCE: u64 = 1 << 20;
