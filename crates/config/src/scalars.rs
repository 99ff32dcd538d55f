//! Durations and other scalars of messages.

use std::time::Duration;

use xds_api::google::protobuf::{Duration as PbDuration, UInt32Value};

use crate::context::Context;
use crate::rejected::Reported;

impl Context<'_> {
    /// A duration field: none when it is not set.
    ///
    /// # Errors
    /// When it is negative or not a valid duration.
    pub fn duration(&mut self, field: &str, value: Option<&PbDuration>) -> Result<Option<Duration>, Reported> {
        let Some(value) = value else { return Ok(None) };
        match (u64::try_from(value.seconds), u32::try_from(value.nanos)) {
            (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Some(Duration::new(seconds, nanos))),
            (Ok(_), Ok(_)) => Err(self.reject_field(field, "is not a valid duration: the nanoseconds exceed a second")),
            _ => Err(self.reject_field(
                field,
                format!("is {}, expected a duration of zero or more", written(value)),
            )),
        }
    }

    /// A duration field that must be more than zero when it is set.
    ///
    /// # Errors
    /// When it is zero, negative or not a valid duration.
    pub fn positive_duration(&mut self, field: &str, value: Option<&PbDuration>) -> Result<Option<Duration>, Reported> {
        match self.duration(field, value)? {
            Some(Duration::ZERO) => Err(self.reject_field(field, "is 0s, expected a duration of more than zero")),
            duration => Ok(duration),
        }
    }

    /// A timeout field: the default when it is not set, none (no timeout) when it is zero.
    ///
    /// # Errors
    /// When it is negative or not a valid duration.
    pub fn timeout(
        &mut self,
        field: &str,
        value: Option<&PbDuration>,
        default: Option<Duration>,
    ) -> Result<Option<Duration>, Reported> {
        Ok(self
            .duration(field, value)?
            .or(default)
            .filter(|timeout| !timeout.is_zero()))
    }

    /// An unsigned field that must be in a range when it is set.
    ///
    /// # Errors
    /// When it is not.
    pub fn in_range(
        &mut self,
        field: &str,
        value: Option<&UInt32Value>,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>, Reported> {
        match value.map(|value| value.value) {
            Some(value) if !range.contains(&value) => {
                let (least, most) = (range.start(), range.end());
                let expected = match *most {
                    u32::MAX => format!("at least {least}"),
                    most => format!("{least} to {most}"),
                };
                Err(self.reject_field(field, format!("is {value}, expected {expected}")))
            }
            value => Ok(value),
        }
    }

    /// A percentage field from 0 to 100; the default when it is not set.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn percent(
        &mut self,
        field: &str,
        value: Option<&xds_api::envoy::r#type::v3::Percent>,
        default: f64,
    ) -> Result<f64, Reported> {
        match value.map(|value| value.value) {
            Some(value) if !(0.0..=100.0).contains(&value) => {
                Err(self.reject_field(field, format!("is {value}, expected a percentage from 0 to 100")))
            }
            value => Ok(value.unwrap_or(default)),
        }
    }

    /// An enum field.
    ///
    /// # Errors
    /// When the number stands for no value.
    pub fn enumeration<E: TryFrom<i32>>(&mut self, field: &str, value: i32) -> Result<E, Reported> {
        E::try_from(value).map_err(|_| self.reject_field(field, format!("is {value}, which is no value of this enum")))
    }

    /// A string field that must not be empty.
    ///
    /// # Errors
    /// When it is.
    pub fn text(&mut self, field: &str, value: &str) -> Result<std::sync::Arc<str>, Reported> {
        if value.is_empty() {
            return Err(self.reject_field(field, "is required and must not be empty"));
        }
        Ok(value.into())
    }

    /// A name that must not be empty and that several resources have, such as a cluster's.
    ///
    /// # Errors
    /// When it is empty.
    pub fn name(&mut self, field: &str, value: &str) -> Result<std::sync::Arc<str>, Reported> {
        if value.is_empty() {
            return self.text(field, value);
        }
        Ok(self.shared_name(value))
    }

    /// The name under which a resource is asked for.
    ///
    /// # Errors
    /// When it is empty, or of the form `xdstp://` (xRFC TP1), which means another way to ask.
    pub fn discovered_name(&mut self, field: &str, value: &str) -> Result<std::sync::Arc<str>, Reported> {
        if value.starts_with("xdstp:") {
            let found = format!("is {value:?}: resource names of the form xdstp:// are not supported");
            return Err(self.reject_field(field, found));
        }
        self.name(field, value)
    }

    /// A TCP port from 0 to 65535.
    ///
    /// # Errors
    /// When it is larger.
    pub fn port(&mut self, field: &str, value: u32) -> Result<u16, Reported> {
        u16::try_from(value).map_err(|_| self.reject_field(field, format!("is {value}, expected a port up to 65535")))
    }
}

fn written(value: &PbDuration) -> String {
    format!("{}s", value.seconds as f64 + f64::from(value.nanos) / 1e9)
}

/// The wrapped value, or a default.
pub(crate) fn u32_or(value: Option<&UInt32Value>, default: u32) -> u32 {
    value.map_or(default, |value| value.value)
}

/// The wrapped value, or a default.
pub(crate) fn bool_or(value: Option<&xds_api::google::protobuf::BoolValue>, default: bool) -> bool {
    value.map_or(default, |value| value.value)
}
