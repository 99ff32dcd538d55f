//! The Greeter service: answers, and says who answered and who was seen calling.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt as _};
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::api::greeter_server::Greeter;
use crate::api::{HelloReply, HelloRequest};

/// The header in which a proxy tells its application whose certificate it verified.
const FORWARDED_CLIENT_CERT: &str = "x-forwarded-client-cert";

/// Answers waiting for a slow caller, per stream: enough to keep the pipe full.
const ANSWERS_AHEAD: usize = 16;

/// A backend: what it says of itself in every answer.
#[derive(Clone, Debug)]
pub struct Backend {
    version: Arc<str>,
    name: Arc<str>,
}

impl Backend {
    /// A backend of this version (`v1`) and name (a pod's).
    pub fn new(version: &str, name: &str) -> Self {
        Self {
            version: version.into(),
            name: name.into(),
        }
    }

    fn reply(&self, request: &HelloRequest, caller: &str, index: u32) -> HelloReply {
        let name = if request.name.is_empty() {
            "world"
        } else {
            &request.name
        };
        HelloReply {
            message: format!("hello, {name}"),
            version: self.version.to_string(),
            backend: self.name.to_string(),
            caller: caller.to_owned(),
            index,
        }
    }
}

/// The answers of a streaming call.
type Answers = Pin<Box<dyn Stream<Item = Result<HelloReply, Status>> + Send>>;

#[tonic::async_trait]
impl Greeter for Backend {
    type SayHelloStreamStream = Answers;
    type ChatStream = Answers;

    async fn say_hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let caller = caller_of(request.metadata());
        let request = request.into_inner();
        hold(&request).await;
        Ok(Response::new(self.reply(&request, &caller, 0)))
    }

    async fn say_hello_stream(&self, request: Request<HelloRequest>) -> Result<Response<Answers>, Status> {
        let caller = caller_of(request.metadata());
        let request = request.into_inner();
        let backend = self.clone();
        let (answers, stream) = mpsc::channel(ANSWERS_AHEAD);
        tokio::spawn(async move {
            for index in 0..request.count.max(1) {
                hold(&request).await;
                let reply = backend.reply(&request, &caller, index);
                // The caller went away: nothing left to do for it.
                if answers.send(Ok(reply)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn chat(&self, request: Request<Streaming<HelloRequest>>) -> Result<Response<Answers>, Status> {
        let caller = caller_of(request.metadata());
        let mut requests = request.into_inner();
        let backend = self.clone();
        let (answers, stream) = mpsc::channel(ANSWERS_AHEAD);
        tokio::spawn(async move {
            let mut index = 0;
            while let Some(request) = requests.next().await {
                let answer = match request {
                    Ok(request) => {
                        hold(&request).await;
                        Ok(backend.reply(&request, &caller, index))
                    }
                    Err(status) => Err(status),
                };
                let failed = answer.is_err();
                if answers.send(answer).await.is_err() || failed {
                    return;
                }
                index = index.wrapping_add(1);
            }
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

async fn hold(request: &HelloRequest) {
    if request.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(request.delay_ms.into())).await;
    }
}

fn caller_of(metadata: &MetadataMap) -> String {
    metadata
        .get(FORWARDED_CLIENT_CERT)
        .and_then(|value| value.to_str().ok())
        .and_then(client_uri)
        .unwrap_or_default()
        .to_owned()
}

/// The URI of the nearest client in an `x-forwarded-client-cert` value: elements are
/// separated by commas, the last one was added by the proxy next to us, and each is
/// `Key=Value` pairs separated by semicolons (Envoy, "HTTP header manipulation").
/// SPIFFE IDs contain neither separator, so quoted values (subjects) may be cut
/// wrongly without harm: only `URI=` is read.
fn client_uri(value: &str) -> Option<&str> {
    value
        .rsplit([',', ';'])
        .find_map(|pair| pair.trim().strip_prefix("URI="))
        .map(|uri| uri.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_uri_is_read_from_the_element_added_last() {
        let value = r#"By=spiffe://t/ns/a/sa/x;URI=spiffe://t/ns/a/sa/far,Hash=ab;Subject="O=a,CN=b";URI=spiffe://t/ns/demo/sa/frontend"#;
        assert_eq!(client_uri(value), Some("spiffe://t/ns/demo/sa/frontend"));
        assert_eq!(client_uri("Hash=ab"), None);
    }
}
