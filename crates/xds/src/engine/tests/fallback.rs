//! Several servers (gRFC A71), and what is kept and dropped when a server says that there is nothing (gRFC A88).

use xds_api::envoy::service::discovery::v3::{ResourceError, ResourceName};

use super::*;

const SDS: ResourceType = ResourceType::Secret;

/// Reads the requests of the stream to the preferred server: lines and claimed versions.
fn probe_requests(script: &mut Script) -> (Vec<String>, BTreeMap<String, String>) {
    let (mut lines, mut claimed) = (Vec::new(), BTreeMap::new());
    while let Some(request) = script.engine.next_probe_request(SourceId::ADS, script.now) {
        lines.push(line(&request));
        if let Request::Delta(request) = &request {
            claimed.extend(request.initial_resource_versions.clone());
        }
        if let Request::StateOfTheWorld(request) = &request {
            claimed.insert(
                format!("all of {}", request.type_url.rsplit('.').next().unwrap_or_default()),
                request.version_info.clone(),
            );
        }
    }
    (lines, claimed)
}

/// A response from the preferred server while another one serves.
fn probe_answers(
    script: &mut Script,
    resource_type: ResourceType,
    version: &str,
    fixtures: &[Fixture],
    removed: &[&str],
) {
    let response = match script.variant {
        Variant::StateOfTheWorld => Response::StateOfTheWorld(DiscoveryResponse {
            version_info: version.into(),
            resources: fixtures.iter().map(|fixture| fixture.any(resource_type)).collect(),
            type_url: resource_type.type_url().into(),
            nonce: "first".into(),
            ..Default::default()
        }),
        Variant::Delta => Response::Delta(DeltaDiscoveryResponse {
            resources: fixtures
                .iter()
                .map(|fixture| Resource {
                    name: fixture.name.clone(),
                    version: version.into(),
                    resource: Some(fixture.any(resource_type)),
                    ..Default::default()
                })
                .collect(),
            removed_resources: removed.iter().map(|name| (*name).into()).collect(),
            type_url: resource_type.type_url().into(),
            nonce: "first".into(),
            ..Default::default()
        }),
    };
    script
        .engine
        .probe_answered(SourceId::ADS, response, script.now)
        .expect("a subscribed type");
    script.takes_config();
}

/// The preferred server cannot be reached, the next one answers.
fn on_fallback(variant: Variant) -> Script {
    let mut script = with_options(variant, options(variant));
    script.breaks();
    script.engine.stream_opened(SourceId::ADS, 1, script.now);
    script.hears_requests();
    script.sends(CDS, "7", &[fixture("c", &["eds:e"]), fixture("only-there", &[])]);
    script.sends(EDS, "7", &[fixture("e", &[])]);
    script.sends(LDS, "7", &[]);
    script.hears_requests();
    script.is("cds:c cds:only-there eds:e");
    script
}

#[test]
fn another_server_is_worth_while_only_for_what_is_held_from_nowhere() {
    for variant in BOTH {
        let mut script = with_options(variant, options(variant));
        assert!(
            script.engine.has_uncached(SourceId::ADS),
            "nothing is known of clusters and listeners"
        );
        script.opens();
        script.hears_requests();
        script.sends(CDS, "1", &[fixture("c", &["eds:e"])]);
        script.sends(LDS, "1", &[]);
        assert!(script.engine.has_uncached(SourceId::ADS), "the endpoints are not there");
        script.sends(EDS, "1", &[fixture("e", &[])]);
        script.breaks();
        assert!(
            !script.engine.has_uncached(SourceId::ADS),
            "everything is held: the last good serves"
        );
    }
}

#[test]
fn what_is_known_not_to_exist_is_no_reason_to_fall_back() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &["eds:e"])]);
        script.sends(LDS, "1", &[]);
        script.hears_requests();
        script.seconds(15);
        assert_eq!(script.client_status("eds:e"), ClientStatus::DoesNotExist);
        assert!(!script.engine.has_uncached(SourceId::ADS));
    }
}

#[test]
fn another_server_is_told_the_names_that_are_held_and_no_versions() {
    for variant in BOTH {
        let mut script = on_fallback(variant);
        script.engine.probe_opened(SourceId::ADS, 0);
        let (lines, claimed) = probe_requests(&mut script);
        let order: Vec<_> = lines.iter().map(|line| &line[..3]).collect();
        assert_eq!(
            order,
            ["cds", "eds", "lds"],
            "all that is asked for, in the order of need"
        );
        assert!(claimed.values().all(String::is_empty), "{claimed:?}");
        if variant == Variant::Delta {
            let names: Vec<_> = claimed.keys().map(String::as_str).collect();
            assert_eq!(
                names,
                ["c", "e", "only-there"],
                "so that it can say what does not exist"
            );
        }
    }
}

