//! Pods as network namespaces, with Istio's redirection and addresses of their own (see `tests/peers/istio_pods.py`): the
//! `client` at 10.10.1.1, the `server` at 10.10.2.1 and, without a sidecar, `plain` at 10.10.3.1.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::peers;

/// The sidecar of a pod.
#[derive(Debug)]
pub struct PodSidecar<'a> {
    /// The pod.
    pub pod: &'a str,
    /// Its command line; its admin endpoint is on 127.0.0.1:15000.
    pub command: Vec<String>,
    /// What else runs in the pod.
    pub beside: Vec<Vec<String>>,
    /// Where it is started.
    pub folder: &'a Path,
    /// The statistics asked of it at the end.
    pub stats: &'a [&'a str],
}

/// The command in a network namespace of its own.
fn in_namespace(command: &Command) -> Command {
    let mut all = Command::new("unshare");
    all.args(["--user", "--map-root-user", "--net"])
        .arg(command.get_program())
        .args(command.get_args());
    all
}

/// Whether the system allows pods: namespaces, a bridge, redirection. If not, that is said.
#[must_use]
#[allow(
    clippy::print_stderr,
    reason = "who reads the tests' report is to know what was left out"
)]
pub fn can_be_had() -> bool {
    let mut probe = Command::new("sh");
    probe.args([
        "-c",
        "ip link add mesh type bridge && iptables -t nat -A OUTPUT -p tcp -m mark --mark 1 -j REDIRECT --to-ports 1",
    ]);
    let probed = in_namespace(&probe).output();
    let can = probed.as_ref().is_ok_and(|output| output.status.success());
    if !can {
        eprintln!("skipped: no network namespaces with a bridge and iptables: {probed:?}");
    }
    can
}

/// Has the pods make their calls; what came of them.
///
/// # Errors
/// What the script says that went wrong.
///
/// # Panics
/// The script cannot be started, or says what cannot be read.
pub fn run(sidecars: &[PodSidecar<'_>], calls: &Value) -> Result<Value, String> {
    let commands: serde_json::Map<String, Value> = sidecars
        .iter()
        .map(|sidecar| {
            let wanted = json!({
                "command": sidecar.command,
                "beside": sidecar.beside,
                "folder": sidecar.folder,
                "stats": sidecar.stats,
            });
            (sidecar.pod.to_owned(), wanted)
        })
        .collect();
    let mut child = in_namespace(&peers::script("istio_pods.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare was there before");
    let mut input = child.stdin.take().expect("it was piped");
    let wanted = json!({"sidecars": commands, "calls": calls});
    input
        .write_all(wanted.to_string().as_bytes())
        .expect("the script reads what is wanted");
    drop(input);
    let output = child.wait_with_output().expect("the script ends");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(serde_json::from_slice(&output.stdout).expect("the script prints an object"))
}
