//! Figures of the rate control: plays sessions over the network in memory and says how well each of them went.
//!
//!     rate_figures [-jN] [-v] [--judge] [PREFIX]...
//!
//! Constants of the rate control are tuned on the seeds from 0 on; `--judge` plays those from 100 on in their place, as
//! the tests do. Only scenarios are played whose name begins with a PREFIX, or all if there is none. `-j` sets how many
//! are played at the same time (2), and `-v` prints each of them.
//!
//! There is a line for each name. A figure of several runs is printed as its mean, with the worst in brackets where it
//! differs; in groups that say what their columns are, as one value for each column. A group of several lines ends with
//! one for all of its runs. A run that breaks a promise or takes more than [`LIMIT`] is counted as failed and has no
//! figures. The output depends only on the command line and the program.

#[allow(dead_code, reason = "the tests measure more")]
#[path = "../tests/simulator/ports.rs"]
mod ports;

use std::error::Error;
use std::iter::zip;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use mcast::exit::Exit;
use mcast::sim::{History, Lie, LinkConfig, Loss, Scenario, Starvation};

use ports::{DEEP, SHALLOW, lan, mbit, ms, overflow, payload, port, share, took};

/// Longer than any session here takes with a rate that is of use.
const LIMIT: Duration = Duration::from_secs(200);
const QUEUES: [(&str, usize); 2] = [("shallow", SHALLOW), ("deep", DEEP)];
/// The queue of a switch that has some megabytes for all of its ports.
const MIDDLE: usize = 512 * 1024;

/// Hosts that have other things to do, all the time.
const LATE: Starvation =
    Starvation { every: ms(1), length: ms(10_000), late: (ms(0), ms(3)), until: ms(10_000) };

/// A figure: its name, its digits after the point, and which of several values is the worst.
#[derive(PartialEq)]
struct Measure {
    what: &'static str,
    digits: usize,
    worst: Worst,
}

#[derive(PartialEq)]
enum Worst {
    Least,
    Most,
    /// There is none: what counts is the sum.
    Sum,
}

const fn measure(what: &'static str, digits: usize, worst: Worst) -> Measure {
    Measure { what, digits, worst }
}

/// Of what is possible, the share that was reached.
const SHARE: Measure = measure("share", 3, Worst::Least);
/// Of what was sent, the share that a port's queue had no room for.
const LOST: Measure = measure("lost", 4, Worst::Most);
/// Time of the session, as a multiple of what it takes at best.
const TIMES: Measure = measure("times", 3, Worst::Most);
const SECONDS: Measure = measure("seconds", 2, Worst::Sum);
/// Seconds until half a second begins in which nine tenths of the new rate are reached.
const BACK: Measure = measure("back", 1, Worst::Most);
const DURING: Measure = measure("during", 3, Worst::Least);
const AFTER: Measure = measure("after", 3, Worst::Least);
/// Of its fair share, what the session that gets least got.
const FAIR: Measure = measure("fair", 3, Worst::Least);
/// Of the line, what all sessions together got.
const ALL: Measure = measure("all", 3, Worst::Least);
/// Of what is sent, the share that is repair.
const REPAIRS: Measure = measure("repairs", 3, Worst::Most);
const TRANSMISSIONS: Measure = measure("transmissions", 3, Worst::Most);

type Figures = Vec<(Measure, Vec<f64>)>;
type Play = Box<dyn Fn(u64) -> Result<Figures, String> + Send + Sync>;

/// Scenarios of one kind.
struct Group {
    name: &'static str,
    /// The names of a line's values, if each value is printed. Otherwise the mean and the worst are printed.
    columns: Option<&'static str>,
    seeds: Vec<u64>,
    lines: Vec<Line>,
}

struct Line {
    name: String,
    /// Each is played with every seed of the group.
    plays: Vec<Play>,
}

impl Group {
    fn new(name: &'static str, seeds: impl IntoIterator<Item = u64>) -> Self {
        Self { name, columns: None, seeds: seeds.into_iter().collect(), lines: Vec::new() }
    }

    fn add(&mut self, name: &str, play: impl Fn(u64) -> Result<Figures, String> + Send + Sync + 'static) {
        self.add_columns(name, vec![Box::new(play)]);
    }

    fn add_columns(&mut self, name: &str, plays: Vec<Play>) {
        self.lines.push(Line { name: format!("{}/{name}", self.name), plays });
    }

