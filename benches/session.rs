//! Whole sessions: in memory, where nothing but this program's own work takes time, and through the kernel.
//!
//! `cargo bench --bench session`, about a minute. Throughput counts bytes of stream, whatever the number of receivers.
//! "simulator" plays the sender, the network and all receivers in one thread. "loopback" runs `mcast-send -f` and one
//! `mcast-recv` a receiver on interface `lo`, from the start of the first program to the end of the last.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run may as well stop")]

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mcast::exit::Exit;
use mcast::session::Rate;
use mcast::sim::Scenario;

const RECEIVERS: [usize; 2] = [1, 3];
const IN_MEMORY: u64 = 16 << 20;
const THROUGH_THE_KERNEL: usize = 128 << 20;
/// Of the range that is for nobody in particular.
const PORT: &str = "47190";

fn simulator(c: &mut Criterion) {
    let mut group = c.benchmark_group("simulator");
    group.throughput(Throughput::Bytes(IN_MEMORY));
    for receivers in RECEIVERS {
        let mut scenario = Scenario::new(1, receivers, IN_MEMORY);
        (scenario.symbol_size, scenario.block_symbols, scenario.batch) = (1428, 88, 44);
        scenario.window = 256;
        scenario.trunk.rate = Some(Rate::from_bits_per_second(10_000_000_000));
        for receiver in &mut scenario.receivers {
            (receiver.buffer, receiver.socket_buffer) = (32 << 20, 8 << 20);
        }
        group.bench_function(BenchmarkId::from_parameter(receivers), |b| {
            b.iter(|| assert_eq!(scenario.run().sender, Some(Exit::Complete)));
        });
    }
    group.finish();
}

fn loopback(c: &mut Criterion) {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    let mut bytes = vec![0; THROUGH_THE_KERNEL];
    fastrand::Rng::with_seed(7).fill(&mut bytes);
    file.write_all(&bytes).expect("room for the source");
    drop(bytes);
    let mut group = c.benchmark_group("loopback");
    group.throughput(Throughput::Bytes(THROUGH_THE_KERNEL as u64));
    for receivers in RECEIVERS {
        group.bench_function(BenchmarkId::from_parameter(receivers), |b| {
            b.iter(|| transfer(file.path(), receivers));
        });
    }
    group.finish();
}

/// Ends by itself: who misses the others gives up.
fn transfer(source: &Path, receivers: usize) {
    let program = |path: &str| {
        let mut command = Command::new(path);
        command.args(["-q", "--no-key", "-i", "lo", "-p", PORT, "--start-timeout", "10s"]);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command
    };
    let mut children: Vec<Child> = (0..receivers)
        .map(|_| program(env!("CARGO_BIN_EXE_mcast-recv")).spawn().expect("a receiver"))
        .collect();
    let mut send = program(env!("CARGO_BIN_EXE_mcast-send"));
    send.args(["-n", &receivers.to_string(), "-f"]).arg(source);
    children.push(send.spawn().expect("a sender"));
    for mut child in children {
        let status = child.wait().expect("a child of this process");
        assert!(status.success(), "{status}");
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3));
    targets = simulator, loopback
}
criterion_main!(benches);
