use super::*;
use crate::session::Peer;
use crate::session::State;
use crate::settings::Validation;
use crate::test_certificates::*;

/// The record layers of both ends of an established session.
fn pair() -> (Box<Traffic>, Box<Traffic>) {
    let authority = Authority::new("mesh");
    let server = server(&downstream(&authority.leaf(&["a.example"]), Validation::None));
    let client = client(&upstream(None, trust(&authority, vec![])));
    let peer = Peer {
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        host: None,
        server_name: None,
        alpn: None,
    };
    let (mut to_server, mut to_client, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let mut left = client.connect(&peer, &mut to_server).unwrap();
    let mut right = server.accept();
    while !to_server.is_empty() || !to_client.is_empty() {
        right
            .read_tls(&std::mem::take(&mut to_server), &mut plain, &mut to_client)
            .unwrap();
        left.read_tls(&std::mem::take(&mut to_client), &mut plain, &mut to_server)
            .unwrap();
    }
    match (left.state, right.state) {
        (State::Established(left), State::Established(right)) => (left, right),
        _ => panic!("the handshake did not end"),
    }
}

fn read(traffic: &mut Traffic, ciphertext: &[u8]) -> (Result<Progress, TlsError>, Vec<u8>, Vec<u8>) {
    let (mut plaintext, mut output) = (Vec::new(), Vec::new());
    let result = traffic.read(ciphertext, &mut plaintext, &mut output);
    (result, plaintext, output)
}

#[test]
fn a_changed_record_is_refused_with_an_alert_and_gives_no_data() {
    let (mut left, mut right) = pair();
    let mut sealed = Vec::new();
    left.write(b"secret", &mut sealed).unwrap();
    let last = sealed.len() - 1;
    sealed[last] ^= 1;
    let (result, plaintext, output) = read(&mut right, &sealed);
    assert_eq!(result.unwrap_err().to_string(), "a record that does not authenticate");
    assert!(plaintext.is_empty());
    let (result, _, _) = read(&mut left, &output);
    assert_eq!(
        result.unwrap_err().to_string(),
        "the peer sent the alert bad_record_mac"
    );
}

#[test]
fn a_replayed_record_is_refused() {
    let (mut left, mut right) = pair();
    let mut sealed = Vec::new();
    left.write(b"once", &mut sealed).unwrap();
    assert_eq!(read(&mut right, &sealed).1, b"once");
    assert!(read(&mut right, &sealed).0.is_err());
}

#[test]
fn keys_change_when_the_peer_asks_and_when_they_are_worn() {
    let (mut left, mut right) = pair();
    // update_requested: the answer is a key update of ours.
    let mut sealed = Vec::new();
    left.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 1], &mut sealed).unwrap();
    let (sequence, secrets) = left.schedule.next_transmit().unwrap();
    left.transmit = Protection::new(sequence, &secrets).unwrap();
    left.write(b"under the new key", &mut sealed).unwrap();
    let (result, plaintext, answer) = read(&mut right, &sealed);
    result.unwrap();
    assert_eq!(plaintext, b"under the new key");
    assert!(!answer.is_empty());
    let mut back = answer;
    right.write(b"and back", &mut back).unwrap();
    assert_eq!(read(&mut left, &back).1, b"and back");

    let mut sealed = Vec::new();
    left.transmit.sequence = RECORDS_PER_KEY - 1;
    right.receive.sequence = RECORDS_PER_KEY - 1;
    left.write(&vec![5; 2 * MAX_FRAGMENT], &mut sealed).unwrap();
    assert_eq!(left.transmit.sequence, 1);
    let (result, plaintext, _) = read(&mut right, &sealed);
    result.unwrap();
    assert_eq!(plaintext, vec![5; 2 * MAX_FRAGMENT]);
}

#[test]
fn a_handshake_message_may_span_records_but_nothing_may_come_between() {
    let (mut left, mut right) = pair();
    let mut sealed = Vec::new();
    left.seal(HANDSHAKE, &[KEY_UPDATE, 0], &mut sealed).unwrap();
    left.seal(HANDSHAKE, &[0, 1, 0], &mut sealed).unwrap();
    read(&mut right, &sealed).0.unwrap();
    let (sequence, secrets) = left.schedule.next_transmit().unwrap();
    left.transmit = Protection::new(sequence, &secrets).unwrap();
    let mut sealed = Vec::new();
    left.seal(HANDSHAKE, &[KEY_UPDATE, 0], &mut sealed).unwrap();
    left.write(b"between", &mut sealed).unwrap();
    let (result, plaintext, _) = read(&mut right, &sealed);
    assert!(result.is_err() && plaintext.is_empty());
}

#[test]
fn what_a_peer_may_not_send_is_refused() {
    let refused = |content_type: u8, content: &[u8]| {
        let (mut left, mut right) = pair();
        let mut sealed = Vec::new();
        left.seal(content_type, content, &mut sealed).unwrap();
        read(&mut right, &sealed).0.unwrap_err().to_string()
    };
    assert_eq!(refused(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 7]), "a malformed key update");
    assert_eq!(
        refused(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0, 1]),
        "data behind a key update"
    );
    assert_eq!(
        refused(HANDSHAKE, &[NEW_SESSION_TICKET, 0, 0, 0]),
        "an unexpected handshake message"
    );
    assert_eq!(refused(HANDSHAKE, &[1, 0, 0, 0]), "an unexpected handshake message");
    assert_eq!(refused(HANDSHAKE, &[]), "a malformed handshake record");
    assert_eq!(refused(ALERT, &[1]), "a malformed alert");
    assert_eq!(refused(ALERT, &[2, 40]), "the peer sent the alert handshake_failure");
    assert_eq!(refused(99, b"x"), "an unexpected record");
    assert_eq!(refused(0, &[0, 0]), "a record without a content type");
    let plain = |record: &[u8]| read(&mut pair().1, record).0.unwrap_err().to_string();
    assert_eq!(
        plain(&[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1]),
        "a ChangeCipherSpec after the handshake"
    );
    assert_eq!(plain(&[ALERT, 3, 3, 0, 2, 1, 0]), "an alert without protection");
    assert_eq!(
        plain(&[APPLICATION_DATA, 3, 3, 0xff, 0xff]),
        "a record that is too long"
    );
    assert_eq!(
        plain(&[
            APPLICATION_DATA,
            3,
            3,
            0,
            16,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0
        ]),
        "a record too short to be protected"
    );
}

#[test]
fn records_without_data_are_limited() {
    let (mut left, mut right) = pair();
    let mut sealed = Vec::new();
    for _ in 0..MAX_IDLE_RECORDS {
        left.seal(APPLICATION_DATA, b"", &mut sealed).unwrap();
    }
    left.write(b"data", &mut sealed).unwrap();
    for _ in 0..=MAX_IDLE_RECORDS {
        left.seal(ALERT, &[1, 90], &mut sealed).unwrap();
    }
    let (result, plaintext, _) = read(&mut right, &sealed);
    assert_eq!(plaintext, b"data");
    assert_eq!(result.unwrap_err().to_string(), "too many records without data");
}

#[test]
fn an_idle_session_holds_no_buffer() {
    let (mut left, mut right) = pair();
    let mut sealed = Vec::new();
    left.write(&vec![1; 100_000], &mut sealed).unwrap();
    for piece in sealed.chunks(7777) {
        read(&mut right, piece).0.unwrap();
    }
    assert_eq!((right.partial.capacity(), right.message.capacity()), (0, 0));
}
