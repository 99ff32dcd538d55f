//! Parsing of forwarding.

use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::route::v3 as pb;
use xds_api::envoy::extensions::path::rewrite::uri_template::v3 as uri_template;

use super::route_match::template_text;
use super::{bool_or, header_mutations, non_empty, shared};
use crate::context::Context;
use crate::extensions::message_name;
use crate::header_mutation::{HeaderMutation, HeaderMutations};
use crate::metadata::Metadata;
use crate::percent::{FractionalPercent, RuntimeFractionalPercent};
use crate::regex::RegexRewrite;
use crate::rejected::Reported;
use crate::route::action::{ConnectConfig, PathRewrite};
use crate::route::{
    ClusterNotFoundResponseCode, ClusterSpecifier, ClusterWeight, HashPolicy, HashPolicySpecifier, HedgePolicy,
    HostRewrite, InternalRedirectPolicy, MaxStreamDuration, MirrorCluster, PathSpecifier, PerFilterConfig,
    RequestMirrorPolicy, RetryPolicy, RouteAction, RouteActionSettings, RouteMatch, RouteUpgradeConfig,
    RoutingPriority, WeightedClusters,
};
use crate::string_matcher::{parse_header_name, parse_regex_rewrite};
use crate::value_format::FormattedText;

const URI_TEMPLATE_REWRITE: &str = "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig";

/// Envoy's limit on the changes to a mirrored request.
const MOST_MUTATIONS: usize = 1000;

impl RouteAction {
    /// Parses it, beside what its route matches: a template of the path that becomes has the variables of that.
    pub(super) fn parse(
        context: &mut Context<'_>,
        message: &pb::RouteAction,
        route_match: Option<&RouteMatch>,
    ) -> Result<Self, Reported> {
        use pb::route_action::ClusterNotFoundResponseCode as NotFound;
        use pb::route_action::hash_policy::PolicySpecifier;
        context.check(message);
        let cluster = ClusterSpecifier::parse(context, message);
        let code = context.enumeration(
            "cluster_not_found_response_code",
            message.cluster_not_found_response_code,
        );
        let metadata_match = Metadata::parse_optional(context, "metadata_match", message.metadata_match.as_ref());
        let path_rewrite = parse_path_rewrite(context, message, route_match);
        let host_rewrite = HostRewrite::parse(context, message);
        let timeout = context.timeout("timeout", message.timeout.as_ref(), Some(Self::DEFAULT_TIMEOUT));
        // Zero switches off what the connection manager says; absent leaves it.
        let mut override_timeout = |field: &str, value| {
            let timeout = context.duration(field, value)?;
            Ok(timeout.map(|timeout| Some(timeout).filter(|timeout| !timeout.is_zero())))
        };
        let idle_timeout = override_timeout("idle_timeout", message.idle_timeout.as_ref());
        let flush_timeout = override_timeout("flush_timeout", message.flush_timeout.as_ref());
        let max_grpc_timeout = override_timeout("max_grpc_timeout", message.max_grpc_timeout.as_ref());
        let grpc_timeout_offset = context.duration("grpc_timeout_offset", message.grpc_timeout_offset.as_ref());
        let duration = message.max_stream_duration.as_ref();
        let max_stream_duration = context.optional("max_stream_duration", duration, MaxStreamDuration::parse);
        let retry_policy = context.optional("retry_policy", message.retry_policy.as_ref(), RetryPolicy::parse);
        let hedge_policy = context.optional("hedge_policy", message.hedge_policy.as_ref(), HedgePolicy::parse);
        let mirrors = &message.request_mirror_policies;
        let mirrors = context.each("request_mirror_policies", mirrors, RequestMirrorPolicy::parse);
        let priority = context
            .enumeration("priority", message.priority)
            .map(|priority| match priority {
                core::RoutingPriority::Default => RoutingPriority::Default,
                core::RoutingPriority::High => RoutingPriority::High,
            });
        // Without source_ip the connection's properties give no hash, which is no fault in Envoy.
        let hash_policy: Result<Vec<Option<HashPolicy>>, _> =
            context.each("hash_policy", &message.hash_policy, |context, policy| {
                match &policy.policy_specifier {
                    Some(PolicySpecifier::ConnectionProperties(properties)) if !properties.source_ip => Ok(None),
                    _ => HashPolicy::parse(context, policy).map(Some),
                }
            });
        let upgrade_configs = context.each("upgrade_configs", &message.upgrade_configs, RouteUpgradeConfig::parse);
        let redirect = message.internal_redirect_policy.as_ref();
        let redirect = context.optional("internal_redirect_policy", redirect, InternalRedirectPolicy::parse);
        let settings = RouteActionSettings {
            cluster_not_found_response_code: match code? {
                NotFound::ServiceUnavailable => ClusterNotFoundResponseCode::ServiceUnavailable,
                NotFound::NotFound => ClusterNotFoundResponseCode::NotFound,
                NotFound::InternalServerError => ClusterNotFoundResponseCode::InternalServerError,
            },
            metadata_match,
            path_rewrite: path_rewrite?,
            host_rewrite: host_rewrite?,
            append_x_forwarded_host: message.append_x_forwarded_host,
            timeout: timeout?,
            idle_timeout: idle_timeout?,
            flush_timeout: flush_timeout?,
            max_stream_duration: max_stream_duration?,
            max_grpc_timeout: max_grpc_timeout?,
            grpc_timeout_offset: grpc_timeout_offset?,
            retry_policy: retry_policy?.map(Arc::new),
            hedge_policy: hedge_policy?,
            request_mirror_policies: mirrors?,
            priority: priority?,
            hash_policy: hash_policy?.into_iter().flatten().collect(),
            upgrade_configs: upgrade_configs?,
            internal_redirect_policy: redirect?,
        };
        Ok(Self {
            cluster: cluster?,
            settings: context.share(settings),
        })
    }
}