    /// The runs of a line: for each seed, all columns.
    fn runs<'a>(&'a self, line: &'a Line) -> impl Iterator<Item = (u64, &'a Play)> {
        self.seeds.iter().flat_map(|seed| line.plays.iter().map(|play| (*seed, play)))
    }
}

/// Plays it to its end.
fn play(mut scenario: Scenario) -> Result<History, String> {
    scenario.limit = LIMIT;
    let history = scenario.run();
    let receivers = history.receivers.iter().map(|receiver| (receiver.exit, &receiver.error));
    for (exit, error) in receivers.chain([(history.sender, &history.sender_error)]) {
        if exit != Some(Exit::Complete) {
            return Err(format!("{exit:?}: {error:?}"));
        }
    }
    Ok(history)
}

/// Seconds from the start to the last byte at the last receiver.
fn seconds_to_last_byte(history: &History) -> f64 {
    let last = history.receivers.iter().map(|receiver| receiver.last_byte).max().unwrap_or_default();
    last.since(history.started.unwrap_or_default()).as_secs_f64()
}

/// Sender and receivers wait for the processor in spells. One of the receivers is behind a shallow port.
fn starved(first: u64) -> Group {
    let mut group = Group::new("starved", first..first + 21);
    group.add("200-shallow", |seed| {
        let mut scenario = lan(seed, 3, 100_000_000);
        scenario.window = 67;
        scenario.receivers.iter_mut().for_each(|receiver| receiver.socket_buffer = 8 << 20);
        scenario.receivers[0].leaf = port(mbit(200), SHALLOW);
        let (every, length, late) = (ms(50), ms(500), (ms(5), ms(50)));
        scenario.starvation = Some(Starvation { every, length, late, until: LIMIT });
        let history = play(scenario)?;
        let lost = overflow(&history, 0, ms(1_000), LIMIT);
        Ok(vec![(LOST, vec![lost]), (SECONDS, vec![took(&history).as_secs_f64()])])
    });
    group
}

/// The first second of a session with a slower port. In the lines `late`, all hosts are late, and the port lets a burst
/// through at once.
fn onset(first: u64) -> Group {
    let mut group = Group::new("onset", first..first + 7);
    for megabits in [100, 200] {
        for (name, queue, late) in
            [("shallow", SHALLOW, None), ("deep", DEEP, None), ("deep-late", DEEP, Some(LATE))]
        {
            group.add(&format!("{megabits}-{name}"), move |seed| {
                let rate = mbit(megabits);
                let mut scenario = lan(seed, 3, (payload(rate) * 1.2) as u64);
                scenario.receivers[0].leaf = port(rate, queue);
                if late.is_some() {
                    scenario.receivers[0].leaf.burst = 16 * 1024;
                }
                scenario.starvation = late;
                let history = play(scenario)?;
                Ok(vec![(LOST, vec![overflow(&history, 0, ms(0), ms(1_000))])])
            });
        }
    }
    group
}

/// Whole sessions with a slower port.
fn settled(first: u64) -> Group {
    let mut group = Group::new("settled", first..first + 2);
    for (megabits, (name, queue)) in [100, 200, 500]
        .into_iter()
        .flat_map(|megabits| QUEUES.map(|queue| (megabits, queue)))
        .chain([(100, ("middle", MIDDLE)), (200, ("middle", MIDDLE))])
    {
        group.add(&format!("{megabits}-{name}"), move |seed| {
            let rate = mbit(megabits);
            let mut scenario = lan(seed, 3, 96 << 20);
            scenario.receivers[0].leaf = port(rate, queue);
            let bytes = scenario.source.bytes as f64;
            let history = play(scenario)?;
            let share = bytes / took(&history).as_secs_f64() / payload(rate);
            Ok(vec![(SHARE, vec![share]), (LOST, vec![overflow(&history, 0, ms(0), LIMIT)])])
        });
    }
    group
}

