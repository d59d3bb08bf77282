use std::time::Duration;

use bytes::BytesMut;

use super::*;
use crate::{Frame, KEEPALIVE_INTERVAL, ReceiveLimits, fuzz_entry};

const SYN_3: &[u8] = &[1, 0, 0, 0, 3, 0, 0, 0];
const FIN_3: &[u8] = &[1, 1, 0, 0, 3, 0, 0, 0];
const PSH_3_HELLO: &[u8] = b"\x01\x02\x05\x00\x03\x00\x00\x00hello";

#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; no test depends on its value"
)]
fn start() -> Instant {
    Instant::now()
}

fn mux_with(role: Role, config: Config) -> Mux {
    Mux::new(role, config, start()).unwrap()
}

fn client() -> Mux {
    mux_with(Role::Client, Config::default())
}

fn server() -> Mux {
    mux_with(Role::Server, Config::default())
}

fn id(number: u32) -> StreamId {
    StreamId::from(number)
}

fn sent(mux: &mut Mux, limit: usize) -> Vec<u8> {
    let mut out = BytesMut::new();
    assert_eq!(mux.transmit(&mut out, limit, start()), out.len());
    mux.assert_consistent();
    out.to_vec()
}

fn frames(mux: &mut Mux, limit: usize) -> Vec<Frame> {
    let mut wire = Bytes::from(sent(mux, limit));
    let frames = std::iter::from_fn(|| Frame::decode(&mut wire).unwrap()).collect();
    assert!(wire.is_empty());
    frames
}

fn feed(mux: &mut Mux, wire: &[u8]) -> Vec<Event> {
    mux.handle_input(Bytes::copy_from_slice(wire), start()).unwrap();
    events(mux)
}

fn feed_frames(mux: &mut Mux, frames: &[Frame]) -> Vec<Event> {
    let mut wire = BytesMut::new();
    frames.iter().for_each(|frame| frame.encode(&mut wire));
    feed(mux, &wire)
}

fn events(mux: &mut Mux) -> Vec<Event> {
    mux.assert_consistent();
    std::iter::from_fn(|| match mux.poll_output() {
        Output::Event(event) => Some(event),
        Output::Timeout(_) => None,
    })
    .collect()
}

fn write(mux: &mut Mux, id: StreamId, bytes: usize) -> usize {
    mux.write(id, &mut Bytes::from(vec![id.as_u32().to_le_bytes()[0]; bytes])).unwrap()
}

fn psh(number: u32, bytes: usize) -> Frame {
    Frame::Psh(id(number), Bytes::from(vec![number.to_le_bytes()[0]; bytes]))
}

#[test]
fn a_client_writes_the_known_bytes() {
    let mut mux = client();
    let id = mux.open().unwrap();
    mux.write(id, &mut Bytes::from_static(b"hello")).unwrap();
    mux.finish(id);
    assert_eq!(mux.pending_bytes(), 8 + 5);
    assert_eq!(sent(&mut mux, 1024), [SYN_3, PSH_3_HELLO, FIN_3].concat());
    assert!(!mux.has_pending());
    assert_eq!(events(&mut mux), []);
}

#[test]
fn a_server_reads_the_known_bytes_at_any_cut() {
    let wire = [SYN_3, PSH_3_HELLO, FIN_3].concat();
    for cut in 0..=wire.len() {
        let mut mux = server();
        let mut seen = feed(&mut mux, &wire[..cut]);
        seen.extend(feed(&mut mux, &wire[cut..]));
        assert_eq!(seen, [Event::Opened(id(3)), Event::Readable(id(3))], "cut at {cut}");
        let mut read = Vec::new();
        while let Some(data) = mux.read(id(3)) {
            read.extend_from_slice(&data);
        }
        assert_eq!(read, b"hello");
        assert_eq!(events(&mut mux), [Event::RemoteFinished(id(3))]);
        mux.finish(id(3));
        assert_eq!(events(&mut mux), [Event::Closed(id(3))]);
        assert_eq!(sent(&mut mux, 1024), FIN_3);
    }
}

