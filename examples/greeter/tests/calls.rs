//! Every shape of call against a real server, and the health service beside it.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::net::SocketAddr;

use greeter::api::HelloRequest;
use greeter::api::greeter_client::GreeterClient;
use greeter::api::greeter_server::GreeterServer;
use greeter::greeting::Backend;
use greeter::health::{GREETER, HealthService};
use greeter::health_api::HealthCheckRequest;
use greeter::health_api::health_check_response::ServingStatus;
use greeter::health_api::health_client::HealthClient;
use greeter::health_api::health_server::HealthServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::StreamExt as _;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request};

async fn serve(serving: watch::Receiver<bool>) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    let server = Server::builder()
        .add_service(GreeterServer::new(Backend::new("v7", "pod")))
        .add_service(HealthServer::new(HealthService::new(serving)))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect()
        .await
        .unwrap()
}

fn hello(name: &str, count: u32) -> HelloRequest {
    HelloRequest {
        name: name.to_owned(),
        count,
        ..HelloRequest::default()
    }
}

#[tokio::test]
async fn a_greeting_says_who_greeted_and_who_was_seen_calling() {
    let (_switch, serving) = watch::channel(true);
    let mut client = GreeterClient::new(serve(serving).await);
    let mut request = Request::new(hello("mesh", 0));
    let certificate = "By=spiffe://t/ns/demo/sa/greeter;URI=spiffe://t/ns/demo/sa/frontend";
    request
        .metadata_mut()
        .insert("x-forwarded-client-cert", certificate.parse().unwrap());
    let reply = client.say_hello(request).await.unwrap().into_inner();
    assert_eq!(
        (reply.message.as_str(), reply.version.as_str(), reply.backend.as_str()),
        ("hello, mesh", "v7", "pod")
    );
    assert_eq!(reply.caller, "spiffe://t/ns/demo/sa/frontend");
    let unnamed = client.say_hello(hello("", 0)).await.unwrap().into_inner();
    assert_eq!(
        (unnamed.message.as_str(), unnamed.caller.as_str()),
        ("hello, world", "")
    );
}

#[tokio::test]
async fn streams_give_every_answer_in_order() {
    let (_switch, serving) = watch::channel(true);
    let mut client = GreeterClient::new(serve(serving).await);
    let stream = client.say_hello_stream(hello("a", 50)).await.unwrap().into_inner();
    let indexes: Vec<u32> = stream.map(|reply| reply.unwrap().index).collect().await;
    assert_eq!(indexes, (0..50).collect::<Vec<u32>>());
    let requests = tokio_stream::iter(["a", "b", "c"].map(|name| hello(name, 0)));
    let stream = client.chat(requests).await.unwrap().into_inner();
    let messages: Vec<String> = stream.map(|reply| reply.unwrap().message).collect().await;
    assert_eq!(messages, ["hello, a", "hello, b", "hello, c"]);
}

#[tokio::test]
async fn health_follows_the_switch_also_on_a_watch() {
    let (switch, serving) = watch::channel(true);
    let mut client = HealthClient::new(serve(serving).await);
    let ask = |service: &str| HealthCheckRequest {
        service: service.to_owned(),
    };
    for service in ["", GREETER] {
        let answer = client.check(ask(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let mut states = client.watch(ask(GREETER)).await.unwrap().into_inner();
    assert_eq!(states.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    switch.send_replace(false);
    assert_eq!(
        states.next().await.unwrap().unwrap().status(),
        ServingStatus::NotServing
    );
    assert_eq!(
        client.check(ask("")).await.unwrap().into_inner().status(),
        ServingStatus::NotServing
    );
    assert_eq!(client.check(ask("other")).await.unwrap_err().code(), Code::NotFound);
    let mut unknown = client.watch(ask("other")).await.unwrap().into_inner();
    assert_eq!(
        unknown.next().await.unwrap().unwrap().status(),
        ServingStatus::ServiceUnknown
    );
}
