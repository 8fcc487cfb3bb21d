//! `--rate`: how evenly datagrams leave a real host, by its kernel's clock.

use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::{Host, Lab, MIB, PATIENCE, Source};

/// Sees what leaves a host's interface, with the time at which it does: the kernel stamps it in the system call that sends.
struct Tap(Socket);

impl Tap {
    fn at(host: &Host) -> Self {
        let every_protocol = Protocol::from(i32::from(0x0003_u16.to_be()));
        let socket = host.here(|| Socket::new(Domain::PACKET, Type::DGRAM, Some(every_protocol)).unwrap());
        // Room for all that is sent, so that nobody has to read while it is.
        rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, 256 * MIB as usize).unwrap();
        setsockopt(&socket, sockopt::ReceiveTimestampns, &true).unwrap();
        setsockopt(&socket, sockopt::RxqOvfl, &1).unwrap();
        Self(socket)
    }

    /// Full datagrams so far: when each left, and its bytes from the IP header on.
    fn seen(&self) -> Vec<(Duration, u64)> {
        let mut seen = Vec::new();
        let mut control = nix::cmsg_space!(TimeSpec, u32);
        while let Ok(message) = recvmsg::<()>(
            self.0.as_raw_fd(),
            &mut [],
            Some(&mut control),
            MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT,
        ) {
            let mut left = None;
            for part in message.cmsgs().unwrap() {
                match part {
                    ControlMessageOwned::ScmTimestampns(time) => left = Some(Duration::from(time)),
                    ControlMessageOwned::RxqOvfl(missed) => assert_eq!(missed, 0, "the tap has missed some"),
                    _ => {}
                }
            }
            // Announces, keep-alives and reports are small, and not the rate's.
            if message.bytes > 1_000 {
                seen.push((left.unwrap(), message.bytes as u64));
            }
        }
        seen
    }
}

const SPAN: Duration = Duration::from_millis(10);

/// Sends for 0.8 s at this rate. Of what the rate allows, the share that each span of 10 ms carried which began with a
/// datagram and was over before the last, in ascending order.
fn shares(megabits: u32) -> Vec<f64> {
    let bytes_a_second = f64::from(megabits) * 125_000.0;
    let lab = Lab::up(1);
    let tap = Tap::at(lab.sender());
    let source = Source::new(41, (bytes_a_second * 0.8) as u64);
    let mut receiver = lab.host(1).recv("r1").start();
    let rate = format!("{megabits}M");
    let mut sender = lab.sender().send().args(&["-n", "1", "--rate", &rate]).source(source).start();
    sender.finish();
    sender.must_exit(&[0], PATIENCE);
    receiver.must_exit(&[0], PATIENCE);
    receiver.must_have_delivered(source);

    let mut seen = tap.seen();
    // The kernel begins to stamp a moment after it is asked to; what has passed before gets the time at which it is read.
    let ended = seen.last().expect("what was delivered was sent").0;
    seen.retain(|(at, _)| *at <= ended);
    assert!(seen.len() as u64 > source.len() / 1_428 * 9 / 10, "{} datagrams have a time", seen.len());

    let (mut shares, mut carried, mut next) = (Vec::new(), 0, 0);
    for (start, bytes) in seen.iter().take_while(|(start, _)| *start + SPAN <= ended) {
        while let Some((_, bytes)) = seen.get(next).filter(|(at, _)| *at < *start + SPAN) {
            carried += bytes;
            next += 1;
        }
        shares.push(carried as f64 / (bytes_a_second * SPAN.as_secs_f64()));
        carried -= bytes;
    }
    shares.sort_by(f64::total_cmp);
    shares
}

/// 5 %, and another burst of 0.5 ms: a host that is kept from the processor just as it sends may send one later than it thinks.
const MOST: f64 = 1.1;

#[test]
fn ten_milliseconds_carry_the_rate_within_five_per_cent_and_never_more() {
    // A busy machine keeps the sender waiting now and then: such a span carries less. Three times in a row it is too busy for
    // half of all spans to be right only if the sender is too slow.
    let held = (0..3).any(|_| {
        let shares = shares(100);
        let [least, median, most] = [0, shares.len() / 2, shares.len() - 1].map(|at| shares[at]);
        assert!(median <= 1.05 && most <= MOST, "{least:.3} {median:.3} {most:.3}");
        median >= 0.95
    });
    assert!(held, "half of all spans carry less than the rate");
}

#[test]
fn ten_milliseconds_never_carry_more_than_the_rate_and_a_burst_however_busy_the_host() {
    let shares = shares(500);
    let most = shares[shares.len() - 1];
    assert!(most <= MOST, "{most:.3}");
}
