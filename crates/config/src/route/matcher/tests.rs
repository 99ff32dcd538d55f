use proptest::prelude::*;

use super::*;
use crate::route::RouteConfiguration;
use crate::testing::accept;

mod scale;

/// A request of a test.
#[derive(Debug, Clone, Default)]
struct Request {
    method: String,
    path: String,
    authority: String,
    headers: Vec<(String, String)>,
}

impl Request {
    fn new(authority: &str, path: &str) -> Self {
        Self {
            method: "GET".into(),
            path: path.into(),
            authority: authority.into(),
            headers: Vec::new(),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

impl RequestView for Request {
    fn method(&self) -> &[u8] {
        self.method.as_bytes()
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

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(other, _)| other == name)
            .map(|(_, value)| value.as_bytes())
    }
}

/// A table with a virtual host for each list of domains, named after its position.
fn hosts(domains: &[&str], more: &str) -> RouteConfiguration {
    let hosts: Vec<_> = domains
        .iter()
        .enumerate()
        .map(|(index, domains)| format!("{{name: h{index}, domains: [{domains}]}}"))
        .collect();
    accept(
        RouteConfiguration::parse,
        &format!("virtual_hosts: [{}]\n{more}", hosts.join(", ")),
    )
}

fn host_of<'a>(table: &'a RouteConfiguration, authority: &str) -> &'a str {
    table
        .matcher
        .virtual_host(authority.as_bytes())
        .map_or("none", |host| &*host.name)
}

/// A table of one virtual host with these routes, named after their position.
fn routes(matches: &[&str], more: &str) -> RouteConfiguration {
    let routes: Vec<_> = matches
        .iter()
        .enumerate()
        .map(|(index, route_match)| format!("{{name: r{index}, match: {{{route_match}}}, redirect: {{}}}}"))
        .collect();
    let hosts = format!(
        "virtual_hosts: [{{name: v, domains: ['*'], routes: [{}]}}]",
        routes.join(", ")
    );
    accept(RouteConfiguration::parse, &format!("{hosts}\n{more}"))
}

fn route_of(table: &RouteConfiguration, request: &Request) -> String {
    table
        .matcher
        .find(request, 0)
        .map_or_else(|| "none".to_owned(), |found| found.route.name.to_string())
}

#[test]
fn domains_are_exact_then_longest_suffix_then_longest_prefix_then_any() {
    let table = hosts(
        &[
            "www.foo.com",
            "'*.foo.com'",
            "'*-bar.foo.com'",
            "www.foo.*",
            "www.*",
            "'*'",
            "'[::1]', '[::1]:8080'",
        ],
        "",
    );
    for (authority, host) in [
        ("www.foo.com", "h0"),
        ("WWW.Foo.COM", "h0"),
        ("baz.foo.com", "h1"),
        ("baz-bar.foo.com", "h2"),
        ("-bar.foo.com", "h1"),
        (".foo.com", "h5"),
        ("foo.com", "h5"),
        ("www.foo.org", "h3"),
        ("www.bar.org", "h4"),
        ("www.", "h5"),
        ("", "h5"),
        ("www.foo.com:80", "h3"),
        ("[::1]", "h6"),
        ("[::1]:8080", "h6"),
        ("[::1]:8081", "h5"),
    ] {
        assert_eq!(host_of(&table, authority), host, "{authority}");
    }
    assert_eq!(table.matcher.virtual_host(b"\xff.foo.com").unwrap().name, "h5".into());
    let long = format!("{}.foo.com", "a".repeat(300));
    assert_eq!(host_of(&table, &long), "h1");
}

#[test]
fn without_a_host_for_all_domains_there_may_be_none() {
    let table = hosts(&["a", "'*.b'"], "");
    assert_eq!(
        (host_of(&table, "a"), host_of(&table, "x.b"), host_of(&table, "c")),
        ("h0", "h1", "none")
    );
}

