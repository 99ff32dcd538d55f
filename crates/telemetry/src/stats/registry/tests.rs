use super::*;
use crate::stats::{Shard, cluster, cluster_membership, http};

#[test]
fn the_same_scope_and_table_give_the_same_counts_while_held() {
    let registry = Registry::new(1);
    let first = registry.block(Scope::Cluster("a"), &cluster::TABLE);
    first.increment(Shard::worker(0), cluster::UPSTREAM_CX_TOTAL);
    let again = registry.block(Scope::Cluster("a"), &cluster::TABLE);
    assert_eq!(again.counter(cluster::UPSTREAM_CX_TOTAL), 1);
    let other = registry.block(Scope::Cluster("b"), &cluster::TABLE);
    assert_eq!(other.counter(cluster::UPSTREAM_CX_TOTAL), 0);
    drop((first, again));
    assert_eq!(
        registry
            .block(Scope::Cluster("a"), &cluster::TABLE)
            .counter(cluster::UPSTREAM_CX_TOTAL),
        0
    );
}

#[test]
fn tables_of_one_scope_share_its_prefix() {
    let registry = Registry::new(1);
    let traffic = registry.block(Scope::Cluster("a"), &cluster::TABLE);
    let members = registry.block(Scope::Cluster("a"), &cluster_membership::TABLE);
    assert!(Arc::ptr_eq(&traffic.prefix, &members.prefix));
    assert_eq!(traffic.prefix(), "cluster.a.");
    assert!(
        size_of_val(&*traffic.prefix) <= 80,
        "{} bytes",
        size_of_val(&*traffic.prefix)
    );
}

#[test]
fn a_cluster_shows_what_it_has_not_counted_yet_and_forgets_it_with_the_rest() {
    let registry = Registry::new(1);
    let prefixes = |registry: &Registry| {
        registry
            .shown()
            .iter()
            .map(|block| block.prefix().to_owned())
            .collect::<Vec<_>>()
    };
    let members = registry.block(Scope::Cluster("a"), &cluster_membership::TABLE);
    assert_eq!(prefixes(&registry), ["cluster.a."; 3]);
    let traffic = registry.block(Scope::Cluster("a"), &cluster::TABLE);
    traffic.increment(Shard::worker(0), cluster::UPSTREAM_CX_TOTAL);
    assert_eq!(prefixes(&registry), ["cluster.a."; 3]);
    let shown = registry.shown();
    let is_traffic = |block: &&Arc<Block>| std::ptr::eq(block.table, &cluster::TABLE);
    assert_eq!(
        shown
            .iter()
            .find(is_traffic)
            .unwrap()
            .counter(cluster::UPSTREAM_CX_TOTAL),
        1
    );
    drop((members, traffic, shown));
    assert!(registry.shown().is_empty());
}

#[test]
fn scopes_that_died_are_forgotten_without_being_asked_for() {
    let registry = Registry::new(1);
    for round in 0..10 {
        for number in 0..FIRST_PRUNE {
            drop(registry.block(Scope::Cluster(&format!("{round}.{number}")), &cluster::TABLE));
        }
    }
    assert!(registry.scopes.lock().unwrap().by_text.len() <= 2 * FIRST_PRUNE);
}

#[test]
fn workers_and_control_threads_add_up() {
    let registry = Registry::new(2);
    let block = registry.block(Scope::Http("in"), &http::TABLE);
    std::thread::scope(|scope| {
        for worker in 0..2 {
            let block = &block;
            scope.spawn(move || {
                (0..1000).for_each(|_| block.increment(Shard::worker(worker), http::DOWNSTREAM_RQ_TOTAL))
            });
        }
        for _ in 0..2 {
            let block = &block;
            scope.spawn(move || (0..1000).for_each(|_| block.increment(Shard::CONTROL, http::DOWNSTREAM_RQ_TOTAL)));
        }
    });
    block.increment(Shard::worker(77), http::DOWNSTREAM_RQ_TOTAL);
    assert_eq!(block.counter(http::DOWNSTREAM_RQ_TOTAL), 4001);
}

