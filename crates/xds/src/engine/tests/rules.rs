//! A test for every rule of the protocol that concerns more than the session: what is taken over, refused, kept, removed.

use super::*;

#[test]
fn clusters_endpoints_listeners_and_routes_come_in_the_order_of_need() {
    for variant in BOTH {
        let mut script = with_options(variant, options(variant));
        script.opens();
        assert_eq!(script.hears_requests().len(), 2, "clusters and listeners");
        script.sends(CDS, "1", &[fixture("c", &["eds:e", "sds:s"])]);
        let requests = script.hears_requests();
        let order: Vec<_> = requests.iter().map(|line| &line[..3]).collect();
        assert_eq!(
            order,
            ["cds", "eds", "sds"],
            "acknowledged first, then what is referred to: {requests:?}"
        );
        script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
        script.sends(RDS, "1", &[fixture("r", &["cds:c"])]);
        script.is("");
        script.sends(EDS, "1", &[fixture("e", &[])]);
        script.is("eds:e");
        script.sends(ResourceType::Secret, "1", &[fixture("s", &[])]);
        script.is("cds:c eds:e lds:l rds:r sds:s");
    }
}

#[test]
fn good_resources_of_a_bad_response_take_effect_and_all_faults_are_in_the_nack() {
    for variant in BOTH {
        let mut script = script(variant);
        let good = fixture("good", &[]);
        let one = fixture("one", &[]).faulty("unknown lb_policy");
        let two = fixture("two", &[]).faulty("no connect_timeout");
        script.sends(CDS, "1", &[one, good, two]);
        script.is("cds:good");
        assert_eq!(
            script.hears_requests(),
            [r#"cds NACK Cluster "one": field: unknown lb_policy; Cluster "two": field: no connect_timeout"#]
        );
    }
}

#[test]
fn the_last_good_value_is_served_beside_the_error() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &[])]);
        let good = Arc::clone(&script.config);
        script.sends(CDS, "2", &[fixture("c", &[]).revision(1).faulty("bad")]);
        assert!(same_values(&good, &script.config));
        let status = script.status("cds:c");
        assert_eq!(status.client_status, ClientStatus::Nacked);
        assert_eq!(
            status.accepted.map(|accepted| accepted.version.to_string()).as_deref(),
            Some("1")
        );
        let error = status.error.expect("the refusal is kept");
        assert_eq!((&*error.version, &*error.details), ("2", "field: bad"));
        script.sends(CDS, "3", &[fixture("c", &[]).revision(2)]);
        let status = script.status("cds:c");
        assert_eq!(
            (status.client_status, status.error.is_none()),
            (ClientStatus::Acked, true)
        );
    }
}

#[test]
fn absence_deletes_listeners_and_clusters_in_sotw() {
    let mut script = script(Variant::StateOfTheWorld);
    script.sends(CDS, "1", &[fixture("a", &[]), fixture("b", &[])]);
    script.sends(LDS, "1", &[fixture("l", &[])]);
    script.is("cds:a cds:b lds:l");
    script.sends(CDS, "2", &[fixture("b", &[])]);
    script.is("cds:b lds:l");
    script.sends(CDS, "3", &[]);
    script.sends(LDS, "2", &[]);
    script.is("");
}

#[test]
fn absence_says_nothing_of_routes_and_endpoints_in_sotw() {
    let mut script = script(Variant::StateOfTheWorld);
    script.sends(CDS, "1", &[fixture("a", &["eds:a"]), fixture("b", &["eds:b"])]);
    script.sends(EDS, "1", &[fixture("a", &[]), fixture("b", &[])]);
    script.sends(EDS, "2", &[fixture("a", &[]).revision(1)]);
    script.sends(EDS, "3", &[]);
    script.is("cds:a cds:b eds:a eds:b");
}

#[test]
fn delta_removes_what_it_names() {
    let mut script = script(Variant::Delta);
    script.sends(CDS, "1", &[fixture("a", &[]), fixture("b", &[])]);
    script.sends(CDS, "2", &[]);
    script.is("cds:a cds:b");
    script.removes(CDS, &["a", "never heard of"]);
    script.is("cds:b");
    assert_eq!(script.hears_requests(), ["cds ACK", "cds ACK", "cds ACK"]);
}

