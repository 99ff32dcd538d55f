//! Upgrades and CONNECT: allowed and refused, over HTTP/1.1 and through HTTP/2 and back, half closed.

use e2e::sections;
use testkit::wait_until;

#[test]
fn upgrades_become_tunnels_where_they_are_allowed() {
    let proxies = sections::compare("upgrades", include_str!("../src/upgrades.txt"));
    for proxy in &proxies {
        let active = "http.allowed.downstream_cx_upgrades_active";
        wait_until(10, "the tunnels end with their callers", || proxy.stat(active) == 0);
    }
    for name in ["downstream_cx_upgrades_total", "downstream_rq_ws_on_non_ws_route"] {
        let [envoy, remora] = proxies
            .each_ref()
            .map(|proxy| proxy.stat(&format!("http.allowed.{name}")));
        assert_eq!(envoy, remora, "{name}");
    }
}
