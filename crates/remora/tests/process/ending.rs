//! How the process drains and ends: signals, the admin endpoint's commands.

use super::*;

#[test]
fn sigterm_ends_an_idle_process_with_status_0() {
    for signal in ["-TERM", "-INT"] {
        let mut proxy = Proxy::start("", &[]);
        proxy.signal(signal);
        assert_eq!(proxy.exit_status().code(), Some(0), "{signal}: {}", proxy.log());
        assert!(proxy.log().contains("exiting"), "{}", proxy.log());
    }
}

#[test]
fn quitquitquit_is_answered_before_the_process_ends() {
    let mut proxy = Proxy::start("", &[]);
    assert_eq!(proxy.post("/quitquitquit"), (200, "OK\n".into()));
    assert_eq!(proxy.exit_status().code(), Some(0));
}

#[test]
fn a_request_in_flight_survives_sigterm() {
    let backend = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut proxy = Proxy::start(
        &listener(backend.local_addr().expect("bound").port()),
        &["--drain-time-s", "20"],
    );
    let address = proxy.listener();
    let client = std::thread::spawn({
        let address = address.clone();
        move || request(&address, "GET", "/slow")
    });
    let (mut upstream, _) = backend.accept().expect("the proxy connects");
    let mut head = [0; 4096];
    let n = upstream.read(&mut head).expect("a request");
    assert!(
        text(&head[..n]).starts_with("GET /slow HTTP/1.1\r\n"),
        "{}",
        text(&head[..n])
    );

    proxy.signal("-TERM");
    proxy.wait_for("draining", || {
        (proxy.get("/ready") == (503, "DRAINING\n".into())).then_some(())
    });
    proxy.wait_for("its port to close", || {
        TcpStream::connect(&address).is_err().then_some(())
    });
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
        .expect("the proxy reads");
    assert_eq!(client.join().expect("no panic"), (200, "hello".into()));
    assert_eq!(proxy.exit_status().code(), Some(0), "{}", proxy.log());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let backend = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut proxy = Proxy::start(&listener(backend.local_addr().expect("bound").port()), &[]);
    let address = proxy.listener();
    let client = std::thread::spawn(move || request(&address, "GET", "/never"));
    let held = backend.accept().expect("the proxy connects");
    proxy.signal("-TERM");
    proxy.wait_for("draining", || (proxy.get("/ready").0 == 503).then_some(()));
    proxy.signal("-TERM");
    assert_eq!(proxy.exit_status().code(), Some(0));
    drop(held);
    client.join().expect("no panic");
}

#[test]
fn listeners_drain_on_request_and_the_process_stays_if_told_so() {
    let mut proxy = Proxy::start(&listener(1), &["--drain-time-s", "1"]);
    let address = proxy.listener();
    assert_eq!(proxy.post("/drain_listeners?graceful&skip_exit"), (200, "OK\n".into()));
    proxy.wait_for("its port to close", || {
        TcpStream::connect(&address).is_err().then_some(())
    });
    assert_eq!(proxy.get("/ready"), (200, "LIVE\n".into()));
    assert!(proxy.child.try_wait().expect("our child").is_none());
}

#[test]
fn a_peer_that_never_answers_holds_no_drain_up_once_it_was_told() {
    let mut proxy = Proxy::start(&listener(1), &["--drain-time-s", "20"]);
    let mut stream = TcpStream::connect(proxy.listener()).expect("it is listened on");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    // The preface and empty SETTINGS (RFC 9113 section 3.4), and not a word after it.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .expect("it is taken");
    stream.read_exact(&mut [0; 9]).expect("its SETTINGS");
    proxy.signal("-TERM");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("GOAWAY, PING, GOAWAY and the end");
    let told = Instant::now();
    assert_eq!(proxy.exit_status().code(), Some(0), "{}", proxy.log());
    // It waited a second more for our end of the connection, which does not come.
    assert!(told.elapsed() < Duration::from_millis(700), "{:?}", told.elapsed());
}
