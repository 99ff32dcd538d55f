//! What becomes of a request's host before it is matched: its port and its last dot are taken off where that is
//! configured (Envoy: `strip_matching_host_port`, `strip_any_host_port`, `strip_trailing_host_dot`).

use codec::headers::HeaderBlock;
use config::http_connection_manager::{HttpConnectionManager, StripPortMode};

/// Brings the authority into the configured form. `port` is that of the listener.
pub(crate) fn normalize(request: &mut HeaderBlock, config: &HttpConnectionManager, port: Option<u16>) {
    if config.strip_port_mode == StripPortMode::Keep && !config.strip_trailing_host_dot {
        return;
    }
    let Some(authority) = request.authority() else {
        return;
    };
    // A tunnel goes to the port it names.
    let mode = match request.method() {
        Some(b"CONNECT") if request.protocol().is_none() => StripPortMode::Keep,
        _ => config.strip_port_mode,
    };
    let normal = normal(authority, mode, config.strip_trailing_host_dot, port);
    if normal != authority {
        request.set_authority(&normal);
    }
}

fn normal(authority: &[u8], mode: StripPortMode, strip_dot: bool, listener: Option<u16>) -> Vec<u8> {
    let (host, port) = split(authority);
    let mut out = match host.strip_suffix(b".") {
        Some(without) if strip_dot => without.to_vec(),
        _ => host.to_vec(),
    };
    let number: Option<u32> = port.and_then(|port| std::str::from_utf8(port).ok()?.parse().ok());
    let strip = match mode {
        StripPortMode::Keep => false,
        StripPortMode::Matching => number.is_some() && number == listener.map(u32::from),
        StripPortMode::Any => number.is_some(),
    };
    if let Some(port) = port
        && !strip
    {
        out.push(b':');
        out.extend_from_slice(port);
    }
    out
}

/// Host and port; the port is what follows the last colon, unless that is one of a bare IPv6 address.
fn split(authority: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(colon) = authority.iter().rposition(|byte| *byte == b':') else {
        return (authority, None);
    };
    let (host, port) = (&authority[..colon], &authority[colon + 1..]);
    let in_brackets = port.contains(&b']');
    let bare_ipv6 =
        host.contains(&b':') && !host.starts_with(b"[") && std::str::from_utf8(authority).is_ok_and(is_ipv6);
    if in_brackets || bare_ipv6 {
        (authority, None)
    } else {
        (host, Some(port))
    }
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: StripPortMode, strip_dot: bool, cases: &[(&str, &str)]) {
        for (authority, expected) in cases {
            let found = normal(authority.as_bytes(), mode, strip_dot, Some(8080));
            assert_eq!(String::from_utf8(found).unwrap(), *expected, "{authority}");
        }
    }

    #[test]
    fn ports_and_dots_are_taken_off_as_configured() {
        let any = [
            ("a:1", "a"),
            ("a:", "a:"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("::1", "::1"),
            ("a:x", "a:x"),
            ("a.:80", "a."),
            ("a", "a"),
        ];
        check(StripPortMode::Any, false, &any);
        check(StripPortMode::Matching, false, &[("a:8080", "a"), ("a:80", "a:80")]);
        let dots = [
            ("a.", "a"),
            ("a.:80", "a:80"),
            (".", ""),
            ("a..", "a."),
            ("a.:x", "a:x"),
        ];
        check(StripPortMode::Keep, true, &dots);
        check(StripPortMode::Any, true, &[("a.:80", "a"), ("a.b", "a.b")]);
    }
}
