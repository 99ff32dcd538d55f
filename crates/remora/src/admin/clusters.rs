//! `/clusters`: what each endpoint is doing.
//!
//! The source gives `envoy.admin.v3.ClusterStatus`; an endpoint's `stats` are `cx_active`, `cx_connect_fail`, `cx_total`,
//! `rq_active`, `rq_error`, `rq_pending_active`, `rq_success`, `rq_timeout` and `rq_total`.

use std::fmt::Write as _;

use http::StatusCode;
use xds_api::envoy::admin::v3 as admin;
use xds_api::envoy::config::core::v3::HealthStatus;
use xds_api::google::protobuf::UInt32Value;
use xds_api::{JsonStyle, to_json_styled};

use super::Answer;
use super::listeners::shown;
use super::routes::Request;

pub(super) fn answer(request: &Request<'_>) -> Answer {
    let mut clusters = request.source.clusters();
    if let Some(filter) = request.parameters.non_empty("filter") {
        match regex::Regex::new(filter) {
            Ok(filter) => clusters.retain(|cluster| filter.is_match(&cluster.name)),
            Err(_) => return Answer::bad_request("Invalid re2 regex"),
        }
    }
    if request.parameters.value("format") == Some("json") {
        let clusters = admin::Clusters {
            cluster_statuses: clusters,
        };
        return Answer::json(to_json_styled(
            &clusters,
            JsonStyle {
                pretty: true,
                ..JsonStyle::default()
            },
        ));
    }
    let mut text = String::new();
    for cluster in &clusters {
        // Writing to a String cannot fail.
        let _ = write_cluster(&mut text, cluster);
    }
    Answer::text(StatusCode::OK, text)
}

fn write_cluster(text: &mut String, cluster: &admin::ClusterStatus) -> std::fmt::Result {
    let name = &cluster.name;
    writeln!(text, "{name}::observability_name::{}", cluster.observability_name)?;
    let rates = [
        ("success_rate", &cluster.success_rate_ejection_threshold),
        (
            "local_origin_success_rate",
            &cluster.local_origin_success_rate_ejection_threshold,
        ),
    ];
    for (rate, threshold) in rates {
        if let Some(threshold) = threshold {
            writeln!(text, "{name}::outlier::{rate}_ejection_threshold::{}", threshold.value)?;
        }
    }
    if let Some(breakers) = &cluster.circuit_breakers {
        for thresholds in &breakers.thresholds {
            let priority = if thresholds.priority == 0 { "default" } else { "high" };
            let limit = |limit: &Option<UInt32Value>, default: u32| limit.as_ref().map_or(default, |limit| limit.value);
            for (what, limit) in [
                ("max_connections", limit(&thresholds.max_connections, 1024)),
                ("max_pending_requests", limit(&thresholds.max_pending_requests, 1024)),
                ("max_requests", limit(&thresholds.max_requests, 1024)),
                ("max_retries", limit(&thresholds.max_retries, 3)),
            ] {
                writeln!(text, "{name}::{priority}_priority::{what}::{limit}")?;
            }
        }
    }
    writeln!(text, "{name}::added_via_api::{}", cluster.added_via_api)?;
    if !cluster.eds_service_name.is_empty() {
        writeln!(text, "{name}::eds_service_name::{}", cluster.eds_service_name)?;
    }
    for host in &cluster.host_statuses {
        write_host(text, name, host)?;
    }
    Ok(())
}

fn write_host(text: &mut String, cluster: &str, host: &admin::HostStatus) -> std::fmt::Result {
    let address = host.address.as_ref().map(shown).unwrap_or_default();
    let mut stats: Vec<_> = host.stats.iter().map(|stat| (stat.name.as_str(), stat.value)).collect();
    stats.sort_unstable();
    for (name, value) in stats {
        writeln!(text, "{cluster}::{address}::{name}::{value}")?;
    }
    let locality = host.locality.clone().unwrap_or_default();
    let rate = |rate: &Option<xds_api::envoy::r#type::v3::Percent>| rate.as_ref().map_or(-1.0, |rate| rate.value);
    for (name, value) in [
        ("hostname", host.hostname.clone()),
        ("health_flags", health_flags(host.health_status.as_ref())),
        ("weight", host.weight.to_string()),
        ("region", locality.region),
        ("zone", locality.zone),
        ("sub_zone", locality.sub_zone),
        ("canary", "false".to_owned()),
        ("priority", host.priority.to_string()),
        ("success_rate", rate(&host.success_rate).to_string()),
        (
            "local_origin_success_rate",
            rate(&host.local_origin_success_rate).to_string(),
        ),
    ] {
        writeln!(text, "{cluster}::{address}::{name}::{value}")?;
    }
    Ok(())
}

/// Envoy's words: a slash before each flag, `healthy` when none is set.
fn health_flags(health: Option<&admin::HostHealthStatus>) -> String {
    let Some(health) = health else {
        return "healthy".to_owned();
    };
    let eds = health.eds_health_status();
    let flags: String = [
        (health.failed_active_health_check, "/failed_active_hc"),
        (health.failed_outlier_check, "/failed_outlier_check"),
        (
            matches!(eds, HealthStatus::Unhealthy | HealthStatus::Timeout),
            "/failed_eds_health",
        ),
        (health.failed_active_degraded_check, "/degraded_active_hc"),
        (eds == HealthStatus::Degraded, "/degraded_eds_health"),
        (health.pending_dynamic_removal, "/pending_dynamic_removal"),
        (health.pending_active_hc, "/pending_active_hc"),
        (health.excluded_via_immediate_hc_fail, "/excluded_via_immediate_hc_fail"),
        (health.active_hc_timeout, "/active_hc_timeout"),
        (eds == HealthStatus::Draining, "/eds_status_draining"),
    ]
    .into_iter()
    .filter_map(|(set, flag)| set.then_some(flag))
    .collect();
    if flags.is_empty() { "healthy".to_owned() } else { flags }
}
