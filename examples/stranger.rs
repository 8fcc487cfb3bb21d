//! Somebody on the LAN without the key, for tests on real hosts: records a session, and forges, plays back and floods.
//!
//!     stranger HERE GROUP:PORT SENDER:PORT SECONDS
//!
//! He also speaks in the name of the sender and of its neighbours. At the end he prints what he has sent, and exits 1 if
//! he has been answered, or if there was nothing to record.

#[allow(dead_code, reason = "the hosts' tests need more of him")]
#[path = "../tests/hosts/support/stranger.rs"]
mod stranger;

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use stranger::Stranger;

#[expect(clippy::print_stdout, reason = "says what he has done")]
#[expect(clippy::disallowed_methods, reason = "works for so many seconds")]
fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [here, group, sender, seconds] = arguments.as_slice() else {
        return Err("usage: stranger HERE GROUP:PORT SENDER:PORT SECONDS".into());
    };
    let (here, sender): (Ipv4Addr, SocketAddrV4) = (here.parse()?, sender.parse()?);
    let neighbour = SocketAddrV4::new(Ipv4Addr::from_bits(sender.ip().to_bits() + 1), sender.port());
    let mut stranger = Stranger::new(here, group.parse()?, sender, &[sender, neighbour])?;
    let started = Instant::now();
    let lasts = Duration::from_secs(seconds.parse()?);
    while started.elapsed() < lasts {
        stranger.listen();
        stranger.forge();
        stranger.malform();
        stranger.play_back(200);
        stranger.flood_at_speed(4)?;
        // He is one of many on this processor.
        std::thread::yield_now();
    }
    let (sent, recorded) = (stranger.sent, stranger.recorded());
    println!("sent {sent} datagrams, recorded {recorded}");
    // A receiver that hears an announce from him before the sender's next one asks him to join.
    let (answers, bytes) = stranger.answers();
    if answers > MOST_JOINS || bytes > stranger.own_bytes() {
        return Err(format!("{answers} answers of {bytes} bytes").into());
    }
    if recorded == 0 {
        return Err("nothing was heard".into());
    }
    Ok(())
}

/// A few for each of three receivers.
const MOST_JOINS: u64 = 24;