#[test]
fn a_gauge_raised_on_one_worker_may_be_lowered_on_another() {
    let registry = Registry::new(2);
    let block = registry.block(Scope::Http("in"), &http::TABLE);
    block.inc(Shard::worker(0), http::DOWNSTREAM_CX_ACTIVE);
    block.inc(Shard::worker(0), http::DOWNSTREAM_CX_ACTIVE);
    block.dec(Shard::worker(1), http::DOWNSTREAM_CX_ACTIVE);
    assert_eq!(block.gauge(http::DOWNSTREAM_CX_ACTIVE), 1);
    block.dec(Shard::CONTROL, http::DOWNSTREAM_CX_ACTIVE);
    assert_eq!(block.gauge_if_used(http::DOWNSTREAM_CX_ACTIVE), Some(0));
    block.dec(Shard::CONTROL, http::DOWNSTREAM_CX_ACTIVE);
    assert_eq!(block.gauge(http::DOWNSTREAM_CX_ACTIVE), 0, "never shown below zero");
    assert_eq!(block.gauge_if_used(http::DOWNSTREAM_RQ_ACTIVE), None);
    block.set(Shard::CONTROL, http::DOWNSTREAM_RQ_ACTIVE, 17_241_709_254_077_376_921);
    assert_eq!(block.gauge(http::DOWNSTREAM_RQ_ACTIVE), 17_241_709_254_077_376_921);
}

#[test]
fn a_block_without_writes_holds_no_counters() {
    let registry = Registry::new(4);
    let block = registry.block(Scope::Cluster("idle"), &cluster::TABLE);
    assert_eq!(block.counter(cluster::UPSTREAM_CX_TOTAL), 0);
    assert!(size_of::<Block>() <= 64, "{} bytes", size_of::<Block>());
}

#[test]
fn what_control_threads_count_has_no_room_of_its_own_for_each_worker() {
    let registry = Registry::new(64);
    let block = registry.block(Scope::Cluster("idle"), &cluster_membership::TABLE);
    block.set(Shard::CONTROL, cluster_membership::MEMBERSHIP_TOTAL, 3);
    block.set_text(cluster_membership::VERSION_TEXT, "1");
    assert!(block.has_no_worker_shards());
    assert_eq!(block.gauge(cluster_membership::MEMBERSHIP_TOTAL), 3);
    assert_eq!(block.text(cluster_membership::VERSION_TEXT).as_deref(), Some("1"));
    assert_eq!(block.gauge_if_used(cluster_membership::MEMBERSHIP_HEALTHY), None);
}

#[test]
fn codes_are_counted_one_by_one_and_nonsense_is_not() {
    let registry = Registry::new(1);
    let block = registry.block(Scope::Cluster("a"), &cluster::TABLE);
    for status in [200, 200, 404, 503, 99, 600, 0, u16::MAX, 100, 599] {
        block.count_code(Shard::worker(0), cluster::UPSTREAM_RQ_CODE, status);
    }
    let codes: Vec<_> = block.codes(cluster::UPSTREAM_RQ_CODE).collect();
    assert_eq!(codes, [(100, 1), (200, 2), (404, 1), (503, 1), (599, 1)]);
    assert_eq!(block.code(cluster::UPSTREAM_RQ_CODE, 200), 2);
}

#[test]
fn counters_start_again_from_zero_after_a_reset() {
    let registry = Registry::new(1);
    let block = registry.block(Scope::Cluster("a"), &cluster::TABLE);
    let count = || {
        block.add(Shard::worker(0), cluster::UPSTREAM_RQ_TOTAL, 5);
        block.count_code(Shard::worker(0), cluster::UPSTREAM_RQ_CODE, 200);
        block.inc(Shard::worker(0), cluster::UPSTREAM_RQ_ACTIVE);
    };
    count();
    registry.reset_counters();
    assert_eq!(block.counter(cluster::UPSTREAM_RQ_TOTAL), 0);
    assert_eq!(block.code(cluster::UPSTREAM_RQ_CODE, 200), 0);
    count();
    assert_eq!(block.counter(cluster::UPSTREAM_RQ_TOTAL), 5);
    assert_eq!(block.code(cluster::UPSTREAM_RQ_CODE, 200), 1);
    assert_eq!(block.gauge(cluster::UPSTREAM_RQ_ACTIVE), 2);
}
