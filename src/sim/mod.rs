//! A network in memory: a virtual clock, links with faults, one seed, one history.
//!
//! ```text
//! sender ── trunk ──┬── leaf ── receiver 0
//!                   ├── leaf ── receiver 1      (and the same way back)
//!                   └── …
//! ```
//! Between trunk and leaves there may be a backbone, which several sessions share.
//!
//! A [`Scenario`] says what the hosts do and what goes wrong; [`Scenario::run`] plays it with the same [`turn()`] that
//! drives kernel sockets, and checks the promises: at every step, that what a sink got is a prefix of the source and that
//! nobody spins or hangs; at the end, that exit 0 was earned and every failure says why.
//!
//! [`turn()`]: crate::session::turn()

mod adversary;
mod greed;
mod history;
mod host;
mod lies;
mod link;
mod machines;
mod replayer;
mod starvation;
mod stream;
mod wires;
mod world;

use std::time::Duration;

pub use adversary::{Echo, PlayedBack, Recorded};
pub use history::{Counted, History, ReceiverHistory, Sample};
pub use lies::Lie;
pub use link::{LinkConfig, Loss};
pub use replayer::{Disguise, Reaction, Replayer};
pub use starvation::Starvation;
pub use stream::{SinkPlan, SourcePlan};

use link::Link;
use world::World;

use crate::exit::Exit;
use crate::seal::Seal;
use crate::session::sender::StartRules;
use crate::session::{Beginning, Rate};
use crate::wire::{Kind, SessionId};

/// Everything that happens in a simulation.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Decides all that is left to chance.
    pub seed: u64,
    /// What the sender reads.
    pub source: SourcePlan,
    /// Bytes of stream in a source symbol.
    pub symbol_size: u16,
    /// Source symbols in a full block.
    pub block_symbols: u8,
    /// Blocks at the sender.
    pub window: usize,
    /// Datagrams in a batch.
    pub batch: usize,
    /// When to start.
    pub start: StartRules,
    /// `--start-timeout` on both sides.
    pub start_timeout: Option<Duration>,
    /// `--peer-timeout` of the sender, and of receivers that have none of their own.
    pub peer_timeout: Duration,
    /// `--max-stall`.
    pub max_stall: Option<Duration>,
    /// `--partial-ok`.
    pub partial_ok: bool,
    /// `--rate`.
    pub rate: Option<Rate>,
    /// From the sender to the switch. If it has a rate, the sender feels its queue and waits.
    pub trunk: LinkConfig,
    /// From the trunk to the leaves, if there is something between: a port that drops what its queue cannot hold, and
    /// that [`Scenario::run_beside`] lets others send through, too.
    pub backbone: Option<LinkConfig>,
    /// From the switch to the sender.
    pub trunk_back: LinkConfig,
    /// The receivers.
    pub receivers: Vec<ReceiverPlan>,
    /// The sender's host does nothing in these spans, as if stopped.
    pub sender_pauses: Vec<(Duration, Duration)>,
    /// All hosts are short of time.
    pub starvation: Option<Starvation>,
    /// When the sender is launched.
    pub sender_launched: Duration,
    /// The sender is killed then.
    pub sender_killed: Option<Duration>,
    /// The sender is told to stop then, as by a signal.
    pub sender_stopped: Option<Duration>,
    /// Of these kinds, the first so many datagrams are lost (on the trunk, either way).
    pub lose_first: Vec<(Kind, u32)>,
    /// Where the session's counters begin.
    pub beginning: Beginning,
    /// Everyone has the same key.
    pub keyed: bool,
    /// Receivers are woken for what has arrived at multiples of this only, as a real one lets datagrams gather.
    pub gather: Duration,
    /// Datagrams that a stranger sends to both sides.
    pub garbage: u32,
    /// Datagrams of someone who has seen the session go by.
    pub hostile: Vec<Hostile>,
    /// Datagrams of someone who has recorded another session, or this one.
    pub played_back: Vec<PlayedBack>,
    /// Someone who sends again what he hears.
    pub echo: Option<Echo>,
    /// Someone who plays what he has recorded on another day.
    pub replayer: Option<Replayer>,
    /// Whoever sent what is played back has the key, as after a break-in: what spoils a session without one may happen.
    pub insider: bool,
    /// The history is to have every datagram.
    pub records: bool,
    /// The first receiver's id; the others' follow.
    pub first_id: u64,
    /// The simulation is broken off, as a failure, after so much virtual time.
    pub limit: Duration,
}