#[test]
fn payload_can_be_read_before_its_frame_is_complete_and_is_not_copied() {
    let mut mux = server();
    let wire = Bytes::from([SYN_3, PSH_3_HELLO].concat());
    let part = wire.slice(..wire.len() - 2);
    mux.handle_input(part.clone(), start()).unwrap();
    let data = mux.read(id(3)).unwrap();
    assert_eq!(data, "hel");
    assert_eq!(data.as_ptr(), part[16..].as_ptr());
}

#[test]
fn ids_are_odd_begin_at_three_and_end() {
    let mut mux = client();
    assert_eq!([mux.open().unwrap(), mux.open().unwrap(), mux.open().unwrap()], [id(3), id(5), id(7)]);
    mux.next_id = Some(u32::MAX - 2);
    assert_eq!(mux.open(), Ok(id(u32::MAX - 2)));
    assert_eq!(mux.open(), Ok(id(u32::MAX)));
    assert_eq!(mux.open(), Err(OpenError::IdsExhausted));
    assert_eq!(server().open(), Err(OpenError::NotClient));
}

#[test]
fn what_the_go_implementation_ignores_is_ignored() {
    let mut mux = server();
    feed_frames(&mut mux, &[Frame::Syn(id(3))]);
    let ignored = [Frame::Syn(id(3)), psh(3, 0), psh(9, 10), Frame::Fin(id(9)), Frame::Nop, psh(3, 0)];
    assert_eq!(feed_frames(&mut mux, &ignored), []);
    assert_eq!((mux.total_unread(), mux.stream_count()), (0, 1));

    let mut mux = client();
    assert_eq!(feed_frames(&mut mux, &[Frame::Syn(id(2)), psh(2, 10)]), []);
    assert_eq!((mux.total_unread(), mux.stream_count()), (0, 0));
}

#[test]
fn a_protocol_error_stays_but_what_came_before_is_readable() {
    let mut mux = client();
    let stream = mux.open().unwrap();
    let mut wire = BytesMut::from(PSH_3_HELLO);
    wire.extend_from_slice(&[1, 4, 8, 0, 3, 0, 0, 0]);
    let error = Err(ProtocolError::UnknownCommand(4));
    assert_eq!(mux.handle_input(wire.freeze(), start()), error);
    assert_eq!(mux.handle_input(Bytes::from_static(PSH_3_HELLO), start()), error);
    assert!(!mux.wants_input());
    assert_eq!(mux.open(), Err(OpenError::Failed));
    assert_eq!(events(&mut mux), [Event::Readable(stream)]);
    assert_eq!(mux.read(stream).unwrap(), "hello");
    assert_eq!(mux.read(stream), None);
}

#[test]
fn more_syns_at_once_than_the_backlog_are_an_error() {
    let mut mux = mux_with(Role::Server, Config { accept_backlog: 2, ..Config::default() });
    assert_eq!(feed_frames(&mut mux, &[Frame::Syn(id(3)), Frame::Syn(id(5))]).len(), 2);
    assert_eq!(feed_frames(&mut mux, &[Frame::Syn(id(7)), Frame::Syn(id(9))]).len(), 2);
    let mut wire = BytesMut::new();
    [11, 13, 15].iter().for_each(|&number| Frame::Syn(id(number)).encode(&mut wire));
    assert_eq!(mux.handle_input(wire.freeze(), start()), Err(ProtocolError::AcceptBacklogFull(2)));
}

#[test]
fn readable_is_told_once_until_everything_was_read() {
    let mut mux = client();
    let stream = mux.open().unwrap();
    assert_eq!(feed_frames(&mut mux, &[psh(3, 600), psh(3, 600)]), [Event::Readable(stream)]);
    assert!(mux.read(stream).is_some());
    assert_eq!(feed_frames(&mut mux, &[psh(3, 600)]), []);
    while mux.read(stream).is_some() {}
    assert_eq!(feed_frames(&mut mux, &[psh(3, 1)]), [Event::Readable(stream)]);
}

