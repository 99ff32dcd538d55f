//! Several servers for one stream (gRFC A71).

use super::*;

/// Addresses at which nobody listens until a test does.
async fn unused_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("bound")
}

#[test]
fn the_next_server_is_tried_when_one_cannot_be_reached() {
    both(|delta| async move {
        let mut server = Server::start().await;
        let handle = start(options(delta, &[unused_address().await, server.address]));
        let mut stream = server.accept().await;
        stream.send(CDS, "1", &[fixture("c", &[])]);
        until(&handle, "cds:c").await;
        let status = handle.status();
        assert_eq!(
            status.streams[0].source,
            format!("ads {}", server.address),
            "the one in use"
        );
    });
}

#[test]
fn the_preferred_server_has_its_clients_back_when_it_answers() {
    both(|delta| async move {
        let preferred = unused_address().await;
        let mut other = Server::start().await;
        let handle = start(options(delta, &[preferred, other.address]));
        let mut stream = other.accept().await;
        stream.send(CDS, "7", &[fixture("c", &["eds:e"])]);
        stream.send(LDS, "7", &[]);
        stream.request_of(EDS).await;
        stream.send(EDS, "7", &[fixture("e", &[])]);
        let before = until(&handle, "cds:c eds:e").await;

        let mut server = Server::at(preferred, false).await;
        let mut returned = server.accept().await;
        let asked = returned.request_of(EDS).await;
        assert!(asked.names.contains("e"), "{asked:?}");
        stream.send(CDS, "8", &[fixture("c", &["eds:e"]), fixture("later", &[])]);
        until(&handle, "cds:c cds:later eds:e").await;
        let answer = [fixture("c", &["eds:e"]), fixture("new", &[])];
        returned.send(CDS, "1", &answer);
        if delta {
            // It could not say of the later one that it is gone: it is asked again, and told.
            returned = server.accept().await;
            returned.request_of(EDS).await;
            returned.send(CDS, "1", &answer);
        }
        let expected = if delta {
            "cds:c cds:later cds:new eds:e"
        } else {
            "cds:c cds:new eds:e"
        };
        let after = until(&handle, expected).await;
        assert!(Arc::ptr_eq(&before.clusters["c"], &after.clusters["c"]));
        // The stream to the other server is let go.
        while tokio::time::timeout(SOON, stream.requests.recv())
            .await
            .expect("the stream ends")
            .is_some()
        {}
        returned.send(EDS, "1", &[fixture("e", &[]).revision(1)]);
        while returned.request_of(EDS).await.nonce.is_empty() {}
        assert_eq!(handle.status().streams[0].source, format!("ads {preferred}"));
    });
}

#[test]
fn a_lost_server_is_waited_for_while_everything_is_held() {
    both(|delta| async move {
        let mut preferred = Server::start().await;
        let address = preferred.address;
        let mut other = Server::start().await;
        let handle = start(options(delta, &[address, other.address]));
        let mut stream = preferred.accept().await;
        stream.send(CDS, "1", &[fixture("c", &[])]);
        stream.send(LDS, "1", &[fixture("l", &["cds:c"])]);
        until(&handle, "cds:c lds:l").await;
        preferred.task.abort();
        let _ = preferred.task.await;
        drop(stream);
        // Long enough for many attempts: the back-off of these tests is 20 ms at most.
        let called = tokio::time::timeout(Duration::from_millis(200), other.streams.recv()).await;
        assert!(called.is_err(), "the other server is not needed");
        let mut preferred = Server::at(address, false).await;
        preferred.accept().await;
    });
}
