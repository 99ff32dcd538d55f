//! What the codec may cost: instructions per operation of its example `exchange`, counted by callgrind, against
//! `crates/codec/benches/budget.json`.
//!
//! A count is the difference between a long and a short run, so that start-up cancels.

use e2e::instruction_budget::{collected, compare, example, is_possible};

/// Name in the budget, scenario of the example, rounds of the short and the long run, operations in a round.
const OPERATIONS: &[(&str, &str, [u64; 2], u64)] = &[
    ("unary exchange", "unary", [100, 300], 16),
    ("S9 exchange (12 more fields)", "headers", [100, 300], 16),
    ("DATA frame of 1 KiB", "stream", [2, 12], 1000),
    ("S9 head decoded and validated", "decode", [100, 300], 16),
];

#[test]
fn instructions_per_operation_stay_within_the_recorded_budget() {
    if !is_possible() {
        return;
    }
    let exchange = example("codec", "exchange", &["--release"]);
    let counts = OPERATIONS.iter().map(|&(name, scenario, [short, long], operations)| {
        let instructions = |rounds: u64| {
            collected(
                "exchange::forward*",
                &exchange,
                &[scenario.to_owned(), rounds.to_string()],
            )
        };
        let difference = instructions(long).checked_sub(instructions(short));
        let difference = difference.expect("more rounds take more instructions");
        (name, difference / ((long - short) * operations))
    });
    compare("crates/codec/benches/budget.json", &counts.collect());
}