impl ClusterSpecifier {
    fn parse(context: &mut Context<'_>, message: &pb::RouteAction) -> Result<Self, Reported> {
        use pb::route_action::ClusterSpecifier as Specifier;
        match &message.cluster_specifier {
            Some(Specifier::Cluster(name)) => context.name("cluster", name).map(Self::Cluster),
            Some(Specifier::ClusterHeader(name)) => {
                parse_header_name(context, "cluster_header", name).map(Self::ClusterHeader)
            }
            Some(Specifier::WeightedClusters(clusters)) => context
                .at("weighted_clusters", |context| {
                    WeightedClusters::parse(context, clusters)
                })
                .map(|clusters| Self::WeightedClusters(Box::new(clusters))),
            Some(Specifier::ClusterSpecifierPlugin(_) | Specifier::InlineClusterSpecifierPlugin(_)) => {
                Err(context.reported())
            }
            None => Err(context.reject("has no cluster, cluster_header or weighted_clusters")),
        }
    }
}

impl WeightedClusters {
    fn parse(context: &mut Context<'_>, message: &pb::WeightedCluster) -> Result<Self, Reported> {
        use pb::weighted_cluster::RandomValueSpecifier;
        context.check(message);
        if message.clusters.is_empty() {
            return Err(context.reject_field("clusters", "is required and must not be empty"));
        }
        let clusters: Vec<_> = context.each("clusters", &message.clusters, ClusterWeight::parse)?;
        let total = clusters
            .iter()
            .try_fold(0_u32, |total, cluster| total.checked_add(cluster.weight));
        let total_weight = match total {
            None => Err(context.reject_field("clusters", "has weights that add up to more than 4294967295")),
            Some(0) => Err(context.reject_field("clusters", "has weights that add up to 0, expected more")),
            Some(total) => Ok(total),
        };
        let (random_value_header, use_hash_policy) = match &message.random_value_specifier {
            None => (Ok(None), false),
            Some(RandomValueSpecifier::HeaderName(name)) => {
                (parse_header_name(context, "header_name", name).map(Some), false)
            }
            Some(RandomValueSpecifier::UseHashPolicy(flag)) => (Ok(None), flag.value),
        };
        Ok(Self {
            clusters,
            total_weight: total_weight?,
            random_value_header: random_value_header?,
            use_hash_policy,
            runtime_key_prefix: shared(&message.runtime_key_prefix),
        })
    }
}

