//! A filter that asks somebody else, in a worker with real connections.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use codec::names::KnownName;
use config::{Config, ExtensionKind, Extensions, Resource, ResourceType};
use telemetry::access_log::{FlushSettings, Writer};
use telemetry::stats::Registry;
use upstream::endpoint::EndpointAddress;
use xds_api::envoy::config::listener::v3::Listener;
use xds_api::prost::Message;
use xds_api::{UnknownFields, from_document, yaml};

use super::*;
use crate::filters::exchange::Exchange;
use crate::filters::http_filter::{
    BuildContext, Configured, FilterSettings, HttpFilter, Interests, LocalReply, Verdict,
};
use crate::local_info::LocalInfo;
use crate::server::Server;

/// Futures that were dropped before they were done.
static DROPPED: AtomicUsize = AtomicUsize::new(0);

/// Counts in [`DROPPED`] unless it is disarmed.
struct Unfinished(bool);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.0 {
            DROPPED.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[derive(Debug)]
struct Asks;

impl FilterSettings for Asks {
    fn build(&self, _context: &BuildContext<'_>) -> Option<Box<dyn HttpFilter>> {
        Some(Box::new(Asks))
    }
}

fn reply(status: u16) -> Verdict {
    Verdict::Reply(Box::new(LocalReply {
        status,
        ..LocalReply::default()
    }))
}

impl Asks {
    /// An answer that comes after another task had its turn, or never.
    fn ask(answer: &'static str, never: bool, patience: Duration) -> Verdict {
        let unfinished = Unfinished(true);
        let future = async move {
            let mut unfinished = unfinished;
            tokio::task::yield_now().await;
            if never {
                std::future::pending::<()>().await;
            }
            unfinished.0 = false;
            Box::new(answer) as Box<dyn Any>
        };
        Verdict::Await(Box::new(Awaited {
            future: Box::pin(future),
            at_latest: Instant::now() + patience,
        }))
    }
}

impl HttpFilter for Asks {
    fn interests(&self) -> Interests {
        Interests {
            request_head: true,
            request_data: true,
            ..Interests::default()
        }
    }

    fn on_request_head(&self, exchange: &mut Exchange<'_>, _end_stream: bool) -> Verdict {
        let path = exchange.request().get(KnownName::Path).map(<[u8]>::to_vec);
        let long = Duration::from_secs(60);
        match path.as_deref() {
            Some(b"/allowed") => Self::ask("allowed", false, long),
            Some(b"/denied") => Self::ask("denied", false, long),
            Some(b"/again") => Self::ask("again", false, long),
            Some(b"/late") => Self::ask("late", true, Duration::from_millis(20)),
            Some(b"/gone") => Self::ask("gone", true, long),
            Some(b"/body") => Verdict::Pause(crate::filters::http_filter::Until::Body),
            _ => Verdict::Continue,
        }
    }

    fn on_request_data(&self, exchange: &mut Exchange<'_>, _data: &[u8], end_stream: bool) -> Verdict {
        match exchange.request().get(KnownName::Path) {
            Some(b"/body") if end_stream => Self::ask("allowed", false, Duration::from_secs(60)),
            Some(b"/body") => Verdict::Pause(crate::filters::http_filter::Until::Body),
            _ => Verdict::Continue,
        }
    }

    fn on_answer(&self, exchange: &mut Exchange<'_>, answer: Box<dyn Any>) -> Verdict {
        let answer = *answer.downcast::<&'static str>().expect("it is what was asked for");
        exchange.request().set("x-answer", answer.as_bytes());
        match answer {
            "denied" => reply(403),
            "again" => Self::ask("twice", false, Duration::from_secs(60)),
            _ => Verdict::Continue,
        }
    }

