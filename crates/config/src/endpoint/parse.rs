//! Parsing of endpoints.

use std::collections::HashMap;
use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::endpoint::v3 as pb;

use super::{
    ClusterLoadAssignment, DropOverload, Endpoint, EndpointDetails, EndpointHealthCheckConfig, HealthStatus, Locality,
    LocalityEndpoints,
};
use crate::address::Address;
use crate::context::Context;
use crate::metadata::Metadata;
use crate::percent::FractionalPercent;
use crate::rejected::Reported;
use crate::shared_str::{non_empty, shared};

/// Envoy's limit on priorities.
const LOWEST_PRIORITY: u32 = 128;

/// How an address may be given, which depends on what uses the endpoints.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hosts {
    /// An IP address or Unix socket.
    Addresses,
    /// A name to resolve as well.
    Names,
}

type Named = HashMap<String, pb::Endpoint>;

impl ClusterLoadAssignment {
    /// Parses the endpoints of an EDS cluster.
    ///
    /// # Errors
    /// When any field is at fault.
    pub fn parse(context: &mut Context<'_>, message: &pb::ClusterLoadAssignment) -> Result<Self, Reported> {
        Self::parse_hosts(context, message, Hosts::Addresses)
    }

    pub(crate) fn parse_hosts(
        context: &mut Context<'_>,
        message: &pb::ClusterLoadAssignment,
        hosts: Hosts,
    ) -> Result<Self, Reported> {
        let fingerprint = context.take_fingerprint(message);
        context.check(message);
        let cluster_name = context.name("cluster_name", &message.cluster_name);
        let endpoints = context.each("endpoints", &message.endpoints, |context, locality| {
            LocalityEndpoints::parse(context, locality, &message.named_endpoints, hosts)
        });
        let endpoints: Result<Vec<LocalityEndpoints>, _> = endpoints;
        if let Ok(endpoints) = &endpoints {
            check_localities(context, endpoints);
        }
        let policy = message.policy.clone().unwrap_or_default();
        let (overprovisioning_factor, drop_overloads, endpoint_stale_after) = context.at("policy", |context| {
            context.check(&policy);
            let factor = context.in_range(
                "overprovisioning_factor",
                policy.overprovisioning_factor.as_ref(),
                1..=u32::MAX,
            );
            let drops = context.each("drop_overloads", &policy.drop_overloads, |context, drop| {
                context.check(drop);
                let category = context.text("category", &drop.category);
                let percentage = context.required(
                    "drop_percentage",
                    drop.drop_percentage.as_ref(),
                    FractionalPercent::parse,
                );
                Ok(DropOverload {
                    category: category?,
                    drop_percentage: percentage?,
                })
            });
            let stale = context.positive_duration("endpoint_stale_after", policy.endpoint_stale_after.as_ref());
            (factor, drops, stale)
        });
        Ok(Self {
            cluster_name: cluster_name?,
            endpoints: endpoints?,
            overprovisioning_factor: overprovisioning_factor?.unwrap_or(Self::DEFAULT_OVERPROVISIONING_FACTOR),
            weighted_priority_health: policy.weighted_priority_health,
            drop_overloads: drop_overloads?,
            endpoint_stale_after: endpoint_stale_after?,
            fingerprint,
        })
    }
}

/// The weights of the localities of one priority must add up to a number that Envoy can hold.
fn check_localities(context: &mut Context<'_>, endpoints: &[LocalityEndpoints]) {
    let lowest = endpoints.iter().map(|locality| locality.priority).max().unwrap_or(0);
    for priority in 0..=lowest.min(LOWEST_PRIORITY) {
        let localities = endpoints.iter().filter(|locality| locality.priority == priority);
        let weights = localities.map(|locality| locality.load_balancing_weight.unwrap_or(0));
        if weights.map(u64::from).sum::<u64>() > u64::from(u32::MAX) {
            let reason = format!("has weights of priority {priority} that add up to more than 4294967295");
            context.reject_field("endpoints", reason);
        }
    }
}

impl LocalityEndpoints {
    fn parse(
        context: &mut Context<'_>,
        message: &pb::LocalityLbEndpoints,
        named: &Named,
        hosts: Hosts,
    ) -> Result<Self, Reported> {
        context.check(message);
        let priority = match message.priority {
            priority @ 0..=LOWEST_PRIORITY => Ok(priority),
            priority => {
                Err(context.reject_field("priority", format!("is {priority}, expected at most {LOWEST_PRIORITY}")))
            }
        };
        let weight = context.in_range(
            "load_balancing_weight",
            message.load_balancing_weight.as_ref(),
            1..=u32::MAX,
        );
        let endpoints = context.each("lb_endpoints", &message.lb_endpoints, |context, endpoint| {
            Endpoint::parse(context, endpoint, named, hosts)
        });
        if message.lb_config.is_some() {
            return Err(context.reported());
        }
        let metadata = Metadata::parse_optional(context, "metadata", message.metadata.as_ref());
        let locality = message.locality.as_ref().map(Locality::parse).unwrap_or_default();
        Ok(Self {
            locality: context.share(locality),
            priority: priority?,
            load_balancing_weight: weight?,
            metadata: context.share(metadata),
            endpoints: endpoints?,
        })
    }
}