#[test]
fn delta_removal_says_that_a_resource_does_not_exist() {
    let mut script = script(Variant::Delta);
    script.sends(CDS, "1", &[fixture("c", &["eds!e"])]);
    script.hears_requests();
    script.is("");
    assert_eq!(script.client_status("eds:e"), ClientStatus::Requested);
    script.removes(EDS, &["e"]);
    script.is("cds:c");
    assert_eq!(script.client_status("eds:e"), ClientStatus::DoesNotExist);
}

#[test]
fn a_resource_that_is_not_sent_in_fifteen_seconds_does_not_exist_until_it_comes() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
        script.hears_requests();
        script.seconds(14);
        script.is("");
        script.seconds(1);
        script.is("lds:l");
        assert_eq!(script.client_status("rds:r"), ClientStatus::DoesNotExist);
        script.sends(RDS, "1", &[fixture("r", &[])]);
        script.is("lds:l rds:r");
        assert_eq!(script.client_status("rds:r"), ClientStatus::Acked);
    }
}

#[test]
fn an_initial_fetch_timeout_of_zero_waits_for_ever() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(LDS, "1", &[fixture("l", &["rds!r"])]);
        script.hears_requests();
        script.seconds(3600);
        script.is("");
        assert_eq!(
            script.client_status("rds:r"),
            ClientStatus::Timeout,
            "said, and waited for all the same"
        );
        script.sends(RDS, "1", &[fixture("r", &[])]);
        script.is("lds:l rds:r");
    }
}

#[test]
fn a_resource_twice_in_a_response_is_nacked_and_its_last_good_value_kept() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &[])]);
        let before = Arc::clone(&script.config);
        script.hears_requests();
        let twice = [
            fixture("c", &[]).revision(1),
            fixture("c", &[]).revision(2),
            fixture("d", &[]),
        ];
        script.sends(CDS, "2", &twice);
        script.is("cds:c cds:d");
        assert!(Arc::ptr_eq(&before.clusters["c"], &script.config.clusters["c"]));
        assert_eq!(
            script.hears_requests(),
            [r#"cds NACK Cluster "c": is in the response more than once"#]
        );
    }
}

#[test]
fn a_resource_both_sent_and_removed_is_nacked_and_kept() {
    let mut script = script(Variant::Delta);
    script.sends(CDS, "1", &[fixture("c", &[])]);
    script.hears_requests();
    let again = fixture("c", &[]).revision(1);
    script.sends_any(CDS, "2", vec![("c".into(), again.any(CDS))], &["c"]);
    script.is("cds:c");
    assert!(script.hears_requests()[0].contains("more than once"));
}

#[test]
fn names_not_asked_for_are_ignored() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &["eds:e"])]);
        script.hears_requests();
        script.sends(
            EDS,
            "1",
            &[
                fixture("other", &[]),
                fixture("bad", &[]).faulty("bad"),
                fixture("e", &[]),
            ],
        );
        script.is("cds:c eds:e");
        assert!(
            script.hears_requests().iter().all(|line| !line.contains("NACK")),
            "and not refused"
        );
    }
}

#[test]
fn a_resource_of_another_type_is_nacked_with_both_types() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends_any(CDS, "1", vec![("c".into(), fixture("c", &[]).any(LDS))], &[]);
        let requests = script.hears_requests();
        assert!(
            requests[0].contains("listener.v3.Listener") && requests[0].contains("cluster.v3.Cluster"),
            "{requests:?}"
        );
        script.is("");
    }
}

#[test]
fn an_xdstp_name_is_refused_with_a_sentence_that_says_so() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(
            CDS,
            "1",
            &[fixture("xdstp://authority/envoy.config.cluster.v3.Cluster/c", &[])],
        );
        assert!(script.hears_requests()[0].ends_with("xdstp names are not supported"));
    }
}

