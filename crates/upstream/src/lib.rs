//! Clusters at run time: endpoint state, load balancing, circuit breaking, outlier detection, health checks and DNS.
//!
//! A snapshot holds one [`cluster::ClusterHandle`] per cluster: its configuration compiled, and the state that outlives
//! it. State is interned in the [`registry::StateRegistry`] by cluster name and by endpoint address; the control thread
//! ([`clusters::Clusters`]) keeps members, health and tables current; workers pick endpoints and take permits.
//! Connections and requests themselves are the proxy's.

pub mod balancer;
pub mod breaker;
pub mod cluster;
pub mod cluster_state;
pub mod clusters;
pub mod codec_stats;
pub mod dns;
pub mod drops;
pub mod endpoint;
pub mod health;
pub mod health_flags;
pub mod hosts;
mod known_endpoints;
pub mod load;
mod more_addresses;
mod original_destination;
pub mod outlier;
pub mod registry;
pub mod transport;
pub mod xx_hash;

#[cfg(test)]
mod testing;
