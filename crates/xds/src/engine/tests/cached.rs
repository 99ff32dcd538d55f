//! The last-good cache.

use super::*;

fn filled(variant: Variant) -> Script {
    let mut script = script(variant);
    script.sends(CDS, "1", &[fixture("c", &["eds:e", "sds:s"]), fixture("d", &[])]);
    script.sends(EDS, "2", &[fixture("e", &[])]);
    script.sends(ResourceType::Secret, "3", &[fixture("s", &[])]);
    script.sends(LDS, "4", &[fixture("l", &["rds:r"])]);
    script.sends(RDS, "5", &[fixture("r", &["cds:c"])]);
    script.is("cds:c cds:d eds:e lds:l rds:r sds:s");
    script
}

/// A client started anew with what another one kept.
fn restarted(variant: Variant, kept: &Script) -> Script {
    let mut script = with_options(variant, options(variant));
    script.engine.restore(kept.engine.image(), script.now);
    script.takes_config();
    script
}

#[test]
fn what_was_accepted_is_published_at_once_and_serves_when_no_server_can_be_reached() {
    for variant in BOTH {
        let mut script = restarted(variant, &filled(variant));
        script.is("cds:c cds:d eds:e lds:l rds:r sds:s");
        assert!(!script.engine.readiness().ready, "a server may yet answer");
        script.breaks();
        let readiness = script.engine.readiness();
        assert_eq!((readiness.ready, readiness.from_cache), (true, true));
        assert_eq!(readiness.clusters, InitialFetch::Cached);
    }
}

#[test]
fn the_first_contact_brings_the_cache_up_to_date() {
    let mut script = restarted(Variant::StateOfTheWorld, &filled(Variant::StateOfTheWorld));
    script.opens();
    assert!(script.hears_requests().iter().all(|line| !line.contains("NACK")));
    script.sends(CDS, "9", &[fixture("c", &["eds:e", "sds:s"]).revision(1)]);
    script.is("cds:c eds:e lds:l rds:r sds:s");
    assert!(!script.engine.readiness().from_cache);

    let mut script = restarted(Variant::Delta, &filled(Variant::Delta));
    script.opens();
    let mut claimed = BTreeMap::new();
    while let Some(Request::Delta(request)) = script.engine.next_request(SourceId::ADS, script.now) {
        claimed.extend(request.initial_resource_versions);
    }
    let claimed: Vec<_> = claimed
        .iter()
        .map(|(name, version)| format!("{name}={version}"))
        .collect();
    assert_eq!(
        claimed,
        ["c=1", "d=1", "e=2", "l=4", "r=5", "s=3"],
        "so the server can say what is gone"
    );
    script.removes(CDS, &["d"]);
    script.is("cds:c eds:e lds:l rds:r sds:s");
    assert!(!script.engine.readiness().from_cache);
}

#[test]
fn what_cannot_be_decoded_any_more_is_left_out() {
    let mut kept = filled(Variant::Delta).engine.image();
    for resource in &mut kept.resources {
        if resource.name == "d" {
            resource.value = fixture("d", &[]).faulty("bad since").any(CDS).value;
        }
    }
    let mut script = with_options(Variant::Delta, options(Variant::Delta));
    script.engine.restore(kept, script.now);
    script.takes_config();
    script.is("cds:c eds:e lds:l rds:r sds:s");
}

#[test]
fn what_nothing_refers_to_any_more_is_forgotten() {
    let mut kept = filled(Variant::Delta).engine.image();
    kept.resources.retain(|resource| resource.name != "c");
    let mut script = with_options(Variant::Delta, options(Variant::Delta));
    script.engine.restore(kept, script.now);
    script.takes_config();
    // The table waits for its cluster, and the listener for the table, as they would on any start.
    script.is("cds:d");
    script.seconds(15);
    script.is("cds:d lds:l rds:r");
}

#[test]
fn resources_with_a_time_to_live_are_not_kept() {
    let mut script = script(Variant::Delta);
    let ttl = Some(xds_api::google::protobuf::Duration { seconds: 10, nanos: 0 });
    let resource = Resource {
        name: "c".into(),
        resource: Some(fixture("c", &[]).any(CDS)),
        ttl,
        ..Default::default()
    };
    let response = DeltaDiscoveryResponse {
        type_url: CDS.type_url().into(),
        resources: vec![resource],
        ..Default::default()
    };
    script
        .engine
        .receive(SourceId::ADS, Response::Delta(response), script.now)
        .expect("subscribed");
    assert!(script.engine.image().resources.is_empty());
}