#[test]
fn a_port_counts_unless_it_is_ignored() {
    let counted = hosts(&["a", "'a:80'"], "");
    assert_eq!((host_of(&counted, "a:80"), host_of(&counted, "a:81")), ("h1", "none"));
    let ignored = hosts(&["a", "'[::1]'", "'::1'"], "ignore_port_in_host_matching: true");
    for (authority, host) in [
        ("a:80", "h0"),
        ("a:", "h0"),
        ("a:x", "h0"),
        ("[::1]:80", "h1"),
        ("[::1]", "h1"),
        // Without brackets its end is taken for a port, as in Envoy.
        ("::1", "none"),
    ] {
        assert_eq!(host_of(&ignored, authority), host, "{authority}");
    }
}

#[test]
fn the_first_route_that_matches_counts() {
    let table = routes(&["prefix: /a/b", "path: /a", "prefix: /a", "prefix: /"], "");
    for (path, route) in [
        ("/a/b/c", "r0"),
        ("/a", "r1"),
        ("/a/c", "r2"),
        ("/b", "r3"),
        ("/a?x", "r1"),
        ("/a#x", "r1"),
    ] {
        assert_eq!(route_of(&table, &Request::new("", path)), route, "{path}");
    }
}

#[test]
fn a_path_is_matched_without_its_query_and_with_its_case() {
    let table = routes(
        &[
            "path: /a?b",
            "path: /A",
            "path: /b, case_sensitive: false",
            "path_separated_prefix: /c",
            "safe_regex: {regex: '/d.*x'}",
        ],
        "",
    );
    for (path, route) in [
        ("/a?b", "none"),
        ("/A", "r1"),
        ("/B", "r2"),
        ("/c", "r3"),
        ("/c/", "r3"),
        ("/c?q", "r3"),
        ("/cd", "none"),
        ("/dx", "r4"),
        ("/d/x?y", "r4"),
        ("/dxy", "none"),
        ("/e/dx", "none"),
    ] {
        assert_eq!(route_of(&table, &Request::new("", path)), route, "{path}");
    }
}

#[test]
fn path_parameters_may_be_ignored() {
    let table = routes(&["path: /a"], "");
    assert_eq!(route_of(&table, &Request::new("", "/a;v=1")), "none");
    let table = routes(&["path: /a"], "ignore_path_parameters_in_path_matching: true");
    assert_eq!(route_of(&table, &Request::new("", "/a;v=1?q")), "r0");
    let table = routes(&["path: /a/b"], "ignore_path_parameters_in_path_matching: true");
    assert_eq!(route_of(&table, &Request::new("", "/a;v=1/b;w")), "r0");
}

#[test]
fn cookies_and_certificates_are_matched() {
    let table = routes(
        &[
            "prefix: /, cookies: [{name: a, string_match: {exact: b}}]",
            "prefix: /, tls_context: {presented: true, validated: false}",
            "prefix: /, tls_context: {presented: false}",
        ],
        "",
    );
    for (cookie, route) in [
        ("x=y; a=b", "r0"),
        ("a=\"b\"", "r0"),
        ("a=b=c", "r2"),
        ("a", "r2"),
        ("a=c; a=b", "r2"),
    ] {
        let request = Request::new("", "/").with("cookie", cookie);
        assert_eq!(route_of(&table, &request), route, "{cookie}");
    }
}

#[test]
fn a_request_without_path_is_for_a_connect_matcher() {
    let table = routes(&["prefix: /", "prefix: ''", "connect_matcher: {}"], "");
    let connect = |path: &str| Request {
        method: "CONNECT".into(),
        ..Request::new("", path)
    };
    assert_eq!(route_of(&table, &connect("")), "r2");
    assert_eq!(route_of(&table, &connect("/x")), "r0");
    assert_eq!(route_of(&table, &Request::new("", "")), "none");
}

#[test]
fn grpc_requests_are_known_by_their_content_type() {
    let table = routes(&["prefix: /, grpc: {}"], "");
    for (content_type, route) in [
        ("application/grpc", "r0"),
        ("application/grpc+proto", "r0"),
        ("application/grpc-web", "none"),
        ("application/json", "none"),
    ] {
        let request = Request::new("", "/").with("content-type", content_type);
        assert_eq!(route_of(&table, &request), route, "{content_type}");
    }
    assert_eq!(route_of(&table, &Request::new("", "/")), "none");
}

