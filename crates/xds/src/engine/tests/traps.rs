//! What went wrong in other clients, each by name.

use super::*;

#[test]
fn trap_routes_published_before_their_clusters() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
        script.sends(RDS, "1", &[fixture("r", &["cds:a"])]);
        script.is("");
        script.sends(CDS, "1", &[fixture("a", &["eds:a"])]);
        script.is("");
        script.sends(EDS, "1", &[fixture("a", &[])]);
        script.is("cds:a eds:a lds:l rds:r");
        // The same for a change of a table in use.
        script.sends(RDS, "2", &[fixture("r", &["cds:b"])]);
        let old = Arc::clone(&script.config.routes["r"]);
        script.sends(CDS, "2", &[fixture("a", &["eds:a"]), fixture("b", &["eds:b"])]);
        assert!(Arc::ptr_eq(&old, &script.config.routes["r"]));
        script.sends(EDS, "2", &[fixture("a", &[]), fixture("b", &[])]);
        assert!(!Arc::ptr_eq(&old, &script.config.routes["r"]));
    }
}

#[test]
fn trap_a_thousand_new_clusters_in_one_response_do_not_wait_for_each_other() {
    for variant in BOTH {
        let mut script = script(variant);
        let clusters: Vec<_> = (0..1000)
            .map(|i| fixture(&format!("c{i}"), &[&format!("eds:e{i}")]))
            .collect();
        let endpoints: Vec<_> = (0..1000).map(|i| fixture(&format!("e{i}"), &[])).collect();
        script.sends(CDS, "1", &clusters);
        script.sends(EDS, "1", &endpoints);
        assert_eq!(
            (script.config.clusters.len(), script.config.endpoints.len()),
            (1000, 1000)
        );
        assert_eq!(script.publications, 1, "one response, one configuration");
    }
}

#[test]
fn trap_an_undecodable_resource_counted_as_absent_and_deleted() {
    let garbage = |bytes: Vec<u8>| Any {
        type_url: CDS.type_url().into(),
        value: bytes,
    };
    let mut script = script(Variant::StateOfTheWorld);
    script.sends(CDS, "1", &[fixture("a", &[]), fixture("b", &[])]);
    // Broken after its name: `a` is refused and kept, `b` is absent and goes.
    let mut broken = fixture("a", &[]).any(CDS).value;
    broken.extend([0xff; 4]);
    script.sends_any(CDS, "2", vec![("a".into(), garbage(broken))], &[]);
    script.is("cds:a");
    assert_eq!(script.client_status("cds:a"), ClientStatus::Nacked);
    // Broken before its name: it may be any of them, so none is taken for absent.
    script.sends(CDS, "3", &[fixture("a", &[]), fixture("b", &[])]);
    script.sends_any(CDS, "4", vec![("?".into(), garbage(vec![0xff; 8]))], &[]);
    script.is("cds:a cds:b");
    assert!(
        script
            .hears_requests()
            .last()
            .is_some_and(|line| line.contains("resources[0]: has no name"))
    );
}

#[test]
fn trap_repushing_an_endpoint_that_did_not_change_changes_nothing() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &["eds:e"])]);
        script.sends(EDS, "1", &[fixture("e", &[])]);
        let (before, publications) = (Arc::clone(&script.config), script.publications);
        script.sends(EDS, "2", &[fixture("e", &[])]);
        script.sends(CDS, "2", &[fixture("c", &["eds:e"])]);
        assert!(same_values(&before, &script.config));
        assert_eq!(script.publications, publications, "no configuration at all");
        assert_eq!(
            script
                .status("eds:e")
                .accepted
                .map(|accepted| accepted.version.to_string())
                .as_deref(),
            Some("2")
        );
    }
}

#[test]
fn trap_a_to_b_to_a_while_warming_ends_at_a() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &["eds:a"])]);
        script.sends(EDS, "1", &[fixture("a", &[])]);
        let before = Arc::clone(&script.config);
        script.sends(CDS, "2", &[fixture("c", &["eds:b"])]);
        script.sends(CDS, "3", &[fixture("c", &["eds:a"])]);
        script.hears_requests();
        script.sends(EDS, "2", &[fixture("b", &[]), fixture("a", &[])]);
        script.seconds(60);
        assert!(same_values(&before, &script.config));
    }
}

#[test]
fn trap_eds_versions_claimed_on_reconnect_whose_endpoints_were_forgotten() {
    let mut script = script(Variant::Delta);
    script.sends(CDS, "1", &[fixture("c", &["eds:e"])]);
    script.sends(EDS, "1", &[fixture("e", &[])]);
    script.removes(CDS, &["c"]);
    script.sends(CDS, "2", &[fixture("c", &["eds:e"])]);
    script.breaks();
    script.opens();
    let mut claimed = Vec::new();
    while let Some(request) = script.engine.next_request(SourceId::ADS, script.now) {
        if let Request::Delta(request) = request {
            claimed.extend(request.initial_resource_versions.into_keys());
        }
    }
    assert_eq!(
        claimed,
        ["c"],
        "the endpoints were dropped with their cluster, and their version with them"
    );
}

