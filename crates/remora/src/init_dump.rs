//! What `/init_dump` names: resources that wait for others, and why one that the control plane sent is not there.

use std::collections::HashMap;

use config::ResourceType;
use xds::{ResourceKey, Status};
use xds_api::envoy::admin::v3 as admin;

/// The components, by the name that `mask` chooses them by.
const COMPONENTS: [(&str, ResourceType); 5] = [
    ("listener", ResourceType::Listener),
    ("cluster", ResourceType::Cluster),
    ("route", ResourceType::RouteConfiguration),
    ("endpoint", ResourceType::ClusterLoadAssignment),
    ("secret", ResourceType::Secret),
];

/// What is waited for, by component. A target that was refused says why; so does, of its own, a resource of which there is
/// no good value, as nothing else will say what became of it.
pub(crate) fn unready_targets(status: &Status) -> Vec<(&'static str, admin::UnreadyTargetsDumps)> {
    let faulty = status.resources.iter().filter(|resource| resource.accepted.is_none());
    let refused: HashMap<&ResourceKey, &str> = faulty
        .filter_map(|resource| Some((&resource.key, &*resource.error.as_ref()?.details)))
        .collect();
    let target = |key: &ResourceKey| match refused.get(key) {
        Some(details) => format!("{key}: refused: {details}"),
        None => key.to_string(),
    };
    let component = |resource_type: ResourceType| {
        let of_type = status.resources.iter();
        let of_type = of_type.filter(|resource| resource.key.resource_type == resource_type);
        let dumps = of_type.filter_map(|resource| {
            let own = refused.get(&resource.key).map(|_| target(&resource.key));
            let target_names: Vec<_> = own.into_iter().chain(resource.waiting_for.iter().map(target)).collect();
            (!target_names.is_empty()).then(|| admin::unready_targets_dumps::UnreadyTargetsDump {
                name: resource.key.name.to_string(),
                target_names,
            })
        });
        admin::UnreadyTargetsDumps {
            unready_targets_dumps: dumps.collect(),
        }
    };
    COMPONENTS
        .map(|(name, resource_type)| (name, component(resource_type)))
        .into()
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use xds::status::{AcceptedStatus, ClientStatus, ErrorState, Origin, ResourceStatus};

    use super::*;

    fn resource(resource_type: ResourceType, name: &str, waiting_for: &[ResourceKey]) -> ResourceStatus {
        ResourceStatus {
            key: ResourceKey::new(resource_type, name),
            origin: Origin::Dynamic,
            client_status: ClientStatus::Requested,
            accepted: None,
            error: None,
            active: false,
            waiting_for: waiting_for.to_vec(),
        }
    }

    fn refused(resource: ResourceStatus) -> ResourceStatus {
        let error = ErrorState {
            version: "1".into(),
            details: "field: is wrong".into(),
            encoded: None,
            last_update_attempt: SystemTime::UNIX_EPOCH,
        };
        ResourceStatus {
            error: Some(error),
            ..resource
        }
    }

    /// `component name: [targets]` of all.
    fn lines(resources: Vec<ResourceStatus>) -> Vec<String> {
        let status = Status {
            resources,
            ..Status::default()
        };
        let components = unready_targets(&status);
        let lines = components.iter().flat_map(|(component, dumps)| {
            let dumps = dumps.unready_targets_dumps.iter();
            dumps.map(move |dump| format!("{component} {}: {:?}", dump.name, dump.target_names))
        });
        lines.collect()
    }

    #[test]
    fn a_resource_that_waits_names_what_it_waits_for_and_what_was_wrong_with_it() {
        let table = ResourceKey::new(ResourceType::RouteConfiguration, "t");
        let listener = || resource(ResourceType::Listener, "l", std::slice::from_ref(&table));
        let routes = || resource(ResourceType::RouteConfiguration, "t", &[]);
        assert_eq!(
            lines(vec![listener(), routes()]),
            [r#"listener l: ["RouteConfiguration \"t\""]"#]
        );
        let why = r#"["RouteConfiguration \"t\": refused: field: is wrong"]"#;
        assert_eq!(
            lines(vec![listener(), refused(routes())]),
            [format!("listener l: {why}"), format!("route t: {why}")]
        );
    }

    #[test]
    fn a_refusal_beside_a_value_that_serves_is_no_reason_to_wait() {
        let accepted = AcceptedStatus {
            version: "1".into(),
            last_updated: SystemTime::UNIX_EPOCH,
            encoded: [].into(),
            without_effect: [].into(),
        };
        let serving = ResourceStatus {
            accepted: Some(accepted),
            ..refused(resource(ResourceType::Cluster, "c", &[]))
        };
        assert_eq!(lines(vec![serving]), [""; 0]);
        assert_eq!(
            lines(vec![refused(resource(ResourceType::Cluster, "c", &[]))]),
            [r#"cluster c: ["Cluster \"c\": refused: field: is wrong"]"#]
        );
    }
}
