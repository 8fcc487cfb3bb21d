//! Links, addresses and routes, as the kernel's routing socket (rtnetlink(7)) tells them.
//!
//! getifaddrs(3) would tell less: it names an address after its label, knows no alternative names, and no routes.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use rustix::io::{Errno, read, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, sendto, socket_with};

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    /// Other names, which `ip link property add` gives.
    pub(super) other_names: Vec<String>,
    pub(super) up: bool,
    pub(super) loopback: bool,
    pub(super) multicast: bool,
    /// Bytes in the largest IP datagram.
    pub(super) mtu: u32,
}

/// An address that a link has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// Number of the link.
    pub(super) link: u32,
    pub(super) address: IpAddr,
    /// The broadcast address that belongs to it.
    pub(super) broadcast: Option<Ipv4Addr>,
    /// `eth0:1`, or the name of the link.
    pub(super) label: Option<String>,
    /// Not tentative, and no other host was found to have it.
    pub(super) usable: bool,
    /// Another address is better for what is new: this one was renumbered, or its time is over.
    pub(super) deprecated: bool,
    /// A privacy address (RFC 8981): the host makes another one every day, and keeps the old ones for a week.
    pub(super) temporary: bool,
}

/// The device and the source address of datagrams to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    /// Number of the link.
    pub(super) link: u32,
    /// The address that they are sent from.
    pub(super) source: Option<IpAddr>,
    /// The largest IP datagram, in bytes, where the operator has set that for the route.
    pub(super) mtu: Option<u32>,
}

/// The kernel's answers are always those of the network namespace in which this was opened.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
    sequence: u32,
    memory: Vec<u8>,
}

