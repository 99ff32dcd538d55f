//! What an HTTP filter is to the pipeline.
//!
//! A filter is compiled once for each chain it stands in and shared by the workers; what it keeps of one stream goes
//! into [`Exchange::state`]. Request callbacks run in the chain's order, response callbacks in reverse.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use codec::headers::HeaderBlock;
use config::{ExtensionConfig, References};
use telemetry::access_log::ResponseFlag;
use telemetry::stats::Registry;

use super::exchange::Exchange;
use super::istio_alpn::AlpnOverrides;
use crate::local_info::LocalInfo;
use crate::slots::Slots;

/// Which callbacks of a filter are called: what no filter of a chain asks for costs a request nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Interests {
    pub(crate) request_head: bool,
    pub(crate) request_data: bool,
    pub(crate) request_trailers: bool,
    pub(crate) response_head: bool,
    pub(crate) response_data: bool,
    pub(crate) response_trailers: bool,
    /// The end of a request whose head the filter was shown, exactly once.
    pub(crate) finish: bool,
}

/// What becomes of a request after a filter has looked at a part of it.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It goes on to the next filter.
    Continue,
    /// It stays here. A filter that let the head go on lets the rest go on too.
    Pause(Until),
    /// It stays here until something is known, and then goes through [`HttpFilter::on_answer`].
    #[cfg_attr(
        not(test),
        allow(dead_code, reason = "filters that ask others are to come; the tests have one")
    )]
    Await(Box<Awaited>),
    /// It is answered here. Every filter of the chain sees the answer.
    Reply(Box<LocalReply>),
}

/// What a paused request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// The filter's own callbacks for data and trailers, of which one says [`Verdict::Continue`]. The body is kept
    /// meanwhile, and its sender may go on: the filter bounds it.
    Body,
    /// A time: then [`HttpFilter::on_resume`] is called. Nothing more than the sender's window is kept meanwhile.
    Time(Instant),
}

/// What a request waits for that is found out elsewhere: by a service, say, that decides about it.
///
/// The future runs on the worker's thread, beside the request. When the request ends first, or `at_latest` has come, it is
/// dropped wherever it is. Nothing more than the sender's window is kept of the body meanwhile, and the filter is shown
/// no more of it.
#[cfg_attr(
    not(test),
    allow(dead_code, reason = "filters that ask others are to come; the tests have one")
)]
pub(crate) struct Awaited {
    /// What finds it out.
    pub(crate) future: Pin<Box<dyn Future<Output = Box<dyn Any>>>>,
    /// When to go on without: then [`HttpFilter::on_resume`] is called instead.
    pub(crate) at_latest: Instant,
}

impl fmt::Debug for Awaited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Awaited")
            .field("at_latest", &self.at_latest)
            .finish_non_exhaustive()
    }
}

/// What becomes of response data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DataVerdict {
    /// All of it goes on.
    Continue,
    /// The first `pass` bytes go on; the rest, and what comes after it, is shown again at `until`.
    Hold { pass: usize, until: Instant },
}

/// What an answer of a filter is to the caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ReplyKind {
    /// The proxy's own: with the headers that the route adds, and in the form of a gRPC answer to a gRPC caller.
    #[default]
    Local,
    /// The filter's: it goes out as it is.
    Own,
}

/// An answer made by a filter.
#[derive(Debug, Default)]
pub(crate) struct LocalReply {
    pub(crate) status: u16,
    pub(crate) body: Cow<'static, [u8]>,
    pub(crate) kind: ReplyKind,
    /// Where it is not the one that follows from `status`.
    pub(crate) grpc_status: Option<u8>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub(crate) details: &'static str,
    pub(crate) flag: Option<ResponseFlag>,
    /// Added to the head.
    pub(crate) headers: Vec<(&'static str, Cow<'static, [u8]>)>,
}

/// An HTTP filter of a chain.
pub(crate) trait HttpFilter: fmt::Debug + Send + Sync {
    /// Which callbacks are called.
    fn interests(&self) -> Interests;