#[test]
fn headers_are_matched_line_by_line() {
    let request = || {
        Request::new("host.example", "/p")
            .with("a", "x")
            .with("a", "z")
            .with("m", "-5")
    };
    for (matcher, matches) in [
        ("name: a, string_match: {exact: x}", true),
        ("name: A, string_match: {exact: z}", true),
        ("name: a, string_match: {exact: 'x,z'}", false),
        ("name: a, string_match: {exact: X, ignore_case: true}", true),
        ("name: a, string_match: {exact: x}, invert_match: true", false),
        ("name: a, string_match: {exact: w}, invert_match: true", true),
        ("name: a, exact_match: x", true),
        ("name: a, prefix_match: x", true),
        ("name: a, suffix_match: w", false),
        ("name: a, contains_match: z", true),
        ("name: a, safe_regex_match: {regex: '[xz]'}", true),
        ("name: a", true),
        ("name: a, present_match: false", false),
        ("name: a, invert_match: true", false),
        ("name: b", false),
        ("name: b, present_match: false", true),
        ("name: b, present_match: true, invert_match: true", true),
        ("name: b, string_match: {exact: x}, invert_match: true", false),
        (
            "name: b, string_match: {exact: ''}, treat_missing_header_as_empty: true",
            true,
        ),
        (
            "name: b, string_match: {exact: x}, invert_match: true, treat_missing_header_as_empty: true",
            true,
        ),
        ("name: m, range_match: {start: -10, end: 0}", true),
        ("name: m, range_match: {start: -10, end: -5}", false),
        ("name: a, range_match: {start: 0, end: 10}", false),
        ("name: ':method', string_match: {exact: GET}", true),
        ("name: ':path', string_match: {prefix: /p}", true),
        ("name: ':authority', string_match: {suffix: example}", true),
        ("name: host, string_match: {suffix: example}", true),
        ("name: ':scheme', string_match: {exact: http}", true),
    ] {
        let table = routes(&[&format!("prefix: /, headers: [{{{matcher}}}]")], "");
        assert_eq!(route_of(&table, &request()) == "r0", matches, "{matcher}");
    }
}

#[test]
fn query_parameters_are_matched_by_their_first_value() {
    for (matcher, path, matches) in [
        ("name: a", "/?a", true),
        ("name: a", "/?b=a", false),
        ("name: a", "/", false),
        ("name: a, present_match: false", "/?b", true),
        ("name: a, present_match: false", "/?a=1", false),
        ("name: a, string_match: {exact: '1'}", "/?b=2&a=1&a=2", true),
        ("name: a, string_match: {exact: '2'}", "/?b=2&a=1&a=2", false),
        ("name: a, string_match: {exact: ''}", "/?a", true),
        ("name: a, string_match: {exact: 'x=y'}", "/?a=x=y#z", true),
    ] {
        let table = routes(&[&format!("prefix: /, query_parameters: [{{{matcher}}}]")], "");
        assert_eq!(
            route_of(&table, &Request::new("", path)) == "r0",
            matches,
            "{matcher} {path}"
        );
    }
}

#[test]
fn a_fraction_of_requests_is_taken_by_their_random_number() {
    let fraction = "runtime_fraction: {default_value: {numerator: 25}}";
    let table = routes(&[&format!("prefix: /, {fraction}"), "prefix: /"], "");
    let request = Request::new("", "/");
    let first = (0..1000).filter(|random| &*table.matcher.find(&request, *random).unwrap().route.name == "r0");
    assert_eq!(first.count(), 250);
}

/// Tries route after route, as the documentation says it.
fn first_by_trying(table: &RouteConfiguration, request: &Request) -> String {
    let path = route_match::without_query(request.path.as_bytes());
    let mut routes = table.virtual_hosts[0].routes.iter();
    let found = routes.find(|route| route.route_match.matches(path, request, 0));
    found.map_or_else(|| "none".to_owned(), |route| route.name.to_string())
}

/// Paths over a tiny alphabet, so that they share prefixes.
fn path() -> impl Strategy<Value = String> {
    "(/[abA]{0,2}){1,3}"
}