impl Netlink {
    /// A socket that asks the kernel.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
        Ok(Self { socket, sequence: 0, memory: vec![0; LARGEST_ANSWER] })
    }

    /// All links, in the kernel's order.
    pub(super) fn links(&mut self) -> io::Result<Vec<Link>> {
        self.dump(RTM_GETLINK, &[0; IFINFOMSG], link)
    }

    /// All addresses of all links, in the kernel's order.
    pub(super) fn addresses(&mut self) -> io::Result<Vec<Held>> {
        self.dump(RTM_GETADDR, &[0; IFADDRMSG], held)
    }

    /// All of a kind. A change in the middle of the answer may hide an entry, so the kernel is then asked again.
    fn dump<T>(
        &mut self,
        kind: u16,
        request: &[u8],
        parse: impl Fn(u16, &[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        let mut tries = 0;
        loop {
            let mut entries = Vec::new();
            match self.ask(kind, NLM_F_DUMP, request, |kind, message| entries.extend(parse(kind, message))) {
                Ok(Answer::Whole) => return Ok(entries),
                Ok(Answer::Interrupted) if tries < MOST_TRIES => tries += 1,
                Ok(Answer::Interrupted) => return Err(Errno::BUSY.into()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The way to `target`, through this link only where one is given, as the rules of policy routing have it; none where
    /// there is no route, or one that refuses.
    pub(super) fn route(&mut self, target: IpAddr, through: Option<u32>) -> Option<Route> {
        let found = self.ask_route(target, through, 0)?;
        // What ICMP messages have said of the path is left out: anyone can send them.
        let configured = self.ask_route(target, through, RTM_F_FIB_MATCH);
        Some(Route { mtu: configured.and_then(|route| route.mtu), ..found })
    }

    fn ask_route(&mut self, target: IpAddr, through: Option<u32>, flags: u32) -> Option<Route> {
        let (family, address) = match target {
            IpAddr::V4(target) => (AF_INET, target.octets().to_vec()),
            IpAddr::V6(target) => (AF_INET6, target.octets().to_vec()),
        };
        let bits = u8::try_from(address.len() * 8).ok()?;
        let mut request = vec![family, bits, 0, 0, 0, 0, 0, 0];
        request.extend(flags.to_ne_bytes());
        put(&mut request, RTA_DST, &address);
        if let Some(link) = through {
            put(&mut request, RTA_OIF, &link.to_ne_bytes());
        }
        let mut found = None;
        self.ask(RTM_GETROUTE, 0, &request, |kind, message| found = found.or(route(kind, message))).ok()?;
        found
    }

    /// Sends a request, and hands over the messages of the answer with their kinds.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        request: &[u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> io::Result<Answer> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut message = u32::try_from(HEADER + request.len()).unwrap_or(u32::MAX).to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        message.extend(self.sequence.to_ne_bytes());
        message.extend([0; 4]);
        message.extend(request);
        let kernel = SocketAddrNetlink::new(0, 0);
        retry_on_intr(|| sendto(&self.socket, &message, SendFlags::empty(), &kernel))?;
        let mut answer = Answer::Whole;
        loop {
            let length = retry_on_intr(|| read(&self.socket, self.memory.as_mut_slice()))?;
            let part = self.memory.get(..length).unwrap_or_default();
            if part.is_empty() {
                return Err(Errno::NODATA.into());
            }
            if read_part(part, self.sequence, flags & NLM_F_DUMP != 0, &mut answer, &mut each)? {
                return Ok(answer);
            }
        }
    }
}

/// Whether an answer can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Whole,
    /// Something has changed meanwhile, and an entry may be missing.
    Interrupted,
}

/// Hands over the messages of a part of the answer to the request of this number. True if it was the last part.
fn read_part(
    mut rest: &[u8],
    sequence: u32,
    is_dump: bool,
    answer: &mut Answer,
    each: &mut impl FnMut(u16, &[u8]),
) -> io::Result<bool> {
    while let Some((header, body, after)) = split_message(rest) {
        rest = after;
        if header.sequence != sequence {
            continue;
        }
        if header.flags & NLM_F_DUMP_INTR != 0 {
            *answer = Answer::Interrupted;
        }
        match header.kind {
            NLMSG_DONE | NLMSG_ERROR => {
                let code = body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code));
                return if code < 0 {
                    Err(io::Error::from_raw_os_error(code.wrapping_neg()))
                } else {
                    Ok(true)
                };
            }
            kind => each(kind, body),
        }
        if !is_dump {
            return Ok(true);
        }
    }
    Ok(false)
}

struct MessageHeader {
    kind: u16,
    flags: u16,
    sequence: u32,
}

/// The first message: its header, its content, and what follows.
fn split_message(bytes: &[u8]) -> Option<(MessageHeader, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
    let header = bytes.get(..HEADER)?;
    let kind = u16::from_ne_bytes(*header.get(4..)?.first_chunk()?);
    let flags = u16::from_ne_bytes(*header.get(6..)?.first_chunk()?);
    let sequence = u32::from_ne_bytes(*header.get(8..)?.first_chunk()?);
    let body = bytes.get(HEADER..length)?;
    let after = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
    Some((MessageHeader { kind, flags, sequence }, body, after))
}

/// Kind and content of each attribute.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let content = bytes.get(ATTRIBUTE_HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((kind & NLA_TYPE_MASK, content))
    })
}

fn put(message: &mut Vec<u8>, kind: u16, content: &[u8]) {
    let length = u16::try_from(ATTRIBUTE_HEADER + content.len()).unwrap_or(u16::MAX);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(content);
    message.resize(message.len().next_multiple_of(ALIGNMENT), 0);
}

fn link(kind: u16, message: &[u8]) -> Option<Link> {
    if kind != RTM_NEWLINK {
        return None;
    }
    let flags = number(message.get(8..)?)?;
    let mut link = Link {
        index: number(message.get(4..)?)?,
        up: flags & IFF_UP != 0,
        loopback: flags & IFF_LOOPBACK != 0,
        multicast: flags & IFF_MULTICAST != 0,
        ..Link::default()
    };
    for (kind, content) in attributes(message.get(IFINFOMSG..)?) {
        match kind {
            IFLA_IFNAME => link.name = text(content),
            IFLA_MTU => link.mtu = number(content)?,
            IFLA_PROP_LIST => {
                let names = attributes(content).filter(|(kind, _)| *kind == IFLA_ALT_IFNAME);
                link.other_names.extend(names.map(|(_, name)| text(name)));
            }
            _ => {}
        }
    }
    Some(link)
}

