//! xds-api: see ARCHITECTURE.md.
