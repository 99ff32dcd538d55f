//! upstream: see ARCHITECTURE.md.
