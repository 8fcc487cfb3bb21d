//! A receiver lies about how much has arrived: what it can do to the others is bounded.
//!
//! The seed here is 100. Constants of the rate control are tuned on others.

use std::time::Duration;

use mcast::session::Rate;
use mcast::sim::{History, Lie, LinkConfig};

use crate::all_complete;
use crate::ports::{SHALLOW, lan, mbit, ms, overflow, payload, port, took};

/// Claims of more than has arrived.
const BOASTS: [Lie; 2] = [Lie::Everything, Lie::Share(2.0)];
/// Claims of less, at times.
const COMPLAINTS: [Lie; 7] = [
    Lie::Random(2.0),
    Lie::Share(0.9),
    Lie::Share(0.5),
    Lie::Share(0.0),
    Lie::Random(1.0),
    Lie::Shrinking(ms(500)),
    Lie::Shrinking(ms(50)),
];
/// Time that the stream takes if everybody tells the truth.
const SECONDS: f64 = 4.0;
/// Every session is over by then.
const ENDED: Duration = Duration::from_secs(3_600);

/// Rate of the slowest link.
const SLOW: Rate = mbit(100);

/// Three receivers: the first, which is honest, and the last, which lies, are behind these links. If one of them has a
/// rate, it is [`SLOW`] and the sender's line is three times as fast; else the line is slow itself. Returns the history
/// and the time from start to end, as a multiple of [`SECONDS`].
fn play(lie: Lie, honest: LinkConfig, liar: LinkConfig) -> (History, f64) {
    let mut scenario = lan(100, 3, (payload(SLOW) * SECONDS) as u64);
    scenario.trunk.rate = Some(if honest.rate.or(liar.rate).is_some() { mbit(300) } else { SLOW });
    (scenario.receivers[0].leaf, scenario.receivers[2].leaf) = (honest, liar);
    scenario.receivers[2].lie = Some(lie);
    let history = scenario.run();
    all_complete(&history);
    let times = took(&history).as_secs_f64() / SECONDS;
    (history, times)
}

/// A slower port.
fn slow() -> LinkConfig {
    port(SLOW, SHALLOW)
}

#[test]
fn receiver_that_claims_too_much_does_not_overflow_the_port_of_another() {
    for lie in BOASTS {
        let (history, times) = play(lie, slow(), slow());
        let lost = overflow(&history, 0, ms(1_000), ENDED);
        assert!(lost < 0.02 && times < 1.1, "{lie:?}: {lost:.4} lost, {times:.2} times as long");
    }
}

#[test]
fn receiver_that_claims_too_much_is_sent_what_it_misses_and_holds_up_nobody_for_long() {
    for lie in BOASTS {
        let (history, times) = play(lie, LinkConfig::default(), slow());
        // The line carries three times what the port does.
        assert!(history.transmissions() < 3.2 && times < 1.1, "{lie:?}: {times:.2} times as long");
    }
}

#[test]
fn receiver_that_claims_too_little_cannot_slow_down_the_session_for_long() {
    for lie in COMPLAINTS {
        for (honest, liar) in [
            (LinkConfig::default(), LinkConfig::default()),
            (slow(), slow()),
            (LinkConfig::default(), slow()),
        ] {
            let what = format!("{lie:?}, honest {:?}, liar {:?}", honest.rate, liar.rate);
            let (history, times) = play(lie, honest, liar);
            let lost = overflow(&history, 0, ms(0), ENDED);
            // A receiver that is slow could hold up the session as much without a lie.
            assert!(times < 4.0, "{what}: {times:.2} times as long");
            assert!(lost < 0.1, "{what}: {lost:.4} lost");
        }
    }
}
