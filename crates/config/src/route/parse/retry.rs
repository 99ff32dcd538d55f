//! Parsing of retry policies.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use xds_api::envoy::config::route::v3 as pb;
use xds_api::envoy::extensions::retry::host::omit_host_metadata::v3 as omit_host_metadata;
use xds_api::envoy::extensions::retry::priority::previous_priorities::v3 as previous_priorities;

use crate::context::Context;
use crate::extensions::message_name;
use crate::metadata::{Metadata, Struct};
use crate::rejected::Reported;
use crate::route::{RateLimitedRetryBackOff, ResetHeader, ResetHeaderFormat, RetryBackOff, RetryOn, RetryPolicy};
use crate::string_matcher::{HeaderMatcher, parse_header_name};

const PREVIOUS_HOSTS: &str = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate";
const OMIT_HOST_METADATA: &str = "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig";
const PREVIOUS_PRIORITIES: &str = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig";
const OMIT_CANARY_HOSTS: &str = "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate";

/// Envoy's default for the longest pause that an answer may ask for.
const DEFAULT_RATE_LIMITED_MAX_INTERVAL: Duration = Duration::from_secs(300);

impl RetryPolicy {
    pub(crate) fn parse(context: &mut Context<'_>, message: &pb::RetryPolicy) -> Result<Self, Reported> {
        context.check(message);
        let mut retriable_status_codes = Vec::new();
        let (retry_on, understood) = RetryOn::from_list(message.retry_on.as_bytes(), |status| {
            retriable_status_codes.push(status)
        });
        if !understood {
            context.without_effect(
                "retry_on",
                "a condition in it is not known, and is passed over as Envoy does",
            );
        }
        let per_try_timeout = context.timeout("per_try_timeout", message.per_try_timeout.as_ref(), None);
        let idle_timeout = message.per_try_idle_timeout.as_ref();
        let per_try_idle_timeout = context.timeout("per_try_idle_timeout", idle_timeout, None);
        let (mut avoid_previous_hosts, mut omit_canary_hosts) = (false, false);
        let mut omit_host_metadata = Vec::new();
        let predicates: Result<Vec<()>, _> = context.each(
            "retry_host_predicate",
            &message.retry_host_predicate,
            |context, predicate| {
                match parse_host_predicate(context, predicate)? {
                    HostPredicate::PreviousHosts => avoid_previous_hosts = true,
                    HostPredicate::OmitCanaryHosts => omit_canary_hosts = true,
                    HostPredicate::OmitHostMetadata(metadata) => omit_host_metadata.extend(metadata),
                }
                Ok(())
            },
        );
        let priority = message.retry_priority.as_ref();
        let previous_priorities = context.optional("retry_priority", priority, parse_priority);
        // As in Envoy: a number that is no status is never met.
        let statuses = message.retriable_status_codes.iter();
        retriable_status_codes.extend(statuses.filter_map(|code| u16::try_from(*code).ok()));
        let retry_back_off = context.optional("retry_back_off", message.retry_back_off.as_ref(), RetryBackOff::parse);
        let limited = message.rate_limited_retry_back_off.as_ref();
        let rate_limited_retry_back_off =
            context.optional("rate_limited_retry_back_off", limited, RateLimitedRetryBackOff::parse);
        let retriable_headers = context.each("retriable_headers", &message.retriable_headers, HeaderMatcher::parse);
        let retriable_request_headers = context.each(
            "retriable_request_headers",
            &message.retriable_request_headers,
            HeaderMatcher::parse,
        );
        let attempts = match message.host_selection_retry_max_attempts {
            // Envoy's default.
            0 => Ok(1),
            attempts => u32::try_from(attempts).map_err(|_| {
                let found = format!("is {attempts}, expected 0 to {}", u32::MAX);
                context.reject_field("host_selection_retry_max_attempts", found)
            }),
        };
        predicates?;
        Ok(Self {
            retry_on,
            num_retries: message.num_retries.map_or(1, |retries| retries.value),
            per_try_timeout: per_try_timeout?,
            per_try_idle_timeout: per_try_idle_timeout?,
            avoid_previous_hosts,
            omit_canary_hosts,
            previous_priorities: previous_priorities?,
            omit_host_metadata,
            host_selection_retry_max_attempts: attempts?,
            retriable_status_codes,
            retry_back_off: retry_back_off?.unwrap_or_default(),
            rate_limited_retry_back_off: rate_limited_retry_back_off?,
            retriable_headers: retriable_headers?,
            retriable_request_headers: retriable_request_headers?,
        })
    }
}

