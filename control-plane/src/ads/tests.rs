//! Sessions without a stream: what is sent.

mod order;

use std::time::Instant;

use super::message::{Change, Delta, Request, Sotw, Variant};
use super::session::{Response, Session, SyncState};
use crate::compile::Snapshot;
use crate::compile::resource::{ResourceType, View};
use crate::testing::{GREETER, snapshot, snapshot_after, split, workload};

use ResourceType::{Cluster, Endpoints, Listener, Route};

fn view(snapshot: &Snapshot) -> View {
    snapshot.sidecar_view(&workload(snapshot, "frontend")).0
}

fn sotw(kind: ResourceType, nonce: &str, names: &[&str]) -> Request {
    Request {
        node: None,
        type_url: kind.type_url().to_owned(),
        nonce: nonce.to_owned(),
        error: None,
        change: Change::Sotw {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        },
    }
}

fn delta(kind: ResourceType, nonce: &str, subscribe: &[&str], unsubscribe: &[&str]) -> Request {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    Request {
        change: Change::Delta {
            subscribe: owned(subscribe),
            unsubscribe: owned(unsubscribe),
            known: Vec::new(),
        },
        ..sotw(kind, nonce, &[])
    }
}

fn nacked(request: Request, reason: &str) -> Request {
    Request {
        error: Some(reason.to_owned()),
        ..request
    }
}

/// A client that is scripted: it answers when told to.
struct Client {
    session: Session,
    now: Instant,
    is_sotw: bool,
    /// The names last asked for, by type, which state-of-the-world repeats.
    names: [Vec<String>; 5],
}

impl Client {
    fn new(is_sotw: bool, view: View) -> Self {
        let mut session = Session::new(is_sotw);
        session.set_view(view);
        Self {
            session,
            now: Instant::now(),
            is_sotw,
            names: Default::default(),
        }
    }

    fn ask(&mut self, kind: ResourceType, names: &[&str]) {
        self.names[kind.index()] = names.iter().map(|name| (*name).to_owned()).collect();
        let request = if self.is_sotw {
            sotw(kind, "", names)
        } else {
            delta(kind, "", names, &[])
        };
        self.session.request(request).unwrap();
    }

    fn next(&mut self) -> Option<Response> {
        self.session.next_response(self.now)
    }

    fn answer(&mut self, response: &Response) -> Request {
        if self.is_sotw {
            let names = self.names[response.kind.index()].clone();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            sotw(response.kind, &response.nonce, &names)
        } else {
            delta(response.kind, &response.nonce, &[], &[])
        }
    }

    fn ack(&mut self, response: &Response) {
        let answer = self.answer(response);
        self.session.request(answer).unwrap();
    }

    /// Answers everything until there is nothing more; what came, in order.
    fn settle(&mut self) -> Vec<Response> {
        let mut came = Vec::new();
        while let Some(response) = self.next() {
            self.ack(&response);
            came.push(response);
        }
        came
    }

    /// Asks for everything as a sidecar does, and takes it in.
    fn sync(&mut self) {
        self.ask(Cluster, &[]);
        self.settle();
        let view_names: Vec<String> = ["greeter", "greeter-v1", "greeter-v2"]
            .iter()
            .map(|name| format!("outbound|50051||{name}.demo.svc.cluster.local"))
            .collect();
        let names: Vec<&str> = view_names.iter().map(String::as_str).collect();
        self.ask(Endpoints, &names);
        self.ask(Listener, &[]);
        self.ask(Route, &["outbound"]);
        self.settle();
        for kind in [Cluster, Endpoints, Listener, Route] {
            assert_eq!(self.state(kind), SyncState::Synced, "{kind}");
        }
    }

    fn state(&self, kind: ResourceType) -> SyncState {
        self.session.state_of(kind).unwrap().0
    }
}

fn kinds(responses: &[Response]) -> Vec<ResourceType> {
    responses.iter().map(|response| response.kind).collect()
}

fn names(response: &Response) -> Vec<&str> {
    response.resources.iter().map(|resource| &*resource.name).collect()
}

const BOTH: [bool; 2] = [true, false];

fn routed(first: u32, second: u32) -> String {
    format!("{GREETER}{}", split(first, second))
}

