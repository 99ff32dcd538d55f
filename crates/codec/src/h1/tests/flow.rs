//! Back-pressure both ways, and memory.

use super::*;

const GET: &str = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";

#[test]
fn a_body_that_nobody_passes_on_stops_the_reading() {
    let mut server = Peer::server_with(Config {
        credit_window: 10,
        ..Config::default()
    });
    server.accept("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\n123456789");
    assert!(server.connection.wants_read());
    server.accept("0");
    assert!(!server.connection.wants_read());
    server.connection.release_credit(StreamId(1), 1);
    assert!(server.connection.wants_read());
}

#[test]
fn queued_input_obeys_the_credit_window_too() {
    let mut server = Peer::server_with(Config {
        credit_window: 10,
        ..Config::default()
    });
    let body = "x".repeat(30);
    server.accept(format!(
        "{GET}POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 30\r\n\r\n{}",
        &body[..20]
    ));
    server.respond(1, &status(200, &[]), b"");
    let events = server.accept("");
    assert_eq!(events[1], data(&body[..20], false));
    assert!(!server.connection.wants_read());
    server.connection.release_credit(StreamId(3), 20);
    assert!(server.connection.wants_read());
    assert_eq!(server.accept(&body[20..]), [data(&body[20..], true)]);
}

#[test]
fn data_over_the_cap_is_taken_and_reported_as_it_leaves() {
    let mut server = Peer::server_with(Config {
        output_cap: 100,
        ..Config::default()
    });
    server.accept(GET);
    let stream = StreamId(1);
    server
        .connection
        .send_head(stream, &status(200, &[("content-length", "300")]), false)
        .unwrap();
    let head = server.flush().len();
    assert!(head > 0);
    assert_eq!(server.connection.send_data(stream, &[b'x'; 80], false), Ok(80));
    assert_eq!(server.connection.send_data(stream, &[b'y'; 80], false), Ok(20));
    assert_eq!(server.connection.send_data(stream, &[b'z'; 140], true), Ok(0));
    assert_eq!(server.connection.queued_bytes(), 200);
    // The message is written, but its source still waits: the next request has to, too.
    server.accept(GET);
    assert!(!server.connection.wants_receive());
    assert_eq!(server.connection.active_streams(), 1);
    server.flush_some(150);
    assert_eq!(server.next_events(), [Sent(150)]);
    server.flush();
    assert_eq!(server.next_events(), [Sent(50)]);
    assert_eq!(server.connection.queued_bytes(), 0);
    assert!(server.connection.wants_receive());
    assert_eq!(server.accept(""), [got(3, "GET http://a/", true)]);
}

#[test]
fn an_idle_connection_holds_next_to_nothing() {
    let mut server = Peer::server();
    assert_eq!(server.connection.heap_bytes(), 0);
    server.accept(format!("{GET}{GET}"));
    server.respond(1, &status(200, &[]), b"body");
    server.accept("");
    server.respond(3, &status(200, &[]), b"body");
    server.flush();
    assert_eq!(server.connection.heap_bytes(), 0);
    assert!(size_of::<Connection>() <= 640, "{}", size_of::<Connection>());
}

#[test]
fn output_is_counted() {
    let mut server = Peer::server();
    server.accept(GET);
    server.respond(1, &status(204, &[]), b"");
    let total = server.connection.output_total();
    assert_eq!(total, "HTTP/1.1 204 No Content\r\n\r\n".len() as u64);
    server.flush_some(5);
    assert_eq!(
        (server.connection.output_flushed(), server.connection.output_total()),
        (5, total)
    );
    assert!(server.connection.wants_write());
    server.flush();
    assert!(!server.connection.wants_write());
}

#[test]
fn tags_belong_to_their_stream() {
    let mut server = Peer::server();
    server.accept(GET);
    server.connection.set_tag(StreamId(1), 7);
    assert_eq!(
        (server.connection.tag(StreamId(1)), server.connection.tag(StreamId(3))),
        (7, 0)
    );
    server.respond(1, &status(204, &[]), b"");
    server.accept(GET);
    assert_eq!(server.connection.tag(StreamId(3)), 0);
}

#[test]
fn streams_that_are_not_current_are_refused() {
    let mut server = Peer::server();
    assert_eq!(
        server.connection.send_head(StreamId(1), &status(200, &[]), true),
        Err(SendError::StreamGone)
    );
    server.accept(GET);
    assert_eq!(
        server.connection.send_data(StreamId(1), b"x", true),
        Err(SendError::OutOfOrder)
    );
    assert_eq!(
        server.connection.send_trailers(StreamId(1), &HeaderBlock::new()),
        Err(SendError::OutOfOrder)
    );
    server
        .connection
        .send_head(StreamId(1), &status(200, &[]), false)
        .unwrap();
    assert_eq!(
        server.connection.send_head(StreamId(1), &status(200, &[]), false),
        Err(SendError::OutOfOrder)
    );
}
