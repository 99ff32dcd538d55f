//! Every way to a control plane: {state of the world, delta} x {aggregated, a stream for each type, a file} x {TCP, TLS,
//! Unix socket} x {a cluster of the bootstrap, a target of gRPC's own}, for each type of resource.
//!
//! The five types of one proxy come in five different ways, and the ways go round from proxy to proxy, so that each type
//! comes in each way once.

use std::process::Command;

use e2e::dynamic::{CLUSTER, ENDPOINTS, LISTENER, ROUTES, endpoints, routes};
use e2e::proxy::{Kind, Proxy};
use testkit::backend::Backend;
use testkit::certificates::{Authority, Identity};
use testkit::http1::Client;
use testkit::{Directory, ManagementServer, Process, ports, wait_until};

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// The types by the short names of their services.
const TYPES: [(&str, &str); 5] = [
    ("cds", CLUSTER),
    ("eds", ENDPOINTS),
    ("lds", LISTENER),
    ("rds", ROUTES),
    ("sds", SECRET),
];

#[derive(Clone, Copy, Debug)]
enum Carrier {
    Tcp,
    Tls,
    Unix,
}

/// A way to a control plane that speaks.
#[derive(Clone, Copy, Debug)]
struct Way {
    delta: bool,
    carrier: Carrier,
    google: bool,
}

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for delta in [false, true] {
        for carrier in [Carrier::Tcp, Carrier::Tls, Carrier::Unix] {
            for google in [false, true] {
                ways.push(Way { delta, carrier, google });
            }
        }
    }
    ways
}

/// One management server, reached by TCP itself and by TLS and a Unix socket through a proxy.
struct ControlPlane<'a> {
    directory: &'a Directory,
    server: ManagementServer,
    authority: Authority<'a>,
    identity: Identity,
    tls_port: u16,
    _gateway: Process,
}

const GATEWAY: &str = r#"
admin: {address: {socket_address: {address: 127.0.0.1, port_value: {admin}}}}
static_resources:
  listeners:
  - name: tls
    address: {socket_address: {address: 127.0.0.1, port_value: {tls_port}}}
    filter_chains:
    - transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context: {alpn_protocols: [h2], tls_certificates: [{certificate_chain: {filename: "{certificate}"}, private_key: {filename: "{key}"}}]}
      filters: &filters
      - name: envoy.filters.network.tcp_proxy
        typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: control-plane}
  - name: unix
    address: {pipe: {path: "{directory}/xds.sock"}}
    filter_chains: [{filters: *filters}]
  clusters:
  - name: control-plane
    type: STATIC
    load_assignment: {cluster_name: x, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {port}}}}}]}]}
"#;

impl<'a> ControlPlane<'a> {
    fn start(directory: &'a Directory) -> Self {
        let server = ManagementServer::start();
        let authority = Authority::new(directory, "authority");
        let identity = authority.issue("control-plane", "spiffe://test/control-plane");
        let tls_port = ports::free_port();
        let bootstrap = GATEWAY
            .replace("{tls_port}", &tls_port.to_string())
            .replace("{certificate}", &identity.certificate.display().to_string())
            .replace("{key}", &identity.key.display().to_string())
            .replace("{directory}", &directory.path().display().to_string())
            .replace("{port}", &server.port().to_string());
        let gateway = Proxy::start(Kind::Remora, directory, "gateway", &bootstrap).process;
        Self {
            directory,
            server,
            authority,
            identity,
            tls_port,
            _gateway: gateway,
        }
    }

    /// A `grpc_services` entry.
    fn service(&self, way: Way) -> String {
        if !way.google {
            let cluster = format!("{:?}", way.carrier).to_lowercase();
            return format!(
                "{{envoy_grpc: {{cluster_name: by-{cluster}}}, initial_metadata: [{{key: x-a, value: b}}]}}"
            );
        }
        let authority = self.authority.certificate.display();
        let (target, credentials) = match way.carrier {
            Carrier::Tcp => (format!("127.0.0.1:{}", self.server.port()), String::new()),
            Carrier::Tls => (
                format!("dns:///localhost:{}", self.tls_port),
                format!(", channel_credentials: {{ssl_credentials: {{root_certs: {{filename: \"{authority}\"}}}}}}"),
            ),
            Carrier::Unix => (
                format!("unix:{}/xds.sock", self.directory.path().display()),
                ", channel_credentials: {local_credentials: {}}".to_owned(),
            ),
        };
        format!("{{google_grpc: {{target_uri: \"{target}\", stat_prefix: g{credentials}}}}}")
    }

