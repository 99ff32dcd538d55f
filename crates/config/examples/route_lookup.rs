//! What finding a route costs: run under callgrind, which counts instructions exactly.
//!
//! `valgrind --tool=callgrind --toggle-collect='route_lookup::look_up*' target/debug/examples/route_lookup 10000 1 100`
//!
//! The arguments are virtual hosts, routes in each, and look-ups, which go through both from end to end. Only look-ups are
//! collected. `tests/e2e/tests/routing_budget.rs` holds the counts to a budget.

use config::route::{Matcher, RequestView};
use config::{Extensions, Resource, ResourceType};
use xds_api::envoy::config::route::v3 as pb;
use xds_api::prost::Message;

/// A request for one host and path.
struct Request {
    authority: String,
    path: String,
}

impl RequestView for Request {
    fn method(&self) -> &[u8] {
        b"GET"
    }

    fn path(&self) -> &[u8] {
        self.path.as_bytes()
    }

    fn authority(&self) -> &[u8] {
        self.authority.as_bytes()
    }

    fn scheme(&self) -> &[u8] {
        b"http"
    }

    fn header<'a>(&'a self, _name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        std::iter::empty()
    }
}

/// Of equal length whatever the number, so that only the number of entries differs between tables.
fn domain(host: usize) -> String {
    format!("service-{host:05}.example.com")
}

fn prefix(route: usize) -> String {
    format!("/api/v{route:04}/")
}

fn table(hosts: usize, routes: usize) -> Vec<u8> {
    let routes: Vec<pb::Route> = (0..routes).map(route).collect();
    let host = |host| pb::VirtualHost {
        name: domain(host),
        domains: vec![domain(host)],
        routes: routes.clone(),
        ..Default::default()
    };
    let table = pb::RouteConfiguration {
        name: "table".into(),
        virtual_hosts: (0..hosts).map(host).collect(),
        ..Default::default()
    };
    table.encode_to_vec()
}

fn route(route: usize) -> pb::Route {
    use pb::route::Action;
    use pb::route_action::ClusterSpecifier;
    use pb::route_match::PathSpecifier;
    pb::Route {
        r#match: Some(pb::RouteMatch {
            path_specifier: Some(PathSpecifier::Prefix(prefix(route))),
            ..Default::default()
        }),
        action: Some(Action::Route(pb::RouteAction {
            cluster_specifier: Some(ClusterSpecifier::Cluster("cluster".into())),
            ..Default::default()
        })),
        ..Default::default()
    }
}

/// What is counted. Returns the position of the route found.
#[inline(never)]
fn look_up(matcher: &Matcher, request: &Request) -> Option<u32> {
    matcher.find(request, 0).map(|found| found.route_index)
}

fn main() -> Result<(), String> {
    let arguments: Vec<usize> = std::env::args()
        .skip(1)
        .filter_map(|number| number.parse().ok())
        .collect();
    let [hosts, routes, look_ups] = arguments[..] else {
        return Err("expected three numbers: virtual hosts, routes, look-ups".into());
    };
    let bytes = table(hosts, routes);
    let parsed = Resource::parse(ResourceType::RouteConfiguration, &bytes, &Extensions::new());
    let Ok(Resource::RouteConfiguration(table)) = parsed.map(|parsed| parsed.value) else {
        return Err("the table is not valid".into());
    };
    for number in 0..look_ups {
        // From end to end, whatever the size.
        let (host, route) = (number * hosts / look_ups, number * routes / look_ups);
        let request = Request {
            authority: domain(host),
            path: prefix(route) + "users/1?verbose=1",
        };
        let found = look_up(&table.matcher, &request);
        if found != Some(route as u32) {
            return Err(format!("{}{} goes to {found:?}", request.authority, request.path));
        }
    }
    Ok(())
}
