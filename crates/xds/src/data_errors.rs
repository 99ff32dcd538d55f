//! What becomes of a value that is held when there is something wrong with it (gRFC A88).

use std::str::FromStr;

/// What to do with the last good value of a resource that is removed, refused or reported to be at fault.
///
/// | | removed | refused here | reported by the server |
/// |---|---|---|---|
/// | `AsEnvoy` | listeners and clusters go | stays | stays |
/// | `Keep` | stays | stays | stays |
/// | `Drop` | goes | goes | goes if it does not exist or is denied |
///
/// What expires goes in any case, and so does what nothing refers to any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataErrors {
    /// As in Envoy: only listeners and clusters are deleted, and of those clusters that a published route names stay until
    /// it is replaced.
    #[default]
    AsEnvoy,
    /// The last good value serves until a better one comes: gRPC's default. A listener or cluster that was once accepted
    /// then stays until the process ends; meant for control planes that tell their operators of errors.
    Keep,
    /// Traffic fails rather than follow a configuration that is known to be wrong: gRPC's `fail_on_data_errors`.
    Drop,
}

impl FromStr for DataErrors {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "envoy" => Ok(Self::AsEnvoy),
            "keep" => Ok(Self::Keep),
            "drop" => Ok(Self::Drop),
            _ => Err(format!("unknown policy '{text}', expected envoy, keep or drop")),
        }
    }
}
