//! What works at speed works everywhere: without offloads, without privileges, on one processor.

use std::fs;

use crate::support::kernel::Ability::{Coalesce, ResizeBuffer, Segment};
use crate::support::{KIB, Lab, MIB, PATIENCE, Program, Source, all_exit};

/// Sends the source to receivers that have been started, to the end.
fn complete(sender: &mut Program, receivers: &mut [Program], source: Source) {
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    all_exit(receivers, 0, PATIENCE);
    for receiver in receivers {
        receiver.must_have_delivered(source);
    }
}

/// Repair symbols for each source symbol, as the sender reports them.
fn repaired(sender: &Program) -> f64 {
    let wire = &sender.report()["wire"];
    wire["repair_symbols"].as_f64().unwrap() / wire["source_symbols"].as_f64().unwrap()
}

#[test]
fn kernel_without_gso_and_gro_carries_the_stream_datagram_by_datagram() {
    let lab = Lab::with(3, &["--offload", "on"]);
    let source = Source::new(31, 32 * MIB);
    let mut receivers: Vec<_> =
        (1..=3).map(|h| lab.host(h).recv(&format!("r{h}")).without(&[Coalesce]).start()).collect();
    let mut sender =
        lab.sender().send().args(&["-n", "3"]).without(&[Segment, Coalesce]).source(source).start();
    complete(&mut sender, &mut receivers, source);
    let said = sender.stderr();
    assert_eq!(said.matches("sending datagram by datagram").count(), 1, "{said}");
    for receiver in &receivers {
        let said = receiver.stderr();
        assert_eq!(said.matches("receiving datagram by datagram").count(), 1, "{said}");
    }
}

#[test]
fn receivers_without_gro_and_with_it_hear_the_same_sender() {
    let lab = Lab::with(2, &["--offload", "on"]);
    let source = Source::new(32, 32 * MIB);
    let with = lab.host(1).recv("with").start();
    let without = lab.host(2).recv("without").without(&[Coalesce]).start();
    let mut sender = lab.sender().send().args(&["-n", "2"]).source(source).start();
    complete(&mut sender, &mut [with, without], source);
}

/// Whoever may administer the network gets any receive buffer; everybody else stops at net.core.rmem_max.
const UNPRIVILEGED: &[&str] = &["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

#[test]
fn programs_without_privileges_cause_no_storm_with_their_small_receive_buffers() {
    let lab = Lab::with(3, &["--rate", "1gbit"]);
    let source = Source::new(33, 64 * MIB);
    // Half of what they get where rmem_max and rmem_default are as Linux has them; this machine may have raised one.
    let mut receivers: Vec<_> = (1..=3)
        .map(|h| lab.host(h).recv_by(UNPRIVILEGED, &format!("r{h}")).without(&[ResizeBuffer]).start())
        .collect();
    let sender = lab.sender().send_by(UNPRIVILEGED).args(&["-n", "3"]).without(&[ResizeBuffer]);
    let mut sender = sender.source(source).start();
    complete(&mut sender, &mut receivers, source);
    // What is under way is more than such a buffer holds, so a host that is kept from the CPU loses some; on a quiet one
    // nothing is repaired.
    let repaired = repaired(&sender);
    assert!(repaired < 0.5, "{:.2} % repaired", repaired * 100.0);
    let default: u64 = fs::read_to_string("/proc/sys/net/core/rmem_default").unwrap().trim().parse().unwrap();
    if default < MIB {
        for program in receivers.iter().chain([&sender]) {
            let said = program.stderr();
            let line = format!("receive buffer is {} KiB", default / 2 / KIB);
            assert_eq!(said.matches(&line).count(), 1, "{said}");
            assert!(said.contains("sysctl -w net.core.rmem_max=8388608"), "{said}");
        }
    }
}

#[test]
fn programs_without_privileges_take_the_buffer_that_rmem_max_allows() {
    let lab = Lab::with(1, &["--rate", "1gbit"]);
    let source = Source::new(35, 16 * MIB);
    let mut receivers = [lab.host(1).recv_by(UNPRIVILEGED, "r1").start()];
    let mut sender = lab.sender().send_by(UNPRIVILEGED).source(source).start();
    complete(&mut sender, &mut receivers, source);
    let most: u64 = fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap().trim().parse().unwrap();
    for program in receivers.iter().chain([&sender]) {
        let said = program.stderr();
        assert_eq!(said.contains("receive buffer is"), most < MIB, "{most} bytes allowed: {said}");
    }
}

#[test]
fn sender_and_three_receivers_get_along_on_one_processor() {
    let lab = Lab::up(3);
    let source = Source::new(34, 64 * MIB);
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let processor = (0..rustix::thread::CpuSet::MAX_CPU).find(|at| allowed.is_set(*at)).unwrap().to_string();
    let way = ["taskset", "-c", &processor];
    let mut receivers: Vec<_> =
        (1..=3).map(|h| lab.host(h).recv_by(&way, &format!("r{h}")).start()).collect();
    let mut sender = lab.sender().send_by(&way).args(&["-n", "3"]).source(source).start();
    complete(&mut sender, &mut receivers, source);
    let repaired = repaired(&sender);
    assert!(repaired < 0.01, "{:.2} % repaired", repaired * 100.0);
}