/// A datagram that looks as if it belonged to the session.
#[derive(Clone, Debug)]
pub struct Hostile {
    /// When it arrives.
    pub at: Duration,
    /// At which host: 0 is the sender, i + 1 receiver i.
    pub to: usize,
    /// The host whose address it bears; `None`: its author's own.
    ///
    /// A borrowed address can spoil a session without keys, so what is promised of the others' part in it is not
    /// checked then: that every byte is the source's, and that the sender is right about its receivers.
    pub from: Option<usize>,
    /// Header and body. The session's id is put in its place, and the trailer behind.
    pub content: Vec<u8>,
}

/// One receiver, and its link.
#[derive(Clone, Debug)]
pub struct ReceiverPlan {
    /// When it is launched.
    pub launched: Duration,
    /// What its clock showed when the sender's showed nothing: each host counts from a moment of its own.
    pub clock: Duration,
    /// Its name.
    pub name: String,
    /// `--peer-timeout`, where it is not the sender's.
    pub peer_timeout: Option<Duration>,
    /// `--start-timeout`, where it is not the sender's.
    pub start_timeout: Option<Duration>,
    /// Bytes that it buffers for its sink.
    pub buffer: usize,
    /// Bytes that its socket buffer holds.
    pub socket_buffer: usize,
    /// What takes its bytes.
    pub sink: SinkPlan,
    /// It asks for everything that there is, was and will be, in so many reports for each true one.
    pub greed: u32,
    /// Its reports claim another number of datagrams than has arrived.
    pub lie: Option<Lie>,
    /// From the switch to it.
    pub leaf: LinkConfig,
    /// From it to the switch.
    pub leaf_back: LinkConfig,
    /// Nothing arrives in these spans.
    pub deaf: Vec<(Duration, Duration)>,
    /// Nothing leaves in these spans.
    pub mute: Vec<(Duration, Duration)>,
    /// Its host does nothing in these spans, as if stopped.
    pub pauses: Vec<(Duration, Duration)>,
    /// It is killed then.
    pub killed: Option<Duration>,
    /// It is told to stop then, as by a signal.
    pub stopped: Option<Duration>,
    /// Times at which an ICMP error says that nobody listens at the sender's address.
    pub unreachable: Vec<Duration>,
}

impl Scenario {
    /// A clean LAN: `receivers` hosts wait for `bytes` of stream.
    pub fn new(seed: u64, receivers: usize, bytes: u64) -> Self {
        Self {
            seed,
            source: SourcePlan { bytes, trickle: None, fails_after: None },
            symbol_size: 256,
            block_symbols: 32,
            window: 64,
            batch: 16,
            start: StartRules {
                min_receivers: u32::try_from(receivers).unwrap_or(u32::MAX),
                max_receivers: None,
                require: Vec::new(),
                expect: Vec::new(),
                min_wait: Duration::ZERO,
                max_wait: None,
            },
            start_timeout: Some(Duration::from_secs(600)),
            peer_timeout: Duration::from_secs(10),
            max_stall: None,
            partial_ok: false,
            rate: None,
            trunk: LinkConfig {
                rate: Some(Rate::from_bits_per_second(1_000_000_000)),
                queue: 128 * 1024,
                ..LinkConfig::default()
            },
            backbone: None,
            trunk_back: LinkConfig::default(),
            receivers: (0..receivers).map(ReceiverPlan::new).collect(),
            beginning: Beginning::default(),
            sender_pauses: Vec::new(),
            starvation: None,
            sender_launched: Duration::ZERO,
            sender_killed: None,
            sender_stopped: None,
            lose_first: Vec::new(),
            keyed: false,
            gather: Duration::ZERO,
            garbage: 0,
            hostile: Vec::new(),
            played_back: Vec::new(),
            echo: None,
            replayer: None,
            insider: false,
            records: false,
            first_id: 0x1000,
            limit: Duration::from_secs(3_600),
        }
    }

