//! The Kubernetes-shaped objects the mesh is described with, typed, each with its
//! place in the file it came from.

pub mod deserialize;
mod grpc_route;
mod http_route;
pub mod parse;
pub mod route;
mod route_fields;
pub mod service_policy;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use gateway_api::experimental::referencegrants::ReferenceGrant;
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde::{Deserialize, Serialize};
use xds_api::Document;

use self::route::Route;
use self::service_policy::ServicePolicy;

/// The kinds of object read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// `v1` Service.
    Service,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// `v1` Pod.
    Pod,
    /// `v1` ServiceAccount.
    ServiceAccount,
    /// `gateway.networking.k8s.io/v1` HTTPRoute.
    HttpRoute,
    /// `gateway.networking.k8s.io/v1` GRPCRoute.
    GrpcRoute,
    /// `gateway.networking.k8s.io/v1beta1` or `v1` ReferenceGrant.
    ReferenceGrant,
    /// `policy.remora.dev/v1alpha1` ServicePolicy.
    ServicePolicy,
}

impl Kind {
    /// Every kind, for messages that say what is accepted.
    pub const ALL: [Self; 8] = [
        Self::Service,
        Self::EndpointSlice,
        Self::Pod,
        Self::ServiceAccount,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::ReferenceGrant,
        Self::ServicePolicy,
    ];

    /// The `kind` as written in an object.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::ServiceAccount => "ServiceAccount",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::ServicePolicy => "ServicePolicy",
        }
    }

    /// The values of `apiVersion` under which the kind is read.
    pub fn api_versions(self) -> &'static [&'static str] {
        match self {
            Self::Service | Self::Pod | Self::ServiceAccount => &["v1"],
            Self::EndpointSlice => &["discovery.k8s.io/v1"],
            Self::HttpRoute | Self::GrpcRoute => &["gateway.networking.k8s.io/v1"],
            Self::ReferenceGrant => &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"],
            Self::ServicePolicy => &["policy.remora.dev/v1alpha1"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What names an object in a mesh; displayed as `HTTPRoute demo/greeter`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace; `default` where the file says none, as `kubectl apply` has it.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Where an object was read, so that a fault found later still has a line.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The file's path as the source names it.
    pub file: Arc<str>,
    /// The object's own document, with line numbers of the whole file.
    pub document: Arc<Document>,
}

impl Origin {
    /// The line of a field, or of the innermost part of its path that is there.
    pub fn line(&self, path: &str) -> u32 {
        self.document.nearest(path).mark.line
    }
}

/// An object of one of the kinds read. Cloning shares it.
#[derive(Clone, Debug)]
pub enum Object {
    /// A Service.
    Service(Arc<Service>),
    /// An EndpointSlice.
    EndpointSlice(Arc<EndpointSlice>),
    /// A Pod.
    Pod(Arc<Pod>),
    /// A ServiceAccount.
    ServiceAccount(Arc<ServiceAccount>),
    /// An HTTPRoute or GRPCRoute.
    Route(Arc<Route>),
    /// A ReferenceGrant.
    ReferenceGrant(Arc<ReferenceGrant>),
    /// A ServicePolicy.
    ServicePolicy(Arc<ServicePolicy>),
}

/// An object with its name and place.
#[derive(Clone, Debug)]
pub struct LocatedObject {
    /// Its name.
    pub id: ObjectId,
    /// The object.
    pub object: Object,
    /// Its place.
    pub origin: Origin,
}

/// Something wrong in the input, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The file's path as the source names it.
    pub file: String,
    /// Counted from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// The object, e.g. `HTTPRoute demo/greeter`; empty if it is not known which.
    pub object: String,
    /// The field, e.g. `spec.rules[0].backendRefs[1].weight`; empty if none is meant.
    pub path: String,
    /// What was found and what was expected.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        for part in [&self.object, &self.path] {
            if !part.is_empty() {
                write!(f, ": {part}")?;
            }
        }
        write!(f, ": {}", self.reason)
    }
}

impl Fault {
    /// A fault of one field of a located object.
    pub fn of_field(object: &LocatedObject, path: impl Into<String>, reason: impl Into<String>) -> Self {
        let path = path.into();
        Self {
            file: object.origin.file.to_string(),
            line: object.origin.line(&path),
            object: object.id.to_string(),
            path,
            reason: reason.into(),
        }
    }
}
