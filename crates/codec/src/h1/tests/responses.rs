//! RFC 9112 sections 4, 6.3 and 9 as a client is to read its server, an honest one and a hostile one.

use super::*;

fn upgrade() -> HeaderBlock {
    with(head("GET", "/"), &[("connection", "upgrade"), ("upgrade", "websocket")])
}

/// A client that has sent a whole request of this method, or an upgrade.
fn asked(what: &str) -> Peer {
    if what != "upgrade" && what != "CONNECT" {
        return Peer::client_after(what);
    }
    let mut client = Peer::client_with(Config::default());
    let mut request = upgrade();
    if what == "CONNECT" {
        request = head("CONNECT", "");
        request.remove_pseudo(KnownName::Path);
        request.set_authority(b"a:443");
    }
    client.request(&request, false);
    client.flush();
    client
}

/// Section 6.3, rule by rule: how long a body is.
#[test]
fn section_6_3_each_rule_in_turn() {
    let interim = || Informational("100".to_owned());
    for (rule, what, response, expected) in [
        (
            "1 HEAD",
            "HEAD",
            "200 OK\r\ncontent-length: 5\r\n",
            vec![got(1, "200|content-length: 5", true), StreamsAvailable],
        ),
        (
            "1 HEAD, chunked",
            "HEAD",
            "200 OK\r\ntransfer-encoding: chunked\r\n",
            vec![got(1, "200", true), StreamsAvailable],
        ),
        (
            "1 HEAD, no length",
            "HEAD",
            "200 OK\r\n",
            vec![got(1, "200", true), StreamsAvailable],
        ),
        ("1 204", "GET", "204 x\r\n", vec![got(1, "204", true), StreamsAvailable]),
        (
            "1 204, chunked",
            "GET",
            "204 x\r\ntransfer-encoding: chunked\r\n",
            vec![got(1, "204", true), StreamsAvailable],
        ),
        (
            "1 304 with a length",
            "GET",
            "304 x\r\ncontent-length: 9\r\n",
            vec![got(1, "304|content-length: 9", true), StreamsAvailable],
        ),
        (
            "1 1xx",
            "GET",
            "100 Continue\r\n\r\nHTTP/1.1 204 x\r\n",
            vec![interim(), got(1, "204", true), StreamsAvailable],
        ),
        (
            "1 1xx with a length",
            "GET",
            "100 x\r\ncontent-length: 9\r\n\r\nHTTP/1.1 204 x\r\n",
            vec![
                Informational("100|content-length: 9".to_owned()),
                got(1, "204", true),
                StreamsAvailable,
            ],
        ),
        (
            "2 CONNECT",
            "CONNECT",
            "200 x\r\ncontent-length: 5\r\n\r\nany number",
            vec![got(1, "200", false), data("any number\r\n", false)],
        ),
        (
            "2 CONNECT, chunked",
            "CONNECT",
            "200 x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n",
            vec![got(1, "200", false), data("5\r\n\r\n", false)],
        ),
        (
            "2 CONNECT refused",
            "CONNECT",
            "403 x\r\ncontent-length: 0\r\n",
            vec![got(1, "403|content-length: 0", true), StreamsAvailable],
        ),
        (
            "4 chunked",
            "GET",
            "200 x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            vec![got(1, "200", false), data("abc", true), StreamsAvailable],
        ),
        (
            "6 a length",
            "GET",
            "200 x\r\ncontent-length: 2\r\n",
            vec![got(1, "200|content-length: 2", false)],
        ),
        (
            "8 until the close",
            "GET",
            "200 x\r\n\r\nall of it",
            vec![got(1, "200", false), data("all of it\r\n", false)],
        ),
        (
            "8 until the close of HTTP/1.0",
            "POST",
            "200 x\r\nconnection: close\r\n\r\nall",
            vec![got(1, "200|connection: close", false), data("all\r\n", false)],
        ),
        (
            "a 205 has a body like any other",
            "GET",
            "205 x\r\ncontent-length: 0\r\n",
            vec![got(1, "205|content-length: 0", true), StreamsAvailable],
        ),
        (
            "an upgrade that is declined",
            "upgrade",
            "200 x\r\ncontent-length: 0\r\n",
            vec![got(1, "200|content-length: 0", true), StreamsAvailable],
        ),
    ] {
        let events = asked(what).accept(format!("HTTP/1.1 {response}\r\n"));
        assert_eq!(events, expected, "{rule}");
    }
}

