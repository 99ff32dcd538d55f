//! CONNECT and upgrades (RFC 9110 sections 7.8 and 9.3.6, RFC 9112 section 3.2.3).

use super::*;

const CONNECT: &str = "CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n";
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";

fn upgrade_head() -> HeaderBlock {
    with(
        head("GET", "/chat"),
        &[("connection", "upgrade"), ("upgrade", "websocket")],
    )
}

#[test]
fn rfc_9112_section_3_2_3_connect_has_an_authority_with_port() {
    assert_eq!(Peer::server().accept(CONNECT), [got(1, "CONNECT a.example:443", false)]);
    for target in ["a.example", "/", "http://a:1/", "a:", ":1", "a:123456", "a:x", "u@a:1"] {
        let refusal = Peer::server().refuse(format!("CONNECT {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        assert_eq!(refusal, Refusal::Target, "{target}");
    }
    let head = "CONNECT a:1 HTTP/1.1\r\nhost: a\r\n";
    assert_eq!(
        Peer::server().refuse(format!("{head}content-length: 1\r\n\r\n")),
        Refusal::ConnectBody
    );
    assert_eq!(
        Peer::server().refuse(format!("{head}transfer-encoding: chunked\r\n\r\n")),
        Refusal::ConnectBody
    );
}

#[test]
fn a_server_tunnels_after_agreeing_to_connect() {
    let mut server = Peer::server();
    server.accept(CONNECT);
    assert_eq!(server.accept("early"), []);
    let head = status(200, &[("content-length", "5")]);
    // What came early would have had to wait for the answer; it belongs to the tunnel now.
    server.connection.send_head(StreamId(1), &head, false).unwrap();
    assert!(server.flush().starts_with("HTTP/1.1 200 OK\n"));
    assert!(server.connection.wants_receive());
    assert_eq!(server.accept(" more"), [data("early more", false)]);
    assert_eq!(server.connection.send_data(StreamId(1), b"answer", true), Ok(6));
    assert_eq!(server.flush(), "answer");
    assert!(server.connection.half_closed() && !server.connection.is_closed());
    assert_eq!(server.accept("still"), [data("still", false)]);
    assert_eq!(server.end_of_input(), [data("", true)]);
    assert!(server.connection.is_closed());
}

#[test]
fn a_server_tunnels_after_switching_protocols() {
    let mut server = Peer::server();
    assert_eq!(
        server.accept(format!("{UPGRADE}\x01")),
        [got(
            1,
            "GET http://a/chat|connection: Upgrade|upgrade: websocket",
            false
        )]
    );
    let head = status(101, &[("upgrade", "websocket"), ("connection", "ignored")]);
    server.connection.send_head(StreamId(1), &head, false).unwrap();
    assert_eq!(
        server.flush(),
        "HTTP/1.1 101 Switching Protocols\nupgrade: websocket\nconnection: upgrade\n\n"
    );
    assert_eq!(server.accept(""), [data("\x01", false)]);
    assert_eq!(
        server.accept("GET / HTTP/1.1\r\n\r\n"),
        [data("GET / HTTP/1.1\r\n\r\n", false)]
    );
    assert_eq!(server.end_of_input(), [data("", true)]);
    assert!(!server.connection.is_closed(), "our side is still open");
    server.connection.send_data(StreamId(1), b"bye", true).unwrap();
    assert_eq!(server.flush(), "bye");
    assert!(server.connection.is_closed());
}

#[test]
fn a_tunnel_that_breaks_after_its_end_is_reset() {
    let mut server = Peer::server();
    server.accept(UPGRADE);
    server
        .connection
        .send_head(StreamId(1), &status(101, &[("upgrade", "websocket")]), false)
        .unwrap();
    assert_eq!(server.end_of_input(), [data("", true)]);
    assert_eq!(server.end_of_input(), [Reset { refused: false }]);
    assert!(server.connection.is_closed());
}

#[test]
fn a_declined_upgrade_goes_on_as_http_unless_the_client_did_not_wait() {
    let mut server = Peer::server();
    server.accept(UPGRADE);
    server.respond(1, &status(200, &[]), b"");
    assert_eq!(server.flush(), "HTTP/1.1 200 OK\ncontent-length: 0\n\n");
    assert_eq!(server.accept("GET / HTTP/1.1\r\nhost: a\r\n\r\n").len(), 1);

    let mut server = Peer::server();
    server.accept(format!("{UPGRADE}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"));
    server.respond(1, &status(200, &[]), b"");
    assert!(server.connection.is_closed() && !server.connection.wants_receive());

    let mut server = Peer::server();
    server.accept(format!("{CONNECT}GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"));
    server.respond(1, &status(403, &[]), b"");
    assert_eq!(
        server.flush(),
        "HTTP/1.1 403 Forbidden\ncontent-length: 0\nconnection: close\n\n"
    );
    assert!(server.connection.is_closed());
}

#[test]
fn an_upgrade_with_a_body_tunnels_behind_it() {
    let mut server = Peer::server();
    let head = "POST / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: x\r\ncontent-length: 2\r\n\r\n";
    assert_eq!(server.accept(format!("{head}hi!")).len(), 2);
    server
        .connection
        .send_head(StreamId(1), &status(101, &[("upgrade", "x")]), false)
        .unwrap();
    assert_eq!(server.accept(""), [data("!", false)]);
}

#[test]
fn only_what_asks_for_an_upgrade_gets_one() {
    // Not named by Connection; h2c, which RFC 9113 took back; HTTP/1.0.
    let h2c = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAA";
    for (version, fields) in [
        ("1.1", "upgrade: websocket"),
        ("1.1", h2c),
        ("1.0", "connection: upgrade\r\nupgrade: x"),
    ] {
        let mut server = Peer::server_with(Config {
            accept_http_10: true,
            ..Config::default()
        });
        let events = server.accept(format!("GET / HTTP/{version}\r\nhost: a\r\n{fields}\r\n\r\n"));
        assert!(matches!(&events[..], [Head(1, _, true)]), "{events:?}");
        let head = status(101, &[("upgrade", "websocket")]);
        assert_eq!(
            server.connection.send_head(StreamId(1), &head, false),
            Err(SendError::InvalidHead)
        );
    }
}

#[test]
fn a_client_tunnels_once_the_server_agrees_and_holds_back_until_then() {
    for (request, line, agreed, response) in [
        (
            upgrade_head(),
            "GET /chat",
            "101|connection: upgrade|upgrade: websocket",
            "101 x\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
        ),
        (
            {
                let mut head = HeaderBlock::new();
                head.set_method(b"CONNECT");
                head.set_authority(b"a:1");
                head
            },
            "CONNECT a:1",
            "200",
            "200 OK\r\ncontent-length: 5\r\n",
        ),
    ] {
        let mut client = Peer::client_with(Config::default());
        let stream = client.request(&request, false);
        assert!(client.flush().starts_with(&format!("{line} HTTP/1.1\nhost: ")));
        assert_eq!(client.connection.send_data(stream, b"early", false), Ok(0));
        assert_eq!(client.flush(), "", "bytes for a tunnel must not be taken for a request");
        let events = client.accept(format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 {response}\r\nwelcome"));
        assert_eq!(
            events,
            [
                Informational("100".to_owned()),
                got(1, agreed, false),
                data("welcome", false)
            ]
        );
        assert_eq!(client.flush(), "early");
        assert_eq!(client.next_events(), [Sent(5)]);
        assert_eq!(client.connection.send_data(stream, b"more", true), Ok(4));
        assert_eq!(client.flush(), "more");
        assert!(client.connection.half_closed());
        assert_eq!(client.end_of_input(), [data("", true)]);
        assert!(client.connection.is_closed());
    }
}

#[test]
fn a_client_drops_what_it_held_when_the_upgrade_is_declined() {
    let mut client = Peer::client_with(Config::default());
    let stream = client.request(&upgrade_head(), false);
    client.flush();
    client
        .connection
        .send_data(stream, b"GET /smuggled HTTP/1.1\r\n\r\n", false)
        .unwrap();
    let events = client.accept("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno");
    assert_eq!(events, [got(1, "200|content-length: 2", false), data("no", true)]);
    assert_eq!(client.flush(), "");
    assert_eq!(client.next_events(), [Sent(26), StreamsAvailable]);
}

#[test]
fn a_client_refuses_a_101_it_did_not_ask_for() {
    let refusal = Peer::client_after("GET").refuse("HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n");
    assert_eq!(refusal, Refusal::UnexpectedUpgrade);
}

#[test]
fn an_extended_connect_is_written_as_an_upgrade() {
    let mut head = head("CONNECT", "/chat");
    head.set_protocol(b"websocket");
    let mut client = Peer::client_with(Config::default());
    client.request(&head, false);
    assert_eq!(
        client.flush(),
        "GET /chat HTTP/1.1\nhost: a.example\nupgrade: websocket\nconnection: upgrade\n\n"
    );
}

#[test]
fn a_declined_connect_does_not_keep_the_client_waiting() {
    let mut client = Peer::client_with(Config::default());
    let mut request = HeaderBlock::new();
    request.set_method(b"CONNECT");
    request.set_authority(b"a:1");
    client.request(&request, false);
    client.flush();
    let events = client.accept("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno");
    assert_eq!(
        events,
        [
            got(1, "403|content-length: 2", false),
            data("no", true),
            StreamsAvailable
        ]
    );
}

#[test]
fn a_raw_connection_carries_bytes_from_the_first() {
    let mut client = Peer::client_with(Config::default());
    client.connection.is_raw = true;
    let stream = client.connection.open_stream().unwrap();
    assert!(client.connection.is_tunnel());
    assert_eq!(client.connection.send_data(stream, b"hello", false), Ok(5));
    assert_eq!(client.flush(), "hello");
    assert_eq!(client.accept("HTTP/1.1 200 OK"), [data("HTTP/1.1 200 OK", false)]);
    assert_eq!(client.end_of_input(), [data("", true)]);
    assert!(!client.connection.is_closed(), "our side is still open");
    client.connection.send_data(stream, b"bye", true).unwrap();
    assert_eq!(client.flush(), "bye");
    assert!(client.connection.is_closed());
}