    fn on_resume(&self, _exchange: &mut Exchange<'_>) -> Verdict {
        reply(504)
    }
}

const LISTENER: &str = r#"
name: l
address: {socket_address: {address: 127.0.0.1, port_value: 0}}
filter_chains:
- filters:
  - name: http
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
      stat_prefix: s
      route_config:
        response_headers_to_add: [{header: {key: x-answers, value: "%REQ(x-answer)%"}}]
        virtual_hosts: [{name: v, domains: ["*"], routes: [{match: {prefix: /}, direct_response: {status: 200}}]}]
      http_filters:
      - {name: asks, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand}}
      - {name: router, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
"#;

fn listener() -> Resource {
    let mut extensions = Extensions::new();
    crate::register(&mut extensions);
    let message = "envoy.extensions.filters.http.on_demand.v3.OnDemand";
    extensions.register(ExtensionKind::HttpFilter, message, |_, _| Ok(Configured::of(Asks)));
    let document = yaml::parse(LISTENER, "listener").expect("it is YAML");
    let message: Listener = from_document(&document, UnknownFields::Reject).expect("it is a listener");
    match Resource::parse(ResourceType::Listener, &message.encode_to_vec(), &extensions) {
        Ok(parsed) => parsed.value,
        Err(faults) => panic!("{faults:?}"),
    }
}

/// A server with the listener, and its port. The runtime is the control thread's.
fn server() -> (Server, u16, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("there is a runtime");
    let registry = Registry::new(1);
    let logs = Writer::new(&registry, FlushSettings::default()).expect("there is a thread for logs");
    let local = LocalInfo::new("");
    let loader = tls::Loader::new();
    let mut server =
        Server::start(1, &registry, &loader, &logs, Ipv4Addr::LOCALHOST.into(), &local).expect("there is a thread");
    let mut config = Config::default();
    let Resource::Listener(listener) = listener() else {
        panic!("it is a listener");
    };
    config.listeners.insert(Arc::clone(&listener.name), listener);
    let errors = runtime.block_on(server.publish(&config, &Arc::default()));
    assert!(errors.is_empty(), "{errors:?}");
    let port = match server.listeners()[0].addresses[0] {
        EndpointAddress::Socket(address) => address.port(),
        EndpointAddress::Pipe(_) => panic!("it has a port"),
    };
    (server, port, runtime)
}

fn ask(port: u16, request: &str) -> String {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers and closes");
    let answers = answer.lines().find_map(|line| line.strip_prefix("x-answers: "));
    format!("{} {}", &answer[9..12], answers.unwrap_or("-"))
}

#[test]
fn a_request_waits_for_an_answer_and_goes_on_or_is_answered() {
    let (_server, port, _runtime) = server();
    let get = |path: &str| {
        ask(
            port,
            &format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"),
        )
    };
    assert_eq!(get("/"), "200 -");
    assert_eq!(get("/allowed"), "200 allowed");
    assert_eq!(get("/denied"), "403 denied");
    assert_eq!(get("/again"), "200 twice");
    let post = |path: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 5\r\n\r\n");
        ask(port, &(head + "hello"))
    };
    assert_eq!(post("/allowed"), "200 allowed");
    assert_eq!(post("/body"), "200 allowed", "asked when the body is there");
    assert_eq!(DROPPED.load(Ordering::SeqCst), 0);

    assert_eq!(get("/late"), "504 -", "it goes on without an answer in time");
    let dropped = |count: usize| {
        let deadline = Instant::now() + Duration::from_secs(10);
        while DROPPED.load(Ordering::SeqCst) != count {
            assert!(Instant::now() < deadline, "{} dropped", DROPPED.load(Ordering::SeqCst));
            std::thread::yield_now();
        }
    };
    dropped(1);

    // A caller that leaves takes what was asked for it along, and a worker that goes on serves the others.
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
    let head = b"GET /gone HTTP/1.1\r\nhost: a\r\n\r\n";
    stream.write_all(head).expect("it reads");
    assert_eq!(get("/allowed"), "200 allowed");
    drop(stream);
    dropped(2);
    assert_eq!(get("/allowed"), "200 allowed");
}
