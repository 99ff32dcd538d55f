//! Fractions (`envoy.type.v3.FractionalPercent`, `Percent`, `envoy.config.core.v3.RuntimeFractionalPercent`).

use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::r#type::v3 as types;

use crate::context::Context;
use crate::rejected::Reported;
use crate::shared_str::shared;

/// A fraction of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FractionalPercent {
    /// Out of `denominator`.
    pub numerator: u32,
    /// 100, 10,000 or 1,000,000.
    pub denominator: u32,
}

impl FractionalPercent {
    /// All requests.
    pub const ALWAYS: Self = Self {
        numerator: 100,
        denominator: 100,
    };

    /// Parses a fraction.
    ///
    /// # Errors
    /// When the denominator is unknown.
    pub fn parse(context: &mut Context<'_>, message: &types::FractionalPercent) -> Result<Self, Reported> {
        use types::fractional_percent::DenominatorType;
        context.check(message);
        let denominator = match context.enumeration("denominator", message.denominator)? {
            DenominatorType::Hundred => 100,
            DenominatorType::TenThousand => 10_000,
            DenominatorType::Million => 1_000_000,
        };
        Ok(Self {
            numerator: message.numerator,
            denominator,
        })
    }

    /// Whether the request with this random number is in the fraction.
    pub fn includes(self, random: u64) -> bool {
        random % u64::from(self.denominator) < u64::from(self.numerator)
    }

    /// As a ratio of one, at most one.
    pub fn ratio(self) -> f64 {
        (f64::from(self.numerator) / f64::from(self.denominator)).min(1.0)
    }
}

/// A fraction that a runtime key may override.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeFractionalPercent {
    /// The fraction while no runtime layer sets the key.
    pub default_value: FractionalPercent,
    /// The runtime key; empty for none.
    pub runtime_key: Arc<str>,
}

impl RuntimeFractionalPercent {
    /// Parses a fraction that a runtime key may override.
    ///
    /// # Errors
    /// When the fraction is missing or not valid.
    pub fn parse(context: &mut Context<'_>, message: &core::RuntimeFractionalPercent) -> Result<Self, Reported> {
        context.check(message);
        let default_value = context.required(
            "default_value",
            message.default_value.as_ref(),
            FractionalPercent::parse,
        )?;
        Ok(Self {
            default_value,
            runtime_key: shared(&message.runtime_key),
        })
    }
}
