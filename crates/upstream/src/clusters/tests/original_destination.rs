//! ORIGINAL_DST clusters.

use std::net::SocketAddr;

use config::cluster::{LbPolicy, OriginalDst};

use super::*;

fn original(upstream_port_override: Option<u16>) -> Cluster {
    let mut cluster = testing::cluster("c", vec![]);
    cluster.discovery = Discovery::OriginalDst(OriginalDst {
        http_header_name: None,
        upstream_port_override,
    });
    cluster.lb_policy = LbPolicy::ClusterProvided;
    cluster.cleanup_interval = 5 * SECOND;
    cluster
}

fn pick(scripted: &Scripted, worker: &mut WorkerLb, address: &str) -> Option<Arc<EndpointState>> {
    let context = PickContext {
        original_destination: Some(address.parse::<SocketAddr>().unwrap()),
        ..PickContext::default()
    };
    scripted.handle().pick(&context, worker).ok()
}

#[test]
fn an_endpoint_is_made_at_its_first_use_and_dropped_when_nobody_uses_it() {
    let mut scripted = Scripted::with(original(None));
    let mut workers = [WorkerLb::new(Shard::CONTROL, 1), WorkerLb::new(Shard::CONTROL, 2)];
    let first = pick(&scripted, &mut workers[0], "10.0.0.1:80").unwrap();
    assert!(first.is_usable());
    let same = pick(&scripted, &mut workers[1], "10.0.0.1:80").unwrap();
    assert!(Arc::ptr_eq(&first, &same), "workers share it");
    pick(&scripted, &mut workers[1], "10.0.0.2:443").unwrap();
    scripted.clusters.on_marked(scripted.now);
    scripted.advance(SECOND);
    assert_eq!(scripted.addresses(), ["10.0.0.1:80", "10.0.0.2:443"]);

    // Both were used since the cluster came; then only the one with a connection stays.
    scripted.advance(5 * SECOND);
    assert_eq!(scripted.addresses().len(), 2);
    let connection = first.start_connection();
    scripted.advance(5 * SECOND);
    assert_eq!(scripted.addresses(), ["10.0.0.1:80"]);
    assert!(first.is_usable());
    drop(connection);
    scripted.advance(5 * SECOND);
    assert!(scripted.addresses().is_empty());
    assert!(first.is_removed());
    assert!(
        pick(&scripted, &mut workers[0], "10.0.0.1:80").unwrap().is_usable(),
        "it comes back"
    );
}

#[test]
fn the_port_may_be_another_and_without_an_address_there_is_nothing() {
    let scripted = Scripted::with(original(Some(15_006)));
    let mut worker = WorkerLb::new(Shard::CONTROL, 1);
    let picked = pick(&scripted, &mut worker, "10.0.0.1:80").unwrap();
    assert_eq!(picked.address().to_string(), "10.0.0.1:15006");
    assert!(scripted.handle().pick(&PickContext::default(), &mut worker).is_err());
}
