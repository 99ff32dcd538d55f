//! A grpcio caller and a grpcio service with a sidecar between them: in the clear, then over mTLS on both sides.

use std::process::Command;

use e2e::proxy::{Kind, Proxy};
use testkit::certificates::{Authority, Identity};
use testkit::{Directory, Process, peers, ports, wait, wait_until};

struct Mesh {
    service: Process,
    proxy: Proxy,
    clear: u16,
    secured: u16,
    stranger: u16,
    authority: std::path::PathBuf,
    caller: Identity,
    outsider: Identity,
}

/// The service with its identity, and a proxy with another one in front of it.
fn mesh(directory: &Directory) -> Mesh {
    let authority = Authority::new(directory, "authority");
    let sidecar = authority.issue("sidecar", "spiffe://test/ns/callers/sa/sidecar");
    let identity = authority.issue("service", "spiffe://test/ns/services/sa/service");
    let [service, service_tls, clear, secured, stranger] = [(); 5].map(|()| ports::free_port());
    let process = Process::start(
        "service",
        directory,
        peers::script("mesh_service.py")
            .args([service, service_tls].map(|port| port.to_string()))
            .args([&authority.certificate, &identity.certificate, &identity.key]),
    );
    wait::wait_for_port(service_tls);
    let mut bootstrap = include_str!("../src/mesh_calls.yaml").to_owned();
    for (name, value) in [
        ("clear", clear.to_string()),
        ("secured", secured.to_string()),
        ("stranger", stranger.to_string()),
        ("service", service.to_string()),
        ("service_tls", service_tls.to_string()),
        ("ca", authority.certificate.display().to_string()),
        ("sidecar_certificate", sidecar.certificate.display().to_string()),
        ("sidecar_key", sidecar.key.display().to_string()),
    ] {
        bootstrap = bootstrap.replace(&format!("{{{name}}}"), &value);
    }
    Mesh {
        service: process,
        proxy: Proxy::start(Kind::Remora, directory, "sidecar-proxy", &bootstrap),
        clear,
        secured,
        stranger,
        caller: authority.issue("caller", "spiffe://test/ns/callers/sa/caller"),
        outsider: authority.issue("outsider", "spiffe://test/ns/others/sa/outsider"),
        authority: authority.certificate,
    }
}

/// Runs the caller and returns what it printed.
fn call(what: &str, target: String, tls: Option<(&std::path::Path, &Identity)>) -> String {
    let mut command: Command = peers::script("mesh_calls.py");
    command.arg(what).arg(target);
    if let Some((authority, identity)) = tls {
        command.arg(authority).args([&identity.certificate, &identity.key]);
    }
    let output = command.output().expect("the caller runs");
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn every_shape_of_call_passes_in_the_clear_and_over_mutual_tls() {
    let directory = Directory::new("grpc-peers");
    let mesh = mesh(&directory);
    call("all", format!("127.0.0.1:{}", mesh.clear), None);
    wait_until(5, "the service saw both calls end that their caller ended", || {
        mesh.service.output().lines().count() == 2
    });
    let seen = mesh.service.output();
    assert!(
        seen.starts_with("wait ended=True deadline=0.5 "),
        "the deadline reaches the service: {seen}"
    );
    assert!(
        seen.lines()
            .all(|line| line.split("after=").nth(1).is_some_and(|after| after.starts_with("0."))),
        "both ends reach the service at once: {seen}"
    );

    let tls = Some((mesh.authority.as_path(), &mesh.caller));
    call("all", format!("localhost:{}", mesh.secured), tls);
    assert!(
        mesh.proxy
            .stat(&format!("listener.127.0.0.1_{}.ssl.handshake", mesh.secured))
            >= 1
    );
    assert_eq!(mesh.proxy.stat("cluster.secured.upstream_rq_pending_overflow"), 0);
}

#[test]
fn a_peer_with_another_identity_gets_nowhere() {
    let directory = Directory::new("grpc-identities");
    let mesh = mesh(&directory);
    let target = format!("localhost:{}", mesh.secured);
    assert_eq!(call("one", target.clone(), Some((&mesh.authority, &mesh.caller))), "OK");
    // The same authority, but an identity the listener does not accept.
    let refused = call("one", target.clone(), Some((&mesh.authority, &mesh.outsider)));
    assert!(refused.starts_with("UNAVAILABLE: "), "{refused}");
    // The right identity from an authority that nobody knows.
    let impostors = Authority::new(&directory, "impostors");
    let impostor = impostors.issue("impostor", "spiffe://test/ns/callers/sa/caller");
    let refused = call("one", target, Some((&mesh.authority, &impostor)));
    assert!(refused.starts_with("UNAVAILABLE: "), "{refused}");
    assert_eq!(
        mesh.proxy.stat("cluster.secured.upstream_rq_total"),
        1,
        "only the first call went on"
    );

    let refused = call("one", format!("127.0.0.1:{}", mesh.stranger), None);
    assert!(
        refused.starts_with("UNAVAILABLE: upstream connect error"),
        "an endpoint with another identity is not called: {refused}"
    );
    assert!(mesh.proxy.stat("cluster.stranger.upstream_cx_connect_fail") >= 1);
}
