//! The admin endpoint: Envoy's paths, methods, parameters and answers, on the configured address and nowhere else.
//!
//! It runs on a thread of its own, so that a scrape delays neither a request nor an update. What it shows comes through
//! [`AdminSource`]; what it changes goes through it as well.

mod access_log;
mod body;
mod clusters;
mod config_dump;
mod drain;
mod field_mask;
mod home;
mod listeners;
mod log_levels;
mod memory;
mod query;
mod routes;
mod runtime;
mod server;
mod server_info;
mod source;

pub(crate) use access_log::AdminLog;
pub(crate) use memory::of_process as memory;
pub(crate) use server::{AdminServer, AdminSettings};
pub(crate) use source::{AdminSource, DrainRequest, Ineffective, ServerState};

use http::StatusCode;

/// An answer. Every answer also says that it must not be cached.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    status: StatusCode,
    content_type: &'static str,
    body: Vec<u8>,
}

const TEXT: &str = "text/plain; charset=UTF-8";
const HTML: &str = "text/html; charset=UTF-8";
const JSON: &str = "application/json";

impl Answer {
    fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self {
            status,
            content_type: TEXT,
            body: body.into().into_bytes(),
        }
    }

    fn json(body: impl Into<String>) -> Self {
        let mut body = body.into();
        if !body.ends_with('\n') {
            body.push('\n');
        }
        Self {
            status: StatusCode::OK,
            content_type: JSON,
            body: body.into_bytes(),
        }
    }

    fn ok() -> Self {
        Self::text(StatusCode::OK, "OK\n")
    }

    fn bad_request(body: impl Into<String>) -> Self {
        Self::text(StatusCode::BAD_REQUEST, body)
    }
}

#[cfg(test)]
mod tests;
