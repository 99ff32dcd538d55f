//! Routes of every kind, one listener for each table: what Envoy answers and what remora answers.

use e2e::sections;

#[test]
fn a_route_table_means_what_it_means_to_envoy() {
    sections::compare("routing", include_str!("../src/routing.txt"));
}
