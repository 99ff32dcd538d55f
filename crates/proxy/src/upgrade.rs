//! Upgrades and CONNECT: requests that turn their stream into a tunnel (RFC 9110 sections 7.8 and 9.3.6; RFC 8441 for
//! HTTP/2).
//!
//! Inside, an upgrade has the form of HTTP/1.1, whichever way it came: GET with `upgrade` and `connection`. Towards an
//! HTTP/2 endpoint it takes the form of an extended CONNECT, and the answer takes the caller's form again.

use codec::headers::{HeaderBlock, hop_by_hop};
use codec::names::KnownName;
use config::http_connection_manager::HttpConnectionManager;
use config::route::{RouteAction, RouteUpgradeConfig};

/// What a request wants to become.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upgrade {
    /// The protocol; CONNECT without one has none.
    protocol: Option<Box<[u8]>>,
    /// Whether the tunnel goes to the endpoint as TCP, without HTTP (`connect_config`).
    pub(crate) ends_here: bool,
    /// Configuration allows it.
    pub(crate) allowed: bool,
    /// The endpoint has agreed.
    pub(crate) established: bool,
    /// The endpoint has sent all it had.
    pub(crate) answer_ended: bool,
}

impl Upgrade {
    /// Finds out what a request asks for and brings it into its inner form.
    pub(crate) fn take(request: &mut HeaderBlock) -> Option<Upgrade> {
        let protocol: Option<Box<[u8]>> = match (request.protocol(), request.method()) {
            (Some(protocol), _) => Some(protocol.into()),
            (None, Some(b"CONNECT")) => None,
            // RFC 9113 section 3.1: an upgrade to HTTP/2 is no longer made.
            _ => Some(
                hop_by_hop::upgrade(request)
                    .filter(|protocol| !protocol.eq_ignore_ascii_case(b"h2c"))?
                    .into(),
            ),
        };
        if request.protocol().is_some() {
            request.set_method(b"GET");
            request.remove_pseudo(KnownName::Protocol);
        }
        hop_by_hop::remove(request);
        if let Some(protocol) = &protocol {
            request.set(KnownName::Upgrade, protocol);
            request.set(KnownName::Connection, b"upgrade");
        }
        Some(Upgrade {
            protocol,
            ends_here: false,
            allowed: false,
            established: false,
            answer_ended: false,
        })
    }

    /// Whether it is CONNECT, not an upgrade.
    pub(crate) fn is_connect(&self) -> bool {
        self.protocol.is_none()
    }

    /// The type that configuration allows or does not.
    fn kind(&self) -> &[u8] {
        self.protocol.as_deref().unwrap_or(b"CONNECT")
    }

    /// Whether the route, or else the connection manager, allows it. Notes where the tunnel is to go.
    pub(crate) fn allow(&mut self, manager: &HttpConnectionManager, route: Option<&RouteAction>) -> bool {
        let is_this = |kind: &str| kind.as_bytes().eq_ignore_ascii_case(self.kind());
        let of_route: Option<&RouteUpgradeConfig> = route.and_then(|action| {
            action
                .upgrade_configs
                .iter()
                .find(|config| is_this(&config.upgrade_type))
        });
        self.allowed = match of_route {
            Some(config) => config.enabled,
            None => manager
                .upgrade_configs
                .iter()
                .any(|config| config.enabled && is_this(&config.upgrade_type)),
        };
        self.ends_here = of_route.is_some_and(|config| config.connect_config.is_some());
        self.allowed
    }

    /// The request as an extended CONNECT, for an HTTP/2 endpoint. [`as_http1`](Self::as_http1) undoes it.
    pub(crate) fn as_http2(&self, request: &mut HeaderBlock) {
        if let Some(protocol) = &self.protocol {
            request.remove(KnownName::Upgrade);
            request.remove(KnownName::Connection);
            request.set_method(b"CONNECT");
            request.set_protocol(protocol);
        }
    }

