//! Rewriting of answers that are made here (Envoy: local reply modification).

use std::borrow::Cow;
use std::time::Instant;

use codec::headers::HeaderBlock;
use config::access_log::AccessLogFilter;
use config::header_mutation::HeaderValueOption;
use config::http_connection_manager::{BodyFormat, LocalReplyConfig};
use telemetry::access_log::Format;

use crate::access_log::{self, Entry, Logged};
use crate::downstream::Downstream;
use crate::header_operations::{self, ResponseHead};
use crate::route_table;
use crate::slab::Key;
use crate::stream::Stream;
use crate::worker::Worker;

/// The rules of a connection manager, compiled.
#[derive(Debug)]
pub(crate) struct LocalReplies {
    mappers: Vec<Mapper>,
    format: Option<BodyTemplate>,
}

#[derive(Debug)]
struct Mapper {
    filter: AccessLogFilter,
    status: Option<u16>,
    body: Option<Vec<u8>>,
    format: Option<BodyTemplate>,
    headers: Vec<HeaderValueOption>,
}

/// What a body is made into, compiled.
#[derive(Debug)]
pub(crate) struct BodyTemplate {
    format: Format,
    content_type: Box<str>,
}

/// An answer's status and body, as they are to be sent.
#[derive(Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) body: Cow<'a, [u8]>,
    /// Value of `content-type`; plain text when none.
    pub(crate) content_type: Option<Box<str>>,
}

impl<'a> Reply<'a> {
    /// An answer that no rule changes.
    pub(crate) fn unchanged(status: u16, body: &'a [u8]) -> Reply<'a> {
        Reply {
            status,
            body: Cow::Borrowed(body),
            content_type: None,
        }
    }

    /// Whether the body is another one than it was.
    pub(crate) fn is_rewritten(&self) -> bool {
        matches!(self.body, Cow::Owned(_))
    }

    /// The body as `grpc-message`: the line break behind JSON has no place in a header.
    pub(crate) fn grpc_message(&self) -> &[u8] {
        match self.content_type.as_deref() {
            Some("application/json") => self.body.strip_suffix(b"\n").unwrap_or(&self.body),
            _ => &self.body,
        }
    }
}

impl LocalReplies {
    /// Compiles the rules. A format that can't be used was refused before; one all the same is reported and left out.
    pub(crate) fn compile(config: &LocalReplyConfig) -> LocalReplies {
        let mapper = |mapper: &config::http_connection_manager::ResponseMapper| Mapper {
            filter: mapper.filter.clone(),
            status: mapper.status_code,
            body: mapper.body.as_ref().map(route_table::direct_body),
            format: mapper.body_format_override.as_ref().and_then(BodyTemplate::compile),
            headers: mapper.headers_to_add.clone(),
        };
        LocalReplies {
            mappers: config.mappers.iter().map(mapper).collect(),
            format: config.body_format.as_ref().and_then(BodyTemplate::compile),
        }
    }
}

impl BodyTemplate {
    /// Compiles a format. One that can't be used was refused before; one all the same is reported and left out.
    pub(crate) fn compile(body: &BodyFormat) -> Option<BodyTemplate> {
        let (format, is_json) = match access_log::compile(&body.format) {
            Ok(format) => (
                format,
                matches!(body.format, config::access_log::AccessLogFormat::Json { .. }),
            ),
            Err(error) => {
                tracing::error!(target: "config", %error, "the format of locally made answers is not usable");
                return None;
            }
        };
        let by_kind = if is_json { "application/json" } else { "text/plain" };
        Some(BodyTemplate {
            format,
            content_type: body.content_type.as_deref().unwrap_or(by_kind).into(),
        })
    }

    /// What a body becomes; it is `%LOCAL_REPLY_BODY%` in the format.
    pub(crate) fn fill(
        &self,
        stream: &mut Stream,
        downstream: &Downstream,
        response: Option<&HeaderBlock>,
        body: &[u8],
        now: Instant,
    ) -> Vec<u8> {
        let text = String::from_utf8_lossy(body).into_owned();
        stream.rare.get_or_insert_default().reply_body = Some(text.into());
        let entry = Entry::new(stream, downstream, now).with_response(response);
        let mut filled = Vec::new();
        self.format.write(&entry, &mut filled);
        filled
    }

    /// Value of `content-type`.
    pub(crate) fn content_type(&self) -> &str {
        &self.content_type
    }
}

/// Rewrites the answer to a request as its connection manager says. The head holds what the route adds.
pub(crate) fn rewrite<'a>(
    worker: &mut Worker,
    key: Key<Stream>,
    head: &mut HeaderBlock,
    status: u16,
    body: &'a [u8],
    content_type: Option<Box<str>>,
) -> Reply<'a> {
    let mut reply = Reply {
        content_type,
        ..Reply::unchanged(status, body)
    };
    let now = worker.now;
    let Some(stream) = worker.streams.get_mut(key) else {
        return reply;
    };
    let manager = std::rc::Rc::clone(&stream.manager);
    let Some(rules) = &manager.local_replies else {
        return reply;
    };
    let Some(downstream) = worker
        .connections
        .get(stream.downstream)
        .and_then(|found| found.downstream())
    else {
        return reply;
    };
    let mapper = rules.mappers.iter().find(|mapper| {
        let entry = Entry::new(stream, downstream, now).with_response(Some(head));
        entry.passes(&mapper.filter)
    });
    let mut format = rules.format.as_ref();
    if let Some(mapper) = mapper {
        reply.status = mapper.status.unwrap_or(status);
        if let Some(body) = &mapper.body {
            reply.body = Cow::Owned(body.clone());
        }
        format = mapper.format.as_ref().or(format);
        let mut target = ResponseHead {
            head,
            stream,
            downstream,
            now,
        };
        for header in &mapper.headers {
            header_operations::add(&mut target, header, &mut worker.log_line);
        }
    }
    stream.record.status = reply.status;
    if let Some(format) = format {
        let body = format.fill(stream, downstream, Some(head), &reply.body, now);
        reply.body = Cow::Owned(body);
        reply.content_type = Some(format.content_type.clone());
    }
    reply
}