#[test]
fn the_first_answer_of_the_preferred_server_makes_it_the_one_in_use() {
    for variant in BOTH {
        let mut script = on_fallback(variant);
        script.engine.probe_opened(SourceId::ADS, 0);
        probe_requests(&mut script);
        let before = Arc::clone(&script.config);
        // What the later server says until then is heard.
        script.sends(EDS, "8", &[fixture("e", &[]).revision(1)]);
        assert!(!Arc::ptr_eq(&before.endpoints["e"], &script.config.endpoints["e"]));
        probe_answers(&mut script, CDS, "1", &[fixture("c", &["eds:e"])], &["only-there"]);
        script.is("cds:c eds:e");
        assert!(
            Arc::ptr_eq(&before.clusters["c"], &script.config.clusters["c"]),
            "the same content from another server changes nothing"
        );
        assert!(!script.engine.has_probe_request(SourceId::ADS));
        assert_eq!(
            script.hears_requests()[0],
            if variant == Variant::Delta { "cds ACK" } else { "cds []" }
        );
        // And versions mean something again after a break.
        script.breaks();
        script.engine.stream_opened(SourceId::ADS, 0, script.now);
        let Some(request) = script.engine.next_request(SourceId::ADS, script.now) else {
            panic!("clusters are asked for")
        };
        match request {
            Request::StateOfTheWorld(request) => assert_eq!(request.version_info, "1"),
            Request::Delta(request) => assert_eq!(request.initial_resource_versions["c"], "1"),
        }
    }
}

#[test]
fn names_wanted_and_dropped_while_a_preferred_server_is_tried_are_known_to_it_too() {
    for variant in BOTH {
        let mut script = on_fallback(variant);
        script.engine.probe_opened(SourceId::ADS, 0);
        probe_requests(&mut script);
        script.sends(CDS, "8", &[fixture("c", &["eds:f"]), fixture("only-there", &[])]);
        let (lines, _) = probe_requests(&mut script);
        let expected = if variant == Variant::Delta {
            "eds +[f] -[]"
        } else {
            "eds [e, f]"
        };
        assert_eq!(
            lines,
            [expected],
            "the old endpoints serve until the new ones are there"
        );
        script.sends(EDS, "8", &[fixture("f", &[])]);
        let (lines, _) = probe_requests(&mut script);
        let expected = if variant == Variant::Delta {
            "eds +[] -[e]"
        } else {
            "eds [f]"
        };
        assert_eq!(lines, [expected]);
    }
}

/// In delta it says of what is gone only where it was told that we have it.
#[test]
fn a_preferred_server_is_asked_again_when_more_came_after_the_question() {
    for variant in BOTH {
        let mut script = on_fallback(variant);
        script.engine.probe_opened(SourceId::ADS, 0);
        probe_requests(&mut script);
        assert!(script.engine.is_probe_current(SourceId::ADS));
        script.sends(LDS, "8", &[fixture("late", &[])]);
        assert_eq!(
            script.engine.is_probe_current(SourceId::ADS),
            variant == Variant::StateOfTheWorld
        );
        script.engine.probe_closed(SourceId::ADS);
        script.engine.probe_opened(SourceId::ADS, 0);
        probe_requests(&mut script);
        assert!(script.engine.is_probe_current(SourceId::ADS));
    }
}

#[test]
fn a_preferred_server_that_fails_again_changes_nothing() {
    for variant in BOTH {
        let mut script = on_fallback(variant);
        let before = Arc::clone(&script.config);
        for _ in 0..3 {
            script.engine.probe_opened(SourceId::ADS, 0);
            probe_requests(&mut script);
            script.engine.probe_closed(SourceId::ADS);
        }
        assert!(same_values(&before, &script.config));
        script.sends(EDS, "9", &[fixture("e", &[]).revision(3)]);
        assert!(!Arc::ptr_eq(&before.endpoints["e"], &script.config.endpoints["e"]));
    }
}

