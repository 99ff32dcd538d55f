//! The cost of a change follows the change, not the mesh.

use super::*;

/// A mesh of `size` clusters with endpoints, and a table and a listener that name them all.
fn mesh(variant: Variant, size: usize) -> Script {
    let mut script = script(variant);
    let clusters: Vec<_> = (0..size)
        .map(|i| fixture(&format!("cluster-{i}"), &[&format!("eds:service-{i}")]))
        .collect();
    let endpoints: Vec<_> = (0..size).map(|i| fixture(&format!("service-{i}"), &[])).collect();
    let names: Vec<_> = (0..size).map(|i| format!("cds:cluster-{i}")).collect();
    script.sends(CDS, "1", &clusters);
    script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
    script.sends(
        RDS,
        "1",
        &[fixture("r", &names.iter().map(String::as_str).collect::<Vec<_>>())],
    );
    script.sends(EDS, "1", &endpoints);
    script.hears_requests();
    assert_eq!((script.config.clusters.len(), script.config.listeners.len()), (size, 1));
    script
}

/// The least time one endpoint change takes, over many.
fn change_of_one_endpoint(script: &mut Script) -> Duration {
    let change = |revision| {
        let start = Instant::now();
        script.sends(EDS, "2", &[fixture("service-7", &[]).revision(revision)]);
        script.hears_requests();
        start.elapsed()
    };
    (1..300).map(change).min().expect("some changes")
}

#[test]
fn a_change_of_one_endpoint_costs_the_same_in_a_mesh_a_hundred_times_as_large() {
    let small = change_of_one_endpoint(&mut mesh(Variant::Delta, 100));
    let large = change_of_one_endpoint(&mut mesh(Variant::Delta, 10_000));
    println!("one endpoint in 100 clusters: {small:?}, in 10,000: {large:?}");
    assert!(large < small * 4, "{small:?} in 100 clusters, {large:?} in 10,000");
}

#[test]
fn a_change_shares_everything_else_with_the_configuration_before() {
    let mut script = mesh(Variant::Delta, 1000);
    let before = Arc::clone(&script.config);
    script.sends(EDS, "2", &[fixture("service-7", &[]).revision(1)]);
    let changed: Vec<_> = script
        .config
        .endpoints
        .changes_since(&before.endpoints)
        .map(|change| &**change.name)
        .collect();
    assert_eq!(changed, ["service-7"]);
    assert!(script.config.clusters.ptr_eq(&before.clusters) && script.config.routes.ptr_eq(&before.routes));
}

#[test]
fn ten_thousand_endpoint_changes_leave_nothing_behind() {
    let mut script = mesh(Variant::Delta, 10);
    let tracked = script.engine.assembler.tracked();
    for revision in 0..10_000 {
        let name = format!("service-{}", revision % 10);
        script.sends(EDS, "2", &[fixture(&name, &[]).revision(revision)]);
        script.hears_requests();
    }
    assert_eq!(script.engine.assembler.tracked(), tracked);
    assert_eq!(script.config.endpoints.len(), 10);
}

#[test]
fn clusters_that_warm_one_by_one_cost_no_more_for_being_many() {
    // Ten thousand responses with one set of endpoints each, while a table waits for all of the clusters.
    let size = 2_000;
    let mut script = script(Variant::Delta);
    let clusters: Vec<_> = (0..size)
        .map(|i| fixture(&format!("cluster-{i}"), &[&format!("eds:service-{i}")]))
        .collect();
    let names: Vec<_> = (0..size).map(|i| format!("cds:cluster-{i}")).collect();
    script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
    script.sends(
        RDS,
        "1",
        &[fixture("r", &names.iter().map(String::as_str).collect::<Vec<_>>())],
    );
    script.sends(CDS, "1", &clusters);
    let start = Instant::now();
    for i in 0..size {
        assert!(script.config.routes.is_empty());
        script.sends(EDS, "1", &[fixture(&format!("service-{i}"), &[])]);
    }
    println!("{size} clusters warmed one by one in {:?}", start.elapsed());
    assert_eq!(script.config.routes.len(), 1);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}
