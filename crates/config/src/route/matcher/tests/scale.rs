//! A look-up in a large table does what one in a small table does.

use super::*;

/// Counts how often a route asks it for a header: each route that is tried asks once.
struct Counting(Request, std::cell::Cell<u32>);

impl RequestView for Counting {
    fn method(&self) -> &[u8] {
        self.0.method()
    }

    fn path(&self) -> &[u8] {
        self.0.path()
    }

    fn authority(&self) -> &[u8] {
        self.0.authority()
    }

    fn scheme(&self) -> &[u8] {
        self.0.scheme()
    }

    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.1.set(self.1.get() + 1);
        self.0.header(name)
    }
}

#[test]
fn of_a_thousand_routes_only_those_for_the_path_are_tried() {
    let matches: Vec<String> = (0..1000)
        .map(|index| {
            let path = match index % 3 {
                0 => format!("path: /service-{index}/method"),
                1 => format!("prefix: /service-{index}/"),
                _ => format!("path_separated_prefix: /service-{index}"),
            };
            format!("{path}, headers: [{{name: x-a, present_match: true}}]")
        })
        .collect();
    let table = routes(&matches.iter().map(String::as_str).collect::<Vec<_>>(), "");
    for index in [0, 1, 2, 500, 999] {
        let request = Request::new("", &format!("/service-{index}/method")).with("x-a", "b");
        let counting = Counting(request, 0.into());
        let found = table.matcher.find(&counting, 0).map(|found| found.route_index);
        assert_eq!((found, counting.1.get()), (Some(index), 1));
    }
    let counting = Counting(Request::new("", "/service-1000/method"), 0.into());
    assert!(table.matcher.find(&counting, 0).is_none());
    assert_eq!(counting.1.get(), 0);
}

#[test]
fn ten_thousand_virtual_hosts_take_as_many_look_ups_as_one() {
    let names: Vec<String> = (0..10_000)
        .map(|index| format!("'service-{index:05}.test', '*.service-{index:05}.test'"))
        .collect();
    let many = hosts(&names.iter().map(String::as_str).collect::<Vec<_>>(), "");
    let one = hosts(&[&names[7]], "");
    let look_ups = |table: &RouteConfiguration, authority: &str, name: &str| {
        domains::look_ups();
        assert_eq!(host_of(table, authority), name);
        domains::look_ups()
    };
    for (authority, in_many, in_one) in [
        ("service-00007.test", "h7", "h0"),
        ("a.service-00007.test", "h7", "h0"),
        ("service-99999.test", "none", "none"),
    ] {
        assert_eq!(
            look_ups(&many, authority, in_many),
            look_ups(&one, authority, in_one),
            "{authority}"
        );
    }
}
