//! The options of the connection manager, one listener each: what Envoy answers and what remora answers.

use e2e::sections;

#[test]
fn the_connection_managers_options_mean_what_they_mean_to_envoy() {
    sections::compare("http_options", include_str!("../src/http_options.txt"));
}