    /// An `api_config_source`.
    fn api(&self, way: Way) -> String {
        format!(
            "{{api_type: {}, transport_api_version: V3, grpc_services: [{}]}}",
            if way.delta { "DELTA_GRPC" } else { "GRPC" },
            self.service(way)
        )
    }

    /// The clusters that `envoy_grpc` names.
    fn clusters(&self) -> String {
        let cluster = |name: &str, address: &str, more: &str| {
            format!(
                "  - name: {name}
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
    load_assignment: {{cluster_name: x, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {address}}}}}]}}]}}
{more}"
            )
        };
        let socket = |port: u16| format!("{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}");
        let pipe = format!("{{pipe: {{path: \"{}/xds.sock\"}}}}", self.directory.path().display());
        let tls = format!(
            "    transport_socket:
      name: envoy.transport_sockets.tls
      typed_config:
        \"@type\": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
        sni: localhost
        common_tls_context: {{validation_context: {{trusted_ca: {{filename: \"{}\"}}}}}}
",
            self.authority.certificate.display()
        );
        cluster("by-tcp", &socket(self.server.port()), "")
            + &cluster("by-tls", &socket(self.tls_port), &tls)
            + &cluster("by-unix", &pipe, "")
    }

    /// Says what there is, where each of the types below comes from a source of its own.
    fn set(&self, version: &str, sources: &[String; 5], listener: u16, secure: u16, backend: u16) {
        let [_, eds, _, rds, sds] = sources;
        let cluster = format!("name: one\ntype: EDS\nconnect_timeout: 1s\neds_cluster_config: {{eds_config: {eds}}}\n");
        let manager = format!(
            "[{{name: envoy.filters.network.http_connection_manager, typed_config: {{\
             '@type': type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, \
             stat_prefix: in, rds: {{route_config_name: table, config_source: {rds}}}, http_filters: [{{\
             name: envoy.filters.http.router, typed_config: {{\
             '@type': type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]"
        );
        let address = |port: u16| format!("{{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}");
        let plain = format!(
            "name: in\naddress: {}\nfilter_chains: [{{filters: {manager}}}]\n",
            address(listener)
        );
        let secured = format!(
            "name: secure\naddress: {}\nfilter_chains: [{{transport_socket: {{name: envoy.transport_sockets.tls, \
             typed_config: {{'@type': type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, \
             common_tls_context: {{tls_certificate_sds_secret_configs: [{{name: own, sds_config: {sds}}}]}}}}}}, \
             filters: {manager}}}]\n",
            address(secure)
        );
        let secret = format!(
            "name: own\ntls_certificate: {{certificate_chain: {{filename: \"{}\"}}, private_key: {{filename: \"{}\"}}}}\n",
            self.identity.certificate.display(),
            self.identity.key.display()
        );
        let resources = [
            vec![cluster],
            vec![endpoints("one", backend)],
            vec![plain, secured],
            vec![routes("table", "one")],
            vec![secret],
        ];
        for ((short, type_url), documents) in TYPES.into_iter().zip(resources) {
            self.server.set(type_url, version, &documents);
            let file = documents.iter().map(|document| as_item(type_url, document));
            self.directory.write(
                &format!("{short}.yaml"),
                &format!("version_info: '{version}'\nresources:\n{}", file.collect::<String>()),
            );
        }
    }
}

/// A resource as an item of a list in a `DiscoveryResponse`.
fn as_item(type_url: &str, document: &str) -> String {
    let mut item = format!("- '@type': {type_url}\n");
    for line in document.lines() {
        item += &format!("  {line}\n");
    }
    item
}

/// Whether the secret arrived and the TLS listener presents it to a client of another make.
fn presents_its_certificate(port: u16, authority: &Authority<'_>) -> bool {
    let output = Command::new("python3")
        .args([
            "-c",
            "import socket, ssl, sys\n\
             context = ssl.create_default_context(cafile=sys.argv[2])\n\
             with socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5) as plain:\n\
             \x20   with context.wrap_socket(plain, server_hostname='localhost') as secure:\n\
             \x20       print(secure.version())",
        ])
        .arg(port.to_string())
        .arg(&authority.certificate)
        .output()
        .expect("python3 is there");
    output.status.success()
}

/// Starts a proxy whose types come from these sources, and checks that traffic flows by all of them.
fn serves(name: &str, plane: &ControlPlane<'_>, dynamic: &str, sources: &[String; 5], backend: &Backend) {
    let (listener, secure) = (ports::free_port(), ports::free_port());
    plane.set(name, sources, listener, secure, backend.port());
    let bootstrap = format!(
        "node: {{id: {name}, cluster: variants}}
admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {{admin}}}}}}}}
dynamic_resources:
{dynamic}static_resources:
  clusters:
{}",
        plane.clusters()
    );
    let proxy = Proxy::start(Kind::Remora, plane.directory, name, &bootstrap);
    wait_until(10, &format!("{name}: traffic flows"), || {
        Client::get(listener, "/").is_some_and(|answer| answer.status() == 200)
    });
    wait_until(10, &format!("{name}: the certificate is presented"), || {
        presents_its_certificate(secure, &plane.authority)
    });
    assert_eq!(proxy.stat("sds.own.update_success"), 1, "{name}");
    for refused in [
        "cluster_manager.cds.update_rejected",
        "listener_manager.lds.update_rejected",
    ] {
        assert_eq!(proxy.stat(refused), 0, "{name}: {refused}");
    }
}

