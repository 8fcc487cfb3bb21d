//! What repair costs, from one receiver to a thousand: the tables of docs/repair.md, and what is promised of them.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use mcast::session::Rate;
use mcast::sim::{History, Loss, Scenario};

use crate::all_complete;
use crate::loss::least_transmissions;

/// Small symbols, so that a thousand receivers can be played; blocks as on Ethernet.
const SYMBOL: u16 = 64;
const BLOCK: u8 = 88;
/// With all headers, as the simulated line counts.
const FRAME: u32 = 150;

/// Receivers, blocks of stream, Mbit/s. All together may send 2,000 reports a second, so the more there are, the longer a
/// stream must be for its last repairs not to be what is measured.
const CROWDS: [(usize, u32, u32); 6] =
    [(1, 400, 100), (3, 400, 100), (8, 400, 100), (32, 800, 50), (100, 200, 20), (1_000, 30, 2)];

const LOSSES: [f64; 5] = [0.0, 0.001, 0.01, 0.05, 0.2];

#[derive(Clone, Copy, PartialEq)]
enum Where {
    Leaves,
    Trunk,
    Bursts,
}

/// Mean length of a burst, in symbols.
const BURST: f64 = 16.0;

fn play(place: Where, (receivers, blocks, megabits): (usize, u32, u32), loss: f64) -> (History, f64) {
    let mut scenario = Scenario::new(7, receivers, u64::from(blocks) * u64::from(BLOCK) * u64::from(SYMBOL));
    (scenario.symbol_size, scenario.block_symbols, scenario.window) = (SYMBOL, BLOCK, 4_096);
    scenario.trunk.rate = Some(Rate::from_bits_per_second(u64::from(megabits) * 1_000_000));
    scenario.trunk.queue = (164 * megabits as usize).max(8_192);
    for receiver in &mut scenario.receivers {
        (receiver.buffer, receiver.socket_buffer) = (32 << 20, 1 << 20);
    }
    let symbol = f64::from(FRAME) * 8.0 / (f64::from(megabits) * 1e6);
    // A batch.
    scenario.gather = Duration::from_secs_f64(16.0 * symbol);
    match place {
        Where::Trunk => scenario.trunk.loss = Loss::Independent(loss),
        Where::Leaves => scenario = scenario.with_loss(loss),
        Where::Bursts if loss > 0.0 => {
            let length = Duration::from_secs_f64(BURST * symbol);
            for receiver in &mut scenario.receivers {
                receiver.leaf.loss = Loss::Burst { every: length.mul_f64((1.0 - loss) / loss), length };
            }
        }
        Where::Bursts => {}
    }
    let round_trip = scenario.trunk.queue as f64 * 8.0 / (f64::from(megabits) * 1e6)
        + scenario.gather.as_secs_f64()
        + 2.0 * scenario.receivers[0].leaf.delay.as_secs_f64();
    let history = scenario.run();
    all_complete(&history);
    let last = history.receivers.iter().map(|receiver| receiver.last_byte).max().unwrap_or_default();
    let took = last.since(history.started.unwrap_or_default()).as_secs_f64() - 4.0 * round_trip;
    let line = history.source_symbols as f64 * history.transmissions() * symbol;
    (history, took / line)
}

/// The same formula where losses come in bursts: F is that of a chain of two states, good and bad, in which a receiver gets
/// every symbol and none; the block's repair symbols follow directly behind it.
fn formula_in_bursts(n: i32, loss: f64) -> f64 {
    if loss == 0.0 {
        return 1.0;
    }
    let (end, begin) = (1.0 / BURST, loss / (1.0 - loss) / BURST);
    let k = usize::from(BLOCK);
    // Probabilities of having so many symbols of the block and being in the good or the bad state.
    let (mut good, mut bad, mut done) = (vec![0.0; k], vec![0.0; k], 0.0_f64);
    (good[0], bad[0]) = (1.0 - loss, loss);
    let mut transmissions = 1.0;
    for sent in 1.. {
        done += good[k - 1];
        good.rotate_right(1);
        good[0] = 0.0;
        for (good, bad) in good.iter_mut().zip(&mut bad) {
            (*good, *bad) = (*good * (1.0 - begin) + *bad * end, *good * begin + *bad * (1.0 - end));
        }
        if sent < k {
            transmissions += 1.0;
            continue;
        }
        let still = 1.0 - done.powi(n);
        transmissions += still;
        if still < 1e-9 {
            break;
        }
    }
    transmissions / k as f64
}

