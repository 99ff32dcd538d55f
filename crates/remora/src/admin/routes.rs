//! Which paths there are, with which methods and parameters, and who answers.

use std::fmt::Write as _;

use http::{Method, StatusCode};
use telemetry::stats::Query;
use xds_api::envoy::admin::v3 as admin;
use xds_api::{JsonStyle, to_json_styled};

use super::query::Parameters;
use super::source::{AdminSource, LAST_GOOD, ServerState};
use super::{Answer, clusters, config_dump, drain, home, listeners, log_levels, memory, runtime, server_info};

/// A request: its path is already known.
pub(super) struct Request<'a> {
    pub(super) source: &'a dyn AdminSource,
    /// As it stands in the target.
    pub(super) raw_query: &'a str,
    /// Of the target, and of the body when that is a form.
    pub(super) parameters: Parameters,
}

/// A path of the endpoint.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) help: &'static str,
    /// Whether it changes something, for which POST is required.
    pub(super) mutates: bool,
    /// Name and meaning.
    pub(super) parameters: &'static [(&'static str, &'static str)],
    answer: fn(&Request<'_>) -> Answer,
}

const REGEX: &str = "Regular expression (Google re2) for filtering";

/// All paths, sorted.
pub(super) const ROUTES: &[Route] = &[
    Route {
        path: "/",
        help: "Admin home page",
        mutates: false,
        parameters: &[],
        answer: |_| home::answer(),
    },
    Route {
        path: "/certs",
        help: "print certs on machine",
        mutates: false,
        parameters: &[],
        answer: |request| {
            let certificates = admin::Certificates {
                certificates: request.source.certificates(),
            };
            Answer::json(to_json_styled(
                &certificates,
                JsonStyle {
                    pretty: true,
                    defaults: true,
                    redact: false,
                },
            ))
        },
    },
    Route {
        path: "/clusters",
        help: "upstream cluster status",
        mutates: false,
        parameters: &[
            (
                "filter",
                "Regular expression (Google re2) for filtering clusters by name",
            ),
            ("format", "File format to use; One of (text, json)"),
        ],
        answer: clusters::answer,
    },
    Route {
        path: "/config_dump",
        help: "dump the current configuration",
        mutates: false,
        parameters: &[
            (
                "resource",
                "The field of the dump whose elements are wanted, such as dynamic_active_clusters",
            ),
            (
                "mask",
                "The fields to keep, as a Protobuf::FieldMask; with resource, of every element",
            ),
            (
                "name_regex",
                "Regular expression (Google re2) that the names of the resources match",
            ),
            ("include_eds", "Endpoints as well"),
        ],
        answer: config_dump::answer,
    },
    Route {
        path: "/drain_listeners",
        help: "drain listeners",
        mutates: true,
        parameters: &[
            (
                "graceful",
                "Let requests end within the drain time before the listeners close",
            ),
            ("skip_exit", "Go on running after the drain time; only with graceful"),
            ("inboundonly", "Only listeners whose traffic_direction is INBOUND"),
        ],
        answer: drain::answer,
    },
    Route {
        path: "/healthcheck/fail",
        help: "cause the server to fail health checks",
        mutates: true,
        parameters: &[],
        answer: |request| {
            request.source.set_health_check_failed(true);
            Answer::ok()
        },
    },
    Route {
        path: "/healthcheck/ok",
        help: "cause the server to pass health checks",
        mutates: true,
        parameters: &[],
        answer: |request| {
            request.source.set_health_check_failed(false);
            Answer::ok()
        },
    },
    Route {
        path: "/help",
        help: "print out list of admin commands",
        mutates: false,
        parameters: &[],
        answer: |_| Answer::text(StatusCode::OK, help()),
    },
    Route {
        path: "/hot_restart_version",
        help: "print the hot restart compatibility version",
        mutates: false,
        parameters: &[],
        answer: |request| Answer::text(StatusCode::OK, request.source.hot_restart_version()),
    },
    Route {
        path: "/init_dump",
        help: "dump what is waited for",
        mutates: false,
        parameters: &[(
            "mask",
            "The component whose unready targets are wanted, such as listener",
        )],
        answer: init_dump,
    },
    Route {
        path: "/listeners",
        help: "print listener info",
        mutates: false,
        parameters: &[("format", "File format to use; One of (text, json)")],
        answer: listeners::answer,
    },
    Route {
        path: "/logging",
        help: "query/change logging levels",
        mutates: true,
        parameters: &[
            (
                "paths",
                "Change several levels: <logger_name1>:<level1>,<logger_name2>:<level2>",
            ),
            (
                "level",
                "Change all; One of (trace, debug, info, warning, error, critical, off)",
            ),
        ],
        answer: log_levels::answer,
    },
    Route {
        path: "/memory",
        help: "print current allocation/heap usage",
        mutates: false,
        parameters: &[],
        answer: |_| memory::answer(),
    },
    Route {
        path: "/quitquitquit",
        help: "exit the server",
        mutates: true,
        parameters: &[],
        answer: |request| {
            request.source.quit();
            Answer::ok()
        },
    },
    Route {
        path: "/ready",
        help: "print server state, return 200 if LIVE, otherwise return 503",
        mutates: false,
        parameters: &[],
        answer: |request| {
            let state = request.source.state();
            let live = state == ServerState::Live;
            let status = if live {
                StatusCode::OK
            } else {
                StatusCode::SERVICE_UNAVAILABLE
            };
            let mut body = format!("{}\n", state.name());
            if request.source.serves_last_good() {
                body.push_str(&format!("configuration: {LAST_GOOD}\n"));
            }
            Answer::text(status, body)
        },
    },
    Route {
        path: "/reopen_logs",
        help: "reopen access logs",
        mutates: true,
        parameters: &[],
        answer: |request| {
            request.source.reopen_logs();
            Answer::ok()
        },
    },
    Route {
        path: "/reset_counters",
        help: "reset all counters to zero",
        mutates: true,
        parameters: &[],
        answer: |request| {
            request.source.stats().reset_counters();
            Answer::ok()
        },
    },
    Route {
        path: "/runtime",
        help: "print runtime values",
        mutates: false,
        parameters: &[],
        answer: runtime::answer,
    },
    Route {
        path: "/server_info",
        help: "print server version/status information",
        mutates: false,
        parameters: &[],
        answer: server_info::answer,
    },
    Route {
        path: "/stats",
        help: "print server stats",
        mutates: false,
        parameters: &[
            (
                "usedonly",
                "Only include stats that have been written by system since restart",
            ),
            ("filter", REGEX),
            ("format", "Format to use; One of (text, json, prometheus)"),
            (
                "type",
                "Stat types to include; One of (All, Counters, Histograms, Gauges, TextReadouts)",
            ),
            (
                "histogram_buckets",
                "Histogram bucket display mode; One of (cumulative, disjoint, detailed, summary)",
            ),
        ],
        answer: |request| stats(request, false),
    },
    Route {
        path: "/stats/prometheus",
        help: "print server stats in prometheus format",
        mutates: false,
        parameters: &[
            (
                "usedonly",
                "Only include stats that have been written by system since restart",
            ),
            (
                "text_readouts",
                "Render text_readouts as new gaugues with value 0 (increases Prometheus data size)",
            ),
            ("filter", REGEX),
            (
                "histogram_buckets",
                "Histogram bucket display mode; One of (cumulative, summary)",
            ),
        ],
        answer: |request| stats(request, true),
    },
    Route {
        path: "/without_effect",
        help: "print the fields of the configuration that are accepted and change nothing",
        mutates: false,
        parameters: &[("format", "File format to use; One of (text, json)")],
        answer: without_effect,
    },
];