#[test]
fn writable_follows_a_full_buffer_when_half_of_it_has_left() {
    let config = Config { frame_payload: 1000, stream_send_buffer: 4000, ..Config::default() };
    let mut mux = mux_with(Role::Client, config);
    let stream = mux.open().unwrap();
    let mut data = Bytes::from(vec![1; 5000]);
    assert_eq!(mux.write(stream, &mut data), Ok(4000));
    assert_eq!((data.len(), mux.writable(stream)), (1000, 0));
    assert_eq!(mux.write(stream, &mut data), Ok(0));
    sent(&mut mux, 8 + 1008);
    assert_eq!(events(&mut mux), []);
    sent(&mut mux, 1008);
    assert_eq!(events(&mut mux), [Event::Writable(stream)]);
    sent(&mut mux, 1008);
    assert_eq!(events(&mut mux), []);
    // Filling it exactly counts as full.
    assert_eq!(write(&mut mux, stream, 3000), 3000);
    sent(&mut mux, 16 * 1024);
    assert_eq!(events(&mut mux), [Event::Writable(stream)]);
}

#[test]
fn a_remote_fin_drops_what_is_queued_and_fails_writes_at_once() {
    let mut mux = client();
    let stream = mux.open().unwrap();
    sent(&mut mux, 1024);
    let full = Config::default().stream_send_buffer;
    assert_eq!(write(&mut mux, stream, full + 1), full);
    assert_eq!(
        feed_frames(&mut mux, &[psh(3, 10), Frame::Fin(stream)]),
        [Event::Readable(stream), Event::Writable(stream)]
    );
    assert!(!mux.has_pending());
    let late = mux.write(stream, &mut Bytes::from_static(b"late"));
    assert_eq!(late, Err(StreamError::RemoteFinished(stream)));
    assert_eq!(mux.writable(stream), 0);
    assert_eq!(mux.read(stream).map(|data| data.len()), Some(10));
    assert_eq!(events(&mut mux), [Event::RemoteFinished(stream)]);
    assert_eq!(feed_frames(&mut mux, &[psh(3, 10), Frame::Fin(stream)]), []);
    mux.finish(stream);
    assert_eq!(events(&mut mux), [Event::Closed(stream)]);
    assert_eq!(mux.write(stream, &mut Bytes::new()), Err(StreamError::Unknown(stream)));
    assert_eq!(sent(&mut mux, 1024), FIN_3);
}

#[test]
fn reading_goes_on_after_finish() {
    let mut mux = client();
    let stream = mux.open().unwrap();
    write(&mut mux, stream, 100);
    mux.finish(stream);
    mux.finish(stream);
    let refused = mux.write(stream, &mut Bytes::from_static(b"more"));
    assert_eq!(refused, Err(StreamError::Finished(stream)));
    assert_eq!(frames(&mut mux, 90), [Frame::Syn(stream), psh(3, 74)]);
    assert_eq!(frames(&mut mux, 1024), [psh(3, 26), Frame::Fin(stream)]);
    assert_eq!(feed_frames(&mut mux, &[psh(3, 10)]), [Event::Readable(stream)]);
    assert!(mux.read(stream).is_some());
    assert_eq!(
        feed_frames(&mut mux, &[Frame::Fin(stream)]),
        [Event::RemoteFinished(stream), Event::Closed(stream)]
    );
}

#[test]
fn abort_before_the_syn_has_left_leaves_no_trace() {
    let mut mux = client();
    let stream = mux.open().unwrap();
    write(&mut mux, stream, 100);
    mux.abort(stream);
    assert_eq!(events(&mut mux), [Event::Closed(stream)]);
    assert!(!mux.has_pending());
    assert_eq!(sent(&mut mux, 1024), []);
}

