//! Parsing of route tables.

use std::collections::HashMap;
use std::sync::Arc;

use xds_api::envoy::config::route::v3 as pb;
use xds_api::google::protobuf::Any;
use xds_api::prost::Name as _;
use xds_api::wire::take_repeated;

use super::{
    Action, Decorator, DirectResponseAction, FilterConfig, HedgePolicy, Matcher, PerFilterConfig, RedirectAction,
    RequestMirrorPolicy, RetryPolicy, Route, RouteAction, RouteConfiguration, RouteMatch, RouteSettings,
    TlsRequirement, VirtualCluster, VirtualHost, VirtualHostSettings,
};
use crate::context::Context;
use crate::data_source::DataSource;
use crate::extensions::{ExtensionKind, message_name};
use crate::header_mutation::HeaderMutations;
use crate::http_connection_manager::BodyFormat;
use crate::metadata::Metadata;
use crate::rejected::Reported;
use crate::scalars::{bool_or, u32_or};
use crate::shared_str::{non_empty, shared};
use crate::string_matcher::{HeaderMatcher, header_name};

mod action;
mod internal_redirect;
mod redirect;
mod retry;
mod route_match;

/// Envoy's default for `max_direct_response_body_size_bytes`.
const DEFAULT_MAX_DIRECT_RESPONSE_BODY: u32 = 4096;

/// The lists of header changes that four messages have under the same names.
macro_rules! header_mutations {
    ($context:expr, $message:expr) => {
        (
            HeaderMutations::parse(
                $context,
                ("request_headers_to_add", &$message.request_headers_to_add),
                ("request_headers_to_remove", &$message.request_headers_to_remove),
            ),
            HeaderMutations::parse(
                $context,
                ("response_headers_to_add", &$message.response_headers_to_add),
                ("response_headers_to_remove", &$message.response_headers_to_remove),
            ),
        )
    };
}
use header_mutations;

impl RouteConfiguration {
    /// Parses a route table.
    ///
    /// # Errors
    /// When any field is at fault.
    pub fn parse(context: &mut Context<'_>, message: &pb::RouteConfiguration) -> Result<Self, Reported> {
        Self::parse_hosts(context, message, VirtualHosts::Decoded(&message.virtual_hosts))
    }

    /// Parses a route table from its bytes. Its virtual hosts are decoded one at a time: a message takes ten times the
    /// memory of its bytes, and the table of a big mesh has ten thousand.
    ///
    /// # Errors
    /// When any field is at fault, or the bytes are no message.
    pub(crate) fn parse_encoded(context: &mut Context<'_>, bytes: &[u8]) -> Result<Self, Reported> {
        let Some((rest, hosts)) = take_repeated(bytes, VIRTUAL_HOSTS) else {
            // prost says what is wrong with them.
            let message = context.decode(bytes)?;
            return Self::parse(context, &message);
        };
        let message = context.decode(&rest)?;
        Self::parse_hosts(context, &message, VirtualHosts::Encoded(&hosts))
    }

    fn parse_hosts(
        context: &mut Context<'_>,
        message: &pb::RouteConfiguration,
        hosts: VirtualHosts<'_>,
    ) -> Result<Self, Reported> {
        let fingerprint = context.take_fingerprint(message);
        context.check(message);
        let longest_body = u32_or(
            message.max_direct_response_body_size_bytes.as_ref(),
            DEFAULT_MAX_DIRECT_RESPONSE_BODY,
        );
        let virtual_hosts = parse_virtual_hosts(context, hosts, longest_body);
        let (request_headers, response_headers) = header_mutations!(context, message);
        let internal_only_headers = context.each(
            "internal_only_headers",
            &message.internal_only_headers,
            |context, name| {
                header_name(name).ok_or_else(|| context.reject(format!("is {name:?}, expected the name of a header")))
            },
        );
        let mirrors = &message.request_mirror_policies;
        let mirrors = context.each("request_mirror_policies", mirrors, RequestMirrorPolicy::parse);
        let typed_per_filter_config = PerFilterConfig::parse(context, &message.typed_per_filter_config);
        let metadata = Metadata::parse_optional(context, "metadata", message.metadata.as_ref());
        let virtual_hosts = virtual_hosts?;
        Ok(Self {
            name: shared(&message.name),
            matcher: Matcher::new(
                &virtual_hosts,
                message.ignore_port_in_host_matching,
                message.ignore_path_parameters_in_path_matching,
            ),
            virtual_hosts,
            request_headers: request_headers?,
            response_headers: response_headers?,
            most_specific_header_mutations_wins: message.most_specific_header_mutations_wins,
            internal_only_headers: internal_only_headers?,
            validate_clusters: message.validate_clusters.map(|flag| flag.value),
            request_mirror_policies: mirrors?,
            typed_per_filter_config: typed_per_filter_config?,
            metadata,
            fingerprint,
        })
    }
}