/// No path is slower than the sender's line. To the last byte at the last receiver.
fn full(first: u64) -> Group {
    let mut group = Group::new("full", first..first + 2);
    for (gigabits, mebibytes) in [(1, 128), (10, 256)] {
        for receivers in [1, 3] {
            group.add(&format!("{gigabits}G-{receivers}"), move |seed| {
                let rate = mbit(gigabits * 1_000);
                let mut scenario = lan(seed, receivers, mebibytes << 20);
                (scenario.trunk.rate, scenario.window) = (Some(rate), 512);
                for receiver in &mut scenario.receivers {
                    (receiver.socket_buffer, receiver.buffer) = (8 << 20, 64 << 20);
                }
                let bytes = scenario.source.bytes as f64;
                let history = play(scenario)?;
                Ok(vec![(SHARE, vec![bytes / seconds_to_last_byte(&history) / payload(rate)])])
            });
        }
    }
    group
}

/// A port changes its rate four times, every three seconds. Each step counts once it has had time to settle.
fn steps(first: u64) -> Group {
    let mut group = Group::new("steps", first..first + 2);
    for (name, queue) in QUEUES {
        group.add(name, move |seed| {
            let rates = [500, 100, 300, 50, 600].map(mbit);
            let line = rates[4];
            let span = ms(3_000);
            let bytes: f64 = rates.iter().map(|rate| payload(*rate) * span.as_secs_f64()).sum();
            let mut scenario = lan(seed, 2, bytes as u64);
            scenario.trunk.rate = Some(line);
            scenario.receivers[0].leaf = port(rates[0], queue);
            scenario.receivers[0].leaf.rate_changes = zip(1.., &rates[1..])
                .map(|(step, rate)| (span * step, (*rate < line).then_some(*rate)))
                .collect();
            let history = play(scenario)?;
            let (mut shares, mut lost, mut before) = (Vec::new(), Vec::new(), rates[0]);
            for (step, rate) in zip(0.., rates) {
                let (from, to) = (span * step, span * (step + 1) - ms(100));
                let settled = from + if rate > before { ms(2_000) } else { ms(1_500) };
                shares.push(share(&history, 0, rate, settled, to));
                lost.push(overflow(&history, 0, from + ms(1_000), to));
                before = rate;
            }
            Ok(vec![(SHARE, shares), (LOST, lost)])
        });
    }
    group
}

/// After two seconds, a port becomes faster, or as fast as the line. Overflow from then on.
fn back(first: u64) -> Group {
    let mut group = Group::new("back", first..first + 3);
    for (before, after) in [(100, 140), (100, 500), (100, 1_000)] {
        for (name, queue) in QUEUES {
            group.add(&format!("{before}-{after}-{name}"), move |seed| {
                let (slow, fast) = (mbit(before), mbit(after));
                let mut scenario = lan(seed, 2, (payload(slow) * 2.0 + payload(fast) * 3.0) as u64);
                scenario.receivers[0].leaf = port(slow, queue);
                let rate = (scenario.trunk.rate != Some(fast)).then_some(fast);
                scenario.receivers[0].leaf.rate_changes = vec![(ms(2_000), rate)];
                let history = play(scenario)?;
                let ended = (took(&history).as_millis() as u64 / 100).max(20);
                // A deep queue has something for the faster port in the first tenth of a second, whatever the rate is.
                let is_full =
                    |tenth: &u64| share(&history, 0, fast, ms(tenth * 100), ms(tenth * 100 + 500)) >= 0.9;
                let back = (20..ended).find(is_full).unwrap_or(ended);
                let lost = overflow(&history, 0, ms(2_000), LIMIT);
                Ok(vec![(BACK, vec![(back - 20) as f64 / 10.0]), (LOST, vec![lost])])
            });
        }
    }
    group
}

/// The links on which losses begin.
#[derive(Clone, Copy)]
enum Path {
    Leaves,
    Trunk,
    Port(usize),
}

/// From the second second to the fifth, a path loses whatever the rate is: the share of what is possible that the
/// receiver which gets least got then, and afterwards.
fn loss_begins(first: u64) -> Group {
    let mut group = Group::new("loss-begins", first..first + 2);
    let paths = [
        ("leaves", Path::Leaves),
        ("trunk", Path::Trunk),
        ("shallow", Path::Port(SHALLOW)),
        ("deep", Path::Port(DEEP)),
    ];
    for (name, path) in paths {
        for loss in [0.05, 0.2] {
            group.add(&format!("{name}-{loss}"), move |seed| keeps_the_rate(seed, path, loss));
        }
    }
    group
}

