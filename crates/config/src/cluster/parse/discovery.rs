//! Where a cluster's endpoints come from.

use std::sync::Arc;

use xds_api::envoy::config::cluster::v3 as pb;
use xds_api::envoy::config::endpoint::v3 as endpoint;

use super::name_or;
use crate::cluster::{Discovery, OriginalDst};
use crate::config_source::ConfigSource;
use crate::context::Context;
use crate::endpoint::ClusterLoadAssignment;
use crate::endpoint::parse::Hosts;
use crate::rejected::Reported;
use crate::string_matcher::parse_header_name;

/// The header that names an original destination unless another is said.
const ORIGINAL_DST_HEADER: &str = "x-envoy-original-dst-host";

pub(super) fn parse(context: &mut Context<'_>, message: &pb::Cluster) -> Result<Discovery, Reported> {
    use pb::cluster::{ClusterDiscoveryType, DiscoveryType as Type};
    let discovery_type = match &message.cluster_discovery_type {
        None => Type::Static,
        Some(ClusterDiscoveryType::Type(discovery_type)) => context.enumeration("type", *discovery_type)?,
        Some(ClusterDiscoveryType::ClusterType(_)) => return Err(context.reported()),
    };
    if message.eds_cluster_config.is_some() && discovery_type != Type::Eds {
        context.reject_field(
            "eds_cluster_config",
            format!("is for type EDS, this is {}", discovery_type.as_str_name()),
        );
    }
    if message.load_assignment.is_some() && matches!(discovery_type, Type::Eds | Type::OriginalDst) {
        let found = format!(
            "is for types STATIC, STRICT_DNS and LOGICAL_DNS, this is {}",
            discovery_type.as_str_name()
        );
        context.reject_field("load_assignment", found);
    }
    match discovery_type {
        Type::Static => Ok(Discovery::Static {
            endpoints: parse_endpoints(context, message, Hosts::Addresses)?,
        }),
        Type::StrictDns => Ok(Discovery::StrictDns {
            endpoints: parse_endpoints(context, message, Hosts::Names)?,
        }),
        Type::LogicalDns => {
            let endpoints = parse_endpoints(context, message, Hosts::Names)?;
            if endpoints.len() != 1 || endpoints.endpoints.len() != 1 {
                let found = format!(
                    "has {} endpoints, a cluster of type LOGICAL_DNS has exactly 1",
                    endpoints.len()
                );
                return Err(context.reject_field("load_assignment", found));
            }
            Ok(Discovery::LogicalDns { endpoints })
        }
        Type::Eds => context.required(
            "eds_cluster_config",
            message.eds_cluster_config.as_ref(),
            |context, config| {
                context.check(config);
                let source = context.required("eds_config", config.eds_config.as_ref(), ConfigSource::parse);
                // A cluster without a name is refused for that.
                let service_name = match name_or(context, &config.service_name, &message.name) {
                    name if name.is_empty() => Ok(name),
                    name => context.discovered_name("service_name", &name),
                };
                Ok(Discovery::Eds {
                    source: context.share(source?),
                    service_name: service_name?,
                })
            },
        ),
        Type::OriginalDst => parse_original_dst(context, message).map(Discovery::OriginalDst),
    }
}

/// The endpoints of the configuration; none at all is no fault, as in Envoy.
fn parse_endpoints(
    context: &mut Context<'_>,
    message: &pb::Cluster,
    hosts: Hosts,
) -> Result<Arc<ClusterLoadAssignment>, Reported> {
    let none;
    let assignment = match &message.load_assignment {
        Some(assignment) => assignment,
        None => {
            // A cluster without a name is at fault for that alone.
            let cluster_name = if message.name.is_empty() { "-" } else { &message.name };
            none = endpoint::ClusterLoadAssignment {
                cluster_name: cluster_name.to_owned(),
                ..Default::default()
            };
            &none
        }
    };
    context
        .at("load_assignment", |context| {
            ClusterLoadAssignment::parse_hosts(context, assignment, hosts)
        })
        .map(Arc::new)
}

fn parse_original_dst(context: &mut Context<'_>, message: &pb::Cluster) -> Result<OriginalDst, Reported> {
    let Some(pb::cluster::LbConfig::OriginalDstLbConfig(config)) = &message.lb_config else {
        return Ok(OriginalDst::default());
    };
    context.at("original_dst_lb_config", |context| {
        context.check(config);
        let http_header_name = match (config.use_http_header, config.http_header_name.as_str()) {
            (false, "") => Ok(None),
            (false, _) => Err(context.reject_field("http_header_name", "has no meaning unless use_http_header is set")),
            (true, "") => Ok(Some(ORIGINAL_DST_HEADER.into())),
            (true, name) => parse_header_name(context, "http_header_name", name).map(Some),
        };
        let port = context.in_range(
            "upstream_port_override",
            config.upstream_port_override.as_ref(),
            0..=65535,
        );
        Ok(OriginalDst {
            http_header_name: http_header_name?,
            // The range was checked just above.
            upstream_port_override: port?.map(|port| port as u16).filter(|port| *port > 0),
        })
    })
}
