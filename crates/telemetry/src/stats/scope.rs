//! Where a block's names stand: the prefix in Envoy's text form and the tags Prometheus takes out of it.

use std::borrow::Cow;
use std::fmt::Write;

/// Whose statistics a block holds. Gives the text prefix (`cluster.backend.`) and, for Prometheus, the
/// name without variable parts and the labels they become (Envoy: Statistics > Tag extraction).
///
/// Unlike Envoy's default extraction, which stops at the first dot, a label holds the whole name: the
/// cluster `a.b` is `envoy_cluster_name="a.b"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope<'a> {
    /// No variable part; what is given precedes each name, as in `cluster_manager.`, or is empty.
    Process(&'a str),
    /// `cluster.<name>.`
    Cluster(&'a str),
    /// `cluster.<name>.<suffix>`: a table whose own names don't carry the suffix, such as `http2.`.
    ClusterPart(&'a str, &'static str),
    /// `cluster.<name>.grpc.<service>.<method>.`
    ClusterGrpc(&'a str, &'a str, &'a str),
    /// `http.<stat_prefix>.`
    Http(&'a str),
    /// `vhost.<name>.vcluster.<name>.`: of a virtual host, its virtual cluster.
    VirtualCluster(&'a str, &'a str),
    /// `vhost.<name>.route.<stat_prefix>.`: of a virtual host, its route.
    Route(&'a str, &'a str),
    /// `http.<stat_prefix>.rds.<route_config_name>.`
    Rds(&'a str, &'a str),
    /// `tcp.<stat_prefix>.`
    Tcp(&'a str),
    /// `listener.<address>.`; the address is written `127.0.0.1_80`, a colon becomes an underscore.
    Listener(&'a str),
    /// `listener.admin.`, which Envoy does not tag.
    AdminListener,
    /// `listener.<address>.http.<stat_prefix>.`
    ListenerHttp(&'a str, &'a str),
    /// `listener.<address>.worker_<id>.`
    ListenerWorker(&'a str, usize),
    /// `server.worker_<id>.`
    ServerWorker(usize),
    /// `sds.<name>.`
    Sds(&'a str),
    /// `listener.<address>.ssl.certificate.<name>.`
    ListenerCertificate(&'a str, &'a str),
    /// `cluster.<name>.ssl.certificate.<name>.`
    ClusterCertificate(&'a str, &'a str),
}

/// A scope, written out once and shared by its blocks.
#[derive(Debug)]
pub(crate) struct Prefix {
    /// `cluster.backend.`
    pub(crate) text: Box<str>,
    /// `cluster.`
    pub(crate) metric: Cow<'static, str>,
    tags: Tags,
}

/// The labels of a prefix. Nearly all prefixes are those of clusters, which have one.
#[derive(Debug)]
enum Tags {
    One(Tag),
    Any(Box<[Tag]>),
}

/// A label, and where in the prefix's text its value stands.
#[derive(Debug)]
struct Tag {
    label: &'static str,
    start: u32,
    end: u32,
}

impl Prefix {
    /// Label and value, in the order Envoy writes them.
    pub(crate) fn tags(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let tags = match &self.tags {
            Tags::One(tag) => std::slice::from_ref(tag),
            Tags::Any(tags) => tags,
        };
        tags.iter()
            .map(|tag| (tag.label, &self.text[tag.start as usize..tag.end as usize]))
    }
}

impl Tag {
    /// Whose value is `value`, a part of `text`. Where it stands there more than once, any will do.
    fn new(text: &str, (label, value): (&'static str, String)) -> Self {
        let start = text.find(&value);
        debug_assert!(start.is_some(), "{value} is a part of {text}");
        let range = start.map_or(0..0, |start| start..start + value.len());
        // A name is shorter than a message of the control plane.
        Self {
            label,
            start: range.start as u32,
            end: range.end as u32,
        }
    }
}

const CLUSTER: &str = "envoy_cluster_name";
const CONNECTION_MANAGER: &str = "envoy_http_conn_manager_prefix";
const VIRTUAL_HOST: &str = "envoy_virtual_host";
const LISTENER: &str = "envoy_listener_address";
const WORKER: &str = "envoy_worker_id";
const CERTIFICATE: &str = "envoy_tls_certificate";

impl Scope<'_> {
    /// The text prefix, its dot included. Colons become underscores, as in Envoy's names.
    pub(crate) fn write_text(&self, out: &mut String) {
        let start = out.len();
        // Writing to a String cannot fail.
        let _ = match self {
            Scope::Process(prefix) => write!(out, "{prefix}"),
            Scope::Cluster(name) => write!(out, "cluster.{name}."),
            Scope::ClusterPart(name, part) => write!(out, "cluster.{name}.{part}"),
            Scope::ClusterGrpc(name, service, method) => write!(out, "cluster.{name}.grpc.{service}.{method}."),
            Scope::Http(prefix) => write!(out, "http.{prefix}."),
            Scope::VirtualCluster(host, name) => write!(out, "vhost.{host}.vcluster.{name}."),
            Scope::Route(host, prefix) => write!(out, "vhost.{host}.route.{prefix}."),
            Scope::Rds(prefix, route) => write!(out, "http.{prefix}.rds.{route}."),
            Scope::Tcp(prefix) => write!(out, "tcp.{prefix}."),
            Scope::Listener(address) => write!(out, "listener.{address}."),
            Scope::AdminListener => write!(out, "listener.admin."),
            Scope::ListenerHttp(address, prefix) => write!(out, "listener.{address}.http.{prefix}."),
            Scope::ListenerWorker(address, worker) => write!(out, "listener.{address}.worker_{worker}."),
            Scope::ServerWorker(worker) => write!(out, "server.worker_{worker}."),
            Scope::Sds(name) => write!(out, "sds.{name}."),
            Scope::ListenerCertificate(address, name) => write!(out, "listener.{address}.ssl.certificate.{name}."),
            Scope::ClusterCertificate(cluster, name) => write!(out, "cluster.{cluster}.ssl.certificate.{name}."),
        };
        if out[start..].contains(':') {
            let clean = out[start..].replace(':', "_");
            out.truncate(start);
            out.push_str(&clean);
        }
    }

    pub(crate) fn prefix(&self, text: &str) -> Prefix {
        let own = |value: &str| value.replace(':', "_");
        let number = |value: usize| value.to_string();
        let (metric, tags): (Cow<'static, str>, Vec<(&'static str, String)>) = match self {
            Scope::Process(prefix) => ((*prefix).to_owned().into(), vec![]),
            Scope::Cluster(name) => ("cluster.".into(), vec![(CLUSTER, own(name))]),
            Scope::ClusterPart(name, part) => (format!("cluster.{part}").into(), vec![(CLUSTER, own(name))]),
            Scope::ClusterGrpc(name, service, method) => (
                "cluster.grpc.".into(),
                vec![
                    (CLUSTER, own(name)),
                    ("envoy_grpc_bridge_method", own(method)),
                    ("envoy_grpc_bridge_service", own(service)),
                ],
            ),
            Scope::Http(prefix) => ("http.".into(), vec![(CONNECTION_MANAGER, own(prefix))]),
            Scope::VirtualCluster(host, name) => (
                "vhost.vcluster.".into(),
                vec![("envoy_virtual_cluster", own(name)), (VIRTUAL_HOST, own(host))],
            ),
            Scope::Route(host, prefix) => (
                "vhost.route.".into(),
                vec![("envoy_route", own(prefix)), (VIRTUAL_HOST, own(host))],
            ),
            Scope::Rds(prefix, route) => (
                "http.rds.".into(),
                vec![
                    ("envoy_rds_route_config", own(route)),
                    (CONNECTION_MANAGER, own(prefix)),
                ],
            ),
            Scope::Tcp(prefix) => ("tcp.".into(), vec![("envoy_tcp_prefix", own(prefix))]),
            Scope::Listener(address) => ("listener.".into(), vec![(LISTENER, own(address))]),
            Scope::AdminListener => ("listener.admin.".into(), vec![]),
            Scope::ListenerHttp(address, prefix) => (
                "listener.http.".into(),
                vec![(CONNECTION_MANAGER, own(prefix)), (LISTENER, own(address))],
            ),
            Scope::ListenerWorker(address, worker) => (
                "listener.worker.".into(),
                vec![(WORKER, number(*worker)), (LISTENER, own(address))],
            ),
            Scope::ServerWorker(worker) => ("server.worker.".into(), vec![(WORKER, number(*worker))]),
            Scope::Sds(name) => ("sds.".into(), vec![("envoy_xds_resource_name", own(name))]),
            Scope::ListenerCertificate(address, name) => (
                "listener.ssl.certificate.".into(),
                vec![(CERTIFICATE, own(name)), (LISTENER, own(address))],
            ),
            Scope::ClusterCertificate(cluster, name) => (
                "cluster.ssl.certificate.".into(),
                vec![(CERTIFICATE, own(name)), (CLUSTER, own(cluster))],
            ),
        };
        let tags: Vec<Tag> = tags.into_iter().map(|tag| Tag::new(text, tag)).collect();
        let tags = match <[Tag; 1]>::try_from(tags) {
            Ok([tag]) => Tags::One(tag),
            Err(tags) => Tags::Any(tags.into()),
        };
        Prefix {
            text: text.into(),
            metric,
            tags,
        }
    }
}
