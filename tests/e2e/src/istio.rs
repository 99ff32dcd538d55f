//! Sidecars that get what istiod and its agent give a default one: the resources in `istio/`, over Unix sockets.

use std::path::{Path, PathBuf};

use testkit::certificates::Authority;
use testkit::{Directory, ManagementServer};

use crate::dynamic::{CLUSTER, ENDPOINTS, LISTENER, ROUTES};
use crate::proxy::Kind;

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// A sidecar before it is started, and those who serve it. They are gone when this is dropped.
#[derive(Debug)]
pub struct Sidecar {
    /// Its program.
    pub kind: Kind,
    /// Where its sockets, its bootstrap and what it writes are; it is to be started there.
    pub folder: PathBuf,
    /// Who is istiod.
    pub control_plane: ManagementServer,
    /// Who is the agent, which has its certificate.
    pub agent: ManagementServer,
}

impl Sidecar {
    /// The sidecar of a pod, with a certificate for the service account of its name.
    ///
    /// # Panics
    /// Its folder cannot be made.
    #[must_use]
    pub fn new(kind: Kind, directory: &Directory, authority: &Authority<'_>, pod: &str, ip: &str) -> Self {
        let folder = directory.path().join(pod);
        std::fs::create_dir_all(&folder).expect("a folder can be made");
        let bootstrap = include_str!("istio/bootstrap.json")
            .replace("{pod}", pod)
            .replace("{ip}", ip);
        std::fs::write(folder.join("envoy-rev.json"), bootstrap).expect("a file can be written");
        let control_plane = ManagementServer::on_unix_socket(&folder.join("XDS"));
        for (type_url, text) in [
            (CLUSTER, include_str!("istio/clusters.yaml")),
            (ENDPOINTS, include_str!("istio/endpoints.yaml")),
            (ROUTES, include_str!("istio/routes.yaml")),
        ] {
            control_plane.set(type_url, "1", &documents(text, kind));
        }
        let mut listeners = documents(include_str!("istio/outbound_listeners.yaml"), kind);
        listeners.extend(documents(include_str!("istio/inbound_listener.yaml"), kind));
        control_plane.set(LISTENER, "1", &listeners);
        let agent = ManagementServer::on_unix_socket(&folder.join("socket"));
        let own = authority.issue(pod, &format!("spiffe://cluster.local/ns/default/sa/{pod}"));
        let quoted = |path: &Path| {
            let pem = std::fs::read_to_string(path).expect("it was written before");
            serde_json::Value::from(pem).to_string()
        };
        let certificate = format!(
            "name: default\ntls_certificate: {{certificate_chain: {{inline_string: {}}}, private_key: {{inline_string: {}}}}}\n",
            quoted(&own.certificate),
            quoted(&own.key)
        );
        let root = format!(
            "name: ROOTCA\nvalidation_context: {{trusted_ca: {{inline_string: {}}}}}\n",
            quoted(&authority.certificate)
        );
        agent.set(SECRET, "1", &[certificate, root]);
        Self {
            kind,
            folder,
            control_plane,
            agent,
        }
    }

    /// The command line that Istio's agent starts it with.
    #[must_use]
    pub fn command(&self) -> Vec<String> {
        let mut command = vec![self.kind.binary().display().to_string()];
        let options = "-c envoy-rev.json --drain-time-s 45 --drain-strategy immediate --local-address-ip-version v4 \
                       --file-flush-interval-msec 1000 --disable-hot-restart --allow-unknown-static-fields -l warning \
                       --component-log-level misc:error --skip-deprecated-logs --concurrency 1";
        command.extend(options.split_whitespace().map(str::to_owned));
        command
    }

    /// What it asked for, acknowledged and refused since this was last asked.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        [self.control_plane.transcript(), self.agent.transcript()].concat()
    }
}

/// The documents of a file, each beginning with its name. Envoy is given them without what Istio's build of it adds.
fn documents(text: &str, kind: Kind) -> Vec<String> {
    let is_istios = |line: &str| line.trim_start().starts_with("- {name: istio.");
    let document = |text: &str| {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines = lines.filter(|line| kind == Kind::Remora || !(is_istios(line) || *line == "filters:"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    text.split("---\n").map(document).collect()
}
