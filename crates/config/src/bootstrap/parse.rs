//! Parsing of the bootstrap message.

use std::collections::HashSet;
use std::sync::Arc;

use xds_api::any::inner_type_url;
use xds_api::envoy::config::bootstrap::v3 as pb;
use xds_api::envoy::config::core::v3 as core;
use xds_api::type_name;

use super::overload;
use super::{Admin, ApplicationLogFormat, Bootstrap, ClusterManager, DynamicResources, RuntimeLayer, StatsSettings};
use crate::access_log::{AccessLog, AccessLogFormat, AccessLogSink};
use crate::address::Address;
use crate::cluster::{BindConfig, Cluster, Discovery, DnsResolver};
use crate::config_source::{ApiConfigSource, ConfigSource, ConfigSourceSpecifier, GrpcTarget};
use crate::context::Context;
use crate::extensions::Extensions;
use crate::listener::Listener;
use crate::metadata::parse_struct;
use crate::rejected::{Parsed, Rejected, Reported};
use crate::secret::Secret;
use crate::shared_str::{non_empty, shared};
use crate::string_matcher::StringMatcher;

impl Bootstrap {
    /// Parses a bootstrap with everything in it.
    ///
    /// # Errors
    /// Every fault, with its path from the bootstrap down.
    pub fn parse(message: &pb::Bootstrap, extensions: &Extensions) -> Result<Parsed<Self>, Vec<Rejected>> {
        Context::parse(extensions, |context| parse(context, message))
    }
}

fn parse(context: &mut Context<'_>, message: &pb::Bootstrap) -> Result<Bootstrap, Reported> {
    context.check(message);
    let node = message.node.clone().unwrap_or_default();
    context.at("node", |context| context.check(&node));
    let admin = context.optional("admin", message.admin.as_ref(), parse_admin);
    let empty = pb::bootstrap::StaticResources::default();
    let resources = message.static_resources.as_ref().unwrap_or(&empty);
    let (clusters, secrets, listeners) = context.at("static_resources", |context| {
        context.check(resources);
        let clusters = context.each::<_, _, Vec<_>>("clusters", &resources.clusters, |context, cluster| {
            Cluster::parse(context, cluster).map(Arc::new)
        });
        let secrets = context.each::<_, _, Vec<_>>("secrets", &resources.secrets, |context, secret| {
            Secret::parse(context, secret).map(Arc::new)
        });
        let listeners = context.each::<_, _, Vec<_>>("listeners", &resources.listeners, |context, listener| {
            Listener::parse(context, listener).map(Arc::new)
        });
        context.at("clusters", |context| {
            reject_twice(context, resources.clusters.iter().map(|cluster| &cluster.name))
        });
        context.at("secrets", |context| {
            reject_twice(context, resources.secrets.iter().map(|secret| &secret.name))
        });
        let names = resources
            .listeners
            .iter()
            .map(|listener| &listener.name)
            .filter(|name| !name.is_empty());
        context.at("listeners", |context| reject_twice(context, names));
        (clusters, secrets, listeners)
    });
    let dynamic_resources = match &message.dynamic_resources {
        Some(resources) => context.at("dynamic_resources", |context| parse_dynamic(context, resources)),
        None => Ok(DynamicResources::default()),
    };
    let cluster_manager = match &message.cluster_manager {
        Some(manager) => context.at("cluster_manager", |context| parse_cluster_manager(context, manager)),
        None => Ok(ClusterManager::default()),
    };
    let stats = StatsSettings::parse(context, message);
    let layers = context.optional("layered_runtime", message.layered_runtime.as_ref(), parse_runtime);
    let log_config = message.application_log_config.as_ref();
    let application_log_format = context.optional("application_log_config", log_config, parse_log_config);
    let overload = context.optional("overload_manager", message.overload_manager.as_ref(), overload::parse);
    note_extensions(context, message);
    let dns_resolver = message.typed_dns_resolver_config.as_ref();
    let dns_resolver = context.optional("typed_dns_resolver_config", dns_resolver, DnsResolver::parse);
    let bootstrap = Bootstrap {
        node,
        admin: admin?,
        listeners: listeners?,
        clusters: clusters?,
        secrets: secrets?,
        dynamic_resources: dynamic_resources?,
        cluster_manager: cluster_manager?,
        stats: stats?,
        layered_runtime: layers?.unwrap_or_default(),
        application_log_format: application_log_format?.flatten(),
        max_downstream_connections: overload?.flatten(),
        dns_resolver: dns_resolver?.unwrap_or_default(),
    };
    check_management_servers(context, &bootstrap);
    check_routes(context, &bootstrap);
    Ok(bootstrap)
}

