//! The text of a file to its objects.

use std::sync::Arc;

use gateway_api::experimental::grpcroutes::GrpcRoute;
use gateway_api::experimental::httproutes::HttpRoute;
use gateway_api::experimental::referencegrants::ReferenceGrant;
use k8s_openapi::api::core::v1::{Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::de::DeserializeOwned;
use xds_api::{Document, Node, Value, yaml};

use super::deserialize::{FieldFault, from_node};
use super::service_policy::ServicePolicy;
use super::{Fault, Kind, LocatedObject, Object, ObjectId, Origin, grpc_route, http_route};

/// What a file says.
#[derive(Clone, Debug, Default)]
pub struct FileObjects {
    /// Its objects, in order.
    pub objects: Vec<LocatedObject>,
    /// Objects of kinds that are not read, and fields of objects read that have no
    /// effect: told, never silently passed over.
    pub notes: Vec<Fault>,
}

/// Reads a file: YAML or JSON, with any number of documents, each an object or a List.
///
/// # Errors
/// Everything that is wrong with it. A file is taken as a whole or not at all, so that a
/// slip in one object does not tear it from those it was saved with.
pub fn parse_file(text: &str, file: &str) -> Result<FileObjects, Vec<Fault>> {
    let documents = yaml::parse_all(text, file).map_err(|error| {
        vec![Fault {
            file: file.to_owned(),
            line: error.line,
            object: String::new(),
            path: String::new(),
            reason: error.message,
        }]
    })?;
    let mut reader = FileReader {
        file: file.into(),
        found: FileObjects::default(),
        faults: Vec::new(),
    };
    for document in documents {
        reader.document(document);
    }
    if reader.faults.is_empty() {
        Ok(reader.found)
    } else {
        Err(reader.faults)
    }
}

struct FileReader {
    file: Arc<str>,
    found: FileObjects,
    faults: Vec<Fault>,
}

impl FileReader {
    fn document(&mut self, document: Document) {
        // What stands between two separators may be comments alone.
        if document.root.value == Value::Null {
            return;
        }
        if text_of(&document.root, "kind") == Some("List")
            && let Some(Value::List(items)) = field(&document.root, "items").map(|node| &node.value)
        {
            for item in items {
                self.object(Document {
                    source_name: document.source_name.clone(),
                    root: item.clone(),
                });
            }
            return;
        }
        self.object(document);
    }

    fn object(&mut self, document: Document) {
        let root = &document.root;
        if !matches!(root.value, Value::Map(_)) {
            self.fault(
                root.mark.line,
                "",
                "",
                "expected an object with apiVersion, kind and metadata",
            );
            return;
        }
        let (Some(api_version), Some(kind_name)) = (text_of(root, "apiVersion"), text_of(root, "kind")) else {
            self.fault(
                root.mark.line,
                "",
                "",
                "apiVersion and kind must say what the object is",
            );
            return;
        };
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.name() == kind_name) else {
            let read = Kind::ALL.map(Kind::name).join(", ");
            let reason = format!("{api_version} {kind_name} is not read; the kinds read are {read}");
            self.note(root.mark.line, kind_name, "", &reason);
            return;
        };
        if !kind.api_versions().contains(&api_version) {
            let line = field(root, "apiVersion").map_or(root.mark.line, |node| node.mark.line);
            let expected = kind.api_versions().join(" or ");
            let reason = format!("found \"{api_version}\", expected {expected}");
            self.fault(line, kind_name, "apiVersion", &reason);
            return;
        }
        match read_object(kind, root) {
            Ok((object, metadata)) => self.located(kind, object, &metadata, document),
            Err(faults) => {
                let name = field(root, "metadata").and_then(|metadata| text_of(metadata, "name"));
                let object = name.map_or(kind_name.to_owned(), |name| format!("{kind_name} {name}"));
                for fault in faults {
                    self.fault(fault.line, &object, &fault.path, &fault.reason);
                }
            }
        }
    }

    fn located(&mut self, kind: Kind, object: Object, metadata: &ObjectMeta, document: Document) {
        let line = document.root.mark.line;
        let Some(name) = metadata.name.as_deref().filter(|name| !name.is_empty()) else {
            self.fault(line, kind.name(), "metadata.name", "missing");
            return;
        };
        let id = ObjectId {
            kind,
            namespace: metadata
                .namespace
                .as_deref()
                .filter(|namespace| !namespace.is_empty())
                .unwrap_or("default")
                .into(),
            name: name.into(),
        };
        let object = LocatedObject {
            id,
            object,
            origin: Origin {
                file: Arc::clone(&self.file),
                document: Arc::new(document),
            },
        };
        for (path, reason) in without_effect(&object.object) {
            self.found.notes.push(Fault::of_field(&object, path, reason));
        }
        self.found.objects.push(object);
    }

    fn new_fault(&self, line: u32, object: &str, path: &str, reason: &str) -> Fault {
        Fault {
            file: self.file.to_string(),
            line,
            object: object.to_owned(),
            path: path.to_owned(),
            reason: reason.to_owned(),
        }
    }

    fn fault(&mut self, line: u32, object: &str, path: &str, reason: &str) {
        self.faults.push(self.new_fault(line, object, path, reason));
    }

    fn note(&mut self, line: u32, object: &str, path: &str, reason: &str) {
        self.found.notes.push(self.new_fault(line, object, path, reason));
    }
}

