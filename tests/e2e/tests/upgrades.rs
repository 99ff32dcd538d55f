//! Upgrades and CONNECT: allowed and refused, over HTTP/1.1 and through HTTP/2 and back, half closed.

use e2e::sections;

#[test]
fn upgrades_become_tunnels_where_they_are_allowed() {
    let proxies = sections::compare("upgrades", include_str!("../src/upgrades.txt"));
    for name in [
        "downstream_cx_upgrades_total",
        "downstream_cx_upgrades_active",
        "downstream_rq_ws_on_non_ws_route",
    ] {
        let [envoy, remora] = proxies
            .each_ref()
            .map(|proxy| proxy.stat(&format!("http.allowed.{name}")));
        assert_eq!(envoy, remora, "{name}");
    }
}