/// As in Envoy, the routes of a static listener may name static clusters only, unless they say `validate_clusters:
/// false`: clusters that come later are not there when the listener is made.
fn check_routes(context: &mut Context<'_>, bootstrap: &Bootstrap) {
    let known: HashSet<&str> = bootstrap.clusters.iter().map(|cluster| &*cluster.name).collect();
    for (index, listener) in bootstrap.listeners.iter().enumerate() {
        if let Some(unknown) = listener.unknown_cluster(|name| known.contains(name)) {
            let path = format!("static_resources.listeners[{index}]");
            let found = format!("has {unknown}, which static_resources does not have (route_config.validate_clusters)");
            context.reject_field(&path, found);
        }
    }
}

/// A name of a list that occurs again.
fn reject_twice<'n>(context: &mut Context<'_>, names: impl Iterator<Item = &'n String>) {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            context.reject(format!("holds {name:?} twice"));
        }
    }
}

fn parse_admin(context: &mut Context<'_>, message: &pb::Admin) -> Result<Admin, Reported> {
    context.check(message);
    let address = context.optional("address", message.address.as_ref(), Address::parse);
    let access_log = context.each::<_, _, Vec<_>>("access_log", &message.access_log, AccessLog::parse);
    #[expect(deprecated, reason = "Envoy still reads it")]
    let path = non_empty(&message.access_log_path);
    let allow_paths = context.each("allow_paths", &message.allow_paths, StringMatcher::parse);
    let mut access_log = access_log?;
    if let Some(path) = path {
        let sink = AccessLogSink::File {
            path,
            format: AccessLogFormat::Default,
        };
        access_log.push(AccessLog {
            name: shared("envoy.access_loggers.file"),
            filter: None,
            sink,
        });
    }
    Ok(Admin {
        address: address?,
        access_log,
        allow_paths: allow_paths?,
    })
}

fn parse_dynamic(
    context: &mut Context<'_>,
    message: &pb::bootstrap::DynamicResources,
) -> Result<DynamicResources, Reported> {
    context.check(message);
    let lds = context.optional("lds_config", message.lds_config.as_ref(), ConfigSource::parse);
    let cds = context.optional("cds_config", message.cds_config.as_ref(), ConfigSource::parse);
    let ads = context.optional("ads_config", message.ads_config.as_ref(), ApiConfigSource::parse);
    Ok(DynamicResources {
        lds_config: lds?.map(Arc::new),
        cds_config: cds?.map(Arc::new),
        ads_config: ads?.map(Arc::new),
    })
}

fn parse_cluster_manager(context: &mut Context<'_>, message: &pb::ClusterManager) -> Result<ClusterManager, Reported> {
    context.check(message);
    let bind = context.optional(
        "upstream_bind_config",
        message.upstream_bind_config.as_ref(),
        BindConfig::parse,
    );
    let load_stats = context.optional(
        "load_stats_config",
        message.load_stats_config.as_ref(),
        ApiConfigSource::parse,
    );
    Ok(ClusterManager {
        local_cluster_name: non_empty(&message.local_cluster_name),
        upstream_bind_config: bind?,
        load_stats_config: load_stats?.map(Arc::new),
    })
}

fn parse_runtime(context: &mut Context<'_>, message: &pb::LayeredRuntime) -> Result<Vec<RuntimeLayer>, Reported> {
    use pb::runtime_layer::LayerSpecifier as Specifier;
    context.check(message);
    let mut names = HashSet::new();
    context.each("layers", &message.layers, |context, layer| {
        context.check(layer);
        let name = context.text("name", &layer.name)?;
        if !names.insert(Arc::clone(&name)) {
            return Err(context.reject_field("name", format!("is {name:?} like that of an earlier layer")));
        }
        let values = match &layer.layer_specifier {
            Some(Specifier::StaticLayer(values)) => Some(parse_struct(values)),
            Some(Specifier::AdminLayer(_)) => None,
            Some(Specifier::DiskLayer(_) | Specifier::RtdsLayer(_)) => return Err(context.reported()),
            None => return Err(context.reject("has no static_layer, disk_layer, admin_layer or rtds_layer")),
        };
        Ok(RuntimeLayer { name, values })
    })
}