#[test]
fn a_name_that_differs_inside_and_outside_is_refused() {
    let mut script = script(Variant::Delta);
    script.sends_any(CDS, "1", vec![("outer".into(), fixture("inner", &[]).any(CDS))], &[]);
    assert_eq!(
        script.hears_requests(),
        [r#"cds NACK Cluster "outer": is named "inner" inside and "outer" outside"#]
    );
}

#[test]
fn an_error_reported_for_a_resource_is_kept_beside_its_value() {
    use xds_api::envoy::service::discovery::v3::{ResourceError, ResourceName};
    let mut script = script(Variant::Delta);
    script.sends(CDS, "1", &[fixture("c", &["eds:e"])]);
    script.sends(EDS, "1", &[fixture("e", &[])]);
    script.hears_requests();
    let status = xds_api::google::rpc::Status {
        code: 7,
        message: "not allowed".into(),
        ..Default::default()
    };
    let error = ResourceError {
        resource_name: Some(ResourceName {
            name: "e".into(),
            ..Default::default()
        }),
        error_detail: Some(status),
    };
    let response = DeltaDiscoveryResponse {
        type_url: EDS.type_url().into(),
        resource_errors: vec![error],
        nonce: "n".into(),
        ..Default::default()
    };
    script
        .engine
        .receive(SourceId::ADS, Response::Delta(response), script.now)
        .expect("subscribed");
    script.is("cds:c eds:e");
    assert_eq!(script.hears_requests(), ["eds ACK"], "the response itself is fine");
    let error = script.status("eds:e").error.expect("the error is shown");
    assert_eq!(&*error.details, "the control plane reports: not allowed");
}

#[test]
fn a_time_to_live_expires_a_resource_and_a_heartbeat_renews_it() {
    let mut script = script(Variant::Delta);
    let ttl = |seconds| Some(xds_api::google::protobuf::Duration { seconds, nanos: 0 });
    let send = |script: &mut Script, version: &str, body: Option<Any>, seconds| {
        let resource = Resource {
            name: "c".into(),
            version: version.into(),
            resource: body,
            ttl: ttl(seconds),
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
        script.takes_config();
    };
    send(&mut script, "1", Some(fixture("c", &[]).any(CDS)), 10);
    script.seconds(9);
    send(&mut script, "1", None, 10);
    script.seconds(9);
    script.is("cds:c");
    send(&mut script, "other version", None, 10);
    script.seconds(1);
    script.is("");
    assert_eq!(
        script.engine.deadline().filter(|deadline| *deadline <= script.now),
        None
    );
    send(&mut script, "2", Some(fixture("c", &[]).any(CDS)), 10);
    script.is("cds:c");
}

#[test]
fn initial_answers_make_the_client_ready_and_so_do_their_timeouts() {
    for variant in BOTH {
        let mut script = script(variant);
        assert!(!script.engine.readiness().ready);
        script.sends(CDS, "1", &[]);
        assert_eq!(script.engine.readiness().clusters, InitialFetch::Done);
        assert!(!script.engine.readiness().ready);
        script.seconds(15);
        let readiness = script.engine.readiness();
        assert_eq!((readiness.listeners, readiness.ready), (InitialFetch::TimedOut, true));
    }
}

#[test]
fn a_client_without_dynamic_resources_is_ready_at_once() {
    let options = EngineOptions {
        static_resources: vec![],
        ..EngineOptions::default()
    };
    assert!(with_options(Variant::Delta, options).engine.readiness().ready);
}

#[test]
fn a_refused_first_answer_counts_as_an_answer() {
    let mut script = script(Variant::Delta);
    script.sends(CDS, "1", &[fixture("c", &[]).faulty("bad")]);
    script.sends(LDS, "1", &[fixture("l", &[]).faulty("bad")]);
    assert!(script.engine.readiness().ready);
}

#[test]
fn the_control_plane_gone_changes_nothing_that_is_served() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &["eds:e"])]);
        script.sends(EDS, "1", &[fixture("e", &[])]);
        script.breaks();
        script.seconds(24 * 3600);
        script.is("cds:c eds:e");
    }
}