/// Section 4, and what is no status line.
#[test]
fn section_4_each_status_line() {
    for (line, expected) in [
        ("HTTP/1.1 200 OK", "200"),
        ("HTTP/1.0 200 OK", "200"),
        ("HTTP/1.1 200 ", "200"),
        ("HTTP/1.1 200", "200"),
        ("HTTP/1.1 200 \u{e9}\tand (more)", "200"),
        ("HTTP/1.1 999 x", "999"),
    ] {
        let events = Peer::client_after("GET").accept(format!("{line}\r\ncontent-length: 0\r\n\r\n"));
        assert_eq!(
            events[0],
            got(1, &format!("{expected}|content-length: 0"), true),
            "{line}"
        );
    }
    for (line, refusal) in [
        ("", Refusal::StatusLine),
        (" HTTP/1.1 200 OK", Refusal::StatusLine),
        ("HTTP/1.1\t200 OK", Refusal::Version),
        ("HTTP/1.1 200\tOK", Refusal::StatusLine),
        ("HTTP/1.1 -20 OK", Refusal::StatusLine),
        ("HTTP/1.1 2 0 OK", Refusal::StatusLine),
        ("HTTP/1.1 0200 OK", Refusal::StatusLine),
        ("HTTP/1.1 ", Refusal::StatusLine),
        ("HTTP 200 OK", Refusal::StatusLine),
        ("HTTP/1 200 OK", Refusal::StatusLine),
        ("HTTP/3.0 200 OK", Refusal::VersionNotSupported),
        ("HTTP/0.9 200 OK", Refusal::VersionNotSupported),
        ("GET / HTTP/1.1", Refusal::StatusLine),
    ] {
        assert_eq!(
            Peer::client_after("GET").refuse(format!("{line}\r\n\r\n")),
            refusal,
            "{line:?}"
        );
    }
    // Section 4: control characters are in no reason phrase.
    assert!(
        Peer::client_after("GET")
            .feed(b"HTTP/1.1 200 O\0K\r\ncontent-length: 0\r\n\r\n")
            .1
            .is_some()
    );
}

