//! The reference control plane with clients that are not ours: Envoy as a sidecar, and grpcio's xDS client.

use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::pods::{self, PodSidecar};
use e2e::proxy::{Kind, Proxy};
use serde_json::{Value, json};
use testkit::{Directory, Process, peers, ports, wait, wait_until};

/// Each test's pods are in a network of their own, so that tests and a demo's mesh can run at the same time.
const NETWORKS: [&str; 3] = ["127.0.8.", "127.0.9.", "127.0.12."];

const GREETERS: [(&str, u8, &str); 3] = [
    ("greeter-v1-a", 2, "v1"),
    ("greeter-v1-b", 3, "v1"),
    ("greeter-v2-a", 4, "v2"),
];

struct ControlPlane {
    _process: Process,
    port: u16,
}

fn copy_mesh(directory: &Directory, network: &str, edit: impl Fn(&str, String) -> String) {
    let target = directory.path().join("mesh");
    std::fs::create_dir_all(&target).expect("a directory can be made");
    for entry in std::fs::read_dir(peers::root().join("examples/mesh"))
        .expect("the demo's mesh")
        .flatten()
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(entry.path()).expect("a file of the demo's mesh");
        std::fs::write(target.join(&name), edit(&name, text.replace("127.0.1.", network))).expect("it can be written");
    }
}

fn control_plane(directory: &Directory) -> ControlPlane {
    let (port, status) = (ports::free_port(), ports::free_port());
    let mut command = Command::new(peers::binary("remora-control-plane"));
    command.arg("serve").arg("--config").arg(directory.path().join("mesh"));
    command.arg("--state").arg(directory.path().join("state"));
    command.args([
        "--listen",
        &format!("127.0.0.1:{port}"),
        "--status-listen",
        &format!("127.0.0.1:{status}"),
    ]);
    let process = Process::start("control-plane", directory, &mut command);
    wait::wait_for_port(port);
    ControlPlane {
        _process: process,
        port,
    }
}

fn greeters(directory: &Directory, network: &str) -> Vec<Process> {
    GREETERS
        .iter()
        .map(|(name, host, version)| {
            let mut command = Command::new(peers::binary("greeter"));
            command.args([
                "--listen",
                &format!("{network}{host}:50051"),
                "--version",
                version,
                "--name",
                name,
            ]);
            let process = Process::start(name, directory, &mut command);
            wait_until(10, &format!("{name} listens"), || {
                std::net::TcpStream::connect(format!("{network}{host}:50051")).is_ok()
            });
            process
        })
        .collect()
}

fn sidecar(kind: Kind, api_type: &str, directory: &Directory, control_plane: u16, pod: &str, host: u8) -> Proxy {
    sidecar_in(NETWORKS[0], kind, api_type, directory, control_plane, pod, host)
}

fn sidecar_in(
    network: &str,
    kind: Kind,
    api_type: &str,
    directory: &Directory,
    control_plane: u16,
    pod: &str,
    host: u8,
) -> Proxy {
    let bootstrap = include_str!("../src/sidecar.yaml")
        .replace("{ip}", &format!("{network}{host}"))
        .replace("{pod}", pod)
        .replace("{api_type}", api_type)
        .replace("{control_plane}", &control_plane.to_string());
    Proxy::start(kind, directory, &format!("{pod}-sidecar"), &bootstrap)
}

/// Edits as a person would: a new file, moved into place.
fn edit_weights(mesh: &Path, v1: u32, v2: u32) {
    let text = std::fs::read_to_string(peers::root().join("examples/mesh/routes.yaml")).expect("the demo's routes");
    let text = text
        .replace("weight: 90", &format!("weight: {v1}"))
        .replace("weight: 10\n", &format!("weight: {v2}\n"));
    std::fs::write(mesh.join("routes.yaml.new"), text).expect("it can be written");
    std::fs::rename(mesh.join("routes.yaml.new"), mesh.join("routes.yaml")).expect("it can be moved");
}

fn report(calls: &Process) -> Value {
    calls
        .output()
        .lines()
        .rev()
        .find_map(|line| serde_json::from_str(line).ok())
        .unwrap_or(Value::Null)
}