fn table(place: Where) -> String {
    let least = if place == Where::Bursts { "formula" } else { "least possible" };
    let mut table = format!(
        "| receivers | loss | transmissions | {least} | unasked | reports | time |\n|---|---|---|---|---|---|---|\n",
    );
    let (mut transmissions, mut times, mut rows) = (0.0, 0.0, 0.0);
    for crowd in CROWDS {
        for loss in LOSSES {
            let (history, time) = play(place, crowd, loss);
            let got = history.transmissions();
            (transmissions, times, rows) = (transmissions + got, times + time.max(1.0), rows + 1.0);
            let (n, k) = (crowd.0, u32::from(BLOCK));
            let least = match place {
                Where::Leaves => least_transmissions(k, n as i32, loss),
                Where::Trunk => least_transmissions(k, 1, loss),
                Where::Bursts => formula_in_bursts(n as i32, loss),
            };
            let unasked = history.sent.proactive_symbols as f64 / history.source_symbols as f64;
            let _ = writeln!(
                table,
                "| {n} | {} % | {got:.3} | {least:.3} | {unasked:.3} | {} | {:.2} |",
                loss * 100.0,
                history.reports.len(),
                time.max(1.0)
            );
            let slack = if loss <= 0.01 { 0.01 } else { 0.03 };
            assert!(got <= least + slack, "{n} receivers, {loss}: {got:.4}, least possible {least:.4}");
            assert!(time <= 1.1, "{n} receivers, {loss}: {time:.3} of the time that the line takes");
        }
    }
    // The rate control before the present one reached these means.
    let (most, longest) = match place {
        Where::Leaves => (1.104, 1.0047),
        Where::Trunk => (1.0673, 1.005),
        Where::Bursts => (1.336, 1.0057),
    };
    let (transmissions, times) = (transmissions / rows, times / rows);
    assert!(transmissions <= most, "{transmissions:.4} transmissions in the mean");
    assert!(times <= longest, "{times:.4} of the time that the line takes, in the mean");
    table
}

/// The page has this table. `MCAST_BLESS=1` puts it there.
fn agrees_with_the_page(heading: &str, table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/repair.md");
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    let Some((before, section)) = page.split_once(&format!("\n{heading}\n\n")) else {
        assert_eq!(heading, "", "{} has no such heading", path.display());
        return;
    };
    let end = section.find("\n\n").map_or(section.len(), |end| end + 1);
    if std::env::var_os("MCAST_BLESS").is_some() {
        let page = format!("{before}\n{heading}\n\n{table}{}", &section[end..]);
        assert!(std::fs::write(&path, page).is_ok(), "{} can be written", path.display());
    } else {
        assert_eq!(&section[..end], table, "look at it, and put it there with MCAST_BLESS=1");
    }
}

#[test]
fn repair_of_independent_losses_costs_what_the_table_says_and_hardly_more_than_the_least_possible() {
    agrees_with_the_page("## Each receiver loses by itself", &table(Where::Leaves));
}

#[test]
fn repair_of_losses_on_the_trunk_costs_what_the_table_says_and_hardly_more_than_the_least_possible() {
    agrees_with_the_page("## The trunk loses for all", &table(Where::Trunk));
}

#[test]
fn repair_of_bursts_costs_what_the_table_says() {
    agrees_with_the_page("## Each receiver loses in bursts", &table(Where::Bursts));
}
