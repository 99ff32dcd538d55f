//! `remora-control-plane`.
fn main() {}