#[test]
fn everything_comes_on_one_stream_in_every_way_to_a_control_plane() {
    let directory = Directory::new("variants-ads");
    let backend = Backend::start("one");
    let plane = ControlPlane::start(&directory);
    let ads = || "{ads: {}, resource_api_version: V3}".to_owned();
    for (number, way) in ways().into_iter().enumerate() {
        let dynamic = format!(
            "  ads_config: {}\n  cds_config: {}\n  lds_config: {}\n",
            plane.api(way),
            ads(),
            ads()
        );
        let name = format!("ads-{number}");
        serves(&name, &plane, &dynamic, &[ads(), ads(), ads(), ads(), ads()], &backend);
        let asked = plane.server.transcript();
        assert!(
            TYPES.iter().all(|(_, type_url)| {
                let short = type_url.rsplit('.').next().unwrap_or_default();
                asked.iter().any(|line| line.starts_with(&format!("{short} ACK")))
            }),
            "{way:?}: {asked:#?}"
        );
    }
}

#[test]
fn each_type_comes_on_a_stream_of_its_own_or_from_a_file_in_every_way_to_a_control_plane() {
    let directory = Directory::new("variants-types");
    let backend = Backend::start("one");
    let plane = ControlPlane::start(&directory);
    let ways = ways();
    // The way after the last is a file.
    let source = |short: &str, at: usize| match ways.get(at % (ways.len() + 1)) {
        Some(way) => format!("{{api_config_source: {}, resource_api_version: V3}}", plane.api(*way)),
        None => format!(
            "{{path_config_source: {{path: \"{}/{short}.yaml\"}}, resource_api_version: V3}}",
            directory.path().display()
        ),
    };
    for number in 0..=ways.len() {
        // Five steps apart, so that neighbours in the list are in different proxies.
        let sources: [String; 5] = std::array::from_fn(|of| source(TYPES[of].0, number + of * 5));
        let dynamic = format!("  cds_config: {}\n  lds_config: {}\n", sources[0], sources[2]);
        serves(&format!("types-{number}"), &plane, &dynamic, &sources, &backend);
    }
}