#[test]
fn trap_cds_never_asked_for_again_after_a_reconnect() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &[])]);
        for _ in 0..3 {
            script.breaks();
            script.opens();
            let asked = script.hears_requests();
            assert!(
                asked[0].starts_with("cds ") && asked[1].starts_with("lds "),
                "{asked:?}"
            );
        }
    }
}

#[test]
fn trap_a_removed_secret_that_leaves_a_cluster_warming_for_ever() {
    let mut script = script(Variant::Delta);
    script.sends(CDS, "1", &[fixture("c", &["sds!s"])]);
    script.hears_requests();
    script.removes(ResourceType::Secret, &["s"]);
    script.is("cds:c");
}

#[test]
fn trap_known_endpoints_that_istiod_does_not_send_again_still_warm_a_cluster() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &["eds:e"])]);
        script.sends(EDS, "1", &[fixture("e", &[])]);
        script.hears_requests();
        let before = Arc::clone(&script.config.clusters["c"]);
        script.sends(CDS, "2", &[fixture("c", &["eds:e"]).revision(1)]);
        assert!(
            !Arc::ptr_eq(&before, &script.config.clusters["c"]),
            "taken over without an answer about endpoints"
        );
        assert!(
            script.hears_requests().iter().all(|line| line.starts_with("cds")),
            "and without asking"
        );
    }
}

#[test]
fn trap_identical_content_after_a_reconnect_changes_nothing() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &["eds:e"])]);
        script.sends(EDS, "1", &[fixture("e", &[])]);
        script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
        script.sends(RDS, "1", &[fixture("r", &["cds:c"])]);
        let (before, publications) = (Arc::clone(&script.config), script.publications);
        script.breaks();
        script.opens();
        script.hears_requests();
        // A server that knows nothing of versions sends all of it again, in an unlucky order and under new versions.
        script.sends(RDS, "8", &[fixture("r", &["cds:c"])]);
        script.sends(LDS, "8", &[fixture("l", &["rds:r"])]);
        script.sends(EDS, "8", &[fixture("e", &[])]);
        script.sends(CDS, "8", &[fixture("c", &["eds:e"])]);
        assert!(same_values(&before, &script.config));
        assert_eq!(script.publications, publications);
    }
}

#[test]
fn trap_one_cluster_that_never_arrives_does_not_freeze_a_route_table() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &[])]);
        script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
        script.sends(RDS, "1", &[fixture("r", &["cds:c", "cds:never"])]);
        script.seconds(15);
        script.is("cds:c lds:l rds:r");
        for revision in 1..5 {
            let before = Arc::clone(&script.config.routes["r"]);
            script.sends(
                RDS,
                &revision.to_string(),
                &[fixture("r", &["cds:c", "cds:never"]).revision(revision)],
            );
            assert!(
                !Arc::ptr_eq(&before, &script.config.routes["r"]),
                "later changes are not delayed"
            );
        }
    }
}

#[test]
fn trap_one_cluster_that_is_refused_delays_no_change_of_the_table_that_all_share() {
    for variant in BOTH {
        let mut script = script(variant);
        let good = fixture("good", &[]);
        script.sends(CDS, "1", std::slice::from_ref(&good));
        script.sends(LDS, "1", &[fixture("l", &["rds:80"])]);
        script.sends(RDS, "1", &[fixture("80", &["cds:good"])]);
        script.sends(CDS, "2", &[good.clone(), fixture("bad", &[]).faulty("bad")]);
        let before = Arc::clone(&script.config.routes["80"]);
        script.sends(RDS, "2", &[fixture("80", &["cds:good", "cds:bad"])]);
        assert!(!Arc::ptr_eq(&before, &script.config.routes["80"]), "published at once");
        // On a new stream it is sent again, and may be good by then.
        script.breaks();
        script.opens();
        script.hears_requests();
        script.sends(RDS, "3", &[fixture("80", &["cds:good", "cds:bad", "cds:more"])]);
        let before = Arc::clone(&script.config.routes["80"]);
        script.sends(CDS, "3", &[good, fixture("bad", &[]), fixture("more", &[])]);
        assert!(!Arc::ptr_eq(&before, &script.config.routes["80"]));
        script.is("cds:bad cds:good cds:more lds:l rds:80");
    }
}

#[test]
fn trap_versions_sent_backwards_are_taken_as_they_come() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "9", &[fixture("c", &[]).revision(9)]);
        let nine = Arc::clone(&script.config.clusters["c"]);
        script.sends(CDS, "3", &[fixture("c", &[]).revision(3)]);
        assert!(!Arc::ptr_eq(&nine, &script.config.clusters["c"]), "versions are opaque");
    }
}

