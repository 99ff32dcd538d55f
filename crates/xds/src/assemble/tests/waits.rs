//! Static resources, the data plane, readiness, and what is left behind.

use super::*;

#[test]
fn static_resources_stay_whatever_a_server_says() {
    let mut script = script();
    script
        .fix("cds:c", &["eds:e"])
        .is("")
        .accept("eds:e", &[])
        .is("cds:c eds:e");
    let fixed = script.cluster("c");
    script
        .accept_revision("cds:c", &[], 9)
        .remove("cds:c")
        .is("cds:c eds:e");
    assert!(Arc::ptr_eq(&fixed, &script.cluster("c")));
}

#[test]
fn a_secret_of_the_bootstrap_is_found_by_name_and_an_unknown_one_is_not_waited_for() {
    let mut script = script();
    script.fix("sds:s", &[]);
    let mut with_static_secret = fixture("c", &["sds:s"]);
    with_static_secret.references = vec![];
    let mut value = Arc::into_inner(value("cds:c", &with_static_secret)).expect("just made");
    let reference = |name: &str| Reference {
        resource_type: ResourceType::Secret,
        name: name.into(),
        source: None,
    };
    value.references = Arc::new([reference("s"), reference("unknown")]);
    script.assembler.accept(&key("cds:c"), Arc::new(value));
    script.settle().is("cds:c sds:s").asks("");
}

#[test]
fn a_missing_cluster_is_not_waited_for_when_clusters_come_from_the_bootstrap_alone() {
    let options = AssemblerOptions {
        cluster_wait: Duration::from_secs(15),
        await_data_plane: false,
    };
    let mut script = Script {
        assembler: Assembler::new(options, false),
        now: Instant::now(),
        asked: BTreeSet::new(),
    };
    script.fix("lds:l", &["cds:typo"]).is("lds:l");
}

#[test]
fn a_new_cluster_waits_for_the_data_plane_where_that_is_asked_for() {
    let options = AssemblerOptions {
        cluster_wait: Duration::from_secs(15),
        await_data_plane: true,
    };
    let mut script = with_options(options);
    let dns = |revision| Fixture {
        dns: true,
        ..fixture("c", &[]).revision(revision)
    };
    script.assembler.accept(&key("cds:c"), value("cds:c", &dns(0)));
    script.settle().is("");
    let warming = script.assembler.take_warming().expect("it changed");
    assert_eq!(published(&warming), "cds:c");
    let fingerprint = warming.clusters.get("c").expect("it is in there").fingerprint;
    script.accept("cds:plain", &[]).is("cds:plain");
    script
        .assembler
        .cluster_warm("c", config::Fingerprint::of(b"another value"));
    script.settle().is("cds:plain");
    script.assembler.cluster_warm("c", fingerprint);
    script.settle().is("cds:c cds:plain");
    assert_eq!(
        script.assembler.take_warming().map(|warming| warming.clusters.len()),
        Some(0)
    );
    script.assembler.accept(&key("cds:c"), value("cds:c", &dns(1)));
    let old = script.cluster("c");
    script.settle();
    assert!(
        !Arc::ptr_eq(&old, &script.cluster("c")),
        "an updated cluster swaps at once"
    );
}

#[test]
fn a_data_plane_that_says_nothing_delays_a_cluster_for_fifteen_seconds_and_no_longer() {
    let mut script = with_options(AssemblerOptions {
        cluster_wait: Duration::from_secs(15),
        await_data_plane: true,
    });
    script.assembler.accept(
        &key("cds:c"),
        value(
            "cds:c",
            &Fixture {
                dns: true,
                ..fixture("c", &[])
            },
        ),
    );
    script.settle().seconds(14).is("").seconds(1).is("cds:c");
}

#[test]
fn readiness_waits_for_what_the_first_answers_held_and_not_for_what_came_later() {
    let mut script = script();
    script.accept("cds:c", &["eds:e"]).accept("lds:l", &["rds:r"]);
    assert!(!script.assembler.is_initialized());
    script.assembler.initial_answers_complete();
    script.accept("cds:late", &["eds:late"]).accept("eds:e", &[]);
    assert!(!script.assembler.is_initialized());
    script.accept("rds:r", &[]);
    assert!(script.assembler.is_initialized());
}

#[test]
fn identical_content_publishes_nothing() {
    let mut script = script();
    script.accept("cds:c", &["eds:e"]).accept("eds:e", &[]);
    assert!(script.assembler.take_config().is_some());
    script.accept("cds:c", &["eds:e"]).accept("eds:e", &[]);
    assert!(script.assembler.take_config().is_none());
}

#[test]
fn nothing_is_kept_of_resources_that_are_gone() {
    let mut script = script();
    for round in 0..10 {
        for index in 0..20 {
            let (c, e) = (format!("cds:{round}-{index}"), format!("eds:{round}-{index}"));
            let (r, l) = (format!("rds:{round}-{index}"), format!("lds:{round}-{index}"));
            script
                .accept(&c, &[&e])
                .accept(&l, &[&r])
                .accept(&r, &[&c, "cds:never"]);
            if index % 2 == 0 {
                script.accept(&e, &[]);
            }
            if index % 3 == 0 {
                script.seconds(20);
            }
            script.remove(&c).remove(&l);
        }
        script.is("").asks("");
    }
    assert_eq!(script.assembler.tracked(), 0);
    script.seconds(100);
    assert_eq!(script.assembler.deadline(), None);
    assert_eq!(script.assembler.waiting().count(), 0);
}

#[test]
fn a_table_waiting_for_a_thousand_clusters_is_published_with_the_last_of_them() {
    let mut script = script();
    let names: Vec<String> = (0..1000).map(|index| format!("cds:{index}")).collect();
    script
        .accept("lds:l", &["rds:r"])
        .accept("rds:r", &names.iter().map(String::as_str).collect::<Vec<_>>());
    for name in &names[1..] {
        script.accept(name, &[]);
    }
    assert!(script.assembler.config.routes.is_empty());
    script.accept(&names[0], &[]);
    assert_eq!(script.assembler.config.routes.len(), 1);
}
