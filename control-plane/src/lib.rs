//! The reference control plane: Kubernetes-shaped objects from a directory, compiled to
//! xDS for each sidecar and served over ADS, with a certificate authority beside it.
//!
//! The way of an edit: [`source`] notices it and reads [`objects`]; [`model`] puts them
//! together into one immutable mesh; [`compile`] makes each node's resources of it;
//! [`ads`] sends what changed to whom it concerns; [`status`] tells who has what.

pub mod ads;
pub mod ca;
pub mod check;
pub mod compile;
pub mod model;
pub mod node;
pub mod objects;
pub mod serve;
pub mod source;
pub mod status;
#[cfg(test)]
mod testing;
pub mod validate;
