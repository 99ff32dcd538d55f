//! The version, in the form in which Envoy gives its own: revision/version/state/build/TLS library.

/// What `--version` prints after the program's name, and what `/server_info` shows.
pub(crate) fn text() -> String {
    // Packages set the revision; a build by hand has none.
    let (revision, state) = match option_env!("REMORA_REVISION") {
        Some(revision) => (revision, "Clean"),
        None => ("unknown", "Modified"),
    };
    let build = if cfg!(debug_assertions) { "DEBUG" } else { "RELEASE" };
    format!("{revision}/{}/{state}/{build}/rustls", env!("CARGO_PKG_VERSION"))
}

/// Major, minor and patch number.
pub(crate) fn numbers() -> (u32, u32, u32) {
    let part = |text: &str| text.parse().unwrap_or(0);
    (
        part(env!("CARGO_PKG_VERSION_MAJOR")),
        part(env!("CARGO_PKG_VERSION_MINOR")),
        part(env!("CARGO_PKG_VERSION_PATCH")),
    )
}
