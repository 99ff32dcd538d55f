//! xds: see ARCHITECTURE.md.
