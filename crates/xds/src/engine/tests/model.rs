//! A management server that does what `xds_protocol.rst` says, in either variant, over no transport.

use std::collections::{BTreeMap, BTreeSet};

use xds_api::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource, ResourceError,
    ResourceName,
};
use xds_api::google::rpc::Status;
use xds_api::prost::Message as _;

use super::*;
use crate::key::ResourceKey;

/// What there is.
#[derive(Debug, Clone, Default)]
pub(super) struct World {
    pub(super) resources: BTreeMap<ResourceKey, Fixture>,
    /// For how many seconds a resource is good, where that is said.
    pub(super) seconds: BTreeMap<ResourceKey, u8>,
}

impl World {
    /// The names of a type that a stream asks for, with what they stand for.
    fn of(&self, resource_type: ResourceType, subscribed: &Subscribed) -> BTreeMap<String, &Fixture> {
        self.resources
            .iter()
            .filter(|(key, _)| key.resource_type == resource_type)
            .filter(|(key, _)| subscribed.wildcard || subscribed.names.contains(&*key.name))
            .map(|(key, fixture)| (key.name.to_string(), fixture))
            .collect()
    }

    /// The time to live of a resource.
    fn ttl(&self, resource_type: ResourceType, name: &str) -> Option<xds_api::google::protobuf::Duration> {
        let seconds = *self.seconds.get(&ResourceKey::new(resource_type, name))?;
        Some(xds_api::google::protobuf::Duration {
            seconds: seconds.into(),
            nanos: 0,
        })
    }
}

/// How a response is spoiled on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoil {
    No,
    /// A resource in it is not protobuf.
    Garbage,
    /// A resource is in it twice.
    Duplicate,
    /// It holds a resource nobody asked for.
    Unasked,
    /// What has a time to live comes without its body, which renews it.
    Heartbeat,
    /// With an error for the first resource, which is not sent: this code of gRPC's.
    Reported(i32),
}

/// One stream as the server sees it.
#[derive(Debug, Default)]
pub(super) struct Server {
    streams: BTreeMap<ResourceType, Subscribed>,
    nonce: u64,
}

#[derive(Debug, Default)]
struct Subscribed {
    wildcard: bool,
    names: BTreeSet<String>,
    /// What the client has, by name and version, as far as the server knows. None before the first response.
    sent: Option<BTreeMap<String, u32>>,
    /// Names to be answered whatever the client has.
    owed: BTreeSet<String>,
}

impl Server {
    /// The client's requests, in order.
    pub(super) fn hear(&mut self, mut next: impl FnMut() -> Option<Request>) {
        while let Some(request) = next() {
            match request {
                Request::StateOfTheWorld(request) => self.hear_sotw(&request),
                Request::Delta(request) => self.hear_delta(request),
            }
        }
    }

    fn hear_sotw(&mut self, request: &DiscoveryRequest) {
        let resource_type = ResourceType::from_type_url(&request.type_url).expect("a known type");
        let subscribed = self.streams.entry(resource_type).or_default();
        let names: BTreeSet<String> = request.resource_names.iter().cloned().collect();
        subscribed.wildcard = matches!(resource_type, CDS | LDS);
        if request.error_detail.is_some() || names != subscribed.names {
            subscribed.sent = None;
        }
        subscribed.names = names;
    }

    fn hear_delta(&mut self, request: DeltaDiscoveryRequest) {
        let resource_type = ResourceType::from_type_url(&request.type_url).expect("a known type");
        let first = !self.streams.contains_key(&resource_type);
        let subscribed = self.streams.entry(resource_type).or_default();
        if first {
            subscribed.wildcard = request.resource_names_subscribe.is_empty();
            // A version of another server is not claimed: the resource is, and it is sent unless there is none.
            let number = |version: String| match version.as_str() {
                "" => u32::MAX,
                version => version.parse().expect("our versions are numbers"),
            };
            let version = |(name, version): (String, String)| (name, number(version));
            let versions: BTreeMap<_, _> = request.initial_resource_versions.into_iter().map(version).collect();
            assert!(
                subscribed.wildcard
                    || versions
                        .keys()
                        .all(|name| request.resource_names_subscribe.contains(name)),
                "versions are claimed of what is asked for"
            );
            subscribed.sent = Some(versions);
        } else {
            assert!(
                request.initial_resource_versions.is_empty(),
                "versions are claimed in the first message only"
            );
        }
        if request.error_detail.is_some() {
            // Something of the last response was refused, so all of it is sent again.
            subscribed
                .sent
                .get_or_insert_default()
                .values_mut()
                .for_each(|version| *version = u32::MAX);
        }
        for name in request.resource_names_subscribe {
            // A name given up and wanted again before the server heard of it is subscribed to once more, to be sent again.
            subscribed.names.insert(name.clone());
            if !first {
                subscribed.owed.insert(name);
            }
        }
        for name in request.resource_names_unsubscribe {
            assert!(subscribed.names.remove(&name), "{name} was not subscribed to");
            subscribed.owed.remove(&name);
            subscribed.sent.get_or_insert_default().remove(&name);
        }
    }

