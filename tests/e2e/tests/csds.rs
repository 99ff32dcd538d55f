//! The xDS client's view over gRPC, beside the admin endpoint's pages, read by a client of another make.

use e2e::proxy::{Kind, Proxy};
use serde_json::Value;
use testkit::{Directory, peers};

const CLUSTERS: &str = r#"
version_info: "7"
resources:
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: good
  type: STATIC
  connect_timeout: 1s
- "@type": type.googleapis.com/envoy.config.cluster.v3.Cluster
  name: bad
  type: STATIC
  connect_timeout: -1s
"#;

fn resources(port: u16) -> Vec<Value> {
    let output = peers::script("csds_client.py")
        .arg(port.to_string())
        .output()
        .expect("the client runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn the_clients_view_is_served_as_grpc_on_the_admin_port() {
    let directory = Directory::new("csds");
    let path = directory.write("clusters.yaml", CLUSTERS);
    let bootstrap = format!(
        "node: {{id: csds-node, cluster: test}}\n\
         admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {{admin}}}}}}}}\n\
         dynamic_resources:\n  cds_config: {{path_config_source: {{path: {:?}}}, resource_api_version: V3}}\n",
        path.display().to_string()
    );
    let proxy = Proxy::start(Kind::Remora, &directory, "remora", &bootstrap);
    let resources = resources(proxy.admin);
    let named = |name: &str| resources.iter().find(|resource| resource["name"] == name).expect(name);
    let good = named("good");
    assert_eq!(good["node"], "csds-node");
    assert_eq!(good["type"], "Cluster");
    assert_eq!(good["status"], "ACKED");
    assert_eq!(good["has_content"], true);
    let bad = named("bad");
    assert_eq!(bad["status"], "NACKED");
    assert_eq!(bad["has_content"], false);
    let error = bad["error"].as_str().expect("a text");
    assert!(error.contains("connect_timeout"), "{error}");
}