fn keeps_the_rate(seed: u64, path: Path, loss: f64) -> Result<Figures, String> {
    let (begins, ends) = (ms(2_000), ms(5_000));
    let changes = vec![(begins, Loss::Independent(loss)), (ends, Loss::Independent(0.0))];
    let rate = if let Path::Port(_) = path { mbit(100) } else { mbit(200) };
    let mut scenario = lan(seed, 3, (payload(rate) * 7.0) as u64);
    match path {
        Path::Leaves => {
            scenario.trunk.rate = Some(rate);
            for receiver in &mut scenario.receivers {
                receiver.leaf.loss_changes.clone_from(&changes);
            }
        }
        Path::Trunk => (scenario.trunk.rate, scenario.trunk.loss_changes) = (Some(rate), changes),
        Path::Port(queue) => {
            scenario.receivers[0].leaf = port(rate, queue);
            scenario.receivers[0].leaf.loss_changes = changes;
        }
    }
    let history = play(scenario)?;
    let least = |from, to| {
        let shares = (0..3).map(|receiver| share(&history, receiver, rate, from, to));
        shares.fold(f64::INFINITY, f64::min)
    };
    let during = least(begins + ms(200), ends) / (1.0 - loss);
    let after = least(ends + ms(500), ms(6_900));
    Ok(vec![(DURING, vec![during]), (AFTER, vec![after])])
}

/// Several sessions send through one port, from a second after the last has begun, for ten seconds.
fn sharing(first: u64) -> Group {
    let mut group = Group::new("sharing", first..first + 12);
    for sessions in [2, 5] {
        for (name, queue) in QUEUES {
            for (when, later) in [("at-once", ms(0)), ("later", ms(1_500))] {
                let name = format!("{sessions}-{name}-{when}");
                group.add(&name, move |seed| share_a_line(seed, sessions, queue, later));
            }
        }
    }
    group
}

fn share_a_line(seed: u64, sessions: u32, queue: usize, later: Duration) -> Result<Figures, String> {
    let line = mbit(200);
    let from = later * (sessions - 1) + ms(1_000);
    let to = from + ms(10_000);
    let all: Vec<_> = (0..sessions)
        .map(|session| {
            // More than the line carries in all the time, so that no session ends before the others.
            let bytes = (payload(line) * (to.as_secs_f64() + 1.0)) as u64;
            let mut scenario = lan(1_000 * seed + u64::from(session), 1, bytes);
            scenario.receivers[0].launched = later * session;
            scenario.backbone = Some(port(line, queue));
            scenario.sender_stopped = Some(to + ms(100));
            scenario.limit = LIMIT;
            scenario
        })
        .collect();
    let histories = all[0].run_beside(&all[1..]);
    for history in &histories {
        if history.sender != Some(Exit::Signal(15)) {
            return Err(format!("{:?} before it was stopped: {:?}", history.sender, history.sender_error));
        }
    }
    let shares: Vec<_> = histories.iter().map(|history| share(history, 0, line, from, to)).collect();
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min) * f64::from(sessions);
    let (mut sent, mut repairs) = (0, 0);
    for history in &histories {
        let (before, after) = (history.at(from).sent, history.at(to).sent);
        repairs += after.repair_symbols - before.repair_symbols;
        sent += after.repair_symbols + after.source_symbols - before.repair_symbols - before.source_symbols;
    }
    let repairs = repairs as f64 / sent.max(1) as f64;
    Ok(vec![(FAIR, vec![least]), (ALL, vec![shares.iter().sum()]), (REPAIRS, vec![repairs])])
}

/// A receiver lies about how much has arrived. Overflow at the first receiver, which is honest.
fn liar(first: u64) -> Group {
    let mut group = Group::new("liar", [first]);
    group.columns =
        Some("slow: the line, the ports of the honest first receiver and of the liar, the liar's port");
    for (name, lie) in [
        ("everything", Lie::Everything),
        ("share-2", Lie::Share(2.0)),
        ("random-2", Lie::Random(2.0)),
        ("share-0.9", Lie::Share(0.9)),
        ("share-0.5", Lie::Share(0.5)),
        ("share-0", Lie::Share(0.0)),
        ("random-1", Lie::Random(1.0)),
        ("shrinking-500", Lie::Shrinking(ms(500))),
        ("shrinking-50", Lie::Shrinking(ms(50))),
    ] {
        let plays = [(false, false), (true, true), (false, true)]
            .map(|slow| Box::new(move |seed| beside_a_liar(seed, lie, slow)) as Play);
        group.add_columns(name, plays.into());
    }
    group
}

