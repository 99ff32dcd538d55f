//! What the end-to-end tests share: proxies as processes, and the comparison of two of them.

pub mod differential;
pub mod dynamic;
pub mod echo_backend;
pub mod h2_case;
pub mod h2_client_cases;
pub mod h2_server_cases;
pub mod h2_wire;
#[expect(
    clippy::print_stderr,
    reason = "a test tells why it was skipped, and what it counted"
)]
pub mod instruction_budget;
pub mod istio;
pub mod pods;
pub mod proxy;
pub mod sections;
pub mod tcp;