/// The field number of `RouteConfiguration.virtual_hosts`.
const VIRTUAL_HOSTS: u32 = 2;

/// Virtual hosts to parse.
enum VirtualHosts<'a> {
    Decoded(&'a [pb::VirtualHost]),
    Encoded(&'a [&'a [u8]]),
}

fn parse_virtual_hosts(
    context: &mut Context<'_>,
    hosts: VirtualHosts<'_>,
    longest_body: u32,
) -> Result<Vec<Arc<VirtualHost>>, Reported> {
    // A domain in two virtual hosts leaves open which one is meant; Envoy refuses the table.
    let mut owners: HashMap<String, usize> = HashMap::new();
    let mut index = 0;
    let mut parse = |context: &mut Context<'_>, host: &pb::VirtualHost| {
        let at = index;
        index += 1;
        let mut duplicates = None;
        for (position, domain) in host.domains.iter().enumerate() {
            let domain = domain.to_ascii_lowercase();
            if let Some(other) = owners.get(&domain) {
                let field = format!("domains[{position}]");
                duplicates =
                    Some(context.reject_field(&field, format!("is {domain:?}, which virtual_hosts[{other}] has")));
            } else {
                owners.insert(domain, at);
            }
        }
        let host = VirtualHost::parse(context, host, longest_body)?;
        duplicates.map_or(Ok(Arc::new(host)), Err)
    };
    match hosts {
        VirtualHosts::Decoded(hosts) => context.each("virtual_hosts", hosts, parse),
        VirtualHosts::Encoded(hosts) => context.each("virtual_hosts", hosts, |context, bytes| {
            let host = context.decode(bytes)?;
            parse(context, &host)
        }),
    }
}

impl VirtualHost {
    fn parse(context: &mut Context<'_>, message: &pb::VirtualHost, longest_body: u32) -> Result<Self, Reported> {
        use pb::virtual_host::TlsRequirementType as Tls;
        context.check(message);
        let name = context.text("name", &message.name);
        let domains = parse_domains(context, name.as_ref().ok(), &message.domains);
        let routes = context.each("routes", &message.routes, |context, route| {
            Route::parse(context, route, longest_body).map(Arc::new)
        });
        let require_tls = context
            .enumeration("require_tls", message.require_tls)
            .map(|require| match require {
                Tls::None => TlsRequirement::None,
                Tls::ExternalOnly => TlsRequirement::ExternalOnly,
                Tls::All => TlsRequirement::All,
            });
        let (request_headers, response_headers) = header_mutations!(context, message);
        let retry_policy = context.optional("retry_policy", message.retry_policy.as_ref(), RetryPolicy::parse);
        let hedge_policy = context.optional("hedge_policy", message.hedge_policy.as_ref(), HedgePolicy::parse);
        let mirrors = &message.request_mirror_policies;
        let mirrors = context.each("request_mirror_policies", mirrors, RequestMirrorPolicy::parse);
        let virtual_clusters = context.each("virtual_clusters", &message.virtual_clusters, VirtualCluster::parse);
        let typed_per_filter_config = PerFilterConfig::parse(context, &message.typed_per_filter_config);
        let metadata = Metadata::parse_optional(context, "metadata", message.metadata.as_ref());
        let settings = VirtualHostSettings {
            virtual_clusters: virtual_clusters?,
            require_tls: require_tls?,
            request_headers: request_headers?,
            response_headers: response_headers?,
            include_request_attempt_count: message.include_request_attempt_count,
            include_attempt_count_in_response: message.include_attempt_count_in_response,
            include_is_timeout_retry_header: message.include_is_timeout_retry_header,
            retry_policy: retry_policy?.map(Arc::new),
            hedge_policy: hedge_policy?,
            per_request_buffer_limit_bytes: buffer_limit(
                message.request_body_buffer_limit.as_ref(),
                message.per_request_buffer_limit_bytes.as_ref(),
            ),
            request_mirror_policies: mirrors?,
            typed_per_filter_config: typed_per_filter_config?,
            metadata,
        };
        Ok(Self {
            name: name?,
            domains: domains?,
            routes: routes?,
            settings: context.share(settings),
        })
    }
}