#[test]
fn a_client_gets_what_it_asks_for_and_nothing_twice() {
    for is_sotw in BOTH {
        let snapshot = snapshot(GREETER);
        let mut client = Client::new(is_sotw, view(&snapshot));
        client.ask(Cluster, &[]);
        let response = client.next().unwrap();
        assert_eq!((response.kind, response.resources.len()), (Cluster, 3));
        assert!(client.next().is_none(), "one response is in flight");
        client.ack(&response);
        assert!(client.next().is_none());
        client.ask(Route, &["outbound", "unknown"]);
        let responses = client.settle();
        assert_eq!(names(&responses[0]), ["outbound"]);
        let removed: Vec<&str> = responses[0].removed.iter().map(|name| &**name).collect();
        assert_eq!(removed, if is_sotw { vec![] } else { vec!["unknown"] });
        client.session.set_view(view(&snapshot));
        assert!(client.settle().is_empty(), "the same view changes nothing");
    }
}

#[test]
fn an_edit_of_a_route_sends_the_route_table_alone() {
    for is_sotw in BOTH {
        let before = snapshot(&routed(90, 10));
        let mut client = Client::new(is_sotw, view(&before));
        client.sync();
        client
            .session
            .set_view(view(&snapshot_after(&routed(0, 100), Some(&before))));
        let responses = client.settle();
        assert_eq!(kinds(&responses), [Route]);
        assert_eq!(names(&responses[0]), ["outbound"]);
    }
}

#[test]
fn an_edit_of_one_services_endpoints_sends_those_alone() {
    for is_sotw in BOTH {
        let before = snapshot(GREETER);
        let mut client = Client::new(is_sotw, view(&before));
        client.sync();
        let moved = GREETER.replace("127.0.1.4", "127.0.1.44");
        client.session.set_view(view(&snapshot_after(&moved, Some(&before))));
        let responses = client.settle();
        assert_eq!(kinds(&responses), [Endpoints]);
        let expected = ["greeter-v2", "greeter"].map(|name| format!("outbound|50051||{name}.demo.svc.cluster.local"));
        assert_eq!(names(&responses[0]), expected);
    }
}

#[test]
fn a_refused_response_is_told_and_not_sent_again_until_something_changes() {
    for is_sotw in BOTH {
        let before = snapshot(&routed(90, 10));
        let mut client = Client::new(is_sotw, view(&before));
        client.sync();
        let edited = snapshot_after(&routed(80, 20), Some(&before));
        client.session.set_view(view(&edited));
        let response = client.next().unwrap();
        assert_eq!(client.state(Route), SyncState::Stale);
        let refusal = nacked(client.answer(&response), "routes[0]: no");
        client.session.request(refusal).unwrap();
        let expected = SyncState::Nacked {
            reason: "routes[0]: no".to_owned(),
        };
        assert_eq!(client.state(Route), expected);
        client.session.set_view(view(&edited));
        assert!(client.next().is_none());
        client
            .session
            .set_view(view(&snapshot_after(&routed(70, 30), Some(&edited))));
        assert_eq!(kinds(&client.settle()), [Route]);
        assert_eq!(client.state(Route), SyncState::Synced);
    }
}

#[test]
fn what_changes_while_a_response_is_in_flight_is_in_the_next_one_and_only_once() {
    for is_sotw in BOTH {
        let first = snapshot(&routed(90, 10));
        let mut client = Client::new(is_sotw, view(&first));
        client.sync();
        let second = snapshot_after(&routed(80, 20), Some(&first));
        client.session.set_view(view(&second));
        let in_flight = client.next().unwrap();
        let third = snapshot_after(&routed(70, 30), Some(&second));
        client.session.set_view(view(&third));
        let fourth = snapshot_after(&routed(60, 40), Some(&third));
        client.session.set_view(view(&fourth));
        assert!(client.next().is_none());
        client.ack(&in_flight);
        let responses = client.settle();
        assert_eq!(responses.len(), 1, "a slow client skips what is past");
        let table = view(&fourth).of(Route).get("outbound").unwrap().version;
        assert_eq!(responses[0].resources[0].version, table);
    }
}

#[test]
fn a_stale_answer_in_state_of_the_world_changes_nothing() {
    let before = snapshot(GREETER);
    let mut client = Client::new(true, view(&before));
    client.ask(Route, &["outbound"]);
    let first = client.next().unwrap();
    client.session.request(sotw(Route, "not a nonce of ours", &[])).unwrap();
    assert_eq!(client.state(Route), SyncState::Stale);
    client.ack(&first);
    client
        .session
        .set_view(view(&snapshot_after(&routed(1, 1), Some(&before))));
    assert_eq!(kinds(&client.settle()), [Route], "the name is still asked for");
}

