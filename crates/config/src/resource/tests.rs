use xds_api::envoy::config::cluster::v3::Cluster as PbCluster;
use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::endpoint::v3 as endpoint;
use xds_api::prost::Message as _;

use super::*;
use crate::testing::{extensions, message};

#[test]
fn a_type_is_known_by_its_url() {
    for resource_type in ResourceType::ALL {
        assert_eq!(
            ResourceType::from_type_url(resource_type.type_url()),
            Some(resource_type)
        );
        assert!(resource_type.type_url().ends_with(resource_type.message()));
        assert!(resource_type.message().ends_with(&resource_type.to_string()));
    }
    assert_eq!(
        ResourceType::from_type_url("type.googleapis.com/envoy.config.cluster.v3.Filter"),
        None
    );
    assert_eq!(ResourceType::from_type_url(""), None);
}

#[test]
fn a_resource_is_parsed_from_its_bytes() {
    let bytes = message::<PbCluster>("name: c\nlrs_server: {self: {}}").encode_to_vec();
    let parsed = Resource::parse(ResourceType::Cluster, &bytes, &extensions()).unwrap();
    assert_eq!(
        (&**parsed.value.name(), parsed.value.resource_type()),
        ("c", ResourceType::Cluster)
    );
    assert_eq!(parsed.value.fingerprint(), Fingerprint::of(&bytes));
    assert_eq!(parsed.without_effect[0].path.as_str(), "lrs_server");
    assert_eq!(
        parsed.value,
        Resource::parse(ResourceType::Cluster, &bytes, &extensions())
            .unwrap()
            .value
    );
}

#[test]
fn every_type_can_be_parsed() {
    for resource_type in ResourceType::ALL {
        // Field 1 is the name in all of them.
        let named = [0x0a, 1, b'n'];
        let name = match Resource::parse(resource_type, &named, &extensions()) {
            Ok(parsed) => parsed.value.name().to_string(),
            Err(faults) => {
                assert_eq!(resource_type, ResourceType::Listener);
                assert_eq!(faults.len(), 2, "{faults:?}");
                continue;
            }
        };
        assert_eq!(name, "n", "{resource_type}");
    }
}

#[test]
fn bytes_that_are_no_message_are_one_fault_and_may_still_have_a_name() {
    let mut bytes = message::<PbCluster>("name: broken").encode_to_vec();
    bytes.extend([0xff, 0xff]);
    let faults = Resource::parse(ResourceType::Cluster, &bytes, &extensions()).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert!(
        faults[0].to_string().starts_with("is not a valid Cluster: "),
        "{}",
        faults[0]
    );
    assert_eq!(peek_name(&bytes).as_deref(), Some("broken"));
    assert_eq!(peek_name(&[0xff]), None);
    assert_eq!(peek_name(&[]), None);
}

#[test]
fn references_are_listed_once() {
    let mut references = References::default();
    let (name, other) = (Arc::from("a"), Arc::from("b"));
    let source = Arc::new(ConfigSource::ads());
    references.add_cluster(&name);
    references.add(ResourceType::Secret, &name, Some(&source));
    references.add(ResourceType::Secret, &name, None);
    references.add_cluster(&other);
    for _ in 0..2 {
        references.add_cluster(&name);
        references.add(ResourceType::Secret, &name, None);
        references.add(ResourceType::Secret, &name, Some(&Arc::new(ConfigSource::ads())));
    }
    assert_eq!(references.iter().count(), 4);
    assert_eq!(
        references
            .names(ResourceType::Cluster)
            .map(|name| &**name)
            .collect::<Vec<_>>(),
        ["a", "b"]
    );
}

/// Whatever bytes arrive: an answer, never a panic.
#[test]
fn mangled_resources_never_panic() {
    let assignment = endpoint::ClusterLoadAssignment {
        cluster_name: "s".into(),
        endpoints: vec![endpoint::LocalityLbEndpoints {
            locality: Some(core::Locality {
                region: "r".into(),
                ..Default::default()
            }),
            priority: 3,
            ..Default::default()
        }],
        ..Default::default()
    };
    let cluster = message::<PbCluster>(
        "name: c\ntype: LOGICAL_DNS\nconnect_timeout: 1s\nhealth_checks: [{timeout: 1s, tcp_health_check: {}}]\n\
         circuit_breakers: {thresholds: [{max_requests: 3}]}\noutlier_detection: {}\ncommon_lb_config: {}",
    );
    let extensions = extensions();
    for original in [assignment.encode_to_vec(), cluster.encode_to_vec()] {
        for at in 0..original.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                let mut bytes = original.clone();
                bytes[at] = value;
                for resource_type in ResourceType::ALL {
                    let _ = Resource::parse(resource_type, &bytes, &extensions);
                    let _ = Resource::parse(resource_type, &bytes[..at], &extensions);
                }
            }
        }
    }
}
