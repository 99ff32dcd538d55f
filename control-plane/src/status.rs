//! Who is connected and what they have: kept by the streams, served on a local address,
//! shown by `remora-control-plane status`.

pub mod client;
pub mod proxies;
pub mod report;
pub mod server;
pub mod table;
#[cfg(test)]
mod tests;
