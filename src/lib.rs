//! Multicast backup streams: one dump on the network, verified byte for byte on N hosts.
//!
//! A [`Sender`] takes a stream of bytes in coding blocks and turns it into datagrams for a group; any number of
//! [`Receiver`]s turn those into the stream again, mend what the network lost, and confirm length and digest of the whole.
//! Both are state machines. They open no socket, read no clock, start no thread, draw no randomness, and touch neither
//! source nor sink: they are given datagrams, the time, a seed and blocks, and give back datagrams, a deadline and blocks.
//! [`net`], [`source`], [`sink`], [`command`] and [`cli`] make the programs `mcast-send` and `mcast-recv` of them, [`sim`] plays them
//! over a network in memory. With a key ([`seal`]), all that they say is encrypted and
//! authenticated; without one, whoever can send to the group can disturb a session.
//!
//! # What is guaranteed
//! - What a receiver gives out is always a prefix of what the source gave, in order and without gaps.
//! - [`Event::Verify`] comes once all of it has been given out, and a receiver ends with [`Exit::Complete`] only after it
//!   was told that length and digest agree and that the sink has ended well; a sender only after every receiver that
//!   counts has confirmed that.
//! - Bytes from the network never make it panic, and memory is bounded by the configuration. A panic is our bug, never
//!   bad input.
//! - The same seed, datagrams and times give the same history.
//!
//! # The run loop
//! [`turn()`] drives either machine over any [`Network`]: it hands in what has arrived, lets time pass, and sends, a
//! bounded amount of each. The caller feeds the sender, empties the receiver, and takes the next turn when [`Wake`] says
//! so: at a time, when there is room to send, or when something has arrived. Here the network is two queues, and all
//! share a thread.
//!
//! ```
//! use std::{cell::RefCell, collections::VecDeque, net::SocketAddr, rc::Rc, time::Duration};
//!
//! use mcast::exit::Exit;
//! use mcast::seal::{Accept, Seal};
//! use mcast::session::receiver::{self, Event};
//! use mcast::session::sender::{self, StartRules};
//! use mcast::session::{Endpoint, Network, Origin, Receiver, Sender, Sent, StreamDigest, Transmit, turn};
//! use mcast::time::Time;
//! use mcast::wire::{Label, Name, ReceiverId, SessionId};
//!
//! type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;
//!
//! /// One end of a cable; at the other end is `peer`.
//! struct Port { peer: SocketAddr, arrived: Queue, sent: Queue }
//!
//! impl Network for Port {
//!     fn receive<E: Endpoint>(&mut self, now: Time, endpoint: &mut E) -> bool {
//!         for mut datagram in self.arrived.borrow_mut().drain(..) {
//!             endpoint.handle_datagram(now, Origin::just(now, self.peer), &mut datagram);
//!         }
//!         false
//!     }
//!
//!     fn send(&mut self, transmit: &Transmit<'_>) -> Sent {
//!         self.sent.borrow_mut().extend(transmit.datagrams().map(<[u8]>::to_vec));
//!         Sent::Done
//!     }
//! }
//!
//! let (down, up) = (Queue::default(), Queue::default());
//! let mut at_sender = Port { peer: "192.0.2.2:40000".parse()?, arrived: up.clone(), sent: down.clone() };
//! let mut at_receiver = Port { peer: "192.0.2.1:7767".parse()?, arrived: down, sent: up };
//!
//! let mut now = Time::ZERO;
//! let mut sender = Sender::new(
//!     sender::Config {
//!         label: Label::new("nightly").ok_or("no label")?,
//!         name: None,
//!         session: SessionId([7; 16]), // 128 bits from the system's generator
//!         seed: 1,
//!         start: StartRules {
//!             min_receivers: 1,
//!             max_receivers: None,
//!             require: Vec::new(),
//!             expect: Vec::new(),
//!             min_wait: Duration::ZERO,
//!             max_wait: None,
//!         },
//!         start_timeout: None,
//!         peer_timeout: Duration::from_secs(10),
//!         max_stall: None,
//!         partial_ok: false,
//!         rate: None,
//!         symbol_size: 1_428,
//!         block_symbols: 88,
//!         window: 4,
//!         batch: 44,
//!         overhead: 28,
//!         seal: Seal::Crc,
//!     },
//!     now,
//! );
//! let mut receiver = Receiver::new(
//!     receiver::Config {
//!         id: ReceiverId(1),
//!         name: Name::new("db2").ok_or("no name")?,
//!         expect: None,
//!         over: Vec::new(),
//!         repeats: false,
//!         seed: 2,
//!         start_timeout: None,
//!         peer_timeout: Duration::from_secs(10),
//!         buffer: 1 << 20,
//!         socket_buffer: 1 << 20,
//!         accept: Accept::Crc,
//!     },
//!     now,
//! );
//!
//! let dump: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
//! let (mut rest, mut copy) = (dump.as_slice(), Vec::new());
//! let (mut read, mut written) = (StreamDigest::default(), StreamDigest::default());
//! while sender.ended().is_none() || receiver.ended().is_none() {
//!     // The source: fills blocks while there are any, then says that this was all.
//!     while sender.stream_end().is_none() && let Some(mut block) = sender.poll_buffer() {
//!         let length = block.append(rest);
//!         read.update(&rest[..length]);
//!         rest = &rest[length..];
//!         sender.push_block(block);
//!         if rest.is_empty() {
//!             sender.handle_source_end(read.end());
//!         }
//!     }
//!     turn(&mut sender, &mut at_sender, now);
//!     turn(&mut receiver, &mut at_receiver, now);
//!     // The sink: takes what is complete, compares at the end.
//!     while let Some(block) = receiver.poll_block() {
//!         block.payloads().for_each(|bytes| {
//!             written.update(bytes);
//!             copy.extend_from_slice(bytes);
//!         });
//!         receiver.handle_consumed(now, block);
//!     }
//!     while let Some(event) = receiver.poll_event() {
//!         if let Event::Verify(end) = event {
//!             assert_eq!(end, written.end());
//!             receiver.handle_verified(now);
//!             receiver.handle_sink_done(now);
//!         }
//!     }
//!     now += Duration::from_micros(100); // or sleep until `Wake` says
//! }
//! assert_eq!(sender.ended().map(|ended| ended.exit), Some(Exit::Complete));
//! assert_eq!(receiver.ended().map(|ended| ended.exit), Some(Exit::Complete));
//! assert!(copy == dump);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Sender`]: session::Sender
//! [`Receiver`]: session::Receiver
//! [`turn()`]: session::turn()
//! [`Network`]: session::Network
//! [`Wake`]: session::Wake
//! [`Event::Verify`]: session::receiver::Event::Verify
//! [`Exit::Complete`]: exit::Exit::Complete

pub mod archive;
pub mod cli;
pub mod command;
pub mod disk;
pub mod exit;
pub mod fec;
pub mod net;
pub mod seal;
pub mod session;
pub mod sim;
pub mod sink;
pub mod source;
pub mod time;
pub mod wire;
