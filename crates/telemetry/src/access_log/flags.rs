//! Response flags: what went wrong with a request, in Envoy's letters.

/// One thing that went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
#[allow(missing_docs, reason = "the long names say it, see `ResponseFlag::long_name`")]
pub enum ResponseFlag {
    FailedLocalHealthCheck,
    NoHealthyUpstream,
    UpstreamRequestTimeout,
    LocalReset,
    UpstreamRemoteReset,
    UpstreamConnectionFailure,
    UpstreamConnectionTermination,
    UpstreamOverflow,
    NoRouteFound,
    DelayInjected,
    FaultInjected,
    RateLimited,
    UnauthorizedExternalService,
    RateLimitServiceError,
    DownstreamConnectionTermination,
    UpstreamRetryLimitExceeded,
    StreamIdleTimeout,
    InvalidEnvoyRequestHeaders,
    DownstreamProtocolError,
    UpstreamMaxStreamDurationReached,
    ResponseFromCacheFilter,
    NoFilterConfigFound,
    DurationTimeout,
    UpstreamProtocolError,
    NoClusterFound,
    OverloadManager,
    DnsResolutionFailed,
    DropOverLoad,
    DownstreamRemoteReset,
    UnconditionalDropOverload,
}

use ResponseFlag as F;

impl ResponseFlag {
    /// Every flag, in the order Envoy writes them.
    pub const ALL: [ResponseFlag; 30] = [
        F::FailedLocalHealthCheck,
        F::NoHealthyUpstream,
        F::UpstreamRequestTimeout,
        F::LocalReset,
        F::UpstreamRemoteReset,
        F::UpstreamConnectionFailure,
        F::UpstreamConnectionTermination,
        F::UpstreamOverflow,
        F::NoRouteFound,
        F::DelayInjected,
        F::FaultInjected,
        F::RateLimited,
        F::UnauthorizedExternalService,
        F::RateLimitServiceError,
        F::DownstreamConnectionTermination,
        F::UpstreamRetryLimitExceeded,
        F::StreamIdleTimeout,
        F::InvalidEnvoyRequestHeaders,
        F::DownstreamProtocolError,
        F::UpstreamMaxStreamDurationReached,
        F::ResponseFromCacheFilter,
        F::NoFilterConfigFound,
        F::DurationTimeout,
        F::UpstreamProtocolError,
        F::NoClusterFound,
        F::OverloadManager,
        F::DnsResolutionFailed,
        F::DropOverLoad,
        F::DownstreamRemoteReset,
        F::UnconditionalDropOverload,
    ];

