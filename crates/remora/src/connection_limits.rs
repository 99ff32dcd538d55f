//! Bounds on connections of the overload manager, and those that Envoy takes from runtime values (Envoy: Listeners >
//! Runtime, Best practices for edge proxies). The runtime is that of the bootstrap's layers: nothing changes it later.

use config::bootstrap::{Bootstrap, RuntimeLayer};
use config::metadata::{Struct, Value};
use proxy::server::ConnectionLimits;

const GLOBAL: &str = "overload.global_downstream_max_connections";
const LISTENER: (&str, &str) = ("envoy.resource_limits.listener.", ".connection_limit");

/// The bounds of a bootstrap.
pub(crate) fn from_bootstrap(bootstrap: &Bootstrap) -> ConnectionLimits {
    ConnectionLimits {
        overload_manager: bootstrap.max_downstream_connections,
        ..from_runtime(&bootstrap.layered_runtime)
    }
}

/// The bounds in these layers; a later layer goes before an earlier one.
fn from_runtime(layers: &[RuntimeLayer]) -> ConnectionLimits {
    let mut limits = ConnectionLimits::default();
    for layer in layers {
        if let Some(values) = &layer.values {
            read(&mut limits, "", values);
        }
    }
    limits
}

/// Keys may be written with dots or as objects in objects, or both.
fn read(limits: &mut ConnectionLimits, prefix: &str, values: &Struct) {
    for (name, value) in values.iter() {
        let key = if prefix.is_empty() {
            name.to_string()
        } else {
            format!("{prefix}.{name}")
        };
        match value {
            Value::Struct(values) => read(limits, &key, values),
            Value::Number(number) if *number >= 0.0 => {
                let limit = *number as u64;
                let listener = key
                    .strip_prefix(LISTENER.0)
                    .and_then(|rest| rest.strip_suffix(LISTENER.1));
                if key == GLOBAL {
                    limits.global = Some(limit);
                } else if let Some(listener) = listener {
                    limits.listeners.insert(listener.into(), limit);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(values: &[(&str, Value)]) -> RuntimeLayer {
        RuntimeLayer {
            name: "layer".into(),
            values: Some(structure(values)),
        }
    }

    fn structure(values: &[(&str, Value)]) -> Struct {
        values
            .iter()
            .map(|(name, value)| ((*name).into(), value.clone()))
            .collect()
    }

    #[test]
    fn limits_are_read_from_dotted_and_nested_keys_and_the_last_layer_counts() {
        let nested = structure(&[("global_downstream_max_connections", Value::Number(7.0))]);
        let limits = from_runtime(&[
            layer(&[
                (
                    "envoy.resource_limits.listener.a.b.connection_limit",
                    Value::Number(3.0),
                ),
                ("overload.global_downstream_max_connections", Value::Number(1.0)),
            ]),
            layer(&[("overload", Value::Struct(nested))]),
        ]);
        assert_eq!(limits.global, Some(7));
        assert_eq!(limits.listeners.get("a.b"), Some(&3));
    }

    #[test]
    fn the_overload_managers_bound_is_beside_the_runtimes() {
        let text = "overload_manager: {resource_monitors: [{name: m, typed_config: {'@type': \
                    type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.\
                    DownstreamConnectionsConfig, max_active_downstream_connections: 5}}]}\n\
                    layered_runtime: {layers: [{name: a, static_layer: {overload.global_downstream_max_connections: 9}}]}";
        let mut source = config::bootstrap::BootstrapSource::new();
        let form = config::bootstrap::Format::Yaml;
        source
            .merge(text.as_bytes(), "b.yaml", form, false)
            .expect("a bootstrap");
        let parsed = source.parse(&config::Extensions::new()).expect("valid");
        let limits = from_bootstrap(&parsed.value);
        assert_eq!((limits.overload_manager, limits.global), (Some(5), Some(9)));
    }
}
