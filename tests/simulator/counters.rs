//! Fault 27: counters that cross the numbers at which narrower ones would wrap.

use mcast::session::Beginning;
use mcast::sim::{Loss, Scenario};
use mcast::wire::{BlockNumber, DatagramNumber};

use crate::all_complete;

/// Powers of two that somebody might have stored a counter in.
const EDGES: [u64; 4] = [1 << 31, 1 << 32, 1 << 48, 1 << 63];

/// Some thousand datagrams in some dozen blocks, lossy.
fn crossing(seed: u64, beginning: Beginning) {
    for keyed in [false, true] {
        let mut scenario = Scenario::new(seed, 3, 500_000).with_loss(0.05);
        scenario.receivers[1].leaf.loss = Loss::Independent(0.0);
        (scenario.beginning, scenario.keyed) = (beginning, keyed);
        let history = scenario.run();
        all_complete(&history);
        assert!(
            history.sent.source_symbols > 1_900 && history.sent.repair_symbols > 50,
            "{:?}",
            history.sent
        );
        assert!(history.transmissions() < 1.3, "{}", history.transmissions());
    }
}

#[test]
fn datagram_numbers_cross_every_power_of_two_unharmed() {
    for (seed, edge) in (1..).zip(EDGES) {
        crossing(seed, Beginning { datagram: DatagramNumber(edge - 1_000), ..Beginning::default() });
    }
}

#[test]
fn block_numbers_cross_every_power_of_two_unharmed() {
    for (seed, edge) in (11..).zip(EDGES) {
        crossing(seed, Beginning { block: BlockNumber(edge - 20), ..Beginning::default() });
    }
}
