//! What end-to-end tests are made of: processes that end with the test, ports, directories, waiting with a
//! deadline, real peers, scripted backends and certificates.
//!
//! Everything here panics when it cannot do what it was asked: a panic is a test's report.

pub mod backend;
pub mod certificates;
pub mod corpus;
pub mod directory;
pub mod http1;
pub mod management_server;
pub mod peers;
pub mod ports;
pub mod process;
pub mod wait;

pub use directory::Directory;
pub use management_server::ManagementServer;
pub use process::Process;
pub use wait::wait_until;
