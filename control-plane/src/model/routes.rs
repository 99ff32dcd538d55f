//! Routes attached to Services: whose they are, where their references lead, and in
//! which order their matches are tried.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::precedence::{Seniority, sort};
use super::{Name, PortRef, ResolvedBackend, ResolvedMirror, ResolvedRule, RuleTable, Service, TableEntry};
use crate::objects::route::{BackendRef, GrpcMethod, Match, Parent, PathMatch, Route, RouteKind, Rule};
use crate::objects::{Fault, LocatedObject, Object};

/// Which namespaces' routes may refer to which Services of others (ReferenceGrant).
#[derive(Debug, Default)]
struct Grants {
    /// Kind and namespace of the route, and the Service's namespace and, unless all, name.
    granted: HashSet<(String, String, Arc<str>, Option<String>)>,
}

impl Grants {
    fn new(objects: &[LocatedObject]) -> Self {
        let mut grants = Self::default();
        for object in objects {
            let Object::ReferenceGrant(grant) = &object.object else {
                continue;
            };
            for from in grant
                .spec
                .from
                .iter()
                .filter(|from| from.group == "gateway.networking.k8s.io")
            {
                for to in grant
                    .spec
                    .to
                    .iter()
                    .filter(|to| to.group.is_empty() && to.kind == "Service")
                {
                    let namespace = Arc::clone(&object.id.namespace);
                    grants
                        .granted
                        .insert((from.kind.clone(), from.namespace.clone(), namespace, to.name.clone()));
                }
            }
        }
        grants
    }

    fn permits(&self, kind: &str, from: &str, to: &Name) -> bool {
        let granted = |name: Option<&Arc<str>>| {
            let name = name.map(|name| name.to_string());
            self.granted
                .contains(&(kind.to_owned(), from.to_owned(), Arc::clone(&to.namespace), name))
        };
        granted(None) || granted(Some(&to.name))
    }
}

/// The rules of one namespace's routes for one port, while they are collected.
type Collected = BTreeMap<(PortRef, Arc<str>), Vec<(RouteKind, Seniority, TableEntry)>>;

/// Attaches every route to the ports it names.
pub(super) fn attach(objects: &[LocatedObject], services: &mut BTreeMap<Name, Service>, notes: &mut Vec<Fault>) {
    let grants = Grants::new(objects);
    let mut collected = Collected::new();
    for object in objects {
        let Object::Route(route) = &object.object else {
            continue;
        };
        if route.parents.is_empty() {
            notes.push(Fault::of_field(
                object,
                "spec.parentRefs",
                "no parent is a Service: the route has no effect here",
            ));
            continue;
        }
        if route.has_hostnames {
            let reason = "without effect: a route attached to a Service applies to the Service's own names";
            notes.push(Fault::of_field(object, "spec.hostnames", reason));
        }
        let entries = entries(object, route, services, &grants, notes);
        for parent in &route.parents {
            for port in parent_ports(object, parent, services, notes) {
                let key = (port, Arc::clone(&object.id.namespace));
                let attached = entries
                    .iter()
                    .map(|(seniority, entry)| (route.kind, seniority.clone(), entry.clone()));
                collected.entry(key).or_default().extend(attached);
            }
        }
    }
    for ((port, namespace), entries) in collected {
        let table = table(entries, &port, notes);
        let Some(service) = services.get_mut(&port.service) else {
            continue;
        };
        let Some(service_port) = service.ports.get_mut(&port.port) else {
            continue;
        };
        if namespace == port.service.namespace {
            service_port.producer_rules = Some(table);
        } else {
            service_port.consumer_rules.insert(namespace, table);
        }
    }
}

/// The ports that a parent reference means and that are there.
fn parent_ports(
    object: &LocatedObject,
    parent: &Parent,
    services: &BTreeMap<Name, Service>,
    notes: &mut Vec<Fault>,
) -> Vec<PortRef> {
    let name = Name::new(
        Arc::clone(parent.namespace_or(&object.id.namespace)),
        Arc::clone(&parent.name),
    );
    let Some(service) = services.get(&name) else {
        notes.push(Fault::of_field(
            object,
            &*parent.path,
            format!("there is no Service {name}"),
        ));
        return Vec::new();
    };
    let ports = service
        .ports
        .keys()
        .copied()
        .filter(|port| parent.port.is_none_or(|wanted| wanted == *port));
    let ports: Vec<PortRef> = ports
        .map(|port| PortRef {
            service: name.clone(),
            port,
        })
        .collect();
    if ports.is_empty() {
        let reason = match parent.port {
            Some(port) => format!("Service {name} has no port {port} that carries HTTP"),
            None => format!("Service {name} has no port that carries HTTP"),
        };
        notes.push(Fault::of_field(object, &*parent.path, reason));
    }
    ports
}

