//! Who says it is connected.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;
use xds_api::google::protobuf::value::Kind;

use crate::model::Name;

/// What a node claims to be. Nothing here is proven: see the crate's `serve`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeIdentity {
    /// `sidecar~IP~POD.NAMESPACE~DOMAIN`, as Istio's sidecars call themselves.
    Sidecar {
        /// The Pod.
        pod: Name,
        /// The Pod's address.
        ip: IpAddr,
    },
    /// A gRPC client that speaks xDS itself.
    Proxyless {
        /// Whose names it calls by.
        namespace: Arc<str>,
    },
}

/// A node id that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownNode {
    id: String,
}

impl fmt::Display for UnknownNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "node id: found \"{}\", expected sidecar~IP~POD.NAMESPACE~NAMESPACE.svc.DOMAIN",
            self.id
        )
    }
}

impl std::error::Error for UnknownNode {}

impl NodeIdentity {
    /// Reads who a node claims to be.
    ///
    /// # Errors
    /// The id has another form, and the node does not say that it is a gRPC client.
    pub fn of(node: &core::Node) -> Result<Self, UnknownNode> {
        let sidecar = sidecar(&node.id);
        // gRPC clients choose their id freely; Istio's agent gives them a sidecar's and
        // marks them by the generator.
        let is_grpc = node.user_agent_name.starts_with("gRPC") || metadata(node, "GENERATOR") == Some("grpc");
        if is_grpc {
            let namespace = match sidecar {
                Some((pod, _)) => pod.namespace,
                None => metadata(node, "NAMESPACE").unwrap_or("default").into(),
            };
            return Ok(Self::Proxyless { namespace });
        }
        let (pod, ip) = sidecar.ok_or_else(|| UnknownNode { id: node.id.clone() })?;
        Ok(Self::Sidecar { pod, ip })
    }
}

fn sidecar(id: &str) -> Option<(Name, IpAddr)> {
    let mut parts = id.split('~');
    let ("sidecar", ip, pod, _domain, None) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?, parts.next())
    else {
        return None;
    };
    // Pods' names may contain dots, namespaces' may not.
    let (pod, namespace) = pod.rsplit_once('.')?;
    if pod.is_empty() || namespace.is_empty() {
        return None;
    }
    Some((Name::new(namespace, pod), ip.parse().ok()?))
}

fn metadata<'a>(node: &'a core::Node, key: &str) -> Option<&'a str> {
    match node.metadata.as_ref()?.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str) -> core::Node {
        core::Node {
            id: id.to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_sidecars_id_names_its_pod_and_address() {
        let found = NodeIdentity::of(&node("sidecar~127.0.1.4~greeter-v1.a.demo~demo.svc.cluster.local"));
        let expected = NodeIdentity::Sidecar {
            pod: Name::new("demo", "greeter-v1.a"),
            ip: "127.0.1.4".parse().unwrap(),
        };
        assert_eq!(found, Ok(expected));
    }

    #[test]
    fn any_other_id_is_refused_with_the_form_expected() {
        for id in [
            "",
            "greeter",
            "sidecar~127.0.1.4~greeter~x",
            "sidecar~nowhere~a.b~x",
            "router~127.0.1.4~a.b~x",
        ] {
            let error = NodeIdentity::of(&node(id)).unwrap_err().to_string();
            assert!(error.contains("sidecar~IP~POD.NAMESPACE"), "{error}");
        }
    }

    #[test]
    fn a_grpc_client_may_call_itself_anything() {
        let client = core::Node {
            user_agent_name: "gRPC C-core linux".to_owned(),
            ..node("test-client")
        };
        let namespace = "default".into();
        assert_eq!(NodeIdentity::of(&client), Ok(NodeIdentity::Proxyless { namespace }));
    }
}
