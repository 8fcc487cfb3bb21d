//! Sessions with a key.

use mcast::exit::Exit;
use mcast::sim::{Scenario, seeds};

use crate::all_complete;
use crate::random::{is_survivable, random_scenario, rare_scenario};

#[test]
fn with_a_key_everybody_gets_every_byte_all_the_same() {
    for seed in seeds(20) {
        all_complete(&Scenario::new(seed, 3, 300_000).with_loss(0.02).with_key().run());
    }
}

#[test]
fn with_a_key_the_promises_hold_whatever_the_network_does() {
    for seed in seeds(400) {
        let scenario = random_scenario(seed).with_key();
        let played = std::panic::catch_unwind(|| scenario.run());
        let history = played.unwrap_or_else(|_| panic!("replay with MCAST_SEED={seed}"));
        if is_survivable(&scenario) {
            assert_eq!(history.sender, Some(Exit::Complete), "seed {seed}: {:?}", history.sender_error);
        }
    }
}

#[test]
fn who_lies_without_the_key_changes_nothing() {
    for seed in seeds(400) {
        let mut scenario = rare_scenario(seed).with_key();
        let played = std::panic::catch_unwind(|| scenario.run());
        let told = played.unwrap_or_else(|_| panic!("replay with MCAST_SEED={seed}"));
        scenario.hostile.clear();
        if is_survivable(&scenario) {
            assert_eq!(told.sender, Some(Exit::Complete), "seed {seed}: {:?}", told.sender_error);
        }
    }
}