/// How many answers came from a version.
fn answers(report: &Value, version: &str) -> u64 {
    report["by_backend"].as_object().map_or(0, |by| {
        by.iter()
            .filter(|(name, _)| name.starts_with(version))
            .filter_map(|(_, count)| count.as_u64())
            .sum()
    })
}

#[test]
fn envoy_and_remora_are_sidecars_of_one_mesh() {
    let directory = Directory::new("envoy-mesh");
    let network = NETWORKS[0];
    copy_mesh(&directory, network, |_, text| text);
    let control_plane = control_plane(&directory);
    let _greeters = greeters(&directory, network);
    // Envoy calls and is called, in both forms of the protocol, with remora on the other end of its mTLS or not.
    let sidecars = [
        sidecar(Kind::Envoy, "GRPC", &directory, control_plane.port, "greeter-v1-a", 2),
        sidecar(Kind::Remora, "GRPC", &directory, control_plane.port, "greeter-v1-b", 3),
        sidecar(
            Kind::Remora,
            "DELTA_GRPC",
            &directory,
            control_plane.port,
            "greeter-v2-a",
            4,
        ),
        // Last, so that its first health checks find everybody.
        sidecar(Kind::Envoy, "DELTA_GRPC", &directory, control_plane.port, "frontend", 1),
    ];
    let mut command = Command::new(peers::binary("frontend"));
    command.args([
        "--target",
        &format!("{network}1:15001"),
        "--authority",
        "greeter:50051",
        "--shape",
        "mixed",
    ]);
    command.args([
        "--rate",
        "200",
        "--concurrency",
        "8",
        "--duration",
        "120",
        "--report-every",
        "50",
    ]);
    let calls = Process::start("calls", &directory, &mut command);
    wait_until(30, "all three backends have answered", || {
        report(&calls)["by_backend"].as_object().is_some_and(|by| by.len() == 3) && answers(&report(&calls), "v") > 200
    });
    let split = report(&calls);
    assert_eq!(split["failures"], 0, "{split}");
    assert!(
        answers(&split, "v1") > 3 * answers(&split, "v2"),
        "nine in ten go to version 1: {split}"
    );
    let callers = &split["callers"];
    assert_eq!(
        callers
            .as_object()
            .map(|callers| callers.keys().cloned().collect::<Vec<_>>()),
        Some(vec!["spiffe://cluster.local/ns/demo/sa/frontend".to_owned()]),
        "{split}"
    );

    edit_weights(&directory.path().join("mesh"), 0, 100);
    let mut before = report(&calls);
    wait_until(20, "version 1 gets no more calls", || {
        let now = report(&calls);
        if answers(&now, "v1") > answers(&before, "v1") {
            before = now;
            return false;
        }
        answers(&now, "v2") > answers(&before, "v2") + 100
    });
    let moved = report(&calls);
    assert_eq!(moved["failures"], 0, "no call failed while the route changed: {moved}");
    drop(sidecars);
}

#[test]
fn a_grpc_client_gets_its_configuration_itself() {
    let directory = Directory::new("proxyless");
    let network = NETWORKS[1];
    // A caller without a sidecar has no certificate: the mesh without its mTLS and sidecars.
    copy_mesh(&directory, network, |name, text| match name {
        "policies.yaml" => text.replace("mode: Strict", "mode: Disable"),
        _ => text,
    });
    let control_plane = control_plane(&directory);
    let _greeters = greeters(&directory, network);
    let bootstrap = json!({
        "xds_servers": [{
            "server_uri": format!("127.0.0.1:{}", control_plane.port),
            "channel_creds": [{"type": "insecure"}],
            "server_features": ["xds_v3"],
        }],
        "node": {"id": format!("proxyless~{network}1~frontend.demo~demo.svc.cluster.local")},
    });
    let file = directory.write("grpc-bootstrap.json", &bootstrap.to_string());
    let output = peers::script("xds_caller.py")
        .args(["xds:///greeter.demo.svc.cluster.local:50051", "300"])
        .env("GRPC_XDS_BOOTSTRAP", file)
        .output()
        .expect("the caller runs");
    let ended: Value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let errors = String::from_utf8_lossy(&output.stderr);
    let by = ended.as_object().unwrap_or_else(|| panic!("{errors}"));
    assert!(
        GREETERS.iter().all(|(name, ..)| by.contains_key(*name)) && by.len() == 3,
        "{ended} {errors}"
    );
    let v2 = by["greeter-v2-a"].as_u64().unwrap_or(0);
    assert!((5..=75).contains(&v2), "one in ten goes to version 2: {ended}");
}