fn route_match() -> impl Strategy<Value = String> {
    let kind = prop_oneof![
        4 => path().prop_map(|path| format!("prefix: {path}")),
        4 => path().prop_map(|path| format!("path: {path}")),
        2 => "(/[abA]{1,2}){1,3}".prop_map(|path| format!("path_separated_prefix: {path}")),
        1 => path().prop_map(|path| format!("safe_regex: {{regex: '{path}.*'}}")),
        1 => Just("connect_matcher: {}".to_owned()),
    ];
    let case = prop_oneof![4 => Just(""), 1 => Just(", case_sensitive: false")];
    let header = prop_oneof![3 => Just(""), 1 => Just(", headers: [{name: x}]")];
    (kind, case, header).prop_map(|(kind, case, header)| format!("{kind}{case}{header}"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_of_paths_finds_what_trying_route_after_route_finds(
        matches in proptest::collection::vec(route_match(), 1..40),
        paths in proptest::collection::vec((path(), any::<bool>(), any::<bool>()), 20),
    ) {
        let matches: Vec<_> = matches.iter().map(String::as_str).collect();
        let table = routes(&matches, "");
        for (path, with_header, connect) in paths {
            let mut request = Request::new("", &path);
            if with_header {
                request = request.with("x", "1");
            }
            if connect {
                request.method = "CONNECT".into();
            }
            prop_assert_eq!(route_of(&table, &request), first_by_trying(&table, &request), "{:?}", request);
        }
    }

    #[test]
    fn the_index_of_domains_finds_what_trying_domain_after_domain_finds(
        domains in proptest::collection::btree_set("[ab.]{1,4}|\\*[ab.]{1,3}|[ab.]{1,3}\\*", 1..20),
        authorities in proptest::collection::vec("[abA.]{0,5}", 20),
    ) {
        let domains: Vec<_> = domains.into_iter().collect();
        let quoted: Vec<_> = domains.iter().map(|domain| format!("'{domain}'")).collect();
        let table = hosts(&quoted.iter().map(String::as_str).collect::<Vec<_>>(), "");
        for authority in authorities {
            let host = authority.to_ascii_lowercase();
            let longer = |fixed: &str| host.len() > fixed.len();
            let exact = domains.iter().position(|domain| *domain == host);
            let longest = |part: fn(&str) -> Option<&str>, matches: fn(&str, &str) -> bool| {
                let fits = |(index, domain): (usize, &String)| {
                    let fixed = part(domain)?;
                    (longer(fixed) && matches(&host, fixed)).then_some((fixed.len(), index))
                };
                domains.iter().enumerate().filter_map(fits).max().map(|(_, index)| index)
            };
            let expected = exact
                .or_else(|| longest(|domain| domain.strip_prefix('*'), |host, fixed| host.ends_with(fixed)))
                .or_else(|| longest(|domain| domain.strip_suffix('*'), |host, fixed| host.starts_with(fixed)));
            let expected = expected.map_or_else(|| "none".to_owned(), |index| format!("h{index}"));
            prop_assert_eq!(host_of(&table, &authority), expected, "{:?} {:?}", domains, authority);
        }
    }
}

/// Bounds the work by what the indexes hand out, not by a clock: candidates are few however many routes there are.
#[test]
fn many_exact_and_prefix_routes_leave_few_candidates() {
    let matches: Vec<_> = (0..1000)
        .map(|index| {
            if index % 2 == 0 {
                format!("path: /e/{index}")
            } else {
                format!("prefix: /p/{index}/")
            }
        })
        .chain(["prefix: /".to_owned()])
        .collect();
    let table = routes(&matches.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let paths = Paths::new(&table.virtual_hosts[0].routes);
    for path in ["/e/998", "/p/999/x", "/p/1/", "/other"] {
        assert!(paths.candidates(path.as_bytes()).count() <= 2, "{path}");
    }
    assert_eq!(route_of(&table, &Request::new("", "/p/999/x")), "r999");
    assert_eq!(route_of(&table, &Request::new("", "/e/998")), "r998");
    assert_eq!(route_of(&table, &Request::new("", "/e/997")), "r1000");
}
