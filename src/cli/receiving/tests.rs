//! Tests of the receiver's loop, and of what lasts between sessions.

use std::os::unix::net::UnixDatagram;

use super::super::config::{ArchiveConfig, Room};
use super::super::sending;
use super::super::together::{alone, receiver, sender, stream};
use super::*;
use crate::archive::retention::Policy;
use crate::net::socket::tests::free_port;

#[test]
fn service_asks_for_time_once_a_second_until_it_is_ready() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_nonblocking(true).unwrap();
    let requests = || {
        let mut buffer = [0; 64];
        let texts =
            std::iter::from_fn(|| manager.recv(&mut buffer).ok().map(|length| buffer[..length].to_vec()));
        texts.filter(|text| text == b"EXTEND_TIMEOUT_USEC=20000000").count()
    };
    let mut lasting = Receiving { service: Service::at(&socket), ..Receiving::default() };
    for tenths in 0..15 {
        assert!(lasting.is_to_go_on(Time::ZERO + Duration::from_millis(100) * tenths));
    }
    assert_eq!(requests(), 2);
    lasting.service.waiting();
    assert!(lasting.is_to_go_on(Time::ZERO + Duration::from_secs(9)));
    assert_eq!(requests(), 0);
}

#[test]
fn archive_without_room_is_swept_once_an_hour() {
    const NAME: &str = "cli::receiving::tests::archive_without_room_is_swept_once_an_hour";
    if !alone(NAME) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().replace('-', "");
    let draft = directory.path().join(format!(".mcast-{}-1-0.part", &boot[..12]));
    let mut config = receiver(&free_port().to_string(), &directory.path().join("copy"));
    (config.repeat, config.start_timeout) = (true, None);
    config.sinks = vec![SinkConfig::Archive(ArchiveConfig {
        directory: directory.path().to_owned(),
        piece_size: None,
        then: None,
        keep: Policy::default(),
        min_free: Some(Room::Bytes(u64::MAX)),
    })];
    let mut lasting = Receiving::default();
    let mut work = Work::prepare(&config, &mut lasting).unwrap();
    let full = work.clock.now();
    work.look_for_room(&config, full);
    assert!(work.is_full);
    std::fs::create_dir(&draft).unwrap();
    work.look_for_room(&config, full + SWEEP_WHILE_FULL / 2);
    assert!(draft.exists());
    work.look_for_room(&config, full + SWEEP_WHILE_FULL);
    assert!(!draft.exists());
}

#[test]
fn sink_thread_that_dies_ends_the_receiver_with_1_and_the_sender_is_told() {
    const NAME: &str =
        "cli::receiving::tests::sink_thread_that_dies_ends_the_receiver_with_1_and_the_sender_is_told";
    if !alone(NAME) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (file, copy) = (stream(directory.path()), directory.path().join("copy"));
    let (send, recv) = (sender("47133", &file), receiver("47133", &copy));
    let console = Console::start(&recv.output).unwrap();
    let far = console.clone();
    let sender = std::thread::spawn(move || sending::work(&send, &far));
    let mut lasting = Receiving::default();
    let mut work = Work::prepare(&recv, &mut lasting).unwrap();
    work.writer = Writer::start(None, || panic!("this test has it so")).unwrap();
    let failure = work.run(&recv, &console).result.unwrap_err();
    assert_eq!(failure.exit, Exit::Internal);
    assert!(failure.message.contains("sink thread"), "{failure}");
    let sent = sender.join().unwrap();
    assert!(sent.result.is_err());
    let told: Vec<_> = sent.report.receivers.iter().map(|receiver| receiver.exit_code).collect();
    assert_eq!(told, [Exit::Internal.code()]);
    assert!(!copy.exists());
}