fn beside_a_liar(seed: u64, lie: Lie, (honest, liar): (bool, bool)) -> Result<Figures, String> {
    let (slow, seconds) = (mbit(100), 4.0);
    let leaf = |is_slow| if is_slow { port(slow, SHALLOW) } else { LinkConfig::default() };
    let mut scenario = lan(seed, 3, (payload(slow) * seconds) as u64);
    scenario.trunk.rate = Some(if honest || liar { mbit(300) } else { slow });
    (scenario.receivers[0].leaf, scenario.receivers[2].leaf) = (leaf(honest), leaf(liar));
    scenario.receivers[2].lie = Some(lie);
    let history = play(scenario)?;
    let times = took(&history).as_secs_f64() / seconds;
    Ok(vec![(TIMES, vec![times]), (LOST, vec![overflow(&history, 0, ms(0), LIMIT)])])
}

/// A port's queue holds a datagram or a few.
fn tiny(first: u64) -> Group {
    let mut group = Group::new("tiny", first..first + 3);
    for queue in [1_600, 8_000] {
        for receivers in [1, 32] {
            group.add(&format!("{queue}-{receivers}"), move |seed| {
                let (rate, seconds) = (mbit(100), 3.0);
                let mut scenario = lan(seed, receivers, (payload(rate) * seconds) as u64);
                scenario.receivers[0].leaf = port(rate, queue);
                let history = play(scenario)?;
                let times = took(&history).as_secs_f64() / seconds;
                Ok(vec![(TIMES, vec![times]), (LOST, vec![overflow(&history, 0, ms(0), LIMIT)])])
            });
        }
    }
    group
}

/// Many receivers with socket buffers of the default size, all on clean links. To the last byte at the last receiver.
fn crowd(first: u64) -> Group {
    let mut group = Group::new("crowd", [first]);
    for (receivers, bytes) in [(64, 30_000_000), (256, 15_000_000)] {
        group.add(&receivers.to_string(), move |seed| {
            let rate = mbit(1_000);
            let mut scenario = lan(seed, receivers, bytes);
            scenario.trunk.rate = Some(rate);
            scenario.receivers.iter_mut().for_each(|receiver| receiver.socket_buffer = 280_000);
            let history = play(scenario)?;
            let share = bytes as f64 / seconds_to_last_byte(&history) / payload(rate);
            Ok(vec![(SHARE, vec![share]), (TRANSMISSIONS, vec![history.transmissions()])])
        });
    }
    group
}

/// Receivers lose by themselves and no path is slower than the line: the share of it that transmissions filled.
fn noise(first: u64) -> Group {
    let mut group = Group::new("noise", first..first + 3);
    for (name, receivers, loss, in_bursts) in [
        ("1-5%", 1, 0.05, false),
        ("3-20%", 3, 0.2, false),
        ("8-5%", 8, 0.05, false),
        ("1-5%-bursts", 1, 0.05, true),
        ("3-5%-bursts", 3, 0.05, true),
        ("3-20%-bursts", 3, 0.2, true),
    ] {
        group.add(name, move |seed| {
            let rate = mbit(300);
            let bytes = payload(rate) * 2.0;
            let mut scenario = lan(seed, receivers, bytes as u64).with_loss(loss);
            scenario.trunk.rate = Some(rate);
            if in_bursts {
                let length = ms(1);
                let every = length.mul_f64((1.0 - loss) / loss);
                for receiver in &mut scenario.receivers {
                    receiver.leaf.loss = Loss::Burst { every, length };
                }
            }
            let history = play(scenario)?;
            let transmissions = history.transmissions();
            let share = bytes * transmissions / took(&history).as_secs_f64() / payload(rate);
            Ok(vec![(SHARE, vec![share]), (TRANSMISSIONS, vec![transmissions])])
        });
    }
    group
}

/// The links on which the rows of docs/repair.md lose.
#[derive(Clone, Copy)]
enum Where {
    Leaves,
    Trunk,
    Bursts,
}

