//! A control plane that dies again and again under traffic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use e2e::dynamic::{set_mesh, start};
use e2e::proxy::Kind;
use testkit::backend::Backend;
use testkit::http1::Client;
use testkit::{Directory, ManagementServer, ports, wait_until};

/// How often it dies.
const DEATHS: u64 = 100;

#[test]
fn a_control_plane_killed_a_hundred_times_under_traffic_costs_no_request() {
    let directory = Directory::new("chaos");
    let backends = [Backend::start("one"), Backend::start("two")];
    let port = ports::free_port();
    let mut server = ManagementServer::start();
    let control_plane = server.port();
    set_mesh(&server, "0", port, backends[0].port());
    let mut proxy = start(Kind::Remora, &directory, control_plane, true);
    wait_until(10, "traffic flows", || {
        Client::get(port, "/").is_some_and(|answer| answer.status() == 200)
    });
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            std::thread::spawn(move || {
                let mut client = Client::connect(port);
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let sent = client.send(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n");
                    match client.response("GET").filter(|_| sent) {
                        Some(answer) if answer.status() == 200 => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        failed => {
                            failures.push(format!("{failed:?}"));
                            client = Client::connect(port);
                        }
                    }
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                failures
            })
        })
        .collect();
    for death in 1..=DEATHS {
        drop(server);
        server = ManagementServer::at(control_plane);
        let backend = &backends[(death / 10 % 2) as usize];
        // Every tenth time its clients are waited for; the others it dies whatever they were about.
        set_mesh(&server, &death.to_string(), port, backend.port());
        if death % 10 == 0 {
            let before = backend.seen_count();
            wait_until(20, "the endpoints of this life are used", || {
                backend.seen_count() > before
            });
        }
    }
    let before = answered.load(Ordering::Relaxed);
    wait_until(10, "traffic still flows", || {
        answered.load(Ordering::Relaxed) > before + 50
    });
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        let failures = caller.join().expect("a caller ends");
        assert!(failures.is_empty(), "{failures:?}");
    }
    proxy.process.expect_running();
    assert_eq!(proxy.stat("cluster_manager.cds.update_rejected"), 0);
    assert!(answered.load(Ordering::Relaxed) > 500, "{answered:?}");
}
