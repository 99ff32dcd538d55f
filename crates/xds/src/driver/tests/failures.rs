//! Servers that are slow, silent, unreachable or gone.

use super::*;

#[test]
fn a_server_that_sends_no_headers_before_its_first_response_is_asked_all_the_same() {
    both(|delta| async move {
        let mut server = Server::at("127.0.0.1:0".parse().expect("an address"), true).await;
        let handle = start(options(delta, &[server.address]));
        let mut stream = server.accept().await;
        stream.send(CDS, "1", &[fixture("c", &[])]);
        until(&handle, "cds:c").await;
    });
}

#[test]
fn trap_a_slow_consumer_of_configurations_holds_up_nothing() {
    both(|delta| async move {
        let mut server = Server::start().await;
        let handle = start(options(delta, &[server.address]));
        let mut never_read = handle.configs();
        let mut stream = server.accept().await;
        for version in 0..1000 {
            stream.send(CDS, &version.to_string(), &[fixture("c", &[]).revision(version)]);
        }
        while stream.request_of(CDS).await.nonce != "1000" {}
        assert_eq!(published(&never_read.current()), "cds:c");
    });
}

#[test]
fn a_server_that_accepts_and_says_nothing_is_given_up_on_by_keepalive() {
    both(|delta| async move {
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut options = options(delta, &[silent.local_addr().expect("bound")]);
        options.settings.keepalive = (Duration::from_millis(20), Duration::from_millis(20));
        let _handle = start(options);
        let accept = || tokio::time::timeout(SOON, silent.accept());
        let _first = accept().await.expect("a connection").expect("a socket");
        let _second = accept()
            .await
            .expect("another connection after the first was given up")
            .expect("a socket");
    });
}

#[test]
fn a_server_that_closes_at_once_is_not_hammered() {
    both(|delta| async move {
        let closing = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut options = options(delta, &[closing.local_addr().expect("bound")]);
        options.settings.backoff = (Duration::from_millis(100), Duration::from_secs(30));
        let _handle = start(options);
        let mut connections = 0;
        let counting = async {
            while let Ok((socket, _)) = closing.accept().await {
                connections += 1;
                drop(socket);
            }
        };
        let _ = tokio::time::timeout(Duration::from_millis(500), counting).await;
        assert!((1..20).contains(&connections), "{connections} in half a second");
    });
}

#[test]
fn a_proxy_restarted_while_its_control_plane_is_away_serves_what_it_last_accepted() {
    both(|delta| async move {
        let directory = std::env::temp_dir().join(format!("xds-last-good-{}-{delta}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let with_cache = |address| {
            let mut options = options(delta, &[address]);
            options.node.id = "sidecar".into();
            options.cache_directory = Some(directory.clone());
            options.settings.cache_interval = Duration::from_millis(1);
            options
        };
        let mut server = Server::start().await;
        let address = server.address;
        let first = Client::new(
            with_cache(address),
            Arc::new(FixtureDecoder),
            Arc::new(Dial),
            &Registry::new(1),
        );
        let handle = first.handle();
        let running = tokio::spawn(first.run());
        let mut stream = server.accept().await;
        stream.send(CDS, "1", &[fixture("c", &["eds:e"])]);
        stream.send(LDS, "1", &[fixture("l", &["cds:c"])]);
        stream.request_of(EDS).await;
        stream.send(EDS, "1", &[fixture("e", &[])]);
        until(&handle, "cds:c eds:e lds:l").await;
        let file = directory.join("last-good");
        // The last write may still be under way: the file is complete when it holds the listener and the endpoints.
        let complete = || {
            crate::cache::read(&directory, "sidecar", "")
                .ok()
                .flatten()
                .map(|image| image.resources.len())
        };
        while complete() != Some(3) {
            tokio::task::yield_now().await;
        }
        running.abort();
        server.task.abort();
        let _ = server.task.await;
        drop(stream);

        let handle = start(with_cache(address));
        let mut readiness = handle.readiness();
        readiness
            .wait_for(|readiness| readiness.ready)
            .await
            .expect("the client runs");
        assert!(handle.readiness().borrow().from_cache);
        until(&handle, "cds:c eds:e lds:l").await;

        let mut server = Server::at(address, false).await;
        let mut stream = server.accept().await;
        stream.request_of(LDS).await;
        stream.send(LDS, "2", &[fixture("l", &["cds:c"]), fixture("new", &[])]);
        until(&handle, "cds:c eds:e lds:l lds:new").await;
        assert!(!handle.readiness().borrow().from_cache);
        assert!(file.exists());
        let _ = std::fs::remove_dir_all(&directory);
    });
}
