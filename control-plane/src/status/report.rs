//! The report, as its JSON has it.

use serde::{Deserialize, Serialize};

use crate::objects::Fault;

/// Everything the status endpoint tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Connected proxies, by node id.
    pub proxies: Vec<ProxyReport>,
    /// What is wrong in the files: the last good version is in force.
    pub faults: Vec<Fault>,
    /// What was read and has no effect.
    pub notes: Vec<Fault>,
    /// Resources that are not served because the proxy would refuse them.
    pub withheld: Vec<String>,
}

/// One connected proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProxyReport {
    /// Its node id.
    pub node: String,
    /// The variant of the protocol it speaks.
    pub variant: String,
    /// Since when, as RFC 3339.
    pub connected_at: String,
    /// Why it is given nothing new, if so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trouble: Option<String>,
    /// The types it asked for.
    pub types: Vec<TypeReport>,
}

/// One type of resource on one proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeReport {
    /// `CDS`, `EDS`, `LDS`, `RDS` or `SDS`.
    pub service: String,
    /// How it stands.
    #[serde(flatten)]
    pub state: TypeState,
    /// The version of all it has of the type.
    pub version: String,
    /// How many resources that is.
    pub resources: usize,
    /// When it was last sent something of the type, as RFC 3339; empty if never.
    pub changed_at: String,
}

/// How a type stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum TypeState {
    /// The proxy has what it should have.
    Synced,
    /// It has yet to be sent, or to accept, the latest.
    Stale,
    /// It refused the latest.
    Nacked {
        /// Its reason.
        reason: String,
    },
}

impl ProxyReport {
    /// Whether it has everything it should have.
    pub fn is_synced(&self) -> bool {
        self.trouble.is_none() && self.types.iter().all(|kind| kind.state == TypeState::Synced)
    }
}
