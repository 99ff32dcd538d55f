//! Scripts: what the server says, what the client says.

mod claims;
mod reconnects;

use std::collections::BTreeMap;

use xds_api::envoy::service::discovery::v3::Resource;

use super::*;

const CDS: ResourceType = ResourceType::Cluster;
const EDS: ResourceType = ResourceType::ClusterLoadAssignment;
const LDS: ResourceType = ResourceType::Listener;
const RDS: ResourceType = ResourceType::RouteConfiguration;

/// Resources held, as a session asks for them.
#[derive(Default)]
struct Holding(BTreeMap<(ResourceType, &'static str), &'static str>);

impl Held for Holding {
    fn version(&self, resource_type: ResourceType, name: &str, _: usize) -> Option<Arc<str>> {
        self.0
            .iter()
            .find(|((t, n), _)| *t == resource_type && *n == name)
            .map(|(_, version)| Arc::from(*version))
    }

    fn versions(&self, resource_type: ResourceType, _: usize) -> Vec<(Arc<str>, Arc<str>)> {
        let of_type = self.0.iter().filter(|((t, _), _)| *t == resource_type);
        of_type
            .map(|((_, name), version)| (Arc::from(*name), Arc::from(*version)))
            .collect()
    }
}

struct Script {
    session: Session,
    held: Holding,
    now: Instant,
}

fn script(variant: Variant) -> Script {
    let session = Session::new(SessionOptions {
        variant,
        node: Node {
            id: "sidecar".into(),
            ..Default::default()
        },
        node_on_first_message_only: true,
        does_not_exist_timeout: Some(Duration::from_secs(15)),
    });
    Script {
        session,
        held: Holding::default(),
        now: Instant::now(),
    }
}

impl Script {
    /// The next request as a line, `-` when there is none.
    ///
    /// State of the world: `cds v=<version> n=<nonce> [names]`; delta: `cds +[names] -[names] n=<nonce> have=[name=version]`;
    /// `NACK(<text>)` and `node` where they are there.
    fn says(&mut self) -> String {
        assert_eq!(self.session.has_request(), self.session.has_request());
        let announced = self.session.has_request();
        let request = self.session.next_request(&self.held, self.now);
        assert_eq!(announced, request.is_some(), "has_request and next_request must agree");
        match request {
            None => "-".to_owned(),
            Some(Request::StateOfTheWorld(r)) => {
                let short = ResourceType::from_type_url(&r.type_url)
                    .expect("a known type")
                    .short_name();
                let mut line = format!(
                    "{short} v={} n={} {:?}",
                    r.version_info, r.response_nonce, r.resource_names
                );
                line.extend(r.error_detail.map(|error| format!(" NACK({})", error.message)));
                line.extend(r.node.map(|_| " node"));
                line.replace('"', "")
            }
            Some(Request::Delta(r)) => {
                let mut line = ResourceType::from_type_url(&r.type_url)
                    .expect("a known type")
                    .short_name()
                    .to_owned();
                let have: BTreeMap<_, _> = r.initial_resource_versions.iter().collect();
                for (label, names) in [("+", &r.resource_names_subscribe), ("-", &r.resource_names_unsubscribe)] {
                    if !names.is_empty() {
                        line.push_str(&format!(" {label}{names:?}"));
                    }
                }
                if !r.response_nonce.is_empty() {
                    line.push_str(&format!(" n={}", r.response_nonce));
                }
                if !have.is_empty() {
                    line.push_str(&format!(" have={have:?}"));
                }
                line.extend(r.error_detail.map(|error| format!(" NACK({})", error.message)));
                line.extend(r.node.map(|_| " node"));
                line.replace('"', "")
            }
        }
    }

    fn says_in_turn(&mut self, lines: &[&str]) {
        for line in lines {
            assert_eq!(self.says(), *line);
        }
        assert_eq!(self.says(), "-", "after {lines:?}");
    }

    /// The server sends a response; returns it normalised.
    fn hears(&mut self, resource_type: ResourceType, version: &str, nonce: &str, names: &[&str]) -> Update {
        let type_url = resource_type.type_url().to_owned();
        let response = match self.session.variant() {
            Variant::StateOfTheWorld => Response::StateOfTheWorld(DiscoveryResponse {
                version_info: version.into(),
                nonce: nonce.into(),
                resources: names.iter().map(|_| Any::default()).collect(),
                type_url,
                ..Default::default()
            }),
            Variant::Delta => Response::Delta(DeltaDiscoveryResponse {
                nonce: nonce.into(),
                system_version_info: version.into(),
                resources: names
                    .iter()
                    .map(|n| Resource {
                        name: (*n).into(),
                        ..Default::default()
                    })
                    .collect(),
                type_url,
                ..Default::default()
            }),
        };
        let update = self.session.receive(response).expect("a subscribed type");
        for name in names {
            self.session.answered(resource_type, name);
        }
        update
    }

    /// The server sends a response that is accepted, or refused with a text.
    fn acknowledges(
        &mut self,
        resource_type: ResourceType,
        version: &str,
        nonce: &str,
        names: &[&str],
        refusal: Option<&str>,
    ) {
        let update = self.hears(resource_type, version, nonce, names);
        self.session.acknowledge(update.receipt, refusal.map(str::to_owned));
    }

    fn subscribe(&mut self, resource_type: ResourceType, names: &[&str]) {
        for name in names {
            self.session.subscribe(&ResourceKey::new(resource_type, *name));
        }
    }

    fn unsubscribe(&mut self, resource_type: ResourceType, names: &[&str]) {
        for name in names {
            self.session.unsubscribe(&ResourceKey::new(resource_type, *name));
        }
    }

    fn seconds(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }
}

#[test]
fn nothing_is_said_before_a_stream_is_open_or_when_nothing_is_wanted() {
    let mut script = script(Variant::Delta);
    script.session.subscribe_all(CDS);
    script.says_in_turn(&[]);
    script.session.stream_opened(0);
    script.says_in_turn(&["cds node"]);
}

#[test]
fn types_are_subscribed_to_in_order_and_the_node_is_sent_once() {
    for (variant, lines) in [
        (
            Variant::StateOfTheWorld,
            ["cds v= n= [] node", "eds v= n= [e]", "lds v= n= []", "rds v= n= [r]"],
        ),
        (Variant::Delta, ["cds node", "eds +[e]", "lds", "rds +[r]"]),
    ] {
        let mut script = script(variant);
        script.subscribe(RDS, &["r"]);
        script.session.subscribe_all(LDS);
        script.subscribe(EDS, &["e"]);
        script.session.subscribe_all(CDS);
        script.session.stream_opened(0);
        script.says_in_turn(&lines);
    }
}

#[test]
fn the_node_is_sent_with_every_message_unless_told_otherwise() {
    let mut script = script(Variant::Delta);
    script.session.options.node_on_first_message_only = false;
    script.session.subscribe_all(CDS);
    script.session.subscribe_all(LDS);
    script.session.stream_opened(0);
    script.says_in_turn(&["cds node", "lds node"]);
}

#[test]
fn sotw_ack_carries_the_new_version_and_nack_the_last_good_one() {
    let mut script = script(Variant::StateOfTheWorld);
    script.session.subscribe_all(CDS);
    script.session.stream_opened(0);
    script.says_in_turn(&["cds v= n= [] node"]);
    script.acknowledges(CDS, "1", "a", &["x"], None);
    script.says_in_turn(&["cds v=1 n=a []"]);
    script.acknowledges(CDS, "2", "b", &["x"], Some("bad lb_policy"));
    script.says_in_turn(&["cds v=1 n=b [] NACK(bad lb_policy)"]);
    script.acknowledges(CDS, "3", "c", &["x"], None);
    script.says_in_turn(&["cds v=3 n=c []"]);
}

#[test]
fn sotw_first_response_refused_is_nacked_with_an_empty_version() {
    let mut script = script(Variant::StateOfTheWorld);
    script.session.subscribe_all(LDS);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(LDS, "1", "a", &["x"], Some("bad"));
    script.says_in_turn(&["lds v= n=a [] NACK(bad)"]);
}

#[test]
fn delta_ack_and_nack_carry_the_nonce_and_differ_by_error_detail() {
    let mut script = script(Variant::Delta);
    script.session.subscribe_all(CDS);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(CDS, "", "a", &["x"], None);
    script.acknowledges(CDS, "", "b", &["x"], Some("bad"));
    script.says_in_turn(&["cds n=a", "cds n=b NACK(bad)"]);
}

#[test]
fn acknowledgement_and_subscription_change_are_separate_messages_as_istiod_wants() {
    for (variant, lines) in [
        (Variant::StateOfTheWorld, vec!["eds v=1 n=a [p]", "eds v=1 n=a [q]"]),
        (Variant::Delta, vec!["eds n=a", "eds +[q] -[p]"]),
    ] {
        let mut script = script(variant);
        script.subscribe(EDS, &["p"]);
        script.session.stream_opened(0);
        script.says();
        script.acknowledges(EDS, "1", "a", &["p"], None);
        script.unsubscribe(EDS, &["p"]);
        script.subscribe(EDS, &["q"]);
        script.says_in_turn(&lines);
    }
}

#[test]
fn delta_spontaneous_subscription_carries_no_nonce() {
    let mut script = script(Variant::Delta);
    script.subscribe(EDS, &["a"]);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(EDS, "", "n1", &["a"], None);
    script.says();
    script.subscribe(EDS, &["b"]);
    script.says_in_turn(&["eds +[b]"]);
}

#[test]
fn sotw_empty_list_unsubscribes_once_a_name_was_sent() {
    let mut script = script(Variant::StateOfTheWorld);
    script.session.stream_opened(0);
    script.says_in_turn(&[]);
    script.subscribe(EDS, &["a"]);
    script.says_in_turn(&["eds v= n= [a] node"]);
    script.unsubscribe(EDS, &["a"]);
    script.says_in_turn(&["eds v= n= []"]);
}

#[test]
fn the_star_is_spelled_out_once_a_name_was_sent() {
    let mut script = script(Variant::StateOfTheWorld);
    script.session.subscribe_all(CDS);
    script.subscribe(CDS, &["extra"]);
    script.session.stream_opened(0);
    script.says_in_turn(&["cds v= n= [*, extra] node"]);
    script.unsubscribe(CDS, &["extra"]);
    script.says_in_turn(&["cds v= n= [*]"]);
    let mut script = self::script(Variant::Delta);
    script.session.subscribe_all(CDS);
    script.subscribe(CDS, &["extra"]);
    script.session.stream_opened(0);
    script.says_in_turn(&["cds +[*, extra] node"]);
}

#[test]
fn changes_of_interest_that_cancel_out_are_not_sent() {
    for variant in [Variant::StateOfTheWorld, Variant::Delta] {
        let mut script = script(variant);
        script.subscribe(EDS, &["a"]);
        script.session.stream_opened(0);
        script.says();
        script.subscribe(EDS, &["b"]);
        script.unsubscribe(EDS, &["b"]);
        script.says_in_turn(&[]);
    }
}

#[test]
fn a_name_dropped_and_wanted_again_before_the_server_heard_of_it_is_asked_for_anew() {
    for (variant, lines) in [
        // In state of the world only a list without the name makes the server send it again.
        (Variant::StateOfTheWorld, vec!["eds v=1 n=a [b]", "eds v= n=a [a, b]"]),
        (Variant::Delta, vec!["eds +[a]"]),
    ] {
        let mut script = script(variant);
        script.subscribe(EDS, &["a", "b"]);
        script.session.stream_opened(0);
        script.says();
        script.acknowledges(EDS, "1", "a", &["a", "b"], None);
        script.says();
        script.unsubscribe(EDS, &["a"]);
        script.subscribe(EDS, &["a"]);
        script.says_in_turn(&lines);
    }
}

#[test]
fn sotw_acknowledgement_repeats_the_names_as_the_server_knows_them() {
    let mut script = script(Variant::StateOfTheWorld);
    script.subscribe(EDS, &["a", "b"]);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(EDS, "1", "n1", &["a", "b"], None);
    script.unsubscribe(EDS, &["a"]);
    script.subscribe(EDS, &["c"]);
    script.says_in_turn(&["eds v=1 n=n1 [a, b]", "eds v=1 n=n1 [b, c]"]);
}

#[test]
fn a_response_of_a_type_not_subscribed_to_is_ignored() {
    for type_url in [
        "type.googleapis.com/envoy.config.listener.v3.Listener",
        "type.googleapis.com/no.such.Type",
        "",
    ] {
        let mut script = script(Variant::StateOfTheWorld);
        script.session.subscribe_all(CDS);
        script.session.stream_opened(0);
        script.says();
        let response = DiscoveryResponse {
            type_url: type_url.into(),
            ..Default::default()
        };
        let error = script.session.receive(Response::StateOfTheWorld(response)).unwrap_err();
        assert_eq!(error, Unexpected::NotSubscribed(type_url.into()));
        script.says_in_turn(&[]);
    }
}

#[test]
fn a_message_of_the_other_protocol_is_ignored() {
    let mut script = script(Variant::Delta);
    let response = Response::StateOfTheWorld(DiscoveryResponse::default());
    assert_eq!(script.session.receive(response), Err(Unexpected::WrongVariant));
}

#[test]
fn only_complete_sets_remove_by_absence() {
    let mut script = script(Variant::StateOfTheWorld);
    for resource_type in [CDS, LDS] {
        script.session.subscribe_all(resource_type);
        assert!(script.hears(resource_type, "1", "n", &[]).complete);
    }
    for resource_type in [EDS, RDS, ResourceType::Secret] {
        script.subscribe(resource_type, &["a"]);
        assert!(!script.hears(resource_type, "1", "n", &[]).complete);
    }
    let mut script = self::script(Variant::Delta);
    script.session.subscribe_all(CDS);
    assert!(
        !script.hears(CDS, "1", "n", &[]).complete,
        "delta names what it removes"
    );
}

#[test]
fn a_wrapped_resource_carries_name_and_time_to_live() {
    use xds_api::prost::Message;
    let mut script = script(Variant::StateOfTheWorld);
    script.session.subscribe_all(CDS);
    let ttl = xds_api::google::protobuf::Duration { seconds: 3, nanos: 5 };
    let wrapper = Resource {
        name: "a".into(),
        ttl: Some(ttl),
        ..Default::default()
    };
    let any = Any {
        type_url: "type.googleapis.com/envoy.service.discovery.v3.Resource".into(),
        value: wrapper.encode_to_vec(),
    };
    let response = DiscoveryResponse {
        type_url: CDS.type_url().into(),
        resources: vec![any],
        ..Default::default()
    };
    let update = script
        .session
        .receive(Response::StateOfTheWorld(response))
        .expect("subscribed");
    let incoming = &update.resources[0];
    assert_eq!(
        (incoming.name.as_deref(), incoming.ttl),
        (Some("a"), Some(Duration::new(3, 5)))
    );
    assert_eq!(incoming.body, None, "an empty resource is a heartbeat");
}

#[test]
fn delta_errors_say_what_does_not_exist_and_what_is_wrong() {
    use xds_api::envoy::service::discovery::v3::{ResourceError, ResourceName};
    use xds_api::google::rpc::Status;
    let mut script = script(Variant::Delta);
    script.subscribe(RDS, &["gone", "denied"]);
    let error = |name: &str, code, message: &str| ResourceError {
        resource_name: Some(ResourceName {
            name: name.into(),
            ..Default::default()
        }),
        error_detail: Some(Status {
            code,
            message: message.into(),
            ..Default::default()
        }),
    };
    let response = DeltaDiscoveryResponse {
        type_url: RDS.type_url().into(),
        removed_resources: vec!["old".into()],
        resource_errors: vec![error("gone", 5, "no such table"), error("denied", 7, "not for you")],
        ..Default::default()
    };
    let update = script.session.receive(Response::Delta(response)).expect("subscribed");
    assert_eq!(update.removed, [Arc::from("old"), Arc::from("gone")]);
    let denied = ReportedError {
        name: "denied".into(),
        is_denied: true,
        message: "not for you".to_owned(),
    };
    assert_eq!(update.errors, [denied]);
}

#[test]
fn trap_a_server_that_does_not_read_does_not_make_the_session_grow() {
    for (variant, most) in [(Variant::StateOfTheWorld, 1), (Variant::Delta, 64)] {
        let mut script = script(variant);
        script.session.subscribe_all(CDS);
        script.session.stream_opened(0);
        script.says();
        for nonce in 0..1000 {
            script.acknowledges(CDS, "v", &nonce.to_string(), &["x"], None);
        }
        let mut said = Vec::new();
        while script.session.has_request() {
            said.push(script.says());
        }
        assert_eq!(said.len(), most, "{variant:?}");
        assert!(
            said.last().is_some_and(|line| line.contains("n=999")),
            "the newest nonce is answered"
        );
    }
}

#[test]
fn a_refusal_outlives_the_acknowledgements_that_are_dropped_for_room() {
    let mut script = script(Variant::Delta);
    script.session.subscribe_all(CDS);
    script.session.stream_opened(0);
    script.says();
    script.acknowledges(CDS, "", "first", &[], Some("bad"));
    for nonce in 0..1000 {
        script.acknowledges(CDS, "", &nonce.to_string(), &[], None);
    }
    assert_eq!(script.says(), "cds n=first NACK(bad)");
}
