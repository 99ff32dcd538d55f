//! The settings of the fault filter.

use std::sync::Arc;

use codec::headers::HeaderBlock;
use config::percent::FractionalPercent;
use config::string_matcher::HeaderMatcher;
use config::{Context, Reported};
use xds_api::envoy::extensions::filters::common::fault::v3 as common;
use xds_api::envoy::extensions::filters::http::fault::v3 as pb;
use xds_api::envoy::r#type::v3 as types;

use super::{header, header_lookup};

/// What is injected into which requests.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) delay: Option<Delay>,
    pub(super) abort: Option<Abort>,
    pub(super) response_rate_limit: Option<RateLimit>,
    /// Only requests to this cluster.
    pub(super) upstream_cluster: Option<Arc<str>>,
    /// Only requests with such headers.
    pub(super) headers: Vec<HeaderMatcher>,
    /// Only requests of these nodes, if any are named.
    pub(super) downstream_nodes: Vec<Arc<str>>,
    /// Requests with faults at a time.
    pub(super) max_active_faults: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Delay {
    pub(super) milliseconds: Amount,
    pub(super) percentage: Percentage,
}

#[derive(Debug)]
pub(super) struct RateLimit {
    pub(super) kib_per_second: Amount,
    pub(super) percentage: Percentage,
}

#[derive(Debug)]
pub(super) struct Abort {
    pub(super) status: AbortStatus,
    pub(super) percentage: Percentage,
    pub(super) response_body: Option<Arc<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AbortStatus {
    Http(u16),
    Grpc(u8),
    /// As the caller says.
    Header,
}

/// How much of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Amount {
    Fixed(u64),
    /// As the caller says.
    Header,
}

impl Amount {
    /// The amount for a request; the caller says it in the header `name`, if it is his to say.
    pub(super) fn or_header(self, request: &HeaderBlock, name: &str) -> Option<u64> {
        match self {
            Amount::Fixed(amount) => Some(amount),
            Amount::Header => header_lookup::number(request.get(name)?),
        }
    }
}

/// A share of the requests, which the caller may lower where the fault is his to ask for.
#[derive(Debug)]
pub(super) struct Percentage {
    configured: FractionalPercent,
    header: Option<&'static str>,
}

impl Percentage {
    pub(super) fn of(&self, request: &HeaderBlock) -> FractionalPercent {
        let asked = self
            .header
            .and_then(|name| header_lookup::number(request.get(name)?))
            .map(|asked| u32::try_from(asked).unwrap_or(u32::MAX));
        FractionalPercent {
            numerator: asked.map_or(self.configured.numerator, |asked| asked.min(self.configured.numerator)),
            ..self.configured
        }
    }

    fn parse(
        context: &mut Context<'_>,
        percentage: Option<&types::FractionalPercent>,
        header: Option<&'static str>,
    ) -> Result<Percentage, Reported> {
        // As in Envoy: without a percentage nothing is injected.
        let never = FractionalPercent {
            numerator: 0,
            denominator: 100,
        };
        let configured = context.optional("percentage", percentage, FractionalPercent::parse)?;
        Ok(Percentage {
            configured: configured.unwrap_or(never),
            header,
        })
    }
}

impl Settings {
    /// Whether anything can be injected.
    pub(super) fn injects(&self) -> bool {
        self.delay.is_some() || self.abort.is_some() || self.response_rate_limit.is_some()
    }

    pub(super) fn parse(context: &mut Context<'_>, message: &pb::HttpFault) -> Result<Settings, Reported> {
        context.check(message);
        let delay = context.optional("delay", message.delay.as_ref(), Delay::parse);
        let abort = context.optional("abort", message.abort.as_ref(), Abort::parse);
        let limit = message.response_rate_limit.as_ref();
        let response_rate_limit = context.optional("response_rate_limit", limit, RateLimit::parse);
        let headers = context.each("headers", &message.headers, HeaderMatcher::parse);
        Ok(Settings {
            delay: delay?,
            abort: abort?,
            response_rate_limit: response_rate_limit?,
            upstream_cluster: Some(message.upstream_cluster.as_str())
                .filter(|name| !name.is_empty())
                .map(Arc::from),
            headers: headers?,
            downstream_nodes: message
                .downstream_nodes
                .iter()
                .map(|node| node.as_str().into())
                .collect(),
            max_active_faults: message.max_active_faults.as_ref().map(|limit| limit.value),
        })
    }
}

impl Delay {
    fn parse(context: &mut Context<'_>, message: &common::FaultDelay) -> Result<Delay, Reported> {
        use common::fault_delay::FaultDelaySecifier as Specifier;
        context.check(message);
        let (milliseconds, asked) = match &message.fault_delay_secifier {
            Some(Specifier::FixedDelay(delay)) => {
                let delay = context
                    .positive_duration("fixed_delay", Some(delay))?
                    .unwrap_or_default();
                (Amount::Fixed(delay.as_millis() as u64), None)
            }
            Some(Specifier::HeaderDelay(_)) => (Amount::Header, Some(header::DELAY_PERCENTAGE)),
            None => return Err(context.reject("has no fixed_delay or header_delay")),
        };
        Ok(Delay {
            milliseconds,
            percentage: Percentage::parse(context, message.percentage.as_ref(), asked)?,
        })
    }
}

impl Abort {
    fn parse(context: &mut Context<'_>, message: &pb::FaultAbort) -> Result<Abort, Reported> {
        use pb::fault_abort::ErrorType;
        context.check(message);
        let (status, asked) = match &message.error_type {
            Some(ErrorType::HttpStatus(status @ 200..=599)) => (AbortStatus::Http(*status as u16), None),
            Some(ErrorType::HttpStatus(status)) => {
                return Err(context.reject_field("http_status", format!("is {status}, expected 200 to 599")));
            }
            Some(ErrorType::GrpcStatus(status)) => match u8::try_from(*status) {
                Ok(status) => (AbortStatus::Grpc(status), None),
                Err(_) => return Err(context.reject_field("grpc_status", format!("is {status}, expected 0 to 255"))),
            },
            Some(ErrorType::HeaderAbort(_)) => (AbortStatus::Header, Some(header::ABORT_PERCENTAGE)),
            None => return Err(context.reject("has no http_status, grpc_status or header_abort")),
        };
        Ok(Abort {
            status,
            percentage: Percentage::parse(context, message.percentage.as_ref(), asked)?,
            response_body: Some(message.response_body.as_str())
                .filter(|body| !body.is_empty())
                .map(Arc::from),
        })
    }
}

impl RateLimit {
    fn parse(context: &mut Context<'_>, message: &common::FaultRateLimit) -> Result<RateLimit, Reported> {
        use common::fault_rate_limit::LimitType;
        context.check(message);
        let (kib_per_second, asked) = match &message.limit_type {
            Some(LimitType::FixedLimit(limit)) => {
                let rate = context.at("fixed_limit", |context| {
                    context.check(limit);
                    match limit.limit_kbps {
                        0 => Err(context.reject_field("limit_kbps", "is 0, expected at least 1")),
                        rate => Ok(rate),
                    }
                })?;
                (Amount::Fixed(rate), None)
            }
            Some(LimitType::HeaderLimit(_)) => (Amount::Header, Some(header::THROUGHPUT_PERCENTAGE)),
            None => return Err(context.reject("has no fixed_limit or header_limit")),
        };
        Ok(RateLimit {
            kib_per_second,
            percentage: Percentage::parse(context, message.percentage.as_ref(), asked)?,
        })
    }
}