fn held(kind: u16, message: &[u8]) -> Option<Held> {
    if kind != RTM_NEWADDR {
        return None;
    }
    let link = number(message.get(4..)?)?;
    let mut flags = u32::from(*message.get(2)?);
    let (mut address, mut local, mut broadcast, mut label) = (None, None, None, None);
    for (kind, content) in attributes(message.get(IFADDRMSG..)?) {
        match kind {
            IFA_ADDRESS => address = ip(content),
            IFA_LOCAL => local = ip(content),
            IFA_BROADCAST => broadcast = ip(content),
            IFA_LABEL => label = Some(text(content)),
            IFA_FLAGS => flags = number(content)?,
            _ => {}
        }
    }
    let broadcast = match broadcast {
        Some(IpAddr::V4(broadcast)) if !broadcast.is_unspecified() => Some(broadcast),
        _ => None,
    };
    // On a point-to-point link, IFA_LOCAL is this host's address and IFA_ADDRESS the peer's.
    let address = local.or(address)?;
    Some(Held {
        link,
        address,
        broadcast,
        label,
        usable: flags & IFA_F_DADFAILED == 0
            && (flags & IFA_F_TENTATIVE == 0 || flags & IFA_F_OPTIMISTIC != 0),
        deprecated: flags & IFA_F_DEPRECATED != 0,
        temporary: address.is_ipv6() && flags & IFA_F_TEMPORARY != 0,
    })
}

fn route(kind: u16, message: &[u8]) -> Option<Route> {
    if kind != RTM_NEWROUTE {
        return None;
    }
    let (mut link, mut source, mut mtu) = (0, None, None);
    for (kind, content) in attributes(message.get(RTMSG..)?) {
        match kind {
            RTA_OIF => link = number(content)?,
            RTA_PREFSRC => source = ip(content),
            RTA_METRICS => {
                mtu =
                    attributes(content).find(|(kind, _)| *kind == RTAX_MTU).and_then(|(_, mtu)| number(mtu));
            }
            _ => {}
        }
    }
    Some(Route { link, source, mtu })
}

