use std::borrow::Cow;
use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::access_log::{
    ByteCount, DEFAULT_FORMAT, MetadataSource, ResponseFlag, ResponseFlags, Side, Text, TimePoint, TlsField,
};

/// A request that knows everything.
#[derive(Default)]
struct Request {
    headers: HashMap<&'static str, &'static str>,
    response: HashMap<&'static str, &'static str>,
    trailers: HashMap<&'static str, &'static str>,
    code: Option<u16>,
    flags: ResponseFlags,
    upstream: bool,
}

impl LogContext for Request {
    fn start_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::new(1_795_180_328, 659_352_000)
    }

    fn elapsed(&self, point: TimePoint) -> Option<Duration> {
        match point {
            TimePoint::DownstreamReceiveEnd => Some(Duration::from_micros(1_500)),
            TimePoint::DownstreamSendEnd => Some(Duration::from_micros(7_670)),
            TimePoint::UpstreamReceiveBegin if self.upstream => Some(Duration::from_micros(5_000)),
            _ => None,
        }
    }

    fn request_header(&self, name: &str) -> Option<&[u8]> {
        self.headers.get(name).map(|value| value.as_bytes())
    }

    fn response_header(&self, name: &str) -> Option<&[u8]> {
        self.response.get(name).map(|value| value.as_bytes())
    }

    fn response_trailer(&self, name: &str) -> Option<&[u8]> {
        self.trailers.get(name).map(|value| value.as_bytes())
    }

    fn protocol(&self) -> Option<&str> {
        Some("HTTP/2")
    }

    fn response_code(&self) -> Option<u16> {
        self.code
    }

    fn response_flags(&self) -> ResponseFlags {
        self.flags
    }

    fn bytes(&self, count: ByteCount) -> u64 {
        match count {
            ByteCount::BodyReceived => 3,
            ByteCount::BodySent => 5,
            _ => 0,
        }
    }

    fn connection_id(&self, side: Side) -> Option<u64> {
        (side == Side::Downstream).then_some(7)
    }

    fn address(&self, which: Address) -> Option<LogAddress<'_>> {
        match which {
            Address::UpstreamHost | Address::UpstreamRemote => self
                .upstream
                .then(|| LogAddress::Ip(std::net::SocketAddr::from(([127, 0, 0, 1], 19901)))),
            Address::DownstreamRemote => Some(LogAddress::Ip("[::1]:46132".parse().unwrap())),
            Address::DownstreamLocal => Some(LogAddress::Path("@socket")),
            _ => None,
        }
    }

    fn text(&self, which: Text) -> Option<&str> {
        match which {
            Text::UpstreamClusterName => self.upstream.then_some("local"),
            Text::ResponseCodeDetails => Some("via_upstream"),
            _ => None,
        }
    }

    fn tls(&self, side: Side, field: TlsField, out: &mut Vec<u8>) -> bool {
        let known = (side, field) == (Side::Downstream, TlsField::PeerUriSan);
        if known {
            out.extend_from_slice(b"spiffe://td/a");
        }
        known
    }

    fn metadata(&self, _source: MetadataSource, namespace: &str, path: &[Box<str>]) -> Option<MetadataValue<'_>> {
        match (
            namespace,
            path.iter().map(|part| &**part).collect::<Vec<_>>().as_slice(),
        ) {
            ("ns", ["text"]) => Some(MetadataValue::String("a \"text\"".into())),
            ("ns", ["number"]) => Some(MetadataValue::Number(2.5)),
            ("ns", ["flag"]) => Some(MetadataValue::Bool(true)),
            ("ns", []) => Some(MetadataValue::Json(Cow::Borrowed("{\"a\":1}"))),
            _ => None,
        }
    }
}

fn request() -> Request {
    Request {
        headers: HashMap::from([
            (":method", "GET"),
            (":path", "/ready?a=1&b=2&a=3&c"),
            ("x-envoy-original-path", "/l/ready?a=1"),
            (":authority", "backend.example"),
            ("user-agent", "curl/7.88.1"),
        ]),
        response: HashMap::from([("x-envoy-upstream-service-time", "4")]),
        code: Some(200),
        upstream: true,
        ..Request::default()
    }
}