/// Two ports of one Service in cleartext and over mutual TLS: `{ip}` stands for the network.
const PERMISSIVE: &str = "
apiVersion: v1
kind: Service
metadata: {name: greeter, namespace: demo}
spec:
  selector: {app: greeter}
  ports: [{name: grpc, port: 50051}, {name: grpc-other, port: 80, targetPort: 50052}]
---
apiVersion: v1
kind: Pod
metadata: {name: greeter-a, namespace: demo, labels: {app: greeter}}
spec: {serviceAccountName: greeter, containers: []}
status: {podIP: {ip}2}
---
apiVersion: v1
kind: Pod
metadata: {name: greeter-b, namespace: demo, labels: {app: greeter}}
spec: {serviceAccountName: greeter, containers: []}
status: {podIP: {ip}3}
---
apiVersion: v1
kind: Pod
metadata: {name: frontend, namespace: demo}
spec: {serviceAccountName: frontend, containers: []}
status: {podIP: {ip}1}
---
apiVersion: policy.remora.dev/v1alpha1
kind: ServicePolicy
metadata: {name: greeter, namespace: demo}
spec:
  targetRefs: [{kind: Service, name: greeter}]
  mtls: {mode: Permissive}
";

/// Calls one after the other until all of `backends` have answered: who did, and whom they took for the caller.
fn call(directory: &Directory, target: &str, authority: &str, backends: usize) -> (Vec<String>, Vec<String>) {
    let name = format!("calls-{target}-{authority}").replace(':', "-");
    let mut command = Command::new(peers::binary("frontend"));
    command.args([
        "--target",
        target,
        "--authority",
        authority,
        "--rate",
        "100",
        "--report-every",
        "20",
    ]);
    command.args(["--duration", "60"]);
    let calls = Process::start(&name, directory, &mut command);
    let keys = |report: &Value, key: &str| -> Vec<String> {
        report[key]
            .as_object()
            .map(|by| by.keys().cloned().collect())
            .unwrap_or_default()
    };
    wait_until(
        20,
        &format!("{backends} backends have answered {authority} at {target}"),
        || keys(&report(&calls), "by_backend").len() >= backends,
    );
    let last = report(&calls);
    assert_eq!(last["failures"], 0, "{last}");
    (keys(&last, "by_backend"), keys(&last, "callers"))
}

#[test]
fn a_permissive_services_ports_are_reached_over_mutual_tls_and_in_cleartext() {
    let directory = Directory::new("permissive");
    let network = NETWORKS[2];
    std::fs::create_dir_all(directory.path().join("mesh")).expect("a directory can be made");
    directory.write("mesh/mesh.yaml", &PERMISSIVE.replace("{ip}", network));
    let control_plane = control_plane(&directory);
    let mut greeters = Vec::new();
    for (pod, host) in [("a", 2), ("b", 3)] {
        for port in [50051, 50052] {
            let (name, listen) = (format!("{pod}-{port}"), format!("{network}{host}:{port}"));
            let mut command = Command::new(peers::binary("greeter"));
            command.args(["--listen", &listen, "--version", "v", "--name", &name]);
            greeters.push(Process::start(&name, &directory, &mut command));
            wait_until(10, &format!("{name} listens"), || {
                std::net::TcpStream::connect(&listen).is_ok()
            });
        }
    }
    let start = |kind, pod, host| sidecar_in(network, kind, "DELTA_GRPC", &directory, control_plane.port, pod, host);
    let _sidecars = [
        start(Kind::Envoy, "greeter-a", 2),
        start(Kind::Remora, "greeter-b", 3),
        start(Kind::Remora, "frontend", 1),
    ];
    for (authority, port) in [("greeter:50051", 50051), ("greeter:80", 50052)] {
        let answered = call(&directory, &format!("{network}1:15001"), authority, 2);
        let both = vec![format!("v a-{port}"), format!("v b-{port}")];
        let caller = vec!["spiffe://cluster.local/ns/demo/sa/frontend".to_owned()];
        assert_eq!(answered, (both, caller), "from a sidecar to {authority}");
        // Somebody in no mesh, at the sidecar's own port: the host says which port of the application is meant.
        for (pod, host) in [("a", 2), ("b", 3)] {
            let answered = call(&directory, &format!("{network}{host}:15006"), authority, 1);
            let one = vec![format!("v {pod}-{port}")];
            assert_eq!(answered, (one, Vec::new()), "in cleartext to {authority} of {pod}");
        }
    }
}

