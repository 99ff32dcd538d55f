//! What Envoy accepts, and so is accepted, but is hardly what was meant.

use std::collections::HashMap;

use config::bootstrap::Bootstrap;

/// One sentence each.
pub(crate) fn of(bootstrap: &Bootstrap) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut names = HashMap::new();
    for listener in bootstrap.listeners.iter().filter(|listener| listener.bind_to_port) {
        // Port 0 is another port every time.
        if listener.address.port() == Some(0) {
            continue;
        }
        if let Some(first) = names.insert(&listener.address, &listener.name) {
            warnings.push(format!(
                "listeners {first:?} and {:?} listen on the same address, {}: the kernel gives connections to either",
                listener.name, listener.address
            ));
        }
    }
    warnings
}