#[test]
fn a_name_asked_for_again_is_sent_again() {
    let snapshot = snapshot(GREETER);
    let mut client = Client::new(false, view(&snapshot));
    client.sync();
    client.session.request(delta(Route, "", &["outbound"], &[])).unwrap();
    assert_eq!(
        kinds(&client.settle()),
        [Route],
        "delta: the client may have dropped it"
    );
    client.session.request(delta(Route, "", &[], &["outbound"])).unwrap();
    assert!(client.settle().is_empty());
    client.session.request(delta(Route, "", &["outbound"], &[])).unwrap();
    assert_eq!(kinds(&client.settle()), [Route]);

    let mut client = Client::new(true, view(&snapshot));
    client.ask(Route, &["outbound"]);
    let response = client.next().unwrap();
    client.session.request(sotw(Route, &response.nonce, &[])).unwrap();
    client
        .session
        .request(sotw(Route, &response.nonce, &["outbound"]))
        .unwrap();
    assert_eq!(
        kinds(&client.settle()),
        [Route],
        "state of the world: given up and asked for anew"
    );
}

#[test]
fn a_delta_client_that_comes_back_is_sent_only_what_it_has_not() {
    let before = snapshot(&routed(90, 10));
    let known: Vec<(String, String)> = view(&before)
        .of(Cluster)
        .iter()
        .map(|resource| (resource.name.to_string(), resource.version.to_string()))
        .chain([
            ("outbound|1||gone".to_owned(), "0123456789abcdef".to_owned()),
            ("odd".to_owned(), "v1".to_owned()),
        ])
        .collect();
    let mut client = Client::new(false, view(&before));
    let mut request = delta(Cluster, "", &[], &[]);
    request.change = Change::Delta {
        subscribe: Vec::new(),
        unsubscribe: Vec::new(),
        known,
    };
    client.session.request(request).unwrap();
    let responses = client.settle();
    assert_eq!(responses.len(), 1);
    assert!(responses[0].resources.is_empty());
    let removed: Vec<&str> = responses[0].removed.iter().map(|name| &**name).collect();
    assert_eq!(removed, ["odd", "outbound|1||gone"]);
}

#[test]
fn a_client_that_asks_for_all_there_is_hears_also_that_there_is_nothing() {
    for is_sotw in BOTH {
        let mut client = Client::new(is_sotw, View::default());
        client.ask(Cluster, &[]);
        let responses = client.settle();
        assert_eq!((responses.len(), responses[0].resources.len()), (1, 0));
    }
}

#[test]
fn a_node_that_is_not_known_yet_hears_nothing_until_it_is() {
    let mut session = Session::new(true);
    session.request(sotw(Cluster, "", &[])).unwrap();
    assert!(session.next_response(Instant::now()).is_none());
    session.set_view(view(&snapshot(GREETER)));
    assert_eq!(session.next_response(Instant::now()).unwrap().resources.len(), 3);
}

#[test]
fn an_unknown_type_is_refused_with_the_types_served() {
    let mut request = sotw(Cluster, "", &[]);
    request.type_url = "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned();
    let error = Session::new(true).request(request).unwrap_err().to_string();
    assert!(error.contains("v3.Runtime") && error.contains("v3.Cluster"), "{error}");
}

#[test]
fn both_variants_are_read_and_written() {
    use xds_api::envoy::service::discovery::v3 as discovery;
    let snapshot = snapshot(GREETER);
    let mut client = Client::new(false, view(&snapshot));
    client.ask(Route, &["outbound"]);
    let response = client.next().unwrap();
    let full = Sotw::write(&response);
    assert_eq!(
        (full.nonce.as_str(), full.resources.len()),
        (response.nonce.as_str(), 1)
    );
    assert_eq!(full.type_url, Route.type_url());
    let incremental = Delta::write(&response);
    assert_eq!(
        incremental.resources[0].version,
        response.resources[0].version.to_string()
    );
    let request = Sotw::read(discovery::DiscoveryRequest {
        response_nonce: "7".to_owned(),
        error_detail: Some(Default::default()),
        ..Default::default()
    });
    assert!(request.nonce == "7" && request.error.is_some());
    let request = Delta::read(discovery::DeltaDiscoveryRequest {
        resource_names_subscribe: vec!["a".to_owned()],
        ..Default::default()
    });
    assert!(matches!(request.change, Change::Delta { subscribe, .. } if subscribe == ["a"]));
}