    /// The same with each receiver's own link losing this share of what comes to it.
    #[must_use]
    pub fn with_loss(mut self, share: f64) -> Self {
        for receiver in &mut self.receivers {
            receiver.leaf.loss = Loss::Independent(share);
        }
        self
    }

    /// The same with a key.
    #[must_use]
    pub fn with_key(mut self) -> Self {
        self.keyed = true;
        self
    }

    /// The session's id, which anyone on the network can read.
    pub fn session(&self) -> SessionId {
        self.session_and_rest().0
    }

    /// The id and the generator behind it, of which all else is drawn.
    fn session_and_rest(&self) -> (SessionId, fastrand::Rng) {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut session = [0; 16];
        rng.fill(&mut session);
        (SessionId(session), rng)
    }

    /// How everyone seals.
    pub fn seal(&self) -> Seal {
        machines::seal(self)
    }

    /// Whether someone speaks in another's name, and can.
    fn is_forged(&self) -> bool {
        self.insider || !self.keyed && self.hostile.iter().any(|datagram| datagram.from.is_some())
    }

    /// Plays it.
    ///
    /// # Panics
    /// A promise is broken; the message has the seed.
    pub fn run(&self) -> History {
        let mut world = World::new(self, self.backbone.clone().map(Link::shared));
        while let Some(next) = world.next() {
            world.advance(next);
        }
        world.finish()
    }

    /// Plays this and other sessions at the same time, all over this one's backbone. Returns their histories in this order.
    ///
    /// # Panics
    /// As [`Scenario::run`].
    pub fn run_beside(&self, others: &[Self]) -> Vec<History> {
        let backbone = self.backbone.clone().map(Link::shared);
        let scenarios = std::iter::once(self).chain(others);
        let mut worlds: Vec<_> = scenarios.map(|scenario| World::new(scenario, backbone.clone())).collect();
        loop {
            let moments = worlds.iter_mut().map(World::next).enumerate();
            let next = moments.filter_map(|(world, at)| Some((at?, world))).min();
            let Some((at, world)) = next else { break };
            if let Some(world) = worlds.get_mut(world) {
                world.advance(at);
            }
        }
        worlds.into_iter().map(World::finish).collect()
    }
}

impl ReceiverPlan {
    /// A receiver that is there from the beginning on a clean link.
    pub fn new(index: usize) -> Self {
        Self {
            launched: Duration::ZERO,
            clock: Duration::ZERO,
            name: format!("r{index}"),
            peer_timeout: None,
            start_timeout: None,
            buffer: 1024 * 1024,
            socket_buffer: 256 * 1024,
            sink: SinkPlan::default(),
            greed: 0,
            lie: None,
            leaf: LinkConfig::default(),
            leaf_back: LinkConfig::default(),
            deaf: Vec::new(),
            mute: Vec::new(),
            pauses: Vec::new(),
            killed: None,
            stopped: None,
            unreachable: Vec::new(),
        }
    }
}

/// The seeds that a test plays: those of `MCAST_SEED` (one number) if it is set, else `count` from 0 on.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    seeds_in(0..count)
}

/// The seeds that a test plays: that of `MCAST_SEED` if it is set, else those of `range`.
pub fn seeds_in(range: std::ops::Range<u64>) -> std::ops::Range<u64> {
    let given = std::env::var("MCAST_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    given.map_or(range, |seed| seed..seed.saturating_add(1))
}

/// The exit code of a simulated signal.
const STOPPED: Exit = Exit::Signal(15);
