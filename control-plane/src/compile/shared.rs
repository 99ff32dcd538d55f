//! Resources that do not depend on who asks, and what a namespace's callers see of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use xds_api::envoy::config::route::v3::{Route, RouteConfiguration};

use super::resource::{Resource, ResourceSet, ResourceType};
use super::{Flavor, Scope, Withheld, cluster, is_visible, listener, names, route};
use crate::model::{Mesh, PortRef, RuleTable};
use crate::validate::Validator;

/// A port's routes, as callers of some namespaces have them.
#[derive(Clone, Debug)]
struct PortRoutes {
    routes: Vec<Route>,
    /// The Services' ports they lead to.
    targets: BTreeSet<PortRef>,
}

/// Everything of one flavor.
#[derive(Debug, Default)]
pub(super) struct Shared {
    flavor: Option<Flavor>,
    clusters: BTreeMap<PortRef, Arc<Resource>>,
    endpoints: BTreeMap<PortRef, Arc<Resource>>,
    nowhere: Option<Arc<Resource>>,
    /// By port, and for consumer routes by the callers' namespace.
    routes: BTreeMap<(PortRef, Option<Arc<str>>), PortRoutes>,
}

impl Shared {
    pub(super) fn new(
        mesh: &Mesh,
        flavor: Flavor,
        validator: &dyn Validator,
        before: Option<&Self>,
        withheld: &mut Vec<Withheld>,
    ) -> Self {
        let mut shared = Self {
            flavor: Some(flavor),
            ..Self::default()
        };
        let settings = &mesh.settings;
        let mut leads_nowhere = false;
        for (name, service) in &mesh.services {
            for (number, port) in &service.ports {
                let reference = PortRef {
                    service: name.clone(),
                    port: *number,
                };
                let built = cluster::outbound(settings, service, port, &reference, flavor);
                let built = Resource::new(ResourceType::Cluster, built.name.as_str(), &built);
                let earlier = before.and_then(|before| before.clusters.get(&reference));
                shared
                    .clusters
                    .extend(accept(built, earlier, validator, withheld).map(|built| (reference.clone(), built)));

                let built = cluster::load_assignment(settings, service, port, &reference, flavor);
                let built = Resource::new(ResourceType::Endpoints, built.cluster_name.as_str(), &built);
                let earlier = before.and_then(|before| before.endpoints.get(&reference));
                shared
                    .endpoints
                    .extend(accept(built, earlier, validator, withheld).map(|built| (reference.clone(), built)));

                leads_nowhere |= route::leads_nowhere(port);
                let consumers = port
                    .consumer_rules
                    .iter()
                    .map(|(namespace, rules)| (Some(namespace), Some(rules)));
                for (namespace, rules) in consumers.chain([(None, port.producer_rules.as_ref())]) {
                    let key = (reference.clone(), namespace.map(Arc::clone));
                    let built = PortRoutes {
                        routes: route::routes(settings, &service.policy, &reference, rules.map(Vec::as_slice)),
                        targets: targets(&reference, rules),
                    };
                    let earlier = before.and_then(|before| before.routes.get(&key));
                    if let Some(accepted) = accept_routes(&key, built, earlier, validator, withheld) {
                        shared.routes.insert(key, accepted);
                    }
                }
            }
        }
        if leads_nowhere {
            let built = cluster::nowhere();
            shared.nowhere = Some(Arc::new(Resource::new(
                ResourceType::Cluster,
                built.name.as_str(),
                &built,
            )));
        }
        shared
    }