    /// What the server would send of a type now; none when the client has it all.
    pub(super) fn response(
        &mut self,
        variant: Variant,
        world: &World,
        resource_type: ResourceType,
        spoil: Spoil,
    ) -> Option<Response> {
        let subscribed = self.streams.get_mut(&resource_type)?;
        let wanted = world.of(resource_type, subscribed);
        let versions: BTreeMap<String, u32> = wanted.iter().map(|(name, f)| (name.clone(), f.revision)).collect();
        self.nonce += 1;
        let nonce = self.nonce.to_string();
        let type_url = resource_type.type_url().to_owned();
        let mut resources: Vec<(String, u32, Any)> = Vec::new();
        let mut removed = Vec::new();
        match variant {
            Variant::StateOfTheWorld => {
                if subscribed.sent.as_ref() == Some(&versions) && spoil == Spoil::No {
                    return None;
                }
                resources.extend(
                    wanted
                        .iter()
                        .map(|(n, f)| (n.clone(), f.revision, f.any(resource_type))),
                );
            }
            Variant::Delta => {
                let sent = subscribed.sent.get_or_insert_default();
                let owed = std::mem::take(&mut subscribed.owed);
                let stale = |name: &String| sent.get(name) != versions.get(name) || owed.contains(name);
                let mortal = |name: &String| world.ttl(resource_type, name).is_some();
                let renewed = |name: &String| spoil == Spoil::Heartbeat && mortal(name);
                let names = wanted.iter().filter(|(name, _)| stale(name) || renewed(name));
                resources.extend(names.map(|(n, f)| (n.clone(), f.revision, f.any(resource_type))));
                removed.extend(
                    sent.keys()
                        .chain(&owed)
                        .filter(|name| !wanted.contains_key(*name))
                        .cloned(),
                );
                removed.sort();
                removed.dedup();
                if resources.is_empty() && removed.is_empty() && spoil == Spoil::No {
                    return None;
                }
            }
        }
        subscribed.sent = Some(versions);
        let version = world
            .resources
            .values()
            .map(|fixture| fixture.revision)
            .max()
            .unwrap_or_default();
        let mut resource_errors = Vec::new();
        if let (Spoil::Reported(code), false) = (spoil, resources.is_empty()) {
            let (name, ..) = resources.remove(0);
            // The client may have lost it by this: it is to be sent again.
            subscribed.sent = match variant {
                Variant::StateOfTheWorld => None,
                Variant::Delta => subscribed.sent.take().map(|mut sent| {
                    sent.remove(&name);
                    sent
                }),
            };
            resource_errors.push(reported(name, code));
        }
        spoiled(&mut resources, resource_type, spoil);
        let mut resources: Vec<Resource> = resources
            .into_iter()
            .map(|(name, version, any)| Resource {
                ttl: world.ttl(resource_type, &name),
                name,
                version: version.to_string(),
                resource: Some(any),
                ..Default::default()
            })
            .collect();
        if spoil == Spoil::Heartbeat {
            for resource in resources.iter_mut().filter(|resource| resource.ttl.is_some()) {
                resource.resource = None;
            }
        }
        Some(match variant {
            Variant::StateOfTheWorld => Response::StateOfTheWorld(DiscoveryResponse {
                version_info: version.to_string(),
                resources: resources.into_iter().map(wrapped).collect(),
                resource_errors,
                type_url,
                nonce,
                ..Default::default()
            }),
            Variant::Delta => Response::Delta(DeltaDiscoveryResponse {
                resources,
                resource_errors,
                removed_resources: removed,
                type_url,
                nonce,
                ..Default::default()
            }),
        })
    }
}

/// A resource as state of the world sends it: in a wrapper where there is more to say than what it is.
fn wrapped(resource: Resource) -> Any {
    match resource.resource {
        Some(any) if resource.ttl.is_none() => any,
        _ => Any {
            type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".into(),
            value: resource.encode_to_vec(),
        },
    }
}

fn reported(name: String, code: i32) -> ResourceError {
    ResourceError {
        resource_name: Some(ResourceName {
            name,
            ..Default::default()
        }),
        error_detail: Some(Status {
            code,
            message: "there is something wrong".into(),
            ..Default::default()
        }),
    }
}

fn spoiled(resources: &mut Vec<(String, u32, Any)>, resource_type: ResourceType, spoil: Spoil) {
    match spoil {
        Spoil::No | Spoil::Heartbeat | Spoil::Reported(_) => {}
        Spoil::Garbage => {
            let any = Any {
                type_url: resource_type.type_url().into(),
                value: vec![0xff; 5],
            };
            resources.push(("garbage".into(), 0, any));
        }
        Spoil::Duplicate => resources.extend(resources.first().cloned()),
        Spoil::Unasked if matches!(resource_type, CDS | LDS) => {}
        Spoil::Unasked => {
            let unasked = fixture("unasked", &["cds:unasked"]);
            resources.push(("unasked".into(), 0, unasked.any(resource_type)));
        }
    }
}
