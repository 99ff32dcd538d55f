//! Why an endpoint gets no requests, or fewer.

use std::fmt;
use std::ops::{BitOr, Sub};

/// A set of reasons, by Envoy's names (`Host::HealthFlag`). They are independent: an endpoint that fails its health
/// checks and is ejected as an outlier needs both to be lifted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct HealthFlags(u32);

/// What an endpoint's flags amount to for load balancing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Health {
    /// Gets requests.
    Healthy,
    /// Gets requests when the healthy endpoints don't suffice.
    Degraded,
    /// Gets requests in panic mode only.
    Unhealthy,
}

impl HealthFlags {
    /// No reason: healthy.
    pub const NONE: Self = Self(0);
    /// Active health checking found it unhealthy, or has not found it healthy yet.
    pub const FAILED_ACTIVE_HEALTH_CHECK: Self = Self(1);
    /// Ejected by outlier detection.
    pub const FAILED_OUTLIER_CHECK: Self = Self(1 << 1);
    /// EDS says UNHEALTHY, DRAINING or TIMEOUT.
    pub const FAILED_EDS_HEALTH: Self = Self(1 << 2);
    /// A health check's answer carried `x-envoy-degraded`.
    pub const DEGRADED_ACTIVE_HEALTH_CHECK: Self = Self(1 << 3);
    /// EDS says DEGRADED.
    pub const DEGRADED_EDS_HEALTH: Self = Self(1 << 4);
    /// Gone from the configuration, but kept because health checks still pass
    /// (`ignore_health_on_host_removal: false`).
    pub const PENDING_DYNAMIC_REMOVAL: Self = Self(1 << 5);
    /// Its first health check has not ended.
    pub const PENDING_ACTIVE_HEALTH_CHECK: Self = Self(1 << 6);
    /// An answer carried `x-envoy-immediate-health-check-fail`.
    pub const EXCLUDED_BY_IMMEDIATE_HEALTH_CHECK_FAIL: Self = Self(1 << 7);
    /// The last health check ran out of time.
    pub const ACTIVE_HEALTH_CHECK_TIMEOUT: Self = Self(1 << 8);
    /// EDS says DRAINING.
    pub const EDS_STATUS_DRAINING: Self = Self(1 << 9);
    /// No current configuration contains it. Not one of Envoy's: there a removed host is gone from every table at
    /// once, here a pool learns it by this flag.
    pub const REMOVED: Self = Self(1 << 31);

    const UNHEALTHY: Self = Self(
        Self::FAILED_ACTIVE_HEALTH_CHECK.0
            | Self::FAILED_OUTLIER_CHECK.0
            | Self::FAILED_EDS_HEALTH.0
            | Self::EDS_STATUS_DRAINING.0,
    );
    const DEGRADED: Self = Self(Self::DEGRADED_ACTIVE_HEALTH_CHECK.0 | Self::DEGRADED_EDS_HEALTH.0);

    /// The flags that EDS sets and clears.
    pub(crate) const FROM_EDS: Self =
        Self(Self::FAILED_EDS_HEALTH.0 | Self::DEGRADED_EDS_HEALTH.0 | Self::EDS_STATUS_DRAINING.0);

    /// The flags that active health checking sets and clears.
    pub(crate) const FROM_ACTIVE_HEALTH_CHECK: Self = Self(
        Self::FAILED_ACTIVE_HEALTH_CHECK.0
            | Self::DEGRADED_ACTIVE_HEALTH_CHECK.0
            | Self::PENDING_ACTIVE_HEALTH_CHECK.0
            | Self::ACTIVE_HEALTH_CHECK_TIMEOUT.0
            | Self::EXCLUDED_BY_IMMEDIATE_HEALTH_CHECK_FAIL.0,
    );

    /// Names in the order in which `/clusters` prints them.
    const NAMES: [(Self, &'static str); 10] = [
        (Self::FAILED_ACTIVE_HEALTH_CHECK, "failed_active_hc"),
        (Self::FAILED_OUTLIER_CHECK, "failed_outlier_check"),
        (Self::FAILED_EDS_HEALTH, "failed_eds_health"),
        (Self::DEGRADED_ACTIVE_HEALTH_CHECK, "degraded_active_hc"),
        (Self::DEGRADED_EDS_HEALTH, "degraded_eds_health"),
        (Self::PENDING_DYNAMIC_REMOVAL, "pending_dynamic_removal"),
        (Self::PENDING_ACTIVE_HEALTH_CHECK, "pending_active_hc"),
        (
            Self::EXCLUDED_BY_IMMEDIATE_HEALTH_CHECK_FAIL,
            "excluded_via_immediate_hc_fail",
        ),
        (Self::ACTIVE_HEALTH_CHECK_TIMEOUT, "active_hc_timeout"),
        (Self::EDS_STATUS_DRAINING, "eds_status_draining"),
    ];

    /// What the flags amount to.
    pub const fn health(self) -> Health {
        if self.intersects(Self::UNHEALTHY) {
            Health::Unhealthy
        } else if self.intersects(Self::DEGRADED) {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is set.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// All of both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

impl BitOr for HealthFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl Sub for HealthFlags {
    type Output = Self;

    /// The flags without those in `other`.
    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Display for HealthFlags {
    /// As `/clusters` prints them: `healthy`, or `/failed_active_hc/pending_active_hc`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if Self::NAMES.iter().all(|(flag, _)| !self.contains(*flag)) {
            return f.write_str("healthy");
        }
        for (_, name) in Self::NAMES.iter().filter(|(flag, _)| self.contains(*flag)) {
            write!(f, "/{name}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for HealthFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{self}{}",
            if self.contains(Self::REMOVED) { "/removed" } else { "" }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unhealthy_outweighs_degraded() {
        assert_eq!(HealthFlags::NONE.health(), Health::Healthy);
        assert_eq!(HealthFlags::DEGRADED_EDS_HEALTH.health(), Health::Degraded);
        let both = HealthFlags::DEGRADED_EDS_HEALTH | HealthFlags::FAILED_OUTLIER_CHECK;
        assert_eq!(both.health(), Health::Unhealthy);
        assert_eq!((both - HealthFlags::FAILED_OUTLIER_CHECK).health(), Health::Degraded);
        assert_eq!(HealthFlags::PENDING_ACTIVE_HEALTH_CHECK.health(), Health::Healthy);
    }

    #[test]
    fn flags_print_as_the_clusters_page_has_them() {
        assert_eq!(HealthFlags::NONE.to_string(), "healthy");
        assert_eq!(HealthFlags::REMOVED.to_string(), "healthy");
        let flags = HealthFlags::PENDING_ACTIVE_HEALTH_CHECK | HealthFlags::FAILED_ACTIVE_HEALTH_CHECK;
        assert_eq!(flags.to_string(), "/failed_active_hc/pending_active_hc");
    }
}
