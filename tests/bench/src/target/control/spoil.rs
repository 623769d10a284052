//! Faults that the control injects on request, to test that the verification finds them.

use clap::ValueEnum;

/// The fault of every fiftieth message to one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Spoil {
    /// Is not sent.
    Lose,
    /// Is sent twice.
    Double,
    /// Is sent after the next one to the same connection.
    Shuffle,
}

/// Injects the fault.
#[derive(Debug, Default)]
pub(super) struct Spoiler {
    spoil: Option<Spoil>,
    messages: u64,
    held: Option<(u32, Vec<u8>)>,
}

const EVERY: u64 = 50;

impl Spoiler {
    pub(super) fn new(spoil: Option<Spoil>) -> Self {
        Self { spoil, ..Self::default() }
    }

    /// Sends a message, or what the fault makes of it.
    pub(super) fn apply(&mut self, to: u32, message: &[u8], mut send: impl FnMut(&[u8])) {
        let Some(spoil) = self.spoil else { return send(message) };
        self.messages += 1;
        let chosen = self.messages.is_multiple_of(EVERY);
        match spoil {
            Spoil::Lose if chosen => {}
            Spoil::Double if chosen => (0..2).for_each(|_| send(message)),
            Spoil::Shuffle if chosen && self.held.is_none() => self.held = Some((to, message.to_vec())),
            _ => {
                send(message);
                if let Some((_, held)) = self.held.take_if(|(held_to, _)| *held_to == to) {
                    send(&held);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(spoil: Option<Spoil>) -> Vec<u8> {
        let (mut spoiler, mut sent) = (Spoiler::new(spoil), Vec::new());
        for number in 1..=52_u8 {
            spoiler.apply(0, &[number], |message| sent.extend_from_slice(message));
        }
        sent.split_off(48)
    }

    #[test]
    fn each_fault_is_made() {
        assert_eq!(sent(None), [49, 50, 51, 52]);
        assert_eq!(sent(Some(Spoil::Lose)), [49, 51, 52]);
        assert_eq!(sent(Some(Spoil::Double)), [49, 50, 50, 51, 52]);
        assert_eq!(sent(Some(Spoil::Shuffle)), [49, 51, 50, 52]);
    }
}
