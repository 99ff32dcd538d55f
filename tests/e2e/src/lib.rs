//! What the end-to-end tests share: proxies as processes, and the comparison of two of them.

pub mod differential;
pub mod dynamic;
pub mod echo_backend;
pub mod proxy;
pub mod sections;
pub mod tcp;