/// The tables of docs/repair.md, as tests/simulator/table.rs plays them.
fn repair(name: &'static str, place: Where, seed: u64) -> Group {
    let mut group = Group::new(name, [seed]);
    group.columns = Some("losses of 0, 0.1, 1, 5 and 20 %");
    // Receivers, blocks of stream, Mbit/s.
    for crowd in [(1, 400, 100), (3, 400, 100), (8, 400, 100), (32, 800, 50), (100, 200, 20), (1_000, 30, 2)]
    {
        let plays = [0.0, 0.001, 0.01, 0.05, 0.2]
            .map(|loss| Box::new(move |seed| row(seed, place, crowd, loss)) as Play);
        group.add_columns(&crowd.0.to_string(), plays.into());
    }
    group
}

fn row(
    seed: u64,
    place: Where,
    (receivers, blocks, megabits): (usize, u64, u64),
    loss: f64,
) -> Result<Figures, String> {
    // Of a symbol, of a burst in symbols, and of a datagram with all headers, as the simulated line counts.
    let (size, burst, frame) = (64_u16, 16.0, 150.0);
    let mut scenario = Scenario::new(seed, receivers, blocks * 88 * u64::from(size));
    (scenario.symbol_size, scenario.block_symbols, scenario.window) = (size, 88, 4_096);
    scenario.trunk.rate = Some(mbit(megabits));
    scenario.trunk.queue = (164 * megabits as usize).max(8_192);
    for receiver in &mut scenario.receivers {
        (receiver.buffer, receiver.socket_buffer) = (32 << 20, 1 << 20);
    }
    let line = megabits as f64 * 1e6;
    let symbol = frame * 8.0 / line;
    // A batch.
    scenario.gather = Duration::from_secs_f64(16.0 * symbol);
    match place {
        Where::Trunk => scenario.trunk.loss = Loss::Independent(loss),
        Where::Leaves => scenario = scenario.with_loss(loss),
        Where::Bursts if loss > 0.0 => {
            let length = Duration::from_secs_f64(burst * symbol);
            for receiver in &mut scenario.receivers {
                receiver.leaf.loss = Loss::Burst { every: length.mul_f64((1.0 - loss) / loss), length };
            }
        }
        Where::Bursts => {}
    }
    let round_trip = scenario.trunk.queue as f64 * 8.0 / line
        + scenario.gather.as_secs_f64()
        + 2.0 * scenario.receivers[0].leaf.delay.as_secs_f64();
    let history = play(scenario)?;
    let took = seconds_to_last_byte(&history) - 4.0 * round_trip;
    let transmissions = history.transmissions();
    let times = took / (history.source_symbols as f64 * transmissions * symbol);
    Ok(vec![(TIMES, vec![times.max(1.0)]), (TRANSMISSIONS, vec![transmissions])])
}

/// All of them, on seeds from this one on.
fn groups(is_judge: bool) -> Vec<Group> {
    // The tables are tuned on the seed that they are printed with.
    let (first, table) = if is_judge { (100, 100) } else { (0, 7) };
    vec![
        starved(first),
        onset(first),
        settled(first),
        full(first),
        steps(first),
        back(first),
        loss_begins(first),
        sharing(first),
        liar(first),
        tiny(first),
        crowd(first),
        noise(first),
        repair("repair-own", Where::Leaves, table),
        repair("repair-trunk", Where::Trunk, table),
        repair("repair-bursts", Where::Bursts, table),
    ]
}

/// The figures, or why there are none.
type Outcome = Result<Figures, String>;

/// Plays one, and survives it.
fn survive(seed: u64, play: &Play) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| play(seed))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Err(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("panicked").to_owned())
    })
}

/// All values of each measure, in the order of the runs.
fn gathered<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>) -> Vec<(&'a Measure, Vec<f64>)> {
    let mut all: Vec<(&Measure, Vec<f64>)> = Vec::new();
    for (measure, values) in outcomes.into_iter().flatten().flatten() {
        match all.iter_mut().find(|(known, _)| *known == measure) {
            Some((_, known)) => known.extend(values),
            None => all.push((measure, values.clone())),
        }
    }
    all
}

