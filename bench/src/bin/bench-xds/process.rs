//! The proxy as a process: its bootstrap, its CPU time, its memory.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running proxy; killed when dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    child: Child,
    bootstrap: PathBuf,
}

impl Proxy {
    /// Starts `binary` with two workers and a control plane on `port`.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn start(binary: &Path, port: u16, admin: u16, delta: bool) -> io::Result<Self> {
        let api = if delta { "DELTA_GRPC" } else { "GRPC" };
        let text = BOOTSTRAP
            .replace("{api}", api)
            .replace("{port}", &port.to_string())
            .replace("{admin}", &admin.to_string());
        let bootstrap = std::env::temp_dir().join(format!("bench-xds-{}-{admin}.yaml", std::process::id()));
        fs::write(&bootstrap, text)?;
        let child = Command::new(binary)
            .arg("-c")
            .arg(&bootstrap)
            .args(["--concurrency", "2", "-l", "warning", "--disable-hot-restart"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, bootstrap })
    }

    /// CPU time of all its threads, as the scheduler accounts it.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let mut nanoseconds = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            // A thread may end while we look.
            if let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) {
                nanoseconds += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(Duration::from_nanos(nanoseconds))
    }

    /// Its proportional set size, in KiB.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn pss(&self) -> io::Result<u64> {
        self.figure("smaps_rollup", "Pss:")
    }

    /// The most memory it ever held, in KiB.
    ///
    /// # Errors
    /// It is gone.
    pub(crate) fn peak(&self) -> io::Result<u64> {
        self.figure("status", "VmHWM:")
    }

    fn figure(&self, file: &str, name: &str) -> io::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?;
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no {name} in {file}")))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.bootstrap);
    }
}

const BOOTSTRAP: &str = "
node: {id: bench, cluster: bench}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: {admin}}}}
dynamic_resources:
  ads_config: {api_type: {api}, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: control-plane}}]}
  cds_config: {ads: {}, resource_api_version: V3}
  lds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: control-plane
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment:
      cluster_name: control-plane
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: {port}}}}}]}]
";
