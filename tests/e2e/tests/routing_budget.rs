//! What finding a route may cost: instructions per look-up of `config`'s example `route_lookup`, counted by callgrind,
//! against `crates/config/benches/budget.json`; and that many virtual hosts or routes cost hardly more than one.
//!
//! The example is built as the tests are, without optimisation, which spares a build: counts are higher than what runs,
//! and rise with it.

use std::collections::BTreeMap;

use e2e::instruction_budget::{collected, compare, example, is_possible};

/// Name in the budget, virtual hosts, routes in each.
const TABLES: [(&str, u64, u64); 3] = [
    ("one virtual host with one route", 1, 1),
    ("10,000 virtual hosts", 10_000, 1),
    ("1,000 routes", 1, 1_000),
];
const LOOK_UPS: u64 = 100;

#[test]
fn a_look_up_stays_within_the_recorded_budget_whatever_the_size_of_the_table() {
    if !is_possible() {
        return;
    }
    let example = example("config", "route_lookup", &[]);
    let counts: BTreeMap<&str, u64> = std::thread::scope(|scope| {
        let counted = TABLES.map(|(name, hosts, routes)| {
            let arguments = [hosts, routes, LOOK_UPS].map(|number| number.to_string());
            let example = &example;
            let count = scope.spawn(move || collected("route_lookup::look_up*", example, &arguments) / LOOK_UPS);
            (name, count)
        });
        let counted = counted.map(|(name, count)| (name, count.join().expect("it was counted")));
        counted.into_iter().collect()
    });
    let one = counts[TABLES[0].0];
    for (name, count) in &counts {
        assert!(*count <= 2 * one, "{name}: {count} instructions, more than twice {one}");
    }
    compare("crates/config/benches/budget.json", &counts);
}