/// Whether a path may be asked for: any, where none is named.
pub(super) fn is_allowed(allow_paths: &[config::string_matcher::StringMatcher], path: &str) -> bool {
    allow_paths.is_empty() || allow_paths.iter().any(|allowed| allowed.matches(path.as_bytes()))
}

/// Answers a request. `form` is the body when it is one.
pub(super) fn answer(
    source: &dyn AdminSource,
    allow_paths: &[config::string_matcher::StringMatcher],
    method: &Method,
    path: &str,
    query: &str,
    form: Option<&str>,
) -> Answer {
    // As in Envoy, several slashes at the start are one.
    let path = format!("/{}", path.trim_start_matches('/'));
    if !is_allowed(allow_paths, &path) {
        return Answer::text(StatusCode::FORBIDDEN, format!("request to path {path} not allowed"));
    }
    let Some(route) = ROUTES.iter().find(|route| route.path == path) else {
        return Answer::text(StatusCode::NOT_FOUND, format!("invalid path. {}", help()));
    };
    if route.mutates && method != Method::POST {
        let text = format!("Method {method} not allowed, POST required.");
        return Answer::text(StatusCode::METHOD_NOT_ALLOWED, text);
    }
    let mut all = query.to_owned();
    if let Some(form) = form {
        if !all.is_empty() {
            all.push('&');
        }
        all.push_str(form);
    }
    (route.answer)(&Request {
        source,
        raw_query: query,
        parameters: Parameters::parse(&all),
    })
}

fn help() -> String {
    let mut text = String::from("admin commands are:\n");
    for route in ROUTES {
        let post = if route.mutates { " (POST)" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {}{post}: {}", route.path, route.help);
        for (name, meaning) in route.parameters {
            let _ = writeln!(text, "      {name}: {meaning}");
        }
    }
    text
}

fn stats(request: &Request<'_>, prometheus: bool) -> Answer {
    let mut query = match Query::parse(request.raw_query) {
        Ok(query) => query,
        Err(error) => return Answer::bad_request(error.to_string()),
    };
    if prometheus {
        query.format = telemetry::stats::Format::Prometheus;
    }
    if query.format == telemetry::stats::Format::Prometheus
        && let Err(error) = query.fits_prometheus()
    {
        return Answer::bad_request(error.to_string());
    }
    let body = request.source.render_stats(&query).into_bytes();
    Answer {
        status: StatusCode::OK,
        content_type: query.format.content_type(),
        body,
    }
}

fn init_dump(request: &Request<'_>) -> Answer {
    let wanted = request.parameters.non_empty("mask");
    let targets = request.source.unready_targets();
    let dumps = targets
        .into_iter()
        .filter(|(component, _)| wanted.is_none_or(|wanted| wanted == *component));
    let dumps = admin::UnreadyTargetsDumps {
        unready_targets_dumps: dumps.flat_map(|(_, dumps)| dumps.unready_targets_dumps).collect(),
    };
    Answer::json(to_json_styled(
        &dumps,
        JsonStyle {
            pretty: true,
            ..JsonStyle::default()
        },
    ))
}

fn without_effect(request: &Request<'_>) -> Answer {
    let fields = request.source.without_effect();
    if request.parameters.value("format") == Some("json") {
        let fields: Vec<_> = fields
            .iter()
            .map(|field| serde_json::json!({"resource": field.resource, "path": field.path, "reason": field.reason}))
            .collect();
        return Answer::json(format!("{:#}", serde_json::json!({"without_effect": fields})));
    }
    let mut text = String::new();
    for field in fields {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}: {}: {}", field.resource, field.path, field.reason);
    }
    Answer::text(StatusCode::OK, text)
}
