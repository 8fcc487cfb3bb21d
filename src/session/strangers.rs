//! Who was heard with another key, or without one: for people, who then know why nothing happens.

use std::net::IpAddr;

use crate::seal::Stranger;

/// The strangers that were heard first. What they say is believed by nobody; it decides at most which of two exit codes a
/// program fails with.
#[derive(Debug, Default)]
pub(super) struct Strangers(Vec<Heard>);

#[derive(Debug)]
struct Heard {
    from: IpAddr,
    stranger: Stranger,
    times: u32,
}

impl Strangers {
    /// Bounds the table, and with it the lines in a log, whatever anybody sends.
    const MOST_STRANGERS: usize = 8;

    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    /// A stranger was heard. True when people should be told: of a key at the second time, since bytes that flipped on
    /// the way look like one but do not repeat themselves, and a host that has several keys tries one after the other.
    pub(super) fn note(&mut self, from: IpAddr, stranger: Stranger) -> bool {
        if let Some(heard) = self.0.iter_mut().find(|heard| heard.from == from && heard.stranger == stranger)
        {
            heard.times = heard.times.saturating_add(1);
            return heard.times == enough(stranger);
        }
        if self.0.len() == Self::MOST_STRANGERS {
            // Those that were told stay, so that each line is written once.
            let Some(once) = self.0.iter().position(|heard| !heard.is_told()) else { return false };
            self.0.remove(once);
        }
        self.0.push(Heard { from, stranger, times: 1 });
        enough(stranger) == 1
    }

    /// Those that people were told of, the first one first.
    pub(super) fn told(&self) -> impl Iterator<Item = (IpAddr, Stranger)> {
        self.0.iter().filter(|heard| heard.is_told()).map(|heard| (heard.from, heard.stranger))
    }
}

impl Heard {
    const fn is_told(&self) -> bool {
        self.times >= enough(self.stranger)
    }
}

/// Times that a stranger must be heard to be told of.
const fn enough(stranger: Stranger) -> u32 {
    match stranger {
        Stranger::WithoutKey => 1,
        Stranger::WithKey(_) => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::KeyId;

    #[test]
    fn who_repeats_himself_is_told_of_once_and_only_so_many_are() {
        let mut strangers = Strangers::default();
        let mut told = 0;
        for round in 0..5 {
            for host in 0..100_u8 {
                let stranger = Stranger::WithKey(KeyId([host; 8]));
                // Each says it twice in a row.
                for _ in 0..2 {
                    told += usize::from(strangers.note([10, 0, 0, host].into(), stranger));
                }
            }
            assert_eq!(told, Strangers::MOST_STRANGERS, "round {round}");
        }
        assert_eq!(strangers.told().count(), Strangers::MOST_STRANGERS);
        let mut once = Strangers::default();
        for host in 0..100_u8 {
            assert!(!once.note([10, 0, 0, host].into(), Stranger::WithKey(KeyId([host; 8]))));
        }
        assert_eq!(once.told().next(), None);
        let without = (std::net::IpAddr::from([10, 0, 0, 1]), Stranger::WithoutKey);
        assert!(once.note(without.0, without.1) && !once.note(without.0, without.1));
        assert_eq!(once.told().collect::<Vec<_>>(), [without]);
    }
}
