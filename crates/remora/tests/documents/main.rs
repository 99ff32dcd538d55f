//! docs/config.md and docs/xds.md are the code's own support tables, written out. `REMORA_WRITE_DOCS=1 cargo test -p
//! remora --test documents` writes them anew.

mod xds;

use std::fmt::Write as _;
use std::path::Path;

use config::support::{Support, Table};

const INTRODUCTION: &str = "# What is supported, field by field

Made from the tables that the parsers themselves work by (`REMORA_WRITE_DOCS=1 cargo test -p remora --test documents`
writes this file; a test fails when it is stale). A field is one of:

- **supported**: it means what it means to Envoy;
- **without effect**: it is accepted, changes no answer, and is listed by `remora check` and the admin endpoint's
  `/without_effect`;
- **rejected**: a bootstrap that sets it does not start, a resource that sets it is refused (NACK), with the field's path
  and the reason given here.

Some values of supported fields are refused by their parser, each by name. HTTP filters: `router`, `buffer`, `cors`,
`fault`, `grpc_stats`, `header_mutation`, `health_check`, `istio.alpn`, and `upstream_codec` in clusters. Network filters:
HTTP connection manager, `tcp_proxy`, `connection_limit`. Istio's telemetry filters are accepted without effect, of HTTP and
of connections, in listeners and in clusters. Listener filters: `tls_inspector`, `http_inspector`, `original_dst`,
`proxy_protocol`. Transport sockets: TLS and `raw_buffer`.
";

fn section(out: &mut String, table: &Table) {
    let _ = write!(out, "\n## {}\n\n| field | | |\n|---|---|---|\n", table.message);
    for field in table.fields {
        let (state, why) = match field.support {
            Support::Supported { .. } => ("supported", ""),
            Support::WithoutEffect { why } => ("without effect", why),
            Support::Rejected { why } => ("rejected", why),
        };
        let _ = writeln!(out, "| `{}` | {state} | {why} |", field.name());
    }
}

/// Every table there is, by message name.
fn tables() -> Vec<&'static Table> {
    let mut tables = config::support::tables();
    tables.extend(tls::TABLES);
    tables.sort_by_key(|table| table.message);
    tables
}

/// Compares a document with what it has to be, or writes it.
fn check(name: &str, document: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("REMORA_WRITE_DOCS").is_some() {
        std::fs::write(&path, document).expect("the document can be written");
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == document,
        "docs/{name} is stale: REMORA_WRITE_DOCS=1 cargo test -p remora --test documents"
    );
}

#[test]
fn the_configuration_reference_says_what_the_tables_say() {
    let mut document = INTRODUCTION.to_owned();
    for table in tables() {
        section(&mut document, table);
    }
    check("config.md", &document);
}