impl ClusterWeight {
    fn parse(context: &mut Context<'_>, message: &pb::weighted_cluster::ClusterWeight) -> Result<Self, Reported> {
        use pb::weighted_cluster::cluster_weight::HostRewriteSpecifier;
        context.check(message);
        let (name, cluster_header) = match (message.name.as_str(), message.cluster_header.as_str()) {
            ("", "") => (
                Err(context.reject_field("name", "is required (or cluster_header)")),
                Ok(None),
            ),
            (name, "") => (Ok(Some(context.shared_name(name))), Ok(None)),
            ("", header) => (Ok(None), parse_header_name(context, "cluster_header", header).map(Some)),
            _ => (
                Err(context.reject_field("name", "and cluster_header may not both be set")),
                Ok(None),
            ),
        };
        let weight = match &message.weight {
            Some(weight) => Ok(weight.value),
            None => Err(context.reject_field("weight", "is required")),
        };
        let metadata_match = Metadata::parse_optional(context, "metadata_match", message.metadata_match.as_ref());
        let (request_headers, response_headers) = header_mutations!(context, message);
        let typed_per_filter_config = PerFilterConfig::parse(context, &message.typed_per_filter_config);
        let host_rewrite_literal = message
            .host_rewrite_specifier
            .as_ref()
            .and_then(|HostRewriteSpecifier::HostRewriteLiteral(host)| non_empty(host));
        Ok(Self {
            name: name?,
            cluster_header: cluster_header?,
            weight: weight?,
            metadata_match,
            request_headers: request_headers?,
            response_headers: response_headers?,
            typed_per_filter_config: typed_per_filter_config?,
            host_rewrite_literal,
        })
    }
}

fn parse_path_rewrite(
    context: &mut Context<'_>,
    message: &pb::RouteAction,
    route_match: Option<&RouteMatch>,
) -> Result<Option<PathRewrite>, Reported> {
    let set = [
        ("prefix_rewrite", !message.prefix_rewrite.is_empty()),
        ("regex_rewrite", message.regex_rewrite.is_some()),
        ("path_rewrite_policy", message.path_rewrite_policy.is_some()),
        ("path_rewrite", !message.path_rewrite.is_empty()),
    ];
    let mut set = set.into_iter().filter(|(_, is_set)| *is_set).map(|(field, _)| field);
    if let (Some(first), Some(second)) = (set.next(), set.next()) {
        return Err(context.reject_field(first, format!("and {second} may not both be set")));
    }
    if let Some(prefix) = non_empty(&message.prefix_rewrite) {
        return Ok(Some(PathRewrite::Prefix(prefix)));
    }
    if let Some(rewrite) = &message.regex_rewrite {
        let rewrite = context.at("regex_rewrite", |context| parse_regex_rewrite(context, rewrite))?;
        return Ok(Some(PathRewrite::Regex(rewrite)));
    }
    if let Some(policy) = &message.path_rewrite_policy {
        return context.at("path_rewrite_policy", |context| {
            parse_template_rewrite(context, policy, route_match).map(|rewrite| Some(PathRewrite::Regex(rewrite)))
        });
    }
    FormattedText::parse(context, "path_rewrite", &message.path_rewrite).map(|text| text.map(PathRewrite::Format))
}