/// Which endpoints are avoided when a request is tried again.
enum HostPredicate {
    PreviousHosts,
    OmitCanaryHosts,
    OmitHostMetadata(Option<Arc<Struct>>),
}

fn parse_host_predicate(
    context: &mut Context<'_>,
    message: &pb::retry_policy::RetryHostPredicate,
) -> Result<HostPredicate, Reported> {
    use pb::retry_policy::retry_host_predicate::ConfigType;
    context.check(message);
    match &message.config_type {
        None => Err(context.reject_field("typed_config", "is required")),
        Some(ConfigType::TypedConfig(any)) => context.at("typed_config", |context| {
            let any = context.unwrap_any(any)?;
            match message_name(&any.type_url) {
                PREVIOUS_HOSTS => Ok(HostPredicate::PreviousHosts),
                OMIT_CANARY_HOSTS => Ok(HostPredicate::OmitCanaryHosts),
                OMIT_HOST_METADATA => {
                    let message: omit_host_metadata::OmitHostMetadataConfig = context.decode(&any.value)?;
                    context.check(&message);
                    let metadata = Metadata::parse_optional(context, "metadata_match", message.metadata_match.as_ref());
                    // Without any it avoids none, as in Envoy.
                    let fields = metadata.filter("envoy.lb").filter(|fields| !fields.is_empty());
                    Ok(HostPredicate::OmitHostMetadata(
                        fields.map(|fields| Arc::new(fields.clone())),
                    ))
                }
                other => Err(context.reject(format!("host predicate {other:?} is not supported"))),
            }
        }),
    }
}

fn parse_priority(
    context: &mut Context<'_>,
    message: &pb::retry_policy::RetryPriority,
) -> Result<NonZeroU32, Reported> {
    use pb::retry_policy::retry_priority::ConfigType;
    context.check(message);
    match &message.config_type {
        None => Err(context.reject_field("typed_config", "is required")),
        Some(ConfigType::TypedConfig(any)) => context.at("typed_config", |context| {
            let any = context.unwrap_any(any)?;
            match message_name(&any.type_url) {
                PREVIOUS_PRIORITIES => {
                    let message: previous_priorities::PreviousPrioritiesConfig = context.decode(&any.value)?;
                    context.check(&message);
                    let frequency = u32::try_from(message.update_frequency).ok().and_then(NonZeroU32::new);
                    frequency.ok_or(()).map_err(|()| {
                        let found = format!("is {}, expected at least 1", message.update_frequency);
                        context.reject_field("update_frequency", found)
                    })
                }
                other => Err(context.reject(format!("retry priority {other:?} is not supported"))),
            }
        }),
    }
}

impl RetryBackOff {
    fn parse(context: &mut Context<'_>, message: &pb::retry_policy::RetryBackOff) -> Result<Self, Reported> {
        context.check(message);
        let base = context.positive_duration("base_interval", message.base_interval.as_ref());
        let max = context.positive_duration("max_interval", message.max_interval.as_ref());
        let base = base?
            .ok_or(())
            .map_err(|()| context.reject_field("base_interval", "is required"))?;
        // Envoy rounds anything below a millisecond up to one.
        let base_interval = base.max(Duration::from_millis(1));
        let max_interval = max?.unwrap_or(base_interval * 10);
        if max_interval < base {
            let found = format!("is {max_interval:?}, expected at least base_interval, {base:?}");
            return Err(context.reject_field("max_interval", found));
        }
        Ok(Self {
            base_interval,
            max_interval: max_interval.max(base_interval),
        })
    }
}

impl RateLimitedRetryBackOff {
    fn parse(context: &mut Context<'_>, message: &pb::retry_policy::RateLimitedRetryBackOff) -> Result<Self, Reported> {
        use pb::retry_policy::ResetHeaderFormat as Format;
        context.check(message);
        if message.reset_headers.is_empty() {
            context.reject_field("reset_headers", "is required and must not be empty");
        }
        let reset_headers = context.each("reset_headers", &message.reset_headers, |context, header| {
            context.check(header);
            let name = parse_header_name(context, "name", &header.name);
            let format = context.enumeration("format", header.format).map(|format| match format {
                Format::Seconds => ResetHeaderFormat::Seconds,
                Format::UnixTimestamp => ResetHeaderFormat::UnixTimestamp,
            });
            Ok(ResetHeader {
                name: name?,
                format: format?,
            })
        });
        let max_interval = context.positive_duration("max_interval", message.max_interval.as_ref());
        Ok(Self {
            reset_headers: reset_headers?,
            max_interval: max_interval?.unwrap_or(DEFAULT_RATE_LIMITED_MAX_INTERVAL),
        })
    }
}
