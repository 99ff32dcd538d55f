//! Requests as lines.

use std::collections::BTreeMap;

use xds_api::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};

/// The last part of a type URL.
fn short(type_url: &str) -> &str {
    type_url.rsplit('.').next().unwrap_or_default()
}

fn kind(answers: bool, refused: bool) -> &'static str {
    match (!answers, refused) {
        (true, _) => "asks",
        (false, true) => "NACK",
        (false, false) => "ACK",
    }
}

fn sorted(names: &[String]) -> String {
    let mut names = names.to_vec();
    names.sort();
    names.join(" ")
}

/// `Cluster asks [names] version`, with `ACK` or `NACK` where a response is answered for the first time, and `+node` where
/// the node is told.
pub(super) fn sotw(request: &DiscoveryRequest, answers: bool) -> String {
    format!(
        "{} {} [{}] version {:?}{}",
        short(&request.type_url),
        kind(answers, request.error_detail.is_some()),
        sorted(&request.resource_names),
        request.version_info,
        node(request.node.is_some())
    )
}

/// `Cluster asks +[names] -[names] has {name: version}`.
pub(super) fn delta(request: &DeltaDiscoveryRequest) -> String {
    let has: BTreeMap<_, _> = request.initial_resource_versions.iter().collect();
    format!(
        "{} {} +[{}] -[{}] has {has:?}{}",
        short(&request.type_url),
        kind(!request.response_nonce.is_empty(), request.error_detail.is_some()),
        sorted(&request.resource_names_subscribe),
        sorted(&request.resource_names_unsubscribe),
        node(request.node.is_some())
    )
}

fn node(told: bool) -> &'static str {
    if told { " +node" } else { "" }
}