/// Text with variables of the template that the route matches paths with.
fn parse_template_rewrite(
    context: &mut Context<'_>,
    message: &core::TypedExtensionConfig,
    route_match: Option<&RouteMatch>,
) -> Result<RegexRewrite, Reported> {
    context.check(message);
    context.required("typed_config", message.typed_config.as_ref(), |context, any| {
        let any = context.unwrap_any(any)?;
        match message_name(&any.type_url) {
            URI_TEMPLATE_REWRITE => {
                let message: uri_template::UriTemplateRewriteConfig = context.decode(&any.value)?;
                context.check(&message);
                let field = "path_template_rewrite";
                let text = template_text(context, field, &message.path_template_rewrite)?;
                match route_match.map(|route_match| &route_match.path) {
                    Some(PathSpecifier::Template(template)) => template
                        .rewrite(text)
                        .map_err(|reason| context.reject_field(field, reason)),
                    // What is wrong with the match was said there.
                    None => Err(context.reported()),
                    Some(_) => Err(context.reject("needs a path_match_policy with a template")),
                }
            }
            other => Err(context.reject(format!("path rewriter {other:?} is not supported"))),
        }
    })
}

impl HostRewrite {
    fn parse(context: &mut Context<'_>, message: &pb::RouteAction) -> Result<Option<Self>, Reported> {
        use pb::route_action::HostRewriteSpecifier as Specifier;
        match &message.host_rewrite_specifier {
            None => Ok(None),
            Some(Specifier::HostRewriteLiteral(host)) => Ok(non_empty(host).map(Self::Literal)),
            Some(Specifier::AutoHostRewrite(flag)) => Ok(flag.value.then_some(Self::Auto)),
            Some(Specifier::HostRewriteHeader(name)) => {
                parse_header_name(context, "host_rewrite_header", name).map(|name| Some(Self::Header(name)))
            }
            Some(Specifier::HostRewritePathRegex(rewrite)) => context
                .at("host_rewrite_path_regex", |context| {
                    parse_regex_rewrite(context, rewrite)
                })
                .map(|rewrite| Some(Self::PathRegex(rewrite))),
            Some(Specifier::HostRewrite(text)) => {
                FormattedText::parse(context, "host_rewrite", text).map(|text| text.map(Self::Format))
            }
        }
    }
}

impl MaxStreamDuration {
    fn parse(context: &mut Context<'_>, message: &pb::route_action::MaxStreamDuration) -> Result<Self, Reported> {
        context.check(message);
        let mut limit = |field: &str, value| {
            let limit = context.duration(field, value)?;
            Ok(limit.map(|limit| Some(limit).filter(|limit| !limit.is_zero())))
        };
        let max_stream_duration = limit("max_stream_duration", message.max_stream_duration.as_ref());
        let header_max = limit("grpc_timeout_header_max", message.grpc_timeout_header_max.as_ref());
        let offset = message.grpc_timeout_header_offset.as_ref();
        let offset = context.duration("grpc_timeout_header_offset", offset);
        Ok(Self {
            max_stream_duration: max_stream_duration?,
            grpc_timeout_header_max: header_max?,
            grpc_timeout_header_offset: offset?.unwrap_or_default(),
        })
    }
}

impl RequestMirrorPolicy {
    pub(super) fn parse(
        context: &mut Context<'_>,
        message: &pb::route_action::RequestMirrorPolicy,
    ) -> Result<Self, Reported> {
        context.check(message);
        let cluster = match (message.cluster.as_str(), message.cluster_header.as_str()) {
            ("", "") => Err(context.reject_field("cluster", "is required (or cluster_header)")),
            (name, "") => Ok(MirrorCluster::Name(shared(name))),
            ("", header) => parse_header_name(context, "cluster_header", header).map(MirrorCluster::Header),
            _ => Err(context.reject_field("cluster", "and cluster_header may not both be set")),
        };
        let fraction = message.runtime_fraction.as_ref();
        let runtime_fraction = context.optional("runtime_fraction", fraction, RuntimeFractionalPercent::parse);
        let mutations = &message.request_headers_mutations;
        if mutations.len() > MOST_MUTATIONS {
            let found = format!("has {} entries, expected at most {MOST_MUTATIONS}", mutations.len());
            context.reject_field("request_headers_mutations", found);
        }
        let mutations = context.each("request_headers_mutations", mutations, HeaderMutation::parse);
        let host = &message.host_rewrite_literal;
        if host.bytes().any(|byte| matches!(byte, b'\0' | b'\r' | b'\n')) {
            context.reject_field("host_rewrite_literal", "holds a line break or a NUL");
        }
        Ok(Self {
            request_headers_mutations: mutations?,
            host_rewrite_literal: non_empty(host),
            cluster: cluster?,
            runtime_fraction: runtime_fraction?,
            trace_sampled: message.trace_sampled.map(|flag| flag.value),
            disable_shadow_host_suffix_append: message.disable_shadow_host_suffix_append,
        })
    }
}

