//! In which order changes go out, and what waits for what.

use std::time::Duration;

use super::{BOTH, Client, Cluster, Endpoints, Route, delta, kinds, names, routed, view};
use crate::testing::{GREETER, snapshot, snapshot_after, split};

/// A mesh with one more Service, to which the greeter's route leads.
fn grown() -> String {
    let service = "
---
apiVersion: v1
kind: Service
metadata: {name: canary, namespace: demo}
spec: {selector: {app: greeter, version: v2}, ports: [{name: grpc, port: 50051}]}
";
    format!(
        "{GREETER}{service}{}",
        split(1, 1).replace("name: greeter-v2", "name: canary")
    )
}

const CANARY: &str = "outbound|50051||canary.demo.svc.cluster.local";

#[test]
fn routes_wait_for_the_endpoints_of_clusters_they_name() {
    for is_sotw in BOTH {
        let before = snapshot(&routed(1, 1));
        let mut client = Client::new(is_sotw, view(&before));
        client.sync();
        client.session.set_view(view(&snapshot_after(&grown(), Some(&before))));
        let clusters = client.next().unwrap();
        assert_eq!(clusters.kind, Cluster);
        assert!(client.next().is_none(), "the clusters are not accepted yet");
        client.ack(&clusters);
        assert!(client.next().is_none(), "their endpoints are not asked for yet");
        let mut all = client.names[Endpoints.index()].clone();
        all.push(CANARY.to_owned());
        let names_now: Vec<&str> = all.iter().map(String::as_str).collect();
        if is_sotw {
            let (_, subscription) = client.session.state_of(Endpoints).unwrap();
            assert_eq!(subscription.known_count(), 3);
            client.ask(Endpoints, &names_now);
        } else {
            client.session.request(delta(Endpoints, "", &[CANARY], &[])).unwrap();
        }
        let endpoints = client.next().unwrap();
        assert_eq!((endpoints.kind, names(&endpoints)), (Endpoints, vec![CANARY]));
        assert!(client.next().is_none(), "they are not accepted yet");
        client.ack(&endpoints);
        assert_eq!(kinds(&client.settle()), [Route]);
    }
}

#[test]
fn routes_wait_for_clusters_for_a_time_and_no_longer() {
    let before = snapshot(&routed(1, 1));
    let mut client = Client::new(false, view(&before));
    client.sync();
    client.session.set_view(view(&snapshot_after(&grown(), Some(&before))));
    assert_eq!(client.next().unwrap().kind, Cluster);
    assert!(client.next().is_none());
    let deadline = client.session.deadline().unwrap();
    assert!(deadline <= client.now + Duration::from_secs(10));
    client.now = deadline;
    assert_eq!(client.next().unwrap().kind, Route);
}

#[test]
fn a_cluster_goes_only_when_the_routes_that_named_it_have_gone() {
    for is_sotw in BOTH {
        let before = snapshot(&grown());
        let mut client = Client::new(is_sotw, view(&before));
        client.sync();
        client
            .session
            .set_view(view(&snapshot_after(&routed(1, 1), Some(&before))));
        let routes = client.next().unwrap();
        assert_eq!(routes.kind, Route, "make before break");
        assert!(client.next().is_none());
        client.ack(&routes);
        let clusters = client.next().unwrap();
        assert_eq!(clusters.kind, Cluster);
        if is_sotw {
            assert!(!names(&clusters).contains(&CANARY) && clusters.resources.len() == 3);
        } else {
            assert_eq!(
                clusters.removed.iter().map(|name| &**name).collect::<Vec<_>>(),
                [CANARY]
            );
        }
    }
}

#[test]
fn a_cluster_that_must_stay_is_in_a_full_response_sent_meanwhile() {
    let before = snapshot(&grown());
    let mut client = Client::new(true, view(&before));
    client.sync();
    let slower = routed(1, 1)
        + "
---
apiVersion: policy.remora.dev/v1alpha1
kind: ServicePolicy
metadata: {name: p, namespace: demo}
spec: {targetRefs: [{name: greeter-v1}], connectTimeout: 9s}
";
    client.session.set_view(view(&snapshot_after(&slower, Some(&before))));
    let first = client.next().unwrap();
    assert_eq!(first.kind, Cluster);
    assert!(names(&first).contains(&CANARY), "its removal waits for the routes");
    client.ack(&first);
    let rest = client.settle();
    assert_eq!(kinds(&rest), [Endpoints, Route, Cluster]);
    assert!(!names(&rest[2]).contains(&CANARY));
}

#[test]
fn a_changed_clusters_endpoints_are_sent_again_since_envoy_warms_it_from_them() {
    for is_sotw in BOTH {
        let before = snapshot(GREETER);
        let mut client = Client::new(is_sotw, view(&before));
        client.sync();
        let slower = GREETER.to_owned()
            + "
---
apiVersion: policy.remora.dev/v1alpha1
kind: ServicePolicy
metadata: {name: p, namespace: demo}
spec: {targetRefs: [{name: greeter-v1}], connectTimeout: 9s}
";
        client.session.set_view(view(&snapshot_after(&slower, Some(&before))));
        let clusters = client.next().unwrap();
        let endpoints = client.next().unwrap();
        assert_eq!(
            (clusters.kind, endpoints.kind),
            (Cluster, Endpoints),
            "before the clusters are accepted"
        );
        assert_eq!(names(&endpoints), ["outbound|50051||greeter-v1.demo.svc.cluster.local"]);
    }
}