    /// The head of a request. `end_stream`: nothing follows.
    fn on_request_head(&self, exchange: &mut Exchange<'_>, end_stream: bool) -> Verdict {
        let _ = (exchange, end_stream);
        Verdict::Continue
    }

    /// Part of a request's body.
    fn on_request_data(&self, exchange: &mut Exchange<'_>, data: &[u8], end_stream: bool) -> Verdict {
        let _ = (exchange, data, end_stream);
        Verdict::Continue
    }

    /// The trailers of a request.
    fn on_request_trailers(&self, exchange: &mut Exchange<'_>, trailers: &mut HeaderBlock) -> Verdict {
        let _ = (exchange, trailers);
        Verdict::Continue
    }

    /// What an [`Awaited`] was to find out.
    fn on_answer(&self, exchange: &mut Exchange<'_>, answer: Box<dyn Any>) -> Verdict {
        let _ = (exchange, answer);
        Verdict::Continue
    }

    /// The time of [`Until::Time`], or the latest of an [`Awaited`], has come.
    fn on_resume(&self, exchange: &mut Exchange<'_>) -> Verdict {
        let _ = exchange;
        Verdict::Continue
    }

    /// The head of the answer, whether it came from an endpoint or is made here.
    fn on_response_head(&self, exchange: &mut Exchange<'_>, head: &mut HeaderBlock, end_stream: bool) {
        let _ = (exchange, head, end_stream);
    }

    /// Part of an endpoint's answer; with what this filter held of it before.
    fn on_response_data(&self, exchange: &mut Exchange<'_>, data: &[u8], end_stream: bool) -> DataVerdict {
        let _ = (exchange, data, end_stream);
        DataVerdict::Continue
    }

    /// The trailers of the answer.
    fn on_response_trailers(&self, exchange: &mut Exchange<'_>, trailers: &mut HeaderBlock) {
        let _ = (exchange, trailers);
    }

    /// What TLS with an endpoint offers in place of the cluster's own protocols.
    fn alpn_overrides(&self) -> Option<&AlpnOverrides> {
        None
    }

    /// The request has ended, whatever way.
    fn on_finish(&self, exchange: &mut Exchange<'_>) {
        let _ = exchange;
    }
}

/// What filters are made from besides their settings.
pub(crate) struct BuildContext<'a> {
    pub(crate) stats: &'a Arc<Registry>,
    /// The connection manager's.
    pub(crate) stat_prefix: &'a str,
    pub(crate) clusters: &'a Slots,
    pub(crate) local: &'a Arc<LocalInfo>,
}

/// The settings of a filter.
pub(crate) trait FilterSettings: fmt::Debug + Send + Sync + 'static {
    /// The resources that the filter needs.
    fn references(&self, references: &mut References) {
        let _ = references;
    }

    /// The filter as it stands in one chain; `None` where the settings leave nothing to do.
    fn build(&self, context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>>;
}

/// Settings as `config` holds them.
#[derive(Debug)]
pub(crate) struct Configured(Box<dyn FilterSettings>);

impl Configured {
    /// Settings for the registry.
    pub(crate) fn of(settings: impl FilterSettings) -> Arc<dyn ExtensionConfig> {
        Arc::new(Configured(Box::new(settings)))
    }

    pub(crate) fn build(&self, context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
        self.0.build(context)
    }
}

impl ExtensionConfig for Configured {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn references(&self, references: &mut References) {
        self.0.references(references);
    }
}

/// Settings of a filter for a route, virtual host or table.
#[derive(Debug)]
pub(crate) struct PerRoute<T>(pub(crate) T);

impl<T: fmt::Debug + Send + Sync + 'static> PerRoute<T> {
    /// Settings for the registry.
    pub(crate) fn of(settings: T) -> Arc<dyn ExtensionConfig> {
        Arc::new(PerRoute(settings))
    }
}

impl<T: fmt::Debug + Send + Sync + 'static> ExtensionConfig for PerRoute<T> {
    fn as_any(&self) -> &dyn Any {
        self
    }
}