/// Section 9.2: what a hostile server puts behind a response could be taken for the response to another's request.
#[test]
fn section_9_2_bytes_behind_a_response_end_the_connection() {
    let smuggled = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    for (what, response) in [
        ("HEAD", "200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "204 x\r\n\r\n"),
        ("GET", "204 x\r\ncontent-length: 51\r\n\r\n"),
        ("GET", "304 x\r\ncontent-length: 51\r\n\r\n"),
        ("GET", "200 x\r\ncontent-length: 0\r\n\r\n"),
        ("GET", "200 x\r\ncontent-length: 1\r\n\r\na"),
        ("GET", "200 x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
        (
            "GET",
            "200 x\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nt: 1\r\n\r\n",
        ),
        ("GET", "100 x\r\n\r\nHTTP/1.1 204 x\r\n\r\n"),
    ] {
        // In one piece, and once the response was taken.
        let mut client = asked(what);
        assert_eq!(
            client.refuse(format!("HTTP/1.1 {response}{smuggled}")),
            Refusal::UnsolicitedResponse,
            "{response}"
        );
        assert!(client.connection.is_closed() && client.connection.open_stream().is_err());
        let mut client = asked(what);
        client.accept(format!("HTTP/1.1 {response}"));
        assert_eq!(client.refuse(smuggled), Refusal::UnsolicitedResponse, "{response}");
        // One octet is enough: it may be the first of more.
        let mut client = asked(what);
        client.accept(format!("HTTP/1.1 {response}"));
        assert_eq!(client.refuse("H"), Refusal::UnsolicitedResponse, "{response}");
    }
    // Between the opening of a stream and its request nothing was asked for either.
    let mut client = asked("GET");
    client.accept("HTTP/1.1 204 x\r\n\r\n");
    client.connection.open_stream().unwrap();
    assert_eq!(client.refuse(smuggled), Refusal::UnsolicitedResponse);
}

/// RFC 9110 sections 15.2 and 7.8: interim responses and changes of protocol that nobody asked for.
#[test]
fn rfc_9110_section_15_2_interim_responses_a_hostile_server_sends() {
    for what in ["GET", "HEAD", "CONNECT"] {
        assert_eq!(
            asked(what).refuse("HTTP/1.1 101 x\r\nupgrade: websocket\r\n\r\n"),
            Refusal::UnexpectedUpgrade
        );
    }
    // What follows an interim response is a status line, whatever length it had.
    assert_eq!(
        asked("GET").refuse("HTTP/1.1 103 x\r\ncontent-length: 4\r\n\r\nbody"),
        Refusal::StatusLine
    );
    let flood = "HTTP/1.1 103 x\r\nlink: a\r\n\r\n".repeat(101);
    assert_eq!(asked("GET").refuse(flood), Refusal::TooManyInformational);
    // After the final response there is none.
    assert_eq!(
        asked("GET").refuse("HTTP/1.1 204 x\r\n\r\nHTTP/1.1 103 x\r\n\r\n"),
        Refusal::UnsolicitedResponse
    );
}

/// Section 9.3: one exchange after the other, and each response belongs to the request before it.
#[test]
fn section_9_3_many_exchanges_on_one_connection() {
    let mut client = Peer::client_with(Config::default());
    for n in 0..50_u32 {
        let stream = 2 * n + 1;
        let method = ["GET", "HEAD", "POST"][n as usize % 3];
        assert_eq!(client.request(&head(method, "/"), true), StreamId(stream));
        client.flush();
        let (response, expected) = match n % 5 {
            0 => ("204 x\r\n\r\n".to_owned(), got(stream, "204", true)),
            1 => (
                "304 x\r\ncontent-length: 7\r\n\r\n".to_owned(),
                got(stream, "304|content-length: 7", true),
            ),
            _ => (
                format!("200 x\r\nx-n: {n}\r\ncontent-length: 0\r\n\r\n"),
                got(stream, &format!("200|x-n: {n}|content-length: 0"), true),
            ),
        };
        // In two pieces at a place that moves.
        let response = format!("HTTP/1.1 {response}");
        let (first, second) = response.split_at(n as usize % response.len());
        let mut events = client.accept(first);
        events.extend(client.accept(second));
        assert_eq!(events, [expected, StreamsAvailable], "{n}");
    }
}

/// Section 9.5: a server that closes, at each point of an exchange.
#[test]
fn section_9_5_a_close_ends_what_has_no_other_end_and_nothing_else() {
    for (response, expected) in [
        ("", Reset { refused: false }),
        ("HTTP/1.1 100 x\r\n\r\n", Reset { refused: false }),
        ("HTTP/1.1 200 x\r\n", Reset { refused: false }),
        ("HTTP/1.1 200 x\r\n\r\n", data("", true)),
        ("HTTP/1.0 200 x\r\n\r\nabc", data("", true)),
        (
            "HTTP/1.1 200 x\r\ncontent-length: 4\r\n\r\nabc",
            Reset { refused: false },
        ),
        (
            "HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n",
            Reset { refused: false },
        ),
    ] {
        let mut client = asked("GET");
        client.accept(response);
        assert_eq!(client.end_of_input(), [expected], "{response:?}");
    }
    // An idle connection just closes.
    let mut client = asked("GET");
    client.accept("HTTP/1.1 204 x\r\n\r\n");
    assert!(client.end_of_input().is_empty() && client.connection.is_closed());
}

/// Credit that a consumer never gives back, because it gave up, is no loss for the exchanges after it.
#[test]
fn bodies_nobody_passed_on_do_not_stop_later_exchanges() {
    let config = || Config {
        credit_window: 100,
        ..Config::default()
    };
    let mut server = Peer::server_with(config());
    for n in 0..20 {
        let stream = 2 * n + 1;
        assert!(server.connection.wants_read(), "exchange {n}");
        let events = server.accept(format!(
            "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 60\r\n\r\n{}",
            "x".repeat(60)
        ));
        assert_eq!(events.len(), 2);
        server.respond(stream, &status(503, &[]), b"");
        server.connection.reset(StreamId(stream), ErrorCode::NO_ERROR);
        server.flush();
    }
    let mut client = Peer::client_with(config());
    for n in 0..20 {
        client.request(&head("GET", "/"), true);
        client.flush();
        client.accept(format!(
            "HTTP/1.1 200 x\r\ncontent-length: 60\r\n\r\n{}",
            "x".repeat(60)
        ));
        assert!(client.connection.wants_read(), "exchange {n}");
    }
    // Late credit of an exchange that is over is not taken for that of the next.
    client.request(&head("GET", "/"), true);
    client.accept(format!(
        "HTTP/1.1 200 x\r\ncontent-length: 200\r\n\r\n{}",
        "x".repeat(100)
    ));
    assert!(!client.connection.wants_read());
    client.connection.release_credit(StreamId(1), 60);
    assert!(!client.connection.wants_read());
    client.connection.release_credit(StreamId(41), 60);
    assert!(client.connection.wants_read());
}