    /// What callers in a namespace see.
    pub(super) fn scope(&self, mesh: &Mesh, namespace: &str) -> Scope {
        let mut virtual_hosts = Vec::new();
        let mut listeners = ResourceSet::new();
        let mut reachable = BTreeSet::new();
        let mut taken = HashSet::new();
        for (name, service) in &mesh.services {
            if !is_visible(service, namespace) {
                continue;
            }
            let hosts = names::hosts(&mesh.settings, service, namespace);
            let default_port = names::default_port(service);
            for number in service.ports.keys() {
                let reference = PortRef {
                    service: name.clone(),
                    port: *number,
                };
                let consumer = self.routes.get(&(reference.clone(), Some(namespace.into())));
                let Some(routes) = consumer.or_else(|| self.routes.get(&(reference.clone(), None))) else {
                    continue;
                };
                let mut domains: Vec<String> = Vec::with_capacity(hosts.len() * 2);
                for host in &hosts {
                    if default_port == Some(*number) {
                        domains.push(host.clone());
                    }
                    domains.push(format!("{host}:{number}"));
                }
                // Two Services may claim one address; a proxy refuses a table that says
                // so, and the first Service by name has it.
                domains.retain(|domain| taken.insert(domain.clone()));
                if domains.is_empty() {
                    continue;
                }
                let full_name = format!("{}:{number}", mesh.settings.host(name));
                if self.flavor == Some(Flavor::Proxyless) {
                    for alias in [full_name.clone(), format!("{}.{}:{number}", name.name, name.namespace)] {
                        let built = listener::api(alias);
                        let built = Resource::new(ResourceType::Listener, built.name.as_str(), &built);
                        listeners.insert(Arc::clone(&built.name), Arc::new(built));
                    }
                }
                virtual_hosts.push(route::virtual_host(full_name, domains, routes.routes.clone()));
                reachable.extend(routes.targets.iter().cloned());
                reachable.insert(reference);
            }
        }
        let table = RouteConfiguration {
            name: names::OUTBOUND_ROUTES.to_owned(),
            virtual_hosts,
            ..Default::default()
        };
        let table = Resource::new(ResourceType::Route, names::OUTBOUND_ROUTES, &table);
        let of = |resources: &BTreeMap<PortRef, Arc<Resource>>| -> ResourceSet {
            let found = reachable.iter().filter_map(|port| resources.get(port));
            found
                .map(|resource| (Arc::clone(&resource.name), Arc::clone(resource)))
                .collect()
        };
        let mut clusters = of(&self.clusters);
        clusters.extend(
            self.nowhere
                .iter()
                .map(|nowhere| (Arc::clone(&nowhere.name), Arc::clone(nowhere))),
        );
        Scope {
            clusters: Arc::new(clusters),
            endpoints: Arc::new(of(&self.endpoints)),
            routes: Arc::new(ResourceSet::from([(Arc::clone(&table.name), Arc::new(table))])),
            listeners: Arc::new(listeners),
        }
    }
}

/// The ports that a port's routes lead to.
fn targets(reference: &PortRef, rules: Option<&RuleTable>) -> BTreeSet<PortRef> {
    let Some(rules) = rules else {
        return BTreeSet::from([reference.clone()]);
    };
    let backends = rules
        .iter()
        .flat_map(|entry| &entry.rule.backends)
        .filter_map(|backend| backend.target.clone());
    let mirrors = rules
        .iter()
        .flat_map(|entry| &entry.rule.mirrors)
        .map(|mirror| mirror.target.clone());
    backends.chain(mirrors).collect()
}

/// The resource if it is good, else the earlier one of its name.
fn accept(
    built: Resource,
    earlier: Option<&Arc<Resource>>,
    validator: &dyn Validator,
    withheld: &mut Vec<Withheld>,
) -> Option<Arc<Resource>> {
    // What was good is good.
    if let Some(earlier) = earlier
        && earlier.version == built.version
    {
        return Some(Arc::clone(earlier));
    }
    match validator.validate(&built) {
        Ok(()) => Some(Arc::new(built)),
        Err(reasons) => {
            withheld.push(Withheld::new(&built, reasons));
            earlier.map(Arc::clone)
        }
    }
}

/// The routes if they are good, else the earlier ones. They are looked at by themselves,
/// so that one Service's fault does not hold up the table that all share.
fn accept_routes(
    (port, namespace): &(PortRef, Option<Arc<str>>),
    built: PortRoutes,
    earlier: Option<&PortRoutes>,
    validator: &dyn Validator,
    withheld: &mut Vec<Withheld>,
) -> Option<PortRoutes> {
    if let Some(earlier) = earlier
        && earlier.routes == built.routes
    {
        return Some(built);
    }
    let name = format!("{}:{}", port.service, port.port);
    let table = RouteConfiguration {
        virtual_hosts: vec![route::virtual_host(
            name.clone(),
            vec!["*".to_owned()],
            built.routes.clone(),
        )],
        name: name.clone(),
        ..Default::default()
    };
    let table = Resource::new(ResourceType::Route, name, &table);
    match validator.validate(&table) {
        Ok(()) => Some(built),
        Err(reasons) => {
            let mut fault = Withheld::new(&table, reasons);
            if let Some(namespace) = namespace {
                fault.name = format!("{} for callers in {namespace}", fault.name);
            }
            withheld.push(fault);
            earlier.cloned()
        }
    }
}