/// Every match of a route, each with its resolved rule.
fn entries(
    object: &LocatedObject,
    route: &Route,
    services: &BTreeMap<Name, Service>,
    grants: &Grants,
    notes: &mut Vec<Fault>,
) -> Vec<(Seniority, TableEntry)> {
    let mut entries = Vec::new();
    for (rule_index, rule) in route.rules.iter().enumerate() {
        let resolved = Arc::new(resolve(object, rule, services, grants, notes));
        let everything = [match_everything(route.kind)];
        let matches: &[Match] = if rule.matches.is_empty() {
            &everything
        } else {
            &rule.matches
        };
        for (match_index, condition) in matches.iter().enumerate() {
            let seniority = Seniority {
                has_no_date: route.created.is_none(),
                created: route.created.clone().unwrap_or_default(),
                route: Name::new(Arc::clone(&object.id.namespace), Arc::clone(&object.id.name)),
                rule: rule_index,
                condition: match_index,
            };
            let entry = TableEntry {
                name: format!("{} rule {rule_index} match {match_index}", object.id),
                condition: condition.clone(),
                rule: Arc::clone(&resolved),
            };
            entries.push((seniority, entry));
        }
    }
    entries
}

fn match_everything(kind: RouteKind) -> Match {
    let path = match kind {
        RouteKind::Http => PathMatch::Prefix("/".to_owned()),
        RouteKind::Grpc => PathMatch::Grpc(GrpcMethod::default()),
    };
    Match {
        path,
        method: None,
        headers: Vec::new(),
        query: Vec::new(),
    }
}

fn resolve(
    object: &LocatedObject,
    rule: &Rule,
    services: &BTreeMap<Name, Service>,
    grants: &Grants,
    notes: &mut Vec<Fault>,
) -> ResolvedRule {
    let mut target = |path: &str, reference: &BackendRef| -> Option<PortRef> {
        let name = Name::new(
            Arc::clone(reference.namespace_or(&object.id.namespace)),
            Arc::clone(&reference.name),
        );
        let reason = if name.namespace != object.id.namespace
            && !grants.permits(object.id.kind.name(), &object.id.namespace, &name)
        {
            format!(
                "no ReferenceGrant in {} lets a {} of {} refer to Service {name}",
                name.namespace, object.id.kind, object.id.namespace
            )
        } else if let Some(service) = services.get(&name) {
            if service.ports.contains_key(&reference.port) {
                return Some(PortRef {
                    service: name,
                    port: reference.port,
                });
            }
            format!("Service {name} has no port {} that carries HTTP", reference.port)
        } else {
            format!("there is no Service {name}")
        };
        notes.push(Fault::of_field(
            object,
            path,
            format!("{reason}; requests sent there fail"),
        ));
        None
    };
    let mut backends = Vec::new();
    for backend in rule.backends.iter().filter(|backend| backend.weight > 0) {
        backends.push(ResolvedBackend {
            target: target(&backend.path, &backend.target),
            weight: backend.weight,
            request_headers: backend.request_headers.clone(),
            response_headers: backend.response_headers.clone(),
        });
    }
    let mut mirrors = Vec::new();
    for mirror in &rule.filters.mirrors {
        if let Some(target) = target(&mirror.path, &mirror.target) {
            mirrors.push(ResolvedMirror {
                target,
                fraction: mirror.fraction,
            });
        }
    }
    let mut filters = rule.filters.clone();
    filters.mirrors.clear();
    ResolvedRule {
        filters,
        mirrors,
        redirect: rule.redirect.clone(),
        backends,
        timeout: rule.timeout,
        backend_timeout: rule.backend_timeout,
        retry: rule.retry.clone(),
    }
}

/// The table of one port. With routes of both kinds the more specific kind is followed
/// and the other has no effect (GEP-1426, "Route type precedence").
fn table(entries: Vec<(RouteKind, Seniority, TableEntry)>, port: &PortRef, notes: &mut Vec<Fault>) -> RuleTable {
    let has_grpc = entries.iter().any(|(kind, ..)| *kind == RouteKind::Grpc);
    let mut followed = Vec::new();
    let mut passed_over = BTreeMap::new();
    for (kind, seniority, entry) in entries {
        if has_grpc && kind == RouteKind::Http {
            passed_over.insert(seniority.route, ());
        } else {
            followed.push((seniority, entry));
        }
    }
    for route in passed_over.into_keys() {
        notes.push(Fault {
            file: String::new(),
            line: 0,
            object: format!("HTTPRoute {route}"),
            path: "spec.parentRefs".to_owned(),
            reason: format!(
                "without effect on Service {} port {}, which has a GRPCRoute",
                port.service, port.port
            ),
        });
    }
    sort(&mut followed);
    followed.into_iter().map(|(_, entry)| entry).collect()
}
