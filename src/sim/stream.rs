//! Sources and sinks of a simulation: bytes that can be computed at any offset, and someone who checks them.

use std::time::Duration;

use crate::fec::Block;
use crate::session::{StreamDigest, StreamEnd};
use crate::time::Time;

/// How a source gives its bytes.
#[derive(Clone, Copy, Debug)]
pub struct SourcePlan {
    /// Bytes in the whole stream.
    pub bytes: u64,
    /// Bytes that come at a time, and the pause between; `None`: everything is there at once.
    pub trickle: Option<(u64, Duration)>,
    /// The source fails after this many bytes.
    pub fails_after: Option<u64>,
}

/// How a sink takes bytes.
#[derive(Clone, Debug, Default)]
pub struct SinkPlan {
    /// Time for each block.
    pub per_block: Duration,
    /// From the first to the second moment, the sink takes nothing.
    pub stalls: Vec<(Duration, Duration)>,
    /// The sink fails when this many bytes have been taken.
    pub fails_after: Option<u64>,
    /// Time between the verified end and the sink's own end.
    pub closing: Duration,
}

/// The stream's byte at each offset, out of a seed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern(pub(super) u64);

impl Pattern {
    pub(super) fn fill(self, offset: u64, bytes: &mut [u8]) {
        let (mut word, mut rest) = (offset / 8, bytes);
        let mut skipped = (offset % 8) as usize;
        while !rest.is_empty() {
            let (now, later) = rest.split_at_mut(rest.len().min(8 - skipped));
            now.copy_from_slice(&splitmix(self.0 ^ word).to_le_bytes()[skipped..skipped + now.len()]);
            (word, skipped, rest) = (word + 1, 0, later);
        }
    }
}

fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[derive(Debug)]
pub(super) struct Source {
    plan: SourcePlan,
    pattern: Pattern,
    given: u64,
    digest: StreamDigest,
    over: bool,
}

/// What a source has to say.
#[derive(Debug)]
pub(super) enum Given {
    Block,
    Nothing {
        until: Time,
    },
    End(StreamEnd),
    Failed,
    /// It has said all.
    Over,
}

impl Source {
    pub(super) fn new(plan: SourcePlan, pattern: Pattern) -> Self {
        Self { plan, pattern, given: 0, digest: StreamDigest::default(), over: false }
    }

    pub(super) fn fill(&mut self, now: Time, block: &mut Block) -> Given {
        if self.over {
            return Given::Over;
        }
        if self.plan.fails_after.is_some_and(|bytes| self.given >= bytes) {
            self.over = true;
            return Given::Failed;
        }
        if self.given == self.plan.bytes {
            self.over = true;
            return Given::End(self.digest.end());
        }
        let mut there = self.plan.bytes;
        if let Some((portion, pause)) = self.plan.trickle {
            let portions = (now.as_nanos() / pause.as_nanos().max(1) as u64) + 1;
            there = there.min(portions.saturating_mul(portion));
            if there <= self.given {
                return Given::Nothing { until: Time::from_nanos(portions * pause.as_nanos() as u64) };
            }
        }
        if let Some(bytes) = self.plan.fails_after {
            there = there.min(bytes);
        }
        let length = (there - self.given).min(block.capacity_bytes() as u64) as usize;
        let mut left = length;
        for payload in block.spare_mut(0) {
            let part = left.min(payload.len());
            if part == 0 {
                break;
            }
            let payload = &mut payload[..part];
            self.pattern.fill(self.given, payload);
            self.digest.update(payload);
            self.given += part as u64;
            left -= part;
        }
        block.set_len(length);
        Given::Block
    }
}

/// Checks, byte for byte, that what it gets is a prefix of the source.
#[derive(Debug)]
pub(super) struct Sink {
    plan: SinkPlan,
    pattern: Pattern,
    digest: StreamDigest,
    free_at: Time,
    /// Others may speak in the sender's name.
    forged: bool,
    /// They have: some bytes are not the source's.
    spoilt: bool,
    /// When the last byte of each block was taken, for the delay of trickling sources.
    pub(super) last_taken: Time,
}

impl Sink {
    pub(super) fn new(plan: SinkPlan, pattern: Pattern, forged: bool) -> Self {
        Self {
            plan,
            pattern,
            digest: StreamDigest::default(),
            free_at: Time::ZERO,
            forged,
            spoilt: false,
            last_taken: Time::ZERO,
        }
    }

    /// When the sink can take something next.
    pub(super) fn ready_at(&self, now: Time) -> Time {
        let mut at = self.free_at.max(now);
        for (from, to) in &self.plan.stalls {
            if at >= Time::ZERO + *from && at < Time::ZERO + *to {
                at = Time::ZERO + *to;
            }
        }
        at
    }

    pub(super) const fn is_spoilt(&self) -> bool {
        self.spoilt
    }

    pub(super) fn bytes(&self) -> u64 {
        self.digest.bytes()
    }

    /// # Errors
    /// The sink fails, as planned.
    ///
    /// # Panics
    /// The bytes are not those of the source: a promise is broken.
    #[expect(clippy::panic, reason = "the simulator reports broken promises by panicking")]
    pub(super) fn take(&mut self, now: Time, block: &Block) -> Result<(), ()> {
        let mut expected = Vec::new();
        for payload in block.payloads() {
            expected.resize(payload.len(), 0);
            self.pattern.fill(self.digest.bytes(), &mut expected);
            if expected != payload {
                self.spoilt = true;
            }
            if self.spoilt && !self.forged {
                panic!("the sink got bytes at offset {} that the source never gave", self.digest.bytes());
            }
            self.digest.update(payload);
        }
        self.free_at = now + self.plan.per_block;
        self.last_taken = now;
        if self.plan.fails_after.is_some_and(|bytes| self.digest.bytes() >= bytes) { Err(()) } else { Ok(()) }
    }

    pub(super) fn end(&self) -> StreamEnd {
        self.digest.end()
    }

    pub(super) const fn closing(&self) -> Duration {
        self.plan.closing
    }
}
