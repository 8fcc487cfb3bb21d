//! The promises, over the simulated network. `MCAST_SEED=n` replays one seed.

use std::time::Duration;

use mcast::exit::Exit;
use mcast::sim::{History, LinkConfig, Loss, Scenario, seeds};

fn all_complete(history: &History) {
    assert_eq!(history.sender, Some(Exit::Complete), "{:?}", history.sender_error);
    for receiver in &history.receivers {
        assert_eq!(receiver.exit, Some(Exit::Complete), "{:?}", receiver.error);
    }
}

#[test]
fn three_receivers_on_a_clean_lan_get_every_byte() {
    let history = Scenario::new(1, 3, 1_000_000).run();
    all_complete(&history);
    assert_eq!(history.sent.repair_symbols, 0);
    assert_eq!(history.sent.source_symbols, history.source_symbols);
}

#[test]
fn loss_is_repaired() {
    for loss in [0.001, 0.01, 0.05, 0.2] {
        let history = Scenario::new(2, 3, 1_000_000).with_loss(loss).run();
        all_complete(&history);
        println!("{loss}: {} transmissions, ended {}", history.transmissions(), history.sender_ended);
    }
}

#[test]
fn an_empty_stream_is_a_stream() {
    all_complete(&Scenario::new(3, 3, 0).run());
}
