//! Ejection of endpoints.

use xds_api::envoy::config::cluster::v3 as pb;
use xds_api::google::protobuf::UInt32Value;

use crate::cluster::OutlierDetection;
use crate::context::Context;
use crate::rejected::Reported;
use crate::scalars::{bool_or, u32_or};

impl OutlierDetection {
    pub(super) fn parse(context: &mut Context<'_>, message: &pb::OutlierDetection) -> Result<Self, Reported> {
        context.check(message);
        let defaults = Self::default();
        let interval = context.positive_duration("interval", message.interval.as_ref());
        let base = context.positive_duration("base_ejection_time", message.base_ejection_time.as_ref());
        let max = context.positive_duration("max_ejection_time", message.max_ejection_time.as_ref());
        let jitter = context.duration("max_ejection_time_jitter", message.max_ejection_time_jitter.as_ref());
        let mut percent = |field: &str, value: &Option<UInt32Value>, default: u32| {
            context
                .in_range(field, value.as_ref(), 0..=100)
                .map(|value| value.unwrap_or(default))
        };
        let max_ejection_percent = percent(
            "max_ejection_percent",
            &message.max_ejection_percent,
            defaults.max_ejection_percent,
        );
        let consecutive_5xx = percent(
            "enforcing_consecutive_5xx",
            &message.enforcing_consecutive_5xx,
            defaults.enforcing_consecutive_5xx,
        );
        let success_rate = percent(
            "enforcing_success_rate",
            &message.enforcing_success_rate,
            defaults.enforcing_success_rate,
        );
        let gateway_failure = percent(
            "enforcing_consecutive_gateway_failure",
            &message.enforcing_consecutive_gateway_failure,
            defaults.enforcing_consecutive_gateway_failure,
        );
        let local_origin_failure = percent(
            "enforcing_consecutive_local_origin_failure",
            &message.enforcing_consecutive_local_origin_failure,
            defaults.enforcing_consecutive_local_origin_failure,
        );
        let local_origin_success_rate = percent(
            "enforcing_local_origin_success_rate",
            &message.enforcing_local_origin_success_rate,
            defaults.enforcing_local_origin_success_rate,
        );
        let failure_percentage_threshold = percent(
            "failure_percentage_threshold",
            &message.failure_percentage_threshold,
            defaults.failure_percentage_threshold,
        );
        let failure_percentage = percent(
            "enforcing_failure_percentage",
            &message.enforcing_failure_percentage,
            defaults.enforcing_failure_percentage,
        );
        let failure_percentage_local_origin = percent(
            "enforcing_failure_percentage_local_origin",
            &message.enforcing_failure_percentage_local_origin,
            defaults.enforcing_failure_percentage_local_origin,
        );
        let base_ejection_time = base?.unwrap_or(defaults.base_ejection_time);
        let or = |value: &Option<UInt32Value>, default: u32| u32_or(value.as_ref(), default);
        Ok(Self {
            consecutive_5xx: or(&message.consecutive_5xx, defaults.consecutive_5xx),
            interval: interval?.unwrap_or(defaults.interval),
            base_ejection_time,
            // The default is never less than one ejection lasts.
            max_ejection_time: max?.unwrap_or(defaults.max_ejection_time.max(base_ejection_time)),
            max_ejection_time_jitter: jitter?.unwrap_or_default(),
            max_ejection_percent: max_ejection_percent?,
            always_eject_one_host: bool_or(message.always_eject_one_host.as_ref(), defaults.always_eject_one_host),
            enforcing_consecutive_5xx: consecutive_5xx?,
            enforcing_success_rate: success_rate?,
            success_rate_minimum_hosts: or(&message.success_rate_minimum_hosts, defaults.success_rate_minimum_hosts),
            success_rate_request_volume: or(
                &message.success_rate_request_volume,
                defaults.success_rate_request_volume,
            ),
            success_rate_stdev_factor: or(&message.success_rate_stdev_factor, defaults.success_rate_stdev_factor),
            consecutive_gateway_failure: or(
                &message.consecutive_gateway_failure,
                defaults.consecutive_gateway_failure,
            ),
            enforcing_consecutive_gateway_failure: gateway_failure?,
            split_external_local_origin_errors: message.split_external_local_origin_errors,
            consecutive_local_origin_failure: or(
                &message.consecutive_local_origin_failure,
                defaults.consecutive_local_origin_failure,
            ),
            enforcing_consecutive_local_origin_failure: local_origin_failure?,
            enforcing_local_origin_success_rate: local_origin_success_rate?,
            failure_percentage_threshold: failure_percentage_threshold?,
            enforcing_failure_percentage: failure_percentage?,
            enforcing_failure_percentage_local_origin: failure_percentage_local_origin?,
            failure_percentage_minimum_hosts: or(
                &message.failure_percentage_minimum_hosts,
                defaults.failure_percentage_minimum_hosts,
            ),
            failure_percentage_request_volume: or(
                &message.failure_percentage_request_volume,
                defaults.failure_percentage_request_volume,
            ),
            successful_active_health_check_uneject_host: bool_or(
                message.successful_active_health_check_uneject_host.as_ref(),
                defaults.successful_active_health_check_uneject_host,
            ),
        })
    }
}
