use std::sync::Arc;

use tokio::net::TcpListener;

use super::client::fetch;
use super::report::{ProxyReport, Report, TypeReport, TypeState};
use super::server;
use super::table::{Colour, render};
use crate::objects::Fault;

fn kind(service: &str, state: TypeState) -> TypeReport {
    TypeReport {
        service: service.to_owned(),
        state,
        version: "0123456789abcdef".to_owned(),
        resources: 3,
        changed_at: "2026-01-01T00:00:00.000Z".to_owned(),
    }
}

fn report() -> Report {
    let refused = TypeState::Nacked {
        reason: "virtual_hosts[0]: no".to_owned(),
    };
    Report {
        proxies: vec![ProxyReport {
            node: "sidecar~127.0.1.4~greeter-v2-a.demo~demo.svc.cluster.local".to_owned(),
            variant: "delta".to_owned(),
            connected_at: "2026-01-01T00:00:00.000Z".to_owned(),
            trouble: None,
            types: vec![
                kind("CDS", TypeState::Synced),
                kind("EDS", TypeState::Stale),
                kind("RDS", refused),
            ],
        }],
        faults: vec![Fault {
            file: "routes.yaml".to_owned(),
            line: 17,
            object: "GRPCRoute greeter".to_owned(),
            path: "spec.rules[0]".to_owned(),
            reason: "unknown field".to_owned(),
        }],
        ..Report::default()
    }
}

#[test]
fn the_table_shows_each_type_and_every_reason() {
    let text = render(&report(), Colour(false));
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("NODE") && lines[0].ends_with("LAST CHANGE"));
    assert!(
        lines[1].starts_with("greeter-v2-a.demo  synced 01234567  stale 01234567   -  "),
        "{}",
        lines[1]
    );
    assert!(lines[1].contains("NACKed 01234567") && lines[1].ends_with("2026-01-01T00:00:00.000Z"));
    assert_eq!(lines[2], "NACKed greeter-v2-a.demo RDS: virtual_hosts[0]: no");
    assert_eq!(
        lines[3],
        "fault routes.yaml:17: GRPCRoute greeter: spec.rules[0]: unknown field"
    );
    assert!(!text.contains('\x1b'));
}

#[test]
fn columns_line_up_with_colours_too() {
    let plain = render(&report(), Colour(false));
    let coloured = render(&report(), Colour(true));
    assert!(coloured.contains("\x1b[32msynced"));
    let mut stripped = coloured;
    for code in ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"] {
        stripped = stripped.replace(code, "");
    }
    assert_eq!(stripped, plain);
}

#[test]
fn nobody_connected_is_said() {
    assert!(render(&Report::default(), Colour(false)).contains("no proxy is connected"));
}

#[tokio::test]
async fn the_report_is_fetched_as_it_was_made() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = tokio::spawn(server::serve(listener, Arc::new(report)));
    assert_eq!(fetch(address).await.unwrap(), report());
    serving.abort();
}

#[tokio::test]
async fn a_control_plane_that_is_not_there_is_named_with_its_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = fetch(address).await.unwrap_err().to_string();
    assert!(error.contains(&address.to_string()), "{error}");
}