fn text(format: &str, request: &Request) -> String {
    let mut out = Vec::new();
    Format::text(format, false).unwrap().write(request, &mut out);
    String::from_utf8(out).unwrap()
}

fn json(template: &JsonTemplate, request: &Request) -> String {
    let mut out = Vec::new();
    Format::json(template, false).unwrap().write(request, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn the_default_format_is_envoys() {
    assert_eq!(
        text(DEFAULT_FORMAT, &request()),
        "[2026-11-20T13:12:08.659Z] \"GET /l/ready?a=1 HTTP/2\" 200 - 3 5 7 4 \"-\" \"curl/7.88.1\" \"-\" \
         \"backend.example\" \"127.0.0.1:19901\"\n"
    );
}

#[test]
fn each_operator_writes_its_value() {
    let mut request = request();
    request.flags = [ResponseFlag::NoRouteFound, ResponseFlag::UpstreamConnectionFailure]
        .into_iter()
        .collect();
    for (format, expected) in [
        (
            "%REQ(USER-AGENT):4%|%REQ(X-NO?USER-AGENT)%|%REQ(X-NO)%",
            "curl|curl/7.88.1|-",
        ),
        ("%RESP(X-Envoy-Upstream-Service-Time)% %TRAILER(grpc-status)%", "4 -"),
        (
            "%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%",
            "NR,UF NoRouteFound,UpstreamConnectionFailure",
        ),
        (
            "%RESPONSE_CODE_DETAILS% %ROUTE_NAME% %UPSTREAM_CLUSTER%",
            "via_upstream - local",
        ),
        (
            "%DURATION% %REQUEST_DURATION% %RESPONSE_DURATION% %RESPONSE_TX_DURATION%",
            "7 1 5 2",
        ),
        ("%REQUEST_TX_DURATION% %ROUNDTRIP_DURATION%", "- -"),
        (
            "%COMMON_DURATION(DS_RX_BEG:DS_TX_END:us)% %COMMON_DURATION(US_RX_BEG:DS_TX_END:ns)%",
            "7670 2670000",
        ),
        (
            "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
            "[::1]:46132 ::1",
        ),
        (
            "%DOWNSTREAM_REMOTE_PORT% %DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_PORT%",
            "46132 @socket -",
        ),
        (
            "%UPSTREAM_HOST% %UPSTREAM_REMOTE_PORT% %UPSTREAM_LOCAL_ADDRESS%",
            "127.0.0.1:19901 19901 -",
        ),
        (
            "%PATH(NQ)% %PATH(WQ:PATH)% %PATH(NQ:ORIG)%",
            "/l/ready /ready?a=1&b=2&a=3&c /l/ready",
        ),
        (
            "%QUERY_PARAM(a)%|%QUERY_PARAM(b)%|%QUERY_PARAM(c)%|%QUERY_PARAM(d)%",
            "1|2||-",
        ),
        (
            "%DYNAMIC_METADATA(ns:text)% %DYNAMIC_METADATA(ns:text):3%",
            "a \"text\" a \"",
        ),
        (
            "%METADATA(ROUTE:ns:number)% %CLUSTER_METADATA(ns:flag)% %UPSTREAM_METADATA(ns)%",
            "2.5 true {\"a\":1}",
        ),
        ("%FILTER_STATE(ns:PLAIN)% %DYNAMIC_METADATA(other:x)%", "{\"a\":1} -"),
        (
            "%FILTER_STATE(ns)% %FILTER_STATE(ns:PLAIN):3% %FILTER_STATE(ns:FIELD:text):3%",
            "{\"a\":1} {\"a a \"",
        ),
        (
            "%CONNECTION_ID% %UPSTREAM_CONNECTION_ID% %UPSTREAM_REQUEST_ATTEMPT_COUNT%",
            "7 0 0",
        ),
        (
            "%DOWNSTREAM_PEER_URI_SAN% %DOWNSTREAM_TLS_VERSION% %UPSTREAM_PEER_URI_SAN%",
            "spiffe://td/a - -",
        ),
        ("%START_TIME(%s %3f)% %START_TIME(%Y/%m)%", "1795180328 659 2026/11"),
        ("100%% of %PROTOCOL%", "100% of HTTP/2"),
        ("%ENVIRONMENT(REMORA_SURELY_NOT_SET)%", "-"),
        ("no operator", "no operator"),
        ("", ""),
    ] {
        assert_eq!(text(format, &request), expected, "{format}");
    }
    assert_eq!(text("%UNIQUE_ID%", &request).len(), 36);
    assert_ne!(text("%HOSTNAME%", &request), "");
    assert_eq!(text("%RESPONSE_CODE%", &Request::default()), "0");
    assert!(text("%EMIT_TIME%", &request).ends_with('Z'));
}

#[test]
fn a_grpc_status_comes_from_trailers_headers_or_the_http_status() {
    let formats = "%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS(NUMBER)% %GRPC_STATUS_NUMBER%";
    let mut grpc = request();
    assert_eq!(text(formats, &grpc), "- - - -", "not a gRPC request");
    grpc.headers.insert("content-type", "application/grpc+proto");
    assert_eq!(text(formats, &grpc), "Unknown UNKNOWN 2 2");
    grpc.code = Some(503);
    assert_eq!(text(formats, &grpc), "Unavailable UNAVAILABLE 14 14");
    grpc.response.insert("grpc-status", "12");
    assert_eq!(text(formats, &grpc), "Unimplemented UNIMPLEMENTED 12 12");
    grpc.trailers.insert("grpc-status", "0");
    assert_eq!(text(formats, &grpc), "OK OK 0 0");
    grpc.trailers.insert("grpc-status", "99");
    assert_eq!(text(formats, &grpc), "99 99 99 99");
    grpc.trailers.insert("grpc-status", "x");
    assert_eq!(text(formats, &grpc), "- - - -");
    grpc.headers.insert("content-type", "application/grpcish");
    assert_eq!(text("%GRPC_STATUS%", &grpc), "-");
}

#[test]
fn omitted_values_leave_nothing_in_text_but_flags_keep_their_dash() {
    let mut out = Vec::new();
    let format = Format::text(
        "O %RESPONSE_CODE% %RESPONSE_DURATION% %RESPONSE_FLAGS% %REQ(X-NO)% \n",
        true,
    )
    .unwrap();
    format.write(
        &Request {
            code: Some(200),
            ..Request::default()
        },
        &mut out,
    );
    assert_eq!(out, b"O 200  -  \n");
}

fn string(format: &str) -> JsonTemplate {
    JsonTemplate::String(format.to_owned())
}

#[test]
fn json_keeps_types_sorts_keys_and_writes_null_for_what_is_not_there() {
    let template = JsonTemplate::Object(vec![
        ("z".to_owned(), string("%REQ(X-NO)%")),
        ("code".to_owned(), string("%RESPONSE_CODE%")),
        ("mixed".to_owned(), string("%RESPONSE_CODE% x %REQ(X-NO)%")),
        ("flags".to_owned(), string("%RESPONSE_FLAGS%")),
        ("start".to_owned(), string("%START_TIME(%s)%")),
        ("port".to_owned(), string("%UPSTREAM_REMOTE_PORT%")),
        ("metadata".to_owned(), string("%DYNAMIC_METADATA(ns)%")),
        ("cut".to_owned(), string("%DYNAMIC_METADATA(ns):3%")),
        ("text".to_owned(), string("%DYNAMIC_METADATA(ns:text)%")),
        ("literal".to_owned(), string("100%%")),
        ("number".to_owned(), JsonTemplate::Number(5.0)),
        ("flag".to_owned(), JsonTemplate::Bool(true)),
        ("nothing".to_owned(), JsonTemplate::Null),
        (
            "nested".to_owned(),
            JsonTemplate::Object(vec![(
                "l".to_owned(),
                JsonTemplate::List(vec![string("%RESPONSE_CODE%"), string("x"), string("")]),
            )]),
        ),
    ]);
    assert_eq!(
        json(&template, &request()),
        concat!(
            r#"{"code":200,"cut":"{\"a","flag":true,"flags":"-","literal":"100%","metadata":{"a":1},"#,
            r#""mixed":"200 x -","nested":{"l":[200,"x",""]},"nothing":null,"number":5,"port":19901,"#,
            r#""start":"1795180328","text":"a \"text\"","z":null}"#,
            "\n"
        )
    );
}

#[test]
fn omitted_values_stay_null_in_json() {
    let template = JsonTemplate::Object(vec![
        ("z".to_owned(), string("%REQ(X-NO)%")),
        ("a".to_owned(), string("%REQ(X-NO)% %PROTOCOL%")),
    ]);
    let mut out = Vec::new();
    Format::json(&template, true).unwrap().write(&request(), &mut out);
    assert_eq!(out, b"{\"a\":\" HTTP/2\",\"z\":null}\n");
}

#[test]
fn what_cannot_be_understood_is_refused_with_its_place() {
    for (format, position, reason) in [
        ("%NOPE%", 0, "%NOPE% is no command operator that is supported"),
        ("x %REQ%", 2, "%REQ% needs an argument"),
        ("%REQ()%", 0, "%REQ% needs an argument"),
        (
            "%REQ(a?b?c)%",
            0,
            "%REQ(a?b?c)% must name one header, or two with '?' between",
        ),
        (
            "%FILTER_STATE(a:FIELD)%",
            0,
            "%FILTER_STATE(a:FIELD)% must be an object, with :PLAIN, :TYPED or :FIELD:name after it or nothing",
        ),
        ("%REQ(a)", 0, "%REQ has no closing '%'"),
        ("%REQ(a", 0, "%REQ( has no closing bracket"),
        ("%REQ(a):x%", 0, "%REQ has no number behind its colon"),
        (
            "50% of",
            2,
            "'%' begins no command operator (a percent sign is written '%%')",
        ),
        ("%PROTOCOL(x)%", 0, "%PROTOCOL% takes no argument"),
        (
            "%START_TIME(%Q)%",
            0,
            "the time format \"%Q\" has an unknown conversion %Q",
        ),
        (
            "%COMMON_DURATION(DS_RX_BEG:x:us)%",
            0,
            "%COMMON_DURATION(DS_RX_BEG:x:us)% must be two moments and ms, us or ns, with ':' between",
        ),
        ("%METADATA(X:ns)%", 0, "%METADATA(X:...)% names no kind of metadata"),
        (
            "%GRPC_STATUS(x)%",
            0,
            "%GRPC_STATUS(x)% must be CAMEL_STRING, SNAKE_STRING or NUMBER",
        ),
        ("%PATH(X)%", 0, "%PATH(X)% must begin with WQ or NQ"),
    ] {
        let error = Format::text(format, false).unwrap_err();
        assert_eq!((error.position, error.reason.as_str()), (position, reason), "{format}");
    }
}

#[test]
fn a_value_with_strange_bytes_is_still_valid_json() {
    struct Strange;
    impl LogContext for Strange {
        fn request_header(&self, _name: &str) -> Option<&[u8]> {
            Some(b"\xff\x01\n\"\\\x7f\xc3\xa9")
        }
    }
    let mut out = Vec::new();
    Format::json(&string("%REQ(a)%"), false)
        .unwrap()
        .write(&Strange, &mut out);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "\"\u{fffd}\\u0001\\n\\\"\\\\\u{7f}\u{e9}\"\n"
    );
}

proptest! {
    #[test]
    fn any_format_compiles_or_says_why(format in "[%A-Z_a-z():?0-9 ]{0,40}") {
        if let Ok(format) = Format::text(&format, false) {
            format.write(&request(), &mut Vec::new());
        }
    }

    #[test]
    fn text_without_operators_comes_out_as_it_is(literal in "[^%]{0,40}") {
        prop_assert_eq!(text(&literal, &request()), literal);
    }
}
