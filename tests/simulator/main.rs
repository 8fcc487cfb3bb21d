//! The promises, over the simulated network. `MCAST_SEED=n` replays one seed of any test that plays several.

mod abuse;
mod congestion;
mod counters;
mod crowds;
mod faults;
mod hearing;
mod joining;
mod landing;
mod liars;
mod lines;
mod logic;
mod loss;
mod pace;
mod patience;
mod ports;
mod random;
mod rate;
mod replays;
mod sharing;
mod slow;
mod start;
mod table;
mod trust;
mod utilisation;

use mcast::exit::Exit;
use mcast::sim::History;

/// Everybody has every byte, and says so.
fn all_complete(history: &History) {
    assert_eq!(history.sender, Some(Exit::Complete), "{:?}", history.sender_error);
    for receiver in &history.receivers {
        assert_eq!(receiver.exit, Some(Exit::Complete), "{:?}", receiver.error);
    }
}

/// Exit codes: the sender's, then the receivers'.
fn exits(history: &History) -> (Option<Exit>, Vec<Option<Exit>>) {
    (history.sender, history.receivers.iter().map(|receiver| receiver.exit).collect())
}
