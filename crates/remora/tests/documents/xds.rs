//! docs/xds.md: which protocols, types and fields the client supports.

use std::fmt::Write as _;

use config::ResourceType;

use crate::{check, section, tables};

const INTRODUCTION: &str = "# The xDS client

Made from the code's own lists (`REMORA_WRITE_DOCS=1 cargo test -p remora --test documents` writes this file; a test
fails when it is stale).

## Ways to reach a control plane

| | delta | state of the world |
|---|---|---|
| one stream for all types (ADS) | `DELTA_GRPC`, `AGGREGATED_DELTA_GRPC` | `GRPC`, `AGGREGATED_GRPC` |
| one stream for each type | `DELTA_GRPC` in the resource's own `api_config_source` | `GRPC` in the resource's own `api_config_source` |
| files | | `path_config_source`, with or without `watched_directory` |

Over TCP, TLS and Unix sockets, through a cluster of the bootstrap (`envoy_grpc`) or a target (`google_grpc`). `REST` is
rejected. A second entry of `grpc_services` is a fallback in the sense of gRFC A71.

## What is promised

- A response's good resources take effect, whatever is wrong with the others; all faults go back in one NACK, each with
  the resource's name and the field's path.
- The last good value of a resource serves until a better one comes. A server that is away changes nothing.
- What is published is complete: a route table waits, for at most 15 seconds, for the clusters it names; a cluster that a
  published table names stays until the table is replaced.
- A reconnect that brings the same content changes nothing: no listener, connection, health state or counter.
- What becomes of a resource that the control plane removes, sends wrong or denies is chosen by `--xds-data-errors`: as in
  Envoy, where removed listeners and clusters go; `keep`, where the last good value always stays; or `drop`, where it
  always goes (gRFC A88).
- The client's view, errors included, is at `/config_dump`, at `/init_dump`, and over gRPC (CSDS,
  `envoy.service.status.v3.ClientStatusDiscoveryService`) on the admin port.

## Resource types

Virtual hosts by themselves (VHDS), scoped routes (SRDS), extensions (ECDS), runtime layers (RTDS) and names of the form
`xdstp://` are rejected, with a sentence that says so.

";

/// Messages that say where resources come from.
const SOURCES: [&str; 8] = [
    "envoy.config.core.v3.ConfigSource",
    "envoy.config.core.v3.ApiConfigSource",
    "envoy.config.core.v3.PathConfigSource",
    "envoy.config.core.v3.RateLimitSettings",
    "envoy.config.core.v3.GrpcService",
    "envoy.config.core.v3.GrpcService.EnvoyGrpc",
    "envoy.config.core.v3.GrpcService.GoogleGrpc",
    "envoy.config.bootstrap.v3.Bootstrap.DynamicResources",
];

#[test]
fn the_xds_reference_says_what_the_tables_say() {
    let mut document = INTRODUCTION.to_owned();
    document.push_str("| type | type URL |\n|---|---|\n");
    for kind in ResourceType::ALL {
        let _ = writeln!(document, "| {kind:?} | `{}` |", kind.type_url());
    }
    document.push_str("\nTheir messages, field by field; the messages inside them are in [config.md](config.md).\n");
    let tables = tables();
    let table = |message: &str| {
        let found = tables.iter().find(|table| table.message == message);
        *found.unwrap_or_else(|| panic!("{message} has a table"))
    };
    for kind in ResourceType::ALL {
        section(&mut document, table(kind.message()));
    }
    document.push_str("\n# Where resources come from\n");
    for message in SOURCES {
        section(&mut document, table(message));
    }
    check("xds.md", &document);
}
