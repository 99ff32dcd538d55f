//! A control plane behind mutual TLS: the sidecar reaches it by its cluster's transport socket, as Envoy does.

use std::path::Path;
use std::process::Command;

use e2e::proxy::{Kind, Proxy};
use testkit::certificates::{Authority, Identity};
use testkit::{Directory, Process, peers, ports, wait, wait_until};

/// Where this test's pods would be: a network of its own.
const NETWORK: &str = "127.0.10.";

const CONTROL_PLANE: &str = "spiffe://cluster.local/ns/mesh/sa/control-plane";

fn control_plane(directory: &Directory) -> (Process, u16) {
    let mesh = directory.path().join("mesh");
    std::fs::create_dir_all(&mesh).expect("a directory can be made");
    for entry in std::fs::read_dir(peers::root().join("examples/mesh"))
        .expect("the demo's mesh")
        .flatten()
    {
        let text = std::fs::read_to_string(entry.path()).expect("a file of the demo's mesh");
        let target = mesh.join(entry.file_name());
        std::fs::write(target, text.replace("127.0.1.", NETWORK)).expect("it can be written");
    }
    let (port, status) = (ports::free_port(), ports::free_port());
    let mut command = Command::new(peers::binary("remora-control-plane"));
    command.arg("serve").arg("--config").arg(&mesh);
    command.arg("--state").arg(directory.path().join("state"));
    command.args(["--listen", &format!("127.0.0.1:{port}")]);
    command.args(["--status-listen", &format!("127.0.0.1:{status}")]);
    let process = Process::start("control-plane", directory, &mut command);
    wait::wait_for_port(port);
    (process, port)
}

/// A sidecar's bootstrap whose control plane is behind TLS. `presents` is its own identity, `expects` the server's.
fn bootstrap(gateway: u16, authority: &Path, presents: Option<&Identity>, expects: &str) -> String {
    let own = presents.map_or(String::new(), |identity| {
        format!(
            "tls_certificates: [{{certificate_chain: {{filename: \"{}\"}}, private_key: {{filename: \"{}\"}}}}], ",
            identity.certificate.display(),
            identity.key.display()
        )
    });
    let plain = include_str!("../src/sidecar.yaml")
        .replace("{ip}", &format!("{NETWORK}1"))
        .replace("{pod}", "frontend")
        .replace("{api_type}", "DELTA_GRPC")
        .replace("{control_plane}", &gateway.to_string());
    format!(
        r#"{plain}    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        common_tls_context:
          {{{own}validation_context: {{trusted_ca: {{filename: "{}"}}, match_typed_subject_alt_names: [{{san_type: URI, matcher: {{exact: "{expects}"}}}}]}}}}
"#,
        authority.display()
    )
}

/// A sidecar that is not expected to become ready.
fn start_unready(directory: &Directory, name: &str, bootstrap: &str) -> Proxy {
    let admin = ports::free_port();
    let path = directory.write(
        &format!("{name}.yaml"),
        &bootstrap.replace("{admin}", &admin.to_string()),
    );
    let mut command = Command::new(peers::binary("remora"));
    command.arg("-c").arg(path).args(["--concurrency", "1"]);
    let process = Process::start(name, directory, &mut command);
    wait::wait_for_port(admin);
    Proxy {
        kind: Kind::Remora,
        admin,
        process,
    }
}

#[test]
fn the_control_plane_is_reached_by_mutual_tls_and_by_nothing_less() {
    let directory = Directory::new("xds-over-tls");
    let authority = Authority::new(&directory, "authority");
    let server = authority.issue("control-plane", CONTROL_PLANE);
    let client = authority.issue("frontend", "spiffe://cluster.local/ns/demo/sa/frontend");
    let (_control_plane, control_plane_port) = control_plane(&directory);
    let port = ports::free_port();
    let gateway = include_str!("../src/mtls_gateway.yaml")
        .replace("{listener}", &port.to_string())
        .replace("{control_plane}", &control_plane_port.to_string())
        .replace("{server_certificate}", &server.certificate.display().to_string())
        .replace("{server_key}", &server.key.display().to_string())
        .replace("{authority}", &authority.certificate.display().to_string());
    let gateway = Proxy::start(Kind::Remora, &directory, "gateway", &gateway);

    let sidecar = Proxy::start(
        Kind::Remora,
        &directory,
        "sidecar",
        &bootstrap(port, &authority.certificate, Some(&client), CONTROL_PLANE),
    );
    assert_eq!(sidecar.stat("control_plane.connected_state"), 1);
    assert!(
        sidecar.stat("listener_manager.total_listeners_active") > 0,
        "it was configured"
    );
    assert_eq!(sidecar.stat("cluster.control-plane.ssl.handshake"), 1);
    assert_eq!(sidecar.stat("cluster.control-plane.ssl.versions.TLSv1.3"), 1);
    assert_eq!(sidecar.stat("cluster.control-plane.upstream_cx_active"), 1);
    assert_eq!(sidecar.stat("cluster.control-plane.upstream_cx_http2_total"), 1);

    // The gateway takes nobody without a certificate.
    let nobody = bootstrap(port, &authority.certificate, None, CONTROL_PLANE);
    let nobody = start_unready(&directory, "nobody", &nobody);
    let refused = format!("listener.127.0.0.1_{port}.ssl.fail_verify_no_cert");
    wait_until(10, "the gateway refuses a caller without a certificate", || {
        gateway.stat(&refused) > 0
    });
    assert_eq!(nobody.stat("listener_manager.total_listeners_active"), 0);

    // The sidecar takes no control plane but the one it was told of.
    let other = "spiffe://cluster.local/ns/mesh/sa/other";
    let wary = bootstrap(port, &authority.certificate, Some(&client), other);
    let wary = start_unready(&directory, "wary", &wary);
    wait_until(10, "the sidecar refuses another identity", || {
        wary.stat("cluster.control-plane.ssl.fail_verify_san") > 0
    });
    assert_eq!(wary.stat("cluster.control-plane.ssl.handshake"), 0);
    assert!(wary.process.errors().contains("TLS"), "{}", wary.process.errors());
}