#[test]
fn abort_drops_both_queues_and_sends_one_fin() {
    let mut mux = client();
    let stream = mux.open().unwrap();
    sent(&mut mux, 1024);
    write(&mut mux, stream, 100);
    mux.handle_input(Bytes::from_static(PSH_3_HELLO), start()).unwrap();
    mux.abort(stream);
    mux.abort(stream);
    assert_eq!(events(&mut mux), [Event::Closed(stream)]);
    assert_eq!((mux.total_unread(), mux.unread(stream)), (0, 0));
    assert_eq!(sent(&mut mux, 1024), FIN_3);
    assert_eq!(feed_frames(&mut mux, &[psh(3, 10), Frame::Fin(stream)]), []);

    let finished = mux.open().unwrap();
    mux.finish(finished);
    assert_eq!(frames(&mut mux, 1024), [Frame::Syn(finished), Frame::Fin(finished)]);
    mux.abort(finished);
    assert!(!mux.has_pending());
}

#[test]
fn an_abandoned_stream_is_over_for_its_owner_and_known_until_the_peers_fin() {
    let mut mux = client();
    let stream = mux.open().unwrap();
    assert!(!mux.is_announced(stream));
    write(&mut mux, stream, 10);
    sent(&mut mux, 1024);
    assert!(mux.is_announced(stream));
    write(&mut mux, stream, 10);
    feed_frames(&mut mux, &[psh(3, 100)]);
    mux.abandon(stream);
    assert_eq!((mux.total_unread(), mux.writable(stream), mux.read(stream)), (0, 0, None));
    assert_eq!(sent(&mut mux, 1024), FIN_3, "what was queued is dropped");
    assert_eq!(feed_frames(&mut mux, &[psh(3, 100)]), [], "what still comes is, too");
    assert_eq!(mux.total_unread(), 0);
    mux.abandon(stream);
    mux.finish(stream);
    assert_eq!(sent(&mut mux, 1024), [0u8; 0], "one FIN");
    assert_eq!(feed(&mut mux, FIN_3), [Event::Closed(stream)]);
    assert_eq!(mux.stream_count(), 0);
}

#[test]
fn abandoning_is_aborting_where_no_fin_can_come() {
    let mut mux = client();
    let unannounced = mux.open().unwrap();
    mux.abandon(unannounced);
    assert_eq!(events(&mut mux), [Event::Closed(unannounced)]);
    assert_eq!(sent(&mut mux, 1024), [0u8; 0]);
    let finished = mux.open().unwrap();
    sent(&mut mux, 1024);
    feed_frames(&mut mux, &[psh(5, 10), Frame::Fin(finished)]);
    mux.abandon(finished);
    assert_eq!(events(&mut mux), [Event::Closed(finished)]);
}

#[test]
fn a_payload_cut_by_abort_does_not_break_the_framing() {
    let mut mux = client();
    let first = mux.open().unwrap();
    let second = mux.open().unwrap();
    feed(&mut mux, &PSH_3_HELLO[..10]);
    mux.abort(first);
    events(&mut mux);
    let mut rest = BytesMut::from(&PSH_3_HELLO[10..]);
    psh(5, 7).encode(&mut rest);
    assert_eq!(feed(&mut mux, &rest), [Event::Readable(second)]);
    assert_eq!(mux.total_unread(), 7);
}

#[test]
fn a_transmission_is_not_filled_up_with_crumbs() {
    let mut mux = client();
    let bulk = mux.open().unwrap();
    sent(&mut mux, 1024);
    write(&mut mux, bulk, 1000);
    mux.queue_nop();
    mux.queue_nop();
    assert_eq!(frames(&mut mux, 8 + 8 + 63), [Frame::Nop]);
    mux.queue_nop();
    assert_eq!(frames(&mut mux, 8 + 8 + 64), [Frame::Nop, psh(3, 64)]);
    assert_eq!(frames(&mut mux, MIN_TRANSMIT), [psh(3, 1)]);
    assert_eq!(frames(&mut mux, MIN_TRANSMIT - 1), []);
}