/// Two ports of an application under two policies.
const REDIRECTED: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: demo}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 9080}, {name: http-more, port: 81, targetPort: 8000}]}
---
apiVersion: v1
kind: Service
metadata: {name: payments, namespace: demo}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 9081}]}
---
apiVersion: v1
kind: Pod
metadata: {name: server, namespace: demo, labels: {app: web}}
status: {podIP: 10.10.2.1}
---
apiVersion: policy.remora.dev/v1alpha1
kind: ServicePolicy
metadata: {name: web, namespace: demo}
spec: {targetRefs: [{name: web}], mtls: {mode: Permissive}}
---
apiVersion: policy.remora.dev/v1alpha1
kind: ServicePolicy
metadata: {name: payments, namespace: demo}
spec: {targetRefs: [{name: payments}], mtls: {mode: Strict}}
";

#[test]
fn cleartext_that_was_redirected_reaches_the_port_it_was_going_to() {
    if !pods::can_be_had() {
        return;
    }
    for kind in [Kind::Remora, Kind::Envoy] {
        let directory = Directory::new(&format!("redirected-{}", kind.name()));
        std::fs::create_dir_all(directory.path().join("mesh")).expect("a directory can be made");
        directory.write("mesh/mesh.yaml", REDIRECTED);
        // The ports are those of the pod's own network.
        let bootstrap = include_str!("../src/sidecar.yaml")
            .replace("{ip}", "10.10.2.1")
            .replace("{pod}", "server")
            .replace("{api_type}", "DELTA_GRPC")
            .replace("{admin}", "15000")
            .replace("{control_plane}", "15010");
        directory.write("bootstrap.yaml", &bootstrap);
        let words = |program: PathBuf, options: &str| {
            let mut words = vec![program.display().to_string()];
            words.extend(options.split_whitespace().map(str::to_owned));
            words
        };
        let control_plane = words(
            peers::binary("remora-control-plane"),
            "serve --config mesh --state state --listen 127.0.0.1:15010 --status-listen 127.0.0.1:15014",
        );
        let sidecar = PodSidecar {
            pod: "server",
            command: words(
                kind.binary(),
                "-c bootstrap.yaml --concurrency 1 --disable-hot-restart -l warning",
            ),
            beside: vec![control_plane],
            folder: directory.path(),
            stats: &[],
        };
        let calls = json!({"plain": [
            ["to a port", "get", "10.10.2.1", 9080, "/ anybody", false],
            ["to another port", "get", "10.10.2.1", 8000, "/ anybody", false],
            ["to a strict port", "get", "10.10.2.1", 9081, "/ payments", false],
            ["to a port of no Service", "get", "10.10.2.1", 9999, "/ web", false],
            ["straight to the sidecar", "get", "10.10.2.1", 15006, "/ web:81", false],
            ["straight to the sidecar, strict", "get", "10.10.2.1", 15006, "/ payments", false],
        ]});
        let result = pods::run(&[sidecar], &calls).unwrap_or_else(|errors| panic!("{errors}"));
        let made = &result["calls"]["plain"];
        for (name, port) in [
            ("to a port", 9080),
            ("to another port", 8000),
            ("straight to the sidecar", 8000),
        ] {
            assert_eq!(made[name]["body"]["port"], port, "{name}: {}", made[name]);
        }
        // No cleartext reaches a port that asks for mutual TLS, nor one that is nobody's.
        assert_eq!(made["to a strict port"], "closed", "{}", kind.name());
        assert_eq!(made["to a port of no Service"], "closed", "{}", kind.name());
        assert_eq!(
            made["straight to the sidecar, strict"]["status"],
            404,
            "{}",
            kind.name()
        );
    }
}