impl HedgePolicy {
    pub(super) fn parse(context: &mut Context<'_>, message: &pb::HedgePolicy) -> Result<Self, Reported> {
        context.check(message);
        let initial_requests = context.in_range("initial_requests", message.initial_requests.as_ref(), 1..=u32::MAX);
        let chance = message.additional_request_chance.as_ref();
        let chance = context.optional("additional_request_chance", chance, FractionalPercent::parse);
        Ok(Self {
            initial_requests: initial_requests?.unwrap_or(1),
            additional_request_chance: chance?.unwrap_or(FractionalPercent {
                numerator: 0,
                denominator: 100,
            }),
            hedge_on_per_try_timeout: message.hedge_on_per_try_timeout,
        })
    }
}

impl HashPolicy {
    fn parse(context: &mut Context<'_>, message: &pb::route_action::HashPolicy) -> Result<Self, Reported> {
        use pb::route_action::hash_policy::PolicySpecifier as Specifier;
        context.check(message);
        let specifier = match &message.policy_specifier {
            Some(Specifier::Header(header)) => context.at("header", |context| {
                context.check(header);
                let header_name = parse_header_name(context, "header_name", &header.header_name);
                let rewrite = header.regex_rewrite.as_ref();
                let regex_rewrite = context.optional("regex_rewrite", rewrite, parse_regex_rewrite);
                Ok(HashPolicySpecifier::Header {
                    header_name: header_name?,
                    regex_rewrite: regex_rewrite?,
                })
            }),
            Some(Specifier::Cookie(cookie)) => context.at("cookie", |context| {
                context.check(cookie);
                let name = context.text("name", &cookie.name);
                let ttl = context.duration("ttl", cookie.ttl.as_ref());
                let attributes = context.each("attributes", &cookie.attributes, |context, attribute| {
                    Ok((context.text("name", &attribute.name)?, shared(&attribute.value)))
                });
                Ok(HashPolicySpecifier::Cookie {
                    name: name?,
                    ttl: ttl?,
                    path: shared(&cookie.path),
                    attributes: attributes?,
                })
            }),
            Some(Specifier::ConnectionProperties(_)) => Ok(HashPolicySpecifier::SourceIp),
            Some(Specifier::QueryParameter(parameter)) => context
                .at("query_parameter", |context| context.text("name", &parameter.name))
                .map(HashPolicySpecifier::QueryParameter),
            Some(Specifier::FilterState(_)) => Err(context.reported()),
            None => Err(context.reject("has nothing to hash")),
        };
        Ok(Self {
            specifier: specifier?,
            terminal: message.terminal,
        })
    }
}

impl RouteUpgradeConfig {
    fn parse(context: &mut Context<'_>, message: &pb::route_action::UpgradeConfig) -> Result<Self, Reported> {
        context.check(message);
        let upgrade_type = context.text("upgrade_type", &message.upgrade_type);
        let connect = message.connect_config.as_ref();
        let connect_config = context.optional("connect_config", connect, |context, connect| {
            context.check(connect);
            if !message.upgrade_type.eq_ignore_ascii_case("CONNECT") {
                return Err(context.reject("has a meaning for the upgrade type CONNECT only"));
            }
            Ok(ConnectConfig {
                allow_post: connect.allow_post,
            })
        });
        Ok(Self {
            upgrade_type: upgrade_type?,
            enabled: bool_or(message.enabled.as_ref(), true),
            connect_config: connect_config?,
        })
    }
}
