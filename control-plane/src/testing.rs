//! What the tests of several modules need.

use std::sync::Arc;

use crate::compile::Snapshot;
use crate::compile::resource::Resource;
use crate::model::{Mesh, MeshSettings, Name, Workload, build};
use crate::objects::LocatedObject;
use crate::objects::parse::parse_file;
use crate::validate::Validator;

/// A demo namespace: a Service `greeter` with two Pods of version 1 and one of version 2.
pub(crate) const GREETER: &str = "
apiVersion: v1
kind: Service
metadata: {name: greeter, namespace: demo}
spec:
  selector: {app: greeter}
  ports: [{name: grpc, port: 50051}]
---
apiVersion: v1
kind: Service
metadata: {name: greeter-v1, namespace: demo}
spec:
  selector: {app: greeter, version: v1}
  ports: [{name: grpc, port: 50051}]
---
apiVersion: v1
kind: Service
metadata: {name: greeter-v2, namespace: demo}
spec:
  selector: {app: greeter, version: v2}
  ports: [{name: grpc, port: 50051}]
---
apiVersion: v1
kind: Pod
metadata: {name: greeter-v1-a, namespace: demo, labels: {app: greeter, version: v1}}
spec: {serviceAccountName: greeter, containers: []}
status: {podIP: 127.0.1.2}
---
apiVersion: v1
kind: Pod
metadata: {name: greeter-v1-b, namespace: demo, labels: {app: greeter, version: v1}}
spec: {serviceAccountName: greeter, containers: []}
status: {podIP: 127.0.1.3}
---
apiVersion: v1
kind: Pod
metadata: {name: greeter-v2-a, namespace: demo, labels: {app: greeter, version: v2}}
spec: {serviceAccountName: greeter-two, containers: []}
status: {podIP: 127.0.1.4}
---
apiVersion: v1
kind: Pod
metadata: {name: frontend, namespace: demo}
spec: {serviceAccountName: frontend, containers: []}
status: {podIP: 127.0.1.1}
";

/// A route of the greeter with these weights.
pub(crate) fn split(first: u32, second: u32) -> String {
    format!(
        "
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{name: greeter, namespace: demo}}
spec:
  parentRefs: [{{group: '', kind: Service, name: greeter}}]
  rules:
    - backendRefs:
        - {{name: greeter-v1, port: 50051, weight: {first}}}
        - {{name: greeter-v2, port: 50051, weight: {second}}}
"
    )
}

pub(crate) fn objects(text: &str) -> Vec<LocatedObject> {
    let mut objects = parse_file(text, "mesh.yaml").unwrap().objects;
    objects.sort_by(|first, second| first.id.cmp(&second.id));
    objects
}

pub(crate) fn mesh(text: &str) -> Mesh {
    build(&objects(text), &MeshSettings::new("mesh.test"))
}

/// Takes everything.
pub(crate) struct Lenient;

impl Validator for Lenient {
    fn validate(&self, _resource: &Resource) -> Result<(), Vec<String>> {
        Ok(())
    }
}

pub(crate) fn snapshot(text: &str) -> Snapshot {
    snapshot_after(text, None)
}

pub(crate) fn snapshot_after(text: &str, before: Option<&Snapshot>) -> Snapshot {
    Snapshot::new(Arc::new(mesh(text)), Arc::new(Lenient), before)
}

pub(crate) fn workload(snapshot: &Snapshot, pod: &str) -> Arc<Workload> {
    Arc::clone(snapshot.workload(&Name::new("demo", pod)).unwrap())
}
