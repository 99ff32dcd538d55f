//! Messages of Istio's own extensions of Envoy, which envoy-types does not have. Their descriptors come from the files
//! in `proto/istio`.

/// `istio.envoy.config.filter.http.alpn.v2alpha1`.
pub mod alpn {
    use prost::{Enumeration, Message, Name};

    /// The settings of the HTTP filter `istio.alpn`.
    #[derive(Clone, PartialEq, Message)]
    pub struct FilterConfig {
        /// What is offered, by the version of HTTP spoken with an endpoint.
        #[prost(message, repeated, tag = "1")]
        pub alpn_override: Vec<AlpnOverride>,
    }

    /// What is offered for one version.
    #[derive(Clone, PartialEq, Message)]
    pub struct AlpnOverride {
        /// The version, a [`Protocol`].
        #[prost(enumeration = "Protocol", tag = "1")]
        pub upstream_protocol: i32,
        /// The application protocols that TLS offers, in order, in place of the cluster's own.
        #[prost(string, repeated, tag = "2")]
        pub alpn_override: Vec<String>,
    }

    /// A version of HTTP.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
    #[repr(i32)]
    pub enum Protocol {
        /// HTTP/1.0, which is spoken with no endpoint.
        Http10 = 0,
        /// HTTP/1.1.
        Http11 = 1,
        /// HTTP/2.
        Http2 = 2,
    }

    impl Name for FilterConfig {
        const NAME: &'static str = "FilterConfig";
        const PACKAGE: &'static str = "istio.envoy.config.filter.http.alpn.v2alpha1";
    }

    impl Name for AlpnOverride {
        const NAME: &'static str = "FilterConfig.AlpnOverride";
        const PACKAGE: &'static str = FilterConfig::PACKAGE;
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use crate::{UnknownFields, from_document, to_json, yaml};

        #[test]
        fn the_messages_are_those_of_the_proto_file() {
            let text =
                "alpn_override: [{upstream_protocol: HTTP2, alpn_override: [istio-h2, h2]}, {alpn_override: [a]}]";
            let document = yaml::parse(text, "filter").expect("it is YAML");
            let read: FilterConfig = from_document(&document, UnknownFields::Reject).expect("the fields are known");
            let entry = |protocol: Protocol, offered: &[&str]| AlpnOverride {
                upstream_protocol: protocol.into(),
                alpn_override: offered.iter().map(|&name| name.to_owned()).collect(),
            };
            let expected = [
                entry(Protocol::Http2, &["istio-h2", "h2"]),
                entry(Protocol::Http10, &["a"]),
            ];
            assert_eq!(read.alpn_override, expected);
            assert_eq!(
                to_json(&read),
                r#"{"alpn_override":[{"upstream_protocol":"HTTP2","alpn_override":["istio-h2","h2"]},{"alpn_override":["a"]}]}"#
            );
        }
    }
}