#[test]
fn trap_the_same_refusal_again_and_again_keeps_memory_flat() {
    let mut script = script(Variant::Delta);
    for version in 0..1000 {
        script.sends(CDS, &version.to_string(), &[fixture("c", &[]).faulty("bad")]);
        script.hears_requests();
    }
    assert_eq!(script.engine.store.entries(CDS).count(), 1);
    assert_eq!(script.engine.assembler.tracked(), 1);
    script.removes(CDS, &["c"]);
    assert_eq!(script.engine.assembler.tracked(), 0);
}

#[test]
fn trap_a_stale_nonce_makes_istiod_drop_a_delta_request() {
    let mut script = script(Variant::Delta);
    script.sends(CDS, "1", &[fixture("a", &["eds:a"])]);
    script.sends(CDS, "2", &[fixture("b", &["eds:b"])]);
    let mut nonces = Vec::new();
    while let Some(Request::Delta(request)) = script.engine.next_request(SourceId::ADS, script.now) {
        let subscribes = !request.resource_names_subscribe.is_empty();
        assert!(
            !subscribes || request.response_nonce.is_empty(),
            "a change of the subscription carries no nonce that could be stale"
        );
        nonces.extend((!request.response_nonce.is_empty()).then_some(request.response_nonce));
    }
    assert_eq!(nonces, ["1", "2"], "each response is acknowledged with its own");
    script.breaks();
    script.opens();
    while let Some(Request::Delta(request)) = script.engine.next_request(SourceId::ADS, script.now) {
        assert_eq!(request.response_nonce, "", "nonces die with the stream");
    }
}

#[test]
fn trap_endpoints_that_istiod_pushes_after_a_request_for_clusters_change_nothing_when_they_are_the_same() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &["eds:e"])]);
        script.sends(EDS, "1", &[fixture("e", &[])]);
        script.breaks();
        script.opens();
        let publications = script.publications;
        // Pushed before we have asked for endpoints on this stream.
        assert!(script.engine.next_request(SourceId::ADS, script.now).is_some());
        script.sends(CDS, "2", &[fixture("c", &["eds:e"])]);
        script.sends(EDS, "2", &[fixture("e", &[])]);
        let asked = script.hears_requests();
        assert!(
            asked.iter().any(|line| line.starts_with("eds ")) && asked.iter().all(|line| !line.contains("NACK")),
            "{asked:?}"
        );
        script.is("cds:c eds:e");
        assert_eq!(script.publications, publications);
    }
}

#[test]
fn trap_nothing_comes_after_a_refusal_until_the_next_change_and_what_was_good_serves_meanwhile() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(
            CDS,
            "1",
            &[fixture("good", &["eds:e"]), fixture("bad", &[]).faulty("bad")],
        );
        assert!(script.hears_requests().iter().any(|line| line.contains("NACK")));
        script.sends(EDS, "1", &[fixture("e", &[])]);
        script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
        script.sends(RDS, "1", &[fixture("r", &["cds:good"])]);
        script.is("cds:good eds:e lds:l rds:r");
        assert!(script.engine.readiness().ready, "a refused cluster holds up nobody");
        script.seconds(3600);
        script.is("cds:good eds:e lds:l rds:r");
    }
}

#[test]
fn trap_a_removed_cluster_that_a_table_names_keeps_servers_from_answering_for_all_endpoints() {
    for variant in BOTH {
        let mut script = script(variant);
        let (old, new) = (fixture("old", &["eds:old"]), fixture("new", &["eds:new"]));
        script.sends(CDS, "1", &[old.clone(), new.clone()]);
        script.sends(EDS, "1", &[fixture("old", &[]), fixture("new", &[])]);
        script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
        script.sends(RDS, "1", &[fixture("r", &["cds:old"])]);
        script.hears_requests();
        match variant {
            Variant::StateOfTheWorld => script.sends(CDS, "2", std::slice::from_ref(&new)),
            Variant::Delta => script.removes(CDS, &["old"]),
        }
        let given_up = match variant {
            Variant::StateOfTheWorld => "eds [new]",
            Variant::Delta => "eds +[] -[old]",
        };
        assert_eq!(script.hears_requests().last().map(String::as_str), Some(given_up));
        script.is("cds:new cds:old eds:new eds:old lds:l rds:r");
        // It comes back, and its endpoints are not those it had.
        script.sends(CDS, "3", &[old, new]);
        let again = match variant {
            Variant::StateOfTheWorld => "eds [new, old]",
            Variant::Delta => "eds +[old] -[]",
        };
        assert_eq!(script.hears_requests().last().map(String::as_str), Some(again));
        let before = Arc::clone(&script.config.endpoints["old"]);
        script.sends(EDS, "2", &[fixture("old", &[]).revision(1), fixture("new", &[])]);
        assert!(!Arc::ptr_eq(&before, &script.config.endpoints["old"]));
    }
}