/// One line of figures: every value, or mean and worst.
fn described(outcomes: &[&Outcome], every_value: bool) -> String {
    let mut text = String::new();
    for (measure, values) in gathered(outcomes.iter().copied()) {
        let digits = measure.digits;
        let print = |value: f64| format!("{value:.digits$}");
        let sum = values.iter().sum::<f64>();
        let mean = print(sum / values.len() as f64);
        let worst = print(match measure.worst {
            Worst::Least => values.iter().copied().fold(f64::INFINITY, f64::min),
            Worst::Most => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            Worst::Sum => sum,
        });
        let values = match measure.worst {
            _ if every_value => values.into_iter().map(print).collect::<Vec<_>>().join(" "),
            Worst::Sum => format!("{worst} in all"),
            _ if mean == worst => mean,
            _ => format!("{mean} ({worst})"),
        };
        text.push_str(&format!("  {} {values}", measure.what));
    }
    let failures: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    if let Some(why) = failures.first() {
        let why: String = why.lines().next().unwrap_or_default().chars().take(120).collect();
        text.push_str(&format!("  FAILED {} of {}: {why}", failures.len(), outcomes.len()));
    }
    text
}

#[expect(clippy::print_stdout, reason = "prints figures")]
fn print(group: &Group, outcomes: &[Outcome], is_verbose: bool) {
    if let Some(columns) = group.columns {
        println!("{}: {columns}", group.name);
    }
    let mut rest = outcomes.iter();
    for line in &group.lines {
        let of_line: Vec<_> = zip(group.runs(line), &mut rest).collect();
        if is_verbose {
            for (index, ((seed, _), outcome)) in of_line.iter().enumerate() {
                let column = if line.plays.len() > 1 {
                    format!(", column {}", index % line.plays.len() + 1)
                } else {
                    String::new()
                };
                println!("    {} seed {seed}{column}:{}", line.name, described(&[outcome], true));
            }
        }
        let of_line: Vec<_> = of_line.into_iter().map(|(_, outcome)| outcome).collect();
        println!("{:26}{}", line.name, described(&of_line, group.columns.is_some()));
    }
    if group.lines.len() > 1 {
        println!(
            "{:26}{}",
            format!("{} all", group.name),
            described(&outcomes.iter().collect::<Vec<_>>(), false)
        );
    }
}

/// Plays everything, and prints each group as soon as it and those before it are over.
fn play_and_print(groups: &[Group], threads: usize, is_verbose: bool) {
    let runs: Vec<_> =
        groups.iter().flat_map(|group| group.lines.iter().flat_map(|line| group.runs(line))).collect();
    let next = AtomicUsize::new(0);
    let (tell, told) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (tell, next, runs) = (tell.clone(), &next, &runs);
            scope.spawn(move || {
                while let Some((index, (seed, play))) = {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    runs.get(index).map(|run| (index, run))
                } {
                    if tell.send((index, survive(*seed, play))).is_err() {
                        break;
                    }
                }
            });
        }
        drop(tell);
        let mut outcomes: Vec<Option<Outcome>> = runs.iter().map(|_| None).collect();
        let mut at = 0;
        for group in groups {
            let count: usize = group.lines.iter().map(|line| group.runs(line).count()).sum();
            let mut of_group = Vec::with_capacity(count);
            while of_group.len() < count {
                if let Some(outcome) = outcomes[at].take() {
                    of_group.push(outcome);
                    at += 1;
                } else if let Ok((index, outcome)) = told.recv() {
                    outcomes[index] = Some(outcome);
                } else {
                    return;
                }
            }
            print(group, &of_group, is_verbose);
        }
    });
}

fn main() -> Result<(), Box<dyn Error>> {
    let (mut threads, mut is_verbose, mut is_judge, mut prefixes) = (2, false, false, Vec::new());
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "-v" => is_verbose = true,
            "--judge" => is_judge = true,
            _ if argument.starts_with("-j") => threads = argument[2..].parse::<usize>()?.max(1),
            _ if argument.starts_with('-') => {
                return Err("usage: rate_figures [-jN] [-v] [--judge] [PREFIX]...".into());
            }
            _ => prefixes.push(argument),
        }
    }
    let mut groups = groups(is_judge);
    for group in &mut groups {
        let is_wanted = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        group.lines.retain(|line| prefixes.is_empty() || is_wanted(&line.name));
    }
    groups.retain(|group| !group.lines.is_empty());
    if groups.is_empty() {
        return Err("no scenario has such a name".into());
    }
    // The message of a run that fails is printed in its line.
    std::panic::set_hook(Box::new(|_| {}));
    play_and_print(&groups, threads, is_verbose);
    Ok(())
}