impl Locality {
    /// A locality cannot be invalid.
    pub fn parse(message: &core::Locality) -> Self {
        Self {
            region: shared(&message.region),
            zone: shared(&message.zone),
            sub_zone: shared(&message.sub_zone),
        }
    }
}

impl Endpoint {
    fn parse(
        context: &mut Context<'_>,
        message: &pb::LbEndpoint,
        named: &Named,
        hosts: Hosts,
    ) -> Result<Self, Reported> {
        use pb::lb_endpoint::HostIdentifier;
        context.check(message);
        let weight = context.in_range(
            "load_balancing_weight",
            message.load_balancing_weight.as_ref(),
            1..=u32::MAX,
        );
        let health_status = context
            .enumeration::<core::HealthStatus>("health_status", message.health_status)
            .map(HealthStatus::from);
        let metadata = context.optional("metadata", message.metadata.as_ref(), |context, metadata| {
            Ok(Metadata::parse(context, metadata))
        })?;
        let host = match &message.host_identifier {
            Some(HostIdentifier::Endpoint(endpoint)) => {
                context.at("endpoint", |context| Host::parse(context, endpoint, hosts))
            }
            Some(HostIdentifier::EndpointName(name)) => match named.get(name) {
                Some(endpoint) => context.at("endpoint_name", |context| Host::parse(context, endpoint, hosts)),
                None => {
                    Err(context.reject_field("endpoint_name", format!("is {name:?}, which named_endpoints has not")))
                }
            },
            None => Err(context.reject_field("endpoint", "is required")),
        };
        let host = host?;
        let details = EndpointDetails {
            additional_addresses: host.additional_addresses,
            hostname: host.hostname,
            metadata: metadata.unwrap_or_default(),
            health_check_config: host.health_check_config,
        };
        Ok(Self {
            address: host.address.into(),
            load_balancing_weight: weight?.unwrap_or(1),
            health_status: health_status?,
            // The endpoints of a workload mostly differ in nothing but their addresses.
            details: (details != EndpointDetails::default()).then(|| context.share(details)),
        })
    }
}

/// The part of an endpoint that may be named and shared.
struct Host {
    address: Address,
    additional_addresses: Vec<Address>,
    hostname: Option<Arc<str>>,
    health_check_config: Option<EndpointHealthCheckConfig>,
}

impl Host {
    fn parse(context: &mut Context<'_>, message: &pb::Endpoint, hosts: Hosts) -> Result<Self, Reported> {
        context.check(message);
        let parse_address = match hosts {
            Hosts::Addresses => Address::parse,
            Hosts::Names => Address::parse_or_name,
        };
        let address = context.required("address", message.address.as_ref(), parse_address);
        let additional_addresses = context.each(
            "additional_addresses",
            &message.additional_addresses,
            |context, entry| {
                context.check(entry);
                context.required("address", entry.address.as_ref(), parse_additional)
            },
        );
        let health_check = message.health_check_config.as_ref();
        let health_check_config = context.optional("health_check_config", health_check, |context, config| {
            context.check(config);
            let port = context.port("port_value", config.port_value);
            let address = context.optional("address", config.address.as_ref(), Address::parse);
            Ok(EndpointHealthCheckConfig {
                port_value: Some(port?).filter(|port| *port > 0),
                hostname: non_empty(&config.hostname),
                address: address?,
                disable_active_health_check: config.disable_active_health_check,
            })
        });
        Ok(Self {
            address: address?,
            additional_addresses: additional_addresses?,
            hostname: non_empty(&message.hostname),
            health_check_config: health_check_config?.filter(|config| *config != Default::default()),
        })
    }
}

/// One more address of an endpoint: an IP address, which is what takes part in connecting to several.
fn parse_additional(context: &mut Context<'_>, message: &core::Address) -> Result<Address, Reported> {
    match Address::parse(context, message)? {
        address @ Address::Socket(_) => Ok(address),
        other => Err(context.reject(format!("is \"{other}\", expected an IP address and port"))),
    }
}

impl From<core::HealthStatus> for HealthStatus {
    fn from(status: core::HealthStatus) -> Self {
        match status {
            core::HealthStatus::Unknown => Self::Unknown,
            core::HealthStatus::Healthy => Self::Healthy,
            core::HealthStatus::Unhealthy => Self::Unhealthy,
            core::HealthStatus::Draining => Self::Draining,
            core::HealthStatus::Timeout => Self::Timeout,
            core::HealthStatus::Degraded => Self::Degraded,
        }
    }
}
