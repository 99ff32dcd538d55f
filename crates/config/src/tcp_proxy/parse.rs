//! Parsing of the TCP proxy.

use xds_api::envoy::extensions::filters::network::tcp_proxy::v3 as pb;
use xds_api::envoy::r#type::v3 as types;

use super::{TcpClusterWeight, TcpProxy, WeightedTcpClusters};
use crate::access_log::{AccessLog, flush_interval};
use crate::context::Context;
use crate::metadata::Metadata;
use crate::rejected::Reported;

impl TcpProxy {
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::TcpProxy) -> Result<Self, Reported> {
        context.check(message);
        let stat_prefix = context.text("stat_prefix", &message.stat_prefix);
        let clusters = parse_clusters(context, message);
        let metadata_match = Metadata::parse_optional(context, "metadata_match", message.metadata_match.as_ref());
        let idle_timeout = context.timeout(
            "idle_timeout",
            message.idle_timeout.as_ref(),
            Some(Self::DEFAULT_IDLE_TIMEOUT),
        );
        let max_connect_attempts = context.in_range(
            "max_connect_attempts",
            message.max_connect_attempts.as_ref(),
            1..=u32::MAX,
        );
        let max_duration = context.positive_duration(
            "max_downstream_connection_duration",
            message.max_downstream_connection_duration.as_ref(),
        );
        let hash_source_ip = parse_hash_policy(context, message);
        let access_log = context.each("access_log", &message.access_log, AccessLog::parse);
        let mut interval = flush_interval(
            context,
            "access_log_flush_interval",
            message.access_log_flush_interval.as_ref(),
        );
        let mut flush_access_log_on_connected = message.flush_access_log_on_connected;
        if let Some(options) = &message.access_log_options {
            context.at("access_log_options", |context| {
                context.check(options);
                interval = flush_interval(
                    context,
                    "access_log_flush_interval",
                    options.access_log_flush_interval.as_ref(),
                );
            });
            flush_access_log_on_connected = options.flush_access_log_on_connected;
        }
        match context.enumeration("upstream_connect_mode", message.upstream_connect_mode) {
            Ok(pb::UpstreamConnectMode::Immediate) | Err(_) => {}
            Ok(other) => {
                let found = format!("is {}, only IMMEDIATE is supported", other.as_str_name());
                context.reject_field("upstream_connect_mode", found);
            }
        }
        Ok(Self {
            stat_prefix: stat_prefix?,
            clusters: clusters?,
            metadata_match,
            idle_timeout: idle_timeout?,
            max_connect_attempts: max_connect_attempts?.unwrap_or(1),
            max_downstream_connection_duration: max_duration?,
            hash_source_ip: hash_source_ip?,
            access_log: access_log?,
            access_log_flush_interval: interval?,
            flush_access_log_on_connected,
        })
    }
}

fn parse_clusters(context: &mut Context<'_>, message: &pb::TcpProxy) -> Result<WeightedTcpClusters, Reported> {
    use pb::tcp_proxy::ClusterSpecifier;
    let single = |name| TcpClusterWeight {
        name,
        weight: 1,
        metadata_match: Metadata::default(),
    };
    let clusters: Vec<_> = match &message.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => vec![single(context.text("cluster", name)?)],
        Some(ClusterSpecifier::WeightedClusters(weighted)) => context.at("weighted_clusters", |context| {
            if weighted.clusters.is_empty() {
                return Err(context.reject_field("clusters", "is required and must not be empty"));
            }
            context.each("clusters", &weighted.clusters, |context, entry| {
                context.check(entry);
                let name = context.text("name", &entry.name);
                if entry.weight == 0 {
                    context.reject_field("weight", "is 0, expected at least 1");
                }
                let metadata_match = Metadata::parse_optional(context, "metadata_match", entry.metadata_match.as_ref());
                Ok(TcpClusterWeight {
                    name: name?,
                    weight: entry.weight,
                    metadata_match,
                })
            })
        })?,
        None => return Err(context.reject("has no cluster or weighted_clusters")),
    };
    let total = clusters
        .iter()
        .try_fold(0_u32, |total, entry| total.checked_add(entry.weight));
    let Some(total_weight) = total else {
        return Err(context.reject_field("weighted_clusters", "has weights that add up to more than 4294967295"));
    };
    Ok(WeightedTcpClusters { clusters, total_weight })
}

fn parse_hash_policy(context: &mut Context<'_>, message: &pb::TcpProxy) -> Result<bool, Reported> {
    use types::hash_policy::PolicySpecifier;
    if message.hash_policy.len() > 1 {
        return Err(context.reject_field("hash_policy", "has more than 1 entry"));
    }
    let policies: Vec<()> = context.each("hash_policy", &message.hash_policy, |context, policy| {
        context.check(policy);
        match &policy.policy_specifier {
            Some(PolicySpecifier::SourceIp(_)) => Ok(()),
            Some(PolicySpecifier::FilterState(_)) => Err(context.reported()),
            None => Err(context.reject("has no source_ip")),
        }
    })?;
    Ok(!policies.is_empty())
}