fn number(content: &[u8]) -> Option<u32> {
    content.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn text(content: &[u8]) -> String {
    let end = content.iter().position(|byte| *byte == 0).unwrap_or(content.len());
    String::from_utf8_lossy(content.get(..end).unwrap_or_default()).into_owned()
}

fn ip(content: &[u8]) -> Option<IpAddr> {
    match content.len() {
        4 => content.first_chunk::<4>().map(|octets| IpAddr::V4(Ipv4Addr::from(*octets))),
        16 => content.first_chunk::<16>().map(|octets| IpAddr::V6(Ipv6Addr::from(*octets))),
        _ => None,
    }
}

/// The kernel answers in pieces of 32 KiB at most; one link of a network card with many virtual functions can fill one.
const LARGEST_ANSWER: usize = 1 << 16;

/// Number of times that the kernel is asked. If the links change during each answer, the last one is an error.
const MOST_TRIES: u32 = 20;

// linux/netlink.h
const HEADER: usize = 16;
const ALIGNMENT: usize = 4;
const ATTRIBUTE_HEADER: usize = 4;
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

// linux/rtnetlink.h: kinds of messages, sizes of their fixed parts, attributes of routes
const RTM_NEWLINK: u16 = 16;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const IFINFOMSG: usize = 16;
const IFADDRMSG: usize = 8;
const RTMSG: usize = 12;
const RTM_F_FIB_MATCH: u32 = 0x2000;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTAX_MTU: u16 = 2;

// linux/if.h, linux/if_link.h, linux/if_addr.h, linux/socket.h
const IFF_UP: u32 = 1;
const IFF_LOOPBACK: u32 = 8;
const IFF_MULTICAST: u32 = 0x1000;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_FLAGS: u16 = 8;
const IFA_F_TEMPORARY: u32 = 0x01;
const IFA_F_OPTIMISTIC: u32 = 0x04;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_DEPRECATED: u32 = 0x20;
const IFA_F_TENTATIVE: u32 = 0x40;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_tells_loopback_its_address_and_the_way_there() {
        let mut netlink = Netlink::open().unwrap();
        let links = netlink.links().unwrap();
        let lo = links.iter().find(|link| link.name == "lo").unwrap();
        assert!(lo.up && lo.loopback && lo.mtu >= 1_500, "{lo:?}");
        let here: IpAddr = "127.0.0.1".parse().unwrap();
        let addresses = netlink.addresses().unwrap();
        let held = addresses.iter().find(|held| held.address == here).unwrap();
        assert!(held.link == lo.index && held.usable && !held.deprecated, "{held:?}");
        let route = netlink.route(here, None).unwrap();
        assert_eq!((route.link, route.source), (lo.index, Some(here)));
    }

    /// A message of the kernel's, padded as it pads.
    fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + body.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
        bytes.extend([sequence.to_ne_bytes(), [0; 4]].concat());
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes
    }

    #[test]
    fn interrupted_or_failed_answer_is_told_from_a_whole_one() {
        let entry = |flags| message(RTM_NEWLINK, flags, 7, &[0; IFINFOMSG]);
        let done = |flags, code: i32| message(NLMSG_DONE, flags, 7, &code.to_ne_bytes());
        let read = |parts: &[Vec<u8>]| {
            let (mut answer, mut count) = (Answer::Whole, 0);
            let last = read_part(&parts.concat(), 7, true, &mut answer, &mut |_, _| count += 1);
            (last.map_err(|error| error.raw_os_error()), answer, count)
        };
        assert_eq!(read(&[entry(2), entry(2)]), (Ok(false), Answer::Whole, 2));
        assert_eq!(read(&[entry(2), done(2, 0)]), (Ok(true), Answer::Whole, 1));
        assert_eq!(read(&[entry(2 | NLM_F_DUMP_INTR), done(2, 0)]), (Ok(true), Answer::Interrupted, 1));
        assert_eq!(read(&[entry(2), done(2 | NLM_F_DUMP_INTR, 0)]), (Ok(true), Answer::Interrupted, 1));
        let no_memory = Errno::NOMEM.raw_os_error();
        assert_eq!(read(&[entry(2), done(2, -no_memory)]), (Err(Some(no_memory)), Answer::Whole, 1));
        // The rest of an answer to an earlier request says nothing of this one.
        let stale = message(NLMSG_DONE, NLM_F_DUMP_INTR, 6, &[0; 4]);
        assert_eq!(read(&[stale, entry(2)]), (Ok(false), Answer::Whole, 1));
    }

    #[test]
    fn messages_that_lie_about_their_length_are_read_to_their_end_and_no_further() {
        let mut message = vec![0; IFINFOMSG];
        put(&mut message, IFLA_IFNAME, b"eth0\0");
        put(&mut message, IFLA_MTU, &1_500_u32.to_ne_bytes());
        for length in 0..message.len() {
            let cut = link(RTM_NEWLINK, &message[..length]);
            assert!(cut.is_none_or(|link| link.mtu == 0), "{length}");
        }
        for byte in IFINFOMSG..message.len() {
            for value in [0, 1, 3, 255] {
                let mut wrong = message.clone();
                wrong[byte] = value;
                let _ = (link(RTM_NEWLINK, &wrong), held(RTM_NEWADDR, &wrong), route(RTM_NEWROUTE, &wrong));
                let _ = split_message(&wrong[byte..]).map(|(_, body, after)| (body.len(), after.len()));
            }
        }
        assert_eq!(link(RTM_NEWLINK, &message).unwrap().name, "eth0");
    }
}