    /// The letters of `%RESPONSE_FLAGS%`.
    pub const fn short_name(self) -> &'static str {
        match self {
            F::FailedLocalHealthCheck => "LH",
            F::NoHealthyUpstream => "UH",
            F::UpstreamRequestTimeout => "UT",
            F::LocalReset => "LR",
            F::UpstreamRemoteReset => "UR",
            F::UpstreamConnectionFailure => "UF",
            F::UpstreamConnectionTermination => "UC",
            F::UpstreamOverflow => "UO",
            F::NoRouteFound => "NR",
            F::DelayInjected => "DI",
            F::FaultInjected => "FI",
            F::RateLimited => "RL",
            F::UnauthorizedExternalService => "UAEX",
            F::RateLimitServiceError => "RLSE",
            F::DownstreamConnectionTermination => "DC",
            F::UpstreamRetryLimitExceeded => "URX",
            F::StreamIdleTimeout => "SI",
            F::InvalidEnvoyRequestHeaders => "IH",
            F::DownstreamProtocolError => "DPE",
            F::UpstreamMaxStreamDurationReached => "UMSDR",
            F::ResponseFromCacheFilter => "RFCF",
            F::NoFilterConfigFound => "NFCF",
            F::DurationTimeout => "DT",
            F::UpstreamProtocolError => "UPE",
            F::NoClusterFound => "NC",
            F::OverloadManager => "OM",
            F::DnsResolutionFailed => "DF",
            F::DropOverLoad => "DO",
            F::DownstreamRemoteReset => "DR",
            F::UnconditionalDropOverload => "UDO",
        }
    }

    /// The name of `%RESPONSE_FLAGS_LONG%`.
    pub const fn long_name(self) -> &'static str {
        match self {
            F::FailedLocalHealthCheck => "FailedLocalHealthCheck",
            F::NoHealthyUpstream => "NoHealthyUpstream",
            F::UpstreamRequestTimeout => "UpstreamRequestTimeout",
            F::LocalReset => "LocalReset",
            F::UpstreamRemoteReset => "UpstreamRemoteReset",
            F::UpstreamConnectionFailure => "UpstreamConnectionFailure",
            F::UpstreamConnectionTermination => "UpstreamConnectionTermination",
            F::UpstreamOverflow => "UpstreamOverflow",
            F::NoRouteFound => "NoRouteFound",
            F::DelayInjected => "DelayInjected",
            F::FaultInjected => "FaultInjected",
            F::RateLimited => "RateLimited",
            F::UnauthorizedExternalService => "UnauthorizedExternalService",
            F::RateLimitServiceError => "RateLimitServiceError",
            F::DownstreamConnectionTermination => "DownstreamConnectionTermination",
            F::UpstreamRetryLimitExceeded => "UpstreamRetryLimitExceeded",
            F::StreamIdleTimeout => "StreamIdleTimeout",
            F::InvalidEnvoyRequestHeaders => "InvalidEnvoyRequestHeaders",
            F::DownstreamProtocolError => "DownstreamProtocolError",
            F::UpstreamMaxStreamDurationReached => "UpstreamMaxStreamDurationReached",
            F::ResponseFromCacheFilter => "ResponseFromCacheFilter",
            F::NoFilterConfigFound => "NoFilterConfigFound",
            F::DurationTimeout => "DurationTimeout",
            F::UpstreamProtocolError => "UpstreamProtocolError",
            F::NoClusterFound => "NoClusterFound",
            F::OverloadManager => "OverloadManagerTerminated",
            F::DnsResolutionFailed => "DnsResolutionFailed",
            F::DropOverLoad => "DropOverload",
            F::DownstreamRemoteReset => "DownstreamRemoteReset",
            F::UnconditionalDropOverload => "UnconditionalDropOverload",
        }
    }

    /// The flag with these letters.
    pub fn from_short_name(name: &str) -> Option<ResponseFlag> {
        Self::ALL.into_iter().find(|flag| flag.short_name() == name)
    }
}

/// A set of flags, in the order in which they were set, as Envoy writes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseFlags([Option<ResponseFlag>; MOST_FLAGS]);

/// More flags than one request gets; further ones are left out.
const MOST_FLAGS: usize = 8;

impl ResponseFlags {
    /// Adds a flag.
    pub fn set(&mut self, flag: ResponseFlag) {
        if !self.contains(flag)
            && let Some(free) = self.0.iter_mut().find(|place| place.is_none())
        {
            *free = Some(flag);
        }
    }

    /// Whether the flag is set.
    pub fn contains(self, flag: ResponseFlag) -> bool {
        self.0.contains(&Some(flag))
    }

    /// Whether none is set.
    pub fn is_empty(self) -> bool {
        self.0[0].is_none()
    }

    /// Those that are set, in the order in which they were.
    pub fn iter(self) -> impl Iterator<Item = ResponseFlag> {
        self.0.into_iter().flatten()
    }
}

impl FromIterator<ResponseFlag> for ResponseFlags {
    fn from_iter<I: IntoIterator<Item = ResponseFlag>>(flags: I) -> ResponseFlags {
        let mut set = ResponseFlags::default();
        flags.into_iter().for_each(|flag| set.set(flag));
        set
    }
}