fn field<'a>(node: &'a Node, name: &str) -> Option<&'a Node> {
    match &node.value {
        Value::Map(entries) => entries
            .iter()
            .find(|(key, _)| &*key.text == name)
            .map(|(_, value)| value),
        _ => None,
    }
}

fn text_of<'a>(node: &'a Node, name: &str) -> Option<&'a str> {
    match &field(node, name)?.value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

type ReadObject = Result<(Object, ObjectMeta), Vec<FieldFault>>;

fn read_object(kind: Kind, root: &Node) -> ReadObject {
    // The derived types do not ask for these two; they were read above.
    const HEAD: &[&str] = &["apiVersion", "kind"];
    fn typed<T: DeserializeOwned>(root: &Node) -> Result<T, Vec<FieldFault>> {
        from_node(root, HEAD)
    }
    let located = |faults: Vec<(String, String)>| -> Vec<FieldFault> {
        let document = Document {
            source_name: String::new(),
            root: root.clone(),
        };
        let place = |(path, reason): (String, String)| FieldFault {
            line: document.nearest(&path).mark.line,
            path,
            reason,
        };
        faults.into_iter().map(place).collect()
    };
    Ok(match kind {
        Kind::Service => {
            let service: Service = typed(root)?;
            let metadata = service.metadata.clone();
            (Object::Service(Arc::new(service)), metadata)
        }
        Kind::EndpointSlice => {
            let slice: EndpointSlice = typed(root)?;
            let metadata = slice.metadata.clone();
            (Object::EndpointSlice(Arc::new(slice)), metadata)
        }
        Kind::Pod => {
            let pod: Pod = typed(root)?;
            let metadata = pod.metadata.clone();
            (Object::Pod(Arc::new(pod)), metadata)
        }
        Kind::ServiceAccount => {
            let account: ServiceAccount = typed(root)?;
            let metadata = account.metadata.clone();
            (Object::ServiceAccount(Arc::new(account)), metadata)
        }
        Kind::HttpRoute => {
            let route: HttpRoute = typed(root)?;
            let read = http_route::read(&route).map_err(located)?;
            (Object::Route(Arc::new(read)), route.metadata)
        }
        Kind::GrpcRoute => {
            let route: GrpcRoute = typed(root)?;
            let read = grpc_route::read(&route).map_err(located)?;
            (Object::Route(Arc::new(read)), route.metadata)
        }
        Kind::ReferenceGrant => {
            let grant: ReferenceGrant = typed(root)?;
            let metadata = grant.metadata.clone();
            (Object::ReferenceGrant(Arc::new(grant)), metadata)
        }
        Kind::ServicePolicy => {
            let policy: ServicePolicy = typed(root)?;
            let faults = policy.faults();
            if !faults.is_empty() {
                return Err(located(faults));
            }
            let metadata = policy.metadata.clone();
            (Object::ServicePolicy(Arc::new(policy)), metadata)
        }
    })
}

/// Fields that change where a Service's traffic goes in Kubernetes and do nothing here.
fn without_effect(object: &Object) -> Vec<(&'static str, &'static str)> {
    let Object::Service(service) = object else {
        return Vec::new();
    };
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if spec.session_affinity.as_deref() == Some("ClientIP") {
        found.push((
            "spec.sessionAffinity",
            "without effect: sessions are not pinned to endpoints",
        ));
    }
    if spec.internal_traffic_policy.as_deref() == Some("Local") {
        found.push((
            "spec.internalTrafficPolicy",
            "without effect: endpoints of every node are used",
        ));
    }
    if spec.traffic_distribution.is_some() {
        found.push((
            "spec.trafficDistribution",
            "without effect: endpoints of every zone are used",
        ));
    }
    if spec.type_.as_deref() == Some("ExternalName") {
        found.push(("spec.type", "not supported: an ExternalName Service gets no cluster"));
    }
    if spec.publish_not_ready_addresses == Some(true) {
        found.push((
            "spec.publishNotReadyAddresses",
            "without effect: endpoints that are not ready are left out",
        ));
    }
    found
}
