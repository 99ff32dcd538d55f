//! However input is cut into reads, the events are the same.

use super::*;
use proptest::prelude::*;

/// Events with the data of neighbours joined: where data is cut follows from where the input was.
fn joined(events: Vec<Seen>) -> Vec<Seen> {
    let mut joined: Vec<Seen> = Vec::new();
    for event in events {
        match (joined.last_mut(), event) {
            (Some(Data(before, end @ false)), Data(more, now_end)) => {
                before.extend(more);
                *end = now_end;
            }
            (_, event) => joined.push(event),
        }
    }
    joined
}

/// Everything a server makes of `input` given in pieces of these lengths, answering each request when it is complete.
fn served(input: &[u8], pieces: &[usize]) -> (Vec<Seen>, Option<ConnectionError>, String) {
    let mut server = Peer::server();
    let mut events = Vec::new();
    let mut error = None;
    let mut rest = input;
    let mut pieces = pieces.iter().cycle();
    while error.is_none() && (!rest.is_empty() || server.connection.wants_receive()) {
        let length = (*pieces.next().unwrap()).min(rest.len());
        let piece = if server.connection.wants_receive() {
            &[][..]
        } else {
            &rest[..length]
        };
        rest = &rest[piece.len()..];
        let (more, refused) = server.feed(piece);
        error = refused;
        for event in &more {
            if matches!(event, Head(_, _, true) | Data(_, true) | Trailers(_)) && refused.is_none() {
                let stream = server.connection.exchange.stream;
                server.connection.send_head(stream, &status(200, &[]), true).unwrap();
            }
        }
        events.extend(more);
    }
    events.extend(server.end_of_input());
    (joined(events), error, server.flush())
}

/// Everything a client makes of responses to GET.
fn received(input: &[u8], pieces: &[usize]) -> (Vec<Seen>, Option<ConnectionError>) {
    let mut client = Peer::client_after("GET");
    let mut events = Vec::new();
    let mut rest = input;
    let mut pieces = pieces.iter().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*pieces.next().unwrap()).min(rest.len()));
        rest = after;
        let (more, error) = client.feed(piece);
        events.extend(more);
        if error.is_some() {
            return (joined(events), error);
        }
    }
    events.extend(client.end_of_input());
    (joined(events), None)
}

fn request() -> impl Strategy<Value = String> {
    let fields = proptest::collection::vec("[A-Za-z-]{1,12}: [ -~]{0,30}", 0..5);
    let body = prop_oneof![
        3 => Just(String::from("\r\n")),
        2 => "[ -~\r\n]{1,40}".prop_map(|body| format!("Content-Length: {}\r\n\r\n{body}", body.len())),
        3 => (proptest::collection::vec("[ -~]{1,20}", 0..4), prop_oneof![Just(""), Just("x: y\r\n"), Just("Sum: 1\r\nb: c\r\n")])
            .prop_map(|(chunks, trailers)| {
                let chunks: String = chunks.iter().map(|chunk| format!("{:x};e\r\n{chunk}\r\n", chunk.len())).collect();
                format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n{trailers}\r\n")
            }),
        1 => Just(String::from("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n")),
        1 => Just(String::from(" fold\r\n\r\n")),
        1 => Just(String::from("Transfer-Encoding: chunked\r\n\r\nzz\r\n")),
        1 => Just(String::from("x: y\nz: a\r\n\r\n")),
    ];
    (prop_oneof![Just("GET"), Just("POST"), Just("HEAD")], fields, body).prop_map(|(method, fields, body)| {
        // Fields that would change the framing are another test's business.
        let fields: String = fields
            .iter()
            .filter(|field| {
                !["host", "te", "upgrade", "connection"]
                    .iter()
                    .any(|name| field.to_lowercase().starts_with(name))
            })
            .map(|field| format!("{field}\r\n"))
            .collect();
        format!("{method} /p HTTP/1.1\r\nHost: a\r\n{fields}{body}")
    })
}

fn response() -> impl Strategy<Value = String> {
    let interim = prop_oneof![
        Just(""),
        Just("HTTP/1.1 100 Continue\r\n\r\n"),
        Just("HTTP/1.1 103 x\r\nlink: y\r\n\r\n")
    ];
    let body = prop_oneof![
        "[ -~]{0,40}".prop_map(|body| format!("200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())),
        "[ -~]{0,40}".prop_map(|body| format!("200 OK\r\n\r\n{body}")),
        "[ -~]{1,40}".prop_map(|body| format!(
            "200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\nx: y\r\n\r\n",
            body.len()
        )),
        Just(String::from("204 No Content\r\n\r\n")),
        Just(String::from("200 OK\r\nTransfer-Encoding: gzip\r\n\r\n")),
        "[ -~\r\n]{0,40}",
    ];
    (interim, body).prop_map(|(interim, body)| format!("{interim}HTTP/1.1 {body}"))
}

proptest! {
    #[test]
    fn a_server_sees_the_same_requests_however_they_arrive(
        requests in proptest::collection::vec(request(), 1..4),
        pieces in proptest::collection::vec(1..60usize, 1..8),
    ) {
        let input = requests.concat();
        let whole = served(input.as_bytes(), &[input.len()]);
        prop_assert_eq!(&served(input.as_bytes(), &[1]), &whole);
        prop_assert_eq!(&served(input.as_bytes(), &pieces), &whole);
    }

    #[test]
    fn a_client_sees_the_same_response_however_it_arrives(
        response in response(),
        pieces in proptest::collection::vec(1..60usize, 1..8),
    ) {
        let whole = received(response.as_bytes(), &[response.len().max(1)]);
        prop_assert_eq!(&received(response.as_bytes(), &[1]), &whole);
        prop_assert_eq!(&received(response.as_bytes(), &pieces), &whole);
    }
}
