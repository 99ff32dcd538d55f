//! What is sent is what the proxy takes: checked with the parsers it reads with.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::path::Path;
use std::sync::Arc;

use control_plane::check::check;
use control_plane::compile::Snapshot;
use control_plane::compile::resource::ResourceType;
use control_plane::model::{MeshSettings, build};
use control_plane::objects::parse::parse_file;
use control_plane::validate::{ProxyValidator, Validator};

fn settings() -> MeshSettings {
    MeshSettings::new("mesh.test")
}

#[test]
fn the_demos_mesh_is_good_and_says_nothing_without_effect() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/mesh");
    let findings = check(&directory, &settings(), Arc::new(ProxyValidator::new())).unwrap();
    assert!(findings.is_good(), "{findings:#?}");
    assert!(findings.notes.is_empty(), "{findings:#?}");
    assert_eq!(findings.objects, 13);
}

/// Every kind of thing the compiler can make that proxies carry out.
const MESH: &str = "
apiVersion: v1
kind: Service
metadata: {name: a, namespace: demo}
spec:
  clusterIP: 10.1.0.1
  selector: {app: a}
  ports: [{name: grpc, port: 70, targetPort: 8080}, {name: grpc-other, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: b, namespace: demo}
spec: {selector: {app: b}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: empty, namespace: demo}
spec: {selector: {app: none}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a, namespace: demo, labels: {app: a, topology.kubernetes.io/zone: z}}
status: {podIP: 127.0.1.2}
---
apiVersion: v1
kind: Pod
metadata: {name: bare, namespace: demo, labels: {app: b, sidecar.istio.io/inject: 'false'}}
status: {podIP: 127.0.1.3}
---
apiVersion: v1
kind: Pod
metadata: {name: b, namespace: demo, labels: {app: b}}
status: {podIP: 127.0.1.4}
---
apiVersion: policy.remora.dev/v1alpha1
kind: ServicePolicy
metadata: {name: p, namespace: demo}
spec:
  targetRefs: [{name: a}]
  mtls: {mode: Strict}
  connectTimeout: 2s
  loadBalancing: {algorithm: Random}
  healthCheck: {grpc: {}, interval: 3s}
  circuitBreaker: {maxRequests: 7, maxConnections: 6, maxPendingRequests: 5, maxRetries: 4}
  outlierDetection: {consecutive5xx: 3, interval: 1s, baseEjectionTime: 10s, maxEjectionPercent: 50}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: demo}
spec:
  parentRefs: [{group: '', kind: Service, name: b}]
  rules:
    - matches:
        - {path: {type: Exact, value: /exact}, method: GET}
        - {path: {value: /prefix}, headers: [{name: h, value: v}, {name: i, type: RegularExpression, value: 'v.*'}]}
        - {path: {type: RegularExpression, value: '/r.*'}, queryParams: [{name: q, value: v}]}
      timeouts: {request: 10s}
      filters:
        - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x, value: '100'}], remove: [z]}}
        - {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x, value: z}]}}
      backendRefs:
        - {name: b, port: 80, weight: 1, filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: w, value: v}]}}]}
        - {name: gone, port: 80, weight: 2}
    - matches: [{path: {value: /old}}]
      filters: [{type: URLRewrite, urlRewrite: {hostname: h, path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}]
      backendRefs: [{name: b, port: 80}]
    - matches: [{path: {value: /full}}]
      filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /new}}}]
      backendRefs: [{name: b, port: 80}]
    - matches: [{path: {value: /moved}}]
      filters:
        - type: RequestRedirect
          requestRedirect: {scheme: https, hostname: h, port: 8443, path: {type: ReplacePrefixMatch, replacePrefixMatch: /to}, statusCode: 301}
    - matches: [{path: {value: /nothing}}]
      backendRefs: [{name: gone, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: g, namespace: demo}
spec:
  parentRefs: [{group: '', kind: Service, name: a, port: 70}]
  rules:
    - matches: [{method: {service: pkg.S, method: M}}, {method: {service: pkg.S}}, {method: {method: Second}}, {method: {type: RegularExpression, service: 'pkg.*'}}]
      backendRefs: [{name: a, port: 70, weight: 90}, {name: b, port: 80, weight: 10}]
";

#[test]
fn everything_the_compiler_makes_of_it_the_proxy_takes() {
    let objects = parse_file(MESH, "mesh.yaml").unwrap().objects;
    let mesh = Arc::new(build(&objects, &settings()));
    let validator = Arc::new(ProxyValidator::new());
    let snapshot = Snapshot::new(Arc::clone(&mesh), Arc::clone(&validator) as Arc<dyn Validator>, None);
    assert!(snapshot.withheld().is_empty(), "{:#?}", snapshot.withheld());
    for pod in ["a", "b"] {
        let workload = &mesh.workloads[&control_plane::model::Name::new("demo", pod)];
        let (view, withheld) = snapshot.sidecar_view(workload);
        assert!(withheld.is_empty(), "{withheld:#?}");
        // The whole table too, not only its parts.
        for kind in ResourceType::ALL {
            for resource in view.of(kind).iter() {
                assert_eq!(validator.validate(resource), Ok(()), "{resource:?}");
            }
        }
    }
}