impl VirtualCluster {
    fn parse(context: &mut Context<'_>, message: &pb::VirtualCluster) -> Result<Self, Reported> {
        context.check(message);
        let name = context.text("name", &message.name);
        if message.headers.is_empty() {
            context.reject_field("headers", "is required and must not be empty");
        }
        let headers = context.each("headers", &message.headers, HeaderMatcher::parse);
        Ok(Self {
            name: name?,
            headers: headers?,
        })
    }
}

/// The newer of two fields for the same limit counts.
fn buffer_limit(
    newer: Option<&xds_api::google::protobuf::UInt64Value>,
    older: Option<&xds_api::google::protobuf::UInt32Value>,
) -> Option<u64> {
    newer.map(|limit| limit.value).or(older.map(|limit| limit.value.into()))
}

fn parse_domains(
    context: &mut Context<'_>,
    name: Option<&Arc<str>>,
    domains: &[String],
) -> Result<Vec<Arc<str>>, Reported> {
    if domains.is_empty() {
        return Err(context.reject_field("domains", "is required and must not be empty"));
    }
    context.each("domains", domains, |context, domain| {
        // As in Envoy: a star elsewhere than at one end stands for itself, and an empty domain for no host at all.
        let fixed = domain
            .strip_prefix('*')
            .or_else(|| domain.strip_suffix('*'))
            .unwrap_or(domain);
        if fixed.contains('*') {
            context.without_effect("", "only a star at one end is a wildcard, and no host has a star in it");
        }
        let domain = domain.to_ascii_lowercase();
        // Virtual hosts are mostly named after a domain.
        let name = name.filter(|name| ***name == *domain);
        Ok(name.map_or_else(|| domain.into(), Arc::clone))
    })
}

