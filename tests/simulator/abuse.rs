//! Strangers on the network.

use mcast::sim::{Scenario, seeds};

use crate::all_complete;

#[test]
fn garbage_from_strangers_changes_nothing() {
    for seed in seeds(10) {
        let mut scenario = Scenario::new(seed, 3, 300_000).with_loss(0.01);
        scenario.garbage = 2_000;
        let history = scenario.run();
        all_complete(&history);
        assert!(history.sent.dropped_malformed > 0);
    }
}
