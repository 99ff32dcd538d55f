//! Picks made ahead of time.

use super::*;

#[test]
fn what_was_peeked_at_is_picked_in_that_order_before_anything_else() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1, 2, 3]);
    let (table, mut worker) = (table_of(hosts, settings(Policy::RoundRobin)), worker(1));
    let context = PickContext::default();
    let peeked: Vec<_> = std::iter::from_fn(|| worker.peek(&table)).collect();
    assert_eq!(peeked.len(), 3, "as many as there are healthy endpoints");
    for expected in &peeked {
        assert!(Arc::ptr_eq(expected, &worker.take_peeked(&table, &context).unwrap()));
    }
    assert!(worker.take_peeked(&table, &context).is_none());
}

#[test]
fn nothing_is_peeked_at_where_a_pick_depends_on_the_moment() {
    let cluster = cluster();
    let table = table_of(
        one_locality(&cluster, &[1, 1]),
        settings(Policy::LeastRequest(LEAST_REQUEST)),
    );
    assert!(worker(1).peek(&table).is_none());
}

#[test]
fn least_request_goes_by_turn_where_weights_differ() {
    let cluster = cluster();
    let table = table_of(
        one_locality(&cluster, &[1, 2, 3]),
        settings(Policy::LeastRequest(LEAST_REQUEST)),
    );
    let mut worker = worker(1);
    let peeked: Vec<_> = std::iter::from_fn(|| worker.peek(&table)).collect();
    assert_eq!(peeked.len(), 3);
    for expected in &peeked {
        let picked = worker.take_peeked(&table, &PickContext::default()).unwrap();
        assert!(Arc::ptr_eq(expected, &picked));
    }
}

#[test]
fn an_endpoint_that_fails_after_it_was_peeked_at_is_not_picked() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1, 1]);
    let (table, mut worker) = (table_of(hosts, settings(Policy::RoundRobin)), worker(1));
    let first = worker.peek(&table).unwrap();
    let second = worker.peek(&table).unwrap();
    first.update_health(HealthFlags::FAILED_OUTLIER_CHECK, HealthFlags::NONE);
    let picked = worker.take_peeked(&table, &PickContext::default()).unwrap();
    assert!(Arc::ptr_eq(&picked, &second));
}

#[test]
fn a_new_table_forgets_what_was_peeked_at() {
    let cluster = cluster();
    let hosts = one_locality(&cluster, &[1, 1]);
    let (table, mut worker) = (table_of(hosts.clone(), settings(Policy::Random)), worker(1));
    assert!(worker.peek(&table).is_some());
    let table = table_of(hosts, settings(Policy::Random));
    assert!(worker.take_peeked(&table, &PickContext::default()).is_none());
}