#[test]
fn unread_bytes_are_counted_and_limits_reported() {
    let receive = ReceiveLimits { stream: 100_000, session: 150_000 };
    let mut mux = mux_with(Role::Client, Config { receive, ..Config::default() });
    let (slow, other) = (mux.open().unwrap(), mux.open().unwrap());
    let (t0, t1) = (start(), start() + Duration::from_secs(1));
    let feed_at = |mux: &mut Mux, number, bytes, now| {
        let mut wire = BytesMut::new();
        psh(number, bytes).encode(&mut wire);
        mux.handle_input(wire.freeze(), now).unwrap();
        mux.assert_consistent();
    };
    feed_at(&mut mux, 3, 100_000, t0);
    assert_eq!(mux.over_limit_streams().count(), 0);
    feed_at(&mut mux, 3, 1, t0);
    feed_at(&mut mux, 3, 1, t1);
    assert_eq!(mux.over_limit_streams().collect::<Vec<_>>(), [OverLimit { id: slow, since: t0 }]);
    assert!(mux.wants_input());
    feed_at(&mut mux, 5, 50_000, t1);
    assert_eq!((mux.total_unread(), mux.unread(other)), (150_002, 50_000));
    assert!(!mux.wants_input());
    assert!(mux.read(slow).is_some());
    assert_eq!(mux.over_limit_streams().count(), 0);
    assert!(mux.wants_input());
    assert_eq!(mux.received(slow), 100_002);
}

#[test]
fn nops_keep_an_idle_connection_alive_and_do_not_pile_up() {
    let t0 = start();
    let config = Config { keepalive: Some(KEEPALIVE_INTERVAL), ..Config::default() };
    let mut mux = Mux::new(Role::Client, config, t0).unwrap();
    let at = |seconds| t0 + Duration::from_secs(seconds);
    assert_eq!(mux.poll_output(), Output::Timeout(Some(at(10))));
    mux.handle_timeout(at(10) - Duration::from_millis(1));
    assert!(!mux.has_pending());
    mux.handle_timeout(at(10));
    mux.handle_timeout(at(20));
    assert_eq!(mux.poll_output(), Output::Timeout(Some(at(30))));
    let mut out = BytesMut::new();
    mux.transmit(&mut out, 1024, at(25));
    assert_eq!(out, &[1, 3, 0, 0, 0, 0, 0, 0][..]);
    assert_eq!(mux.poll_output(), Output::Timeout(Some(at(35))), "whatever is sent counts");

    let mut without = client();
    without.handle_timeout(at(1000));
    assert!(!without.has_pending());
    assert_eq!(without.poll_output(), Output::Timeout(None));
}

#[test]
fn configurations_that_contradict_themselves_are_refused() {
    let base = Config::default();
    let refused = [
        Config { frame_payload: 32_769, ..base.clone() },
        Config { frame_payload: 63, ..base.clone() },
        Config { stream_send_buffer: base.frame_payload - 1, ..base.clone() },
        Config { keepalive: Some(Duration::ZERO), ..base.clone() },
        Config { keepalive: Some(Duration::from_secs(31)), ..base.clone() },
        Config { accept_backlog: 0, ..base.clone() },
        Config { receive: ReceiveLimits { stream: 1000, session: 100_000 }, ..base.clone() },
        Config { receive: ReceiveLimits { stream: 100_000, session: 99_999 }, ..base.clone() },
    ];
    for config in refused {
        assert_eq!(Mux::new(Role::Client, config.clone(), start()).err(), config.validate().err());
        assert!(config.validate().is_err(), "{config:?}");
    }
    assert_eq!(base.validate(), Ok(()));
}

proptest::proptest! {
    #[test]
    fn no_program_breaks_a_promise(program: Vec<u8>) {
        fuzz_entry(&program, start());
    }
}
