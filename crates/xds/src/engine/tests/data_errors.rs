//! What becomes of values that are held when something is wrong with them (gRFC A88): each policy, each kind of fault.

use xds_api::envoy::service::discovery::v3::{ResourceError, ResourceName};

use super::*;

const SDS: ResourceType = ResourceType::Secret;

/// Everything there is: a listener whose routes name a cluster with endpoints, and a cluster and a listener beside.
const ALL: &str = "cds:beside cds:c eds:e lds:beside lds:l rds:r";

fn filled(variant: Variant, data_errors: DataErrors) -> Script {
    let mut script = with_options(
        variant,
        EngineOptions {
            data_errors,
            ..options(variant)
        },
    );
    script.opens();
    script.hears_requests();
    script.sends(CDS, "1", &[fixture("c", &["eds:e"]), fixture("beside", &[])]);
    script.sends(EDS, "1", &[fixture("e", &[])]);
    script.sends(LDS, "1", &[fixture("l", &["rds:r"]), fixture("beside", &[])]);
    script.sends(RDS, "1", &[fixture("r", &["cds:c"])]);
    script.hears_requests();
    script.is(ALL);
    script
}

/// The server reports an error for endpoints that it sent before.
fn reports(script: &mut Script, name: &str, code: i32) {
    let resource_errors = vec![ResourceError {
        resource_name: Some(ResourceName {
            name: name.into(),
            ..Default::default()
        }),
        error_detail: Some(xds_api::google::rpc::Status {
            code,
            message: "not today".into(),
            ..Default::default()
        }),
    }];
    let type_url = EDS.type_url().to_owned();
    let response = match script.variant {
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
    let received = script.engine.receive(SourceId::ADS, response, script.now);
    received.expect("endpoints are subscribed to");
    script.takes_config();
}

fn removes_clusters_and_listeners(script: &mut Script) {
    match script.variant {
        Variant::StateOfTheWorld => {
            script.sends(CDS, "2", &[]);
            script.sends(LDS, "2", &[]);
        }
        Variant::Delta => {
            script.removes(CDS, &["beside", "c"]);
            script.removes(LDS, &["beside", "l"]);
        }
    }
}

#[test]
fn removed_listeners_and_clusters_go_unless_everything_is_kept() {
    for variant in BOTH {
        for (policy, left) in [
            (DataErrors::AsEnvoy, ""),
            (DataErrors::Keep, ALL),
            (DataErrors::Drop, ""),
        ] {
            let mut script = filled(variant, policy);
            removes_clusters_and_listeners(&mut script);
            script.is(left);
        }
    }
}

#[test]
fn a_removed_cluster_that_is_used_stays_unless_faults_are_to_be_seen() {
    for variant in BOTH {
        for (policy, left) in [
            (DataErrors::AsEnvoy, "cds:c eds:e lds:beside lds:l rds:r"),
            (DataErrors::Keep, ALL),
            (DataErrors::Drop, "lds:beside lds:l rds:r"),
        ] {
            let mut script = filled(variant, policy);
            match variant {
                Variant::StateOfTheWorld => script.sends(CDS, "2", &[]),
                Variant::Delta => script.removes(CDS, &["beside", "c"]),
            }
            script.is(left);
        }
    }
}

#[test]
fn what_is_kept_says_that_it_was_removed_and_is_replaced_by_what_comes() {
    for variant in BOTH {
        let mut script = filled(variant, DataErrors::Keep);
        removes_clusters_and_listeners(&mut script);
        let status = script.status("lds:l");
        assert_eq!(status.client_status, ClientStatus::ReceivedError);
        assert!(
            status
                .error
                .is_some_and(|error| error.details.contains("has removed it"))
        );
        assert!(
            script.hears_requests().iter().all(|line| !line.contains("NACK")),
            "the response was good"
        );
        script.sends(CDS, "3", &[fixture("c", &[]).revision(3)]);
        script.sends(LDS, "3", &[fixture("l", &["cds:c"]).revision(3)]);
        script.is("cds:beside cds:c lds:beside lds:l");
        assert_eq!(script.client_status("lds:l"), ClientStatus::Acked);
    }
}

#[test]
fn what_is_refused_stays_unless_faults_are_to_be_seen() {
    for variant in BOTH {
        for (policy, left) in [
            (DataErrors::AsEnvoy, ALL),
            (DataErrors::Keep, ALL),
            (DataErrors::Drop, "cds:beside lds:beside lds:l rds:r"),
        ] {
            let mut script = filled(variant, policy);
            script.sends(
                CDS,
                "2",
                &[fixture("c", &[]).faulty("is wrong"), fixture("beside", &[])],
            );
            script.is(left);
            let requests = script.hears_requests();
            assert!(
                requests.iter().any(|line| line.contains("NACK")),
                "it is refused in any case: {requests:?}"
            );
            assert_eq!(script.client_status("cds:c"), ClientStatus::Nacked);
            script.sends(
                CDS,
                "3",
                &[fixture("c", &["eds:e"]).revision(3), fixture("beside", &[])],
            );
            script.sends(EDS, "3", &[fixture("e", &[])]);
            script.is(ALL);
        }
    }
}

#[test]
fn an_error_of_the_server_itself_drops_nothing_and_denial_does_where_faults_are_to_be_seen() {
    const UNAVAILABLE: i32 = 14;
    const DENIED: i32 = 7;
    const NOT_FOUND: i32 = 5;
    for variant in BOTH {
        for (policy, code, left) in [
            (DataErrors::AsEnvoy, UNAVAILABLE, ALL),
            (DataErrors::AsEnvoy, DENIED, ALL),
            (DataErrors::AsEnvoy, NOT_FOUND, ALL),
            (DataErrors::Keep, DENIED, ALL),
            (DataErrors::Keep, NOT_FOUND, ALL),
            (DataErrors::Drop, UNAVAILABLE, ALL),
            (DataErrors::Drop, DENIED, "cds:beside cds:c lds:beside lds:l rds:r"),
            (DataErrors::Drop, NOT_FOUND, "cds:beside cds:c lds:beside lds:l rds:r"),
        ] {
            let mut script = filled(variant, policy);
            reports(&mut script, "e", code);
            script.is(left);
        }
    }
}

#[test]
fn what_the_server_cannot_send_of_a_whole_set_is_not_absent_from_it() {
    let mut script = filled(Variant::StateOfTheWorld, DataErrors::AsEnvoy);
    let response = DiscoveryResponse {
        version_info: "2".into(),
        type_url: CDS.type_url().into(),
        resources: vec![fixture("c", &["eds:e"]).any(CDS)],
        resource_errors: vec![ResourceError {
            resource_name: Some(ResourceName {
                name: "beside".into(),
                ..Default::default()
            }),
            error_detail: Some(Default::default()),
        }],
        ..Default::default()
    };
    let received = script
        .engine
        .receive(SourceId::ADS, Response::StateOfTheWorld(response), script.now);
    received.expect("clusters are subscribed to");
    script.takes_config();
    script.is(ALL);
}

#[test]
fn secrets_that_are_refused_stay_or_go_as_clusters_do() {
    for variant in BOTH {
        for (policy, left) in [
            (DataErrors::AsEnvoy, "cds:c sds:s"),
            (DataErrors::Keep, "cds:c sds:s"),
            (DataErrors::Drop, "cds:c"),
        ] {
            let mut script = with_options(
                variant,
                EngineOptions {
                    data_errors: policy,
                    ..options(variant)
                },
            );
            script.opens();
            script.hears_requests();
            script.sends(CDS, "1", &[fixture("c", &["sds:s"])]);
            script.sends(SDS, "1", &[fixture("s", &[])]);
            script.sends(SDS, "2", &[fixture("s", &[]).faulty("is wrong")]);
            script.is(left);
        }
    }
}