#[test]
fn counters_of_subscriptions_follow_envoys() {
    use telemetry::stats::{Scope, cds, cluster_manager, control_plane};
    let registry = Registry::new(1);
    let now = Instant::now();
    let options = options(Variant::Delta);
    let mut engine = Engine::new(options, Arc::new(FixtureDecoder), &registry, now, SystemTime::now());
    engine.stream_opened(SourceId::ADS, 0, now);
    let mut script = Script {
        engine,
        variant: Variant::Delta,
        now,
        nonce: 0,
        config: Arc::default(),
        publications: 0,
    };
    script.hears_requests();
    script.sends(CDS, "v1", &[fixture("a", &[]), fixture("b", &["eds:b"])]);
    script.sends(CDS, "v2", &[fixture("a", &[]).revision(1).faulty("bad")]);
    script.sends(CDS, "v3", &[fixture("a", &[]).revision(2)]);
    script.removes(CDS, &["a"]);
    let block = registry.block(Scope::Process("cluster_manager.cds."), &cds::TABLE);
    let counters = [
        cds::UPDATE_ATTEMPT,
        cds::UPDATE_SUCCESS,
        cds::UPDATE_REJECTED,
        cds::UPDATE_FAILURE,
    ];
    assert_eq!(counters.map(|counter| block.counter(counter)), [5, 3, 1, 0]);
    let manager = registry.block(Scope::Process("cluster_manager."), &cluster_manager::TABLE);
    assert_eq!(manager.counter(cluster_manager::CLUSTER_ADDED), 1);
    assert_eq!(manager.counter(cluster_manager::CLUSTER_MODIFIED), 1);
    assert_eq!(manager.counter(cluster_manager::CLUSTER_REMOVED), 1);
    assert_eq!(manager.gauge(cluster_manager::ACTIVE_CLUSTERS), 0);
    assert_eq!(manager.gauge(cluster_manager::WARMING_CLUSTERS), 1);
    let plane = registry.block(Scope::Process("control_plane."), &control_plane::TABLE);
    assert_eq!(plane.gauge(control_plane::CONNECTED_STATE), 1);
    script.breaks();
    assert_eq!(plane.gauge(control_plane::CONNECTED_STATE), 0);
    assert_eq!(block.counter(cds::UPDATE_FAILURE), 1);
}

#[test]
fn requests_are_held_back_by_rate_limit_settings_and_sent_later() {
    use config::config_source::RateLimitSettings;
    use telemetry::stats::{Scope, control_plane};
    let registry = Registry::new(1);
    let now = Instant::now();
    let mut options = options(Variant::Delta);
    let mut api = ApiConfigSource::clone(&ads(Variant::Delta));
    api.rate_limit_settings = Some(RateLimitSettings {
        max_tokens: 1,
        fill_rate: 1.0,
    });
    options.ads_config = Some(Arc::new(api));
    let mut engine = Engine::new(options, Arc::new(FixtureDecoder), &registry, now, SystemTime::now());
    engine.stream_opened(SourceId::ADS, 0, now);
    assert!(engine.next_request(SourceId::ADS, now).is_some());
    assert!(engine.has_request(SourceId::ADS, now));
    assert_eq!(engine.next_request(SourceId::ADS, now), None);
    assert!(
        !engine.has_request(SourceId::ADS, now),
        "nothing to do before there is a token"
    );
    let plane = registry.block(Scope::Process("control_plane."), &control_plane::TABLE);
    assert_eq!(plane.counter(control_plane::RATE_LIMIT_ENFORCED), 1);
    assert_eq!(plane.gauge(control_plane::PENDING_REQUESTS), 1);
    let later = engine.deadline().expect("the time of the next token");
    engine.on_deadline(later);
    assert!(engine.has_request(SourceId::ADS, later));
    assert!(engine.next_request(SourceId::ADS, later).is_some());
}

#[test]
fn a_table_that_asks_for_it_is_refused_when_it_names_a_cluster_that_there_is_not() {
    let to = |cluster: &str| Fixture {
        routes_to: cluster.into(),
        ..fixture("r", &[&format!("cds:{cluster}")])
    };
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(CDS, "1", &[fixture("c", &[])]);
        script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
        script.hears_requests();
        script.sends(RDS, "1", &[to("c")]);
        script.is("cds:c lds:l rds:r");
        let good = Arc::clone(&script.config);
        script.hears_requests();
        script.sends(RDS, "2", &[to("gone")]);
        let refusal = r#"rds NACK RouteConfiguration "r": has the route 0 of virtual host "v" to the cluster "gone", which is not known (validate_clusters)"#;
        assert_eq!(script.hears_requests(), [refusal]);
        assert!(same_values(&good, &script.config));
        script.sends(CDS, "2", &[fixture("c", &[]), fixture("gone", &[])]);
        script.hears_requests();
        script.sends(RDS, "3", &[to("gone")]);
        script.is("cds:c cds:gone lds:l rds:r");
    }
}

#[test]
fn a_table_that_comes_before_the_first_clusters_waits_for_them() {
    for variant in BOTH {
        let mut script = script(variant);
        script.sends(LDS, "1", &[fixture("l", &["rds:r"])]);
        script.hears_requests();
        let table = Fixture {
            routes_to: "c".into(),
            ..fixture("r", &["cds:c"])
        };
        script.sends(RDS, "1", &[table]);
        script.is("");
        script.sends(CDS, "1", &[fixture("c", &[])]);
        script.is("cds:c lds:l rds:r");
    }
}