#[test]
fn new_interest_while_nothing_is_connected_is_told_to_the_driver() {
    let mut script = script(Variant::Delta);
    script.sends(CDS, "1", &[]);
    script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
    script.sends(RDS, "1", &[fixture("r", &[])]);
    script.hears_requests();
    script.breaks();
    assert_eq!(script.engine.streams_with_requests(script.now).count(), 0);
    // A resource from a source of its own may refer to the aggregated stream; here the bootstrap's stands for it.
    let key = crate::fixtures::key("eds:new");
    script.engine.streams[0].as_mut().expect("the stream").subscribe(&key);
    script.engine.store.request(&key);
    assert_eq!(script.engine.streams_with_requests(script.now).count(), 1);
    assert!(script.engine.has_uncached(SourceId::ADS));
    assert_eq!(script.engine.streams_with_requests(script.now).count(), 0, "told once");
}

#[test]
fn a_resource_that_is_not_sent_while_no_server_is_connected_has_timed_out_and_may_yet_be_absent() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
        script.breaks();
        script.seconds(15);
        script.is("lds:l");
        assert_eq!(script.client_status("rds:r"), ClientStatus::Timeout);
        script.opens();
        script.hears_requests();
        script.seconds(15);
        assert_eq!(script.client_status("rds:r"), ClientStatus::DoesNotExist);
    }
}

#[test]
fn deleted_clusters_and_listeners_go_and_what_they_refer_to_stays_as_it_was() {
    let mut script = script(Variant::Delta);
    script.sends(CDS, "1", &[fixture("c", &["eds:e", "sds:s"]), fixture("d", &[])]);
    script.sends(EDS, "1", &[fixture("e", &[])]);
    script.sends(SDS, "1", &[fixture("s", &[])]);
    script.sends(LDS, "1", &[fixture("l", &["rds:r"]), fixture("m", &[])]);
    script.sends(RDS, "1", &[fixture("r", &[])]);
    script.is("cds:c cds:d eds:e lds:l lds:m rds:r sds:s");
    script.removes(EDS, &["e"]);
    script.removes(SDS, &["s"]);
    script.removes(RDS, &["r"]);
    script.is("cds:c cds:d eds:e lds:l lds:m rds:r sds:s");
    for key in ["eds:e", "sds:s", "rds:r"] {
        assert_eq!(script.client_status(key), ClientStatus::DoesNotExist);
    }
    script.removes(CDS, &["d"]);
    script.removes(LDS, &["m"]);
    script.is("cds:c eds:e lds:l rds:r sds:s");
}

#[test]
fn an_error_reported_for_a_resource_keeps_its_value_and_not_found_says_that_there_is_none() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &["eds:e"]), fixture("d", &["eds!f"])]);
        script.sends(EDS, "1", &[fixture("e", &[])]);
        script.is("cds:c eds:e");
        script.hears_requests();
        let error = |name: &str, code, message: &str| ResourceError {
            resource_name: Some(ResourceName {
                name: name.into(),
                ..Default::default()
            }),
            error_detail: Some(xds_api::google::rpc::Status {
                code,
                message: message.into(),
                ..Default::default()
            }),
        };
        let resource_errors = vec![error("e", 7, "not allowed"), error("f", 5, "no such service")];
        let type_url = EDS.type_url().to_owned();
        let response = match variant {
            Variant::StateOfTheWorld => Response::StateOfTheWorld(DiscoveryResponse {
                resource_errors,
                type_url,
                ..Default::default()
            }),
            Variant::Delta => Response::Delta(DeltaDiscoveryResponse {
                resource_errors,
                type_url,
                ..Default::default()
            }),
        };
        script
            .engine
            .receive(SourceId::ADS, response, script.now)
            .expect("subscribed");
        script.takes_config();
        script.is("cds:c cds:d eds:e");
        assert_eq!(script.client_status("eds:e"), ClientStatus::ReceivedError);
        assert_eq!(script.client_status("eds:f"), ClientStatus::DoesNotExist);
    }
}

#[test]
fn a_wrapped_resource_in_state_of_the_world_expires_and_is_renewed_by_a_heartbeat() {
    use xds_api::prost::Message;
    let mut script = script(Variant::StateOfTheWorld);
    let send = |script: &mut Script, version: &str, body: Option<Any>| {
        let wrapper = Resource {
            name: "c".into(),
            resource: body,
            ttl: Some(xds_api::google::protobuf::Duration { seconds: 10, nanos: 0 }),
            ..Default::default()
        };
        let any = Any {
            type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".into(),
            value: wrapper.encode_to_vec(),
        };
        script.sends_any(CDS, version, vec![("c".into(), any)], &[]);
    };
    send(&mut script, "1", Some(fixture("c", &[]).any(CDS)));
    script.seconds(9);
    send(&mut script, "1", None);
    assert!(script.hears_requests().iter().all(|line| !line.contains("NACK")));
    script.seconds(9);
    script.is("cds:c");
    script.seconds(1);
    script.is("");
}
