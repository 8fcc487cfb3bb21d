//! What a socket had no room for, as the kernel counts it.

use std::fs::File;
use std::io::{self, BufRead, BufReader};

use rustix::fs::fstat;

use super::batch::BatchSocket;
use super::clock::Clock;
use crate::time::Time;

/// Follows the kernel's counter of one socket, which is 32 bits wide and wraps.
#[derive(Debug, Default)]
pub struct DropCounter {
    seen: u32,
    total: u64,
    /// The table is not read again before.
    rest_until: Time,
}

impl DropCounter {
    /// Datagrams (with GRO: batches) that arrived and found the receive buffer full, since the socket was opened.
    ///
    /// `/proc/net/udp` has the counter, needs no permission, and shows the network namespace of who reads it. Reading
    /// takes a fifth of a millisecond on an idle host, and a hundred times as long on one with thousands of sockets: it is
    /// left alone for `DropCounter::REST` times as long as it took to read. Then, and where the file cannot be read, the
    /// count stays what it was.
    pub fn read(&mut self, socket: &BatchSocket, clock: &Clock) -> u64 {
        let begun = clock.now();
        if begun < self.rest_until {
            return self.total;
        }
        if let Ok(Some(now)) = dropped(socket) {
            self.update(now);
        }
        let ended = clock.now();
        self.rest_until = ended + ended.since(begun) * Self::REST;
        self.total
    }

    /// At most a fiftieth of the protocol thread's time goes into reading.
    const REST: u32 = 49;

    /// The socket is another one from now on.
    pub(super) fn begin_again(&mut self) {
        self.seen = 0;
    }

    fn update(&mut self, now: u32) {
        self.total = self.total.saturating_add(u64::from(now.wrapping_sub(self.seen)));
        self.seen = now;
    }
}

fn dropped(socket: &BatchSocket) -> io::Result<Option<u32>> {
    let inode = fstat(socket)?.st_ino.to_string();
    let table = if socket.local_address()?.is_ipv4() { "/proc/net/udp" } else { "/proc/net/udp6" };
    for line in BufReader::new(File::open(table)?).lines() {
        if let Some(dropped) = in_line(&line?, &inode) {
            return Ok(Some(dropped));
        }
    }
    Ok(None)
}

/// `sl local remote st queues timer retrnsmt uid timeout inode ref pointer drops`, the numbers decimal.
fn in_line(line: &str, inode: &str) -> Option<u32> {
    let mut fields = line.split_whitespace().skip(9);
    (fields.next()? == inode).then_some(())?;
    fields.nth(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use rustix::net::sockopt::set_socket_recv_buffer_size;

    use super::*;
    use crate::net::socket::{ReceiverSockets, SenderSockets, Venue};

    #[test]
    fn what_a_full_socket_drops_is_counted() {
        let group: IpAddr = "239.255.77.2".parse().unwrap();
        let venue = Venue::choose(Some("lo"), group, 47_121, false).unwrap();
        let receiver = ReceiverSockets::open(&venue, None, true).unwrap();
        set_socket_recv_buffer_size(&receiver.group, 4_096).unwrap();
        let sender = SenderSockets::open(&venue, 1).unwrap();
        let (mut counter, clock) = (DropCounter::default(), Clock::start());
        assert_eq!(counter.read(&receiver.group, &clock), 0);
        assert!(counter.rest_until > clock.now(), "reading takes more than the resolution of the clock");
        counter.rest_until = Time::ZERO;
        for _ in 0..100 {
            sender.data.send(venue.target(), &[7; 1_000], 1_000).unwrap();
        }
        let dropped = counter.read(&receiver.group, &clock);
        assert!((50..100).contains(&dropped), "{dropped}");
        assert_eq!(counter.read(&receiver.group, &clock), dropped);
    }

    #[test]
    fn a_counter_that_wraps_goes_on() {
        let mut counter = DropCounter::default();
        counter.update(u32::MAX);
        counter.update(4);
        assert_eq!(counter.total, u64::from(u32::MAX) + 5);
    }

    #[test]
    fn the_tables_columns_are_the_kernels() {
        let line = " 1520: 434DFFEF:1E57 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 91337 2 00000000a1b2c3d4 512";
        assert_eq!(
            (in_line(line, "91337"), in_line(line, "9133"), in_line("", "1")),
            (Some(512), None, None)
        );
    }
}