fn parse_log_config(
    context: &mut Context<'_>,
    message: &pb::bootstrap::ApplicationLogConfig,
) -> Result<Option<ApplicationLogFormat>, Reported> {
    use pb::bootstrap::application_log_config::log_format::LogFormat;
    context.check(message);
    context.optional("log_format", message.log_format.as_ref(), |context, format| {
        context.check(format);
        match &format.log_format {
            Some(LogFormat::TextFormat(text)) => Ok(ApplicationLogFormat::Text(shared(text))),
            Some(LogFormat::JsonFormat(fields)) => Ok(ApplicationLogFormat::Json(parse_struct(fields))),
            None => Err(context.reject("has no text_format or json_format")),
        }
    })
}

/// Extensions of the bootstrap that are built in here, or whose absence shows nowhere.
fn note_extensions(context: &mut Context<'_>, message: &pb::Bootstrap) {
    // Nothing here fails: faults are recorded as they are found.
    let _: Result<Vec<()>, _> = context.each(
        "bootstrap_extensions",
        &message.bootstrap_extensions,
        |context, config| {
            let why = "there are no internal listeners that it could carry";
            note_inert(
                context,
                config,
                "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
                why,
            );
            Ok(())
        },
    );
    if let Some(config) = &message.default_regex_engine {
        let why = "regular expressions have RE2's syntax and its linear time";
        context.at("default_regex_engine", |context| {
            note_inert(context, config, "envoy.extensions.regex_engines.v3.GoogleRE2", why);
        });
    }
    if let Some(config) = &message.listener_manager {
        let why = "it names the only listener manager there is";
        context.at("listener_manager", |context| {
            note_inert(context, config, "envoy.config.bootstrap.v3.ListenerManager", why);
        });
    }
}

/// Notes an extension of the type `inert`; rejects any other.
fn note_inert(context: &mut Context<'_>, config: &core::TypedExtensionConfig, inert: &str, why: &'static str) {
    context.check(config);
    match &config.typed_config {
        None => {
            context.reject_field("typed_config", "is required");
        }
        // Istio's bootstrap has them wrapped.
        Some(any) if type_name(&inner_type_url(any)) == inert => context.without_effect("typed_config", why),
        Some(any) => {
            let found = inner_type_url(any);
            let found = format!("is {found:?}, expected {inert:?}: there is no other extension");
            context.reject_field("typed_config", found);
        }
    }
}

/// What a management server needs before the first resource: somebody to be, and a cluster that is known already.
fn check_management_servers(context: &mut Context<'_>, bootstrap: &Bootstrap) {
    let dynamic = &bootstrap.dynamic_resources;
    let mut servers = Vec::new();
    if let Some(ads) = &dynamic.ads_config {
        servers.push(("dynamic_resources.ads_config", ads));
    }
    if let Some(server) = &bootstrap.cluster_manager.load_stats_config {
        servers.push(("cluster_manager.load_stats_config", server));
    }
    let nested = [
        (
            "lds_config",
            "dynamic_resources.lds_config.api_config_source",
            &dynamic.lds_config,
        ),
        (
            "cds_config",
            "dynamic_resources.cds_config.api_config_source",
            &dynamic.cds_config,
        ),
    ];
    for (field, path, source) in nested {
        match source.as_deref().map(|source| &source.specifier) {
            Some(ConfigSourceSpecifier::Api(server)) => servers.push((path, server)),
            Some(ConfigSourceSpecifier::Ads) if dynamic.ads_config.is_none() => {
                context.at("dynamic_resources", |context| {
                    context.reject_field(field, "is ads, but there is no ads_config");
                });
            }
            _ => {}
        }
    }
    if !servers.is_empty() && (bootstrap.node.id.is_empty() || bootstrap.node.cluster.is_empty()) {
        let missing = "has no id or no cluster, which a management server needs: set them here or with --service-node and --service-cluster";
        context.at("node", |context| context.reject(missing));
    }
    for (path, server) in servers {
        for (index, service) in server.grpc_services.iter().enumerate() {
            let GrpcTarget::EnvoyGrpc { cluster_name, .. } = &service.target else {
                continue;
            };
            let fault = match bootstrap.clusters.iter().find(|cluster| cluster.name == *cluster_name) {
                None => format!("is {cluster_name:?}, expected the name of a cluster in static_resources"),
                Some(cluster) if matches!(cluster.discovery, Discovery::Eds { .. }) => {
                    format!("is {cluster_name:?}, expected a cluster whose type is not EDS")
                }
                Some(_) => continue,
            };
            context.reject_field(&format!("{path}.grpc_services[{index}].envoy_grpc.cluster_name"), fault);
        }
    }
}