    /// See [`as_http2`](Self::as_http2).
    pub(crate) fn as_http1(&self, request: &mut HeaderBlock) {
        if let Some(protocol) = &self.protocol {
            request.set_method(b"GET");
            request.remove_pseudo(KnownName::Protocol);
            request.set(KnownName::Upgrade, protocol);
            request.set(KnownName::Connection, b"upgrade");
        }
    }

    /// Looks at the final answer: whether the endpoint agreed.
    pub(crate) fn on_answer(&mut self, head: &HeaderBlock, endpoint_is_http2: bool) -> bool {
        let status = head.status().unwrap_or(0);
        self.established = match (&self.protocol, endpoint_is_http2) {
            (None, _) => (200..300).contains(&status),
            (Some(_), true) => status == 200,
            (Some(_), false) => status == 101,
        };
        self.established
    }

    /// Brings an answer that agreed into the caller's form; `agreed_on` is the protocol the endpoint named.
    pub(crate) fn form_answer(&self, head: &mut HeaderBlock, agreed_on: Option<&[u8]>, caller_is_http2: bool) {
        let Some(protocol) = &self.protocol else {
            return;
        };
        head.remove(KnownName::ContentLength);
        if caller_is_http2 {
            head.set_status(200);
        } else {
            head.set_status(101);
            head.set(KnownName::Upgrade, agreed_on.unwrap_or(protocol));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(method: &[u8], fields: &[(KnownName, &[u8])]) -> HeaderBlock {
        let mut head = HeaderBlock::new();
        head.set_method(method);
        for (name, value) in fields {
            head.append(*name, value);
        }
        head
    }

    #[test]
    fn an_upgrade_has_one_inner_form_whichever_way_it_came() {
        let mut http1 = head(
            b"GET",
            &[
                (KnownName::Connection, b"keep-alive, Upgrade"),
                (KnownName::Upgrade, b"websocket"),
            ],
        );
        let mut http2 = head(b"CONNECT", &[]);
        http2.set_protocol(b"websocket");
        let (first, second) = (Upgrade::take(&mut http1), Upgrade::take(&mut http2));
        assert_eq!(first, second);
        for request in [&http1, &http2] {
            assert_eq!(request.method(), Some(&b"GET"[..]));
            assert_eq!(request.protocol(), None);
            assert_eq!(request.get(KnownName::Upgrade), Some(&b"websocket"[..]));
            assert_eq!(request.get(KnownName::Connection), Some(&b"upgrade"[..]));
        }
        let upgrade = first.unwrap();
        upgrade.as_http2(&mut http1);
        assert_eq!(
            (http1.method(), http1.protocol()),
            (Some(&b"CONNECT"[..]), Some(&b"websocket"[..]))
        );
        assert!(!http1.contains(KnownName::Upgrade));
        upgrade.as_http1(&mut http1);
        assert_eq!((http1.method(), http1.protocol()), (Some(&b"GET"[..]), None));
    }

    #[test]
    fn what_only_mentions_an_upgrade_asks_for_none() {
        let mut request = head(b"GET", &[(KnownName::Upgrade, b"websocket")]);
        assert_eq!(Upgrade::take(&mut request), None);
        let mut connect = head(b"CONNECT", &[]);
        assert_eq!(Upgrade::take(&mut connect).unwrap().kind(), b"CONNECT");
    }

    #[test]
    fn the_answer_takes_the_callers_form() {
        let mut upgrade = Upgrade::take(&mut head(
            b"GET",
            &[(KnownName::Connection, b"upgrade"), (KnownName::Upgrade, b"websocket")],
        ))
        .unwrap();
        let mut answer = HeaderBlock::new();
        answer.set_status(200);
        assert!(
            !upgrade.on_answer(&answer, false),
            "an HTTP/1.1 endpoint agrees with 101 only"
        );
        assert!(upgrade.on_answer(&answer, true));
        upgrade.form_answer(&mut answer, None, false);
        assert_eq!(answer.status(), Some(101));
        assert_eq!(answer.get(KnownName::Upgrade), Some(&b"websocket"[..]));
        upgrade.form_answer(&mut answer, None, true);
        assert_eq!(answer.status(), Some(200));
    }
}