impl Route {
    fn parse(context: &mut Context<'_>, message: &pb::Route, longest_body: u32) -> Result<Self, Reported> {
        use pb::route::Action as Kind;
        context.check(message);
        let route_match = context.required("match", message.r#match.as_ref(), RouteMatch::parse);
        let action = match &message.action {
            Some(Kind::Route(action)) => context
                .at("route", |context| {
                    RouteAction::parse(context, action, route_match.as_ref().ok())
                })
                .map(|action| Action::Route(Box::new(action))),
            Some(Kind::Redirect(action)) => context
                .at("redirect", |context| RedirectAction::parse(context, action))
                .map(|action| Action::Redirect(Box::new(action))),
            Some(Kind::DirectResponse(action)) => context
                .at("direct_response", |context| {
                    parse_direct_response(context, action, longest_body)
                })
                .map(|action| Action::DirectResponse(Box::new(action))),
            Some(Kind::NonForwardingAction(_)) => Ok(Action::NonForwarding),
            Some(Kind::FilterAction(_)) => Err(context.reported()),
            None => Err(context.reject("has no route, redirect or direct_response")),
        };
        let decorator = context.optional("decorator", message.decorator.as_ref(), |context, decorator| {
            context.check(decorator);
            let operation = context.text("operation", &decorator.operation)?;
            Ok(Decorator {
                operation,
                propagate: bool_or(decorator.propagate.as_ref(), true),
            })
        });
        let (request_headers, response_headers) = header_mutations!(context, message);
        let typed_per_filter_config = PerFilterConfig::parse(context, &message.typed_per_filter_config);
        let metadata = Metadata::parse_optional(context, "metadata", message.metadata.as_ref());
        let settings = RouteSettings {
            metadata,
            decorator: decorator?,
            request_headers: request_headers?,
            response_headers: response_headers?,
            per_request_buffer_limit_bytes: buffer_limit(
                message.request_body_buffer_limit.as_ref(),
                message.per_request_buffer_limit_bytes.as_ref(),
            ),
            stat_prefix: non_empty(&message.stat_prefix),
            typed_per_filter_config: typed_per_filter_config?,
        };
        Ok(Self {
            name: shared(&message.name),
            route_match: context.share(route_match?),
            action: action?,
            settings: context.share(settings),
        })
    }
}

fn parse_direct_response(
    context: &mut Context<'_>,
    message: &pb::DirectResponseAction,
    longest_body: u32,
) -> Result<DirectResponseAction, Reported> {
    context.check(message);
    let status = match message.status {
        status @ 200..=599 => Ok(status as u16),
        status => Err(context.reject_field("status", format!("is {status}, expected 200 to 599"))),
    };
    let body = context.optional("body", message.body.as_ref(), |context, body| {
        let body = DataSource::parse_and_read(context, body)?;
        match body.inline().map_or(0, <[u8]>::len) {
            length if length > longest_body as usize => Err(context.reject(format!(
                "has {length} bytes, expected at most {longest_body} (max_direct_response_body_size_bytes)"
            ))),
            _ => Ok(body),
        }
    });
    let format = context.optional("body_format", message.body_format.as_ref(), BodyFormat::parse);
    Ok(DirectResponseAction {
        status: status?,
        body: body?,
        body_format: format?,
    })
}

impl PerFilterConfig {
    pub(super) fn parse(context: &mut Context<'_>, message: &HashMap<String, Any>) -> Result<Self, Reported> {
        let mut filters = Vec::with_capacity(message.len());
        let mut failed = None;
        // In order of the names, so that faults come in the same order every time.
        let mut entries: Vec<_> = message.iter().collect();
        entries.sort_unstable_by_key(|(name, _)| *name);
        for (name, any) in entries {
            match context.at_key("typed_per_filter_config", name, |context| {
                FilterConfig::parse(context, any)
            }) {
                Ok(config) => filters.push((shared(name), config)),
                Err(reported) => failed = Some(reported),
            }
        }
        let filters = filters.into_boxed_slice();
        failed.map_or(Ok(Self { filters }), Err)
    }
}

impl FilterConfig {
    fn parse(context: &mut Context<'_>, any: &Any) -> Result<Self, Reported> {
        if let Some(reason) = context.ignored(ExtensionKind::HttpFilterPerRoute, any) {
            context.without_effect("", reason);
            return Ok(Self {
                config: None,
                disabled: None,
            });
        }
        let any = context.unwrap_any(any)?;
        if message_name(&any.type_url) != pb::FilterConfig::full_name() {
            let config = context.extension(ExtensionKind::HttpFilterPerRoute, &any)?;
            return Ok(Self {
                config: Some(config),
                disabled: None,
            });
        }
        let message: pb::FilterConfig = context.decode(&any.value)?;
        context.check(&message);
        let config = match &message.config {
            None if message.disabled => Ok(None),
            None => Err(context.reject_field("config", "is required unless disabled is set")),
            Some(any) => context.at("config", |context| {
                let any = context.unwrap_any(any)?;
                if message.is_optional && !context.knows(ExtensionKind::HttpFilterPerRoute, &any.type_url) {
                    context.without_effect("", "the filter is optional and not known here");
                    return Ok(None);
                }
                context.extension(ExtensionKind::HttpFilterPerRoute, &any).map(Some)
            }),
        };
        Ok(Self {
            config: config?,
            disabled: Some(message.disabled),
        })
    }
}
